//! Observations of the market on their way out, written field by field into one buffer: nothing is copied twice.

use bytes::{BufMut as _, Bytes, BytesMut};
use jiff::Timestamp;
use prost::Message as _;
use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint};

use super::proto::stream;
use crate::domain::market::{Channel, MarketClass, Observation};

/// Room for most observations.
const USUAL_SIZE: usize = 160;
/// Observations share an allocation of this size, some thirty of them. One that is kept keeps the others' bytes with it, so it is small.
const SHARED_SIZE: usize = 4096;
/// Longest text of an article in a message: NATS takes a mebibyte unless it is told otherwise.
const CONTENT_MAX: usize = 256 * 1024;

/// The full name of a channel's message.
pub const fn schema(channel: Channel) -> &'static str {
    match channel {
        Channel::Trades => "stream.v0.Trade",
        Channel::Quotes => "stream.v0.Quote",
        Channel::Bars | Channel::UpdatedBars | Channel::DailyBars => "stream.v0.Bar",
        Channel::Statuses => "stream.v0.TradingStatus",
        Channel::OrderBooks => "stream.v0.OrderBook",
        Channel::News => "stream.v0.News",
    }
}

/// Bid, offer and date of a quote that was written here. `None`: it cannot be read.
pub fn read_quote(payload: &[u8]) -> Option<(f64, f64, Timestamp)> {
    let quote = stream::Quote::decode(payload).ok()?;
    let at = quote.timestamp?;
    let at = Timestamp::new(at.seconds, at.nanos).ok()?;
    Some((quote.bid_price, quote.ask_price, at))
}

/// Writes an observation. `recovered` marks a bar that was asked for afterwards.
pub fn observation(class: MarketClass, observation: &Observation<'_>, recovered: bool) -> Bytes {
    let mut buffer = BytesMut::with_capacity(USUAL_SIZE);
    write(&mut buffer, class, observation, recovered);
    buffer.freeze()
}

/// Writes observations one after the other, many of them into one allocation.
#[derive(Debug, Default)]
pub struct Writer(BytesMut);

impl Writer {
    /// Writes an observation, as [`observation`] does.
    pub fn observation(
        &mut self,
        class: MarketClass,
        observation: &Observation<'_>,
        recovered: bool,
    ) -> Bytes {
        if self.0.capacity() < USUAL_SIZE {
            self.0 = BytesMut::with_capacity(SHARED_SIZE);
        }
        write(&mut self.0, class, observation, recovered);
        self.0.split().freeze()
    }
}

fn write(to: &mut BytesMut, class: MarketClass, observation: &Observation<'_>, recovered: bool) {
    match observation {
        Observation::Trade(trade) => {
            text(to, 1, &trade.symbol);
            moment(to, 2, trade.at);
            double(to, 3, trade.price);
            double(to, 4, trade.size);
            text(to, 5, &trade.exchange);
            whole(to, 6, trade.id);
            texts(to, 7, &trade.conditions);
            text(to, 8, &trade.tape);
            text(to, 9, &trade.taker_side);
        }
        Observation::Quote(quote) => {
            text(to, 1, &quote.symbol);
            moment(to, 2, quote.at);
            double(to, 3, quote.bid_price);
            double(to, 4, quote.bid_size);
            double(to, 5, quote.ask_price);
            double(to, 6, quote.ask_size);
            text(to, 7, &quote.bid_exchange);
            text(to, 8, &quote.ask_exchange);
            texts(to, 9, &quote.conditions);
            text(to, 10, &quote.tape);
        }
        Observation::Bar(_, bar) => {
            text(to, 1, &bar.symbol);
            double(to, 2, bar.open);
            double(to, 3, bar.high);
            double(to, 4, bar.low);
            double(to, 5, bar.close);
            // A cast of a float saturates; what it cuts off is in the text.
            whole(to, 6, bar.volume as u64);
            moment(to, 7, bar.at);
            whole(to, 8, bar.trade_count);
            double(to, 9, bar.vwap);
            if class == MarketClass::Crypto {
                text(to, 20, &bar.volume.to_string());
            }
            whole(to, 21, u64::from(recovered));
        }
        Observation::Status(status) => {
            text(to, 1, &status.symbol);
            moment(to, 2, status.at);
            text(to, 3, &status.status_code);
            text(to, 4, &status.status_message);
            text(to, 5, &status.reason_code);
            text(to, 6, &status.reason_message);
            text(to, 7, &status.tape);
        }
        Observation::OrderBook(book) => {
            text(to, 1, &book.symbol);
            moment(to, 2, book.at);
            for (tag, levels) in [(3, &book.bids), (4, &book.asks)] {
                for (price, size) in levels {
                    let mut level = BytesMut::with_capacity(18);
                    double(&mut level, 1, *price);
                    double(&mut level, 2, *size);
                    nested(to, tag, &level);
                }
            }
            whole(to, 5, u64::from(book.reset));
        }
        Observation::News(news) => {
            whole(to, 1, news.id);
            texts(to, 2, &news.symbols);
            text(to, 3, &news.headline);
            text(to, 4, &news.author);
            text(to, 5, &news.summary);
            // Half a text with HTML in it is worth nothing.
            let fits = news.content.len() <= CONTENT_MAX;
            text(to, 6, if fits { &news.content } else { "" });
            text(to, 7, &news.url);
            moment(to, 8, news.created_at);
            moment(to, 9, news.updated_at);
            whole(to, 20, u64::from(!fits));
        }
    }
}

