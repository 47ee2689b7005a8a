//! Market data from the simulator's real websockets to the bus, in both of the venue's formats.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use async_nats::{Message, Subscriber};
use futures_util::StreamExt as _;
use jiff::{Timestamp, ToSpan as _};
use nalpaca::clock::Clock;
use nalpaca::sim::Pace;
use serde_json::{Value, json};

use crate::support::order::buy;
use crate::support::world::{self, DATA_STREAM, Plan};
use crate::support::{NatsServer, Release, Stored, World, proto, until};

/// Longer than a busy machine takes for anything but a minute bar.
const PATIENCE: Duration = Duration::from_secs(20);

fn plan(class: &str, symbols: &str, channels: &str) -> Plan {
    let mut plan = Plan::new()
        .set(&format!("ENABLE_{class}_STREAM"), "true")
        .set(&format!("{class}_STREAM_SYMBOLS"), symbols);
    if !channels.is_empty() {
        plan = plan.set(&format!("{class}_STREAM_CHANNELS"), channels);
    }
    plan.sim.quote_interval = Duration::from_millis(50);
    plan.sim.trade_interval = Duration::from_millis(50);
    plan
}

async fn listen(world: &World, subject: &str) -> Subscriber {
    let listener = world.jetstream.client().subscribe(subject.to_owned()).await;
    let listener = listener.expect("the server takes the subscription");
    world
        .jetstream
        .client()
        .flush()
        .await
        .expect("the server answers");
    listener
}

async fn heard(listener: &mut Subscriber) -> Message {
    tokio::time::timeout(PATIENCE, listener.next())
        .await
        .expect("something is told in time")
        .expect("the subscription goes on")
}

fn read(message: &Message) -> Value {
    let schema = message
        .headers
        .as_ref()
        .and_then(|headers| headers.get("Nalpaca-Schema"))
        .expect("it names its schema");
    proto::decode(schema.as_str(), &message.payload)
}

/// The value of a metric without regard to its other labels.
async fn quotes_and_trades_are_told_and_the_last_ones_kept(encoding: &str) {
    let world = plan("STOCK", "AAPL, BRK.B", "quotes,trades")
        .set("MARKET_DATA_ENCODING", encoding)
        .start()
        .await;
    let mut quotes = listen(&world, "nalpaca.data.v0.stocks.quotes.>").await;
    let mut trades = listen(&world, "nalpaca.data.v0.stocks.trades.BRK=2EB").await;
    let mut symbols = BTreeSet::new();
    while symbols.len() < 2 {
        let message = heard(&mut quotes).await;
        let quote = read(&message);
        let symbol = quote["symbol"].as_str().expect("a symbol").to_owned();
        let token = symbol.replace('.', "=2E");
        assert_eq!(
            message.subject.as_str(),
            format!("nalpaca.data.v0.stocks.quotes.{token}")
        );
        let (bid, ask) = (quote["bid_price"].as_f64(), quote["ask_price"].as_f64());
        assert!(bid > Some(0.0) && ask >= bid, "{quote}");
        symbols.insert(symbol);
    }
    let trade = read(&heard(&mut trades).await);
    assert_eq!(trade["symbol"], "BRK.B");
    assert!(
        trade["price"].as_f64() > Some(0.0) && trade["id"].as_u64().is_some(),
        "{trade}"
    );
    let at: Timestamp = trade["timestamp"]
        .as_str()
        .expect("a time")
        .parse()
        .expect("a time");
    assert!(at.duration_since(Timestamp::UNIX_EPOCH).as_secs() > 1_700_000_000);
    // A program that starts finds the price at once.
    let last = until("the last quote in its bucket", async || {
        world.value("nalpaca-last", "quotes.BRK=2EB").await
    })
    .await;
    assert_eq!(proto::decode("stream.v0.Quote", &last)["symbol"], "BRK.B");
    // Ticks are told, not stored, unless somebody asks for it.
    let stored = world.stored(DATA_STREAM, "nalpaca.data.v0.stocks.quotes.>").await;
    assert!(stored.is_empty());
    // The feed is a guest: orders are served beside it.
    world.order("beside", &buy("AAPL", "1")).await;
    assert_eq!(world.outcome("beside").await["kind"], "OUTCOME_KIND_ACCEPTED");
}

