//! Faults as values and as text.

use std::time::Duration;

use proptest::prelude::*;
use tokio_tungstenite::tungstenite::Utf8Bytes;

use super::*;

#[test]
fn replies_wait_in_line_for_the_requests_they_are_for() {
    let script = Script::default();
    script.next_order(Reply::Hang);
    script.times(
        2,
        Matcher::endpoint(Endpoint::SubmitOrder).containing("x-1"),
        Reply::CutAfterCommit,
    );
    script.always(Endpoint::GetClock, Reply::BodyGarbage);
    assert_eq!(script.pending(), 3);
    let take = |endpoint, body: &str| {
        let struck = script.take(Some(endpoint), "/", body.as_bytes());
        struck.map(|struck| struck.reply)
    };
    assert_eq!(take(Endpoint::GetOrder, ""), None);
    assert_eq!(take(Endpoint::SubmitOrder, "x-1"), Some(Reply::Hang));
    assert_eq!(take(Endpoint::SubmitOrder, "x-2"), None);
    assert_eq!(take(Endpoint::SubmitOrder, "x-1"), Some(Reply::CutAfterCommit));
    assert_eq!(take(Endpoint::SubmitOrder, "x-1"), Some(Reply::CutAfterCommit));
    assert_eq!(take(Endpoint::SubmitOrder, "x-1"), None);
    assert_eq!(take(Endpoint::GetClock, ""), Some(Reply::BodyGarbage));
    script.clear();
    assert_eq!(take(Endpoint::GetClock, ""), None);
}

#[test]
fn a_fault_is_read_from_its_text() {
    let check = |text: &str, expected: &str| {
        let fault: Fault = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(fault.to_string(), expected, "{text}");
        assert_eq!(expected.parse(), Ok(fault), "{text}");
    };
    check("submit_order: cut-after-commit", "submit_order: cut-after-commit");
    check(
        " submit_order  x3 :status 503 {\"a\": 1}",
        "submit_order x3: status 503 {\"a\": 1}",
    );
    check(
        "get_order_by_client_order_id 10.0%: hang",
        "get_order_by_client_order_id 10%: hang",
    );
    check(
        "any always ~momentum.: delay 1500ms",
        "any ~momentum. always: delay 1500ms",
    );
    check(
        "any ~\"a b: c\": html",
        "any ~\"a b: c\": status 502 as text/html <html><body><h1>502</h1></body></html>",
    );
    check("submit_order: status 429 \"\"", "submit_order: status 429 \"\"");
    check(
        "submit_order: late-commit 2m status 504",
        "submit_order: late-commit 120s status 504",
    );
    check(
        "submit_order: too-many retry-after 3s reset 42",
        "submit_order: too-many retry-after 3s reset 42",
    );
    check("stream: refuse 90s", "stream: refuse 90s");
    check(
        "stream 2.5%: without event_id,at",
        "stream 2.5%: without event_id,at",
    );
    check("stream: half-open", "stream: half-open 90s");
    check("stream: status 503 {}", "stream: status 503 {}");
}

#[test]
fn a_complaint_names_the_bad_word_and_what_could_stand_there() {
    let check = |text: &str, parts: &[&str]| {
        let error = text.parse::<Fault>().unwrap_err().to_string();
        for part in parts {
            assert!(error.contains(part), "{text}: {error}");
        }
    };
    check("", &["target is missing", "any", "submit_order"]);
    check("submit_oder: hang", &["\"submit_oder\"", "submit_order"]);
    check("submit_order", &["colon"]);
    check("submit_order hang", &["\"hang\"", "xN", "always"]);
    check("submit_order x0: hang", &["\"x0\""]);
    check("submit_order 0%: hang", &["\"0%\"", "0.1%"]);
    check("submit_order 100.1%: hang", &["\"100.1%\""]);
    check("submit_order x1 x2: hang", &["twice"]);
    check("submit_order:", &["fault is missing", "cut-after-commit"]);
    check(
        "submit_order: explode",
        &["\"explode\"", "cut-after-commit", "late-commit"],
    );
    check("submit_order: duplicate", &["\"duplicate\"", "stream"]);
    check("stream: explode", &["\"explode\"", "hang", "duplicate"]);
    check("stream ~x: drop", &["~TEXT"]);
    check("submit_order: hang now", &["\"now\""]);
    check("submit_order: delay 5", &["\"5\"", "200ms"]);
    check("submit_order: delay 999999999999h", &["30 days"]);
    check("submit_order: status 99", &["99"]);
    check("submit_order: status ok", &["\"ok\""]);
    check("any ~\"open: hang", &["JSON string"]);
}

