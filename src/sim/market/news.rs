//! Invented news: a function of seed and time, like the prices it has nothing to do with.

use jiff::{SignedDuration, Timestamp};

use super::super::core::tape::chance;
use super::super::core::{Asset, AssetClass, Assets};
use super::row::{Head, Sink};

/// From one item to the next.
const INTERVAL: SignedDuration = SignedDuration::from_secs(7 * 60);
const SALT: u64 = 201;

const HAPPENINGS: [&str; 8] = [
    "raises its outlook for the year",
    "names a new chief financial officer",
    "is said to be in talks with a supplier",
    "opens a research centre",
    "draws more orders than expected",
    "faces questions about its margins",
    "extends a buyback",
    "moves ahead of its quarterly report",
];

/// One item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NewsItem {
    pub(crate) id: u64,
    pub(crate) at: Timestamp,
    pub(crate) symbols: Vec<String>,
    pub(crate) headline: String,
    pub(crate) summary: String,
    pub(crate) content: String,
}

/// The items of `from <= at < until`, oldest first.
pub(crate) fn between(seed: u64, assets: &Assets, from: Timestamp, until: Timestamp) -> Vec<NewsItem> {
    let interval = INTERVAL.as_secs();
    let first = from.as_second().div_euclid(interval);
    let last = until.as_second().div_euclid(interval);
    let items = (first.max(0)..=last).filter_map(|index| item(seed, assets, index));
    items.filter(|item| from <= item.at && item.at < until).collect()
}

fn item(seed: u64, assets: &Assets, index: i64) -> Option<NewsItem> {
    let drawn = chance(seed, SALT, index);
    let listed = assets.listed();
    let pick = |drawn: u64| {
        let at = drawn.checked_rem(listed.len() as u64)?;
        listed.get(usize::try_from(at).ok()?)
    };
    let first = pick(drawn)?;
    let second = pick(drawn >> 20).filter(|asset| drawn & 1 == 0 && asset.symbol != first.symbol);
    let happening = HAPPENINGS.get(usize::try_from((drawn >> 40) % HAPPENINGS.len() as u64).ok()?)?;
    let at = Timestamp::from_second(index.checked_mul(INTERVAL.as_secs())?).ok()?;
    let headline = format!("{} {happening}", first.name);
    Some(NewsItem {
        id: index.unsigned_abs(),
        at,
        symbols: std::iter::once(first)
            .chain(second)
            .map(|asset| asset.symbol.clone())
            .collect(),
        summary: format!("{headline}, according to nobody."),
        content: format!("<p>{headline}. This item was invented by a simulator.</p>"),
        headline,
    })
}

/// Spells an item. Without content the field is there and empty, as at the venue.
pub(crate) fn row(sink: &mut impl Sink, head: Option<Head<'_>>, item: &NewsItem, with_content: bool) {
    let symbols: Vec<_> = item.symbols.iter().map(String::as_str).collect();
    sink.begin(11);
    match head {
        // News has no symbol of its own.
        Some(head) => sink.text("T", head.kind),
        None => sink.texts("images", &[]),
    }
    sink.whole("id", item.id);
    sink.text("headline", &item.headline);
    sink.text("summary", &item.summary);
    sink.text("author", "Nalpaca Simulator");
    sink.moment("created_at", item.at);
    sink.moment("updated_at", item.at);
    sink.text("url", &format!("https://news.invalid/{}", item.id));
    sink.text("content", if with_content { &item.content } else { "" });
    sink.texts("symbols", &symbols);
    sink.text("source", "simulated");
    sink.end();
}

/// News pages like the rows of one symbol that is called nothing.
pub(crate) fn everything() -> [Asset; 1] {
    let mut asset = Assets::test();
    asset.class = AssetClass::UsEquity;
    asset.symbol = String::new();
    [asset]
}
