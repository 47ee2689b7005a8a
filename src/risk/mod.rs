//! Limits: what an order may not exceed, judged before it begins and once more before its first byte.
//!
//! ```text
//!   limits file ──► Limits ─┐
//!   mirror ──► positions, account ─┤
//!   blotter ──► open orders, fills ─┼──► judge ──► let through: it is noted, and the next one is judged beside it
//!   venue ──► quotes, the market's clock ─┘            or a breach: which limit, and what it would have been
//! ```
//!
//! Judging and noting are one step under one lock, so that two orders at once cannot both take the last of a limit. An
//! order that was let through counts until the venue has it (then the blotter counts it) or it is known that it never will.
//!
//! Deliberately absent: positions of a strategy. The account holds positions, and nobody computes others.

mod begun;
mod exposure;
mod judge;
mod pace;
mod request;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::{BoxFuture, join_all};
use jiff::Timestamp;
use rust_decimal::Decimal;
use tokio::sync::watch;

pub use judge::Quote;

use self::begun::Begun;
use self::exposure::{Exposures, Sources};
use self::judge::View;
use self::pace::Paces;
use self::request::{Request, Shape};
use crate::blotter::Blotter;
use crate::clock::Clock;
use crate::domain::account::AccountStatement;
use crate::domain::limits::{Breach, LimitName, Limits, Scope};
use crate::domain::order::Side;
use crate::domain::outcome::Acceptance;
use crate::domain::{ClientOrderId, CommandId, Holdings, MarketClock, Order, Placement, Strategy, Symbol};
use crate::trial::{self, Bug};

/// Shapes of orders remembered for the repeat guard. All are forgotten when there are more.
const SHAPES_MAX: usize = 10_000;

/// What the mirrors state. `None`: nothing was read yet.
#[derive(Clone, Debug)]
pub struct Statements {
    /// What the account holds.
    pub holdings: watch::Receiver<Option<Arc<Holdings>>>,
    /// The account.
    pub account: watch::Receiver<Option<Arc<AccountStatement>>>,
    /// The market's clock.
    pub clock: watch::Receiver<Option<MarketClock>>,
}

impl Statements {
    /// Nobody states anything.
    pub fn none() -> Self {
        Self {
            holdings: watch::channel(None).1,
            account: watch::channel(None).1,
            clock: watch::channel(None).1,
        }
    }
}

/// Judges orders. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Risk(Arc<Inner>);

struct Inner {
    limits: watch::Sender<Arc<Limits>>,
    state: Mutex<State>,
    statements: Statements,
    blotter: Blotter,
    clock: Clock,
    /// Nothing is POSTed at all.
    dry_run: bool,
    find_quote: Option<FindQuote>,
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inner")
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

#[derive(Debug, Default)]
struct State {
    begun: Begun,
    paces: Paces,
    shapes: HashMap<Shape, Timestamp>,
    /// Strategies whose lease has lapsed.
    lapsed: HashSet<String>,
}

impl State {
    /// An order is on its way.
    fn count(&mut self, command: CommandId, id: &ClientOrderId, request: Request) {
        if !trial::planted(Bug::BegunIsNotCounted) {
            self.begun.note(command, id, request);
        }
    }
}

/// By what an order is judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judged {
    /// By the limits.
    ByLimits,
    /// By the limits, and by whether it only makes positions smaller.
    MustReduce,
    /// By nothing: it closes what is there. It counts all the same.
    Never,
}

/// Why an order does not begin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotAdmitted {
    /// It would break a limit.
    Breach(Breach),
    /// It could make a position larger, and must not.
    Enlarges,
    /// Its strategy's lease has lapsed.
    Lapsed,
}

/// Quotes that were fetched for one order.
pub type Quotes = HashMap<Symbol, Quote>;

/// Finds the quote of a symbol, not older than that if there is such a one.
pub type FindQuote = Arc<dyn Fn(Symbol, Option<Duration>) -> BoxFuture<'static, Option<Quote>> + Send + Sync>;

/// Longest wait for quotes. An order that has none by then is judged without.
const QUOTE_PATIENCE: Duration = Duration::from_secs(2);

impl Risk {
    /// Limits that can be changed later.
    pub fn new(
        limits: Limits,
        dry_run: bool,
        statements: Statements,
        blotter: Blotter,
        find_quote: Option<FindQuote>,
        clock: Clock,
    ) -> Self {
        Self(Arc::new(Inner {
            find_quote,
            limits: watch::Sender::new(Arc::new(limits)),
            state: Mutex::default(),
            statements,
            blotter,
            clock,
            dry_run,
        }))
    }

