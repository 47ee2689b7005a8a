//! The venue's record of an order, and the events of its life.

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;
use rust_decimal::Decimal;

use super::order::{
    Placement, PositionIntent, Pricing, Replacement, Side, Size, Structure, TimeInForce, Trail,
};
use super::{NewOrder, OrderId, Outcome, Symbol};

/// What kind of thing is traded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names say it")]
pub enum AssetClass {
    UsEquity,
    Crypto,
    UsOption,
    /// A class this program does not know, or none.
    Other,
}

/// How an order is priced, without the prices.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names say it")]
pub enum OrderType {
    Market,
    Limit,
    Stop,
    StopLimit,
    TrailingStop,
}

/// Whether an order stands alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names say it")]
pub enum OrderClass {
    Simple,
    Bracket,
    OneCancelsOther,
    OneTriggersOther,
    MultiLeg,
}

/// Where an order is in its life. The venue's set is open: what we do not know is kept as text.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the venue's words")]
pub enum OrderStatus {
    Accepted,
    PendingNew,
    New,
    Held,
    PartiallyFilled,
    PendingCancel,
    PendingReplace,
    DoneForDay,
    Filled,
    Canceled,
    Expired,
    Rejected,
    Replaced,
    /// A word this program does not know. Treated as alive.
    Other(String),
}

impl OrderStatus {
    /// Reads the venue's word.
    pub fn from_venue(word: &str) -> Self {
        match word {
            "accepted" => Self::Accepted,
            "pending_new" => Self::PendingNew,
            "new" => Self::New,
            "held" => Self::Held,
            "partially_filled" => Self::PartiallyFilled,
            "pending_cancel" => Self::PendingCancel,
            "pending_replace" => Self::PendingReplace,
            "done_for_day" => Self::DoneForDay,
            "filled" => Self::Filled,
            "canceled" => Self::Canceled,
            "expired" => Self::Expired,
            "rejected" => Self::Rejected,
            "replaced" => Self::Replaced,
            other => Self::Other(other.to_owned()),
        }
    }

    /// The venue's word.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Accepted => "accepted",
            Self::PendingNew => "pending_new",
            Self::New => "new",
            Self::Held => "held",
            Self::PartiallyFilled => "partially_filled",
            Self::PendingCancel => "pending_cancel",
            Self::PendingReplace => "pending_replace",
            Self::DoneForDay => "done_for_day",
            Self::Filled => "filled",
            Self::Canceled => "canceled",
            Self::Expired => "expired",
            Self::Rejected => "rejected",
            Self::Replaced => "replaced",
            Self::Other(word) => word,
        }
    }

    /// Whether the order's life is over. A terminal state is never left.
    pub fn is_terminal(&self) -> bool {
        match self {
            Self::Filled | Self::Canceled | Self::Expired | Self::Rejected | Self::Replaced => true,
            Self::Accepted
            | Self::PendingNew
            | Self::New
            | Self::Held
            | Self::PartiallyFilled
            | Self::PendingCancel
            | Self::PendingReplace
            | Self::DoneForDay
            | Self::Other(_) => false,
        }
    }
}

