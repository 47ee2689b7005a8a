//! What became of a command.

use std::sync::Arc;

use jiff::Timestamp;

use super::limits::{Breach, LimitName};
use super::{CommandId, CommandKind, Order, OrderId};

/// What became of one command. Exactly one terminal outcome each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The id of the command's subject: decoded when it could be read, as it stood when not.
    pub client_order_id: String,
    /// What was asked.
    pub command: CommandKind,
    /// Which command.
    pub id: CommandId,
    /// When the stream stored it.
    pub stored_at: Timestamp,
    /// When this became known.
    pub at: Timestamp,
    /// Not to be sent after this instant; `None` is no deadline.
    pub deadline: Option<Timestamp>,
    /// POSTs begun.
    pub attempts: u32,
    /// What became of it.
    pub verdict: Verdict,
    /// The same order was published before, and this repeats what became of it.
    pub repeated: bool,
}

impl Verdict {
    /// An order that would break a limit.
    pub fn beyond(breach: Breach) -> Self {
        Self::Denied {
            reason: DenialReason::Limit(breach.limit),
            message: breach.to_string(),
            breach: Some(Box::new(breach)),
        }
    }
}

/// The answer itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The venue took it.
    Accepted(Acceptance),
    /// The venue refused it.
    Rejected(Refusal),
    /// We refused it and sent nothing.
    Denied {
        /// Why.
        reason: DenialReason,
        /// Why, for people.
        message: String,
        /// Which limit, if it was one.
        breach: Option<Box<Breach>>,
    },
    /// The deadline passed before it could be sent.
    Expired,
    /// It could not be read.
    Invalid {
        /// Names the field and the fix.
        message: String,
    },
    /// The id belongs to another order.
    Conflict {
        /// Which, for people.
        message: String,
        /// The venue's id of that order, if known.
        order_id: Option<OrderId>,
    },
    /// A cancel overtook the order.
    CanceledBeforeSend {
        /// Which cancel, for people.
        message: String,
    },
    /// Interim: past the deadline, and nobody knows whether the venue took it.
    Unresolved {
        /// What is known, for people.
        message: String,
    },
    /// After [`Verdict::Unresolved`]: the venue had taken it.
    LateAccepted(Acceptance),
    /// After [`Verdict::Unresolved`]: the venue never had it.
    ConfirmedAbsent,
}

/// What the venue took.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Acceptance {
    /// The order as the venue answered. Cancels have none.
    pub order: Option<Arc<Order>>,
    /// The venue's id of the order concerned.
    pub order_id: Option<OrderId>,
    /// Found by asking the venue, not in the response to the POST.
    pub by_lookup: bool,
    /// HTTP status of the answer, 0 when it was found by asking.
    pub http_status: u16,
    /// The venue's request id, for its support.
    pub request_id: Option<String>,
    /// One line per order, for wide cancels.
    pub results: Vec<OrderResult>,
    /// What else there is to say, for people.
    pub message: String,
    /// Everything was done but the POST.
    pub simulated: bool,
}

/// The venue's refusal, in the venue's words.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Refusal {
    /// HTTP status of the answer.
    pub http_status: u16,
    /// The venue's code, 0 when it sent none.
    pub code: i64,
    /// The venue's message, cleaned and bounded.
    pub message: String,
    /// The venue's request id, for its support.
    pub request_id: Option<String>,
    /// The venue's id of an order that it took at first, and whose end it tells itself.
    pub order_id: Option<OrderId>,
    /// One line per order, for wide cancels.
    pub results: Vec<OrderResult>,
}

/// What became of one order that a wide cancel touched.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub struct OrderResult {
    pub order_id: Option<OrderId>,
    pub client_order_id: String,
    pub symbol: String,
    pub accepted: bool,
    pub code: i64,
    pub message: String,
}

/// Why we refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DenialReason {
    /// The gateway's mode lets no such command through.
    Mode,
    /// The order it names belongs to another strategy.
    Strategy,
    /// There is no such position, or it is smaller than what should be closed.
    Position,
    /// Its strategy's lease has lapsed.
    Lease,
    /// It would break a limit.
    Limit(LimitName),
    /// A reason this version does not know, in a record of another.
    Other,
}

impl DenialReason {
    /// The word used in outcomes and as a metric label.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Mode => "mode",
            Self::Strategy => "strategy",
            Self::Position => "position",
            Self::Lease => "lease",
            Self::Limit(limit) => limit.as_str(),
            Self::Other => "other",
        }
    }
}

impl Verdict {
    /// Whether nothing more will be said of the command.
    pub const fn is_terminal(&self) -> bool {
        !matches!(self, Self::Unresolved { .. })
    }

    /// The word used in logs and as a metric label.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Accepted(_) => "accepted",
            Self::Rejected(_) => "rejected",
            Self::Denied { .. } => "denied",
            Self::Expired => "expired",
            Self::Invalid { .. } => "invalid",
            Self::Conflict { .. } => "conflict",
            Self::CanceledBeforeSend { .. } => "canceled_before_send",
            Self::Unresolved { .. } => "unresolved",
            Self::LateAccepted(_) => "late_accepted",
            Self::ConfirmedAbsent => "confirmed_absent",
        }
    }

    /// Why, in one word of a closed set; empty when the verdict says it all.
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Accepted(_) | Self::LateAccepted(_) | Self::ConfirmedAbsent => "",
            Self::Rejected(_) => "venue",
            Self::Denied { reason, .. } => reason.as_str(),
            Self::Expired => "deadline",
            Self::Invalid { .. } => "malformed",
            Self::Conflict { .. } => "duplicate",
            Self::CanceledBeforeSend { .. } => "canceled",
            Self::Unresolved { .. } => "unknown",
        }
    }

    /// What there is to say, for people.
    pub fn message(&self) -> String {
        match self {
            Self::Accepted(acceptance) | Self::LateAccepted(acceptance) => acceptance.message.clone(),
            Self::Rejected(refusal) => refusal.message.clone(),
            Self::Denied { message, .. } | Self::Invalid { message } | Self::Unresolved { message } => {
                message.clone()
            }
            Self::Conflict { message, .. } | Self::CanceledBeforeSend { message } => message.clone(),
            Self::Expired => "the deadline passed before the command could be sent".to_owned(),
            Self::ConfirmedAbsent => "the venue never had the order".to_owned(),
        }
    }
}
