//! What an answer means. Pure: no clock, no I/O, every case in view.
//!
//! The burden of proof is on the definite cases. An order counts as refused only when the venue says so in its own
//! JSON (an object with a code and a message), as not sent only when the connection never opened or the venue
//! turned the request away unread (429), and as accepted only when the venue shows us our own order. A proxy's
//! error page, a reset, a timeout or a server error proves nothing: the order may be working.
//!
//! | answer to a new order | means |
//! |---|---|
//! | 2xx, readable, our id, our fields | accepted |
//! | 400, 403, 404, 422 in the venue's JSON | rejected |
//! | a 4xx that says the client order id is taken | duplicate |
//! | never connected; 429 | not sent |
//! | 401; 403 without the venue's code | account refused |
//! | everything else | unknown |

use std::sync::Arc;
use std::time::Duration;

use super::answer::{Answer, Exchange, TransportError};
use super::model::{self, ErrorJson, OrderJson, Shape};
use crate::alpaca::clean;
use crate::alpaca::pacer::PAUSE_UNSAID;
use crate::domain::outcome::{Acceptance, Refusal};
use crate::domain::{ClientOrderId, Order, OrderId, Placement};

/// What became of a new order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SubmitAnswer {
    /// The venue took it and showed it to us.
    Accepted(Acceptance),
    /// The venue judged it and refused. Sending it again changes nothing.
    Rejected(Refusal),
    /// The client order id is taken, perhaps by this very order. Look it up.
    Duplicate(Refusal),
    /// The venue provably did not act. Send it again, under the same id.
    NotSent {
        /// Why, for people.
        cause: String,
        /// The venue asks for a pause; at most a minute.
        retry_after: Option<Duration>,
    },
    /// The venue refuses us, not the order. A person must act; keep the order.
    AccountRefused(Refusal),
    /// The venue may have acted. Look it up by client order id before anything else.
    Unknown {
        /// Why, for people.
        cause: String,
    },
}

/// What the venue knows of an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LookUpAnswer {
    /// It has the order.
    Found(Box<Order>),
    /// It does not have it *now*. The venue is eventually consistent: one absence proves nothing.
    Absent,
    /// The venue refuses us.
    AccountRefused(Refusal),
    /// No answer to the question.
    Failed {
        /// Why, for people.
        cause: String,
        /// The venue asks for a pause; at most a minute.
        retry_after: Option<Duration>,
    },
}

/// What became of a cancel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CancelAnswer {
    /// The venue will try. Whether the order is canceled or was filled first, its execution reports tell.
    Accepted {
        /// HTTP status of the answer.
        http_status: u16,
        /// The venue's request id.
        request_id: Option<String>,
    },
    /// The venue has no such order.
    NotFound(Refusal),
    /// The venue has the order and refused: it is over, or cannot be canceled now.
    Refused(Refusal),
    /// The venue refuses us.
    AccountRefused(Refusal),
    /// Nobody knows. A cancel may be sent again.
    Failed {
        /// Why, for people.
        cause: String,
        /// The venue asks for a pause; at most a minute.
        retry_after: Option<Duration>,
    },
}

/// Why a read gave nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// The venue refuses us.
    #[error("the venue refuses this account: HTTP {} {}", .0.http_status, .0.message)]
    AccountRefused(Refusal),
    /// Anything else.
    #[error("{cause}")]
    Failed {
        /// Why, for people.
        cause: String,
        /// The venue asks for a pause; at most a minute.
        retry_after: Option<Duration>,
    },
}