impl fmt::Display for OrderStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The venue's record of an order, as it was at one instant. What the venue left out is `None`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(
    missing_docs,
    reason = "the venue's fields, documented in proto/tradesvc/v0/tradesvc.proto"
)]
pub struct Order {
    /// `None` only on an order that never reached the venue.
    pub id: Option<OrderId>,
    /// As the venue has it; orders placed elsewhere may carry any text.
    pub client_order_id: String,
    pub created_at: Option<Timestamp>,
    pub updated_at: Option<Timestamp>,
    pub submitted_at: Option<Timestamp>,
    pub filled_at: Option<Timestamp>,
    pub expired_at: Option<Timestamp>,
    pub canceled_at: Option<Timestamp>,
    pub failed_at: Option<Timestamp>,
    pub replaced_at: Option<Timestamp>,
    pub replaced_by: Option<OrderId>,
    pub replaces: Option<OrderId>,
    pub asset_id: String,
    /// `None` on the parent of a multi-leg order.
    pub symbol: Option<Symbol>,
    pub asset_class: AssetClass,
    pub order_class: Option<OrderClass>,
    pub order_type: Option<OrderType>,
    pub side: Option<Side>,
    pub time_in_force: Option<TimeInForce>,
    pub status: OrderStatus,
    pub notional: Option<Decimal>,
    pub qty: Option<Decimal>,
    /// Cumulative.
    pub filled_qty: Decimal,
    pub filled_avg_price: Option<Decimal>,
    pub limit_price: Option<Decimal>,
    pub stop_price: Option<Decimal>,
    pub trail_price: Option<Decimal>,
    pub trail_percent: Option<Decimal>,
    pub hwm: Option<Decimal>,
    pub extended_hours: bool,
    pub position_intent: Option<PositionIntent>,
    pub ratio_qty: Option<Decimal>,
    pub legs: Vec<Order>,
}

/// A field in which the venue's order is not the order we asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the venue's order differs from ours in {field}")]
pub struct Mismatch {
    /// Name of the field.
    pub field: &'static str,
}

/// Decimals the venue keeps of a quantity; it cuts the rest off without a word (measured on crypto).
const QTY_DECIMALS: u32 = 9;

impl Order {
    /// Whether this is what we asked for.
    pub fn is_what_was_asked(&self, asked: &Placement) -> Result<(), Mismatch> {
        match asked {
            Placement::New(order) => self.agrees_with(order),
            Placement::Replacement(replacement) => self.agrees_with_changes(replacement),
        }
    }

    /// Whether this order took another's place with the changes we asked for. A price that the order has no use
    /// for is no change, and what the venue left out proves nothing.
    fn agrees_with_changes(&self, asked: &Replacement) -> Result<(), Mismatch> {
        let differs = |field| Err(Mismatch { field });
        let unequal = |theirs: Option<Decimal>, ours: Option<Decimal>| {
            theirs.zip(ours).is_some_and(|(theirs, ours)| theirs != ours)
        };
        let changes = &asked.changes;
        // Not which order it replaces: with a chain on its way that may be a successor of the one we named.
        let qty = changes
            .quantity
            .map(|qty| qty.decimal().trunc_with_scale(QTY_DECIMALS));
        if unequal(self.qty, qty) {
            return differs("qty");
        }
        if unequal(self.limit_price, changes.limit.map(|price| price.decimal())) {
            return differs("limit_price");
        }
        let trails = self.trail_price.is_some() || self.trail_percent.is_some();
        if !trails && unequal(self.stop_price, changes.stop.map(|price| price.decimal())) {
            return differs("stop_price");
        }
        if unequal(
            self.trail_price.or(self.trail_percent),
            changes.trail.map(|trail| trail.decimal()),
        ) {
            return differs("trail");
        }
        match (self.time_in_force, changes.time_in_force) {
            (Some(theirs), Some(ours)) if theirs != ours => differs("time_in_force"),
            _ => Ok(()),
        }
    }

