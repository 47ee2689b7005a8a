//! A key-value bucket with compare-and-set.
//!
//! Read through the leader of its stream, so it answers with what was last written, by whomever; and read as stored
//! JSON, so that nothing a stranger wrote there can break the client.

use std::time::Duration;

use async_nats::header::NATS_EXPECTED_LAST_SUBJECT_SEQUENCE as EXPECTED_REVISION;
use async_nats::{HeaderMap, HeaderName};
use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _, future, stream};

use super::Connection;
use super::copies::JsonCopies;
use super::lease::{Lease, NotLeading};
use super::publish::{Unstored, publish};
use super::stored::{self, Wanted};
use crate::trial::{self, Bug};

/// Says which operation a message of a bucket is; a value that was put has none.
const OPERATION: HeaderName = HeaderName::from_static("KV-Operation");

/// Longest wait for a list of keys. The bucket holds hundreds.
const LIST_TIMEOUT: Duration = Duration::from_secs(10);
/// Keys that are looked up at a time.
const AT_ONCE: usize = 16;

/// One bucket. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Bucket {
    name: String,
    stream: String,
    connection: Connection,
    /// Nothing is written without it.
    fence: Option<Lease>,
    copies: Option<JsonCopies>,
}

/// A value and the revision a compare-and-set must name to replace it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The bytes.
    pub value: Bytes,
    /// Their revision.
    pub revision: u64,
}

/// The bucket could not be reached, or is not there.
#[derive(Debug, thiserror::Error)]
#[error("bucket {bucket}: {action} {key:?}: {cause}")]
pub struct BucketError {
    bucket: String,
    action: &'static str,
    key: String,
    cause: String,
}

/// Why a compare-and-set was not made.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// Somebody wrote in between. Read again and decide again.
    #[error("the key was written by somebody else")]
    Stale,
    /// Not known whether it was written. Read before anything else.
    #[error(transparent)]
    Unknown(BucketError),
}

/// The subject a key of a bucket is written under.
pub fn key_subject(bucket: &str, key: &str) -> String {
    format!("$KV.{bucket}.{key}")
}

/// The key of a bucket that is written under a subject.
pub fn key_of<'a>(bucket: &str, subject: &'a str) -> Option<&'a str> {
    subject
        .strip_prefix("$KV.")?
        .strip_prefix(bucket)?
        .strip_prefix('.')
}

impl Bucket {
    /// Opens a bucket that exists.
    pub async fn open(connection: &Connection, name: &str) -> Result<Self, BucketError> {
        let stream = format!("KV_{name}");
        let found = connection.jetstream().get_stream(&stream).await;
        found.map_err(|error| BucketError {
            bucket: name.to_owned(),
            action: "open",
            key: String::new(),
            cause: error.to_string(),
        })?;
        Ok(Self::that_exists(connection, name))
    }

    /// A bucket that was seen to exist a moment ago.
    pub fn that_exists(connection: &Connection, name: &str) -> Self {
        Self {
            name: name.to_owned(),
            stream: format!("KV_{name}"),
            connection: connection.clone(),
            fence: None,
            copies: None,
        }
    }

    /// The same bucket, with copies in JSON of what is put there.
    #[must_use]
    pub fn copied(mut self, copies: Option<JsonCopies>) -> Self {
        self.copies = copies;
        self
    }

    /// The same bucket, written only while a lease is held.
    #[must_use]
    pub fn behind(mut self, fence: Lease) -> Self {
        self.fence = Some(fence);
        self
    }

    /// The value of a key; `None` when there is none or it was deleted.
    pub async fn get(&self, key: &str) -> Result<Option<Entry>, BucketError> {
        Ok(self.get_or_revision(key).await?.0)
    }

    /// The value of a key, and the revision a compare-and-set must name: also that of a deleted key, 0 of a new one.
    pub async fn get_or_revision(&self, key: &str) -> Result<(Option<Entry>, u64), BucketError> {
        let subject = self.subject(key);
        let message = stored::read(&self.connection, &self.stream, Wanted::Last(&subject))
            .await
            .map_err(|error| self.error("read", key, &error))?;
        let Some(message) = message else {
            return Ok((None, 0));
        };
        let revision = message.sequence;
        // "DEL" or "PURGE".
        if message
            .header(OPERATION.as_ref())
            .is_some_and(|operation| operation != "PUT")
        {
            return Ok((None, revision));
        }
        let value = message.payload;
        Ok((Some(Entry { value, revision }), revision))
    }