/// Judges the answer to a new order, or to a replacement.
pub(super) fn submit(exchange: Exchange, id: &ClientOrderId, asked: &Placement) -> SubmitAnswer {
    let answer = match exchange {
        Ok(answer) => answer,
        Err(TransportError::NotSent(cause)) => {
            return SubmitAnswer::NotSent {
                cause: clean(&cause),
                retry_after: None,
            };
        }
        Err(TransportError::Unknown(cause)) => {
            return SubmitAnswer::Unknown { cause: clean(&cause) };
        }
    };
    if answer.is_success() {
        return match our_order(&answer, id, asked) {
            Ok(order) => SubmitAnswer::Accepted(Acceptance {
                order_id: order.id,
                order: Some(Arc::new(order)),
                http_status: answer.status,
                request_id: answer.request_id,
                ..Acceptance::default()
            }),
            Err(cause) => SubmitAnswer::Unknown {
                cause: clean(&format!("HTTP {}, but {cause}", answer.status)),
            },
        };
    }
    match refused(&answer) {
        Refused::Account(refusal) => SubmitAnswer::AccountRefused(refusal),
        Refused::Paced { cause, pause } => SubmitAnswer::NotSent {
            cause,
            retry_after: Some(pause),
        },
        Refused::ByVenue(refusal) if id_is_taken(&refusal.message) => SubmitAnswer::Duplicate(refusal),
        Refused::ByVenue(refusal) if matches!(refusal.http_status, 400 | 403 | 404 | 422) => {
            SubmitAnswer::Rejected(refusal)
        }
        Refused::ByVenue(refusal) => SubmitAnswer::Unknown {
            cause: clean(&format!("HTTP {} {}", refusal.http_status, refusal.message)),
        },
        Refused::Unclear(cause) => SubmitAnswer::Unknown { cause },
    }
}

/// Judges the answer to a look-up by client order id.
pub(super) fn look_up_by_client_order_id(exchange: Exchange, id: &str) -> LookUpAnswer {
    look_up(exchange, |order| order.client_order_id == id)
}

/// Judges the answer to a look-up by the venue's id.
pub(super) fn look_up_by_order_id(exchange: Exchange, id: OrderId) -> LookUpAnswer {
    look_up(exchange, |order| order.id == Some(id))
}

fn look_up(exchange: Exchange, is_the_one: impl Fn(&Order) -> bool) -> LookUpAnswer {
    let failed = |cause: &str, retry_after| LookUpAnswer::Failed {
        cause: clean(cause),
        retry_after,
    };
    let answer = match exchange {
        Ok(answer) => answer,
        Err(error) => return failed(&error.to_string(), None),
    };
    if answer.is_success() {
        return match parsed::<OrderJson>(&answer) {
            Ok(order) if is_the_one(&order) => LookUpAnswer::Found(Box::new(order)),
            Ok(_) => failed("the venue answered with another order", None),
            Err(cause) => failed(&format!("HTTP {}, but {cause}", answer.status), None),
        };
    }
    match refused(&answer) {
        Refused::Account(refusal) => LookUpAnswer::AccountRefused(refusal),
        Refused::Paced { cause, pause } => failed(&cause, Some(pause)),
        Refused::ByVenue(refusal) if refusal.http_status == 404 => LookUpAnswer::Absent,
        Refused::ByVenue(refusal) => {
            failed(&format!("HTTP {} {}", refusal.http_status, refusal.message), None)
        }
        Refused::Unclear(cause) => failed(&cause, None),
    }
}

/// Judges the answer to a cancel.
pub(super) fn cancel(exchange: Exchange) -> CancelAnswer {
    let answer = match exchange {
        Ok(answer) => answer,
        Err(error) => {
            return CancelAnswer::Failed {
                cause: clean(&error.to_string()),
                retry_after: None,
            };
        }
    };
    if answer.is_success() {
        return CancelAnswer::Accepted {
            http_status: answer.status,
            request_id: answer.request_id,
        };
    }
    match refused(&answer) {
        Refused::Account(refusal) => CancelAnswer::AccountRefused(refusal),
        Refused::ByVenue(refusal) if refusal.http_status == 404 => CancelAnswer::NotFound(refusal),
        Refused::ByVenue(refusal) => CancelAnswer::Refused(refusal),
        Refused::Paced { cause, pause } => CancelAnswer::Failed {
            cause,
            retry_after: Some(pause),
        },
        Refused::Unclear(cause) => CancelAnswer::Failed {
            cause,
            retry_after: None,
        },
    }
}

/// Judges the answer to a read.
pub(super) fn read<S: Shape>(exchange: Exchange) -> Result<S::Noun, ReadError> {
    let failed = |cause: &str, retry_after| ReadError::Failed {
        cause: clean(cause),
        retry_after,
    };
    let answer = exchange.map_err(|error| failed(&error.to_string(), None))?;
    if answer.is_success() {
        return parsed::<S>(&answer)
            .map_err(|cause| failed(&format!("HTTP {}, but {cause}", answer.status), None));
    }
    Err(match refused(&answer) {
        Refused::Account(refusal) => ReadError::AccountRefused(refusal),
        Refused::Paced { cause, pause } => failed(&cause, Some(pause)),
        Refused::ByVenue(refusal) => {
            failed(&format!("HTTP {} {}", refusal.http_status, refusal.message), None)
        }
        Refused::Unclear(cause) => failed(&cause, None),
    })
}

