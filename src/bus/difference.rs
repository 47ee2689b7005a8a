//! How live NATS objects differ from what is declared, and the settings that put them right.

use std::collections::BTreeSet;
use std::fmt;

use async_nats::jetstream::consumer;
use async_nats::jetstream::stream::{self, RetentionPolicy};

use super::broadcast::LAST_BUCKET;
use super::topology::{DeclaredConsumer, LEASES_BUCKET};

/// Something that is not as declared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Which stream, consumer or bucket.
    pub object: String,
    /// Which field; `existence` when the object is not there.
    pub field: &'static str,
    /// What it should be.
    pub declared: String,
    /// What it is.
    pub live: String,
    /// What it may cost.
    pub severity: Severity,
}

/// What a difference may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// It could lose or repeat an order, or hide one: no orders until it is gone.
    Critical,
    /// It is worth a line in the log.
    Notice,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}: {} is {}, declared {}",
            self.object, self.field, self.live, self.declared
        )
    }
}

pub(super) fn stream_name(config: &stream::Config) -> String {
    match config.name.strip_prefix("KV_") {
        Some(bucket) => format!("bucket {bucket}"),
        None => format!("stream {}", config.name),
    }
}

pub(super) fn consumer_name(declared: &DeclaredConsumer) -> String {
    format!(
        "consumer {}",
        declared.config.durable_name.as_deref().unwrap_or_default()
    )
}

/// Buckets no order depends on.
pub(super) fn is_optional(declared: &stream::Config) -> bool {
    let bucket = declared.name.strip_prefix("KV_");
    bucket.is_some_and(|bucket| [LAST_BUCKET, LEASES_BUCKET].contains(&bucket))
}

pub(super) fn missing(object: String, optional: bool) -> Difference {
    let severity = if optional {
        Severity::Notice
    } else {
        Severity::Critical
    };
    Difference {
        object,
        field: "existence",
        declared: "present".to_owned(),
        live: "absent".to_owned(),
        severity,
    }
}

/// Collects differences of one object.
struct Comparison {
    object: String,
    found: Vec<Difference>,
}

impl Comparison {
    fn field<T: PartialEq + fmt::Debug>(
        &mut self,
        field: &'static str,
        severity: Severity,
        declared: &T,
        live: &T,
    ) {
        if declared != live {
            self.found.push(Difference {
                object: self.object.clone(),
                field,
                declared: format!("{declared:?}"),
                live: format!("{live:?}"),
                severity,
            });
        }
    }
}

/// How a live stream differs from its declaration. Limits may be wider than declared, never absent where one
/// guards an order.
pub(super) fn compare_stream(declared: &stream::Config, live: &stream::Config) -> Vec<Difference> {
    use Severity::{Critical, Notice};
    let mut comparison = Comparison {
        object: stream_name(declared),
        found: Vec::new(),
    };
    let sorted = |subjects: &[String]| subjects.iter().cloned().collect::<BTreeSet<_>>();
    // Losing what a data subscriber missed is what an interest stream is for; the journal still has it.
    let carries_money = declared.retention != RetentionPolicy::Interest && !is_optional(declared);
    let grave = if carries_money { Critical } else { Notice };
    comparison.field(
        "subjects",
        grave,
        &sorted(&declared.subjects),
        &sorted(&live.subjects),
    );
    comparison.field("retention", grave, &declared.retention, &live.retention);
    comparison.field("storage", grave, &declared.storage, &live.storage);
    comparison.field("discard", grave, &declared.discard, &live.discard);
    comparison.field(
        "max_msgs_per_subject",
        grave,
        &positive(declared.max_messages_per_subject),
        &positive(live.max_messages_per_subject),
    );
    // What is kept longer than declared, or for ever, costs nobody an order.
    let kept_longer =
        !declared.max_age.is_zero() && (live.max_age.is_zero() || live.max_age > declared.max_age);
    if !kept_longer {
        comparison.field("max_age", grave, &declared.max_age, &live.max_age);
    }
    comparison.field("sealed", grave, &declared.sealed, &live.sealed);
    comparison.field("no_ack", grave, &declared.no_ack, &live.no_ack);
    comparison.field("rollup", grave, &declared.allow_rollup, &live.allow_rollup);
    comparison.field(
        "message TTL",
        grave,
        &declared.allow_message_ttl,
        &live.allow_message_ttl,
    );
    comparison.field(
        "schedules",
        grave,
        &declared.allow_message_schedules,
        &live.allow_message_schedules,
    );
    comparison.field(
        "mirror",
        grave,
        &declared.mirror.is_some(),
        &live.mirror.is_some(),
    );
    comparison.field("allow_direct", Notice, &declared.allow_direct, &live.allow_direct);
    comparison.field("deny_delete", Notice, &declared.deny_delete, &live.deny_delete);
    comparison.field(
        "max_msgs",
        Notice,
        &positive(declared.max_messages),
        &positive(live.max_messages),
    );
    comparison.field(
        "max_bytes",
        Notice,
        &positive(declared.max_bytes),
        &positive(live.max_bytes),
    );
    comparison.field(
        "max_msg_size",
        Notice,
        &positive(declared.max_message_size.into()),
        &positive(live.max_message_size.into()),
    );
    comparison.field("replicas", Notice, &declared.num_replicas, &live.num_replicas);
    comparison.found
}

