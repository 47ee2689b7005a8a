//! Whatever happens to the orders of an account, none is let through that could break a limit.

use std::time::Duration;

use proptest::prelude::*;
use rust_decimal::Decimal;

use super::{Bench, COMMAND, fill, held, id, limit, of_account, single};
use crate::domain::order::Side;
use crate::domain::{NewOrder, Order, OrderStatus};

/// What may happen to the orders of an account, in any order.
#[derive(Clone, Debug)]
enum Happens {
    Ask {
        buy: bool,
        qty: u32,
    },
    /// The venue takes an order that is on its way.
    Take(usize),
    /// An order on its way is refused.
    Refuse(usize),
    /// An order that works is filled, wholly or in part.
    Fill {
        order: usize,
        qty: u32,
    },
    /// An order that works is canceled.
    Cancel(usize),
    /// The positions are read.
    Read,
    Time(u64),
}

fn happens() -> impl Strategy<Value = Happens> {
    prop_oneof![
        4 => (any::<bool>(), 1u32..60).prop_map(|(buy, qty)| Happens::Ask { buy, qty }),
        3 => (0usize..8).prop_map(Happens::Take),
        1 => (0usize..8).prop_map(Happens::Refuse),
        3 => (0usize..8, 1u32..60).prop_map(|(order, qty)| Happens::Fill { order, qty }),
        1 => (0usize..8).prop_map(Happens::Cancel),
        2 => Just(Happens::Read),
        1 => (1u64..4000).prop_map(Happens::Time),
    ]
}

/// An order of the model: what is left of it, with its sign.
struct Working {
    order: Order,
    name: String,
    left: i64,
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever is filled of what was let through, the limits hold: the model knows the true position at every moment,
    /// and the desk only what was told and read.
    #[test]
    fn no_order_that_could_break_a_limit_passes(events in prop::collection::vec(happens(), 1..80)) {
        const MAX: i64 = 100;
        const OPEN_MAX: usize = 5;
        let mut bench = Bench::new(of_account(|bounds| {
            bounds.max_position_qty = Some(Decimal::from(MAX));
            bounds.max_open_orders = Some(5);
        }));
        let mut position = 0i64;
        let mut begun: Vec<(String, NewOrder, i64)> = Vec::new();
        let mut working: Vec<Working> = Vec::new();
        for (number, event) in events.into_iter().enumerate() {
            match event {
                Happens::Ask { buy, qty } => {
                    let name = format!("m.{number}");
                    let side = if buy { Side::Buy } else { Side::Sell };
                    let order = single("AAPL", side, &qty.to_string(), limit("10"));
                    if bench.ask(&name, order.clone()).is_ok() {
                        let signed = if buy { i64::from(qty) } else { -i64::from(qty) };
                        begun.push((name, order, signed));
                    }
                }
                Happens::Take(at) if at < begun.len() => {
                    let (name, order, left) = begun.remove(at);
                    let order = bench.work(&name, &order);
                    working.push(Working { order, name, left });
                }
                Happens::Refuse(at) if at < begun.len() => {
                    let (name, ..) = begun.remove(at);
                    bench.risk.over(COMMAND, &id(&name));
                }
                Happens::Fill { order: at, qty } if at < working.len() => {
                    let order = &mut working[at];
                    let qty = i64::from(qty).min(order.left.abs());
                    let signed = qty * order.left.signum();
                    order.left -= signed;
                    position += signed;
                    let is_over = order.left == 0;
                    order.order.filled_qty += Decimal::from(qty);
                    order.order.status = if is_over { OrderStatus::Filled } else { OrderStatus::PartiallyFilled };
                    bench.blotter.tell(&order.order, false);
                    bench.blotter.tell_fill(&fill(&order.order, &qty.to_string(), bench.clock.now()));
                    if is_over {
                        working.remove(at);
                    }
                }
                Happens::Cancel(at) if at < working.len() => {
                    let order = working.remove(at);
                    prop_assert!(bench.blotter.knows(&order.name));
                    bench.blotter.tell(&Order { status: OrderStatus::Canceled, ..order.order }, false);
                }
                // The positions lag, but by less than what is allowed for.
                Happens::Read => bench.hold(&[held("AAPL", &position.to_string(), "10")]),
                Happens::Time(millis) => bench.clock.advance(Duration::from_millis(millis)),
                Happens::Take(_) | Happens::Refuse(_) | Happens::Fill { .. } | Happens::Cancel(_) => {}
            }
            let left = begun.iter().map(|(_, _, left)| *left).chain(working.iter().map(|order| order.left));
            let (mut highest, mut lowest) = (position, position);
            for left in left {
                highest += left.max(0);
                lowest += left.min(0);
            }
            prop_assert!(highest <= MAX && lowest >= -MAX, "{lowest}..{highest}");
            prop_assert!(begun.len() + working.len() <= OPEN_MAX);
        }
    }
}