/// Reads an answer about one thing. `None`: the venue says that there is none.
pub(super) fn read_if_there<S: Shape>(exchange: Exchange) -> Result<Option<S::Noun>, ReadError> {
    if let Ok(answer) = &exchange
        && answer.status == 404
        && matches!(refused(answer), Refused::ByVenue(_))
    {
        return Ok(None);
    }
    read::<S>(exchange).map(Some)
}

/// An answer that is no success, sorted by who refused what.
enum Refused {
    /// The venue refuses us.
    Account(Refusal),
    /// Too many requests: turned away before anybody read it.
    Paced { cause: String, pause: Duration },
    /// A 4xx in the venue's own words.
    ByVenue(Refusal),
    /// Nothing that proves anything.
    Unclear(String),
}

fn refused(answer: &Answer) -> Refused {
    let json = answer.body.as_deref().ok().and_then(ErrorJson::read);
    let message = json.as_ref().and_then(ErrorJson::message).map(clean);
    let code = json.as_ref().and_then(ErrorJson::code);
    let refusal = |code: Option<i64>, message: Option<String>| Refusal {
        http_status: answer.status,
        code: code.unwrap_or_default(),
        // A body that is not the venue's is not quoted: proxies echo what they were sent.
        message: message.unwrap_or_else(|| "no reason in the venue's JSON".to_owned()),
        request_id: answer.request_id.clone(),
        order_id: None,
        results: Vec::new(),
    };
    match (answer.status, code, message) {
        (401, code, message) => Refused::Account(refusal(code, message)),
        (429, _, _) => Refused::Paced {
            cause: "HTTP 429, too many requests".to_owned(),
            pause: answer.rate.renews_in.unwrap_or(PAUSE_UNSAID),
        },
        // A timeout in the venue's words is still a timeout.
        (408, _, _) => Refused::Unclear("HTTP 408, the venue timed out".to_owned()),
        (400..=499, Some(code), Some(message)) => Refused::ByVenue(refusal(Some(code), Some(message))),
        // The one refusal worth believing without a code: it leads to a look-up, which decides.
        (400 | 404 | 409 | 422, None, Some(message)) if id_is_taken(&message) => {
            Refused::ByVenue(refusal(None, Some(message)))
        }
        (403, code, message) => Refused::Account(refusal(code, message)),
        (status, _, message) => {
            let said = message.unwrap_or_else(|| match &answer.body {
                Ok(body) => format!("{} bytes that are not the venue's JSON", body.len()),
                Err(cause) => cause.clone(),
            });
            Refused::Unclear(clean(&format!("HTTP {status}, {said}")))
        }
    }
}

/// Whether a message says that the client order id is taken, in any of its spellings. The code does not help:
/// 40010001 is also sent for a missing quantity.
fn id_is_taken(message: &str) -> bool {
    let letters: String = message
        .chars()
        .filter(char::is_ascii_alphanumeric)
        .map(|letter| letter.to_ascii_lowercase())
        .collect();
    let says = |word| letters.contains(word);
    says("clientorderid") && (says("unique") || says("duplicate") || says("already"))
}

fn our_order(answer: &Answer, id: &ClientOrderId, asked: &Placement) -> Result<Order, String> {
    let order = parsed::<OrderJson>(answer)?;
    if order.client_order_id != id.as_str() {
        return Err("it shows an order with another client order id".to_owned());
    }
    order
        .is_what_was_asked(asked)
        .map_err(|mismatch| mismatch.to_string())?;
    Ok(order)
}

