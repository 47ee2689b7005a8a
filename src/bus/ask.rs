//! Questions to a daemon's service, from the side of whoever asks.

use std::time::Duration;

use async_nats::client::RequestErrorKind;
use async_nats::{HeaderMap, Request, StatusCode};
use bytes::Bytes;

use super::Connection;
use super::publish::SCHEMA;
use super::service::Refused;
use crate::wire::Encoded;
use crate::wire::subject::Subjects;

/// Why there is no answer to be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AskError {
    /// No daemon that leads is connected to this account of these servers.
    #[error("nobody answers; is the daemon running, on these servers and with this PREFIX?")]
    Nobody,
    /// The daemon has refused, or cannot.
    #[error("{} ({})", .0.message, .0.code)]
    Refused(Refused),
    /// There was no answer in time.
    #[error("no answer within {} s", .0.as_secs())]
    Late(Duration),
    /// The question could not be sent, for example because we may not ask it.
    #[error("the question could not be sent: {0}")]
    Failed(String),
}

impl AskError {
    /// Whether the same question may be answered later.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Nobody | Self::Late(_) => true,
            Self::Refused(Refused { code, .. }) => matches!(code, 429 | 503 | 504),
            Self::Failed(_) => false,
        }
    }
}

/// Asks an endpoint, in protobuf, and waits for the answer for so long.
pub async fn ask(
    connection: &Connection,
    subjects: &Subjects,
    endpoint: &str,
    question: Encoded,
    patience: Duration,
) -> Result<Bytes, AskError> {
    let mut headers = HeaderMap::new();
    headers.insert("Content-Type", "application/protobuf");
    if !question.schema.is_empty() {
        headers.insert(SCHEMA, question.schema);
    }
    let request = Request::new()
        .payload(question.bytes)
        .headers(headers)
        .timeout(Some(patience));
    let answer = connection
        .client()
        .send_request(subjects.service(endpoint), request)
        .await
        .map_err(|error| match error.kind() {
            RequestErrorKind::NoResponders => AskError::Nobody,
            RequestErrorKind::TimedOut => AskError::Late(patience),
            RequestErrorKind::InvalidSubject
            | RequestErrorKind::MaxPayloadExceeded
            | RequestErrorKind::Other => AskError::Failed(error.to_string()),
        })?;
    if answer.status == Some(StatusCode::NO_RESPONDERS) {
        return Err(AskError::Nobody);
    }
    let header = |name| {
        let value = answer.headers.as_ref()?.get(name)?;
        Some(value.as_str().to_owned())
    };
    match header(async_nats::service::NATS_SERVICE_ERROR_CODE) {
        Some(code) => Err(AskError::Refused(Refused {
            code: code.parse().unwrap_or(500),
            message: header(async_nats::service::NATS_SERVICE_ERROR).unwrap_or_default(),
        })),
        None => Ok(answer.payload),
    }
}
