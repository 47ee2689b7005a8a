//! Trade updates: one socket, each event decoded, written as protobuf, and published twice, once for whoever listens and
//! once for the journal.

use std::borrow::Cow;

use async_nats::header::NATS_MESSAGE_ID;
use async_nats::{HeaderMap, jetstream};
use futures_util::{SinkExt as _, StreamExt as _};
use prost::Message as _;
use prost_types::Timestamp;
use serde::Deserialize;
use serde_json::json;
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::Message;

use crate::Result;
use crate::proto::tradesvc;

#[derive(Deserialize)]
struct Frame<'a> {
    #[serde(borrow)]
    data: Event<'a>,
}

#[derive(Deserialize)]
struct Event<'a> {
    event: &'a str,
    event_id: &'a str,
    execution_id: &'a str,
    timestamp: &'a str,
    #[serde(default)]
    price: Option<Cow<'a, str>>,
    #[serde(default)]
    qty: Option<Cow<'a, str>>,
    #[serde(default)]
    position_qty: Option<Cow<'a, str>>,
    #[serde(borrow)]
    order: Order<'a>,
}

#[derive(Deserialize)]
struct Order<'a> {
    id: &'a str,
    client_order_id: &'a str,
    created_at: &'a str,
    updated_at: &'a str,
    submitted_at: &'a str,
    asset_id: &'a str,
    symbol: &'a str,
    status: &'a str,
    qty: &'a str,
    filled_qty: &'a str,
    limit_price: &'a str,
}

pub(crate) async fn run(nats: &str, venue: &str) -> Result<()> {
    let jetstream = jetstream::new(async_nats::connect(nats).await?);
    let (mut socket, _) = connect_async(format!("ws://{venue}/floor")).await?;
    for question in [
        json!({"action": "authenticate", "data": {"key_id": "k", "secret_key": "s"}}),
        json!({"action": "listen", "data": {"streams": ["trade_updates"]}}),
    ] {
        socket.send(Message::text(question.to_string())).await?;
        while !socket.next().await.ok_or("the venue has gone")??.is_binary() {}
    }
    println!("ready");
    while let Some(message) = socket.next().await {
        let Message::Binary(bytes) = message? else {
            continue;
        };
        let event = serde_json::from_slice::<Frame<'_>>(&bytes)?.data;
        let id = format!("update:{}", event.execution_id);
        let fanned_out = format!("floor.data.v0.tradeupdates.{}", event.order.symbol);
        let journaled = format!("floor.journal.v0.updates.{}", event.order.client_order_id);
        let payload: bytes::Bytes = told(&event)?.encode_to_vec().into();
        for subject in [fanned_out, journaled] {
            let mut headers = HeaderMap::new();
            headers.insert(NATS_MESSAGE_ID, id.as_str());
            headers.insert("Nalpaca-Schema", "tradesvc.v0.TradeUpdate");
            let sent = jetstream.publish_with_headers(subject, headers, payload.clone());
            sent.await?.await?;
        }
    }
    Ok(())
}

fn told(event: &Event<'_>) -> Result<tradesvc::TradeUpdate> {
    let text = |text: &Option<Cow<'_, str>>| text.as_deref().unwrap_or_default().to_owned();
    let order = &event.order;
    Ok(tradesvc::TradeUpdate {
        event: event.event.to_owned(),
        event_id: event.event_id.to_owned(),
        execution_id: event.execution_id.to_owned(),
        timestamp: Some(instant(event.timestamp)?),
        price: text(&event.price),
        qty: text(&event.qty),
        position_qty: text(&event.position_qty),
        order: Some(tradesvc::Order {
            id: order.id.to_owned(),
            client_order_id: order.client_order_id.to_owned(),
            created_at: Some(instant(order.created_at)?),
            updated_at: Some(instant(order.updated_at)?),
            submitted_at: Some(instant(order.submitted_at)?),
            asset_id: order.asset_id.to_owned(),
            symbol: order.symbol.to_owned(),
            status: order.status.to_owned(),
            qty: order.qty.to_owned(),
            filled_qty: order.filled_qty.to_owned(),
            limit_price: order.limit_price.to_owned(),
            ..tradesvc::Order::default()
        }),
        ..tradesvc::TradeUpdate::default()
    })
}

fn instant(text: &str) -> Result<Timestamp> {
    let at: jiff::Timestamp = text.parse()?;
    Ok(Timestamp {
        seconds: at.as_second(),
        nanos: at.subsec_nanosecond(),
    })
}
