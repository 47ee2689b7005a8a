//! `nalpaca sim`: an Alpaca of one's own.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use rust_decimal::Decimal;

use super::{Exit, block_on, output};
use crate::sim::{Fault, Market, Sim, SimConfig, vocabulary};

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
    /// Where prices, ids and the chance of faults come from; the same seed and requests give the same run.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Trading hours.
    #[arg(long, value_enum, default_value_t = Hours::Open)]
    market: Hours,
    /// Dollars at the start.
    #[arg(long, default_value = "100000")]
    cash: Decimal,
    /// Requests per minute the account may make.
    #[arg(long, default_value_t = 200)]
    rate_limit: u32,
    /// Milliseconds between price moves.
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

    fn config(&self) -> SimConfig {
        SimConfig {
            listen: self.listen,
            tls_listen: self.tls_listen,
            truth_log: self.truth_log.clone(),
            faults: self.faults.clone(),
            key: self.key.clone(),
            secret: self.secret.clone(),
            seed: self.seed,
            market: match self.market {
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
        }
    }
}

pub(super) fn run(arguments: Arguments) -> Exit {
    if let Some(address) = arguments.exposed() {
        output::complain(format_args!(
            "nalpaca sim: {address} is not on loopback, and whoever reaches it can trade; \
             say --listen-anywhere if that is meant"
        ));
        return Exit::Usage;
    }
    block_on(async {
        let sim = match Sim::start(arguments.config()).await {
            Ok(sim) => sim,
            Err(error) => {
                output::complain(format_args!(
                    "nalpaca sim: {error}: {}",
                    crate::telemetry::Chain(&error)
                ));
                return Exit::Unavailable;
            }
        };
        let certificate = match publish_certificate(&sim, &arguments) {
            Ok(certificate) => certificate,
            Err(exit) => return exit,
        };
        let written = output::answer(hello(&sim, &arguments) + &certificate);
        if written != Exit::Ok {
            return written;
        }
        crate::app::told_to_stop().await;
        sim.stop().await;
        Exit::Ok
    })
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
fn hello(sim: &Sim, arguments: &Arguments) -> String {
    let (url, at) = (sim.base_url(), sim.address());
    let (key, seed) = (&arguments.key, arguments.seed);
    let faults: String = arguments
        .faults
        .iter()
        .map(|fault| format!("  fault: {fault}\n"))
        .collect();
    format!(
        "\
Simulated Alpaca on {url} (seed {seed}, key {key:?})
{faults}
  nalpaca         ALPACA_URL={url} ALPACA_API_KEY={key} ALPACA_API_SECRET=... nalpaca
  alpaca-py       TradingClient(key, secret, url_override=\"{url}\")
                  TradingStream(key, secret, url_override=\"ws://{at}/stream\")
  Go v3           APCA_API_BASE_URL={url} APCA_API_KEY_ID={key} APCA_API_SECRET_KEY=...
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
        let sim = Sim::start(arguments.config()).await.unwrap();
        let hello = hello(&sim, &arguments);
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
