//! Replacing an order: a new order that takes over from the old one, unless the old one fills first.

use jiff::Timestamp;
use rust_decimal::Decimal;
use uuid::Uuid;

use super::assets::AssetClass;
use super::event::EventKind;
use super::exchange::{Exchange, Step, trailing_stop};
use super::order::{Order, OrderClass, PositionIntent, Status, Trail};
use super::refusal::Refusal;
use super::request::ReplaceRequest;
use super::rules::check_price;

impl Exchange {
    /// Takes a replacement. Success means the request was taken, not that the old order is gone.
    pub fn replace(&mut self, now: Timestamp, id: Uuid, request: ReplaceRequest) -> Result<Uuid, Refusal> {
        let now = self.at(now);
        let old = self
            .book
            .get(id)
            .ok_or_else(|| Refusal::order_not_found(id))?
            .clone();
        refuse_unreplaceable(&old)?;
        let taken_over = |id| {
            self.book
                .get(id)
                .is_some_and(|order| order.status == Status::Replaced)
        };
        if old.replaces.is_some_and(|id| !taken_over(id)) {
            return Err(Refusal::unprocessable("order chain not fully replaced"));
        }
        if request
            .client_order_id
            .as_ref()
            .is_some_and(|id| self.book.by_client_order_id(id).is_some())
        {
            return Err(Refusal::duplicate_client_order_id());
        }
        let mut new = changed(&old, &request)?;
        let closes = matches!(
            new.position_intent,
            Some(PositionIntent::BuyToClose | PositionIntent::SellToClose)
        );
        if closes {
            let (existing, held) = self.available(&old.symbol);
            let (wanted, kept) = (new.leaves_qty(), old.leaves_qty());
            if wanted > kept && wanted > existing - held + kept {
                return Err(Refusal::insufficient_qty(&old.symbol, wanted, existing, held));
            }
        }
        self.price_hold(&old, &mut new)?;
        new.id = self.chance.uuid();
        new.client_order_id = request
            .client_order_id
            .unwrap_or_else(|| self.chance.uuid().to_string());
        (new.created_at, new.updated_at, new.submitted_at) = (now, now, now);
        new.expires_at = self.expires_at(&new, now);
        new.replaces = Some(id);
        new.status = if old.status == Status::Held {
            Status::Held
        } else {
            Status::PendingNew
        };
        (new.working, new.elected) = (false, false);
        (new.filled_qty, new.filled_value) = (Decimal::ZERO, Decimal::ZERO);
        new.carried_qty = old.carried_qty + old.filled_qty;
        new.legs = Vec::new();
        let successor = new.id;
        self.enter(new);
        self.book.update(id, now, |order| {
            order.status = Status::PendingReplace;
            // The successor holds the buying power from here on.
            order.hold_price = Decimal::ZERO;
        });
        self.plan(now, Step::TakeOver, successor);
        Ok(successor)
    }

    /// The larger of the two orders holds buying power; only the difference must still be there.
    fn price_hold(&self, old: &Order, new: &mut Order) -> Result<(), Refusal> {
        if old.hold_price.is_zero() {
            return Ok(());
        }
        let price = |order: &Order| order.limit_price.or(order.stop_price);
        if let (Some(before), Some(after)) = (price(old), price(new))
            && !before.is_zero()
        {
            new.hold_price = (old.hold_price * after / before).abs().round_dp(super::QTY_SCALE);
        }
        let available = self.funds().buying_power;
        let more = new.hold_price * new.leaves_qty() - old.hold();
        if more > available {
            Err(Refusal::buying_power(available, more))
        } else {
            Ok(())
        }
    }

