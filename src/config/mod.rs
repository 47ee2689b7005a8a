//! Raw settings in, one checked [`Config`] out.
//!
//! A money daemon that starts with half its settings misread is worse than one that does not start. So every
//! variable is parsed here, once, into a type that cannot be wrong afterwards; everything that is wrong is reported
//! together, with the variable's name and what would be right; and what is accepted but has no effect is said.
//!
//! Only this room reads the environment, and only through [`Source`], so that tests pass a map. The variables
//! stand in one table, [`settings`]. Secrets are types: no `Debug`, error or listing shows one.

mod check;
mod context;
pub mod limits;
mod market_data;
mod nats;
mod parse;
mod problem;
pub mod settings;
mod source;
mod venue;

use std::collections::BTreeSet;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use secrecy::SecretString;

use crate::domain::Environment;
use crate::domain::market::{Channel, MarketClass, Subscriptions};

pub use check::{Effective, Inspection, inspect, load, load_for_nats};
pub use problem::{ConfigErrors, Problem};
pub use source::{FILE_LEN_MAX, Origin, ProcessEnvironment, Source};

/// Everything the daemon was told, checked.
#[derive(Clone, Debug)]
pub struct Config {
    /// First tokens of every subject.
    pub prefix: String,
    /// Name of this process, in the state it publishes and in NATS' list of connections.
    pub instance: String,
    /// How to reach NATS.
    pub nats: NatsConfig,
    /// What our NATS objects are called.
    pub objects: ObjectNames,
    /// What we may do to them.
    pub provision: Provision,
    /// How to reach the venue.
    pub alpaca: AlpacaConfig,
    /// The desk for commands.
    pub orders: OrdersConfig,
    /// The drop copy.
    pub trade_updates: TradeUpdatesConfig,
    /// The positions mirror.
    pub positions: PositionsConfig,
    /// Market data.
    pub market_data: MarketDataConfig,
    /// The HTTP listener for operators.
    pub admin: AdminConfig,
    /// Log lines.
    pub log: LogConfig,
    /// Where traces go; nowhere by default.
    pub trace: Option<TraceConfig>,
    /// Longest wait for work in hand when the daemon is told to stop.
    pub shutdown_timeout: Duration,
    /// What orders may not exceed, and where that is written.
    pub limits: Option<LimitsConfig>,
    /// Everything is done but the POST.
    pub dry_run: bool,
    /// What is published is published in JSON, too.
    pub json_copies: bool,
    /// While this file is there, the gateway is halted.
    pub halt_file: Option<PathBuf>,
    /// What was accepted but will not do what it seems to; logged once at start.
    pub warnings: Vec<String>,
}

/// How to reach NATS.
#[derive(Clone, Debug)]
pub struct NatsConfig {
    /// Server addresses, at least one, with or without scheme, never with credentials inside.
    pub servers: Vec<String>,
    /// Who we are.
    pub auth: NatsAuth,
    /// Transport security beyond what the servers ask for.
    pub tls: NatsTls,
    /// Name of the connection.
    pub name: String,
    /// First tokens of the subjects on which answers are received.
    pub inbox_prefix: String,
}

/// Who we are to NATS.
#[derive(Clone, Debug)]
pub enum NatsAuth {
    /// Nobody.
    None,
    /// A user with a password.
    UserPassword {
        /// The user.
        user: String,
        /// Its password.
        password: SecretString,
    },
    /// A bare token.
    Token(SecretString),
    /// A user's nkey seed, whether it came from a file or a variable; it can sign.
    NkeySeed(SecretString),
    /// A user's JWT and the seed that belongs to it, from a credentials file or from variables.
    Jwt {
        /// The JWT.
        jwt: SecretString,
        /// The seed; it can sign.
        seed: SecretString,
    },
}

/// Transport security of the NATS connection. The files were readable at start.
#[derive(Clone, Debug, Default)]
pub struct NatsTls {
    /// The certificate authority's certificate.
    pub ca: Option<PathBuf>,
    /// Our certificate; there is a key, too.
    pub cert: Option<PathBuf>,
    /// Our certificate's key; there is a certificate, too.
    pub key: Option<PathBuf>,
    /// The TLS handshake comes before the server's greeting.
    pub first: bool,
}

/// What our NATS objects are called. No two streams, consumers or buckets share a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectNames {
    /// Stream of commands.
    pub action_stream: String,
    /// Durable consumer of orders and replaces.
    pub orders_consumer: String,
    /// Durable consumer of cancels and closes.
    pub cancel_consumer: String,
    /// Stream of trade updates and market data.
    pub data_stream: String,
    /// Durable consumer of trade updates, provided for subscribers.
    pub trade_update_consumer: String,
    /// Stream of outcomes and order events.
    pub journal_stream: String,
    /// Bucket of positions, account and state.
    pub bucket: String,
    /// Bucket of order records.
    pub orders_bucket: String,
    /// Replicas of what we create, 1 to 5.
    pub replicas: usize,
}

