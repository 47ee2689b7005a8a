//! Paths and methods: which endpoint a request means.

use super::core::Refusal;
use super::market::history::DataCall;

/// Declares the venue's operations: each variant with its method, its path and its documentation; the name that faults and
/// logs call it by is the variant's in snake case. `{}` in a path stands for one segment, the endpoint's argument.
macro_rules! endpoints {
    ($($variant:ident = $name:literal: $method:literal $path:literal,)+) => {
        /// One operation of the venue.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Endpoint {
            $(#[doc = concat!("`", $method, " ", $path, "`")] $variant,)+
        }

        impl Endpoint {
            /// Every endpoint.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// What faults and logs call it.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }

            pub(crate) const fn method(self) -> &'static str {
                match self { $(Self::$variant => $method,)+ }
            }

            pub(crate) const fn path(self) -> &'static str {
                match self { $(Self::$variant => $path,)+ }
            }

            /// The endpoint called so.
            pub fn named(name: &str) -> Option<Self> {
                match name { $($name => Some(Self::$variant),)+ _ => None }
            }
        }
    };
}

endpoints! {
    SubmitOrder = "submit_order": "POST" "/v2/orders",
    ListOrders = "list_orders": "GET" "/v2/orders",
    CancelAllOrders = "cancel_all_orders": "DELETE" "/v2/orders",
    GetOrder = "get_order": "GET" "/v2/orders/{}",
    GetOrderByClientOrderId = "get_order_by_client_order_id": "GET" "/v2/orders:by_client_order_id",
    ReplaceOrder = "replace_order": "PATCH" "/v2/orders/{}",
    CancelOrder = "cancel_order": "DELETE" "/v2/orders/{}",
    ListPositions = "list_positions": "GET" "/v2/positions",
    CloseAllPositions = "close_all_positions": "DELETE" "/v2/positions",
    GetPosition = "get_position": "GET" "/v2/positions/{}",
    ClosePosition = "close_position": "DELETE" "/v2/positions/{}",
    GetAccount = "get_account": "GET" "/v2/account",
    ListActivities = "list_activities": "GET" "/v2/account/activities",
    ListActivitiesOfType = "list_activities_of_type": "GET" "/v2/account/activities/{}",
    GetClock = "get_clock": "GET" "/v2/clock",
    GetCalendar = "get_calendar": "GET" "/v2/calendar",
    ListAssets = "list_assets": "GET" "/v2/assets",
    GetAsset = "get_asset": "GET" "/v2/assets/{}",
    Stream = "stream": "GET" "/stream",
    TradeEvents = "trade_events": "GET" "/v2/events/trades",
    ActivityEvents = "activity_events": "GET" "/v2beta1/events/activities",
    // The streams of market data, each by one of its paths. The news has the path of its history; the upgrade tells them apart.
    StockStream = "stock_stream": "GET" "/v2/iex",
    CryptoStream = "crypto_stream": "GET" "/v1beta3/crypto/us",
    OptionStream = "option_stream": "GET" "/v1beta1/indicative",
    NewsStream = "news_stream": "GET" "/v1beta1/news/",
    StockBars = "stock_bars": "GET" "/v2/stocks/bars",
    StockTrades = "stock_trades": "GET" "/v2/stocks/trades",
    StockQuotes = "stock_quotes": "GET" "/v2/stocks/quotes",
    StockAuctions = "stock_auctions": "GET" "/v2/stocks/auctions",
    StockSnapshots = "stock_snapshots": "GET" "/v2/stocks/snapshots",
    CryptoBars = "crypto_bars": "GET" "/v1beta3/crypto/us/bars",
    CryptoTrades = "crypto_trades": "GET" "/v1beta3/crypto/us/trades",
    CryptoQuotes = "crypto_quotes": "GET" "/v1beta3/crypto/us/quotes",
    CryptoOrderBooks = "crypto_orderbooks": "GET" "/v1beta3/crypto/us/latest/orderbooks",
    CryptoSnapshots = "crypto_snapshots": "GET" "/v1beta3/crypto/us/snapshots",
    OptionBars = "option_bars": "GET" "/v1beta1/options/bars",
    OptionTrades = "option_trades": "GET" "/v1beta1/options/trades",
    OptionQuotes = "option_quotes": "GET" "/v1beta1/options/quotes/latest",
    OptionSnapshots = "option_snapshots": "GET" "/v1beta1/options/snapshots",
    DataMeta = "data_meta": "GET" "/v2/stocks/meta/exchanges",
    News = "news": "GET" "/v1beta1/news",
    CorporateActions = "corporate_actions": "GET" "/v1/corporate-actions",
    Screener = "screener": "GET" "/v1beta1/screener/stocks/most-actives",
}