#[test]
fn every_word_of_the_vocabulary_is_read() {
    let examples = [
        ("CODE", "503"),
        ("TYPE", "text/plain"),
        ("BODY", "gone"),
        ("TIME", "5s"),
        ("EPOCH", "9999999999"),
        ("URL", "http://127.0.0.1:9/"),
        ("BYTES", "7"),
        ("LETTERS", "7"),
        ("FIELD[,FIELD]", "at,event_id"),
        (" N", " 4"),
        ("[", ""),
        ("]", ""),
    ];
    for (target, words) in [("submit_order", reply::WORDS), ("stream", stream::WORDS)] {
        for word in words {
            let mut usage = word.usage.to_owned();
            usage = usage.replace("[N]", "4");
            for (name, example) in examples {
                usage = usage.replace(name, example);
            }
            let fault: Result<Fault, _> = format!("{target}: {usage}").parse();
            assert!(fault.is_ok(), "{usage}: {fault:?}");
            assert!(vocabulary().contains(word.usage));
            let row = format!("//! | `{}` | {} |", word.usage, word.does);
            assert!(include_str!("mod.rs").contains(&row), "the table lacks {row}");
        }
    }
}

#[test]
fn a_share_is_drawn_from_the_seed_and_replays() {
    let strikes = |seed| -> Vec<bool> {
        let script = Script::new(seed);
        script.write("get_clock 25%: hang".parse().unwrap()).unwrap();
        let clock = Some(Endpoint::GetClock);
        (0..1_000)
            .map(|_| script.take(clock, "/", b"").is_some())
            .collect()
    };
    assert_eq!(strikes(7), strikes(7));
    assert_ne!(strikes(7), strikes(8));
    let struck = strikes(7).iter().filter(|struck| **struck).count();
    assert!((150..350).contains(&struck), "{struck}");
}

#[test]
fn a_fault_is_taken_back_by_its_number() {
    let script = Script::default();
    let first = script.write("any always: hang".parse().unwrap()).unwrap();
    let second = script.write("any: garbage".parse().unwrap()).unwrap();
    assert!(script.remove(first));
    assert!(!script.remove(first));
    let struck = script.take(None, "/", b"").unwrap();
    assert_eq!((struck.id, struck.reply), (second, Reply::BodyGarbage));
    assert!(script.faults().is_empty());
}

