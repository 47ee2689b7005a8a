//! The limits file: TOML, one section for the account, one for each strategy and one for each symbol.
//!
//! Numbers may be written as numbers or as texts; money and quantities are decimals either way. An unknown key is an error:
//! a limit with a typo in its name is no limit. All that is wrong is told at once, with its place.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::civil::Time;
use rust_decimal::Decimal;
use toml::{Table, Value};

use super::parse;
use crate::domain::limits::{Bounds, Hours, LimitName, Limits};
use crate::domain::money::parse_decimal;
use crate::domain::{ClientOrderId, Symbol};

/// What is wrong with a limits file, all of it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.join("; "))]
pub struct LimitsError(pub Vec<String>);

/// What belongs to the account alone: positions are the account's, and so are its money and its losses.
const OF_ACCOUNT: [LimitName; 3] = [
    LimitName::MaxGrossExposure,
    LimitName::MaxDailyLoss,
    LimitName::CheckBuyingPower,
];
/// What has no meaning for one symbol.
const NOT_OF_SYMBOL: [LimitName; 2] = [LimitName::RestrictedSymbols, LimitName::AllowedSymbols];
/// What has no meaning for a strategy.
const NOT_OF_STRATEGY: [LimitName; 2] = [LimitName::MaxPositionQty, LimitName::MaxPositionNotional];
const DRY_RUN: &str = "dry_run";

