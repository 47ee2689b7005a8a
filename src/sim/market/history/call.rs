//! Which historical data a path asks for.

use super::super::super::core::AssetClass;
use super::super::super::route::{Endpoint, percent_decoded};

/// Whose data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Names {
    /// Those of the query's `symbols`; the answer is a map.
    Query,
    /// The one in the path; the answer is about it alone.
    Path(String),
}

/// What kind of rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rows {
    Bars,
    Trades,
    Quotes,
    Auctions,
    OrderBooks,
}

impl Rows {
    fn named(name: &str) -> Option<Self> {
        match name {
            "bars" => Some(Self::Bars),
            "trades" => Some(Self::Trades),
            "quotes" => Some(Self::Quotes),
            "auctions" => Some(Self::Auctions),
            "orderbooks" => Some(Self::OrderBooks),
            _ => None,
        }
    }

    /// The key around many rows, or around the map of many symbols.
    pub(crate) const fn plural(self) -> &'static str {
        match self {
            Self::Bars => "bars",
            Self::Trades => "trades",
            Self::Quotes => "quotes",
            Self::Auctions => "auctions",
            Self::OrderBooks => "orderbooks",
        }
    }

    /// The key around one row.
    pub(crate) const fn singular(self) -> &'static str {
        match self {
            Self::Bars => "bar",
            Self::Trades => "trade",
            Self::Quotes => "quote",
            Self::Auctions => "auction",
            Self::OrderBooks => "orderbook",
        }
    }
}

/// One question to the data side of the venue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum DataCall {
    Range(AssetClass, Rows, Names),
    Latest(AssetClass, Rows, Names),
    Snapshots(AssetClass, Names),
    /// Every listed option on a share.
    Chain(String),
    Exchanges(AssetClass),
    Conditions(AssetClass),
    News,
    CorporateActions,
    MostActives,
    Movers(AssetClass),
}

impl DataCall {
    /// Reads a path; none when it is not one of the data side.
    pub(crate) fn find(path: &str) -> Option<Self> {
        use AssetClass::{Crypto, UsEquity, UsOption};
        let segments: Vec<&str> = path.strip_prefix('/')?.split('/').collect();
        let of = |symbol: &str| Names::Path(percent_decoded(symbol));
        Some(match segments.as_slice() {
            ["v2", "stocks", "snapshots"] => Self::Snapshots(UsEquity, Names::Query),
            ["v2", "stocks", "meta", "exchanges"] => Self::Exchanges(UsEquity),
            ["v2", "stocks", "meta", "conditions", "trade" | "quote"] => Self::Conditions(UsEquity),
            ["v2", "stocks", rows @ ("bars" | "trades" | "quotes"), "latest"] => {
                Self::Latest(UsEquity, Rows::named(rows)?, Names::Query)
            }
            ["v2", "stocks", rows @ ("bars" | "trades" | "quotes" | "auctions")] => {
                Self::Range(UsEquity, Rows::named(rows)?, Names::Query)
            }
            ["v2", "stocks", symbol, "snapshot"] => Self::Snapshots(UsEquity, of(symbol)),
            [
                "v2",
                "stocks",
                symbol,
                rows @ ("bars" | "trades" | "quotes" | "auctions"),
            ] => Self::Range(UsEquity, Rows::named(rows)?, of(symbol)),
            [
                "v2",
                "stocks",
                symbol,
                rows @ ("bars" | "trades" | "quotes"),
                "latest",
            ] => Self::Latest(UsEquity, Rows::named(rows)?, of(symbol)),
            ["v1beta3", "crypto", "us" | "us-1" | "eu-1", rest @ ..] => match rest {
                ["snapshots"] => Self::Snapshots(Crypto, Names::Query),
                ["latest", rows @ ("bars" | "trades" | "quotes" | "orderbooks")] => {
                    Self::Latest(Crypto, Rows::named(rows)?, Names::Query)
                }
                [rows @ ("bars" | "trades" | "quotes")] => {
                    Self::Range(Crypto, Rows::named(rows)?, Names::Query)
                }
                _ => return None,
            },
            ["v1beta1", "options", "snapshots"] => Self::Snapshots(UsOption, Names::Query),
            ["v1beta1", "options", "snapshots", underlying] => Self::Chain(percent_decoded(underlying)),
            ["v1beta1", "options", "meta", "exchanges"] => Self::Exchanges(UsOption),
            ["v1beta1", "options", "meta", "conditions", "trade" | "quote"] => Self::Conditions(UsOption),
            ["v1beta1", "options", rows @ ("trades" | "quotes"), "latest"] => {
                Self::Latest(UsOption, Rows::named(rows)?, Names::Query)
            }
            ["v1beta1", "options", rows @ ("bars" | "trades")] => {
                Self::Range(UsOption, Rows::named(rows)?, Names::Query)
            }
            ["v1beta1", "news"] => Self::News,
            ["v1", "corporate-actions"] | ["v1beta1", "corporate-actions"] => Self::CorporateActions,
            ["v1beta1", "screener", "stocks", "most-actives"] => Self::MostActives,
            ["v1beta1", "screener", "stocks", "movers"] => Self::Movers(UsEquity),
            ["v1beta1", "screener", "crypto", "movers"] => Self::Movers(Crypto),
            _ => return None,
        })
    }

    /// What faults and logs call it: the forms for one and for many symbols, of a range and the latest, share a name.
    pub(crate) fn endpoint(&self) -> Endpoint {
        use AssetClass::{Crypto, UsEquity, UsOption};
        match self {
            Self::Range(class, rows, _) | Self::Latest(class, rows, _) => match (class, rows) {
                (UsEquity, Rows::Bars) => Endpoint::StockBars,
                (UsEquity, Rows::Trades) => Endpoint::StockTrades,
                (UsEquity, Rows::Quotes | Rows::OrderBooks) => Endpoint::StockQuotes,
                (UsEquity, Rows::Auctions) => Endpoint::StockAuctions,
                (Crypto, Rows::Bars) => Endpoint::CryptoBars,
                (Crypto, Rows::Trades | Rows::Auctions) => Endpoint::CryptoTrades,
                (Crypto, Rows::Quotes) => Endpoint::CryptoQuotes,
                (Crypto, Rows::OrderBooks) => Endpoint::CryptoOrderBooks,
                (UsOption, Rows::Bars) => Endpoint::OptionBars,
                (UsOption, Rows::Trades | Rows::Auctions) => Endpoint::OptionTrades,
                (UsOption, Rows::Quotes | Rows::OrderBooks) => Endpoint::OptionQuotes,
            },
            Self::Snapshots(UsEquity, _) => Endpoint::StockSnapshots,
            Self::Snapshots(Crypto, _) => Endpoint::CryptoSnapshots,
            Self::Snapshots(UsOption, _) | Self::Chain(_) => Endpoint::OptionSnapshots,
            Self::Exchanges(_) | Self::Conditions(_) => Endpoint::DataMeta,
            Self::News => Endpoint::News,
            Self::CorporateActions => Endpoint::CorporateActions,
            Self::MostActives | Self::Movers(_) => Endpoint::Screener,
        }
    }

    /// Is it answered to whom nobody knows? Coins are.
    pub(crate) fn is_public(&self) -> bool {
        match self {
            Self::Range(class, ..) | Self::Latest(class, ..) | Self::Snapshots(class, _) => {
                *class == AssetClass::Crypto
            }
            Self::Chain(_)
            | Self::Exchanges(_)
            | Self::Conditions(_)
            | Self::News
            | Self::CorporateActions
            | Self::MostActives
            | Self::Movers(_) => false,
        }
    }
}
