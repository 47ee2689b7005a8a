//! `nalpaca sim`: an Alpaca of one's own.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use jiff::Timestamp;
use rust_decimal::Decimal;

use super::{Exit, block_on, output};
use crate::sim::replay::{self, Replay, ReplayFile};
use crate::sim::{DataPlan, Fault, Market, Pace, Sim, SimConfig, Split, vocabulary};

#[derive(Debug, Args)]
#[command(after_long_help = after_help())]
pub(super) struct Arguments {
    /// Address to listen on.
    #[arg(long, default_value = "127.0.0.1:8090", env = "SIM_LISTEN")]
    listen: SocketAddr,
    /// Listen beyond loopback: whoever reaches the address can trade.
    #[arg(long)]
    listen_anywhere: bool,
    /// Address to listen on for TLS, with a certificate made at the start.
    #[arg(long, value_name = "ADDRESS")]
    tls_listen: Option<SocketAddr>,
    /// File to write the TLS certificate to, as PEM; it is printed otherwise.
    #[arg(long, value_name = "FILE", requires = "tls_listen")]
    tls_cert_out: Option<PathBuf>,
    /// API key a client must send.
    #[arg(long, default_value = "sim", env = "SIM_API_KEY")]
    key: String,
    /// API secret a client must send.
    #[arg(long, default_value = "sim", env = "SIM_API_SECRET", hide_env_values = true)]
    secret: String,
    /// Where prices, ids and the chance of faults come from; the same seed and requests give the same run. Drawn anew
    /// unless given, and printed: two runs that share ids would confuse whoever remembers the first.
    #[arg(long)]
    seed: Option<u64>,
    /// Trading hours: open unless a past is replayed, which keeps the calendar's.
    #[arg(long, value_enum)]
    market: Option<Hours>,
    /// Replay this file: bars as .csv or .parquet, or a recorded market-data stream as .jsonl. SYMBOL=FILE names the symbol of a
    /// file that does not. May be given many times.
    #[arg(long, value_name = "[SYMBOL=]FILE")]
    replay: Vec<ReplayFile>,
    /// Begin at this moment instead of now, or of the beginning of what is replayed.
    #[arg(long, value_name = "MOMENT", value_parser = moment)]
    start: Option<Timestamp>,
    /// How fast the past passes: `real`, so many times as fast, or `max`, which begins when somebody subscribes to market
    /// data and goes as fast as they read.
    #[arg(long, value_name = "real|N|max", default_value = "real")]
    speed: Speed,
    /// A share split, such as AAPL=4:1@2020-08-31, for prices adjusted on request. May be given many times.
    #[arg(long = "split", value_name = "SYMBOL=NEW:OLD@DATE")]
    splits: Vec<Split>,
    /// What the account has paid for in market data.
    #[arg(long, value_enum, default_value_t = Plan::Basic)]
    data_plan: Plan,
    /// Milliseconds from one trade of a symbol to its next.
    #[arg(long, value_name = "MS", default_value_t = 1_000, value_parser = clap::value_parser!(u64).range(1..))]
    trade_ms: u64,
    /// Milliseconds from one quote of a symbol to its next.
    #[arg(long, value_name = "MS", default_value_t = 250, value_parser = clap::value_parser!(u64).range(1..))]
    quote_ms: u64,
    /// Dollars at the start.
    #[arg(long, default_value = "100000", value_parser = cash)]
    cash: Decimal,
    /// Requests per minute the account may make.
    #[arg(long, default_value_t = 200)]
    rate_limit: u32,
    /// Milliseconds from one look of resting orders at the market to the next.
    #[arg(long, default_value_t = 100)]
    tick_ms: u64,
    /// Share of fills, in percent, that fill only a part.
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u8).range(0..=100))]
    partial_fills: u8,
    /// Send stream frames as text, not binary.
    #[arg(long)]
    text_frames: bool,
    /// Seconds for which a stream connection that is lost, not closed, keeps the account's only slot.
    #[arg(long, value_name = "SECONDS", default_value_t = 0)]
    slot_release: u64,
    /// Something that goes wrong, such as "submit_order x3: status 503". May be given many times; `--help` has the words.
    #[arg(long = "fault", value_name = "FAULT")]
    faults: Vec<Fault>,
    /// Write every request, commit, fill and frame to this new file, a line of JSON each.
    #[arg(long, value_name = "FILE")]
    truth_log: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Hours {
    /// Always open.
    Open,
    /// Always closed.
    Closed,
    /// The New York Stock Exchange's.
    Calendar,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Plan {
    /// One exchange's shares, thirty symbols at once.
    Basic,
    /// Everything.
    Plus,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Speed {
    Times(u32),
    Max,
}

impl std::str::FromStr for Speed {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "real" => Ok(Self::Times(1)),
            "max" => Ok(Self::Max),
            _ => text
                .parse()
                .ok()
                .filter(|times| *times > 0)
                .map(Self::Times)
                .ok_or_else(|| "real, max or a whole number from 1 up is expected".to_owned()),
        }
    }
}

