//! Market data: which streams there are, what each carries, and one observation of each kind.
//!
//! Prices are doubles here: they are observed, and no money changes hands by them. Observations borrow from the frame they
//! came in; whoever keeps one keeps its bytes on the wire instead.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use jiff::Timestamp;

/// What kind of thing a stream is about; each class has one stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MarketClass {
    /// Shares.
    Stocks,
    /// Coins.
    Crypto,
    /// Option contracts.
    Options,
    /// Articles.
    News,
}

impl MarketClass {
    /// Every class.
    pub const ALL: [Self; 4] = [Self::Stocks, Self::Crypto, Self::Options, Self::News];

    /// The word used in subjects, logs and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Stocks => "stocks",
            Self::Crypto => "crypto",
            Self::Options => "options",
            Self::News => "news",
        }
    }

    /// The class of a word, in any case.
    pub fn named(word: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|class| class.as_str().eq_ignore_ascii_case(word))
    }

    /// What its stream carries.
    pub const fn channels(self) -> &'static [Channel] {
        use Channel::{Bars, DailyBars, News, OrderBooks, Quotes, Statuses, Trades, UpdatedBars};
        match self {
            Self::Stocks => &[Trades, Quotes, Bars, UpdatedBars, DailyBars, Statuses],
            Self::Crypto => &[Trades, Quotes, Bars, UpdatedBars, DailyBars, OrderBooks],
            Self::Options => &[Trades, Quotes],
            Self::News => &[News],
        }
    }
}

/// What can be subscribed to, and what an observation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Channel {
    /// Each trade.
    Trades,
    /// The best bid and offer, whenever it changes.
    Quotes,
    /// Bars of one minute.
    Bars,
    /// Bars of one minute that late trades have changed.
    UpdatedBars,
    /// The bar of the day, as it grows.
    DailyBars,
    /// Halts and resumptions.
    Statuses,
    /// Order books.
    OrderBooks,
    /// Articles.
    News,
}

impl Channel {
    /// Every channel.
    pub const ALL: [Self; 8] = [
        Self::Trades,
        Self::Quotes,
        Self::Bars,
        Self::UpdatedBars,
        Self::DailyBars,
        Self::Statuses,
        Self::OrderBooks,
        Self::News,
    ];

    /// The word used in subjects, settings, logs and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Trades => "trades",
            Self::Quotes => "quotes",
            Self::Bars => "bars",
            Self::UpdatedBars => "updatedbars",
            Self::DailyBars => "dailybars",
            Self::Statuses => "statuses",
            Self::OrderBooks => "orderbooks",
            Self::News => "news",
        }
    }

    /// The channel of a word, in any case.
    pub fn named(word: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|channel| channel.as_str().eq_ignore_ascii_case(word))
    }

    /// Whether the newest observation makes the ones before it worthless.
    pub const fn is_conflated(self) -> bool {
        match self {
            Self::Quotes | Self::OrderBooks | Self::DailyBars => true,
            Self::Trades | Self::Bars | Self::UpdatedBars | Self::Statuses | Self::News => false,
        }
    }

    /// Whether there is one for each change of the market: most of them are worth nothing a second later.
    pub const fn is_tick(self) -> bool {
        match self {
            Self::Trades | Self::Quotes | Self::OrderBooks => true,
            Self::Bars | Self::UpdatedBars | Self::DailyBars | Self::Statuses | Self::News => false,
        }
    }
}

impl fmt::Display for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Who subscribes to everything.
pub const EVERY_SYMBOL: &str = "*";

/// Symbols by channel: what is wanted, or what the venue confirmed. No channel is there without a symbol.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Subscriptions(BTreeMap<Channel, BTreeSet<String>>);

impl Subscriptions {
    /// Adds symbols. Says whether any of them is new.
    pub fn add(&mut self, channel: Channel, symbols: impl IntoIterator<Item = String>) -> bool {
        let mut symbols = symbols.into_iter().peekable();
        if symbols.peek().is_none() {
            return false;
        }
        let known = self.0.entry(channel).or_default();
        let before = known.len();
        known.extend(symbols);
        known.len() != before
    }

