//! What becomes of an order on its way, and how often and when it is sent.

use super::*;
use crate::alpaca::pacer::RateSignal;
use crate::domain::ConditionName;

const LOST: Post = Post::Unknown { committed: false };
const REFUSED_CONNECTION: Post = Post::NotSent { retry_after: None };

#[tokio::test(start_paused = true)]
async fn an_order_is_accepted_at_the_first_try_and_nobody_is_asked() {
    let bench = Bench::new([], []);
    let Verdict::Accepted(acceptance) = verdict(bench.submit_new().await) else {
        panic!("the venue took it");
    };
    assert_eq!(acceptance.order_id, at_venue(&bench.order).id);
    assert!(!acceptance.by_lookup);
    assert_eq!(bench.venue().posts(), [Duration::ZERO]);
    assert_eq!(bench.venue().look_ups(), NEVER);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_is_final_and_in_the_venues_words() {
    let bench = Bench::new([Post::Reject], []);
    let Verdict::Rejected(refusal) = verdict(bench.submit_new().await) else {
        panic!("the venue refused it");
    };
    assert_eq!(
        (refusal.http_status, refusal.message.as_str()),
        (403, "insufficient buying power")
    );
    assert_eq!(bench.venue().posts().len(), 1);
    assert_eq!(bench.venue().look_ups(), NEVER);
}

#[tokio::test(start_paused = true)]
async fn what_was_not_sent_is_sent_again_ever_more_slowly() {
    let bench = Bench::new([REFUSED_CONNECTION; 4], []);
    assert_eq!(word(&bench.submit_new().await), "accepted");
    assert_about(&bench.venue().posts(), &[0, 200, 600, 1400, 3000].map(millis));
    assert_eq!(bench.venue().look_ups(), NEVER, "there was nothing to ask about");
}

#[tokio::test(start_paused = true)]
async fn what_is_never_sent_expires_and_nothing_is_sent_at_or_after_the_deadline() {
    let bench = Bench::new([REFUSED_CONNECTION; 100], []);
    let deadline = seconds(20);
    let sent = bench.submit(Past::Clean, Some(deadline)).await;
    assert_eq!(sent, Sent::Verdict(Verdict::Expired));
    assert_eq!(bench.venue().began.elapsed(), deadline, "as soon as it is late");
    let posts = bench.venue().posts();
    assert!(
        posts.len() > 3 && posts.iter().all(|at| *at < deadline),
        "{posts:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn an_order_that_is_late_when_it_comes_is_not_sent() {
    let bench = Bench::new([], []);
    let sent = bench.submit(Past::Clean, Some(Duration::ZERO)).await;
    assert_eq!(sent, Sent::Verdict(Verdict::Expired));
    assert_eq!(bench.venue().posts(), NEVER);
}

#[tokio::test(start_paused = true)]
async fn an_order_whose_connection_opens_too_late_is_not_sent() {
    let bench = Bench::new([Post::OpenAfter(seconds(2))], []);
    let sent = bench.submit(Past::Clean, Some(seconds(1))).await;
    assert_eq!(sent, Sent::Verdict(Verdict::Expired));
    assert!(!bench.venue().holds_order());
    let bench = Bench::new([Post::OpenAfter(seconds(2))], []);
    assert_eq!(word(&bench.submit_new().await), "accepted");
}

#[tokio::test(start_paused = true)]
async fn the_pause_that_the_venue_asks_for_is_kept() {
    let paced = Post::NotSent {
        retry_after: Some(seconds(17)),
    };
    let bench = Bench::new([paced], []);
    assert_eq!(word(&bench.submit_new().await), "accepted");
    assert_eq!(bench.venue().posts(), [Duration::ZERO, seconds(17)]);
}

#[tokio::test(start_paused = true)]
async fn a_pause_beyond_the_deadline_ends_with_it() {
    let paced = Post::NotSent {
        retry_after: Some(seconds(60)),
    };
    let bench = Bench::new([paced], []);
    let sent = bench.submit(Past::Clean, Some(seconds(5))).await;
    assert_eq!(sent, Sent::Verdict(Verdict::Expired));
    assert_eq!(bench.venue().began.elapsed(), seconds(5));
    assert_eq!(bench.venue().posts(), [Duration::ZERO]);
}

#[tokio::test(start_paused = true)]
async fn a_refused_account_holds_the_order_until_somebody_has_seen_to_it() {
    let bench = Bench::new([Post::AccountRefused], []);
    let gateway = &bench.dealer.gateway;
    let sent = meanwhile(
        bench.submit_new(),
        at(seconds(30), || {
            assert!(gateway.has(ConditionName::AccountRefused) && gateway.holds_orders());
            gateway.clear(ConditionName::AccountRefused);
        }),
    )
    .await;
    assert_eq!(word(&sent), "accepted");
    assert_eq!(bench.venue().posts(), [Duration::ZERO, seconds(30)]);
    assert!(!gateway.has(ConditionName::AccountRefused));
}

#[tokio::test(start_paused = true)]
async fn an_order_of_a_refused_account_expires_if_nobody_sees_to_it() {
    let bench = Bench::new([Post::AccountRefused], []);
    assert_eq!(bench.submit_new().await, Sent::Verdict(Verdict::Expired));
    assert_eq!(bench.venue().began.elapsed(), seconds(120));
    assert_eq!(bench.venue().posts(), [Duration::ZERO]);
    assert!(bench.dealer.gateway.has(ConditionName::AccountRefused));
}

#[tokio::test(start_paused = true)]
async fn an_order_without_a_deadline_waits_for_as_long_as_it_takes() {
    let bench = Bench::new([], []);
    let gateway = &bench.dealer.gateway;
    gateway.raise(ConditionName::Blind, "no stream", true);
    let work = bench.submit(Past::Clean, None);
    let sent = meanwhile(work, at(seconds(86_400), || gateway.clear(ConditionName::Blind))).await;
    assert_eq!(word(&sent), "accepted");
    assert_eq!(bench.venue().posts(), [seconds(86_400)]);
}

/// Closes the budget for so long, as a 429 does.
fn close_budget(bench: &Bench, pause: Duration) {
    bench.venue().pacer.observe(RateSignal {
        refused: true,
        renews_in: Some(pause),
        ..RateSignal::default()
    });
}

#[tokio::test(start_paused = true)]
async fn the_deadline_is_judged_after_the_wait_for_the_budget() {
    let bench = Bench::new([], []);
    close_budget(&bench, seconds(10));
    let sent = bench.submit(Past::Clean, Some(seconds(10))).await;
    assert_eq!(sent, Sent::Verdict(Verdict::Expired));
    assert_eq!(bench.venue().posts(), NEVER);
}

#[tokio::test(start_paused = true)]
async fn a_mode_that_is_set_while_an_order_waits_for_the_budget_denies_it() {
    for mode in [
        GatewayMode::Halted,
        GatewayMode::CancelOnly,
        GatewayMode::ReduceOnly,
    ] {
        let bench = Bench::new([], []);
        close_budget(&bench, seconds(10));
        let sent = meanwhile(bench.submit_new(), at(seconds(9), || bench.set_mode(mode))).await;
        assert_eq!(word(&sent), "denied", "{mode:?}");
        assert_eq!(bench.venue().posts(), NEVER);
    }
}

#[tokio::test(start_paused = true)]
async fn a_condition_that_is_raised_while_an_order_waits_for_the_budget_holds_it() {
    let bench = Bench::new([], []);
    let gateway = &bench.dealer.gateway;
    close_budget(&bench, seconds(10));
    let meddling = async {
        at(seconds(9), || {
            gateway.raise(ConditionName::Blind, "no stream", true)
        })
        .await;
        at(seconds(6), || gateway.clear(ConditionName::Blind)).await;
    };
    assert_eq!(word(&meanwhile(bench.submit_new(), meddling).await), "accepted");
    assert_eq!(bench.venue().posts(), [seconds(15)]);
}

#[tokio::test(start_paused = true)]
async fn a_mark_that_is_left_while_an_order_waits_for_the_budget_stops_it() {
    let bench = Bench::new([], []);
    close_budget(&bench, seconds(10));
    let sent = meanwhile(bench.submit_new(), at(seconds(9), || bench.cancel())).await;
    assert_eq!(word(&sent), "canceled_before_send");
    assert_eq!(bench.venue().posts(), NEVER);
}

#[tokio::test(start_paused = true)]
async fn a_mark_between_two_attempts_stops_an_order_that_was_never_taken() {
    let bench = Bench::new([REFUSED_CONNECTION; 9], []);
    let sent = meanwhile(bench.submit_new(), at(seconds(1), || bench.cancel())).await;
    assert_eq!(word(&sent), "canceled_before_send");
    assert!(bench.venue().posts().iter().all(|at| *at < seconds(1)));
}

#[tokio::test(start_paused = true)]
async fn a_mark_does_not_deny_an_order_that_is_at_the_venue() {
    let bench = Bench::new(
        [Post::Unknown { committed: true }],
        [Look::Fail { retry_after: None }],
    );
    let sent = meanwhile(bench.submit_new(), at(millis(1), || bench.cancel())).await;
    assert_eq!(word(&sent), "accepted");
    assert_eq!(bench.venue().posts().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_doubtful_order_that_was_canceled_is_not_sent_again() {
    let bench = Bench::new([LOST], []);
    let sent = meanwhile(bench.submit_new(), at(seconds(5), || bench.cancel())).await;
    assert_eq!(word(&sent), "unresolved");
    assert_eq!(bench.venue().posts(), [Duration::ZERO]);
}

#[tokio::test(start_paused = true)]
async fn a_doubtful_order_is_neither_denied_nor_sent_while_the_gateway_is_shut() {
    let bench = Bench::new([LOST], []);
    let sent = meanwhile(
        bench.submit_new(),
        at(seconds(1), || bench.set_mode(GatewayMode::Halted)),
    )
    .await;
    assert_eq!(word(&sent), "unresolved");
    assert_eq!(bench.venue().posts(), [Duration::ZERO]);

    let bench = Bench::new([LOST], []);
    let meddling = async {
        at(seconds(1), || bench.set_mode(GatewayMode::Halted)).await;
        at(seconds(39), || bench.set_mode(GatewayMode::Normal)).await;
    };
    assert_eq!(word(&meanwhile(bench.submit_new(), meddling).await), "accepted");
    let posts = bench.venue().posts();
    assert!(posts.len() == 2 && posts[1] >= seconds(40), "{posts:?}");
}

#[tokio::test(start_paused = true)]
async fn a_refusal_of_an_order_that_may_be_there_already_is_not_believed_at_once() {
    // The first POST is taken and shows late; the money it binds is what the second one lacks.
    let mut bench = Bench::new([Post::Unknown { committed: true }, Post::Reject], []);
    Arc::get_mut(&mut bench.dealer.venue).unwrap().lag = seconds(12);
    assert_eq!(word(&bench.submit_new().await), "accepted");
    assert_eq!(bench.venue().posts().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_of_an_order_that_is_not_there_is_believed_once_the_venue_was_asked() {
    let bench = Bench::new([LOST, Post::Reject], []);
    assert_eq!(word(&bench.submit_new().await), "rejected");
    let posts = bench.venue().posts();
    let asked = bench.venue().look_ups().into_iter().filter(|at| *at >= posts[1]);
    assert!(posts.len() == 2 && asked.count() >= 3);
}

#[tokio::test(start_paused = true)]
async fn stopping_hands_back_what_waits_and_sends_nothing_more() {
    for wait in ["budget", "condition", "pause", "look-up", "resolve"] {
        let (posts, looks, past) = match wait {
            "pause" => (
                vec![Post::NotSent {
                    retry_after: Some(seconds(9)),
                }],
                vec![],
                Past::Clean,
            ),
            "look-up" => (vec![], vec![Look::Fail { retry_after: None }; 99], Past::Suspect),
            "resolve" => (vec![LOST], vec![], Past::Clean),
            _ => (vec![], vec![], Past::Clean),
        };
        let sent_before = posts.len();
        let bench = Bench::new(posts, looks);
        match wait {
            "budget" => close_budget(&bench, seconds(10)),
            "condition" => bench
                .dealer
                .gateway
                .raise(ConditionName::Blind, "no stream", true),
            _ => {}
        }
        let work = bench.submit(past, Some(seconds(120)));
        let sent = meanwhile(work, at(seconds(2), || bench.dealer.stop.cancel())).await;
        let doubt = wait == "resolve";
        assert_eq!(sent, Sent::HandBack { doubt }, "{wait}");
        assert_eq!(bench.venue().began.elapsed(), seconds(2), "{wait}");
        assert_eq!(bench.venue().posts().len(), sent_before, "{wait}");
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_begins_once_the_daemon_is_stopping() {
    let bench = Bench::new([], []);
    bench.dealer.stop.cancel();
    for past in [Past::Clean, Past::Suspect, Past::Begun] {
        let doubt = past == Past::Begun;
        assert_eq!(
            bench.submit(past, None).await,
            Sent::HandBack { doubt },
            "{past:?}"
        );
    }
    assert_eq!(bench.venue().posts(), NEVER);
}

#[tokio::test(start_paused = true)]
async fn stopping_waits_for_the_post_on_the_wire() {
    let bench = Bench::new([Post::AcceptAfter(seconds(9))], []);
    let stop = &bench.dealer.stop;
    let sent = meanwhile(bench.submit_new(), at(seconds(1), || stop.cancel())).await;
    assert_eq!(word(&sent), "accepted");
    assert_eq!(bench.venue().began.elapsed(), seconds(9));

    // Its answer is lost: the intent stands, and the next process asks.
    let lost = Post::TimeOut {
        committed: true,
        after: seconds(9),
    };
    let bench = Bench::new([lost], []);
    let stop = &bench.dealer.stop;
    let sent = meanwhile(bench.submit_new(), at(seconds(1), || stop.cancel())).await;
    assert_eq!(sent, Sent::HandBack { doubt: true });
    assert_eq!(bench.venue().began.elapsed(), seconds(9));
    assert!(bench.venue().holds_order());
}

#[tokio::test(start_paused = true)]
async fn a_cancel_does_not_wait_for_a_held_order_to_be_let_go() {
    let bench = Bench::new([], []);
    bench
        .dealer
        .gateway
        .raise(ConditionName::Blind, "no stream", true);
    let began = tokio::time::Instant::now();
    let sent = meanwhile(bench.submit_new(), at(seconds(3), || bench.cancel())).await;
    assert_eq!(word(&sent), "canceled_before_send");
    assert_eq!(began.elapsed(), seconds(3));
    assert_eq!(bench.venue().posts(), NEVER);
}