fn after_help() -> String {
    format!(
        "\
Faults:
  TARGET [~TEXT] [xN | N% | always]: WHAT

  TARGET is an endpoint, or `any`: {targets}.
  ~TEXT narrows to requests that contain it. Without xN, N% or always a fault strikes once.

{words}
  nalpaca sim --fault 'submit_order: cut-after-commit' \\
      --fault 'get_order_by_client_order_id 10%: hang' --fault 'stream: refuse 90s'

While it runs, from this machine:
  curl localhost:8090/_sim/state
  curl localhost:8090/_sim/faults -d 'submit_order x3: status 503'
  curl localhost:8090/_sim/faults -d 'stream: half-open'
  curl localhost:8090/_sim/faults -X DELETE
  curl localhost:8090/_sim/price -d '{{\"symbol\": \"SPY\", \"price\": \"512.34\"}}'
  curl localhost:8090/_sim/market -d '{{\"market\": \"closed\"}}'
  curl localhost:8090/_sim/fill -d '{{\"order\": \"my-client-id\", \"qty\": \"1\", \"price\": \"10\"}}'
  curl localhost:8090/_sim/reject -d '{{\"count\": 1}}'
  curl 'localhost:8090/_sim/truth?since=1'",
        targets = Fault::targets().join(", "),
        words = vocabulary(),
    )
}

impl Arguments {
    /// The first address that is not on loopback, unless that was asked for.
    fn exposed(&self) -> Option<SocketAddr> {
        let addresses = std::iter::once(self.listen).chain(self.tls_listen);
        addresses
            .filter(|_| !self.listen_anywhere)
            .find(|address| !address.ip().to_canonical().is_loopback())
    }

    /// How time passes: in the past when one is replayed or a beginning is given.
    fn pace(&self, replay: Option<&Replay>) -> Result<Pace, String> {
        let Some(from) = self.start.or(replay.map(|replay| replay.from)) else {
            return match self.speed {
                Speed::Times(1) => Ok(Pace::Wall),
                Speed::Times(_) | Speed::Max => {
                    Err("--speed needs --replay or --start: the present cannot be hurried".to_owned())
                }
            };
        };
        match self.speed {
            Speed::Times(times) => Ok(Pace::Replay { from, times }),
            Speed::Max if replay.is_some() => Ok(Pace::AsFastAsPossible { from }),
            Speed::Max => Err("--speed max needs --replay: invented prices have no end".to_owned()),
        }
    }

    fn config(&self, replay: Option<Replay>) -> Result<SimConfig, String> {
        let market = self.market.unwrap_or(if replay.is_some() {
            Hours::Calendar
        } else {
            Hours::Open
        });
        Ok(SimConfig {
            listen: self.listen,
            tls_listen: self.tls_listen,
            truth_log: self.truth_log.clone(),
            faults: self.faults.clone(),
            key: self.key.clone(),
            secret: self.secret.clone(),
            seed: self.seed.unwrap_or_else(drawn_seed),
            pace: self.pace(replay.as_ref())?,
            replay,
            splits: (!self.splits.is_empty()).then(|| self.splits.clone()),
            data_plan: match self.data_plan {
                Plan::Basic => DataPlan::Basic,
                Plan::Plus => DataPlan::Plus,
            },
            trade_interval: Duration::from_millis(self.trade_ms),
            quote_interval: Duration::from_millis(self.quote_ms),
            market: match market {
                Hours::Open => Market::Open,
                Hours::Closed => Market::Closed,
                Hours::Calendar => Market::Calendar,
            },
            rate_limit_per_minute: self.rate_limit,
            cash: self.cash,
            tick: Duration::from_millis(self.tick_ms.max(1)),
            binary_frames: !self.text_frames,
            partial_fill_percent: self.partial_fills,
            stream_slot_release: Duration::from_secs(self.slot_release),
            ..SimConfig::default()
        })
    }
}

