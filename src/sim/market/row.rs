//! Trades, quotes and bars as the venue spells them, in JSON and MessagePack from one description.
//!
//! The streams put two keys before these, the historical data none. Prices are numbers on this side of the venue, and go
//! from decimal to text (JSON) or to a double (MessagePack) only here.

use jiff::Timestamp;
use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;

use super::super::core::AssetClass;
pub(crate) use super::super::core::tape::{Bar, Quote, Trade};

/// Writes one map; the caller announces how many fields follow, and gives them in order.
pub(crate) trait Sink {
    /// A map of this many fields begins.
    fn begin(&mut self, fields: usize);
    /// A string.
    fn text(&mut self, key: &str, value: &str);
    /// A whole number.
    fn whole(&mut self, key: &str, value: u64);
    /// A number that may have a fraction.
    fn number(&mut self, key: &str, value: Decimal);
    /// A truth value.
    fn flag(&mut self, key: &str, value: bool);
    /// A moment, to the nanosecond.
    fn moment(&mut self, key: &str, value: Timestamp);
    /// A list of strings.
    fn texts(&mut self, key: &str, values: &[&str]);
    /// A list of price levels.
    fn levels(&mut self, key: &str, levels: &[(Decimal, Decimal)]);
    /// The map ends.
    fn end(&mut self);
}

/// The keys that tell streamed rows apart; `T` must come first, which one client insists on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Head<'a> {
    /// The kind, in one letter.
    pub(crate) kind: &'a str,
    /// The symbol.
    pub(crate) symbol: &'a str,
}

fn begin(sink: &mut impl Sink, head: Option<Head<'_>>, fields: usize) {
    sink.begin(fields + if head.is_some() { 2 } else { 0 });
    if let Some(head) = head {
        sink.text("T", head.kind);
        sink.text("S", head.symbol);
    }
}

/// A share's tape: `C` for Nasdaq's, `A` for New York's, `B` for the others.
fn tape_of(exchange: &str) -> &'static str {
    match exchange {
        "Q" => "C",
        "N" => "A",
        _ => "B",
    }
}

/// A whole number of units; shares and contracts have no fractions here.
fn units(size: Decimal) -> u64 {
    size.trunc().to_u64().unwrap_or(0)
}

pub(crate) fn trade(sink: &mut impl Sink, head: Option<Head<'_>>, class: AssetClass, trade: &Trade) {
    match class {
        AssetClass::UsEquity => {
            begin(sink, head, 7);
            sink.whole("i", trade.id);
            sink.text("x", &trade.exchange);
            sink.number("p", trade.price);
            sink.whole("s", units(trade.size));
            sink.texts("c", &["@"]);
            sink.moment("t", trade.at);
            sink.text("z", tape_of(&trade.exchange));
        }
        AssetClass::Crypto => {
            begin(sink, head, 5);
            sink.whole("i", trade.id);
            sink.number("p", trade.price);
            sink.number("s", trade.size);
            sink.moment("t", trade.at);
            sink.text("tks", if trade.id.is_multiple_of(2) { "B" } else { "S" });
        }
        AssetClass::UsOption => {
            begin(sink, head, 5);
            sink.text("x", &trade.exchange);
            sink.number("p", trade.price);
            sink.whole("s", units(trade.size));
            sink.text("c", "a");
            sink.moment("t", trade.at);
        }
    }
    sink.end();
}

pub(crate) fn quote(sink: &mut impl Sink, head: Option<Head<'_>>, class: AssetClass, quote: &Quote) {
    match class {
        AssetClass::UsEquity | AssetClass::UsOption => {
            let is_share = class == AssetClass::UsEquity;
            begin(sink, head, if is_share { 9 } else { 8 });
            sink.text("ax", &quote.exchange);
            sink.number("ap", quote.ask);
            sink.whole("as", units(quote.ask_size));
            sink.text("bx", &quote.exchange);
            sink.number("bp", quote.bid);
            sink.whole("bs", units(quote.bid_size));
            if is_share {
                sink.texts("c", &["R"]);
            } else {
                sink.text("c", "A");
            }
            sink.moment("t", quote.at);
            if is_share {
                sink.text("z", tape_of(&quote.exchange));
            }
        }
        AssetClass::Crypto => {
            begin(sink, head, 5);
            sink.number("ap", quote.ask);
            sink.number("as", quote.ask_size);
            sink.number("bp", quote.bid);
            sink.number("bs", quote.bid_size);
            sink.moment("t", quote.at);
        }
    }
    sink.end();
}

