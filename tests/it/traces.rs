//! Traces: from the publisher's context through the daemon to the trade updates, in the collector's own protocol.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use async_nats::HeaderMap;
use axum::Router;
use axum::body::Bytes;
use axum::routing::post;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::support::daemon::SECRET;
use crate::support::order::buy;
use crate::support::world::{DATA_STREAM, JOURNAL_STREAM, Plan};
use crate::support::{Stored, World, proto, until};

const TRACE_ID: &str = "0af7651916cd43dd8448eb211c80319c";
const PUBLISHER: &str = "b7ad6b7169203331";

/// A collector on loopback, as far as a daemon sees it.
struct Collector {
    url: String,
    received: Arc<Mutex<Vec<Bytes>>>,
    /// Ends with it.
    _serving: JoinSet<()>,
}

impl Collector {
    async fn start() -> Self {
        let received: Arc<Mutex<Vec<Bytes>>> = Arc::default();
        let kept = Arc::clone(&received);
        let take = post(move |body: Bytes| async move {
            kept.lock().expect("nobody panics with it").push(body);
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let url = format!("http://{}", listener.local_addr().expect("it has one"));
        let mut serving = JoinSet::new();
        serving.spawn(async move {
            let served = axum::serve(listener, Router::new().route("/v1/traces", take)).await;
            served.expect("it serves until it is dropped");
        });
        Self {
            url,
            received,
            _serving: serving,
        }
    }

    fn spans(&self) -> Vec<Span> {
        let received = self.received.lock().expect("nobody panics with it");
        let requests = received.iter().map(|body| {
            ExportTraceServiceRequest::decode(body.clone()).expect("it is the collector's protocol")
        });
        requests
            .flat_map(|request| request.resource_spans)
            .flat_map(|spans| spans.scope_spans)
            .flat_map(|spans| spans.spans)
            .collect()
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Publishes an order in a trace of its own.
async fn publish(world: &World, id: &str) {
    let mut headers = HeaderMap::new();
    headers.insert("traceparent", format!("00-{TRACE_ID}-{PUBLISHER}-01"));
    let order = proto::encode("tradesvc.v0.Trade", &buy("AAPL", "1"));
    let stored = world.publish(&format!("orders.{id}"), headers, order).await;
    stored.expect("the action stream takes the order");
}

/// What was stored about an order, once it is filled.
async fn told(world: &World, id: &str) -> Vec<Stored> {
    world.outcome(id).await;
    let subject = format!("nalpaca.journal.v0.updates.{id}");
    until("the fill in the journal", async || {
        let updates = world.stored(JOURNAL_STREAM, &subject).await;
        updates
            .iter()
            .any(|update| update.message()["event"] == "fill")
            .then_some(())
    })
    .await;
    let mut told = world.outcomes(id, 1).await;
    told.extend(world.stored(JOURNAL_STREAM, &subject).await);
    told.extend(
        world
            .stored(DATA_STREAM, "nalpaca.data.v0.tradeupdates.AAPL")
            .await,
    );
    told
}

#[tokio::test]
async fn a_command_is_one_trace_from_its_publisher_to_its_fill() {
    let collector = Collector::start().await;
    let plan = Plan::new()
        .set("DISABLE_TRACING", "false")
        .set("TRACE_EXPORTER_URL", &collector.url);
    let mut world = plan.start().await;
    publish(&world, "traced").await;
    let told = told(&world, "traced").await;
    world.settled().await;
    assert_eq!(world.daemon.terminate().await, 0);

    // Stopping has sent what was left.
    let spans = collector.spans();
    let named = |name: &str| -> Vec<&Span> { spans.iter().filter(|span| span.name == name).collect() };
    let names: BTreeMap<&str, usize> = spans.iter().fold(BTreeMap::new(), |mut names, span| {
        *names.entry(span.name.as_str()).or_default() += 1;
        names
    });
    for span in &spans {
        assert_eq!(hex(&span.trace_id), TRACE_ID, "{span:?}");
        // A name for all, so that they can be counted: what differs is an attribute.
        assert!(
            !span.name.contains("traced") && !span.name.contains("AAPL"),
            "{}",
            span.name
        );
    }
    let [command] = named("command")[..] else {
        panic!("one command: {names:?}");
    };
    assert_eq!(hex(&command.parent_span_id), PUBLISHER);
    for name in ["lane", "gate", "venue request", "outcome"] {
        let [span] = named(name)[..] else {
            panic!("one {name}: {names:?}");
        };
        assert_eq!(span.parent_span_id, command.span_id, "{name}");
    }
    let updates = named("trade update");
    assert!(updates.len() >= 2, "new and fill at least: {names:?}");
    for update in &updates {
        assert_eq!(update.parent_span_id, command.span_id);
    }
    // What was published says which span it came of.
    let ids: Vec<String> = spans.iter().map(|span| hex(&span.span_id)).collect();
    assert!(told.len() >= 5, "an outcome, and each event twice");
    for message in &told {
        let traceparent = message.header("traceparent");
        let parts: Vec<&str> = traceparent.split('-').collect();
        assert_eq!(parts[1], TRACE_ID, "{}: {traceparent}", message.subject);
        assert!(
            ids.contains(&parts[2].to_owned()),
            "{}: {traceparent}",
            message.subject
        );
    }
    let text = format!("{spans:?}");
    assert!(!text.contains(SECRET));
}

#[tokio::test]
async fn without_an_exporter_the_publishers_context_goes_on_to_all_that_is_told() {
    let world = World::start().await;
    publish(&world, "carried").await;
    for message in told(&world, "carried").await {
        let expected = format!("00-{TRACE_ID}-{PUBLISHER}-01");
        assert_eq!(message.header("traceparent"), expected, "{}", message.subject);
    }
}

#[tokio::test]
async fn a_collector_that_is_not_there_costs_nothing_but_its_traces() {
    let plan = Plan::new()
        .set("DISABLE_TRACING", "false")
        .set("TRACE_EXPORTER_URL", "http://127.0.0.1:9/");
    let mut world = plan.start().await;
    publish(&world, "served").await;
    assert_eq!(world.outcome("served").await["kind"], "OUTCOME_KIND_ACCEPTED");
    assert_eq!(world.daemon.terminate().await, 0);
}

#[tokio::test]
async fn spans_can_be_had_as_log_lines() {
    let plan = Plan::new()
        .set("DISABLE_TRACING", "false")
        .set("TRACE_EXPORTER", "stdout");
    let world = plan.start().await;
    publish(&world, "logged").await;
    world.outcome("logged").await;
    until("the span in the log", async || {
        let log = world.daemon.log();
        (log.contains(TRACE_ID) && log.contains("span=venue request")).then_some(())
    })
    .await;
}
