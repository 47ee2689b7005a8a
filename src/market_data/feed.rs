//! One stream of the venue's, for as long as the daemon leads.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

use super::outbox::{Outbox, Parcel};
use super::recovery::{GapSource, Recovery};
use crate::alpaca::data::{Connection, Control, DataEndpoint, DataError, Row};
use crate::backoff::Backoff;
use crate::bus::Message;
use crate::clock::Clock;
use crate::domain::market::{Channel, MarketClass, Observation, Subscriptions};
use crate::telemetry::metrics::{self, DataMetrics};
use crate::trial::{self, Bug};
use crate::wire;
use crate::wire::subject::{Subjects, last_key};

/// Longest pause between attempts to connect.
const RECONNECT_PAUSE_MAX: Duration = Duration::from_secs(30);
/// Shortest pause when somebody else has the place, or the venue refuses us: neither passes in a moment.
const REFUSED_PAUSE: Duration = Duration::from_secs(5);
/// A connection that lived so long did not die of what ended the one before it.
const GOOD_AGE: Duration = Duration::from_secs(30);
/// Longest wait for the answer to a subscription.
const CONFIRMATION_TIMEOUT: Duration = Duration::from_secs(10);
/// A stream that has had something to say all the time, and says nothing for so long, has gone mute.
const QUIET_MAX: Duration = Duration::from_secs(90);
/// So long for one of which it is not known yet how much it has to say.
const QUIET_MAX_UNKNOWN: Duration = Duration::from_secs(600);
/// From so many observations on it is known.
const KNOWN_FROM: u32 = 20;
/// Subjects remembered of each channel. Options have more contracts than anybody follows.
const SUBJECTS_MAX: usize = 50_000;
/// How often it is looked whether missed bars can be asked for.
const LOOK_PAUSE: Duration = Duration::from_secs(1);
/// Rows that could not be read are told once in so many.
const COMPLAIN_EVERY: u64 = 1000;

/// How a feed goes, for state and tests.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FeedStatus {
    /// It is connected and authenticated.
    pub connected: bool,
    /// What the venue confirmed.
    pub confirmed: Subscriptions,
    /// What the venue refused, and why.
    pub refused: Vec<(Channel, String, String)>,
    /// Why it is not connected.
    pub reason: String,
    /// Since when it is connected, or not.
    pub since: Option<Timestamp>,
}

/// When a feed last heard something. Read by other threads while the feed is at work, and cheap to write.
#[derive(Debug, Default)]
pub struct Pulse {
    /// Both in nanoseconds since 1970; they may be of two observations that were heard one after the other.
    heard_at: AtomicI64,
    observed_at: AtomicI64,
}

impl Pulse {
    fn beat(&self, heard_at: Timestamp, observed_at: Timestamp) {
        let nanoseconds = |at: Timestamp| i64::try_from(at.as_nanosecond()).unwrap_or_default();
        self.heard_at.store(nanoseconds(heard_at), Ordering::Relaxed);
        self.observed_at
            .store(nanoseconds(observed_at), Ordering::Relaxed);
    }

    /// When the last observation was heard, and what the venue dated it. `None`: nothing was heard yet.
    pub fn last(&self) -> Option<(Timestamp, Timestamp)> {
        let read = |at: &AtomicI64| match at.load(Ordering::Relaxed) {
            0 => None,
            at => Timestamp::from_nanosecond(at.into()).ok(),
        };
        Some((read(&self.heard_at)?, read(&self.observed_at)?))
    }
}

/// One class of market data.
pub struct Feed<G> {
    /// Which.
    pub class: MarketClass,
    /// Where.
    pub endpoint: DataEndpoint,
    /// First pause before a reconnect.
    pub reconnect_delay: Duration,
    /// What is wanted.
    pub wanted: watch::Receiver<Subscriptions>,
    /// Channels whose every message the data stream captures, besides those it always does.
    pub captured: HashSet<Channel>,
    /// Where observations go.
    pub outbox: Outbox,
    /// How subjects are spelled.
    pub subjects: Subjects,
    /// What time it is.
    pub clock: Clock,
    /// Whether the market trades now; a closed one may be quiet.
    pub open: watch::Receiver<bool>,
    /// Finds the minute bars that were missed.
    pub recovery: Recovery<G>,
    /// How it goes.
    pub status: watch::Sender<FeedStatus>,
    /// When it last heard something.
    pub pulse: Arc<Pulse>,
    /// What is counted.
    pub metrics: DataMetrics,
}

