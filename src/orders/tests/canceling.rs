//! Cancels of many orders.

use super::*;
use crate::domain::Strategy;
use crate::orders::cancel::{self, Among};

fn open_order(number: u32, client_order_id: &str) -> Order {
    Order {
        id: OrderId::parse(&format!("904837e3-3b76-47ec-b432-{number:012}")),
        client_order_id: client_order_id.to_owned(),
        ..at_venue(&new_order("2"))
    }
}

async fn cancel_all(bench: &Bench) -> Verdict {
    cancel::wide(&bench.dealer, after(seconds(1)), Among::default())
        .await
        .unwrap()
}

#[tokio::test(start_paused = true)]
async fn no_order_waits_for_one_whose_cancel_gets_no_answer() {
    let bench = Bench::new([], []);
    // Twenty unanswered cancels take longer than the patience with orders that stay open.
    bench.venue().open(open_order(1, "momentum.1"), 20);
    bench.venue().open(open_order(2, "momentum.2"), 0);
    bench.venue().open(open_order(3, "momentum.3"), 0);
    let Verdict::Accepted(acceptance) = cancel_all(&bench).await else {
        panic!("all were canceled in the end");
    };
    assert_eq!(acceptance.results.len(), 3);
    let cancels = bench.venue().cancels();
    assert_eq!(cancels.len(), 23);
    assert!(cancels[..3].iter().all(|(_, at)| at.is_zero()), "{cancels:?}");
    assert!(cancels[22].1 > seconds(10), "{cancels:?}");
}

#[tokio::test(start_paused = true)]
async fn a_wide_cancel_spares_what_came_after_it_and_what_is_not_meant() {
    let bench = Bench::new([], []);
    let later = Order {
        created_at: Some(after(seconds(2))),
        ..open_order(1, "momentum.1")
    };
    bench.venue().open(later, 0);
    bench.venue().open(open_order(2, "mean.1"), 0);
    bench.venue().open(open_order(3, "momentum.2"), 0);
    let strategy = Strategy::new("momentum");
    let among = Among {
        strategy: Some(&strategy),
        symbol: None,
    };
    let verdict = cancel::wide(&bench.dealer, after(seconds(1)), among).await;
    assert!(matches!(&verdict, Some(Verdict::Accepted(acceptance)) if acceptance.results.len() == 1));
    let canceled: Vec<_> = bench.venue().cancels().into_iter().map(|(id, _)| id).collect();
    assert_eq!(canceled, [open_order(3, "").id.unwrap()]);
}

#[tokio::test(start_paused = true)]
async fn stopping_ends_a_wide_cancel_that_gets_no_answer() {
    let bench = Bench::new([], []);
    bench.venue().open(open_order(1, "momentum.1"), usize::MAX);
    let stop = at(seconds(100), || bench.dealer.stop.cancel());
    let work = cancel::wide(&bench.dealer, after(seconds(1)), Among::default());
    assert_eq!(meanwhile(work, stop).await, None);
    assert_eq!(bench.venue().began.elapsed(), seconds(100));
}

#[tokio::test(start_paused = true)]
async fn a_late_order_is_taken_down_or_known_not_to_be() {
    let bench = Bench::new([], []);
    let order = open_order(1, "momentum.1");
    bench.venue().open(order.clone(), 3);
    assert_eq!(
        cancel::take_down(&bench.dealer, order.id.unwrap()).await,
        Some(())
    );
    assert_eq!(bench.venue().cancels().len(), 4);

    bench.venue().open(order.clone(), usize::MAX);
    let stop = at(seconds(100), || bench.dealer.stop.cancel());
    let work = cancel::take_down(&bench.dealer, order.id.unwrap());
    assert_eq!(meanwhile(work, stop).await, None);
}
