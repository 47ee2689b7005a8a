//! What is said on a market-data stream besides data: greeting, authentication, subscriptions, errors. No sockets.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::feed::{Channel, DataPlan, Feed};
use super::row::{Json, MessagePack, Sink};

/// Every symbol.
const STAR: &str = "*";
/// Longest symbol; an option's has 21 letters.
const SYMBOL_MAX: usize = 32;
/// Symbols of one channel at most, whatever the plan: what a client can make us remember.
const CHANNEL_MAX: usize = 20_000;

/// How messages travel in both directions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Json,
    MessagePack,
}

impl Format {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Json => "text",
            Self::MessagePack => "msgpack",
        }
    }
}

/// What a session has subscribed to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Subscriptions(BTreeMap<Channel, BTreeSet<String>>);

impl Subscriptions {
    /// The symbols of a channel; `*` stands for all.
    pub(crate) fn of(&self, channel: Channel) -> impl Iterator<Item = &str> {
        let channel = if channel.follows_trades() {
            Channel::Trades
        } else {
            channel
        };
        self.0.get(&channel).into_iter().flatten().map(String::as_str)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.values().all(BTreeSet::is_empty)
    }

    /// Is everything of this channel wanted?
    pub(crate) fn has_star(&self, channel: Channel) -> bool {
        self.of(channel).any(|symbol| symbol == STAR)
    }

    fn change(&mut self, channel: Channel, symbols: Vec<String>, add: bool) {
        let wanted = self.0.entry(channel).or_default();
        for symbol in symbols {
            if add {
                wanted.insert(symbol);
            } else {
                wanted.remove(&symbol);
            }
        }
    }

    fn limited(&self) -> usize {
        self.of(Channel::Trades).count() + self.of(Channel::Quotes).count()
    }
}

/// What the server says about itself; each travels alone in an array of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Control {
    Connected,
    Authenticated,
    Subscribed(Subscriptions),
    Error(Fault),
}

/// The errors of the streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    Syntax,
    NotAuthenticated,
    AuthFailed,
    AlreadyAuthenticated,
    AuthTimeout,
    SymbolLimit,
    ConnectionLimit,
    InsufficientSubscription,
    InvalidAction,
    OptionsNeedMessagePack,
    NoStarForOptionQuotes,
}

impl Fault {
    /// Code and text.
    const fn told(self) -> (u64, &'static str) {
        match self {
            Self::Syntax => (400, "invalid syntax"),
            Self::NotAuthenticated => (401, "not authenticated"),
            Self::AuthFailed => (402, "auth failed"),
            Self::AlreadyAuthenticated => (403, "already authenticated"),
            Self::AuthTimeout => (404, "auth timeout"),
            Self::SymbolLimit => (405, "symbol limit exceeded"),
            Self::ConnectionLimit => (406, "connection limit exceeded"),
            Self::InsufficientSubscription => (409, "insufficient subscription"),
            Self::InvalidAction => (410, "invalid subscribe action for this feed"),
            Self::OptionsNeedMessagePack => (412, "option messages are only available in MsgPack format"),
            Self::NoStarForOptionQuotes => (413, "star subscription is not allowed for option quotes"),
        }
    }

    /// Does the server hang up after it?
    pub(crate) const fn is_final(self) -> bool {
        match self {
            Self::AuthFailed | Self::AuthTimeout | Self::OptionsNeedMessagePack => true,
            Self::Syntax
            | Self::NotAuthenticated
            | Self::AlreadyAuthenticated
            | Self::SymbolLimit
            | Self::ConnectionLimit
            | Self::InsufficientSubscription
            | Self::InvalidAction
            | Self::NoStarForOptionQuotes => false,
        }
    }
}

impl Control {
    pub(crate) fn encode(&self, feed: Feed, format: Format) -> Vec<u8> {
        match format {
            Format::Json => {
                let mut sink = Json::default();
                self.write(feed, &mut sink);
                format!("[{}]", sink.into_text()).into_bytes()
            }
            Format::MessagePack => {
                let mut sink = MessagePack::default();
                self.write(feed, &mut sink);
                // An array of one.
                let mut bytes = vec![0x91];
                bytes.extend(sink.into_bytes());
                bytes
            }
        }
    }

