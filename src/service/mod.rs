//! The gateway as a NATS micro service: questions from programs and people, each answered once.
//!
//! Registered by the leader alone. What changes something here is kept before it is answered.

use tokio::sync::mpsc;
use tracing::{info, warn};

use crate::bus::Bucket;
use crate::bus::service::{Endpoint, Question, Refused};
use crate::market_data::Switchboard;
use crate::wire::Encoded;
use crate::wire::subscriptions::{self, FeedReport, Wish};

/// The key of what programs want to hear.
const SUBSCRIPTIONS: &str = "subscriptions";

const LIST: &str = "subscriptions.list";
const ADD: &str = "subscriptions.add";
const REMOVE: &str = "subscriptions.remove";

/// Everything that can be asked.
pub const ENDPOINTS: &[Endpoint] = &[
    Endpoint {
        name: LIST,
        request: "",
        reply: subscriptions::REPLY,
    },
    Endpoint {
        name: ADD,
        request: subscriptions::REQUEST,
        reply: subscriptions::REPLY,
    },
    Endpoint {
        name: REMOVE,
        request: subscriptions::REQUEST,
        reply: subscriptions::REPLY,
    },
];

/// Answers questions.
pub struct Service {
    /// Who wants to hear what.
    pub switchboard: Switchboard,
    /// Where wishes are kept.
    pub bucket: Bucket,
}

impl Service {
    /// Takes up what was kept, and answers until nobody asks any more.
    pub async fn run(self, mut questions: mpsc::Receiver<Question>) {
        self.take_up().await;
        while let Some(question) = questions.recv().await {
            let answer = match question.endpoint {
                LIST => Ok(self.report()),
                ADD => self.change(&question, true).await,
                REMOVE => self.change(&question, false).await,
                other => Err(Refused {
                    code: 404,
                    message: format!("nobody answers to {other}"),
                }),
            };
            question.answer(answer).await;
        }
    }

    /// What programs wanted before this process began. Of classes that are switched off now nothing is taken up, and nothing
    /// is forgotten until somebody changes something.
    async fn take_up(&self) {
        let kept = match self.bucket.get(SUBSCRIPTIONS).await {
            Ok(Some(kept)) if !kept.value.is_empty() => kept.value,
            Ok(_) => return,
            Err(error) => return warn!(%error, "what programs want to hear cannot be read"),
        };
        match subscriptions::read_request(Some("application/protobuf"), &kept) {
            Ok(wishes) => {
                info!(
                    wishes = wishes.len(),
                    "market data: what programs wanted is taken up again"
                );
                self.switchboard.change(&wishes, true);
            }
            Err(error) => warn!(%error, "what programs want to hear cannot be read"),
        }
    }

    async fn change(&self, question: &Question, add: bool) -> Result<Encoded, Refused> {
        let bad = |error: &dyn std::error::Error| Refused {
            code: 400,
            message: error.to_string(),
        };
        let wishes: Vec<Wish> = subscriptions::read_request(question.content_type(), question.payload())
            .map_err(|error| bad(&error))?;
        self.switchboard
            .check(&wishes, add)
            .map_err(|error| bad(&error))?;
        self.switchboard.change(&wishes, add);
        let kept = subscriptions::kept(&self.switchboard.asked());
        if let Err(error) = self.bucket.put(SUBSCRIPTIONS, kept.bytes).await {
            let message = format!("it is changed, and cannot be kept over a restart: {error}");
            return Err(Refused { code: 503, message });
        }
        if self.switchboard.settled(&wishes, add).await {
            Ok(self.report())
        } else {
            let message = "it is kept, and the venue has not said its word yet; ask subscriptions.list";
            let message = message.to_owned();
            Err(Refused { code: 504, message })
        }
    }

    fn report(&self) -> Encoded {
        let status = self.switchboard.status();
        let feeds: Vec<FeedReport<'_>> = status
            .iter()
            .map(|(class, status)| FeedReport {
                class: *class,
                connected: status.connected,
                reason: &status.reason,
                confirmed: &status.confirmed,
                refused: &status.refused,
            })
            .collect();
        subscriptions::reply(&feeds)
    }
}
