use std::path::PathBuf;

use super::*;
use crate::domain::history::{Adjustment, Timeframe, moment};
use crate::domain::market::MarketClass;

/// A folder that is gone at the end.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Self {
        Self(std::env::temp_dir().join(format!("nalpaca-archive-{}", uuid::Uuid::now_v7())))
    }

    fn archive(&self) -> Archive {
        Archive::open(&self.0).unwrap()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn at(text: &str) -> Timestamp {
    moment("start", text, MarketClass::Crypto).unwrap()
}

fn range(from: &str, until: &str) -> Range {
    Range {
        from: at(from),
        until: at(until),
    }
}

fn question(timeframe: &str, adjustment: &str) -> BarsQuestion {
    BarsQuestion::new(
        MarketClass::Stocks,
        vec![symbol()],
        Timeframe::parse(timeframe).unwrap(),
        (at("2025-01-01"), at("2026-01-01")),
        Adjustment::parse(adjustment).unwrap(),
        "",
    )
    .unwrap()
}

fn symbol() -> Symbol {
    Symbol::parse("BRK.B").unwrap()
}

fn bar(text: &str, close: f64) -> Bar<'static> {
    Bar {
        symbol: "BRK.B".into(),
        at: at(text),
        close,
        ..Bar::default()
    }
}

fn files(series: &Series<'_>) -> Vec<(String, Vec<f64>)> {
    let names = series.held.files.keys();
    let rows = |name: &String| {
        let rows = series.rows(name).unwrap();
        (name.clone(), rows.iter().map(|bar| bar.close).collect())
    };
    names.map(rows).collect()
}

const LATER: &str = "2026-11-28";

#[test]
fn what_is_held_is_not_missing_and_stays_after_a_restart() {
    for format in [Format::Csv, Format::JsonLines, Format::Parquet] {
        let scratch = Scratch::new();
        let asked = range("2025-01-30", "2025-03-02");
        {
            let archive = scratch.archive();
            let mut series = Series::open(&archive, &question("1Min", ""), &symbol(), format).unwrap();
            assert_eq!(series.missing(asked), [asked]);
            let bars = [bar("2025-01-31T23:59:00Z", 1.0), bar("2025-03-01", 2.0)];
            series.store(asked, &bars, at(LATER)).unwrap();
            assert!(series.folder().ends_with("stocks/1Min/BRK=2EB"));
        }
        let archive = scratch.archive();
        let series = Series::open(&archive, &question("1Min", ""), &symbol(), format).unwrap();
        assert_eq!(series.missing(asked), []);
        assert_eq!(
            series.missing(range("2025-01-01", "2025-04-01")),
            [
                range("2025-01-01", "2025-01-30"),
                range("2025-03-02", "2025-04-01")
            ]
        );
        let ending = format.extension();
        assert_eq!(
            files(&series),
            [
                (format!("2025-01.{ending}"), vec![1.0]),
                (format!("2025-03.{ending}"), vec![2.0])
            ],
            "a month without bars has no file"
        );
        assert_eq!(series.oldest().unwrap().map(|bar| bar.close), Some(1.0));
        // What is adjusted, or of another length, is another series.
        for other in [question("1Min", "split"), question("5Min", "")] {
            let other = Series::open(&archive, &other, &symbol(), format).unwrap();
            assert_eq!(other.missing(asked), [asked]);
        }
    }
}

#[test]
fn a_stretch_that_is_stored_again_takes_the_place_of_what_was_there() {
    let scratch = Scratch::new();
    let archive = scratch.archive();
    let open = || Series::open(&archive, &question("1Min", ""), &symbol(), Format::Csv).unwrap();
    let day = range("2025-01-01", "2025-01-02");
    let bars = [
        "2025-01-01T00:00:00Z",
        "2025-01-01T12:00:00Z",
        "2025-01-01T18:00:00Z",
    ];
    open()
        .store(day, &bars.map(|at| bar(at, 1.0)), at(LATER))
        .unwrap();
    let noon = range("2025-01-01T12:00:00Z", "2025-01-01T18:00:00Z");
    let mut series = open();
    series
        .store(noon, &[bar("2025-01-01T13:00:00Z", 2.0)], at(LATER))
        .unwrap();
    assert_eq!(files(&series), [("2025-01.csv".to_owned(), vec![1.0, 2.0, 1.0])]);
    assert_eq!(series.missing(day), []);
    series.forget().unwrap();
    assert_eq!((files(&open()), open().missing(day)), (vec![], vec![day]));
    series.store(day, &[bar("2025-01-01", 3.0)], at(LATER)).unwrap();
    series.store(day, &[], at(LATER)).unwrap();
    assert_eq!((files(&series), series.missing(day)), (vec![], vec![]));
    assert!(!series.folder().join("2025-01.csv").exists());
}

