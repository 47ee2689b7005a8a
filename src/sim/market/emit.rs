//! What a session is sent for a stretch of time: the tape, cut to its subscriptions and packed into frames.

use jiff::{SignedDuration, Timestamp};
use rust_decimal::Decimal;

use super::super::core::tape::{Bar, TEST_SYMBOL, Tape, bar_of};
use super::super::core::{Asset, Assets, new_york_day};
use super::dialogue::{Format, Subscriptions};
use super::feed::{Channel, Feed};
use super::news::{self, NewsItem};
use super::row::{self, Head, Json, MessagePack, Sink};

/// Messages in one frame at most.
const FRAME_MESSAGES: usize = 1_000;
/// Bytes after which a frame is full, well below the MiB that one client takes at most.
const FRAME_BYTES: usize = 256 * 1024;
/// The longest stretch of venue time in one go, which bounds what is built before it is sent.
const SLICE: SignedDuration = SignedDuration::from_secs(1);
/// Moments of a recording in one go.
const SLICE_MOMENTS: usize = 256;
const MINUTE: SignedDuration = SignedDuration::from_secs(60);
/// A trade that came late changes its bar this long after the minute.
const UPDATE_AFTER: SignedDuration = SignedDuration::from_secs(30);
/// One minute in this many has a late trade.
const LATE_EVERY: i64 = 10;

/// One side of the tape's translation into frames.
pub(crate) struct Emitter<'a> {
    pub(crate) tape: &'a Tape,
    pub(crate) assets: &'a Assets,
    pub(crate) feed: Feed,
    pub(crate) format: Format,
    pub(crate) subscriptions: &'a Subscriptions,
    /// Where the news comes from.
    pub(crate) seed: u64,
}

/// A frame, and how many messages it holds.
pub(crate) struct Batched {
    pub(crate) bytes: Vec<u8>,
    pub(crate) messages: usize,
}

/// Messages one behind the other, each with its moment.
struct Batch {
    sink: Buffer,
    messages: Vec<(Timestamp, usize, usize)>,
}

enum Buffer {
    Json(Json),
    MessagePack(MessagePack),
}

impl Batch {
    fn new(format: Format) -> Self {
        Self {
            sink: match format {
                Format::Json => Buffer::Json(Json::default()),
                Format::MessagePack => Buffer::MessagePack(MessagePack::default()),
            },
            messages: Vec::new(),
        }
    }

    fn add(&mut self, at: Timestamp, write: impl Write) {
        let begin = self.bytes().len();
        match &mut self.sink {
            Buffer::Json(sink) => write.to(sink),
            Buffer::MessagePack(sink) => write.to(sink),
        }
        let end = self.bytes().len();
        self.messages.push((at, begin, end));
    }

    fn bytes(&self) -> &[u8] {
        match &self.sink {
            Buffer::Json(sink) => sink.as_bytes(),
            Buffer::MessagePack(sink) => sink.as_bytes(),
        }
    }

    /// In the order of time, as arrays.
    fn frames(mut self) -> Vec<Batched> {
        self.messages.sort_by_key(|(at, ..)| *at);
        let mut frames = Vec::new();
        let mut rest = self.messages.as_slice();
        while !rest.is_empty() {
            let mut size = 0;
            let mut fits = |(_, begin, end): &(Timestamp, usize, usize)| {
                size += end - begin;
                size <= FRAME_BYTES
            };
            let count = rest
                .iter()
                .take(FRAME_MESSAGES)
                .take_while(|piece| fits(piece))
                .count()
                .max(1);
            let (now, later) = rest.split_at(count);
            let pieces = now
                .iter()
                .filter_map(|(_, begin, end)| self.bytes().get(*begin..*end));
            let bytes = match self.sink {
                Buffer::Json(_) => [b"[".as_slice(), &pieces.collect::<Vec<_>>().join(&b','), b"]"].concat(),
                Buffer::MessagePack(_) => {
                    let mut bytes = Vec::new();
                    // Writing to a vector cannot fail.
                    let _ =
                        rmp::encode::write_array_len(&mut bytes, u32::try_from(count).unwrap_or(u32::MAX));
                    pieces.for_each(|piece| bytes.extend_from_slice(piece));
                    bytes
                }
            };
            frames.push(Batched {
                bytes,
                messages: count,
            });
            rest = later;
        }
        frames
    }
}

