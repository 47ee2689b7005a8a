//! The venue's record of an order, the words it is written in, and the moves its status may make.

use jiff::Timestamp;
use rust_decimal::Decimal;
use uuid::Uuid;

use super::assets::AssetClass;

/// Declares an enum whose variants are words on the wire, with both directions of the translation.
macro_rules! wire_words {
    ($(#[$meta:meta])* pub enum $name:ident { $($variant:ident = $word:literal,)+ }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum $name {
            $(#[doc = concat!("`", $word, "` on the wire.")] $variant,)+
        }

        impl $name {
            /// The word on the wire.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }

            /// The value a wire word stands for, if it is one of ours. Case matters, as at the venue.
            pub fn parse(word: &str) -> Option<Self> {
                match word { $($word => Some(Self::$variant),)+ _ => None }
            }
        }
    };
}
pub(crate) use wire_words;

wire_words! {
    /// Which way the order trades.
    pub enum Side { Buy = "buy", Sell = "sell", }
}

impl Side {
    pub(crate) const fn opposite(self) -> Self {
        match self {
            Self::Buy => Self::Sell,
            Self::Sell => Self::Buy,
        }
    }

    /// `qty` as a change of position.
    pub(crate) fn signed(self, qty: Decimal) -> Decimal {
        match self {
            Self::Buy => qty,
            Self::Sell => -qty,
        }
    }
}

wire_words! {
    /// How the order is priced.
    pub enum OrderType {
        Market = "market",
        Limit = "limit",
        Stop = "stop",
        StopLimit = "stop_limit",
        TrailingStop = "trailing_stop",
    }
}

wire_words! {
    /// How long the order works.
    pub enum TimeInForce {
        Day = "day",
        Gtc = "gtc",
        Opg = "opg",
        Cls = "cls",
        Ioc = "ioc",
        Fok = "fok",
    }
}

wire_words! {
    /// Whether the order stands alone, and if not, what it comes with.
    pub enum OrderClass {
        Simple = "simple",
        Bracket = "bracket",
        Oco = "oco",
        Oto = "oto",
        Mleg = "mleg",
    }
}

wire_words! {
    /// Whether the order opens or closes a position.
    pub enum PositionIntent {
        BuyToOpen = "buy_to_open",
        BuyToClose = "buy_to_close",
        SellToOpen = "sell_to_open",
        SellToClose = "sell_to_close",
    }
}

wire_words! {
    /// Where the order is in its life.
    pub enum Status {
        Accepted = "accepted",
        PendingNew = "pending_new",
        New = "new",
        Held = "held",
        PartiallyFilled = "partially_filled",
        PendingCancel = "pending_cancel",
        PendingReplace = "pending_replace",
        Filled = "filled",
        Canceled = "canceled",
        Expired = "expired",
        Rejected = "rejected",
        Replaced = "replaced",
    }
}

impl Status {
    /// No status follows this one.
    pub const fn is_terminal(self) -> bool {
        match self {
            Self::Filled | Self::Canceled | Self::Expired | Self::Rejected | Self::Replaced => true,
            Self::Accepted
            | Self::PendingNew
            | Self::New
            | Self::Held
            | Self::PartiallyFilled
            | Self::PendingCancel
            | Self::PendingReplace => false,
        }
    }

    /// Every legal move on one page.
    pub const fn may_become(self, next: Self) -> bool {
        use Status::{
            Accepted, Canceled, Expired, Filled, Held, New, PartiallyFilled, PendingCancel, PendingNew,
            PendingReplace, Rejected, Replaced,
        };
        match self {
            Accepted => matches!(next, PendingNew | PendingCancel | Canceled | Expired | Rejected),
            PendingNew => matches!(next, New | PendingCancel | Canceled | Expired | Rejected),
            Held => {
                matches!(
                    next,
                    New | PendingCancel | PendingReplace | Canceled | Expired | Rejected
                )
            }
            New => matches!(
                next,
                PartiallyFilled | Filled | PendingCancel | PendingReplace | Canceled | Expired
            ),
            PartiallyFilled => matches!(
                next,
                PartiallyFilled | Filled | PendingCancel | PendingReplace | Canceled | Expired
            ),
            PendingCancel => matches!(next, Filled | Canceled | Expired | Rejected),
            PendingReplace => matches!(next, Filled | Replaced | Canceled | Expired),
            Filled | Canceled | Expired | Rejected | Replaced => false,
        }
    }
}

/// How a trailing stop follows the market.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trail {
    /// Dollars behind the high-water mark.
    Price(Decimal),
    /// Percent behind the high-water mark; 1 is one percent.
    Percent(Decimal),
}

