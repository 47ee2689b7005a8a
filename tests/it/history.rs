//! Bars of the past, as programs ask for them and as people fetch them; and market data on a terminal.

use std::fs;
use std::path::Path;
use std::time::Duration;

use jiff::ToSpan as _;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use nalpaca::clock::Clock;
use nalpaca::sim::Endpoint;
use serde_json::{Value, json};

use crate::support::daemon::{Environment, Finished, spawn};
use crate::support::scratch::Scratch;
use crate::support::world::{Plan, World};
use crate::support::{run, until};

/// A day so long ago, in New York.
fn day(ago: i32) -> Date {
    let zone = TimeZone::get("America/New_York").expect("it is in the table");
    let today = Clock::system().now().to_zoned(zone).date();
    today.checked_sub(ago.days()).expect("there was one")
}

/// A week that is over. Whenever this runs, the market was open in it; a single day may be a Saturday, and three may be
/// Christmas.
fn week() -> (String, String) {
    (day(9).to_string(), day(2).to_string())
}

/// Asks for bars, in JSON. The answer, or the number and the words of what is wrong.
async fn ask(world: &World, question: &Value) -> Result<Value, (String, String)> {
    world.ask("bars.history", question).await
}

fn bars_of(answer: &Value) -> Vec<Value> {
    answer["bars"].as_array().cloned().unwrap_or_default()
}

#[tokio::test]
async fn bars_of_the_past_are_answered_in_pages_that_hold_all_of_them() {
    let world = World::start().await;
    let (start, end) = week();
    let question = |limit: u32, token: &str| {
        json!({
            "symbols": ["AAPL", "BRK.B"], "timeframe": "15Min", "start": start, "end": end,
            "limit": limit, "page_token": token,
        })
    };
    let whole = ask(&world, &question(5000, "")).await.expect("an answer");
    assert_eq!(whole["next_page_token"], Value::Null, "everything is on one page");
    let whole = bars_of(&whole);
    assert!(whole.len() > 100, "{}", whole.len());
    let first = &whole[0];
    assert!(
        first["close"].as_f64().is_some_and(|close| close > 0.0),
        "{first}"
    );
    assert!(
        first["volume"].as_u64().is_some_and(|volume| volume > 0),
        "{first}"
    );
    assert_eq!(first["recovered"], Value::Null);
    let symbols: Vec<_> = whole.iter().filter_map(|bar| bar["symbol"].as_str()).collect();
    assert!(symbols.contains(&"AAPL") && symbols.contains(&"BRK.B"));

    let (mut pages, mut token) = (Vec::new(), String::new());
    for _ in 0..whole.len() {
        let page = ask(&world, &question(70, &token)).await.expect("an answer");
        assert!(bars_of(&page).len() <= 70);
        pages.extend(bars_of(&page));
        token = page["next_page_token"].as_str().unwrap_or_default().to_owned();
        if token.is_empty() {
            break;
        }
    }
    assert_eq!(pages, whole);
}

#[tokio::test]
async fn what_is_wrong_with_a_question_and_what_the_venue_says_is_answered() {
    let world = World::start().await;
    let (start, end) = week();
    for (question, code, words) in [
        (json!({"symbols": ["AAPL"]}), "400", "start is required"),
        (json!({"start": start}), "400", "symbols: is required"),
        (
            json!({"symbols": ["AAPL"], "start": start, "class": "news"}),
            "400",
            "class: news have no bars",
        ),
        (
            json!({"symbols": ["BTCUSD"], "start": start, "class": "crypto"}),
            "400",
            "the venue refuses: invalid symbol",
        ),
    ] {
        let (found, said) = ask(&world, &question).await.expect_err("it is wrong");
        assert!(
            found == code && said.contains(words),
            "{question}: {found} {said}"
        );
    }
    let question = json!({"symbols": ["AAPL"], "start": start, "end": end});
    for (fault, code, words) in [
        (
            r#"stock_bars: status 403 {"message":"subscription does not permit querying recent SIP data"}"#,
            "403",
            "recent SIP data",
        ),
        ("stock_bars: too-many", "429", "ask again in"),
        ("stock_bars: status 500", "503", "HTTP 500"),
        ("stock_bars: garbage", "503", "the venue does not answer"),
        ("stock_bars: cut-mid-body", "503", "the venue does not answer"),
    ] {
        world.sim.fault(fault).expect("the simulator knows the fault");
        let (found, said) = ask(&world, &question).await.expect_err("it fails");
        assert!(found == code && said.contains(words), "{fault}: {found} {said}");
    }
    // Symbols nobody knows have no bars, which is no error.
    let nothing = json!({"symbols": ["NOSUCH"], "start": start});
    assert!(bars_of(&ask(&world, &nothing).await.expect("an answer")).is_empty());
    assert!(!bars_of(&ask(&world, &question).await.expect("an answer")).is_empty());
}

