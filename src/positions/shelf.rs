//! The keys of the holdings in the bucket, kept equal to the latest statement.

use std::collections::HashSet;

use bytes::Bytes;
use futures_util::future::{try_join, try_join3};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use crate::bus::{Bucket, BucketError};
use crate::domain::Holdings;
use crate::domain::account::AccountStatement;
use crate::trial::{self, Point};
use crate::wire;
use crate::wire::subject::position_key;

const POSITIONS: &str = "positions";
const ACCOUNT: &str = "account";
/// What the key of every single position begins with.
const POSITION: &str = "position.";
/// Keys of single positions that are read or written at a time.
const AT_ONCE: usize = 16;

/// A bucket, as far as this room needs one.
pub(super) trait Keys: Send + Sync {
    /// What went wrong with it.
    type Error: std::error::Error + Send + Sync;

    /// The value of a key.
    fn get(&self, key: &str) -> impl Future<Output = Result<Option<Bytes>, Self::Error>> + Send;

    /// Writes a key. Returns the revision, which the bucket counts over all keys.
    fn put(&self, key: &str, value: Bytes) -> impl Future<Output = Result<u64, Self::Error>> + Send;

    /// Marks a key deleted.
    fn delete(&self, key: &str) -> impl Future<Output = Result<(), Self::Error>> + Send;

    /// The keys that begin with a prefix.
    fn keys(&self, prefix: &str) -> impl Future<Output = Result<Vec<String>, Self::Error>> + Send;
}

impl Keys for Bucket {
    type Error = BucketError;

    async fn get(&self, key: &str) -> Result<Option<Bytes>, BucketError> {
        Ok(Self::get(self, key).await?.map(|entry| entry.value))
    }

    async fn put(&self, key: &str, value: Bytes) -> Result<u64, BucketError> {
        Self::put(self, key, value).await
    }

    async fn delete(&self, key: &str) -> Result<(), BucketError> {
        Self::delete(self, key).await
    }

    async fn keys(&self, prefix: &str) -> Result<Vec<String>, BucketError> {
        Self::keys(self, prefix).await
    }
}

/// The one writer of these keys.
#[derive(Debug)]
pub(super) struct Shelf<K> {
    bucket: K,
    /// Latest versions, once the bucket was asked for those of the process before us.
    versions: Option<Versions>,
    /// Revision of the latest `positions`.
    revision: u64,
    /// The keys of single positions. Unknown until they were listed.
    shelved: Option<HashSet<String>>,
}

#[derive(Clone, Copy, Debug)]
struct Versions {
    positions: u64,
    account: u64,
}

impl Versions {
    fn of(positions: Option<&[u8]>, account: Option<&[u8]>) -> Self {
        Self {
            positions: positions.map_or(0, wire::read_positions_version),
            account: account.map_or(0, wire::read_account_version),
        }
    }
}

/// Some at a time: one after the other, a hundred positions are a hundred round trips.
async fn at_once<E>(each: impl Iterator<Item = impl Future<Output = Result<(), E>>>) -> Result<(), E> {
    stream::iter(each)
        .buffer_unordered(AT_ONCE)
        .try_collect::<()>()
        .await
}

impl<K: Keys> Shelf<K> {
    pub(super) fn new(bucket: K) -> Self {
        Self {
            bucket,
            versions: None,
            revision: 0,
            shelved: None,
        }
    }

    /// Trusts nothing it remembers of the bucket: after a loss of contact it may be another one.
    pub(super) fn distrust(&mut self) {
        self.shelved = None;
    }

    /// Says of everything the process before us left that nobody vouches for it: it died without saying so, and how
    /// long it has been dead is not known.
    pub(super) async fn disown(&mut self) -> Result<(), K::Error> {
        let bucket = &self.bucket;
        let (positions, account, single) =
            try_join3(bucket.get(POSITIONS), bucket.get(ACCOUNT), bucket.keys(POSITION)).await?;
        let versions = Versions::of(positions.as_deref(), account.as_deref());
        let statements = [
            (
                POSITIONS,
                positions.and_then(|value| wire::disowned_positions(&value)),
            ),
            (ACCOUNT, account.and_then(|value| wire::disowned_account(&value))),
        ];
        for (key, disowned) in statements {
            if let Some(value) = disowned {
                bucket.put(key, value).await?;
            }
        }
        let each = single.clone().into_iter().map(|key| async move {
            let value = bucket.get(&key).await?;
            if let Some(value) = value.and_then(|value| wire::disowned_position(&value)) {
                bucket.put(&key, value).await?;
            }
            Ok(())
        });
        at_once(each).await?;
        self.versions = Some(versions);
        self.shelved = Some(single.into_iter().collect());
        Ok(())
    }

    /// Writes a statement and numbers it. On an error the same statement is to be written again.
    pub(super) async fn write(&mut self, holdings: &mut Holdings) -> Result<(), K::Error> {
        let version = self.versions().await?.positions + 1;
        holdings.version = version;
        let whole = wire::positions(holdings).bytes;
        let revision = self.bucket.put(POSITIONS, whole).await?;
        if let Some(versions) = &mut self.versions {
            versions.positions = version;
        }
        if revision <= self.revision {
            self.distrust(); // the bucket began anew, and knows none of our keys
        }
        self.revision = revision;
        trial::at(Point::PositionsHalf, POSITIONS);
        self.write_each(holdings).await
    }

    /// Writes the account and numbers it.
    pub(super) async fn write_account(&mut self, statement: &mut AccountStatement) -> Result<(), K::Error> {
        statement.version = self.versions().await?.account + 1;
        self.bucket.put(ACCOUNT, wire::account(statement).bytes).await?;
        if let Some(versions) = &mut self.versions {
            versions.account = statement.version;
        }
        Ok(())
    }

    async fn write_each(&mut self, holdings: &Holdings) -> Result<(), K::Error> {
        if self.shelved.is_none() {
            let keys = self.bucket.keys(POSITION).await?;
            self.shelved = Some(keys.into_iter().collect());
        }
        let shelved = self.shelved.get_or_insert_default();
        let bucket = &self.bucket;
        let statements: Vec<(String, Bytes)> = holdings
            .positions
            .iter()
            .map(|position| {
                let value = wire::position(position, holdings).bytes;
                (position_key(&position.symbol), value)
            })
            .collect();
        let held: HashSet<String> = statements.iter().map(|(key, _)| key.clone()).collect();
        shelved.extend(held.iter().cloned());
        // Each statement is written to each key: a date that stands still could not be told from a dead gateway.
        let each = statements
            .into_iter()
            .map(|(key, value)| async move { bucket.put(&key, value).await.map(|_| ()) });
        at_once(each).await?;
        let gone: Vec<_> = shelved.difference(&held).cloned().collect();
        for key in gone {
            self.bucket.delete(&key).await?;
            shelved.remove(&key);
        }
        Ok(())
    }

    async fn versions(&mut self) -> Result<Versions, K::Error> {
        if let Some(versions) = self.versions {
            return Ok(versions);
        }
        let (positions, account) = try_join(self.bucket.get(POSITIONS), self.bucket.get(ACCOUNT)).await?;
        let versions = Versions::of(positions.as_deref(), account.as_deref());
        self.versions = Some(versions);
        Ok(versions)
    }
}
