//! What is asked of the service, and what it answers.

use prost::Message as _;
use uuid::Uuid;

use super::decode::{Unreadable, instant, message};
use super::encode::{self, Encoded, encoded};
use super::proto::tradesvc as pb;
use crate::domain::{GatewayMode, ModeChange, ModeSource};

/// Full name of the question for another mode.
pub const MODE_REQUEST: &str = "tradesvc.v0.ModeRequest";
/// Full name of its answer.
pub const MODE_CHANGE: &str = "tradesvc.v0.ModeChange";

/// Longest reason and name that are kept, in bytes: both are repeated to whoever is denied.
const WORDS_MAX: usize = 512;

/// Why somebody asks for another mode, and who, as they say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ModeAsked {
    /// Why.
    pub reason: String,
    /// Who.
    pub by: String,
}

/// Reads a question for another mode, which may be empty.
pub fn read_mode_request(content_type: Option<&str>, payload: &[u8]) -> Result<ModeAsked, Unreadable> {
    if payload.is_empty() {
        return Ok(ModeAsked::default());
    }
    let request: pb::ModeRequest = message(MODE_REQUEST, content_type, payload)?;
    for (field, text) in [("reason", &request.reason), ("by", &request.by)] {
        if text.len() > WORDS_MAX || text.chars().any(char::is_control) {
            return Err(Unreadable::new(format!(
                "{field} is one line of {WORDS_MAX} bytes at most"
            )));
        }
    }
    Ok(ModeAsked {
        reason: request.reason,
        by: request.by,
    })
}

/// A question for another mode.
pub fn mode_request(asked: &ModeAsked) -> Encoded {
    let request = pb::ModeRequest {
        reason: asked.reason.clone(),
        by: asked.by.clone(),
    };
    encoded(MODE_REQUEST, &request)
}

/// A change of the mode, and whether it is kept.
pub fn mode_change(change: &ModeChange, kept: bool) -> Encoded {
    let message = pb::ModeChange {
        mode: encode::gateway_mode(change.mode).into(),
        previous: encode::gateway_mode(change.previous).into(),
        reason: change.reason.clone(),
        by: change.by.clone(),
        source: change.source.as_str().to_owned(),
        at: Some(encode::instant(change.at)),
        id: change.id.to_string(),
        kept,
    };
    encoded(MODE_CHANGE, &message)
}

/// Reads a change of the mode, as it is kept.
pub fn read_mode_change(payload: &[u8]) -> Result<ModeChange, Unreadable> {
    let unreadable = |what: &str| Unreadable::new(format!("the payload is no {MODE_CHANGE}: {what}"));
    let change = pb::ModeChange::decode(payload).map_err(|error| unreadable(&error.to_string()))?;
    let mode = |number: i32| {
        GatewayMode::ALL
            .into_iter()
            .find(|mode| i32::from(encode::gateway_mode(*mode)) == number)
    };
    let source = ModeSource::ALL
        .into_iter()
        .find(|source| source.as_str() == change.source);
    Ok(ModeChange {
        id: Uuid::parse_str(&change.id).unwrap_or_default(),
        mode: mode(change.mode).ok_or_else(|| unreadable("it names no mode"))?,
        previous: mode(change.previous).unwrap_or_default(),
        reason: change.reason,
        by: change.by,
        source: source.unwrap_or(ModeSource::Start),
        at: instant("at", change.at.as_ref())?.ok_or_else(|| unreadable("it has no date"))?,
    })
}
