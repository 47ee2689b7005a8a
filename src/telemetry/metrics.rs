//! Every metric of the daemon, and the one function that touches it. `families.rs` names and describes them.
//!
//! Labels are closed sets of words. No order id, account, symbol or error text is ever a label: their number has no
//! bound, and a scrape is read by more people than an order. Histograms have explicit buckets, because without
//! them the exporter makes summaries, which cannot be added up across processes.

mod families;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use metrics::{counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder};

pub use self::families::families;
use self::families::{
    ADOPTED, BUILD_INFO, COMMANDS, CONDITION, CONFIG_WARNINGS, DATA_CONFLATED, DATA_CONNECTED, DATA_DROPPED,
    DATA_HEARD, DATA_LAG, DATA_PUBLISHED, DATA_RECONNECTS, DATA_RECOVERED, DATA_SUBSCRIBED, DATA_UNREADABLE,
    DATA_WAITING, DEAD_LETTERS, DELIVERIES_IN_HAND, FAMILIES, IN_DOUBT, LEADING, MODE, NATS_CONNECTED,
    NATS_RECONNECTS, OLDEST_DOUBT, OUTCOMES, PENDING, POSITIONS_AGE, POSITIONS_DIFFERED, POSITIONS_REFRESH,
    PUBLISH_TO_OUTCOME, PUBLISH_TO_POST, PUBLISH_TO_TAKEN, RATE_BUDGET_REMAINING, REDELIVERED, STRANDED,
    STREAM_MUTE, STREAM_UP, Type, UPDATES, UPDATES_DROPPED, UPDATES_PUBLISHED, UPDATES_RECOVERED,
    VENUE_REQUEST,
};
use crate::domain::market::{Channel, MarketClass};
use crate::domain::{CommandKind, ConditionName, GatewayMode, Verdict};

/// Around 100 ms, what an order should take, and up to its default deadline of two minutes.
const OUTCOME_BUCKETS: [f64; 13] = [
    0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0,
];

/// What passes before the venue is reached: a millisecond or two, unless something is held.
const STAGE_BUCKETS: [f64; 12] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.5, 1.0, 5.0, 30.0, 120.0,
];

/// A feed's own way takes some ten milliseconds; a delayed one is a quarter of an hour late.
const LAG_BUCKETS: [f64; 11] = [
    0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 10.0, 60.0, 1200.0,
];

/// Around the venue's usual 20 to 200 ms, and up to the default timeout of ten seconds.
const REQUEST_BUCKETS: [f64; 11] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.5, 1.0, 2.5, 5.0, 10.0];

/// Renders what was recorded. Cheap to clone.
#[derive(Clone, Debug)]
pub struct MetricsHandle(PrometheusHandle);

