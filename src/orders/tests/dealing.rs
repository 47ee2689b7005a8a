//! Deadlines by the wall clock, and marks of cancels.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_deadline_is_waited_for_to_the_instant() {
    let dealer = Bench::new([], []).dealer;
    let start = tokio::time::Instant::now();
    dealer.until(Some(after(millis(12_345)))).await;
    assert!(
        start.elapsed().abs_diff(millis(12_345)) <= millis(1),
        "{:?}",
        start.elapsed()
    );
    let late = tokio::time::Instant::now();
    dealer.until(Some(began())).await;
    assert_eq!(late.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn no_deadline_never_comes() {
    let dealer = Bench::new([], []).dealer;
    let waiting = tokio::time::timeout(seconds(1_000_000), dealer.until(None));
    assert!(waiting.await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_is_set_is_noticed_within_a_second() {
    let dealer = Bench::new([], []).dealer;
    let start = tokio::time::Instant::now();
    meanwhile(
        dealer.until(Some(after(seconds(3600)))),
        at(millis(2500), || dealer.clock.advance(seconds(3600))),
    )
    .await;
    assert!(start.elapsed() <= millis(3502), "{:?}", start.elapsed());
}

fn mark(sequence: u64, second: i64) -> CancelMark {
    CancelMark {
        id: CommandId {
            stream_created: Timestamp::UNIX_EPOCH,
            sequence,
        },
        stored_at: Timestamp::from_second(second).unwrap(),
    }
}

fn named(number: usize) -> ClientOrderId {
    ClientOrderId::parse(&format!("momentum.{number}")).unwrap()
}

#[test]
fn a_mark_stands_for_its_own_id() {
    let marks = Marks::default();
    marks.leave(named(1), mark(7, 100));
    assert_eq!(marks.of(&named(1)), Some(mark(7, 100)));
    assert_eq!(marks.of(&named(2)), None);
}

#[test]
fn of_two_marks_the_later_one_stands() {
    let marks = Marks::default();
    for sequence in [7, 9, 8] {
        marks.leave(named(1), mark(sequence, 100));
    }
    assert_eq!(marks.of(&named(1)), Some(mark(9, 100)));
}

#[test]
fn marks_are_bounded_and_the_oldest_goes_first() {
    let marks = Marks::default();
    for number in 0..=4096 {
        marks.leave(named(number), mark(7, i64::try_from(number).unwrap()));
    }
    assert_eq!(marks.of(&named(0)), None);
    assert!(marks.of(&named(1)).is_some() && marks.of(&named(4096)).is_some());
}