    /// Takes symbols away. Says whether any of them was there.
    pub fn remove<'a>(&mut self, channel: Channel, symbols: impl IntoIterator<Item = &'a str>) -> bool {
        let Some(known) = self.0.get_mut(&channel) else {
            return false;
        };
        let before = known.len();
        for symbol in symbols {
            known.remove(symbol);
        }
        let changed = known.len() != before;
        if known.is_empty() {
            self.0.remove(&channel);
        }
        changed
    }

    /// The symbols of a channel, sorted.
    pub fn of(&self, channel: Channel) -> impl Iterator<Item = &str> {
        self.0.get(&channel).into_iter().flatten().map(String::as_str)
    }

    /// The channels and their symbols.
    pub fn iter(&self) -> impl Iterator<Item = (Channel, &BTreeSet<String>)> {
        self.0.iter().map(|(channel, symbols)| (*channel, symbols))
    }

    /// What is here and not there.
    pub fn without(&self, there: &Self) -> Self {
        let mut rest = Self::default();
        for (channel, symbols) in self.iter() {
            let theirs = there.0.get(&channel);
            let missing = symbols
                .iter()
                .filter(|symbol| theirs.is_none_or(|theirs| !theirs.contains(*symbol)));
            rest.add(channel, missing.cloned());
        }
        rest
    }

    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many symbols there are, each channel counted by itself.
    pub fn len(&self) -> usize {
        self.0.values().map(BTreeSet::len).sum()
    }
}

/// One observation.
#[derive(Clone, Debug, PartialEq)]
pub enum Observation<'a> {
    /// A trade.
    Trade(MarketTrade<'a>),
    /// A quote.
    Quote(Quote<'a>),
    /// A bar, of one of the three channels of bars.
    Bar(Channel, Bar<'a>),
    /// A halt, a resumption, or the like.
    Status(TradingStatus<'a>),
    /// An order book, or changes to it.
    OrderBook(OrderBook<'a>),
    /// An article.
    News(News<'a>),
}

impl Observation<'_> {
    /// Its channel.
    pub const fn channel(&self) -> Channel {
        match self {
            Self::Trade(_) => Channel::Trades,
            Self::Quote(_) => Channel::Quotes,
            Self::Bar(channel, _) => *channel,
            Self::Status(_) => Channel::Statuses,
            Self::OrderBook(_) => Channel::OrderBooks,
            Self::News(_) => Channel::News,
        }
    }

    /// What it is about; an article is about many things, and has none.
    pub fn symbol(&self) -> Option<&str> {
        match self {
            Self::Trade(trade) => Some(&trade.symbol),
            Self::Quote(quote) => Some(&quote.symbol),
            Self::Bar(_, bar) => Some(&bar.symbol),
            Self::Status(status) => Some(&status.symbol),
            Self::OrderBook(book) => Some(&book.symbol),
            Self::News(_) => None,
        }
    }

    /// When it happened, by the venue's clock.
    pub const fn at(&self) -> Timestamp {
        match self {
            Self::Trade(trade) => trade.at,
            Self::Quote(quote) => quote.at,
            Self::Bar(_, bar) => bar.at,
            Self::Status(status) => status.at,
            Self::OrderBook(book) => book.at,
            Self::News(news) => news.updated_at,
        }
    }
}

/// A few texts, as conditions are.
pub type Texts<'a> = Vec<Cow<'a, str>>;

/// A trade in the market, not ours.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MarketTrade<'a> {
    /// What was traded.
    pub symbol: Cow<'a, str>,
    /// When.
    pub at: Timestamp,
    /// Dollars.
    pub price: f64,
    /// Shares, coins or contracts.
    pub size: f64,
    /// Where.
    pub exchange: Cow<'a, str>,
    /// The feed's own number.
    pub id: u64,
    /// Conditions of the sale.
    pub conditions: Texts<'a>,
    /// The tape; shares alone have one.
    pub tape: Cow<'a, str>,
    /// `B` or `S`, who took; coins alone have it.
    pub taker_side: Cow<'a, str>,
}

/// The best bid and offer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Quote<'a> {
    /// Of what.
    pub symbol: Cow<'a, str>,
    /// Since when.
    pub at: Timestamp,
    /// Dollars.
    pub bid_price: f64,
    /// As the feed counts.
    pub bid_size: f64,
    /// Dollars.
    pub ask_price: f64,
    /// As the feed counts.
    pub ask_size: f64,
    /// Who bids.
    pub bid_exchange: Cow<'a, str>,
    /// Who offers.
    pub ask_exchange: Cow<'a, str>,
    /// Conditions of the quote.
    pub conditions: Texts<'a>,
    /// The tape; shares alone have one.
    pub tape: Cow<'a, str>,
}

/// Open, high, low, close and volume.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Bar<'a> {
    /// Of what.
    pub symbol: Cow<'a, str>,
    /// When it began.
    pub at: Timestamp,
    /// Dollars.
    pub open: f64,
    /// Dollars.
    pub high: f64,
    /// Dollars.
    pub low: f64,
    /// Dollars.
    pub close: f64,
    /// Shares, coins or contracts; coins in fractions.
    pub volume: f64,
    /// Trades in it.
    pub trade_count: u64,
    /// Volume-weighted average price, dollars.
    pub vwap: f64,
}

/// A halt, a resumption, or another change in a security's trading.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TradingStatus<'a> {
    /// Of what.
    pub symbol: Cow<'a, str>,
    /// Since when.
    pub at: Timestamp,
    /// The tape's code.
    pub status_code: Cow<'a, str>,
    /// What it means.
    pub status_message: Cow<'a, str>,
    /// The tape's code for why.
    pub reason_code: Cow<'a, str>,
    /// Why.
    pub reason_message: Cow<'a, str>,
    /// The tape.
    pub tape: Cow<'a, str>,
}

