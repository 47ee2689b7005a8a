//! The gateway as a NATS micro service: questions from programs and people, each answered once.
//!
//! Registered by the leader alone. What changes something here is kept before it is answered.

use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tracing::{info, warn};

use crate::bus::Bucket;
use crate::bus::service::{Answer, Endpoint, Question, Refused};
use crate::clock::Clock;
use crate::domain::{GatewayMode, ModeSource};
use crate::market_data::{HistoryDesk, Switchboard};
use crate::mode::{ModeWish, Modes, NotChanged};
use crate::wire;
use crate::wire::subscriptions::{self, FeedReport, Wish};
use crate::wire::{Encoded, history};

/// The key of what programs want to hear.
const SUBSCRIPTIONS: &str = "subscriptions";

const LIST: &str = "subscriptions.list";
const ADD: &str = "subscriptions.add";
const REMOVE: &str = "subscriptions.remove";
const HISTORY: &str = "bars.history";

/// What asks for a mode, and which.
const MODES: [(&str, GatewayMode); 4] = [
    ("admin.halt", GatewayMode::Halted),
    ("admin.resume", GatewayMode::Normal),
    ("admin.reduce_only", GatewayMode::ReduceOnly),
    ("admin.cancel_only", GatewayMode::CancelOnly),
];

const fn admin(name: &'static str) -> Endpoint {
    Endpoint {
        name,
        request: wire::service::MODE_REQUEST,
        reply: wire::service::MODE_CHANGE,
    }
}

/// Everything that can be asked.
pub const ENDPOINTS: &[Endpoint] = &[
    admin(MODES[0].0),
    admin(MODES[1].0),
    admin(MODES[2].0),
    admin(MODES[3].0),
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
    Endpoint {
        name: HISTORY,
        request: history::REQUEST,
        reply: history::REPLY,
    },
];

/// Questions that are at work at once. More wait, and are answered later.
const AT_ONCE: usize = 32;

/// Answers questions.
pub struct Service {
    /// What is let through.
    pub modes: Modes,
    /// Who wants to hear what.
    pub switchboard: Switchboard,
    /// Where wishes are kept.
    pub bucket: Bucket,
    /// Where the past is found.
    pub history: HistoryDesk,
    /// What time it is.
    pub clock: Clock,
}

impl Service {
    /// Takes up what was kept, and answers until nobody asks any more. A question that has to wait keeps no other waiting.
    pub async fn run(self, mut questions: mpsc::Receiver<Question>) {
        self.take_up().await;
        let office = Arc::new(Office {
            service: self,
            keeping: tokio::sync::Mutex::new(()),
        });
        let mut at_work = JoinSet::new();
        loop {
            tokio::select! {
                // Cancel-safe, both: docs.
                question = questions.recv(), if at_work.len() < AT_ONCE => match question {
                    Some(question) => {
                        at_work.spawn(Arc::clone(&office).answer(question));
                    }
                    None => break,
                },
                Some(_) = at_work.join_next() => {}
            }
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
}

/// The service at work.
struct Office {
    service: Service,
    /// Held while wishes are changed and kept, so that what is kept is what was changed last.
    keeping: tokio::sync::Mutex<()>,
}

impl Office {
    async fn answer(self: Arc<Self>, question: Question) {
        let json = question.is_json();
        let answer = match question.endpoint {
            LIST => Answer::new(self.report(), json),
            ADD => self.change(&question, true).await,
            REMOVE => self.change(&question, false).await,
            HISTORY => self.history(&question).await,
            other if let Some((_, mode)) = MODES.iter().find(|(name, _)| *name == other) => {
                self.set_mode(&question, *mode).await
            }
            other => Err(Refused {
                code: 404,
                message: format!("nobody answers to {other}"),
            }),
        };
        question.answer(answer).await;
    }

    async fn set_mode(&self, question: &Question, mode: GatewayMode) -> Result<Answer, Refused> {
        let asked = wire::service::read_mode_request(question.content_type(), question.payload())
            .map_err(|error| bad(&error))?;
        let wish = ModeWish {
            mode,
            reason: asked.reason,
            by: asked.by,
            source: ModeSource::Service,
        };
        let changed = self.service.modes.change(wish).await;
        let (change, kept) = changed.map_err(|error| Refused {
            code: match error {
                NotChanged::NotKept { .. } => 503,
                NotChanged::Overtaken { .. } | NotChanged::Held(_) => 409,
            },
            message: error.to_string(),
        })?;
        Answer::new(wire::service::mode_change(&change, kept), question.is_json())
    }

    async fn history(&self, question: &Question) -> Result<Answer, Refused> {
        let now = self.service.clock.now();
        let page = history::read_request(question.content_type(), question.payload(), now)
            .map_err(|error| bad(&error))?;
        self.service.history.page(page, question.is_json()).await
    }

    async fn change(&self, question: &Question, add: bool) -> Result<Answer, Refused> {
        let switchboard = &self.service.switchboard;
        let wishes: Vec<Wish> = subscriptions::read_request(question.content_type(), question.payload())
            .map_err(|error| bad(&error))?;
        switchboard.check(&wishes, add).map_err(|error| bad(&error))?;
        let keeping = self.keeping.lock().await;
        switchboard.change(&wishes, add);
        let kept = subscriptions::request(&switchboard.asked());
        if let Err(error) = self.service.bucket.put(SUBSCRIPTIONS, kept.bytes).await {
            let message = format!("it is changed, and cannot be kept over a restart: {error}");
            return Err(Refused { code: 503, message });
        }
        drop(keeping);
        if switchboard.settled(&wishes, add).await {
            Answer::new(self.report(), question.is_json())
        } else {
            let message = "it is kept, and the venue has not said its word yet; ask subscriptions.list";
            let message = message.to_owned();
            Err(Refused { code: 504, message })
        }
    }

    fn report(&self) -> Encoded {
        let status = self.service.switchboard.status();
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

fn bad(error: &dyn std::error::Error) -> Refused {
    Refused {
        code: 400,
        message: error.to_string(),
    }
}