/// What a feed remembers from one connection to the next.
#[derive(Default)]
struct Memory {
    addresses: HashMap<Channel, HashMap<String, Address>>,
    writer: wire::market::Writer,
    unreadable: u64,
}

/// Where observations of one kind about one symbol go.
#[derive(Clone)]
struct Address {
    subject: async_nats::Subject,
    key: Arc<str>,
}

impl<G: GapSource> Feed<G> {
    /// Runs until stopped.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut memory = Memory::default();
        let mut pauses = Backoff::between(self.reconnect_delay, RECONNECT_PAUSE_MAX);
        loop {
            let turn = async {
                // Nobody wants anything: no connection, which is one of few.
                if self.wanted.wait_for(|wanted| !wanted.is_empty()).await.is_err() {
                    return std::future::pending().await;
                }
                let began = Instant::now();
                let ended = self.connection(&mut memory).await;
                (ended, began.elapsed())
            };
            let (ended, age) = tokio::select! {
                () = stop.cancelled() => return, // cancel-safe: level-triggered
                turn = turn => turn,
            };
            metrics::market_data_connected(self.class, false);
            let Some(ended) = ended else {
                info!(
                    class = self.class.as_str(),
                    "market data: nobody wants anything, disconnected"
                );
                self.status.send_replace(FeedStatus {
                    since: Some(self.clock.now()),
                    ..FeedStatus::default()
                });
                metrics::market_data_subscribed(self.class, 0);
                continue;
            };
            if age > GOOD_AGE {
                pauses.reset();
            }
            let class = self.class.as_str();
            let mut pause = pauses.next_delay();
            match &ended {
                DataError::Failed { cause } => warn!(class, cause, "market data: connecting anew"),
                refused @ (DataError::SlotTaken { .. }
                | DataError::Unauthorized { .. }
                | DataError::NotEntitled { .. }) => {
                    error!(class, %refused, "market data cannot be heard");
                    pause = pause.max(REFUSED_PAUSE);
                }
            }
            let now = self.clock.now();
            self.status.send_modify(|status| {
                if status.connected || status.since.is_none() {
                    status.since = Some(now);
                }
                status.connected = false;
                status.confirmed = Subscriptions::default();
                status.reason = ended.to_string();
            });
            metrics::market_data_reconnect(self.class);
            tokio::select! {
                () = stop.cancelled() => return,         // cancel-safe: level-triggered
                () = tokio::time::sleep(pause) => {}     // cancel-safe
            }
        }
    }

    /// One connection, from the greeting to its end. `None`: nobody wants it any more.
    async fn connection(&mut self, memory: &mut Memory) -> Option<DataError> {
        let mut connection = match Connection::open(&self.endpoint).await {
            Ok(connection) => connection,
            Err(error) => return Some(error),
        };
        info!(class = self.class.as_str(), "market data: connected");
        metrics::market_data_connected(self.class, true);
        self.status.send_modify(|status| {
            *status = FeedStatus {
                connected: true,
                since: Some(self.clock.now()),
                ..FeedStatus::default()
            };
        });
        let mut talk = Talk::default();
        self.recovery.connected();
        let mut pace = Pace::new();
        loop {
            let wanted = self.wanted.borrow_and_update().clone();
            if wanted.is_empty() {
                return None;
            }
            if let Err(error) = talk.say(&mut connection, &wanted).await {
                return Some(error);
            }
            if talk.is_settled() {
                self.recovery.begin(&talk.confirmed);
            }
            let due = self.recovery.due();
            // While subscriptions are open there is nothing to begin, however due it is.
            let look_at = due.map(|due| due.max(Instant::now() + LOOK_PAUSE));
            let expects_much = self.expects_much(&talk);
            pace.expect(expects_much);
            let quiet_at = pace.quiet_at();
            let frame = tokio::select! {
                frame = connection.next() => Some(frame),       // cancel-safe: docs
                changed = self.wanted.changed() => {            // cancel-safe: docs
                    if changed.is_err() {
                        return None;
                    }
                    talk.forgive(&self.wanted.borrow());
                    None
                }
                missed = self.recovery.done() => { // cancel-safe: docs
                    for bar in missed {
                        self.pass_on(memory, &Observation::Bar(Channel::Bars, bar), true);
                    }
                    None
                }
                () = sleep_until(look_at), if look_at.is_some() => None, // cancel-safe
                () = tokio::time::sleep_until(talk.give_up_at()) => { // cancel-safe
                    let cause = "the venue does not answer to a subscription".to_owned();
                    return Some(DataError::Failed { cause });
                }
                () = tokio::time::sleep_until(quiet_at), if expects_much => { // cancel-safe
                    let cause = format!("nothing was heard for {} s", pace.quiet_for().as_secs());
                    return Some(DataError::Failed { cause });
                }
            };
            let frame = match frame {
                None => continue,
                Some(Ok(frame)) => frame,
                Some(Err(error)) => return Some(error),
            };
            let mut controls = Vec::new();
            let mut last_tick = None;
            let read = frame.read(|row| match row {
                Row::Observation(observation) => {
                    pace.heard();
                    if observation.channel().is_tick() {
                        last_tick = Some((observation.channel(), observation.at()));
                    }
                    self.pass_on(memory, &observation, false);
                }
                Row::Control(control) => controls.push(control),
                Row::Unknown(kind) => {
                    debug!(kind, "market data of an unknown kind");
                    metrics::market_data_unreadable(self.class);
                }
            });
            if let Some((channel, at)) = last_tick {
                self.metrics.lag(self.class, channel, self.clock.since(at));
            }
            if let Err(error) = read {
                metrics::market_data_unreadable(self.class);
                // It may have been a bar.
                self.recovery.doubt();
                memory.unreadable += 1;
                if memory.unreadable % COMPLAIN_EVERY == 1 {
                    warn!(class = self.class.as_str(), %error, "market data");
                }
            }
            for control in controls {
                if let Some(end) = self.hear(&mut talk, control) {
                    return Some(end);
                }
            }
        }
    }

    /// Whether silence means that something is wrong.
    fn expects_much(&self, talk: &Talk) -> bool {
        let is_tick = |(channel, _): (Channel, _)| channel.is_tick() || channel == Channel::Bars;
        let always = self.class == MarketClass::Crypto;
        (always || *self.open.borrow()) && talk.confirmed.iter().any(is_tick)
    }

    /// Takes a word about the connection. `Some`: it is over.
    fn hear(&mut self, talk: &mut Talk, control: Control) -> Option<DataError> {
        let class = self.class.as_str();
        match control {
            Control::Connected | Control::Authenticated => {}
            Control::Subscribed(confirmed) => {
                info!(
                    class,
                    symbols = confirmed.len(),
                    "market data: subscriptions confirmed"
                );
                metrics::market_data_subscribed(self.class, confirmed.len());
                talk.confirmed(confirmed.clone());
                self.recovery.confirmed();
                self.status.send_modify(|status| status.confirmed = confirmed);
            }
            Control::Error { code, message } => {
                if let Some(end) = DataError::of_code(code, &message) {
                    return Some(end);
                }
                let words = format!("{message} ({code})");
                for (channel, symbol) in talk.refused() {
                    warn!(
                        class,
                        channel = channel.as_str(),
                        symbol,
                        message,
                        "market data: a subscription is refused"
                    );
                    self.status
                        .send_modify(|status| status.refused.push((channel, symbol, words.clone())));
                }
            }
        }
        None
    }

    /// Puts an observation in the outbox. Never waits.
    fn pass_on(&mut self, memory: &mut Memory, observation: &Observation<'_>, recovered: bool) {
        let channel = observation.channel();
        let number;
        let about = match (observation.symbol(), observation) {
            (Some(symbol), _) => symbol,
            (None, Observation::News(news)) => {
                number = news.id.to_string();
                &number
            }
            (None, _) => return,
        };
        if channel == Channel::Bars {
            if recovered {
                self.recovery.passed_on(about, observation.at());
            } else {
                self.recovery.heard(about, observation.at());
            }
        }
        let address = memory.address(&self.subjects, self.class, channel, about);
        let at = observation.at();
        // A minute's bar is one message, whether it was heard or recovered; so is an article in one state.
        let id = match channel {
            Channel::Bars if trial::planted(Bug::BarsHaveNoIdentity) => None,
            Channel::Bars => Some(format!("bar:{}:{about}:{}", self.class.as_str(), at.as_second())),
            Channel::News => Some(format!("news:{about}:{}", at.as_nanosecond())),
            Channel::Trades
            | Channel::Quotes
            | Channel::UpdatedBars
            | Channel::DailyBars
            | Channel::Statuses
            | Channel::OrderBooks => None,
        };
        let now = self.clock.now();
        self.metrics.heard(self.class, channel);
        if recovered {
            metrics::market_data_recovered(self.class);
        } else {
            self.pulse.beat(now, at);
        }
        self.outbox.put(Parcel {
            class: self.class,
            channel,
            stored: !channel.is_tick() || self.captured.contains(&channel),
            key: address.key,
            is_last: channel != Channel::News && !recovered,
            message: Message {
                subject: address.subject,
                schema: wire::market::schema(channel),
                id,
                payload: memory.writer.observation(self.class, observation, recovered),
            },
        });
    }
}

