//! Share splits: what turns the prices of one day into those of another.

use std::collections::HashMap;

use jiff::Timestamp;
use jiff::civil::{Date, date};
use rust_decimal::Decimal;

use super::super::calendar::day_begins_at;
use super::super::prices::on_grid;
use super::Bar;

/// `new` shares for each `old` one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ratio {
    /// Shares after it.
    pub new: u32,
    /// Shares before it.
    pub old: u32,
}

impl Ratio {
    fn factor(self) -> Decimal {
        Decimal::from(self.new.max(1)) / Decimal::from(self.old.max(1))
    }

    pub(super) fn undo_price(self, price: Decimal) -> Decimal {
        price * self.factor()
    }
}

/// One split.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Split {
    /// Whose shares.
    pub symbol: String,
    /// Into how many.
    pub ratio: Ratio,
    /// The first day in new shares.
    pub effective_on: Date,
}

impl std::str::FromStr for Split {
    type Err = String;

    /// Reads `AAPL=4:1@2020-08-31`.
    fn from_str(text: &str) -> Result<Self, String> {
        let problem =
            || format!("{text:?} is not a split: write SYMBOL=NEW:OLD@DATE, as in AAPL=4:1@2020-08-31");
        let (symbol, rest) = text.split_once('=').ok_or_else(problem)?;
        let (ratio, day) = rest.split_once('@').ok_or_else(problem)?;
        let (new, old) = ratio.split_once(':').ok_or_else(problem)?;
        let count = |text: &str| {
            text.parse()
                .ok()
                .filter(|count| (1..=1_000).contains(count))
                .ok_or_else(problem)
        };
        if symbol.is_empty() {
            return Err(problem());
        }
        Ok(Self {
            symbol: symbol.to_owned(),
            ratio: Ratio {
                new: count(new)?,
                old: count(old)?,
            },
            effective_on: day.parse().map_err(|_| problem())?,
        })
    }
}

/// Every split there ever was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Splits {
    all: Vec<Split>,
    /// Of each symbol, with the moment each takes effect.
    by_symbol: HashMap<String, Vec<(Timestamp, Ratio)>>,
}

impl Default for Splits {
    /// The splits of the shares that the simulator lists, as they happened.
    fn default() -> Self {
        let split = |symbol: &str, new, effective_on| Split {
            symbol: symbol.to_owned(),
            ratio: Ratio { new, old: 1 },
            effective_on,
        };
        Self::new(vec![
            split("AAPL", 4, date(2020, 8, 31)),
            split("AMZN", 20, date(2022, 6, 6)),
            split("GOOG", 20, date(2022, 7, 18)),
            split("NVDA", 10, date(2024, 6, 10)),
            split("TSLA", 3, date(2022, 8, 25)),
        ])
    }
}

impl Splits {
    pub(crate) fn new(splits: Vec<Split>) -> Self {
        let mut by_symbol: HashMap<String, Vec<(Timestamp, Ratio)>> = HashMap::new();
        for split in &splits {
            let of_symbol = by_symbol.entry(split.symbol.clone()).or_default();
            of_symbol.push((day_begins_at(split.effective_on), split.ratio));
        }
        Self {
            all: splits,
            by_symbol,
        }
    }

    pub(crate) fn all(&self) -> &[Split] {
        &self.all
    }

    /// A symbol's splits, with the moment each takes effect.
    pub(super) fn of(&self, symbol: &str) -> &[(Timestamp, Ratio)] {
        self.by_symbol.get(symbol).map_or(&[], Vec::as_slice)
    }

    /// The bar in the shares of after every split.
    pub(super) fn adjust(&self, symbol: &str, mut bar: Bar) -> Bar {
        for (effective_at, ratio) in self.of(symbol) {
            if bar.at < *effective_at {
                let factor = ratio.factor();
                for price in [&mut bar.open, &mut bar.high, &mut bar.low, &mut bar.close] {
                    *price = on_grid(*price / factor);
                }
                bar.vwap = (bar.vwap / factor).round_dp(6);
                bar.volume = (bar.volume * factor).trunc();
            }
        }
        bar
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_split_is_read_or_refused_with_its_form() {
        let split: Split = "F=3:2@2025-01-06".parse().unwrap();
        assert_eq!(
            (split.symbol.as_str(), split.ratio),
            ("F", Ratio { new: 3, old: 2 })
        );
        for bad in [
            "",
            "F",
            "F=3:2",
            "F=0:2@2025-01-06",
            "F=4294967295:1@2025-01-06",
            "=3:2@2025-01-06",
            "F=3:2@soon",
        ] {
            assert!(
                bad.parse::<Split>().unwrap_err().contains("SYMBOL=NEW:OLD@DATE"),
                "{bad}"
            );
        }
    }
}
