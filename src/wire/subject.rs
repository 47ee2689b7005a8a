//! The subject grammar: how ids and symbols are spelled in subjects and key-value keys, built and parsed here
//! only.
//!
//! A token holds `A-Z a-z 0-9 - _ /`; every other byte is written `=HH` in upper-case hex. An id's dots split
//! tokens. There is one spelling of everything: a subject that is not what [`encode_id`] would write is invalid,
//! so that `momentum=2Ex` cannot pass for `momentum.x` where NATS permissions are concerned.

use std::collections::BTreeSet;

use crate::domain::market::{Channel, MarketClass};
use crate::domain::{CancelTarget, ClientOrderId, CommandKind, OrderId, Strategy, Symbol};

/// The last token of a cancel that means "every order".
const ALL: &str = "ALL";

/// The token that stands where a symbol is not known.
const NO_SYMBOL: &str = "_";

/// Longest id echoed back to a publisher whose id could not be read, in bytes.
const ECHO_MAX: usize = 400;

/// Builds every subject and key this program uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subjects {
    prefix: String,
}

/// A command's subject, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandSubject {
    /// What is asked.
    pub kind: CommandKind,
    /// The id as it stands in the subject, safe to put into another subject.
    pub spelling: String,
    /// The id itself, or why it is none.
    pub id: Result<CommandName, SubjectError>,
}

/// What a command's subject names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CommandName {
    /// One client order id.
    One(ClientOrderId),
    /// `ALL`, or `<strategy>.ALL`. In cancels only.
    Wide(Option<Strategy>),
}

/// Why a subject names nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SubjectError {
    /// `=` not followed by two upper-case hex digits, or decoding to no text.
    #[error("the id in the subject holds an escape that is not =HH (two upper-case hex digits)")]
    Escape,
    /// Not the one spelling.
    #[error("the id in the subject is not spelled the one way; write {canonical:?}")]
    Spelling {
        /// What it should be.
        canonical: String,
    },
    /// No client order id.
    #[error(transparent)]
    Id(#[from] crate::domain::ids::ClientOrderIdError),
    /// `ALL` where one order is meant.
    #[error("an id whose last token is ALL is reserved for cancels of many orders")]
    Reserved,
}

fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'/')
}

fn push_escaped(out: &mut String, byte: u8) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    out.push('=');
    out.push(HEX[usize::from(byte >> 4)].into());
    out.push(HEX[usize::from(byte & 15)].into());
}

/// Spells a text as one token.
pub fn encode_token(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if is_plain(byte) {
            out.push(byte.into())
        } else {
            push_escaped(&mut out, byte)
        }
    }
    out
}

/// Spells an id: its dots split tokens. Where that would leave a token empty, the dots are escaped too.
pub fn encode_id(id: &str) -> String {
    if id.split('.').any(str::is_empty) {
        return encode_token(id);
    }
    id.split('.').map(encode_token).collect::<Vec<_>>().join(".")
}

/// Reads what [`encode_id`] or [`encode_token`] wrote.
pub fn decode(spelling: &str) -> Result<String, SubjectError> {
    let hex = |digit: u8| match digit {
        b'0'..=b'9' => Ok(digit - b'0'),
        b'A'..=b'F' => Ok(digit - b'A' + 10),
        _ => Err(SubjectError::Escape),
    };
    let mut out = Vec::with_capacity(spelling.len());
    let mut bytes = spelling.bytes();
    while let Some(byte) = bytes.next() {
        if byte == b'=' {
            let (high, low) = (bytes.next(), bytes.next());
            let (Some(high), Some(low)) = (high, low) else {
                return Err(SubjectError::Escape);
            };
            out.push(hex(high)? << 4 | hex(low)?);
        } else {
            out.push(byte);
        }
    }
    String::from_utf8(out).map_err(|_| SubjectError::Escape)
}

/// The key of a last value: `quotes.AAPL`.
pub fn last_key(channel: Channel, about: &str) -> String {
    format!("{}.{}", channel.as_str(), encode_token(about))
}