    /// Whether this is the order we asked for: the same thing, side, kind, size and prices.
    ///
    /// Fields the venue left out prove nothing and are passed over. A quantity is compared as far as the venue
    /// keeps it. A trailing stop's stop price moves by itself and is not compared.
    pub fn agrees_with(&self, asked: &NewOrder) -> Result<(), Mismatch> {
        let differs = |field| Err(Mismatch { field });
        let unequal = |theirs: Option<Decimal>, ours: Option<Decimal>| theirs.is_some() && theirs != ours;
        let (size_qty, size_notional) = match asked.size {
            Size::Quantity(qty) => (Some(qty.decimal().trunc_with_scale(QTY_DECIMALS)), None),
            Size::Notional(notional) => (None, Some(notional.decimal())),
        };
        if size_qty.is_some() && unequal(self.qty, size_qty) {
            return differs("qty");
        }
        if unequal(self.notional, size_notional) {
            return differs("notional");
        }
        if unequal(self.limit_price, asked.structure.limit_price()) {
            return differs("limit_price");
        }
        if self
            .time_in_force
            .is_some_and(|theirs| theirs != asked.time_in_force)
        {
            return differs("time_in_force");
        }
        let multi_leg = self.order_class == Some(OrderClass::MultiLeg);
        match &asked.structure {
            Structure::MultiLeg { legs, .. } => {
                if self.order_class.is_some() && !multi_leg {
                    return differs("order_class");
                }
                let same_legs = |ours: &super::order::Leg| {
                    self.legs.iter().any(|theirs| {
                        theirs.symbol.as_ref() == Some(&ours.symbol)
                            && theirs.side.is_none_or(|side| side == ours.side)
                    })
                };
                let agree = self.legs.len() == legs.len() && legs.iter().all(same_legs);
                if !self.legs.is_empty() && !agree {
                    return differs("legs");
                }
            }
            Structure::Single {
                symbol,
                side,
                pricing,
                ..
            } => {
                if multi_leg {
                    return differs("order_class");
                }
                if self
                    .symbol
                    .as_ref()
                    .is_some_and(|theirs| !theirs.same_instrument(symbol))
                {
                    return differs("symbol");
                }
                if self.side.is_some_and(|theirs| theirs != *side) {
                    return differs("side");
                }
                if self
                    .order_type
                    .is_some_and(|theirs| theirs != pricing.order_type())
                {
                    return differs("type");
                }
                let (trail_price, trail_percent) = match pricing {
                    Pricing::TrailingStop(Trail::Amount(amount)) => (Some(amount.decimal()), None),
                    Pricing::TrailingStop(Trail::Percent(percent)) => (None, Some(percent.decimal())),
                    Pricing::Market
                    | Pricing::Limit { .. }
                    | Pricing::Stop { .. }
                    | Pricing::StopLimit { .. } => {
                        if unequal(self.stop_price, asked.structure.stop_price()) {
                            return differs("stop_price");
                        }
                        (None, None)
                    }
                };
                if unequal(self.trail_price, trail_price) {
                    return differs("trail_price");
                }
                if unequal(self.trail_percent, trail_percent) {
                    return differs("trail_percent");
                }
            }
        }
        Ok(())
    }

    /// This order, or what was told of it now, whichever is later in its life. Tellings come in any order, but an
    /// order that is over stays over, and a quantity that is filled stays filled.
    #[must_use]
    pub fn or_later(self: Arc<Self>, told: Arc<Self>) -> Arc<Self> {
        let (mut later, earlier) = if self.is_overtaken_by(&told) {
            (told, self)
        } else {
            (self, told)
        };
        // Known from one source and not from another, and never taken back.
        if later.replaced_by.is_none() && earlier.replaced_by.is_some() {
            Arc::make_mut(&mut later).replaced_by = earlier.replaced_by;
        }
        later
    }

    /// This order after the venue took back or corrected one of its fills. What is over stays over.
    #[must_use]
    pub fn corrected_by(self: Arc<Self>, mut told: Arc<Self>) -> Arc<Self> {
        if self.id == told.id && self.status.is_terminal() && !told.status.is_terminal() {
            Arc::make_mut(&mut told).status = self.status.clone();
        }
        told
    }

    fn is_overtaken_by(&self, told: &Self) -> bool {
        if self.id != told.id {
            // Another order under the same id: the account was made anew.
            return told.created_at >= self.created_at;
        }
        let is_over = (self.status.is_terminal(), told.status.is_terminal());
        let filled = told.filled_qty.cmp(&self.filled_qty);
        match (is_over, filled) {
            ((true, false), _) => false,
            ((false, true), _) => true,
            ((true, true) | (false, false), Ordering::Less) => false,
            ((true, true) | (false, false), Ordering::Greater) => true,
            ((true, true) | (false, false), Ordering::Equal) => told.updated_at >= self.updated_at,
        }
    }

