//! The NATS objects this program lives on: declared, made, compared field by field.
//!
//! What is made here is never silently changed afterwards: a live object that differs from the declaration is
//! reported, and where the difference could lose or repeat an order the gateway creates no orders until it is
//! gone. Repair happens only in the mode that allows it.

use std::collections::BTreeSet;
use std::time::Duration;

use async_nats::jetstream::ErrorCode;
use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, IntoConsumerConfig as _, pull};
use async_nats::jetstream::context::{
    ConsumerInfoErrorKind, CreateStreamError, CreateStreamErrorKind, GetStreamErrorKind,
};
use async_nats::jetstream::stream::{self, DiscardPolicy, RetentionPolicy, StorageType};
use futures_util::future::{try_join, try_join_all};
use tracing::info;

use super::Connection;
use super::broadcast::LAST_BUCKET;
use super::bucket::key_subject;
use super::difference::{
    Difference, compare_consumer, compare_stream, consumer_name, is_optional, merge_consumer, merge_stream,
    missing, stream_name,
};
use super::relocate::tolerate;
use crate::config::{ObjectNames, Provision};
use crate::domain::CommandKind;
use crate::domain::market::Channel;
use crate::wire::subject::Subjects;

/// The bucket strategies write their leases in.
pub const LEASES_BUCKET: &str = "nalpaca-leases";

const KIB: i32 = 1024;
const MIB: i64 = 1024 * 1024;
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

/// A command is a few hundred bytes; anything near this is a mistake.
const COMMAND_SIZE_MAX: i32 = 64 * KIB;
/// Commands that may wait. At the venue's 200 a minute these are more than eight hours' worth.
const COMMANDS_MAX: i64 = 100_000;
/// How long a delivery may go without a beat. Beats come every three seconds.
const ACK_WAIT: Duration = Duration::from_secs(10);
/// Deliveries outstanding at once, above what one daemon takes in hand. The server's own default.
const ACK_PENDING_MAX: i64 = 1000;

/// Everything this program lives on.
#[derive(Clone, Debug)]
pub struct Topology {
    /// The name of the ledger's bucket, as differences spell it.
    ledger: String,
    /// The bucket of positions, account and state.
    pub(super) mirrors: String,
    /// Where minute bars of stocks go.
    pub(super) stock_bars: String,
    streams: Vec<stream::Config>,
    consumers: Vec<DeclaredConsumer>,
}

#[derive(Clone, Debug)]
pub(super) struct DeclaredConsumer {
    stream: String,
    pub(super) config: pull::Config,
    /// Commands are taken from it: a difference may lose or repeat an order.
    pub(super) carries_commands: bool,
}

/// The objects could not be read or made.
#[derive(Debug, thiserror::Error)]
#[error("{action} {object}: {cause}")]
pub struct TopologyError {
    action: &'static str,
    object: String,
    cause: String,
}

impl TopologyError {
    pub(super) const fn new(action: &'static str, object: String, cause: String) -> Self {
        Self {
            action,
            object,
            cause,
        }
    }
}

/// What was done to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// It was not there.
    Created,
    /// It differed.
    Updated,
    /// It was kept in memory, and is kept in files now.
    MadeAnew,
    /// It was there and is left alone.
    Kept,
}

