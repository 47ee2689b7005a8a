//! The door and its way back: what is written can be read, and what is wrong is named.

use std::sync::Arc;

use jiff::Timestamp;
use proptest::prelude::*;
use prost::Message as _;

use super::proto::tradesvc as pb;
use super::*;
use crate::domain::limits::{Breach, LimitName};
use crate::domain::order::{Placement, Replacement};
use crate::domain::outcome::{Acceptance, DenialReason, OrderResult, Refusal};
use crate::domain::record::{Asked, CancelMark, Intent, RecordState};
use crate::domain::{
    ClientOrderId, CommandId, CommandKind, ExecutionReport, Holdings, NewOrder, Order, OrderId, OrderRecord,
    Outcome, Symbol, Verdict,
};

fn trade() -> pb::Trade {
    pb::Trade {
        symbol: "AAPL".to_owned(),
        qty: "2".to_owned(),
        side: pb::Side::Buy.into(),
        order_type: pb::OrderType::Market.into(),
        tif: pb::TimeInForce::Day.into(),
        ..pb::Trade::default()
    }
}

fn read(trade: &pb::Trade) -> Result<NewOrder, String> {
    read_order(None, &trade.encode_to_vec()).map_err(|error| error.to_string())
}

fn refusal(change: impl FnOnce(&mut pb::Trade)) -> String {
    let mut changed = trade();
    change(&mut changed);
    read(&changed).expect_err("this order makes no sense")
}

#[test]
fn every_refusal_names_the_field_and_the_fix() {
    let limit = |trade: &mut pb::Trade| trade.order_type = pb::OrderType::Limit.into();
    for (message, expected) in [
        (refusal(|trade| trade.qty.clear()), "qty or notional is required"),
        (
            refusal(|trade| trade.notional = "5".into()),
            "qty and notional are both given",
        ),
        (
            refusal(|trade| trade.qty = "-1".into()),
            "qty must be greater than zero: \"-1\"",
        ),
        (
            refusal(|trade| trade.qty = "1e999999".into()),
            "qty is not a plain decimal number",
        ),
        (refusal(|trade| trade.side = 0), "side is required"),
        (
            refusal(|trade| trade.side = i32::MAX),
            "side has the unknown value",
        ),
        (refusal(|trade| trade.symbol.clear()), "symbol is required"),
        (
            refusal(|trade| trade.symbol = "A B".into()),
            "symbol: a symbol has",
        ),
        (refusal(|trade| trade.order_type = 0), "order_type is required"),
        (refusal(|trade| trade.tif = 0), "tif is required"),
        (refusal(limit), "limit_price is required for a limit order"),
        (
            refusal(|trade| trade.limit_price = "1".into()),
            "limit_price is given, but a market order has none",
        ),
        (
            refusal(|trade| trade.trail_price = "1".into()),
            "trail_price or trail_percent is given",
        ),
        (
            refusal(|trade| {
                trade.take_profit = Some(pb::TakeProfit {
                    limit_price: "1".into(),
                })
            }),
            "class is not",
        ),
        (
            refusal(|trade| trade.class = pb::OrderClass::Bracket.into()),
            "BRACKET needs both",
        ),
        (
            refusal(|trade| {
                (trade.class, trade.order_type) = (pb::OrderClass::Oco.into(), pb::OrderType::Limit.into());
                trade.take_profit = Some(pb::TakeProfit {
                    limit_price: "160".into(),
                });
                trade.stop_loss = Some(pb::StopLoss {
                    stop: "140".into(),
                    limit: String::new(),
                });
                trade.limit_price = "159".into();
            }),
            "on class OCO leave it out",
        ),
        (
            refusal(|trade| trade.class = pb::OrderClass::Mleg.into()),
            "MLEG needs 2 to 4 legs",
        ),
        (
            refusal(|trade| trade.legs = vec![pb::Leg::default()]),
            "legs are given, but class is not",
        ),
        (
            refusal(|trade| {
                trade.valid_until = Some(prost_types::Timestamp {
                    seconds: i64::MAX,
                    nanos: 0,
                })
            }),
            "valid_until is outside",
        ),
        (
            read_order(None, b"").unwrap_err().to_string(),
            "the payload is empty",
        ),
        (
            read_order(None, &[0xff; 40]).unwrap_err().to_string(),
            "the payload is no tradesvc.v0.Trade",
        ),
    ] {
        assert!(
            message.contains(expected),
            "{message:?} does not say {expected:?}"
        );
    }
}

