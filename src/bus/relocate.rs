//! A stream kept in memory becomes one kept in files. Storage cannot be edited, so it is made anew, and nothing that
//! a publisher was told is stored may be in it when that happens.
//!
//! The action stream is closed first: it gives up its subjects, so that publishers are told that nobody stores their
//! commands. What it holds is executed or expires as always, by the same desk and under the same identities. Empty, it
//! is deleted and made as declared. A daemon that dies half-way finds the stream closed, and goes on.
//!
//! The stream of updates and data has other people's messages and consumers: it is made anew only while it is empty,
//! together with its consumers. The bucket of mirrors is made anew while it holds nothing but the positions another
//! program wrote, which are read from the venue again.

use async_nats::jetstream::consumer;
use async_nats::jetstream::stream::{self, RetentionPolicy, StorageType};
use futures_util::TryStreamExt as _;
use tracing::{info, warn};

use super::difference::{Difference, Severity, stream_name};
use super::topology::{TopologyError, refusal};
use super::{Bucket, Connection, Lease, Topology};
use crate::config::Provision;

/// The keys of a bucket that its next owner writes again by itself.
const REWRITTEN_KEYS: [&str; 1] = ["positions"];

/// The Go program's consumer of stock bars, and the end of the subject it was made with.
const STOCK_CONSUMER: &str = "nalpaca-datastream-stock-consumer-v0";
const STOCK_CONSUMER_SUBJECT: &str = ".datastream.v0.stocks.*";

/// How far the action stream has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Move {
    /// It is kept in files.
    Done,
    /// It takes no commands, and has this many left.
    Draining(u64),
}

/// What a closed stream listens on: nobody publishes there.
fn closed_subject(stream: &str) -> String {
    format!("_closed.{stream}")
}

/// Of the differences of the action stream, what is left to tell while [`Topology::relocate`] sees to it.
pub(super) fn tolerate(
    mode: Provision,
    declared: &stream::Config,
    found: Vec<Difference>,
) -> Vec<Difference> {
    let moves = mode == Provision::Adopt
        && declared.retention == RetentionPolicy::WorkQueue
        && found.iter().any(|difference| difference.field == "storage")
        && found
            .iter()
            .all(|difference| matches!(difference.field, "storage" | "subjects"));
    if !moves {
        return found;
    }
    let mut told = found;
    told.retain(|difference| difference.field == "storage");
    for difference in &mut told {
        difference.severity = Severity::Notice;
    }
    told
}

impl Topology {
    /// One step on the action stream's way into files: closes it, or looks how much it holds, or makes it anew. Called
    /// until it says [`Move::Done`], by whoever leads.
    pub async fn relocate(&self, connection: &Connection, lease: &Lease) -> Result<Move, TopologyError> {
        let Some(declared) = self.action_stream() else {
            return Ok(Move::Done);
        };
        let jetstream = connection.jetstream();
        let fail = |action, cause: String| TopologyError::new(action, stream_name(declared), cause);
        let live = jetstream.get_stream(&declared.name).await;
        let live = live.map_err(|error| fail("read", error.to_string()))?;
        let info = live.cached_info();
        let is_ours = info.config.retention == declared.retention;
        if info.config.storage == declared.storage || !is_ours {
            return Ok(Move::Done);
        }
        let closed = vec![closed_subject(&declared.name)];
        if info.config.subjects != closed {
            let config = stream::Config {
                subjects: closed,
                ..info.config.clone()
            };
            let updated = jetstream.update_stream(config).await;
            updated.map_err(|error| fail("close", refusal(&error)))?;
            warn!(
                stream = declared.name,
                "kept in memory: it takes no commands until what it holds is executed and it is made anew in files"
            );
        }
        // Counted after it was closed: nothing is added any more.
        let live = jetstream.get_stream(&declared.name).await;
        let left = live
            .map_err(|error| fail("read", error.to_string()))?
            .cached_info()
            .state
            .messages;
        if left > 0 {
            return Ok(Move::Draining(left));
        }
        if !lease.holds() {
            return Err(fail("make anew", "another daemon leads".to_owned()));
        }
        self.make_anew(connection, declared, Vec::new()).await?;
        self.provision(connection, Provision::Create).await?;
        info!(
            stream = declared.name,
            "made anew in files, it takes commands again"
        );
        Ok(Move::Done)
    }

