//! Whatever the venue answers: one order at most, and no verdict that the venue would call a lie.

use proptest::prelude::*;

use super::*;

fn post() -> impl Strategy<Value = Post> {
    prop_oneof![
        2 => Just(Post::Accept),
        1 => (0u64..12).prop_map(|after| Post::AcceptAfter(seconds(after))),
        2 => Just(Post::Reject),
        3 => any::<bool>().prop_map(|committed| Post::Unknown { committed }),
        2 => (any::<bool>(), 1u64..11).prop_map(|(committed, after)| Post::TimeOut {
            committed,
            after: seconds(after),
        }),
        2 => prop::option::of(0u64..20).prop_map(|pause| Post::NotSent {
            retry_after: pause.map(seconds),
        }),
        1 => Just(Post::Duplicate),
    ]
}

fn look() -> impl Strategy<Value = Look> {
    prop_oneof![
        3 => Just(Look::Truthful),
        1 => prop::option::of(0u64..10).prop_map(|pause| Look::Fail {
            retry_after: pause.map(seconds),
        }),
    ]
}

/// What came before, and for how long the venue has had the order if it has it.
fn past() -> impl Strategy<Value = (Past, Option<Duration>)> {
    prop_oneof![
        Just((Past::Clean, None)),
        Just((Past::Suspect, None)),
        (0u64..60, any::<bool>()).prop_map(|(age, there)| {
            let age = seconds(age);
            (Past::Begun, there.then_some(age))
        }),
    ]
}

/// What may happen while the order is on its way.
#[derive(Clone, Copy, Debug)]
enum Meddling {
    Halt,
    Cancel,
    Stop,
}

fn meddling() -> impl Strategy<Value = Option<(Duration, Meddling)>> {
    let what = prop_oneof![Just(Meddling::Halt), Just(Meddling::Cancel), Just(Meddling::Stop)];
    prop::option::of((0u64..60_000, what).prop_map(|(at, what)| (millis(at), what)))
}

fn with_paused_time<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap()
        .block_on(work)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn there_is_one_order_at_most_and_the_verdict_agrees_with_the_venue(
        posts in prop::collection::vec(post(), 0..8),
        looks in prop::collection::vec(look(), 0..24),
        // Orders were seen by one path and not by another for ten seconds. The venue may take an order up to ten
        // seconds after its POST began, so the two together stay under what two rounds of asking take.
        lag in 0u64..13,
        (past, there) in past(),
        deadline in 0u64..90,
        meddling in meddling(),
    ) {
        with_paused_time(async {
            let mut bench = Bench::new(posts, looks);
            Arc::get_mut(&mut bench.dealer.venue).unwrap().lag = seconds(lag);
            if let Some(age) = there {
                bench.venue().put_before(at_venue(&bench.order), age);
            }
            let deadline = seconds(deadline);
            let meddle = async {
                let Some((instant, what)) = meddling else { return };
                at(instant, || match what {
                    Meddling::Halt => bench.set_mode(GatewayMode::Halted),
                    Meddling::Cancel => bench.cancel(),
                    Meddling::Stop => bench.dealer.stop.cancel(),
                })
                .await;
            };
            let sent = meanwhile(bench.submit(past, Some(deadline)), meddle).await;
            let venue = bench.venue();
            let holds = venue.holds_order();
            match word(&sent) {
                "accepted" => prop_assert!(holds, "the venue does not have it"),
                "unresolved" => {}
                "handed back" => prop_assert!(matches!(meddling, Some((_, Meddling::Stop)))),
                definite => prop_assert!(!holds, "{definite}, and the venue has it"),
            }
            prop_assert!(venue.most_on_the_wire() <= 1);
            prop_assert!(venue.posts().iter().all(|at| *at < deadline), "sent too late: {:?}", venue.posts());
            if let Some((instant, _)) = meddling {
                prop_assert!(venue.posts().iter().all(|at| *at <= instant), "sent in spite of it");
            }
            Ok(())
        })?;
    }
}