#[test]
fn an_event_is_turned_into_what_its_faults_leave_of_it() {
    let mut disturbed = Disturbed::default();
    let frame = |text: &str| Step::Send {
        frame: Utf8Bytes::from(text),
        other_opcode: false,
    };
    let mut pass = |faults: &[StreamFault], event: &str| disturbed.pass(faults, event.into());
    assert_eq!(pass(&[], "a"), [frame("a")]);
    assert_eq!(pass(&[StreamFault::Duplicate], "b"), [frame("b"), frame("b")]);
    assert_eq!(pass(&[StreamFault::Reorder], "c"), []);
    assert_eq!(pass(&[], "d"), [frame("d"), frame("c")]);
    assert_eq!(pass(&[StreamFault::Lose], "e"), []);
    assert_eq!(pass(&vec![StreamFault::Duplicate; 200], "e").len(), 64);
    assert_eq!(pass(&[StreamFault::NullData], "f"), [Step::NullData, frame("f")]);
    assert_eq!(pass(&[StreamFault::Drop], "g"), [Step::Drop]);
    let without = StreamFault::Without(vec!["x".to_owned()]);
    assert_eq!(
        pass(
            std::slice::from_ref(&without),
            r#"{"stream":"s","data":{"x":1,"y":2}}"#
        ),
        [frame(r#"{"data":{"y":2},"stream":"s"}"#)]
    );
    let without = [without];
    assert_eq!(pass(&without, r#"{"x":1,"y":2}"#), [frame(r#"{"y":2}"#)]);
    assert_eq!(
        pass(&without, r#"[{"x":1,"y":2},7,{}]"#),
        [frame(r#"[{"y":2},7,{}]"#)]
    );
}

fn duration() -> impl Strategy<Value = Duration> {
    let nanos = prop_oneof![
        0..5_000_000_000_u64,
        (0..90_000_u64).prop_map(|ms| ms * 1_000_000)
    ];
    nanos.prop_map(Duration::from_nanos)
}

fn header_text() -> impl Strategy<Value = String> {
    "[ -~]{1,20}"
}

fn reply() -> impl Strategy<Value = Reply> {
    let answer = || (200..600_u16, "\\PC{0,20}|as x|\"|\n", header_text());
    prop_oneof![
        answer().prop_map(|(code, body, content_type)| Reply::Status {
            code,
            body,
            content_type: content_type.into()
        }),
        answer().prop_map(|(code, body, _)| Reply::StatusAfterCommit {
            code,
            body,
            content_type: "application/json".into()
        }),
        duration().prop_map(Reply::Delay),
        duration().prop_map(Reply::DelayAfterCommit),
        Just(Reply::Hang),
        Just(Reply::HangAfterCommit),
        Just(Reply::CutBeforeCommit),
        Just(Reply::CutAfterCommit),
        Just(Reply::CutMidBody),
        (prop::option::of(duration()), any::<Option<i64>>())
            .prop_map(|(retry_after, reset)| Reply::TooMany { retry_after, reset }),
        header_text().prop_map(Reply::Redirect),
        (any::<usize>(), duration()).prop_map(|(bytes, pause)| Reply::Drip { bytes, pause }),
        header_text().prop_map(Reply::ContentType),
        any::<usize>().prop_map(Reply::HugeBody),
        Just(Reply::Gzip),
        Just(Reply::BodyGarbage),
        duration().prop_map(Reply::Blind),
        Just(Reply::Reject),
        (duration(), prop::option::of(200..600_u16))
            .prop_map(|(after, status)| Reply::LateCommit { after, status }),
    ]
}

fn stream_fault() -> impl Strategy<Value = StreamFault> {
    prop_oneof![
        Just(StreamFault::Drop),
        Just(StreamFault::End),
        duration().prop_map(StreamFault::HalfOpen),
        prop::option::of(duration()).prop_map(StreamFault::Mute),
        Just(StreamFault::Unmute),
        duration().prop_map(StreamFault::Refuse),
        Just(StreamFault::Lose),
        Just(StreamFault::Duplicate),
        Just(StreamFault::Reorder),
        any::<usize>().prop_map(StreamFault::Replay),
        Just(StreamFault::Garbage),
        Just(StreamFault::NullData),
        prop::collection::vec("[a-z_]{1,9}", 1..4).prop_map(StreamFault::Without),
        Just(StreamFault::Heartbeat),
        (0..=64 * 1024 * 1024_usize).prop_map(StreamFault::Article),
        Just(StreamFault::OtherOpcode),
    ]
}

fn fault() -> impl Strategy<Value = Fault> {
    let often = prop_oneof![
        Just(Often::Once),
        (1..usize::MAX).prop_map(Often::Times),
        Just(Often::Always),
        (1..=1000_u16).prop_map(|permille| Often::Rate(Permille::new(permille).unwrap())),
    ];
    let streams: Vec<_> = Endpoint::ALL
        .iter()
        .copied()
        .filter(|endpoint| endpoint.is_stream())
        .collect();
    let of_request = (
        prop::option::of(prop::sample::select(Endpoint::ALL)),
        prop::option::of("\\PC{0,12}|\n"),
        reply(),
    );
    let of_stream = (prop::sample::select(streams), stream_fault());
    (often, of_request, of_stream, any::<bool>()).prop_map(
        |(often, (endpoint, containing, reply), (stream, what), is_request)| {
            if is_request {
                let matcher = Matcher { endpoint, containing };
                Fault::Request {
                    matcher,
                    often,
                    reply,
                }
            } else {
                Fault::Stream { stream, often, what }
            }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_written_is_read_back(fault in fault()) {
        let text = fault.to_string();
        prop_assert_eq!(text.parse::<Fault>(), Ok(fault), "{}", text);
    }

    #[test]
    fn no_text_brings_the_reader_down(text in "\\PC{0,40}|(any|stream) ?[~x%\"0-9a]{0,8}: ?(status|without|drip|late-commit|replay) ?[\"\\PC]{0,10}") {
        let _ = text.parse::<Fault>();
    }
}
