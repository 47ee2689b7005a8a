//! Closes: an order of ours, under our id, that is as large as the position is now.
//!
//! Not the venue's own way to close a position, which takes no id: sent twice it closes twice. What is sent is found
//! out once and stands in the intent, so that a close that is resumed sends the same order again, and no other.

use std::pin::Pin;

use futures_util::future::join_all;
use rust_decimal::Decimal;

use super::cancel::{self, Among};
use super::desk::Inner;
use super::in_hand::{OrderInHand, Work};
use super::place::{self, Ended, Prepared};
use super::submit::Sent;
use super::venue::Venue;
use crate::domain::order::{Exits, PositionIntent, Pricing, Side, Size, Structure, TimeInForce};
use crate::domain::outcome::{Acceptance, DenialReason, OrderResult, Refusal};
use crate::domain::record::Asked;
use crate::domain::{
    AssetClass, ClientOrderId, ClosePosition, CloseScope, CloseSize, NewOrder, Outcome, Placement, Position,
    Quantity, Strategy, Symbol, Verdict,
};
use crate::wire;

/// Decimals the venue keeps of a quantity.
const QTY_DECIMALS: u32 = 9;

/// Finds out what order closes one position, once its open orders are canceled if that was asked for.
pub(super) async fn prepare<V: Venue>(
    desk: &Inner<V>,
    order: &OrderInHand,
    symbol: &Symbol,
    size: CloseSize,
    cancel_orders: bool,
) -> Prepared {
    let found = async {
        if cancel_orders && !desk.dealer.risk.is_dry(&order.id) {
            let strategy = Strategy::of(order.id.as_str());
            let among = Among {
                strategy: strategy.as_ref(),
                symbol: Some(symbol),
            };
            // What cannot be canceled keeps its shares, and the venue refuses the close in its own words.
            cancel::wide(&desk.dealer, order.origin.stored_at, among).await?;
        }
        positions(desk).await
    };
    let held = tokio::select! {
        biased;
        held = found => held,                                                 // cancels may be sent again
        () = desk.dealer.until(order.deadline) => return Prepared::Over(Verdict::Expired), // cancel-safe
    };
    let Some(held) = held else {
        return Prepared::Stopping;
    };
    let position = held
        .iter()
        .find(|position| position.symbol.same_instrument(symbol) && !position.qty.is_zero());
    match position.map(|position| closing(position, size)) {
        Some(Ok(new)) => Prepared::Ready(Asked::Placement(Box::new(Placement::New(new)))),
        Some(Err(message)) => Prepared::Over(no_position(message)),
        None => Prepared::Over(no_position(format!("there is no position in {symbol}"))),
    }
}

fn no_position(message: String) -> Verdict {
    Verdict::Denied {
        reason: DenialReason::Position,
        message,
        breach: None,
    }
}

/// The order that closes so much of a position.
///
/// It may have shrunk before the order arrives: the intent to close keeps the venue from opening the other side.
fn closing(position: &Position, size: CloseSize) -> Result<NewOrder, String> {
    let held = position.qty.abs();
    let whole_only = held.fract().is_zero() && position.asset_class != AssetClass::Crypto;
    let qty = match size {
        CloseSize::Everything => held,
        CloseSize::Quantity(qty) if qty.decimal() > held => {
            return Err(format!(
                "qty is {qty}, but the position in {} is {held}",
                position.symbol
            ));
        }
        CloseSize::Quantity(qty) => qty.decimal(),
        // In this order, so that no share of a large position overflows.
        CloseSize::Percentage(share) => (held / Decimal::ONE_HUNDRED)
            .checked_mul(share.decimal())
            .ok_or_else(|| format!("{share} % of {held} is no number that can be held"))?
            .trunc_with_scale(if whole_only { 0 } else { QTY_DECIMALS }),
    };
    let quantity = Quantity::parse(&qty.normalize().to_string()).map_err(|_| {
        format!(
            "so small a share of the position in {}, which is {held}, is no tradable quantity",
            position.symbol
        )
    })?;
    let (side, intent) = if position.qty.is_sign_negative() {
        (Side::Buy, PositionIntent::BuyToClose)
    } else {
        (Side::Sell, PositionIntent::SellToClose)
    };
    let is_crypto = position.asset_class == AssetClass::Crypto;
    Ok(NewOrder {
        structure: Structure::Single {
            symbol: position.symbol.clone(),
            side,
            pricing: Pricing::Market,
            exits: Exits::None,
        },
        size: Size::Quantity(quantity),
        // Crypto trades round the clock, and has no day.
        time_in_force: if is_crypto {
            TimeInForce::Gtc
        } else {
            TimeInForce::Day
        },
        extended_hours: false,
        position_intent: (!is_crypto).then_some(intent),
        advanced: None,
        valid_until: None,
    })
}

