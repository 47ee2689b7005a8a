//! Server-sent events, read as a client reads them: line by line.

use reqwest::Response;

use super::*;

/// A response that is read line by line.
struct Events {
    response: Response,
    read: Vec<u8>,
}

impl Events {
    async fn open(sim: &Sim, path: &str) -> Self {
        let response = keyed(sim, Method::GET, path).send().await.unwrap();
        assert_eq!(response.status(), 200, "{path}");
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Self {
            response,
            read: Vec::new(),
        }
    }

    /// The next line; none at the end, an error when the connection dies.
    async fn line(&mut self) -> Result<Option<String>, reqwest::Error> {
        loop {
            if let Some(at) = self.read.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.read.drain(..=at).collect();
                return Ok(Some(String::from_utf8_lossy(&line[..at]).into_owned()));
            }
            match self.response.chunk().await? {
                Some(chunk) => self.read.extend_from_slice(&chunk),
                None => return Ok(None),
            }
        }
    }

    /// The next event; comments and empty lines are skipped.
    async fn next(&mut self) -> Value {
        loop {
            let line = self.line().await.unwrap().expect("an event before the end");
            if let Some(data) = line.strip_prefix("data: ") {
                return serde_json::from_str(data).unwrap();
            }
            assert!(line.is_empty() || line.starts_with(':'), "{line:?}");
        }
    }

    async fn rest(mut self) -> Vec<Value> {
        let mut events = Vec::new();
        while let Some(line) = self.line().await.unwrap() {
            events.extend(
                line.strip_prefix("data: ")
                    .map(|data| serde_json::from_str(data).unwrap()),
            );
        }
        events
    }
}

async fn filled(sim: &Sim, id: &str) {
    assert_eq!(submit(sim, market_order(id)).await.0, 200);
    eventually("it filled", || {
        sim.order(id)
            .is_some_and(|order| order.status.as_str() == "filled")
    })
    .await;
}

#[tokio::test]
async fn order_events_are_told_beside_the_one_websocket() {
    let sim = fast_sim().await;
    let mut socket = listening(&sim).await;
    let mut events = Events::open(&sim, "/v2/events/trades").await;
    filled(&sim, "a").await;
    for expected in ["pending_new", "new", "fill"] {
        let event = events.next().await;
        assert_eq!(event, hear(&mut socket).await["data"]);
        assert_eq!(event["event"], expected);
        assert!(event["at"].is_string() && event["event_id"].as_str().unwrap().len() == 26);
    }
    sim.stop().await;
}

#[tokio::test]
async fn activities_are_the_executions_alone() {
    let sim = fast_sim().await;
    let mut events = Events::open(&sim, "/v2beta1/events/activities").await;
    filled(&sim, "a").await;
    let activity = events.next().await;
    let fill = sim.snapshot().fills()[0].clone();
    assert_eq!(activity["activity_type"], "TRD");
    assert_eq!(activity["qty"], "1");
    assert_eq!(activity["price"], fill.price.normalize().to_string());
    assert_eq!(activity["details"]["client_order_id"], "a");
    assert_eq!(activity["details"]["cum_qty"], "1");
    assert!(activity["ref_id"].as_str().unwrap().len() == 36);
    assert!(activity["net_amount"].as_str().unwrap().starts_with('-'));
    sim.stop().await;
}

#[tokio::test]
async fn history_is_replayed_from_where_it_is_asked_for() {
    let sim = fast_sim().await;
    filled(&sim, "a").await;
    filled(&sim, "b").await;
    let mut all = Events::open(&sim, "/v2/events/trades?since=2020-01-01").await;
    let mut told = Vec::new();
    for _ in 0..6 {
        told.push(all.next().await);
    }
    let text = |event: &Value, key: &str| event[key].as_str().unwrap().to_owned();
    let (at, id, last) = (
        text(&told[2], "at"),
        text(&told[2], "event_id"),
        text(&told[4], "event_id"),
    );

    let path = format!("/v2/events/trades?since={at}&until={}", text(&told[5], "at"));
    let span = Events::open(&sim, &path).await;
    assert_eq!(span.rest().await, told[2..]);
    let mut from_id = Events::open(&sim, &format!("/v2/events/trades?since_id={id}")).await;
    assert_eq!(from_id.next().await, told[2]);
    let span = Events::open(&sim, &format!("/v2/events/trades?since_id={id}&until_id={last}")).await;
    assert_eq!(span.rest().await, told[2..5]);
    let resumed = keyed(&sim, Method::GET, "/v2/events/trades")
        .header("last-event-id", &id)
        .send()
        .await
        .unwrap();
    let mut resumed = Events {
        response: resumed,
        read: Vec::new(),
    };
    assert_eq!(resumed.next().await, told[2]);
    filled(&sim, "c").await;
    let mut live = Events::open(
        &sim,
        &format!("/v2/events/trades?since_id={}", text(&told[5], "event_id")),
    )
    .await;
    assert_eq!(live.next().await, told[5]);
    assert_eq!(live.next().await["order"]["client_order_id"], "c");
    sim.stop().await;
}

#[tokio::test]
async fn a_span_that_makes_no_sense_or_a_stranger_is_refused() {
    let sim = fast_sim().await;
    for query in [
        "until=2026-01-01",
        "until_id=01JD0000000000000000000000",
        "since=2026-01-01&since_id=01JD0000000000000000000000",
        "since=yesterday",
        "since_id=1",
        "since=2026-01-02&until=2026-01-01",
    ] {
        for path in ["/v2/events/trades", "/v2beta1/events/activities"] {
            let (status, body) = get(&sim, &format!("{path}?{query}")).await;
            assert_eq!(
                (status.as_u16(), &body["code"]),
                (422, &json!(40_010_001)),
                "{query}"
            );
        }
    }
    let url = format!("{}/v2/events/trades", sim.base_url());
    assert_eq!(client().get(&url).send().await.unwrap().status(), 403);
    assert_eq!(
        client()
            .get(&url)
            .bearer_auth("wrong")
            .send()
            .await
            .unwrap()
            .status(),
        401
    );
    let bearer = client().get(&url).bearer_auth("sim-secret").send().await.unwrap();
    assert_eq!(bearer.status(), 200);
    sim.stop().await;
}

#[tokio::test]
async fn a_stream_of_events_misbehaves_on_request() {
    let sim = fast_sim().await;
    let path = "/v2/events/trades";
    let mut events = Events::open(&sim, path).await;
    assert_eq!(events.line().await.unwrap().as_deref(), Some(":connected"));
    sim.fault("trade_events x1: duplicate").unwrap();
    filled(&sim, "a").await;
    let twice = [events.next().await, events.next().await];
    assert_eq!(twice[0], twice[1]);
    sim.fault("trade_events: end").unwrap();
    events.rest().await;

    let mut dropped = Events::open(&sim, path).await;
    assert!(dropped.line().await.is_ok());
    sim.fault("trade_events: drop").unwrap();
    let end = loop {
        match dropped.line().await {
            Ok(Some(_)) => {}
            end => break end,
        }
    };
    assert!(end.is_err(), "{end:?}");

    sim.fault("trade_events: refuse 1h").unwrap();
    assert_eq!(get(&sim, path).await.0, 429);
    sim.fault("trade_events: refuse 0s").unwrap();
    sim.fault("trade_events: status 503").unwrap();
    assert_eq!(get(&sim, path).await.0, 503);
    let mut others = Events::open(&sim, "/v2beta1/events/activities?since=2020-01-01").await;
    assert_eq!(others.next().await["details"]["client_order_id"], "a");
    sim.stop().await;
}
