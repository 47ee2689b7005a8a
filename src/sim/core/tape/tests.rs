use proptest::prelude::*;

use super::super::calendar::{day_begins_at, new_york_day};
use super::*;

fn moment(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn dec(text: &str) -> Decimal {
    text.parse().unwrap()
}

fn day(text: &str) -> Date {
    text.parse().unwrap()
}

fn assets() -> Arc<Assets> {
    Arc::new(Assets::new())
}

fn tape(config: TapeConfig) -> Tape {
    Tape::new(config, assets(), moment("2026-10-05T14:00:00Z"))
}

fn asset(symbol: &str) -> Asset {
    assets().find(symbol).unwrap()
}

#[test]
fn a_seed_replays_its_prices_and_another_seed_has_others() {
    let (one, two) = (tape(TapeConfig::default()), tape(TapeConfig::default()));
    let other = tape(TapeConfig {
        seed: 2,
        ..TapeConfig::default()
    });
    let (from, until) = (moment("2026-10-05T14:00:00Z"), moment("2026-10-05T14:05:00Z"));
    let spy = asset("SPY");
    assert_eq!(one.trades(&spy, from, until).len(), 300, "one a second");
    assert_eq!(one.trades(&spy, from, until), two.trades(&spy, from, until));
    assert_ne!(one.trades(&spy, from, until), other.trades(&spy, from, until));
    assert_eq!(one.quotes(&spy, from, until).len(), 1_200);
    for quote in one.quotes(&spy, from, until) {
        assert!(quote.bid < quote.ask && quote.bid_size > Decimal::ZERO);
    }
}

#[test]
fn a_pinned_price_stands_still_from_its_moment_on() {
    let tape = tape(TapeConfig::default());
    let (spy, at) = (asset("SPY"), moment("2026-10-05T15:00:00Z"));
    let before = at - jiff::SignedDuration::from_nanos(1);
    let free = tape.price_at(&spy, before);
    tape.pin("SPY", at, dec("500"));
    assert_eq!(
        (tape.price_at(&spy, before), tape.price_at(&spy, at)),
        (free, dec("500"))
    );
    let later = at + jiff::SignedDuration::from_secs(60);
    assert!(
        tape.trades(&spy, at, later)
            .iter()
            .all(|trade| trade.price == dec("500"))
    );
    tape.pin("SPY", later, dec("501"));
    assert_eq!(tape.price_at(&spy, later), dec("501"));
    // An option follows its pinned underlying.
    let call = asset("SPY271217C00400000");
    assert!(tape.price_at(&call, later) >= dec("101"));
}

#[test]
fn nothing_trades_while_the_market_is_closed_but_coins() {
    let tape = tape(TapeConfig {
        market: Market::Calendar,
        ..TapeConfig::default()
    });
    let (from, until) = (moment("2026-10-03T05:00:00Z"), moment("2026-10-04T05:00:00Z"));
    assert_eq!(tape.trades(&asset("SPY"), from, until), []);
    assert_eq!(
        tape.bars(
            &asset("SPY"),
            Timeframe::Day,
            (day("2026-10-03"), day("2026-10-05")),
            until,
            false
        ),
        []
    );
    assert!(!tape.trades(&asset("BTC/USD"), from, until).is_empty());
    assert!(!tape.is_open(&asset("SPY"), from) && tape.is_open(&asset("BTC/USD"), from));
}

#[test]
fn a_split_separates_raw_prices_from_adjusted_ones() {
    let tape = tape(TapeConfig::default());
    let (nvda, now) = (asset("NVDA"), moment("2026-10-05T14:00:00Z"));
    let days = (day("2024-06-07"), day("2024-06-11"));
    let raw = tape.bars(&nvda, Timeframe::Day, days, now, false);
    let adjusted = tape.bars(&nvda, Timeframe::Day, days, now, true);
    assert_eq!((raw.len(), adjusted.len()), (2, 2));
    assert_eq!(raw[1], adjusted[1]);
    assert!(raw[0].close > raw[1].open * dec("8"), "{raw:?}");
    assert!((adjusted[0].close - raw[0].close / dec("10")).abs() <= dec("0.01"));
    assert_eq!(adjusted[0].volume, raw[0].volume * dec("10"));
}

#[test]
fn every_timeframe_tells_the_same_day() {
    let tape = tape(TapeConfig::default());
    let (aapl, now) = (asset("AAPL"), moment("2026-10-05T14:00:00Z"));
    let days = (day("2026-09-29"), day("2026-09-30"));
    let daily = tape.bars(&aapl, Timeframe::Day, days, now, false);
    for timeframe in [
        Timeframe::Minutes(1),
        Timeframe::Minutes(15),
        Timeframe::Hours(1),
        Timeframe::Hours(23),
    ] {
        let parts = tape.bars(&aapl, timeframe, days, now, false);
        let whole = bars::combine(parts, |at| Timeframe::Day.begin(at));
        let loose = |bar: &Bar| Bar {
            vwap: bar.vwap.round_dp(3),
            ..bar.clone()
        };
        assert_eq!(
            whole.iter().map(loose).collect::<Vec<_>>(),
            daily.iter().map(loose).collect::<Vec<_>>()
        );
    }
    assert_eq!(daily[0].at, day_begins_at(day("2026-09-29")));
    let minute = tape.minute(&aapl, moment("2026-09-29T15:00:00Z")).unwrap();
    assert!(
        tape.bars(&aapl, Timeframe::MINUTE, days, now, false)
            .contains(&minute)
    );
}

#[test]
fn a_minute_that_is_not_over_is_not_told() {
    let tape = tape(TapeConfig::default());
    let now = moment("2026-10-05T14:10:30Z");
    let days = (day("2026-10-05"), day("2026-10-06"));
    let bars = tape.bars(&asset("SPY"), Timeframe::MINUTE, days, now, false);
    assert_eq!(bars.last().unwrap().at, moment("2026-10-05T14:09:00Z"));
    let today = tape.bars(&asset("SPY"), Timeframe::Day, days, now, false);
    assert_eq!(today.len(), 1);
}

fn recorded(bars: &[(&str, [&str; 5])]) -> Tape {
    let mut builder = RecordingBuilder::default();
    for (at, [open, high, low, close, volume]) in bars {
        let bar = Bar {
            at: moment(at),
            open: dec(open),
            high: dec(high),
            low: dec(low),
            close: dec(close),
            volume: dec(volume),
            trades: 7,
            vwap: dec(close),
        };
        builder.bar("SPY", bar);
    }
    tape(TapeConfig {
        recording: Some(Arc::new(builder.finish().unwrap())),
        market: Market::Calendar,
        ..TapeConfig::default()
    })
}

#[test]
fn recorded_bars_are_played_as_trades_and_told_as_they_were() {
    let tape = recorded(&[
        ("2025-03-04T14:30:00Z", ["100", "103", "99", "102", "10"]),
        ("2025-03-04T14:31:00Z", ["102", "102.5", "98", "98.5", "8"]),
    ]);
    let spy = asset("SPY");
    let (from, until) = (moment("2025-03-04T14:30:00Z"), moment("2025-03-04T14:32:00Z"));
    let told: Vec<_> = tape
        .trades(&spy, from, until)
        .iter()
        .map(|trade| (trade.price.to_string(), trade.size.to_string()))
        .collect();
    let expected = [
        ("100", "2"),
        ("99", "2"),
        ("103", "2"),
        ("102", "4"),
        ("102", "2"),
        ("102.5", "2"),
        ("98", "2"),
        ("98.5", "2"),
    ];
    assert_eq!(
        told,
        expected.map(|(price, size)| (price.to_owned(), size.to_owned()))
    );
    assert_eq!(tape.price_at(&spy, moment("2025-03-04T14:30:44Z")), dec("103"));
    assert_eq!(tape.price_at(&spy, moment("2025-03-05T00:00:00Z")), dec("98.5"));
    let bar = tape.minute(&spy, moment("2025-03-04T14:31:00Z")).unwrap();
    assert_eq!((bar.high, bar.low, bar.trades), (dec("102.5"), dec("98"), 7));
    let day = tape.day(&spy, day("2025-03-04"), until).unwrap();
    assert_eq!(
        (day.open, day.high, day.low, day.close, day.volume),
        (dec("100"), dec("103"), dec("98"), dec("98.5"), dec("18"))
    );
    let recording = tape.recording().unwrap();
    assert_eq!(
        (recording.len(), recording.begins_at(), recording.ends_at()),
        (8, Some(from), Some(until))
    );
    assert_eq!(tape.moments(from, moment("2025-03-04T14:30:30Z")).len(), 2);
    // What is not recorded lives on from the seed.
    assert!(!tape.trades(&asset("AAPL"), from, until).is_empty());
}

#[test]
fn nothing_tells_what_a_replay_has_still_before_it() {
    let tape = recorded(&[
        ("2025-03-04T14:30:00Z", ["100", "103", "99", "102", "10"]),
        ("2025-03-04T14:31:00Z", ["102", "150", "50", "98.5", "8"]),
    ]);
    let (spy, now) = (asset("SPY"), moment("2025-03-04T14:31:20Z"));
    let day = tape.day(&spy, day("2025-03-04"), now).unwrap();
    // Of the second minute, the open and the extreme against its direction have been played.
    assert_eq!(
        (day.high, day.low, day.close, day.volume),
        (dec("150"), dec("99"), dec("150"), dec("14"))
    );
    let earlier = tape
        .day(
            &spy,
            now.to_zoned(jiff::tz::TimeZone::UTC).date(),
            moment("2025-03-04T14:31:10Z"),
        )
        .unwrap();
    assert_eq!((earlier.high, earlier.close), (dec("103"), dec("102")));
    let days = (new_york_day(now), new_york_day(now).tomorrow().unwrap());
    assert_eq!(tape.bars(&spy, Timeframe::MINUTE, days, now, false).len(), 1);
}

#[test]
fn a_day_is_played_in_its_session() {
    let day_of = |at: &'static str, price: &'static str| (at, [price, "110", "90", "105", "400"]);
    // As a file with dates has them, and as one with Greenwich's midnights.
    for days in [
        ["2025-03-03T05:00:00Z", "2025-03-04T05:00:00Z"],
        ["2025-03-03T00:00:00Z", "2025-03-04T00:00:00Z"],
    ] {
        let tape = recorded(&[day_of(days[0], "100"), day_of(days[1], "101")]);
        let price = |at: &str| tape.price_at(&asset("SPY"), moment(at));
        assert_eq!(
            price("2025-03-04T14:29:59Z"),
            dec("105"),
            "yesterday's close until the open"
        );
        assert_eq!(price("2025-03-04T14:30:00Z"), dec("101"));
        assert_eq!(price("2025-03-04T20:59:59Z"), dec("105"), "the closing auction");
        let trades = tape.trades(
            &asset("SPY"),
            moment("2025-03-04T05:00:00Z"),
            moment("2025-03-05T05:00:00Z"),
        );
        assert!(
            trades.iter().all(|trade| tape.is_open(&asset("SPY"), trade.at)),
            "{trades:?}"
        );
        let whole = tape
            .day(&asset("SPY"), day("2025-03-04"), moment("2025-03-05T05:00:00Z"))
            .unwrap();
        assert_eq!(
            (whole.open, whole.close, whole.volume),
            (dec("101"), dec("105"), dec("400"))
        );
        assert_eq!(
            tape.price_at(&asset("SPY"), moment("2125-03-04T14:29:59Z")),
            dec("105")
        );
    }
}

#[test]
fn bars_of_weeks_are_refused() {
    let mut builder = RecordingBuilder::default();
    let tape = recorded(&[("2025-03-03T05:00:00Z", ["1", "1", "1", "1", "1"])]);
    let bar = tape
        .day(&asset("SPY"), day("2025-03-03"), moment("2025-03-05T05:00:00Z"))
        .unwrap();
    for at in ["2025-03-03T05:00:00Z", "2025-03-10T04:00:00Z"] {
        builder.bar(
            "SPY",
            Bar {
                at: moment(at),
                ..bar.clone()
            },
        );
    }
    assert!(builder.finish().unwrap_err().contains("more than a day"));
}

#[test]
fn quotes_stand_on_the_price_grid() {
    let tape = tape(TapeConfig::default());
    let (from, until) = (moment("2026-10-05T14:00:00Z"), moment("2026-10-05T14:01:00Z"));
    for symbol in ["SPY", "F", "AAPL"] {
        for quote in tape.quotes(&asset(symbol), from, until) {
            assert!(
                quote.bid.normalize().scale() <= 2 && quote.ask.normalize().scale() <= 2,
                "{quote:?}"
            );
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn time_may_be_cut_anywhere(cuts in prop::collection::btree_set(0_i64..600_000, 0..6), seed in any::<u64>()) {
        let tape = tape(TapeConfig { seed, ..TapeConfig::default() });
        let begin = moment("2026-10-05T14:00:00Z");
        let at = |millis: i64| begin + jiff::SignedDuration::from_millis(millis);
        let edges: Vec<i64> = std::iter::once(0).chain(cuts).chain([600_000]).collect();
        for symbol in ["SPY", "BTC/USD", "SPY271217C00600000"] {
            let asset = asset(symbol);
            let pieces: Vec<_> = edges.windows(2).flat_map(|edge| tape.trades(&asset, at(edge[0]), at(edge[1]))).collect();
            prop_assert_eq!(&pieces, &tape.trades(&asset, at(0), at(600_000)));
            prop_assert!(pieces.is_sorted_by_key(|trade| trade.at));
            prop_assert!(pieces.iter().all(|trade| trade.price > Decimal::ZERO && trade.size > Decimal::ZERO));
        }
    }
}
