//! Wires the limits: what they are judged by, where they are read again, and what happens when too much was lost.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use rust_decimal::Decimal;
use tokio::sync::watch;
use tokio::time::Instant;
use tracing::{error, info, warn};

use super::Daemon;
use super::feeds::Mirrored;
use super::tasks::Tasks;
use crate::alpaca::data::History;
use crate::alpaca::rest;
use crate::backoff::{Backoff, Reason};
use crate::bus::broadcast::LAST_BUCKET;
use crate::bus::{Bucket, Connection};
use crate::clock::Clock;
use crate::config::limits::read as read_limits;
use crate::config::{LimitsConfig, ProcessEnvironment, Source};
use crate::domain::limits::Limits;
use crate::domain::market::{Channel, MarketClass};
use crate::domain::{AssetClass, ConditionName, GatewayMode, MarketClock, ModeSource, Symbol};
use crate::gateway::Gateway;
use crate::mode::{ModeWish, Modes};
use crate::risk::{FindQuote, Quote, Risk, Statements, today_began};
use crate::trial::{self, Bug};
use crate::wire::market::read_quote;
use crate::wire::subject::last_key;

/// How often the limits file is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// How long a quote that was fetched serves the orders that follow.
const QUOTE_FOR: Duration = Duration::from_secs(1);
/// Quotes remembered. All are forgotten when there are more.
const QUOTES_MAX: usize = 10_000;
/// Longest time what the venue said of its clock is believed, and pause after it said nothing.
const CLOCK_PAUSES: (Duration, Duration) = (Duration::from_secs(600), Duration::from_secs(20));

/// Starts what the limits are judged by.
pub(super) fn start(
    daemon: &Daemon,
    tasks: &mut Tasks,
    connection: &Connection,
    mirror: &Mirrored,
    modes: &Modes,
) -> Risk {
    let (clock_said, clock) = watch::channel(None);
    let statements = Statements {
        holdings: mirror.holdings.clone(),
        account: mirror.account.clone(),
        clock,
    };
    let config = daemon.config.limits.clone();
    let limits = config
        .as_ref()
        .map(|config| config.limits.clone())
        .unwrap_or_default();
    let find_quote = config.as_ref().and_then(|_| quote_finder(daemon, connection));
    let risk = Risk::new(
        limits,
        daemon.config.dry_run,
        statements,
        daemon.blotter.clone(),
        find_quote,
        daemon.clock.clone(),
    );
    if let Some(config) = config {
        tasks.helper(
            "limits file",
            follow_file(config, risk.clone(), daemon.gateway.clone()),
        );
        tasks.helper(
            "market clock",
            follow_clock(daemon.venue.clone(), clock_said, daemon.clock.clone()),
        );
        let instance = daemon.config.instance.clone();
        tasks.helper("daily loss", watch_loss(risk.clone(), modes.clone(), instance));
    }
    risk
}

/// Counts the orders of today that were begun before this process was, for as long as it takes.
pub(super) async fn recall(daemon: &Daemon, risk: &Risk) {
    if risk.limits().is_empty() || trial::planted(Bug::DayBeginsWithUs) {
        return;
    }
    let mut backoff = Backoff::new(Reason::MirrorRead);
    loop {
        match daemon.venue.orders_since(today_began(daemon.clock.now())).await {
            Ok(orders) => return risk.recall(&orders),
            Err(error) => {
                let reason = format!("today's orders cannot be counted: {error}");
                daemon.gateway.raise(ConditionName::Reconciling, reason, true);
            }
        }
        tokio::time::sleep(backoff.next_delay()).await;
    }
}

/// Reads the limits again when their file changes. What cannot be used is not: the limits that hold go on holding.
async fn follow_file(config: LimitsConfig, risk: Risk, gateway: Gateway) {
    let mut held = config.limits;
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        match read_file(config.path.clone()).await {
            Ok(limits) => {
                gateway.clear(ConditionName::LimitsUnreadable);
                if limits != held {
                    info!(file = %config.path.display(), "the limits have changed, and hold from now on");
                    risk.set_limits(limits.clone());
                    held = limits;
                }
            }
            Err(what) => {
                let reason = format!("the limits of before go on: {what}");
                gateway.raise(ConditionName::LimitsUnreadable, reason, false);
            }
        }
    }
}

async fn read_file(path: PathBuf) -> Result<Limits, String> {
    let name = path.display().to_string();
    let read = tokio::task::spawn_blocking(move || ProcessEnvironment.read(&path)).await;
    let text = match read {
        Ok(Ok(text)) => text,
        Ok(Err(error)) => return Err(format!("{name}: {error}")),
        Err(error) => return Err(format!("{name}: {error}")),
    };
    read_limits(&text).map_err(|error| format!("{name}: {error}"))
}

/// Follows whether the regular session is on, with a handful of questions an hour.
async fn follow_clock(venue: rest::Client, said: watch::Sender<Option<MarketClock>>, clock: Clock) {
    loop {
        let pause = match venue.clock().await {
            Ok(read) => {
                let now = read.value;
                said.send_replace(Some(now));
                let next = if now.is_open {
                    now.next_close
                } else {
                    now.next_open
                };
                let until = next.and_then(|next| Duration::try_from(next.duration_since(clock.now())).ok());
                // A moment after it, so that the answer is the new one.
                until.map_or(CLOCK_PAUSES.0, |until| {
                    (until + Duration::from_secs(1)).min(CLOCK_PAUSES.0)
                })
            }
            Err(error) => {
                warn!(%error, "the market's clock cannot be read");
                CLOCK_PAUSES.1
            }
        };
        tokio::time::sleep(pause).await;
    }
}

