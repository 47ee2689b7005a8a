//! The figures, measured in turns: who is measured and who it is measured beside follow each other within seconds.

use std::ffi::OsStr;
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::children::{Process, Usage};
use super::floor::orders::Kind;
use super::place::{DAEMON_FEED, Daemon, IN_FLIGHT, Place, program};
use super::report::{Figure, HEAD, Run, Wanted};
use super::{Result, Spread, now};

/// Orders and trade updates a second where latency is measured: far from any bound.
const RATE: u64 = 200;
/// Symbols where it does not matter how many.
const SYMBOLS: usize = 500;
/// Trades of one burst; the daemon keeps as many as a whole.
const BURST: usize = 90_000;
/// How long the venue thinks about an order where the wire is kept full.
const THINKS: u64 = 50;
/// Market data beside the orders.
const BESIDE: u64 = 2_000;
/// Longest wait for orders to arrive at the venue.
const PATIENCE: Duration = Duration::from_secs(300);

/// How much is measured.
pub(super) enum Length {
    /// Ten minutes.
    Full,
    /// One minute: enough to see that nothing is far off.
    Quick,
    /// These figures, as in a full run.
    Only(Vec<u32>),
}

struct Bench {
    place: Place,
    length: Length,
    figures: Vec<Figure>,
}

pub(super) async fn run(length: Length) -> Result<()> {
    let began = Instant::now();
    println!("{HEAD}");
    let mut bench = Bench {
        place: Place::prepare().await?,
        length,
        figures: Vec::new(),
    };
    let daemon = bench.place.daemon(&[], false).await?;
    bench.place.floor_streams().await?;
    bench.orders_and_updates(&daemon).await?;
    daemon.end().await?;
    if bench.wants(&[8, 9]) {
        let daemon = bench.place.daemon(&[], true).await?;
        bench.with_market_data(&daemon).await?;
        daemon.end().await?;
    }
    if bench.wants(&[11, 12]) {
        bench.starts().await?;
    }
    if bench.wants(&[10, 13]) {
        bench.backlog().await?;
    }
    if bench.wants(&[7, 14]) {
        bench.stored_market_data().await?;
    }
    let Bench {
        mut figures, length, ..
    } = bench;
    figures.sort_by_key(|figure| {
        let number: String = figure.number.chars().take_while(char::is_ascii_digit).collect();
        number.parse::<u32>().unwrap_or_default()
    });
    match length {
        Length::Full => Run::new(figures, began.elapsed().as_secs())?.keep(),
        Length::Quick | Length::Only(_) => Ok(()),
    }
}

/// Two builds of the daemon in turns: what a change gave, on a machine that is never quite the same.
pub(super) async fn compare(other: &str, rounds: usize) -> Result<()> {
    println!("{HEAD}");
    let mut bench = Bench {
        place: Place::prepare().await?,
        length: Length::Full,
        figures: Vec::new(),
    };
    let daemon = bench.place.daemon(&[], false).await?;
    let (second, them) = bench.second("other", other.as_ref()).await?;
    let us = Who::daemon(&daemon);
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for round in 0..=rounds {
        let count = if round == 0 { 10 } else { 400 };
        ours.push(bench.turn(us, count, SYMBOLS).await?);
        theirs.push(bench.turn(them, count, SYMBOLS).await?);
    }
    let (ours, theirs) = (&ours[1..], &theirs[1..]);
    bench.put(
        "",
        "CPU an order",
        "×",
        None,
        beside(ours, theirs, |turn| turn.cpu),
    );
    for (name, of) in [
        (
            "publish → body, p50",
            (|turn| micros(turn.body.p50)) as fn(&Turn) -> f64,
        ),
        ("publish → body, p99", |turn| micros(turn.body.p99)),
        ("publish → outcome, p50", |turn| micros(turn.outcome.p50)),
        ("publish → outcome, p99", |turn| micros(turn.outcome.p99)),
    ] {
        bench.put("", name, "×", None, beside(ours, theirs, of));
    }
    daemon.end().await?;
    second.end().await
}