/// The key of a symbol's position.
pub fn position_key(symbol: &Symbol) -> String {
    format!("position.{}", encode_token(symbol.as_str()))
}

impl Subjects {
    /// Subjects under a prefix, which configuration has checked.
    pub fn new(prefix: impl Into<String>) -> Self {
        Self {
            prefix: prefix.into(),
        }
    }

    /// What the action stream captures, one subject for each kind of command.
    pub fn commands(&self) -> Vec<String> {
        [
            CommandKind::Order,
            CommandKind::Cancel,
            CommandKind::Replace,
            CommandKind::Close,
        ]
        .map(|kind| self.commands_of(kind))
        .to_vec()
    }

    /// Every command, of every kind.
    pub fn all_commands(&self) -> String {
        format!("{}.action.v0.>", self.prefix)
    }

    /// The filter of one kind of command.
    pub fn commands_of(&self, kind: CommandKind) -> String {
        format!("{}.action.v0.{}.>", self.prefix, kind_token(kind))
    }

    /// The subject of a command.
    pub fn command(&self, kind: CommandKind, id: &str) -> String {
        format!("{}.action.v0.{}.{}", self.prefix, kind_token(kind), encode_id(id))
    }

    /// The subject of a command whose id is spelled already; also of many, with a wildcard.
    pub fn command_spelled(&self, kind: CommandKind, spelling: &str) -> String {
        format!("{}.action.v0.{}.{spelling}", self.prefix, kind_token(kind))
    }

    /// An endpoint of the service; `>` for all of them.
    pub fn service(&self, endpoint: &str) -> String {
        format!("{}.svc.v0.{endpoint}", self.prefix)
    }

    /// Copies in JSON of what is told under the same subject without `json.`; `>` for all of them.
    pub fn json_copies(&self, tail: &str) -> String {
        format!("{}.json.{tail}", self.prefix)
    }

    /// What the journal stream captures.
    pub fn journal(&self) -> String {
        format!("{}.journal.v0.>", self.prefix)
    }

    /// Where an outcome goes. Takes the id as it was spelled in the command's subject.
    pub fn outcome(&self, spelling: &str) -> String {
        format!("{}.journal.v0.outcomes.{spelling}", self.prefix)
    }

    /// Where an order's events go.
    pub fn update(&self, client_order_id: &str) -> String {
        let id = if client_order_id.is_empty() {
            NO_SYMBOL.to_owned()
        } else {
            encode_id(client_order_id)
        };
        format!("{}.journal.v0.updates.{id}", self.prefix)
    }

    /// Where the events of an order go whose id is spelled already; also of many, with a wildcard.
    pub fn update_spelled(&self, spelling: &str) -> String {
        format!("{}.journal.v0.updates.{spelling}", self.prefix)
    }

    /// Where the events of all orders go.
    pub fn every_update(&self) -> String {
        format!("{}.journal.v0.updates.>", self.prefix)
    }

    /// Where changes of what is let through go.
    pub fn modes(&self) -> String {
        format!("{}.journal.v0.modes", self.prefix)
    }

    /// Where what could not be read goes.
    pub fn dead(&self, kind: Option<CommandKind>) -> String {
        format!(
            "{}.journal.v0.dead.{}",
            self.prefix,
            kind.map_or("unknown", kind_token)
        )
    }

    /// The filter of everything that could not be read.
    pub fn dead_letters(&self) -> String {
        format!("{}.journal.v0.dead.>", self.prefix)
    }

    /// Where a symbol's trade updates go.
    pub fn trade_update(&self, symbol: Option<&Symbol>) -> String {
        let token = symbol.map_or_else(|| NO_SYMBOL.to_owned(), |symbol| encode_token(symbol.as_str()));
        format!("{}.data.v0.tradeupdates.{token}", self.prefix)
    }

    /// The filter of all trade updates.
    pub fn trade_updates(&self) -> String {
        format!("{}.data.v0.tradeupdates.>", self.prefix)
    }

