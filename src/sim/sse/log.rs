//! The latest events, which all readers share.

use std::collections::VecDeque;

use jiff::{Timestamp, ToSpan};
use serde_json::json;
use tokio::sync::{broadcast, watch};
use tokio_tungstenite::tungstenite::Utf8Bytes;

use super::super::core::{AssetClass, Event, Side, new_york_day};
use super::super::fault::{StreamFault, Weather};
use super::super::route::Endpoint;
use super::super::truth::executions;
use super::span::From;

/// Events kept for replay and for slow readers.
pub(super) const RETAINED: usize = 20_000;
/// Faults that strike at once and wait for a reader; a reader that far behind misses the oldest.
const STRIKES: usize = 64;

/// The latest events, and what befalls those who read them.
pub(crate) struct EventLog {
    pub(super) rows: VecDeque<Row>,
    /// The number of the row after the last.
    pub(super) next: u64,
    pub(super) news: watch::Sender<u64>,
    pub(super) strikes: broadcast::Sender<(Endpoint, StreamFault)>,
    trades: Weather,
    activities: Weather,
    pub(super) readers: usize,
    pub(super) opened: u64,
}

pub(super) struct Row {
    pub(super) stream: Endpoint,
    pub(super) at: Timestamp,
    pub(super) event_id: String,
    pub(super) data: Utf8Bytes,
}

impl Default for EventLog {
    fn default() -> Self {
        Self {
            rows: VecDeque::new(),
            next: 0,
            news: watch::Sender::new(0),
            strikes: broadcast::Sender::new(STRIKES),
            trades: Weather::default(),
            activities: Weather::default(),
            readers: 0,
            opened: 0,
        }
    }
}

impl EventLog {
    /// Keeps an event; `trade_update` is its message on the websocket.
    pub(crate) fn publish(&mut self, event: &Event, trade_update: &str) {
        let data = trade_update.strip_prefix(r#"{"stream":"trade_updates","data":"#);
        let data = data
            .and_then(|data| data.strip_suffix('}'))
            .unwrap_or(trade_update);
        self.push(Endpoint::TradeEvents, event.at, &event.event_id, data.into());
        for activity in activities(event) {
            self.push(
                Endpoint::ActivityEvents,
                event.at,
                &event.event_id,
                activity.into(),
            );
        }
        self.news.send_replace(self.next);
    }

    pub(super) fn push(&mut self, stream: Endpoint, at: Timestamp, event_id: &str, data: Utf8Bytes) {
        if self.rows.len() == RETAINED {
            self.rows.pop_front();
        }
        self.rows.push_back(Row {
            stream,
            at,
            event_id: event_id.to_owned(),
            data,
        });
        self.next += 1;
    }

    /// Carries out a fault that needs no event.
    pub(crate) fn strike(&mut self, stream: Endpoint, fault: &StreamFault) {
        self.weather(stream).strike(fault);
        // Without readers there is nobody to strike.
        let _nobody = self.strikes.send((stream, fault.clone()));
    }

    pub(crate) fn readers(&self) -> usize {
        self.readers
    }

    pub(super) fn weather(&mut self, stream: Endpoint) -> &mut Weather {
        if stream == Endpoint::ActivityEvents {
            &mut self.activities
        } else {
            &mut self.trades
        }
    }

    pub(super) fn first(&self) -> u64 {
        self.next - u64::try_from(self.rows.len()).unwrap_or(self.next)
    }

    /// The number of the first row that is wanted.
    pub(super) fn position(&self, from: &From) -> u64 {
        let wanted = |row: &&Row| match from {
            From::Now => false,
            From::Time(since) => row.at >= *since,
            From::Id(id) => row.event_id >= *id,
        };
        let skipped = self.rows.iter().position(|row| wanted(&row));
        let skipped = skipped.and_then(|skipped| u64::try_from(skipped).ok());
        skipped.map_or(self.next, |skipped| self.first() + skipped)
    }

    pub(super) fn latest(&self, stream: Endpoint, count: usize) -> Vec<Utf8Bytes> {
        let rows = self.rows.iter().rev().filter(|row| row.stream == stream);
        let mut latest: Vec<_> = rows.take(count).map(|row| row.data.clone()).collect();
        latest.reverse();
        latest
    }
}

/// Booked activities of an event: its executions.
fn activities(event: &Event) -> Vec<String> {
    let settles = new_york_day(event.at).checked_add(1.day());
    let settles = settles.map(|day| day.to_string()).unwrap_or_default();
    let rows = executions(event).into_iter().map(|executed| {
        let order = executed.order;
        let is_crypto = order.asset_class == Some(AssetClass::Crypto);
        let value = (executed.qty.0 * executed.price.0).normalize();
        let net = if order.side == Some(Side::Buy) {
            -value
        } else {
            value
        };
        json!({
            "at": event.at.to_string(),
            "event_id": event.event_id,
            "activity_type": "TRD",
            "executed_at": event.at.to_string(),
            "status": "executed",
            "settle_date": if is_crypto { new_york_day(event.at).to_string() } else { settles.clone() },
            "currency": "USD",
            "ref_id": executed.execution_id.as_ref().map(|id| id.0.to_string()),
            "previous_id": null,
            "price": executed.price.0.to_string(),
            "qty": executed.qty.0.to_string(),
            "net_amount": net.to_string(),
            "details": {
                "order_id": order.id.to_string(),
                "client_order_id": executed.client_order_id,
                "side": executed.side,
                "symbol": executed.symbol,
                "asset_id": order.asset_id.map(|id| id.to_string()),
                "leaves_qty": executed.leaves_qty.0.to_string(),
                "cum_qty": executed.cum_qty.0.to_string(),
                "order_status": order.status.as_str(),
                "execution_type": "fill",
            },
        })
        .to_string()
    });
    rows.collect()
}