/// Something that can be written into either sink.
trait Write {
    fn to(self, sink: &mut impl Sink);
}

/// One message, by its kind.
enum Message<'a> {
    Trade(Head<'a>, &'a Asset, &'a row::Trade),
    Quote(Head<'a>, &'a Asset, &'a row::Quote),
    Bar(Head<'a>, &'a Asset, &'a Bar),
    OrderBook(Head<'a>, &'a row::Quote),
    Luld(Head<'a>, Timestamp, Decimal),
    Status(Head<'a>, Timestamp, bool),
    News(&'a NewsItem),
}

impl Write for Message<'_> {
    fn to(self, sink: &mut impl Sink) {
        match self {
            Self::Trade(head, asset, trade) => row::trade(sink, Some(head), asset.class, trade),
            Self::Quote(head, asset, quote) => row::quote(sink, Some(head), asset.class, quote),
            Self::Bar(head, asset, bar) => row::bar(sink, Some(head), asset.class, bar),
            Self::OrderBook(head, quote) => row::order_book(sink, Some(head), quote),
            Self::Luld(head, at, price) => row::price_band(sink, head, price, at),
            Self::Status(head, at, is_open) => row::status(sink, head, is_open, at),
            Self::News(item) => {
                let head = Head {
                    kind: "n",
                    symbol: "",
                };
                news::row(sink, Some(head), item, true);
            }
        }
    }
}

/// One frame with one article that has so many letters.
pub(crate) fn article(format: Format, at: Timestamp, letters: usize) -> Vec<u8> {
    let mut batch = Batch::new(format);
    let item = NewsItem {
        // Far from those that are invented by the clock.
        id: u64::from(u32::MAX) + letters as u64,
        at,
        symbols: vec!["AAPL".to_owned()],
        headline: "Somebody writes a lot".to_owned(),
        summary: "It is long.".to_owned(),
        content: "x".repeat(letters),
    };
    batch.add(at, Message::News(&item));
    batch.frames().into_iter().flat_map(|frame| frame.bytes).collect()
}

impl Emitter<'_> {
    /// The frames of `from <= at < until`.
    pub(crate) fn frames(&self, from: Timestamp, until: Timestamp) -> Vec<Batched> {
        let mut batch = Batch::new(self.format);
        if self.feed == Feed::News {
            self.tell_news(&mut batch, from, until);
        }
        for channel in self.feed.channels() {
            for asset in self.assets_of(*channel) {
                self.emit(&mut batch, *channel, &asset, from, until);
            }
        }
        batch.frames()
    }

    /// Until when the frames from `from` on are to be made in one go: a second, or in a replay as far as not too much happens.
    /// What is invented comes by the second even then.
    pub(crate) fn slice(&self, from: Timestamp, now: Timestamp) -> Timestamp {
        let mut assets = self
            .feed
            .channels()
            .iter()
            .flat_map(|channel| self.assets_of(*channel));
        let is_recorded = self.feed != Feed::News && assets.all(|asset| self.tape.is_recorded(&asset, now));
        if !is_recorded {
            return now.min(from.checked_add(SLICE).unwrap_or(now));
        }
        let moments = self.tape.moments(from, now);
        moments.get(SLICE_MOMENTS).copied().unwrap_or(now)
    }

    fn tell_news(&self, batch: &mut Batch, from: Timestamp, until: Timestamp) {
        let all = self.subscriptions.has_star(Channel::News);
        let wanted = |symbol: &String| self.subscriptions.of(Channel::News).any(|named| named == symbol);
        for item in news::between(self.seed, self.assets, from, until) {
            if all || item.symbols.iter().any(wanted) {
                batch.add(item.at, Message::News(&item));
            }
        }
    }

    /// The assets subscribed to on a channel, each once.
    fn assets_of(&self, channel: Channel) -> Vec<Asset> {
        if self.feed == Feed::Test {
            let wanted = self
                .subscriptions
                .of(channel)
                .any(|symbol| symbol == "*" || symbol == TEST_SYMBOL);
            return if wanted { vec![Assets::test()] } else { Vec::new() };
        }
        if self.subscriptions.has_star(channel) {
            let listed = self
                .assets
                .listed()
                .iter()
                .filter(|asset| self.feed.carries(asset));
            return listed.cloned().collect();
        }
        let named = self.subscriptions.of(channel);
        named
            .filter_map(|symbol| self.assets.find(symbol).filter(|asset| self.feed.carries(asset)))
            .collect()
    }

    fn emit(&self, batch: &mut Batch, channel: Channel, asset: &Asset, from: Timestamp, until: Timestamp) {
        let head = |kind| Head {
            kind,
            symbol: &asset.symbol,
        };
        match channel {
            Channel::Trades => {
                for trade in self.tape.trades(asset, from, until) {
                    batch.add(trade.at, Message::Trade(head("t"), asset, &trade));
                }
            }
            Channel::Quotes => {
                for quote in self.tape.quotes(asset, from, until) {
                    batch.add(quote.at, Message::Quote(head("q"), asset, &quote));
                }
            }
            Channel::Orderbooks => {
                for quote in self.tape.quotes(asset, from, until) {
                    batch.add(quote.at, Message::OrderBook(head("o"), &quote));
                }
            }
            Channel::Bars => {
                for minute in minutes(from, until) {
                    if let Some(bar) = self.first_told(asset, minute - MINUTE) {
                        batch.add(minute, Message::Bar(head("b"), asset, &bar));
                    }
                }
            }
            Channel::UpdatedBars => {
                for minute in minutes(from - UPDATE_AFTER, until - UPDATE_AFTER) {
                    let begin = minute - MINUTE;
                    let whole = self.tape.minute(asset, begin);
                    if whole != self.first_told(asset, begin)
                        && let Some(bar) = whole
                    {
                        batch.add(minute + UPDATE_AFTER, Message::Bar(head("u"), asset, &bar));
                    }
                }
            }
            Channel::DailyBars => {
                for minute in minutes(from, until) {
                    // Only when the minute brought something.
                    if self.tape.minute(asset, minute - MINUTE).is_some()
                        && let Some(bar) = self.tape.day(asset, new_york_day(minute - MINUTE), minute)
                    {
                        batch.add(minute, Message::Bar(head("d"), asset, &bar));
                    }
                }
            }
            Channel::Lulds => {
                for minute in minutes(from, until) {
                    if self.tape.is_open(asset, minute) {
                        let price = self.tape.price_at(asset, minute);
                        batch.add(minute, Message::Luld(head("l"), minute, price));
                    }
                }
            }
            Channel::Statuses => {
                for (at, is_open) in self.tape.openings(asset, from, until) {
                    batch.add(at, Message::Status(head("s"), at, is_open));
                }
            }
            // Nobody here corrects a trade or holds an auction with an imbalance; news has a stream of its own.
            Channel::Imbalances | Channel::Corrections | Channel::CancelErrors | Channel::News => {}
        }
    }

    /// The bar as it was first told, which in some minutes lacks a trade that came late.
    fn first_told(&self, asset: &Asset, begin: Timestamp) -> Option<Bar> {
        let is_late = begin
            .as_second()
            .div_euclid(MINUTE.as_secs())
            .rem_euclid(LATE_EVERY)
            == LATE_EVERY - 1;
        if !is_late || self.tape.recording().is_some() {
            return self.tape.minute(asset, begin);
        }
        let mut trades = self.tape.trades(asset, begin, begin + MINUTE);
        if trades.len() > 1 {
            trades.pop();
        }
        bar_of(trades)
    }
}

/// The full minutes of `from <= minute < until`.
fn minutes(from: Timestamp, until: Timestamp) -> impl Iterator<Item = Timestamp> {
    let length = MINUTE.as_secs();
    let first = from
        .as_second()
        .saturating_add(i64::from(from.subsec_nanosecond() > 0))
        .saturating_add(length - 1)
        .div_euclid(length);
    (first..)
        .map_while(move |minute| Timestamp::from_second(minute.saturating_mul(length)).ok())
        .take_while(move |minute| *minute < until)
}
