//! Traces: what became of one command, from its publisher's context to the trade updates of its order.
//!
//! A command carries a `traceparent` (W3C); what is published about it carries it on, whether or not traces are exported
//! from here. Where they are, spans of our own stand between the two. Spans for export alone have the target
//! [`TARGET`]: without an exporter nobody asks for them, and they cost nothing.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use opentelemetry::propagation::TextMapPropagator as _;
use opentelemetry::trace::{TraceContextExt as _, TracerProvider as _};
use opentelemetry::{Context, KeyValue};
use opentelemetry_otlp::{WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{SdkTracerProvider, SpanData, SpanExporter};
use tracing::{Metadata, Span, info};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

use crate::config::{TraceConfig, TraceExporter};

/// Target of the spans that are made for export alone.
pub const TARGET: &str = "nalpaca_trace";
/// The header, in NATS as in HTTP.
pub const TRACEPARENT: &str = "traceparent";

/// Orders whose publisher's context is remembered for their trade updates.
const REMEMBERED_MAX: usize = 10_000;
/// Longest wait for the last spans at the end.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(5);

/// Traces could not be set up.
#[derive(Debug, thiserror::Error)]
#[error("set up the export of traces")]
pub struct TraceError(#[source] Box<dyn std::error::Error + Send + Sync>);

/// Where spans go, until it is finished.
#[derive(Debug)]
pub struct Traces(SdkTracerProvider);

impl Traces {
    /// Sets the export up. Connects to nothing yet; spans are sent from a thread of their own, in batches, and what is too
    /// much is dropped.
    pub fn start(config: &TraceConfig, instance: &str) -> Result<Self, TraceError> {
        let resource = Resource::builder()
            .with_service_name("nalpaca")
            .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
            .with_attribute(KeyValue::new("service.instance.id", instance.to_owned()))
            .build();
        let builder = SdkTracerProvider::builder().with_resource(resource);
        let provider = match &config.exporter {
            TraceExporter::Log => builder.with_simple_exporter(LogExporter),
            TraceExporter::Otlp { url } => {
                let exporter = opentelemetry_otlp::SpanExporter::builder()
                    .with_http()
                    .with_http_client(http_client(config.timeout)?)
                    .with_endpoint(url)
                    .with_timeout(config.timeout)
                    .build()
                    .map_err(|error| TraceError(Box::new(error)))?;
                builder.with_batch_exporter(exporter)
            }
        };
        Ok(Self(provider.build()))
    }

    /// What makes spans of ours spans of theirs.
    pub(super) fn tracer(&self) -> opentelemetry_sdk::trace::SdkTracer {
        self.0.tracer("nalpaca")
    }

    /// Sends what is left. Blocks, for a few seconds at most.
    pub fn finish(self) {
        // Nobody is left to tell.
        let _ = self.0.shutdown_with_timeout(FLUSH_TIMEOUT);
    }
}

/// As the venue's client: nothing leaves for where nobody sent it.
fn http_client(timeout: Duration) -> Result<reqwest::blocking::Client, TraceError> {
    // A client of this kind must not be built inside a runtime; whoever starts traces has none yet.
    reqwest::blocking::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .timeout(timeout)
        .build()
        .map_err(|error| TraceError(Box::new(error)))
}

/// What is exported: spans of this program, and nothing of the libraries below it.
pub(super) fn is_exported(metadata: &Metadata<'_>) -> bool {
    metadata.is_span() && (metadata.target() == TARGET || metadata.target().starts_with("nalpaca::"))
}

/// A span below the one we are in; none outside of a command's.
macro_rules! child_span {
    ($name:literal $(, $($fields:tt)*)?) => {
        if tracing::Span::current().is_none() {
            tracing::Span::none()
        } else {
            tracing::info_span!(target: $crate::telemetry::trace::TARGET, $name $(, $($fields)*)?)
        }
    };
}
pub(crate) use child_span;

/// Makes a span a child of whoever published with this `traceparent`. What is no `traceparent` is passed over.
pub fn follow(span: &Span, traceparent: &str) {
    let carrier = HashMap::from([(TRACEPARENT.to_owned(), traceparent.to_owned())]);
    let context = TraceContextPropagator::new().extract_with_context(&Context::new(), &carrier);
    // Without an exporter there is nothing to set.
    let _ = span.set_parent(context);
}

/// The `traceparent` for what is published in a span, where its cause had one: the span's own, if it is exported.
pub fn carried(span: &Span, publisher: &str) -> String {
    let context = span.context();
    if !context.span().span_context().is_valid() {
        return publisher.to_owned();
    }
    let mut carrier = HashMap::new();
    TraceContextPropagator::new().inject_context(&context, &mut carrier);
    carrier
        .remove(TRACEPARENT)
        .unwrap_or_else(|| publisher.to_owned())
}

/// The contexts of the newest orders, by client order id. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Remembered(Arc<Mutex<Memory>>);

#[derive(Debug, Default)]
struct Memory {
    by_order: HashMap<String, String>,
    oldest_first: VecDeque<String>,
}

impl Remembered {
    /// Remembers whose order it is.
    pub fn keep(&self, client_order_id: &str, traceparent: &str) {
        // Nothing panics while it holds the lock.
        let mut memory = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let before = memory
            .by_order
            .insert(client_order_id.to_owned(), traceparent.to_owned());
        if before.is_none() {
            memory.oldest_first.push_back(client_order_id.to_owned());
        }
        if memory.oldest_first.len() > REMEMBERED_MAX
            && let Some(oldest) = memory.oldest_first.pop_front()
        {
            memory.by_order.remove(&oldest);
        }
    }

    /// Whose order it is.
    pub fn of(&self, client_order_id: &str) -> Option<String> {
        let memory = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        memory.by_order.get(client_order_id).cloned()
    }
}

/// Spans as log lines.
#[derive(Debug)]
struct LogExporter;

impl SpanExporter for LogExporter {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        for span in batch {
            let attributes: Vec<String> = span
                .attributes
                .iter()
                .map(|pair| format!("{}={}", pair.key, pair.value))
                .collect();
            let took = span.end_time.duration_since(span.start_time).unwrap_or_default();
            info!(
                trace_id = %span.span_context.trace_id(),
                span_id = %span.span_context.span_id(),
                parent_span_id = %span.parent_span_id,
                span = %span.name,
                took_us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX),
                attributes = attributes.join(" "),
                "span"
            );
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_orders_are_remembered_and_no_more() {
        let remembered = Remembered::default();
        for number in 0..=REMEMBERED_MAX {
            remembered.keep(&number.to_string(), "a");
            remembered.keep(&number.to_string(), "b");
        }
        assert_eq!(remembered.of("0"), None);
        assert_eq!(remembered.of("1").as_deref(), Some("b"));
        assert_eq!(remembered.of(&REMEMBERED_MAX.to_string()).as_deref(), Some("b"));
    }

    #[test]
    fn without_an_exporter_the_publishers_context_goes_on_as_it_is() {
        let publisher = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let span = Span::none();
        follow(&span, publisher);
        assert_eq!(carried(&span, publisher), publisher);
        follow(&span, "gibberish");
    }
}
