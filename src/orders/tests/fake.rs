//! A venue that answers by script, never holds two orders of one id, and notes what it was asked and when.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::at_venue;
use crate::alpaca::rest::{CancelAnswer, LastCheck, LookUpAnswer, ReadError, SubmitAnswer};
use crate::alpaca::{Lane, Pacer, Permit};
use crate::domain::outcome::{Acceptance, Refusal};
use crate::domain::{ClientOrderId, Order, OrderId, Placement, Position};
use crate::orders::Venue;

/// What becomes of one POST. An unscripted one is [`Post::Accept`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Post {
    /// Taken, and said so; refused as a duplicate if the id is taken.
    Accept,
    /// Taken after so long.
    AcceptAfter(Duration),
    /// Taken, when the connection has opened after so long, if the last check still lets it.
    OpenAfter(Duration),
    /// Refused for want of money, which is looked at before the id is.
    Reject,
    /// The answer is lost, whether or not the order was taken.
    Unknown { committed: bool },
    /// As [`Post::Unknown`], but it is the caller who gives up waiting, after so long.
    TimeOut { committed: bool, after: Duration },
    /// Never left.
    NotSent { retry_after: Option<Duration> },
    /// Said to be there already, whether or not it is.
    Duplicate,
    /// The account is refused.
    AccountRefused,
}

/// What becomes of one look-up. An unscripted one is [`Look::Truthful`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Look {
    /// What is there and no younger than the lag.
    Truthful,
    /// No answer.
    Fail { retry_after: Option<Duration> },
    /// The account is refused.
    AccountRefused,
}

pub(super) struct FakeVenue {
    pub(super) pacer: Pacer,
    pub(super) began: Instant,
    /// How long an order is there before look-ups show it.
    pub(super) lag: Duration,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    script: VecDeque<Post>,
    looks: VecDeque<Look>,
    /// The order, and since when it is there.
    held: Option<(Order, Instant)>,
    posted_at: Vec<Duration>,
    looked_at: Vec<Duration>,
    /// Open orders, and how many cancels of each get no answer.
    open: Vec<(Order, usize)>,
    cancels: Vec<(OrderId, Duration)>,
    on_the_wire: usize,
    most_on_the_wire: usize,
}

impl FakeVenue {
    pub(super) fn new(posts: impl IntoIterator<Item = Post>, looks: impl IntoIterator<Item = Look>) -> Self {
        let state = State {
            script: posts.into_iter().collect(),
            looks: looks.into_iter().collect(),
            ..State::default()
        };
        Self {
            pacer: Pacer::new(200),
            began: Instant::now(),
            lag: Duration::ZERO,
            state: Mutex::new(state),
        }
    }

    /// When POSTs began, since the test did.
    pub(super) fn posts(&self) -> Vec<Duration> {
        self.lock().posted_at.clone()
    }

    /// When look-ups began, since the test did.
    pub(super) fn look_ups(&self) -> Vec<Duration> {
        self.lock().looked_at.clone()
    }

    /// POSTs without an answer now.
    pub(super) fn on_the_wire(&self) -> usize {
        self.lock().on_the_wire
    }

    /// POSTs without an answer at any one time.
    pub(super) fn most_on_the_wire(&self) -> usize {
        self.lock().most_on_the_wire
    }

    pub(super) fn holds_order(&self) -> bool {
        self.lock().held.is_some()
    }

    /// Puts an order there, behind our back.
    pub(super) fn put(&self, order: Order) {
        self.lock().take(order);
    }

    /// Puts an order there that has been there for so long.
    pub(super) fn put_before(&self, order: Order, age: Duration) {
        self.lock().held = Some((order, Instant::now() - age));
    }

    /// Opens an order, so many cancels of which get no answer.
    pub(super) fn open(&self, order: Order, unanswered: usize) {
        self.lock().open.push((order, unanswered));
    }

    /// Which order each cancel named, and when.
    pub(super) fn cancels(&self) -> Vec<(OrderId, Duration)> {
        self.lock().cancels.clone()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }
}

impl State {
    /// Takes an order, once. False: its id is taken.
    fn take(&mut self, order: Order) -> bool {
        let is_new = self.held.is_none();
        if is_new {
            self.held = Some((order, Instant::now()));
        }
        is_new
    }

