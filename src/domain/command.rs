//! What publishers ask for, and how one request is told from another.

use std::fmt;

use jiff::Timestamp;

use super::order::Changes;
use super::{ClientOrderId, OrderId, Percent, Quantity, Symbol};

/// What a command asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CommandKind {
    /// Place an order.
    Order,
    /// Cancel one order, or many.
    Cancel,
    /// Replace a working order by another.
    Replace,
    /// Close a position.
    Close,
}

impl CommandKind {
    /// The word used in logs and as a metric label.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Order => "order",
            Self::Cancel => "cancel",
            Self::Replace => "replace",
            Self::Close => "close",
        }
    }
}

/// The identity of one command: the stream it is in, and its place there.
///
/// A sequence alone would not do: a stream that was deleted or rolled back hands the same numbers out again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CommandId {
    /// When the stream was created.
    pub stream_created: Timestamp,
    /// Sequence in that stream.
    pub sequence: u64,
}

impl CommandId {
    /// Of what was asked past the stream.
    pub const NONE: Self = Self {
        stream_created: Timestamp::UNIX_EPOCH,
        sequence: 0,
    };
}

impl fmt::Display for CommandId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.stream_created.as_nanosecond(), self.sequence)
    }
}

/// The first token of an id that has several: who trades, for NATS permissions and `<strategy>.ALL`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Strategy(String);

impl Strategy {
    /// Names a strategy.
    pub fn new(token: impl Into<String>) -> Self {
        Self(token.into())
    }

    /// The strategy an order's name tells; `None` for a name of one token.
    pub fn of(client_order_id: &str) -> Option<Self> {
        client_order_id
            .split_once('.')
            .map(|(first, _)| Self(first.to_owned()))
    }

    /// Whether an order of that name is this strategy's.
    pub fn owns(&self, client_order_id: &str) -> bool {
        client_order_id
            .strip_prefix(self.0.as_str())
            .is_some_and(|rest| rest.starts_with('.'))
    }
}

impl fmt::Display for Strategy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a cancel command names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CancelTarget {
    /// One order, by the publisher's id.
    Client(ClientOrderId),
    /// One order by a UUID, which may be the venue's id or a client id that looks like one.
    Uuid(OrderId, ClientOrderId),
    /// Every open order of a strategy.
    Strategy(Strategy),
    /// Every open order of the account.
    All,
}

/// An order, as a command names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OrderName {
    /// By the publisher's id.
    Client(ClientOrderId),
    /// By a UUID, which may be the venue's id or a client id that looks like one.
    Uuid(OrderId, ClientOrderId),
}

impl OrderName {
    /// Reads a name, which in either form is a client order id on paper.
    pub fn new(id: ClientOrderId) -> Self {
        match OrderId::parse(id.as_str()) {
            Some(order_id) => Self::Uuid(order_id, id),
            None => Self::Client(id),
        }
    }

    /// The name as it was given.
    pub const fn text(&self) -> &ClientOrderId {
        match self {
            Self::Client(id) | Self::Uuid(_, id) => id,
        }
    }
}

/// A command to replace a working order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplaceOrder {
    /// Which order.
    pub order: OrderName,
    /// What is new.
    pub changes: Changes,
    /// Never to be sent after this instant.
    pub valid_until: Option<Timestamp>,
}

/// A command to close a position, or all of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClosePosition {
    /// What is closed.
    pub scope: CloseScope,
    /// Cancel the open orders of what is closed first.
    pub cancel_orders: bool,
    /// Never to be sent after this instant.
    pub valid_until: Option<Timestamp>,
}

/// What is closed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CloseScope {
    /// One position.
    One(Symbol, CloseSize),
    /// Every position of the account, wholly or the same share of each.
    All(CloseSize),
}

/// How much of a position is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseSize {
    /// All of it.
    Everything,
    /// Shares, coins or contracts.
    Quantity(Quantity),
    /// A share of it, at most 100.
    Percentage(Percent),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_strategy_owns_what_starts_with_its_token() {
        let momentum = Strategy::new("momentum");
        assert!(momentum.owns("momentum.1"));
        assert!(!momentum.owns("momentum"));
        assert!(!momentum.owns("momentum2.1"));
        assert!(!momentum.owns("mean.momentum.1"));
    }

    #[test]
    fn a_name_of_one_token_has_no_strategy() {
        assert_eq!(Strategy::of("momentum.1.a"), Some(Strategy::new("momentum")));
        assert_eq!(Strategy::of("momentum"), None);
    }
}
