//! The gateway as a NATS micro service: questions from programs and people, each answered once.
//!
//! Registered by the leader alone, before anything that may keep a start waiting: a halt must be possible while the venue
//! is out of reach. What changes something here is kept before it is answered. Reads are answered from what the gateway
//! mirrors, dated; the venue is asked for what nobody mirrors.

mod admin;
mod market_data;
mod orders;
mod reads;

use std::sync::Arc;

use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use crate::alpaca::rest::Client;
use crate::blotter::Blotter;
use crate::bus::service::{Answer, Endpoint, Question, Questions, Refused};
use crate::bus::{Bucket, Connection, Journal};
use crate::clock::Clock;
use crate::gateway::Gateway;
use crate::ledger::Ledger;
use crate::market_data::{HistoryDesk, Switchboard};
use crate::mode::Modes;
use crate::orders::{Board, CancelDesk};
use crate::risk::Risk;
use crate::wire::Encoded;
use crate::wire::service::names;
use crate::wire::subject::Subjects;
use crate::wire::{history, subscriptions};

/// One thing that can be asked, and who answers.
type Row = (Endpoint, Asked);

/// What is asked.
#[derive(Clone, Copy, Debug)]
enum Asked {
    State,
    Account,
    Positions,
    OrdersList,
    OrdersGet,
    Submit,
    Cancel,
    Asset,
    Clock,
    Mode(crate::domain::GatewayMode),
    Subscriptions,
    Subscribe(bool),
    History,
    Limits,
    Schema,
}

const fn row(name: &'static str, request: &'static str, reply: &'static str, asked: Asked) -> Row {
    let urgent = matches!(asked, Asked::Mode(_) | Asked::Cancel);
    let endpoint = Endpoint {
        name,
        request,
        reply,
        urgent,
    };
    (endpoint, asked)
}

/// Everything that can be asked.
const TABLE: [Row; 19] = {
    use crate::domain::GatewayMode::{CancelOnly, Halted, Normal, ReduceOnly};
    use crate::wire::service::{MODE_CHANGE, MODE_REQUEST};
    [
        row("state.get", "", names::STATE, Asked::State),
        row("account.get", "", names::ACCOUNT, Asked::Account),
        row(
            "positions.get",
            names::POSITIONS_REQUEST,
            names::POSITIONS,
            Asked::Positions,
        ),
        row(
            "orders.list",
            names::ORDERS_REQUEST,
            names::ORDERS,
            Asked::OrdersList,
        ),
        row(
            "orders.get",
            names::ORDER_REQUEST,
            names::RECORD,
            Asked::OrdersGet,
        ),
        row(SUBMIT, names::SUBMIT_REQUEST, names::OUTCOME, Asked::Submit),
        row(
            "orders.cancel",
            names::CANCEL_REQUEST,
            names::OUTCOME,
            Asked::Cancel,
        ),
        row("assets.get", names::ASSET_REQUEST, names::ASSET, Asked::Asset),
        row("clock.get", "", names::CLOCK, Asked::Clock),
        row("admin.halt", MODE_REQUEST, MODE_CHANGE, Asked::Mode(Halted)),
        row("admin.resume", MODE_REQUEST, MODE_CHANGE, Asked::Mode(Normal)),
        row(
            "admin.reduce_only",
            MODE_REQUEST,
            MODE_CHANGE,
            Asked::Mode(ReduceOnly),
        ),
        row(
            "admin.cancel_only",
            MODE_REQUEST,
            MODE_CHANGE,
            Asked::Mode(CancelOnly),
        ),
        row(
            "subscriptions.list",
            "",
            subscriptions::REPLY,
            Asked::Subscriptions,
        ),
        row(
            "subscriptions.add",
            subscriptions::REQUEST,
            subscriptions::REPLY,
            Asked::Subscribe(true),
        ),
        row(
            "subscriptions.remove",
            subscriptions::REQUEST,
            subscriptions::REPLY,
            Asked::Subscribe(false),
        ),
        row("bars.history", history::REQUEST, history::REPLY, Asked::History),
        row("limits.get", "", names::LIMITS, Asked::Limits),
        row("schema", names::SCHEMA_REQUEST, names::SCHEMA, Asked::Schema),
    ]
};

/// Everything that can be asked, for whoever registers it.
pub fn endpoints() -> Vec<Endpoint> {
    TABLE.iter().map(|(endpoint, _)| *endpoint).collect()
}

/// Questions that are at work at once. More wait, and are answered later.
const AT_ONCE: usize = 32;
/// Outcomes that are waited for at once.
const SUBMITS_AT_ONCE: usize = 256;
/// Questions at work in all, urgent ones included: their room is what the others cannot take.
const AT_WORK_MAX: usize = AT_ONCE + SUBMITS_AT_ONCE + 256;
/// The question that waits for an outcome.
const SUBMIT: &str = "orders.submit";

/// Writes the gateway's state as it is now.
pub type StateReport = Arc<dyn Fn() -> Encoded + Send + Sync>;

