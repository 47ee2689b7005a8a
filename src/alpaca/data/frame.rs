//! One frame: a list of rows, each an observation or a word about the connection.
//!
//! Keys are taken in any order, what is unknown is passed over, and a value of another type than expected is as good as
//! absent: the venue adds fields, and spells some of them in two ways. A frame that is no list of maps is an error, and
//! the rows before the fault are taken.

use std::borrow::Cow;

use jiff::Timestamp;

use super::{Format, json, key, msgpack};
use crate::alpaca::clean;
use crate::domain::market::{
    Bar, Channel, MarketTrade, News, Observation, OrderBook, Quote, Subscriptions, Texts, TradingStatus,
};

/// One row.
#[derive(Clone, Debug, PartialEq)]
pub enum Row<'a> {
    /// Something happened in the market.
    Observation(Observation<'a>),
    /// Something happened to the connection.
    Control(Control),
    /// Something this version does not know, or a row without a symbol: its kind.
    Unknown(String),
}

/// A word about the connection.
#[derive(Clone, Debug, PartialEq)]
pub enum Control {
    /// The greeting.
    Connected,
    /// The keys fit.
    Authenticated,
    /// Everything that is subscribed to now.
    Subscribed(Subscriptions),
    /// Something is refused.
    Error {
        /// The venue's number for it.
        code: u64,
        /// Its words.
        message: String,
    },
}

/// A frame that cannot be taken apart.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a frame of market data cannot be read: {0}")]
pub struct FrameError(pub(super) String);

/// Takes a frame apart, row by row.
pub fn read<'a>(format: Format, frame: &'a [u8], mut each: impl FnMut(Row<'a>)) -> Result<(), FrameError> {
    let mut take = |fields: Fields<'a>| each(fields.into_row());
    match format {
        Format::Json => json::read(frame, &mut take),
        Format::MessagePack => msgpack::read(frame, &mut take),
    }
}

/// A value, whichever format it came in.
#[derive(Clone, Debug)]
pub(super) enum Value<'a> {
    Text(Cow<'a, str>),
    Whole(u64),
    Number(f64),
    Flag(bool),
    Moment(Timestamp),
    Texts(Texts<'a>),
    Levels(Vec<(f64, f64)>),
    /// Null, or something no field has.
    Nothing,
}

impl<'a> Value<'a> {
    fn text(self) -> Cow<'a, str> {
        match self {
            Self::Text(text) => text,
            Self::Whole(number) => Cow::Owned(number.to_string()),
            Self::Number(_)
            | Self::Flag(_)
            | Self::Moment(_)
            | Self::Texts(_)
            | Self::Levels(_)
            | Self::Nothing => Cow::Borrowed(""),
        }
    }

    pub(super) fn number(&self) -> f64 {
        match self {
            Self::Whole(number) => *number as f64,
            Self::Number(number) if number.is_finite() => *number,
            Self::Number(_)
            | Self::Text(_)
            | Self::Flag(_)
            | Self::Moment(_)
            | Self::Texts(_)
            | Self::Levels(_)
            | Self::Nothing => 0.0,
        }
    }

    fn whole(&self) -> u64 {
        match self {
            Self::Whole(number) => *number,
            // A cast of a float saturates.
            Self::Number(number) => *number as u64,
            Self::Text(_)
            | Self::Flag(_)
            | Self::Moment(_)
            | Self::Texts(_)
            | Self::Levels(_)
            | Self::Nothing => 0,
        }
    }

    fn moment(&self) -> Timestamp {
        match self {
            Self::Moment(at) => *at,
            Self::Text(text) => text.parse().unwrap_or_default(),
            Self::Whole(_)
            | Self::Number(_)
            | Self::Flag(_)
            | Self::Texts(_)
            | Self::Levels(_)
            | Self::Nothing => Timestamp::default(),
        }
    }

    fn texts(self) -> Texts<'a> {
        match self {
            Self::Texts(texts) => texts,
            Self::Text(text) => vec![text],
            Self::Whole(_)
            | Self::Number(_)
            | Self::Flag(_)
            | Self::Moment(_)
            | Self::Levels(_)
            | Self::Nothing => Vec::new(),
        }
    }

    fn levels(self) -> Vec<(f64, f64)> {
        match self {
            Self::Levels(levels) => levels,
            Self::Text(_)
            | Self::Whole(_)
            | Self::Number(_)
            | Self::Flag(_)
            | Self::Moment(_)
            | Self::Texts(_)
            | Self::Nothing => Vec::new(),
        }
    }
}