    /// No limits, and no view of anything.
    pub fn unlimited(clock: Clock) -> Self {
        Self::new(
            Limits::default(),
            false,
            Statements::none(),
            Blotter::default(),
            None,
            clock,
        )
    }

    /// The limits that hold now.
    pub fn limits(&self) -> Arc<Limits> {
        Arc::clone(&self.0.limits.borrow())
    }

    /// Lets other limits hold from now on.
    pub fn set_limits(&self, limits: Limits) {
        let scopes: Vec<Scope> = limits.scopes().into_iter().map(|(scope, _)| scope).collect();
        self.0.limits.send_replace(Arc::new(limits));
        self.state().paces.keep(|scope| scopes.contains(scope));
    }

    /// Notes orders that were begun before this process was: today's, as the venue lists them.
    pub fn recall(&self, orders: &[Order]) {
        let limits = self.limits();
        let mut state = self.state();
        state.paces.clear();
        for order in orders {
            let Some(at) = order.submitted_at.or(order.created_at) else {
                continue;
            };
            let strategy = Strategy::of(&order.client_order_id);
            for (scope, _) in limits.bounds_of(strategy.as_ref(), order.symbol.iter()) {
                state.paces.note(scope, at);
            }
        }
    }

    /// Finds the quotes an order is judged by. Bounded in time; what is not found is left out.
    pub async fn quotes(&self, id: &ClientOrderId, placement: &Placement) -> Quotes {
        let Some(find) = self.0.find_quote.clone() else {
            return Quotes::new();
        };
        let wanted = self.wants_quotes(id, placement);
        let found = wanted.into_iter().map(|(symbol, max_age)| {
            let find = find(symbol.clone(), max_age);
            async move {
                let quote = tokio::time::timeout(QUOTE_PATIENCE, find).await.ok()??;
                Some((symbol, quote))
            }
        });
        join_all(found).await.into_iter().flatten().collect()
    }

    /// Symbols a quote is needed of before an order can be judged, and how old it may be.
    fn wants_quotes(&self, id: &ClientOrderId, placement: &Placement) -> Vec<(Symbol, Option<Duration>)> {
        let limits = self.limits();
        if limits.is_empty() {
            return Vec::new();
        }
        let Some(request) = self.request(id, placement) else {
            return Vec::new();
        };
        let symbols = request.legs.iter().map(|leg| &leg.symbol);
        let bounds = limits.bounds_of(request.strategy.as_ref(), symbols);
        let has_price = request.price.is_some() || request.notional.is_some();
        let needs = bounds.iter().any(|(_, bounds)| {
            let by_quote = bounds.price_collar_percent.is_some() || bounds.max_quote_age.is_some();
            let by_dollars = bounds.max_order_notional.is_some() || bounds.check_buying_power;
            let by_position = bounds.max_position_notional.is_some() || bounds.max_gross_exposure.is_some();
            let by_qty = bounds.max_order_qty.is_some() || bounds.max_position_qty.is_some();
            // A sell may be worth more than its limit.
            let is_sell = request.legs.iter().any(|leg| leg.side == Side::Sell);
            by_quote
                || by_position
                || (by_dollars && (!has_price || is_sell))
                || (by_qty && request.notional.is_some())
        });
        if !needs {
            return Vec::new();
        }
        let max_age = bounds.iter().filter_map(|(_, bounds)| bounds.max_quote_age).min();
        request
            .legs
            .iter()
            .map(|leg| (leg.symbol.clone(), max_age))
            .collect()
    }