/// What we may do to NATS objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Provision {
    /// Make what is missing, leave alone what we did not make.
    Create,
    /// Make what is missing, edit what differs.
    Adopt,
    /// Only compare.
    Verify,
    /// Trust.
    None,
}

/// How to reach the venue.
#[derive(Clone)]
pub struct AlpacaConfig {
    /// Scheme and host of the trading API, perhaps a path; no slash at the end, no `/v2`.
    pub base_url: String,
    /// Key id; empty with OAuth.
    pub key: String,
    /// Secret of the key; empty with OAuth.
    pub secret: SecretString,
    /// OAuth token, used instead of key and secret when there is one.
    pub oauth: Option<SecretString>,
    /// The account's number, if the keys must be this account's.
    pub account: Option<String>,
    /// What kind of venue this is.
    pub environment: Environment,
    /// Longest wait for an answer.
    pub request_timeout: Duration,
    /// Requests per minute the account may make.
    pub rate_limit_per_minute: u32,
}

impl fmt::Debug for AlpacaConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AlpacaConfig")
            .field("base_url", &self.base_url)
            .field("environment", &self.environment)
            .field("request_timeout", &self.request_timeout)
            .field("rate_limit_per_minute", &self.rate_limit_per_minute)
            .finish_non_exhaustive()
    }
}

/// The desk for commands.
#[derive(Clone, Debug)]
pub struct OrdersConfig {
    /// Orders, replaces and closes are executed.
    pub enabled: bool,
    /// Cancels are executed.
    pub canceler_enabled: bool,
    /// Deadline of an order that names none, counted from when it was stored; `None` is no deadline.
    pub max_age: Option<Duration>,
    /// Orders sent at the same time, 1 to 64.
    pub max_in_flight: usize,
    /// What happens to new orders while trade updates cannot be seen.
    pub blind_policy: BlindPolicy,
    /// An order that turns out to have reached the venue after its deadline is canceled.
    pub cancel_late: bool,
}

/// What happens to new orders while trade updates cannot be seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlindPolicy {
    /// They wait, until their deadline.
    Hold,
    /// They pass.
    Allow,
}

/// The drop copy.
#[derive(Clone, Debug)]
pub struct TradeUpdatesConfig {
    /// Order events are published. When not, the blind policy is [`BlindPolicy::Allow`].
    pub enabled: bool,
}

/// A limits file.
#[derive(Clone, Debug)]
pub struct LimitsConfig {
    /// Where it is.
    pub path: PathBuf,
    /// What it said when the daemon began.
    pub limits: crate::domain::Limits,
}

/// The positions mirror.
#[derive(Clone, Debug)]
pub struct PositionsConfig {
    /// Pause between reads when nothing happens.
    pub refresh_interval: Duration,
}

/// Market data: one stream for each class that is switched on.
#[derive(Clone, Debug, Default)]
pub struct MarketDataConfig {
    /// The streams.
    pub streams: Vec<DataStreamConfig>,
    /// Channels of ticks that the data stream captures: it always has the others.
    pub captured: BTreeSet<Channel>,
    /// What somebody listens to is heard, too.
    pub follow: bool,
    /// Scheme and host of the market data API, where missed bars are found.
    pub history_url: String,
}

/// One stream of market data.
#[derive(Clone, Debug)]
pub struct DataStreamConfig {
    /// Of what.
    pub class: MarketClass,
    /// The websocket, feed included.
    pub url: String,
    /// The feed's name, as the market data API has it.
    pub feed: String,
    /// What is subscribed to from the start.
    pub subscriptions: Subscriptions,
    /// First pause before a reconnect.
    pub reconnect_delay: Duration,
    /// Text instead of MessagePack.
    pub json: bool,
}

/// The HTTP listener for operators.
#[derive(Clone, Debug)]
pub struct AdminConfig {
    /// Where `/metrics`, `/livez`, `/readyz` and `/version` answer; `None` is nowhere.
    pub metrics: Option<SocketAddr>,
    /// Where gRPC's health service answers; `None` is nowhere.
    pub health: Option<SocketAddr>,
}

/// The export of traces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceConfig {
    /// How.
    pub exporter: TraceExporter,
    /// Longest wait for the collector.
    pub timeout: Duration,
}

/// How traces are exported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TraceExporter {
    /// As log lines.
    Log,
    /// To an OpenTelemetry collector, as protobuf over HTTP.
    Otlp {
        /// The whole address, path included.
        url: String,
    },
}

/// Log lines.
#[derive(Clone, Debug)]
pub struct LogConfig {
    /// Directives of tracing's environment filter; they parse.
    pub filter: String,
    /// Form of a line.
    pub format: LogFormat,
    /// Lines name file and line.
    pub source: bool,
}

/// Form of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object per line.
    Json,
    /// For people.
    Text,
    /// `name=value` pairs.
    Logfmt,
}

#[cfg(test)]
mod tests;
