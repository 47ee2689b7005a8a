//! What orders may not exceed, as a person has written it down; and which of it an order would.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use jiff::civil::Time;
use rust_decimal::Decimal;

use super::{Strategy, Symbol};

/// Everything orders may not exceed. Empty: nothing is limited.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// For every order, and for the account as a whole.
    pub account: Bounds,
    /// For the orders of a strategy.
    pub strategies: BTreeMap<String, Bounds>,
    /// For orders of a symbol.
    pub symbols: BTreeMap<Symbol, Bounds>,
}

/// What is bounded in one scope. `None`, or empty: not bounded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bounds {
    /// Shares, coins or contracts of one order; of a multi-leg order, of each leg.
    pub max_order_qty: Option<Decimal>,
    /// Dollars of one order.
    pub max_order_notional: Option<Decimal>,
    /// How far a buy may be above the ask, and a sell below the bid, in percent.
    pub price_collar_percent: Option<Decimal>,
    /// The oldest quote that is believed.
    pub max_quote_age: Option<Duration>,
    /// Orders that work at once.
    pub max_open_orders: Option<u32>,
    /// Orders begun in any second.
    pub max_orders_per_second: Option<u32>,
    /// Orders begun in any minute.
    pub max_orders_per_minute: Option<u32>,
    /// Orders begun in a day of New York.
    pub max_orders_per_day: Option<u32>,
    /// Shares, coins or contracts held of one symbol, long or short, with everything that may still be filled.
    pub max_position_qty: Option<Decimal>,
    /// The same in dollars.
    pub max_position_notional: Option<Decimal>,
    /// Dollars of all positions, long and short added up, with everything that may still be filled.
    pub max_gross_exposure: Option<Decimal>,
    /// Dollars of equity lost since the last close. Reached, the gateway is halted.
    pub max_daily_loss: Option<Decimal>,
    /// Symbols that are not traded but to close.
    pub restricted_symbols: BTreeSet<Symbol>,
    /// Nothing else is traded; empty: anything is.
    pub allowed_symbols: BTreeSet<Symbol>,
    /// Times of day in New York, from Monday to Friday, in which orders begin; empty: at any time.
    pub hours: Vec<Hours>,
    /// Orders begin in the regular session only. Crypto has none, and is not bound.
    pub regular_session_only: bool,
    /// The same order is not begun twice within this time.
    pub repeat_guard: Option<Duration>,
    /// An order does not begin for more than the account can pay.
    pub check_buying_power: bool,
    /// Everything is done but the POST.
    pub dry_run: bool,
}

impl Bounds {
    /// What is bounded, as it is written.
    pub fn entries(&self) -> Vec<(LimitName, String)> {
        let span = |span: Duration| format!("{} s", span.as_secs_f64());
        let names = |symbols: &BTreeSet<Symbol>| {
            let names: Vec<_> = symbols.iter().map(Symbol::as_str).collect();
            (!names.is_empty()).then(|| names.join(","))
        };
        let amount = |amount: Option<Decimal>| amount.map(|amount| amount.to_string());
        let count = |count: Option<u32>| count.map(|count| count.to_string());
        let switch = |switch: bool| switch.then(|| "true".to_owned());
        let hours: Vec<_> = self.hours.iter().map(Hours::to_string).collect();
        LimitName::ALL
            .into_iter()
            .filter_map(|limit| {
                let text = match limit {
                    LimitName::MaxOrderQty => amount(self.max_order_qty),
                    LimitName::MaxOrderNotional => amount(self.max_order_notional),
                    LimitName::PriceCollarPercent => amount(self.price_collar_percent),
                    LimitName::MaxQuoteAge => self.max_quote_age.map(span),
                    LimitName::MaxOpenOrders => count(self.max_open_orders),
                    LimitName::MaxOrdersPerSecond => count(self.max_orders_per_second),
                    LimitName::MaxOrdersPerMinute => count(self.max_orders_per_minute),
                    LimitName::MaxOrdersPerDay => count(self.max_orders_per_day),
                    LimitName::MaxPositionQty => amount(self.max_position_qty),
                    LimitName::MaxPositionNotional => amount(self.max_position_notional),
                    LimitName::MaxGrossExposure => amount(self.max_gross_exposure),
                    LimitName::MaxDailyLoss => amount(self.max_daily_loss),
                    LimitName::RestrictedSymbols => names(&self.restricted_symbols),
                    LimitName::AllowedSymbols => names(&self.allowed_symbols),
                    LimitName::Hours => (!hours.is_empty()).then(|| hours.join(",")),
                    LimitName::RegularSessionOnly => switch(self.regular_session_only),
                    LimitName::RepeatGuard => self.repeat_guard.map(span),
                    LimitName::CheckBuyingPower => switch(self.check_buying_power),
                };
                Some((limit, text?))
            })
            .collect()
    }
}

/// From one time of day on, and before another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hours {
    /// The first instant.
    pub from: Time,
    /// The first instant that is too late.
    pub until: Time,
}

