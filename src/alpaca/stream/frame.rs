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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const FILL: &str = include_str!("../fixtures/ws_trade_update_fill.json");
    const MULTI_LEG_FILL: &str = include_str!("../fixtures/ws_trade_update_mleg_fill.json");

    fn heard_at() -> Timestamp {
        "2026-11-20T12:00:00Z".parse().unwrap()
    }

    fn report(text: &str) -> ExecutionReport {
        let frame = read(text.as_bytes(), heard_at());
        let Frame::Report(report) = frame else {
            panic!("{frame:?}");
        };
        *report
    }

    #[test]
    fn a_fill_is_read_with_its_own_and_its_cumulative_quantities() {
        let fill = report(FILL);
        assert_eq!(fill.event, "fill");
        assert_eq!(fill.at.to_string(), "2022-04-19T17:45:05.031Z");
        assert_eq!(fill.timestamp.to_string(), "2022-04-19T17:45:05.024916716Z");
        assert_eq!(fill.event_id.as_deref(), Some("01G11H2B0XQ6GGZ0TBN1H3Q0VJ"));
        assert_eq!(
            fill.execution_id.as_deref(),
            Some("2f63ea93-423d-4169-b3f6-3fdafc10c418")
        );
        assert_eq!(fill.last_qty, Some("1790.86".parse().unwrap()));
        assert_eq!(fill.order.filled_qty, "1790.86".parse().unwrap());
        assert_eq!(fill.position_qty, Some(0.into()));
        assert_eq!(
            fill.order.created_at.unwrap().to_string(),
            "2022-04-19T17:45:04.981350886Z"
        );
        assert!(!fill.recovered);
    }

    #[test]
    fn a_multi_leg_fill_has_legs_and_no_single_position() {
        let fill = report(MULTI_LEG_FILL);
        assert_eq!(fill.order.symbol, None);
        assert_eq!(fill.position_qty, None);
        assert_eq!(fill.last_px, Some("-0.62".parse().unwrap()));
        assert_eq!(fill.order.legs.len(), 1);
    }

    #[test]
    fn what_the_venue_leaves_out_of_an_event_is_absent_or_now() {
        let bare = r#"{"stream":"trade_updates","data":{"event":"meteor_strike","execution_id":null,
            "order":{"id":"a5be8f5e-fdfa-41f5-a644-7a74fe947a8f","status":"new"}}}"#;
        let event = report(bare);
        assert_eq!(event.event, "meteor_strike", "an unknown event passes through");
        assert_eq!((event.at, event.timestamp), (heard_at(), heard_at()));
        assert_eq!((event.event_id, event.execution_id), (None, None));
    }

    #[test]
    fn every_other_frame_is_sorted_by_what_it_says() {
        let authorization = |authorized, message: &str| Frame::Authorization {
            authorized,
            message: message.to_owned(),
        };
        for (text, expected) in [
            ("", Frame::Nothing),
            ("\u{1}", Frame::Nothing),
            (r#"{"stream":"weather","data":{}}"#, Frame::Nothing),
            ("{}", Frame::Nothing),
            (
                r#"{"stream":"authorization","data":{"status":"authorized","action":"authenticate"}}"#,
                authorization(true, "authorized (authenticate)"),
            ),
            (
                r#"{"stream":"authorization","data":{"status":"unauthorized","action":"authenticate","message":"access key verification failed"}}"#,
                authorization(false, "access key verification failed (authenticate)"),
            ),
            (
                r#"{"stream":"listening","data":{"streams":["trade_updates"]}}"#,
                Frame::Listening(vec![TRADE_UPDATES.to_owned()]),
            ),
            (
                r#"{"stream":"listening","data":{}}"#,
                Frame::Listening(Vec::new()),
            ),
            (
                r#"{"action":"error","data":{"error_message":"internal server error"}}"#,
                Frame::ServerError("internal server error".to_owned()),
            ),
        ] {
            assert_eq!(read(text.as_bytes(), heard_at()), expected, "{text}");
        }
    }

    #[test]
    fn an_update_that_cannot_be_read_is_noted_and_not_lost() {
        for text in [
            r#"{"stream":"trade_updates","data":null}"#,
            r#"{"stream":"trade_updates"}"#,
            r#"{"stream":"trade_updates","data":{}}"#,
            r#"{"stream":"trade_updates","data":{"event":"fill"}}"#,
            r#"{"stream":"trade_updates","data":{"event":"fill","order":null}}"#,
            r#"{"stream":"trade_updates","data":{"event":"fill","order":{"status":"filled"}}}"#,
            r#"{"stream":"trade_updates","data":"soon"}"#,
            r#"{"stream":"authorization","data":null}"#,
            "not JSON",
            "{",
            "[]",
        ] {
            let heard = read(text.as_bytes(), heard_at());
            assert!(matches!(heard, Frame::Unreadable(_)), "{text}: {heard:?}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..512)) {
            let _ = read(&bytes, heard_at());
        }

        #[test]
        fn no_damage_makes_the_reader_panic(at in 0..FILL.len(), byte in any::<u8>()) {
            let mut bytes = FILL.as_bytes().to_vec();
            bytes[at] = byte;
            let _ = read(&bytes, heard_at());
        }
    }
}
