//! Requests that become websockets: the account's stream and the feeds of market data.

use std::sync::Arc;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_util::sync::CancellationToken;

use super::api::Answer;
use super::core::Refusal;
use super::deed::Deed;
use super::fault::{Reply, perform};
use super::market::dialogue::Format;
use super::market::feed::Feed;
use super::market::socket::{self, Opening};
use super::route::Endpoint;
use super::server::{Shared, authenticate, note_request, plain, response};
use super::stream::{self, Encoding};

/// An upgrade is a request: what befalls it comes first.
pub(crate) async fn open_stream(
    shared: Arc<Shared>,
    feed: Option<Feed>,
    request: Request<Incoming>,
    target: &str,
    cut: &CancellationToken,
) -> Response<Body> {
    let endpoint = feed.map_or(Endpoint::Stream, Feed::endpoint);
    let (parts, body) = request.into_parts();
    note_request(&shared, None, &parts, target, Some(endpoint), "");
    let request = Request::from_parts(parts, body);
    let open = |request| match feed {
        None => upgrade(&shared, request),
        Some(feed) => market_data(&shared, feed, request),
    };
    match shared.take_fault(None, Some(endpoint), target, b"") {
        None => open(request),
        Some(Reply::Delay(duration)) => {
            tokio::time::sleep(duration).await;
            open(request)
        }
        Some(reply) => {
            let deed = Deed {
                shared,
                serial: 0,
                work: Err(Refusal::endpoint_not_found()),
            };
            perform(deed, cut, reply).await
        }
    }
}

fn upgrade(shared: &Arc<Shared>, mut request: Request<Incoming>) -> Response<Body> {
    let Some(switching) = handshake(request.headers()) else {
        return response(426, "text/plain", Body::from("websocket upgrade required"));
    };
    let Some(admission) = shared.world().hub.admit() else {
        return plain(Answer {
            status: 429,
            body: r#"{"message":"too many requests."}"#.to_owned(),
        });
    };
    let encoding = Encoding::asked(request.headers(), shared.config.binary_frames);
    let upgrade = hyper::upgrade::on(&mut request);
    shared
        .tasks
        .spawn(stream::serve(Arc::clone(shared), upgrade, admission, encoding));
    switching
}

/// Unlike the account's stream, a taken place is told in band; an upgrade is refused only because a fault says so.
fn market_data(shared: &Arc<Shared>, feed: Feed, mut request: Request<Incoming>) -> Response<Body> {
    let headers = request.headers();
    let Some(switching) = handshake(headers) else {
        return response(426, "text/plain", Body::from("websocket upgrade required"));
    };
    if shared.world().feeds.refuses(feed.endpoint()) {
        return plain(Answer::from(&Refusal::rate_limited()));
    }
    let content_type = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    let opening = Opening {
        feed,
        format: match content_type {
            Some(kind) if kind.contains("msgpack") => Format::MessagePack,
            Some(_) | None => Format::Json,
        },
        has_keys: authenticate(headers, &shared.login()).is_ok(),
    };
    let upgrade = hyper::upgrade::on(&mut request);
    shared
        .tasks
        .spawn(socket::serve(Arc::clone(shared), upgrade, opening));
    switching
}

/// The answer that turns a request into a websocket, if it asks for that.
fn handshake(headers: &HeaderMap) -> Option<Response<Body>> {
    let names = |name: header::HeaderName, wanted: &str| {
        let values = headers
            .get_all(name)
            .iter()
            .filter_map(|value| value.to_str().ok());
        values
            .flat_map(|value| value.split(','))
            .any(|value| value.trim().eq_ignore_ascii_case(wanted))
    };
    let asks = names(header::CONNECTION, "upgrade")
        && names(header::UPGRADE, "websocket")
        && names(header::SEC_WEBSOCKET_VERSION, "13");
    let key = headers.get(header::SEC_WEBSOCKET_KEY).filter(|_| asks)?;
    let accept = HeaderValue::from_str(&derive_accept_key(key.as_bytes())).ok()?;
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    Some(response)
}
