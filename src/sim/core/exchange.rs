//! The exchange: takes requests, keeps the schedule of what happens next, and reports events.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use rust_decimal::Decimal;
use uuid::Uuid;

use super::assets::{Asset, AssetClass, Assets};
use super::book::Book;
use super::calendar::{Market, ages_at, new_york_day};
use super::event::{Event, EventKind, Fill};
use super::ledger::Ledger;
use super::order::{Order, OrderClass, OrderType, Side, Status, TimeInForce, Trail};
use super::paperwork::Paperwork;
use super::prices::{Prices, Quote, is_price};
use super::refusal::Refusal;
use super::request::OrderRequest;
use super::rng::Seeded;
use super::rules::{Draft, Exit, Leg, Rulebook};
use super::tape::{Tape, TapeConfig};

/// A GTC order is canceled this many days after it was made.
const GTC_DAYS: i64 = 90;

/// What an exchange is built from.
#[derive(Clone, Debug)]
pub struct ExchangeConfig {
    /// Where all chance comes from.
    pub seed: u64,
    /// Dollars at the start.
    pub cash: Decimal,
    /// Trading hours.
    pub market: Market,
    /// From one report about an order to the next (`pending_new`, `new`, fill; cancel and replace requests).
    pub event_delay: Duration,
    /// How often, in percent, a match fills only a part.
    pub partial_fill_percent: u8,
}

/// What happens to an order at a planned moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Step {
    /// Leaves the park for the market.
    Route,
    /// The market has it.
    Acknowledge,
    /// First look for a counterparty.
    Match,
    /// A cancel arrives.
    Cancel,
    /// A replacement takes over from its predecessor.
    TakeOver,
    /// Its time is up.
    Expire,
    /// It has worked for too long, and is canceled for that.
    Age,
}

/// One account at one venue.
#[derive(Debug)]
pub struct Exchange {
    pub(crate) config: ExchangeConfig,
    pub(crate) created_at: Timestamp,
    pub(crate) account_id: Uuid,
    pub(crate) assets: Arc<Assets>,
    pub(crate) prices: Prices,
    pub(crate) book: Book,
    pub(crate) ledger: Ledger,
    pub(crate) fills: Vec<Fill>,
    pub(crate) paperwork: Paperwork,
    pub(crate) chance: Seeded,
    /// Latest moment it was told: its time never runs backwards, whatever the caller's clock does.
    now: Timestamp,
    schedule: BinaryHeap<Reverse<(Timestamp, u64, Step, Uuid)>>,
    planned: u64,
    pub(crate) events: Vec<Event>,
    pub(crate) reported: u64,
    /// Orders still to be rejected when they reach the market.
    pub(crate) rejections: usize,
    /// Orders that will be rejected when they reach the market.
    pub(crate) doomed: BTreeSet<Uuid>,
}

impl Exchange {
    /// An account with cash and nothing else.
    pub fn new(config: ExchangeConfig, now: Timestamp) -> Self {
        let tape = TapeConfig {
            seed: config.seed,
            market: config.market,
            ..TapeConfig::default()
        };
        let assets = Arc::new(Assets::new());
        let tape = Arc::new(Tape::new(tape, Arc::clone(&assets), now));
        Self::with_tape(config, assets, tape, now)
    }

    /// The same, with prices from this tape.
    pub(crate) fn with_tape(
        config: ExchangeConfig,
        assets: Arc<Assets>,
        tape: Arc<Tape>,
        now: Timestamp,
    ) -> Self {
        let mut chance = Seeded::new(config.seed);
        Self {
            created_at: now,
            account_id: chance.uuid(),
            prices: Prices::new(tape),
            assets,
            book: Book::default(),
            ledger: Ledger::new(config.cash),
            fills: Vec::new(),
            paperwork: Paperwork::default(),
            chance,
            now,
            schedule: BinaryHeap::new(),
            planned: 0,
            events: Vec::new(),
            reported: 0,
            rejections: 0,
            doomed: BTreeSet::new(),
            config,
        }
    }