/// An order book, or changes to one.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct OrderBook<'a> {
    /// Of what.
    pub symbol: Cow<'a, str>,
    /// Since when.
    pub at: Timestamp,
    /// Price and size; size 0 removes a level.
    pub bids: Vec<(f64, f64)>,
    /// Price and size; size 0 removes a level.
    pub asks: Vec<(f64, f64)>,
    /// The levels are the whole book.
    pub reset: bool,
}

/// An article.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct News<'a> {
    /// The venue's number.
    pub id: u64,
    /// What it is about.
    pub symbols: Texts<'a>,
    /// Its title.
    pub headline: Cow<'a, str>,
    /// Who wrote it.
    pub author: Cow<'a, str>,
    /// A few sentences.
    pub summary: Cow<'a, str>,
    /// The text, perhaps with HTML.
    pub content: Cow<'a, str>,
    /// Where it stands.
    pub url: Cow<'a, str>,
    /// When it was written.
    pub created_at: Timestamp,
    /// When it was changed.
    pub updated_at: Timestamp,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(pairs: &[(Channel, &[&str])]) -> Subscriptions {
        let mut wanted = Subscriptions::default();
        for (channel, symbols) in pairs {
            wanted.add(*channel, symbols.iter().map(|symbol| (*symbol).to_owned()));
        }
        wanted
    }

    #[test]
    fn what_is_missing_is_what_is_subscribed_to() {
        let want = wanted(&[(Channel::Bars, &["AAPL", "MSFT"]), (Channel::Quotes, &["AAPL"])]);
        let have = wanted(&[(Channel::Bars, &["MSFT", "TSLA"])]);
        let missing = wanted(&[(Channel::Bars, &["AAPL"]), (Channel::Quotes, &["AAPL"])]);
        assert_eq!(want.without(&have), missing);
        assert_eq!(have.without(&want), wanted(&[(Channel::Bars, &["TSLA"])]));
        assert!(want.without(&want).is_empty());
        assert_eq!(want.len(), 3);
    }

    #[test]
    fn adding_and_removing_say_whether_anything_changed() {
        let mut wanted = Subscriptions::default();
        assert!(!wanted.add(Channel::Bars, []));
        assert!(wanted.is_empty());
        assert!(wanted.add(Channel::Bars, ["AAPL".to_owned()]));
        assert!(!wanted.add(Channel::Bars, ["AAPL".to_owned()]));
        assert!(!wanted.remove(Channel::Quotes, ["AAPL"]));
        assert!(wanted.remove(Channel::Bars, ["AAPL", "MSFT"]));
        assert!(wanted.is_empty(), "no channel without a symbol");
    }

    #[test]
    fn each_class_has_its_own_channels_and_each_channel_its_word() {
        for class in MarketClass::ALL {
            assert!(!class.channels().is_empty());
        }
        for channel in Channel::ALL {
            assert_eq!(Channel::named(channel.as_str()), Some(channel));
        }
        assert_eq!(Channel::named("updatedBars"), Some(Channel::UpdatedBars));
        assert_eq!(Channel::named("lulds"), None);
    }
}