    /// The replacement reaches the market: it takes the old order's place, or finds it already filled.
    pub(crate) fn take_over(&mut self, now: Timestamp, successor: Uuid) {
        let Some(new) = self
            .book
            .get(successor)
            .filter(|order| !order.status.is_terminal())
        else {
            return;
        };
        let Some(old) = new.replaces.and_then(|old| self.book.get(old)).cloned() else {
            return;
        };
        let new_qty = new.qty;
        let carried = old.carried_qty + old.filled_qty;
        if old.status.is_terminal() || new_qty.is_some_and(|qty| qty <= carried) {
            self.end(now, successor, Status::Rejected);
            self.report(now, EventKind::OrderReplaceRejected, old.id);
            return;
        }
        self.book.update(old.id, now, |order| {
            order.replaced_by = Some(successor);
            order.legs = Vec::new();
        });
        for child in &old.legs {
            self.book
                .update(*child, now, |order| order.parent = Some(successor));
        }
        if let Some(parent) = old.parent {
            self.book.update(parent, now, |order| order.legs.push(successor));
        }
        self.book.update(successor, now, |order| {
            order.carried_qty = carried;
            order.legs.clone_from(&old.legs);
        });
        self.end(now, old.id, Status::Replaced);
        self.acknowledge(now, successor);
        // A waiting exit may have been released while its replacement was on the way.
        let released = old
            .parent
            .and_then(|parent| self.book.get(parent))
            .is_some_and(|parent| {
                parent.status == Status::Filled || (parent.class == OrderClass::Oco && parent.working)
            });
        if released {
            self.activate(now, successor);
        }
    }
}

fn refuse_unreplaceable(old: &Order) -> Result<(), Refusal> {
    if old.class == OrderClass::Mleg {
        return Err(Refusal::unprocessable(
            "cannot replace individual legs of a mleg order",
        ));
    }
    match old.status {
        Status::Filled | Status::Canceled | Status::Expired | Status::Rejected => Err(
            Refusal::unprocessable(format!("order is already in \"{}\" state", old.status.as_str())),
        ),
        Status::Replaced => Err(Refusal::unprocessable("order already replaced")),
        Status::Accepted | Status::PendingNew | Status::PendingCancel | Status::PendingReplace => Err(
            Refusal::unprocessable(format!("cannot replace order in {} status", old.status.as_str())),
        ),
        Status::New | Status::Held | Status::PartiallyFilled if old.notional.is_some() => {
            Err(Refusal::unprocessable("notional orders cannot be replaced"))
        }
        Status::New | Status::Held | Status::PartiallyFilled => Ok(()),
    }
}

/// The old order with the changes applied.
fn changed(old: &Order, request: &ReplaceRequest) -> Result<Order, Refusal> {
    let class = old.asset_class.unwrap_or(AssetClass::UsEquity);
    let mut new = old.clone();
    if let Some(qty) = request.qty {
        if old.class != OrderClass::Simple && Some(qty) != old.qty {
            return Err(Refusal::unprocessable(
                "qty cannot be changed for advanced orders",
            ));
        }
        if !qty.fract().is_zero() && class != AssetClass::Crypto {
            return Err(Refusal::invalid("qty must be integer"));
        }
        if qty <= old.carried_qty + old.filled_qty {
            return Err(Refusal::unprocessable("qty must be > filled_qty"));
        }
        if qty > Decimal::from(1_000_000_000) {
            return Err(Refusal::invalid("qty must be <= 1000000000"));
        }
        new.qty = Some(qty.normalize());
    }
    // A price the order has no use for is not a change.
    if old.limit_price.is_some() {
        new.limit_price = check_price("limit_price", request.limit_price, class)?.or(old.limit_price);
    }
    if old.stop_price.is_some() && old.trail.is_none() {
        new.stop_price = check_price("stop_price", request.stop_price, class)?.or(old.stop_price);
    }
    if let (Some(trail), Some(amount)) = (old.trail, request.trail) {
        if amount <= Decimal::ZERO || amount >= Decimal::ONE_HUNDRED {
            return Err(Refusal::unprocessable("trail must be > 0"));
        }
        let trail = match trail {
            Trail::Price(_) => Trail::Price(amount),
            Trail::Percent(_) => Trail::Percent(amount),
        };
        new.trail = Some(trail);
        if let (Some(mark), Some(side)) = (old.hwm, old.side) {
            new.stop_price = Some(trailing_stop(trail, side, mark));
        }
    }
    if let Some(time_in_force) = request.time_in_force {
        new.time_in_force = time_in_force;
    }
    if new == *old {
        return Err(Refusal::unprocessable("order parameters are not changed"));
    }
    Ok(new)
}
