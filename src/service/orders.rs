//! What is asked about orders, and commands whose outcome is waited for.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout, timeout_at};
use tracing::{info, warn};
use uuid::Uuid;

use super::{Office, bad, refused};
use crate::alpaca::rest::LookUpAnswer;
use crate::blotter::{Filter, Standing};
use crate::bus::command::{self, CommandError};
use crate::bus::journal::until_stored;
use crate::bus::service::{Answer, Question, Refused};
use crate::domain::record::RecordState;
use crate::domain::{ClientOrderId, CommandKind, ConditionName, Order, OrderId, OrderRecord, Outcome};
use crate::wire;
use crate::wire::service::{self as asked, OrdersStanding};
use crate::wire::subject::{CommandName, encode_id};

/// Longest wait for a cancel to be judged. It goes on, and its outcome is in the journal.
const CANCEL_PATIENCE: Duration = Duration::from_secs(15);
/// Longest wait for what was done past the stream to be in the journal.
const JOURNAL_PATIENCE: Duration = Duration::from_secs(60);

impl Office {
    pub(super) fn list_orders(&self, question: &Question) -> Result<Answer, Refused> {
        let wanted = asked::read_orders_request(question.content_type(), question.payload())
            .map_err(|error| bad(&error))?;
        let service = &self.service;
        let Some(as_of) = service.blotter.as_of() else {
            return Err(Refused {
                code: 503,
                message:
                    "the orders were not read yet; ask again, or see whether ENABLE_TRADE_UPDATER is off"
                        .to_owned(),
            });
        };
        let filter = Filter {
            standing: match wanted.standing {
                OrdersStanding::Open => Standing::Open,
                OrdersStanding::Closed => Standing::Closed,
                OrdersStanding::All => Standing::All,
            },
            strategy: wanted.strategy,
            symbol: wanted.symbol,
        };
        let (orders, more) = service.blotter.list(&filter, wanted.limit);
        let fresh = !service.gateway.has(ConditionName::Blind);
        Answer::new(asked::orders(&orders, more, as_of, fresh), question.is_json())
    }

    pub(super) async fn get_order(&self, question: &Question) -> Result<Answer, Refused> {
        let id = asked::read_order_request(question.content_type(), question.payload())
            .map_err(|error| bad(&error))?;
        let record = match self.record(&id).await? {
            Some(record) => record,
            None => self.by_venues_id(&id).await?,
        };
        Answer::new(wire::record(&record), question.is_json())
    }

    async fn record(&self, id: &ClientOrderId) -> Result<Option<OrderRecord>, Refused> {
        let page = self
            .service
            .ledger
            .read(id)
            .await
            .map_err(|error| refused(503, &error))?;
        Ok(page.record)
    }

    /// An order nobody of ours is known to have named so: by the venue's id, or placed elsewhere.
    async fn by_venues_id(&self, id: &ClientOrderId) -> Result<OrderRecord, Refused> {
        let order = match OrderId::parse(id.as_str()) {
            Some(order_id) => match self.service.blotter.order(order_id) {
                Some(order) => Some(order),
                None => found(self.service.venue.find_by_order_id(order_id).await)?,
            },
            None => found(self.service.venue.find_by_client_order_id(id.as_str()).await)?,
        };
        let Some(order) = order else {
            return Err(Refused {
                code: 404,
                message: format!("nobody knows an order {id}"),
            });
        };
        let named = ClientOrderId::parse(&order.client_order_id).ok();
        if let Some(named) = named.as_ref().filter(|named| *named != id)
            && let Some(record) = self.record(named).await?
        {
            return Ok(record);
        }
        Ok(OrderRecord {
            client_order_id: named.unwrap_or_else(|| id.clone()),
            state: RecordState::External,
            order: Some(Arc::new(order)),
            cancel_mark: None,
            epoch: 0,
        })
    }

