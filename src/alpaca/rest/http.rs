//! How requests reach the venue: one pool of connections, each kept warm, HTTP/1.1 over TLS or, to a loopback, without.
//!
//! Deliberately absent: redirects (the headers that say who we are would survive them), retries of what may have been written (a
//! repeated POST is an order), and proxies from the environment (the stream would not use them, and the secret would pass
//! through a third party nobody configured here).

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderValue, USER_AGENT};
use http::{Method, Request, Response, Uri};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::{self, connect::HttpConnector};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::ClientConfig;
use tokio::time::Instant;
use tower_service::Service;

use super::answer::{Answer, TransportError};
use super::last_check::{self, CheckedBody};
use super::roots;
use crate::telemetry::Chain;

/// TCP and TLS together.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// A connection nobody used for so long is closed by us. Longer than the pause between the mirrors' reads, which
/// keep connections warm, and shorter than the idle timeouts usual at an edge, which would reset an order's POST.
const POOL_IDLE_TIMEOUT: Duration = Duration::from_secs(15);

/// A connection that has nothing to say is asked whether it lives, so often; three silences end it.
const KEEPALIVE: Duration = Duration::from_secs(15);
const KEEPALIVE_RETRIES: u32 = 3;
/// What was written and not acknowledged for so long ends the connection, also one that nobody holds any more: a request that
/// was given up, or whose process was killed, is sent again by the kernel until then (RFC 5482, tcp(7); Linux alone). An order
/// counts as absent only later.
pub const UNACKNOWLEDGED_MAX: Duration = Duration::from_secs(10);

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const OURSELVES: HeaderValue = HeaderValue::from_static(concat!("nalpaca/", env!("CARGO_PKG_VERSION")));

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The pool. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Http {
    client: legacy::Client<Timed<HttpsConnector<HttpConnector>>, CheckedBody>,
    request_timeout: Duration,
}

impl Http {
    /// Sets it up, with the roots of the system. Connects to nothing.
    ///
    /// `request_timeout`: for a whole request, from connecting to the last byte read.
    pub(super) fn set_up(request_timeout: Duration) -> Result<Self, rustls::Error> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots::of_the_system())
            .with_no_client_auth();
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_keepalive(Some(KEEPALIVE));
        tcp.set_keepalive_interval(Some(KEEPALIVE));
        tcp.set_keepalive_retries(Some(KEEPALIVE_RETRIES));
        #[cfg(target_os = "linux")]
        tcp.set_tcp_user_timeout(Some(UNACKNOWLEDGED_MAX));
        let connector = Timed {
            inner: HttpsConnectorBuilder::new()
                .with_tls_config(tls)
                .https_or_http()
                .enable_http1()
                .wrap_connector(tcp),
            // Must end before the request's own timeout, or a connection that never opened would pass for an order
            // that may be working.
            limit: CONNECT_TIMEOUT.min(request_timeout / 2),
        };
        let client = legacy::Client::builder(TokioExecutor::new())
            .pool_idle_timeout(POOL_IDLE_TIMEOUT)
            .pool_timer(TokioTimer::new())
            .build(connector);
        Ok(Self {
            client,
            request_timeout,
        })
    }

    /// Sends one request, once, and reads its answer; a body larger than `body_max` bytes is not read. `head` is called
    /// with what is known before the body is.
    pub(super) async fn exchange(
        &self,
        method: Method,
        uri: Uri,
        mut headers: HeaderMap,
        body: Option<CheckedBody>,
        body_max: usize,
        head: impl FnOnce(&Answer),
    ) -> Result<Answer, TransportError> {
        let until = Instant::now() + self.request_timeout;
        headers.insert(ACCEPT, JSON);
        headers.insert(USER_AGENT, OURSELVES);
        if body.is_some() {
            headers.insert(CONTENT_TYPE, JSON);
        }
        let mut request = Request::new(body.unwrap_or_else(CheckedBody::nothing));
        (*request.method_mut(), *request.uri_mut(), *request.headers_mut()) = (method, uri, headers);
        let response = match tokio::time::timeout_at(until, self.client.request(request)).await {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => return Err(transport_error(&error)),
            Err(_late) => return Err(TransportError::Unknown(self.late())),
        };
        let mut answer = Answer::from_head(response.status().as_u16(), response.headers());
        head(&answer);
        answer.body = match tokio::time::timeout_at(until, read_body(response, body_max)).await {
            Ok(read) => read,
            Err(_late) => Err(format!("the body was cut off: {}", self.late())),
        };
        Ok(answer)
    }

    fn late(&self) -> String {
        format!("no answer in time, {} s", self.request_timeout.as_secs_f64())
    }
}

/// The whole body, unless it is cut off or larger than `max`.
async fn read_body(response: Response<Incoming>, max: usize) -> Result<Bytes, String> {
    let mut incoming = response.into_body();
    let mut body = BytesMut::new();
    while let Some(frame) = incoming.frame().await {
        let frame = frame.map_err(|error| format!("the body was cut off: {}", Chain(&error)))?;
        let Some(chunk) = frame.data_ref() else { continue };
        if body.len() + chunk.len() > max {
            return Err(format!("the body is larger than {max} bytes"));
        }
        body.extend_from_slice(chunk);
    }
    Ok(body.freeze())
}

/// Sorts a failed request by whether a byte of it can have reached the venue.
fn transport_error(error: &legacy::Error) -> TransportError {
    // `is_connect` covers DNS, TCP, TLS and the connect timeout: the request itself was not yet written.
    let not_sent = error.is_connect() || last_check::was_withheld(error);
    let cause = Chain(error).to_string();
    if not_sent {
        TransportError::NotSent(cause)
    } else {
        TransportError::Unknown(cause)
    }
}

/// A connector that gives up: the one for TLS waits for a handshake for as long as it takes.
#[derive(Clone, Debug)]
struct Timed<C> {
    inner: C,
    limit: Duration,
}

impl<C> Service<Uri> for Timed<C>
where
    C: Service<Uri, Error = BoxError>,
    C::Future: Send + 'static,
{
    type Response = C::Response;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<C::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let (connecting, limit) = (self.inner.call(uri), self.limit);
        Box::pin(async move {
            match tokio::time::timeout(limit, connecting).await {
                Ok(connected) => connected,
                Err(_late) => Err(format!("no connection within {} s", limit.as_secs_f64()).into()),
            }
        })
    }
}
