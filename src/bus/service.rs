//! A NATS micro service: found by `nats service ls`, described by `nats service info`, counted by `nats service stats`.

use std::collections::HashMap;
use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::service::{Request, ServiceExt as _, error};
use bytes::Bytes;
use futures_util::StreamExt as _;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tracing::{debug, warn};

use super::Connection;
use super::publish::SCHEMA;
use crate::backoff::{Backoff, Reason};
use crate::wire::Encoded;
use crate::wire::subject::Subjects;

/// The service's name.
const NAME: &str = "nalpaca";
/// Requests that wait to be answered; more wait at the server, whose client counts them as slow.
const WAITING_MAX: usize = 64;
/// Room for an answer's headers, which count, too.
const HEADERS_MAX: usize = 1024;
/// How often it is looked whether the client behind the connection is still the one that was registered with.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// One thing that can be asked.
#[derive(Clone, Copy, Debug)]
pub struct Endpoint {
    /// Its name, `subscriptions.add`.
    pub name: &'static str,
    /// Full name of the request's message; empty for none.
    pub request: &'static str,
    /// Full name of the answer's message.
    pub reply: &'static str,
    /// It waits behind no question that is not.
    pub urgent: bool,
}

/// Where questions are handed on.
#[derive(Clone)]
pub struct Asked {
    usual: mpsc::Sender<Question>,
    urgent: mpsc::Sender<Question>,
}

/// Questions to be answered.
pub struct Questions {
    /// Those that may wait.
    pub usual: mpsc::Receiver<Question>,
    /// Those that may not.
    pub urgent: mpsc::Receiver<Question>,
}

/// A question, to be answered once.
pub struct Question {
    /// Which endpoint was asked.
    pub endpoint: &'static str,
    /// It waits behind no question that is not.
    pub urgent: bool,
    request: Request,
    json: bool,
    /// The server takes no larger message.
    payload_max: usize,
}

/// An answer, written for whoever asked.
#[derive(Clone, Debug)]
pub struct Answer {
    payload: Bytes,
    schema: &'static str,
    json: bool,
}

impl Answer {
    /// Writes it as JSON, or leaves it as it is.
    pub fn new(encoded: Encoded, json: bool) -> Result<Self, Refused> {
        let schema = encoded.schema;
        let payload = if json {
            let text = crate::wire::decode_to_json(schema, &encoded.bytes, false);
            text.map(Bytes::from).map_err(|error| Refused {
                code: 500,
                message: error.to_string(),
            })?
        } else {
            encoded.bytes
        };
        Ok(Self {
            payload,
            schema,
            json,
        })
    }
}

/// What is wrong with a question: a number as HTTP has them, and words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The number.
    pub code: usize,
    /// What is wrong, and what would be right.
    pub message: String,
}

impl Question {
    /// What was sent.
    pub fn payload(&self) -> &Bytes {
        &self.request.message.payload
    }

    /// How it is written.
    pub fn content_type(&self) -> Option<&str> {
        self.header("Content-Type")
    }

    /// What stands in a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        let headers = self.request.message.headers.as_ref()?;
        headers.get(name).map(|value| value.as_str())
    }

    /// Whether the answer is to be in JSON: whoever asked did so in JSON, or with nothing at all, and wants to read it.
    pub const fn is_json(&self) -> bool {
        self.json
    }

    /// Sends the answer.
    pub async fn answer(self, answer: Result<Answer, Refused>) {
        let mut headers = HeaderMap::new();
        let fits = |answer: Answer| {
            let bytes = answer.payload.len() + HEADERS_MAX;
            if bytes <= self.payload_max {
                return Ok(answer);
            }
            let max = self.payload_max;
            let message = format!("the answer has {bytes} bytes, and the server takes {max}; ask for less");
            Err(Refused { code: 413, message })
        };
        let answer = match answer.and_then(fits) {
            Ok(answer) => {
                if answer.json {
                    headers.insert("Content-Type", "application/json");
                } else {
                    headers.insert(SCHEMA, answer.schema);
                }
                Ok(answer.payload)
            }
            Err(Refused { code, message }) => {
                // A header is one line.
                let status = message.replace(|letter: char| letter.is_control(), " ");
                Err(error::Error { code, status })
            }
        };
        if let Err(error) = self.request.respond_with_headers(answer, headers).await {
            debug!(endpoint = self.endpoint, %error, "an answer could not be sent");
        }
    }
}

/// Registers the service, and hands on what is asked until whoever listens has gone. Registers anew when the client behind
/// the connection is another one.
pub async fn serve(
    connection: Connection,
    subjects: Subjects,
    prefix: String,
    endpoints: Vec<Endpoint>,
    asked: Asked,
) {
    let mut backoff = Backoff::new(Reason::Nats);
    while !asked.usual.is_closed() {
        connection.connected().await;
        match register(&connection, &subjects, &prefix, &endpoints, &asked).await {
            Ok(()) => backoff.reset(),
            Err(error) => {
                warn!(%error, "the service cannot be registered now");
                tokio::time::sleep(backoff.next_delay()).await;
            }
        }
    }
}