    /// Writes if nobody wrote since `revision`. Returns the new revision.
    pub async fn compare_and_set(&self, key: &str, value: Bytes, revision: u64) -> Result<u64, WriteError> {
        let mut headers = HeaderMap::new();
        headers.insert(EXPECTED_REVISION, revision.to_string());
        self.publish("write", key, headers, value).await
    }

    /// Writes, whatever is there. Returns the new revision.
    pub async fn put(&self, key: &str, value: Bytes) -> Result<u64, BucketError> {
        let revision = self
            .publish("write", key, HeaderMap::new(), value.clone())
            .await
            .map_err(|error| self.unconditional("write", key, error))?;
        if let Some(copies) = &self.copies {
            copies.of_key(key, &value).await;
        }
        Ok(revision)
    }

    /// Marks a key deleted.
    pub async fn delete(&self, key: &str) -> Result<(), BucketError> {
        let mut headers = HeaderMap::new();
        headers.insert(OPERATION, "DEL");
        self.publish("delete", key, headers, Bytes::new())
            .await
            .map(|_| ())
            .map_err(|error| self.unconditional("delete", key, error))
    }

    /// Marks a key deleted if nobody wrote since `revision`.
    pub async fn delete_revision(&self, key: &str, revision: u64) -> Result<(), WriteError> {
        let mut headers = HeaderMap::new();
        headers.insert(OPERATION, "DEL");
        headers.insert(EXPECTED_REVISION, revision.to_string());
        self.publish("delete", key, headers, Bytes::new())
            .await
            .map(|_| ())
    }

    async fn publish(
        &self,
        action: &'static str,
        key: &str,
        headers: HeaderMap,
        value: Bytes,
    ) -> Result<u64, WriteError> {
        let shut = self.fence.as_ref().is_some_and(|fence| !fence.holds());
        if shut && !trial::planted(Bug::LeaseIgnored) {
            return Err(WriteError::Unknown(self.error(action, key, &NotLeading)));
        }
        match publish(&self.connection, self.subject(key), headers, value).await {
            Ok(stored) => Ok(stored.sequence),
            Err(Unstored::Stale(_)) => Err(WriteError::Stale),
            Err(error @ Unstored::Unknown(_)) => Err(WriteError::Unknown(self.error(action, key, &error))),
        }
    }

    /// The error of a write that named no revision.
    fn unconditional(&self, action: &'static str, key: &str, error: WriteError) -> BucketError {
        match error {
            WriteError::Unknown(error) => error,
            stale @ WriteError::Stale => self.error(action, key, &stale),
        }
    }

    fn subject(&self, key: &str) -> String {
        key_subject(&self.name, key)
    }

    /// The keys that begin with a prefix and have a value. Bounded in time: a listing without end is an error.
    ///
    /// The stream is asked for its subjects, which takes no consumer, and no permission to make one.
    pub async fn keys(&self, prefix: &str) -> Result<Vec<String>, BucketError> {
        let listing = async {
            let stream = self.connection.jetstream().get_stream_no_info(&self.stream).await;
            let stream = stream.map_err(|error| self.error("list", prefix, &error))?;
            let subjects = stream.info_with_subjects(self.subject(">")).await;
            let subjects = subjects.map_err(|error| self.error("list", prefix, &error))?;
            let before = self.subject("").len();
            let keys: Vec<String> = subjects
                .try_filter_map(|(subject, _)| {
                    let key = subject.get(before..).filter(|key| key.starts_with(prefix));
                    future::ready(Ok(key.map(str::to_owned)))
                })
                .try_collect()
                .await
                .map_err(|error| self.error("list", prefix, &error))?;
            let looked_up = keys.into_iter().map(|key| async move {
                let is_there = self.get(&key).await?.is_some();
                Ok(is_there.then_some(key))
            });
            let with_values: Vec<Option<String>> =
                stream::iter(looked_up).buffered(AT_ONCE).try_collect().await?;
            Ok(with_values.into_iter().flatten().collect())
        };
        let listed = tokio::time::timeout(LIST_TIMEOUT, listing).await;
        listed.unwrap_or_else(|late| Err(self.error("list", prefix, &late)))
    }

    fn error(&self, action: &'static str, key: &str, cause: &dyn std::error::Error) -> BucketError {
        BucketError {
            bucket: self.name.clone(),
            action,
            key: key.to_owned(),
            cause: cause.to_string(),
        }
    }
}