/// A limit of an object.
#[derive(PartialEq)]
struct Limit(Option<i64>);

impl fmt::Debug for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(limit) => write!(f, "{limit}"),
            None => f.write_str("unlimited"),
        }
    }
}

/// 0 and -1 both mean "no limit".
fn positive(limit: i64) -> Limit {
    Limit((limit > 0).then_some(limit))
}

/// How a live consumer differs from its declaration.
pub(super) fn compare_consumer(declared: &DeclaredConsumer, live: &consumer::Config) -> Vec<Difference> {
    let mut comparison = Comparison {
        object: consumer_name(declared),
        found: Vec::new(),
    };
    let severity = if declared.carries_commands {
        Severity::Critical
    } else {
        Severity::Notice
    };
    let filters = |many: &[String], one: &str| {
        let mut all: BTreeSet<_> = many.iter().cloned().collect();
        if !one.is_empty() {
            all.insert(one.to_owned());
        }
        all
    };
    let config = &declared.config;
    comparison.field(
        "filter_subjects",
        severity,
        &filters(&config.filter_subjects, &config.filter_subject),
        &filters(&live.filter_subjects, &live.filter_subject),
    );
    comparison.field("ack_policy", severity, &config.ack_policy, &live.ack_policy);
    comparison.field(
        "max_deliver",
        severity,
        &positive(config.max_deliver),
        &positive(live.max_deliver),
    );
    comparison.field("backoff", severity, &config.backoff, &live.backoff);
    comparison.field("headers_only", severity, &config.headers_only, &live.headers_only);
    comparison.field("push", severity, &None, &live.deliver_subject);
    comparison.field("ack_wait", severity, &config.ack_wait, &live.ack_wait);
    comparison.field("paused", severity, &false, &live.pause_until.is_some());
    comparison.field(
        "max_ack_pending",
        Severity::Notice,
        &config.max_ack_pending,
        &live.max_ack_pending,
    );
    comparison.found
}

/// The live settings with every declared field put right, and everything we do not declare left alone.
pub(super) fn merge_stream(declared: &stream::Config, live: stream::Config) -> stream::Config {
    stream::Config {
        subjects: declared.subjects.clone(),
        retention: declared.retention,
        discard: declared.discard,
        max_messages: declared.max_messages,
        max_messages_per_subject: declared.max_messages_per_subject,
        max_bytes: declared.max_bytes,
        max_age: declared.max_age,
        max_message_size: declared.max_message_size,
        duplicate_window: declared.duplicate_window,
        allow_rollup: declared.allow_rollup,
        allow_message_ttl: declared.allow_message_ttl,
        allow_message_schedules: declared.allow_message_schedules,
        deny_delete: declared.deny_delete || live.deny_delete,
        allow_direct: declared.allow_direct,
        num_replicas: declared.num_replicas,
        ..live
    }
}

/// As [`merge_stream`]. Where a consumer begins cannot be edited.
pub(super) fn merge_consumer(declared: &DeclaredConsumer, live: consumer::Config) -> consumer::Config {
    let declared = &declared.config;
    consumer::Config {
        ack_policy: declared.ack_policy,
        ack_wait: declared.ack_wait,
        max_deliver: declared.max_deliver,
        max_ack_pending: declared.max_ack_pending,
        filter_subject: String::new(),
        filter_subjects: declared.filter_subjects.clone(),
        backoff: declared.backoff.clone(),
        headers_only: declared.headers_only,
        pause_until: None,
        ..live
    }
}
