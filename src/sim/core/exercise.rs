//! Options turned into shares on the holder's word.
//!
//! Absent: what expiry does to those nobody spoke for.

use jiff::Timestamp;
use rust_decimal::Decimal;

use super::assets::Asset;
use super::calendar::new_york_day;
use super::exchange::Exchange;
use super::order::Side;
use super::refusal::Refusal;

/// What came of an exercise, in contracts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Exercised {
    pub(crate) qty: Decimal,
    pub(crate) remaining: Decimal,
}

impl Exchange {
    /// Exercises every contract held that no open order keeps: shares change hands at the strike, at once.
    pub(crate) fn exercise(&mut self, now: Timestamp, name: &str) -> Result<Exercised, Refusal> {
        let now = self.at(now);
        let option = self.long_option(name)?;
        let (Some(contract), Some(share)) = (
            option.contract,
            option.underlying.and_then(|symbol| self.assets.find(symbol)),
        ) else {
            return Err(Refusal::unprocessable(format!(
                "underlying asset of \"{}\" not found",
                option.symbol
            )));
        };
        if contract.expires_on < new_york_day(now) {
            return Err(Refusal::unprocessable(format!(
                "contract \"{}\" is expired",
                option.symbol
            )));
        }
        let (existing, held) = self.available(&option.symbol);
        let qty = existing - held;
        if qty <= Decimal::ZERO {
            return Err(Refusal::insufficient_qty(
                &option.symbol,
                existing,
                existing,
                held,
            ));
        }
        let shares = qty * option.multiplier();
        let side = if contract.is_call { Side::Buy } else { Side::Sell };
        match side {
            Side::Buy => {
                let (power, cost) = (self.funds().buying_power, shares * contract.strike);
                if cost > power {
                    return Err(Refusal::buying_power(power, cost));
                }
            }
            Side::Sell => {
                let (existing, held) = self.available(&share.symbol);
                let long = if self.ledger.qty(&share.symbol).is_sign_negative() {
                    Decimal::ZERO
                } else {
                    existing
                };
                if shares > long - held {
                    return Err(Refusal::insufficient_qty(&share.symbol, shares, long, held));
                }
            }
        }
        let exercised = ("OPEXC", "Option Exercise");
        self.post(now, exercised, &option, (Side::Sell, qty, Decimal::ZERO));
        self.post(
            now,
            ("OPTRD", "Option Trade"),
            &share,
            (side, shares, contract.strike),
        );
        Ok(Exercised {
            qty,
            remaining: existing - qty,
        })
    }

    /// Keeps a contract from being exercised when it expires, which is said on the day it does.
    pub(crate) fn do_not_exercise(&mut self, now: Timestamp, name: &str) -> Result<(), Refusal> {
        let now = self.at(now);
        let option = self.long_option(name)?;
        let today = new_york_day(now);
        if option
            .contract
            .is_none_or(|contract| contract.expires_on != today)
        {
            return Err(Refusal::unprocessable(format!(
                "contract \"{}\" does not expire today",
                option.symbol
            )));
        }
        self.paperwork.left_alone.insert(option.symbol);
        Ok(())
    }

    fn long_option(&self, name: &str) -> Result<Asset, Refusal> {
        let missing = || Refusal::not_found("position does not exist");
        let asset = self.assets.find(name).ok_or_else(missing)?;
        let held = self.ledger.qty(&asset.symbol);
        if held.is_zero() {
            return Err(missing());
        }
        if asset.contract.is_none() || held.is_sign_negative() {
            return Err(Refusal::unprocessable(
                "only long option positions can be exercised",
            ));
        }
        Ok(asset)
    }
}
