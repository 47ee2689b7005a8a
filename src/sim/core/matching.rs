//! Would this order trade at this quote? Pure arithmetic on one order and one quote.

use rust_decimal::Decimal;

use super::assets::AssetClass;
use super::exchange::trailing_stop;
use super::order::{Order, OrderType, Side};
use super::prices::Quote;

/// What one look at the market does to an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Look {
    /// The stop price was reached, now or before.
    pub(crate) elected: bool,
    /// A trailing stop's water mark.
    pub(crate) hwm: Option<Decimal>,
    /// The stop, which trails the water mark.
    pub(crate) stop_price: Option<Decimal>,
    /// The price at which it trades now.
    pub(crate) fill_price: Option<Decimal>,
}

pub(crate) fn look(order: &Order, side: Side, order_type: OrderType, quote: Quote) -> Look {
    let hwm = order.hwm.map(|mark| match side {
        Side::Sell => mark.max(quote.last),
        Side::Buy => mark.min(quote.last),
    });
    let stop_price = match (order.trail, hwm) {
        (Some(trail), Some(mark)) if !order.elected => Some(trailing_stop(trail, side, mark)),
        (Some(_) | None, _) => order.stop_price,
    };
    let reached = stop_price.is_some_and(|stop| match side {
        Side::Sell => quote.last <= stop,
        Side::Buy => quote.last >= stop,
    });
    let elected = order.elected || reached;
    let market = match side {
        Side::Buy => quote.ask,
        Side::Sell => quote.bid,
    };
    let within_limit = order.limit_price.is_some_and(|limit| match side {
        Side::Buy => quote.ask <= limit,
        Side::Sell => quote.bid >= limit,
    });
    let trades = match order_type {
        OrderType::Market => true,
        OrderType::Limit => within_limit,
        OrderType::Stop => elected && within_collar(order, side, quote.ask),
        OrderType::TrailingStop => elected,
        OrderType::StopLimit => elected && within_limit,
    };
    Look {
        elected,
        hwm,
        stop_price,
        fill_price: trades.then_some(market),
    }
}

/// A stop that buys shares works as a stop-limit: 4 % above a stop below 50 dollars, 2.5 % above any other.
fn within_collar(order: &Order, side: Side, ask: Decimal) -> bool {
    let (Side::Buy, Some(AssetClass::UsEquity), Some(stop)) = (side, order.asset_class, order.stop_price)
    else {
        return true;
    };
    let slack = if stop < Decimal::from(50) {
        Decimal::new(4, 2)
    } else {
        Decimal::new(25, 3)
    };
    ask <= stop + stop * slack
}
