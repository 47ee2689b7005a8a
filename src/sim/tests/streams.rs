//! Faults of `/stream`, its encodings and its one slot.

use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;

use super::*;

async fn raw(socket: &mut Socket) -> Option<Result<Message, tungstenite::Error>> {
    tokio::time::timeout(PATIENCE, socket.next()).await.unwrap()
}

async fn message(socket: &mut Socket) -> Message {
    raw(socket).await.unwrap().unwrap()
}

/// Events of one order that is filled by hand, which the listener hears in this order.
async fn fill_one(sim: &Sim, id: &str) {
    assert_eq!(submit(sim, market_order(id)).await.0, 200);
    eventually("it filled", || {
        sim.order(id)
            .is_some_and(|order| order.status.as_str() == "filled")
    })
    .await;
}

fn event(frame: &Value) -> &str {
    frame["data"]["event"].as_str().unwrap_or_default()
}

#[tokio::test]
async fn odd_frames_are_sent_at_once() {
    let sim = fast_sim().await;
    let mut socket = listening(&sim).await;
    sim.fault("stream: garbage-frame").unwrap();
    let garbage = message(&mut socket).await;
    assert!(garbage.is_binary() && serde_json::from_slice::<Value>(&garbage.into_data()).is_err());
    sim.fault("stream: heartbeat").unwrap();
    assert_eq!(message(&mut socket).await, Message::Binary(vec![1].into()));
    sim.fault("stream: null-data").unwrap();
    assert_eq!(
        hear(&mut socket).await,
        json!({"stream": "trade_updates", "data": null})
    );
    fill_one(&sim, "a").await;
    let heard = [
        hear(&mut socket).await,
        hear(&mut socket).await,
        hear(&mut socket).await,
    ];
    sim.fault("stream: replay 2").unwrap();
    assert_eq!(hear(&mut socket).await, heard[1]);
    assert_eq!(hear(&mut socket).await, heard[2]);
    sim.stop().await;
}

#[tokio::test]
async fn events_are_doubled_swapped_lost_and_stripped() {
    let sim = fast_sim().await;
    let mut socket = listening(&sim).await;
    let mut heard = async |fault: &str, id: &str, count: usize| {
        sim.fault(fault).unwrap();
        fill_one(&sim, id).await;
        let mut frames = Vec::new();
        for _ in 0..count {
            frames.push(hear(&mut socket).await);
        }
        frames
    };
    let names = |frames: &[Value]| {
        frames
            .iter()
            .map(|frame| event(frame).to_owned())
            .collect::<Vec<_>>()
    };
    let twice = heard("stream: duplicate", "twice", 4).await;
    assert_eq!(names(&twice), ["pending_new", "pending_new", "new", "fill"]);
    assert_eq!(twice[0], twice[1]);
    assert_eq!(
        names(&heard("stream: reorder", "swapped", 3).await),
        ["new", "pending_new", "fill"]
    );
    assert_eq!(names(&heard("stream x2: lose", "lost", 1).await), ["fill"]);
    let bare = heard(
        "stream always: without execution_id,event_id,timestamp",
        "bare",
        3,
    )
    .await;
    assert_eq!(names(&bare), ["pending_new", "new", "fill"]);
    for field in ["execution_id", "event_id", "timestamp"] {
        assert!(
            bare.iter().all(|frame| frame["data"].get(field).is_none()),
            "{field}"
        );
    }
    assert!(bare.iter().all(|frame| frame["data"].get("order").is_some()));
    sim.stop().await;
}

#[tokio::test]
async fn an_event_may_come_in_the_other_kind_of_frame() {
    let sim = fast_sim().await;
    let mut socket = listening(&sim).await;
    sim.fault("stream: other-opcode").unwrap();
    fill_one(&sim, "a").await;
    assert!(message(&mut socket).await.is_text());
    assert!(message(&mut socket).await.is_binary());
    sim.stop().await;
}

#[tokio::test]
async fn a_connection_dies_ends_or_freezes() {
    let sim = fast_sim().await;
    let slot_is_free = || !sim.stream_is_connected();

    let mut dropped = listening(&sim).await;
    sim.fault("stream: drop").unwrap();
    assert!(raw(&mut dropped).await.is_none_or(|end| end.is_err()));
    eventually("the slot is free", slot_is_free).await;

    let mut ended = listening(&sim).await;
    sim.fault("stream: end").unwrap();
    assert!(message(&mut ended).await.is_close());
    assert!(raw(&mut ended).await.is_none());
    eventually("the slot is free", slot_is_free).await;

    let mut frozen = listening(&sim).await;
    sim.fault("stream: half-open 1h").unwrap();
    fill_one(&sim, "unheard").await;
    frozen.send(Message::Ping(b"x".to_vec().into())).await.unwrap();
    let silence = tokio::time::timeout(Duration::from_millis(50), frozen.next()).await;
    assert!(silence.is_err(), "{silence:?}");
    drop(frozen);
    match connect(&sim).await {
        Err(tungstenite::Error::Http(answer)) => assert_eq!(answer.status(), 429),
        other => panic!("second upgrade: {other:?}"),
    }
    sim.fault("stream: drop").unwrap();
    eventually("the slot is free", slot_is_free).await;

    let _reaped = listening(&sim).await;
    sim.fault("stream: half-open 20ms").unwrap();
    eventually("the slot is free", slot_is_free).await;
    sim.stop().await;
}

