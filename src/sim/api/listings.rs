//! What can be traded: assets and option contracts, with the filters of their lists.

use jiff::Timestamp;

use super::super::core::{Asset, ContractFilter, Exchange, Refusal};
use super::super::json;
use super::{Answer, Query};

/// Contracts of a page unless asked otherwise, and at most.
const CONTRACTS_LIMIT: (usize, usize) = (100, 10_000);
/// Classes of assets that the venue has words for.
pub(super) const CLASSES: [&str; 10] = [
    "us_equity",
    "us_option",
    "crypto",
    "crypto_perp",
    "treasury",
    "corporate",
    "global_equity",
    "us_index",
    "us_equity_chain",
    "ipo",
];
const EXCHANGES: [&str; 12] = [
    "AMEX", "ARCA", "ASCX", "BATS", "CBSE", "CRYPTO", "ERSX", "FTXU", "NASDAQ", "NYSE", "NYSEARCA", "OTC",
];

/// The listed assets. Of several attributes one suffices.
pub(super) fn assets(exchange: &Exchange, query: &Query) -> Result<Answer, Refusal> {
    let status = query.one_of("status", &["active", "inactive", "all"])?;
    let class = query.one_of("asset_class", &CLASSES)?;
    let venue = query.one_of("exchange", &EXCHANGES)?;
    let attributes = query.list("attributes");
    let wanted = |asset: &&Asset| {
        let has = |attribute: &String| asset.attributes().contains(&attribute.as_str());
        status != Some("inactive")
            && class.is_none_or(|class| asset.class.as_str() == class)
            && venue.is_none_or(|venue| asset.exchange == venue)
            && attributes.as_ref().is_none_or(|wanted| wanted.iter().any(has))
    };
    let assets = exchange.listed_assets().iter();
    let rows: Vec<_> = assets.filter(wanted).map(json::asset).collect();
    Ok(Answer::ok(&rows))
}

/// One page of option contracts.
pub(super) fn contracts(exchange: &Exchange, now: Timestamp, query: &Query) -> Result<Answer, Refusal> {
    let (default, most) = CONTRACTS_LIMIT;
    let status = query.one_of("status", &["active", "inactive"])?;
    let style = query.one_of("style", &["american", "european"])?;
    let right = query.one_of("type", &["call", "put"])?;
    let filter = ContractFilter {
        underlyings: query.list("underlying_symbols"),
        root: query.get("root_symbol").map(str::to_owned),
        is_call: right.map(|right| right == "call"),
        expires_on: query.day("expiration_date")?,
        expires_from: query.day("expiration_date_gte")?,
        expires_to: query.day("expiration_date_lte")?,
        strike_from: query.decimal("strike_price_gte")?,
        strike_to: query.decimal("strike_price_lte")?,
        limit: query.count("limit")?.unwrap_or(default).clamp(1, most),
        page_token: query.get("page_token").map(str::to_owned),
    };
    // Contracts leave the list when they expire, and all are American.
    let (views, has_more) = if status == Some("inactive") || style == Some("european") {
        (Vec::new(), false)
    } else {
        exchange.contracts(now, &filter)
    };
    let next = views.last().filter(|_| has_more);
    let rows: Vec<_> = views.iter().map(json::contract).collect();
    Ok(Answer::ok(&serde_json::json!({
        "option_contracts": rows,
        "next_page_token": next.map(|last| last.symbol.as_str()),
    })))
}