    pub(super) async fn submit(&self, question: &Question) -> Result<Answer, Refused> {
        let service = &self.service;
        let submission =
            asked::read_submit_request(question.content_type(), question.payload(), &service.subjects)
                .map_err(|error| bad(&error))?;
        let (is_taken, switch) = match submission.kind {
            CommandKind::Order | CommandKind::Replace => (service.takes.orders, "ENABLE_ORDERS"),
            CommandKind::Close | CommandKind::Cancel => (service.takes.cancels, "ENABLE_CANCELER"),
        };
        if !is_taken {
            return Err(Refused {
                code: 503,
                message: format!("nobody takes such commands: {switch} is false"),
            });
        }
        let Ok(_place) = self.submits.try_acquire() else {
            return Err(Refused {
                code: 429,
                message: "too many wait for an outcome already; nothing was published, ask again".to_owned(),
            });
        };
        let until = Instant::now() + submission.wait;
        let mut outcomes = service.board.watch(submission.id.as_str());
        let subject = service.subjects.command(submission.kind, submission.id.as_str());
        let trace = question.header("traceparent");
        let published = command::publish(&service.connection, subject, submission.command, trace).await;
        let sequence = published.map_err(|error| {
            let code = match error {
                CommandError::Refused(_) | CommandError::NoStream => 503,
                CommandError::Unknown(_) => 504,
            };
            refused(code, &error)
        })?;
        while let Ok(Some(outcome)) = timeout_at(until, outcomes.next()).await {
            if outcome.id.sequence == sequence && outcome.command == submission.kind {
                return Answer::new(wire::outcome(&outcome), question.is_json());
            }
        }
        let journal = service.subjects.outcome(&encode_id(submission.id.as_str()));
        Err(Refused {
            code: 504,
            message: format!(
                "it is stored as {sequence}, and nothing is known of it yet; its outcome will be on {journal}, and asking \
                 again under the same id is no second order"
            ),
        })
    }

    /// Cancels, answers, and then has it in the journal: who cancels must not wait for a stream that may be what is broken.
    pub(super) async fn cancel(&self, question: Question) {
        let name = match asked::read_cancel_request(question.content_type(), question.payload()) {
            Ok(name) => name,
            Err(error) => return question.answer(Err(bad(&error))).await,
        };
        let cancels = self.service.cancels.borrow().clone();
        let Some(cancels) = cancels else {
            let message =
                "the gateway is starting, and cancels nothing yet; see state.get for what it waits for"
                    .to_owned();
            return question.answer(Err(Refused { code: 503, message })).await;
        };
        let began = Instant::now();
        let canceled = {
            let mut canceling = Box::pin(cancels.cancel(&name));
            match timeout(CANCEL_PATIENCE, &mut canceling).await {
                Ok(canceled) => canceled,
                Err(_) => {
                    let message = "the venue has not said yet whether it cancels; it is asked on, and the outcome will be in the journal".to_owned();
                    question.answer(Err(Refused { code: 504, message })).await;
                    if let Some(outcome) = canceling.await {
                        self.tell(&name, &outcome).await;
                    }
                    return;
                }
            }
        };
        let Some(outcome) = canceled else {
            let message = "the gateway is stopping; ask again".to_owned();
            return question.answer(Err(Refused { code: 503, message })).await;
        };
        let answer = Answer::new(wire::outcome(&outcome), question.is_json());
        question.answer(answer).await;
        let (order, verdict) = (name.text(), outcome.verdict.as_str());
        let took = i64::try_from(began.elapsed().as_millis()).unwrap_or(i64::MAX);
        info!(
            order,
            outcome = verdict,
            detail = outcome.verdict.message(),
            latency_ms = took,
            "canceled past the stream"
        );
        self.tell(&name, &outcome).await;
    }

    async fn tell(&self, name: &CommandName, outcome: &Outcome) {
        let spelling = encode_id(&name.text());
        let id = Uuid::now_v7();
        let stored = until_stored(
            "the outcome of a cancel",
            |_| {},
            || self.service.journal.outcome_past_stream(outcome, &spelling, id),
        );
        if timeout(JOURNAL_PATIENCE, stored).await.is_err() {
            warn!(
                order = name.text(),
                "the outcome of a cancel could not be kept in the journal"
            );
        }
    }
}

fn found(answer: LookUpAnswer) -> Result<Option<Order>, Refused> {
    match answer {
        LookUpAnswer::Found(order) => Ok(Some(*order)),
        LookUpAnswer::Absent => Ok(None),
        LookUpAnswer::AccountRefused(refusal) => Err(Refused {
            code: 503,
            message: format!("the venue refuses this account: {}", refusal.message),
        }),
        LookUpAnswer::Failed { cause, .. } => Err(Refused {
            code: 503,
            message: format!("the venue does not answer: {cause}"),
        }),
    }
}
