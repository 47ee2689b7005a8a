//! The account's history.

use super::*;

const PATH: &str = "/v2/account/activities";

fn desk() -> Desk {
    let mut desk = Desk::open();
    for qty in ["1", "2", "3"] {
        desk.trade("SPY", "buy", qty);
        desk.trade("BTC/USD", "buy", "0.01");
    }
    desk.trade("BTC/USD", "sell", "0.02");
    desk
}

fn ids(rows: &serde_json::Value) -> Vec<String> {
    let rows = rows.as_array().unwrap().iter();
    rows.map(|row| row["id"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_crypto_execution_is_followed_by_its_fee() {
    let mut desk = desk();
    let rows = desk.get(&format!("{PATH}?direction=asc"));
    let kinds: Vec<_> = rows
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["activity_type"].as_str().unwrap())
        .collect();
    let expected = [
        "FILL", "FILL", "CFEE", "FILL", "FILL", "CFEE", "FILL", "FILL", "CFEE", "FILL", "CFEE",
    ];
    assert_eq!(kinds, expected);
    let (bought, sold) = (&rows[2], &rows[10]);
    assert_eq!(
        (&bought["symbol"], &bought["qty"], &bought["net_amount"]),
        (&"BTCUSD".into(), &"-0.000025".into(), &"0".into())
    );
    assert_eq!(sold["qty"], "0");
    let price: Decimal = rows[9]["price"].as_str().unwrap().parse().unwrap();
    let fee = (price * Decimal::new(2, 2) * Decimal::new(25, 4)).normalize();
    assert_eq!(sold["net_amount"], (-fee).to_string());
}

#[test]
fn pages_in_either_direction_hold_every_row_once() {
    let mut desk = desk();
    let all = ids(&desk.get(PATH));
    assert_eq!(all.len(), 11);
    for (direction, size) in [("asc", 1), ("asc", 4), ("desc", 3), ("desc", 11)] {
        let mut paged = Vec::new();
        loop {
            let token = paged
                .last()
                .map(|id| format!("&page_token={id}"))
                .unwrap_or_default();
            let page = ids(&desk.get(&format!("{PATH}?direction={direction}&page_size={size}{token}")));
            let is_last = page.len() < size;
            paged.extend(page);
            if is_last {
                break;
            }
        }
        if direction == "asc" {
            paged.reverse();
        }
        assert_eq!(paged, all, "{direction} {size}");
    }
    assert_eq!(
        desk.get(&format!("{PATH}?page_token=nobody")),
        serde_json::json!([])
    );
}

#[test]
fn rows_are_chosen_by_kind_category_and_time() {
    let mut desk = desk();
    let count = |desk: &mut Desk, query: &str| desk.get(&format!("{PATH}{query}")).as_array().unwrap().len();
    assert_eq!(count(&mut desk, "/FILL"), 7);
    assert_eq!(count(&mut desk, "/CFEE"), 4);
    assert_eq!(count(&mut desk, "/DIV"), 0);
    assert_eq!(count(&mut desk, "?activity_types=FILL,CFEE"), 11);
    assert_eq!(count(&mut desk, "?activity_types=CFEE&page_size=3"), 3);
    assert_eq!(count(&mut desk, "?category=trade_activity"), 7);
    assert_eq!(count(&mut desk, "?category=non_trade_activity"), 4);
    assert_eq!(count(&mut desk, "?date=2026-10-05"), 11);
    assert_eq!(count(&mut desk, "?date=2026-10-06"), 0);
    let third = desk.get(&format!("{PATH}/FILL?direction=asc"))[2]["transaction_time"]
        .as_str()
        .unwrap()
        .to_owned();
    assert_eq!(count(&mut desk, &format!("/FILL?after={third}")), 4);
    assert_eq!(count(&mut desk, &format!("/FILL?until={third}")), 2);
}

#[test]
fn a_question_that_makes_no_sense_is_refused() {
    let mut desk = Desk::open();
    for query in [
        "/FIL",
        "?activity_types=FILL,NONSENSE",
        "?category=all",
        "?category=trade_activity&activity_types=FILL",
        "?direction=up",
        "?after=yesterday",
        "?page_size=many",
    ] {
        assert_eq!(desk.ask("GET", &format!("{PATH}{query}"), "").0, 422, "{query}");
    }
}