    /// Everything that is published for whoever listens, stored or not.
    pub fn all_data(&self) -> String {
        format!("{}.data.v0.>", self.prefix)
    }

    /// Where an observation goes. Minute bars of stocks have the subject the Go program gave them; an article goes by its
    /// number.
    pub fn observation(&self, class: MarketClass, channel: Channel, about: &str) -> String {
        let token = encode_token(about);
        let (prefix, class_word) = (&self.prefix, class.as_str());
        match (class, channel) {
            (MarketClass::Stocks, Channel::Bars) | (MarketClass::News, _) => {
                format!("{prefix}.data.v0.{class_word}.{token}")
            }
            (MarketClass::Stocks | MarketClass::Crypto | MarketClass::Options, _) => {
                format!("{prefix}.data.v0.{class_word}.{}.{token}", channel.as_str())
            }
        }
    }

    /// What somebody who subscribes to this subject wants to hear: one symbol of one channel. `None`: something else, or more
    /// than one symbol, which is not for the listener to decide.
    pub fn read_observation(&self, subject: &str) -> Option<(MarketClass, Channel, String)> {
        let rest = subject
            .strip_prefix(self.prefix.as_str())?
            .strip_prefix(".data.v0.")?;
        let (word, rest) = rest.split_once('.')?;
        let class = MarketClass::ALL
            .into_iter()
            .find(|class| class.as_str() == word)?;
        let (channel, token) = match (class, rest.split_once('.')) {
            (MarketClass::News, _) => return None, // articles are not about one thing
            (MarketClass::Stocks, None) => (Channel::Bars, rest),
            (_, Some((word, token))) => (Channel::named(word)?, token),
            (MarketClass::Crypto | MarketClass::Options, None) => return None,
        };
        let symbol = decode(token).ok()?;
        let is_one = Symbol::parse(&symbol).is_ok() && !symbol.contains(['*', '>']);
        (is_one
            && class.channels().contains(&channel)
            && self.observation(class, channel, &symbol) == subject)
            .then_some((class, channel, symbol))
    }

    /// The filter of one channel of one class.
    pub fn observations(&self, class: MarketClass, channel: Channel) -> String {
        format!(
            "{}.data.v0.{}.{}.>",
            self.prefix,
            class.as_str(),
            channel.as_str()
        )
    }

    /// The filter of all articles.
    pub fn news(&self) -> String {
        format!("{}.data.v0.news.>", self.prefix)
    }

    /// The filter of all minute bars of stocks.
    pub fn stock_bars(&self) -> String {
        format!("{}.data.v0.stocks.*", self.prefix)
    }

    /// What the data stream captures: everything but the torrents (quotes, trades, order books), unless they are asked for. Minute bars of
    /// stocks have the subject the Go program gave them, `stocks.<SYM>`.
    pub fn data(&self, captured: &BTreeSet<Channel>) -> Vec<String> {
        let mut subjects = vec![self.trade_updates(), self.stock_bars(), self.news()];
        for class in ["stocks", "crypto", "options"] {
            let bars = (class != "stocks").then_some("bars");
            for kind in ["updatedbars", "dailybars", "statuses"].into_iter().chain(bars) {
                subjects.push(format!("{}.data.v0.{class}.{kind}.>", self.prefix));
            }
        }
        for channel in captured {
            let classes = MarketClass::ALL.into_iter();
            let classes = classes.filter(|class| class.channels().contains(channel));
            subjects.extend(classes.map(|class| self.observations(class, *channel)));
        }
        subjects
    }

    /// Takes a command's subject apart. `None`: the subject is no command's at all.
    pub fn read_command(&self, subject: &str) -> Option<CommandSubject> {
        let rest = subject
            .strip_prefix(self.prefix.as_str())?
            .strip_prefix(".action.v0.")?;
        let (kind, spelling) = rest.split_once('.')?;
        let kind = match kind {
            "orders" => CommandKind::Order,
            "cancel" => CommandKind::Cancel,
            "replace" => CommandKind::Replace,
            "close" => CommandKind::Close,
            _ => return None,
        };
        Some(CommandSubject {
            kind,
            spelling: echo(spelling),
            id: read_name(kind, spelling),
        })
    }
}

