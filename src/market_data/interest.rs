//! Hears what somebody listens to, and nothing else: where that is switched on.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;
use tracing::{debug, warn};

use super::switchboard::Switchboard;
use crate::bus::{Connection, interest};
use crate::domain::market::{Channel, MarketClass};
use crate::wire::subject::Subjects;

/// How often it is looked who listens.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// How long what nobody listens to any more is heard still: a program that is restarted finds it going.
const LINGER: Duration = Duration::from_secs(60);

/// One symbol of one channel.
type Wish = (MarketClass, Channel, String);

/// Follows who listens, until dropped.
pub async fn follow(connection: Connection, subjects: Subjects, switchboard: Switchboard) {
    let begins = subjects.all_data();
    let begins = begins.trim_end_matches('>');
    let mut seen: BTreeMap<Wish, Instant> = BTreeMap::new();
    let mut silent = false;
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let Some(listened) = interest::look(&connection, begins).await else {
            if !std::mem::replace(&mut silent, true) {
                let question = interest::QUESTION;
                warn!(
                    question,
                    "market data: no server says who listens; what was heard is heard still"
                );
            }
            continue;
        };
        silent = false;
        let now = Instant::now();
        for subject in &listened {
            if let Some(wish) = subjects.read_observation(subject) {
                seen.insert(wish, now);
            }
        }
        seen.retain(|_, last| now - *last < LINGER);
        debug!(symbols = seen.len(), "market data: somebody listens");
        switchboard.follow(seen.keys().cloned());
    }
}
