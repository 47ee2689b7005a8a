use std::sync::Arc;

use proptest::prelude::*;
use serde_json::Value;

use super::super::super::core::Market;
use super::super::super::core::tape::TapeConfig;
use super::*;

struct Venue {
    tape: Tape,
    assets: Arc<Assets>,
    plan: DataPlan,
}

const NOW: &str = "2026-10-05T15:00:30Z";

impl Venue {
    fn new() -> Self {
        let assets = Arc::new(Assets::new());
        let config = TapeConfig {
            market: Market::Calendar,
            ..TapeConfig::default()
        };
        Self {
            tape: Tape::new(
                config,
                Arc::clone(&assets),
                "2026-10-05T13:00:00Z".parse().unwrap(),
            ),
            assets,
            plan: DataPlan::Basic,
        }
    }

    fn ask(&self, path: &str) -> (u16, Value) {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        let query = Query(
            pairs
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .collect(),
        );
        let history = History {
            tape: &self.tape,
            assets: &self.assets,
            plan: self.plan,
            seed: 1,
            now: NOW.parse().unwrap(),
        };
        let answer = history.answer(&DataCall::find(path).unwrap(), &query);
        (
            answer.status,
            serde_json::from_str(&answer.body).unwrap_or_else(|error| panic!("{error}: {}", answer.body)),
        )
    }

    fn get(&self, path: &str) -> Value {
        let (status, body) = self.ask(path);
        assert_eq!(status, 200, "{path}: {body}");
        body
    }
}

#[test]
fn bars_come_by_symbol_or_alone() {
    let venue = Venue::new();
    let many = venue.get(
        "/v2/stocks/bars?symbols=SPY,AAPL,NOPE&timeframe=1Day&start=2026-09-28&end=2026-10-02&adjustment=all",
    );
    assert_eq!(
        many["bars"].as_object().unwrap().keys().collect::<Vec<_>>(),
        ["AAPL", "SPY"]
    );
    let week = many["bars"]["AAPL"].as_array().unwrap();
    assert_eq!(
        (week.len(), &week[0]["t"]),
        (5, &Value::from("2026-09-28T04:00:00Z"))
    );
    assert!(many["next_page_token"].is_null());
    let one = venue.get("/v2/stocks/AAPL/bars?timeframe=1Day&start=2026-09-28&end=2026-10-02");
    assert_eq!(
        (&one["symbol"], &one["bars"]),
        (&Value::from("AAPL"), &many["bars"]["AAPL"])
    );
    let weekly = venue.get("/v2/stocks/AAPL/bars?timeframe=1Week&start=2026-09-28&end=2026-10-02");
    assert_eq!(
        (weekly["bars"].as_array().unwrap().len(), &weekly["bars"][0]["o"]),
        (1, &week[0]["o"])
    );
    let weekend = venue.get(
        "/v2/stocks/bars?symbols=SPY&timeframe=1Min&start=2026-10-03T05:00:00Z&end=2026-10-04T05:00:00Z",
    );
    assert_eq!(weekend, serde_json::json!({"bars": {}, "next_page_token": null}));
    let today = venue.get("/v1beta3/crypto/us/bars?symbols=BTC/USD&timeframe=1Hour");
    assert_eq!(
        today["bars"]["BTC/USD"].as_array().unwrap().len(),
        11,
        "hours of today that are over"
    );
}

#[test]
fn the_newest_and_the_snapshots_agree() {
    let venue = Venue::new();
    let trade = venue.get("/v2/stocks/SPY/trades/latest");
    assert_eq!(trade["symbol"], "SPY");
    let snapshots = venue.get("/v2/stocks/snapshots?symbols=SPY,NOPE");
    assert_eq!(snapshots["SPY"]["latestTrade"], trade["trade"]);
    assert_eq!(snapshots.as_object().unwrap().len(), 1);
    let one = venue.get("/v2/stocks/SPY/snapshot");
    assert_eq!(
        (&one["symbol"], &one["dailyBar"]),
        (&Value::from("SPY"), &snapshots["SPY"]["dailyBar"])
    );
    assert_eq!(one["minuteBar"]["t"], "2026-10-05T14:59:00Z");
    assert_eq!(one["prevDailyBar"]["t"], "2026-10-02T04:00:00Z");
    let bars = venue.get("/v2/stocks/bars/latest?symbols=SPY");
    assert_eq!(bars["bars"]["SPY"], one["minuteBar"]);
    let coins = venue.get("/v1beta3/crypto/us/snapshots?symbols=BTC/USD,ETH/USD");
    assert_eq!(coins["snapshots"].as_object().unwrap().len(), 2);
    let book = venue.get("/v1beta3/crypto/us/latest/orderbooks?symbols=BTC/USD");
    assert_eq!(book["orderbooks"]["BTC/USD"]["b"].as_array().unwrap().len(), 10);
}

