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

use std::time::Duration;

use super::answer::{Answer, Exchange, TransportError};
use super::model::{self, ErrorJson, OrderJson, Shape};
use crate::alpaca::clean;
use crate::alpaca::pacer::PAUSE_UNSAID;
use crate::domain::outcome::{Acceptance, Refusal};
use crate::domain::{ClientOrderId, NewOrder, Order, OrderId};

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
    /// The venue refused: the order is unknown, or over.
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

/// Judges the answer to a new order.
pub(super) fn submit(exchange: Exchange, id: &ClientOrderId, asked: &NewOrder) -> SubmitAnswer {
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
                order: Some(Box::new(order)),
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

fn our_order(answer: &Answer, id: &ClientOrderId, asked: &NewOrder) -> Result<Order, String> {
    let order = parsed::<OrderJson>(answer)?;
    if order.client_order_id != id.as_str() {
        return Err("it shows an order with another client order id".to_owned());
    }
    order
        .agrees_with(asked)
        .map_err(|mismatch| mismatch.to_string())?;
    Ok(order)
}

fn parsed<S: Shape>(answer: &Answer) -> Result<S::Noun, String> {
    let body = answer.body.as_deref().map_err(Clone::clone)?;
    model::read::<S>(body).map_err(|error| error.to_string())
}