impl Topology {
    /// What must be there, under these names and subjects; the data stream with these channels of ticks.
    pub fn new(names: &ObjectNames, subjects: &Subjects, captured: &BTreeSet<Channel>) -> Self {
        let replicas = names.replicas;
        let base = |name: &str, subjects: Vec<String>| stream::Config {
            name: name.to_owned(),
            subjects,
            num_replicas: replicas,
            storage: StorageType::File,
            ..stream::Config::default()
        };
        let streams = vec![
            stream::Config {
                description: Some("Commands waiting for the gateway".to_owned()),
                retention: RetentionPolicy::WorkQueue,
                discard: DiscardPolicy::New,
                max_message_size: COMMAND_SIZE_MAX,
                max_messages: COMMANDS_MAX,
                duplicate_window: Duration::from_secs(600),
                ..base(&names.action_stream, subjects.commands())
            },
            stream::Config {
                description: Some("Trade updates and market data for whoever listens".to_owned()),
                retention: RetentionPolicy::Interest,
                discard: DiscardPolicy::Old,
                max_age: DAY,
                max_bytes: 1024 * MIB,
                duplicate_window: Duration::from_secs(600),
                ..base(&names.data_stream, subjects.data(captured))
            },
            stream::Config {
                description: Some("Outcomes and order events, replayable".to_owned()),
                retention: RetentionPolicy::Limits,
                discard: DiscardPolicy::Old,
                max_age: 30 * DAY,
                duplicate_window: 2 * HOUR,
                deny_delete: true,
                allow_direct: true,
                ..base(&names.journal_stream, vec![subjects.journal()])
            },
            bucket(&names.bucket, replicas, "Positions, account and state"),
            stream::Config {
                max_age: 400 * DAY,
                // Read through the leader: the ledger must answer with what was last written.
                allow_direct: false,
                ..bucket(&names.orders_bucket, replicas, "One record per client order id")
            },
            stream::Config {
                storage: StorageType::Memory,
                max_bytes: 64 * MIB,
                ..bucket(LAST_BUCKET, replicas, "Last quote, trade and bar per symbol")
            },
            bucket(LEASES_BUCKET, replicas, "Leases that strategies write"),
        ];
        let consumer = |name: &str, filters: Vec<String>| pull::Config {
            durable_name: Some(name.to_owned()),
            ack_policy: AckPolicy::Explicit,
            ack_wait: ACK_WAIT,
            deliver_policy: DeliverPolicy::All,
            max_deliver: -1,
            max_ack_pending: ACK_PENDING_MAX,
            filter_subjects: filters,
            ..pull::Config::default()
        };
        let commands_of = |kinds: [CommandKind; 2]| kinds.map(|kind| subjects.commands_of(kind)).to_vec();
        let consumers = vec![
            DeclaredConsumer {
                stream: names.action_stream.clone(),
                config: consumer(
                    &names.orders_consumer,
                    commands_of([CommandKind::Order, CommandKind::Replace]),
                ),
                carries_commands: true,
            },
            DeclaredConsumer {
                stream: names.action_stream.clone(),
                config: consumer(
                    &names.cancel_consumer,
                    commands_of([CommandKind::Cancel, CommandKind::Close]),
                ),
                carries_commands: true,
            },
            DeclaredConsumer {
                stream: names.data_stream.clone(),
                config: pull::Config {
                    ack_wait: Duration::from_secs(30),
                    ..consumer(&names.trade_update_consumer, vec![subjects.trade_updates()])
                },
                carries_commands: false,
            },
        ];
        let ledger = format!("bucket {}", names.orders_bucket);
        Self {
            ledger,
            mirrors: names.bucket.clone(),
            stock_bars: subjects.stock_bars(),
            streams,
            consumers,
        }
    }

    /// The stream of commands.
    pub(super) fn action_stream(&self) -> Option<&stream::Config> {
        self.streams_of(RetentionPolicy::WorkQueue).next()
    }

    /// The streams declared with a retention.
    pub(super) fn streams_of(&self, retention: RetentionPolicy) -> impl Iterator<Item = &stream::Config> {
        self.streams
            .iter()
            .filter(move |declared| declared.retention == retention)
    }

    /// Every object as JetStream's own API has it: streams (buckets among them), and consumers with their streams.
    pub fn to_json(&self) -> serde_json::Value {
        let consumers = self.consumers.iter().map(|declared| {
            let config = declared.config.clone().into_consumer_config();
            serde_json::json!({ "stream_name": declared.stream, "config": config })
        });
        serde_json::json!({ "streams": self.streams, "consumers": consumers.collect::<Vec<_>>() })
    }

    /// Makes and mends what the mode allows. Says what was done to each object.
    pub async fn provision(
        &self,
        connection: &Connection,
        mode: Provision,
    ) -> Result<Vec<(String, Action)>, TopologyError> {
        let mut done = Vec::new();
        for declared in &self.streams {
            done.push((
                stream_name(declared),
                self.provision_stream(connection, declared, mode).await?,
            ));
        }
        for declared in &self.consumers {
            done.push((
                consumer_name(declared),
                self.provision_consumer(connection, declared, mode).await?,
            ));
        }
        if mode == Provision::Adopt {
            self.mend_stock_consumer(connection).await?;
        }
        for (object, action) in &done {
            if *action != Action::Kept {
                info!(object, ?action, "nats object provisioned");
            }
        }
        Ok(done)
    }

