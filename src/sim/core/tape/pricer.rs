//! The price of one asset along time: what was looked up once serves for every moment asked about.

use jiff::Timestamp;
use jiff::civil::Date;
use rust_decimal::Decimal;

use super::super::assets::{Asset, Contract};
use super::super::calendar::{day_begins_at, new_york_day};
use super::super::prices::option_price;
use super::walk::Walk;
use super::{Levers, Tape};

/// Answers for one asset; cheapest when asked along time.
pub(super) struct Pricer<'a> {
    tape: &'a Tape,
    levers: &'a Levers,
    symbol: &'a str,
    /// What walks: the asset itself, or the share that an option is written on.
    base: Base<'a>,
}

struct Base<'a> {
    symbol: String,
    walk: Walk<'a>,
    contract: Option<Contract>,
    /// The day of the last question, and when it begins and ends.
    day: (Date, Timestamp, Timestamp),
}

impl<'a> Pricer<'a> {
    pub(super) fn new(tape: &'a Tape, levers: &'a Levers, asset: &'a Asset) -> Self {
        let underlying = asset.contract.zip(asset.underlying);
        let option = underlying.and_then(|(contract, symbol)| Some((contract, tape.assets.find(symbol)?)));
        let (contract, share) =
            option.map_or((None, None), |(contract, share)| (Some(contract), Some(share)));
        let base = share.as_ref().unwrap_or(asset);
        Self {
            tape,
            levers,
            symbol: &asset.symbol,
            base: Base {
                symbol: base.symbol.clone(),
                walk: tape.walk(base),
                contract,
                day: (Date::constant(1970, 1, 1), Timestamp::MAX, Timestamp::MIN),
            },
        }
    }

    pub(super) fn at(&mut self, at: Timestamp) -> Decimal {
        if let Some(price) = self.levers.pinned(self.symbol, at) {
            return price;
        }
        let base = &mut self.base;
        let spot = match base.contract {
            Some(_) => self.levers.pinned(&base.symbol, at),
            None => None,
        };
        let spot = spot
            .or_else(|| self.tape.recording()?.price_at(&base.symbol, at))
            .unwrap_or_else(|| base.walk.price_at(at));
        match base.contract {
            Some(contract) => option_price(contract, spot, base.day(at)),
            None => spot,
        }
    }
}

impl Base<'_> {
    fn day(&mut self, at: Timestamp) -> Date {
        let (day, begin, end) = self.day;
        if begin <= at && at < end {
            return day;
        }
        let day = new_york_day(at);
        let end = day.tomorrow().map_or(Timestamp::MAX, day_begins_at);
        self.day = (day, day_begins_at(day), end);
        day
    }
}