#[tokio::test]
async fn quotes_and_trades_are_told_from_messagepack() {
    quotes_and_trades_are_told_and_the_last_ones_kept("msgpack").await;
}

#[tokio::test]
async fn quotes_and_trades_are_told_from_json() {
    quotes_and_trades_are_told_and_the_last_ones_kept("json").await;
}

#[tokio::test]
async fn coins_contracts_and_articles_are_told_and_ticks_are_stored_where_it_is_asked_for() {
    let mut plan = plan("CRYPTO", "BTC/USD", "orderbooks,quotes,dailybars")
        .set("ENABLE_NEWS_STREAM", "true")
        .set("DATA_STREAM_TICKS", "quotes");
    plan.sim.trade_interval = Duration::from_millis(20);
    let world = plan.start().await;
    let mut books = listen(&world, "nalpaca.data.v0.crypto.orderbooks.BTC/USD").await;
    let book = read(&heard(&mut books).await);
    assert_eq!(book["symbol"], "BTC/USD");
    assert!(!book["bids"].as_array().expect("bids").is_empty(), "{book}");
    until("a quote in the data stream", async || {
        let consumer = world.jetstream.get_stream(DATA_STREAM).await.ok()?;
        let subjects = &consumer.cached_info().config.subjects;
        subjects
            .contains(&"nalpaca.data.v0.crypto.quotes.>".to_owned())
            .then_some(())
    })
    .await;
    until("the venue to confirm both classes", async || {
        let crypto = world
            .metric("nalpaca_market_data_subscribed{class=\"crypto\"}")
            .await?;
        let news = world
            .metric("nalpaca_market_data_subscribed{class=\"news\"}")
            .await?;
        (crypto == 3.0 && news == 1.0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_plan_that_has_too_few_symbols_has_as_many_as_it_allows_and_the_rest_is_told() {
    let symbols: Vec<String> = [
        "AAPL", "AMZN", "F", "GOOG", "META", "MSFT", "NVDA", "SPY", "TSLA", "BRK.B",
    ]
    .into_iter()
    .map(str::to_owned)
    .chain((0..30).map(|number| format!("X{number}")))
    .collect();
    let world = plan("STOCK", &symbols.join(","), "quotes").start().await;
    until("as many symbols as the plan allows", async || {
        let confirmed = world
            .metric("nalpaca_market_data_subscribed{class=\"stocks\"}")
            .await?;
        (confirmed == 30.0).then_some(())
    })
    .await;
    until("the rest to be told", async || {
        let log = world.daemon.log();
        (log.matches("a subscription is refused").count() >= 10).then_some(())
    })
    .await;
    // What is heard is heard all the same.
    let mut quotes = listen(&world, "nalpaca.data.v0.stocks.quotes.>").await;
    heard(&mut quotes).await;
    assert_eq!(
        world
            .metric("nalpaca_market_data_connected{class=\"stocks\"}")
            .await,
        Some(1.0)
    );
}

/// What the key `state` says of the one stream that is on.
async fn feed_state(world: &World) -> Option<Value> {
    let value = world.value("nalpaca", "state").await?;
    let state = proto::decode("tradesvc.v0.GatewayState", &value);
    let feeds = state["market_data"].as_array()?;
    assert!(feeds.len() <= 1, "one is switched on: {state}");
    feeds.first().cloned()
}

#[tokio::test]
async fn the_state_tells_how_market_data_goes() {
    let world = plan("STOCK", "AAPL,BRK.B", "quotes").start().await;
    let feed = until("the state to show the stream", async || {
        let feed = feed_state(&world).await?;
        let is_heard = feed["heard_at"].is_string();
        (feed["confirmed"] == 2 && feed["connected"] == true && is_heard).then_some(feed)
    })
    .await;
    assert_eq!(feed["class"], "stocks");
    let time = |feed: &Value, field: &str| -> Option<Timestamp> { feed[field].as_str()?.parse().ok() };
    let connected_since = time(&feed, "since").expect("since when");
    // The venue goes, and takes nobody back.
    world.sim.fault("stock_stream: refuse 60s").expect("a fault");
    world.sim.fault("stock_stream: drop").expect("a fault");
    let feed = until("the state to show that it is gone", async || {
        feed_state(&world).await.filter(|feed| feed["connected"] != true)
    })
    .await;
    let lost_since = time(&feed, "since").expect("since when");
    assert!(lost_since > connected_since, "{feed}");
    assert!(!feed["reason"].as_str().unwrap_or_default().is_empty(), "{feed}");
    let (heard, observed) = (time(&feed, "heard_at"), time(&feed, "observed_at"));
    assert!(heard > Some(connected_since) && observed.is_some(), "{feed}");
    // Another attempt fails: it is gone since the same moment, and orders are served.
    until("another attempt", async || {
        let count = world
            .metric("nalpaca_market_data_reconnects_total{class=\"stocks\"}")
            .await?;
        (count >= 3.0).then_some(())
    })
    .await;
    world.order("beside", &buy("AAPL", "1")).await;
    assert_eq!(world.outcome("beside").await["kind"], "OUTCOME_KIND_ACCEPTED");
    let feed = feed_state(&world).await.expect("it is still told");
    assert_eq!(time(&feed, "since"), Some(lost_since), "{feed}");
}

#[tokio::test]
async fn an_article_of_ten_megabytes_is_told_without_its_text_and_the_feed_lives() {
    for encoding in ["json", "msgpack"] {
        let world = Plan::new()
            .set("ENABLE_NEWS_STREAM", "true")
            .set("MARKET_DATA_ENCODING", encoding)
            .start()
            .await;
        let mut news = listen(&world, "nalpaca.data.v0.news.>").await;
        until("the stream to be heard", async || {
            let subscribed = world
                .metric("nalpaca_market_data_subscribed{class=\"news\"}")
                .await?;
            (subscribed == 1.0).then_some(())
        })
        .await;
        for (letters, left_out) in [(10_000_000, true), (1000, false)] {
            let fault = format!("news_stream: article {letters}");
            world.sim.fault(&fault).expect("the simulator knows the fault");
            let article = loop {
                let article = read(&heard(&mut news).await);
                if article["headline"] == "Somebody writes a lot" {
                    break article;
                }
            };
            let content = article["content"].as_str().unwrap_or_default();
            assert_eq!(article["content_left_out"] == true, left_out, "{encoding}");
            assert_eq!(content.len(), if left_out { 0 } else { letters }, "{encoding}");
            assert!(
                article["url"].as_str().is_some_and(|url| !url.is_empty()),
                "{encoding}"
            );
        }
        let reconnects = world
            .metric("nalpaca_market_data_reconnects_total{class=\"news\"}")
            .await;
        assert_eq!(
            reconnects.unwrap_or_default(),
            0.0,
            "{encoding}: the connection is the first one"
        );
    }
}

#[tokio::test]
async fn what_is_larger_than_the_server_takes_is_dropped_and_told() {
    let nats = NatsServer::start_configured(Release::Recent, "max_payload: 65536\n").await;
    let plan = Plan::new().set("ENABLE_NEWS_STREAM", "true");
    let mut world = plan.start_on(nats).await;
    world.daemon.ready().await;
    let mut news = listen(&world, "nalpaca.data.v0.news.>").await;
    until("the stream to be heard", async || {
        let subscribed = world
            .metric("nalpaca_market_data_subscribed{class=\"news\"}")
            .await?;
        (subscribed == 1.0).then_some(())
    })
    .await;
    for letters in [100_000, 1000] {
        let fault = format!("news_stream: article {letters}");
        world.sim.fault(&fault).expect("the simulator knows the fault");
    }
    loop {
        let article = read(&heard(&mut news).await);
        if article["headline"] == "Somebody writes a lot" {
            let content = article["content"].as_str().unwrap_or_default();
            assert_eq!(content.len(), 1000, "the one before it was not told");
            break;
        }
    }
    let line = "nalpaca_market_data_dropped_total{class=\"news\",channel=\"news\"}";
    assert_eq!(world.metric(line).await, Some(1.0));
    assert!(
        world
            .daemon
            .log()
            .contains("larger than the server's max_payload")
    );
}

#[tokio::test]
async fn a_stream_that_takes_nothing_is_not_flooded_and_has_each_message_once_when_it_is_back() {
    const ARTICLES: usize = 20;
    let world = Plan::new().set("ENABLE_NEWS_STREAM", "true").start().await;
    until("the stream to be heard", async || {
        let subscribed = world
            .metric("nalpaca_market_data_subscribed{class=\"news\"}")
            .await?;
        (subscribed == 1.0).then_some(())
    })
    .await;
    let stream = world
        .jetstream
        .get_stream(DATA_STREAM)
        .await
        .expect("it is there");
    let mut config = stream.cached_info().config.clone();
    let deleted = world.jetstream.delete_stream(DATA_STREAM).await;
    deleted.expect("the server deletes it");
    for letters in 1..=ARTICLES {
        let fault = format!("news_stream: article {letters}");
        world.sim.fault(&fault).expect("a fault");
    }
    // Nobody listens, so the server says at once that there is no stream. It is tried again after a pause each time.
    let attempts = async || {
        let line = "nalpaca_market_data_published_total{class=\"news\"";
        world.metric(line).await.filter(|count| *count > 0.0)
    };
    let before = until("the first attempt", attempts).await;
    let began = tokio::time::Instant::now();
    let after = until("more attempts", async || {
        attempts().await.filter(|count| *count >= before + 100.0)
    })
    .await;
    // Each four times a second at most, and once more at the beginning.
    let most = 2.0 + began.elapsed().as_secs_f64() * 4.0;
    let most = most * ARTICLES as f64;
    assert!(
        after - before <= most,
        "{} attempts, {most} at most",
        after - before
    );
    // Kept, so that it can be looked at.
    config.retention = async_nats::jetstream::stream::RetentionPolicy::Limits;
    world
        .jetstream
        .create_stream(config)
        .await
        .expect("the server makes it anew");
    // At each full minute the venue tells an article of its own. Those it is told to tell have numbers past 32 bits.
    let is_ours = |stored: &Stored| {
        let number = stored
            .subject
            .rsplit('.')
            .next()
            .and_then(|number| number.parse::<u64>().ok());
        number.is_some_and(|number| number > u32::MAX.into())
    };
    let stored = until("the articles in the stream", async || {
        let mut stored = world.stored(DATA_STREAM, "nalpaca.data.v0.news.>").await;
        stored.retain(is_ours);
        (stored.len() >= ARTICLES).then_some(stored)
    })
    .await;
    assert_eq!(stored.len(), ARTICLES);
}

#[tokio::test]
async fn a_feed_that_breaks_goes_on_with_what_is_wanted() {
    let world = plan("STOCK", "AAPL", "quotes,trades").start().await;
    let mut quotes = listen(&world, "nalpaca.data.v0.stocks.quotes.AAPL").await;
    heard(&mut quotes).await;
    for (fault, broken) in [
        ("stock_stream: drop", true),
        ("stock_stream: end", true),
        ("stock_stream: garbage-frame", false),
        ("stock_stream: refuse 500ms", false),
        ("stock_stream: drop", true),
    ] {
        let reconnects = async || {
            let count = world
                .metric("nalpaca_market_data_reconnects_total{class=\"stocks\"}")
                .await;
            Some(count.unwrap_or_default())
        };
        let before = reconnects().await;
        world.sim.fault(fault).expect("the simulator knows the fault");
        if broken {
            until("the feed to notice", async || {
                (reconnects().await > before).then_some(())
            })
            .await;
        }
        // What was told before is passed over.
        while tokio::time::timeout(Duration::from_millis(1), quotes.next())
            .await
            .is_ok()
        {}
        heard(&mut quotes).await;
    }
    until("garbage to be counted", async || {
        let count = world
            .metric("nalpaca_market_data_unreadable_total{class=\"stocks\"}")
            .await?;
        (count >= 1.0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn the_newest_quote_is_told_when_nats_comes_back() {
    let mut world = plan("STOCK", "AAPL", "quotes").start().await;
    let mut quotes = listen(&world, "nalpaca.data.v0.stocks.quotes.AAPL").await;
    heard(&mut quotes).await;
    world.nats.kill9();
    until("quotes to be overtaken by newer ones", async || {
        let line = "nalpaca_market_data_conflated_total{class=\"stocks\",channel=\"quotes\"}";
        (world.metric(line).await? > 3.0).then_some(())
    })
    .await;
    world.nats.run().await;
    while tokio::time::timeout(Duration::from_millis(1), quotes.next())
        .await
        .is_ok()
    {}
    assert_eq!(read(&heard(&mut quotes).await)["symbol"], "AAPL");
}

#[tokio::test]
async fn wrong_keys_of_a_feed_are_told_and_orders_go_on() {
    let world = plan("STOCK", "AAPL", "quotes")
        .set("STOCK_STREAM_BASE_URL", "ws://127.0.0.1:9")
        .start()
        .await;
    until("the feed's trouble in the log", async || {
        world
            .daemon
            .log()
            .contains("market data: connecting anew")
            .then_some(())
    })
    .await;
    world.order("served", &buy("AAPL", "1")).await;
    assert_eq!(world.outcome("served").await["kind"], "OUTCOME_KIND_ACCEPTED");
}

fn wish(class: &str, channel: &str, symbols: &[&str]) -> Value {
    json!({"subscriptions": [{"class": class, "channel": channel, "symbols": symbols}]})
}

#[tokio::test]
async fn programs_say_what_they_want_to_hear_and_it_is_kept_over_a_restart() {
    let mut world = plan("STOCK", "", "").start().await;
    let listed = world
        .ask("subscriptions.list", &Value::Null)
        .await
        .expect("an answer");
    assert_eq!(listed["feeds"][0]["class"], "stocks");
    assert_eq!(
        listed["feeds"][0]["connected"],
        Value::Null,
        "nobody wants anything: {listed}"
    );

    let quotes_of = wish("stocks", "quotes", &["AAPL", "BRK.B"]);
    for _ in 0..2 {
        let added = world
            .ask("subscriptions.add", &quotes_of)
            .await
            .expect("it is added");
        assert_eq!(added["confirmed"], quotes_of["subscriptions"], "{added}");
    }
    let mut quotes = listen(&world, "nalpaca.data.v0.stocks.quotes.BRK=2EB").await;
    heard(&mut quotes).await;

    assert_eq!(world.daemon.terminate().await, 0);
    world.daemon.run();
    world.daemon.ready().await;
    while tokio::time::timeout(Duration::from_millis(1), quotes.next())
        .await
        .is_ok()
    {}
    heard(&mut quotes).await;

    // Taken away, it is gone for good.
    let removed = world
        .ask("subscriptions.remove", &wish("stocks", "quotes", &["BRK.B"]))
        .await;
    let removed = removed.expect("it is removed");
    assert_eq!(
        removed["confirmed"],
        wish("stocks", "quotes", &["AAPL"])["subscriptions"],
        "{removed}"
    );
    let removed = world
        .ask(
            "subscriptions.remove",
            &wish("stocks", "quotes", &["AAPL", "TSLA"]),
        )
        .await;
    assert_eq!(removed.expect("it is removed")["confirmed"], Value::Null);
    world.daemon.kill9();
    world.daemon.run();
    world.daemon.ready().await;
    let listed = world
        .ask("subscriptions.list", &Value::Null)
        .await
        .expect("an answer");
    assert_eq!(listed["confirmed"], Value::Null, "{listed}");
}

#[tokio::test]
async fn what_somebody_listens_to_is_heard_where_that_is_switched_on() {
    let world = plan("STOCK", "", "")
        .set("MARKET_DATA_FOLLOW", "true")
        .start()
        .await;
    let subscribed = async || {
        world
            .metric("nalpaca_market_data_subscribed{class=\"stocks\"}")
            .await
    };
    // Of wildcards nobody can say what is meant.
    let _everything = listen(&world, "nalpaca.data.v0.stocks.>").await;
    let mut quotes = listen(&world, "nalpaca.data.v0.stocks.quotes.BRK=2EB").await;
    assert_eq!(read(&heard(&mut quotes).await)["symbol"], "BRK.B");
    assert_eq!(subscribed().await, Some(1.0));
    let listed = world
        .ask("subscriptions.list", &Value::Null)
        .await
        .expect("an answer");
    assert_eq!(
        listed["confirmed"],
        wish("stocks", "quotes", &["BRK.B"])["subscriptions"]
    );
}

#[tokio::test]
async fn what_cannot_be_heard_is_answered_with_what_is_wrong() {
    let world = plan("STOCK", "SPY", "quotes").start().await;
    for (endpoint, question, words) in [
        (
            "subscriptions.add",
            wish("crypto", "bars", &["BTC/USD"]),
            "set ENABLE_CRYPTO_STREAM=true",
        ),
        (
            "subscriptions.add",
            wish("stocks", "orderbooks", &["AAPL"]),
            "channel: ",
        ),
        (
            "subscriptions.add",
            wish("stocks", "bars", &[]),
            "symbols is required",
        ),
        ("subscriptions.add", json!({"subscription": []}), "unknown field"),
        (
            "subscriptions.remove",
            wish("stocks", "quotes", &["SPY"]),
            "take it out of STOCK_STREAM_SYMBOLS",
        ),
    ] {
        let (code, said) = world.ask(endpoint, &question).await.expect_err("it is wrong");
        assert_eq!(code, "400", "{said}");
        assert!(said.contains(words), "{words:?} is not in {said:?}");
    }
    // The venue's own refusal is part of the answer.
    let many: Vec<String> = (0..31).map(|number| format!("X{number}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let added = world
        .ask("subscriptions.add", &wish("stocks", "quotes", &many))
        .await;
    let added = added.expect("it is answered");
    let refused = added["refused"].as_array().expect("a list");
    assert!(!refused.is_empty(), "{added}");
    assert!(
        refused[0]["message"].as_str().unwrap_or_default().contains("405"),
        "{added}"
    );
}

#[tokio::test]
async fn the_service_is_found_and_says_nothing_where_commands_go() {
    let world = World::start().await;
    let client = world.jetstream.client();
    let info = until("the service to be found", async || {
        client.request("$SRV.INFO.nalpaca", "".into()).await.ok()
    })
    .await;
    let info: Value = serde_json::from_slice(&info.payload).expect("it is JSON");
    let endpoints = info["endpoints"].as_array().expect("endpoints");
    let add = endpoints
        .iter()
        .find(|endpoint| endpoint["subject"] == "nalpaca.svc.v0.subscriptions.add");
    let metadata = &add.expect("it is among them")["metadata"];
    assert_eq!(metadata["request"], "stream.v0.SubscriptionsRequest");

    // The subject of an answer is the asker's to choose, and the gateway may publish where they may not.
    let before = world
        .jetstream
        .get_stream(world::ACTION_STREAM)
        .await
        .expect("a stream");
    for reply in ["nalpaca.action.v0.cancel.ALL", "$KV.nalpaca.positions"] {
        let asked = client.publish_with_reply("nalpaca.svc.v0.subscriptions.list", reply, "".into());
        asked.await.expect("it is sent");
    }
    world
        .ask("subscriptions.list", &Value::Null)
        .await
        .expect("others are answered");
    let after = world
        .jetstream
        .get_stream(world::ACTION_STREAM)
        .await
        .expect("a stream");
    assert_eq!(
        after.cached_info().state.last_sequence,
        before.cached_info().state.last_sequence
    );
}

/// The minutes whose bars are stored, and whether each was recovered.
async fn minutes(world: &World, symbol: &str) -> BTreeMap<i64, bool> {
    let stored = world
        .stored(DATA_STREAM, &format!("nalpaca.data.v0.stocks.{symbol}"))
        .await;
    let bars = stored
        .iter()
        .map(|bar| proto::decode("stream.v0.Bar", &bar.payload));
    let minutes = bars.map(|bar| {
        let at = bar["timestamp"].as_str().expect("a time");
        let at: Timestamp = at.parse().expect("a time");
        (at.as_second() / 60, bar["recovered"] == true)
    });
    let minutes: Vec<_> = minutes.collect();
    let each: BTreeMap<_, _> = minutes.iter().copied().collect();
    assert_eq!(
        each.len(),
        minutes.len(),
        "each minute is stored once: {minutes:?}"
    );
    each
}

/// Interest keeps what nobody reads from being stored, so somebody has to.
async fn keep_bars(world: &World) {
    let consumer = async_nats::jetstream::consumer::pull::Config {
        durable_name: Some("bars".to_owned()),
        filter_subject: "nalpaca.data.v0.stocks.*".to_owned(),
        ..Default::default()
    };
    let made = world
        .jetstream
        .create_consumer_on_stream(consumer, DATA_STREAM)
        .await;
    made.expect("the server takes the consumer");
}

fn missing(minutes: &BTreeMap<i64, bool>) -> Vec<i64> {
    let (Some(first), Some(last)) = (minutes.keys().min(), minutes.keys().max()) else {
        return Vec::new();
    };
    (*first..=*last)
        .filter(|minute| !minutes.contains_key(minute))
        .collect()
}

#[tokio::test]
async fn what_a_daemon_missed_while_it_was_away_is_recovered() {
    let mut plan = plan("STOCK", "AAPL,BRK.B", "bars");
    // A minute of the venue's takes a second, and stays behind the daemon's clock for as long as this test.
    plan.sim.pace = Pace::Replay {
        from: Clock::system()
            .now()
            .saturating_sub(10.hours())
            .expect("a moment"),
        times: 60,
    };
    let mut world = plan.start().await;
    keep_bars(&world).await;
    let count = async |what: &str, count: usize| {
        until(what, async || {
            let (one, other) = (minutes(&world, "AAPL").await, minutes(&world, "BRK=2EB").await);
            (one.len() >= count && other.len() >= count).then_some(())
        })
        .await;
    };
    count("the first bars", 3).await;
    // Where bars ended is known to whoever comes next.
    until("last values", async || {
        let last = world.value("nalpaca-last", "bars.BRK=2EB").await?;
        let at = proto::decode("stream.v0.Bar", &last)["timestamp"].clone();
        (at != Value::Null).then_some(())
    })
    .await;
    world.daemon.kill9();
    let gone = *minutes(&world, "AAPL").await.keys().max().expect("bars");
    until("the venue to be minutes ahead", async || {
        (world.sim.now().as_second() / 60 > gone + 5).then_some(())
    })
    .await;
    world.daemon.run();
    world.daemon.ready().await;
    for symbol in ["AAPL", "BRK=2EB"] {
        let recovered = until("the bars that were missed", async || {
            let minutes = minutes(&world, symbol).await;
            let recovered = minutes.values().filter(|recovered| **recovered).count();
            (recovered >= 3 && missing(&minutes).is_empty()).then_some(minutes)
        })
        .await;
        assert!(recovered.contains_key(&(gone + 1)), "{symbol} {recovered:?}");
    }
}

/// Takes two minutes by intention: a minute bar is told once a minute.
#[tokio::test]
async fn a_minute_that_was_missed_is_recovered_and_marked() {
    let world = plan("STOCK", "AAPL", "bars").start().await;
    keep_bars(&world).await;
    let wait = async |what: &str, count: usize| {
        let enough = async {
            while minutes(&world, "AAPL").await.len() < count {
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        };
        let in_time = tokio::time::timeout(Duration::from_secs(130), enough).await;
        assert!(in_time.is_ok(), "waited in vain for {what}");
    };
    wait("the first bar", 1).await;
    // Away over the end of a minute, whose bar is told to nobody.
    for fault in ["stock_stream: refuse 65s", "stock_stream: drop"] {
        world.sim.fault(fault).expect("the simulator knows the fault");
    }
    wait("the bar that was missed", 2).await;
    let bars = minutes(&world, "AAPL").await;
    assert_eq!(missing(&bars), [] as [i64; 0], "{bars:?}");
    assert!(bars.values().any(|recovered| *recovered), "{bars:?}");
    assert!(!bars.values().next().expect("bars"), "{bars:?}");
}