fn parsed<S: Shape>(answer: &Answer) -> Result<S::Noun, String> {
    let body = answer.body.as_deref().map_err(Clone::clone)?;
    model::read::<S>(body).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;
    use crate::alpaca::pacer::RateSignal;
    use crate::alpaca::rest::model::PositionJson;
    use crate::domain::order::{Exits, Pricing, Side, Size, Structure, TimeInForce};
    use crate::domain::{NewOrder, Price, Quantity, Symbol};

    const ORDER: &str = include_str!("../fixtures/order_limit.json");
    const BUYING_POWER: &str = include_str!("../fixtures/http_403_insufficient_buying_power.json");
    const WASH_TRADE: &str = include_str!("../fixtures/http_403_wash_trade.json");
    const FORBIDDEN: &str = include_str!("../fixtures/http_403_forbidden.json");
    const DUPLICATE: &str = include_str!("../fixtures/http_422_duplicate.json");
    const NOT_FOUND: &str = include_str!("../fixtures/http_404_order_not_found.json");
    const NO_QTY: &str = r#"{"code":40010001,"message":"qty or notional is required"}"#;
    const HTML: &str = "<html><head><title>Attention Required</title></head></html>";

    fn asked() -> Placement {
        Placement::New(NewOrder {
            structure: Structure::Single {
                symbol: Symbol::parse("AAPL").unwrap(),
                side: Side::Buy,
                pricing: Pricing::Limit {
                    limit: Price::parse("150.00").unwrap(),
                },
                exits: Exits::None,
            },
            size: Size::Quantity(Quantity::parse("2").unwrap()),
            time_in_force: TimeInForce::Gtc,
            extended_hours: false,
            position_intent: None,
            advanced: None,
            valid_until: None,
        })
    }

    fn answer(status: u16, body: &str) -> Exchange {
        Ok(Answer {
            status,
            body: Ok(Bytes::copy_from_slice(body.as_bytes())),
            request_id: Some("7d1d".to_owned()),
            date: None,
            rate: RateSignal::default(),
        })
    }

    fn cut(status: u16) -> Exchange {
        answer(status, "").map(|answer| Answer {
            body: Err("the body was cut off".to_owned()),
            ..answer
        })
    }

    fn class(exchange: Exchange) -> &'static str {
        let id = ClientOrderId::parse("momentum.1").unwrap();
        match submit(exchange, &id, &asked()) {
            SubmitAnswer::Accepted(_) => "accepted",
            SubmitAnswer::Rejected(_) => "rejected",
            SubmitAnswer::Duplicate(_) => "duplicate",
            SubmitAnswer::NotSent { .. } => "not sent",
            SubmitAnswer::AccountRefused(_) => "account refused",
            SubmitAnswer::Unknown { .. } => "unknown",
        }
    }

    #[track_caller]
    fn check(status: u16, body: &str, expected: &str) {
        assert_eq!(class(answer(status, body)), expected, "HTTP {status} {body}");
    }

    #[test]
    fn an_order_is_accepted_only_when_the_venue_shows_ours() {
        check(200, ORDER, "accepted");
        check(201, ORDER, "accepted");
        check(200, "", "unknown");
        check(204, "", "unknown");
        check(200, HTML, "unknown");
        check(200, "{}", "unknown");
        check(200, &ORDER[..ORDER.len() / 2], "unknown");
        check(200, &format!("[{ORDER}]"), "unknown");
        check(200, &ORDER.replace("momentum.1", "momentum.2"), "unknown");
        check(200, &ORDER.replace(r#""qty":"2""#, r#""qty":"20""#), "unknown");
        check(200, &ORDER.replace(r#""buy""#, r#""sell""#), "unknown");
        check(200, &ORDER.replace("AAPL", "MSFT"), "unknown");
        check(200, &ORDER.replace(r#""150""#, r#""1500""#), "unknown");
        check(200, &ORDER.replace(r#""150""#, "150.0"), "accepted");
        check(200, NO_QTY, "unknown");
    }

    #[test]
    fn a_refusal_counts_in_the_venues_own_json_only() {
        for status in [400, 403, 404, 422] {
            check(status, NO_QTY, "rejected");
            check(status, BUYING_POWER, "rejected");
            check(status, WASH_TRADE, "rejected");
        }
        for status in [400, 404, 422] {
            check(status, HTML, "unknown");
            check(status, "", "unknown");
            check(
                status,
                r#"{"message":"no Route matched with those values"}"#,
                "unknown",
            );
            check(status, r#"{"code":40010001}"#, "unknown");
            check(status, r#"[40010001,"qty is required"]"#, "unknown");
            check(status, &NO_QTY[..NO_QTY.len() - 1], "unknown");
        }
        for status in [
            402, 405, 406, 409, 410, 411, 413, 415, 418, 425, 426, 431, 451, 499,
        ] {
            check(status, NO_QTY, "unknown");
            check(status, HTML, "unknown");
        }
    }

    #[test]
    fn a_taken_id_is_recognised_in_every_spelling_and_not_by_its_code() {
        for message in [
            "client_order_id must be unique",
            "client order id must be unique",
            "client-order-id must be unique.",
            "Client Order ID Must Be Unique",
            "clientOrderId already exists",
            "duplicate client_order_id",
        ] {
            for status in [400, 409, 422] {
                let with_code = format!(r#"{{"code":40010001,"message":"{message}"}}"#);
                check(status, &with_code, "duplicate");
                check(status, &format!(r#"{{"message":"{message}"}}"#), "duplicate");
            }
        }
        check(422, DUPLICATE, "duplicate");
        let too_long = r#"{"code":40010001,"message":"client_order_id must be no more than 128 characters"}"#;
        check(422, too_long, "rejected");
        check(
            422,
            r#"{"code":40010001,"message":"order_id is missing"}"#,
            "rejected",
        );
        check(500, DUPLICATE, "unknown");
    }

    #[test]
    fn a_refused_account_is_not_a_refused_order() {
        for body in [
            r#"{"message":"unauthorized."}"#,
            r#"{"code":40110000,"message":"access key verification failed"}"#,
            HTML,
            "",
        ] {
            check(401, body, "account refused");
        }
        for body in [FORBIDDEN, HTML, "", r#"{"code":40310000}"#] {
            check(403, body, "account refused");
        }
    }

    #[test]
    fn what_proves_nothing_is_unknown() {
        for status in [
            100, 300, 301, 302, 307, 308, 408, 500, 501, 502, 503, 504, 520, 524, 599,
        ] {
            for body in [ORDER, NO_QTY, DUPLICATE, HTML, ""] {
                check(status, body, "unknown");
            }
        }
        for status in [200, 400, 404, 422, 500] {
            assert_eq!(class(cut(status)), "unknown", "{status}");
        }
        let reset = || TransportError::Unknown("connection reset".to_owned());
        assert_eq!(class(Err(reset())), "unknown");
    }

    #[test]
    fn what_never_left_is_not_sent() {
        let refused = TransportError::NotSent("connection refused".to_owned());
        assert_eq!(class(Err(refused)), "not sent");
        for body in [NO_QTY, HTML, ""] {
            check(429, body, "not sent");
        }
        assert_eq!(class(cut(429)), "not sent");
    }

    #[test]
    fn a_429_says_how_long_to_wait() {
        let id = ClientOrderId::parse("momentum.1").unwrap();
        for (renews_in, expected) in [(None, 1), (Some(7), 7)] {
            let paced = answer(429, "").map(|answer| Answer {
                rate: RateSignal {
                    renews_in: renews_in.map(Duration::from_secs),
                    refused: true,
                    ..RateSignal::default()
                },
                ..answer
            });
            let SubmitAnswer::NotSent { retry_after, .. } = submit(paced, &id, &asked()) else {
                panic!("a 429 was not sent");
            };
            assert_eq!(retry_after, Some(Duration::from_secs(expected)));
        }
    }

    #[test]
    fn a_refusal_keeps_the_venues_words_clean_and_short() {
        let id = ClientOrderId::parse("momentum.1").unwrap();
        let body = format!(
            r#"{{"code":42210000,"message":"no\r\n\u001b[31m{}"}}"#,
            "x".repeat(4000)
        );
        let SubmitAnswer::Rejected(refusal) = submit(answer(422, &body), &id, &asked()) else {
            panic!("the venue's JSON is a refusal");
        };
        assert_eq!((refusal.http_status, refusal.code), (422, 42_210_000));
        assert_eq!(refusal.request_id.as_deref(), Some("7d1d"));
        assert!(refusal.message.chars().count() <= 256);
        assert!(!refusal.message.contains(char::is_control));
        let echo = submit(answer(403, "your key was PKCANARY"), &id, &asked());
        assert!(!format!("{echo:?}").contains("CANARY"), "{echo:?}");
    }

    #[test]
    fn a_look_up_finds_misses_or_fails() {
        let by_client = |exchange| match look_up_by_client_order_id(exchange, "momentum.1") {
            LookUpAnswer::Found(_) => "found",
            LookUpAnswer::Absent => "absent",
            LookUpAnswer::AccountRefused(_) => "account refused",
            LookUpAnswer::Failed { .. } => "failed",
        };
        for (status, body, expected) in [
            (200, ORDER, "found"),
            (200, "{}", "failed"),
            (404, NOT_FOUND, "absent"),
            (404, HTML, "failed"),
            (
                404,
                r#"{"message":"no Route matched with those values"}"#,
                "failed",
            ),
            (422, NO_QTY, "failed"),
            (401, "", "account refused"),
            (403, FORBIDDEN, "account refused"),
            (403, BUYING_POWER, "failed"),
            (429, "", "failed"),
            (500, "", "failed"),
            (302, "", "failed"),
        ] {
            assert_eq!(by_client(answer(status, body)), expected, "HTTP {status} {body}");
        }
        assert_eq!(by_client(cut(404)), "failed");
        let another = ORDER.replace("momentum.1", "MOMENTUM.1");
        assert_eq!(by_client(answer(200, &another)), "failed");
        let id = OrderId::parse("7b08df51-c1ac-453c-99f9-323a5f075f0d").unwrap();
        assert!(matches!(
            look_up_by_order_id(answer(200, ORDER), id),
            LookUpAnswer::Found(_)
        ));
        let other = OrderId::parse("00000000-0000-0000-0000-000000000000").unwrap();
        assert!(matches!(
            look_up_by_order_id(answer(200, ORDER), other),
            LookUpAnswer::Failed { .. }
        ));
    }

    #[test]
    fn a_cancel_is_accepted_refused_or_nobody_knows() {
        let filled = r#"{"code":42210000,"message":"order is already in \"filled\" state"}"#;
        for (status, body, expected) in [
            (204, "", "accepted"),
            (200, HTML, "accepted"),
            (404, NOT_FOUND, "not found"),
            (422, filled, "refused"),
            (403, BUYING_POWER, "refused"),
            (403, FORBIDDEN, "account refused"),
            (401, HTML, "account refused"),
            (404, HTML, "failed"),
            (429, "", "failed"),
            (503, "", "failed"),
        ] {
            let heard = match cancel(answer(status, body)) {
                CancelAnswer::Accepted { .. } => "accepted",
                CancelAnswer::NotFound(_) => "not found",
                CancelAnswer::Refused(_) => "refused",
                CancelAnswer::AccountRefused(_) => "account refused",
                CancelAnswer::Failed { .. } => "failed",
            };
            assert_eq!(heard, expected, "HTTP {status} {body}");
        }
    }

    #[test]
    fn a_read_gives_the_whole_truth_or_an_error() {
        let positions = include_str!("../fixtures/positions.json");
        let read = |status, body: &str| read::<Vec<PositionJson>>(answer(status, body));
        assert_eq!(read(200, positions).unwrap().len(), 2);
        assert_eq!(read(200, "[]").unwrap(), []);
        for (status, body) in [
            (200, ""),
            (200, "null"),
            (200, r#"[{"symbol":"A"}]"#),
            (500, "[]"),
        ] {
            assert!(
                matches!(read(status, body), Err(ReadError::Failed { .. })),
                "{status} {body}"
            );
        }
        assert!(matches!(read(401, ""), Err(ReadError::AccountRefused(_))));
    }

    proptest! {
        #[test]
        fn no_bytes_make_a_classifier_panic(status in 0u16..1000, body in prop::collection::vec(any::<u8>(), 0..256)) {
            let body = String::from_utf8_lossy(&body).into_owned();
            let _ = class(answer(status, &body));
            let _ = look_up_by_client_order_id(answer(status, &body), "a");
            let _ = cancel(answer(status, &body));
            let _ = read::<Vec<PositionJson>>(answer(status, &body));
        }

        #[test]
        fn a_damaged_order_is_never_taken_for_anothers_refusal(at in 0..ORDER.len(), byte in 0u8..128) {
            let mut body = ORDER.as_bytes().to_vec();
            body[at] = byte;
            let body = String::from_utf8(body).unwrap();
            prop_assert!(matches!(class(answer(200, &body)), "accepted" | "unknown"));
        }
    }
}