/// Every field any row has.
#[derive(Default)]
pub(super) struct Fields<'a> {
    kind: Cow<'a, str>,
    symbol: Cow<'a, str>,
    at: Timestamp,
    id: u64,
    exchange: Cow<'a, str>,
    price: f64,
    size: f64,
    conditions: Texts<'a>,
    tape: Cow<'a, str>,
    taker_side: Cow<'a, str>,
    bid: (f64, f64),
    ask: (f64, f64),
    bid_exchange: Cow<'a, str>,
    ask_exchange: Cow<'a, str>,
    open: f64,
    high: f64,
    low: f64,
    close: f64,
    volume: f64,
    trade_count: u64,
    vwap: f64,
    status: [Cow<'a, str>; 4],
    bids: Vec<(f64, f64)>,
    asks: Vec<(f64, f64)>,
    reset: bool,
    article: Option<Box<News<'a>>>,
    message: Cow<'a, str>,
    code: u64,
    subscribed: Subscriptions,
}

impl<'a> Fields<'a> {
    pub(super) fn set(&mut self, name: &str, value: Value<'a>) {
        match name {
            "T" => self.kind = value.text(),
            "S" => self.symbol = value.text(),
            "t" => self.at = value.moment(),
            "i" => self.id = value.whole(),
            "x" => self.exchange = value.text(),
            "p" => self.price = value.number(),
            "s" => self.size = value.number(),
            // The close of a bar, or the conditions of something else.
            "c" => match value {
                Value::Whole(_) | Value::Number(_) => self.close = value.number(),
                Value::Text(_)
                | Value::Flag(_)
                | Value::Moment(_)
                | Value::Texts(_)
                | Value::Levels(_)
                | Value::Nothing => self.conditions = value.texts(),
            },
            "z" => self.tape = value.text(),
            "tks" => self.taker_side = value.text(),
            "bp" => self.bid.0 = value.number(),
            "bs" => self.bid.1 = value.number(),
            "ap" => self.ask.0 = value.number(),
            "as" => self.ask.1 = value.number(),
            "bx" => self.bid_exchange = value.text(),
            "ax" => self.ask_exchange = value.text(),
            "o" => self.open = value.number(),
            "h" => self.high = value.number(),
            "l" => self.low = value.number(),
            "v" => self.volume = value.number(),
            "n" => self.trade_count = value.whole(),
            "vw" => self.vwap = value.number(),
            "sc" => self.status[0] = value.text(),
            "sm" => self.status[1] = value.text(),
            "rc" => self.status[2] = value.text(),
            "rm" => self.status[3] = value.text(),
            "b" => self.bids = value.levels(),
            "a" => self.asks = value.levels(),
            "r" => self.reset = matches!(value, Value::Flag(true)),
            "msg" => self.message = value.text(),
            "code" => self.code = value.whole(),
            "id" => self.article().id = value.whole(),
            "headline" => self.article().headline = value.text(),
            "author" => self.article().author = value.text(),
            "summary" => self.article().summary = value.text(),
            "content" => self.article().content = value.text(),
            "url" => self.article().url = value.text(),
            "symbols" => self.article().symbols = value.texts(),
            "created_at" => self.article().created_at = value.moment(),
            "updated_at" => self.article().updated_at = value.moment(),
            channel => {
                if let Some(channel) = Channel::ALL.into_iter().find(|known| key(*known) == channel) {
                    let symbols = value.texts().into_iter().map(Cow::into_owned);
                    self.subscribed.add(channel, symbols);
                }
            }
        }
    }