    fn write(&self, feed: Feed, sink: &mut impl Sink) {
        match self {
            Self::Connected | Self::Authenticated => {
                sink.begin(2);
                sink.text("T", "success");
                sink.text(
                    "msg",
                    if *self == Self::Connected {
                        "connected"
                    } else {
                        "authenticated"
                    },
                );
            }
            Self::Subscribed(subscriptions) => {
                sink.begin(1 + feed.channels().len());
                sink.text("T", "subscription");
                for channel in feed.channels() {
                    let symbols: Vec<_> = subscriptions.of(*channel).collect();
                    sink.texts(channel.name(), &symbols);
                }
            }
            Self::Error(fault) => {
                let (code, text) = fault.told();
                sink.begin(3);
                sink.text("T", "error");
                sink.whole("code", code);
                sink.text("msg", text);
            }
        }
        sink.end();
    }
}

/// Who may log in.
#[derive(Clone, Copy)]
pub(crate) struct Keys<'a> {
    pub(crate) key: &'a str,
    pub(crate) secret: &'a str,
}

impl Keys<'_> {
    fn fit(self, key: &str, secret: &str) -> bool {
        // An OAuth client puts its token where the secret goes.
        secret == self.secret && (key == self.key || key == "oauth")
    }
}

/// What a message asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    /// The right keys; whether there is a slot is for the one who asked to find out.
    Login,
    /// The subscriptions are now these.
    Subscriptions(Subscriptions),
    /// It cannot be.
    Fault(Fault),
}

/// Where the conversation is.
#[derive(Clone, Debug)]
pub(crate) struct Dialogue {
    pub(crate) feed: Feed,
    pub(crate) format: Format,
    pub(crate) plan: DataPlan,
    pub(crate) authenticated: bool,
    pub(crate) subscriptions: Subscriptions,
}

impl Dialogue {
    pub(crate) fn new(feed: Feed, format: Format, plan: DataPlan) -> Self {
        Self {
            feed,
            format,
            plan,
            authenticated: false,
            subscriptions: Subscriptions::default(),
        }
    }

    /// May this session have the stream at all? Asked with the right keys.
    pub(crate) fn admits(&self) -> Result<(), Fault> {
        if self.feed.is_options() && self.format == Format::Json {
            return Err(Fault::OptionsNeedMessagePack);
        }
        if !self.feed.is_in(self.plan) {
            return Err(Fault::InsufficientSubscription);
        }
        Ok(())
    }

    /// Reads one message. Nothing changes here: the caller answers first, so that no data overtakes a confirmation.
    pub(crate) fn hear(&self, message: &[u8], keys: Keys<'_>) -> Heard {
        let Some(message) = read(message) else {
            return Heard::Fault(Fault::Syntax);
        };
        let text = |key: &str| message.get(key).and_then(Value::as_str);
        match text("action") {
            Some("auth") if self.authenticated => Heard::Fault(Fault::AlreadyAuthenticated),
            Some("auth") => {
                let fits = text("key")
                    .zip(text("secret"))
                    .is_some_and(|(key, secret)| keys.fit(key, secret));
                match (fits, self.admits()) {
                    (false, _) => Heard::Fault(Fault::AuthFailed),
                    (true, Err(fault)) => Heard::Fault(fault),
                    (true, Ok(())) => Heard::Login,
                }
            }
            Some("subscribe" | "unsubscribe") if !self.authenticated => Heard::Fault(Fault::NotAuthenticated),
            Some(action @ ("subscribe" | "unsubscribe")) => {
                match self.changed(&message, action == "subscribe") {
                    Ok(subscriptions) => Heard::Subscriptions(subscriptions),
                    Err(fault) => Heard::Fault(fault),
                }
            }
            Some(_) | None => Heard::Fault(Fault::Syntax),
        }
    }

