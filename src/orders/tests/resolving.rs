//! What nobody knows yet is asked, until it is known or time is up.

use super::*;
use crate::domain::ConditionName;
use crate::orders::resolve;

const COMMITTED: Post = Post::Unknown { committed: true };
const LOST: Post = Post::Unknown { committed: false };
const NO_ANSWER: Look = Look::Fail { retry_after: None };

#[tokio::test(start_paused = true)]
async fn an_order_whose_answer_was_lost_is_found_and_accepted_with_one_post() {
    let bench = Bench::new([COMMITTED], [NO_ANSWER; 4]);
    let Verdict::Accepted(acceptance) = verdict(bench.submit_new().await) else {
        panic!("the venue has it");
    };
    assert!(acceptance.by_lookup);
    assert_eq!(acceptance.order_id, at_venue(&bench.order).id);
    assert_eq!(bench.venue().posts(), [Duration::ZERO]);
    assert_about(&bench.venue().look_ups(), &[0, 500, 1500, 3500, 7500].map(millis));
}

#[tokio::test(start_paused = true)]
async fn another_order_under_our_id_is_a_conflict_and_nothing_more_is_sent() {
    for (posts, past) in [
        (vec![Post::Duplicate], Past::Clean),
        (vec![LOST], Past::Clean),
        (vec![], Past::Suspect),
        (vec![], Past::Begun),
    ] {
        let sent_before = posts.len();
        let bench = Bench::new(posts, []);
        bench.venue().put(at_venue(&new_order("3")));
        let Verdict::Conflict { message, order_id } = verdict(bench.submit(past, Some(seconds(60))).await)
        else {
            panic!("it is another order: {past:?}");
        };
        assert!(message.contains("qty"), "{message}");
        assert_eq!(order_id, at_venue(&bench.order).id);
        assert_eq!(bench.venue().posts().len(), sent_before, "{past:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_id_that_is_taken_by_our_own_order_is_an_acceptance() {
    let bench = Bench::new([], []);
    bench.venue().put(at_venue(&bench.order));
    let Verdict::Accepted(acceptance) = verdict(bench.submit_new().await) else {
        panic!("the venue has it");
    };
    assert!(acceptance.by_lookup);
    assert_eq!(bench.venue().posts().len(), 1);
    assert_eq!(bench.venue().look_ups().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_id_that_is_said_to_be_taken_and_is_not_there_is_doubtful() {
    let bench = Bench::new([Post::Duplicate; 100], []);
    assert_eq!(
        word(&bench.submit(Past::Clean, Some(seconds(60))).await),
        "unresolved"
    );
    let posts = bench.venue().posts();
    let pauses = posts.windows(2).map(|pair| pair[1] - pair[0]);
    assert!(pauses.into_iter().all(|pause| pause >= seconds(11)), "{posts:?}");
}

#[tokio::test(start_paused = true)]
async fn an_order_that_is_absent_for_long_enough_is_sent_again_under_the_same_id() {
    let bench = Bench::new([LOST], []);
    assert_eq!(word(&bench.submit_new().await), "accepted");
    let posts = bench.venue().posts();
    assert!(posts.len() == 2 && posts[1] >= seconds(11), "{posts:?}");
    assert!(bench.venue().look_ups().len() >= 3);
}

#[tokio::test(start_paused = true)]
async fn the_grace_counts_from_when_the_post_ended() {
    let slow = Post::TimeOut {
        committed: false,
        after: seconds(10),
    };
    let bench = Bench::new([slow], []);
    assert_eq!(word(&bench.submit_new().await), "accepted");
    let posts = bench.venue().posts();
    assert!(posts[1] >= seconds(21) && posts[1] < seconds(30), "{posts:?}");
    let asked = bench.venue().look_ups();
    assert!(asked.len() >= 3 && asked[0] == seconds(10), "{asked:?}");
}

#[tokio::test(start_paused = true)]
async fn an_order_in_doubt_holds_no_place_on_the_wire() {
    let bench = Bench::new([LOST], []);
    let places = bench.dealer.in_flight.available_permits();
    let free = std::cell::Cell::new(0);
    let sent = meanwhile(
        bench.submit_new(),
        at(seconds(5), || {
            free.set(bench.dealer.in_flight.available_permits())
        }),
    )
    .await;
    assert_eq!(word(&sent), "accepted");
    assert_eq!(free.get(), places, "it is only being asked about");
}

#[tokio::test(start_paused = true)]
async fn fewer_than_three_absences_are_not_enough_however_late_it_is() {
    // Ten failures take longer than the grace, and prove nothing.
    let bench = Bench::new([LOST], [NO_ANSWER; 10]);
    assert_eq!(word(&bench.submit_new().await), "accepted");
    let (posts, asked) = (bench.venue().posts(), bench.venue().look_ups());
    assert_eq!((posts.len(), asked.len()), (2, 13), "{posts:?} {asked:?}");
    assert!(posts[1] >= asked[12]);
}

#[tokio::test(start_paused = true)]
async fn absences_in_the_grace_are_not_enough_without_one_after_it() {
    let script = [[Look::Truthful; 4], [NO_ANSWER; 4]].concat();
    let bench = Bench::new([LOST], script);
    assert_eq!(word(&bench.submit_new().await), "accepted");
    let (posts, asked) = (bench.venue().posts(), bench.venue().look_ups());
    assert_eq!((posts.len(), asked.len()), (2, 9), "{posts:?} {asked:?}");
}

#[tokio::test(start_paused = true)]
async fn look_ups_that_fail_never_count_as_absence() {
    for answer in [
        NO_ANSWER,
        Look::AccountRefused,
        Look::Fail {
            retry_after: Some(seconds(7)),
        },
    ] {
        let bench = Bench::new([LOST], vec![answer; 1000]);
        assert_eq!(word(&bench.submit_new().await), "unresolved", "{answer:?}");
        assert_eq!(bench.venue().posts(), [Duration::ZERO], "{answer:?}");
        let condition = bench.dealer.gateway.has(ConditionName::AccountRefused);
        assert_eq!(condition, answer == Look::AccountRefused);
    }
}

#[tokio::test(start_paused = true)]
async fn the_pause_that_the_venue_asks_for_is_kept_between_look_ups() {
    let paced = Look::Fail {
        retry_after: Some(seconds(30)),
    };
    let bench = Bench::new([COMMITTED], [paced]);
    assert_eq!(word(&bench.submit_new().await), "accepted");
    let asked = bench.venue().look_ups();
    assert!(asked.len() == 2 && asked[1] >= seconds(30), "{asked:?}");
}

#[tokio::test(start_paused = true)]
async fn what_is_unknown_at_the_deadline_is_unresolved_even_if_it_is_absent_by_then() {
    for absent_after in [0, 5, 100] {
        let bench = Bench::new([LOST], vec![NO_ANSWER; absent_after]);
        let sent = bench.submit(Past::Clean, Some(seconds(8))).await;
        assert_eq!(word(&sent), "unresolved", "{absent_after}");
        assert_eq!(bench.venue().posts(), [Duration::ZERO]);
        let took = bench.venue().began.elapsed();
        assert!(
            took >= seconds(11) && took < seconds(30),
            "{took:?}: the grace is kept"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn an_order_that_is_found_after_its_deadline_while_it_is_asked_for_is_accepted() {
    let mut bench = Bench::new([COMMITTED], []);
    Arc::get_mut(&mut bench.dealer.venue).unwrap().lag = seconds(6);
    assert_eq!(
        word(&bench.submit(Past::Clean, Some(seconds(4))).await),
        "accepted"
    );
    assert_eq!(bench.venue().posts().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_order_that_was_doubtful_once_never_expires() {
    let bench = Bench::new([LOST, Post::AccountRefused], []);
    assert_eq!(word(&bench.submit_new().await), "unresolved");
    assert_eq!(bench.venue().posts().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn an_intent_that_stands_is_asked_about_before_anything_is_sent() {
    let bench = Bench::new([], []);
    bench.venue().put(at_venue(&bench.order));
    let sent = bench.submit(Past::Begun, Some(seconds(60))).await;
    assert_eq!(word(&sent), "accepted");
    assert_eq!(bench.venue().posts(), NEVER);
    assert_eq!(bench.venue().look_ups(), [Duration::ZERO]);
}

#[tokio::test(start_paused = true)]
async fn an_intent_whose_order_is_absent_is_sent_after_the_grace_however_old_it_is() {
    let bench = Bench::new([], []);
    assert_eq!(
        word(&bench.submit(Past::Begun, Some(seconds(60))).await),
        "accepted"
    );
    let posts = bench.venue().posts();
    assert!(
        posts.len() == 1 && posts[0] >= seconds(11) && posts[0] < seconds(20),
        "{posts:?}"
    );
    assert!(bench.venue().look_ups().len() >= 3);
}

#[tokio::test(start_paused = true)]
async fn an_intent_past_its_deadline_is_found_or_unresolved_and_never_expired() {
    for there in [true, false] {
        let bench = Bench::new([], []);
        if there {
            bench.venue().put(at_venue(&bench.order));
        }
        let sent = bench.submit(Past::Begun, Some(Duration::ZERO)).await;
        assert_eq!(word(&sent), if there { "accepted" } else { "unresolved" });
        assert_eq!(bench.venue().posts(), NEVER);
        assert_eq!(bench.venue().look_ups().len() > 1, !there);
    }
}

#[tokio::test(start_paused = true)]
async fn a_suspect_order_is_looked_for_once_and_taken_as_it_is_found() {
    let bench = Bench::new([], []);
    bench.venue().put(at_venue(&bench.order));
    assert_eq!(
        word(&bench.submit(Past::Suspect, Some(seconds(60))).await),
        "accepted"
    );
    assert_eq!(bench.venue().look_ups(), [Duration::ZERO]);
    assert_eq!(bench.venue().posts(), NEVER);
}

#[tokio::test(start_paused = true)]
async fn a_suspect_order_that_is_absent_is_sent_after_one_healthy_look() {
    let bench = Bench::new([], [NO_ANSWER; 2]);
    assert_eq!(
        word(&bench.submit(Past::Suspect, Some(seconds(60))).await),
        "accepted"
    );
    assert_about(&bench.venue().look_ups(), &[0, 500, 1500].map(millis));
    assert_about(&bench.venue().posts(), &[millis(1500)]);
}

#[tokio::test(start_paused = true)]
async fn a_suspect_order_is_not_sent_while_the_venue_does_not_answer() {
    let bench = Bench::new([], [NO_ANSWER; 1000]);
    assert_eq!(
        word(&bench.submit(Past::Suspect, Some(seconds(60))).await),
        "unresolved"
    );
    assert_eq!(bench.venue().posts(), NEVER);
}

/// Watches an order of which nothing is known since the test began. What it gave, and when.
async fn watch(bench: &Bench, since: Timestamp) -> (Option<Verdict>, Duration) {
    let verdict = resolve::watch(
        &bench.dealer,
        &id(),
        Some(&Placement::New(bench.order.clone())),
        since,
    )
    .await;
    (verdict, bench.venue().began.elapsed())
}

const DAY: Duration = seconds(24 * 3600);

#[tokio::test(start_paused = true)]
async fn an_order_that_turns_up_hours_later_is_a_late_acceptance() {
    let bench = Bench::new([], []);
    let put = at(seconds(7 * 3600), || bench.venue().put(at_venue(&bench.order)));
    let (verdict, took) = meanwhile(watch(&bench, began()), put).await;
    assert!(matches!(&verdict, Some(Verdict::LateAccepted(_))), "{verdict:?}");
    assert!(
        took < seconds(7 * 3600 + 400),
        "looked for at least every six minutes"
    );
}

#[tokio::test(start_paused = true)]
async fn another_order_that_turns_up_later_is_a_conflict() {
    let bench = Bench::new([], []);
    let put = at(seconds(600), || bench.venue().put(at_venue(&new_order("3"))));
    let (verdict, _) = meanwhile(watch(&bench, began()), put).await;
    assert!(matches!(&verdict, Some(Verdict::Conflict { .. })), "{verdict:?}");
}

#[tokio::test(start_paused = true)]
async fn a_day_of_absence_confirms_it_and_not_an_hour_less() {
    let bench = Bench::new([], []);
    let (verdict, took) = watch(&bench, began()).await;
    assert_eq!(verdict, Some(Verdict::ConfirmedAbsent));
    assert!(took >= DAY && took < DAY + seconds(400), "{took:?}");
    let looks = bench.venue().look_ups().len();
    assert!((200..600).contains(&looks), "{looks} look-ups");
}

#[tokio::test(start_paused = true)]
async fn a_day_without_answers_confirms_nothing() {
    // The venue answers again after more than a day: it takes three absences in a row from there.
    let bench = Bench::new([], [NO_ANSWER; 400]);
    let (verdict, took) = watch(&bench, began()).await;
    assert_eq!(verdict, Some(Verdict::ConfirmedAbsent));
    assert!(took > DAY + seconds(3600), "{took:?}");
    assert_eq!(bench.venue().look_ups().len(), 403);
}

#[tokio::test(start_paused = true)]
async fn an_order_is_watched_for_a_day_after_an_instant_that_is_yet_to_come() {
    let bench = Bench::new([], []);
    let (verdict, took) = watch(&bench, after(DAY * 2)).await;
    assert_eq!(verdict, Some(Verdict::ConfirmedAbsent));
    assert!(took >= DAY * 3, "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn stopping_ends_the_watch_at_once() {
    let bench = Bench::new([], []);
    let stop = at(seconds(1000), || bench.dealer.stop.cancel());
    assert_eq!(
        meanwhile(watch(&bench, began()), stop).await,
        (None, seconds(1000))
    );
}