    fn article(&mut self) -> &mut News<'a> {
        self.article.get_or_insert_default()
    }

    fn into_row(self) -> Row<'a> {
        let control = match self.kind.as_ref() {
            "success" => match self.message.as_ref() {
                "connected" => Some(Control::Connected),
                "authenticated" => Some(Control::Authenticated),
                _ => None,
            },
            "error" => Some(Control::Error {
                code: self.code,
                message: clean(&self.message),
            }),
            "subscription" => return Row::Control(Control::Subscribed(self.subscribed)),
            _ => None,
        };
        if let Some(control) = control {
            return Row::Control(control);
        }
        let is_news = self.kind == "n";
        if self.symbol.is_empty() && !is_news {
            return Row::Unknown(clean(&self.kind));
        }
        let observation = match self.kind.as_ref() {
            "t" => Observation::Trade(MarketTrade {
                symbol: self.symbol,
                at: self.at,
                price: self.price,
                size: self.size,
                exchange: self.exchange,
                id: self.id,
                conditions: self.conditions,
                tape: self.tape,
                taker_side: self.taker_side,
            }),
            "q" => Observation::Quote(Quote {
                symbol: self.symbol,
                at: self.at,
                bid_price: self.bid.0,
                bid_size: self.bid.1,
                ask_price: self.ask.0,
                ask_size: self.ask.1,
                bid_exchange: self.bid_exchange,
                ask_exchange: self.ask_exchange,
                conditions: self.conditions,
                tape: self.tape,
            }),
            "b" => Observation::Bar(Channel::Bars, self.into_bar()),
            "u" => Observation::Bar(Channel::UpdatedBars, self.into_bar()),
            "d" => Observation::Bar(Channel::DailyBars, self.into_bar()),
            "s" => {
                let [status_code, status_message, reason_code, reason_message] = self.status;
                Observation::Status(TradingStatus {
                    symbol: self.symbol,
                    at: self.at,
                    status_code,
                    status_message,
                    reason_code,
                    reason_message,
                    tape: self.tape,
                })
            }
            "o" => Observation::OrderBook(OrderBook {
                symbol: self.symbol,
                at: self.at,
                bids: self.bids,
                asks: self.asks,
                reset: self.reset,
            }),
            "n" => Observation::News(self.article.map(|article| *article).unwrap_or_default()),
            kind => return Row::Unknown(clean(kind)),
        };
        Row::Observation(observation)
    }

    fn into_bar(self) -> Bar<'a> {
        Bar {
            symbol: self.symbol,
            at: self.at,
            open: self.open,
            high: self.high,
            low: self.low,
            close: self.close,
            volume: self.volume,
            trade_count: self.trade_count,
            vwap: self.vwap,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value as Json, json};

    use super::*;

    fn rows(format: Format, frame: &[u8]) -> Vec<String> {
        let mut rows = Vec::new();
        read(format, frame, |row| rows.push(format!("{row:?}"))).unwrap();
        rows
    }

    /// The rows of one frame, the same in both formats.
    fn heard(frame: &Json) -> Vec<String> {
        let text = frame.to_string();
        let binary = rmp_serde::to_vec(frame).unwrap();
        let heard = rows(Format::Json, text.as_bytes());
        assert_eq!(heard, rows(Format::MessagePack, &binary), "{frame}");
        heard
    }

    #[test]
    fn rows_of_every_kind_are_read_in_both_formats() {
        let t = "2026-11-28T15:30:00.123456789Z";
        let frame = json!([
            {"T":"t","S":"AAPL","i":96921,"x":"D","p":126.55,"s":1,"c":["@","I"],"z":"C","t":t},
            {"T":"q","S":"BRK.B","bx":"U","bp":87.66,"bs":1,"ax":"X","ap":88,"as":3,"c":["R"],"z":"C","t":t},
            {"T":"b","S":"SPY","o":388.9,"h":389.0,"l":388.9,"c":388.97,"v":49378,"n":461,"vw":388.9,"t":t},
            {"T":"d","S":"BTC/USD","o":1,"h":1.0,"l":1,"c":1,"v":0.25,"n":2,"vw":1.5,"t":t},
            {"T":"s","S":"AAPL","sc":"H","sm":"Trading Halt","rc":"T12","rm":"More information","z":"C","t":t},
            {"T":"o","S":"BTC/USD","b":[{"p":1.5,"s":2}],"a":[{"p":2,"s":0}],"r":true,"t":t},
            {"T":"n","id":24918784,"headline":"a \"b\"\n","author":"c","symbols":["AAPL","TSLA"],"created_at":t,"updated_at":t},
            {"T":"t","S":"AAPL250620C00100000","x":"N","p":1.2,"s":3,"c":"a","t":t},
            {"T":"l","S":"AAPL","u":1,"d":2,"i":"B","t":t},
            {"T":"q","bp":1},
        ]);
        let rows = heard(&frame);
        assert_eq!(rows.len(), 10);
        for (row, parts) in rows.iter().zip([
            &[
                "Trade(",
                "AAPL",
                "126.55",
                "id: 96921",
                "[\"@\", \"I\"]",
                ".123456789Z",
            ][..],
            &[
                "Quote(",
                "BRK.B",
                "bid_price: 87.66",
                "ask_price: 88.0",
                "ask_size: 3.0",
            ],
            &["Bar(Bars", "close: 388.97", "volume: 49378.0", "trade_count: 461"],
            &["Bar(DailyBars", "volume: 0.25"],
            &["Status(", "T12", "Trading Halt"],
            &[
                "OrderBook(",
                "bids: [(1.5, 2.0)]",
                "asks: [(2.0, 0.0)]",
                "reset: true",
            ],
            &["News(", "24918784", "[\"AAPL\", \"TSLA\"]", "a \\\"b\\\"\\n"],
            &["Trade(", "AAPL250620C00100000", "[\"a\"]"],
            &["Unknown(\"l\")"],
            &["Unknown(\"q\")"],
        ]) {
            for part in parts {
                assert!(row.contains(part), "{part:?} is not in {row}");
            }
        }
    }

    #[test]
    fn words_about_the_connection_are_told_apart() {
        let frame = json!([
            {"T":"success","msg":"connected"},
            {"T":"success","msg":"authenticated"},
            {"T":"error","code":405,"msg":"symbol limit exceeded"},
            {"T":"subscription","trades":["AAPL"],"quotes":[],"bars":["*"],"updatedBars":["MSFT"],"lulds":["X"]},
        ]);
        let rows = heard(&frame);
        assert_eq!(rows[0], "Control(Connected)");
        assert_eq!(rows[1], "Control(Authenticated)");
        assert!(rows[2].contains("405") && rows[2].contains("symbol limit exceeded"));
        let Row::Control(Control::Subscribed(subscribed)) = ({
            let text = frame[3].to_string();
            let text: &'static str = format!("[{text}]").leak();
            let mut last = None;
            read(Format::Json, text.as_bytes(), |row| last = Some(row)).unwrap();
            last.unwrap()
        }) else {
            panic!("a confirmation");
        };
        assert_eq!(subscribed.of(Channel::Bars).collect::<Vec<_>>(), ["*"]);
        assert_eq!(subscribed.len(), 3);
    }

    #[test]
    fn binary_times_keep_their_nanoseconds() {
        // Of the venue's three lengths: 4, 8 and 12 bytes.
        let seconds = 1_796_000_000_u32;
        let nanos = 123_456_789_u64;
        let eight = (nanos << 34) | u64::from(seconds);
        let mut twelve = vec![0xc7, 12, 0xff];
        twelve.extend(123_456_789_u32.to_be_bytes());
        twelve.extend(i64::from(seconds).to_be_bytes());
        for (time, expected) in [
            ([&[0xd6, 0xff], &seconds.to_be_bytes()[..]].concat(), 0),
            ([&[0xd7, 0xff], &eight.to_be_bytes()[..]].concat(), 123_456_789),
            (twelve, 123_456_789),
        ] {
            let mut frame = vec![
                0x91, 0x83, 0xa1, b'T', 0xa1, b't', 0xa1, b'S', 0xa1, b'A', 0xa1, b't',
            ];
            frame.extend(time);
            let mut at = Timestamp::default();
            read(Format::MessagePack, &frame, |row| {
                if let Row::Observation(observation) = row {
                    at = observation.at();
                }
            })
            .unwrap();
            assert_eq!(at.as_second(), i64::from(seconds));
            assert_eq!(at.subsec_nanosecond(), expected);
        }
    }

    proptest! {
        #[test]
        fn no_frame_panics(frame in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = read(Format::MessagePack, &frame, |_| {});
            let _ = read(Format::Json, &frame, |_| {});
        }

        #[test]
        fn no_broken_frame_panics(cut in 0..300usize, flip in 0..300usize) {
            let row = json!({"T":"o","S":"A","b":[{"p":1.5,"s":2}],"c":["x"],"t":"2026-11-28T15:30:00Z","r":true});
            let mut frame = rmp_serde::to_vec(&json!([row, row])).unwrap();
            let at = flip % frame.len();
            frame[at] ^= 0x5a;
            frame.truncate(cut);
            let _ = read(Format::MessagePack, &frame, |_| {});
        }
    }
}
