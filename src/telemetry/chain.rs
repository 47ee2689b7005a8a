//! An error with its causes, on one line.

use std::error::Error;
use std::fmt;

/// Shows an error and every source below it, separated by colons. For whoever handles the error and logs it; an
/// error's own text never repeats its source.
#[derive(Clone, Copy, Debug)]
pub struct Chain<'a>(pub &'a (dyn Error + 'static));

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = self.0.to_string();
        f.write_str(&shown)?;
        let mut source = self.0.source();
        while let Some(error) = source {
            let text = error.to_string();
            // Libraries often wrap an error in one that only repeats it.
            if !shown.ends_with(&text) {
                write!(f, ": {text}")?;
            }
            shown = text;
            source = error.source();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{text}")]
    struct Link {
        text: &'static str,
        source: Option<Box<Link>>,
    }

    #[test]
    fn every_cause_is_shown_once() {
        let link = |text, source| Link {
            text,
            source: Option::map(source, Box::new),
        };
        let refused = link("connection refused", None);
        let repeated = link("connect: connection refused", Some(refused));
        let top = link("read stream", Some(repeated));
        assert_eq!(
            Chain(&top).to_string(),
            "read stream: connect: connection refused"
        );
        assert_eq!(Chain(&link("alone", None)).to_string(), "alone");
    }
}
