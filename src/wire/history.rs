//! Bars of the past: the question, and a page of the answer.

use std::borrow::Cow;

use bytes::BytesMut;
use jiff::Timestamp;
use prost::Message as _;

use super::decode::{Unreadable, message};
use super::encode::{Encoded, encoded};
use super::market::{nested, observation, text};
use super::proto::stream as pb;
use crate::domain::Symbol;
use crate::domain::history::{Adjustment, BarsQuestion, LIMIT_DEFAULT, LIMIT_MAX, Timeframe, moment};
use crate::domain::market::{Bar, Channel, MarketClass, Observation};

/// Full name of the request.
pub const REQUEST: &str = "stream.v0.BarsRequest";
/// Full name of the answer.
pub const REPLY: &str = "stream.v0.BarsReply";
/// No token of the venue's is so long.
const TOKEN_MAX: usize = 1024;

/// Bars, and where the next ones begin; empty at the end.
pub type Bars = (Vec<Bar<'static>>, String);

/// One page of bars.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageRequest {
    /// Which bars.
    pub question: BarsQuestion,
    /// How many at most.
    pub limit: u32,
    /// Where they begin, in the venue's own words; empty at the beginning.
    pub page_token: String,
}

/// Reads a request, protobuf or JSON.
pub fn read_request(
    content_type: Option<&str>,
    payload: &[u8],
    now: Timestamp,
) -> Result<PageRequest, Unreadable> {
    let request: pb::BarsRequest = message(REQUEST, content_type, payload)?;
    let class = match request.class.as_str() {
        "" => MarketClass::Stocks,
        word => MarketClass::named(word).ok_or_else(|| {
            Unreadable::new(format!(
                "class: {word:?} is none; write one of stocks, crypto, options"
            ))
        })?,
    };
    let symbols = request.symbols.iter().map(|symbol| {
        Symbol::parse(symbol).map_err(|error| Unreadable::new(format!("symbols: {symbol:?}: {error}")))
    });
    let symbols = symbols.collect::<Result<Vec<_>, _>>()?;
    let refused = |error: crate::domain::history::QuestionError| Unreadable::new(error.to_string());
    if request.start.is_empty() {
        return Err(Unreadable::new("start is required; write a date, 2026-01-31"));
    }
    let from = moment("start", &request.start, class).map_err(refused)?;
    let until = match request.end.as_str() {
        "" => now,
        text => moment("end", text, class).map_err(refused)?,
    };
    let timeframe = match request.timeframe.as_str() {
        "" => Timeframe::MINUTE,
        text => Timeframe::parse(text).map_err(refused)?,
    };
    let adjustment = Adjustment::parse(&request.adjustment).map_err(refused)?;
    let limit = match request.limit {
        0 => LIMIT_DEFAULT,
        limit if limit <= LIMIT_MAX => limit,
        limit => {
            return Err(Unreadable::new(format!(
                "limit: {limit} is too many; {LIMIT_MAX} at most"
            )));
        }
    };
    let is_token = |text: &str| text.len() <= TOKEN_MAX && text.bytes().all(|byte| byte.is_ascii_graphic());
    if !is_token(&request.page_token) {
        return Err(Unreadable::new(
            "page_token: is none; write the next_page_token of the answer before",
        ));
    }
    let range = (from, until);
    let question =
        BarsQuestion::new(class, symbols, timeframe, range, adjustment, &request.feed).map_err(refused)?;
    Ok(PageRequest {
        question: if request.end.is_empty() {
            question.open_ended()
        } else {
            question
        },
        limit,
        page_token: request.page_token,
    })
}

/// Writes a request.
pub fn request(page: &PageRequest) -> Encoded {
    let question = &page.question;
    let request = pb::BarsRequest {
        class: question.class().as_str().to_owned(),
        symbols: question
            .symbols()
            .iter()
            .map(|symbol| symbol.as_str().to_owned())
            .collect(),
        timeframe: question.timeframe().to_string(),
        start: question.from().to_string(),
        end: if question.is_open_ended() {
            String::new()
        } else {
            question.until().to_string()
        },
        adjustment: question.adjustment().as_str().to_owned(),
        feed: question.feed().to_owned(),
        limit: page.limit,
        page_token: page.page_token.clone(),
    };
    encoded(REQUEST, &request)
}

/// Writes an answer.
pub fn reply(class: MarketClass, bars: Vec<Bar<'static>>, next_page_token: &str) -> Encoded {
    let mut buffer = BytesMut::with_capacity(bars.len() * 100);
    for bar in bars {
        let bar = observation(class, &Observation::Bar(Channel::Bars, bar), false);
        nested(&mut buffer, 1, &bar);
    }
    text(&mut buffer, 2, next_page_token);
    Encoded {
        schema: REPLY,
        bytes: buffer.freeze(),
    }
}

