//! Log lines in JSON, written as they go: the time, the level, the event's fields, where it was logged, and the fields of
//! the span it happened in.
//!
//! The library's own JSON formatter makes a tree of values of each event and reads its span's fields back; beside an order
//! that was a sixth of everything the daemon did (docs/benchmarks.md).

use std::fmt::{self, Write as _};

use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::field::RecordFields;
use tracing_subscriber::fmt::FmtContext;
use tracing_subscriber::fmt::FormattedFields;
use tracing_subscriber::fmt::format::{FormatEvent, FormatFields, Writer};
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::registry::LookupSpan;

/// Writes events, and the fields of spans.
#[derive(Clone, Copy, Debug)]
pub(super) struct JsonLines {
    /// With file and line.
    pub(super) source: bool,
}

/// `"name":value` pairs, each behind a comma.
struct Pairs<W> {
    writer: W,
    result: fmt::Result,
}

impl<W: fmt::Write> Pairs<W> {
    fn pair(&mut self, field: &Field, value: fmt::Arguments<'_>) {
        let name = field.name();
        self.result = self.result.and_then(|()| {
            self.writer.write_char(',')?;
            text(&mut self.writer, name.strip_prefix("r#").unwrap_or(name))?;
            self.writer.write_char(':')?;
            self.writer.write_fmt(value)
        });
    }

    fn texts(&mut self, field: &Field, value: fmt::Arguments<'_>) {
        let name = field.name();
        self.result = self.result.and_then(|()| {
            self.writer.write_char(',')?;
            text(&mut self.writer, name.strip_prefix("r#").unwrap_or(name))?;
            self.writer.write_str(":\"")?;
            Escaped(&mut self.writer).write_fmt(value)?;
            self.writer.write_char('"')
        });
    }
}

impl<W: fmt::Write> Visit for Pairs<W> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.texts(field, format_args!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.texts(field, format_args!("{value}"));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.pair(field, format_args!("{value}"));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.pair(field, format_args!("{value}"));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.pair(field, format_args!("{value}"));
    }

    fn record_i128(&mut self, field: &Field, value: i128) {
        self.pair(field, format_args!("{value}"));
    }

    fn record_u128(&mut self, field: &Field, value: u128) {
        self.pair(field, format_args!("{value}"));
    }

    /// JSON has no word for what is no number.
    fn record_f64(&mut self, field: &Field, value: f64) {
        if value.is_finite() {
            self.pair(field, format_args!("{value}"));
        } else {
            self.pair(field, format_args!("null"));
        }
    }
}

/// A text in quotes.
fn text(to: &mut impl fmt::Write, text: &str) -> fmt::Result {
    to.write_char('"')?;
    Escaped(to).write_str(text)?;
    to.write_char('"')
}

/// Escapes what stands between quotes.
struct Escaped<'a, W>(&'a mut W);

impl<W: fmt::Write> fmt::Write for Escaped<'_, W> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut from = 0;
        for (at, byte) in text.bytes().enumerate() {
            if byte >= 0x20 && byte != b'"' && byte != b'\\' {
                continue;
            }
            // What is escaped is ASCII, so both ends are ends of characters.
            self.0.write_str(&text[from..at])?;
            from = at + 1;
            match byte {
                b'"' => self.0.write_str("\\\"")?,
                b'\\' => self.0.write_str("\\\\")?,
                b'\n' => self.0.write_str("\\n")?,
                b'\r' => self.0.write_str("\\r")?,
                b'\t' => self.0.write_str("\\t")?,
                byte => write!(self.0, "\\u{byte:04x}")?,
            }
        }
        self.0.write_str(&text[from..])
    }
}

impl<'writer> FormatFields<'writer> for JsonLines {
    fn format_fields<R: RecordFields>(&self, writer: Writer<'writer>, fields: R) -> fmt::Result {
        let mut pairs = Pairs {
            writer,
            result: Ok(()),
        };
        fields.record(&mut pairs);
        pairs.result
    }

    fn add_fields(
        &self,
        current: &'writer mut FormattedFields<Self>,
        fields: &tracing::span::Record<'_>,
    ) -> fmt::Result {
        self.format_fields(current.as_writer(), fields)
    }
}

impl<S> FormatEvent<S, JsonLines> for JsonLines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, JsonLines>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let metadata = event.metadata();
        writer.write_str("{\"timestamp\":\"")?;
        SystemTime.format_time(&mut writer)?;
        write!(writer, "\",\"level\":\"{}\"", metadata.level())?;
        let mut pairs = Pairs {
            writer: writer.by_ref(),
            result: Ok(()),
        };
        event.record(&mut pairs);
        pairs.result?;
        writer.write_str(",\"target\":")?;
        text(&mut writer, metadata.target())?;
        if self.source {
            if let Some(file) = metadata.file() {
                writer.write_str(",\"filename\":")?;
                text(&mut writer, file)?;
            }
            if let Some(line) = metadata.line() {
                write!(writer, ",\"line_number\":{line}")?;
            }
        }
        if let Some(span) = event
            .parent()
            .and_then(|parent| context.span(parent))
            .or_else(|| context.lookup_current())
        {
            writer.write_str(",\"span\":{\"name\":")?;
            text(&mut writer, span.name())?;
            if let Some(fields) = span.extensions().get::<FormattedFields<Self>>() {
                writer.write_str(fields)?;
            }
            writer.write_char('}')?;
        }
        writer.write_str("}\n")
    }
}