/// One order of every type and class of the contract.
fn orders_of_every_kind() -> Vec<pb::Trade> {
    let with = |change: &dyn Fn(&mut pb::Trade)| {
        let mut changed = trade();
        change(&mut changed);
        changed
    };
    let profit = || {
        Some(pb::TakeProfit {
            limit_price: "160".into(),
        })
    };
    let loss = || {
        Some(pb::StopLoss {
            stop: "140".into(),
            limit: "139.5".into(),
        })
    };
    let leg = |symbol: &str, side: pb::Side| pb::Leg {
        symbol: symbol.into(),
        ratio_qty: "1".into(),
        side: side.into(),
        position_intent: pb::PositionIntent::BuyToOpen.into(),
    };
    vec![
        trade(),
        with(&|trade| (trade.qty, trade.notional) = (String::new(), "100.50".into())),
        with(&|trade| {
            (trade.order_type, trade.limit_price) = (pb::OrderType::Limit.into(), "150.10".into());
            trade.extended_hours = true;
            trade.valid_until = Some(prost_types::Timestamp {
                seconds: 1_800_000_000,
                nanos: 5,
            });
        }),
        with(&|trade| (trade.order_type, trade.stop_price) = (pb::OrderType::Stop.into(), "149".into())),
        with(&|trade| {
            trade.order_type = pb::OrderType::StopLimit.into();
            (trade.stop_price, trade.limit_price) = ("149".into(), "148.5".into());
        }),
        with(&|trade| {
            (trade.order_type, trade.trail_price) = (pb::OrderType::TrailingStop.into(), "2".into())
        }),
        with(&|trade| {
            (trade.order_type, trade.trail_percent) = (pb::OrderType::TrailingStop.into(), "1.5".into())
        }),
        with(&|trade| {
            trade.class = pb::OrderClass::Bracket.into();
            (trade.take_profit, trade.stop_loss) = (profit(), loss());
        }),
        with(&|trade| {
            (trade.class, trade.order_type) = (pb::OrderClass::Oco.into(), pb::OrderType::Limit.into());
            (trade.take_profit, trade.stop_loss) = (profit(), loss());
        }),
        with(&|trade| (trade.class, trade.take_profit) = (pb::OrderClass::Oto.into(), profit())),
        with(&|trade| (trade.class, trade.stop_loss) = (pb::OrderClass::Oto.into(), loss())),
        with(&|trade| {
            (trade.symbol, trade.side) = (String::new(), 0);
            trade.class = pb::OrderClass::Mleg.into();
            (trade.order_type, trade.limit_price) = (pb::OrderType::Limit.into(), "-0.35".into());
            trade.legs = vec![
                leg("AAPL261218C00200000", pb::Side::Buy),
                leg("AAPL261218C00210000", pb::Side::Sell),
            ];
        }),
        with(&|trade| {
            (trade.symbol, trade.tif) = ("BTC/USD".into(), pb::TimeInForce::Gtc.into());
            trade.qty = "0.000000001".into();
            trade.position_intent = pb::PositionIntent::BuyToOpen.into();
            trade.advanced_instructions = Some(pb::AdvancedInstructions {
                algorithm: "TWAP".into(),
                ..Default::default()
            });
        }),
    ]
}

#[test]
fn an_order_of_every_kind_survives_the_ledger() {
    for trade in orders_of_every_kind() {
        let asked = read(&trade).unwrap();
        let record = record_of(asked.clone(), None);
        assert_eq!(
            read_record(&super::record(&record).bytes).unwrap(),
            record,
            "{trade:?}"
        );
    }
}

