//! What one request asks of the venue, apart from the moment at which it is done.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::Deserialize;

use super::api::{self, Answer, Call, Query};
use super::core::{Exchange, Refusal};
use super::market::history::DataCall;
use super::route::Route;
use super::server::Shared;
use super::truth::Entry;

/// The part of an order's JSON that says which it is.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Named<'a> {
    #[serde(borrow)]
    id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    client_order_id: Option<Cow<'a, str>>,
}

/// One request on its way to be carried out: at once, late or never, but never twice.
pub(crate) struct Deed {
    pub(crate) shared: Arc<Shared>,
    /// The request's number.
    pub(crate) serial: u64,
    /// What is to be done, or why nothing may be.
    pub(crate) work: Result<Work, Refusal>,
}

/// What is to be done.
pub(crate) enum Work {
    /// A question or an order to the exchange.
    Call { route: Route, query: Query, body: Bytes },
    /// A question to the data side, which changes nothing.
    Data { call: DataCall, query: Query },
}

impl Deed {
    /// Does what was asked and gives the true answer.
    pub(crate) fn commit(self) -> Answer {
        self.commit_with(|_, _| ())
    }

    /// Does what was asked and, in the same moment of the venue, `and`.
    pub(crate) fn commit_with(self, and: impl FnOnce(&mut Exchange, &Answer)) -> Answer {
        match self.work {
            Ok(Work::Data { call, query }) => self.shared.tell(&call, &query),
            Ok(Work::Call { route, query, body }) => {
                let call = Call {
                    route: &route,
                    query,
                    body: &body,
                };
                self.shared.commit(self.serial, &call, and)
            }
            Err(refusal) => Answer::from(&refusal),
        }
    }

    /// Does what was asked, then `and`, with nothing awaited in between.
    pub(crate) fn commit_then(self, and: impl FnOnce(&Shared, &Answer)) -> Answer {
        let shared = Arc::clone(&self.shared);
        let answer = self.commit();
        and(&shared, &answer);
        answer
    }

    /// Does what was asked in a while, unless the simulator stops before.
    pub(crate) fn commit_later(self, after: Duration) {
        let shared = Arc::clone(&self.shared);
        let tasks = shared.tasks.clone();
        tasks.spawn(async move {
            tokio::select! {
                () = shared.stop.cancelled() => {}
                () = tokio::time::sleep(after) => {
                    let request = self.serial;
                    let status = self.commit().status;
                    shared.note(&Entry::Late { request, status });
                }
            }
        });
    }
}

impl Shared {
    fn commit(&self, serial: u64, call: &Call<'_>, and: impl FnOnce(&mut Exchange, &Answer)) -> Answer {
        let endpoint = call.route.endpoint;
        let answer = self.act(|exchange, now| {
            let answer = api::answer(exchange, now, call);
            if endpoint.method() != "GET" && answer.status < 300 {
                let named: Named<'_> = serde_json::from_str(&answer.body).unwrap_or_default();
                let argument = Some(call.route.argument.as_str()).filter(|id| !id.is_empty());
                let entry = Entry::Commit {
                    request: serial,
                    endpoint: endpoint.name(),
                    status: answer.status,
                    order_id: named.id.as_deref().or(argument),
                    client_order_id: named.client_order_id.as_deref(),
                };
                self.truth.note(now, &entry);
            }
            and(exchange, &answer);
            answer
        });
        self.blind.veil(endpoint, answer)
    }
}
