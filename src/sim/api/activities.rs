//! The account's history, page by page.

use jiff::ToSpan;

use super::super::core::{
    ActivityFilter, Exchange, NON_TRADE_ACTIVITY, Refusal, TRADE_ACTIVITY, day_begins_at,
};
use super::super::json;
use super::{Answer, Query};

/// Rows of a page, by default and at most.
const PAGE_SIZE: usize = 100;
/// Rows of one day, which the venue does not cut into pages by itself; ours ends somewhere.
const DAY_SIZE: usize = 50_000;

/// Rows of all types, or of the one that the path names.
pub(super) fn list(exchange: &Exchange, query: &Query, only: Option<&str>) -> Result<Answer, Refusal> {
    let kinds = match (only, query.list("activity_types"), query.get("category")) {
        (Some(only), None, None) => Some(vec![kind(only)?]),
        (None, Some(kinds), None) => Some(kinds.iter().map(|word| kind(word)).collect::<Result<_, _>>()?),
        (None, None, Some("trade_activity")) => Some(TRADE_ACTIVITY.to_vec()),
        (None, None, Some("non_trade_activity")) => Some(NON_TRADE_ACTIVITY.to_vec()),
        (None, None, Some(_)) => return Err(Refusal::invalid("invalid category")),
        (None, None, None) => None,
        (Some(_), _, _) | (None, Some(_), Some(_)) => {
            return Err(Refusal::invalid(
                "only one of activity type, activity_types or category is accepted",
            ));
        }
    };
    let (mut after, mut until) = (query.moment("after")?, query.moment("until")?);
    let day = query.day("date")?;
    if let Some(day) = day {
        // `after` is strict, so step back by the finest tick.
        after = day_begins_at(day).checked_sub(1.nanosecond()).ok();
        until = day.tomorrow().ok().map(day_begins_at);
    }
    let most = if day.is_some() { DAY_SIZE } else { PAGE_SIZE };
    let filter = ActivityFilter {
        kinds,
        after,
        until,
        ascending: query.ascending()?,
        page_size: query.count("page_size")?.unwrap_or(most).clamp(1, most),
        page_token: query.get("page_token").map(str::to_owned),
    };
    let rows: Vec<_> = exchange.activities(&filter).iter().map(json::activity).collect();
    Ok(Answer::ok(&rows))
}

fn kind(word: &str) -> Result<&'static str, Refusal> {
    let mut known = TRADE_ACTIVITY.iter().chain(NON_TRADE_ACTIVITY);
    known
        .find(|known| **known == word)
        .copied()
        .ok_or_else(|| Refusal::invalid(format!("invalid activity type {word}")))
}