impl Memory {
    fn address(&mut self, subjects: &Subjects, class: MarketClass, channel: Channel, about: &str) -> Address {
        // Not the entry interface: it would copy the symbol each time.
        let known = self.addresses.entry(channel).or_default();
        if let Some(address) = known.get(about) {
            return address.clone();
        }
        let address = Address {
            subject: subjects.observation(class, channel, about).into(),
            key: last_key(channel, about).into(),
        };
        // Articles have numbers of their own, which never come again.
        if channel != Channel::News && known.len() < SUBJECTS_MAX {
            known.insert(about.to_owned(), address.clone());
        }
        address
    }
}

/// Until then; for ever, when it is not known.
async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// How often there is something to hear, and so how long a silence may be.
struct Pace {
    heard_at: Instant,
    /// Since when there should be much to hear; a night's silence is none.
    expected_since: Option<Instant>,
    longest: Duration,
    count: u32,
}

impl Pace {
    fn new() -> Self {
        Self {
            heard_at: Instant::now(),
            expected_since: None,
            longest: Duration::ZERO,
            count: 0,
        }
    }

    fn expect(&mut self, much: bool) {
        if !much {
            self.expected_since = None;
        } else if self.expected_since.is_none() {
            self.expected_since = Some(Instant::now());
        }
    }

