//! Options turned into shares.

use super::*;

// The venue of these tests begins on 5 October 2026; both contracts end that Friday.
const CALL: &str = "SPY261009C00090000";
const PUT: &str = "SPY261009P00110000";

fn qty(desk: &mut Desk, symbol: &str) -> Option<String> {
    let (status, position) = desk.ask("GET", &format!("/v2/positions/{symbol}"), "");
    (status == 200).then(|| position["qty"].as_str().unwrap().to_owned())
}

fn cash(desk: &mut Desk) -> Decimal {
    desk.get("/v2/account")["cash"].as_str().unwrap().parse().unwrap()
}

#[test]
fn a_call_buys_the_shares_at_its_strike() {
    let mut desk = Desk::open();
    desk.trade(CALL, "buy", "2");
    let before = cash(&mut desk);
    let (status, body) = desk.ask("POST", &format!("/v2/positions/{CALL}/exercise"), "");
    assert_eq!(
        (status, body),
        (
            200,
            serde_json::json!({"qty_exercised": "2", "qty_remaining": "0"})
        )
    );
    assert_eq!(qty(&mut desk, CALL), None);
    assert_eq!(qty(&mut desk, "SPY").as_deref(), Some("200"));
    assert_eq!(before - cash(&mut desk), Decimal::from(18_000));
    let rows = desk.get("/v2/account/activities?category=non_trade_activity&direction=asc");
    let row = |at: usize| {
        ["activity_type", "symbol", "qty", "price", "net_amount"]
            .map(|key| rows[at][key].as_str().unwrap().to_owned())
    };
    assert_eq!(row(0), ["OPEXC", CALL, "-2", "0", "0"]);
    assert_eq!(row(1), ["OPTRD", "SPY", "200", "90", "-18000"]);
}

#[test]
fn a_put_sells_shares_that_are_held_and_free() {
    let mut desk = Desk::open();
    desk.trade(PUT, "buy", "1");
    let path = format!("/v2/positions/{PUT}/exercise");
    assert_eq!(desk.ask("POST", &path, "").0, 403, "there are no shares to sell");
    desk.trade("SPY", "buy", "100");
    let resting = r#"{"symbol":"SPY","qty":"1","side":"sell","type":"limit","limit_price":"200","time_in_force":"day"}"#;
    let (_, order) = desk.post(resting);
    assert_eq!(
        desk.ask("POST", &path, "").0,
        403,
        "an open order keeps one share"
    );
    desk.ask(
        "DELETE",
        &format!("/v2/orders/{}", order["id"].as_str().unwrap()),
        "",
    );
    let before = cash(&mut desk);
    assert_eq!(desk.ask("POST", &path, "").0, 200);
    assert_eq!((qty(&mut desk, PUT), qty(&mut desk, "SPY")), (None, None));
    assert_eq!(cash(&mut desk) - before, Decimal::from(11_000));
}

#[test]
fn what_cannot_be_exercised_is_refused() {
    let mut desk = Desk::open();
    desk.trade("SPY", "buy", "100");
    desk.trade(CALL, "sell", "1");
    let status = |desk: &mut Desk, symbol: &str| {
        desk.ask("POST", &format!("/v2/positions/{symbol}/exercise"), "")
            .0
    };
    assert_eq!(status(&mut desk, "NOPE"), 404);
    assert_eq!(status(&mut desk, PUT), 404);
    assert_eq!(status(&mut desk, "SPY"), 422);
    assert_eq!(status(&mut desk, CALL), 422, "it was written, not bought");
    desk.trade(PUT, "buy", "1");
    desk.pass(5.days());
    assert_eq!(status(&mut desk, PUT), 422, "it is over");
}

#[test]
fn a_contract_is_kept_from_exercise_on_its_last_day_alone() {
    let mut desk = Desk::open();
    desk.trade(CALL, "buy", "1");
    let path = format!("/v2/positions/{CALL}/do-not-exercise");
    assert_eq!(desk.ask("POST", &path, "").0, 422);
    desk.pass(4.days());
    assert_eq!(desk.ask("POST", &path, ""), (200, serde_json::Value::Null));
}
