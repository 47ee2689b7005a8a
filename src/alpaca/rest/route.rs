//! A request's route as a metric label: a closed set, never an id.

use http::Method;

/// The template a request's path follows.
pub(super) fn route(method: &Method, path: &str) -> &'static str {
    let path = path.find("/v2/").map_or(path, |at| &path[at..]);
    match (method.as_str(), path) {
        ("POST", "/v2/orders") => "POST /v2/orders",
        ("GET", "/v2/orders") => "GET /v2/orders",
        ("GET", "/v2/orders:by_client_order_id") => "GET /v2/orders:by_client_order_id",
        ("GET", order) if order.starts_with("/v2/orders/") => "GET /v2/orders/{id}",
        ("DELETE", order) if order.starts_with("/v2/orders/") => "DELETE /v2/orders/{id}",
        ("PATCH", order) if order.starts_with("/v2/orders/") => "PATCH /v2/orders/{id}",
        ("GET", "/v2/positions") => "GET /v2/positions",
        ("GET", "/v2/account") => "GET /v2/account",
        ("GET", "/v2/clock") => "GET /v2/clock",
        ("GET", asset) if asset.starts_with("/v2/assets/") => "GET /v2/assets/{symbol}",
        ("GET", activities) if activities.starts_with("/v2/account/activities") => {
            "GET /v2/account/activities"
        }
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_id_becomes_a_label() {
        for (method, path, expected) in [
            (Method::POST, "/v2/orders", "POST /v2/orders"),
            (
                Method::GET,
                "/proxy/v2/orders:by_client_order_id",
                "GET /v2/orders:by_client_order_id",
            ),
            (
                Method::DELETE,
                "/v2/orders/904837e3-3b76-47ec-b432-046db621571b",
                "DELETE /v2/orders/{id}",
            ),
            (
                Method::GET,
                "/v2/account/activities/FILL",
                "GET /v2/account/activities",
            ),
            (
                Method::PUT,
                "/v2/orders/904837e3-3b76-47ec-b432-046db621571b",
                "other",
            ),
        ] {
            assert_eq!(route(&method, path), expected);
        }
    }
}