pub(crate) fn bar(sink: &mut impl Sink, head: Option<Head<'_>>, class: AssetClass, bar: &Bar) {
    begin(sink, head, 8);
    sink.number("o", bar.open);
    sink.number("h", bar.high);
    sink.number("l", bar.low);
    sink.number("c", bar.close);
    match class {
        AssetClass::Crypto => sink.number("v", bar.volume),
        AssetClass::UsEquity | AssetClass::UsOption => sink.whole("v", units(bar.volume)),
    }
    sink.whole("n", bar.trades);
    sink.number("vw", bar.vwap);
    sink.moment("t", bar.at);
    sink.end();
}

/// Levels in a coin's order book.
const BOOK_LEVELS: i64 = 10;

/// The order book around a quote: levels a tick of the spread apart.
pub(crate) fn order_book(sink: &mut impl Sink, head: Option<Head<'_>>, quote: &Quote) {
    let step = (quote.ask - quote.bid) / Decimal::TWO;
    let side = |price: Decimal, step: Decimal, size: Decimal| -> Vec<(Decimal, Decimal)> {
        (0..BOOK_LEVELS)
            .map(|level| {
                (
                    price + step * Decimal::from(level),
                    size * Decimal::from(level + 1),
                )
            })
            .filter(|(price, _)| *price > Decimal::ZERO)
            .collect()
    };
    begin(sink, head, if head.is_some() { 4 } else { 3 });
    sink.levels("b", &side(quote.bid, -step, quote.bid_size));
    sink.levels("a", &side(quote.ask, step, quote.ask_size));
    sink.moment("t", quote.at);
    if head.is_some() {
        // Every message is the whole book.
        sink.flag("r", true);
    }
    sink.end();
}

/// Limit-up and limit-down prices stand this far from the price, in percent.
const BAND_PERCENT: i64 = 5;

/// The band within which a share may trade.
pub(crate) fn price_band(sink: &mut impl Sink, head: Head<'_>, price: Decimal, at: Timestamp) {
    let distance = price * Decimal::new(BAND_PERCENT, 2);
    begin(sink, Some(head), 5);
    sink.number("u", (price + distance).round_dp(2));
    sink.number("d", (price - distance).round_dp(2));
    sink.text("i", "B");
    sink.moment("t", at);
    sink.text("z", "C");
    sink.end();
}

/// Trading was halted, or goes on.
pub(crate) fn status(sink: &mut impl Sink, head: Head<'_>, is_open: bool, at: Timestamp) {
    let (code, text) = if is_open {
        ("T", "Trading Resumption")
    } else {
        ("H", "Trading Halt")
    };
    let (reason_code, reason) = if is_open {
        ("", "")
    } else {
        ("T12", "Trading Halted; For Information Requested by Exchange")
    };
    begin(sink, Some(head), 6);
    sink.text("sc", code);
    sink.text("sm", text);
    sink.text("rc", reason_code);
    sink.text("rm", reason);
    sink.moment("t", at);
    sink.text("z", "C");
    sink.end();
}

/// JSON, without spaces.
#[derive(Debug, Default)]
pub(crate) struct Json {
    out: String,
    /// Does a comma come before the next field?
    more: bool,
}

impl Json {
    pub(crate) fn into_text(self) -> String {
        self.out
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.out.as_bytes()
    }

    fn key(&mut self, key: &str) {
        if std::mem::replace(&mut self.more, true) {
            self.out.push(',');
        }
        self.quoted(key);
        self.out.push(':');
    }

    fn quoted(&mut self, text: &str) {
        // Keys, symbols and codes are plain; a recording may hold anything.
        if text
            .bytes()
            .all(|byte| byte >= b' ' && byte != b'"' && byte != b'\\')
        {
            self.out.push('"');
            self.out.push_str(text);
            self.out.push('"');
        } else {
            self.out.push_str(&serde_json::Value::from(text).to_string());
        }
    }

