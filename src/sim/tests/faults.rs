//! Faults of requests, as their texts say.

use super::*;

async fn post(sim: &Sim, client_order_id: &str) -> reqwest::Result<reqwest::Response> {
    let body = market_order(client_order_id).to_string();
    keyed(sim, Method::POST, "/v2/orders").body(body).send().await
}

#[tokio::test]
async fn a_fault_acts_or_does_not_as_its_word_says() {
    let sim = fast_sim().await;
    let words = [
        ("status 503", 0),
        ("status-after-commit 500", 1),
        ("html", 0),
        ("not-found", 0),
        ("gateway-timeout-after-commit", 1),
        ("delay 1ms", 1),
        ("delay-after-commit 1ms", 1),
        ("cut-before-commit", 0),
        ("cut-after-commit", 1),
        ("cut-mid-body", 1),
        ("too-many retry-after 3s reset 42", 0),
        ("redirect http://127.0.0.1:9/", 0),
        ("drip 200 1ms", 1),
        ("content-type text/plain", 1),
        ("huge 200000", 1),
        ("gzip", 1),
        ("garbage", 1),
        ("blind 1ms", 1),
        ("late-commit 1h", 0),
        ("late-commit 1h status 504", 0),
    ];
    for (at, (word, orders)) in words.into_iter().enumerate() {
        let id = format!("fault-{at}");
        sim.fault(&format!("submit_order ~{id}: {word}")).unwrap();
        let answer = async { post(&sim, &id).await?.bytes().await }.await;
        let cut = word.starts_with("cut") || word == "late-commit 1h";
        assert_eq!(answer.is_err(), cut, "{word}");
        assert_eq!(sim.snapshot().orders_by_client_id(&id), orders, "{word}");
    }
    assert_eq!(sim.script().pending(), 0);
    sim.stop().await;
}

#[tokio::test]
async fn an_answer_is_spoiled_as_the_fault_says() {
    let sim = fast_sim().await;
    let respond = async |fault: &str| {
        sim.fault(fault).unwrap();
        let response = keyed(&sim, Method::GET, "/v2/account").send().await.unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        (status, headers, response.bytes().await.unwrap())
    };
    let account = |body: &[u8]| serde_json::from_slice::<Value>(body).unwrap()["cash"] == "100000";

    let (_, headers, body) = respond("get_account: content-type text/html").await;
    assert_eq!(headers["content-type"], "text/html");
    assert!(account(&body));
    let (_, _, body) = respond("get_account: drip 100 1ms").await;
    assert!(account(&body));
    let (_, headers, body) = respond("get_account: gzip").await;
    assert_eq!(headers["content-encoding"], "gzip");
    assert_eq!(body[..2], [0x1f, 0x8b]);
    assert!(account(&body[15..body.len() - 8]));
    let (status, headers, body) = respond("any: html 503").await;
    assert_eq!(
        (status, headers["content-type"].as_bytes()),
        (503, &b"text/html"[..])
    );
    assert!(body.starts_with(b"<html>"));
    let (status, headers, _) = respond("any: too-many retry-after 3s reset 9999999999").await;
    assert_eq!((status, headers["retry-after"].as_bytes()), (429, &b"3"[..]));
    assert_eq!(headers["x-ratelimit-reset"], "9999999999");
    let (status, headers, _) = respond("any: redirect http://127.0.0.1:9/elsewhere").await;
    assert_eq!(
        (status, headers["location"].as_bytes()),
        (307, &b"http://127.0.0.1:9/elsewhere"[..])
    );
    let (status, _, body) = respond("any: status 418 as text/plain tea: short and stout").await;
    assert_eq!((status, &body[..]), (418, &b"tea: short and stout"[..]));
    sim.stop().await;
}

