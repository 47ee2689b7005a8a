//! Subscriptions to market data, as programs ask for them and as they are kept.

use prost::Message as _;

use super::decode::{Unreadable, message};
use super::encode::{Encoded, encoded};
use super::proto::stream as pb;
use crate::domain::Symbol;
use crate::domain::market::{Channel, EVERY_SYMBOL, MarketClass, Subscriptions};

/// Full name of the request.
pub const REQUEST: &str = "stream.v0.SubscriptionsRequest";
/// Full name of the answer.
pub const REPLY: &str = "stream.v0.SubscriptionsReply";

/// Symbols of one channel of one class.
pub type Wish = (MarketClass, Channel, Vec<String>);

/// How one stream goes, for the answer.
pub struct FeedReport<'a> {
    /// Which.
    pub class: MarketClass,
    /// Whether it is connected.
    pub connected: bool,
    /// Why not.
    pub reason: &'a str,
    /// What the venue confirmed.
    pub confirmed: &'a Subscriptions,
    /// What it refused, and its words.
    pub refused: &'a [(Channel, String, String)],
}

/// Reads a request, protobuf or JSON.
pub fn read_request(content_type: Option<&str>, payload: &[u8]) -> Result<Vec<Wish>, Unreadable> {
    let request: pb::SubscriptionsRequest = message(REQUEST, content_type, payload)?;
    if request.subscriptions.is_empty() {
        return Err(Unreadable::new(
            "subscriptions is required; name a class and symbols",
        ));
    }
    request.subscriptions.iter().map(wish).collect()
}

fn wish(subscription: &pb::Subscription) -> Result<Wish, Unreadable> {
    let class = MarketClass::named(&subscription.class).ok_or_else(|| {
        Unreadable::new(format!(
            "class: {:?} is none; write one of {}",
            subscription.class,
            MarketClass::ALL.map(MarketClass::as_str).join(", ")
        ))
    })?;
    let channel = match (subscription.channel.as_str(), class) {
        ("", MarketClass::News) => Some(Channel::News),
        ("", MarketClass::Stocks | MarketClass::Crypto | MarketClass::Options) => Some(Channel::Bars),
        (word, _) => Channel::named(word),
    };
    let channel = channel
        .filter(|channel| class.channels().contains(channel))
        .ok_or_else(|| {
            let known: Vec<_> = class.channels().iter().map(|channel| channel.as_str()).collect();
            let (word, class) = (&subscription.channel, class.as_str());
            Unreadable::new(format!(
                "channel: {class} have no {word:?}; write one of {}",
                known.join(", ")
            ))
        })?;
    if subscription.symbols.is_empty() {
        return Err(Unreadable::new("symbols is required; name one, or write *"));
    }
    for symbol in &subscription.symbols {
        if symbol != EVERY_SYMBOL && Symbol::parse(symbol).is_err() {
            return Err(Unreadable::new(format!("symbols: {symbol:?} is no symbol")));
        }
    }
    Ok((class, channel, subscription.symbols.clone()))
}

/// A request for all of these; and what is kept of wishes.
pub fn request(wishes: &[(MarketClass, Subscriptions)]) -> Encoded {
    let subscriptions = wishes
        .iter()
        .flat_map(|(class, symbols)| listed(*class, symbols))
        .collect();
    encoded(REQUEST, &pb::SubscriptionsRequest { subscriptions })
}

/// The answer: how every stream goes.
pub fn reply(feeds: &[FeedReport<'_>]) -> Encoded {
    let refused = feeds.iter().flat_map(|feed| {
        feed.refused
            .iter()
            .map(|(channel, symbol, message)| pb::RefusedSubscription {
                class: feed.class.as_str().to_owned(),
                channel: channel.as_str().to_owned(),
                symbol: symbol.clone(),
                message: message.clone(),
            })
    });
    let states = feeds.iter().map(|feed| pb::FeedState {
        class: feed.class.as_str().to_owned(),
        connected: feed.connected,
        reason: feed.reason.to_owned(),
    });
    let reply = pb::SubscriptionsReply {
        confirmed: feeds
            .iter()
            .flat_map(|feed| listed(feed.class, feed.confirmed))
            .collect(),
        refused: refused.collect(),
        feeds: states.collect(),
    };
    encoded(REPLY, &reply)
}

/// How one stream goes, for whoever asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heard {
    /// Which.
    pub class: MarketClass,
    /// Whether it is connected.
    pub connected: bool,
    /// Why not.
    pub reason: String,
    /// What the venue confirmed.
    pub confirmed: Subscriptions,
    /// What it refused, and its words.
    pub refused: Vec<(Channel, String, String)>,
}

