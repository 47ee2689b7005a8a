//! `nalpaca sim`: an Alpaca of one's own.

use std::net::SocketAddr;
use std::time::Duration;

use clap::{Args, ValueEnum};
use rust_decimal::Decimal;

use super::{Exit, block_on, output};
use crate::sim::{Market, Sim, SimConfig};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Address to listen on. Stay on loopback unless you mean it: whoever reaches it can trade.
    #[arg(long, default_value = "127.0.0.1:8090", env = "SIM_LISTEN")]
    listen: SocketAddr,
    /// API key a client must send.
    #[arg(long, default_value = "sim", env = "SIM_API_KEY")]
    key: String,
    /// API secret a client must send.
    #[arg(long, default_value = "sim", env = "SIM_API_SECRET", hide_env_values = true)]
    secret: String,
    /// Where prices and ids come from; the same seed and requests give the same run.
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

pub(super) fn run(arguments: Arguments) -> Exit {
    block_on(async {
        let (key, listen) = (arguments.key.clone(), arguments.listen);
        let config = SimConfig {
            listen,
            key: arguments.key,
            secret: arguments.secret,
            seed: arguments.seed,
            market: match arguments.market {
                Hours::Open => Market::Open,
                Hours::Closed => Market::Closed,
                Hours::Calendar => Market::Calendar,
            },
            rate_limit_per_minute: arguments.rate_limit,
            cash: arguments.cash,
            tick: Duration::from_millis(arguments.tick_ms.max(1)),
            binary_frames: !arguments.text_frames,
            partial_fill_percent: arguments.partial_fills,
            ..SimConfig::default()
        };
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
        let url = sim.base_url();
        let hello = format!(
            "Simulated Alpaca on {url} (seed {}, key {key:?})\n\n\
             Run the daemon against it:\n  \
             ALPACA_URL={url} ALPACA_API_KEY={key} ALPACA_API_SECRET=... nalpaca\n\n\
             Stop it with Ctrl-C.\n",
            arguments.seed
        );
        let written = output::answer(hello);
        if written != Exit::Ok {
            return written;
        }
        crate::app::told_to_stop().await;
        sim.stop().await;
        Exit::Ok
    })
}