/// Halts when more was lost than may be lost in a day. Whoever resumes raises the limit first, or is halted again.
async fn watch_loss(risk: Risk, modes: Modes, instance: String) {
    let mut account = risk.account();
    let mut halted_at: Option<Decimal> = None;
    loop {
        match risk.excessive_loss() {
            Some((max, loss)) if halted_at != Some(max) || !modes.is(GatewayMode::Halted) => {
                halted_at = Some(max);
                let reason = format!(
                    "the loss of the day is {}, and max_daily_loss is {max}",
                    loss.normalize()
                );
                error!(reason, "halting");
                let wish = ModeWish {
                    mode: GatewayMode::Halted,
                    reason,
                    by: instance.clone(),
                    source: ModeSource::Limit,
                };
                // A halt is the strictest mode, and holds in any case.
                if let Err(error) = modes.change(wish).await {
                    error!(%error, "not halted");
                }
            }
            Some(_) | None => {}
        }
        tokio::select! {
            changed = account.changed() => if changed.is_err() { return },  // cancel-safe: docs
            // The limit may have changed, or somebody may have resumed.
            () = tokio::time::sleep(LOOK_EVERY) => {}                        // cancel-safe
        }
    }
}

/// Finds quotes: those that market data keeps, else the venue's latest.
fn quote_finder(daemon: &Daemon, connection: &Connection) -> Option<FindQuote> {
    let config = &daemon.config.market_data;
    let history = match History::new(&config.history_url, daemon.credential.clone()) {
        Ok(history) => history,
        Err(error) => {
            error!(%error, "quotes cannot be asked for; orders that need one are denied");
            return None;
        }
    };
    let stocks = config
        .streams
        .iter()
        .find(|stream| stream.class == MarketClass::Stocks);
    let finder = Arc::new(Finder {
        history,
        stock_feed: stocks.map_or_else(|| "iex".to_owned(), |stream| stream.feed.clone()),
        connection: connection.clone(),
        has_stream: !config.streams.is_empty(),
        clock: daemon.clock.clone(),
        known: Mutex::default(),
    });
    Some(Arc::new(move |symbol, max_age| {
        let finder = Arc::clone(&finder);
        Box::pin(async move { finder.find(&symbol, max_age).await })
    }))
}

struct Finder {
    history: History,
    stock_feed: String,
    connection: Connection,
    has_stream: bool,
    clock: Clock,
    known: Mutex<HashMap<Symbol, (Quote, Instant)>>,
}

impl Finder {
    async fn find(&self, symbol: &Symbol, max_age: Option<Duration>) -> Option<Quote> {
        let known = self.known().get(symbol).copied();
        if let Some((quote, at)) = known
            && at.elapsed() < QUOTE_FOR
        {
            return Some(quote);
        }
        let max_age = max_age.unwrap_or(QUOTE_FOR);
        let told = if self.has_stream {
            self.told(symbol).await
        } else {
            None
        };
        let quote = match told.filter(|quote| self.is_younger(quote.at, max_age)) {
            Some(told) => told,
            None => self.latest(symbol).await?,
        };
        let mut known = self.known();
        if known.len() >= QUOTES_MAX {
            known.clear();
        }
        known.insert(symbol.clone(), (quote, Instant::now()));
        Some(quote)
    }

    fn is_younger(&self, at: Timestamp, max_age: Duration) -> bool {
        let max_age = SignedDuration::try_from(max_age).unwrap_or(SignedDuration::MAX);
        self.clock.now().duration_since(at) <= max_age
    }

    /// The last one market data has heard.
    async fn told(&self, symbol: &Symbol) -> Option<Quote> {
        let bucket = Bucket::open(&self.connection, LAST_BUCKET).await.ok()?;
        let kept = bucket
            .get(&last_key(Channel::Quotes, symbol.as_str()))
            .await
            .ok()??;
        let (bid, ask, at) = read_quote(&kept.value)?;
        Some(quote(bid, ask, at))
    }

    async fn latest(&self, symbol: &Symbol) -> Option<Quote> {
        let (class, feed) = match symbol.asset_class() {
            AssetClass::Crypto => (MarketClass::Crypto, ""),
            AssetClass::UsOption => (MarketClass::Options, ""),
            AssetClass::UsEquity | AssetClass::Other => (MarketClass::Stocks, self.stock_feed.as_str()),
        };
        match self.history.latest_quote(class, feed, symbol).await {
            Ok(latest) => latest.map(|latest| quote(latest.bid, latest.ask, latest.at)),
            Err(error) => {
                warn!(%symbol, %error, "no quote can be had; an order that needs one is denied");
                None
            }
        }
    }

    /// Nothing that can panic happens under this lock.
    fn known(&self) -> std::sync::MutexGuard<'_, HashMap<Symbol, (Quote, Instant)>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An observation as a bound for orders. What is not above zero is nobody's price.
fn quote(bid: f64, ask: f64, at: Timestamp) -> Quote {
    let price = |observed: f64| {
        Decimal::try_from(observed)
            .ok()
            .filter(|price| *price > Decimal::ZERO)
    };
    Quote {
        bid: price(bid),
        ask: price(ask),
        at,
    }
}
