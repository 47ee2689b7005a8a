//! Trials of market data: minute bars are told throughout, the way to them and from them is broken, and at the end no minute may
//! be missing, be there twice, or say anything but what the venue says of it.
//!
//! A minute of the venue's takes a second here: its clock begins ten hours ago and runs sixty times as fast.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use async_nats::jetstream::consumer::pull;
use futures_util::StreamExt as _;
use jiff::{SignedDuration, Timestamp};
use nalpaca::clock::Clock;
use nalpaca::sim::Pace;
use serde_json::Value;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;

use super::arena::{Arena, Setup};
use super::chance::Chance;
use super::judge::checker::{Violation, Wrong};
use super::proxy::{Proxy, Weather};
use super::support::daemon::{KEY, SECRET};
use super::support::proto;
use super::support::world::DATA_STREAM;
use super::trial::{Report, Trial};

const STOCKS: [&str; 3] = ["AAPL", "MSFT", "BRK.B"];
const COINS: [&str; 1] = ["BTC/USD"];
/// Longest wait for something that must happen. A fill that failed is tried again after 15 s, a half-open socket found in 25 s.
const PATIENCE: Duration = Duration::from_secs(90);
/// Venue seconds per second.
const TIMES: u32 = 60;
/// Bars that are told before anything breaks, and after.
const BARS: usize = 3;