    /// The order as a refusal describes it: asked for, and never at the venue.
    pub fn refused(client_order_id: &str, asked: Option<&NewOrder>, at: Timestamp) -> Self {
        let structure = asked.map(|order| &order.structure);
        let single = structure.and_then(|structure| match structure {
            Structure::Single {
                symbol,
                side,
                pricing,
                exits,
            } => Some((symbol, *side, pricing, exits)),
            Structure::MultiLeg { .. } => None,
        });
        let trail = single.and_then(|(_, _, pricing, _)| match pricing {
            Pricing::TrailingStop(trail) => Some(*trail),
            Pricing::Market | Pricing::Limit { .. } | Pricing::Stop { .. } | Pricing::StopLimit { .. } => {
                None
            }
        });
        Self {
            id: None,
            client_order_id: client_order_id.to_owned(),
            created_at: Some(at),
            updated_at: Some(at),
            submitted_at: Some(at),
            filled_at: None,
            expired_at: None,
            canceled_at: None,
            failed_at: Some(at),
            replaced_at: None,
            replaced_by: None,
            replaces: None,
            asset_id: String::new(),
            symbol: single.map(|(symbol, ..)| symbol.clone()),
            asset_class: single.map_or(AssetClass::Other, |(symbol, ..)| symbol.asset_class()),
            order_class: structure.map(Structure::order_class),
            order_type: structure.map(Structure::order_type),
            side: single.map(|(_, side, ..)| side),
            time_in_force: asked.map(|order| order.time_in_force),
            status: OrderStatus::Rejected,
            notional: asked.and_then(|order| match order.size {
                Size::Notional(notional) => Some(notional.decimal()),
                Size::Quantity(_) => None,
            }),
            qty: asked.and_then(|order| match order.size {
                Size::Quantity(qty) => Some(qty.decimal()),
                Size::Notional(_) => None,
            }),
            filled_qty: Decimal::ZERO,
            filled_avg_price: None,
            limit_price: structure.and_then(Structure::limit_price),
            stop_price: structure.and_then(Structure::stop_price),
            trail_price: trail.and_then(|trail| match trail {
                Trail::Amount(amount) => Some(amount.decimal()),
                Trail::Percent(_) => None,
            }),
            trail_percent: trail.and_then(|trail| match trail {
                Trail::Percent(percent) => Some(percent.decimal()),
                Trail::Amount(_) => None,
            }),
            hwm: None,
            extended_hours: asked.is_some_and(|order| order.extended_hours),
            position_intent: asked.and_then(|order| order.position_intent),
            ratio_qty: None,
            legs: Vec::new(),
        }
    }
}

impl Pricing {
    /// The kind of order this pricing makes.
    pub fn order_type(&self) -> OrderType {
        match self {
            Self::Market => OrderType::Market,
            Self::Limit { .. } => OrderType::Limit,
            Self::Stop { .. } => OrderType::Stop,
            Self::StopLimit { .. } => OrderType::StopLimit,
            Self::TrailingStop(_) => OrderType::TrailingStop,
        }
    }
}

impl Structure {
    /// The venue's class for this structure.
    pub fn order_class(&self) -> OrderClass {
        use super::order::Exits;
        match self {
            Self::MultiLeg { .. } => OrderClass::MultiLeg,
            Self::Single { exits, .. } => match exits {
                Exits::None => OrderClass::Simple,
                Exits::Bracket(..) => OrderClass::Bracket,
                Exits::OneCancelsOther(..) => OrderClass::OneCancelsOther,
                Exits::TriggersTakeProfit(_) | Exits::TriggersStopLoss(_) => OrderClass::OneTriggersOther,
            },
        }
    }

