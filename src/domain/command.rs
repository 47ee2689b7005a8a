//! What publishers ask for, and how one request is told from another.

use std::fmt;

use jiff::Timestamp;

use super::{ClientOrderId, OrderId};

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
}
