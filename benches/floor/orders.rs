//! Orders: pull, decode, POST, acknowledge. The full one also writes an intent before the POST and an outcome after it;
//! the bare one does not.

use std::cell::RefCell;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use async_nats::header::NATS_MESSAGE_ID;
use async_nats::jetstream::consumer::PullConsumer;
use async_nats::{HeaderMap, jetstream};
use bytes::Bytes;
use futures_util::StreamExt as _;
use http_body_util::{BodyExt as _, Full};
use hyper::Request;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use prost::Message as _;
use serde::{Deserialize, Serialize};
use tokio::net::TcpStream;

use crate::Result;
use crate::proto::tradesvc;

/// Messages asked for at once.
const BATCH: usize = 64;
/// How long a pull waits for them on the server.
const EXPIRES: Duration = Duration::from_secs(2);

/// What is done besides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Pull, POST, acknowledge.
    Bare,
    /// With an intent before and an outcome after the POST.
    Full,
}

impl Kind {
    /// First tokens of its subjects, and of the names of its streams.
    pub(crate) const fn prefix(self) -> &'static str {
        match self {
            Self::Bare => "bare",
            Self::Full => "floor",
        }
    }
}

struct Floor {
    kind: Kind,
    jetstream: jetstream::Context,
    venue: String,
    /// Connections nobody uses now.
    idle: RefCell<Vec<SendRequest<Full<Bytes>>>>,
}

pub(crate) async fn run(kind: Kind, nats: &str, venue: &str) -> Result<()> {
    // Whoever talks to the venue talks TLS: this one could, too.
    let _tls = tls()?;
    let client = async_nats::connect(nats).await?;
    let jetstream = jetstream::new(client);
    let stream = format!("{}-action", kind.prefix());
    let consumer: PullConsumer = jetstream.get_consumer_from_stream("orders", &stream).await?;
    println!("ready");
    let floor = Rc::new(Floor {
        kind,
        jetstream,
        venue: venue.to_owned(),
        idle: RefCell::default(),
    });
    let local = tokio::task::LocalSet::new();
    let taking = async {
        loop {
            let mut batch = consumer
                .batch()
                .max_messages(BATCH)
                .expires(EXPIRES)
                .messages()
                .await?;
            while let Some(message) = batch.next().await {
                let (message, floor) = (message?, Rc::clone(&floor));
                tokio::task::spawn_local(async move {
                    if let Err(error) = floor.place(message).await {
                        println!("{error}");
                    }
                });
            }
        }
    };
    local.run_until(taking).await
}

/// The system's roots, of its bundle alone where it has one.
fn tls() -> Result<rustls::ClientConfig> {
    let bundle = Path::new("/etc/ssl/certs/ca-certificates.crt");
    let found = if bundle.is_file() {
        rustls_native_certs::load_certs_from_paths(Some(bundle), None)
    } else {
        rustls_native_certs::load_native_certs()
    };
    let mut roots = rustls::RootCertStore::empty();
    roots.add_parsable_certificates(found.certs);
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let versions =
        rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(versions.with_root_certificates(roots).with_no_client_auth())
}

#[derive(Serialize)]
struct Body<'a> {
    symbol: &'a str,
    qty: &'a str,
    side: &'a str,
    #[serde(rename = "type")]
    order_type: &'a str,
    time_in_force: &'a str,
    limit_price: &'a str,
    client_order_id: &'a str,
}

#[derive(Deserialize)]
struct Answer<'a> {
    id: &'a str,
    symbol: &'a str,
    status: &'a str,
    qty: &'a str,
    filled_qty: &'a str,
    limit_price: &'a str,
    asset_id: &'a str,
}

impl Floor {
    async fn place(&self, message: jetstream::Message) -> Result<()> {
        let subject = message.subject.as_str();
        let id = subject.splitn(5, '.').nth(4).ok_or("a subject without an id")?;
        let trade = tradesvc::Trade::decode(message.payload.clone())?;
        let body = Body {
            symbol: &trade.symbol,
            qty: &trade.qty,
            side: "buy",
            order_type: "limit",
            time_in_force: "day",
            limit_price: &trade.limit_price,
            client_order_id: id,
        };
        let body = serde_json::to_vec(&body)?;
        if self.kind == Kind::Full {
            let mut headers = HeaderMap::new();
            headers.insert("Nats-Expected-Last-Subject-Sequence", "0");
            let key = format!("$KV.floor-orders.{id}");
            let written = self
                .jetstream
                .publish_with_headers(key, headers, body.clone().into());
            written.await?.await?;
        }
        let answer = self.post(body.into()).await?;
        if self.kind == Kind::Full {
            let answer: Answer<'_> = serde_json::from_slice(&answer)?;
            let outcome = tradesvc::Outcome {
                client_order_id: id.to_owned(),
                terminal: true,
                http_status: 200,
                order_id: answer.id.to_owned(),
                order: Some(tradesvc::Order {
                    id: answer.id.to_owned(),
                    client_order_id: id.to_owned(),
                    symbol: answer.symbol.to_owned(),
                    status: answer.status.to_owned(),
                    qty: answer.qty.to_owned(),
                    filled_qty: answer.filled_qty.to_owned(),
                    limit_price: answer.limit_price.to_owned(),
                    asset_id: answer.asset_id.to_owned(),
                    ..tradesvc::Order::default()
                }),
                ..tradesvc::Outcome::default()
            };
            let mut headers = HeaderMap::new();
            headers.insert(NATS_MESSAGE_ID, format!("outcome:{id}").as_str());
            headers.insert("Nalpaca-Schema", "tradesvc.v0.Outcome");
            let subject = format!("floor.journal.v0.outcomes.{id}");
            let published =
                self.jetstream
                    .publish_with_headers(subject, headers, outcome.encode_to_vec().into());
            published.await?.await?;
        }
        message.ack().await
    }

    async fn post(&self, body: Bytes) -> Result<Bytes> {
        let idle = self.idle.borrow_mut().pop();
        let mut sender = match idle {
            Some(sender) => sender,
            None => {
                let socket = TcpStream::connect(&self.venue).await?;
                socket.set_nodelay(true)?;
                let (sender, connection) = handshake(TokioIo::new(socket)).await?;
                tokio::task::spawn_local(connection);
                sender
            }
        };
        let request = Request::post("/v2/orders")
            .header("host", &self.venue)
            .header("apca-api-key-id", "key")
            .header("apca-api-secret-key", "secret")
            .header("content-type", "application/json")
            .body(Full::new(body))?;
        let response = sender.send_request(request).await?;
        let answer = response.into_body().collect().await?.to_bytes();
        self.idle.borrow_mut().push(sender);
        Ok(answer)
    }
}