    /// Makes the stream of updates and data anew in files, if it is kept in memory and empty. Says whether it is left.
    pub async fn relocate_data(&self, connection: &Connection, lease: &Lease) -> Result<(), TopologyError> {
        for declared in self.streams_of(RetentionPolicy::Interest) {
            let fail = |action, cause: String| TopologyError::new(action, stream_name(declared), cause);
            let live = connection.jetstream().get_stream(&declared.name).await;
            let live = live.map_err(|error| fail("read", error.to_string()))?;
            let info = live.cached_info();
            if info.config.storage == declared.storage {
                continue;
            }
            if info.state.messages > 0 {
                warn!(
                    stream = declared.name,
                    messages = info.state.messages,
                    "kept in memory, and subscribers have not read it all: it is made anew in files at a start that finds it empty"
                );
                continue;
            }
            let consumers: Vec<consumer::Info> = live
                .consumers()
                .try_collect()
                .await
                .map_err(|error| fail("list the consumers of", error.to_string()))?;
            if !lease.holds() {
                return Err(fail("make anew", "another daemon leads".to_owned()));
            }
            let durable = consumers
                .into_iter()
                .filter(|info| info.config.durable_name.is_some());
            let config = stream::Config {
                storage: StorageType::File,
                ..info.config.clone()
            };
            self.make_anew(connection, &config, durable.map(|info| info.config).collect())
                .await?;
            info!(stream = declared.name, "made anew in files, with its consumers");
        }
        Ok(())
    }

    /// Whether a bucket kept in memory was made anew in files.
    pub(super) async fn relocate_bucket(
        &self,
        connection: &Connection,
        declared: &stream::Config,
    ) -> Result<bool, TopologyError> {
        let Some(bucket) = declared.name.strip_prefix("KV_") else {
            return Ok(false);
        };
        if bucket != self.mirrors {
            return Ok(false);
        }
        let fail = |cause: String| TopologyError::new("list the keys of", stream_name(declared), cause);
        let keys = async { Bucket::open(connection, bucket).await?.keys("").await };
        let keys = keys.await.map_err(|error| fail(error.to_string()))?;
        if !keys.iter().all(|key| REWRITTEN_KEYS.contains(&key.as_str())) {
            return Ok(false);
        }
        self.make_anew(connection, declared, Vec::new()).await?;
        Ok(true)
    }

    /// Gives the Go program's consumer of stock bars the subject that stock bars are published on: its own program never
    /// published on the one it listens to.
    pub(super) async fn mend_stock_consumer(&self, connection: &Connection) -> Result<(), TopologyError> {
        for declared in self.streams_of(RetentionPolicy::Interest) {
            let fail =
                |cause: String| TopologyError::new("mend", format!("consumer {STOCK_CONSUMER}"), cause);
            let jetstream = connection.jetstream();
            let stream = jetstream.get_stream_no_info(&declared.name).await;
            let stream = stream.map_err(|error| fail(error.to_string()))?;
            let Ok(info) = stream.consumer_info(STOCK_CONSUMER).await else {
                return Ok(()); // most do not have it, and nobody else needs it
            };
            if !info.config.filter_subject.ends_with(STOCK_CONSUMER_SUBJECT) {
                return Ok(());
            }
            let config = consumer::Config {
                filter_subject: self.stock_bars.clone(),
                ..info.config
            };
            let mended = jetstream.update_consumer_on_stream(config, &declared.name).await;
            mended.map_err(|error| fail(error.to_string()))?;
            info!(
                consumer = STOCK_CONSUMER,
                subject = self.stock_bars,
                "listens where bars are published now"
            );
        }
        Ok(())
    }

    async fn make_anew(
        &self,
        connection: &Connection,
        config: &stream::Config,
        consumers: Vec<consumer::Config>,
    ) -> Result<(), TopologyError> {
        let jetstream = connection.jetstream();
        let fail = |action, cause: String| TopologyError::new(action, stream_name(config), cause);
        let deleted = jetstream.delete_stream(&config.name).await;
        deleted.map_err(|error| fail("delete", error.to_string()))?;
        let made = jetstream.create_stream(config.clone()).await;
        made.map_err(|error| fail("create", refusal(&error)))?;
        for consumer in consumers {
            let name = consumer.durable_name.clone().unwrap_or_default();
            let made = jetstream.create_consumer_on_stream(consumer, &config.name).await;
            made.map_err(|error| fail("create a consumer of", format!("{name}: {error}")))?;
        }
        Ok(())
    }
}
