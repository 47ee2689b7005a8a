//! The HTTP listener for operators: is the daemon alive, is it ready, what does it count, which build is it.
//!
//! It only reads, and it asks nobody: every answer comes from memory, so a probe costs nothing and cannot hang on
//! NATS or the venue. `/livez` says that the runtime which trades still turns; no dependency is part of it, as
//! restarting us mends none of them. `/readyz` says that the daemon does its whole job now.
//!
//! A stranger who reaches the port can hold a bounded number of connections for a bounded time: each answers one
//! request and is closed.

pub mod health;
mod readiness;

use std::io;
use std::time::Duration;

use axum::extract::State;
use axum::http::{StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::telemetry::MetricsHandle;

pub use readiness::{Readiness, Started};

/// Scrapers and probes are a handful; more at once is a mistake or an attack.
const CONNECTIONS_MAX: usize = 64;
/// One request, from accept to the last byte of the answer.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(10);
/// A probe sends its headers at once.
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);
/// Answers that are being written when the stop begins.
const STOP_GRACE: Duration = Duration::from_secs(1);
/// Without scrapes histograms buffer what they are given; this bounds it. The exporter's own default.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(5);
/// Pause after a failed accept, which is mostly a lack of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

#[derive(Clone)]
struct Shared {
    readiness: Readiness,
    metrics: MetricsHandle,
}

/// Answers until `stop` is cancelled, then finishes the answers begun.
pub async fn serve(
    listener: TcpListener,
    readiness: Readiness,
    metrics: MetricsHandle,
    stop: CancellationToken,
) -> io::Result<()> {
    let router = router(Shared {
        readiness,
        metrics: metrics.clone(),
    });
    let mut connections = JoinSet::new();
    let mut upkeep = tokio::time::interval(UPKEEP_INTERVAL);
    upkeep.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        let has_room = connections.len() < CONNECTIONS_MAX;
        let accepted = tokio::select! {
            biased;
            () = stop.cancelled() => break, // cancel-safe: level-triggered
            _ = upkeep.tick() => { // cancel-safe: docs
                metrics.run_upkeep();
                continue;
            }
            Some(_) = connections.join_next() => continue, // cancel-safe: docs; its end means nothing to us
            accepted = listener.accept(), if has_room => accepted, // cancel-safe: docs
        };
        match accepted {
            Ok((socket, _)) => {
                connections.spawn(answer(socket, router.clone()));
            }
            Err(error) => {
                warn!(%error, "accept failed on the admin listener");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    let drain = async { while connections.join_next().await.is_some() {} };
    // Dropping the set ends what a slow reader keeps open.
    if tokio::time::timeout(STOP_GRACE, drain).await.is_err() {
        debug!(connections = connections.len(), "admin connections were cut");
    }
    Ok(())
}

async fn answer(socket: TcpStream, router: Router) {
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .keep_alive(false)
        .serve_connection(TokioIo::new(socket), TowerToHyperService::new(router));
    match tokio::time::timeout(CONNECTION_TIMEOUT, connection).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => debug!(%error, "admin connection failed"),
        Err(_elapsed) => debug!("admin connection took too long"),
    }
}

fn router(shared: Shared) -> Router {
    Router::new()
        .route("/metrics", get(metrics))
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .route("/version", get(version))
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .with_state(shared)
}

async fn metrics(State(shared): State<Shared>) -> Response {
    let content_type = [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")];
    (content_type, shared.metrics.render()).into_response()
}

/// This handler runs on the runtime that trades: that it answers at all is the heartbeat.
async fn livez() -> Response {
    text(StatusCode::OK, "ok\n".to_owned())
}

/// Everything is always listed, so `?verbose`, which Kubernetes' own probes know, changes nothing. With
/// `?standby=ready` a daemon that stands by is as good as ready.
async fn readyz(State(shared): State<Shared>, uri: Uri) -> Response {
    let report = shared.readiness.report();
    let takes_standby = uri
        .query()
        .is_some_and(|query| query.split('&').any(|asked| asked == "standby=ready"));
    let status = if report.ready || (takes_standby && report.stands_by) {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    text(status, report.lines)
}

async fn version() -> Response {
    Json(json!({
        "name": "nalpaca",
        "version": env!("CARGO_PKG_VERSION"),
        "revision": env!("NALPACA_REVISION"),
    }))
    .into_response()
}

async fn not_found(uri: Uri) -> Response {
    let body = json!({
        "error": "not found",
        "path": uri.path(),
        "paths": ["/livez", "/metrics", "/readyz", "/version"],
    });
    (StatusCode::NOT_FOUND, Json(body)).into_response()
}

async fn method_not_allowed() -> Response {
    let body = json!({ "error": "method not allowed", "allowed": ["GET", "HEAD"] });
    (StatusCode::METHOD_NOT_ALLOWED, Json(body)).into_response()
}

fn text(status: StatusCode, body: String) -> Response {
    let headers = [
        (header::CONTENT_TYPE, "text/plain; charset=utf-8"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    (status, headers, body).into_response()
}

#[cfg(test)]
mod tests;