impl Endpoint {
    /// Is it a stream, which stays open and can misbehave as a [`super::StreamFault`] says?
    pub const fn is_stream(self) -> bool {
        matches!(self, Self::Stream) || self.is_events() || self.is_market_data()
    }

    /// Is it a stream of market data? Several feeds share a name: all of shares, the test feed among them, are one.
    pub(crate) const fn is_market_data(self) -> bool {
        matches!(
            self,
            Self::StockStream | Self::CryptoStream | Self::OptionStream | Self::NewsStream
        )
    }

    /// Is it a stream of server-sent events?
    pub(crate) const fn is_events(self) -> bool {
        matches!(self, Self::TradeEvents | Self::ActivityEvents)
    }
}

/// An endpoint with the variable segment of its path, percent-decoded, where it has one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Route {
    pub(crate) endpoint: Endpoint,
    pub(crate) argument: String,
    /// What exactly is asked for, on the data side of the venue.
    pub(crate) data: Option<DataCall>,
}

impl Route {
    /// Finds the endpoint: 404 for a path nobody serves, 405 for a method the path does not know.
    pub(crate) fn find(method: &str, path: &str) -> Result<Self, Refusal> {
        // An old client asks for `/stream/`.
        let path = if path == "/stream/" { "/stream" } else { path };
        if let Some(call) = DataCall::find(path) {
            if method != "GET" {
                return Err(Refusal::method_not_allowed());
            }
            return Ok(Self {
                endpoint: call.endpoint(),
                argument: String::new(),
                data: Some(call),
            });
        }
        let mut known = false;
        for endpoint in Endpoint::ALL {
            let Some(argument) = argument(endpoint.path(), path) else {
                continue;
            };
            if endpoint.method() == method {
                return Ok(Self {
                    endpoint: *endpoint,
                    argument: percent_decoded(argument),
                    data: None,
                });
            }
            known = true;
        }
        Err(if known {
            Refusal::method_not_allowed()
        } else {
            Refusal::endpoint_not_found()
        })
    }
}

/// What stands for `{}` when the path has the pattern's shape; empty for a pattern without it.
fn argument<'a>(pattern: &str, path: &'a str) -> Option<&'a str> {
    let Some((before, after)) = pattern.split_once("{}") else {
        return (pattern == path).then_some("");
    };
    let found = path.strip_prefix(before)?.strip_suffix(after)?;
    (!found.contains('/')).then_some(found)
}

/// Undoes `%2F` and its like; what is not a valid escape stays as it is.
pub(crate) fn percent_decoded(text: &str) -> String {
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
        check("GET", "/stream/", Ok((Endpoint::Stream, "")));
        check("GET", "/v2/positions/BTC/USD", Err(404));
        check("PUT", "/v2/orders", Err(405));
        check("GET", "/", Err(404));
    }
    #[test]
    fn every_endpoint_is_found_by_its_path_and_by_its_name() {
        for endpoint in Endpoint::ALL {
            let path = endpoint.path().replace("{}", "x");
            let found = Route::find(endpoint.method(), &path).unwrap();
            assert_eq!(found.endpoint, *endpoint, "{path}");
            assert_eq!(Endpoint::named(endpoint.name()), Some(*endpoint));
        }
    }
}
