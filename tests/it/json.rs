//! Programs without protobuf: copies in JSON of what is published.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::StreamExt as _;
use serde_json::Value;

use crate::support::order::buy;
use crate::support::world::Plan;

#[tokio::test]
async fn what_is_published_is_told_in_json_as_well() {
    let mut plan = Plan::new()
        .set("DATA_ENCODING", "json")
        .set("ENABLE_STOCK_STREAM", "true")
        .set("STOCK_STREAM_SYMBOLS", "BRK.B")
        .set("STOCK_STREAM_CHANNELS", "quotes");
    plan.sim.quote_interval = Duration::from_millis(50);
    let world = plan.start().await;
    let client = world.jetstream.client();
    let mut told = client.subscribe("nalpaca.json.>").await.expect("subscribe");
    client.flush().await.expect("flush");
    world.order("momentum.1", &buy("BRK.B", "2")).await;
    let mut seen: BTreeMap<String, Value> = BTreeMap::new();
    let wanted = [
        "nalpaca.json.journal.v0.outcomes.momentum.1",
        "nalpaca.json.journal.v0.updates.momentum.1",
        "nalpaca.json.data.v0.stocks.quotes.BRK=2EB",
        "nalpaca.json.kv.positions",
        "nalpaca.json.kv.position.BRK=2EB",
        "nalpaca.json.kv.state",
        "nalpaca.json.kv.account",
    ];
    let all = async {
        while !wanted.iter().all(|subject| seen.contains_key(*subject)) {
            let message = told.next().await.expect("the subscription lasts");
            let headers = message.headers.expect("it has headers");
            let header = |name: &str| headers.get(name).map(|value| value.as_str().to_owned());
            assert_eq!(header("Content-Type").as_deref(), Some("application/json"));
            assert!(header("Nalpaca-Schema").is_some());
            let value: Value = serde_json::from_slice(&message.payload).expect("it is JSON");
            seen.insert(message.subject.to_string(), value);
        }
    };
    let in_time = tokio::time::timeout(Duration::from_secs(30), all).await;
    assert!(in_time.is_ok(), "only these were told: {:?}", seen.keys());
    let outcome = &seen["nalpaca.json.journal.v0.outcomes.momentum.1"];
    assert_eq!(outcome["kind"], "OUTCOME_KIND_ACCEPTED", "{outcome}");
    assert_eq!(outcome["client_order_id"], "momentum.1");
    let position = &seen["nalpaca.json.kv.position.BRK=2EB"];
    assert_eq!(
        (&position["symbol"], &position["qty"]),
        (&"BRK.B".into(), &"2".into()),
        "{position}"
    );
    let quote = &seen["nalpaca.json.data.v0.stocks.quotes.BRK=2EB"];
    assert_eq!(quote["symbol"], "BRK.B", "{quote}");
}