fn kind_token(kind: CommandKind) -> &'static str {
    match kind {
        CommandKind::Order => "orders",
        CommandKind::Cancel => "cancel",
        CommandKind::Replace => "replace",
        CommandKind::Close => "close",
    }
}

/// The id as it stands, made safe: what a subject may not hold is escaped, and it is bounded.
fn echo(spelling: &str) -> String {
    let mut out = String::with_capacity(spelling.len());
    for byte in spelling.bytes() {
        if out.len() >= ECHO_MAX {
            break;
        }
        if is_plain(byte) || matches!(byte, b'=' | b'.') {
            out.push(byte.into())
        } else {
            push_escaped(&mut out, byte)
        }
    }
    let whole = out.trim_matches('.');
    if whole.is_empty() || whole.split('.').any(str::is_empty) {
        encode_token(whole) + NO_SYMBOL
    } else {
        whole.to_owned()
    }
}

fn read_name(kind: CommandKind, spelling: &str) -> Result<CommandName, SubjectError> {
    let text = decode(spelling)?;
    let canonical = encode_id(&text);
    if canonical != spelling {
        return Err(SubjectError::Spelling { canonical });
    }
    let id = ClientOrderId::parse(&text)?;
    let last = spelling.rsplit('.').next().unwrap_or(spelling);
    if last != ALL {
        return Ok(CommandName::One(id));
    }
    match (kind, spelling.split_once('.')) {
        (CommandKind::Cancel, None) => Ok(CommandName::Wide(None)),
        (CommandKind::Cancel, Some((strategy, ALL))) => {
            Ok(CommandName::Wide(Some(Strategy::new(decode(strategy)?))))
        }
        (CommandKind::Cancel | CommandKind::Order | CommandKind::Replace | CommandKind::Close, _) => {
            Err(SubjectError::Reserved)
        }
    }
}

impl CommandName {
    /// What a cancel of that name takes down.
    pub fn cancel_target(&self) -> CancelTarget {
        match self.clone() {
            Self::Wide(None) => CancelTarget::All,
            Self::Wide(Some(strategy)) => CancelTarget::Strategy(strategy),
            Self::One(id) => match OrderId::parse(id.as_str()) {
                Some(order_id) => CancelTarget::Uuid(order_id, id),
                None => CancelTarget::Client(id),
            },
        }
    }

