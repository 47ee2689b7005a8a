//! Log lines on standard output: JSON for machines, text for people.
//!
//! One event is one line, whatever stands in its fields: the venue's messages and the bytes of strangers' subjects
//! end up in logs, and none of them may start a line of its own or drive a terminal.

use std::io::{self, Write};

use opentelemetry_sdk::trace::SdkTracer;
use tracing::Subscriber;
use tracing_subscriber::filter::FilterFn;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::{SubscriberInitExt as _, TryInitError};
use tracing_subscriber::{EnvFilter, Layer as _, Registry, fmt};

use super::json_lines::JsonLines;
use super::trace::{TARGET, Traces, is_exported};
use crate::config::{LogConfig, LogFormat};

/// Longest line. The longest honest ones have a few kilobytes.
const LINE_MAX: usize = 16 * 1024;
/// Longest text of a field in a JSON line that is too long.
const FIELD_MAX: usize = 1024;
/// What stands for the rest.
const CUT: &str = "... (cut)";

/// Starts logging, and the export of traces if there is one, for the whole process. Errs when that was done before.
pub fn init(config: &LogConfig, traces: Option<&Traces>) -> Result<(), TryInitError> {
    subscriber(config, traces.map(Traces::tracer), io::stdout).try_init()
}

fn subscriber<W>(
    config: &LogConfig,
    tracer: Option<SdkTracer>,
    writer: W,
) -> Box<dyn Subscriber + Send + Sync>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let writer = OneLine {
        inner: writer,
        format: config.format,
    };
    let lines = fmt::layer()
        .with_file(config.source)
        .with_line_number(config.source)
        .with_ansi(false);
    let json = JsonLines {
        source: config.source,
    };
    let lines = match config.format {
        LogFormat::Json => lines
            .with_writer(writer)
            .fmt_fields(json)
            .event_format(json)
            .boxed(),
        LogFormat::Text => lines.with_writer(writer).boxed(),
        LogFormat::Logfmt => tracing_logfmt::builder()
            .with_location(config.source)
            .layer()
            .with_ansi(false)
            .with_writer(writer)
            .boxed(),
    };
    // `config` has parsed the directives; a broken one here is dropped rather than fatal. Spans for export are none of the
    // lines', whose filter would let them pass, for it goes by how a target begins.
    let filter = EnvFilter::new(format!("{},{TARGET}=off", config.filter));
    let Some(tracer) = tracer else {
        // One filter for everything costs less than one of each layer.
        return Box::new(Registry::default().with(lines).with(filter));
    };
    let spans = tracing_opentelemetry::layer()
        .with_tracer(tracer)
        .with_location(false)
        .with_threads(false)
        .with_filter(FilterFn::new(is_exported));
    Box::new(Registry::default().with(lines.with_filter(filter)).with(spans))
}

/// Makes writers that keep each event on its line.
struct OneLine<W> {
    inner: W,
    format: LogFormat,
}

impl<'a, W: MakeWriter<'a>> MakeWriter<'a> for OneLine<W> {
    type Writer = OneLineWriter<W::Writer>;

    fn make_writer(&'a self) -> Self::Writer {
        OneLineWriter {
            inner: self.inner.make_writer(),
            format: self.format,
        }
    }
}

/// Writes one event: control characters are escaped, all but the line break that ends it.
struct OneLineWriter<W> {
    inner: W,
    format: LogFormat,
}

