//! The nouns of the trade and their laws: orders, executions, positions, outcomes.
//!
//! Pure on purpose: no async, no serialisation, no clock. What is in these types has been checked, so nobody
//! past the door checks it again. How a noun looks on the wire is the business of `wire` (protobuf, JSON) and
//! `alpaca` (the venue's JSON).

pub mod account;
pub mod asset;
pub mod command;
pub mod execution;
pub mod fill;
pub mod gateway;
pub mod history;
pub mod ids;
pub mod lease;
pub mod limits;
pub mod market;
pub mod money;
pub mod order;
pub mod outcome;
pub mod position;
pub mod record;
pub mod symbol;

pub use account::{Account, MarketClock};
pub use asset::Asset;
pub use command::{
    CancelTarget, ClosePosition, CloseScope, CloseSize, CommandId, CommandKind, OrderName, ReplaceOrder,
    Strategy,
};
pub use execution::{AssetClass, ExecutionReport, Order, OrderStatus};
pub use fill::FillActivity;
pub use gateway::{Condition, ConditionName, Environment, GatewayMode, GatewayState, ModeChange, ModeSource};
pub use ids::{ClientOrderId, OrderId};
pub use lease::LeaseRecord;
pub use limits::{Breach, Limits};
pub use money::{Notional, Percent, Price, Quantity};
pub use order::{NewOrder, Placement};
pub use outcome::{Outcome, Verdict};
pub use position::{Holdings, Position};
pub use record::OrderRecord;
pub use symbol::Symbol;