#[test]
fn options_have_a_chain_with_greeks() {
    let venue = Venue::new();
    let chain = venue.get("/v1beta1/options/snapshots/AAPL?type=call&limit=5");
    let contracts = chain["snapshots"].as_object().unwrap();
    assert_eq!(contracts.len(), 5);
    for (symbol, snapshot) in contracts {
        assert!(symbol.starts_with("AAPL261009C"), "{symbol}");
        let delta = snapshot["greeks"]["delta"].as_f64().unwrap();
        assert!((0.0..=1.0).contains(&delta) && snapshot["impliedVolatility"].is_number());
        assert_eq!(snapshot["latestTrade"]["c"], "a");
    }
    let token = chain["next_page_token"].as_str().unwrap();
    let next = venue.get(&format!(
        "/v1beta1/options/snapshots/AAPL?type=call&limit=5&page_token={token}"
    ));
    assert!(
        next["snapshots"]
            .as_object()
            .unwrap()
            .keys()
            .all(|symbol| symbol.as_str() > token)
    );
    let symbol = contracts.keys().next().unwrap();
    let latest = venue.get(&format!("/v1beta1/options/quotes/latest?symbols={symbol}"));
    assert!(latest["quotes"][symbol]["bp"].is_number());
    let bars = venue.get(&format!(
        "/v1beta1/options/bars?symbols={symbol}&timeframe=1Day&start=2026-10-01"
    ));
    assert_eq!(bars["bars"][symbol].as_array().unwrap().len(), 3);
}

#[test]
fn lists_are_told() {
    let venue = Venue::new();
    let news = venue.get("/v1beta1/news?symbols=AAPL&limit=3");
    let items = news["news"].as_array().unwrap();
    assert_eq!(items.len(), 3);
    assert!(
        items
            .iter()
            .all(|item| item["symbols"].as_array().unwrap().contains(&Value::from("AAPL")))
    );
    assert!(
        items[0]["created_at"].as_str() > items[1]["created_at"].as_str(),
        "newest first"
    );
    assert_eq!(
        (&items[0]["content"], &items[0]["images"]),
        (&Value::from(""), &serde_json::json!([]))
    );
    let actions = venue.get("/v1/corporate-actions?symbols=NVDA&types=forward_split");
    assert_eq!(actions["corporate_actions"]["forward_splits"][0]["new_rate"], 10);
    let actives = venue.get("/v1beta1/screener/stocks/most-actives?top=3");
    assert_eq!(actives["most_actives"].as_array().unwrap().len(), 3);
    assert!(venue.get("/v1beta1/screener/crypto/movers")["gainers"].is_array());
    assert!(venue.get("/v2/stocks/meta/conditions/trade?tape=A")["@"].is_string());
    let auctions = venue.get("/v2/stocks/auctions?symbols=SPY&start=2026-10-01&end=2026-10-04");
    assert_eq!(auctions["auctions"]["SPY"].as_array().unwrap().len(), 2);
}

#[test]
fn a_question_that_makes_no_sense_is_told_so() {
    let check = |path: &str, status: u16, text: &str| {
        let (told, body) = Venue::new().ask(path);
        assert_eq!(told, status, "{path}: {body}");
        assert!(body["message"].as_str().unwrap().contains(text), "{path}: {body}");
        assert_eq!(body.as_object().unwrap().len(), 1, "the data side sends no code");
    };
    check("/v2/stocks/bars?timeframe=1Day", 400, "symbols");
    check("/v2/stocks/bars?symbols=SPY", 400, "timeframe");
    check("/v2/stocks/bars?symbols=SPY&timeframe=90Min", 400, "timeframe");
    check(
        "/v2/stocks/bars?symbols=SPY&timeframe=1Day&limit=10001",
        400,
        "limit",
    );
    check(
        "/v2/stocks/bars?symbols=SPY&timeframe=1Day&adjustment=more",
        400,
        "adjustment",
    );
    check("/v2/stocks/trades?symbols=SPY&start=yesterday", 400, "start");
    check(
        "/v2/stocks/trades?symbols=SPY&start=2026-10-02&end=2026-10-01",
        400,
        "end",
    );
    check("/v2/stocks/trades?symbols=SPY&page_token=zzz", 400, "page token");
    check("/v2/stocks/trades?symbols=SPY&sort=up", 400, "sort");
    check("/v2/stocks/trades?symbols=SPY&feed=best", 400, "feed");
    check(
        "/v1beta3/crypto/us/bars?symbols=BTCUSD&timeframe=1Day",
        400,
        "does not match",
    );
    check(
        "/v2/stocks/trades?symbols=SPY&feed=sip&end=2026-10-05T15:00:00Z",
        403,
        "recent SIP",
    );
    assert_eq!(
        Venue::new()
            .ask("/v2/stocks/trades?symbols=SPY&feed=sip&limit=1")
            .0,
        200,
        "up to what may be seen"
    );
    check("/v2/stocks/NOPE/trades/latest", 404, "NOPE");
    assert_eq!(
        Venue::new()
            .ask("/v2/stocks/trades?symbols=SPY&feed=sip&start=2026-09-01&end=2026-09-02")
            .0,
        200
    );
}