    fn plain(&mut self, value: impl std::fmt::Display) {
        use std::fmt::Write;
        // Writing to a string cannot fail.
        let _ = write!(self.out, "{value}");
    }
}

impl Sink for Json {
    fn begin(&mut self, _: usize) {
        self.out.push('{');
        self.more = false;
    }

    fn text(&mut self, key: &str, value: &str) {
        self.key(key);
        self.quoted(value);
    }

    fn whole(&mut self, key: &str, value: u64) {
        self.key(key);
        self.plain(value);
    }

    fn number(&mut self, key: &str, value: Decimal) {
        self.key(key);
        self.plain(value.normalize());
    }

    fn flag(&mut self, key: &str, value: bool) {
        self.key(key);
        self.plain(value);
    }

    fn moment(&mut self, key: &str, value: Timestamp) {
        self.key(key);
        self.out.push('"');
        self.plain(value);
        self.out.push('"');
    }

    fn texts(&mut self, key: &str, values: &[&str]) {
        self.key(key);
        self.out.push('[');
        for (at, value) in values.iter().enumerate() {
            if at > 0 {
                self.out.push(',');
            }
            self.quoted(value);
        }
        self.out.push(']');
    }

    fn levels(&mut self, key: &str, levels: &[(Decimal, Decimal)]) {
        self.key(key);
        self.out.push('[');
        for (at, (price, size)) in levels.iter().enumerate() {
            if at > 0 {
                self.out.push(',');
            }
            self.plain(format_args!(
                "{{\"p\":{},\"s\":{}}}",
                price.normalize(),
                size.normalize()
            ));
        }
        self.out.push(']');
    }

    fn end(&mut self) {
        self.out.push('}');
        self.more = true;
    }
}

/// MessagePack: moments as the timestamp extension, whole numbers as integers, the others as doubles.
#[derive(Debug, Default)]
pub(crate) struct MessagePack(Vec<u8>);

/// The extension type of a moment.
const TIMESTAMP: i8 = -1;

impl MessagePack {
    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    fn string(&mut self, text: &str) {
        // Writing to a vector cannot fail.
        let _ = rmp::encode::write_str(&mut self.0, text);
    }

    fn double(&mut self, value: Decimal) {
        let _ = rmp::encode::write_f64(&mut self.0, value.to_f64().unwrap_or(0.0));
    }

    fn list(&mut self, length: usize) {
        let _ = rmp::encode::write_array_len(&mut self.0, u32::try_from(length).unwrap_or(u32::MAX));
    }
}

impl Sink for MessagePack {
    fn begin(&mut self, fields: usize) {
        let _ = rmp::encode::write_map_len(&mut self.0, u32::try_from(fields).unwrap_or(u32::MAX));
    }

    fn text(&mut self, key: &str, value: &str) {
        self.string(key);
        self.string(value);
    }

    fn whole(&mut self, key: &str, value: u64) {
        self.string(key);
        let _ = rmp::encode::write_uint(&mut self.0, value);
    }

    fn number(&mut self, key: &str, value: Decimal) {
        self.string(key);
        self.double(value);
    }

    fn flag(&mut self, key: &str, value: bool) {
        self.string(key);
        let _ = rmp::encode::write_bool(&mut self.0, value);
    }

    /// The 12-byte form holds any moment: nanoseconds, then seconds.
    fn moment(&mut self, key: &str, value: Timestamp) {
        const LENGTH: u32 = 12;
        self.string(key);
        let nanos = value.as_nanosecond();
        let seconds = i64::try_from(nanos.div_euclid(1_000_000_000)).unwrap_or(0);
        let rest = u32::try_from(nanos.rem_euclid(1_000_000_000)).unwrap_or(0);
        let _ = rmp::encode::write_ext_meta(&mut self.0, LENGTH, TIMESTAMP);
        self.0.extend(rest.to_be_bytes());
        self.0.extend(seconds.to_be_bytes());
    }