#[tokio::test]
async fn a_venue_that_does_not_answer_keeps_no_other_question_waiting() {
    let world = Plan::new().set("ENABLE_STOCK_STREAM", "true").start().await;
    world
        .sim
        .fault("stock_bars always: hang")
        .expect("the simulator knows the fault");
    let question = json!({"symbols": ["AAPL"], "start": day(9).to_string()}).to_string();
    let client = world.jetstream.client();
    let hanging = world.sim.requests_received();
    let asked = client.publish_with_reply("nalpaca.svc.v0.bars.history", "nobody.listens", question.into());
    asked.await.expect("it is sent");
    until("the venue to be asked", async || {
        (world.sim.requests_received() > hanging).then_some(())
    })
    .await;
    let answer = client.request("nalpaca.svc.v0.subscriptions.list", "".into());
    let answer = tokio::time::timeout(Duration::from_secs(5), answer).await;
    assert!(
        answer.is_ok_and(|answer| answer.is_ok()),
        "others are answered meanwhile"
    );
}

/// Runs `nalpaca bars` beside this world.
async fn bars(world: &World, arguments: &[&str]) -> Finished {
    let mut all = vec!["bars"];
    all.extend(arguments);
    run(&all, &client(world)).await
}

/// What a command needs to find the servers.
fn client(world: &World) -> Environment {
    [("NATS_URL".to_owned(), world.nats.url())].into()
}

fn asked(world: &World) -> usize {
    world.sim.snapshot().requests_to(Endpoint::StockBars)
}

fn rows(path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.lines().skip(1).map(str::to_owned).collect()
}

#[tokio::test]
async fn bars_are_fetched_once_and_kept_in_a_folder() {
    let world = World::start().await;
    let scratch = Scratch::new();
    let folder = scratch.path().join("bars");
    let to = folder.to_str().expect("it is text");
    let (first, middle, last) = (day(70).to_string(), day(40).to_string(), day(5).to_string());

    let printed = bars(&world, &["AAPL", "--start", &first, "--end", &last]).await;
    assert_eq!(printed.code, 0, "{}", printed.stderr);
    let (names, printed) = printed.stdout.split_once('\n').expect("a line of names");
    assert_eq!(
        names,
        "symbol,timestamp,open,high,low,close,volume,trade_count,vwap"
    );
    let printed: Vec<String> = printed.lines().map(str::to_owned).collect();
    assert!(printed.len() > 10_000, "{}", printed.len());

    let kept = bars(&world, &["AAPL", "--start", &first, "--end", &middle, "--to", to]).await;
    assert_eq!(kept.code, 0, "{}", kept.stderr);
    let before = asked(&world);
    let kept = bars(&world, &["AAPL", "--start", &first, "--end", &middle, "--to", to]).await;
    assert!(kept.stdout.contains("AAPL 0 bars fetched"), "{}", kept.stdout);
    assert_eq!(asked(&world), before, "what is there is not fetched again");

    let kept = bars(&world, &["AAPL", "--start", &first, "--end", &last, "--to", to]).await;
    assert_eq!(kept.code, 0, "{}", kept.stderr);
    let series = folder.join("stocks/1Min/AAPL");
    let whole = || {
        let mut files: Vec<_> = fs::read_dir(&series)
            .expect("a folder")
            .map(|entry| entry.expect("an entry").path())
            .filter(|path| path.extension().is_some_and(|extension| extension == "csv"))
            .collect();
        files.sort();
        files.iter().flat_map(|file| rows(file)).collect::<Vec<_>>()
    };
    assert!(
        whole() == printed,
        "the files hold what is printed, in order and once"
    );

    // A file that is gone is fetched again, and no other.
    let mut months: Vec<_> = fs::read_dir(&series)
        .expect("a folder")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "csv"))
        .collect();
    months.sort();
    fs::remove_file(&months[0]).expect("it is there");
    let kept = bars(&world, &["AAPL", "--start", &first, "--end", &last, "--to", to]).await;
    let fetched = rows(&months[0]).len();
    assert!(
        kept.stdout.contains(&format!("AAPL {fetched} bars fetched")),
        "{}",
        kept.stdout
    );
    assert!(whole() == printed);

    let forced = bars(
        &world,
        &["AAPL", "--start", &first, "--end", &last, "--to", to, "--force"],
    )
    .await;
    let all = printed.len();
    assert!(
        forced.stdout.contains(&format!("AAPL {all} bars fetched")),
        "{}",
        forced.stdout
    );
    assert!(whole() == printed);
}