fn pages(venue: &Venue, path: &str, key: &str, limit: usize) -> Vec<(String, Value)> {
    let mut told = Vec::new();
    let mut token = String::new();
    loop {
        let page = venue.get(&format!("{path}&limit={limit}{token}"));
        let mut count = 0;
        for (symbol, rows) in page[key].as_object().unwrap() {
            for row in rows.as_array().unwrap() {
                told.push((symbol.clone(), row.clone()));
                count += 1;
            }
        }
        match page["next_page_token"].as_str() {
            Some(next) => {
                assert_eq!(count, limit, "only the last page may be short");
                token = format!("&page_token={next}");
            }
            None => return told,
        }
    }
}

#[test]
fn a_long_question_is_answered_in_parts() {
    let venue = Venue::new();
    let path = "/v2/stocks/bars?symbols=F,SPY&timeframe=12Month&start=2014-01-01";
    let first = venue.get(path);
    let token = first["next_page_token"]
        .as_str()
        .expect("it is not answered at once");
    let mut years = first["bars"]["F"].as_array().unwrap().clone();
    let mut page = venue.get(&format!("{path}&page_token={token}"));
    years.extend(page["bars"]["F"].as_array().cloned().unwrap_or_default());
    while let Some(token) = page["next_page_token"].as_str() {
        page = venue.get(&format!("{path}&page_token={token}"));
    }
    let told: Vec<_> = years
        .iter()
        .map(|bar| bar["t"].as_str().unwrap()[..4].to_owned())
        .collect();
    let expected: Vec<_> = (2016..=2026).map(|year| year.to_string()).collect();
    assert_eq!(told, expected);
    assert_eq!(
        page["bars"]["SPY"].as_array().unwrap().last().unwrap()["t"],
        "2026-01-01T05:00:00Z"
    );
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 5, ..ProptestConfig::default() })]

    #[test]
    fn pages_of_any_size_hold_the_same_rows(limit in 7_usize..90, seconds in 1_i64..240, sort in prop::sample::select(vec!["asc", "desc"])) {
        let venue = Venue::new();
        let end = "2026-10-02T15:00:00Z".parse::<Timestamp>().unwrap() + SignedDuration::from_secs(seconds);
        let path = format!("/v2/stocks/trades?symbols=SPY,F&start=2026-10-02T14:59:30Z&end={end}&sort={sort}");
        prop_assert_eq!(pages(&venue, &path, "trades", limit), pages(&venue, &path, "trades", 10_000));
        let path = format!("/v2/stocks/bars?symbols=SPY,F&timeframe=30Min&start=2026-10-01&end={end}&sort={sort}");
        prop_assert_eq!(pages(&venue, &path, "bars", limit), pages(&venue, &path, "bars", 10_000));
    }

    #[test]
    fn no_question_brings_the_venue_down(
        path in prop::sample::select(vec!["/v2/stocks/bars", "/v2/stocks/SPY/trades", "/v1beta3/crypto/us/quotes", "/v1beta1/options/snapshots/SPY", "/v1beta1/news", "/v2/stocks/snapshots", "/v1/corporate-actions"]),
        query in prop::collection::vec(("(symbols|start|end|limit|timeframe|page_token|sort|strike_price_gte|expiration_date)", "SPY|BTC/USD|[0-9T:Z.-]{1,24}|1Min|\\PC{0,12}"), 0..5),
    ) {
        let venue = Venue::new();
        let query: Vec<_> = query.into_iter().filter(|(_, value)| !value.contains(['&', '='])).map(|(key, value)| format!("{key}={value}")).collect();
        venue.ask(&format!("{path}?{}", query.join("&")));
    }
}
