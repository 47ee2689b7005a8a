//! Log lines on standard output: JSON for machines, text for people.
//!
//! One event is one line, whatever stands in its fields: the venue's messages and the bytes of strangers' subjects
//! end up in logs, and none of them may start a line of its own or drive a terminal.

use std::io::{self, Write};

use tracing::Subscriber;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::util::{SubscriberInitExt as _, TryInitError};

use crate::config::{LogConfig, LogFormat};

/// Starts logging for the whole process. Errs when that was done before.
pub fn init(config: &LogConfig) -> Result<(), TryInitError> {
    subscriber(config, io::stdout).try_init()
}

fn subscriber<W>(config: &LogConfig, writer: W) -> Box<dyn Subscriber + Send + Sync>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    // `config` has parsed the directives; a broken one here is dropped rather than fatal.
    let builder = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(&config.filter))
        .with_file(config.source)
        .with_line_number(config.source)
        .with_ansi(false)
        .with_writer(OneLine(writer));
    match config.format {
        LogFormat::Json => Box::new(
            builder
                .json()
                .flatten_event(true)
                .with_current_span(true)
                .with_span_list(false)
                .finish(),
        ),
        LogFormat::Text => Box::new(builder.finish()),
    }
}

/// Makes writers that keep each event on its line.
struct OneLine<W>(W);

impl<'a, W: MakeWriter<'a>> MakeWriter<'a> for OneLine<W> {
    type Writer = OneLineWriter<W::Writer>;

    fn make_writer(&'a self) -> Self::Writer {
        OneLineWriter(self.0.make_writer())
    }
}

/// Writes one event: control characters are escaped, all but the line break that ends it.
struct OneLineWriter<W>(W);

impl<W: Write> Write for OneLineWriter<W> {
    /// The formatter hands over a whole event at once, so the last byte is the event's end.
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(event);
        let (line, end) = match text.strip_suffix('\n') {
            Some(line) => (line, "\n"),
            None => (text.as_ref(), ""),
        };
        if line.chars().any(char::is_control) {
            self.0.write_all(escaped(line).as_bytes())?;
        } else {
            self.0.write_all(line.as_bytes())?;
        }
        self.0.write_all(end.as_bytes())?;
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// Control characters as JSON writes them, so that a JSON line stays one.
fn escaped(line: &str) -> String {
    let mut escaped = String::with_capacity(line.len() + 16);
    for symbol in line.chars() {
        match symbol {
            '\n' => escaped.push_str("\\n"),
            '\r' => escaped.push_str("\\r"),
            '\t' => escaped.push_str("\\t"),
            _ if symbol.is_control() => escaped.push_str(&format!("\\u{:04x}", u32::from(symbol))),
            _ => escaped.push(symbol),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use tracing::{debug, info};

    use super::*;

    #[derive(Clone, Default)]
    struct Captured(Arc<Mutex<Vec<u8>>>);

    impl Write for Captured {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn captured(format: LogFormat, filter: &str, log: impl FnOnce()) -> String {
        let captured = Captured::default();
        let config = LogConfig {
            filter: filter.to_owned(),
            format,
            source: true,
        };
        let writer = captured.clone();
        tracing::subscriber::with_default(subscriber(&config, move || writer.clone()), log);
        let bytes = captured.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn a_message_cannot_forge_a_line() {
        let log = || info!(symbol = %"A\nINFO forged", "hello\r\n\u{1b}[31m\u{9b}red");
        let text = captured(LogFormat::Text, "info", log);
        assert_eq!(text.lines().count(), 1, "{text}");
        assert!(
            text.ends_with('\n') && !text.trim_end().contains(char::is_control),
            "{text:?}"
        );
        assert!(text.contains("A\\nINFO forged"), "{text}");
        let json = captured(LogFormat::Json, "info", log);
        let value: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(value["symbol"], "A\nINFO forged");
        assert!(value["line_number"].is_u64(), "{json}");
    }

    #[test]
    fn the_filter_decides_what_is_written() {
        let log = || {
            debug!("quiet");
            info!("loud");
        };
        let text = captured(LogFormat::Text, "info", log);
        assert!(text.contains("loud") && !text.contains("quiet"), "{text}");
        assert_eq!(captured(LogFormat::Text, "off", log), "");
    }
}
