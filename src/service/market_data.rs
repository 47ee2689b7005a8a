//! What is asked about market data: who hears what, and bars of the past.

use tracing::{info, warn};

use super::{Office, Service, bad};
use crate::bus::service::{Answer, Question, Refused};
use crate::wire::subscriptions::{self, FeedReport, Wish};
use crate::wire::{Encoded, history};

/// The key of what programs want to hear.
const SUBSCRIPTIONS: &str = "subscriptions";

impl Service {
    /// What programs wanted before this process began. Of classes that are switched off now nothing is taken up, and nothing
    /// is forgotten until somebody changes something.
    pub(super) async fn take_up(&self) {
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

impl Office {
    pub(super) async fn history(&self, question: &Question) -> Result<Answer, Refused> {
        let now = self.service.clock.now();
        let page = history::read_request(question.content_type(), question.payload(), now)
            .map_err(|error| bad(&error))?;
        self.service.history.page(page, question.is_json()).await
    }

    pub(super) async fn change(&self, question: &Question, add: bool) -> Result<Answer, Refused> {
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

    pub(super) fn report(&self) -> Encoded {
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
