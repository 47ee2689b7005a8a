//! Lists of orders.

use super::*;

const NOBODY: &str = "00000000-0000-4000-8000-000000000000";

#[test]
fn a_cursor_names_the_order_that_a_list_begins_beside() {
    let mut desk = Desk::open();
    let ids: Vec<_> = (0..5)
        .map(|number| {
            let (_, order) = desk.post(&format!(
                r#"{{"symbol":"SPY","qty":"1","side":"buy","type":"limit","limit_price":"5{number}","time_in_force":"day"}}"#
            ));
            order["id"].as_str().unwrap().to_owned()
        })
        .collect();
    desk.ask("DELETE", &format!("/v2/orders/{}", ids[1]), "");
    let mut list = |query: &str| -> Vec<usize> {
        let rows = desk.get(&format!("/v2/orders?{}", query.replace("{2}", &ids[2])));
        let place = |row: &serde_json::Value| ids.iter().position(|id| row["id"] == id.as_str()).unwrap();
        rows.as_array().unwrap().iter().map(place).collect()
    };
    assert_eq!(list("status=all&before_order_id={2}"), [1, 0]);
    assert_eq!(list("status=all&after_order_id={2}"), [4, 3]);
    assert_eq!(list("before_order_id={2}"), [0]);
    assert_eq!(list("after_order_id={2}&direction=asc"), [3, 4]);
    assert_eq!(list("status=closed&before_order_id={2}"), [1]);
    assert_eq!(list("status=all&before_order_id={2}&limit=1"), [1]);
}

#[test]
fn orders_of_one_moment_are_told_apart_by_a_cursor() {
    let mut desk = Desk::open();
    let bracket = r#"{"symbol":"SPY","qty":"1","side":"buy","type":"limit","limit_price":"50","time_in_force":"day",
        "order_class":"bracket","take_profit":{"limit_price":"60"},"stop_loss":{"stop_price":"40"}}"#;
    let (_, parent) = desk.post(bracket);
    let id = parent["id"].as_str().unwrap();
    let count = |rows: &serde_json::Value| rows.as_array().unwrap().len();
    assert_eq!(
        count(&desk.get(&format!("/v2/orders?status=all&after_order_id={id}"))),
        2
    );
    assert_eq!(
        count(&desk.get(&format!("/v2/orders?status=all&before_order_id={id}"))),
        0
    );
}

#[test]
fn a_value_that_a_parameter_cannot_be_is_refused() {
    let mut desk = Desk::open();
    desk.trade("SPY", "buy", "2");
    for (method, target, status) in [
        ("GET", "/v2/orders?status=resting", 422),
        ("GET", "/v2/orders?limit=-1", 422),
        ("GET", "/v2/orders?side=long", 422),
        ("GET", "/v2/orders?direction=up", 422),
        ("GET", "/v2/orders?after=noon", 422),
        ("GET", "/v2/orders?asset_class=us_equity,stocks", 422),
        ("GET", "/v2/orders?asset_class=us_equity,ipo", 200),
        ("GET", "/v2/orders/5", 422),
        ("DELETE", "/v2/orders/5", 422),
        ("PATCH", "/v2/orders/5", 422),
        ("GET", "/v2/orders:by_client_order_id", 422),
        ("GET", "/v2/orders:by_client_order_id?client_order_id=nobody", 404),
        ("DELETE", "/v2/positions/SPY?qty=all", 422),
        ("DELETE", "/v2/positions/SPY?qty=0", 422),
        ("DELETE", "/v2/positions/SPY?qty=-1", 422),
        ("DELETE", "/v2/positions/SPY?percentage=101", 422),
        ("DELETE", "/v2/positions/SPY?percentage=0", 422),
        ("DELETE", "/v2/positions/SPY?qty=1&percentage=50", 422),
        ("DELETE", "/v2/positions/SPY?qty=3", 403),
        ("DELETE", "/v2/positions/F", 404),
        ("GET", "/v2/calendar?start=monday", 422),
        ("GET", "/v2/calendar?date_type=HOLIDAY", 422),
        ("GET", "/v2/assets/NOPE", 404),
    ] {
        let (answered, body) = desk.ask(method, target, "{}");
        assert_eq!(answered, status, "{method} {target} {body}");
        assert!(
            status == 200 || body["code"].is_u64() && body["message"].is_string(),
            "{target} {body}"
        );
    }
    assert_eq!(desk.get("/v2/positions/SPY")["qty"], "2");
}

#[test]
fn the_calendar_goes_by_trading_or_by_settlement() {
    let mut desk = Desk::open();
    let mut days = |query: &str| {
        let rows = desk.get(&format!("/v2/calendar?start=2026-10-05&end=2026-10-09{query}"));
        let date = |row: &serde_json::Value| row["date"].as_str().unwrap().to_owned();
        rows.as_array().unwrap().iter().map(date).collect::<Vec<_>>()
    };
    let traded = [
        "2026-10-05",
        "2026-10-06",
        "2026-10-07",
        "2026-10-08",
        "2026-10-09",
    ];
    assert_eq!(days(""), traded);
    assert_eq!(days("&date_type=TRADING"), traded);
    let settled = [
        "2026-10-02",
        "2026-10-05",
        "2026-10-06",
        "2026-10-07",
        "2026-10-08",
    ];
    assert_eq!(days("&date_type=SETTLEMENT"), settled);
}

#[test]
fn a_cursor_that_makes_no_sense_is_refused() {
    let mut desk = Desk::open();
    for (query, status) in [
        ("before_order_id=5".to_owned(), 422),
        (format!("after_order_id={NOBODY}"), 404),
        (format!("after_order_id={NOBODY}&before_order_id={NOBODY}"), 422),
        (format!("after_order_id={NOBODY}&until=2026-10-05"), 422),
    ] {
        assert_eq!(
            desk.ask("GET", &format!("/v2/orders?{query}"), "").0,
            status,
            "{query}"
        );
    }
}
