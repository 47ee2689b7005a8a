//! Files of a past that is replayed: bars as CSV or Parquet, or a recorded market-data stream.
//!
//! Columns are found by the names that people use; amounts go from text to decimal, and a double from its shortest text. What
//! cannot be right (a negative price, a high below a low) is refused with its row, since a replay that is silently wrong is
//! worse than none.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::sync::Arc;

use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::Field;
use rust_decimal::Decimal;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::core::tape::{Bar, Quote, Recording, RecordingBuilder, Trade};
use super::core::{day_begins_at, is_price};

/// More than ever changed hands at once: sums of more would not fit into a decimal.
const SIZE_MAX: Decimal = Decimal::from_parts(3_567_587_328, 232, 0, false, 0);

/// One file to replay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplayFile {
    /// Where it is.
    pub path: PathBuf,
    /// Whose bars it holds, when no column says so.
    pub symbol: Option<String>,
}

impl std::str::FromStr for ReplayFile {
    type Err = std::convert::Infallible;

    /// Reads `FILE` or `SYMBOL=FILE`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let symbol = text.split_once('=').filter(|(symbol, _)| {
            let is_symbol =
                |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || b"./".contains(&byte);
            !symbol.is_empty() && symbol.bytes().all(is_symbol)
        });
        Ok(match symbol {
            Some((symbol, path)) => Self {
                path: path.into(),
                symbol: Some(symbol.to_owned()),
            },
            None => Self {
                path: text.into(),
                symbol: None,
            },
        })
    }
}

/// Why a file could not be replayed.
#[derive(Debug, thiserror::Error)]
#[error("{path}{place}: {problem}", path = .path.display(), place = Place(*.row))]
pub struct ReplayError {
    path: PathBuf,
    row: Option<usize>,
    problem: String,
}

struct Place(Option<usize>);

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(row) => write!(f, ", row {row}"),
            None => Ok(()),
        }
    }
}

/// A past that was read.
#[derive(Clone, Debug)]
pub struct Replay {
    pub(crate) recording: Arc<Recording>,
    /// Rows read, by symbol.
    pub rows: BTreeMap<String, usize>,
    /// Moments at which something moves.
    pub moments: usize,
    /// Messages of a recorded stream that are of a kind that is not replayed.
    pub skipped: usize,
    /// When it begins.
    pub from: Timestamp,
    /// When its last bar, trade or quote is over.
    pub to: Timestamp,
}

/// Reads files into one past.
pub fn read(files: &[ReplayFile]) -> Result<Replay, ReplayError> {
    let mut reading = Reading::default();
    for file in files {
        reading.file(file)?;
    }
    let bad = |problem: String| ReplayError {
        path: files.first().map(|file| file.path.clone()).unwrap_or_default(),
        row: None,
        problem,
    };
    let recording = reading.builder.finish().map_err(bad)?;
    let (Some(from), Some(to)) = (recording.begins_at(), recording.ends_at()) else {
        return Err(bad("holds no bars, trades or quotes".to_owned()));
    };
    Ok(Replay {
        moments: recording.len(),
        recording: Arc::new(recording),
        rows: reading.rows,
        skipped: reading.skipped,
        from,
        to,
    })
}

#[derive(Default)]
struct Reading {
    builder: RecordingBuilder,
    rows: BTreeMap<String, usize>,
    skipped: usize,
}

impl Reading {
    fn file(&mut self, file: &ReplayFile) -> Result<(), ReplayError> {
        let extension = file
            .path
            .extension()
            .and_then(|extension| extension.to_str())
            .unwrap_or_default();
        match extension.to_ascii_lowercase().as_str() {
            "csv" => self.csv(file),
            "parquet" => self.parquet(file),
            "jsonl" | "ndjson" => self.stream(file),
            _ => Err(problem(
                file,
                None,
                "its name must end in .csv, .parquet, .jsonl or .ndjson",
            )),
        }
    }