    /// The kind of order this structure makes.
    pub fn order_type(&self) -> OrderType {
        match self {
            Self::Single { pricing, .. } => pricing.order_type(),
            Self::MultiLeg { limit, .. } => limit.map_or(OrderType::Market, |_| OrderType::Limit),
        }
    }
}

/// One event in an order's life (FIX ExecutionReport), from the venue or from our own refusal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExecutionReport {
    /// The venue's word for what happened. An open set.
    pub event: String,
    /// When the venue sent it, else when we heard it.
    pub at: Timestamp,
    /// When it happened.
    pub timestamp: Timestamp,
    /// The venue's ULID of the event, if it sent one.
    pub event_id: Option<String>,
    /// The venue's id of the execution, if it sent one. Repeated when the venue repeats itself.
    pub execution_id: Option<String>,
    /// The order after the event.
    pub order: Order,
    /// The position after the event, negative when short.
    pub position_qty: Option<Decimal>,
    /// Price of this execution alone (FIX LastPx).
    pub last_px: Option<Decimal>,
    /// Quantity of this execution alone (FIX LastQty).
    pub last_qty: Option<Decimal>,
    /// Why, if there is something to say.
    pub reason: Option<String>,
    /// Found by asking after a gap, not heard.
    pub recovered: bool,
}

impl ExecutionReport {
    /// The event's identity, the same in every source: order, event, and how much was filled by then.
    ///
    /// Execution ids would be shorter, but the venue's FILL activities, which fill gaps, carry none.
    pub fn identity(&self) -> String {
        match self.order.id {
            Some(id) => format!("{id}:{}:{}", self.event, self.order.filled_qty.normalize()),
            None => format!(
                "{}:{}:{}",
                self.order.client_order_id,
                self.event,
                self.at.as_nanosecond()
            ),
        }
    }

    /// The event `rejected` of an order the venue never had.
    pub fn refused(outcome: &Outcome, asked: Option<&NewOrder>) -> Self {
        Self {
            event: "rejected".to_owned(),
            at: outcome.at,
            timestamp: outcome.at,
            event_id: None,
            execution_id: None,
            order: Order::refused(&outcome.client_order_id, asked, outcome.at),
            position_qty: None,
            last_px: None,
            last_qty: None,
            reason: Some(format!(
                "{}: {}",
                outcome.verdict.as_str(),
                outcome.verdict.message()
            )),
            recovered: false,
        }
    }

    /// Whether the event added to what is filled. A bust or a correction takes back, and is told by its own word.
    pub fn adds_quantity(&self) -> bool {
        matches!(self.event.as_str(), "fill" | "partial_fill")
    }

    /// Whether the event moved the position.
    pub fn is_fill(&self) -> bool {
        self.adds_quantity() || self.is_correction()
    }