impl<W: Write> Write for OneLineWriter<W> {
    /// The formatter hands over a whole event at once, so the last byte is the event's end.
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let (line, _) = event.split_at(event.len().saturating_sub(1));
        let is_plain = |byte: &u8| byte.is_ascii_graphic() || *byte == b' ';
        if line.len() <= LINE_MAX && line.iter().all(is_plain) {
            self.inner.write_all(event)?;
            return Ok(event.len());
        }
        let text = String::from_utf8_lossy(event);
        let (line, end) = match text.strip_suffix('\n') {
            Some(line) => (line, "\n"),
            None => (text.as_ref(), ""),
        };
        let cut;
        let line = if line.len() > LINE_MAX {
            cut = shortened(line, self.format);
            cut.as_str()
        } else {
            line
        };
        if line.chars().any(char::is_control) {
            self.inner.write_all(escaped(line).as_bytes())?;
        } else {
            self.inner.write_all(line.as_bytes())?;
        }
        self.inner.write_all(end.as_bytes())?;
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// A line that is too long, cut: in JSON, field by field, so that it stays JSON.
fn shortened(line: &str, format: LogFormat) -> String {
    let json = match format {
        LogFormat::Json => serde_json::from_str(line).ok(),
        LogFormat::Text | LogFormat::Logfmt => None,
    };
    match json {
        Some(mut value) => {
            shorten(&mut value);
            value.to_string()
        }
        None => cut(line, LINE_MAX),
    }
}

fn shorten(value: &mut serde_json::Value) {
    match value {
        serde_json::Value::String(text) if text.len() > FIELD_MAX => *text = cut(text, FIELD_MAX),
        serde_json::Value::Array(values) => values.iter_mut().for_each(shorten),
        serde_json::Value::Object(fields) => fields.values_mut().for_each(shorten),
        serde_json::Value::String(_)
        | serde_json::Value::Null
        | serde_json::Value::Bool(_)
        | serde_json::Value::Number(_) => {}
    }
}

fn cut(text: &str, max: usize) -> String {
    format!("{}{CUT}", &text[..text.floor_char_boundary(max)])
}

/// Control characters as JSON writes them, so that a JSON line stays one.
fn escaped(line: &str) -> String {
    let mut escaped = String::with_capacity(line.len() + 16);
    for symbol in line.chars() {
        match symbol {
            '\n' => escaped.push_str("\\n"),
            '\r' => escaped.push_str("\\r"),
            '\t' => escaped.push_str("\\t"),
            _ if symbol.is_control() => escaped.push_str(&format!("\\u{:04x}", u32::from(symbol))),
            _ => escaped.push(symbol),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use tracing::field::Empty;
    use tracing::{debug, info, info_span};

    use super::*;

    #[derive(Clone, Default)]
    struct Captured(Arc<Mutex<Vec<u8>>>);

    impl Write for Captured {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn captured(format: LogFormat, filter: &str, log: impl FnOnce()) -> String {
        let captured = Captured::default();
        let config = LogConfig {
            filter: filter.to_owned(),
            format,
            source: true,
        };
        let writer = captured.clone();
        tracing::subscriber::with_default(subscriber(&config, None, move || writer.clone()), log);
        let bytes = captured.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn a_message_cannot_forge_a_line() {
        let log = || info!(symbol = %"A\nINFO forged", "hello\r\n\u{1b}[31m\u{9b}red");
        let text = captured(LogFormat::Text, "info", log);
        assert_eq!(text.lines().count(), 1, "{text}");
        assert!(
            text.ends_with('\n') && !text.trim_end().contains(char::is_control),
            "{text:?}"
        );
        assert!(text.contains("A\\nINFO forged"), "{text}");
        let json = captured(LogFormat::Json, "info", log);
        let value: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(value["symbol"], "A\nINFO forged");
        assert!(value["line_number"].is_u64(), "{json}");
    }

    #[test]
    fn a_json_line_has_the_events_fields_and_those_of_its_span() {
        let log = || {
            let span = info_span!("command", kind = "order", sequence = 7_u64, late = Empty);
            span.record("late", true);
            let _inside = span.enter();
            info!(share = 0.5, none = f64::NAN, words = ?Some("a \"b\" \\ é\u{1}"), "told");
        };
        let json = captured(LogFormat::Json, "info", log);
        let value: serde_json::Value = serde_json::from_str(&json).unwrap();
        let expected = serde_json::json!({
            "level": "INFO", "message": "told", "share": 0.5, "none": null,
            "words": format!("{:?}", Some("a \"b\" \\ é\u{1}")),
            "target": module_path!(), "filename": file!(),
            "span": {"name": "command", "kind": "order", "sequence": 7, "late": true},
        });
        for (key, expected) in expected.as_object().unwrap() {
            assert_eq!(&value[key], expected, "{json}");
        }
        let at: jiff::Timestamp = value["timestamp"].as_str().unwrap().parse().unwrap();
        assert!(at.as_second() > 1_700_000_000, "{at}");
        assert_eq!(json.lines().count(), 1);
    }

    #[test]
    fn a_long_text_is_cut_and_a_json_line_stays_one() {
        let log = || info!(body = %"é".repeat(100_000), n = 1, "told");
        let json = captured(LogFormat::Json, "info", log);
        let value: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert!(
            value["body"].as_str().unwrap().ends_with(CUT) && value["n"] == 1,
            "{json}"
        );
        for format in [LogFormat::Text, LogFormat::Logfmt] {
            let line = captured(format, "info", log);
            assert!(
                line.len() < 2 * LINE_MAX && line.ends_with("... (cut)\n"),
                "{format:?}"
            );
        }
        assert!(json.len() < 2 * LINE_MAX);
    }

    #[test]
    fn logfmt_is_pairs_and_cannot_be_forged() {
        let log = || info!(symbol = %"A\nlevel=error \"x", "hello");
        let line = captured(LogFormat::Logfmt, "info", log);
        assert_eq!(line.lines().count(), 1, "{line}");
        assert!(
            line.contains("level=info") && line.contains("message=hello"),
            "{line}"
        );
        assert!(line.contains(r#"symbol="A\nlevel=error \"x""#), "{line}");
    }

    #[test]
    fn spans_for_export_are_not_made_for_lines() {
        let log = || {
            let command = info_span!("command");
            let _inside = command.enter();
            assert!(!command.is_disabled());
            assert!(crate::telemetry::trace::child_span!("venue request").is_disabled());
        };
        for filter in ["warn,nalpaca=info", "info", "debug"] {
            captured(LogFormat::Json, filter, log);
        }
    }

    #[test]
    fn the_filter_decides_what_is_written() {
        let log = || {
            debug!("quiet");
            info!("loud");
        };
        let text = captured(LogFormat::Text, "info", log);
        assert!(text.contains("loud") && !text.contains("quiet"), "{text}");
        assert_eq!(captured(LogFormat::Text, "off", log), "");
    }
}
