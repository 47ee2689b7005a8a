//! What is traded, by name.

use std::fmt;
use std::sync::Arc;

use super::AssetClass;

/// A ticker (`AAPL`, `BRK.B`), a crypto pair (`BTC/USD`) or an OCC option symbol (`AAPL250620C00100000`).
///
/// Invariant: 1 to 32 bytes of visible ASCII. Whether the venue knows it is the venue's business.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Symbol(Arc<str>);

/// Why a text is no symbol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a symbol has 1 to {max} visible ASCII characters", max = Symbol::LEN_MAX)]
pub struct SymbolError;

/// Currencies a crypto pair may be quoted in, longest first so that `USDT` is not read as `USD` + `T`.
const QUOTE_CURRENCIES: [&str; 4] = ["USDT", "USDC", "USD", "BTC"];

impl Symbol {
    /// Longest symbol accepted, in bytes. The longest real ones (options) have 21.
    pub const LEN_MAX: usize = 32;

    /// Checks a symbol from outside.
    pub fn parse(text: &str) -> Result<Self, SymbolError> {
        let fits = (1..=Self::LEN_MAX).contains(&text.len());
        (fits && text.bytes().all(|byte| byte.is_ascii_graphic()))
            .then(|| Self(text.into()))
            .ok_or(SymbolError)
    }

    /// The symbol as text, dots and slashes and all.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What kind of thing the symbol names, judged by its form.
    pub fn asset_class(&self) -> AssetClass {
        if self.0.contains('/') {
            AssetClass::Crypto
        } else if self.is_option() {
            AssetClass::UsOption
        } else {
            AssetClass::UsEquity
        }
    }

    /// The one spelling of a crypto pair: the venue writes `BTC/USD` in orders and `BTCUSD` in positions.
    pub fn with_pair_slash(self) -> Self {
        if self.0.contains('/') {
            return self;
        }
        let quote = QUOTE_CURRENCIES
            .iter()
            .find(|quote| self.0.len() > quote.len() && self.0.ends_with(**quote));
        match quote {
            Some(quote) => Self(format!("{}/{quote}", &self.0[..self.0.len() - quote.len()]).into()),
            None => self,
        }
    }

    /// Whether two spellings name the same thing, with or without a crypto pair's slash.
    pub fn same_instrument(&self, other: &Self) -> bool {
        let letters = |symbol: &Self| symbol.0.bytes().filter(|byte| *byte != b'/').collect::<Vec<_>>();
        self == other || letters(self) == letters(other)
    }

    /// OCC form: root of 1 to 6 characters, six digits of date, C or P, eight digits of strike.
    fn is_option(&self) -> bool {
        let bytes = self.0.as_bytes();
        let Some(root_len) = bytes.len().checked_sub(15).filter(|len| (1..=6).contains(len)) else {
            return false;
        };
        let tail = &bytes[root_len..];
        tail[..6].iter().all(u8::is_ascii_digit)
            && matches!(tail[6], b'C' | b'P')
            && tail[7..].iter().all(u8::is_ascii_digit)
    }
}

impl fmt::Display for Symbol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn symbol(text: &str) -> Symbol {
        Symbol::parse(text).unwrap()
    }

    #[test]
    fn the_form_tells_the_asset_class() {
        for (text, class) in [
            ("AAPL", AssetClass::UsEquity),
            ("BRK.B", AssetClass::UsEquity),
            ("BTC/USD", AssetClass::Crypto),
            ("AAPL250620C00100000", AssetClass::UsOption),
            ("AAPL250620X00100000", AssetClass::UsEquity),
        ] {
            assert_eq!(symbol(text).asset_class(), class, "{text}");
        }
    }

    #[test]
    fn a_pair_has_one_spelling() {
        assert_eq!(symbol("BTCUSD").with_pair_slash(), symbol("BTC/USD"));
        assert_eq!(symbol("ETHUSDT").with_pair_slash(), symbol("ETH/USDT"));
        assert_eq!(symbol("BTC/USD").with_pair_slash(), symbol("BTC/USD"));
        assert_eq!(symbol("USD").with_pair_slash(), symbol("USD"));
        assert!(symbol("BTCUSD").same_instrument(&symbol("BTC/USD")));
        assert!(!symbol("BRK.B").same_instrument(&symbol("BRKB")));
    }

    #[test]
    fn symbols_from_outside_are_bounded_visible_ascii() {
        assert_eq!(Symbol::parse(""), Err(SymbolError));
        assert_eq!(Symbol::parse("AA PL"), Err(SymbolError));
        assert_eq!(Symbol::parse("AAPL\r\nPUB x"), Err(SymbolError));
        assert_eq!(Symbol::parse(&"A".repeat(33)), Err(SymbolError));
    }
}