    fn texts(&mut self, key: &str, values: &[&str]) {
        self.string(key);
        self.list(values.len());
        for value in values {
            self.string(value);
        }
    }

    fn levels(&mut self, key: &str, levels: &[(Decimal, Decimal)]) {
        self.string(key);
        self.list(levels.len());
        for (price, size) in levels {
            self.begin(2);
            self.number("p", *price);
            self.number("s", *size);
        }
    }

    fn end(&mut self) {}
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use serde_json::{Value, json};

    use super::*;

    fn a_trade() -> Trade {
        Trade {
            at: "2026-10-05T14:00:00.123456789Z".parse().unwrap(),
            id: u64::MAX,
            price: "230.10".parse().unwrap(),
            size: "12".parse().unwrap(),
            exchange: Cow::Borrowed("Q"),
        }
    }

    fn a_quote() -> Quote {
        Quote {
            at: "2026-10-05T14:00:00Z".parse().unwrap(),
            bid: "230.09".parse().unwrap(),
            bid_size: "0.5".parse().unwrap(),
            ask: "230.11".parse().unwrap(),
            ask_size: "2".parse().unwrap(),
            exchange: Cow::Borrowed("N"),
        }
    }

    fn json_of(write: impl FnOnce(&mut Json)) -> Value {
        let mut sink = Json::default();
        write(&mut sink);
        serde_json::from_str(&sink.into_text()).unwrap()
    }

    #[test]
    fn a_streamed_trade_begins_with_its_kind_and_keeps_every_digit() {
        let mut sink = Json::default();
        let head = Head {
            kind: "t",
            symbol: "AAPL",
        };
        trade(&mut sink, Some(head), AssetClass::UsEquity, &a_trade());
        assert_eq!(
            sink.into_text(),
            r#"{"T":"t","S":"AAPL","i":18446744073709551615,"x":"Q","p":230.1,"s":12,"c":["@"],"t":"2026-10-05T14:00:00.123456789Z","z":"C"}"#
        );
    }

    #[test]
    fn each_class_has_its_own_quote() {
        let of = |class| json_of(|sink| quote(sink, None, class, &a_quote()));
        assert_eq!(
            of(AssetClass::Crypto),
            json!({"ap": 230.11, "as": 2, "bp": 230.09, "bs": 0.5, "t": "2026-10-05T14:00:00Z"})
        );
        assert_eq!(of(AssetClass::UsOption)["c"], "A");
        assert_eq!(of(AssetClass::UsEquity)["c"], json!(["R"]));
        assert_eq!(of(AssetClass::UsEquity)["bs"], 0, "shares come whole");
        let book = json_of(|sink| order_book(sink, None, &a_quote()));
        assert_eq!(
            (book["b"].as_array().unwrap().len(), &book["a"][1]),
            (10, &json!({"p": 230.12, "s": 4}))
        );
    }

    #[test]
    fn message_pack_has_integers_doubles_and_timestamps_in_their_types() {
        let mut sink = MessagePack::default();
        let head = Head {
            kind: "t",
            symbol: "AAPL",
        };
        trade(&mut sink, Some(head), AssetClass::UsEquity, &a_trade());
        let bytes = sink.into_bytes();
        let mut reader = bytes.as_slice();
        assert_eq!(rmp::decode::read_map_len(&mut reader).unwrap(), 9);
        let (key, rest) = rmp::decode::read_str_from_slice(reader).unwrap();
        assert_eq!(key, "T");
        assert_eq!(rmp::decode::read_str_from_slice(rest).unwrap().0, "t");
        let has = |piece: &[u8]| bytes.windows(piece.len()).any(|window| window == piece);
        assert!(has(&[0xA1, b'i', 0xCF, 0xFF]), "a 64-bit id");
        assert!(has(&[0xA1, b's', 12]), "a whole size");
        assert!(has(&[0xA1, b'p', 0xCB]), "a double");
        let nanos = 123_456_789_u32.to_be_bytes();
        let stamp: Vec<u8> = [0xA1, b't', 0xC7, 12, 0xFF].into_iter().chain(nanos).collect();
        assert!(has(&stamp), "a timestamp of extension type -1");
    }
}