/// Reads an answer, of protobuf. Classes and channels of a newer daemon's are passed over.
pub fn read_reply(payload: &[u8]) -> Result<Vec<Heard>, Unreadable> {
    let reply = pb::SubscriptionsReply::decode(payload)
        .map_err(|error| Unreadable::new(format!("the answer is no {REPLY}: {error}")))?;
    let mut feeds: Vec<Heard> = Vec::new();
    for feed in reply.feeds {
        let Some(class) = MarketClass::named(&feed.class) else {
            continue;
        };
        feeds.push(Heard {
            class,
            connected: feed.connected,
            reason: feed.reason,
            confirmed: Subscriptions::default(),
            refused: Vec::new(),
        });
    }
    for subscription in reply.confirmed {
        let feed = feeds
            .iter_mut()
            .find(|feed| feed.class.as_str() == subscription.class);
        if let (Some(feed), Some(channel)) = (feed, Channel::named(&subscription.channel)) {
            feed.confirmed.add(channel, subscription.symbols);
        }
    }
    for refused in reply.refused {
        let feed = feeds.iter_mut().find(|feed| feed.class.as_str() == refused.class);
        if let (Some(feed), Some(channel)) = (feed, Channel::named(&refused.channel)) {
            feed.refused.push((channel, refused.symbol, refused.message));
        }
    }
    Ok(feeds)
}

fn listed(class: MarketClass, symbols: &Subscriptions) -> Vec<pb::Subscription> {
    let listed = symbols.iter().map(|(channel, symbols)| pb::Subscription {
        class: class.as_str().to_owned(),
        channel: channel.as_str().to_owned(),
        symbols: symbols.iter().cloned().collect(),
    });
    listed.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_read_and_what_is_wrong_is_named() {
        let json = |text: &str| read_request(None, text.as_bytes());
        let wishes = json(r#"{"subscriptions":[{"class":"stocks","symbols":["AAPL","BRK.B"]}]}"#).unwrap();
        assert_eq!(
            wishes,
            [(
                MarketClass::Stocks,
                Channel::Bars,
                vec!["AAPL".to_owned(), "BRK.B".to_owned()]
            )]
        );
        for (text, said) in [
            (r#"{}"#, "subscriptions is required"),
            (
                r#"{"subscriptions":[{"class":"bonds","symbols":["X"]}]}"#,
                "write one of stocks, crypto",
            ),
            (
                r#"{"subscriptions":[{"class":"options","channel":"orderbooks","symbols":["X"]}]}"#,
                "write one of trades, quotes",
            ),
            (r#"{"subscriptions":[{"class":"stocks"}]}"#, "symbols is required"),
            (
                r#"{"subscriptions":[{"class":"stocks","symbols":["a b"]}]}"#,
                "is no symbol",
            ),
            (
                r#"{"subscriptions":[{"class":"stocks","symbol":"A"}]}"#,
                "unknown field",
            ),
        ] {
            let error = json(text).unwrap_err().to_string();
            assert!(error.contains(said), "{said:?} is not in {error}");
        }
        assert!(read_request(Some("application/protobuf"), &[0xff, 1]).is_err());
    }

    #[test]
    fn an_answer_is_read_as_it_was_written() {
        let mut confirmed = Subscriptions::default();
        confirmed.add(Channel::Quotes, ["AAPL".to_owned(), "BRK.B".to_owned()]);
        let refused = [(Channel::Bars, "TSLA".to_owned(), "405: too many".to_owned())];
        let report = FeedReport {
            class: MarketClass::Stocks,
            connected: true,
            reason: "why",
            confirmed: &confirmed,
            refused: &refused,
        };
        let read = read_reply(&reply(&[report]).bytes).unwrap();
        let heard = Heard {
            class: MarketClass::Stocks,
            connected: true,
            reason: "why".to_owned(),
            confirmed: confirmed.clone(),
            refused: refused.to_vec(),
        };
        assert_eq!(read, [heard]);
        assert!(read_reply(&[0xff]).is_err());
    }

    #[test]
    fn what_is_kept_is_read_again() {
        let mut symbols = Subscriptions::default();
        symbols.add(Channel::Quotes, ["BTC/USD".to_owned()]);
        let kept = request(&[(MarketClass::Crypto, symbols)]);
        let read = read_request(Some("application/protobuf"), &kept.bytes).unwrap();
        assert_eq!(
            read,
            [(MarketClass::Crypto, Channel::Quotes, vec!["BTC/USD".to_owned()])]
        );
    }
}
