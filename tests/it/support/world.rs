//! A whole world for one test: NATS, the venue, the daemon, and a client that publishes and looks.

use std::time::Duration;

use async_nats::jetstream::context::PublishError;
use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::publish::PublishAck;
use async_nats::jetstream::stream::RawMessageErrorKind;
use async_nats::{HeaderMap, jetstream};
use bytes::Bytes;
use nalpaca::sim::{Endpoint, RequestRecord, Sim, SimConfig};
use serde_json::Value;

use super::daemon::{Environment, KEY, SECRET};
use super::{Daemon, NatsServer, Release, proto, until};

pub(crate) const ACTION_STREAM: &str = "nalpaca-action-stream-v0";
pub(crate) const DATA_STREAM: &str = "nalpaca-data-stream-v0";
pub(crate) const JOURNAL_STREAM: &str = "nalpaca-journal-stream-v0";

/// Requests per minute that no test reaches.
const NO_LIMIT: u32 = 100_000;

/// What a world is made of.
pub(crate) struct Plan {
    pub(crate) release: Release,
    pub(crate) environment: Environment,
    pub(crate) sim: SimConfig,
}

impl Plan {
    pub(crate) fn new() -> Self {
        Self {
            release: Release::Recent,
            environment: Environment::new(),
            sim: SimConfig {
                key: KEY.to_owned(),
                secret: SECRET.to_owned(),
                rate_limit_per_minute: NO_LIMIT,
                tick: Duration::from_millis(10),
                event_delay: Duration::from_millis(1),
                ..SimConfig::default()
            },
        }
    }

    #[must_use]
    pub(crate) fn set(mut self, name: &str, value: &str) -> Self {
        self.environment.insert(name.to_owned(), value.to_owned());
        self
    }

    /// A daemon that is not given this variable.
    #[must_use]
    pub(crate) fn without(mut self, name: &str) -> Self {
        self.environment.insert(name.to_owned(), String::new());
        self
    }

    #[must_use]
    pub(crate) fn on(mut self, release: Release) -> Self {
        self.release = release;
        self
    }

    /// Runs all of it, and waits until the daemon is ready.
    pub(crate) async fn start(self) -> World {
        let nats = NatsServer::start(self.release).await;
        let mut world = self.start_on(nats).await;
        world.daemon.ready().await;
        world
    }

    /// Runs the venue and the daemon beside this server, which need not run.
    pub(crate) async fn start_on(self, nats: NatsServer) -> World {
        let sim = Sim::start(self.sim.clone()).await.expect("start the simulator");
        self.start_beside(nats, sim).await
    }

    /// Runs the daemon beside this server and this venue.
    pub(crate) async fn start_beside(self, nats: NatsServer, sim: Sim) -> World {
        let mut environment = environment(&nats, &sim);
        environment.extend(self.environment);
        let client = nats
            .options()
            .retry_on_initial_connect()
            .reconnect_delay_callback(|_| Duration::from_millis(50))
            .connect(nats.url())
            .await
            .expect("the address can be parsed");
        let daemon = Daemon::start(environment);
        World {
            daemon,
            jetstream: jetstream::new(client),
            sim,
            nats,
        }
    }
}

/// What a daemon needs to find its server and its venue.
pub(crate) fn environment(nats: &NatsServer, sim: &Sim) -> Environment {
    [
        ("NATS_URL", nats.url()),
        ("ALPACA_URL", sim.base_url()),
        ("ALPACA_API_KEY", KEY.to_owned()),
        ("ALPACA_API_SECRET", SECRET.to_owned()),
        ("RATE_LIMIT_PER_MINUTE", NO_LIMIT.to_string()),
        ("LOG_LEVEL", "debug".to_owned()),
        ("LOG_FMT", "text".to_owned()),
        ("LOG_SRC", "false".to_owned()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into()
}

/// One world. The daemon goes first when it is dropped, the server last.
pub(crate) struct World {
    pub(crate) daemon: Daemon,
    pub(crate) jetstream: jetstream::Context,
    pub(crate) sim: Sim,
    pub(crate) nats: NatsServer,
}

/// A message as a stream holds it.
#[derive(Debug)]
pub(crate) struct Stored {
    pub(crate) subject: String,
    pub(crate) sequence: u64,
    pub(crate) headers: HeaderMap,
    pub(crate) payload: Bytes,
}

impl Stored {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.as_str())
    }

    /// The message, by the schema its header names.
    pub(crate) fn message(&self) -> Value {
        proto::decode(self.header("Nalpaca-Schema"), &self.payload)
    }
}

