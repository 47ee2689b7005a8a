//! Assets and option contracts.

use super::*;

const PATH: &str = "/v2/options/contracts";

fn symbols(rows: &serde_json::Value) -> Vec<String> {
    let rows = rows.as_array().unwrap().iter();
    rows.map(|row| row["symbol"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn assets_are_chosen_by_every_filter() {
    let mut desk = Desk::open();
    let mut named = |query: &str| symbols(&desk.get(&format!("/v2/assets{query}")));
    assert_eq!(named("").len(), 14);
    assert_eq!(
        named("?status=active&asset_class=crypto"),
        ["BTC/USD", "ETH/USD", "SOL/USD"]
    );
    assert_eq!(named("?status=inactive"), [""; 0]);
    assert_eq!(named("?exchange=NYSE"), ["BRK.B", "F"]);
    assert_eq!(named("?attributes=has_options,ptp_no_exception").len(), 11);
    assert_eq!(named("?attributes=ptp_no_exception"), [""; 0]);
    for query in ["status=dead", "asset_class=stocks", "exchange=MARS"] {
        assert_eq!(
            desk.ask("GET", &format!("/v2/assets?{query}"), "").0,
            422,
            "{query}"
        );
    }
}

#[test]
fn contracts_are_chosen_by_every_filter() {
    let mut desk = Desk::open();
    let mut found = |query: &str| {
        let page = desk.get(&format!("{PATH}?limit=10000&{query}"));
        page["option_contracts"].as_array().unwrap().clone()
    };
    let all = found("expiration_date_gte=2026-10-05");
    assert_eq!(all.len(), 11 * 8 * 21 * 2);
    let weekend = found("");
    assert!(weekend.iter().all(|row| row["expiration_date"] == "2026-10-09"));
    assert_eq!(weekend.len(), all.len() / 8);
    let one = found(
        "underlying_symbols=SPY&expiration_date=2026-10-16&type=put&strike_price_gte=600&strike_price_lte=600",
    );
    assert_eq!(one.len(), 1);
    for (key, value) in [
        ("symbol", "SPY261016P00600000"),
        ("name", "SPY Oct 16 2026 600 Put"),
        ("status", "active"),
        ("root_symbol", "SPY"),
        ("underlying_symbol", "SPY"),
        ("type", "put"),
        ("style", "american"),
        ("strike_price", "600"),
        ("size", "100"),
        // The Friday before.
        ("close_price_date", "2026-10-02"),
    ] {
        assert_eq!(one[0][key], value, "{key}");
    }
    assert_eq!(found("underlying_symbols=SPY,BRK.B").len(), 84);
    assert_eq!(found("root_symbol=BRKB").len(), 42);
    assert_eq!(found("underlying_symbols=NOPE").len(), 0);
    assert_eq!(found("status=inactive").len(), 0);
    for query in [
        "type=both",
        "expiration_date=soon",
        "limit=few",
        "strike_price_gte=x",
        "status=x",
        "style=x",
    ] {
        assert_eq!(desk.ask("GET", &format!("{PATH}?{query}"), "").0, 422, "{query}");
    }
}

#[test]
fn on_a_weekend_the_next_one_counts() {
    let mut desk = Desk::open();
    desk.pass(6.days());
    let page = desk.get(&format!("{PATH}?underlying_symbols=SPY"));
    let rows = page["option_contracts"].as_array().unwrap();
    assert_eq!(rows.len(), 42);
    assert!(rows.iter().all(|row| row["expiration_date"] == "2026-10-16"));
}

#[test]
fn pages_of_contracts_hold_every_one_once() {
    let mut desk = Desk::open();
    let query = "underlying_symbols=SPY,F&expiration_date_lte=2026-10-16";
    let whole = symbols(&desk.get(&format!("{PATH}?limit=1000&{query}"))["option_contracts"]);
    assert_eq!(whole.len(), 2 * 2 * 21 * 2);
    let (mut paged, mut token) = (Vec::new(), String::new());
    loop {
        let page = desk.get(&format!("{PATH}?limit=30&{query}{token}"));
        paged.extend(symbols(&page["option_contracts"]));
        match page["next_page_token"].as_str() {
            Some(next) => token = format!("&page_token={next}"),
            None => break,
        }
    }
    assert_eq!(paged, whole);
}

#[test]
fn a_contract_is_found_by_symbol_and_by_id() {
    let mut desk = Desk::open();
    let by_symbol = desk.get(&format!("{PATH}/SPY261016P00600000"));
    let by_id = desk.get(&format!("{PATH}/{}", by_symbol["id"].as_str().unwrap()));
    assert_eq!(by_symbol, by_id);
    assert_eq!(
        desk.get(&format!("{PATH}/SPY261002P00600000"))["status"],
        "inactive"
    );
    for nobody in ["SPY", "NOPE", "00000000-0000-4000-8000-000000000000"] {
        assert_eq!(
            desk.ask("GET", &format!("{PATH}/{nobody}"), "").0,
            404,
            "{nobody}"
        );
    }
}
