//! The account's settings.

use super::*;

const PATH: &str = "/v2/account/configurations";
const BUY: &str = r#"{"symbol":"SPY","qty":"1","side":"buy","type":"market","time_in_force":"day","client_order_id":"once"}"#;

#[test]
fn a_change_is_partial_and_answered_with_the_whole() {
    let mut desk = Desk::open();
    let mut expected = desk.get(PATH);
    // The whole of what was read, nulls included, as one client sends it.
    let (status, answered) = desk.ask("PATCH", PATH, &expected.to_string());
    assert_eq!((status, &answered), (200, &expected));
    let change = r#"{"no_shorting":true,"max_margin_multiplier":2,"trade_confirm_email":"none","dtbp_check":null,
        "max_options_trading_level":1}"#;
    let (status, answered) = desk.ask("PATCH", PATH, change);
    for (key, value) in [
        ("no_shorting", true.into()),
        ("max_margin_multiplier", "2".into()),
        ("trade_confirm_email", "none".into()),
        ("max_options_trading_level", 1.into()),
    ] {
        expected[key] = value;
    }
    assert_eq!((status, &answered), (200, &expected));
    assert_eq!(desk.get(PATH), expected);
    let account = desk.get("/v2/account");
    assert_eq!(account["shorting_enabled"], false);
    assert_eq!(account["options_trading_level"], 1);
}

#[test]
fn a_setting_nobody_knows_is_refused_and_changes_nothing() {
    let mut desk = Desk::open();
    let before = desk.get(PATH);
    for (body, status) in [
        (r#"{"no_shorting":true,"dtbp_check":"never"}"#, 422),
        (r#"{"no_shorting":true,"max_margin_multiplier":"3"}"#, 422),
        (r#"{"no_shorting":true,"max_options_trading_level":4}"#, 422),
        (r#"{"no_shorting":true,"max_options_trading_level":-1}"#, 422),
        (r#"{"no_shorting":1}"#, 400),
        (r#"{"no_shorting":true,"trade_confirm_email":{}}"#, 422),
        ("", 400),
    ] {
        assert_eq!(desk.ask("PATCH", PATH, body).0, status, "{body}");
    }
    assert_eq!(desk.get(PATH), before);
}

#[test]
fn a_suspended_account_takes_no_orders_but_knows_those_it_took() {
    let mut desk = Desk::open();
    assert_eq!(desk.post(BUY).0, 200);
    desk.ask("PATCH", PATH, r#"{"suspend_trade":true}"#);
    assert_eq!(desk.get("/v2/account")["trade_suspended_by_user"], true);
    let refused = (403, "new orders are rejected by user request".to_owned());
    assert_eq!(
        desk.refusal("POST", "/v2/orders", &BUY.replace("once", "new")),
        refused
    );
    assert_eq!(desk.refusal("DELETE", "/v2/positions/SPY", ""), refused);
    let repeated = desk.refusal("POST", "/v2/orders", BUY);
    assert_eq!(repeated, (422, "client_order_id must be unique".to_owned()));
    desk.ask("PATCH", PATH, r#"{"suspend_trade":false}"#);
    assert_eq!(desk.ask("DELETE", "/v2/positions/SPY", "").0, 200);
}

#[test]
fn what_the_owner_ruled_out_is_refused_and_the_rest_trades() {
    let mut desk = Desk::open();
    let order = |side: &str, qty: &str| {
        format!(r#"{{"symbol":"SPY","qty":"{qty}","side":"{side}","type":"market","time_in_force":"day"}}"#)
    };
    desk.ask(
        "PATCH",
        PATH,
        r#"{"no_shorting":true,"fractional_trading":false}"#,
    );
    let refusal = desk.refusal("POST", "/v2/orders", &order("sell", "1"));
    assert_eq!(refusal, (403, "account is not allowed to short".to_owned()));
    assert_eq!(desk.post(&order("buy", "1.5")).0, 403);
    desk.trade("SPY", "buy", "2");
    desk.ask("PATCH", PATH, r#"{"closing_transactions_only":true}"#);
    assert_eq!(desk.post(&order("buy", "1")).0, 403);
    assert_eq!(desk.post(&order("sell", "2")).0, 200);
}