impl World {
    /// The first of the daemon's metrics that begins like this.
    pub(crate) async fn metric(&self, line: &str) -> Option<f64> {
        let answer = self.daemon.get("/metrics").await?;
        let found = answer.body.lines().find(|text| text.starts_with(line))?;
        found.rsplit(' ').next()?.parse().ok()
    }

    pub(crate) async fn start() -> Self {
        Plan::new().start().await
    }

    /// Places an order as a person does, past the daemon, and returns the venue's answer.
    pub(crate) async fn place_elsewhere(&self, order: &Value) -> Value {
        let client = reqwest::Client::builder()
            .timeout(Duration::from_secs(30))
            .build();
        let answer = client
            .expect("a client")
            .post(format!("{}/v2/orders", self.sim.base_url()))
            .header("APCA-API-KEY-ID", KEY)
            .header("APCA-API-SECRET-KEY", SECRET)
            .body(order.to_string())
            .send()
            .await
            .expect("an answer");
        let body = answer.text().await.expect("a body");
        serde_json::from_str(&body).expect("the venue answers in JSON")
    }

    /// Runs a second daemon beside the first.
    pub(crate) fn another(&self, instance: &str) -> Daemon {
        self.daemon.another(instance)
    }

    /// Publishes an order as protobuf. `id` as it is spelled in the subject.
    pub(crate) async fn order(&self, id: &str, order: &Value) -> PublishAck {
        let payload = proto::encode("tradesvc.v0.Trade", order);
        let stored = self
            .publish(&format!("orders.{id}"), HeaderMap::new(), payload)
            .await;
        stored.expect("the action stream takes the order")
    }

    /// Publishes a cancel.
    pub(crate) async fn cancel(&self, id: &str) -> PublishAck {
        let stored = self
            .publish(&format!("cancel.{id}"), HeaderMap::new(), Bytes::new())
            .await;
        stored.expect("the action stream takes the cancel")
    }

    /// Publishes a replace as protobuf.
    pub(crate) async fn replace(&self, id: &str, replace: &Value) -> PublishAck {
        let payload = proto::encode("tradesvc.v0.Replace", replace);
        let stored = self
            .publish(&format!("replace.{id}"), HeaderMap::new(), payload)
            .await;
        stored.expect("the action stream takes the replace")
    }

    /// Publishes a close as protobuf.
    pub(crate) async fn close(&self, id: &str, close: &Value) -> PublishAck {
        let payload = proto::encode("tradesvc.v0.ClosePosition", close);
        let stored = self
            .publish(&format!("close.{id}"), HeaderMap::new(), payload)
            .await;
        stored.expect("the action stream takes the close")
    }

    /// Publishes a command, as it is.
    pub(crate) async fn publish(
        &self,
        tail: &str,
        headers: HeaderMap,
        payload: impl Into<Bytes>,
    ) -> Result<PublishAck, PublishError> {
        let publish = PublishMessage::build().headers(headers).payload(payload.into());
        let sent = self
            .jetstream
            .send_publish(format!("nalpaca.action.v0.{tail}"), publish)
            .await?;
        sent.await
    }

    /// Waits for the first outcome of an id, as it is spelled in the subject.
    pub(crate) async fn outcome(&self, id: &str) -> Value {
        self.outcomes(id, 1).await.remove(0).message()
    }

    /// Waits until an id has this many outcomes, and returns them all.
    pub(crate) async fn outcomes(&self, id: &str, count: usize) -> Vec<Stored> {
        self.journal(&format!("outcomes.{id}"), count).await
    }

    /// Waits until the journal has this many messages under a subject, and returns them all.
    pub(crate) async fn journal(&self, tail: &str, count: usize) -> Vec<Stored> {
        let subject = format!("nalpaca.journal.v0.{tail}");
        until(&format!("{count} messages on {subject}"), async || {
            let found = self.stored(JOURNAL_STREAM, &subject).await;
            (found.len() >= count).then_some(found)
        })
        .await
    }

