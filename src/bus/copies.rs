//! Copies in JSON of what is published in protobuf, for programs that read no protobuf (`DATA_ENCODING=json`).
//!
//! A copy goes to whoever listens now, under `<prefix>.json.` and what follows the prefix in the original's subject, or
//! `<prefix>.json.kv.<key>` for a key of the bucket. It is published after the original is stored, and nothing is stored of it:
//! the journal and the bucket are the truth, and `nalpaca replay --output json` reads them.

use async_nats::HeaderMap;
use tracing::debug;

use super::Connection;
use super::publish::SCHEMA;
use crate::wire::decode_to_json;

/// Publishes copies. Cheap to clone.
#[derive(Clone, Debug)]
pub struct JsonCopies {
    connection: Connection,
    prefix: String,
}

/// The messages of the keys that are copied. Others are for the gateway itself.
fn schema_of(key: &str) -> Option<&'static str> {
    match key {
        "positions" => Some("tradesvc.v0.Positions"),
        "account" => Some("tradesvc.v0.Account"),
        "state" => Some("tradesvc.v0.GatewayState"),
        "mode" => Some("tradesvc.v0.ModeChange"),
        _ if key.starts_with("position.") => Some("tradesvc.v0.Position"),
        _ => None,
    }
}

impl JsonCopies {
    /// Copies over this connection.
    pub fn new(connection: Connection, prefix: impl Into<String>) -> Self {
        Self {
            connection,
            prefix: prefix.into(),
        }
    }

    /// Copies a message. One that cannot be copied is told by its original alone.
    pub async fn of(&self, subject: &str, schema: &str, payload: &[u8]) {
        let rest = subject
            .strip_prefix(self.prefix.as_str())
            .and_then(|rest| rest.strip_prefix('.'));
        if let Some(rest) = rest {
            self.publish(rest, schema, payload).await;
        }
    }

    /// Copies a key of the bucket.
    pub async fn of_key(&self, key: &str, value: &[u8]) {
        if let Some(schema) = schema_of(key) {
            self.publish(&format!("kv.{key}"), schema, value).await;
        }
    }

    async fn publish(&self, rest: &str, schema: &str, payload: &[u8]) {
        let json = match decode_to_json(schema, payload, false) {
            Ok(json) => json,
            Err(error) => return debug!(%error, schema, "no copy in JSON"),
        };
        let mut headers = HeaderMap::new();
        headers.insert("Content-Type", "application/json");
        headers.insert(SCHEMA, schema);
        let subject = format!("{}.json.{rest}", self.prefix);
        let client = self.connection.client();
        let sent = client.publish_with_headers(subject, headers, json.into());
        if let Err(error) = sent.await {
            debug!(%error, "a copy in JSON was not published");
        }
    }
}
