//! May this order begin, as far as the limits go? Pure: no clock, no I/O.
//!
//! What cannot be said now (no quote, no positions, sums too large to hold) is a breach: a limit that is not known to be
//! kept is not kept. What only makes a position smaller is never held up by limits on positions.

use std::collections::HashMap;
use std::fmt;

use jiff::civil::Weekday;
use jiff::{SignedDuration, Timestamp};
use rust_decimal::Decimal;

use super::exposure::{Exposures, Instrument, unit_price};
use super::pace::Paces;
use super::request::{Leg, Request};
use crate::domain::account::AccountStatement;
use crate::domain::limits::{Bounds, Breach, Hours, LimitName, Limits, Scope};
use crate::domain::order::Side;
use crate::domain::{AssetClass, Holdings, MarketClock, Order, Strategy, Symbol};

/// The value of what cannot be said now.
const UNKNOWN: &str = "unknown";

/// The best bid and offer of a symbol, as they were last heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quote {
    /// What is bid; `None` when nobody bids.
    pub bid: Option<Decimal>,
    /// What is asked.
    pub ask: Option<Decimal>,
    /// What time the venue gave it.
    pub at: Timestamp,
}

impl Quote {
    /// What somebody on this side would pay, or be paid, at once.
    fn taken_by(&self, side: Side) -> Option<Decimal> {
        match side {
            Side::Buy => self.ask,
            Side::Sell => self.bid,
        }
    }
}

/// Everything an order is judged by.
pub(super) struct View<'a> {
    pub(super) now: Timestamp,
    pub(super) limits: &'a Limits,
    /// The positions, while they are vouched for.
    pub(super) holdings: Option<&'a Holdings>,
    /// The account, while it is vouched for.
    pub(super) account: Option<&'a AccountStatement>,
    pub(super) exposures: Option<&'a Exposures>,
    /// Orders that work, but for one that is to be replaced.
    pub(super) open: &'a [&'a Order],
    /// Orders on their way.
    pub(super) begun: &'a [&'a Request],
    /// When the same order was begun last.
    pub(super) same_at: Option<Timestamp>,
    pub(super) paces: &'a Paces,
    pub(super) clock: Option<MarketClock>,
    pub(super) quotes: &'a HashMap<Symbol, Quote>,
    /// It was let through before, and counts already.
    pub(super) is_known: bool,
}

impl View<'_> {
    fn quote(&self, symbol: &Symbol) -> Option<&Quote> {
        self.quotes.get(symbol)
    }

    /// A price for a symbol, for whoever trades on this side; else what the venue says its position is worth.
    fn price(&self, symbol: &Symbol, side: Side) -> Option<Decimal> {
        let quoted = self.quote(symbol).and_then(|quote| quote.taken_by(side));
        quoted.or_else(|| {
            let positions = &self.holdings?.positions;
            let position = positions
                .iter()
                .find(|position| position.symbol.same_instrument(symbol))?;
            position.current_price
        })
    }
}

/// Judges an order. The first breach is told.
pub(super) fn judge(request: &Request, view: &View<'_>) -> Result<(), Breach> {
    let symbols = request.legs.iter().map(|leg| &leg.symbol);
    for (scope, bounds) in view.limits.bounds_of(request.strategy.as_ref(), symbols) {
        let judge = Judge {
            request,
            view,
            scope: &scope,
            bounds,
        };
        judge.all()?;
    }
    Ok(())
}

/// Whether an order only makes positions smaller, whatever else is filled.
pub(super) fn only_reduces(request: &Request, exposures: Option<&Exposures>) -> bool {
    let Some(exposures) = exposures.filter(|_| !request.opens && !request.legs.is_empty()) else {
        return false;
    };
    request.legs.iter().all(|leg| {
        let exposure = exposures.of(&leg.symbol);
        match (exposure, leg.qty) {
            (Some(exposure), Some(qty)) => exposure.is_reduced_by(leg.side, qty),
            _ => false,
        }
    })
}

struct Judge<'a> {
    request: &'a Request,
    view: &'a View<'a>,
    scope: &'a Scope,
    bounds: &'a Bounds,
}

