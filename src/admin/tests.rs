//! The listener over a real socket.

use std::net::SocketAddr;

use jiff::Timestamp;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::watch;

use super::*;
use crate::domain::{Condition, ConditionName, GatewayState};
use crate::telemetry::metrics;

/// A listener that answers, and what makes it answer differently.
struct Running {
    address: SocketAddr,
    started: Started,
    state: watch::Sender<GatewayState>,
    stop: CancellationToken,
    task: JoinSet<io::Result<()>>,
}

impl Running {
    async fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (state, receiver) = watch::channel(GatewayState::default());
        let (started, readiness) = Readiness::new(receiver);
        let stop = CancellationToken::new();
        let mut task = JoinSet::new();
        task.spawn(serve(listener, readiness, metrics::uninstalled(), stop.clone()));
        Self {
            address,
            started,
            state,
            stop,
            task,
        }
    }

    /// Sends one request and reads until the daemon closes the connection.
    async fn ask(&self, request: &str) -> String {
        let mut socket = TcpStream::connect(self.address).await.unwrap();
        let text = format!("{request} HTTP/1.1\r\nHost: test\r\n\r\n");
        socket.write_all(text.as_bytes()).await.unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).await.unwrap();
        answer
    }

    fn raise(&self, name: ConditionName, holds_orders: bool) {
        self.state.send_modify(|state| {
            state.raise(Condition {
                name,
                reason: "socket\nclosed".to_owned(),
                since: Timestamp::UNIX_EPOCH,
                holds_orders,
            });
        });
    }
}

#[tokio::test]
async fn readiness_rises_and_falls_with_its_latches() {
    let running = Running::start().await;
    let answer = running.ask("GET /readyz").await;
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert!(answer.contains("[-]started: not yet\n"), "{answer}");

    running.started.set();
    let answer = running.ask("GET /readyz?verbose").await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert!(answer.contains("text/plain"), "{answer}");
    assert!(
        answer.contains("[+]nats_disconnected ok\n") && answer.ends_with("\nready\n"),
        "{answer}"
    );

    running.raise(ConditionName::Blind, true);
    let answer = running.ask("GET /readyz").await;
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert!(
        answer.contains("[-]blind: socket closed\n") && answer.ends_with("\nnot ready\n"),
        "{answer}"
    );

    running.state.send_modify(|state| {
        state.clear(ConditionName::Blind);
    });
    running.raise(ConditionName::PositionsStale, false);
    let answer = running.ask("GET /readyz").await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert!(answer.contains("[!]positions_stale: socket closed\n"), "{answer}");

    running.raise(ConditionName::Stopping, false);
    assert!(running.ask("GET /readyz").await.starts_with("HTTP/1.1 503 "));
}

#[tokio::test]
async fn one_that_stands_by_is_ready_for_those_who_ask_for_that() {
    let running = Running::start().await;
    let is_good = async |page: &str| running.ask(page).await.starts_with("HTTP/1.1 200 ");
    assert!(!is_good("GET /readyz?standby=ready").await, "it has just started");
    running.raise(ConditionName::Reconciling, true);
    running.raise(ConditionName::Standby, true);
    assert!(is_good("GET /readyz?standby=ready").await);
    assert!(is_good("GET /readyz?verbose&standby=ready").await);
    assert!(!is_good("GET /readyz").await);
    assert!(!is_good("GET /readyz?standby=ready1").await);
    running.raise(ConditionName::NatsDisconnected, true);
    assert!(
        !is_good("GET /readyz?standby=ready").await,
        "it could not take over"
    );
}

#[tokio::test]
async fn the_other_pages_answer() {
    let running = Running::start().await;
    let livez = running.ask("GET /livez").await;
    assert!(
        livez.starts_with("HTTP/1.1 200 ") && livez.ends_with("ok\n"),
        "{livez}"
    );
    let version = running.ask("GET /version").await;
    assert!(
        version.contains(r#""version":"#) && version.contains("application/json"),
        "{version}"
    );
    let metrics = running.ask("GET /metrics").await;
    assert!(
        metrics.starts_with("HTTP/1.1 200 ") && metrics.contains("text/plain; version=0.0.4"),
        "{metrics}"
    );
    let missing = running.ask("GET /nothing").await;
    assert!(
        missing.starts_with("HTTP/1.1 404 ") && missing.contains(r#""error":"not found""#),
        "{missing}"
    );
    let posted = running.ask("POST /livez").await;
    assert!(
        posted.starts_with("HTTP/1.1 405 ") && posted.contains("method not allowed"),
        "{posted}"
    );
}

#[tokio::test]
async fn a_stop_ends_it_although_a_client_says_nothing() {
    let mut running = Running::start().await;
    let _silent = TcpStream::connect(running.address).await.unwrap();
    assert!(running.ask("GET /livez").await.contains("ok"));
    running.stop.cancel();
    let ended = tokio::time::timeout(Duration::from_secs(5), running.task.join_next()).await;
    assert!(matches!(ended, Ok(Some(Ok(Ok(()))))), "{ended:?}");
    assert!(TcpStream::connect(running.address).await.is_err());
}