/// Lists what a close of everything closes.
pub(super) async fn list<V: Venue>(desk: &Inner<V>, order: &OrderInHand) -> Prepared {
    let held = tokio::select! {
        biased;
        held = positions(desk) => held,                                       // a read, dropped it changes nothing
        () = desk.dealer.until(order.deadline) => return Prepared::Over(Verdict::Expired), // cancel-safe
    };
    let Some(held) = held else {
        return Prepared::Stopping;
    };
    let mut symbols: Vec<Symbol> = held
        .into_iter()
        .filter(|position| !position.qty.is_zero())
        .map(|position| position.symbol)
        .collect();
    symbols.sort();
    if symbols.is_empty() {
        return Prepared::Over(Verdict::Accepted(Acceptance {
            message: "there was no position to close".to_owned(),
            ..Acceptance::default()
        }));
    }
    Prepared::Ready(Asked::PerSymbol(symbols))
}

/// Closes each of the symbols with an order of its own, and sums up. With `late`, those that nobody could resolve by
/// their deadline are watched to their end.
pub(super) async fn each<V: Venue>(
    desk: &Inner<V>,
    order: &OrderInHand,
    symbols: &[Symbol],
    late: bool,
) -> Sent {
    let ends = join_all(symbols.iter().map(|symbol| one(desk, order, symbol, late))).await;
    let mut outcomes = Vec::with_capacity(ends.len());
    for end in ends {
        match end {
            Some(outcome) => outcomes.push(outcome),
            // The list stands in the ledger, and each order that was begun in a record of its own.
            None => return Sent::HandBack { doubt: true },
        }
    }
    Sent::Verdict(summary(symbols, &outcomes, late))
}

/// One order of a close of everything. `None`: the daemon is stopping.
fn one<'a, V: Venue>(
    desk: &'a Inner<V>,
    all: &'a OrderInHand,
    symbol: &'a Symbol,
    late: bool,
) -> Pin<Box<dyn Future<Output = Option<Outcome>> + Send + 'a>> {
    let Work::CloseAll { size, cancel_orders } = all.work else {
        return Box::pin(std::future::ready(None));
    };
    Box::pin(async move {
        // The door keeps room for a symbol.
        let id = ClientOrderId::parse(&format!("{}.{symbol}", all.id)).ok()?;
        let hash = wire::close_hash(&ClosePosition {
            scope: CloseScope::One(symbol.clone(), size),
            cancel_orders,
            valid_until: None,
        });
        let work = Work::Close {
            symbol: symbol.clone(),
            size,
            cancel_orders,
        };
        let place = desk.lanes.join(&[symbol.clone().into()]);
        place.turn().await;
        let mut order = OrderInHand::new(all.origin, id, work, hash, all.deadline);
        match place::run_order(desk, &mut order, None).await {
            Ended::Settled(outcome) => Some(*outcome),
            Ended::Unresolved(outcome) if !late => Some(*outcome),
            Ended::Unresolved(_) => {
                drop(place);
                place::run_late(desk, &mut order).await
            }
            Ended::HandBack => None,
        }
    })
}

/// What the orders of a close of everything come to together.
fn summary(symbols: &[Symbol], outcomes: &[Outcome], late: bool) -> Verdict {
    let results: Vec<OrderResult> = symbols
        .iter()
        .zip(outcomes)
        .map(|(symbol, outcome)| result_of(symbol, outcome))
        .collect();
    let count = results.len();
    let unknown = outcomes
        .iter()
        .filter(|outcome| !outcome.verdict.is_terminal())
        .count();
    if unknown > 0 {
        return Verdict::Unresolved {
            message: format!(
                "of {unknown} of {count} closing orders nobody knows whether the venue took them"
            ),
        };
    }
    let refused = results.iter().filter(|result| !result.accepted).count();
    let message = match refused {
        0 => format!("{count} positions closing"),
        refused => format!("{refused} of {count} positions could not be closed"),
    };
    match (refused, late) {
        (refused, true) if refused == count => Verdict::ConfirmedAbsent,
        (_, true) => Verdict::LateAccepted(Acceptance {
            results,
            message,
            ..Acceptance::default()
        }),
        (0, false) => Verdict::Accepted(Acceptance {
            results,
            message,
            ..Acceptance::default()
        }),
        (_, false) => Verdict::Rejected(Refusal {
            results,
            message,
            ..Refusal::default()
        }),
    }
}

