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

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn authorization(authorized: bool) -> Frame {
        Frame::Authorization {
            authorized,
            message: "said".to_owned(),
        }
    }

    fn listening(streams: &[&str]) -> Frame {
        Frame::Listening(streams.iter().map(|&stream| stream.to_owned()).collect())
    }

    fn begun() -> Session {
        let (session, _) = Session::begin(&Credential::bearer("t0ken".into()).unwrap());
        session
    }

    #[test]
    fn both_credentials_authenticate() {
        let pair = Credential::key_pair("PK".into(), "s3cr3t".into()).unwrap();
        let bearer = Credential::bearer("t0ken".into()).unwrap();
        for (credential, data) in [
            (pair, json!({"key_id": "PK", "secret_key": "s3cr3t"})),
            (bearer, json!({"oauth_token": "t0ken"})),
        ] {
            let (_, message) = Session::begin(&credential);
            let message: Value = serde_json::from_str(&message).unwrap();
            assert_eq!(message, json!({"action": "authenticate", "data": data}));
        }
    }

    #[test]
    fn the_handshake_ends_when_the_venue_listens_to_trade_updates() {
        let mut session = begun();
        let Step::Send(listen) = session.hear(authorization(true)) else {
            panic!("authorized, so subscribe");
        };
        assert_eq!(
            listen,
            r#"{"action":"listen","data":{"streams":["trade_updates"]}}"#
        );
        assert_eq!(session.hear(Frame::Nothing), Step::Wait);
        assert_eq!(session.hear(authorization(true)), Step::Wait);
        let note = session.hear(Frame::Unreadable("x".to_owned()));
        assert_eq!(note, Step::Note("x".to_owned()));
        assert_eq!(
            session.hear(listening(&["other", "trade_updates"])),
            Step::Listening
        );
    }

    #[test]
    fn anything_but_a_welcome_ends_the_handshake() {
        let unauthorized = Step::Unauthorized("said".to_owned());
        assert_eq!(begun().hear(authorization(false)), unauthorized);
        assert_eq!(Session::Subscribing.hear(authorization(false)), unauthorized);
        for (mut session, frame) in [
            (begun(), listening(&["trade_updates"])),
            (Session::Subscribing, listening(&[])),
            (begun(), Frame::ServerError("internal server error".to_owned())),
        ] {
            assert!(matches!(session.hear(frame), Step::Failed(_)));
        }
    }
}