#[tokio::test]
async fn an_order_may_be_invisible_for_a_while() {
    let sim = fast_sim().await;
    sim.fault("submit_order: blind 1h").unwrap();
    let (status, order) = submit(&sim, market_order("unseen")).await;
    assert_eq!(status, 200);
    let (_, seen) = submit(&sim, market_order("seen")).await;
    let by_id = format!("/v2/orders/{}", order["id"].as_str().unwrap());
    let by_client = "/v2/orders:by_client_order_id?client_order_id=unseen";
    assert_eq!(get(&sim, &by_id).await.0, 404);
    assert_eq!(get(&sim, by_client).await.0, 404);
    let (_, list) = get(&sim, "/v2/orders?status=all").await;
    let ids: Vec<_> = list
        .as_array()
        .unwrap()
        .iter()
        .map(|order| &order["id"])
        .collect();
    assert_eq!(ids, [&seen["id"]]);
    assert_eq!(
        submit(&sim, market_order("unseen")).await.0,
        422,
        "it is taken all the same"
    );

    sim.fault("submit_order: blind 20ms").unwrap();
    let (_, order) = submit(&sim, market_order("soon")).await;
    let by_id = format!("/v2/orders/{}", order["id"].as_str().unwrap());
    let mut status = StatusCode::NOT_FOUND;
    for _ in 0..1_000 {
        status = get(&sim, &by_id).await.0;
        if status == 200 || status == 429 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(status, 200);
    sim.stop().await;
}

#[tokio::test]
async fn an_order_may_be_rejected_by_the_market_after_it_was_taken() {
    let sim = fast_sim().await;
    sim.fault("submit_order: reject").unwrap();
    assert_eq!(submit(&sim, market_order("rejected")).await.0, 200);
    let status = |id: &str| sim.order(id).map(|order| order.status.as_str());
    eventually("it is rejected", || status("rejected") == Some("rejected")).await;
    assert_eq!(submit(&sim, market_order("filled")).await.0, 200);
    eventually("the next one fills", || status("filled") == Some("filled")).await;
    sim.stop().await;
}

#[tokio::test]
async fn an_order_may_enter_the_book_after_its_answer() {
    let sim = fast_sim().await;
    sim.fault("submit_order: late-commit 20ms").unwrap();
    assert!(post(&sim, "late-cut").await.is_err());
    eventually("it entered", || sim.order("late-cut").is_some()).await;
    sim.fault("submit_order: late-commit 20ms status 504").unwrap();
    assert_eq!(post(&sim, "late-504").await.unwrap().status(), 504);
    eventually("it entered, too", || sim.order("late-504").is_some()).await;
    let late = || {
        let records = sim.truth(0);
        let late = records
            .iter()
            .filter(|record| record.contains(r#""kind":"late""#));
        late.filter(|record| record.contains(r#""status":200"#)).count()
    };
    eventually("both are in the truth log", || late() == 2).await;
    sim.stop().await;
}

#[tokio::test]
async fn a_share_of_requests_replays_with_the_seed() {
    let run = async |seed| {
        let config = SimConfig {
            seed,
            rate_limit_per_minute: 10_000,
            faults: vec!["get_clock 50%: status 503".parse().unwrap()],
            ..SimConfig::default()
        };
        let sim = sim(config).await;
        let mut statuses = Vec::new();
        for _ in 0..40 {
            statuses.push(get(&sim, "/v2/clock").await.0.as_u16());
        }
        sim.stop().await;
        statuses
    };
    let first = run(5).await;
    assert!(first.contains(&200) && first.contains(&503), "{first:?}");
    assert_eq!(first, run(5).await);
    assert_ne!(first, run(6).await);
}

#[tokio::test]
async fn a_request_that_hangs_does_not_hold_up_the_stop() {
    let sim = fast_sim().await;
    sim.fault("any always: hang").unwrap();
    let request = keyed(&sim, Method::GET, "/v2/clock").send();
    let stop = async {
        eventually("it arrived", || sim.requests_received() == 1).await;
        sim.stop().await;
    };
    let (answer, ()) = tokio::join!(request, stop);
    assert!(answer.is_err());
}