    fn heard(&mut self) {
        let now = Instant::now();
        if self.count > 0 && self.expected_since.is_some_and(|since| since <= self.heard_at) {
            self.longest = self.longest.max(now - self.heard_at);
        }
        self.heard_at = now;
        self.count = self.count.saturating_add(1);
    }

    fn quiet_for(&self) -> Duration {
        if self.count < KNOWN_FROM {
            QUIET_MAX_UNKNOWN
        } else {
            // A symbol that trades every ten minutes is quiet for ten minutes.
            QUIET_MAX
                .max(self.longest.saturating_mul(3))
                .min(QUIET_MAX_UNKNOWN)
        }
    }

    fn quiet_at(&self) -> Instant {
        self.heard_at.max(self.expected_since.unwrap_or(self.heard_at)) + self.quiet_for()
    }
}

/// What was asked of the venue, and what it said to it: one question at a time.
#[derive(Default)]
struct Talk {
    confirmed: Subscriptions,
    /// The question without an answer, and since when.
    asked: Option<(Subscriptions, Instant)>,
    /// Parts of a question that was refused as a whole.
    pieces: VecDeque<Subscriptions>,
    /// What was refused by itself. Not asked for again while it is wanted without a pause.
    refused: Subscriptions,
}

impl Talk {
    /// Asks the next question, if there is one and none is open.
    async fn say(&mut self, connection: &mut Connection, wanted: &Subscriptions) -> Result<(), DataError> {
        if self.asked.is_some() {
            return Ok(());
        }
        let piece = self.pieces.pop_front().unwrap_or_else(|| wanted.clone());
        let more = piece.without(&self.confirmed).without(&self.refused);
        if !more.is_empty() {
            connection.subscribe(&more).await?;
            self.asked = Some((more, Instant::now()));
            return Ok(());
        }
        let less = self.confirmed.without(wanted);
        if !less.is_empty() {
            connection.unsubscribe(&less).await?;
            self.asked = Some((less, Instant::now()));
        }
        Ok(())
    }

