//! The account's history as rows: executions, the fees they cost, and bookings that no order made.

use std::borrow::Cow;
use std::iter;

use jiff::Timestamp;
use rust_decimal::Decimal;
use uuid::Uuid;

use super::assets::{Asset, AssetClass};
use super::calendar::new_york;
use super::event::Fill;
use super::exchange::Exchange;
use super::ledger::crypto_fee;
use super::order::Side;
use super::paperwork::Posting;
use super::rng::Seeded;

/// Executions.
pub(crate) const TRADE_ACTIVITY: &[&str] = &["FILL"];
/// Every other kind of row the venue has words for.
pub(crate) const NON_TRADE_ACTIVITY: &[&str] = &[
    "TRANS", "MISC", "ACATC", "ACATS", "CFEE", "CGD", "CSD", "CSW", "DIV", "DIVCGL", "DIVCGS", "DIVFEE",
    "DIVFT", "DIVNRA", "DIVROC", "DIVTW", "DIVTXEX", "FEE", "FOPT", "INT", "INTNRA", "INTTW", "JNL", "JNLC",
    "JNLS", "MA", "NC", "OPASN", "OPCA", "OPCSH", "OPEXC", "OPEXP", "OPTRD", "PTC", "PTR", "REO", "REORG",
    "SPIN", "SPLIT",
];

/// The filters of the account's history.
#[derive(Clone, Debug, Default)]
pub(crate) struct ActivityFilter {
    /// The kinds wanted; none wants all.
    pub(crate) kinds: Option<Vec<&'static str>>,
    pub(crate) after: Option<Timestamp>,
    pub(crate) until: Option<Timestamp>,
    pub(crate) ascending: bool,
    pub(crate) page_size: usize,
    /// The last id of the previous page.
    pub(crate) page_token: Option<String>,
}

/// One row.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Activity<'a> {
    Fill(&'a Fill),
    Posting(Cow<'a, Posting>),
}

impl Activity<'_> {
    fn id(&self) -> &str {
        match self {
            Self::Fill(fill) => &fill.activity_id,
            Self::Posting(posting) => &posting.activity_id,
        }
    }

    fn kind(&self) -> &'static str {
        match self {
            Self::Fill(_) => "FILL",
            Self::Posting(posting) => posting.kind,
        }
    }

    pub(crate) fn at(&self) -> Timestamp {
        match self {
            Self::Fill(fill) => fill.at,
            Self::Posting(posting) => posting.at,
        }
    }
}

impl Exchange {
    /// One page of the account's history. A token that no row has ends it.
    pub(crate) fn activities(&self, filter: &ActivityFilter) -> Vec<Activity<'_>> {
        // With a token the walk begins at its row, wherever that is.
        let from = filter.after.filter(|_| filter.page_token.is_none());
        let fills = self.fills.partition_point(|fill| Some(fill.at) <= from);
        let postings = &self.paperwork.postings;
        let posted = postings.partition_point(|posting| Some(posting.at) <= from);
        let fills = self.fills.iter().skip(fills).flat_map(|fill| self.rows_of(fill));
        let postings = postings
            .iter()
            .skip(posted)
            .map(|posting| Activity::Posting(Cow::Borrowed(posting)));
        let rows: Box<dyn Iterator<Item = Activity<'_>>> = if filter.ascending {
            Box::new(merged(fills, postings, |fill, posting| fill.at() <= posting.at()))
        } else {
            Box::new(merged(fills.rev(), postings.rev(), |fill, posting| {
                fill.at() > posting.at()
            }))
        };
        let mut is_beyond_token = filter.page_token.is_none();
        rows.filter(|row| {
            let wanted = is_beyond_token;
            is_beyond_token |= filter.page_token.as_deref() == Some(row.id());
            wanted
        })
        .filter(|row| {
            filter.after.is_none_or(|after| row.at() > after)
                && filter.until.is_none_or(|until| row.at() < until)
                && filter
                    .kinds
                    .as_ref()
                    .is_none_or(|kinds| kinds.contains(&row.kind()))
        })
        .take(filter.page_size)
        .collect()
    }

    /// An execution, then what it cost.
    fn rows_of<'a>(&'a self, fill: &'a Fill) -> impl DoubleEndedIterator<Item = Activity<'a>> {
        let is_crypto = self
            .assets
            .find(&fill.symbol)
            .is_some_and(|asset| asset.class == AssetClass::Crypto);
        let fee = is_crypto.then(|| Activity::Posting(Cow::Owned(fee_of(fill))));
        iter::once(Activity::Fill(fill)).chain(fee)
    }

    /// Books what no order made, and writes it down.
    pub(crate) fn post(
        &mut self,
        now: Timestamp,
        (kind, description): (&'static str, &'static str),
        asset: &Asset,
        (side, qty, price): (Side, Decimal, Decimal),
    ) {
        let activity_id = activity_id(now, self.chance.uuid());
        self.ledger.book(asset, side, qty, price);
        self.paperwork.postings.push(Posting {
            activity_id,
            at: now,
            kind,
            description,
            symbol: asset.symbol.clone(),
            qty: side.signed(qty),
            price,
            net_amount: -side.signed(qty * price * asset.multiplier()),
        });
    }
}

/// The fee of a crypto execution. Nobody need remember it: even its id follows from the execution's.
fn fee_of(fill: &Fill) -> Posting {
    let fee = crypto_fee(fill.side, fill.qty, fill.price);
    let moment = fill.activity_id.split("::").next().unwrap_or_default();
    let id = Seeded::for_name(0, &fill.activity_id).uuid();
    Posting {
        activity_id: format!("{moment}::{id}"),
        at: fill.at,
        kind: "CFEE",
        description: match fill.side {
            Side::Buy => "Coin Pair Transaction Fee (Non USD)",
            Side::Sell => "Coin Pair Transaction Fee (USD)",
        },
        symbol: fill.symbol.clone(),
        qty: -fee.coins,
        price: fill.price,
        net_amount: -fee.dollars,
    }
}

fn activity_id(at: Timestamp, id: Uuid) -> String {
    format!("{}::{id}", at.to_zoned(new_york()).strftime("%Y%m%d%H%M%S%3f"))
}

/// Two sorted walks as one; `first` says whether the left one's row comes before the right one's.
pub(crate) fn merged<T>(
    left: impl Iterator<Item = T>,
    right: impl Iterator<Item = T>,
    first: impl Fn(&T, &T) -> bool,
) -> impl Iterator<Item = T> {
    let (mut left, mut right) = (left.peekable(), right.peekable());
    iter::from_fn(move || match (left.peek(), right.peek()) {
        (Some(a), Some(b)) if !first(a, b) => right.next(),
        (Some(_), _) => left.next(),
        (None, _) => right.next(),
    })
}
