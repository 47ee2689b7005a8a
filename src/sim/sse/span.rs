//! What part of history a reader asks for.

use axum::http::HeaderMap;
use jiff::Timestamp;

use super::super::api::Query;
use super::super::core::Refusal;
use super::log::Row;

/// Where a reader begins.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum From {
    Now,
    Time(Timestamp),
    Id(String),
}

/// Where a reader ends.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Until {
    Never,
    Time(Timestamp),
    Id(String),
}

/// What part of history a reader asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) from: From,
    pub(super) until: Until,
}

impl Span {
    pub(super) fn read(query: &Query, headers: &HeaderMap) -> Result<Self, Refusal> {
        let (since, until) = (query.moment("since")?, query.moment("until")?);
        let (since_id, until_id) = (ulid(query, "since_id")?, ulid(query, "until_id")?);
        let refuse = |message: &str| Err(Refusal::invalid(message));
        if since.is_some() && since_id.is_some() {
            return refuse("since and since_id are mutually exclusive");
        }
        if until.is_some() && since.is_none() {
            return refuse("until requires since");
        }
        if until_id.is_some() && since_id.is_none() {
            return refuse("until_id requires since_id");
        }
        if since.zip(until).is_some_and(|(since, until)| until < since) {
            return refuse("until must not be before since");
        }
        if since_id
            .as_ref()
            .zip(until_id.as_ref())
            .is_some_and(|(since, until)| until < since)
        {
            return refuse("until_id must not be before since_id");
        }
        let last_seen = headers.get("last-event-id").and_then(|id| id.to_str().ok());
        let last_seen = last_seen.filter(|id| is_ulid(id)).map(str::to_owned);
        let from = match (since, since_id.or(last_seen)) {
            (Some(since), _) => From::Time(since),
            (None, Some(id)) => From::Id(id),
            (None, None) => From::Now,
        };
        let until = match (until, until_id) {
            (Some(until), _) => Until::Time(until),
            (None, Some(id)) => Until::Id(id),
            (None, None) => Until::Never,
        };
        Ok(Self { from, until })
    }
}

impl Until {
    pub(super) fn excludes(&self, row: &Row) -> bool {
        match self {
            Self::Never => false,
            Self::Time(until) => row.at > *until,
            Self::Id(id) => row.event_id > *id,
        }
    }

    /// After this moment nothing can come that is wanted.
    pub(super) fn moment(&self) -> Option<Timestamp> {
        match self {
            Self::Never => None,
            Self::Time(until) => Some(*until),
            Self::Id(id) => ulid_time(id),
        }
    }
}

const CROCKFORD: &str = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";

fn ulid(query: &Query, name: &str) -> Result<Option<String>, Refusal> {
    match query.get(name).map(str::to_ascii_uppercase) {
        None => Ok(None),
        Some(id) if is_ulid(&id) => Ok(Some(id)),
        Some(_) => Err(Refusal::invalid(format!("invalid {name}"))),
    }
}

fn is_ulid(text: &str) -> bool {
    text.len() == 26 && text.chars().all(|c| CROCKFORD.contains(c))
}

/// The end of the millisecond that the first ten characters of a ULID say.
fn ulid_time(id: &str) -> Option<Timestamp> {
    let digit = |c| CROCKFORD.find(c).and_then(|digit| i64::try_from(digit).ok());
    let millis = id
        .chars()
        .take(10)
        .try_fold(0_i64, |sum, c| Some((sum << 5) | digit(c)?))?;
    Timestamp::from_millisecond(millis.checked_add(1)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_read_or_refused() {
        let check = |query: &str, expected: Result<Span, &str>| {
            let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
            let query = Query(
                pairs
                    .map(|(key, value)| (key.to_owned(), value.to_owned()))
                    .collect(),
            );
            let read = Span::read(&query, &HeaderMap::new());
            assert_eq!(
                read.map_err(|refusal| refusal.message),
                expected.map_err(str::to_owned)
            );
        };
        let at = |text: &str| -> Timestamp { text.parse().unwrap() };
        let id = "01JD0000000000000000000000";
        check(
            "",
            Ok(Span {
                from: From::Now,
                until: Until::Never,
            }),
        );
        let since = From::Time(at("2026-10-05T14:00:00Z"));
        check(
            "since=2026-10-05T14:00:00Z",
            Ok(Span {
                from: since,
                until: Until::Never,
            }),
        );
        let day = From::Time(at("2026-10-05T04:00:00Z"));
        let until = Until::Time(at("2026-10-06T04:00:00Z"));
        check("since=2026-10-05&until=2026-10-06", Ok(Span { from: day, until }));
        let from = From::Id(id.to_owned());
        check(
            &format!("since_id={id}"),
            Ok(Span {
                from,
                until: Until::Never,
            }),
        );
        check("until=2026-10-05", Err("until requires since"));
        check(&format!("until_id={id}"), Err("until_id requires since_id"));
        check(
            &format!("since=2026-10-05&since_id={id}"),
            Err("since and since_id are mutually exclusive"),
        );
        check("since_id=nonsense", Err("invalid since_id"));
        check("since=nonsense", Err("invalid since"));
        check(
            "since=2026-10-05&until=2026-10-04",
            Err("until must not be before since"),
        );
    }
}
