//! The admin endpoint, as curl and scripts use it.

use super::*;

async fn admin(sim: &Sim, method: Method, path: &str, body: &str) -> (u16, Value) {
    let url = format!("{}/_sim/{path}", sim.base_url());
    let response = client()
        .request(method, url)
        .body(body.to_owned())
        .send()
        .await
        .unwrap();
    let status = response.status().as_u16();
    (
        status,
        serde_json::from_str(&response.text().await.unwrap()).unwrap(),
    )
}

#[tokio::test]
async fn faults_are_written_listed_and_taken_back() {
    let sim = fast_sim().await;
    let two = "submit_order x2: status 503 {}\n\n  get_clock always: hang\n";
    let (status, added) = admin(&sim, Method::POST, "faults", two).await;
    assert_eq!(status, 200);
    let expected = json!([
        {"id": 1, "fault": "submit_order x2: status 503 {}"},
        {"id": 2, "fault": "get_clock always: hang"},
    ]);
    assert_eq!(added, expected);
    assert_eq!(submit(&sim, market_order("a")).await.0, 503);
    let (_, list) = admin(&sim, Method::GET, "faults", "").await;
    assert_eq!(list[0]["fault"], "submit_order x1: status 503 {}");
    assert_eq!(admin(&sim, Method::DELETE, "faults/2", "").await.0, 200);
    assert_eq!(admin(&sim, Method::DELETE, "faults/2", "").await.0, 404);
    assert_eq!(get(&sim, "/v2/clock").await.0, 200);
    let bad = json!({"faults": ["get_clock: hang", "get_clock: explode"]}).to_string();
    let (status, error) = admin(&sim, Method::POST, "faults", &bad).await;
    assert_eq!(status, 422);
    let message = error["message"].as_str().unwrap();
    assert!(
        message.contains("explode") && message.contains("hang"),
        "{message}"
    );
    let one = json!({"fault": "stream: refuse 1h"}).to_string();
    assert_eq!(admin(&sim, Method::POST, "faults", &one).await.0, 200);
    assert!(connect(&sim).await.is_err());
    assert_eq!(admin(&sim, Method::DELETE, "faults", "").await.0, 200);
    assert_eq!(sim.script().pending(), 0, "all or nothing, and now nothing");
    assert_eq!(submit(&sim, market_order("a")).await.0, 200);
    sim.stop().await;
}

#[tokio::test]
async fn the_venue_is_moved_by_hand() {
    let sim = fast_sim().await;
    let post = async |path: &str, body: Value| admin(&sim, Method::POST, path, &body.to_string()).await;
    assert_eq!(
        post("price", json!({"symbol": "SPY", "price": "123.45"})).await.0,
        200
    );
    fn resting() -> Value {
        let mut order = market_order("resting");
        order["type"] = json!("limit");
        order["limit_price"] = json!("1");
        order
    }
    submit(&sim, resting()).await;
    eventually("it works", || {
        sim.order("resting").is_some_and(|order| order.working)
    })
    .await;
    let fill = json!({"order": "resting", "qty": 1, "price": "0.5"});
    assert_eq!(post("fill", fill.clone()).await.0, 200);
    assert_eq!(sim.snapshot().fills()[0].price.to_string(), "0.5");
    assert_eq!(post("reject", json!({"count": 1})).await.0, 200);
    submit(&sim, market_order("rejected")).await;
    eventually("it is rejected", || {
        sim.order("rejected")
            .is_some_and(|order| order.status.as_str() == "rejected")
    })
    .await;
    assert_eq!(post("market", json!({"market": "closed"})).await.0, 200);
    let (_, order) = submit(&sim, market_order("parked")).await;
    assert_eq!(order["status"], "accepted");
    let (_, state) = admin(&sim, Method::GET, "state", "").await;
    assert_eq!(
        (
            &state["market"],
            &state["orders"],
            &state["open_orders"],
            &state["fills"],
            &state["seed"]
        ),
        (&json!("closed"), &json!(3), &json!(1), &json!(1), &json!(1))
    );
    let mut socket = listening(&sim).await;
    assert_eq!(admin(&sim, Method::POST, "frame", "{\"any\": 1}").await.0, 200);
    assert_eq!(hear(&mut socket).await, json!({"any": 1}));
    sim.stop().await;
}

#[tokio::test]
async fn what_cannot_be_done_is_said_clearly() {
    let sim = fast_sim().await;
    let check = async |method: Method, path: &str, body: &str, expected: u16, part: &str| {
        let (status, answer) = admin(&sim, method, path, body).await;
        let message = answer["message"].as_str().unwrap_or_default();
        assert!(
            status == expected && message.contains(part),
            "{path} {body}: {status} {message}"
        );
    };
    check(Method::GET, "nonsense", "", 404, "state, faults, price").await;
    check(Method::PUT, "price", "", 404, "PUT").await;
    check(Method::POST, "price", "{", 422, "body cannot be read").await;
    check(
        Method::POST,
        "price",
        r#"{"symbol":"SPY","price":"-1"}"#,
        422,
        "price must be",
    )
    .await;
    check(
        Method::POST,
        "price",
        r#"{"symbol":"SPY","prise":"1"}"#,
        422,
        "prise",
    )
    .await;
    check(
        Method::POST,
        "market",
        r#"{"market":"ajar"}"#,
        422,
        "open, closed, calendar",
    )
    .await;
    check(
        Method::POST,
        "fill",
        r#"{"order":"x","qty":"1","price":"1"}"#,
        404,
        "order not found",
    )
    .await;
    check(Method::POST, "faults", "", 422, "no fault is given").await;
    check(Method::GET, "truth?since=x", "", 422, "since").await;
    let page = client()
        .post(format!("{}/_sim/price", sim.base_url()))
        .header("origin", "https://example.com")
        .send()
        .await
        .unwrap();
    assert_eq!(page.status(), 403);
    sim.stop().await;
}
