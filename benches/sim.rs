//! How fast the simulator is: one order over loopback, orders per second of one core, market data to one subscriber.
//!
//! The simulator runs on one thread of its own; clients are threads with blocking sockets and no library between them and
//! the bytes. Figures are of this machine and this moment; what holds elsewhere is the ratio in the last column: the same
//! figure with a long history and a full book beside an empty venue, measured in the same run.

#![expect(
    clippy::float_arithmetic,
    clippy::print_stdout,
    reason = "it measures time and prints a table"
)]

use std::error::Error;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use nalpaca::sim::{DataPlan, Sim, SimConfig};
use tokio_tungstenite::tungstenite::{self, Message};

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

const OPEN_ORDERS: usize = 10_000;
const CLOSED_ORDERS: usize = 100_000;
/// Orders of one measurement in one round.
const SAMPLES: usize = 2_000;
const ROUNDS: usize = 5;
const CONNECTIONS: usize = 4;
const MARKET_DATA: Duration = Duration::from_secs(5);
/// A run that is slower than this is broken.
const PATIENCE: Duration = Duration::from_secs(300);

/// A simulator on a thread of its own.
struct Venue {
    address: SocketAddr,
    /// Where the system tells what the thread has used.
    usage: String,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Venue {
    fn start(config: SimConfig) -> Result<Self> {
        let (told, tell) = mpsc::channel();
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let thread = std::thread::Builder::new()
            .name("venue".to_owned())
            .spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
                let runtime = runtime.expect("a runtime");
                runtime.block_on(async {
                    let sim = Sim::start(config).await.expect("a free port");
                    let place = std::fs::read_link("/proc/thread-self").unwrap_or_default();
                    let usage = format!("/proc/{}/schedstat", place.display());
                    told.send((sim.address(), usage)).expect("somebody waits");
                    let _ = stopped.await;
                    sim.stop().await;
                });
            })?;
        let (address, usage) = tell.recv_timeout(PATIENCE)?;
        Ok(Self {
            address,
            usage,
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    /// Time its thread has been running on a core; none where the system does not tell.
    fn cpu(&self) -> Option<Duration> {
        let text = std::fs::read_to_string(&self.usage).ok()?;
        text.split_whitespace()
            .next()?
            .parse()
            .ok()
            .map(Duration::from_nanos)
    }
}

impl Drop for Venue {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// One keep-alive connection.
struct Client {
    socket: BufReader<TcpStream>,
    request: String,
    answer: Vec<u8>,
}

impl Client {
    fn connect(address: SocketAddr) -> Result<Self> {
        let socket = TcpStream::connect(address)?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        Ok(Self {
            socket: BufReader::new(socket),
            request: String::new(),
            answer: Vec::new(),
        })
    }

    /// Posts an order and waits for the whole answer, which must be a 200.
    fn post(&mut self, body: &str) -> Result<()> {
        self.request.clear();
        write!(
            self.request,
            "POST /v2/orders HTTP/1.1\r\nhost: venue\r\napca-api-key-id: sim-key\r\napca-api-secret-key: sim-secret\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        )?;
        self.socket.get_mut().write_all(self.request.as_bytes())?;
        let mut line = String::new();
        self.socket.read_line(&mut line)?;
        let ok = line.starts_with("HTTP/1.1 200");
        let mut length = 0;
        loop {
            let mut header = String::new();
            self.socket.read_line(&mut header)?;
            if header.trim().is_empty() {
                break;
            }
            if let Some(value) = header.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse()?;
            }
        }
        self.answer.resize(length, 0);
        self.socket.read_exact(&mut self.answer)?;
        if ok {
            Ok(())
        } else {
            Err(format!("{}: {}", line.trim(), String::from_utf8_lossy(&self.answer)).into())
        }
    }
}

const SYMBOLS: [&str; 8] = ["AAPL", "AMZN", "F", "GOOG", "META", "MSFT", "NVDA", "SPY"];

/// Rests: a share of F costs some eleven dollars.
fn resting(number: usize, run: &str) -> String {
    let symbol = SYMBOLS[number % SYMBOLS.len()];
    format!(
        r#"{{"symbol":"{symbol}","qty":"1","side":"buy","type":"limit","limit_price":"{}.{:02}","time_in_force":"gtc","client_order_id":"{run}-{number}"}}"#,
        5 + number % 5,
        number % 100
    )
}

/// Fills at once.
fn filling(number: usize, run: &str) -> String {
    format!(
        r#"{{"symbol":"F","qty":"1","side":"buy","type":"limit","limit_price":"20","time_in_force":"ioc","client_order_id":"{run}-{number}"}}"#
    )
}

/// Posts `count` orders over several connections; orders per second, and core time per order.
fn flood(
    venue: &Venue,
    count: usize,
    order: impl Fn(usize) -> String + Sync,
) -> Result<(f64, Option<Duration>)> {
    let begun = (Instant::now(), venue.cpu());
    std::thread::scope(|scope| -> Result<()> {
        let clients: Vec<_> = (0..CONNECTIONS)
            .map(|lane| {
                let order = &order;
                scope.spawn(move || -> Result<()> {
                    let mut client = Client::connect(venue.address)?;
                    for number in (lane..count).step_by(CONNECTIONS) {
                        client.post(&order(number))?;
                    }
                    Ok(())
                })
            })
            .collect();
        for client in clients {
            client.join().map_err(|_| "a client panicked")??;
        }
        Ok(())
    })?;
    let rate = count as f64 / begun.0.elapsed().as_secs_f64();
    let cpu = begun
        .1
        .zip(venue.cpu())
        .map(|(before, after)| (after - before) / count as u32);
    Ok((rate, cpu))
}

/// Posts one order after the other, and notes how long each took.
fn one_by_one(venue: &Venue, times: &mut Vec<Duration>, order: impl Fn(usize) -> String) -> Result<()> {
    let mut client = Client::connect(venue.address)?;
    for number in 0..SAMPLES {
        let body = order(number);
        let begun = Instant::now();
        client.post(&body)?;
        times.push(begun.elapsed());
    }
    Ok(())
}

/// What was measured of one venue, over all rounds.
#[derive(Default)]
struct Orders {
    times: Vec<Duration>,
    rates: Vec<f64>,
    cpu: Vec<Duration>,
}

impl Orders {
    /// One round of both measurements.
    fn measure(&mut self, venue: &Venue, run: &str) -> Result<()> {
        one_by_one(venue, &mut self.times, |number| {
            filling(number, &format!("{run}-one"))
        })?;
        let (rate, cpu) = flood(venue, SAMPLES, |number| filling(number, &format!("{run}-many")))?;
        self.rates.push(rate);
        self.cpu.extend(cpu);
        Ok(())
    }

    fn percentile(&mut self, percent: usize) -> Duration {
        self.times.sort_unstable();
        self.times[(self.times.len() - 1) * percent / 100]
    }

    fn rate(&mut self) -> f64 {
        self.rates.sort_by(f64::total_cmp);
        self.rates[self.rates.len() / 2]
    }

    fn cpu(&mut self) -> Option<Duration> {
        self.cpu.sort_unstable();
        self.cpu.get(self.cpu.len() / 2).copied()
    }
}

/// Messages per second that one subscriber reads, and core time per message.
fn market_data(packed: bool) -> Result<(f64, Option<Duration>)> {
    let config = SimConfig {
        data_plan: DataPlan::Plus,
        tick: Duration::from_millis(10),
        quote_interval: Duration::from_micros(25),
        trade_interval: Duration::from_millis(1),
        ..SimConfig::default()
    };
    let venue = Venue::start(config)?;
    let socket = TcpStream::connect(venue.address)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    let mut request = tungstenite::client::IntoClientRequest::into_client_request(format!(
        "ws://{}/v2/iex",
        venue.address
    ))?;
    let headers = request.headers_mut();
    headers.insert("apca-api-key-id", "sim-key".parse()?);
    headers.insert("apca-api-secret-key", "sim-secret".parse()?);
    if packed {
        headers.insert("content-type", "application/msgpack".parse()?);
    }
    let (mut socket, _) = tungstenite::client::client(request, socket)?;
    let message = r#"{"action":"subscribe","quotes":["*"],"trades":["*"]}"#;
    socket.send(Message::text(message))?;
    let piece: &[u8] = if packed { b"\xA1T\xA1" } else { b"{\"T\":\"" };
    let mut count = 0_usize;
    let mut begun = None;
    loop {
        let frame = socket.read()?.into_data();
        let messages = frame
            .windows(piece.len())
            .filter(|window| *window == piece)
            .count();
        let (since, before) = *begun.get_or_insert_with(|| (Instant::now(), venue.cpu()));
        count += messages;
        if since.elapsed() >= MARKET_DATA {
            let cpu = before
                .zip(venue.cpu())
                .map(|(before, after)| (after - before) / count.max(1) as u32);
            return Ok((count as f64 / since.elapsed().as_secs_f64(), cpu));
        }
    }
}

fn shown(duration: Option<Duration>) -> String {
    duration.map_or_else(
        || "?".to_owned(),
        |duration| format!("{:.1} us", duration.as_secs_f64() * 1e6),
    )
}

fn ratio(full: Option<Duration>, empty: Option<Duration>) -> String {
    let both = full.zip(empty).filter(|(_, empty)| !empty.is_zero());
    both.map_or_else(
        || "?".to_owned(),
        |(full, empty)| format!("{:.2}", full.as_secs_f64() / empty.as_secs_f64()),
    )
}

fn main() -> Result<()> {
    // `cargo test` runs benches too, to see whether they build and start.
    if !std::env::args().any(|argument| argument == "--bench") {
        println!("run it with: make bench-sim");
        return Ok(());
    }
    let config = || SimConfig {
        rate_limit_per_minute: u32::MAX,
        cash: 100_000_000.into(),
        ..SimConfig::default()
    };
    let (bare, venue) = (Venue::start(config())?, Venue::start(config())?);
    println!("filling the venue: {CLOSED_ORDERS} orders that fill, {OPEN_ORDERS} that rest ...");
    flood(&venue, CLOSED_ORDERS, |number| filling(number, "closed"))?;
    flood(&venue, OPEN_ORDERS, |number| resting(number, "open"))?;
    let (mut empty, mut full) = (Orders::default(), Orders::default());
    // In turns, so that what else the machine does meets both.
    for round in 0..ROUNDS {
        empty.measure(&bare, &format!("empty-{round}"))?;
        full.measure(&venue, &format!("full-{round}"))?;
    }
    drop((bare, venue));

    println!();
    println!(
        "order POST to response            empty venue    {OPEN_ORDERS} open, {CLOSED_ORDERS} closed    ratio"
    );
    let row = |name: &str, empty: Duration, full: Duration| {
        println!(
            "  {name:<30}{:>13}{:>33}{:>9}",
            shown(Some(empty)),
            shown(Some(full)),
            ratio(Some(full), Some(empty))
        );
    };
    row(
        "p50, one after the other",
        empty.percentile(50),
        full.percentile(50),
    );
    row("p99", empty.percentile(99), full.percentile(99));
    let (empty_rate, full_rate) = (empty.rate(), full.rate());
    println!(
        "  {:<30}{empty_rate:>13.0}{full_rate:>33.0}{:>9.2}",
        "orders/s, four connections",
        full_rate / empty_rate
    );
    let (empty_cpu, full_cpu) = (empty.cpu(), full.cpu());
    println!(
        "  {:<30}{:>13}{:>33}{:>9}",
        "core time per order",
        shown(empty_cpu),
        shown(full_cpu),
        ratio(full_cpu, empty_cpu)
    );
    let per_core = |cpu: Option<Duration>| cpu.map_or(0.0, |cpu| 1.0 / cpu.as_secs_f64());
    println!(
        "  {:<30}{:>13.0}{:>33.0}",
        "orders/s of one whole core",
        per_core(empty_cpu),
        per_core(full_cpu)
    );
    println!();
    println!("market data to one subscriber");
    for (name, packed) in [("JSON", false), ("MessagePack", true)] {
        let (rate, cpu) = market_data(packed)?;
        println!(
            "  {name:<12}{rate:>10.0} messages/s{:>12} of core time each",
            shown(cpu)
        );
    }
    Ok(())
}
