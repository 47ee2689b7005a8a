//! Rows of bars as CSV, JSON lines or Parquet: `symbol timestamp open high low close volume trade_count vwap`.
//!
//! Times are RFC 3339 in UTC, in Parquet microseconds since 1970. Numbers are written so that they are read as they were.

use std::borrow::Cow;
use std::io::{self, Read, Write};
use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;
use parquet::basic::{Compression, ZstdLevel};
use parquet::column::reader::ColumnReader;
use parquet::data_type::{ByteArray, ByteArrayType, DoubleType, Int64Type};
use parquet::file::properties::WriterProperties;
use parquet::file::reader::{FileReader as _, SerializedFileReader};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use serde::{Deserialize, Serialize};

use crate::domain::market::Bar;

/// How rows are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// With a line of names.
    Csv,
    /// One object each.
    JsonLines,
    /// Compressed with zstd.
    Parquet,
}

impl Format {
    /// What files end in.
    pub const fn extension(self) -> &'static str {
        match self {
            Self::Csv => "csv",
            Self::JsonLines => "jsonl",
            Self::Parquet => "parquet",
        }
    }
}

/// Rows could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum RowsError {
    /// The file.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The table.
    #[error(transparent)]
    Csv(#[from] csv::Error),
    /// A line.
    #[error(transparent)]
    Json(#[from] serde_json::Error),
    /// The file's structure.
    #[error(transparent)]
    Parquet(#[from] parquet::errors::ParquetError),
    /// What is in a row.
    #[error("{0}")]
    Row(String),
}

/// As in a row, and in its order.
const COLUMNS: [&str; 9] = [
    "symbol",
    "timestamp",
    "open",
    "high",
    "low",
    "close",
    "volume",
    "trade_count",
    "vwap",
];

#[derive(Serialize, Deserialize)]
struct Row<'a> {
    symbol: Cow<'a, str>,
    timestamp: Timestamp,
    open: f64,
    high: f64,
    low: f64,
    close: f64,
    #[serde(serialize_with = "count")]
    volume: f64,
    trade_count: u64,
    vwap: f64,
}

/// Shares and contracts are whole, and are written so.
fn count<S: serde::Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    // A cast of a float saturates, and is then another number.
    let whole = *value as i64;
    if whole as f64 == *value {
        serializer.serialize_i64(whole)
    } else {
        serializer.serialize_f64(*value)
    }
}

impl<'a> Row<'a> {
    fn of(bar: &'a Bar<'_>) -> Self {
        Self {
            symbol: Cow::Borrowed(&bar.symbol),
            timestamp: bar.at,
            open: bar.open,
            high: bar.high,
            low: bar.low,
            close: bar.close,
            volume: bar.volume,
            trade_count: bar.trade_count,
            vwap: bar.vwap,
        }
    }

    fn into_bar(self) -> Bar<'static> {
        Bar {
            symbol: Cow::Owned(self.symbol.into_owned()),
            at: self.timestamp,
            open: self.open,
            high: self.high,
            low: self.low,
            close: self.close,
            volume: self.volume,
            trade_count: self.trade_count,
            vwap: self.vwap,
        }
    }
}

/// Writes rows one after the other, as CSV or JSON lines; a Parquet file is written at once.
pub struct RowWriter<W: Write> {
    to: To<W>,
}

enum To<W: Write> {
    Csv(Box<csv::Writer<W>>),
    JsonLines(W),
}

impl<W: Write> RowWriter<W> {
    /// Begins. `None`: the format has its end at its end, and is for files.
    pub fn new(format: Format, to: W) -> Result<Option<Self>, RowsError> {
        let to = match format {
            Format::Csv => {
                let mut to = csv::WriterBuilder::new().has_headers(false).from_writer(to);
                // Also where no row follows.
                to.write_record(COLUMNS)?;
                To::Csv(Box::new(to))
            }
            Format::JsonLines => To::JsonLines(to),
            Format::Parquet => return Ok(None),
        };
        Ok(Some(Self { to }))
    }

    /// Writes one row.
    pub fn row(&mut self, bar: &Bar<'_>) -> Result<(), RowsError> {
        let row = Row::of(bar);
        match &mut self.to {
            To::Csv(to) => to.serialize(row)?,
            To::JsonLines(to) => {
                serde_json::to_writer(&mut *to, &row)?;
                to.write_all(b"\n")?;
            }
        }
        Ok(())
    }

