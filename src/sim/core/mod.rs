//! The matching core: what the venue knows and decides, on paper.
//!
//! No sockets, no JSON, no tasks and no clock of its own: every method is told what time it is, chance comes
//! from one seed, and the same calls give the same answers, ids included. That is what lets a failing run be
//! replayed, and what lets fidelity grow here without touching the server.
//!
//! It shares no type with the client side of the house on purpose: a mistake in the client's reading of the
//! venue would otherwise be copied into the venue it is tested against.
//!
//! Absent: option expiry, fees other than crypto's, buying-power rules beyond a plain 2x margin account, the
//! venue's unpublished refusal of prices far from the market. A market without hours has no auctions: `opg` and `cls`
//! work like `day` there.

mod activities;
mod assets;
mod book;
mod calendar;
mod configuration;
mod contracts;
mod event;
mod exchange;
mod exercise;
mod ledger;
mod lifecycle;
mod matching;
mod order;
mod paperwork;
mod portfolio;
mod prices;
mod queries;
mod refusal;
mod replace;
mod request;
mod risk;
mod rng;
mod rules;
mod standing;
pub mod tape;
#[cfg(test)]
mod tests;

pub use assets::AssetClass;
pub use calendar::Market;
pub use event::{Event, EventKind, Execution, Fill, LegExecution, OrderView};
pub use exchange::{Exchange, ExchangeConfig};
pub use order::{Order, OrderClass, OrderType, PositionIntent, Side, Status, TimeInForce, Trail};
pub use queries::PositionView;
pub use refusal::Refusal;
pub use request::{LegRequest, OrderRequest, ReplaceRequest, StopLoss, TakeProfit};

pub(crate) use activities::{Activity, ActivityFilter, NON_TRADE_ACTIVITY, TRADE_ACTIVITY};
pub(crate) use assets::{Asset, Assets};
pub(crate) use calendar::{EXTENDED_CLOSE, EXTENDED_OPEN, Session, day_begins_at, new_york, new_york_day};
pub(crate) use configuration::{Configuration, ConfigurationChange, OPTIONS_LEVEL_MAX};
pub(crate) use contracts::{ContractFilter, ContractView};
pub(crate) use exercise::Exercised;
pub(crate) use paperwork::Posting;
pub(crate) use portfolio::{Curve, CurveRequest, Hours, Window};
pub(crate) use prices::is_price;
pub(crate) use queries::{AccountView, ClockView, ListFilter, StatusFilter};
pub(crate) use rng::Seeded;

/// Finest quantity the venue keeps, in decimal places.
const QTY_SCALE: u32 = 9;
