//! What the account's owner has set: some settings the venue obeys, the others it only keeps and shows.
//!
//! Absent: `max_margin_multiplier` and the day-trading checks change no buying power here.

use jiff::Timestamp;
use rust_decimal::Decimal;
use uuid::Uuid;

use super::assets::AssetClass;
use super::exchange::Exchange;
use super::order::{PositionIntent, Side};
use super::refusal::Refusal;
use super::request::OrderRequest;

/// The highest level of options trading, which the account is approved for.
pub(crate) const OPTIONS_LEVEL_MAX: u8 = 3;

/// The settings of an account. The words come from the lists that requests are checked against.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Configuration {
    pub(crate) dtbp_check: &'static str,
    pub(crate) pdt_check: &'static str,
    pub(crate) trade_confirm_email: &'static str,
    pub(crate) max_margin_multiplier: &'static str,
    pub(crate) max_options_trading_level: Option<u8>,
    pub(crate) disable_overnight_trading: bool,
    pub(crate) ptp_no_exception_entry: bool,
    /// Obeyed: false refuses fractional and notional orders of shares.
    pub(crate) fractional_trading: bool,
    /// Obeyed: true refuses to open a short position in shares.
    pub(crate) no_shorting: bool,
    /// Obeyed: true refuses every new order.
    pub(crate) suspend_trade: bool,
    /// Obeyed: true refuses orders that open a position.
    pub(crate) closing_transactions_only: bool,
}

/// Settings to change; absent means unchanged.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ConfigurationChange {
    pub(crate) dtbp_check: Option<&'static str>,
    pub(crate) pdt_check: Option<&'static str>,
    pub(crate) trade_confirm_email: Option<&'static str>,
    pub(crate) max_margin_multiplier: Option<&'static str>,
    pub(crate) max_options_trading_level: Option<u8>,
    pub(crate) disable_overnight_trading: Option<bool>,
    pub(crate) ptp_no_exception_entry: Option<bool>,
    pub(crate) fractional_trading: Option<bool>,
    pub(crate) no_shorting: Option<bool>,
    pub(crate) suspend_trade: Option<bool>,
    pub(crate) closing_transactions_only: Option<bool>,
}

impl Default for Configuration {
    fn default() -> Self {
        Self {
            dtbp_check: "entry",
            pdt_check: "entry",
            trade_confirm_email: "all",
            max_margin_multiplier: "4",
            max_options_trading_level: None,
            disable_overnight_trading: false,
            ptp_no_exception_entry: false,
            fractional_trading: true,
            no_shorting: false,
            suspend_trade: false,
            closing_transactions_only: false,
        }
    }
}

impl Configuration {
    fn change(&mut self, change: &ConfigurationChange) {
        fn set<T: Copy>(field: &mut T, to: Option<T>) {
            *field = to.unwrap_or(*field);
        }
        set(&mut self.dtbp_check, change.dtbp_check);
        set(&mut self.pdt_check, change.pdt_check);
        set(&mut self.trade_confirm_email, change.trade_confirm_email);
        set(&mut self.max_margin_multiplier, change.max_margin_multiplier);
        set(
            &mut self.max_options_trading_level,
            change.max_options_trading_level.map(Some),
        );
        set(
            &mut self.disable_overnight_trading,
            change.disable_overnight_trading,
        );
        set(&mut self.ptp_no_exception_entry, change.ptp_no_exception_entry);
        set(&mut self.fractional_trading, change.fractional_trading);
        set(&mut self.no_shorting, change.no_shorting);
        set(&mut self.suspend_trade, change.suspend_trade);
        set(
            &mut self.closing_transactions_only,
            change.closing_transactions_only,
        );
    }
}

impl Exchange {
    pub(crate) fn configuration(&self) -> &Configuration {
        &self.paperwork.configuration
    }

    pub(crate) fn configure(&mut self, change: &ConfigurationChange) {
        self.paperwork.configuration.change(change);
    }

    /// Takes an order unless the account's owner has ruled it out.
    pub(crate) fn place(&mut self, now: Timestamp, request: OrderRequest) -> Result<Uuid, Refusal> {
        // Who repeats a client id must learn that the order exists, whatever the account may do by now.
        let client_order_id = request.client_order_id.as_deref();
        if client_order_id.is_none_or(|id| self.book.by_client_order_id(id).is_none()) {
            self.refuse_ruled_out(&request)?;
        }
        self.submit(now, request)
    }

    fn refuse_ruled_out(&self, request: &OrderRequest) -> Result<(), Refusal> {
        let configuration = self.configuration();
        if configuration.suspend_trade {
            return Err(Refusal::denied("new orders are rejected by user request"));
        }
        let asset = request
            .symbol
            .as_deref()
            .and_then(|symbol| self.assets.find(symbol));
        let position = asset.as_ref().map(|asset| self.ledger.qty(&asset.symbol));
        let is_equity = asset.is_some_and(|asset| asset.class == AssetClass::UsEquity);
        let is_fractional =
            request.notional.is_some() || request.qty.is_some_and(|qty| !qty.fract().is_zero());
        if is_equity && is_fractional && !configuration.fractional_trading {
            return Err(Refusal::denied(
                "fractional trading is not enabled for this account",
            ));
        }
        let opens = position.zip(request.side).is_some_and(|(held, side)| match side {
            Side::Buy => held >= Decimal::ZERO,
            Side::Sell => held <= Decimal::ZERO,
        });
        if is_equity && opens && request.side == Some(Side::Sell) && configuration.no_shorting {
            return Err(Refusal::denied("account is not allowed to short"));
        }
        let leg_opens = request.legs.iter().any(|leg| {
            matches!(
                leg.position_intent,
                Some(PositionIntent::BuyToOpen | PositionIntent::SellToOpen)
            )
        });
        if (opens || leg_opens) && configuration.closing_transactions_only {
            return Err(Refusal::denied(
                "account is restricted to closing transactions only",
            ));
        }
        Ok(())
    }
}