/// Answers questions.
pub struct Service {
    /// What is let through.
    pub modes: Modes,
    /// Who wants to hear what.
    pub switchboard: Switchboard,
    /// Where the mirrors are, and where wishes are kept.
    pub bucket: Bucket,
    /// Where the life of each order is.
    pub ledger: Ledger,
    /// The account's orders, as they are told.
    pub blotter: Blotter,
    /// Where what is done past the action stream is told.
    pub journal: Journal,
    /// Where commands are published.
    pub connection: Connection,
    /// And how they are spelled.
    pub subjects: Subjects,
    /// Where outcomes are told.
    pub board: Board,
    /// Who cancels; nobody before everything was started.
    pub cancels: watch::Receiver<Option<CancelDesk<Client>>>,
    /// Whether anybody takes orders, and cancels.
    pub takes: Takes,
    /// What orders may not exceed.
    pub risk: Risk,
    /// Where that is written; empty for nowhere.
    pub limits_file: String,
    /// What is wrong now.
    pub gateway: Gateway,
    /// The state as a whole.
    pub state: StateReport,
    /// Whom to ask what nobody mirrors.
    pub venue: Client,
    /// Where the past is found.
    pub history: HistoryDesk,
    /// What time it is.
    pub clock: Clock,
}

/// Which commands are taken.
#[derive(Clone, Copy, Debug)]
pub struct Takes {
    /// Orders and replaces.
    pub orders: bool,
    /// Closes, and cancels by the stream.
    pub cancels: bool,
}

impl Service {
    /// Takes up what was kept, and answers until nobody asks any more. A question that has to wait keeps no other waiting,
    /// and one that is urgent waits for none.
    pub async fn run(self, questions: Questions) {
        let Questions {
            mut usual,
            mut urgent,
        } = questions;
        let office = Arc::new(Office {
            service: self,
            keeping: tokio::sync::Mutex::new(()),
            known: reads::Known::default(),
            submits: Semaphore::new(SUBMITS_AT_ONCE),
        });
        let taken_up = Arc::clone(&office);
        let mut at_work = JoinSet::new();
        at_work.spawn(async move {
            taken_up.service.take_up().await;
            0
        });
        let mut busy = 0;
        loop {
            let question = tokio::select! {
                biased;
                // Cancel-safe, all of them: docs.
                question = urgent.recv(), if at_work.len() < AT_WORK_MAX => question,
                Some(ended) = at_work.join_next() => {
                    busy -= ended.unwrap_or(0);
                    continue;
                }
                question = usual.recv(), if busy < AT_ONCE => question,
            };
            let Some(question) = question else { break };
            let office = Arc::clone(&office);
            // Who waits for an outcome keeps nobody from looking.
            let weight = usize::from(!question.urgent && question.endpoint != SUBMIT);
            busy += weight;
            at_work.spawn(async move {
                office.answer(question).await;
                weight
            });
        }
    }
}

/// The service at work.
struct Office {
    service: Service,
    /// Held while wishes are changed and kept, so that what is kept is what was changed last.
    keeping: tokio::sync::Mutex<()>,
    known: reads::Known,
    /// Who may wait for an outcome.
    submits: Semaphore,
}

impl Office {
    async fn answer(self: Arc<Self>, question: Question) {
        let asked = TABLE
            .iter()
            .find(|(endpoint, _)| endpoint.name == question.endpoint);
        let answer = match asked.map(|(_, asked)| *asked) {
            Some(Asked::State) => Answer::new((self.service.state)(), question.is_json()),
            Some(Asked::Account) => self.account(&question).await,
            Some(Asked::Positions) => self.positions(&question).await,
            Some(Asked::OrdersList) => self.list_orders(&question),
            Some(Asked::OrdersGet) => self.get_order(&question).await,
            Some(Asked::Submit) => self.submit(&question).await,
            Some(Asked::Cancel) => return self.cancel(question).await,
            Some(Asked::Asset) => self.asset(&question).await,
            Some(Asked::Clock) => self.clock(&question).await,
            Some(Asked::Mode(mode)) => self.set_mode(&question, mode).await,
            Some(Asked::Subscriptions) => Answer::new(self.report(), question.is_json()),
            Some(Asked::Subscribe(add)) => self.change(&question, add).await,
            Some(Asked::History) => self.history(&question).await,
            Some(Asked::Limits) => Answer::new(self.limits(), question.is_json()),
            Some(Asked::Schema) => crate::wire::service::schema(question.content_type(), question.payload())
                .map_err(|error| refused(404, &error))
                .and_then(|schema| Answer::new(schema, question.is_json())),
            None => Err(Refused {
                code: 404,
                message: format!("nobody answers to {}", question.endpoint),
            }),
        };
        question.answer(answer).await;
    }
}

fn bad(error: &dyn std::error::Error) -> Refused {
    refused(400, error)
}

fn refused(code: usize, error: &dyn std::error::Error) -> Refused {
    Refused {
        code,
        message: error.to_string(),
    }
}
