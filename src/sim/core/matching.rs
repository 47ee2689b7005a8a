//! Would this order trade at this quote? Pure arithmetic on one order and one quote.

use rust_decimal::Decimal;

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
        OrderType::Stop | OrderType::TrailingStop => elected,
        OrderType::StopLimit => elected && within_limit,
    };
    Look {
        elected,
        hwm,
        stop_price,
        fill_price: trades.then_some(market),
    }
}