    /// What a stream holds under a subject now.
    pub(crate) async fn stored(&self, stream: &str, subject: &str) -> Vec<Stored> {
        let stream = self
            .jetstream
            .get_stream_no_info(stream)
            .await
            .expect("no request is made");
        let mut found: Vec<Stored> = Vec::new();
        loop {
            let from = found.last().map_or(1, |last| last.sequence + 1);
            let message = stream
                .raw_message_builder()
                .sequence(from)
                .next_by_subject(subject)
                .send()
                .await;
            match message {
                Ok(message) => found.push(Stored {
                    subject: message.subject.to_string(),
                    sequence: message.sequence,
                    headers: message.headers,
                    payload: message.payload,
                }),
                Err(error) if matches!(error.kind(), RawMessageErrorKind::NoMessageFound) => return found,
                Err(error) => panic!("read {subject}: {error}"),
            }
        }
    }

    /// Waits until the action stream is empty: every command is settled.
    pub(crate) async fn settled(&self) {
        until("every command to be settled", async || {
            let stream = self.jetstream.get_stream(ACTION_STREAM).await.ok()?;
            (stream.cached_info().state.messages == 0).then_some(())
        })
        .await;
    }

    /// What a bucket holds under a key now.
    pub(crate) async fn value(&self, bucket: &str, key: &str) -> Option<Bytes> {
        let bucket = self
            .jetstream
            .get_key_value(bucket)
            .await
            .expect("the bucket is there");
        bucket.get(key).await.expect("the bucket can be read")
    }

    /// Waits until the ledger has a record of the order.
    pub(crate) async fn in_the_ledger(&self, id: &str) {
        until(&format!("the ledger to know {id}"), async || {
            self.value("nalpaca-orders", id).await
        })
        .await;
    }

    /// Waits until the venue has filled an order.
    pub(crate) async fn filled(&self, id: &str) {
        self.status(id, "filled").await;
    }

    /// Waits until an order has a status at the venue.
    pub(crate) async fn status(&self, id: &str, status: &str) {
        until(&format!("the venue's order {id} to be {status}"), async || {
            let order = self.sim.order(id)?;
            (order.status.as_str() == status).then_some(())
        })
        .await;
    }

    /// The POSTs of an order, by its client order id, oldest first.
    pub(crate) fn posts_of(&self, id: &str) -> Vec<RequestRecord> {
        let names = |request: &RequestRecord| {
            let body: Option<Value> = serde_json::from_str(&request.body).ok();
            request.endpoint == Some(Endpoint::SubmitOrder)
                && body.is_some_and(|body| body["client_order_id"] == id)
        };
        let mut requests = self.sim.snapshot().requests().to_vec();
        requests.retain(names);
        requests
    }

    /// Waits until the venue has received the POST of an order.
    pub(crate) async fn posted(&self, id: &str) {
        until(&format!("{id} to be POSTed"), async || {
            (!self.posts_of(id).is_empty()).then_some(())
        })
        .await;
    }

    /// How many orders were POSTed, whatever came of them.
    pub(crate) fn posts(&self) -> usize {
        self.sim.snapshot().requests_to(Endpoint::SubmitOrder)
    }

    /// Asks the service, in JSON; null is an empty payload. The answer, or the number and the words of what is wrong.
    pub(crate) async fn ask(&self, endpoint: &str, question: &Value) -> Result<Value, (String, String)> {
        let payload = if question.is_null() {
            Vec::new()
        } else {
            question.to_string().into_bytes()
        };
        let subject = format!("nalpaca.svc.v0.{endpoint}");
        let client = self.jetstream.client();
        let answer = until("the service to answer", async || {
            client.request(subject.clone(), payload.clone().into()).await.ok()
        })
        .await;
        let header = |name: &str| {
            let headers = answer.headers.as_ref()?;
            Some(headers.get(name)?.as_str().to_owned())
        };
        match header("Nats-Service-Error-Code") {
            Some(code) => Err((code, header("Nats-Service-Error").unwrap_or_default())),
            None => Ok(serde_json::from_slice(&answer.payload).expect("it answers in JSON")),
        }
    }
}
