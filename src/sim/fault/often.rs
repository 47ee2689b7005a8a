//! How often a fault strikes.

use std::fmt;

use super::text::FaultError;

/// How often a fault strikes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Often {
    /// The next one; on a stream, what needs no event to strike does so at once.
    Once,
    /// The next so many.
    Times(usize),
    /// All, until it is taken back.
    Always,
    /// This share, each drawn on its own.
    Rate(Permille),
}

/// A share in thousandths, 1 to 1000.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Permille(u16);

impl Permille {
    /// None outside of 1 to 1000.
    pub fn new(permille: u16) -> Option<Self> {
        (1..=1000).contains(&permille).then_some(Self(permille))
    }

    /// Thousandths.
    pub fn get(self) -> u16 {
        self.0
    }
}

impl Often {
    /// `x3`, `10%`, `2.5%` or `always`.
    pub(super) fn parse(word: &str) -> Result<Self, FaultError> {
        let expected = ["~TEXT", "xN", "N%", "always"];
        let unknown = || FaultError::unknown("word before the colon", word, expected.into_iter());
        if word == "always" {
            return Ok(Self::Always);
        }
        if let Some(number) = word.strip_prefix('x') {
            let times = number.parse().ok().filter(|times| *times > 0);
            return times.map(Self::Times).ok_or_else(unknown);
        }
        let Some(share) = word.strip_suffix('%') else {
            return Err(unknown());
        };
        let (whole, tenth) = share.split_once('.').unwrap_or((share, "0"));
        let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        let whole: Option<u16> = whole.parse().ok().filter(|_| digits(whole));
        let tenth: Option<u16> = tenth.parse().ok().filter(|_| digits(tenth) && tenth.len() == 1);
        let permille = whole.zip(tenth);
        permille
            .and_then(|(whole, tenth)| whole.checked_mul(10)?.checked_add(tenth))
            .and_then(Permille::new)
            .map(Self::Rate)
            .ok_or_else(|| FaultError::new(format!("{word:?} is no share: 0.1% to 100% are expected")))
    }
}

/// With the space before it, so that the next one is spelled by nothing at all.
impl fmt::Display for Often {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Once => Ok(()),
            Self::Times(times) => write!(f, " x{times}"),
            Self::Always => f.write_str(" always"),
            Self::Rate(Permille(permille)) => match permille % 10 {
                0 => write!(f, " {}%", permille / 10),
                tenth => write!(f, " {}.{tenth}%", permille / 10),
            },
        }
    }
}