    fn confirmed(&mut self, confirmed: Subscriptions) {
        self.confirmed = confirmed;
        self.asked = None;
    }

    /// The open question was refused. Returns what is refused by that for good; a question about several symbols is
    /// asked in two halves.
    fn refused(&mut self) -> Vec<(Channel, String)> {
        let Some((asked, _)) = self.asked.take() else {
            return Vec::new();
        };
        if asked.len() > 1 {
            let (mut first, mut second) = (Subscriptions::default(), Subscriptions::default());
            let half = asked.len() / 2;
            let pairs = asked
                .iter()
                .flat_map(|(channel, symbols)| symbols.iter().map(move |symbol| (channel, symbol)));
            for (at, (channel, symbol)) in pairs.enumerate() {
                let side = if at < half { &mut first } else { &mut second };
                side.add(channel, [symbol.clone()]);
            }
            self.pieces.push_front(second);
            self.pieces.push_front(first);
            return Vec::new();
        }
        let mut refused = Vec::new();
        for (channel, symbols) in asked.iter() {
            self.refused.add(channel, symbols.iter().cloned());
            refused.extend(symbols.iter().map(|symbol| (channel, symbol.clone())));
        }
        refused
    }

    /// Something else is wanted now: what was refused may be asked for anew once it is not wanted any more.
    fn forgive(&mut self, wanted: &Subscriptions) {
        let gone = self.refused.without(wanted);
        self.refused = self.refused.without(&gone);
    }

    fn is_settled(&self) -> bool {
        self.asked.is_none() && self.pieces.is_empty() && !self.confirmed.is_empty()
    }

    fn give_up_at(&self) -> Instant {
        match &self.asked {
            Some((_, since)) => *since + CONFIRMATION_TIMEOUT,
            None => Instant::now() + Duration::from_secs(24 * 3600),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_silence_is_too_long_measured_by_what_was_heard_before() {
        let mut pace = Pace::new();
        pace.expect(true);
        assert_eq!(pace.quiet_for(), QUIET_MAX_UNKNOWN);
        for _ in 0..KNOWN_FROM {
            tokio::time::advance(Duration::from_secs(1)).await;
            pace.heard();
        }
        assert_eq!(pace.quiet_for(), QUIET_MAX, "it is told something every second");
        assert_eq!(pace.quiet_at(), Instant::now() + QUIET_MAX);
        tokio::time::advance(Duration::from_secs(60)).await;
        pace.heard();
        assert_eq!(
            pace.quiet_for(),
            Duration::from_secs(180),
            "a minute was nothing unusual"
        );
        // Over a night nothing is expected.
        pace.expect(false);
        tokio::time::advance(Duration::from_secs(60_000)).await;
        pace.expect(true);
        assert_eq!(pace.quiet_at(), Instant::now() + Duration::from_secs(180));
        pace.heard();
        assert_eq!(pace.quiet_for(), Duration::from_secs(180));
    }

    fn wanted(symbols: &[&str]) -> Subscriptions {
        let mut wanted = Subscriptions::default();
        wanted.add(Channel::Quotes, symbols.iter().map(|symbol| (*symbol).to_owned()));
        wanted
    }

    #[test]
    fn what_is_refused_as_a_whole_is_asked_for_in_parts_until_one_symbol_is_left() {
        let mut talk = Talk {
            asked: Some((wanted(&["A", "B", "C"]), Instant::now())),
            ..Talk::default()
        };
        assert!(talk.refused().is_empty());
        assert_eq!(talk.pieces, [wanted(&["A"]), wanted(&["B", "C"])]);
        talk.asked = talk.pieces.pop_front().map(|piece| (piece, Instant::now()));
        assert_eq!(talk.refused(), [(Channel::Quotes, "A".to_owned())]);
        assert_eq!(talk.refused, wanted(&["A"]));
        assert!(!talk.is_settled(), "a part is left");
        // Wanted no more, and then again, it is asked for again.
        talk.forgive(&wanted(&["A", "B"]));
        assert_eq!(talk.refused, wanted(&["A"]));
        talk.forgive(&wanted(&["B"]));
        assert!(talk.refused.is_empty());
    }
}