#[test]
fn a_replace_and_a_close_survive_the_ledger() {
    let replace = read_replace(None, br#"{"order": "o.1", "limit_price": "1.50", "tif": "gtc"}"#).unwrap();
    let replaces = OrderId::parse("904837e3-3b76-47ec-b432-046db621571b").unwrap();
    let symbols = vec![Symbol::parse("BRK.B").unwrap(), Symbol::parse("BTC/USD").unwrap()];
    for asked in [
        Asked::Placement(Box::new(Placement::Replacement(Replacement {
            replaces,
            changes: replace.changes.clone(),
        }))),
        Asked::PerSymbol(symbols),
    ] {
        let mut record = record_of(read(&trade()).unwrap(), None);
        if let RecordState::Intent(intent) = &mut record.state {
            intent.asked = Some(asked);
        }
        assert_eq!(read_record(&super::record(&record).bytes).unwrap(), record);
    }
}

#[test]
fn what_became_of_an_order_survives_the_ledger_and_spoils_nothing() {
    let replaced = Order {
        id: OrderId::parse("904837e3-3b76-47ec-b432-046db621571b"),
        replaced_by: OrderId::parse("61e69015-8549-4bfd-b9c3-01e75843f47d"),
        status: crate::domain::OrderStatus::Replaced,
        filled_qty: "1.5".parse().unwrap(),
        ..Order::refused("momentum.1", None, Timestamp::from_second(1_800_000_000).unwrap())
    };
    let intent = record_of(read(&trade()).unwrap(), None);
    for state in [
        RecordState::External,
        RecordState::CancelMark,
        intent.state.clone(),
    ] {
        let record = OrderRecord {
            state,
            order: Some(Arc::new(replaced.clone())),
            ..intent.clone()
        };
        assert_eq!(read_record(&super::record(&record).bytes).unwrap(), record);
    }
    // Written by a version that knows more kinds of symbols.
    let mut message = pb::OrderRecord::decode(record(&intent).bytes).unwrap();
    message.order = Some(pb::Order {
        filled_qty: "a third".to_owned(),
        ..pb::Order::default()
    });
    assert_eq!(read_record(&message.encode_to_vec()).unwrap(), intent);
}

#[test]
fn two_spellings_of_a_change_are_one_and_two_changes_are_two() {
    let replace = |text: &str| replace_hash(&read_replace(None, text.as_bytes()).unwrap());
    let close = |text: &str| close_hash(&read_close(None, text.as_bytes()).unwrap());
    assert_eq!(
        replace(r#"{"order": "o.1", "qty": "2.0"}"#),
        replace(r#"{"order": "o.1", "qty": 2, "valid_until": "2030-01-01T00:00:00Z"}"#)
    );
    assert_ne!(
        replace(r#"{"order": "o.1", "qty": 2}"#),
        replace(r#"{"order": "o.2", "qty": 2}"#)
    );
    assert_eq!(
        close(r#"{"symbol": "AAPL", "percentage": "50.0"}"#),
        close(r#"{"symbol": "AAPL", "percentage": 50}"#)
    );
    assert_ne!(close(r#"{"symbol": "AAPL"}"#), close(r#"{"all": true}"#));
    assert_ne!(
        close(r#"{"symbol": "AAPL"}"#),
        close(r#"{"symbol": "AAPL", "cancel_orders": true}"#)
    );
}

fn record_of(asked: NewOrder, verdict: Option<Verdict>) -> OrderRecord {
    let at = Timestamp::from_second(1_800_000_000).unwrap();
    let id = CommandId {
        stream_created: at,
        sequence: 7,
    };
    let intent = Intent {
        command: CommandKind::Order,
        id,
        stored_at: at,
        payload_hash: payload_hash(&asked),
        asked: Some(Asked::Placement(Box::new(Placement::New(asked)))),
        deadline: Some(at),
        at,
        attempts: 1,
        order_id: None,
    };
    let state = match verdict {
        None => RecordState::Intent(intent),
        Some(verdict) => RecordState::Settled(intent, Box::new(outcome_of(verdict))),
    };
    OrderRecord {
        client_order_id: ClientOrderId::parse("momentum.1").unwrap(),
        state,
        order: None,
        cancel_mark: Some(CancelMark {
            id: CommandId {
                stream_created: at,
                sequence: 9,
            },
            stored_at: at,
        }),
        epoch: 3,
    }
}

fn outcome_of(verdict: Verdict) -> Outcome {
    let at = Timestamp::new(1_800_000_001, 123_456_789).unwrap();
    Outcome {
        client_order_id: "momentum.1".to_owned(),
        command: CommandKind::Order,
        id: CommandId {
            stream_created: at,
            sequence: 7,
        },
        stored_at: at,
        at,
        deadline: None,
        attempts: 2,
        verdict,
        repeated: false,
    }
}

#[test]
fn every_verdict_survives_the_journal_and_the_ledger() {
    let asked = read(&trade()).unwrap();
    let order = Order {
        id: OrderId::parse("904837e3-3b76-47ec-b432-046db621571b"),
        filled_avg_price: Some("150.25".parse().unwrap()),
        ..Order::refused("momentum.1", Some(&asked), Timestamp::UNIX_EPOCH)
    };
    let acceptance = Acceptance {
        order_id: order.id,
        order: Some(Arc::new(order)),
        by_lookup: true,
        http_status: 200,
        request_id: Some("abc".to_owned()),
        results: vec![OrderResult {
            order_id: None,
            client_order_id: "x".to_owned(),
            symbol: "AAPL".to_owned(),
            accepted: false,
            code: 42_210_000,
            message: "no".to_owned(),
        }],
        message: String::new(),
        simulated: true,
    };
    let message = "why".to_owned();
    for verdict in [
        Verdict::Accepted(acceptance.clone()),
        Verdict::LateAccepted(acceptance),
        Verdict::Rejected(Refusal {
            http_status: 403,
            code: 40_310_000,
            message: message.clone(),
            ..Refusal::default()
        }),
        Verdict::Denied {
            reason: DenialReason::Mode,
            message: message.clone(),
            breach: None,
        },
        Verdict::beyond(Breach {
            limit: LimitName::MaxOrderQty,
            scope: "strategy momentum".to_owned(),
            bound: "100".to_owned(),
            value: "150".to_owned(),
        }),
        Verdict::Expired,
        Verdict::Invalid {
            message: message.clone(),
        },
        Verdict::Conflict {
            message: message.clone(),
            order_id: None,
        },
        Verdict::CanceledBeforeSend {
            message: message.clone(),
        },
        Verdict::Unresolved { message },
        Verdict::ConfirmedAbsent,
    ] {
        let outcome = outcome_of(verdict.clone());
        assert_eq!(read_outcome(&super::outcome(&outcome).bytes).unwrap(), outcome);
        let record = record_of(asked.clone(), Some(verdict));
        assert_eq!(read_record(&super::record(&record).bytes).unwrap(), record);
    }
}

#[test]
fn a_trade_update_survives_the_journal() {
    let report = ExecutionReport {
        event: "partial_fill".to_owned(),
        event_id: Some("01J".to_owned()),
        last_px: Some("150.25".parse().unwrap()),
        last_qty: Some("1".parse().unwrap()),
        position_qty: Some("-3".parse().unwrap()),
        recovered: true,
        ..ExecutionReport::refused(&outcome_of(Verdict::Expired), Some(&read(&trade()).unwrap()))
    };
    assert_eq!(read_update(&trade_update(&report).bytes).unwrap(), report);
}

#[test]
fn a_flat_account_is_an_explicit_value() {
    let as_of = Timestamp::from_second(5).unwrap();
    let flat = Holdings {
        positions: Vec::new(),
        as_of,
        source: "rest",
        fresh: true,
        version: 4,
    };
    let value = positions(&flat);
    assert!(!value.bytes.is_empty());
    assert_eq!(read_positions_version(&value.bytes), 4);
    assert_eq!(read_positions_version(b"\xff"), 0);
}

#[test]
fn the_hash_is_of_what_the_venue_gets() {
    let hash = |change: &dyn Fn(&mut pb::Trade)| {
        let mut changed = trade();
        change(&mut changed);
        payload_hash(&read(&changed).unwrap())
    };
    let base = hash(&|_| {});
    let later = Some(prost_types::Timestamp {
        seconds: 1_900_000_000,
        nanos: 0,
    });
    assert_eq!(base, hash(&|trade| trade.qty = "2.00".into()), "the same number");
    assert_eq!(
        base,
        hash(&|trade| trade.class = pb::OrderClass::Simple.into()),
        "the default class, spelled out"
    );
    assert_eq!(
        base,
        hash(&|trade| trade.valid_until = later),
        "a later deadline is the same order"
    );
    assert_ne!(base, hash(&|trade| trade.qty = "3".into()));
    assert_ne!(base, hash(&|trade| trade.side = pb::Side::Sell.into()));
}

#[test]
fn json_is_read_as_a_person_types_it() {
    let typed = br#" {"symbol":"AAPL","side":"buy","qty":2,"order_type":"market","tif":"day"}"#;
    let strict = br#"{"symbol":"AAPL","side":"SIDE_BUY","qty":"2","orderType":"ORDER_TYPE_MARKET","tif":1}"#;
    let expected = read(&trade()).unwrap();
    assert_eq!(
        read_order(Some("application/json; charset=utf-8"), typed).unwrap(),
        expected
    );
    assert_eq!(read_order(None, strict).unwrap(), expected);
    let nested = br#"{"symbol":"AAPL","side":"Buy","qty":0.10000000000000000001,"order_type":"trailing-stop",
        "trail_percent":1.5,"tif":"gtc","valid_until":"2026-11-20T15:00:00.5Z","legs":null}"#;
    let order = read_order(None, nested).unwrap();
    assert!(
        format!("{:?}", order.size).contains("0.10000000000000000001"),
        "no float in between: {order:?}"
    );
    assert!(order.valid_until.is_some());
    let bracket =
        br#"{"symbol":"AAPL","side":"buy","qty":1,"order_type":"market","tif":"day","class":"bracket",
        "take_profit":{"limit_price":160.5},"stop_loss":{"stop":140}}"#;
    assert!(read_order(None, bracket).is_ok());
}

#[test]
fn wrong_json_is_named() {
    let says = |payload: &str| {
        read_order(Some("application/json"), payload.as_bytes())
            .unwrap_err()
            .to_string()
    };
    for (payload, expected) in [
        (
            r#"{"symbl":"AAPL"}"#,
            "unknown field \"symbl\"; known: symbol, qty",
        ),
        (r#"{"side":"long"}"#, "side: \"long\" is none of buy, sell"),
        (
            r#"{"qty":1e5,"symbol":"A","side":"buy","order_type":"market","tif":"day"}"#,
            "qty is not a plain decimal",
        ),
        (r#"{"take_profit":{"limit_price":{}}}"#, "limit_price"),
        (r#"[1]"#, "is not a JSON object"),
        ("{", "is not a JSON object"),
        (r#"{"legs":{}}"#, "legs: is not a JSON list"),
    ] {
        let message = says(payload);
        assert!(
            message.contains(expected),
            "{message:?} does not say {expected:?}"
        );
    }
}

#[test]
fn payloads_are_shown_as_json() {
    let shown = decode_to_json("Trade", &trade().encode_to_vec(), false).unwrap();
    assert!(
        shown.contains(r#""symbol":"AAPL""#) && shown.contains(r#""side":"SIDE_BUY""#),
        "{shown}"
    );
    assert!(
        decode_to_json("Nonsense", b"", false)
            .unwrap_err()
            .to_string()
            .contains("tradesvc.v0.Outcome")
    );
}

proptest! {
    #[test]
    fn no_payload_makes_the_door_panic(payload in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = read_order(None, &payload);
        let _ = read_order(Some("application/json"), &payload);
        let _ = read_record(&payload);
        let _ = read_outcome(&payload);
        let _ = read_update(&payload);
    }

    #[test]
    fn no_damage_to_a_good_payload_makes_the_door_panic(at in 0usize..60, byte in any::<u8>(), cut in 0usize..60) {
        let mut payload = trade().encode_to_vec();
        if let Some(slot) = payload.get_mut(at) { *slot = byte; }
        payload.truncate(payload.len().saturating_sub(cut % 8));
        let _ = read_order(None, &payload);
    }

    #[test]
    fn numbers_travel_untouched(whole in 1u64..1_000_000_000, fraction in "[0-9]{0,9}") {
        let qty = if fraction.is_empty() { whole.to_string() } else { format!("{whole}.{fraction}") };
        let order = read(&pb::Trade { qty: qty.clone(), ..trade() }).unwrap();
        let record = record_of(order, None);
        let written = pb::OrderRecord::decode(super::record(&record).bytes).unwrap();
        prop_assert_eq!(written.trade.unwrap().qty, qty);
    }
}

#[test]
fn what_somebody_listens_to_is_read_from_the_subject() {
    use crate::domain::market::{Channel, MarketClass};
    use crate::wire::subject::Subjects;
    let subjects = Subjects::new("a.b");
    for (class, channel, symbol) in [
        (MarketClass::Stocks, Channel::Bars, "BRK.B"),
        (MarketClass::Stocks, Channel::Quotes, "AAPL"),
        (MarketClass::Crypto, Channel::OrderBooks, "BTC/USD"),
        (MarketClass::Options, Channel::Trades, "AAPL250620C00100000"),
    ] {
        let subject = subjects.observation(class, channel, symbol);
        assert_eq!(
            subjects.read_observation(&subject),
            Some((class, channel, symbol.to_owned()))
        );
    }
    for other in [
        "a.b.data.v0.stocks.>",
        "a.b.data.v0.stocks.*",
        "a.b.data.v0.stocks.quotes.*",
        "a.b.data.v0.stocks.quotes.A.B",
        "a.b.data.v0.stocks.orderbooks.AAPL",
        "a.b.data.v0.crypto.BTC/USD",
        "a.b.data.v0.news.1",
        "a.b.data.v0.tradeupdates.AAPL",
        "x.data.v0.stocks.AAPL",
        "a.b.data.v0.stocks.quotes.BRK=2eB",
    ] {
        assert_eq!(subjects.read_observation(other), None, "{other}");
    }
}

#[test]
fn an_outcome_is_told_in_the_bytes_that_stand_in_its_record() {
    let order = |filled: &str| Order {
        filled_qty: filled.parse().unwrap(),
        ..Order::refused("momentum.1", None, Timestamp::from_second(1_800_000_000).unwrap())
    };
    let answered = Arc::new(order("0"));
    let told_since = Arc::new(order("1.5"));
    let acceptance = Acceptance {
        order: Some(Arc::clone(&answered)),
        ..Acceptance::default()
    };
    for latest in [None, Some(answered), Some(told_since)] {
        for verdict in [Verdict::Accepted(acceptance.clone()), Verdict::Expired] {
            let record = OrderRecord {
                order: latest.clone(),
                ..record_of(read(&trade()).unwrap(), Some(verdict.clone()))
            };
            let (written, outcome) = record_with_outcome(&record);
            assert_eq!(read_record(&written.bytes).unwrap(), record);
            let outcome = outcome.unwrap();
            assert_eq!(outcome, super::outcome(&outcome_of(verdict)));
            assert!(written.bytes.ends_with(&outcome.bytes));
        }
    }
    let intent = record_of(read(&trade()).unwrap(), None);
    assert_eq!(record_with_outcome(&intent).1, None);
}