/// One thing that breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Blow {
    /// The venue's stream has this fault.
    Stream(&'static str),
    /// It dies, and cannot be had for a while.
    Away,
    /// The same while the past cannot be had either.
    AwayAndThePastFails(&'static str),
    /// Another client takes the one place there is.
    Taken,
    /// Bytes from the venue stand still, and nobody says so.
    HalfOpen,
    /// The venue is connected, and says nothing any more.
    Mute,
    NatsKilled,
    NatsStill,
    NatsUnreachable,
    /// Somebody subscribes to everything and reads nothing.
    SlowConsumer,
    Killed,
    Terminated,
}

const SHORT: [Blow; 15] = [
    Blow::Stream("drop"),
    Blow::Stream("end"),
    Blow::Stream("garbage-frame"),
    Blow::Stream("50%: duplicate"),
    Blow::Stream("x3: reorder"),
    Blow::Away,
    Blow::AwayAndThePastFails("x1: status 500"),
    Blow::AwayAndThePastFails("x1: too-many"),
    Blow::Taken,
    Blow::NatsKilled,
    Blow::NatsStill,
    Blow::NatsUnreachable,
    Blow::SlowConsumer,
    Blow::Killed,
    Blow::Terminated,
];
/// These take a minute or more.
const LONG: [Blow; 4] = [
    Blow::HalfOpen,
    Blow::Mute,
    Blow::AwayAndThePastFails("x1: hang"),
    Blow::AwayAndThePastFails("x1: cut-mid-body"),
];
/// Blows of one mix.
const MIXED: usize = 5;

/// One blow, or several one after the other.
#[derive(Clone)]
pub(crate) struct Scenario {
    pub(crate) name: String,
    blows: Vec<Blow>,
}

pub(crate) fn scenarios(short: bool) -> Vec<Scenario> {
    let mut blows = SHORT.to_vec();
    if !short {
        blows.extend(LONG);
    }
    blows
        .into_iter()
        .map(|blow| Scenario {
            name: format!("market: {}", blow.name()),
            blows: vec![blow],
        })
        .collect()
}

/// Trials that must catch a planted bug.
pub(crate) const AWAY: &str = "market: stream away for three minutes";
pub(crate) const KILLED: &str = "market: daemon kill -9";
pub(crate) const DUPLICATE: &str = "market: stream, 50%: duplicate";

/// The scenario called so.
pub(crate) fn named(name: &str) -> Scenario {
    let found = scenarios(true).into_iter().find(|scenario| scenario.name == name);
    found.unwrap_or_else(|| panic!("no scenario is called {name:?}"))
}

pub(crate) async fn mix(seed: u64) -> Report {
    let mut chance = Chance::new(seed);
    let blows: Vec<Blow> = (0..MIXED).map(|_| *chance.among(&SHORT)).collect();
    let names: Vec<String> = blows.iter().map(|blow| blow.name()).collect();
    let scenario = Scenario {
        name: format!("market mix {seed}: {}", names.join("; ")),
        blows,
    };
    let mut report = scenario.run(seed, None).await;
    report.is_mix = true;
    report
}

impl Scenario {
    pub(crate) async fn run(&self, seed: u64, bug: Option<&str>) -> Report {
        let mut trial = Trial::new(self.name.clone(), seed);
        let encoding = if seed.is_multiple_of(2) { "json" } else { "msgpack" };
        let mut setup = Setup::new(seed)
            .set("ENABLE_STOCK_STREAM", "true")
            .set("STOCK_STREAM_SYMBOLS", STOCKS.join(","))
            .set("STOCK_STREAM_CHANNELS", "bars,quotes,trades")
            .set("ENABLE_CRYPTO_STREAM", "true")
            .set("CRYPTO_STREAM_SYMBOLS", COINS.join(","))
            .set("CRYPTO_STREAM_CHANNELS", "bars")
            .set("MARKET_DATA_ENCODING", encoding);
        if let Some(bug) = bug {
            setup = setup.set("NALPACA_TRIAL_BUG", bug);
        }
        let from = Clock::system()
            .now()
            .saturating_sub(SignedDuration::from_hours(10));
        setup.sim.pace = Pace::Replay {
            from: from.expect("a moment"),
            times: TIMES,
        };
        setup.sim.quote_interval = Duration::from_secs(1);
        setup.sim.trade_interval = Duration::from_secs(5);
        let mut arena = setup.start().await;
        if let Err(why) = keep_bars(&arena).await {
            return trial.toothless(arena, &why).await;
        }
        // A planted bug leaves something that never comes.
        let patience = if bug.is_some() { PATIENCE / 6 } else { PATIENCE };
        let mut why = settled(&arena, patience).await.err();
        let mut broke_at = arena.world.sim.now();
        for blow in &self.blows {
            if why.is_some() {
                break;
            }
            broke_at = arena.world.sim.now();
            let began = Instant::now();
            why = match strike(&mut arena, *blow).await {
                Ok(()) => settled(&arena, patience).await.err(),
                Err(why) => Some(why),
            };
            trial.took(BROKEN_TO_WHOLE, began.elapsed());
            *arena.faults.entry(blow.name()).or_default() += 1;
        }
        let verdict = judge(&arena, broke_at).await;
        let mut violations = verdict.violations;
        trial.counted("minute bars due", verdict.due);
        trial.counted("minute bars recovered", verdict.recovered);
        trial.counted("minute bars missing", verdict.missing);
        if let Some(why) = why {
            if violations.is_empty() {
                return trial.toothless(arena, &why).await;
            }
            // What it waited for in vain is said below, too.
            violations.push(wrong(Wrong::Lost, "", why));
        }
        let log = arena.world.daemon.log();
        let mut report = trial.conclude(arena).await;
        if !violations.is_empty() {
            report.violations.extend(violations);
            report.log = log;
        }
        report
    }
}

/// What is measured of each blow.
pub(crate) const BROKEN_TO_WHOLE: &str = "market data broken to every minute there";

impl Blow {
    fn name(self) -> String {
        match self {
            Self::Stream(fault) => format!("stream, {fault}"),
            Self::Away => "stream away for three minutes".to_owned(),
            Self::AwayAndThePastFails(fault) => format!("stream away, and its past, {fault}"),
            Self::Taken => "another client has the place (406)".to_owned(),
            Self::HalfOpen => "stream half-open".to_owned(),
            Self::Mute => "stream mute".to_owned(),
            Self::NatsKilled => "nats kill -9".to_owned(),
            Self::NatsStill => "nats stands still".to_owned(),
            Self::NatsUnreachable => "nats cannot be reached".to_owned(),
            Self::SlowConsumer => "a subscriber that does not read".to_owned(),
            Self::Killed => "daemon kill -9".to_owned(),
            Self::Terminated => "daemon SIGTERM".to_owned(),
        }
    }
}

/// Breaks something. Errs when it could not be broken, so that nothing is shown.
async fn strike(arena: &mut Arena, blow: Blow) -> Result<(), String> {
    let fault = |arena: &Arena, text: &str| {
        let injected = arena.world.sim.fault(text);
        injected.map(|_| ()).map_err(|error| error.to_string())
    };
    let away = |arena: &Arena| {
        for stream in ["stock_stream", "crypto_stream"] {
            fault(arena, &format!("{stream}: refuse 4s"))?;
            fault(arena, &format!("{stream}: drop"))?;
        }
        Ok::<_, String>(())
    };
    match blow {
        Blow::Stream(what) => {
            let text = match what.split_once(": ") {
                Some((often, what)) => format!("stock_stream {often}: {what}"),
                None => format!("stock_stream: {what}"),
            };
            fault(arena, &text)?;
            tokio::time::sleep(Duration::from_secs(3)).await;
        }
        Blow::Away => {
            away(arena)?;
            tokio::time::sleep(Duration::from_secs(4)).await;
        }
        Blow::AwayAndThePastFails(what) => {
            let (often, what) = what.split_once(": ").ok_or("no fault")?;
            fault(arena, &format!("stock_bars {often}: {what}"))?;
            fault(arena, &format!("crypto_bars {often}: {what}"))?;
            away(arena)?;
            tokio::time::sleep(Duration::from_secs(4)).await;
        }
        Blow::Taken => {
            let mut other = take_place(arena).await?;
            tokio::time::sleep(Duration::from_secs(3)).await;
            // Whoever has gone without a word keeps the place for a while.
            other.close(None).await.map_err(|error| error.to_string())?;
            if !arena.world.daemon.log().contains("connection limit exceeded") {
                return Err("the daemon was not told that the place is taken".to_owned());
            }
        }
        Blow::HalfOpen => {
            let frozen = Weather {
                down_frozen: true,
                ..Weather::FAIR
            };
            arena.to_venue.set(frozen);
            tokio::time::sleep(Duration::from_secs(40)).await;
            arena.to_venue.set(Weather::FAIR);
        }
        Blow::Mute => {
            fault(arena, "stock_stream: mute 150s")?;
            tokio::time::sleep(Duration::from_secs(100)).await;
            fault(arena, "stock_stream: unmute")?;
        }
        Blow::NatsKilled => {
            arena.world.nats.kill9();
            tokio::time::sleep(Duration::from_secs(2)).await;
            arena.world.nats.run().await;
        }
        Blow::NatsStill => {
            arena.world.nats.pause();
            tokio::time::sleep(Duration::from_secs(3)).await;
            arena.world.nats.resume();
        }
        Blow::NatsUnreachable => unreachable(&arena.to_nats).await,
        Blow::SlowConsumer => {
            let deaf = deaf(arena).await.map_err(|error| error.to_string())?;
            tokio::time::sleep(Duration::from_secs(4)).await;
            drop(deaf);
        }
        Blow::Killed => {
            arena.world.daemon.kill9();
            tokio::time::sleep(Duration::from_secs(3)).await;
            arena.world.daemon.run();
            arena.world.daemon.ready().await;
        }
        Blow::Terminated => {
            let code = arena.world.daemon.terminate().await;
            if code != 0 {
                return Err(format!("it ended with {code}"));
            }
            tokio::time::sleep(Duration::from_secs(2)).await;
            arena.world.daemon.run();
            arena.world.daemon.ready().await;
        }
    }
    Ok(())
}

async fn unreachable(to_nats: &Proxy) {
    let refusing = Weather {
        refusing: true,
        ..Weather::FAIR
    };
    to_nats.set(refusing);
    to_nats.cut();
    tokio::time::sleep(Duration::from_secs(3)).await;
    to_nats.set(Weather::FAIR);
}

type Socket = tokio_tungstenite::WebSocketStream<tokio_tungstenite::MaybeTlsStream<TcpStream>>;

/// Takes the place of the stream of shares, between two connections of the daemon's.
async fn take_place(arena: &Arena) -> Result<Socket, String> {
    let fail = |error: &dyn std::fmt::Display| error.to_string();
    let fault = arena.world.sim.fault("stock_stream: drop");
    fault.map_err(|error| fail(&error))?;
    let give_up = Instant::now() + Duration::from_secs(20);
    while Instant::now() < give_up {
        let url = format!("ws://{}/v2/iex", arena.world.sim.address());
        let mut request = url.into_client_request().map_err(|error| fail(&error))?;
        for (name, value) in [("APCA-API-KEY-ID", KEY), ("APCA-API-SECRET-KEY", SECRET)] {
            let value = value.parse().map_err(|error| fail(&error))?;
            request.headers_mut().insert(name, value);
        }
        let (mut socket, _) = connect_async(request).await.map_err(|error| fail(&error))?;
        let heard = async {
            while let Some(Ok(message)) = socket.next().await {
                let text = String::from_utf8_lossy(&message.into_data()).into_owned();
                if text.contains("authenticated") || text.contains("error") {
                    return text.contains("authenticated");
                }
            }
            false
        };
        if tokio::time::timeout(Duration::from_secs(2), heard).await == Ok(true) {
            return Ok(socket);
        }
    }
    Err("the place could not be taken".to_owned())
}

/// A client of NATS that subscribes to everything and does not read.
async fn deaf(arena: &Arena) -> std::io::Result<TcpStream> {
    let url = arena.world.nats.url();
    let address = url.rsplit("//").next().unwrap_or_default().to_owned();
    let mut client = TcpStream::connect(address).await?;
    client
        .write_all(b"CONNECT {\"verbose\":false}\r\nSUB nalpaca.data.> 1\r\nPING\r\n")
        .await?;
    Ok(client)
}

/// Interest keeps what nobody reads from being stored, so somebody has to.
async fn keep_bars(arena: &Arena) -> Result<(), String> {
    let consumer = pull::Config {
        durable_name: Some("bars".to_owned()),
        filter_subjects: vec![
            "nalpaca.data.v0.stocks.*".to_owned(),
            "nalpaca.data.v0.crypto.bars.>".to_owned(),
        ],
        ..pull::Config::default()
    };
    let jetstream = &arena.world.jetstream;
    let made = jetstream.create_consumer_on_stream(consumer, DATA_STREAM).await;
    made.map(|_| ()).map_err(|error| error.to_string())
}

/// Bars by symbol and minute; each as often as it is stored.
type Stored = BTreeMap<String, BTreeMap<i64, Vec<Value>>>;

async fn stored(arena: &Arena) -> Stored {
    let mut bars = Stored::new();
    for message in arena.world.stored(DATA_STREAM, "nalpaca.data.v0.>").await {
        if message.header("Nalpaca-Schema") != "stream.v0.Bar" {
            continue;
        }
        let bar = proto::decode("stream.v0.Bar", &message.payload);
        let at = bar["timestamp"]
            .as_str()
            .and_then(|at| at.parse::<Timestamp>().ok());
        let (Some(at), Some(symbol)) = (at, bar["symbol"].as_str()) else {
            continue;
        };
        let of_symbol = bars.entry(symbol.to_owned()).or_default();
        of_symbol.entry(at.as_second() / 60).or_default().push(bar);
    }
    bars
}

fn missing(minutes: &BTreeMap<i64, Vec<Value>>) -> Vec<i64> {
    let (Some(first), Some(last)) = (minutes.keys().min(), minutes.keys().max()) else {
        return Vec::new();
    };
    (*first..=*last)
        .filter(|minute| !minutes.contains_key(minute))
        .collect()
}

/// Waits until every symbol has some bars of after now, and none is missing before them.
async fn settled(arena: &Arena, patience: Duration) -> Result<(), String> {
    let begin = arena.world.sim.now().as_second() / 60;
    let give_up = Instant::now() + patience;
    loop {
        let bars = tokio::time::timeout(Duration::from_secs(5), stored(arena))
            .await
            .unwrap_or_default();
        let is_whole = |symbol: &str| {
            bars.get(symbol).is_some_and(|minutes| {
                let new = minutes.keys().filter(|minute| **minute >= begin).count();
                new >= BARS && missing(minutes).is_empty()
            })
        };
        if STOCKS.iter().chain(&COINS).all(|symbol| is_whole(symbol)) {
            return Ok(());
        }
        if Instant::now() > give_up {
            return Err(format!("bars did not flow again within {} s", patience.as_secs()));
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
}

fn wrong(wrong: Wrong, id: &str, text: impl Into<String>) -> Violation {
    Violation {
        wrong,
        id: id.to_owned(),
        text: text.into(),
    }
}

#[derive(Default)]
struct Verdict {
    violations: Vec<Violation>,
    due: usize,
    recovered: usize,
    missing: usize,
}

/// Holds what is stored against the venue's past.
async fn judge(arena: &Arena, broke_at: Timestamp) -> Verdict {
    let mut verdict = Verdict::default();
    let bars = stored(arena).await;
    for symbol in STOCKS.iter().chain(&COINS) {
        let Some(minutes) = bars.get(*symbol) else {
            verdict
                .violations
                .push(wrong(Wrong::Lost, symbol, "has no bars at all"));
            continue;
        };
        let truth = truth(arena, symbol, minutes).await;
        let told: BTreeSet<i64> = minutes.keys().copied().collect();
        // What the venue has between the first bar and the last: a minute without a trade has none.
        for minute in truth.keys().filter(|minute| !told.contains(minute)) {
            verdict.missing += 1;
            let text = format!(
                "the bar of minute {minute} is missing; it broke in {}",
                broke_at.as_second() / 60
            );
            verdict.violations.push(wrong(Wrong::Lost, symbol, text));
        }
        verdict.due += truth.len();
        for (minute, told) in minutes {
            if told.len() > 1 {
                let text = format!("the bar of minute {minute} is there {} times", told.len());
                verdict.violations.push(wrong(Wrong::Duplicated, symbol, text));
            }
            for bar in told {
                verdict.recovered += usize::from(bar["recovered"] == true);
                let venue = truth.get(minute);
                let same = venue.is_some_and(|venue| {
                    // A trade that came late is in the past, and was not in what was told; an updated bar has it.
                    let late = bar["recovered"] == false
                        && bar["trade_count"].as_u64().map(|count| count + 1) == venue["n"].as_u64();
                    let pairs = [("open", "o"), ("high", "h"), ("low", "l"), ("close", "c")];
                    let pairs = if late { &pairs[..1] } else { &pairs[..] };
                    pairs
                        .iter()
                        .all(|(ours, theirs)| bar[*ours].as_f64() == venue[*theirs].as_f64())
                });
                if !same {
                    let text = format!("minute {minute}: {bar}, the venue has {venue:?}");
                    verdict.violations.push(wrong(Wrong::Contradicted, symbol, text));
                }
            }
        }
    }
    verdict
}

/// What the venue's past says of these minutes, first to last.
async fn truth(arena: &Arena, symbol: &str, minutes: &BTreeMap<i64, Vec<Value>>) -> BTreeMap<i64, Value> {
    let at = |minute: i64| Timestamp::from_second(minute * 60).expect("a minute");
    let (Some(first), Some(last)) = (minutes.keys().min(), minutes.keys().max()) else {
        return BTreeMap::new();
    };
    let path = if COINS.contains(&symbol) {
        "/v1beta3/crypto/us/bars"
    } else {
        "/v2/stocks/bars"
    };
    let query = format!(
        "symbols={}&timeframe=1Min&start={}&end={}&limit=10000",
        symbol.replace('/', "%2F"),
        at(*first),
        at(*last)
    );
    let url = format!("{}{path}?{query}", arena.world.sim.base_url());
    let client = reqwest::Client::builder().no_proxy().build().expect("a client");
    let request = client
        .get(url)
        .header("APCA-API-KEY-ID", KEY)
        .header("APCA-API-SECRET-KEY", SECRET);
    let answer = request.send().await.expect("the venue answers");
    let answer: Value =
        serde_json::from_slice(&answer.bytes().await.expect("an answer")).expect("it is JSON");
    let rows = answer["bars"][symbol].as_array().cloned().unwrap_or_default();
    let minute_of = |row: &Value| {
        let at: Timestamp = row["t"].as_str()?.parse().ok()?;
        Some(at.as_second() / 60)
    };
    rows.into_iter()
        .filter_map(|row| Some((minute_of(&row)?, row)))
        .collect()
}