/// Reads a limits file.
pub fn read(text: &str) -> Result<Limits, LimitsError> {
    let table: Table = text.parse().map_err(|error: toml::de::Error| {
        let place = error.span().map(|span| {
            text.bytes()
                .take(span.start)
                .filter(|byte| *byte == b'\n')
                .count()
                + 1
        });
        let place = place.map(|line| format!("line {line}: ")).unwrap_or_default();
        LimitsError(vec![format!("{place}{}", error.message())])
    })?;
    let mut reader = Reader::default();
    let mut limits = Limits::default();
    for (key, value) in &table {
        match (key.as_str(), value) {
            ("account", Value::Table(table)) => {
                limits.account = reader.bounds("account", table, Place::Account)
            }
            ("strategy", Value::Table(table)) => limits.strategies = reader.strategies(table),
            ("symbol", Value::Table(table)) => limits.symbols = reader.symbols(table),
            ("account" | "strategy" | "symbol", _) => {
                reader.wrong(
                    key,
                    "is no section; write [account], [strategy.NAME] or [symbol.NAME]",
                );
            }
            _ => reader.wrong(
                key,
                "is not known; limits stand under [account], [strategy.NAME] or [symbol.NAME]",
            ),
        }
    }
    if reader.wrong.is_empty() {
        Ok(limits)
    } else {
        Err(LimitsError(reader.wrong))
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Account,
    Strategy,
    Symbol,
}

#[derive(Default)]
struct Reader {
    wrong: Vec<String>,
}

impl Reader {
    fn wrong(&mut self, place: &str, what: impl AsRef<str>) {
        self.wrong.push(format!("{place} {}", what.as_ref()));
    }

    fn strategies(&mut self, table: &Table) -> BTreeMap<String, Bounds> {
        let mut found = BTreeMap::new();
        for (name, value) in table {
            let place = format!("strategy.{name}");
            let is_token = !name.contains('.') && ClientOrderId::parse(name).is_ok();
            match value.as_table() {
                Some(_) if !is_token => {
                    self.wrong(
                        &place,
                        "is no strategy: it is the first token of a client order id",
                    );
                }
                Some(bounds) => {
                    found.insert(name.clone(), self.bounds(&place, bounds, Place::Strategy));
                }
                None => self.wrong(&place, "is no section; write [strategy.NAME]"),
            }
        }
        found
    }

    fn symbols(&mut self, table: &Table) -> BTreeMap<Symbol, Bounds> {
        let mut found = BTreeMap::new();
        for (name, value) in table {
            let place = format!("symbol.{name}");
            match (Symbol::parse(name), value) {
                (Ok(symbol), Value::Table(bounds)) => {
                    found.insert(symbol, self.bounds(&place, bounds, Place::Symbol));
                }
                (Err(_), _) => self.wrong(&place, "is no symbol; write one with a dot or a slash in quotes"),
                (Ok(_), _) => self.wrong(
                    &place,
                    "is no section; write [symbol.NAME], and [symbol.\"BRK.B\"] for one with a dot",
                ),
            }
        }
        found
    }

    fn bounds(&mut self, place: &str, table: &Table, at: Place) -> Bounds {
        let mut bounds = Bounds::default();
        for (key, value) in table {
            let place = format!("{place}.{key}");
            if value.is_table() {
                self.wrong(
                    &place,
                    "is a section inside a section; a symbol with a dot is written [symbol.\"BRK.B\"]",
                );
                continue;
            }
            if key == DRY_RUN {
                if at == Place::Symbol {
                    self.wrong(&place, "is of the account or of a strategy");
                }
                bounds.dry_run = self.switch(&place, value);
                continue;
            }
            let Some(limit) = LimitName::ALL.into_iter().find(|limit| limit.as_str() == key) else {
                let mut known: Vec<_> = LimitName::ALL.map(LimitName::as_str).to_vec();
                known.push(DRY_RUN);
                self.wrong(&place, format!("is not known; known are {}", known.join(", ")));
                continue;
            };
            let of_account = OF_ACCOUNT.contains(&limit) && at != Place::Account;
            let not_here = (at == Place::Symbol && NOT_OF_SYMBOL.contains(&limit))
                || (at == Place::Strategy && NOT_OF_STRATEGY.contains(&limit));
            if of_account || not_here {
                let where_to = if of_account {
                    "[account]"
                } else {
                    "[account] or another section"
                };
                self.wrong(&place, format!("has no meaning here; write it under {where_to}"));
                continue;
            }
            self.set(&mut bounds, limit, &place, value);
        }
        bounds
    }

    fn set(&mut self, bounds: &mut Bounds, limit: LimitName, place: &str, value: &Value) {
        match limit {
            LimitName::MaxOrderQty => bounds.max_order_qty = self.amount(place, value),
            LimitName::MaxOrderNotional => bounds.max_order_notional = self.amount(place, value),
            LimitName::PriceCollarPercent => bounds.price_collar_percent = self.amount(place, value),
            LimitName::MaxQuoteAge => bounds.max_quote_age = self.span(place, value),
            LimitName::MaxOpenOrders => bounds.max_open_orders = self.count(place, value),
            LimitName::MaxOrdersPerSecond => bounds.max_orders_per_second = self.count(place, value),
            LimitName::MaxOrdersPerMinute => bounds.max_orders_per_minute = self.count(place, value),
            LimitName::MaxOrdersPerDay => bounds.max_orders_per_day = self.count(place, value),
            LimitName::MaxPositionQty => bounds.max_position_qty = self.amount(place, value),
            LimitName::MaxPositionNotional => bounds.max_position_notional = self.amount(place, value),
            LimitName::MaxGrossExposure => bounds.max_gross_exposure = self.amount(place, value),
            LimitName::MaxDailyLoss => bounds.max_daily_loss = self.amount(place, value),
            LimitName::RestrictedSymbols => bounds.restricted_symbols = self.names(place, value),
            LimitName::AllowedSymbols => bounds.allowed_symbols = self.names(place, value),
            LimitName::Hours => bounds.hours = self.hours(place, value),
            LimitName::RegularSessionOnly => bounds.regular_session_only = self.switch(place, value),
            LimitName::RepeatGuard => bounds.repeat_guard = self.span(place, value),
            LimitName::CheckBuyingPower => bounds.check_buying_power = self.switch(place, value),
        }
    }

    fn amount(&mut self, place: &str, value: &Value) -> Option<Decimal> {
        let whole = value.as_integer().map(|number| number.to_string());
        // As it was written, but for zeros at its end: so many digits a double holds exactly.
        let fraction = value
            .as_float()
            .map(|number| number.to_string())
            .filter(|text| text.bytes().filter(u8::is_ascii_digit).count() <= 15);
        let text = value
            .as_str()
            .map(str::to_owned)
            .or(whole)
            .or(fraction)
            .unwrap_or_default();
        match parse_decimal(&text) {
            Ok(amount) if amount >= Decimal::ZERO => Some(amount),
            Ok(_) | Err(_) => {
                self.wrong(
                    place,
                    format!("is {value}; write a number such as 100 or \"2500.50\""),
                );
                None
            }
        }
    }

    fn count(&mut self, place: &str, value: &Value) -> Option<u32> {
        let whole = value.as_integer().and_then(|number| u32::try_from(number).ok());
        let count = whole.or_else(|| value.as_str()?.parse().ok());
        if count.is_none() {
            self.wrong(place, format!("is {value}; write a whole number such as 10"));
        }
        count
    }

    fn switch(&mut self, place: &str, value: &Value) -> bool {
        value.as_bool().unwrap_or_else(|| {
            self.wrong(place, format!("is {value}; write true or false"));
            false
        })
    }

    fn span(&mut self, place: &str, value: &Value) -> Option<Duration> {
        let text = value.as_str().unwrap_or_default();
        match parse::duration(text) {
            Ok(span) if !span.is_zero() => Some(span),
            Ok(_) | Err(_) => {
                self.wrong(
                    place,
                    format!("is {value}; write a duration such as \"500ms\" or \"5s\""),
                );
                None
            }
        }
    }

    fn texts<'a>(&mut self, place: &str, value: &'a Value) -> Vec<&'a str> {
        let list = value
            .as_array()
            .and_then(|values| values.iter().map(Value::as_str).collect());
        let texts: Option<Vec<&str>> = list.or_else(|| Some(vec![value.as_str()?]));
        texts.unwrap_or_else(|| {
            self.wrong(
                place,
                format!("is {value}; write a list of texts such as [\"AAPL\", \"BRK.B\"]"),
            );
            Vec::new()
        })
    }

    fn names(&mut self, place: &str, value: &Value) -> BTreeSet<Symbol> {
        let mut symbols = BTreeSet::new();
        for text in self.texts(place, value) {
            match Symbol::parse(text) {
                Ok(symbol) => {
                    symbols.insert(symbol);
                }
                Err(_) => self.wrong(place, format!("names {text:?}, which is no symbol")),
            }
        }
        symbols
    }

    fn hours(&mut self, place: &str, value: &Value) -> Vec<Hours> {
        let mut hours = Vec::new();
        for text in self.texts(place, value) {
            let read = text.split_once('-').and_then(|(from, until)| {
                let time = |text: &str| Time::strptime("%H:%M", text.trim()).ok();
                let (from, until) = (time(from)?, time(until)?);
                (from < until).then_some(Hours { from, until })
            });
            match read {
                Some(read) => hours.push(read),
                None => self.wrong(
                    place,
                    format!("has {text:?}; write times of New York such as \"09:30-15:55\""),
                ),
            }
        }
        hours
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_limit_is_read_where_it_belongs() {
        let limits = read(
            r#"
            [account]
            max_order_qty = 1000
            max_order_notional = "25000.50"
            price_collar_percent = 2.5
            max_quote_age = "5s"
            max_open_orders = 50
            max_orders_per_second = 5
            max_orders_per_minute = 60
            max_orders_per_day = 2000
            max_position_qty = 5000
            max_position_notional = 100000
            max_gross_exposure = 250000
            max_daily_loss = 1000
            restricted_symbols = ["GME", "BRK.B"]
            hours = ["09:30-12:00", "12:30-15:55"]
            regular_session_only = true
            repeat_guard = "500ms"
            check_buying_power = true

            [strategy.momentum]
            max_open_orders = 3
            allowed_symbols = ["AAPL"]
            dry_run = true

            [symbol."BTC/USD"]
            max_position_qty = "0.25"
            "#,
        )
        .unwrap();
        assert_eq!(
            limits.account.max_order_notional,
            Some("25000.50".parse().unwrap())
        );
        assert_eq!(limits.account.price_collar_percent, Some("2.5".parse().unwrap()));
        assert_eq!(limits.account.hours[1].to_string(), "12:30-15:55");
        assert_eq!(limits.account.restricted_symbols.len(), 2);
        assert!(limits.strategies["momentum"].dry_run);
        assert_eq!(limits.symbols.len(), 1);
        assert!(read("").unwrap().is_empty());
    }

    #[test]
    fn everything_that_is_wrong_is_named_with_its_place() {
        for (text, words) in [
            (
                "[account]\nmax_order_qyt = 1",
                "account.max_order_qyt is not known",
            ),
            ("max_order_qty = 1", "limits stand under [account]"),
            ("[account]\nmax_order_qty = -1", "account.max_order_qty is -1"),
            ("[account]\nmax_order_qty = \"many\"", "write a number"),
            ("[account]\nmax_order_qty = nan", "write a number"),
            ("[account]\nmax_open_orders = 1.5", "write a whole number"),
            ("[account]\nmax_quote_age = 5", "write a duration"),
            ("[account]\nmax_quote_age = \"0s\"", "write a duration"),
            ("[account]\nhours = \"16:00-09:30\"", "write times of New York"),
            ("[account]\nrestricted_symbols = [\"A B\"]", "which is no symbol"),
            ("[account]\nrestricted_symbols = [1]", "write a list of texts"),
            ("[account]\ncheck_buying_power = 1", "write true or false"),
            ("[strategy.m]\nmax_daily_loss = 1", "write it under [account]"),
            ("[strategy.m]\nmax_position_qty = 1", "has no meaning here"),
            ("[strategy.\"a.b\"]\nmax_order_qty = 1", "is no strategy"),
            ("[symbol.AAPL]\nrestricted_symbols = []", "has no meaning here"),
            (
                "[symbol.AAPL]\ndry_run = true",
                "is of the account or of a strategy",
            ),
            ("[symbol.BRK.B]\nmax_order_qty = 1", "[symbol.\"BRK.B\"]"),
            ("[account]\nmax_order_qty = 1\nmax_order_qty = 2", "line 3"),
            ("account = 1", "is no section"),
        ] {
            let error = read(text).unwrap_err().to_string();
            assert!(error.contains(words), "{text}\n{error}");
        }
        let two = read("[account]\na = 1\nb = 2").unwrap_err();
        assert_eq!(two.0.len(), 2);
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused_without_panic(text in ".{0,200}", key in "[a-z_]{1,20}", value in ".{0,20}") {
            let _ = read(&text);
            let _ = read(&format!("[account]\n{key} = {value}"));
        }
    }
}