impl fmt::Display for Hours {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}-{}",
            self.from.strftime("%H:%M"),
            self.until.strftime("%H:%M")
        )
    }
}

/// Which part of the limits a bound is from.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scope {
    /// The account.
    Account,
    /// A strategy.
    Strategy(String),
    /// A symbol.
    Symbol(Symbol),
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Account => f.write_str("account"),
            Self::Strategy(name) => write!(f, "strategy {name}"),
            Self::Symbol(symbol) => write!(f, "symbol {symbol}"),
        }
    }
}

impl Limits {
    /// Whether nothing is limited.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The bounds an order has to keep.
    pub fn bounds_of<'a>(
        &'a self,
        strategy: Option<&Strategy>,
        symbols: impl Iterator<Item = &'a Symbol>,
    ) -> Vec<(Scope, &'a Bounds)> {
        let mut bounds = vec![(Scope::Account, &self.account)];
        if let Some(name) = strategy.map(ToString::to_string)
            && let Some(found) = self.strategies.get(&name)
        {
            bounds.push((Scope::Strategy(name), found));
        }
        for wanted in symbols {
            let found = self
                .symbols
                .iter()
                .find(|(symbol, _)| symbol.same_instrument(wanted));
            if let Some((symbol, found)) = found {
                bounds.push((Scope::Symbol(symbol.clone()), found));
            }
        }
        bounds
    }

    /// Every scope, with its bounds.
    pub fn scopes(&self) -> Vec<(Scope, &Bounds)> {
        let mut scopes = vec![(Scope::Account, &self.account)];
        let strategies = self.strategies.iter();
        scopes.extend(strategies.map(|(name, bounds)| (Scope::Strategy(name.clone()), bounds)));
        let symbols = self.symbols.iter();
        scopes.extend(symbols.map(|(symbol, bounds)| (Scope::Symbol(symbol.clone()), bounds)));
        scopes
    }
}

/// What kind of bound an order would break.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the fields of `Bounds`")]
pub enum LimitName {
    MaxOrderQty,
    MaxOrderNotional,
    PriceCollarPercent,
    MaxQuoteAge,
    MaxOpenOrders,
    MaxOrdersPerSecond,
    MaxOrdersPerMinute,
    MaxOrdersPerDay,
    MaxPositionQty,
    MaxPositionNotional,
    MaxGrossExposure,
    MaxDailyLoss,
    RestrictedSymbols,
    AllowedSymbols,
    Hours,
    RegularSessionOnly,
    RepeatGuard,
    CheckBuyingPower,
}

impl LimitName {
    /// Every name.
    pub const ALL: [Self; 18] = [
        Self::MaxOrderQty,
        Self::MaxOrderNotional,
        Self::PriceCollarPercent,
        Self::MaxQuoteAge,
        Self::MaxOpenOrders,
        Self::MaxOrdersPerSecond,
        Self::MaxOrdersPerMinute,
        Self::MaxOrdersPerDay,
        Self::MaxPositionQty,
        Self::MaxPositionNotional,
        Self::MaxGrossExposure,
        Self::MaxDailyLoss,
        Self::RestrictedSymbols,
        Self::AllowedSymbols,
        Self::Hours,
        Self::RegularSessionOnly,
        Self::RepeatGuard,
        Self::CheckBuyingPower,
    ];

    /// The word used in the limits file, outcomes and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::MaxOrderQty => "max_order_qty",
            Self::MaxOrderNotional => "max_order_notional",
            Self::PriceCollarPercent => "price_collar_percent",
            Self::MaxQuoteAge => "max_quote_age",
            Self::MaxOpenOrders => "max_open_orders",
            Self::MaxOrdersPerSecond => "max_orders_per_second",
            Self::MaxOrdersPerMinute => "max_orders_per_minute",
            Self::MaxOrdersPerDay => "max_orders_per_day",
            Self::MaxPositionQty => "max_position_qty",
            Self::MaxPositionNotional => "max_position_notional",
            Self::MaxGrossExposure => "max_gross_exposure",
            Self::MaxDailyLoss => "max_daily_loss",
            Self::RestrictedSymbols => "restricted_symbols",
            Self::AllowedSymbols => "allowed_symbols",
            Self::Hours => "hours",
            Self::RegularSessionOnly => "regular_session_only",
            Self::RepeatGuard => "repeat_guard",
            Self::CheckBuyingPower => "check_buying_power",
        }
    }
}

/// A bound an order would break.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Breach {
    /// Which bound.
    pub limit: LimitName,
    /// Of which scope: `account`, `strategy momentum`, `symbol AAPL`.
    pub scope: String,
    /// The bound itself.
    pub bound: String,
    /// What the order would make of it; "unknown" where that cannot be said now.
    pub value: String,
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (limit, scope) = (self.limit.as_str(), &self.scope);
        write!(
            f,
            "{limit} of the {scope} is {}, and this would be {}",
            self.bound, self.value
        )
    }
}