/// Whether a message was published by somebody who waits for an answer.
///
/// The server checks no permission for the subject of an answer, so whoever may read a stream, pull from a consumer or publish
/// anything at all can have a stored message, or an acknowledgement, sent to an endpoint of ours. None of these has a subject
/// for an answer that is not the server's own. And whoever may ask us must not have us say things where they may not: the
/// subject of the answer is theirs to choose, and we may publish much.
fn is_asked(headers: Option<&HeaderMap>, reply: Option<&str>, prefix: &str) -> bool {
    let is_ours = |reply: &str| {
        let rest = reply.strip_prefix(prefix);
        reply.starts_with('$') || rest.is_some_and(|rest| rest.starts_with('.'))
    };
    let is_read = headers.is_some_and(|headers| headers.get("Nats-Stream").is_some());
    !is_read && reply.is_some_and(|reply| !is_ours(reply))
}

/// A way for questions, on which urgent ones overtake.
pub fn channel() -> (Asked, Questions) {
    let (usual, usual_questions) = mpsc::channel(WAITING_MAX);
    let (urgent, urgent_questions) = mpsc::channel(WAITING_MAX);
    let questions = Questions {
        usual: usual_questions,
        urgent: urgent_questions,
    };
    (Asked { usual, urgent }, questions)
}

async fn register(
    connection: &Connection,
    subjects: &Subjects,
    prefix: &str,
    endpoints: &[Endpoint],
    asked: &Asked,
) -> Result<(), async_nats::Error> {
    let made = connection.makes();
    let service = connection
        .client()
        .service_builder()
        .description("A gateway between NATS JetStream and Alpaca")
        .start(NAME, env!("CARGO_PKG_VERSION"))
        .await?;
    let mut listeners = JoinSet::new();
    for endpoint in endpoints {
        let metadata = HashMap::from([
            ("request".to_owned(), endpoint.request.to_owned()),
            ("response".to_owned(), endpoint.reply.to_owned()),
            ("encodings".to_owned(), "protobuf, json".to_owned()),
        ]);
        let mut listener = service
            .endpoint_builder()
            .name(endpoint.name.replace('.', "-"))
            .metadata(metadata)
            .add(subjects.service(endpoint.name))
            .await?;
        let questions = if endpoint.urgent {
            &asked.urgent
        } else {
            &asked.usual
        };
        let (questions, prefix, endpoint) = (questions.clone(), prefix.to_owned(), *endpoint);
        let client = connection.client();
        listeners.spawn(async move {
            while let Some(request) = listener.next().await {
                let reply = request.message.reply.as_ref().map(|reply| reply.as_str());
                if !is_asked(request.message.headers.as_ref(), reply, &prefix) {
                    debug!(
                        endpoint = endpoint.name,
                        "what nobody can be answered for is no question"
                    );
                    continue;
                }
                let content_type = request.message.headers.as_ref();
                let content_type = content_type.and_then(|headers| headers.get("Content-Type"));
                let payload = &request.message.payload;
                let json = payload.is_empty() && content_type.is_none()
                    || crate::wire::is_json(content_type.map(|value| value.as_str()), payload);
                let question = Question {
                    endpoint: endpoint.name,
                    urgent: endpoint.urgent,
                    request,
                    json,
                    payload_max: client.max_payload(),
                };
                if questions.send(question).await.is_err() {
                    return;
                }
            }
        });
    }
    loop {
        tokio::select! {
            () = asked.usual.closed() => break,                // cancel-safe: level-triggered
            () = tokio::time::sleep(LOOK_EVERY) => {         // cancel-safe
                if connection.makes() != made {
                    break;
                }
            }
            _ = listeners.join_next() => break,              // cancel-safe: docs
        }
    }
    listeners.shutdown().await;
    // Said to whoever looks; on a client that has died nobody hears it.
    let _ = tokio::time::timeout(LOOK_EVERY, service.stop()).await;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_who_waits_for_an_answer_elsewhere_has_asked() {
        let mut read = HeaderMap::new();
        read.insert("Nats-Stream", "KV_nalpaca");
        for (headers, reply, expected) in [
            (None, Some("_INBOX.a.b"), true),
            (Some(HeaderMap::new()), Some("nalpaca-tools.answers"), true),
            (None, None, false),
            (None, Some("nalpaca.action.v0.cancel.ALL"), false),
            (None, Some("$JS.ACK.stream.consumer.1.1.1.1.0"), false),
            (Some(read), Some("_INBOX.a.b"), false),
        ] {
            assert_eq!(
                is_asked(headers.as_ref(), reply, "nalpaca"),
                expected,
                "{reply:?}"
            );
        }
    }
}