    fn changed(&self, message: &Map<String, Value>, add: bool) -> Result<Subscriptions, Fault> {
        let mut subscriptions = self.subscriptions.clone();
        for (name, symbols) in message.iter().filter(|(name, _)| *name != "action") {
            let symbols = symbols_of(symbols)?;
            if symbols.is_empty() {
                // Clients send every channel they know, empty or null.
                continue;
            }
            let channel = Channel::named(name).filter(|channel| self.feed.channels().contains(channel));
            let channel = channel.ok_or(Fault::InvalidAction)?;
            if channel.follows_trades() {
                continue;
            }
            if self.feed.is_options()
                && channel == Channel::Quotes
                && symbols.iter().any(|symbol| symbol == STAR)
            {
                return Err(Fault::NoStarForOptionQuotes);
            }
            subscriptions.change(channel, symbols, add);
        }
        let over = |limit: usize| {
            let star = subscriptions.has_star(Channel::Trades) || subscriptions.has_star(Channel::Quotes);
            subscriptions.limited() > limit || (star && !self.feed.is_options())
        };
        let too_many = self.feed.symbols_max(self.plan).is_some_and(over)
            || subscriptions
                .0
                .values()
                .any(|symbols| symbols.len() > CHANNEL_MAX);
        if add && too_many {
            return Err(Fault::SymbolLimit);
        }
        Ok(subscriptions)
    }
}

/// JSON by its first letter, else MessagePack.
fn read(message: &[u8]) -> Option<Map<String, Value>> {
    if message.trim_ascii_start().first() == Some(&b'{') {
        return serde_json::from_slice(message).ok();
    }
    rmp_serde::from_slice(message).ok()
}