    fn csv(&mut self, file: &ReplayFile) -> Result<(), ReplayError> {
        let bad = |error: csv::Error| problem(file, None, error.to_string());
        let mut reader = csv::ReaderBuilder::new()
            .trim(csv::Trim::All)
            .from_path(&file.path)
            .map_err(bad)?;
        let names: Vec<String> = reader.headers().map_err(bad)?.iter().map(str::to_owned).collect();
        let columns = Columns::find(&names).map_err(|text| problem(file, None, text))?;
        let mut record = csv::StringRecord::new();
        // The header is the first row, as a spreadsheet counts.
        let mut row = 1;
        while reader.read_record(&mut record).map_err(bad)? {
            row += 1;
            let cell = |at: usize| Cow::Borrowed(record.get(at).unwrap_or_default());
            self.row(file, row, &columns, &cell)?;
        }
        Ok(())
    }

    fn parquet(&mut self, file: &ReplayFile) -> Result<(), ReplayError> {
        let bad = |error: parquet::errors::ParquetError| problem(file, None, error.to_string());
        let opened = File::open(&file.path).map_err(|error| problem(file, None, error.to_string()))?;
        let reader = SerializedFileReader::new(opened).map_err(bad)?;
        let schema = reader.metadata().file_metadata().schema();
        let names: Vec<String> = schema
            .get_fields()
            .iter()
            .map(|field| field.name().to_owned())
            .collect();
        let columns = Columns::find(&names).map_err(|text| problem(file, None, text))?;
        for (row, record) in reader.get_row_iter(None).map_err(bad)?.enumerate() {
            let record = record.map_err(bad)?;
            let fields: Vec<_> = record
                .get_column_iter()
                .map(|(_, field)| spelled(field))
                .collect();
            let cell = |at: usize| {
                fields
                    .get(at)
                    .map_or(Cow::Borrowed(""), |text| Cow::Borrowed(text.as_ref()))
            };
            self.row(file, row + 1, &columns, &cell)?;
        }
        Ok(())
    }