#[tokio::test]
async fn a_fault_of_an_event_takes_the_event_with_it() {
    let sim = fast_sim().await;
    let mut socket = listening(&sim).await;
    sim.fault("stream x1: drop").unwrap();
    fill_one(&sim, "unheard").await;
    assert!(raw(&mut socket).await.is_none_or(|end| end.is_err()));
    assert_eq!(sim.script().pending(), 0);
    sim.stop().await;
}

#[tokio::test]
async fn upgrades_are_refused_for_a_while_or_answered_by_the_script() {
    let sim = fast_sim().await;
    let refused = async || match connect(&sim).await {
        Err(tungstenite::Error::Http(answer)) => Some(answer.status().as_u16()),
        Err(other) => panic!("{other}"),
        Ok(_) => None,
    };
    sim.fault("stream: refuse 1h").unwrap();
    assert_eq!(refused().await, Some(429));
    sim.fault("stream: refuse 0s").unwrap();
    sim.fault("stream: status 503").unwrap();
    assert_eq!(refused().await, Some(503));
    sim.fault("stream: delay 1ms").unwrap();
    assert_eq!(refused().await, None);
    sim.fault("stream: cut-before-commit").unwrap();
    assert!(connect(&sim).await.is_err());
    sim.stop().await;
}

#[tokio::test]
async fn a_slot_is_kept_for_a_while_after_its_connection_is_gone() {
    let config = SimConfig {
        stream_slot_release: Duration::from_secs(3_600),
        ..SimConfig::default()
    };
    let sim = sim(config).await;
    let is_gone = || !sim.stream_is_connected();
    let mut closed = listening(&sim).await;
    closed.close(None).await.unwrap();
    assert!(message(&mut closed).await.is_close());
    eventually("it is gone", is_gone).await;
    drop(listening(&sim).await);
    eventually("it is gone", is_gone).await;
    assert!(matches!(connect(&sim).await, Err(tungstenite::Error::Http(answer)) if answer.status() == 429));
    sim.stop().await;
}

#[tokio::test]
async fn a_client_that_asks_for_messagepack_gets_it() {
    let sim = fast_sim().await;
    let mut request = format!("ws://{}/stream", sim.address())
        .into_client_request()
        .unwrap();
    let msgpack = HeaderValue::from_static("application/msgpack");
    request.headers_mut().insert("content-type", msgpack);
    let (mut socket, _) = tokio_tungstenite::connect_async(request).await.unwrap();
    let hear = async |socket: &mut Socket| {
        let message = message(socket).await;
        assert!(message.is_binary());
        rmp_serde::from_slice::<Value>(&message.into_data()).unwrap()
    };
    let credentials = json!({"key_id": "sim-key", "secret_key": "sim-secret"});
    let hello = rmp_serde::to_vec(&json!({"action": "authenticate", "data": credentials})).unwrap();
    socket.send(Message::Binary(hello.into())).await.unwrap();
    assert_eq!(hear(&mut socket).await["data"]["status"], "authorized");
    say(
        &mut socket,
        json!({"action": "listen", "data": {"streams": ["trade_updates"]}}),
    )
    .await;
    assert_eq!(hear(&mut socket).await["stream"], "listening");
    fill_one(&sim, "packed").await;
    let frame = hear(&mut socket).await;
    assert_eq!(frame["data"]["order"]["client_order_id"], "packed");
    sim.stop().await;
}

#[tokio::test]
async fn a_list_of_streams_replaces_the_one_before() {
    let config = SimConfig {
        binary_frames: false,
        ..SimConfig::default()
    };
    let sim = sim(config).await;
    let mut socket = connect(&sim).await.unwrap();
    let token = json!({"action": "authenticate", "data": {"oauth_token": "sim-secret"}});
    say(&mut socket, token).await;
    let answer = message(&mut socket).await;
    assert!(answer.is_text() && answer.to_string().contains(r#""status":"authorized""#));
    for streams in [json!(["trade_updates"]), json!([])] {
        say(
            &mut socket,
            json!({"action": "listen", "data": {"streams": streams}}),
        )
        .await;
        let listening = json!({"stream": "listening", "data": {"streams": streams}});
        let answer: Value = serde_json::from_slice(&message(&mut socket).await.into_data()).unwrap();
        assert_eq!(answer, listening);
    }
    fill_one(&sim, "unheard").await;
    sim.send_raw_frame("the next thing heard");
    assert_eq!(message(&mut socket).await.to_string(), "the next thing heard");
    sim.stop().await;
}
