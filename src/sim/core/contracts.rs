//! The option contracts that are listed now, as one may search them. The grid of days and strikes is the assets' own.

use jiff::civil::{Date, Weekday};
use jiff::{Timestamp, ToSpan};
use rust_decimal::Decimal;
use uuid::Uuid;

use super::assets::{Asset, AssetClass};
use super::calendar::{Session, new_york_day};
use super::exchange::Exchange;
use super::refusal::Refusal;
use super::rng::Seeded;

/// Open interest is invented below this many contracts.
const OPEN_INTEREST_MAX: u64 = 10_000;

/// What a search holds; absent means everything.
#[derive(Clone, Debug, Default)]
pub(crate) struct ContractFilter {
    pub(crate) underlyings: Option<Vec<String>>,
    pub(crate) root: Option<String>,
    pub(crate) is_call: Option<bool>,
    pub(crate) expires_on: Option<Date>,
    pub(crate) expires_from: Option<Date>,
    pub(crate) expires_to: Option<Date>,
    pub(crate) strike_from: Option<Decimal>,
    pub(crate) strike_to: Option<Decimal>,
    pub(crate) limit: usize,
    /// The last symbol of the previous page.
    pub(crate) page_token: Option<String>,
}

/// One contract as it is listed.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ContractView {
    pub(crate) id: Uuid,
    pub(crate) symbol: String,
    pub(crate) root: String,
    pub(crate) underlying: &'static str,
    pub(crate) underlying_id: Uuid,
    pub(crate) is_call: bool,
    pub(crate) strike: Decimal,
    pub(crate) expires_on: Date,
    pub(crate) is_active: bool,
    pub(crate) open_interest: u64,
    pub(crate) close_price: Decimal,
    /// The last day that ended, which both numbers are of.
    pub(crate) as_of: Date,
}

impl Exchange {
    /// One page of contracts by symbol, and whether there are more.
    pub(crate) fn contracts(&self, now: Timestamp, filter: &ContractFilter) -> (Vec<ContractView>, bool) {
        let today = new_york_day(now);
        // Who does not say when gets what expires by the next weekend.
        let says_when =
            filter.expires_on.is_some() || filter.expires_from.is_some() || filter.expires_to.is_some();
        let expires_to = if says_when {
            filter.expires_to
        } else {
            let mut days = today.series(1.day());
            let friday = days.find(|day| day.weekday() == Weekday::Friday);
            friday.and_then(|friday| friday.checked_add(2.days()).ok())
        };
        let wanted = |asset: &Asset| {
            let root = filter.root.as_deref();
            let token = filter.page_token.as_deref();
            asset.contract.is_some_and(|contract| {
                filter.is_call.is_none_or(|is_call| contract.is_call == is_call)
                    && filter.expires_on.is_none_or(|day| contract.expires_on == day)
                    && filter.expires_from.is_none_or(|day| contract.expires_on >= day)
                    && expires_to.is_none_or(|day| contract.expires_on <= day)
                    && filter.strike_from.is_none_or(|price| contract.strike >= price)
                    && filter.strike_to.is_none_or(|price| contract.strike <= price)
                    && root.is_none_or(|root| root_of(&asset.symbol) == root)
                    && token.is_none_or(|token| asset.symbol.as_str() > token)
            })
        };
        let underlyings = filter.underlyings.as_deref();
        let mut found: Vec<_> = self
            .shares()
            .filter(|share| underlyings.is_none_or(|names| names.contains(&share.symbol)))
            .flat_map(|share| self.assets.contracts_on(&share.symbol, today))
            .filter(wanted)
            .collect();
        found.sort_by(|one, two| one.symbol.cmp(&two.symbol));
        let has_more = found.len() > filter.limit;
        found.truncate(filter.limit);
        let views = found.iter().filter_map(|asset| self.contract_view(now, asset));
        (views.collect(), has_more)
    }

    /// The contract of this symbol, listed or not, or of this id while it is listed.
    pub(crate) fn contract(&self, now: Timestamp, name: &str) -> Result<ContractView, Refusal> {
        let by_id = |id: Uuid| {
            self.shares()
                .flat_map(|share| self.assets.contracts_on(&share.symbol, new_york_day(now)))
                .find(|asset| asset.id == id)
        };
        self.assets
            .find(name)
            .or_else(|| Uuid::parse_str(name).ok().and_then(by_id))
            .and_then(|asset| self.contract_view(now, &asset))
            .ok_or_else(|| Refusal::not_found(format!("option contract not found for {name}")))
    }

    fn shares(&self) -> impl Iterator<Item = &Asset> {
        let listed = self.assets.listed().iter();
        listed.filter(|asset| asset.class == AssetClass::UsEquity)
    }

    fn contract_view(&self, now: Timestamp, asset: &Asset) -> Option<ContractView> {
        let contract = asset.contract?;
        let share = self.assets.find(asset.underlying?)?;
        let today = new_york_day(now);
        let mut days = today.series(-1.day());
        let last = days.find_map(|day| Session::on(day).filter(|session| session.closes_at() <= now))?;
        Some(ContractView {
            id: asset.id,
            symbol: asset.symbol.clone(),
            root: root_of(&asset.symbol).to_owned(),
            underlying: asset.underlying?,
            underlying_id: share.id,
            is_call: contract.is_call,
            strike: contract.strike,
            expires_on: contract.expires_on,
            is_active: contract.expires_on >= today,
            open_interest: Seeded::for_name(self.config.seed, &asset.symbol).below(OPEN_INTEREST_MAX),
            close_price: self.prices.tape().price_at(asset, last.closes_at()),
            as_of: last.day,
        })
    }
}

/// `AAPL` of `AAPL250620C00100000`.
fn root_of(symbol: &str) -> &str {
    const TAIL: usize = 15;
    let root = symbol.len().checked_sub(TAIL).and_then(|len| symbol.get(..len));
    root.unwrap_or(symbol)
}
