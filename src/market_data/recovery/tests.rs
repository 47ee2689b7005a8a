use std::sync::{Arc, Mutex};

use futures_util::FutureExt as _;

use super::*;

/// The past as the test has it: the minutes there are, and what was asked.
#[derive(Clone, Default)]
struct Past {
    minutes: Arc<Mutex<Vec<i64>>>,
    newest: HashMap<String, Timestamp>,
    asked: Arc<Mutex<Vec<Gap>>>,
    fails: Arc<Mutex<usize>>,
}

impl Past {
    fn try_to_answer(&self) -> Result<(), String> {
        let mut fails = self.fails.lock().unwrap();
        if *fails > 0 {
            *fails -= 1;
            return Err("not now".to_owned());
        }
        Ok(())
    }
}

impl GapSource for Past {
    fn bars(&self, gaps: Vec<Gap>) -> BoxFuture<'static, Result<Vec<Bar<'static>>, String>> {
        let answer = self.try_to_answer();
        let minutes = self.minutes.lock().unwrap().clone();
        let bars = gaps.iter().flat_map(|gap| {
            let range = minute_of(gap.from)..minute_of(gap.until);
            let minutes = minutes.iter().filter(move |minute| range.contains(minute));
            minutes.map(|minute| Bar {
                symbol: gap.symbol.clone().into(),
                at: begin_of(*minute),
                ..Bar::default()
            })
        });
        let bars: Vec<_> = bars.collect();
        self.asked.lock().unwrap().extend(gaps);
        std::future::ready(answer.map(|()| bars)).boxed()
    }

    fn newest(&self, symbols: Vec<String>) -> BoxFuture<'static, Result<HashMap<String, Timestamp>, String>> {
        let mut newest = self.newest.clone();
        newest.retain(|symbol, _| symbols.contains(symbol));
        std::future::ready(self.try_to_answer().map(|()| newest)).boxed()
    }
}

fn confirmed(symbols: &[&str]) -> Subscriptions {
    let mut confirmed = Subscriptions::default();
    confirmed.add(Channel::Bars, symbols.iter().map(|symbol| (*symbol).to_owned()));
    confirmed
}

/// A recovery at the middle of minute 1000.
fn recovery(past: &Past) -> Recovery<Past> {
    let clock = Clock::tied_to_tokio(begin_of(1000) + SignedDuration::from_secs(30));
    Recovery::new(MarketClass::Stocks, past.clone(), clock)
}

async fn pass(seconds: u64) {
    tokio::time::advance(Duration::from_secs(seconds)).await;
}

/// Does all that is due; the minutes that were missed, which are passed on.
async fn recovered(recovery: &mut Recovery<Past>, confirmed: &Subscriptions) -> Vec<i64> {
    let mut all = Vec::new();
    loop {
        recovery.begin(confirmed);
        let Some(missed) = recovery.done().now_or_never() else {
            return all;
        };
        for bar in missed {
            recovery.passed_on(&bar.symbol, bar.at);
            all.push(minute_of(bar.at));
        }
    }
}

#[test]
fn minutes_are_known_for_an_hour() {
    let mut minutes = Minutes { newest: 100, seen: 1 };
    minutes.see(103);
    minutes.see(101);
    assert_eq!(minutes.newest, 103);
    for (minute, has) in [(100, true), (101, true), (102, false), (103, true), (104, false)] {
        assert_eq!(minutes.has(minute), Some(has), "{minute}");
    }
    assert_eq!((minutes.has(40), minutes.has(39)), (Some(false), None));
    minutes.see(1_000_000);
    assert_eq!(minutes.has(999_999), Some(false));
    minutes.see(i64::MIN);
    minutes.see(i64::MAX);
    assert_eq!(minutes.has(i64::MIN), None);
    assert_eq!(Minutes::until(50).has(20), Some(true));
}

#[tokio::test(start_paused = true)]
async fn what_a_connection_missed_is_asked_for_once() {
    let past = Past::default();
    past.minutes.lock().unwrap().extend(900..=998);
    let mut recovery = recovery(&past);
    let aapl = confirmed(&["AAPL"]);
    recovery.connected();
    assert!(
        recovered(&mut recovery, &aapl).await.is_empty(),
        "nothing was heard before"
    );
    recovery.heard("AAPL", begin_of(990));
    recovery.heard("AAPL", begin_of(1_000_000));
    // A new connection, on which the bar of the last minute is heard before the past was asked.
    recovery.connected();
    recovery.heard("AAPL", begin_of(998));
    let missed: Vec<i64> = (991..=997).collect();
    assert_eq!(recovered(&mut recovery, &aapl).await, missed);
    assert!(recovered(&mut recovery, &aapl).await.is_empty());
    // At the edge: the venue did not know of minute 999 then.
    past.minutes.lock().unwrap().push(999);
    pass(80).await;
    assert_eq!(recovered(&mut recovery, &aapl).await, [999]);
    // What happened in the minute of the connection is looked at when it is over, and was heard.
    past.minutes.lock().unwrap().push(1000);
    recovery.heard("AAPL", begin_of(1000));
    let asked = past.asked.lock().unwrap().len();
    pass(80).await;
    assert!(recovered(&mut recovery, &aapl).await.is_empty());
    assert_eq!(past.asked.lock().unwrap().len(), asked, "nothing is missing");
    assert_eq!(recovery.due(), None);
}