    /// Lets an order begin, and counts it from now on; or says why not. Asked again by the same command for the same order,
    /// it judges it again and counts it once.
    pub fn admit(
        &self,
        command: CommandId,
        id: &ClientOrderId,
        placement: &Placement,
        judged: Judged,
        quotes: &Quotes,
    ) -> Result<(), NotAdmitted> {
        let limits = self.limits();
        let is_limited = judged != Judged::Never && !limits.is_empty();
        let Some(request) = self.request(id, placement) else {
            return if judged == Judged::MustReduce {
                Err(NotAdmitted::Enlarges)
            } else if is_limited {
                Err(NotAdmitted::Breach(Breach {
                    limit: LimitName::MaxOpenOrders,
                    scope: Scope::Account.to_string(),
                    bound: "orders that are known".to_owned(),
                    value: "a replacement of one that is not among the open orders".to_owned(),
                }))
            } else {
                Ok(())
            };
        };
        let now = self.0.clock.now();
        let mut state = self.state();
        let strategy = request.strategy.as_ref().map(ToString::to_string);
        if judged != Judged::Never && strategy.is_some_and(|strategy| state.lapsed.contains(&strategy)) {
            return Err(NotAdmitted::Lapsed);
        }
        let is_known = state.begun.has(id);
        if is_limited || judged == Judged::MustReduce {
            self.look(&state, &request, quotes, |view| {
                if judged == Judged::MustReduce && !judge::only_reduces(&request, view.exposures) {
                    return Err(NotAdmitted::Enlarges);
                }
                let view = View {
                    now,
                    limits: &limits,
                    same_at: state.shapes.get(&request.shape).copied(),
                    is_known,
                    ..view
                };
                judge::judge(&request, &view).map_err(NotAdmitted::Breach)
            })?;
        }
        if !is_known && is_limited {
            let symbols = request.legs.iter().map(|leg| &leg.symbol);
            for (scope, _) in limits.bounds_of(request.strategy.as_ref(), symbols) {
                state.paces.note(scope, now);
            }
            if state.shapes.len() >= SHAPES_MAX {
                state.shapes.clear();
            }
            state.shapes.insert(request.shape.clone(), now);
        }
        state.count(command, id, request);
        Ok(())
    }

    /// Counts an order that was begun before, by whomever, and may be at the venue. Nothing is judged by it that was let begin.
    pub fn count_on(&self, command: CommandId, id: &ClientOrderId, placement: &Placement) {
        if let Some(request) = self.request(id, placement) {
            self.state().count(command, id, request);
        }
    }

    /// Whether an order only makes positions smaller, whatever else is filled.
    pub fn only_reduces(&self, id: &ClientOrderId, placement: &Placement) -> bool {
        let Some(request) = self.request(id, placement) else {
            return false;
        };
        let state = self.state();
        self.look(&state, &request, &Quotes::new(), |view| {
            judge::only_reduces(&request, view.exposures)
        })
    }

    /// The venue has the order: from now on the blotter counts it.
    pub fn accepted(&self, id: &ClientOrderId, acceptance: &Acceptance) {
        if let Some(order) = &acceptance.order {
            self.0.blotter.tell_answer(order, self.0.clock.now());
        }
        self.state().begun.arrived(id);
    }

    /// Whether an order of this id is begun and not yet counted elsewhere.
    pub fn has_begun(&self, id: &ClientOrderId) -> bool {
        self.state().begun.has(id)
    }

    /// What this command let begin under this id does not begin any more, or is counted elsewhere.
    pub fn over(&self, command: CommandId, id: &ClientOrderId) {
        self.state().begun.over(command, id);
    }

    /// Notes that a strategy's lease has lapsed, or has not any more.
    pub fn lapsed(&self, strategy: &str, has_lapsed: bool) {
        let mut state = self.state();
        if has_lapsed {
            state.lapsed.insert(strategy.to_owned());
        } else {
            state.lapsed.remove(strategy);
        }
    }

    /// Whether everything is done for this order but the POST.
    pub fn is_dry(&self, id: &ClientOrderId) -> bool {
        if self.0.dry_run {
            return true;
        }
        let limits = self.limits();
        let strategy = Strategy::of(id.as_str()).map(|strategy| strategy.to_string());
        let of_strategy = strategy.and_then(|name| limits.strategies.get(&name));
        limits.account.dry_run || of_strategy.is_some_and(|bounds| bounds.dry_run)
    }

    /// The largest loss of a day that is let pass, where it is passed, and the loss.
    pub fn excessive_loss(&self) -> Option<(Decimal, Decimal)> {
        let max = self.limits().account.max_daily_loss?;
        let statement = self.0.statements.account.borrow().clone()?;
        let loss = judge::daily_loss(&statement).filter(|_| statement.fresh)?;
        (loss > max).then_some((max, loss))
    }

    /// The account's statements, to wait for the next one.
    pub fn account(&self) -> watch::Receiver<Option<Arc<AccountStatement>>> {
        self.0.statements.account.clone()
    }

    /// Whether no order is POSTed at all.
    pub fn is_all_dry(&self) -> bool {
        self.0.dry_run
    }