#[test]
fn what_may_still_change_is_written_and_fetched_again() {
    let scratch = Scratch::new();
    let archive = scratch.archive();
    for (timeframe, settled, file) in [
        ("1Min", "2025-01-01T11:40:00Z", "2025-01.csv"),
        ("1Hour", "2025-01-01T11:00:00Z", "2025-01.csv"),
        ("1Day", "2024-12-31T11:00:00Z", "all.csv"),
    ] {
        let mut series = Series::open(&archive, &question(timeframe, ""), &symbol(), Format::Csv).unwrap();
        let asked = range("2024-12-01", "2025-01-02");
        let bars = [bar("2025-01-01T11:59:00Z", 1.0)];
        series.store(asked, &bars, at("2025-01-01T12:00:00Z")).unwrap();
        assert_eq!(series.missing(asked), [range(settled, "2025-01-02")]);
        assert_eq!(files(&series), [(file.to_owned(), vec![1.0])]);
    }
}

#[test]
fn a_file_that_is_not_as_it_was_noted_is_not_believed() {
    let scratch = Scratch::new();
    let archive = scratch.archive();
    let open = || Series::open(&archive, &question("1Min", ""), &symbol(), Format::Csv).unwrap();
    let asked = range("2025-01-01", "2025-03-01");
    let store = || {
        let bars = [bar("2025-01-05", 1.0), bar("2025-02-05", 2.0)];
        let mut series = open();
        series.store(asked, &bars, at(LATER)).unwrap();
        series.folder().to_owned()
    };
    let folder = store();
    fs::remove_file(folder.join("2025-01.csv")).unwrap();
    assert_eq!(open().missing(asked), [range("2025-01-01", "2025-02-01")]);
    store();
    fs::write(folder.join("2025-02.csv"), "symbol,timestamp\n").unwrap();
    let mut series = open();
    assert_eq!(series.missing(asked), [range("2025-02-01", "2025-03-01")]);
    // What cannot be read is not kept beside what is new.
    let february = range("2025-02-10", "2025-03-01");
    series
        .store(february, &[bar("2025-02-11", 3.0)], at(LATER))
        .unwrap();
    assert_eq!(files(&series)[1], ("2025-02.csv".to_owned(), vec![3.0]));
    assert_eq!(series.missing(asked), [range("2025-02-01", "2025-02-10")]);
    // Neither is a note.
    store();
    for note in ["", "{}", "{\"version\":2,\"ranges\":[],\"files\":{}}"] {
        fs::write(folder.join("ranges.csv.json"), note).unwrap();
        assert_eq!(open().missing(asked), [asked], "{note:?}");
    }
    // A name that nobody gave is nobody's.
    let note = r#"{"version":1,"ranges":[["2025-01-01T00:00:00Z","2025-03-01T00:00:00Z"]],"files":{"x":1,"2025-99.csv":1}}"#;
    fs::write(folder.join("ranges.csv.json"), note).unwrap();
    assert_eq!(open().missing(asked), []);
}

#[test]
fn one_process_writes_at_a_time() {
    let scratch = Scratch::new();
    let archive = scratch.archive();
    let error = Archive::open(&scratch.0).unwrap_err().to_string();
    assert!(error.contains("another process writes"), "{error}");
    drop(archive);
    assert!(Archive::open(&scratch.0).is_ok());
}

#[test]
fn names_of_folders_hold_no_path() {
    for (symbol, name) in [("BTC/USD", "BTC=2FUSD"), ("..", "=2E=2E"), ("A-B_1", "A-B_1")] {
        assert_eq!(file_name(symbol), name);
    }
}
