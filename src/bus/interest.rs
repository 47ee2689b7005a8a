//! Who listens to what: the servers are asked for the subscriptions of our own account.
//!
//! Any user whom the permissions let publish the question is answered about their own account alone (nats-server 2.10.25 and
//! 2.15.1, measured). Durable consumers of a stream do not show: they listen through the server.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::StreamExt as _;
use serde::Deserialize;
use tracing::debug;

use super::Connection;

/// The question. Every server of a cluster answers it for its own connections.
pub const QUESTION: &str = "$SYS.REQ.ACCOUNT.PING.CONNZ";
/// Connections each server tells of at once.
const CONNECTIONS_MAX: u32 = 1024;
/// How long answers are collected. A server of ours answers in milliseconds.
const COLLECT: Duration = Duration::from_millis(500);
/// Servers of a cluster, and pages of theirs: more is not looked at.
const ANSWERS_MAX: usize = 64;

#[derive(Deserialize)]
struct AnswerJson {
    #[serde(default)]
    data: DataJson,
}

#[derive(Default, Deserialize)]
struct DataJson {
    #[serde(default)]
    connections: Vec<ConnectionJson>,
}

#[derive(Deserialize)]
struct ConnectionJson {
    #[serde(default)]
    subscriptions_list: Vec<String>,
}

/// The subjects that begin so and that somebody is subscribed to. `None`: nobody could be asked.
pub async fn look(connection: &Connection, begins: &str) -> Option<BTreeSet<String>> {
    let client = connection.client();
    let inbox = client.new_inbox();
    let mut answers = client.subscribe(inbox.clone()).await.ok()?;
    let question = serde_json::json!({ "subscriptions": true, "limit": CONNECTIONS_MAX });
    let asked = client.publish_with_reply(QUESTION, inbox, question.to_string().into());
    asked.await.ok()?;
    let mut subjects = BTreeSet::new();
    let mut heard = 0;
    let collect = async {
        while let Some(answer) = answers.next().await {
            match serde_json::from_slice::<AnswerJson>(&answer.payload) {
                Ok(answer) => {
                    let lists = answer.data.connections.into_iter();
                    let all = lists.flat_map(|connection| connection.subscriptions_list);
                    subjects.extend(all.filter(|subject| subject.starts_with(begins)));
                    heard += 1;
                }
                Err(error) => debug!(%error, "an answer about subscriptions cannot be read"),
            }
            if heard == ANSWERS_MAX {
                return;
            }
        }
    };
    // The time is meant to run out: nobody says how many servers there are.
    let _ = tokio::time::timeout(COLLECT, collect).await;
    (heard > 0).then_some(subjects)
}