/// What the venue says of the orders that came.
#[derive(Debug, Deserialize)]
struct Taken {
    count: usize,
    first: i64,
    last: i64,
    /// The longest time between two of them, and before which one it was.
    gap: i64,
    before: usize,
    kept: i64,
    spread: Spread,
}

/// What whoever hears outcomes or updates says.
#[derive(Debug, Deserialize)]
struct Heard {
    count: usize,
    #[serde(default)]
    first: i64,
    #[serde(default)]
    last: i64,
    spread: Spread,
}

impl Heard {
    /// Messages a second, from the first one's departure to the last one's arrival.
    fn rate(&self) -> f64 {
        self.count as f64 / ((self.last - self.first).max(1) as f64 / 1e9)
    }
}

/// Orders through one of those that take turns.
#[derive(Clone, Copy, Debug)]
struct Turn {
    body: Spread,
    outcome: Spread,
    /// Microseconds of processor an order.
    cpu: f64,
}

/// Whose turn it is.
#[derive(Clone, Copy)]
struct Who {
    pid: u32,
    prefix: &'static str,
    /// It says what became of an order.
    has_outcomes: bool,
}

impl Who {
    fn daemon(daemon: &Daemon) -> Self {
        Self {
            pid: daemon.pid(),
            prefix: "nalpaca",
            has_outcomes: true,
        }
    }

    fn floor(kind: Kind, floor: &Process) -> Self {
        Self {
            pid: floor.pid(),
            prefix: kind.prefix(),
            has_outcomes: kind == Kind::Full,
        }
    }
}

fn parse<T: DeserializeOwned>(text: &str) -> Result<T> {
    serde_json::from_str(text).map_err(|error| format!("{text:?}: {error}").into())
}

fn micros(nanos: i64) -> f64 {
    nanos as f64 / 1e3
}

fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// What is divided, round by round, and what that was at the median.
fn beside(ours: &[Turn], theirs: &[Turn], of: impl Fn(&Turn) -> f64) -> (Vec<f64>, String) {
    let ratios = ours.iter().zip(theirs).map(|(one, other)| of(one) / of(other));
    let detail = format!(
        "{:.0} µs beside {:.0}",
        median(ours.iter().map(&of)),
        median(theirs.iter().map(&of))
    );
    (ratios.collect(), detail)
}

impl Bench {
    fn wants(&self, numbers: &[u32]) -> bool {
        match &self.length {
            Length::Full | Length::Quick => true,
            Length::Only(wanted) => wanted.iter().any(|number| numbers.contains(number)),
        }
    }

    fn scaled(&self, full: usize, quick: usize) -> usize {
        match self.length {
            Length::Full | Length::Only(_) => full,
            Length::Quick => quick,
        }
    }

    fn put(
        &mut self,
        number: &str,
        name: &str,
        unit: &str,
        wanted: Option<Wanted>,
        rounds: (Vec<f64>, String),
    ) {
        let (rounds, detail) = rounds;
        self.figures
            .push(Figure::of(number, name, unit, wanted, rounds, detail));
    }

    /// Has orders published evenly, and waits until all of them are at the venue.
    async fn turn(&mut self, who: Who, count: usize, symbols: usize) -> Result<Turn> {
        let place = &mut self.place;
        place.venue.ask("take").await?;
        let before = Usage::of(who.pid);
        let kind = if who.has_outcomes { "orders" } else { "blind" };
        let order = format!("{kind} {} {RATE} {count} {symbols}", who.prefix);
        let heard: Heard = parse(&place.publisher.ask(&order).await?)?;
        let taken = self.taken(count).await?;
        let cpu = Usage::of(who.pid).cpu.saturating_sub(before.cpu);
        if who.has_outcomes && heard.count != count {
            return Err(format!("{} of {count} outcomes of {} were heard", heard.count, who.prefix).into());
        }
        Ok(Turn {
            body: taken.spread,
            outcome: heard.spread,
            cpu: cpu.as_secs_f64() * 1e6 / count as f64,
        })
    }