/// When a bar on the bus began. `None`: it is no bar.
pub fn bar_time(payload: &[u8]) -> Option<Timestamp> {
    let at = stream::Bar::decode(payload).ok()?.timestamp?;
    Timestamp::new(at.seconds, at.nanos).ok()
}

fn double(to: &mut BytesMut, tag: u32, value: f64) {
    // As proto3 has it: what is the default is not written.
    if value != 0.0 {
        encode_key(tag, WireType::SixtyFourBit, to);
        to.put_f64_le(value);
    }
}

fn whole(to: &mut BytesMut, tag: u32, value: u64) {
    if value != 0 {
        encode_key(tag, WireType::Varint, to);
        encode_varint(value, to);
    }
}

pub(super) fn text(to: &mut BytesMut, tag: u32, value: &str) {
    if !value.is_empty() {
        nested(to, tag, value.as_bytes());
    }
}

fn texts<T: AsRef<str>>(to: &mut BytesMut, tag: u32, values: &[T]) {
    for value in values {
        nested(to, tag, value.as_ref().as_bytes());
    }
}

pub(super) fn nested(to: &mut BytesMut, tag: u32, bytes: &[u8]) {
    encode_key(tag, WireType::LengthDelimited, to);
    encode_varint(bytes.len() as u64, to);
    to.put_slice(bytes);
}