    async fn provision_stream(
        &self,
        connection: &Connection,
        declared: &stream::Config,
        mode: Provision,
    ) -> Result<Action, TopologyError> {
        let live = live_stream(connection, &declared.name).await?;
        let fail = |action, cause: String| TopologyError {
            action,
            object: stream_name(declared),
            cause,
        };
        match (live, mode) {
            (_, Provision::Verify | Provision::None) | (Some(_), Provision::Create) => Ok(Action::Kept),
            (None, Provision::Create | Provision::Adopt) => {
                let created = connection.jetstream().create_stream(declared.clone()).await;
                created.map_err(|error| fail("create", refusal(&error)))?;
                Ok(Action::Created)
            }
            (Some(live), Provision::Adopt) => {
                let differences = tolerate(mode, declared, compare_stream(declared, &live));
                // Storage cannot be edited.
                if differences.iter().all(|difference| difference.field == "storage") {
                    let moved = !differences.is_empty() && self.relocate_bucket(connection, declared).await?;
                    return Ok(if moved { Action::MadeAnew } else { Action::Kept });
                }
                let merged = merge_stream(declared, live);
                let updated = connection.jetstream().update_stream(merged).await;
                updated.map_err(|error| fail("update", refusal(&error)))?;
                Ok(Action::Updated)
            }
        }
    }

    async fn provision_consumer(
        &self,
        connection: &Connection,
        declared: &DeclaredConsumer,
        mode: Provision,
    ) -> Result<Action, TopologyError> {
        let live = live_consumer(connection, declared).await?;
        let fail = |action, cause: String| TopologyError {
            action,
            object: consumer_name(declared),
            cause,
        };
        match (live, mode) {
            (_, Provision::Verify | Provision::None) | (Some(_), Provision::Create) => Ok(Action::Kept),
            (None, Provision::Create | Provision::Adopt) => {
                let created = connection
                    .jetstream()
                    .create_consumer_strict_on_stream(declared.config.clone(), &declared.stream)
                    .await;
                created.map_err(|error| fail("create", error.to_string()))?;
                Ok(Action::Created)
            }
            (Some(live), Provision::Adopt) => {
                if compare_consumer(declared, &live).is_empty() {
                    return Ok(Action::Kept);
                }
                let updated = connection
                    .jetstream()
                    .update_consumer_on_stream(merge_consumer(declared, live), &declared.stream)
                    .await;
                updated.map_err(|error| fail("update", error.to_string()))?;
                Ok(Action::Updated)
            }
        }
    }

    /// What [`Topology::provision`] would do to each object now.
    pub async fn plan(
        &self,
        connection: &Connection,
        mode: Provision,
    ) -> Result<Vec<(String, Action)>, TopologyError> {
        let differences = self.compare(connection, mode).await?;
        let streams = self.streams.iter().map(stream_name);
        let objects = streams.chain(self.consumers.iter().map(consumer_name));
        let plan = |object: String| {
            let of_it = differences
                .iter()
                .filter(|difference| difference.object == object);
            let fields: Vec<_> = of_it.map(|difference| difference.field).collect();
            let action = match mode {
                Provision::Verify | Provision::None => Action::Kept,
                Provision::Create | Provision::Adopt if fields == ["existence"] => Action::Created,
                Provision::Create => Action::Kept,
                Provision::Adopt if fields == ["storage"] => Action::MadeAnew,
                Provision::Adopt if fields.is_empty() => Action::Kept,
                Provision::Adopt => Action::Updated,
            };
            (object, action)
        };
        Ok(objects.map(plan).collect())
    }

    /// Whether the ledger is among what is missing. Made anew it would be empty, and every order would pass for a first
    /// one: that is for a person to decide, by starting the daemon again.
    pub fn ledger_is_missing(&self, differences: &[Difference]) -> bool {
        differences
            .iter()
            .any(|difference| difference.object == self.ledger && difference.field == "existence")
    }

    /// Compares what is there with the declaration, field by field. What the mode lets the daemon mend while it takes
    /// commands costs no order.
    pub async fn compare(
        &self,
        connection: &Connection,
        mode: Provision,
    ) -> Result<Vec<Difference>, TopologyError> {
        // Asked all at once: one after the other they take most of a start.
        let streams = self
            .streams
            .iter()
            .map(|declared| live_stream(connection, &declared.name));
        let consumers = self
            .consumers
            .iter()
            .map(|declared| live_consumer(connection, declared));
        let (streams, consumers) = try_join(try_join_all(streams), try_join_all(consumers)).await?;
        let mut differences = Vec::new();
        for (declared, live) in self.streams.iter().zip(streams) {
            match live {
                Some(live) => differences.extend(tolerate(mode, declared, compare_stream(declared, &live))),
                None => differences.push(missing(stream_name(declared), is_optional(declared))),
            }
        }
        for (declared, live) in self.consumers.iter().zip(consumers) {
            match live {
                Some(live) => differences.extend(compare_consumer(declared, &live)),
                None => differences.push(missing(consumer_name(declared), !declared.carries_commands)),
            }
        }
        Ok(differences)
    }