/// Why metrics could not be started.
#[derive(Debug, thiserror::Error)]
#[error("install the metrics recorder")]
pub struct InstallError(#[source] metrics::SetRecorderError<PrometheusRecorder>);

impl MetricsHandle {
    /// All metrics in Prometheus' text format.
    pub fn render(&self) -> String {
        self.0.render()
    }

    /// Drains what histograms have buffered. To be called now and then even when nobody scrapes, or the buffers grow.
    pub fn run_upkeep(&self) {
        self.0.run_upkeep();
    }
}

/// Starts recording for the whole process. Errs when that was done before.
pub fn install() -> Result<MetricsHandle, InstallError> {
    let recorder = recorder();
    let handle = MetricsHandle(recorder.handle());
    metrics::set_global_recorder(recorder).map_err(InstallError)?;
    begin();
    Ok(handle)
}

/// A handle that nothing records to, for tests of what shows it.
#[cfg(test)]
pub(crate) fn uninstalled() -> MetricsHandle {
    MetricsHandle(recorder().handle())
}

fn recorder() -> PrometheusRecorder {
    let with_buckets = |builder: PrometheusBuilder, name: &str, buckets: &[f64]| {
        builder
            .set_buckets_for_metric(Matcher::Full(name.to_owned()), buckets)
            .expect("the lists of buckets above are not empty")
    };
    let builder = with_buckets(PrometheusBuilder::new(), PUBLISH_TO_OUTCOME, &OUTCOME_BUCKETS);
    let builder = with_buckets(builder, PUBLISH_TO_TAKEN, &STAGE_BUCKETS);
    let builder = with_buckets(builder, PUBLISH_TO_POST, &STAGE_BUCKETS);
    let builder = with_buckets(builder, DATA_LAG, &LAG_BUCKETS);
    with_buckets(builder, VENUE_REQUEST, &REQUEST_BUCKETS).build_recorder()
}

/// Describes every metric, and gives those without labels their first value: an alert cannot compare with nothing.
fn begin() {
    for (name, kind, unit, help) in FAMILIES {
        match kind {
            Type::Counter => describe_counter!(name, unit, help),
            Type::Gauge => describe_gauge!(name, unit, help),
            Type::Histogram => describe_histogram!(name, unit, help),
        }
    }
    let (version, revision) = (env!("CARGO_PKG_VERSION"), env!("NALPACA_REVISION"));
    gauge!(BUILD_INFO, "version" => version, "revision" => revision).set(1.0);
    nats_connected(false);
    leading(false);
    commands_stranded(0);
    stream_up(false);
    deliveries_in_hand(0);
    orders_in_doubt(0, None);
    mode(GatewayMode::Normal);
    for name in [
        NATS_RECONNECTS,
        REDELIVERED,
        ADOPTED,
        STREAM_MUTE,
        UPDATES_PUBLISHED,
        UPDATES_RECOVERED,
        POSITIONS_DIFFERED,
    ] {
        counter!(name).absolute(0);
    }
    for name in ConditionName::ALL {
        condition(name, false);
    }
    for ok in [true, false] {
        counter!(POSITIONS_REFRESH, "result" => result(ok)).absolute(0);
    }
}

/// What is counted for each message of market data, found once: there are many.
struct DataHandles {
    heard: metrics::Counter,
    published: metrics::Counter,
    lag: metrics::Histogram,
}

/// The counters of each channel of each class. Cheap to clone.
#[derive(Clone)]
pub struct DataMetrics(Arc<HashMap<(MarketClass, Channel), DataHandles>>);

impl DataMetrics {
    /// Finds them.
    pub fn new() -> Self {
        let pairs = MarketClass::ALL
            .into_iter()
            .flat_map(|class| class.channels().iter().map(move |channel| (class, *channel)));
        let handles = |(class, channel): (MarketClass, Channel)| {
            let (class_word, channel_word) = (class.as_str(), channel.as_str());
            let handles = DataHandles {
                heard: counter!(DATA_HEARD, "class" => class_word, "channel" => channel_word),
                published: counter!(DATA_PUBLISHED, "class" => class_word, "channel" => channel_word),
                lag: histogram!(DATA_LAG, "class" => class_word),
            };
            ((class, channel), handles)
        };
        Self(Arc::new(pairs.map(handles).collect()))
    }

    /// An observation was heard.
    pub fn heard(&self, class: MarketClass, channel: Channel) {
        if let Some(handles) = self.0.get(&(class, channel)) {
            handles.heard.increment(1);
        }
    }

    /// The last tick of a frame was heard so long after it happened. Not every tick's: a distribution costs as much as the rest.
    pub fn lag(&self, class: MarketClass, channel: Channel, lag: Duration) {
        if let Some(handles) = self.0.get(&(class, channel)) {
            handles.lag.record(lag.as_secs_f64());
        }
    }

    /// An observation was handed to NATS.
    pub fn published(&self, class: MarketClass, channel: Channel) {
        if let Some(handles) = self.0.get(&(class, channel)) {
            handles.published.increment(1);
        }
    }
}

impl Default for DataMetrics {
    fn default() -> Self {
        Self::new()
    }
}

/// A stream of market data is connected, or not.
pub fn market_data_connected(class: MarketClass, connected: bool) {
    gauge!(DATA_CONNECTED, "class" => class.as_str()).set(truth(connected));
}

/// A connection to a stream of market data ended.
pub fn market_data_reconnect(class: MarketClass) {
    counter!(DATA_RECONNECTS, "class" => class.as_str()).increment(1);
}

/// The venue confirmed so many symbols.
pub fn market_data_subscribed(class: MarketClass, symbols: usize) {
    gauge!(DATA_SUBSCRIBED, "class" => class.as_str()).set(symbols as f64);
}

/// A newer observation overtook one.
pub fn market_data_conflated(class: MarketClass, channel: Channel) {
    counter!(DATA_CONFLATED, "class" => class.as_str(), "channel" => channel.as_str()).increment(1);
}

/// Observations were left out.
pub fn market_data_dropped(class: MarketClass, channel: Channel, count: u64) {
    counter!(DATA_DROPPED, "class" => class.as_str(), "channel" => channel.as_str()).increment(count);
}

/// A missed bar was recovered.
pub fn market_data_recovered(class: MarketClass) {
    counter!(DATA_RECOVERED, "class" => class.as_str()).increment(1);
}

/// A frame or a row could not be read.
pub fn market_data_unreadable(class: MarketClass) {
    counter!(DATA_UNREADABLE, "class" => class.as_str()).increment(1);
}

/// So many observations wait for NATS.
pub fn market_data_waiting(count: usize) {
    gauge!(DATA_WAITING).set(count as f64);
}

/// Settings were accepted but will not do what they seem to.
pub fn config_warnings(count: usize) {
    gauge!(CONFIG_WARNINGS).set(count as f64);
}

/// Commands that no consumer will hand out again.
pub fn commands_stranded(count: u64) {
    gauge!(STRANDED).set(count as f64);
}

/// Commands were taken up by sequence.
pub fn commands_adopted(count: usize) {
    counter!(ADOPTED).increment(count as u64);
}

/// This daemon holds the lease, or stands by.
pub fn leading(leads: bool) {
    gauge!(LEADING).set(truth(leads));
}

/// NATS is connected, or not.
pub fn nats_connected(connected: bool) {
    gauge!(NATS_CONNECTED).set(truth(connected));
}

/// NATS was connected again.
pub fn nats_reconnected() {
    counter!(NATS_RECONNECTS).increment(1);
}

/// The venue's trade updates are heard, or not.
pub fn stream_up(up: bool) {
    gauge!(STREAM_UP).set(truth(up));
}

/// A stream did not tell what the venue did.
pub fn stream_mute() {
    counter!(STREAM_MUTE).increment(1);
}

/// A command was read.
pub fn command_read(kind: CommandKind) {
    counter!(COMMANDS, "kind" => kind.as_str()).increment(1);
}

/// A command has an outcome. `since_stored` is counted once per command, at its terminal outcome.
pub fn outcome_settled(kind: CommandKind, verdict: &Verdict, since_stored: Duration) {
    counter!(OUTCOMES, "kind" => kind.as_str(), "outcome" => verdict.as_str()).increment(1);
    if verdict.is_terminal() {
        histogram!(PUBLISH_TO_OUTCOME).record(since_stored.as_secs_f64());
    }
}

/// A command was taken, so long after it was stored.
pub fn command_taken(since_stored: Duration) {
    histogram!(PUBLISH_TO_TAKEN).record(since_stored.as_secs_f64());
}

/// An order's first POST begins, so long after its command was stored.
pub fn order_sent(since_stored: Duration) {
    histogram!(PUBLISH_TO_POST).record(since_stored.as_secs_f64());
}

/// Orders the venue is asked about, and since when the oldest of them.
pub fn orders_in_doubt(count: usize, oldest: Option<Timestamp>) {
    gauge!(IN_DOUBT).set(count as f64);
    gauge!(OLDEST_DOUBT).set(oldest.map_or(0.0, |at| at.as_duration().as_secs_f64()));
}

/// Commands a consumer has still to hand out. The name is one of two settings.
pub fn commands_pending(consumer: &str, count: u64) {
    gauge!(PENDING, "consumer" => consumer.to_owned()).set(count as f64);
}

/// What is let through.
pub fn mode(now: GatewayMode) {
    for mode in GatewayMode::ALL {
        gauge!(MODE, "mode" => mode.as_str()).set(truth(mode == now));
    }
}

/// Deliveries taken and not yet settled.
pub fn deliveries_in_hand(count: usize) {
    gauge!(DELIVERIES_IN_HAND).set(count as f64);
}

/// A delivery was not the first of its message.
pub fn redelivered() {
    counter!(REDELIVERED).increment(1);
}

/// A message could not be read. The kind is one of the desk's own words.
pub fn dead_letter(kind: &'static str) {
    counter!(DEAD_LETTERS, "kind" => kind).increment(1);
}

/// A request to the trading API ended. The route is a template such as `/v2/orders/{id}`; no status is no answer.
pub fn venue_answered(route: &'static str, status: Option<u16>, took: Duration) {
    histogram!(VENUE_REQUEST, "route" => route, "status" => status_class(status)).record(took.as_secs_f64());
}

/// Requests the account may make now.
pub fn rate_budget_remaining(requests: u32) {
    gauge!(RATE_BUDGET_REMAINING).set(f64::from(requests));
}

/// An order event was heard from the venue.
pub fn update_heard(event: &str) {
    counter!(UPDATES, "event" => event_class(event)).increment(1);
}

/// The journal confirmed an order event.
pub fn update_published(recovered: bool) {
    counter!(UPDATES_PUBLISHED).increment(1);
    counter!(UPDATES_RECOVERED).increment(u64::from(recovered));
}

/// An order event was heard again. The reason is one of the drop copy's own words.
pub fn update_dropped(reason: &'static str) {
    counter!(UPDATES_DROPPED, "reason" => reason).increment(1);
}

/// Age of the positions in the bucket.
pub fn positions_age(age: Duration) {
    gauge!(POSITIONS_AGE).set(age.as_secs_f64());
}

/// Positions were not what their fills add up to.
pub fn positions_differed(count: usize) {
    counter!(POSITIONS_DIFFERED).increment(count as u64);
}

/// The positions were read, or could not be.
pub fn positions_refreshed(ok: bool) {
    counter!(POSITIONS_REFRESH, "result" => result(ok)).increment(1);
}

/// A condition lasts, or not.
pub fn condition(name: ConditionName, lasts: bool) {
    gauge!(CONDITION, "name" => name.as_str()).set(truth(lasts));
}

const fn truth(value: bool) -> f64 {
    if value { 1.0 } else { 0.0 }
}

const fn result(ok: bool) -> &'static str {
    if ok { "ok" } else { "failed" }
}