pub(super) fn run(arguments: &Arguments) -> Exit {
    if let Some(address) = arguments.exposed() {
        output::complain(format_args!(
            "nalpaca sim: {address} is not on loopback, and whoever reaches it can trade; \
             say --listen-anywhere if that is meant"
        ));
        return Exit::Usage;
    }
    let (config, past) = match prepare(arguments) {
        Ok(prepared) => prepared,
        Err((exit, text)) => {
            output::complain(format_args!("nalpaca sim: {text}"));
            return exit;
        }
    };
    let seed = config.seed;
    block_on(async {
        let sim = match Sim::start(config).await {
            Ok(sim) => sim,
            Err(error) => {
                output::complain(format_args!(
                    "nalpaca sim: {error}: {}",
                    crate::telemetry::Chain(&error)
                ));
                return Exit::Unavailable;
            }
        };
        let certificate = match publish_certificate(&sim, arguments) {
            Ok(certificate) => certificate,
            Err(exit) => return exit,
        };
        let written = output::answer(hello(&sim, arguments, seed, &past) + &certificate);
        if written != Exit::Ok {
            return written;
        }
        let exit = tokio::select! {
            () = crate::app::told_to_stop() => Exit::Ok,
            () = sim.failed() => Exit::Internal,
        };
        sim.stop().await;
        exit
    })
}

/// Dollars that sums of money can hold.
fn cash(text: &str) -> Result<Decimal, String> {
    let range = Decimal::ZERO..=Decimal::from(1_000_000_000_000_u64);
    let cash = text.parse().ok().filter(|cash| range.contains(cash));
    cash.ok_or_else(|| "0 to 1000000000000 dollars are expected".to_owned())
}

/// A moment when there was, or will be, an exchange.
fn moment(text: &str) -> Result<Timestamp, String> {
    let at: Option<Timestamp> = text.parse().ok();
    let is_near = |at: &Timestamp| (1900..2200).contains(&at.to_zoned(jiff::tz::TimeZone::UTC).year());
    at.filter(is_near).ok_or_else(|| {
        "a moment of the years 1900 to 2199 is expected, such as 2025-03-04T14:30:00Z".to_owned()
    })
}

/// Short enough to be typed again.
fn drawn_seed() -> u64 {
    uuid::Uuid::new_v4().as_u64_pair().0 >> 32
}

/// Reads what is to be replayed, and says what it found.
fn prepare(arguments: &Arguments) -> Result<(SimConfig, String), (Exit, String)> {
    let mut past = String::new();
    let replay = if arguments.replay.is_empty() {
        None
    } else {
        let replay =
            replay::read(&arguments.replay).map_err(|error| (Exit::Unavailable, error.to_string()))?;
        let rows: Vec<_> = replay
            .rows
            .iter()
            .map(|(symbol, rows)| format!("{symbol} ({rows})"))
            .collect();
        past = format!(
            "  replays: {}, from {} to {}\n",
            rows.join(", "),
            replay.from,
            replay.to
        );
        if replay.skipped > 0 {
            past += &format!(
                "  skipped: {} messages that are no trade, quote or minute bar\n",
                replay.skipped
            );
        }
        Some(replay)
    };
    let config = arguments.config(replay).map_err(|text| (Exit::Usage, text))?;
    Ok((config, past))
}

/// Puts the certificate where it was asked for; what is left to say about it comes back.
fn publish_certificate(sim: &Sim, arguments: &Arguments) -> Result<String, Exit> {
    let Some((address, pem)) = sim.tls_address().zip(sim.tls_certificate()) else {
        return Ok(String::new());
    };
    let Some(path) = &arguments.tls_cert_out else {
        return Ok(format!(
            "\nTLS on https://{address}, for clients that trust\n{pem}"
        ));
    };
    match std::fs::write(path, pem) {
        Ok(()) => Ok(format!(
            "\nTLS on https://{address}, for clients that trust {file} (Node: NODE_EXTRA_CA_CERTS={file}).\n",
            file = path.display()
        )),
        Err(error) => {
            let path = path.display();
            output::complain(format_args!(
                "nalpaca sim: cannot write the certificate to {path}: {error}"
            ));
            Err(Exit::Unavailable)
        }
    }
}

