//! Decimals with a meaning each, so that a price and a quantity cannot be mixed up.
//!
//! Text → [`Decimal`] → text, never through a float. The scale that was written is kept: `"1.50"` stays `"1.50"`.

use std::fmt;

use rust_decimal::Decimal;

/// Why a text is not the number that is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NumberError {
    /// Not digits with at most one point and a leading minus.
    #[error("is not a plain decimal number such as 12 or 0.25")]
    Malformed,
    /// More digits than a decimal of 96 bits holds.
    #[error("has more digits than can be held exactly (28)")]
    TooLong,
    /// Zero or negative where only more than zero makes sense.
    #[error("must be greater than zero")]
    NotPositive,
}

/// Reads plain decimal text exactly: no exponent, no leading plus, no spaces, no rounding.
pub fn parse_decimal(text: &str) -> Result<Decimal, NumberError> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
    let all_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || fraction.is_empty() || !all_digits(whole) || !all_digits(fraction) {
        return Err(NumberError::Malformed);
    }
    Decimal::from_str_exact(text).map_err(|_| NumberError::TooLong)
}

fn parse_positive(text: &str) -> Result<Decimal, NumberError> {
    let value = parse_decimal(text)?;
    if value > Decimal::ZERO {
        Ok(value)
    } else {
        Err(NumberError::NotPositive)
    }
}

macro_rules! amount {
    ($(#[$doc:meta])* $name:ident, $parse:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Decimal);

        impl $name {
            /// Reads plain decimal text.
            pub fn parse(text: &str) -> Result<Self, NumberError> {
                $parse(text).map(Self)
            }

            /// The number itself.
            pub const fn decimal(self) -> Decimal {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

amount!(
    /// Shares, coins or contracts to trade. Greater than zero.
    Quantity,
    parse_positive
);
amount!(
    /// Dollars to trade. Greater than zero.
    Notional,
    parse_positive
);
amount!(
    /// Dollars for one unit. Greater than zero.
    Price,
    parse_positive
);
amount!(
    /// Net dollars for one unit of a multi-leg strategy: positive is a debit, negative a credit, zero is even.
    NetPrice,
    parse_decimal
);
amount!(
    /// Percent, `1.5` is 1.5 %. Greater than zero.
    Percent,
    parse_positive
);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers_are_read_exactly_or_refused() {
        assert_eq!(Quantity::parse("1.50").unwrap().to_string(), "1.50");
        assert_eq!(Quantity::parse("0.000000001").unwrap().to_string(), "0.000000001");
        assert_eq!(NetPrice::parse("-1.25").unwrap().to_string(), "-1.25");
        for (text, error) in [
            ("", NumberError::Malformed),
            (" 1", NumberError::Malformed),
            ("+1", NumberError::Malformed),
            ("1e5", NumberError::Malformed),
            ("1e999999", NumberError::Malformed),
            ("1,000", NumberError::Malformed),
            (".5", NumberError::Malformed),
            ("5.", NumberError::Malformed),
            ("NaN", NumberError::Malformed),
            ("١", NumberError::Malformed),
            ("1_000", NumberError::Malformed),
            ("0", NumberError::NotPositive),
            ("-3", NumberError::NotPositive),
            ("9999999999999999999999999999999999999999", NumberError::TooLong),
            ("0.00000000000000000000000000000000000001", NumberError::TooLong),
        ] {
            assert_eq!(Quantity::parse(text), Err(error), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused_without_panic(text in ".{0,64}") {
            let _ = Quantity::parse(&text);
        }

        #[test]
        fn what_is_read_is_written_back(whole in 1u64..u64::MAX, fraction in "[0-9]{0,8}") {
            let text = if fraction.is_empty() { whole.to_string() } else { format!("{whole}.{fraction}") };
            prop_assert_eq!(Quantity::parse(&text).unwrap().to_string(), text);
        }
    }
}