    /// How far each bound is used that is counted.
    pub fn usage(&self) -> HashMap<(Scope, LimitName), Decimal> {
        let now = self.0.clock.now();
        let limits = self.limits();
        let open: Vec<(String, Option<Symbol>)> = {
            let state = self.state();
            let begun = state
                .begun
                .requests()
                .filter(|begun| !self.0.blotter.knows(begun.id.as_str()));
            let begun: Vec<_> = begun
                .map(|begun| {
                    (
                        begun.id.as_str().to_owned(),
                        begun.legs.first().map(|leg| leg.symbol.clone()),
                    )
                })
                .collect();
            self.0.blotter.read(Timestamp::MAX, |open, _| {
                let open = open
                    .iter()
                    .map(|order| (order.client_order_id.clone(), order.symbol.clone()));
                open.chain(begun).collect()
            })
        };
        let mut usage = HashMap::new();
        for (scope, _) in limits.scopes() {
            let is_in = |id: &str, symbol: Option<&Symbol>| match &scope {
                Scope::Account => true,
                Scope::Strategy(name) => Strategy::new(name.as_str()).owns(id),
                Scope::Symbol(wanted) => symbol.is_some_and(|symbol| symbol.same_instrument(wanted)),
            };
            let working = open
                .iter()
                .filter(|(id, symbol)| is_in(id, symbol.as_ref()))
                .count();
            let pace = self.state().paces.of(&scope, now);
            for (limit, count) in [
                (LimitName::MaxOpenOrders, Decimal::from(working)),
                (LimitName::MaxOrdersPerSecond, pace.second.into()),
                (LimitName::MaxOrdersPerMinute, pace.minute.into()),
                (LimitName::MaxOrdersPerDay, pace.day.into()),
            ] {
                usage.insert((scope.clone(), limit), count);
            }
        }
        let loss = self
            .0
            .statements
            .account
            .borrow()
            .as_deref()
            .and_then(judge::daily_loss);
        if let Some(loss) = loss {
            usage.insert((Scope::Account, LimitName::MaxDailyLoss), loss.max(Decimal::ZERO));
        }
        usage
    }

    /// What a placement asks for. `None`: it replaces an order that is not known.
    fn request(&self, id: &ClientOrderId, placement: &Placement) -> Option<Request> {
        match placement {
            Placement::New(order) => Some(Request::new(id, order)),
            Placement::Replacement(replacement) => {
                let old = self.0.blotter.order(replacement.replaces)?;
                Some(Request::replacement(id, replacement, &old))
            }
        }
    }

    /// Looks at everything an order is judged by.
    fn look<T>(
        &self,
        state: &State,
        request: &Request,
        quotes: &Quotes,
        judge: impl FnOnce(View<'_>) -> T,
    ) -> T {
        let holdings = self
            .0
            .statements
            .holdings
            .borrow()
            .clone()
            .filter(|holdings| holdings.fresh);
        let account = self
            .0
            .statements
            .account
            .borrow()
            .clone()
            .filter(|account| account.fresh);
        let clock = *self.0.statements.clock.borrow();
        let since = holdings.as_ref().map_or(Timestamp::MAX, |holdings| {
            holdings
                .as_of
                .saturating_sub(exposure::LAG)
                .unwrap_or(holdings.as_of)
        });
        // What is in the blotter counts there. And not the order itself.
        let begun: Vec<&Request> = state
            .begun
            .requests()
            .filter(|begun| begun.id != request.id && !self.0.blotter.knows(begun.id.as_str()))
            .collect();
        let nothing = Limits::default();
        self.0.blotter.read(since, |open, fills| {
            let open: Vec<&Order> = open
                .iter()
                .copied()
                .filter(|order| request.replaces.is_none() || order.id != request.replaces)
                .filter(|order| order.client_order_id != request.id.as_str())
                .collect();
            let price_of = |symbol: &Symbol| {
                let quoted = quotes.get(symbol).and_then(|quote| quote.bid.or(quote.ask));
                quoted.or_else(|| {
                    let positions = &holdings.as_ref()?.positions;
                    let position = positions
                        .iter()
                        .find(|position| position.symbol.same_instrument(symbol))?;
                    position.current_price
                })
            };
            let exposures = holdings.as_deref().map(|holdings| {
                let sources = Sources {
                    holdings,
                    open: &open,
                    fills,
                    begun: &begun,
                    replaced: request.replaces,
                };
                Exposures::sum(sources, &price_of)
            });
            judge(View {
                now: Timestamp::MIN,
                limits: &nothing,
                holdings: holdings.as_deref(),
                account: account.as_deref(),
                exposures: exposures.as_ref(),
                open: &open,
                begun: &begun,
                same_at: None,
                paces: &state.paces,
                clock,
                quotes,
                is_known: false,
            })
        })
    }

    /// Nothing that can panic happens under this lock.
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// When the trading day of an instant began: midnight in New York.
pub fn today_began(now: Timestamp) -> Timestamp {
    let midnight = now
        .in_tz("America/New_York")
        .and_then(|local| local.start_of_day());
    midnight.map_or(now, |midnight| midnight.timestamp())
}

#[cfg(test)]
mod tests;
