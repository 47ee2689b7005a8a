//! A key-value bucket with compare-and-set.
//!
//! A bucket read through its leader (the ledger) answers with what was last written, by whomever.

use std::time::Duration;

use async_nats::jetstream::kv;
use bytes::Bytes;
use futures_util::{TryStreamExt, future};

use super::Connection;

/// Longest wait for a list of keys. The bucket holds hundreds.
const LIST_TIMEOUT: Duration = Duration::from_secs(10);

/// One bucket. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Bucket {
    name: String,
    store: kv::Store,
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

impl Bucket {
    /// Opens a bucket that exists.
    pub async fn open(connection: &Connection, name: &str) -> Result<Self, BucketError> {
        let opened = connection.jetstream().get_key_value(name).await;
        opened
            .map(|store| Self {
                name: name.to_owned(),
                store,
            })
            .map_err(|error| BucketError {
                bucket: name.to_owned(),
                action: "open",
                key: String::new(),
                cause: error.to_string(),
            })
    }

    /// The value of a key; `None` when there is none or it was deleted.
    pub async fn get(&self, key: &str) -> Result<Option<Entry>, BucketError> {
        Ok(self.get_or_revision(key).await?.0)
    }

    /// The value of a key, and the revision a compare-and-set must name: also that of a deleted key, 0 of a new one.
    pub async fn get_or_revision(&self, key: &str) -> Result<(Option<Entry>, u64), BucketError> {
        let entry = self
            .store
            .entry(key)
            .await
            .map_err(|error| self.error("read", key, &error))?;
        Ok(match entry {
            None => (None, 0),
            Some(entry) => match entry.operation {
                kv::Operation::Put => (
                    Some(Entry {
                        value: entry.value,
                        revision: entry.revision,
                    }),
                    entry.revision,
                ),
                kv::Operation::Delete | kv::Operation::Purge => (None, entry.revision),
            },
        })
    }

    /// Writes if nobody wrote since `revision`. Returns the new revision.
    pub async fn compare_and_set(&self, key: &str, value: Bytes, revision: u64) -> Result<u64, WriteError> {
        self.store
            .update(key, value, revision)
            .await
            .map_err(|error| match error.kind() {
                kv::UpdateErrorKind::WrongLastRevision => WriteError::Stale,
                kv::UpdateErrorKind::InvalidKey
                | kv::UpdateErrorKind::TimedOut
                | kv::UpdateErrorKind::Other => WriteError::Unknown(self.error("write", key, &error)),
            })
    }

    /// Writes, whatever is there. Returns the new revision.
    pub async fn put(&self, key: &str, value: Bytes) -> Result<u64, BucketError> {
        self.store
            .put(key, value)
            .await
            .map_err(|error| self.error("write", key, &error))
    }

    /// Marks a key deleted.
    pub async fn delete(&self, key: &str) -> Result<(), BucketError> {
        self.store
            .delete(key)
            .await
            .map_err(|error| self.error("delete", key, &error))
    }

    /// The keys that begin with a prefix and have a value. Bounded in time: a listing without end is an error.
    pub async fn keys(&self, prefix: &str) -> Result<Vec<String>, BucketError> {
        let listing = async {
            let keys = self.store.keys().await;
            let keys = keys.map_err(|error| self.error("list", prefix, &error))?;
            keys.try_filter(|key| future::ready(key.starts_with(prefix)))
                .try_collect()
                .await
                .map_err(|error| self.error("list", prefix, &error))
        };
        let listed = tokio::time::timeout(LIST_TIMEOUT, listing).await;
        listed.unwrap_or_else(|late| Err(self.error("list", prefix, &late)))
    }

    /// Marks a key deleted if nobody wrote since `revision`.
    pub async fn delete_revision(&self, key: &str, revision: u64) -> Result<(), WriteError> {
        let deleted = self.store.delete_expect_revision(key, Some(revision)).await;
        // Whether somebody wrote in between or nobody knows: either way it is not for certain gone.
        deleted.map_err(|error| WriteError::Unknown(self.error("delete", key, &error)))
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