fn result_of(symbol: &Symbol, outcome: &Outcome) -> OrderResult {
    let (accepted, order_id, code) = match &outcome.verdict {
        Verdict::Accepted(acceptance) | Verdict::LateAccepted(acceptance) => (true, acceptance.order_id, 0),
        // Somebody else closed it meanwhile.
        Verdict::Denied {
            reason: DenialReason::Position,
            ..
        } => (true, None, 0),
        Verdict::Rejected(refusal) => (false, None, refusal.code),
        Verdict::Denied { .. }
        | Verdict::Expired
        | Verdict::Invalid { .. }
        | Verdict::Conflict { .. }
        | Verdict::CanceledBeforeSend { .. }
        | Verdict::Unresolved { .. }
        | Verdict::ConfirmedAbsent => (false, None, 0),
    };
    let words = outcome.verdict.message();
    OrderResult {
        order_id,
        client_order_id: outcome.client_order_id.clone(),
        symbol: symbol.to_string(),
        accepted,
        code,
        message: if words.is_empty() {
            outcome.verdict.as_str().to_owned()
        } else {
            format!("{}: {words}", outcome.verdict.as_str())
        },
    }
}

/// Everything the account holds. `None`: the daemon is stopping.
async fn positions<V: Venue>(desk: &Inner<V>) -> Option<Vec<Position>> {
    let dealer = &desk.dealer;
    dealer
        .until_read("the positions", || dealer.venue.positions())
        .await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Percent;

    fn position(symbol: &str, qty: &str) -> Position {
        let symbol = Symbol::parse(symbol).unwrap();
        let asset_class = symbol.asset_class();
        Position {
            asset_id: String::new(),
            symbol,
            exchange: String::new(),
            asset_class,
            asset_marginable: false,
            qty: qty.parse().unwrap(),
            qty_available: None,
            avg_entry_price: None,
            side: String::new(),
            market_value: None,
            cost_basis: None,
            unrealized_pl: None,
            unrealized_plpc: None,
            unrealized_intraday_pl: None,
            unrealized_intraday_plpc: None,
            current_price: None,
            lastday_price: None,
            change_today: None,
        }
    }

    fn share(percent: &str) -> CloseSize {
        CloseSize::Percentage(Percent::parse(percent).unwrap())
    }

    #[test]
    fn what_closes_a_position_is_as_large_as_asked_and_on_the_other_side() {
        let quantity = |qty| CloseSize::Quantity(Quantity::parse(qty).unwrap());
        for (symbol, held, size, side, qty) in [
            ("AAPL", "10", CloseSize::Everything, Side::Sell, "10"),
            ("AAPL", "-10", CloseSize::Everything, Side::Buy, "10"),
            ("AAPL", "10", quantity("4"), Side::Sell, "4"),
            ("AAPL", "10", share("50"), Side::Sell, "5"),
            ("AAPL", "11", share("50"), Side::Sell, "5"),
            ("AAPL", "0.5", share("50"), Side::Sell, "0.25"),
            ("AAPL", "0.000000003", share("50"), Side::Sell, "0.000000001"),
            ("BTC/USD", "1", share("33.3"), Side::Sell, "0.333"),
            ("AAPL", "10", share("100"), Side::Sell, "10"),
        ] {
            let order = closing(&position(symbol, held), size).unwrap();
            assert_eq!(order.side(), Some(side), "{symbol} {held}");
            assert_eq!(
                order.size,
                Size::Quantity(Quantity::parse(qty).unwrap()),
                "{symbol} {held} {size:?}"
            );
        }
    }

    #[test]
    fn what_is_larger_than_the_position_or_no_quantity_at_all_is_not_sent() {
        let more = closing(
            &position("AAPL", "10"),
            CloseSize::Quantity(Quantity::parse("11").unwrap()),
        );
        assert!(more.unwrap_err().contains("is 10"));
        assert!(closing(&position("AAPL", "1"), share("50")).is_err());
    }

    #[test]
    fn a_crypto_position_closes_by_an_order_the_venue_takes() {
        let order = closing(&position("BTC/USD", "1.5"), CloseSize::Everything).unwrap();
        assert_eq!(
            (order.time_in_force, order.position_intent),
            (TimeInForce::Gtc, None)
        );
        let order = closing(&position("AAPL", "-2"), CloseSize::Everything).unwrap();
        assert_eq!(
            (order.time_in_force, order.position_intent),
            (TimeInForce::Day, Some(PositionIntent::BuyToClose))
        );
    }
}
