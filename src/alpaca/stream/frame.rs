//! One frame of the stream, as text or as bytes, and what it says.

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::alpaca::clean;
use crate::alpaca::rest::{Number, OrderJson, Text};
use crate::domain::ExecutionReport;

/// The stream that carries execution reports.
pub(super) const TRADE_UPDATES: &str = "trade_updates";

/// What a frame says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Frame {
    /// Nothing: a heartbeat, or a stream we did not ask for.
    Nothing,
    /// The answer to an authentication, or the complaint that there was none.
    Authorization { authorized: bool, message: String },
    /// The streams we are subscribed to from now on.
    Listening(Vec<String>),
    /// An event in an order's life.
    Report(Box<ExecutionReport>),
    /// The server says that it is broken. It closes next.
    ServerError(String),
    /// Something that may have been an event.
    Unreadable(String),
}

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(default)]
    stream: Text,
    #[serde(default)]
    action: Text,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct AuthorizationJson {
    #[serde(default)]
    status: Text,
    #[serde(default)]
    action: Text,
    #[serde(default)]
    message: Text,
}

#[derive(Deserialize)]
struct ListeningJson {
    #[serde(default)]
    streams: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct ServerErrorJson {
    #[serde(default)]
    error_message: Text,
}

#[derive(Deserialize)]
struct UpdateJson {
    #[serde(default)]
    event: Text,
    #[serde(default)]
    event_id: Text,
    #[serde(default)]
    execution_id: Text,
    #[serde(default)]
    at: Text,
    #[serde(default)]
    timestamp: Text,
    #[serde(default)]
    position_qty: Number,
    #[serde(default)]
    price: Number,
    #[serde(default)]
    qty: Number,
    #[serde(default)]
    reason: Text,
    order: OrderJson,
}

/// Reads a frame. `heard_at` stands in for the times the venue left out.
pub(super) fn read(bytes: &[u8], heard_at: Timestamp) -> Frame {
    // Old servers send a lone 0x01 to show that they live.
    if bytes.iter().all(|byte| *byte <= b' ') {
        return Frame::Nothing;
    }
    let envelope = match serde_json::from_slice::<Envelope<'_>>(bytes) {
        Ok(envelope) => envelope,
        Err(error) => return unreadable("a frame", &error),
    };
    let data = envelope.data.map_or("null", RawValue::get);
    match (envelope.stream.0.as_deref(), envelope.action.0.as_deref()) {
        (Some(TRADE_UPDATES), _) => update(data, heard_at),
        (Some("authorization"), _) => match serde_json::from_str::<AuthorizationJson>(data) {
            Ok(answer) => authorization(answer),
            Err(error) => unreadable("an authorization", &error),
        },
        (Some("listening"), _) => match serde_json::from_str::<ListeningJson>(data) {
            Ok(listening) => Frame::Listening(listening.streams.unwrap_or_default()),
            Err(error) => unreadable("a listening", &error),
        },
        (_, Some("error")) => {
            let said = serde_json::from_str::<ServerErrorJson>(data).ok();
            let message = said.and_then(|error| error.error_message.0).unwrap_or_default();
            Frame::ServerError(clean(&message))
        }
        _ => Frame::Nothing,
    }
}

fn authorization(answer: AuthorizationJson) -> Frame {
    let authorized = answer.status.0.as_deref() == Some("authorized");
    let said = answer.message.0.or(answer.status.0).unwrap_or_default();
    let on = answer.action.0.unwrap_or_default();
    Frame::Authorization {
        authorized,
        message: clean(&format!("{said} ({on})")),
    }
}

/// An update that says nothing, or not of which order, tells that something happened and not what.
fn update(data: &str, heard_at: Timestamp) -> Frame {
    let update = match serde_json::from_str::<Option<UpdateJson>>(data) {
        Ok(Some(update)) => update,
        Ok(None) => return Frame::Unreadable("a trade update without data".to_owned()),
        Err(error) => return unreadable("a trade update", &error),
    };
    let Some(event) = update.event.0 else {
        return Frame::Unreadable("a trade update without an event".to_owned());
    };
    let order = match update.order.order() {
        Ok(order) => order,
        Err(error) => return Frame::Unreadable(format!("a trade update in which {error}")),
    };
    let at = update.at.timestamp();
    let timestamp = update.timestamp.timestamp().or(at).unwrap_or(heard_at);
    Frame::Report(Box::new(ExecutionReport {
        event: clean(&event),
        at: at.unwrap_or(heard_at),
        timestamp,
        event_id: update.event_id.0,
        execution_id: update.execution_id.0,
        order,
        position_qty: update.position_qty.0,
        last_px: update.price.0,
        last_qty: update.qty.0,
        reason: update.reason.0.as_deref().map(clean),
        recovered: false,
    }))
}

fn unreadable(what: &str, error: &serde_json::Error) -> Frame {
    Frame::Unreadable(clean(&format!("{what} in unreadable JSON: {error}")))
}
