use std::sync::atomic::{AtomicU64, Ordering};

use super::*;

/// A file that is gone when the test is over.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str, bytes: &[u8]) -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("nalpaca-{}-{count}-{name}", std::process::id()));
        std::fs::write(&path, bytes).unwrap();
        Self(path)
    }

    fn read(&self, symbol: Option<&str>) -> Result<Replay, ReplayError> {
        let file = ReplayFile {
            path: self.0.clone(),
            symbol: symbol.map(str::to_owned),
        };
        read(&[file])
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // It is in the folder of temporary files anyway.
        let _ = std::fs::remove_file(&self.0);
    }
}

fn rows(replay: &Replay) -> Vec<(&str, usize)> {
    replay
        .rows
        .iter()
        .map(|(symbol, rows)| (symbol.as_str(), *rows))
        .collect()
}

#[test]
fn a_table_is_read_by_the_names_people_use() {
    let long = "symbol,timestamp,open,high,low,close,volume,trade_count,vwap\n\
        AAPL,2025-03-04T14:30:00Z,100,103,99,102,1000,7,101.5\n\
        AAPL,2025-03-04 14:31:00+00:00, 102 ,102.5,98,98.5,8e2,,\n\
        BTC/USD,1741098600,1,2,0.5,1.5,0.25,1,1\n";
    let replay = Scratch::new("long.csv", long.as_bytes()).read(None).unwrap();
    assert_eq!(rows(&replay), [("AAPL", 2), ("BTC/USD", 1)]);
    assert_eq!(
        (replay.from.to_string(), replay.to.to_string()),
        (
            "2025-03-04T14:30:00Z".to_owned(),
            "2025-03-04T14:32:00Z".to_owned()
        )
    );
    assert_eq!(replay.moments, 8);
    let short = "Date,Open,High,Low,Close,Volume\n2025-03-03,10,12,9,11,5\n2025-03-04,11,12,10,10,5\n";
    let replay = Scratch::new("short.csv", short.as_bytes())
        .read(Some("F"))
        .unwrap();
    assert_eq!(
        (rows(&replay), replay.from.to_string()),
        (vec![("F", 2)], "2025-03-03T14:30:00Z".to_owned())
    );
    assert_eq!(
        replay.to.to_string(),
        "2025-03-05T05:00:00Z",
        "daily bars last a day"
    );
}

#[test]
fn what_cannot_be_right_is_refused_with_its_place() {
    let header = "symbol,time,open,high,low,close";
    let check = |rows: &str, symbol: Option<&str>, expected: &str| {
        let error = Scratch::new("bad.csv", rows.as_bytes())
            .read(symbol)
            .unwrap_err()
            .to_string();
        assert!(error.contains(expected), "{error:?} does not tell {expected:?}");
    };
    check(
        &format!("{header}\nA,2025-03-04,1,2,1,x"),
        None,
        "row 2: column close: \"x\" is no number",
    );
    check(
        &format!("{header}\nA,2025-03-04,1,2,1,1\nA,noon,1,2,1,1"),
        None,
        "row 3: column time: \"noon\" is no time",
    );
    check(
        &format!("{header}\nA,2025-03-04,1,2,1,3"),
        None,
        "row 2: column close: 3 is not between low 1 and high 2",
    );
    check(
        &format!("{header}\nA,2025-03-04,1,1e20,1,1"),
        None,
        "row 2: column high: 100000000000000000000 is no price",
    );
    check(
        &format!("{header},volume\nA,2025-03-04,1,2,1,1,1e27"),
        None,
        "row 2: volume 1000000000000000000000000000",
    );
    check(
        &format!("{header}\nA,2025-03-04,-1,2,-1,1"),
        None,
        "row 2: column open: -1 is not positive",
    );
    check(
        &format!("{header}\n,2025-03-04,1,2,1,1"),
        None,
        "row 2: column symbol",
    );
    check(
        "time,open,high,low,close\n2025-03-04,1,2,1,1",
        None,
        "--replay SYMBOL=FILE",
    );
    check(
        "time,open,high,low\n2025-03-04,1,2,1",
        Some("A"),
        "no column close or c among time, open, high, low",
    );
    check(header, None, "holds no bars");
    check(&format!("{header}\nA,2025-03-04,1,2"), None, "CSV error");
    let error = Scratch::new("bad.txt", b"").read(None).unwrap_err().to_string();
    assert!(
        error.contains("must end in .csv, .parquet, .jsonl or .ndjson"),
        "{error}"
    );
    let missing = ReplayFile {
        path: "/nonexistent/x.parquet".into(),
        symbol: None,
    };
    assert!(
        read(&[missing])
            .unwrap_err()
            .to_string()
            .contains("/nonexistent/x.parquet: ")
    );
    let error = Scratch::new("bad.parquet", b"PAR1 but not really")
        .read(None)
        .unwrap_err()
        .to_string();
    assert!(error.contains("arquet"), "{error}");
}