const fn status_class(status: Option<u16>) -> &'static str {
    match status {
        Some(429) => "429",
        Some(100..=199) => "1xx",
        Some(200..=299) => "2xx",
        Some(300..=399) => "3xx",
        Some(400..=499) => "4xx",
        Some(500..=599) => "5xx",
        Some(_) => "other",
        None => "none",
    }
}

/// The venue's list of events is open; a label's must not be.
fn event_class(event: &str) -> &'static str {
    const KNOWN: [&str; 9] = [
        "new",
        "accepted",
        "fill",
        "partial_fill",
        "canceled",
        "expired",
        "replaced",
        "rejected",
        "done_for_day",
    ];
    KNOWN.into_iter().find(|known| *known == event).unwrap_or("other")
}

#[cfg(test)]
mod tests {
    use metrics::Unit;

    use super::*;
    use crate::domain::outcome::Acceptance;

    fn rendered(record: impl FnOnce()) -> String {
        let recorder = recorder();
        metrics::with_local_recorder(&recorder, || {
            begin();
            record();
        });
        recorder.handle().render()
    }

    #[test]
    fn every_family_is_described_and_named_as_prometheus_wants() {
        let text = rendered(|| {
            config_warnings(2);
            command_read(CommandKind::Order);
            command_taken(Duration::from_millis(1));
            order_sent(Duration::from_millis(2));
            commands_pending("nalpaca-orders-consumer-v0", 3);
            outcome_settled(
                CommandKind::Order,
                &Verdict::Accepted(Acceptance::default()),
                Duration::from_millis(80),
            );
            outcome_settled(CommandKind::Order, &Verdict::Expired, Duration::from_secs(121));
            dead_letter("orders");
            venue_answered("/v2/orders", Some(422), Duration::from_millis(30));
            rate_budget_remaining(180);
            update_heard("fill");
            update_dropped("repeat");
            positions_age(Duration::from_secs(3));
            let (class, channel) = (MarketClass::Stocks, Channel::Quotes);
            let data = DataMetrics::new();
            data.heard(class, channel);
            data.lag(class, channel, Duration::from_millis(12));
            data.published(class, channel);
            market_data_connected(class, true);
            market_data_reconnect(class);
            market_data_subscribed(class, 30);
            market_data_conflated(class, channel);
            market_data_dropped(class, channel, 1);
            market_data_recovered(class);
            market_data_unreadable(class);
            market_data_waiting(7);
        });
        for (name, kind, unit, help) in FAMILIES {
            assert!(
                text.contains(&format!("# HELP {name} {help}")),
                "{name} in {text}"
            );
            assert!(name.starts_with("nalpaca_"), "{name}");
            assert_eq!(name.ends_with("_total"), kind == Type::Counter, "{name}");
            assert_eq!(name.ends_with("_seconds"), unit == Unit::Seconds, "{name}");
        }
        assert!(
            text.contains(r#"nalpaca_outcomes_total{kind="order",outcome="expired"} 1"#),
            "{text}"
        );
        assert!(
            text.contains(r#"nalpaca_publish_to_outcome_seconds_bucket{le="0.1"} 1"#),
            "{text}"
        );
        assert!(text.contains(r#"nalpaca_condition{name="blind"} 0"#), "{text}");
        assert!(text.contains("nalpaca_config_warnings 2"), "{text}");
        assert!(text.contains(r#"status="4xx""#), "{text}");
    }

    #[test]
    fn strange_words_of_the_venue_make_no_new_labels() {
        let text = rendered(|| {
            update_heard("fill");
            update_heard("something_new");
            update_heard("something_else");
        });
        assert!(
            text.contains(r#"nalpaca_updates_total{event="fill"} 1"#),
            "{text}"
        );
        assert!(
            text.contains(r#"nalpaca_updates_total{event="other"} 2"#),
            "{text}"
        );
    }

    #[test]
    fn an_interim_outcome_is_counted_but_not_timed() {
        let message = String::new();
        let text = rendered(|| {
            outcome_settled(
                CommandKind::Order,
                &Verdict::Unresolved { message },
                Duration::from_secs(1),
            );
        });
        assert!(text.contains(r#"outcome="unresolved"} 1"#), "{text}");
        assert!(
            !text.contains("nalpaca_publish_to_outcome_seconds_count"),
            "{text}"
        );
    }
}