    /// One bar of a table.
    fn row<'a>(
        &mut self,
        file: &ReplayFile,
        row: usize,
        columns: &Columns,
        cell: &impl Fn(usize) -> Cow<'a, str>,
    ) -> Result<(), ReplayError> {
        let bad = |text: String| problem(file, Some(row), text);
        let symbol = match (columns.symbol, &file.symbol) {
            (Some(at), _) => cell(at).into_owned(),
            (None, Some(symbol)) => symbol.clone(),
            (None, None) => {
                return Err(problem(
                    file,
                    None,
                    "no column says the symbol: add one, or write --replay SYMBOL=FILE",
                ));
            }
        };
        if symbol.is_empty() || !symbol.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(bad(format!("column symbol: {symbol:?} is no symbol")));
        }
        let amount = |name: &str, at: usize| {
            let text = cell(at);
            decimal(&text).ok_or_else(|| bad(format!("column {name}: {text:?} is no number")))
        };
        let optional = |name: &str, at: Option<usize>| match at {
            Some(at) if !cell(at).is_empty() => amount(name, at).map(Some),
            Some(_) | None => Ok(None),
        };
        let time = cell(columns.time);
        let at = moment(&time).ok_or_else(|| {
            bad(format!(
                "column {}: {time:?} is no time: RFC 3339, a date, or a Unix time is expected",
                columns.time_name
            ))
        })?;
        let bar = Bar {
            at,
            open: amount("open", columns.open)?,
            high: amount("high", columns.high)?,
            low: amount("low", columns.low)?,
            close: amount("close", columns.close)?,
            volume: optional("volume", columns.volume)?.unwrap_or_default(),
            trades: optional("trade_count", columns.trades)?
                .and_then(|count| u64::try_from(count.trunc()).ok())
                .unwrap_or(0),
            vwap: Decimal::ONE,
        };
        sound(&bar).map_err(bad)?;
        let vwap = optional("vwap", columns.vwap)?.filter(|vwap| *vwap > Decimal::ZERO);
        let bar = Bar {
            vwap: vwap.unwrap_or_else(|| (bar.high + bar.low + bar.close) / Decimal::from(3)),
            ..bar
        };
        sound(&bar).map_err(bad)?;
        self.builder.bar(&symbol, bar);
        *self.rows.entry(symbol).or_default() += 1;
        Ok(())
    }

    /// A market-data stream as it came: each line a message, an array of them, or either under `data`.
    fn stream(&mut self, file: &ReplayFile) -> Result<(), ReplayError> {
        let opened = File::open(&file.path).map_err(|error| problem(file, None, error.to_string()))?;
        for (row, line) in BufReader::new(opened).lines().enumerate() {
            let row = Some(row + 1);
            let line = line.map_err(|error| problem(file, row, error.to_string()))?;
            let mut text = line.trim();
            if text.is_empty() {
                continue;
            }
            let bad = |error: serde_json::Error| problem(file, row, format!("not a message: {error}"));
            if text.starts_with('{') {
                let wrapped: Wrapped<'_> = serde_json::from_str(text).map_err(bad)?;
                text = wrapped.data.map_or(text, RawValue::get);
            }
            let messages: Vec<Message<'_>> = if text.starts_with('[') {
                serde_json::from_str(text).map_err(bad)?
            } else {
                vec![serde_json::from_str(text).map_err(bad)?]
            };
            for message in messages {
                self.message(message).map_err(|text| problem(file, row, text))?;
            }
        }
        Ok(())
    }

    fn message(&mut self, message: Message<'_>) -> Result<(), String> {
        let (Some(symbol), Some(kind)) = (message.symbol.as_deref(), message.kind.as_deref()) else {
            self.skipped += 1;
            return Ok(());
        };
        let amount = |name: &str, raw: Option<&RawValue>| {
            let text = raw.map(|raw| raw.get().trim_matches('"')).unwrap_or_default();
            decimal(text).ok_or_else(|| format!("field {name}: {text:?} is no number"))
        };
        let at = || {
            let text = message.t.as_deref().unwrap_or_default();
            moment(text).ok_or_else(|| format!("field t: {text:?} is no time"))
        };
        let size = |name: &str, raw: Option<&RawValue>| {
            let value = amount(name, raw)?;
            if value <= SIZE_MAX {
                Ok(value.max(Decimal::ZERO))
            } else {
                Err(format!("field {name}: {value} is more than anything could have"))
            }
        };
        let positive = |name: &str, value: Decimal| {
            if is_price(value) {
                Ok(value)
            } else {
                Err(format!(
                    "field {name}: {value} is no price that anything could have"
                ))
            }
        };
        match kind {
            "t" => {
                let trade = Trade {
                    at: at()?,
                    id: message.i.unwrap_or(0),
                    price: positive("p", amount("p", message.p)?)?,
                    size: size("s", message.s)?,
                    exchange: message
                        .x
                        .map_or(Cow::Borrowed("V"), |exchange| Cow::Owned(exchange.into_owned())),
                };
                self.builder.trade(symbol, trade);
            }
            "q" => {
                let quote = Quote {
                    at: at()?,
                    bid: amount("bp", message.bp)?,
                    bid_size: size("bs", message.bs)?,
                    ask: amount("ap", message.ap)?,
                    ask_size: size("as", message.as_)?,
                    exchange: message
                        .bx
                        .map_or(Cow::Borrowed("V"), |exchange| Cow::Owned(exchange.into_owned())),
                };
                // One side may be empty for a moment; nothing can be bought or sold then.
                if quote.bid <= Decimal::ZERO || quote.ask <= Decimal::ZERO {
                    self.skipped += 1;
                    return Ok(());
                }
                positive("bp", quote.bid)?;
                positive("ap", quote.ask)?;
                self.builder.quote(symbol, quote);
            }
            "b" => {
                let bar = Bar {
                    at: at()?,
                    open: amount("o", message.o)?,
                    high: amount("h", message.h)?,
                    low: amount("l", message.l)?,
                    close: amount("c", message.c)?,
                    volume: amount("v", message.v)?,
                    trades: message.n.unwrap_or(0),
                    vwap: amount("vw", message.vw.or(message.c))?,
                };
                sound(&bar)?;
                self.builder.bar(symbol, bar);
            }
            _ => {
                self.skipped += 1;
                return Ok(());
            }
        }
        *self.rows.entry(symbol.to_owned()).or_default() += 1;
        Ok(())
    }
}