#[test]
fn a_recorded_stream_is_read_as_it_came() {
    let lines = r#"[{"T":"success","msg":"connected"}]
        [{"T":"t","i":7,"S":"SPY","x":"D","p":500.10,"s":3,"t":"2025-03-04T14:30:00.123456789Z","c":["@"],"z":"B"},{"T":"q","S":"SPY","bx":"U","bp":500.05,"bs":1,"ax":"Q","ap":500.15,"as":4,"t":"2025-03-04T14:30:00.2Z","c":["R"],"z":"B"}]
        {"at":"2025-03-04T14:31:00.01Z","data":[{"T":"b","S":"SPY","o":500,"h":501,"l":499,"c":500.5,"v":49378,"n":461,"vw":500.2,"t":"2025-03-04T14:30:00Z"}]}

        {"T":"q","S":"SPY","bp":0,"bs":0,"ap":500.15,"as":4,"t":"2025-03-04T14:30:01Z"}
        {"T":"s","S":"SPY","sc":"H","t":"2025-03-04T14:32:00Z"}"#;
    let replay = Scratch::new("tape.jsonl", lines.as_bytes()).read(None).unwrap();
    assert_eq!((rows(&replay), replay.skipped), (vec![("SPY", 3)], 3));
    assert_eq!(replay.from.to_string(), "2025-03-04T14:30:00.123456789Z");
    let check = |line: &str, expected: &str| {
        let error = Scratch::new("bad.ndjson", line.as_bytes())
            .read(None)
            .unwrap_err()
            .to_string();
        assert!(error.contains(expected), "{error:?} does not tell {expected:?}");
    };
    check("[{]", "row 1: not a message");
    check(
        r#"{"T":"t","S":"SPY","p":-1,"s":1,"t":"2025-03-04T14:30:00Z"}"#,
        "row 1: field p: -1 is no price that anything could have",
    );
    check(
        r#"{"T":"t","S":"SPY","p":1,"s":1,"t":"then"}"#,
        "row 1: field t: \"then\" is no time",
    );
}

#[test]
fn a_parquet_file_holds_the_same_past() {
    use parquet::data_type::{ByteArray, ByteArrayType, DoubleType, Int64Type};
    use parquet::file::properties::WriterProperties;
    use parquet::file::writer::SerializedFileWriter;
    use parquet::schema::parser::parse_message_type;

    let schema = "message bars {
        REQUIRED BYTE_ARRAY symbol (UTF8);
        REQUIRED INT64 timestamp (TIMESTAMP_MICROS);
        REQUIRED DOUBLE open; REQUIRED DOUBLE high; REQUIRED DOUBLE low; REQUIRED DOUBLE close;
        REQUIRED INT64 volume;
    }";
    for compression in [
        parquet::basic::Compression::SNAPPY,
        parquet::basic::Compression::ZSTD(Default::default()),
    ] {
        let properties = WriterProperties::builder().set_compression(compression).build();
        let mut writer = SerializedFileWriter::new(
            Vec::new(),
            parse_message_type(schema).unwrap().into(),
            properties.into(),
        )
        .unwrap();
        let mut group = writer.next_row_group().unwrap();
        let mut column = 0;
        while let Some(mut part) = group.next_column().unwrap() {
            match column {
                0 => part.typed::<ByteArrayType>().write_batch(
                    &[ByteArray::from("SPY"), ByteArray::from("SPY")],
                    None,
                    None,
                ),
                1 => part.typed::<Int64Type>().write_batch(
                    &[1_741_098_600_000_000, 1_741_098_660_000_000],
                    None,
                    None,
                ),
                6 => part.typed::<Int64Type>().write_batch(&[10, 20], None, None),
                _ => part
                    .typed::<DoubleType>()
                    .write_batch(&[500.1, 500.1], None, None),
            }
            .unwrap();
            part.close().unwrap();
            column += 1;
        }
        group.close().unwrap();
        let replay = Scratch::new("bars.parquet", &writer.into_inner().unwrap())
            .read(None)
            .unwrap();
        assert_eq!(
            (rows(&replay), replay.from.to_string()),
            (vec![("SPY", 2)], "2025-03-04T14:30:00Z".to_owned())
        );
        let symbols = replay.recording.symbols();
        assert_eq!(
            symbols,
            [("SPY", "500.1".parse().unwrap())],
            "a double is read as it is written"
        );
    }
}

#[test]
fn a_file_may_name_its_symbol() {
    let parsed = |text: &str| {
        let file: ReplayFile = text.parse().unwrap();
        (file.symbol, file.path.display().to_string())
    };
    assert_eq!(
        parsed("SPY=a/b.csv"),
        (Some("SPY".to_owned()), "a/b.csv".to_owned())
    );
    assert_eq!(
        parsed("BTC/USD=b.csv"),
        (Some("BTC/USD".to_owned()), "b.csv".to_owned())
    );
    assert_eq!(
        parsed("a=b.csv"),
        (None, "a=b.csv".to_owned()),
        "a symbol has no small letters"
    );
}