    /// Hands everything on.
    pub fn flush(&mut self) -> io::Result<()> {
        match &mut self.to {
            To::Csv(to) => to.flush(),
            To::JsonLines(to) => to.flush(),
        }
    }
}

/// Writes a whole file.
pub(super) fn write(format: Format, bars: &[Bar<'_>], to: &mut (impl Write + Send)) -> Result<(), RowsError> {
    if let Some(mut writer) = RowWriter::new(format, io::BufWriter::new(&mut *to))? {
        for bar in bars {
            writer.row(bar)?;
        }
        return Ok(writer.flush()?);
    }
    write_parquet(bars, to)
}

/// Reads a whole file.
pub(super) fn read(format: Format, content: Vec<u8>) -> Result<Vec<Bar<'static>>, RowsError> {
    match format {
        Format::Csv => {
            let rows = csv::Reader::from_reader(content.as_slice()).into_deserialize::<Row<'_>>();
            rows.map(|row| Ok(row?.into_bar())).collect()
        }
        Format::JsonLines => {
            let mut text = String::new();
            content.as_slice().read_to_string(&mut text)?;
            let rows = text
                .lines()
                .map(|line| Ok(serde_json::from_str::<Row<'_>>(line)?.into_bar()));
            rows.collect()
        }
        Format::Parquet => read_parquet(content),
    }
}

const SCHEMA: &str = "message bars {
    REQUIRED BYTE_ARRAY symbol (STRING);
    REQUIRED INT64 timestamp (TIMESTAMP(MICROS, true));
    REQUIRED DOUBLE open;
    REQUIRED DOUBLE high;
    REQUIRED DOUBLE low;
    REQUIRED DOUBLE close;
    REQUIRED DOUBLE volume;
    REQUIRED INT64 trade_count;
    REQUIRED DOUBLE vwap;
}";

fn write_parquet(bars: &[Bar<'_>], to: &mut (impl Write + Send)) -> Result<(), RowsError> {
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .build();
    let schema = Arc::new(parse_message_type(SCHEMA)?);
    let mut writer = SerializedFileWriter::new(to, schema, Arc::new(properties))?;
    let mut group = writer.next_row_group()?;
    let mut doubles = [
        |bar: &Bar<'_>| bar.open,
        |bar: &Bar<'_>| bar.high,
        |bar: &Bar<'_>| bar.low,
        |bar: &Bar<'_>| bar.close,
        |bar: &Bar<'_>| bar.volume,
        |bar: &Bar<'_>| bar.vwap,
    ]
    .into_iter();
    let mut wholes = [
        |bar: &Bar<'_>| bar.at.as_microsecond(),
        |bar: &Bar<'_>| i64::try_from(bar.trade_count).unwrap_or(i64::MAX),
    ]
    .into_iter();
    while let Some(mut column) = group.next_column()? {
        use parquet::column::writer::ColumnWriter;
        #[expect(clippy::wildcard_enum_match_arm, reason = "the schema has no other types")]
        match column.untyped() {
            ColumnWriter::ByteArrayColumnWriter(_) => {
                let symbols: Vec<ByteArray> = bars.iter().map(|bar| bar.symbol.as_ref().into()).collect();
                column
                    .typed::<ByteArrayType>()
                    .write_batch(&symbols, None, None)?;
            }
            ColumnWriter::Int64ColumnWriter(_) => {
                if let Some(of) = wholes.next() {
                    let values: Vec<i64> = bars.iter().map(of).collect();
                    column.typed::<Int64Type>().write_batch(&values, None, None)?;
                }
            }
            _ => {
                if let Some(of) = doubles.next() {
                    let values: Vec<f64> = bars.iter().map(of).collect();
                    column.typed::<DoubleType>().write_batch(&values, None, None)?;
                }
            }
        }
        column.close()?;
    }
    group.close()?;
    writer.close()?;
    Ok(())
}

fn read_parquet(content: Vec<u8>) -> Result<Vec<Bar<'static>>, RowsError> {
    let other = || RowsError::Row("it has other columns than are written here".to_owned());
    let reader = SerializedFileReader::new(Bytes::from(content))?;
    let mut bars = Vec::new();
    for at in 0..reader.num_row_groups() {
        let group = reader.get_row_group(at)?;
        let rows = usize::try_from(group.metadata().num_rows()).unwrap_or_default();
        let (mut symbols, mut wholes, mut doubles) = (Vec::new(), Vec::new(), Vec::new());
        for column in 0..group.num_columns() {
            #[expect(clippy::wildcard_enum_match_arm, reason = "what is not ours is refused")]
            match group.get_column_reader(column)? {
                ColumnReader::ByteArrayColumnReader(mut column) => {
                    column.read_records(rows, None, None, &mut symbols)?;
                }
                ColumnReader::Int64ColumnReader(mut column) => {
                    let mut values = Vec::with_capacity(rows);
                    column.read_records(rows, None, None, &mut values)?;
                    wholes.push(values);
                }
                ColumnReader::DoubleColumnReader(mut column) => {
                    let mut values = Vec::with_capacity(rows);
                    column.read_records(rows, None, None, &mut values)?;
                    doubles.push(values);
                }
                _ => return Err(other()),
            }
        }
        let ([times, counts], [open, high, low, close, volume, vwap]) =
            (wholes.as_slice(), doubles.as_slice())
        else {
            return Err(other());
        };
        let lengths = [&open, &high, &low, &close, &volume, &vwap].map(|column| column.len());
        if lengths
            .iter()
            .chain([&times.len(), &counts.len(), &symbols.len()])
            .any(|len| *len != rows)
        {
            return Err(other());
        }
        for row in 0..rows {
            let symbol = symbols[row].as_utf8()?;
            let at = Timestamp::from_microsecond(times[row]);
            bars.push(Bar {
                symbol: Cow::Owned(symbol.to_owned()),
                at: at.map_err(|error| RowsError::Row(error.to_string()))?,
                open: open[row],
                high: high[row],
                low: low[row],
                close: close[row],
                volume: volume[row],
                trade_count: u64::try_from(counts[row]).unwrap_or_default(),
                vwap: vwap[row],
            });
        }
    }
    Ok(bars)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bars() -> Vec<Bar<'static>> {
        let bar = |minute: i64, close: f64| Bar {
            symbol: "BRK.B".into(),
            at: Timestamp::from_second(1_700_000_040 + 60 * minute).unwrap(),
            open: 0.300_000_000_000_000_04,
            high: 1e15,
            low: 0.000_000_01,
            close,
            volume: if minute == 0 { 0.012_345_678 } else { 570.0 },
            trade_count: 7,
            vwap: 0.0,
        };
        vec![bar(0, 1.5), bar(1, 0.333_333_333_333_333_3)]
    }

    #[test]
    fn rows_are_read_as_they_were_written() {
        for format in [Format::Csv, Format::JsonLines, Format::Parquet] {
            for bars in [bars(), Vec::new()] {
                let mut content = Vec::new();
                write(format, &bars, &mut content).unwrap();
                assert_eq!(read(format, content).unwrap(), bars, "{format:?}");
            }
            let error = read(format, b"PAR1 rubbish\n1,2\n".to_vec());
            assert!(error.is_err(), "{format:?}");
        }
    }

    #[test]
    fn texts_are_what_a_person_expects() {
        let text = |format| {
            let mut content = Vec::new();
            write(format, &bars()[..1], &mut content).unwrap();
            String::from_utf8(content).unwrap()
        };
        assert_eq!(
            text(Format::Csv),
            "symbol,timestamp,open,high,low,close,volume,trade_count,vwap\n\
             BRK.B,2023-11-14T22:14:00Z,0.30000000000000004,1000000000000000.0,1e-8,1.5,0.012345678,7,0.0\n"
        );
        assert!(text(Format::JsonLines).contains(r#""volume":0.012345678,"#));
        let shares = bars().remove(1);
        let mut content = Vec::new();
        write(Format::Csv, &[shares], &mut content).unwrap();
        assert!(String::from_utf8(content).unwrap().contains(",570,7,0.0"));
        assert!(
            text(Format::JsonLines)
                .starts_with(r#"{"symbol":"BRK.B","timestamp":"2023-11-14T22:14:00Z","open":0.3"#)
        );
    }
}