/// Reads an answer, of protobuf.
pub fn read_reply(payload: &[u8]) -> Result<Bars, Unreadable> {
    let reply = pb::BarsReply::decode(payload)
        .map_err(|error| Unreadable::new(format!("the answer is no {REPLY}: {error}")))?;
    let bars = reply.bars.into_iter().map(|bar| {
        let at = bar
            .timestamp
            .and_then(|at| Timestamp::new(at.seconds, at.nanos).ok());
        let at = at.ok_or_else(|| Unreadable::new(format!("a bar of {} has no time", bar.symbol)))?;
        let volume = match bar.volume_text.as_str() {
            // What is beyond 2^53 shares loses its last digits here; no bar has so many.
            "" => Ok(bar.volume as f64),
            text => text.parse(),
        };
        let volume = volume.map_err(|_| Unreadable::new(format!("a bar of {} has no volume", bar.symbol)))?;
        Ok(Bar {
            symbol: Cow::Owned(bar.symbol),
            at,
            open: bar.open,
            high: bar.high,
            low: bar.low,
            close: bar.close,
            volume,
            trade_count: bar.trade_count,
            vwap: bar.vwap,
        })
    });
    Ok((bars.collect::<Result<_, _>>()?, reply.next_page_token))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Timestamp {
        "2026-11-28T12:00:00Z".parse().unwrap()
    }

    fn json(text: &str) -> Result<PageRequest, String> {
        read_request(None, text.as_bytes(), now()).map_err(|error| error.to_string())
    }

    #[test]
    fn a_request_has_defaults_and_is_written_as_it_is_read() {
        let page = json(r#"{"symbols":["AAPL","BRK.B"],"start":"2026-11-02"}"#).unwrap();
        assert_eq!(page.question.class(), MarketClass::Stocks);
        assert_eq!(page.question.timeframe(), Timeframe::MINUTE);
        assert_eq!(page.question.from().to_string(), "2026-11-02T05:00:00Z");
        assert_eq!(page.question.until(), now());
        assert_eq!((page.limit, page.page_token.as_str()), (1000, ""));
        let read = |page: &PageRequest| {
            read_request(Some("application/protobuf"), &request(page).bytes, now()).unwrap()
        };
        assert_eq!(read(&page), page);
        let until = "2026-11-20T00:00:00Z".parse().unwrap();
        let question = page.question.within(page.question.from(), until).unwrap();
        assert!(page.question.is_open_ended() && !question.is_open_ended());
        let closed = PageRequest { question, ..page };
        assert_eq!(read(&closed), closed);
    }

    #[test]
    fn what_is_wrong_with_a_request_is_named() {
        for (text, said) in [
            (r#"{"symbols":["A"]}"#, "start is required"),
            (r#"{"start":"2026-11-02"}"#, "symbols: is required"),
            (r#"{"symbols":["a b"],"start":"2026-11-02"}"#, "symbols: \"a b\""),
            (r#"{"symbols":["A,B"],"start":"2026-11-02"}"#, "symbols: \"A,B\""),
            (
                r#"{"symbols":["A"],"start":"2027-11-02"}"#,
                "end: 2026-11-28T12:00:00Z is not after start",
            ),
            (
                r#"{"symbols":["A"],"start":"2026-11-02","class":"bonds"}"#,
                "class: \"bonds\" is none",
            ),
            (
                r#"{"symbols":["A"],"start":"2026-11-02","limit":5001}"#,
                "limit: 5001",
            ),
            (
                r#"{"symbols":["A"],"start":"2026-11-02","page_token":"a\nb"}"#,
                "page_token: ",
            ),
            (
                r#"{"symbols":["A"],"start":"2026-11-02","timeframe":"90Min"}"#,
                "timeframe: \"90Min\"",
            ),
        ] {
            let error = json(text).unwrap_err();
            assert!(error.contains(said), "{said:?} is not in {error}");
        }
    }

    #[test]
    fn an_answer_is_read_as_it_was_written() {
        let bar = |symbol: &'static str, volume: f64| Bar {
            symbol: symbol.into(),
            at: "2026-11-27T14:30:00Z".parse().unwrap(),
            open: 1.25,
            high: 2.5,
            low: 0.1,
            close: 2.0,
            volume,
            trade_count: 7,
            vwap: 1.75,
        };
        for (class, bars) in [
            (MarketClass::Stocks, vec![bar("AAPL", 100.0), bar("BRK.B", 0.0)]),
            (MarketClass::Crypto, vec![bar("BTC/USD", 0.012345678)]),
            (MarketClass::Options, Vec::new()),
        ] {
            let written = reply(class, bars.clone(), "next");
            assert_eq!(read_reply(&written.bytes), Ok((bars, "next".to_owned())));
        }
        assert!(read_reply(&[0xff]).is_err());
        let timeless = pb::BarsReply {
            bars: vec![pb::Bar::default()],
            ..pb::BarsReply::default()
        };
        assert!(read_reply(&timeless.encode_to_vec()).is_err());
    }
}