    /// The id as text.
    pub fn text(&self) -> String {
        match self {
            Self::One(id) => id.as_str().to_owned(),
            Self::Wide(None) => ALL.to_owned(),
            Self::Wide(Some(strategy)) => format!("{strategy}.{ALL}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(subject: &str) -> Option<CommandSubject> {
        Subjects::new("nalpaca").read_command(subject)
    }

    fn one(id: &str) -> Result<CommandName, SubjectError> {
        Ok(CommandName::One(ClientOrderId::parse(id).unwrap()))
    }

    #[test]
    fn symbols_and_ids_have_one_spelling() {
        assert_eq!(encode_token("BRK.B"), "BRK=2EB");
        assert_eq!(encode_token("BTC/USD"), "BTC/USD");
        assert_eq!(encode_token("a b\r\n*>"), "a=20b=0D=0A=2A=3E");
        assert_eq!(encode_token("é"), "=C3=A9");
        assert_eq!(encode_id("momentum.1:2"), "momentum.1=3A2");
        assert_eq!(encode_id("a..b"), "a=2E=2Eb");
        assert_eq!(encode_id(".a"), "=2Ea");
        assert_eq!(encode_id("a=b"), "a=3Db");
    }

    #[test]
    fn commands_are_taken_apart() {
        let order = read("nalpaca.action.v0.orders.momentum.1").unwrap();
        assert_eq!((order.kind, order.id), (CommandKind::Order, one("momentum.1")));
        let cancel = |tail: &str| read(&format!("nalpaca.action.v0.cancel.{tail}")).unwrap().id;
        assert_eq!(cancel("ALL"), Ok(CommandName::Wide(None)));
        assert_eq!(
            cancel("momentum.ALL"),
            Ok(CommandName::Wide(Some(crate::domain::Strategy::new("momentum"))))
        );
        assert_eq!(cancel("a.b.ALL"), Err(SubjectError::Reserved));
        assert_eq!(
            cancel("all"),
            one("all"),
            "a naming accident is not a mass cancel"
        );
        assert_eq!(
            read("nalpaca.action.v0.orders.ALL").unwrap().id,
            Err(SubjectError::Reserved)
        );
        assert_eq!(read("nalpaca.action.v0.bets.x"), None);
        assert_eq!(read("other.action.v0.orders.x"), None);
        assert_eq!(read("nalpaca.action.v0.orders"), None);
    }

    #[test]
    fn a_second_spelling_is_invalid() {
        let id = |tail: &str| read(&format!("nalpaca.action.v0.orders.{tail}")).unwrap().id;
        assert_eq!(
            id("momentum=2Ex"),
            Err(SubjectError::Spelling {
                canonical: "momentum.x".to_owned()
            })
        );
        assert_eq!(
            id("a=41"),
            Err(SubjectError::Spelling {
                canonical: "aA".to_owned()
            })
        );
        assert_eq!(id("a=4"), Err(SubjectError::Escape));
        assert_eq!(id("a=zz"), Err(SubjectError::Escape));
        assert_eq!(id("a=2e"), Err(SubjectError::Escape));
        assert!(matches!(id(&"x".repeat(200)), Err(SubjectError::Id(_))));
        assert!(
            matches!(id("a=20b"), Err(SubjectError::Id(_))),
            "a space is no visible character"
        );
    }

    #[test]
    fn an_unreadable_id_still_has_a_place_for_its_outcome() {
        let spelling = |tail: &str| {
            read(&format!("nalpaca.action.v0.orders.{tail}"))
                .unwrap()
                .spelling
        };
        assert_eq!(spelling("momentum=2Ex"), "momentum=2Ex");
        assert_eq!(spelling("a b*>"), "a=20b=2A=3E");
        assert_eq!(spelling("a..b"), "a=2E=2Eb_");
        assert_eq!(spelling(&"x".repeat(3000)).len(), ECHO_MAX);
    }

    proptest! {
        #[test]
        fn what_is_spelled_is_read_back(text in ".{0,48}") {
            prop_assert_eq!(decode(&encode_token(&text)).unwrap(), text.clone());
            prop_assert_eq!(decode(&encode_id(&text)).unwrap(), text);
        }

        #[test]
        fn every_client_order_id_survives_its_subject(text in "[!-~]{1,128}") {
            let subjects = Subjects::new("p");
            let subject = subjects.command(CommandKind::Order, &text);
            prop_assert!(!subject.contains(".."), "{}", subject);
            prop_assert!(!subject.ends_with('.'), "{}", subject);
            let read = subjects.read_command(&subject).unwrap();
            if encode_id(&text).rsplit('.').next() == Some(ALL) {
                prop_assert_eq!(read.id, Err(SubjectError::Reserved));
            } else {
                prop_assert_eq!(read.id.unwrap().text(), text);
            }
        }

        #[test]
        fn no_subject_makes_the_reader_panic_or_the_echo_unsafe(tail in ".{0,600}") {
            if let Some(read) = Subjects::new("p").read_command(&format!("p.action.v0.cancel.{tail}")) {
                prop_assert!(read.spelling.len() <= 3 * ECHO_MAX);
                prop_assert!(!read.spelling.is_empty());
                prop_assert!(read.spelling.split('.').all(|token| !token.is_empty()));
                prop_assert!(read.spelling.bytes().all(|byte| is_plain(byte) || matches!(byte, b'=' | b'.')));
            }
        }
    }
}
