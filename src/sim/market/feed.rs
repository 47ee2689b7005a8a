//! The market-data streams: which there are, what each carries, and what each plan allows.

use super::super::core::tape::TEST_SYMBOL;
use super::super::core::{Asset, AssetClass};
use super::super::route::Endpoint;

/// What the account has paid for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DataPlan {
    /// The free one: one exchange's shares, indicative options, few symbols at once.
    #[default]
    Basic,
    /// Algo Trader Plus: everything.
    Plus,
}

/// One stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Feed {
    Iex,
    Sip,
    DelayedSip,
    Otc,
    Boats,
    Overnight,
    Test,
    Crypto,
    Indicative,
    Opra,
    News,
}

/// What can be subscribed to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Channel {
    Trades,
    Quotes,
    Bars,
    UpdatedBars,
    DailyBars,
    Statuses,
    Lulds,
    Imbalances,
    /// Follows the trades by itself.
    Corrections,
    /// Follows the trades by itself.
    CancelErrors,
    Orderbooks,
    News,
}

impl Channel {
    pub(crate) const ALL: [Self; 12] = [
        Self::Trades,
        Self::Quotes,
        Self::Bars,
        Self::UpdatedBars,
        Self::DailyBars,
        Self::Statuses,
        Self::Lulds,
        Self::Imbalances,
        Self::Corrections,
        Self::CancelErrors,
        Self::Orderbooks,
        Self::News,
    ];

    /// The key in subscriptions and confirmations.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Trades => "trades",
            Self::Quotes => "quotes",
            Self::Bars => "bars",
            Self::UpdatedBars => "updatedBars",
            Self::DailyBars => "dailyBars",
            Self::Statuses => "statuses",
            Self::Lulds => "lulds",
            Self::Imbalances => "imbalances",
            Self::Corrections => "corrections",
            Self::CancelErrors => "cancelErrors",
            Self::Orderbooks => "orderbooks",
            Self::News => "news",
        }
    }

    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|channel| channel.name() == name)
    }

    /// Is it subscribed along with the trades, and not by name?
    pub(crate) const fn follows_trades(self) -> bool {
        matches!(self, Self::Corrections | Self::CancelErrors)
    }
}

impl Feed {
    /// The stream served at a path.
    pub(crate) fn at(path: &str) -> Option<Self> {
        match path {
            "/v2/iex" => Some(Self::Iex),
            "/v2/sip" => Some(Self::Sip),
            "/v2/delayed_sip" => Some(Self::DelayedSip),
            "/v2/otc" => Some(Self::Otc),
            "/v2/boats" => Some(Self::Boats),
            "/v2/overnight" => Some(Self::Overnight),
            "/v2/test" => Some(Self::Test),
            "/v1beta3/crypto/us" | "/v1beta3/crypto/us-1" | "/v1beta3/crypto/eu-1" => Some(Self::Crypto),
            "/v1beta1/indicative" => Some(Self::Indicative),
            "/v1beta1/opra" => Some(Self::Opra),
            "/v1beta1/news" => Some(Self::News),
            _ => None,
        }
    }

    /// What faults and the truth log call it; all feeds of shares are one.
    pub(crate) const fn endpoint(self) -> Endpoint {
        match self {
            Self::Iex
            | Self::Sip
            | Self::DelayedSip
            | Self::Otc
            | Self::Boats
            | Self::Overnight
            | Self::Test => Endpoint::StockStream,
            Self::Crypto => Endpoint::CryptoStream,
            Self::Indicative | Self::Opra => Endpoint::OptionStream,
            Self::News => Endpoint::NewsStream,
        }
    }

    /// The channels it carries, in the order of its confirmations.
    pub(crate) const fn channels(self) -> &'static [Channel] {
        use Channel::{
            Bars, CancelErrors, Corrections, DailyBars, Imbalances, Lulds, News, Orderbooks, Quotes,
            Statuses, Trades, UpdatedBars,
        };
        match self {
            Self::Iex | Self::Sip | Self::DelayedSip | Self::Otc | Self::Boats | Self::Overnight => &[
                Trades,
                Quotes,
                Bars,
                UpdatedBars,
                DailyBars,
                Statuses,
                Lulds,
                Imbalances,
                Corrections,
                CancelErrors,
            ],
            Self::Test => &[Trades, Quotes, Bars],
            Self::Crypto => &[Trades, Quotes, Bars, UpdatedBars, DailyBars, Orderbooks],
            Self::Indicative | Self::Opra => &[Trades, Quotes],
            Self::News => &[News],
        }
    }

    pub(crate) const fn is_options(self) -> bool {
        matches!(self, Self::Indicative | Self::Opra)
    }

    /// Does the plan include it?
    pub(crate) const fn is_in(self, plan: DataPlan) -> bool {
        match (plan, self) {
            (DataPlan::Plus, _)
            | (_, Self::Iex | Self::DelayedSip | Self::Test | Self::Crypto | Self::Indicative | Self::News) => {
                true
            }
            (DataPlan::Basic, Self::Sip | Self::Otc | Self::Boats | Self::Overnight | Self::Opra) => false,
        }
    }

    /// How many trades and quotes together may be subscribed to; no limit when none.
    pub(crate) const fn symbols_max(self, plan: DataPlan) -> Option<usize> {
        match (plan, self) {
            (DataPlan::Basic, Self::Indicative | Self::Opra) => Some(200),
            (DataPlan::Plus, Self::Indicative | Self::Opra) => Some(1_000),
            (
                DataPlan::Basic,
                Self::Iex | Self::Sip | Self::DelayedSip | Self::Otc | Self::Boats | Self::Overnight,
            ) => Some(30),
            (_, _) => None,
        }
    }

    /// Does it carry this asset?
    pub(crate) fn carries(self, asset: &Asset) -> bool {
        let is_test = asset.symbol == TEST_SYMBOL;
        match self {
            Self::Iex | Self::Sip | Self::DelayedSip | Self::Otc | Self::Boats | Self::Overnight => {
                asset.class == AssetClass::UsEquity && !is_test
            }
            Self::Test => is_test,
            Self::Crypto => asset.class == AssetClass::Crypto,
            Self::Indicative | Self::Opra => asset.class == AssetClass::UsOption,
            Self::News => false,
        }
    }
}