impl Judge<'_> {
    fn all(&self) -> Result<(), Breach> {
        let reduces = only_reduces(self.request, self.view.exposures);
        self.symbols(reduces)?;
        self.times()?;
        self.size()?;
        self.collar()?;
        self.counts()?;
        self.repeats()?;
        self.loss(reduces)?;
        if !reduces {
            self.positions()?;
            self.gross()?;
            self.buying_power()?;
        }
        Ok(())
    }

    fn breach(&self, limit: LimitName, bound: impl fmt::Display, value: impl fmt::Display) -> Breach {
        Breach {
            limit,
            scope: self.scope.to_string(),
            bound: bound.to_string(),
            value: value.to_string(),
        }
    }

    /// A value that must be known, and at most the bound.
    fn at_most(
        &self,
        limit: LimitName,
        bound: Option<Decimal>,
        value: impl FnOnce() -> Option<Decimal>,
    ) -> Result<(), Breach> {
        let Some(bound) = bound else { return Ok(()) };
        match value() {
            Some(value) if value <= bound => Ok(()),
            Some(value) => Err(self.breach(limit, bound, value.normalize())),
            None => Err(self.breach(limit, bound, UNKNOWN)),
        }
    }

    fn symbols(&self, reduces: bool) -> Result<(), Breach> {
        let listed = |symbols: &std::collections::BTreeSet<Symbol>, wanted: &Symbol| {
            symbols.iter().any(|symbol| symbol.same_instrument(wanted))
        };
        for leg in &self.request.legs {
            if listed(&self.bounds.restricted_symbols, &leg.symbol) && !reduces {
                let bound = "closing only";
                return Err(self.breach(LimitName::RestrictedSymbols, bound, &leg.symbol));
            }
            let allowed = &self.bounds.allowed_symbols;
            if !allowed.is_empty() && !listed(allowed, &leg.symbol) && !reduces {
                let list: Vec<_> = allowed.iter().map(Symbol::as_str).collect();
                return Err(self.breach(LimitName::AllowedSymbols, list.join(","), &leg.symbol));
            }
        }
        Ok(())
    }

    fn times(&self) -> Result<(), Breach> {
        if !self.bounds.hours.is_empty() {
            let list: Vec<_> = self.bounds.hours.iter().map(Hours::to_string).collect();
            let bound = format!("{} New York, Mon-Fri", list.join(","));
            let Ok(local) = self.view.now.in_tz("America/New_York") else {
                return Err(self.breach(LimitName::Hours, bound, UNKNOWN));
            };
            let is_weekday = !matches!(local.weekday(), Weekday::Saturday | Weekday::Sunday);
            let time = local.time();
            let is_in = self
                .bounds
                .hours
                .iter()
                .any(|hours| hours.from <= time && time < hours.until);
            if !(is_weekday && is_in) {
                return Err(self.breach(LimitName::Hours, bound, local.strftime("%a %H:%M:%S")));
            }
        }
        let is_bound = |leg: &Leg| leg.symbol.asset_class() != AssetClass::Crypto;
        if self.bounds.regular_session_only && self.request.legs.iter().any(is_bound) {
            match self.view.clock.map(|clock| is_open(&clock, self.view.now)) {
                Some(true) => {}
                Some(false) => {
                    return Err(self.breach(
                        LimitName::RegularSessionOnly,
                        "the regular session",
                        "outside of it",
                    ));
                }
                None => {
                    return Err(self.breach(LimitName::RegularSessionOnly, "the regular session", UNKNOWN));
                }
            }
        }
        Ok(())
    }

    /// Shares of a leg, also of one that is for an amount of dollars.
    fn qty(&self, leg: &Leg) -> Option<Decimal> {
        leg.qty.or_else(|| {
            let price = self.view.price(&leg.symbol, leg.side)?;
            self.request.notional?.checked_div(price)
        })
    }

    fn size(&self) -> Result<(), Breach> {
        for leg in &self.request.legs {
            self.at_most(LimitName::MaxOrderQty, self.bounds.max_order_qty, || {
                self.qty(leg)
            })?;
        }
        self.at_most(
            LimitName::MaxOrderNotional,
            self.bounds.max_order_notional,
            || self.dollars(),
        )
    }

    fn dollars(&self) -> Option<Decimal> {
        self.request.dollars(|leg| self.view.price(&leg.symbol, leg.side))
    }

    /// The aggressive side alone: a buy far below the market waits, and costs nothing.
    fn collar(&self) -> Result<(), Breach> {
        let (percent, max_age) = (self.bounds.price_collar_percent, self.bounds.max_quote_age);
        if percent.is_none() && max_age.is_none() {
            return Ok(());
        }
        for leg in &self.request.legs {
            let quote = self.view.quote(&leg.symbol);
            if let Some(max_age) = max_age {
                let bound = format!("{} s", max_age.as_secs_f64());
                let max_age = SignedDuration::try_from(max_age).unwrap_or(SignedDuration::MAX);
                let Some(quote) = quote else {
                    return Err(self.breach(LimitName::MaxQuoteAge, bound, "no quote"));
                };
                let age = self.view.now.duration_since(quote.at);
                if age > max_age {
                    let value = format!("{} s", age.as_secs());
                    return Err(self.breach(LimitName::MaxQuoteAge, bound, value));
                }
            }
            let (Some(percent), Some(price), true) = (percent, self.request.price, self.request.is_limit)
            else {
                continue;
            };
            let bound = |edge: Option<Decimal>| match edge {
                Some(edge) => format!("{percent} % ({})", edge.round_dp(4).normalize()),
                None => format!("{percent} %"),
            };
            let share = percent.checked_div(Decimal::ONE_HUNDRED);
            let reference = quote.and_then(|quote| quote.taken_by(leg.side));
            let edge = share.zip(reference).and_then(|(share, reference)| {
                let factor = match leg.side {
                    Side::Buy => Decimal::ONE.checked_add(share)?,
                    Side::Sell => Decimal::ONE.checked_sub(share)?,
                };
                reference.checked_mul(factor)
            });
            let is_inside = edge.is_some_and(|edge| match leg.side {
                Side::Buy => price <= edge,
                Side::Sell => price >= edge,
            });
            if !is_inside {
                let value = if edge.is_some() {
                    price.to_string()
                } else {
                    UNKNOWN.to_owned()
                };
                return Err(self.breach(LimitName::PriceCollarPercent, bound(edge), value));
            }
        }
        Ok(())
    }

    fn counts(&self) -> Result<(), Breach> {
        if let Some(max) = self.bounds.max_open_orders {
            let is_in = |id: &str, symbols: &[&Symbol]| match self.scope {
                Scope::Account => true,
                Scope::Strategy(name) => Strategy::new(name.as_str()).owns(id),
                Scope::Symbol(wanted) => symbols.iter().any(|symbol| symbol.same_instrument(wanted)),
            };
            let working = self.view.open.iter().filter(|order| {
                let symbols: Vec<&Symbol> = order.symbol.iter().collect();
                is_in(&order.client_order_id, &symbols)
            });
            let begun = self.view.begun.iter().filter(|begun| {
                let symbols: Vec<&Symbol> = begun.legs.iter().map(|leg| &leg.symbol).collect();
                is_in(begun.id.as_str(), &symbols)
            });
            let count = working.count() + begun.count() + 1;
            if u32::try_from(count).unwrap_or(u32::MAX) > max {
                return Err(self.breach(LimitName::MaxOpenOrders, max, count));
            }
        }
        if self.view.is_known {
            return Ok(());
        }
        let pace = self.view.paces.of(self.scope, self.view.now);
        for (limit, max, count) in [
            (
                LimitName::MaxOrdersPerSecond,
                self.bounds.max_orders_per_second,
                pace.second,
            ),
            (
                LimitName::MaxOrdersPerMinute,
                self.bounds.max_orders_per_minute,
                pace.minute,
            ),
            (
                LimitName::MaxOrdersPerDay,
                self.bounds.max_orders_per_day,
                pace.day,
            ),
        ] {
            if let Some(max) = max
                && count >= max
            {
                return Err(self.breach(limit, max, count.saturating_add(1)));
            }
        }
        Ok(())
    }

    fn repeats(&self) -> Result<(), Breach> {
        let (Some(guard), Some(same_at), false) =
            (self.bounds.repeat_guard, self.view.same_at, self.view.is_known)
        else {
            return Ok(());
        };
        let since = self.view.now.duration_since(same_at);
        if since.unsigned_abs() >= guard {
            return Ok(());
        }
        let bound = format!("{} s", guard.as_secs_f64());
        let value = format!("the same order {} ms later", since.as_millis());
        Err(self.breach(LimitName::RepeatGuard, bound, value))
    }

    fn loss(&self, reduces: bool) -> Result<(), Breach> {
        if reduces {
            return Ok(());
        }
        self.at_most(LimitName::MaxDailyLoss, self.bounds.max_daily_loss, || {
            daily_loss(self.view.account?)
        })
    }

    fn positions(&self) -> Result<(), Breach> {
        for leg in &self.request.legs {
            let worst = || {
                let before = self.view.exposures?.of(&leg.symbol)?;
                let after = before.with(leg.side, self.qty(leg)?)?;
                // Its own side alone: what the other side may come to was let through when that began.
                let edge = match leg.side {
                    Side::Buy => after.highest()?,
                    Side::Sell => -after.lowest()?,
                };
                Some(edge.max(Decimal::ZERO))
            };
            self.at_most(LimitName::MaxPositionQty, self.bounds.max_position_qty, worst)?;
            self.at_most(
                LimitName::MaxPositionNotional,
                self.bounds.max_position_notional,
                || worst()?.checked_mul(self.unit(leg)?),
            )?;
        }
        Ok(())
    }

    /// Dollars of one unit of a leg.
    fn unit(&self, leg: &Leg) -> Option<Decimal> {
        let price = self.view.price(&leg.symbol, leg.side);
        let price = price.or(self.request.price.filter(|_| self.request.units.is_none()))?;
        unit_price(&leg.symbol, price)
    }

    fn gross(&self) -> Result<(), Breach> {
        self.at_most(
            LimitName::MaxGrossExposure,
            self.bounds.max_gross_exposure,
            || {
                let exposures = self.view.exposures?;
                let mut changed = HashMap::new();
                let mut units = HashMap::new();
                for leg in &self.request.legs {
                    let instrument = Instrument::of(&leg.symbol);
                    let before = match changed.get(&instrument) {
                        Some(before) => *before,
                        None => exposures.of(&leg.symbol)?,
                    };
                    changed.insert(instrument.clone(), before.with(leg.side, self.qty(leg)?)?);
                    units.insert(instrument, self.unit(leg)?);
                }
                let quoted = |instrument: &Instrument| {
                    units.get(instrument).copied().or_else(|| {
                        let mut symbols = self.view.quotes.iter();
                        let (symbol, quote) =
                            symbols.find(|(symbol, _)| Instrument::of(symbol) == *instrument)?;
                        unit_price(symbol, quote.ask.or(quote.bid)?)
                    })
                };
                let known =
                    |instrument: &Instrument| quoted(instrument).or_else(|| self.limit_of(instrument));
                exposures.gross(&self.view.holdings?.positions, &changed, &known)
            },
        )
    }

    /// The price an order that works, or is on its way, names for an instrument.
    fn limit_of(&self, instrument: &Instrument) -> Option<Decimal> {
        let open = self.view.open.iter().filter_map(|order| {
            let symbol = order.symbol.as_ref()?;
            let price = order.limit_price.or(order.stop_price)?;
            (Instrument::of(symbol) == *instrument).then(|| unit_price(symbol, price))?
        });
        let begun = self.view.begun.iter().filter_map(|begun| {
            let leg = begun
                .legs
                .iter()
                .find(|leg| Instrument::of(&leg.symbol) == *instrument)?;
            unit_price(&leg.symbol, begun.price?)
        });
        open.chain(begun).max()
    }

    fn buying_power(&self) -> Result<(), Breach> {
        if !self.bounds.check_buying_power {
            return Ok(());
        }
        let unknown = |bound: &str| self.breach(LimitName::CheckBuyingPower, bound, UNKNOWN);
        let Some(statement) = self.view.account else {
            return Err(unknown(UNKNOWN));
        };
        let account = &statement.account;
        let class = self.request.legs.first().map(|leg| leg.symbol.asset_class());
        let power = match class {
            Some(AssetClass::UsOption) => account.options_buying_power,
            Some(AssetClass::Crypto) => account.non_marginable_buying_power,
            Some(AssetClass::UsEquity | AssetClass::Other) | None => None,
        };
        let Some(power) = power.or(account.buying_power) else {
            return Err(unknown(UNKNOWN));
        };
        // The venue has taken off what it knew of; what began since is taken off here.
        let price = |leg: &Leg| self.view.price(&leg.symbol, leg.side);
        let begun = self.view.begun.iter().map(|begun| begun.dollars(price));
        let since = self.view.open.iter().filter(|order| {
            let submitted = order.submitted_at.or(order.created_at);
            submitted.is_none_or(|submitted| submitted >= statement.as_of)
        });
        let since = since.map(|order| {
            let symbol = order.symbol.as_ref()?;
            let dollars = || {
                let price = order
                    .limit_price
                    .or(order.stop_price)
                    .or_else(|| self.view.price(symbol, order.side?))?;
                order.qty?.checked_mul(unit_price(symbol, price)?)
            };
            order.notional.or_else(dollars)
        });
        let spent = begun
            .chain(since)
            .try_fold(Decimal::ZERO, |sum, dollars| sum.checked_add(dollars?));
        let left = spent.and_then(|spent| power.checked_sub(spent));
        let Some((left, cost)) = left.zip(self.dollars()) else {
            return Err(unknown(&power.to_string()));
        };
        if cost <= left {
            return Ok(());
        }
        Err(self.breach(LimitName::CheckBuyingPower, left.normalize(), cost.normalize()))
    }
}

/// Dollars of equity lost since the last close. `None`: the venue does not say.
pub(super) fn daily_loss(statement: &AccountStatement) -> Option<Decimal> {
    let (equity, before) = (statement.account.equity?, statement.account.last_equity?);
    before.checked_sub(equity)
}

/// Whether the regular session is on, by what the venue said of it some time ago.
fn is_open(clock: &MarketClock, now: Timestamp) -> bool {
    if clock.is_open {
        return clock.next_close.is_none_or(|close| now < close);
    }
    // Long ago it said when it would open, and not when it would close after that.
    clock.next_open.is_some_and(|open| {
        let since = now.duration_since(open);
        SignedDuration::ZERO <= since && since < SignedDuration::from_hours(1)
    })
}