#[tokio::test]
async fn a_fetch_that_was_killed_goes_on_where_it_was() {
    let world = World::start().await;
    let scratch = Scratch::new();
    let folder = scratch.path().join("bars");
    let to = folder.to_str().expect("it is text");
    let (start, end) = (day(120).to_string(), day(5).to_string());
    // Slow enough to be caught half-way.
    let slow = world.sim.fault("stock_bars always: delay 150ms");
    slow.expect("the simulator knows the fault");
    let arguments = ["bars", "AAPL", "--start", &start, "--end", &end, "--to", to];
    let mut child = spawn(&arguments, &client(&world));
    let series = folder.join("stocks/1Min/AAPL");
    until("some of it to be there", async || {
        series.join("ranges.csv.json").exists().then_some(())
    })
    .await;
    let error = bars(&world, &arguments[1..]).await;
    assert!(
        error.stderr.contains("another process writes"),
        "{}",
        error.stderr
    );
    child.kill().expect("it runs");
    child.wait().expect("it ends");

    let whole = bars(&world, &["AAPL", "--start", &start, "--end", &end]).await;
    let whole = whole.stdout.lines().count() - 1;
    let rest = bars(&world, &arguments[1..]).await;
    assert_eq!(rest.code, 0, "{}", rest.stderr);
    let fetched = rest
        .stdout
        .strip_prefix("AAPL ")
        .and_then(|text| text.split(' ').next());
    let fetched: usize = fetched.expect("a number").parse().expect("a number");
    assert!(0 < fetched && fetched < whole, "{fetched} of {whole}");
    let mut held = 0;
    for entry in fs::read_dir(&series).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.extension().is_some_and(|extension| extension == "csv") {
            held += rows(&path).len();
        }
    }
    assert_eq!(held, whole);
}

#[tokio::test]
async fn prices_that_were_adjusted_since_are_fetched_anew() {
    let world = World::start().await;
    let scratch = Scratch::new();
    let folder = scratch.path().join("bars");
    let to = folder.to_str().expect("it is text");
    let (start, end) = (day(60).to_string(), day(5).to_string());
    let arguments = [
        "AAPL",
        "--start",
        &start,
        "--end",
        &end,
        "--timeframe",
        "1Day",
        "--adjustment",
        "split",
        "--to",
        to,
    ];
    let first = bars(&world, &arguments).await;
    assert_eq!(first.code, 0, "{}", first.stderr);
    let again = bars(&world, &arguments).await;
    assert!(again.stdout.contains("AAPL 0 bars fetched,"), "{}", again.stdout);
    // As if a split had come in between: another price, and a file that is as long as it was.
    let path = folder.join("stocks/1Day-split/AAPL/all.csv");
    let text = fs::read_to_string(&path).expect("it is there");
    let oldest = text.lines().nth(1).expect("a bar");
    let open = oldest.split(',').nth(2).expect("an opening price");
    let digit = if open.starts_with('9') { "8" } else { "9" };
    let other = oldest.replacen(&format!(",{open},"), &format!(",{digit}{},", &open[1..]), 1);
    fs::write(&path, text.replacen(oldest, &other, 1)).expect("it is written");
    let anew = bars(&world, &arguments).await;
    let all = rows(&path).len();
    assert!(
        anew.stdout
            .contains(&format!("AAPL {all} bars fetched, adjusted anew")),
        "{}",
        anew.stdout
    );
    assert_eq!(fs::read_to_string(&path).expect("it is there"), text);
}

#[tokio::test]
async fn a_fetch_waits_for_the_venue_and_says_so() {
    let world = World::start().await;
    let (start, end) = week();
    for fault in ["stock_bars x2: too-many", "stock_bars x1: status 503"] {
        world.sim.fault(fault).expect("the simulator knows the fault");
        let waited = bars(
            &world,
            &["AAPL", "--start", &start, "--end", &end, "--format", "jsonl"],
        )
        .await;
        assert_eq!(waited.code, 0, "{}", waited.stderr);
        assert!(waited.stderr.contains("waiting: "), "{}", waited.stderr);
        let rows: Vec<Value> = waited
            .stdout
            .lines()
            .map(|line| serde_json::from_str(line).expect("a line is JSON"))
            .collect();
        assert!(rows.len() > 100 && rows[0]["symbol"] == "AAPL", "{}", rows.len());
    }
}