fn symbols_of(value: &Value) -> Result<Vec<String>, Fault> {
    let list = match value {
        Value::Null => return Ok(Vec::new()),
        Value::Array(list) => list,
        Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_) => return Err(Fault::Syntax),
    };
    let symbol = |value: &Value| {
        let text = value.as_str()?;
        let fits = (1..=SYMBOL_MAX).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
        fits.then(|| text.to_owned())
    };
    list.iter()
        .map(|value| symbol(value).ok_or(Fault::Syntax))
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    const KEYS: Keys<'static> = Keys {
        key: "k",
        secret: "s",
    };

    fn dialogue(feed: Feed, plan: DataPlan) -> Dialogue {
        let format = if feed.is_options() {
            Format::MessagePack
        } else {
            Format::Json
        };
        Dialogue {
            authenticated: true,
            ..Dialogue::new(feed, format, plan)
        }
    }

    fn told(dialogue: &mut Dialogue, message: Value) -> Value {
        let control = match dialogue.hear(message.to_string().as_bytes(), KEYS) {
            Heard::Login => Control::Authenticated,
            Heard::Subscriptions(subscriptions) => {
                dialogue.subscriptions = subscriptions.clone();
                Control::Subscribed(subscriptions)
            }
            Heard::Fault(fault) => Control::Error(fault),
        };
        let mut answer: Value = serde_json::from_slice(&control.encode(dialogue.feed, Format::Json)).unwrap();
        assert_eq!(answer.as_array().unwrap().len(), 1, "control messages come alone");
        answer[0].take()
    }

    #[test]
    fn a_login_needs_the_keys_and_happens_once() {
        let mut dialogue = Dialogue::new(Feed::Iex, Format::Json, DataPlan::Basic);
        let auth = |key: &str, secret: &str| json!({"action": "auth", "key": key, "secret": secret});
        let code = |answer: Value| answer["code"].clone();
        assert_eq!(
            code(told(&mut dialogue, json!({"action": "subscribe", "bars": ["A"]}))),
            401
        );
        assert_eq!(code(told(&mut dialogue, auth("k", "x"))), 402);
        assert_eq!(told(&mut dialogue, auth("oauth", "s"))["msg"], "authenticated");
        assert_eq!(told(&mut dialogue, auth("k", "s"))["msg"], "authenticated");
        dialogue.authenticated = true;
        assert_eq!(code(told(&mut dialogue, auth("k", "s"))), 403);
        let sip = Dialogue::new(Feed::Sip, Format::Json, DataPlan::Basic);
        assert_eq!(
            sip.hear(auth("k", "s").to_string().as_bytes(), KEYS),
            Heard::Fault(Fault::InsufficientSubscription)
        );
        let options = Dialogue::new(Feed::Indicative, Format::Json, DataPlan::Plus);
        assert_eq!(
            options.hear(auth("k", "s").to_string().as_bytes(), KEYS),
            Heard::Fault(Fault::OptionsNeedMessagePack)
        );
    }

    #[test]
    fn a_confirmation_tells_everything_and_subscriptions_add_up() {
        let mut dialogue = dialogue(Feed::Iex, DataPlan::Basic);
        told(
            &mut dialogue,
            json!({"action": "subscribe", "trades": ["SPY"], "quotes": null, "news": []}),
        );
        let answer = told(
            &mut dialogue,
            json!({"action": "subscribe", "trades": ["AAPL"], "bars": ["*"]}),
        );
        assert_eq!(
            answer,
            json!({"T": "subscription", "trades": ["AAPL", "SPY"], "quotes": [], "bars": ["*"], "updatedBars": [],
                "dailyBars": [], "statuses": [], "lulds": [], "imbalances": [], "corrections": ["AAPL", "SPY"],
                "cancelErrors": ["AAPL", "SPY"]})
        );
        let answer = told(
            &mut dialogue,
            json!({"action": "unsubscribe", "trades": ["SPY", "NONE"], "bars": ["*"]}),
        );
        assert_eq!(
            (&answer["trades"], &answer["bars"]),
            (&json!(["AAPL"]), &json!([]))
        );
    }

    #[test]
    fn what_a_feed_or_plan_does_not_allow_changes_nothing() {
        let check = |feed, plan, message: Value, code: u64| {
            let mut dialogue = dialogue(feed, plan);
            assert_eq!(told(&mut dialogue, message)["code"], code);
            assert!(dialogue.subscriptions.is_empty());
        };
        let many: Vec<_> = (0..31).map(|n| format!("S{n}")).collect();
        check(
            Feed::Iex,
            DataPlan::Basic,
            json!({"action": "subscribe", "trades": many}),
            405,
        );
        check(
            Feed::Iex,
            DataPlan::Basic,
            json!({"action": "subscribe", "quotes": ["*"]}),
            405,
        );
        check(
            Feed::Iex,
            DataPlan::Plus,
            json!({"action": "subscribe", "orderbooks": ["A"]}),
            410,
        );
        check(
            Feed::Test,
            DataPlan::Plus,
            json!({"action": "subscribe", "news": ["*"]}),
            410,
        );
        check(
            Feed::Opra,
            DataPlan::Plus,
            json!({"action": "subscribe", "quotes": ["*"]}),
            413,
        );
        for message in [
            json!({"action": "subscribe", "trades": "SPY"}),
            json!({"action": "subscribe", "trades": [1]}),
            json!({"action": "subscribe", "trades": [""]}),
            json!({"action": "dance"}),
            json!({}),
            json!([]),
        ] {
            check(Feed::Iex, DataPlan::Plus, message, 400);
        }
        let mut plus = dialogue(Feed::Iex, DataPlan::Plus);
        assert_eq!(
            told(&mut plus, json!({"action": "subscribe", "trades": many}))["T"],
            "subscription"
        );
    }

    #[test]
    fn message_pack_is_understood_and_spoken() {
        let dialogue = dialogue(Feed::Opra, DataPlan::Plus);
        let message = rmp_serde::to_vec_named(
            &json!({"action": "subscribe", "quotes": ["SPY271217C00600000"], "trades": null}),
        )
        .unwrap();
        let Heard::Subscriptions(subscriptions) = dialogue.hear(&message, KEYS) else {
            panic!("not understood");
        };
        let bytes = Control::Subscribed(subscriptions).encode(Feed::Opra, Format::MessagePack);
        let told: Value = rmp_serde::from_slice(&bytes).unwrap();
        assert_eq!(
            told,
            json!([{"T": "subscription", "trades": [], "quotes": ["SPY271217C00600000"]}])
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn whatever_is_said_is_answered(bytes in prop::collection::vec(any::<u8>(), 0..200), json in "\\{\"action\":\"(auth|subscribe|unsubscribe)\",\"(trades|key)\":(null|\\[\"A\"\\]|\\[\\[\\]\\]|\"x\"|\\{\\})\\}") {
            for authenticated in [false, true] {
                let dialogue = Dialogue { authenticated, ..Dialogue::new(Feed::Iex, Format::Json, DataPlan::Basic) };
                dialogue.hear(&bytes, KEYS);
                dialogue.hear(json.as_bytes(), KEYS);
            }
        }
    }
}