/// The venue's record of one order.
#[derive(Clone, Debug, PartialEq)]
pub struct Order {
    /// The venue's id.
    pub id: Uuid,
    /// The client's id, unique for the life of the account.
    pub client_order_id: String,
    /// Position in the order of submission; never on the wire.
    pub sequence: u64,
    /// When the record was made.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
    /// When it was submitted; what lists are sorted and filtered by.
    pub submitted_at: Timestamp,
    /// When it was filled completely.
    pub filled_at: Option<Timestamp>,
    /// When its time in force ended it.
    pub expired_at: Option<Timestamp>,
    /// When its time in force will end it.
    pub expires_at: Option<Timestamp>,
    /// When it was canceled.
    pub canceled_at: Option<Timestamp>,
    /// When a cancel was first asked for.
    pub cancel_requested_at: Option<Timestamp>,
    /// When it was rejected after acceptance.
    pub failed_at: Option<Timestamp>,
    /// When its successor took over.
    pub replaced_at: Option<Timestamp>,
    /// Its successor.
    pub replaced_by: Option<Uuid>,
    /// Its predecessor.
    pub replaces: Option<Uuid>,
    /// The asset; none for a multi-leg parent.
    pub asset_id: Option<Uuid>,
    /// The asset's class; none for a multi-leg parent.
    pub asset_class: Option<AssetClass>,
    /// The symbol; empty for a multi-leg parent.
    pub symbol: String,
    /// Dollars asked for, instead of `qty`.
    pub notional: Option<Decimal>,
    /// Units asked for.
    pub qty: Option<Decimal>,
    /// Units filled under this id.
    pub filled_qty: Decimal,
    /// Units times price, summed over this id's fills.
    pub filled_value: Decimal,
    /// Units the predecessors of a replacement had already filled; never on the wire.
    pub carried_qty: Decimal,
    /// The order's class.
    pub class: OrderClass,
    /// The pricing; none for a leg of a multi-leg order.
    pub order_type: Option<OrderType>,
    /// The side; none for a multi-leg parent.
    pub side: Option<Side>,
    /// Opening or closing, as given or inferred.
    pub position_intent: Option<PositionIntent>,
    /// The time in force.
    pub time_in_force: TimeInForce,
    /// The limit.
    pub limit_price: Option<Decimal>,
    /// The stop; a trailing stop's moves with its high-water mark.
    pub stop_price: Option<Decimal>,
    /// How a trailing stop trails.
    pub trail: Option<Trail>,
    /// A trailing stop's high- (sell) or low- (buy) water mark.
    pub hwm: Option<Decimal>,
    /// The status.
    pub status: Status,
    /// May it trade outside the core session?
    pub extended_hours: bool,
    /// Children (bracket, OCO, OTO) or legs (multi-leg), in the order they were made.
    pub legs: Vec<Uuid>,
    /// The order this one is a child or leg of.
    pub parent: Option<Uuid>,
    /// A leg's units per unit of its parent.
    pub ratio_qty: Option<Decimal>,
    /// The matching engine has it: it may fill; never on the wire.
    pub working: bool,
    /// The stop price was reached; never on the wire.
    pub elected: bool,
    /// Buying power held per unit still open (per dollar for a notional order); never on the wire.
    pub hold_price: Decimal,
}

impl Order {
    /// Units still open if the next fill is at `price`, which only matters to a notional order.
    pub fn leaves_at(&self, price: Decimal) -> Decimal {
        match (self.qty, self.notional) {
            (Some(qty), _) => (qty - self.carried_qty - self.filled_qty).max(Decimal::ZERO),
            (None, Some(notional)) if !price.is_zero() => ((notional - self.filled_value) / price)
                .trunc_with_scale(super::QTY_SCALE)
                .max(Decimal::ZERO),
            (None, _) => Decimal::ZERO,
        }
    }

    /// Units still open; zero for a notional order, whose size depends on the price.
    pub fn leaves_qty(&self) -> Decimal {
        self.leaves_at(Decimal::ZERO)
    }

    /// The average price of this id's fills.
    pub fn filled_avg_price(&self) -> Option<Decimal> {
        (!self.filled_qty.is_zero()).then(|| {
            (self.filled_value / self.filled_qty)
                .round_dp(super::QTY_SCALE)
                .normalize()
        })
    }

    /// Buying power this order keeps from others while it is open.
    pub(crate) fn hold(&self) -> Decimal {
        if self.status.is_terminal() {
            return Decimal::ZERO;
        }
        match (self.qty, self.notional) {
            (Some(_), _) => self.hold_price * self.leaves_qty(),
            (None, Some(notional)) => self.hold_price * (notional - self.filled_value).max(Decimal::ZERO),
            (None, None) => Decimal::ZERO,
        }
    }

    pub(crate) fn is_leg_of_mleg(&self) -> bool {
        self.class == OrderClass::Mleg && self.parent.is_some()
    }

    pub(crate) fn is_mleg_parent(&self) -> bool {
        self.class == OrderClass::Mleg && self.parent.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Status; 12] = [
        Status::Accepted,
        Status::PendingNew,
        Status::New,
        Status::Held,
        Status::PartiallyFilled,
        Status::PendingCancel,
        Status::PendingReplace,
        Status::Filled,
        Status::Canceled,
        Status::Expired,
        Status::Rejected,
        Status::Replaced,
    ];

    #[test]
    fn a_terminal_status_is_never_left_and_every_other_one_can_be() {
        for from in ALL {
            let leaves = ALL.iter().any(|to| from.may_become(*to));
            assert_eq!(leaves, !from.is_terminal(), "{from:?}");
        }
    }

    #[test]
    fn words_survive_the_round_trip() {
        for status in ALL {
            assert_eq!(Status::parse(status.as_str()), Some(status));
        }
        assert_eq!(OrderType::parse("LIMIT"), None, "case matters at the venue");
    }
}
