//! Paths and methods: which endpoint a request means.

use super::core::Refusal;

/// One operation of the venue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Endpoint {
    /// `POST /v2/orders`
    SubmitOrder,
    /// `GET /v2/orders`
    ListOrders,
    /// `DELETE /v2/orders`
    CancelAllOrders,
    /// `GET /v2/orders/{id}`
    GetOrder,
    /// `GET /v2/orders:by_client_order_id`
    GetOrderByClientOrderId,
    /// `PATCH /v2/orders/{id}`
    ReplaceOrder,
    /// `DELETE /v2/orders/{id}`
    CancelOrder,
    /// `GET /v2/positions`
    ListPositions,
    /// `DELETE /v2/positions`
    CloseAllPositions,
    /// `GET /v2/positions/{symbol or asset id}`
    GetPosition,
    /// `DELETE /v2/positions/{symbol or asset id}`
    ClosePosition,
    /// `GET /v2/account`
    GetAccount,
    /// `GET /v2/account/activities`
    ListActivities,
    /// `GET /v2/account/activities/{type}`
    ListActivitiesOfType,
    /// `GET /v2/clock`
    GetClock,
    /// `GET /v2/calendar`
    GetCalendar,
    /// `GET /v2/assets`
    ListAssets,
    /// `GET /v2/assets/{symbol or id}`
    GetAsset,
    /// `GET /stream`, the websocket upgrade.
    Stream,
}

/// An endpoint with the last segment of its path, percent-decoded, where it has one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Route {
    pub(crate) endpoint: Endpoint,
    pub(crate) argument: String,
}

impl Route {
    /// Finds the endpoint: 404 for a path nobody serves, 405 for a method the path does not know.
    pub(crate) fn find(method: &str, path: &str) -> Result<Self, Refusal> {
        let segments: Vec<&str> = path.strip_prefix('/').unwrap_or(path).split('/').collect();
        let (get, post, patch, delete, argument) = match segments.as_slice() {
            ["stream"] | ["stream", ""] => (Some(Endpoint::Stream), None, None, None, ""),
            ["v2", "orders"] => (
                Some(Endpoint::ListOrders),
                Some(Endpoint::SubmitOrder),
                None,
                Some(Endpoint::CancelAllOrders),
                "",
            ),
            ["v2", "orders", id] => (
                Some(Endpoint::GetOrder),
                None,
                Some(Endpoint::ReplaceOrder),
                Some(Endpoint::CancelOrder),
                *id,
            ),
            ["v2", "orders:by_client_order_id"] => {
                (Some(Endpoint::GetOrderByClientOrderId), None, None, None, "")
            }
            ["v2", "positions"] => (
                Some(Endpoint::ListPositions),
                None,
                None,
                Some(Endpoint::CloseAllPositions),
                "",
            ),
            ["v2", "positions", name] => (
                Some(Endpoint::GetPosition),
                None,
                None,
                Some(Endpoint::ClosePosition),
                *name,
            ),
            ["v2", "account"] => (Some(Endpoint::GetAccount), None, None, None, ""),
            ["v2", "account", "activities"] => (Some(Endpoint::ListActivities), None, None, None, ""),
            ["v2", "account", "activities", kind] => {
                (Some(Endpoint::ListActivitiesOfType), None, None, None, *kind)
            }
            ["v2", "clock"] => (Some(Endpoint::GetClock), None, None, None, ""),
            ["v2", "calendar"] => (Some(Endpoint::GetCalendar), None, None, None, ""),
            ["v2", "assets"] => (Some(Endpoint::ListAssets), None, None, None, ""),
            ["v2", "assets", name] => (Some(Endpoint::GetAsset), None, None, None, *name),
            _ => return Err(Refusal::endpoint_not_found()),
        };
        let endpoint = match method {
            "GET" => get,
            "POST" => post,
            "PATCH" => patch,
            "DELETE" => delete,
            _ => None,
        };
        let endpoint = endpoint.ok_or_else(Refusal::method_not_allowed)?;
        Ok(Self {
            endpoint,
            argument: percent_decoded(argument),
        })
    }
}

/// Undoes `%2F` and its like; what is not a valid escape stays as it is.
fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let escaped = match (first, tail) {
            (b'%', [high, low, ..]) => hex(*high).zip(hex(*low)).map(|(high, low)| high * 16 + low),
            _ => None,
        };
        match escaped {
            Some(byte) => {
                bytes.push(byte);
                rest = tail.get(2..).unwrap_or_default();
            }
            None => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit)
        .to_digit(16)
        .and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_finds_its_endpoint_or_the_right_refusal() {
        let check = |method: &str, path: &str, expected: Result<(Endpoint, &str), u16>| {
            let found = Route::find(method, path);
            let found = found
                .map(|route| (route.endpoint, route.argument))
                .map_err(|refusal| refusal.status);
            let expected = expected.map(|(endpoint, argument)| (endpoint, argument.to_owned()));
            assert_eq!(found, expected, "{method} {path}");
        };
        check("POST", "/v2/orders", Ok((Endpoint::SubmitOrder, "")));
        check(
            "GET",
            "/v2/orders:by_client_order_id",
            Ok((Endpoint::GetOrderByClientOrderId, "")),
        );
        check("GET", "/v2/assets/BTC%2FUSD", Ok((Endpoint::GetAsset, "BTC/USD")));
        check("GET", "/v2/assets/50%", Ok((Endpoint::GetAsset, "50%")));
        check("GET", "/v2/positions/BTC/USD", Err(404));
        check("PUT", "/v2/orders", Err(405));
        check("GET", "/", Err(404));
    }
}