#[tokio::test]
async fn a_fetch_that_cannot_be_says_why() {
    let world = World::start().await;
    let start = day(9).to_string();
    for (arguments, code, words) in [
        (vec!["AAPL", "BTC/USD", "--start", &start], 2, "by two commands"),
        (
            vec!["AAPL", "--start", "soon"],
            2,
            "--start: \"soon\" is no moment",
        ),
        (
            vec!["AAPL", "--start", &start, "--feed", "us"],
            2,
            "write one of sip",
        ),
        (vec!["AAPL", "--start", &start, "--format", "parquet"], 2, "--to"),
        (
            vec!["AAPL", "--start", &start, "--timeframe", "90Min"],
            2,
            "1Min to 59Min",
        ),
        (
            vec!["AAPL", "--start", &start, "--to", "/proc/nowhere"],
            70,
            "/proc/nowhere",
        ),
    ] {
        let ended = bars(&world, &arguments).await;
        assert!(
            ended.code == code && ended.stderr.contains(words),
            "{arguments:?}: {} {}",
            ended.code,
            ended.stderr
        );
    }
    let fault =
        r#"stock_bars: status 403 {"message":"subscription does not permit querying recent SIP data"}"#;
    world.sim.fault(fault).expect("the simulator knows the fault");
    let refused = bars(&world, &["AAPL", "--start", &start]).await;
    assert_eq!(refused.code, 77, "{}", refused.stderr);
    assert!(refused.stderr.contains("recent SIP data"), "{}", refused.stderr);
    let mut elsewhere = client(&world);
    elsewhere.insert("PREFIX".to_owned(), "other".to_owned());
    let nobody = run(&["bars", "AAPL", "--start", &start], &elsewhere).await;
    assert_eq!(nobody.code, 69);
    assert!(nobody.stderr.contains("nobody answers"), "{}", nobody.stderr);
}

async fn tail(world: &World, arguments: &[&str]) -> Finished {
    let mut all = vec!["tail"];
    all.extend(arguments);
    run(&all, &client(world)).await
}

#[tokio::test]
async fn market_data_is_shown_on_a_terminal() {
    let world = Plan::new()
        .set("ENABLE_STOCK_STREAM", "true")
        .set("STOCK_STREAM_SYMBOLS", "AAPL")
        .set("STOCK_STREAM_CHANNELS", "bars,quotes")
        .set("ENABLE_CRYPTO_STREAM", "true")
        .start()
        .await;
    // Said of what is not confirmed yet as well, which is right, and no part of this.
    until("what was asked for to be heard", async || {
        let heard = world
            .metric("nalpaca_market_data_subscribed{class=\"stocks\"}")
            .await;
        (heard == Some(2.0)).then_some(())
    })
    .await;
    let quotes = tail(&world, &["quotes", "AAPL", "--count", "3"]).await;
    assert_eq!(
        (quotes.code, quotes.stderr.as_str()),
        (0, ""),
        "{}",
        quotes.stdout
    );
    let lines: Vec<&str> = quotes.stdout.lines().collect();
    assert_eq!(lines.len(), 4, "{}", quotes.stdout);
    let names: Vec<&str> = lines[0].split_whitespace().collect();
    assert_eq!(names, ["TIME", "SYMBOL", "BID", "SIZE", "ASK", "SIZE"]);
    assert!(lines[1].contains("AAPL"));

    let coins = tail(
        &world,
        &[
            "quotes", "BTC/USD", "AAPL", "--add", "--count", "4", "--output", "json",
        ],
    )
    .await;
    assert_eq!(coins.code, 0, "{}", coins.stderr);
    for line in coins.stdout.lines() {
        let quote: Value = serde_json::from_str(line).expect("a line is JSON");
        assert!(
            quote["bid_price"].as_f64().is_some_and(|price| price > 0.0),
            "{quote}"
        );
    }
    // What was told last is there at once.
    let last = tail(&world, &["quotes", "BTC/USD", "--last", "--count", "1"]).await;
    assert!(last.stdout.contains("BTC/USD"), "{} {}", last.stdout, last.stderr);
    for (arguments, code, words) in [
        (vec!["orderbooks", "AAPL"], 2, "stocks have no orderbooks"),
        (vec!["quotes", "a b"], 2, "visible ASCII"),
        (vec!["news", "AAPL", "--add"], 2, "NEWS_STREAM_SYMBOLS"),
    ] {
        let ended = tail(&world, &arguments).await;
        assert!(
            ended.code == code && ended.stderr.contains(words),
            "{arguments:?}: {} {}",
            ended.code,
            ended.stderr
        );
    }
}
