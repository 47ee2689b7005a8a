//! gRPC's health service (`grpc.health.v1.Health`), for probes that speak no HTTP.
//!
//! `""` and `liveness` say that the runtime which trades still turns, as `/livez` does: whoever restarts us when it says
//! otherwise may ask no dependency of ours. `readiness` says what `/readyz?standby=ready` says.

use std::io;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic_health::ServingStatus;

use super::Readiness;

/// Service names a probe may ask for, that hold for as long as we answer.
const LIVENESS: [&str; 2] = ["", "liveness"];
const READINESS: &str = "readiness";

/// A probe asks one thing at a time; a watcher stays.
const CONCURRENCY_MAX: usize = 16;
/// A connection that is dead, or of somebody who only holds it, is closed.
const KEEPALIVE: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(10));
const CONNECTION_AGE: Duration = Duration::from_secs(3600);
/// How often it is looked at whether we do our part; between two looks the old word stands.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Answers until `stop` is cancelled.
pub async fn serve(listener: TcpListener, readiness: Readiness, stop: CancellationToken) -> io::Result<()> {
    let (reporter, service) = tonic_health::server::health_reporter();
    for name in LIVENESS {
        reporter.set_service_status(name, ServingStatus::Serving).await;
    }
    let follow = async {
        let mut told = None;
        loop {
            let does_its_part = readiness.does_its_part();
            if told != Some(does_its_part) {
                let status = if does_its_part {
                    ServingStatus::Serving
                } else {
                    ServingStatus::NotServing
                };
                reporter.set_service_status(READINESS, status).await;
                told = Some(does_its_part);
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    };
    let served = Server::builder()
        .concurrency_limit_per_connection(CONCURRENCY_MAX)
        .http2_keepalive_interval(Some(KEEPALIVE.0))
        .http2_keepalive_timeout(Some(KEEPALIVE.1))
        .max_connection_age(CONNECTION_AGE)
        .add_service(service)
        .serve_with_incoming(TcpIncoming::from(listener));
    tokio::select! {
        () = stop.cancelled() => Ok(()), // cancel-safe: level-triggered
        served = served => served.map_err(io::Error::other),
        () = follow => Ok(()),
    }
}
