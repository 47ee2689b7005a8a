//! The history of the account's worth.

use super::*;

const PATH: &str = "/v2/account/portfolio/history";

fn moments(curve: &serde_json::Value) -> Vec<String> {
    let moments = curve["timestamp"].as_array().unwrap().iter();
    moments
        .map(|at| Timestamp::from_second(at.as_i64().unwrap()).unwrap().to_string())
        .collect()
}

/// Ten SPY bought on Monday at 100 or a little more, and a price for each day.
fn week() -> Desk {
    let mut desk = Desk::open();
    desk.trade("SPY", "buy", "10");
    for price in [110, 90, 120] {
        desk.price("SPY", price);
        desk.pass(1.day());
    }
    desk
}

fn rounded(curve: &serde_json::Value, key: &str) -> Vec<i64> {
    let values = curve[key].as_array().unwrap().iter();
    // The spread costs less than half a dollar.
    values
        .map(|value| {
            value
                .to_string()
                .parse::<Decimal>()
                .unwrap()
                .round_dp(0)
                .try_into()
                .unwrap()
        })
        .collect()
}

#[test]
fn a_day_is_worth_what_the_account_was_at_its_end() {
    let mut desk = week();
    let curve = desk.get(PATH);
    let days = [
        "2026-10-05T04:00:00Z",
        "2026-10-06T04:00:00Z",
        "2026-10-07T04:00:00Z",
        "2026-10-08T04:00:00Z",
    ];
    assert_eq!(moments(&curve), days);
    assert_eq!(
        (&curve["timeframe"], &curve["base_value"]),
        (&"1D".into(), &100_000.into())
    );
    assert_eq!(curve["base_value_asof"], "2026-10-04");
    assert_eq!(rounded(&curve, "equity"), [100_100, 99_900, 100_200, 100_200]);
    assert_eq!(rounded(&curve, "profit_loss"), [100, -100, 200, 200]);
    let ratio = curve["profit_loss_pct"][3]
        .to_string()
        .parse::<Decimal>()
        .unwrap();
    assert_eq!(ratio.round_dp(4), Decimal::new(20, 4));
    let equity: Decimal = desk.get("/v2/account")["equity"]
        .as_str()
        .unwrap()
        .parse()
        .unwrap();
    assert_eq!(curve["equity"][3].to_string().parse::<Decimal>().unwrap(), equity);
}

#[test]
fn gains_within_a_day_count_from_the_day_before_or_from_the_beginning() {
    let mut desk = week();
    let ask = "?period=4D&timeframe=1H";
    let (daily, whole) = (
        desk.get(&format!("{PATH}{ask}")),
        desk.get(&format!("{PATH}{ask}&pnl_reset=no_reset")),
    );
    assert_eq!(daily["timestamp"], whole["timestamp"]);
    assert_eq!(moments(&daily)[0], "2026-10-05T14:00:00Z");
    // Each price was set at ten in the morning, and the day begins at midnight.
    let last_of = |curve: &serde_json::Value, day: &str| {
        let at = moments(curve).iter().rposition(|at| at.as_str() < day).unwrap();
        rounded(curve, "profit_loss")[at]
    };
    let ends = [
        "2026-10-06T04:00:00Z",
        "2026-10-07T04:00:00Z",
        "2026-10-08T04:00:00Z",
    ];
    assert_eq!(ends.map(|day| last_of(&whole, day)), [100, -100, 200]);
    assert_eq!(ends.map(|day| last_of(&daily, day)), [100, -200, 300]);
}

#[test]
fn a_market_that_keeps_hours_has_windows_in_them_alone() {
    let mut desk = Desk::open();
    desk.exchange.set_market(desk.now, Market::Calendar);
    desk.pass(14.days());
    let count = |desk: &mut Desk, query: &str| moments(&desk.get(&format!("{PATH}?{query}"))).len();
    assert_eq!(count(&mut desk, "timeframe=1D&period=1M"), 11);
    assert_eq!(
        count(&mut desk, "timeframe=1H&start=2026-10-08&end=2026-10-12"),
        3 * 7
    );
    assert_eq!(
        count(
            &mut desk,
            "timeframe=1H&date_start=2026-10-08&date_end=2026-10-08&extended_hours=true"
        ),
        16
    );
    assert_eq!(
        count(
            &mut desk,
            "timeframe=1H&start=2026-10-10&period=1D&intraday_reporting=continuous"
        ),
        24
    );
    assert_eq!(
        count(&mut desk, "timeframe=15Min&start=2026-10-10&end=2026-10-11"),
        0
    );
    assert_eq!(
        count(&mut desk, "period=1D"),
        31,
        "the last began half an hour after the open"
    );
    assert_eq!(count(&mut desk, "timeframe=1D&end=2026-10-09&period=2D"), 2);
}

#[test]
fn a_question_that_makes_no_sense_is_refused() {
    let mut desk = Desk::open();
    for query in [
        "period=1X",
        "period=M",
        "period=0D",
        "period=99999999D",
        "period=1A&timeframe=1H",
        "period=1M&timeframe=1Min",
        "timeframe=2Min",
        "intraday_reporting=never",
        "pnl_reset=often",
        "start=2026-10-01&end=2026-10-02&period=1D",
        "start=2026-10-03&end=2026-10-01",
        "start=soon",
    ] {
        assert_eq!(desk.ask("GET", &format!("{PATH}?{query}"), "").0, 422, "{query}");
    }
}