    /// Whether the event took back or changed a fill of before.
    pub fn is_correction(&self) -> bool {
        matches!(self.event.as_str(), "trade_bust" | "trade_correct")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::order::Exits;
    use crate::domain::{Price, Quantity};

    fn asked() -> NewOrder {
        NewOrder {
            structure: Structure::Single {
                symbol: Symbol::parse("AAPL").unwrap(),
                side: Side::Buy,
                pricing: Pricing::Limit {
                    limit: Price::parse("150.00").unwrap(),
                },
                exits: Exits::None,
            },
            size: Size::Quantity(Quantity::parse("2").unwrap()),
            time_in_force: TimeInForce::Day,
            extended_hours: false,
            position_intent: None,
            advanced: None,
            valid_until: None,
        }
    }

    fn theirs() -> Order {
        Order::refused("a", Some(&asked()), Timestamp::UNIX_EPOCH)
    }

    #[test]
    fn the_order_we_asked_for_is_recognised_field_by_field() {
        assert_eq!(theirs().agrees_with(&asked()), Ok(()));
        let number = |text: &str| Some(text.parse().unwrap());
        type Change = (&'static str, fn(&mut Order));
        let changes: Vec<Change> = vec![
            ("symbol", |order| {
                order.symbol = Some(Symbol::parse("MSFT").unwrap())
            }),
            ("side", |order| order.side = Some(Side::Sell)),
            ("type", |order| order.order_type = Some(OrderType::Market)),
            ("time_in_force", |order| {
                order.time_in_force = Some(TimeInForce::Gtc)
            }),
            ("order_class", |order| {
                order.order_class = Some(OrderClass::MultiLeg)
            }),
            ("stop_price", |order| order.stop_price = Some(Decimal::ONE)),
            ("notional", |order| order.notional = Some(Decimal::ONE)),
        ];
        for (field, change) in changes {
            let mut order = theirs();
            change(&mut order);
            assert_eq!(order.agrees_with(&asked()), Err(Mismatch { field }));
        }
        let other_price = Order {
            limit_price: number("150.01"),
            ..theirs()
        };
        assert_eq!(
            other_price.agrees_with(&asked()),
            Err(Mismatch { field: "limit_price" })
        );
        let same_price = Order {
            limit_price: number("150"),
            ..theirs()
        };
        assert_eq!(
            same_price.agrees_with(&asked()),
            Ok(()),
            "the scale is not part of the price"
        );
        let silent = Order {
            limit_price: None,
            qty: None,
            side: None,
            symbol: None,
            ..theirs()
        };
        assert_eq!(
            silent.agrees_with(&asked()),
            Ok(()),
            "what is left out proves nothing"
        );
    }

    #[test]
    fn in_whatever_order_an_order_is_told_the_latest_of_it_stands() {
        let told = |status: &str, filled: i64, second: i64| {
            Arc::new(Order {
                id: Some(OrderId::from_uuid(uuid::Uuid::from_u128(7))),
                status: OrderStatus::from_venue(status),
                filled_qty: filled.into(),
                updated_at: Timestamp::from_second(second).ok(),
                ..theirs()
            })
        };
        let life = [
            told("pending_new", 0, 1),
            told("new", 0, 2),
            told("partially_filled", 1, 3),
            told("pending_cancel", 1, 4),
            told("canceled", 1, 5),
        ];
        for earlier in 0..life.len() {
            for later in earlier..life.len() {
                let (a, b) = (life[earlier].clone(), life[later].clone());
                assert_eq!(a.clone().or_later(b.clone()), life[later]);
                assert_eq!(b.or_later(a), life[later]);
            }
        }
        // An old event with a new date revives nothing.
        assert_eq!(life[4].clone().or_later(told("new", 0, 9)), life[4]);
        let successor = Some(OrderId::from_uuid(uuid::Uuid::from_u128(8)));
        let mut replaced = told("replaced", 0, 5);
        Arc::make_mut(&mut replaced).replaced_by = successor;
        assert_eq!(replaced.or_later(told("replaced", 0, 6)).replaced_by, successor);
        // The account was reset, and the id is used once more.
        let anew = Arc::new(Order {
            id: Some(OrderId::from_uuid(uuid::Uuid::from_u128(9))),
            created_at: Timestamp::from_second(100).ok(),
            ..told("new", 0, 100).as_ref().clone()
        });
        assert_eq!(life[4].clone().or_later(anew.clone()), anew);
    }

    #[test]
    fn terminal_states_are_the_venues_closed_ones() {
        let words = ["filled", "canceled", "expired", "rejected", "replaced"];
        for word in words {
            assert!(OrderStatus::from_venue(word).is_terminal(), "{word}");
        }
        for word in [
            "new",
            "accepted",
            "pending_cancel",
            "done_for_day",
            "held",
            "a_word_from_the_future",
        ] {
            assert!(!OrderStatus::from_venue(word).is_terminal(), "{word}");
            assert_eq!(OrderStatus::from_venue(word).as_str(), word);
        }
    }
}
