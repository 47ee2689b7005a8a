//! What a simulator is started with.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use rust_decimal::Decimal;

use super::clock::Pace;
use super::core::Market;
use super::core::tape::Split;
use super::fault::{Fault, FaultError};
use super::market::feed::DataPlan;
use super::replay::Replay;

/// Settings of one simulator.
#[derive(Clone)]
pub struct SimConfig {
    /// Where to listen; port 0 picks a free one.
    pub listen: SocketAddr,
    /// Where to listen for TLS, with a certificate made at the start; none does not listen.
    pub tls_listen: Option<SocketAddr>,
    /// A new file for the truth log; one that exists is replaced. None keeps it in memory only.
    pub truth_log: Option<PathBuf>,
    /// Faults to begin with.
    pub faults: Vec<Fault>,
    /// The key id a client must send.
    pub key: String,
    /// The secret a client must send.
    pub secret: String,
    /// Where prices and ids come from: the same seed and the same requests give the same run.
    pub seed: u64,
    /// Trading hours.
    pub market: Market,
    /// How the venue's time passes.
    pub pace: Pace,
    /// Requests per minute; the next one is answered 429.
    pub rate_limit_per_minute: u32,
    /// Dollars at the start.
    pub cash: Decimal,
    /// How often prices move and resting orders are matched.
    pub tick: Duration,
    /// A past to replay instead of what the seed invents; what it does not hold is invented still.
    pub replay: Option<Replay>,
    /// Share splits, instead of those that really happened (or none, when a past is replayed).
    pub splits: Option<Vec<Split>>,
    /// From one trade of a symbol to its next.
    pub trade_interval: Duration,
    /// From one quote of a symbol to its next.
    pub quote_interval: Duration,
    /// What the account has paid for in market data.
    pub data_plan: DataPlan,
    /// Stream frames are binary, as on the paper venue; text when false.
    pub binary_frames: bool,
    /// From one report about an order to the next.
    pub event_delay: Duration,
    /// How often, in percent, a match fills only a part.
    pub partial_fill_percent: u8,
    /// How long a stream connection that was lost, not closed, keeps its slot: until then a new one is refused with 429.
    pub stream_slot_release: Duration,
}

impl Default for SimConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            tls_listen: None,
            truth_log: None,
            faults: Vec::new(),
            key: "sim-key".to_owned(),
            secret: "sim-secret".to_owned(),
            seed: 1,
            market: Market::Open,
            pace: Pace::Wall,
            rate_limit_per_minute: 200,
            cash: Decimal::from(100_000),
            tick: Duration::from_millis(100),
            replay: None,
            splits: None,
            trade_interval: Duration::from_secs(1),
            quote_interval: Duration::from_millis(250),
            data_plan: DataPlan::Basic,
            binary_frames: true,
            event_delay: Duration::from_millis(10),
            partial_fill_percent: 0,
            stream_slot_release: Duration::ZERO,
        }
    }
}

impl fmt::Debug for SimConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimConfig")
            .field("listen", &self.listen)
            .field("tls_listen", &self.tls_listen)
            .field("truth_log", &self.truth_log)
            .field("faults", &self.faults)
            .field("seed", &self.seed)
            .field("market", &self.market)
            .field("pace", &self.pace)
            .field("rate_limit_per_minute", &self.rate_limit_per_minute)
            .field("cash", &self.cash)
            .field("tick", &self.tick)
            .field("replay", &self.replay.as_ref().map(|replay| &replay.rows))
            .field("splits", &self.splits)
            .field("trade_interval", &self.trade_interval)
            .field("quote_interval", &self.quote_interval)
            .field("data_plan", &self.data_plan)
            .field("binary_frames", &self.binary_frames)
            .field("event_delay", &self.event_delay)
            .field("partial_fill_percent", &self.partial_fill_percent)
            .field("stream_slot_release", &self.stream_slot_release)
            .finish_non_exhaustive()
    }
}

/// Why a simulator did not start.
#[derive(Debug, thiserror::Error)]
pub enum SimError {
    /// The address could not be bound.
    #[error("could not listen on {address}")]
    Bind {
        /// The address asked for.
        address: SocketAddr,
        /// The system's reason.
        source: std::io::Error,
    },
    /// The truth log's file could not be made.
    #[error("could not create the truth log {}", path.display())]
    TruthLog {
        /// The file asked for.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// There are more faults than a script holds.
    #[error("could not write the faults down")]
    Faults(#[from] FaultError),
    /// There is no certificate for the TLS listener.
    #[error("could not make the TLS listener's certificate")]
    Tls(#[source] Box<dyn std::error::Error + Send + Sync>),
}
