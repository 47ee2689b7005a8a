//! The venue's words, in both directions. What it says is an open set: an unknown word is no word.

use crate::domain::AssetClass;
use crate::domain::execution::{OrderClass, OrderType};
use crate::domain::order::{PositionIntent, Side, TimeInForce};

pub(super) fn side(side: Side) -> &'static str {
    match side {
        Side::Buy => "buy",
        Side::Sell => "sell",
    }
}

pub(super) fn order_type(order_type: OrderType) -> &'static str {
    match order_type {
        OrderType::Market => "market",
        OrderType::Limit => "limit",
        OrderType::Stop => "stop",
        OrderType::StopLimit => "stop_limit",
        OrderType::TrailingStop => "trailing_stop",
    }
}

/// `None` for a simple order: the venue's default, and the one form every asset class takes.
pub(super) fn order_class(order_class: OrderClass) -> Option<&'static str> {
    match order_class {
        OrderClass::Simple => None,
        OrderClass::Bracket => Some("bracket"),
        OrderClass::OneCancelsOther => Some("oco"),
        OrderClass::OneTriggersOther => Some("oto"),
        OrderClass::MultiLeg => Some("mleg"),
    }
}

pub(super) fn time_in_force(time_in_force: TimeInForce) -> &'static str {
    match time_in_force {
        TimeInForce::Day => "day",
        TimeInForce::Gtc => "gtc",
        TimeInForce::Opg => "opg",
        TimeInForce::Ioc => "ioc",
        TimeInForce::Fok => "fok",
        TimeInForce::Gtx => "gtx",
        TimeInForce::Gtd => "gtd",
        TimeInForce::Cls => "cls",
    }
}

pub(super) fn position_intent(intent: PositionIntent) -> &'static str {
    match intent {
        PositionIntent::BuyToOpen => "buy_to_open",
        PositionIntent::BuyToClose => "buy_to_close",
        PositionIntent::SellToOpen => "sell_to_open",
        PositionIntent::SellToClose => "sell_to_close",
    }
}

pub(super) fn read_asset_class(word: &str) -> AssetClass {
    match word {
        "us_equity" => AssetClass::UsEquity,
        "crypto" => AssetClass::Crypto,
        "us_option" => AssetClass::UsOption,
        _ => AssetClass::Other,
    }
}

pub(super) fn read_order_class(word: &str) -> Option<OrderClass> {
    match word {
        "simple" => Some(OrderClass::Simple),
        "bracket" => Some(OrderClass::Bracket),
        "oco" => Some(OrderClass::OneCancelsOther),
        "oto" => Some(OrderClass::OneTriggersOther),
        "mleg" => Some(OrderClass::MultiLeg),
        _ => None,
    }
}

pub(super) fn read_order_type(word: &str) -> Option<OrderType> {
    match word {
        "market" => Some(OrderType::Market),
        "limit" => Some(OrderType::Limit),
        "stop" => Some(OrderType::Stop),
        "stop_limit" => Some(OrderType::StopLimit),
        "trailing_stop" => Some(OrderType::TrailingStop),
        _ => None,
    }
}

pub(super) fn read_side(word: &str) -> Option<Side> {
    match word {
        "buy" => Some(Side::Buy),
        "sell" => Some(Side::Sell),
        _ => None,
    }
}

pub(super) fn read_time_in_force(word: &str) -> Option<TimeInForce> {
    match word {
        "day" => Some(TimeInForce::Day),
        "gtc" => Some(TimeInForce::Gtc),
        "opg" => Some(TimeInForce::Opg),
        "ioc" => Some(TimeInForce::Ioc),
        "fok" => Some(TimeInForce::Fok),
        "gtx" => Some(TimeInForce::Gtx),
        "gtd" => Some(TimeInForce::Gtd),
        "cls" => Some(TimeInForce::Cls),
        _ => None,
    }
}

pub(super) fn read_position_intent(word: &str) -> Option<PositionIntent> {
    match word {
        "buy_to_open" => Some(PositionIntent::BuyToOpen),
        "buy_to_close" => Some(PositionIntent::BuyToClose),
        "sell_to_open" => Some(PositionIntent::SellToOpen),
        "sell_to_close" => Some(PositionIntent::SellToClose),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_we_say_is_what_we_understand() {
        use OrderClass as Class;
        use PositionIntent as Intent;
        use TimeInForce as Tif;
        for value in [Side::Buy, Side::Sell] {
            assert_eq!(read_side(side(value)), Some(value));
        }
        for value in [
            OrderType::Market,
            OrderType::Limit,
            OrderType::Stop,
            OrderType::StopLimit,
            OrderType::TrailingStop,
        ] {
            assert_eq!(read_order_type(order_type(value)), Some(value));
        }
        for value in [
            Class::Bracket,
            Class::OneCancelsOther,
            Class::OneTriggersOther,
            Class::MultiLeg,
        ] {
            assert_eq!(order_class(value).and_then(read_order_class), Some(value));
        }
        for value in [
            Tif::Day,
            Tif::Gtc,
            Tif::Opg,
            Tif::Ioc,
            Tif::Fok,
            Tif::Gtx,
            Tif::Gtd,
            Tif::Cls,
        ] {
            assert_eq!(read_time_in_force(time_in_force(value)), Some(value));
        }
        for value in [
            Intent::BuyToOpen,
            Intent::BuyToClose,
            Intent::SellToOpen,
            Intent::SellToClose,
        ] {
            assert_eq!(read_position_intent(position_intent(value)), Some(value));
        }
    }
}