    /// Makes and mends what the mode allows, and compares what is there then with the declaration.
    pub async fn settle(
        &self,
        connection: &Connection,
        mode: Provision,
    ) -> Result<Vec<Difference>, TopologyError> {
        if mode == Provision::None {
            return Ok(Vec::new());
        }
        let differences = self.compare(connection, mode).await?;
        let needs_a_hand = match mode {
            Provision::Verify | Provision::None => false,
            Provision::Create => differences
                .iter()
                .any(|difference| difference.field == "existence"),
            // Also where nothing differs: a consumer of somebody else's is mended as well.
            Provision::Adopt => true,
        };
        if !needs_a_hand {
            return Ok(differences);
        }
        self.provision(connection, mode).await?;
        self.compare(connection, mode).await
    }
}

/// The settings of a key-value bucket, as every NATS client makes them.
fn bucket(name: &str, replicas: usize, description: &str) -> stream::Config {
    stream::Config {
        name: format!("KV_{name}"),
        description: Some(description.to_owned()),
        subjects: vec![key_subject(name, ">")],
        max_messages_per_subject: 1,
        storage: StorageType::File,
        discard: DiscardPolicy::New,
        num_replicas: replicas,
        allow_rollup: true,
        deny_delete: true,
        allow_direct: true,
        ..stream::Config::default()
    }
}

/// Why the server would not have a stream, and what its operator can do. A stream's `max_bytes` is set aside when it is made,
/// so a server with little room refuses though it stores nothing yet; by default it has three quarters of what is free on its disk.
pub(super) fn refusal(error: &CreateStreamError) -> String {
    let hint = match error.kind() {
        CreateStreamErrorKind::JetStream(inner) => match inner.error_code() {
            ErrorCode::STORAGE_RESOURCES_EXCEEDED => {
                "; free the disk under its store_dir, or set jetstream.max_file_store in its configuration"
            }
            ErrorCode::MEMORY_RESOURCES_EXCEEDED => "; set jetstream.max_memory_store in its configuration",
            ErrorCode::ACCOUNT_RESOURCES_EXCEEDED => "; raise the JetStream limits of the daemon's account",
            _ => "",
        },
        CreateStreamErrorKind::EmptyStreamName
        | CreateStreamErrorKind::InvalidStreamName
        | CreateStreamErrorKind::DomainAndExternalSet
        | CreateStreamErrorKind::JetStreamUnavailable
        | CreateStreamErrorKind::TimedOut
        | CreateStreamErrorKind::Response
        | CreateStreamErrorKind::NotFound
        | CreateStreamErrorKind::ResponseParse => "",
    };
    format!("{error}{hint}")
}

async fn live_stream(connection: &Connection, name: &str) -> Result<Option<stream::Config>, TopologyError> {
    match connection.jetstream().get_stream(name).await {
        Ok(stream) => Ok(Some(stream.cached_info().config.clone())),
        Err(error) => match error.kind() {
            GetStreamErrorKind::JetStream(inner) if inner.error_code() == ErrorCode::STREAM_NOT_FOUND => {
                Ok(None)
            }
            GetStreamErrorKind::EmptyName
            | GetStreamErrorKind::Request
            | GetStreamErrorKind::InvalidStreamName
            | GetStreamErrorKind::JetStream(_) => Err(TopologyError {
                action: "read",
                object: format!("stream {name}"),
                cause: error.to_string(),
            }),
        },
    }
}

async fn live_consumer(
    connection: &Connection,
    declared: &DeclaredConsumer,
) -> Result<Option<async_nats::jetstream::consumer::Config>, TopologyError> {
    let fail = |cause: String| TopologyError {
        action: "read",
        object: consumer_name(declared),
        cause,
    };
    let stream = connection.jetstream().get_stream_no_info(&declared.stream).await;
    let stream = stream.map_err(|error| fail(error.to_string()))?;
    let name = declared.config.durable_name.as_deref().unwrap_or_default();
    match stream.consumer_info(name).await {
        Ok(info) => {
            let mut config = info.config;
            if !info.paused {
                config.pause_until = None; // a pause that is over stays in the settings
            }
            Ok(Some(config))
        }
        Err(error) if error.kind() == ConsumerInfoErrorKind::NotFound => Ok(None),
        Err(error) if error.kind() == ConsumerInfoErrorKind::StreamNotFound => Ok(None),
        Err(error) => Err(fail(error.to_string())),
    }
}