#[derive(Deserialize)]
struct Wrapped<'a> {
    #[serde(borrow)]
    data: Option<&'a RawValue>,
}

/// What trades, quotes and bars have, numbers as they stand; other kinds use the letters for other things.
#[derive(Deserialize)]
struct Message<'a> {
    #[serde(rename = "T", borrow)]
    kind: Option<Cow<'a, str>>,
    #[serde(rename = "S")]
    symbol: Option<Cow<'a, str>>,
    t: Option<Cow<'a, str>>,
    i: Option<u64>,
    p: Option<&'a RawValue>,
    s: Option<&'a RawValue>,
    x: Option<Cow<'a, str>>,
    bp: Option<&'a RawValue>,
    bs: Option<&'a RawValue>,
    ap: Option<&'a RawValue>,
    #[serde(rename = "as")]
    as_: Option<&'a RawValue>,
    bx: Option<Cow<'a, str>>,
    o: Option<&'a RawValue>,
    h: Option<&'a RawValue>,
    l: Option<&'a RawValue>,
    c: Option<&'a RawValue>,
    v: Option<&'a RawValue>,
    n: Option<u64>,
    vw: Option<&'a RawValue>,
}

/// Where a table has what.
struct Columns {
    symbol: Option<usize>,
    time: usize,
    time_name: String,
    open: usize,
    high: usize,
    low: usize,
    close: usize,
    volume: Option<usize>,
    trades: Option<usize>,
    vwap: Option<usize>,
}

impl Columns {
    fn find(names: &[String]) -> Result<Self, String> {
        let place = |wanted: &[&str]| {
            let is_wanted = |name: &String| wanted.contains(&name.trim().to_ascii_lowercase().as_str());
            names.iter().position(is_wanted)
        };
        let needed = |wanted: &[&str]| {
            place(wanted)
                .ok_or_else(|| format!("no column {} among {}", wanted.join(" or "), names.join(", ")))
        };
        let time = needed(&["timestamp", "time", "datetime", "date", "t"])?;
        Ok(Self {
            symbol: place(&["symbol", "ticker", "s"]),
            time,
            time_name: names.get(time).cloned().unwrap_or_default(),
            open: needed(&["open", "o"])?,
            high: needed(&["high", "h"])?,
            low: needed(&["low", "l"])?,
            close: needed(&["close", "c"])?,
            volume: place(&["volume", "v"]),
            trades: place(&["trade_count", "trades", "n"]),
            vwap: place(&["vwap", "vw"]),
        })
    }
}

/// A bar whose numbers fit each other.
fn sound(bar: &Bar) -> Result<(), String> {
    for (name, price) in [
        ("open", bar.open),
        ("high", bar.high),
        ("low", bar.low),
        ("close", bar.close),
    ] {
        if price <= Decimal::ZERO {
            return Err(format!("column {name}: {price} is not positive"));
        }
        if !is_price(price) {
            return Err(format!(
                "column {name}: {price} is no price that anything could have"
            ));
        }
        if price > bar.high || price < bar.low {
            return Err(format!(
                "column {name}: {price} is not between low {} and high {}",
                bar.low, bar.high
            ));
        }
    }
    if bar.volume.is_sign_negative() {
        return Err(format!("column volume: {} is negative", bar.volume));
    }
    if bar.volume > SIZE_MAX || !is_price(bar.vwap) {
        return Err(format!(
            "volume {} or vwap {} is more than anything could have",
            bar.volume, bar.vwap
        ));
    }
    Ok(())
}