    /// Takes an order, or refuses it without a trace.
    pub fn submit(&mut self, now: Timestamp, request: OrderRequest) -> Result<Uuid, Refusal> {
        let now = self.at(now);
        let rulebook = Rulebook {
            assets: &self.assets,
            prices: &self.prices,
            market: self.config.market,
            now,
        };
        let draft = rulebook.check(request)?;
        if draft
            .client_order_id
            .as_ref()
            .is_some_and(|id| self.book.by_client_order_id(id).is_some())
        {
            return Err(Refusal::duplicate_client_order_id());
        }
        let verdict = self.assess(&draft)?;
        let mut order = self.order(&draft, now);
        order.hold_price = verdict.hold_price;
        order.position_intent = verdict.position_intent;
        let id = order.id;
        let open_now = self.may_trade(&order, now);
        order.status = if open_now {
            Status::PendingNew
        } else {
            Status::Accepted
        };
        let children = draft
            .exits
            .iter()
            .map(|exit| self.exit(&order, exit))
            .collect::<Vec<_>>();
        let legs = draft
            .legs
            .iter()
            .map(|leg| self.leg(&order, leg))
            .collect::<Vec<_>>();
        order.legs = children.iter().chain(&legs).map(|child| child.id).collect();
        let routes_at = self.routes_at(&order, now);
        self.enter(order);
        for child in children.into_iter().chain(legs) {
            self.enter(child);
        }
        if open_now {
            self.report(now, EventKind::PendingNew, id);
            self.plan(now, Step::Acknowledge, id);
        } else {
            self.report(now, EventKind::Accepted, id);
            if let Some(at) = routes_at {
                self.plan_at(at, Step::Route, id);
            }
        }
        Ok(id)
    }

    /// Runs everything that is due by `now`, each at its own moment.
    pub fn advance(&mut self, now: Timestamp) {
        while let Some(Reverse((at, _, step, id))) = self.schedule.peek().copied() {
            if at > now {
                break;
            }
            self.schedule.pop();
            let at = self.at(at);
            match step {
                Step::Route => self.route(at, id),
                Step::Acknowledge => self.acknowledge(at, id),
                Step::Match => self.try_match(at, id),
                Step::Cancel => self.end_group(at, id, Status::Canceled),
                Step::TakeOver => self.take_over(at, id),
                Step::Expire => self.end_group(at, id, Status::Expired),
                // An order that is over, or on its way out, needs no cancel.
                Step::Age => drop(self.cancel(at, id)),
            }
        }
        self.at(now);
    }

    /// When `advance` next has something to do.
    pub fn next_due(&self) -> Option<Timestamp> {
        self.schedule.peek().map(|Reverse((at, ..))| *at)
    }

    /// Lets every working order look at the prices of now.
    pub fn tick(&mut self, now: Timestamp) {
        self.advance(now);
        let now = self.at(now);
        self.match_all(now);
    }

    /// Pins a symbol's price and matches against it. A price that nothing could have is ignored.
    pub fn set_price(&mut self, now: Timestamp, symbol: &str, price: Decimal) {
        let now = self.at(now);
        let Some(asset) = self.assets.find(symbol) else {
            return;
        };
        if is_price(price) {
            self.prices.tape().pin(&asset.symbol, now, price);
            self.match_all(now);
        }
    }

    /// Changes the trading hours; orders parked until now are routed when the market is open.
    pub fn set_market(&mut self, now: Timestamp, market: Market) {
        let now = self.at(now);
        self.config.market = market;
        self.prices.tape().set_market(now, market);
        let parked: Vec<_> = self
            .book
            .open()
            .filter(|order| order.status == Status::Accepted)
            .filter_map(|order| Some((order.id, self.routes_at(order, now)?)))
            .collect();
        for (id, at) in parked {
            self.plan_at(at, Step::Route, id);
        }
    }

