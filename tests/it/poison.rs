//! Messages that break the NATS client itself. A publisher of any language can send them, and nobody may be cost by
//! them but their publisher.

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::order::resting;
use crate::support::world::Plan;
use crate::support::{Release, World};

/// Publishes bytes that no client would, and waits until the server has taken them.
async fn publish_raw(world: &World, subject: &[u8], header: &[u8], payload: &[u8]) {
    let mut socket = TcpStream::connect(world.nats.url())
        .await
        .expect("connect to nats-server");
    let mut bytes = b"CONNECT {\"verbose\":false,\"headers\":true,\"no_responders\":true}\r\nHPUB ".to_vec();
    bytes.extend_from_slice(subject);
    let sizes = format!(" {} {}\r\n", header.len(), header.len() + payload.len());
    bytes.extend_from_slice(sizes.as_bytes());
    bytes.extend_from_slice(header);
    bytes.extend_from_slice(payload);
    bytes.extend_from_slice(b"\r\nPING\r\n");
    socket.write_all(&bytes).await.expect("write to nats-server");
    let mut answer = Vec::new();
    let mut buffer = [0; 4096];
    while !answer.windows(6).any(|window| window == b"PONG\r\n") {
        let read = socket.read(&mut buffer).await.expect("read from nats-server");
        assert_ne!(read, 0, "{}", String::from_utf8_lossy(&answer));
        answer.extend_from_slice(&buffer[..read]);
    }
    let answer = String::from_utf8_lossy(&answer).into_owned();
    assert!(!answer.contains("-ERR"), "{answer}");
}

/// What breaks the client: a name, the subject, and the header.
fn poisons() -> Vec<(&'static str, Vec<u8>, Vec<u8>)> {
    let on = |id: &str| format!("nalpaca.action.v0.orders.{id}").into_bytes();
    let mut not_utf8 = on("subject-");
    not_utf8.extend_from_slice(&[0xff, 0xfe]);
    let header = |line: &[u8]| {
        let mut header = b"NATS/1.0\r\n".to_vec();
        header.extend_from_slice(line);
        header.extend_from_slice(b"\r\n\r\n");
        header
    };
    vec![
        ("lone-cr", on("lone-cr"), header(b"X-Note: a\rb")),
        ("name", on("name"), header(b"X Note\xff: a")),
        (
            "version",
            on("version"),
            b"NATS/9.9\r\nX-Note: a\r\n\r\n".to_vec(),
        ),
        ("subject", not_utf8, header(b"X-Note: a")),
        // The client takes it for the server's word that there is nothing.
        (
            "status",
            on("status"),
            b"NATS/1.0 404 No Messages\r\n\r\n".to_vec(),
        ),
    ]
}

async fn every_poison_is_buried_and_its_neighbours_are_served(release: Release) {
    let mut world = Plan::new().on(release).start().await;
    for (name, subject, header) in poisons() {
        world.order(&format!("before.{name}"), &resting("AAPL")).await;
        let payload = resting("MSFT").to_string();
        publish_raw(&world, &subject, &header, payload.as_bytes()).await;
        world.order(&format!("after.{name}"), &resting("AAPL")).await;
    }
    for (name, ..) in poisons() {
        for id in [format!("before.{name}"), format!("after.{name}")] {
            let outcomes = world.outcomes(&id, 1).await;
            assert_eq!(outcomes.len(), 1, "{id}");
            let outcome = outcomes[0].message();
            assert_eq!(outcome["kind"], "OUTCOME_KIND_ACCEPTED", "{id}: {outcome}");
            assert_eq!(world.sim.snapshot().orders_by_client_id(&id), 1, "{id}");
        }
    }
    world.settled().await;
    // Newer servers take a status out of what is published, and what is left is a good order.
    let is_cleaned = |name: &str| release == Release::Recent && name == "status";
    let count = poisons().iter().filter(|(name, ..)| !is_cleaned(name)).count();
    let buried = world.journal("dead.orders", count).await;
    assert_eq!(buried.len(), count);
    for letter in &buried {
        assert_ne!(letter.header("Nalpaca-Reason"), "");
        let payload: Value = serde_json::from_slice(&letter.payload).expect("the payload is kept as it was");
        assert_eq!(payload["symbol"], "MSFT");
    }
    // Whoever published one under a readable name is told.
    for name in ["lone-cr", "name", "version", "status"] {
        let outcomes = world.outcomes(name, 1).await;
        assert_eq!(outcomes.len(), 1, "{name}");
        let outcome = outcomes[0].message();
        if is_cleaned(name) {
            assert_eq!(outcome["kind"], "OUTCOME_KIND_ACCEPTED", "{outcome}");
            continue;
        }
        assert_eq!(outcome["kind"], "OUTCOME_KIND_INVALID", "{outcome}");
        let message = outcome["message"].as_str().expect("a message is text");
        assert!(message.contains("would break a NATS client"), "{message}");
        assert_eq!(world.sim.snapshot().orders_by_client_id(name), 0, "{name}");
    }
    world.daemon.ready().await;
}

#[tokio::test]
async fn on_the_recent_server_every_poison_is_buried_and_its_neighbours_are_served() {
    every_poison_is_buried_and_its_neighbours_are_served(Release::Recent).await;
}

#[tokio::test]
async fn on_the_oldest_server_every_poison_is_buried_and_its_neighbours_are_served() {
    every_poison_is_buried_and_its_neighbours_are_served(Release::Oldest).await;
}

#[tokio::test]
async fn a_backlog_with_poison_in_it_is_served_by_the_next_daemon() {
    let mut world = World::start().await;
    world.daemon.kill9();
    for (name, subject, header) in poisons() {
        publish_raw(&world, &subject, &header, b"{}").await;
        world.order(&format!("after.{name}"), &resting("AAPL")).await;
        world.cancel(&format!("after.{name}")).await;
    }
    world.daemon.run();
    world.settled().await;
    for (name, ..) in poisons() {
        let outcomes = world.outcomes(&format!("after.{name}"), 2).await;
        assert_eq!(outcomes.len(), 2, "one of the order, one of its cancel");
    }
    assert_eq!(
        world.journal("dead.orders", poisons().len()).await.len(),
        poisons().len()
    );
}