    fn answer(&mut self, post: Post, order: Order) -> SubmitAnswer {
        let unknown = SubmitAnswer::Unknown {
            cause: "the connection was reset".to_owned(),
        };
        match post {
            Post::Accept | Post::AcceptAfter(_) | Post::OpenAfter(_) => {
                let acceptance = Acceptance {
                    order_id: order.id,
                    order: Some(Arc::new(order.clone())),
                    http_status: 200,
                    ..Acceptance::default()
                };
                if self.take(order) {
                    SubmitAnswer::Accepted(acceptance)
                } else {
                    SubmitAnswer::Duplicate(refusal(422, "client_order_id must be unique"))
                }
            }
            Post::Reject => SubmitAnswer::Rejected(refusal(403, "insufficient buying power")),
            Post::Unknown { committed } | Post::TimeOut { committed, .. } => {
                if committed {
                    self.take(order);
                }
                unknown
            }
            Post::NotSent { retry_after } => SubmitAnswer::NotSent {
                cause: "connection refused".to_owned(),
                retry_after,
            },
            Post::Duplicate => SubmitAnswer::Duplicate(refusal(422, "client_order_id must be unique")),
            Post::AccountRefused => SubmitAnswer::AccountRefused(refusal(401, "unauthorized")),
        }
    }
}

fn refusal(http_status: u16, message: &str) -> Refusal {
    Refusal {
        http_status,
        message: message.to_owned(),
        ..Refusal::default()
    }
}

impl Venue for Arc<FakeVenue> {
    fn pacer(&self) -> &Pacer {
        &self.pacer
    }

    async fn submit(
        &self,
        permit: Permit,
        _id: &ClientOrderId,
        asked: &Placement,
        check: LastCheck,
    ) -> SubmitAnswer {
        drop(permit);
        let Placement::New(order) = asked else {
            panic!("this venue replaces nothing");
        };
        let post = {
            let mut state = self.lock();
            state.posted_at.push(self.began.elapsed());
            state.on_the_wire += 1;
            state.most_on_the_wire = state.most_on_the_wire.max(state.on_the_wire);
            state.script.pop_front().unwrap_or(Post::Accept)
        };
        if let Post::OpenAfter(span) = post {
            sleep(span).await;
            if !check.passes() {
                self.lock().on_the_wire -= 1;
                return SubmitAnswer::NotSent {
                    cause: "withheld".to_owned(),
                    retry_after: None,
                };
            }
        }
        if let Post::AcceptAfter(span) | Post::TimeOut { after: span, .. } = post {
            sleep(span).await;
        }
        let mut state = self.lock();
        state.on_the_wire -= 1;
        state.answer(post, at_venue(order))
    }

    async fn find(&self, _id: &ClientOrderId) -> LookUpAnswer {
        drop(self.pacer.acquire(Lane::LookUp).await);
        let mut state = self.lock();
        state.looked_at.push(self.began.elapsed());
        match state.looks.pop_front().unwrap_or(Look::Truthful) {
            Look::Truthful => match &state.held {
                Some((order, since)) if since.elapsed() >= self.lag => {
                    LookUpAnswer::Found(Box::new(order.clone()))
                }
                Some(_) | None => LookUpAnswer::Absent,
            },
            Look::Fail { retry_after } => LookUpAnswer::Failed {
                cause: "HTTP 500".to_owned(),
                retry_after,
            },
            Look::AccountRefused => LookUpAnswer::AccountRefused(refusal(401, "unauthorized")),
        }
    }

    async fn find_order(&self, id: OrderId) -> LookUpAnswer {
        let state = self.lock();
        let known = state
            .open
            .iter()
            .map(|(order, _)| order)
            .find(|order| order.id == Some(id));
        known.map_or(LookUpAnswer::Absent, |order| {
            LookUpAnswer::Found(Box::new(order.clone()))
        })
    }

    async fn cancel(&self, id: OrderId) -> CancelAnswer {
        let mut state = self.lock();
        state.cancels.push((id, self.began.elapsed()));
        let Some(at) = state.open.iter().position(|(order, _)| order.id == Some(id)) else {
            return CancelAnswer::NotFound(refusal(404, "order not found"));
        };
        if state.open[at].1 > 0 {
            state.open[at].1 -= 1;
            return CancelAnswer::Failed {
                cause: "HTTP 500".to_owned(),
                retry_after: None,
            };
        }
        state.open.remove(at);
        CancelAnswer::Accepted {
            http_status: 204,
            request_id: None,
        }
    }

    async fn open_orders(&self) -> Result<Vec<Order>, ReadError> {
        Ok(self.lock().open.iter().map(|(order, _)| order.clone()).collect())
    }

    async fn positions(&self) -> Result<Vec<Position>, ReadError> {
        Ok(Vec::new())
    }
}