    /// This order is rejected when it reaches the market, if it has not yet.
    pub(crate) fn reject(&mut self, id: Uuid) {
        if self
            .book
            .get(id)
            .is_some_and(|order| !order.working && !order.status.is_terminal())
        {
            self.doomed.insert(id);
        }
    }

    /// The next `count` orders that reach the market are rejected there, after they were accepted here.
    pub fn reject_next(&mut self, count: usize) {
        self.rejections = count;
    }

    /// The events since the last call, oldest first.
    pub fn take_events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.events)
    }

    /// Takes the caller's time, unless it ran backwards.
    pub(crate) fn at(&mut self, now: Timestamp) -> Timestamp {
        self.now = self.now.max(now);
        self.now
    }

    pub(crate) fn plan(&mut self, now: Timestamp, step: Step, id: Uuid) {
        let at = now.checked_add(self.config.event_delay).unwrap_or(now);
        self.plan_at(at, step, id);
    }

    fn plan_at(&mut self, at: Timestamp, step: Step, id: Uuid) {
        self.planned += 1;
        self.schedule.push(Reverse((at, self.planned, step, id)));
    }

    pub(crate) fn quote(&self, asset: &Asset) -> Quote {
        self.prices.quote(asset, self.now)
    }

    /// May this order trade now? Crypto always may, an order for the closing auction only there.
    pub(crate) fn may_trade(&self, order: &Order, now: Timestamp) -> bool {
        let waits = order.time_in_force == TimeInForce::Cls
            && self
                .config
                .market
                .closing_auction_at(now)
                .is_some_and(|at| new_york_day(at) == new_york_day(now));
        order.asset_class == Some(AssetClass::Crypto)
            || (self.config.market.is_open(now, order.extended_hours) && !waits)
    }

    /// When an order that cannot trade now goes to market.
    fn routes_at(&self, order: &Order, now: Timestamp) -> Option<Timestamp> {
        let auction = match order.time_in_force {
            TimeInForce::Cls => self.config.market.closing_auction_at(now),
            TimeInForce::Day | TimeInForce::Gtc | TimeInForce::Opg | TimeInForce::Ioc | TimeInForce::Fok => {
                None
            }
        };
        auction.or_else(|| self.config.market.routes_at(now, order.extended_hours))
    }

    /// Does it trade at once or not at all? Orders for an auction do, where there are auctions.
    pub(crate) fn is_immediate(&self, order: &Order) -> bool {
        match order.time_in_force {
            TimeInForce::Ioc | TimeInForce::Fok => true,
            TimeInForce::Opg | TimeInForce::Cls => self.config.market == Market::Calendar,
            TimeInForce::Day | TimeInForce::Gtc => false,
        }
    }

    /// Gives an order its place in the order of submission, and a day order its end.
    pub(crate) fn enter(&mut self, mut order: Order) {
        order.sequence = self.book.next_sequence();
        match (order.time_in_force, order.expires_at) {
            (TimeInForce::Day, Some(at)) => self.plan_at(at, Step::Expire, order.id),
            (TimeInForce::Gtc, Some(at)) => self.plan_at(at, Step::Age, order.id),
            (_, _) => {}
        }
        self.book.insert(order);
    }

    fn order(&mut self, draft: &Draft, now: Timestamp) -> Order {
        let id = self.chance.uuid();
        let client_order_id = draft
            .client_order_id
            .clone()
            .unwrap_or_else(|| self.chance.uuid().to_string());
        let mut order = Order {
            id,
            client_order_id,
            sequence: 0,
            created_at: now,
            updated_at: now,
            submitted_at: now,
            filled_at: None,
            expired_at: None,
            expires_at: None,
            canceled_at: None,
            cancel_requested_at: None,
            failed_at: None,
            replaced_at: None,
            replaced_by: None,
            replaces: None,
            asset_id: draft.asset.as_ref().map(|asset| asset.id),
            asset_class: draft.asset.as_ref().map(|asset| asset.class),
            symbol: draft
                .asset
                .as_ref()
                .map(|asset| asset.symbol.clone())
                .unwrap_or_default(),
            notional: draft.notional,
            qty: draft.qty,
            filled_qty: Decimal::ZERO,
            filled_value: Decimal::ZERO,
            carried_qty: Decimal::ZERO,
            class: draft.class,
            order_type: Some(draft.order_type),
            side: draft.side,
            position_intent: draft.position_intent,
            time_in_force: draft.time_in_force,
            limit_price: draft.limit_price,
            stop_price: draft.stop_price,
            trail: draft.trail,
            hwm: None,
            status: Status::PendingNew,
            extended_hours: draft.extended_hours,
            legs: Vec::new(),
            parent: None,
            ratio_qty: None,
            working: false,
            elected: false,
            hold_price: Decimal::ZERO,
        };
        order.expires_at = self.expires_at(&order, now);
        if let (Some(trail), Some(side), Some(asset)) = (draft.trail, draft.side, &draft.asset) {
            let last = self.quote(asset).last;
            order.hwm = Some(last);
            order.stop_price = Some(trailing_stop(trail, side, last));
        }
        order
    }

    /// When the order's time in force ends it; a market without hours ends no day order.
    pub(crate) fn expires_at(&self, order: &Order, now: Timestamp) -> Option<Timestamp> {
        match order.time_in_force {
            TimeInForce::Day => self.config.market.day_ends_at(now, order.extended_hours),
            TimeInForce::Gtc if order.asset_class == Some(AssetClass::UsEquity) => ages_at(now, GTC_DAYS),
            TimeInForce::Gtc | TimeInForce::Opg | TimeInForce::Cls | TimeInForce::Ioc | TimeInForce::Fok => {
                None
            }
        }
    }

    fn exit(&mut self, parent: &Order, exit: &Exit) -> Order {
        // The parent of an OCO is itself the first exit, so its child trades the same way.
        let side = match parent.class {
            OrderClass::Oco => parent.side,
            OrderClass::Bracket | OrderClass::Oto | OrderClass::Simple | OrderClass::Mleg => {
                parent.side.map(Side::opposite)
            }
        };
        Order {
            id: self.chance.uuid(),
            client_order_id: self.chance.uuid().to_string(),
            side,
            order_type: Some(exit.order_type()),
            limit_price: exit.limit_price.map(|price| price.normalize()),
            stop_price: exit.stop_price.map(|price| price.normalize()),
            position_intent: None,
            status: Status::Held,
            parent: Some(parent.id),
            legs: Vec::new(),
            hold_price: Decimal::ZERO,
            ..parent.clone()
        }
    }

    fn leg(&mut self, parent: &Order, leg: &Leg) -> Order {
        Order {
            id: self.chance.uuid(),
            client_order_id: self.chance.uuid().to_string(),
            asset_id: Some(leg.asset.id),
            asset_class: Some(leg.asset.class),
            symbol: leg.asset.symbol.clone(),
            side: Some(leg.side),
            qty: parent.qty.map(|qty| qty * leg.ratio_qty),
            ratio_qty: Some(leg.ratio_qty),
            order_type: None,
            limit_price: None,
            position_intent: Some(leg.position_intent),
            parent: Some(parent.id),
            legs: Vec::new(),
            hold_price: Decimal::ZERO,
            ..parent.clone()
        }
    }
}

/// The stop of a trailing order whose water mark is `mark`.
pub(crate) fn trailing_stop(trail: Trail, side: Side, mark: Decimal) -> Decimal {
    let distance = match trail {
        Trail::Price(price) => price,
        Trail::Percent(percent) => mark * percent / Decimal::ONE_HUNDRED,
    };
    let stop = match side {
        Side::Sell => mark - distance,
        Side::Buy => mark + distance,
    };
    super::prices::on_grid(stop)
}

/// Does a limit bound the price at which it may trade?
pub(crate) fn is_limited(order_type: OrderType) -> bool {
    match order_type {
        OrderType::Limit | OrderType::StopLimit => true,
        OrderType::Market | OrderType::Stop | OrderType::TrailingStop => false,
    }
}