/// A time; none is not written.
fn moment(to: &mut BytesMut, tag: u32, at: Timestamp) {
    if at == Timestamp::default() {
        return;
    }
    // The wire's signed numbers are unsigned ones of 64 bits.
    let seconds = at.as_second().cast_unsigned();
    let nanos = u64::try_from(at.subsec_nanosecond()).unwrap_or_default();
    let of = |value: u64| {
        if value == 0 {
            0
        } else {
            1 + encoded_len_varint(value)
        }
    };
    encode_key(tag, WireType::LengthDelimited, to);
    encode_varint((of(seconds) + of(nanos)) as u64, to);
    whole(to, 1, seconds);
    whole(to, 2, nanos);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::market::{Bar, MarketTrade, News, OrderBook, Quote};
    use crate::wire::proto::stream as pb;

    #[test]
    fn what_shares_an_allocation_is_what_stands_alone() {
        let mut writer = Writer::default();
        let mut written = Vec::new();
        for number in 0..200_u64 {
            let news = News {
                id: number,
                content: "x".repeat(usize::try_from(number * 37 % 5000).unwrap()).into(),
                ..News::default()
            };
            let news = Observation::News(news);
            let shared = writer.observation(MarketClass::News, &news, false);
            written.push((shared, observation(MarketClass::News, &news, false)));
        }
        // All of them at the end: none was written over another.
        assert!(written.iter().all(|(shared, alone)| shared == alone));
    }

    fn stamp(at: Timestamp) -> Option<prost_types::Timestamp> {
        (at != Timestamp::default()).then(|| prost_types::Timestamp {
            seconds: at.as_second(),
            nanos: at.subsec_nanosecond(),
        })
    }

    fn moments() -> impl Strategy<Value = Timestamp> {
        (0..2_000_000_000_i64, 0..1_000_000_000_i32)
            .prop_map(|(second, nano)| Timestamp::new(second, nano).unwrap())
    }

    fn words() -> impl Strategy<Value = Vec<String>> {
        proptest::collection::vec("[A-Z@]{0,3}", 0..4)
    }

    proptest! {
        #[test]
        fn a_trade_is_what_the_schema_says(
            symbol in "[A-Z./]{1,8}", at in moments(), price in any::<f64>(), size in any::<f64>(),
            id in any::<u64>(), conditions in words(), tape in "[A-C]?",
        ) {
            let trade = MarketTrade {
                symbol: symbol.clone().into(),
                at,
                price,
                size,
                exchange: "Q".into(),
                id,
                conditions: conditions.iter().map(|word| word.clone().into()).collect(),
                tape: tape.clone().into(),
                taker_side: "".into(),
            };
            let written = observation(MarketClass::Stocks, &Observation::Trade(trade), false);
            let expected = pb::Trade {
                symbol, timestamp: stamp(at), price, size, exchange: "Q".into(), id, conditions, tape,
                taker_side: String::new(),
            };
            prop_assert_eq!(written, expected.encode_to_vec());
        }

        #[test]
        fn a_quote_is_what_the_schema_says(
            at in moments(), bid in any::<f64>(), ask in any::<f64>(), conditions in words(),
        ) {
            let quote = Quote {
                symbol: "BRK.B".into(),
                at,
                bid_price: bid,
                ask_price: ask,
                ask_size: 3.0,
                ask_exchange: "X".into(),
                conditions: conditions.iter().map(|word| word.clone().into()).collect(),
                ..Quote::default()
            };
            let written = observation(MarketClass::Stocks, &Observation::Quote(quote), false);
            let expected = pb::Quote {
                symbol: "BRK.B".into(), timestamp: stamp(at), bid_price: bid, ask_price: ask, ask_size: 3.0,
                ask_exchange: "X".into(), conditions, ..pb::Quote::default()
            };
            prop_assert_eq!(written, expected.encode_to_vec());
        }

        #[test]
        fn a_bar_is_what_the_schema_says(
            at in moments(), volume in 0.0..1e12_f64, count in any::<u64>(), recovered in any::<bool>(),
        ) {
            let bar = Bar { symbol: "BTC/USD".into(), at, close: 1.5, volume, trade_count: count, ..Bar::default() };
            let written = observation(MarketClass::Crypto, &Observation::Bar(Channel::Bars, bar), recovered);
            let expected = pb::Bar {
                symbol: "BTC/USD".into(), timestamp: stamp(at), close: 1.5, volume: volume as u64, trade_count: count,
                volume_text: volume.to_string(), recovered, ..pb::Bar::default()
            };
            prop_assert_eq!(written, expected.encode_to_vec());
        }
    }

    #[test]
    fn books_and_articles_are_what_the_schema_says() {
        let at: Timestamp = "2026-11-28T15:30:00.5Z".parse().unwrap();
        let book = OrderBook {
            symbol: "BTC/USD".into(),
            at,
            bids: vec![(1.5, 2.0), (1.0, 0.0)],
            asks: vec![],
            reset: true,
        };
        let written = observation(MarketClass::Crypto, &Observation::OrderBook(book), false);
        let level = |price, size| pb::PriceLevel { price, size };
        let expected = pb::OrderBook {
            symbol: "BTC/USD".into(),
            timestamp: stamp(at),
            bids: vec![level(1.5, 2.0), level(1.0, 0.0)],
            asks: vec![],
            reset: true,
        };
        assert_eq!(written, expected.encode_to_vec());

        let news = News {
            id: 7,
            symbols: vec!["AAPL".into()],
            headline: "h".into(),
            created_at: at,
            ..News::default()
        };
        let written = observation(MarketClass::News, &Observation::News(news), false);
        let expected = pb::News {
            id: 7,
            symbols: vec!["AAPL".into()],
            headline: "h".into(),
            created_at: stamp(at),
            ..pb::News::default()
        };
        assert_eq!(written, expected.encode_to_vec());
    }

    #[test]
    fn a_text_that_is_too_long_for_a_message_is_left_out_and_that_is_said() {
        for (letters, left_out) in [(CONTENT_MAX, false), (CONTENT_MAX + 1, true)] {
            let content = "x".repeat(letters);
            let news = News {
                id: 7,
                content: content.clone().into(),
                url: "u".into(),
                ..News::default()
            };
            let written = observation(MarketClass::News, &Observation::News(news), false);
            let read = pb::News::decode(written).unwrap();
            assert_eq!(read.content_left_out, left_out);
            assert_eq!(read.content, if left_out { String::new() } else { content });
            assert_eq!((read.id, read.url.as_str()), (7, "u"));
        }
    }
}