    /// Waits until so many orders are at the venue.
    async fn taken(&mut self, count: usize) -> Result<Taken> {
        let give_up = Instant::now() + PATIENCE;
        loop {
            let arrived: usize = self.place.venue.ask("count").await?.parse()?;
            if arrived >= count || Instant::now() > give_up {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let taken: Taken = parse(&self.place.venue.ask("take").await?)?;
        if taken.count == count {
            Ok(taken)
        } else {
            Err(format!("{} orders of {count} came to the venue", taken.count).into())
        }
    }

    /// A daemon beside the first one, with objects of its own.
    async fn second(&self, prefix: &'static str, program: &OsStr) -> Result<(Daemon, Who)> {
        let named = |what: &str| format!("{prefix}-{what}");
        let settings = [
            ("PREFIX", prefix.to_owned()),
            ("INSTANCE", prefix.to_owned()),
            ("ACTION_STREAM", named("action")),
            ("DATA_STREAM", named("data")),
            ("TRADE_UPDATE_CONSUMER", named("updates")),
            ("JOURNAL_STREAM", named("journal")),
            ("NATS_KV_BUCKET", prefix.to_owned()),
            ("ORDERS_BUCKET", named("orders")),
        ];
        let settings: Vec<_> = settings
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        let daemon = self.place.start_program(program, &settings)?;
        let who = Who {
            pid: daemon.pid(),
            prefix,
            has_outcomes: true,
        };
        self.place.stream_is_there(&named("action")).await?;
        Ok((daemon, who))
    }

    async fn orders_and_updates(&mut self, daemon: &Daemon) -> Result<()> {
        let mut full = self.place.orders_floor(Kind::Full)?;
        let mut bare = self.place.orders_floor(Kind::Bare)?;
        full.answer().await?;
        bare.answer().await?;
        let us = Who::daemon(daemon);
        let (full_floor, bare_floor) = (Who::floor(Kind::Full, &full), Who::floor(Kind::Bare, &bare));
        // What is made once is made before.
        for who in [us, full_floor, bare_floor] {
            self.turn(who, 10, 10).await?;
        }
        if self.wants(&[13]) {
            self.costs(us).await?;
        }
        if self.wants(&[1, 2, 3, 4]) {
            self.latencies(us, full_floor, bare_floor).await?;
        }
        if self.wants(&[5]) {
            self.saturated().await?;
        }
        if self.wants(&[6]) {
            self.updates().await?;
        }
        Ok(())
    }

    async fn with_market_data(&mut self, daemon: &Daemon) -> Result<()> {
        let us = Who::daemon(daemon);
        self.turn(us, 10, 10).await?;
        if self.wants(&[9]) {
            self.beside_market_data(us).await?;
        }
        if self.wants(&[8]) {
            self.told_market_data(daemon).await?;
        }
        Ok(())
    }

    async fn latencies(&mut self, us: Who, full: Who, bare: Who) -> Result<()> {
        let (rounds, count) = (self.scaled(7, 2), self.scaled(600, 200));
        let (mut ours, mut theirs, mut barest) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..rounds {
            ours.push(self.turn(us, count, SYMBOLS).await?);
            theirs.push(self.turn(full, count, SYMBOLS).await?);
            barest.push(self.turn(bare, count, SYMBOLS).await?);
        }
        let body50 = |turn: &Turn| micros(turn.body.p50);
        let body99 = |turn: &Turn| micros(turn.body.p99);
        let outcome50 = |turn: &Turn| micros(turn.outcome.p50);
        let outcome99 = |turn: &Turn| micros(turn.outcome.p99);
        let cpu = |turn: &Turn| turn.cpu;
        for (number, name, wanted, rounds) in [
            (
                "1",
                "publish → venue has the body, p50, beside the floor with an intent",
                Some(Wanted::AtMost(1.15, 1.35)),
                beside(&ours, &theirs, body50),
            ),
            (
                "1",
                "the same, p99",
                Some(Wanted::AtMost(1.25, 1.5)),
                beside(&ours, &theirs, body99),
            ),
            (
                "2",
                "publish → venue has the body, p50, beside the bare floor",
                None,
                beside(&ours, &barest, body50),
            ),
            ("2", "the same, p99", None, beside(&ours, &barest, body99)),
            (
                "3",
                "publish → outcome in the journal, p50",
                Some(Wanted::AtMost(1.2, 1.4)),
                beside(&ours, &theirs, outcome50),
            ),
            (
                "3",
                "the same, p99",
                Some(Wanted::AtMost(1.2, 1.4)),
                beside(&ours, &theirs, outcome99),
            ),
            (
                "4",
                "CPU an order, beside the floor with intent and outcome",
                Some(Wanted::AtMost(1.5, 2.0)),
                beside(&ours, &theirs, cpu),
            ),
            (
                "4b",
                "CPU an order, beside the bare floor",
                None,
                beside(&ours, &barest, cpu),
            ),
        ] {
            self.put(number, name, "×", wanted, rounds);
        }
        Ok(())
    }

    /// Orders while market data comes by, beside orders alone.
    async fn beside_market_data(&mut self, us: Who) -> Result<()> {
        let (rounds, count) = (self.scaled(7, 2), self.scaled(600, 200));
        let millis = count as u64 * 1000 / RATE + 300;
        let (mut without, mut with) = (Vec::new(), Vec::new());
        for _ in 0..rounds {
            without.push(self.turn(us, count, SYMBOLS).await?);
            let order = format!("run {DAEMON_FEED} {BESIDE} 100 {millis}");
            self.place.feed.tell(&order).await?;
            with.push(self.turn(us, count, SYMBOLS).await?);
            self.place.feed.answer().await?;
        }
        let figure = beside(&with, &without, |turn| micros(turn.body.p99));
        let name = "order p99 (publish → body) with 2,000 trades a second beside it, and without";
        self.put("9", name, "×", Some(Wanted::AtMost(1.2, 1.4)), figure);
        Ok(())
    }

    /// What an order costs with a few and with more orders in the ledger, and with one and with many symbols.
    async fn costs(&mut self, us: Who) -> Result<()> {
        let (second, experienced) = self.second("experienced", &program()).await?;
        self.turn(experienced, 10, SYMBOLS).await?;
        self.place
            .publisher
            .ask(&format!("backlog {} 990 {SYMBOLS}", experienced.prefix))
            .await?;
        self.taken(990).await?;
        let name = "CPU an order with 1,000 to 2,000 orders in the ledger, and with 10 to 1,000";
        self.flat(name, (experienced, SYMBOLS), (us, SYMBOLS)).await?;
        let name = "CPU an order with 10,000 symbols, and with one";
        self.flat(name, (us, 10_000), (us, 1)).await?;
        second.end().await
    }

    /// What an order costs one of two who take turns, beside what it costs the other; each with so many symbols.
    async fn flat(&mut self, name: &str, after: (Who, usize), before: (Who, usize)) -> Result<()> {
        let (rounds, count) = (self.scaled(9, 2), self.scaled(110, 50));
        let (mut more, mut less) = (Vec::new(), Vec::new());
        for _ in 0..rounds {
            less.push(self.turn(before.0, count, before.1).await?);
            more.push(self.turn(after.0, count, after.1).await?);
        }
        let figure = beside(&more, &less, |turn| turn.cpu);
        self.put("13", name, "×", Some(Wanted::AtMost(1.1, 1.2)), figure);
        Ok(())
    }

    async fn updates(&mut self) -> Result<()> {
        let _floor = self.place.updates_floor().await?;
        let (rounds, count) = (self.scaled(7, 2), self.scaled(600, 201));
        for who in [("nalpaca", "/stream"), ("floor", "/floor")] {
            self.told(who, 30).await?;
        }
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for _ in 0..rounds {
            ours.push(self.told(("nalpaca", "/stream"), count).await?);
            theirs.push(self.told(("floor", "/floor"), count).await?);
        }
        let name = "trade update: frame sent → subscriber has it, p50";
        let wanted = Some(Wanted::AtMost(1.25, 1.5));
        self.put(
            "6",
            name,
            "×",
            wanted,
            beside(&ours, &theirs, |turn| micros(turn.body.p50)),
        );
        let figure = beside(&ours, &theirs, |turn| micros(turn.body.p99));
        self.put("6", "the same, p99", "×", wanted, figure);
        Ok(())
    }

    /// Has the venue tell events through one of the two.
    async fn told(&mut self, (prefix, path): (&str, &str), count: usize) -> Result<Turn> {
        let place = &mut self.place;
        let listen = format!("expect {prefix}.data.v0.tradeupdates.> {count}");
        place.subscriber.ask(&listen).await?;
        place.venue.ask(&format!("updates {path} {RATE} {count}")).await?;
        let heard: Heard = parse(&place.subscriber.answer().await?)?;
        if heard.count != count {
            return Err(format!("{} of {count} events were heard of {prefix}", heard.count).into());
        }
        Ok(Turn {
            body: heard.spread,
            outcome: heard.spread,
            cpu: 0.0,
        })
    }

    /// The wire kept full at a venue that takes its time.
    async fn saturated(&mut self) -> Result<()> {
        let (rounds, count) = (self.scaled(5, 2), self.scaled(2_000, 600));
        self.place.venue.ask(&format!("delay {THINKS}")).await?;
        let (mut shares, mut rates, mut kept) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..rounds {
            self.place.venue.ask("take").await?;
            self.place
                .publisher
                .ask(&format!("backlog nalpaca {count} {SYMBOLS}"))
                .await?;
            let taken = self.taken(count).await?;
            // The first so many are sent at once.
            let rate = (taken.count - IN_FLIGHT) as f64 / ((taken.last - taken.first) as f64 / 1e9);
            let most = IN_FLIGHT as f64 / (taken.kept as f64 / 1e9);
            shares.push(rate / most);
            rates.push(rate);
            kept.push(micros(taken.kept));
        }
        self.place.venue.ask("delay 0").await?;
        // The last ones are answered still.
        tokio::time::sleep(Duration::from_millis(THINKS * 4)).await;
        self.place.venue.ask("take").await?;
        let detail = format!(
            "{:.0} orders/s; the venue took {:.1} ms",
            median(rates),
            median(kept) / 1e3
        );
        let name = "saturated, 32 in flight, a venue of 50 ms: share of in flight / delay";
        self.put(
            "5",
            name,
            "×",
            Some(Wanted::AtLeast(0.95, 0.90)),
            (shares, detail),
        );
        Ok(())
    }

    /// Bursts of trades to whoever listens.
    async fn told_market_data(&mut self, daemon: &Daemon) -> Result<()> {
        let _floor = self.place.market_floor().await?;
        for target in [DAEMON_FEED, "/floor"] {
            self.place
                .feed
                .ask(&format!("run {target} 10000 10000 1000"))
                .await?;
        }
        let (mut ratios, mut ours, mut floors, mut bare) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let before = daemon.usage();
        for _ in 0..self.scaled(9, 3) {
            let us = self.burst("nalpaca", DAEMON_FEED).await?;
            let floor = self.burst("floor", "/floor").await?;
            let raw = self.bare_burst("core").await?;
            ratios.push(us / raw);
            ours.push(us);
            floors.push(floor);
            bare.push(raw);
        }
        let cpu =
            daemon.usage().cpu.saturating_sub(before.cpu).as_secs_f64() * 1e6 / (ours.len() * BURST) as f64;
        let detail = format!(
            "{:.0} messages/s beside {:.0}; a minimal gateway {:.0}; {cpu:.2} µs CPU a message",
            median(ours),
            median(bare),
            median(floors)
        );
        let name = "market data to core NATS, beside a raw core publisher";
        self.put(
            "8",
            name,
            "×",
            Some(Wanted::AtLeast(0.45, 0.35)),
            (ratios, detail),
        );
        Ok(())
    }

    /// Trades as fast as they are taken. Messages a second; all of them must be heard.
    async fn burst(&mut self, prefix: &str, target: &str) -> Result<f64> {
        let listen = format!("expect {prefix}.data.v0.stocks.trades.> {BURST}");
        self.place.subscriber.ask(&listen).await?;
        self.place
            .feed
            .ask(&format!("burst {target} {BURST} {SYMBOLS}"))
            .await?;
        self.all_heard(prefix).await
    }

    async fn bare_burst(&mut self, kind: &str) -> Result<f64> {
        let listen = format!("expect raw.data.v0.stocks.trades.> {BURST}");
        self.place.subscriber.ask(&listen).await?;
        self.place.raw.ask(&format!("{kind} {BURST} {SYMBOLS}")).await?;
        self.all_heard("raw").await
    }

    async fn all_heard(&mut self, prefix: &str) -> Result<f64> {
        let heard: Heard = parse(&self.place.subscriber.answer().await?)?;
        if heard.count == BURST {
            Ok(heard.rate())
        } else {
            Err(format!("{} of {BURST} messages of {prefix} were heard", heard.count).into())
        }
    }

    /// Bursts of trades into a stream, by a daemon with metrics and logs and by one without.
    async fn stored_market_data(&mut self) -> Result<()> {
        let stored = [("DATA_STREAM_TICKS", "trades"), ("PROVISION", "adopt")];
        let silent = [("DISABLE_METRICS", "true"), ("RUST_LOG", "off")];
        let (mut ratios, mut lost) = (Vec::new(), Vec::new());
        let (mut ours, mut bare, mut quiet) = (Vec::new(), Vec::new(), Vec::new());
        let bursts = self.scaled(3, 1);
        for round in 0..self.scaled(3, 1) {
            let daemon = self.place.daemon(&stored, true).await?;
            if round == 0 {
                self.place.raw_stream().await?;
            }
            self.place
                .feed
                .ask(&format!("run {DAEMON_FEED} 10000 500 500"))
                .await?;
            let mut on = Vec::new();
            for _ in 0..bursts {
                self.place.empty_market_data().await?;
                let us = self.burst("nalpaca", DAEMON_FEED).await?;
                let raw = self.bare_burst("stored").await?;
                ratios.push(us / raw);
                on.push(us);
                bare.push(raw);
            }
            daemon.end().await?;
            let settings: Vec<_> = stored.into_iter().chain(silent).collect();
            let daemon = self.place.daemon(&settings, true).await?;
            self.place
                .feed
                .ask(&format!("run {DAEMON_FEED} 10000 500 500"))
                .await?;
            let mut off = Vec::new();
            for _ in 0..bursts {
                self.place.empty_market_data().await?;
                off.push(self.burst("nalpaca", DAEMON_FEED).await?);
            }
            daemon.end().await?;
            lost.push(median(on.iter().copied()) / median(off.iter().copied()));
            ours.extend(on);
            quiet.extend(off);
        }
        let (us, without) = (median(ours.iter().copied()), median(quiet));
        let detail = format!("{us:.0} messages/s beside {:.0}", median(bare));
        let name = "market data to JetStream, beside the raw windowed publisher";
        self.put(
            "7",
            name,
            "×",
            Some(Wanted::AtLeast(0.85, 0.75)),
            (ratios, detail),
        );
        let detail = format!("{us:.0} messages/s beside {without:.0}");
        let name = "the same with metrics and logs, and without";
        self.put("14", name, "×", Some(Wanted::AtLeast(0.95, 0.9)), (lost, detail));
        Ok(())
    }

    /// From the start of a process to its first order at the venue; and what an idle one takes of memory.
    async fn starts(&mut self) -> Result<()> {
        let (mut ratios, mut ours, mut theirs, mut idle) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for _ in 0..self.scaled(9, 3) {
            self.waiting_order("nalpaca").await?;
            let began = now();
            let daemon = self.place.start_daemon(&[])?;
            let us = self.taken(1).await?.first - began;
            // Its first reads and writes are done, and what they took is given back or not.
            tokio::time::sleep(Duration::from_secs(1)).await;
            idle.push(daemon.usage().rss as f64 / 1024.0);
            daemon.end().await?;
            self.waiting_order("floor").await?;
            let began = now();
            let mut floor = self.place.orders_floor(Kind::Full)?;
            floor.answer().await?;
            let floor_took = self.taken(1).await?.first - began;
            tokio::time::sleep(Duration::from_millis(100)).await;
            ratios.push(us as f64 / floor_took as f64);
            ours.push(micros(us) / 1e3);
            theirs.push(micros(floor_took) / 1e3);
        }
        let detail = format!("{:.1} ms beside {:.1}", median(ours), median(theirs));
        let name = "start of the process → first order at the venue, beside a minimal program";
        self.put("11", name, "×", Some(Wanted::AtMost(1.5, 3.0)), (ratios, detail));
        let detail = "a second after a start, with one order done".to_owned();
        self.put(
            "12",
            "resident memory, idle",
            "MiB",
            Some(Wanted::AtMost(20.0, 40.0)),
            (idle, detail),
        );
        Ok(())
    }

    async fn waiting_order(&mut self, prefix: &str) -> Result<()> {
        self.place.venue.ask("take").await?;
        self.place.publisher.ask(&format!("backlog {prefix} 1 1")).await?;
        Ok(())
    }

    /// Backlogs that wait for the daemon; and what an order costs once all of them are in the ledger.
    async fn backlog(&mut self) -> Result<()> {
        let (rounds, count) = (self.scaled(3, 1), self.scaled(100_000, 5_000));
        let (mut gaps, mut rates, mut worst, mut daemon) = (Vec::new(), Vec::new(), (0, 0), None);
        for _ in 0..rounds {
            if let Some(daemon) = daemon.take() {
                Daemon::end(daemon).await?;
            }
            self.place
                .publisher
                .ask(&format!("backlog nalpaca {count} {SYMBOLS}"))
                .await?;
            self.place.venue.ask("take").await?;
            daemon = Some(self.place.daemon(&[], false).await?);
            let taken = self.taken(count).await?;
            gaps.push(taken.gap as f64 / 1e6);
            worst = worst.max((taken.gap, taken.before));
            rates.push(count as f64 / ((taken.last - taken.first) as f64 / 1e9));
        }
        let detail = format!(
            "{count} orders at {:.0} a second; the worst before order {}",
            median(rates),
            worst.1
        );
        let name = "worst gap between orders at the venue with a backlog and no delay";
        self.put(
            "10",
            name,
            "ms",
            Some(Wanted::AtMost(50.0, 1000.0)),
            (gaps, detail),
        );
        let daemon = daemon.ok_or("no daemon has worked on a backlog")?;
        let (fresh, newcomer) = self.second("newcomer", &program()).await?;
        self.turn(newcomer, 10, SYMBOLS).await?;
        let name = format!(
            "CPU an order with {} more orders in the ledger, and with few",
            rounds * count
        );
        self.flat(&name, (Who::daemon(&daemon), SYMBOLS), (newcomer, SYMBOLS))
            .await?;
        fresh.end().await?;
        daemon.end().await
    }
}
