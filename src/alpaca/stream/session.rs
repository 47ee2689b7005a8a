//! The handshake: authenticate, then listen, then wait until the venue says it listens too. No I/O.

use secrecy::ExposeSecret;
use serde_json::json;

use super::frame::{Frame, TRADE_UPDATES};
use crate::alpaca::credential::{Credential, Form};
use crate::domain::ExecutionReport;

/// Where the handshake is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Session {
    Authenticating,
    Subscribing,
}

/// What to do next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Send this and go on.
    Send(String),
    /// Go on.
    Wait,
    /// An event overtook the acknowledgement. Keep it and go on.
    Keep(Box<ExecutionReport>),
    /// Something that may have been an event overtook the acknowledgement. Note it and go on.
    Note(String),
    /// The venue listens: from here on events count.
    Listening,
    /// The venue does not take our credential.
    Unauthorized(String),
    /// The venue does something else.
    Failed(String),
}

impl Session {
    /// Begins. The venue says nothing first.
    ///
    /// Of the two spellings of this message the venue knows, this is the one its own clients send, and the only
    /// one with a form for OAuth.
    pub(super) fn begin(credential: &Credential) -> (Self, String) {
        let data = match credential.form() {
            Form::KeyPair { key_id, secret_key } => json!({
                "key_id": key_id.expose_secret(),
                "secret_key": secret_key.expose_secret(),
            }),
            Form::Bearer(token) => json!({ "oauth_token": token.expose_secret() }),
        };
        let message = json!({ "action": "authenticate", "data": data });
        (Self::Authenticating, message.to_string())
    }

    /// Takes what the venue said.
    pub(super) fn hear(&mut self, frame: Frame) -> Step {
        match (*self, frame) {
            (_, Frame::Nothing) => Step::Wait,
            (_, Frame::Report(report)) => Step::Keep(report),
            (_, Frame::Unreadable(cause)) => Step::Note(cause),
            (_, Frame::ServerError(message)) => Step::Failed(message),
            (
                _,
                Frame::Authorization {
                    authorized: false,
                    message,
                },
            ) => Step::Unauthorized(message),
            (Self::Authenticating, Frame::Authorization { authorized: true, .. }) => {
                *self = Self::Subscribing;
                let listen = json!({ "action": "listen", "data": { "streams": [TRADE_UPDATES] } });
                Step::Send(listen.to_string())
            }
            // Said twice; once was enough.
            (Self::Subscribing, Frame::Authorization { authorized: true, .. }) => Step::Wait,
            (Self::Subscribing, Frame::Listening(streams)) if carries_updates(&streams) => Step::Listening,
            (Self::Subscribing, Frame::Listening(_)) => {
                Step::Failed("the venue listens, but not to trade updates".to_owned())
            }
            (Self::Authenticating, Frame::Listening(_)) => {
                Step::Failed("the venue listens before it knows who we are".to_owned())
            }
        }
    }
}

/// Whether a list of subscriptions has the one that matters. The venue leaves out silently what it does not grant.
pub(super) fn carries_updates(streams: &[String]) -> bool {
    streams.iter().any(|stream| stream == TRADE_UPDATES)
}