/// Where it is, and how to point each client at it.
fn hello(sim: &Sim, arguments: &Arguments, seed: u64, past: &str) -> String {
    let (url, at) = (sim.base_url(), sim.address());
    let key = &arguments.key;
    let faults: String = arguments
        .faults
        .iter()
        .map(|fault| format!("  fault: {fault}\n"))
        .collect();
    format!(
        "\
Simulated Alpaca on {url} (seed {seed}, key {key:?})
{past}{faults}
  nalpaca         ALPACA_URL={url} ALPACA_API_KEY={key} ALPACA_API_SECRET=... nalpaca
  alpaca-py       TradingClient(key, secret, url_override=\"{url}\")
                  TradingStream(key, secret, url_override=\"ws://{at}/stream\")
                  StockHistoricalDataClient(key, secret, url_override=\"{url}\")
                  StockDataStream(key, secret, url_override=\"ws://{at}/v2/iex\")
  Go v3           APCA_API_BASE_URL={url} APCA_API_DATA_URL={url} APCA_API_KEY_ID={key} APCA_API_SECRET_KEY=...
                  DATA_PROXY_WS={url}/v2 DATA_CRYPTO_PROXY_WS={url}/v1beta3/crypto
  JavaScript 4+   new trading.Configuration({{ basePath: \"{url}\" }}); streams: url: \"ws://{at}/stream\"
  JavaScript 3    APCA_API_BASE_URL={url} APCA_API_KEY_ID={key} APCA_API_SECRET_KEY=...
  by hand         curl {url}/_sim/state, more in `nalpaca sim --help`

Stop it with Ctrl-C.
"
    )
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory as _, Parser};

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        arguments: Arguments,
    }

    #[test]
    fn it_stays_on_loopback_unless_told_otherwise() {
        let check = |line: &[&str], exposed: bool| {
            let line = Line::parse_from([&["sim"], line].concat());
            assert_eq!(line.arguments.exposed().is_some(), exposed, "{line:?}");
        };
        check(&[], false);
        check(&["--listen", "127.1.2.3:0"], false);
        check(&["--listen", "[::1]:0"], false);
        check(&["--listen", "[::ffff:127.0.0.1]:0"], false);
        check(&["--listen", "0.0.0.0:0"], true);
        check(&["--listen", "[::]:0"], true);
        check(&["--tls-listen", "10.0.0.1:0"], true);
        check(&["--listen", "0.0.0.0:0", "--listen-anywhere"], false);
    }

    #[test]
    fn time_is_hurried_only_in_the_past() {
        let pace = |line: &[&str]| {
            let line = Line::parse_from([&["sim"], line].concat());
            line.arguments.config(None).map(|config| config.pace)
        };
        let from = "2025-03-04T14:30:00Z";
        let replay = |times| Pace::Replay {
            from: from.parse().unwrap(),
            times,
        };
        assert_eq!(pace(&[]), Ok(Pace::Wall));
        assert_eq!(pace(&["--start", from]), Ok(replay(1)));
        assert_eq!(pace(&["--start", from, "--speed", "60"]), Ok(replay(60)));
        assert!(pace(&["--speed", "60"]).unwrap_err().contains("--start"));
        assert!(
            pace(&["--start", from, "--speed", "max"])
                .unwrap_err()
                .contains("--replay")
        );
        let error = Line::try_parse_from(["sim", "--speed", "fast"])
            .unwrap_err()
            .to_string();
        assert!(error.contains("real, max or a whole number"), "{error}");
    }

    #[test]
    fn a_bad_fault_is_refused_with_the_words_that_are_valid() {
        let error = Line::try_parse_from(["sim", "--fault", "submit_order: explode"]).unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains("explode") && text.contains("cut-after-commit"),
            "{text}"
        );
    }

    #[tokio::test]
    async fn the_hello_names_the_seed_the_faults_and_every_sdk() {
        let line = [
            "sim",
            "--listen",
            "127.0.0.1:0",
            "--seed",
            "77",
            "--fault",
            "get_clock 5%: hang",
        ];
        let arguments = Line::parse_from(line).arguments;
        let sim = Sim::start(arguments.config(None).unwrap()).await.unwrap();
        let hello = hello(&sim, &arguments, 77, "");
        let parts = [
            "seed 77",
            "get_clock 5%: hang",
            "nalpaca",
            "alpaca-py",
            "Go v3",
            "JavaScript 4+",
        ];
        for part in parts.into_iter().chain([sim.base_url().as_str()]) {
            assert!(hello.contains(part), "{part:?} is not in\n{hello}");
        }
        sim.stop().await;
    }

    #[test]
    fn help_has_every_word_and_the_levers() {
        let help = Line::command().render_long_help().to_string();
        for part in [
            "cut-after-commit",
            "half-open",
            "submit_order",
            "_sim/faults",
            "~TEXT",
        ] {
            assert!(help.contains(part), "{part:?} is not in\n{help}");
        }
    }
}