fn problem(file: &ReplayFile, row: Option<usize>, problem: impl Into<String>) -> ReplayError {
    ReplayError {
        path: file.path.clone(),
        row,
        problem: problem.into(),
    }
}

/// Plain or scientific; what does not fit into 28 digits is rounded there.
fn decimal(text: &str) -> Option<Decimal> {
    text.parse()
        .or_else(|_| Decimal::from_scientific(text))
        .ok()
        .map(|value: Decimal| value.normalize())
}

/// RFC 3339; a date and time without an offset, which is UTC's; a date, which is New York's midnight; or a Unix time in
/// seconds, milliseconds, microseconds or nanoseconds, told apart by its size.
fn moment(text: &str) -> Option<Timestamp> {
    let text = text.trim();
    if let Ok(at) = text.parse::<Timestamp>() {
        return Some(at);
    }
    if let Ok(number) = text.parse::<i128>() {
        let nanos = match number.unsigned_abs() {
            0..100_000_000_000 => number.checked_mul(1_000_000_000)?,
            100_000_000_000..100_000_000_000_000 => number.checked_mul(1_000_000)?,
            100_000_000_000_000..100_000_000_000_000_000 => number.checked_mul(1_000)?,
            _ => number,
        };
        return Timestamp::from_nanosecond(nanos).ok();
    }
    if text.len() <= "2026-10-05".len() {
        return text.parse::<Date>().ok().map(day_begins_at);
    }
    let local: DateTime = text.replacen(' ', "T", 1).parse().ok()?;
    local.to_zoned(TimeZone::UTC).ok().map(|zoned| zoned.timestamp())
}

/// A cell of a Parquet file as text that [`decimal`] and [`moment`] read.
fn spelled(field: &Field) -> Cow<'_, str> {
    match field {
        Field::Null => Cow::Borrowed(""),
        Field::Str(text) => Cow::Borrowed(text),
        Field::TimestampMillis(millis) => told(Timestamp::from_millisecond(*millis)),
        Field::TimestampMicros(micros) => told(Timestamp::from_microsecond(*micros)),
        Field::Date(days) => {
            let day =
                Date::constant(1970, 1, 1).checked_add(SignedDuration::from_hours(24 * i64::from(*days)));
            Cow::Owned(day.map(|day| day.to_string()).unwrap_or_default())
        }
        // Shortest text that reads back as the same double.
        Field::Double(number) => Cow::Owned(number.to_string()),
        Field::Float(number) => Cow::Owned(number.to_string()),
        Field::Bytes(bytes) => String::from_utf8_lossy(bytes.data()),
        Field::Byte(_)
        | Field::Short(_)
        | Field::Int(_)
        | Field::Long(_)
        | Field::UByte(_)
        | Field::UShort(_)
        | Field::UInt(_)
        | Field::ULong(_)
        | Field::Decimal(_) => Cow::Owned(field.to_string()),
        // Nothing that has a time, a price or a symbol; the column's reader says so.
        Field::Bool(_)
        | Field::Float16(_)
        | Field::TimeMillis(_)
        | Field::TimeMicros(_)
        | Field::Group(_)
        | Field::ListInternal(_)
        | Field::MapInternal(_) => Cow::Owned(field.to_string()),
    }
}

fn told(at: Result<Timestamp, jiff::Error>) -> Cow<'static, str> {
    Cow::Owned(at.map(|at| at.to_string()).unwrap_or_default())
}

#[cfg(test)]
mod tests;