#[tokio::test(start_paused = true)]
async fn what_the_process_before_us_did_not_hear_is_asked_for() {
    let newest = [
        ("AAPL".to_owned(), begin_of(995)),
        ("MSFT".to_owned(), begin_of(400)),
    ];
    let past = Past {
        newest: newest.into(),
        ..Past::default()
    };
    past.minutes.lock().unwrap().extend(900..=999);
    *past.fails.lock().unwrap() = 2;
    let mut recovery = recovery(&past);
    let aapl = confirmed(&["AAPL"]);
    recovery.connected();
    recovery.heard("AAPL", begin_of(999));
    assert!(
        recovered(&mut recovery, &aapl).await.is_empty(),
        "the bus does not answer"
    );
    assert!(recovery.due().is_some());
    pass(15).await;
    assert!(recovered(&mut recovery, &aapl).await.is_empty(), "still not");
    pass(15).await;
    assert_eq!(recovered(&mut recovery, &aapl).await, [996, 997, 998]);
    // What is wanted later for the first time was not missed.
    pass(60).await;
    recovery.confirmed();
    let both = confirmed(&["AAPL", "MSFT"]);
    assert!(
        recovered(&mut recovery, &both)
            .await
            .iter()
            .all(|minute| *minute > 999)
    );
}

#[tokio::test(start_paused = true)]
async fn a_frame_that_cannot_be_read_may_have_been_a_bar() {
    let past = Past::default();
    let mut recovery = recovery(&past);
    let aapl = confirmed(&["AAPL"]);
    recovery.connected();
    recovery.heard("AAPL", begin_of(999));
    recovery.doubt();
    assert!(recovered(&mut recovery, &aapl).await.is_empty());
    past.minutes.lock().unwrap().extend([998, 999, 1000]);
    *past.fails.lock().unwrap() = 1;
    let due = recovery.due().unwrap();
    assert!(due > Instant::now());
    pass(75).await;
    assert!(
        recovered(&mut recovery, &aapl).await.is_empty(),
        "the venue does not answer"
    );
    // The connection breaks: what was to be looked at is not forgotten.
    recovery.connected();
    pass(80).await;
    let mut missed = recovered(&mut recovery, &aapl).await;
    missed.sort_unstable();
    assert_eq!(missed, [998, 1000]);
}

#[tokio::test(start_paused = true)]
async fn a_gap_that_was_not_filled_before_the_next_one_is_filled_with_it() {
    let past = Past::default();
    past.minutes.lock().unwrap().extend(800..=999);
    let mut recovery = recovery(&past);
    let aapl = confirmed(&["AAPL"]);
    recovery.connected();
    recovered(&mut recovery, &aapl).await;
    recovery.heard("AAPL", begin_of(850));
    recovery.connected();
    recovery.heard("AAPL", begin_of(999));
    *past.fails.lock().unwrap() = 1;
    assert!(
        recovered(&mut recovery, &aapl).await.is_empty(),
        "the venue does not answer"
    );
    // It breaks again before it does.
    recovery.connected();
    pass(15).await;
    let missed: Vec<i64> = (851..=998).collect();
    assert_eq!(recovered(&mut recovery, &aapl).await, missed);
}

#[tokio::test(start_paused = true)]
async fn minutes_without_a_bar_of_any_symbol_are_looked_at() {
    let past = Past::default();
    past.minutes.lock().unwrap().extend(900..=999);
    let mut recovery = recovery(&past);
    let both = confirmed(&["AAPL", "MSFT"]);
    recovery.connected();
    // One that trades now and then is nothing to ask about.
    recovery.heard("MSFT", begin_of(980));
    for minute in 981..=990 {
        recovery.heard("AAPL", begin_of(minute));
    }
    recovery.heard("MSFT", begin_of(990));
    recovered(&mut recovery, &both).await;
    assert_eq!((recovery.due(), past.asked.lock().unwrap().len()), (None, 0));
    // The stream was mute, and says nothing of it.
    recovery.heard("AAPL", begin_of(995));
    pass(75).await;
    let mut missed = recovered(&mut recovery, &both).await;
    missed.sort_unstable();
    let of_both: Vec<i64> = (991..=994).flat_map(|minute| [minute, minute]).collect();
    assert_eq!(missed, of_both);
    assert_eq!(recovery.due(), None);
}

#[tokio::test(start_paused = true)]
async fn what_nobody_wanted_was_not_missed() {
    let past = Past::default();
    past.minutes.lock().unwrap().extend(900..=1002);
    let mut recovery = recovery(&past);
    recovery.connected();
    recovery.heard("AAPL", begin_of(990));
    recovery.heard("MSFT", begin_of(990));
    recovery.confirmed();
    assert!(recovered(&mut recovery, &confirmed(&["MSFT"])).await.is_empty());
    recovery.connected();
    pass(80).await;
    recovered(&mut recovery, &confirmed(&["AAPL", "MSFT"])).await;
    let asked = past.asked.lock().unwrap();
    assert!(
        !asked.is_empty() && asked.iter().all(|gap| gap.symbol == "MSFT"),
        "{asked:?}"
    );
}
