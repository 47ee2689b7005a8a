//! Which streams of market data there are, and what is heard on them from the start.

use std::collections::BTreeSet;

use reqwest::Url;

use super::check::Settings;
use super::{AlpacaConfig, DataStreamConfig, MarketDataConfig};
use crate::domain::market::{Channel, EVERY_SYMBOL, MarketClass, Subscriptions};
use crate::domain::{Environment, Symbol};

/// The venue's websockets, and its market data API: the same for paper and for real money.
const STREAMS: &str = "https://stream.data.alpaca.markets";
const HISTORY: &str = "https://data.alpaca.markets";

/// The settings of one class share a first word.
const fn word(class: MarketClass) -> &'static str {
    match class {
        MarketClass::Stocks => "STOCK",
        MarketClass::Crypto => "CRYPTO",
        MarketClass::Options => "OPTION",
        MarketClass::News => "NEWS",
    }
}

/// What stands between the stream's host and the feed.
const fn path(class: MarketClass) -> &'static str {
    match class {
        MarketClass::Stocks => "/v2",
        MarketClass::Crypto => "/v1beta3/crypto",
        MarketClass::Options | MarketClass::News => "/v1beta1",
    }
}

pub(super) fn build(settings: &mut Settings, alpaca: &AlpacaConfig) -> MarketDataConfig {
    let mut streams = Vec::new();
    for class in MarketClass::ALL {
        let stream = stream(settings, class, alpaca);
        if settings.switch(&format!("ENABLE_{}_STREAM", word(class))) {
            streams.extend(stream);
        }
    }
    let mut captured = BTreeSet::new();
    for text in settings.list("DATA_STREAM_TICKS") {
        match Channel::named(&text).filter(|channel| channel.is_tick()) {
            Some(channel) => {
                captured.insert(channel);
            }
            None => settings.problem(
                "DATA_STREAM_TICKS",
                format!("{text:?} is none; write of trades, quotes, orderbooks"),
            ),
        }
    }
    let history_url = address(settings, "ALPACA_DATA_URL", alpaca, HISTORY);
    let history_url = match base(&history_url, "https", &["http", "https"]) {
        Some(url) => url,
        None => {
            settings.problem(
                "ALPACA_DATA_URL",
                "is no address; write for example https://data.alpaca.markets",
            );
            String::new()
        }
    };
    MarketDataConfig {
        streams,
        captured,
        follow: settings.switch("MARKET_DATA_FOLLOW"),
        history_url,
    }
}

/// What was given; a simulator has market data beside its orders.
fn address(settings: &Settings, name: &str, alpaca: &AlpacaConfig, default: &str) -> String {
    let made = || match alpaca.environment {
        Environment::Sim => alpaca.base_url.clone(),
        Environment::Paper | Environment::Live => default.to_owned(),
    };
    settings.optional_text(name).unwrap_or_else(made)
}

fn stream(settings: &mut Settings, class: MarketClass, alpaca: &AlpacaConfig) -> Option<DataStreamConfig> {
    let name = |tail: &str| format!("{}_STREAM_{tail}", word(class));
    let feed = match class {
        MarketClass::News => "news".to_owned(),
        MarketClass::Stocks | MarketClass::Crypto | MarketClass::Options => settings.text(&name("FEED_TYPE")),
    };
    let is_plain = |text: &str| {
        text.bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
    };
    if !is_plain(&feed) {
        settings.problem(
            &name("FEED_TYPE"),
            format!("{feed:?} is no feed; write for example iex"),
        );
    }
    let symbols = symbols(settings, &name("SYMBOLS"));
    let mut subscriptions = Subscriptions::default();
    for channel in channels(settings, class) {
        subscriptions.add(channel, symbols.iter().cloned());
    }
    let given = address(settings, &name("BASE_URL"), alpaca, STREAMS);
    let Some(base) = base(&given, "wss", &["ws", "wss", "http", "https"]) else {
        let what = "is no address; write for example https://stream.data.alpaca.markets";
        settings.problem(&name("BASE_URL"), what);
        return None;
    };
    Some(DataStreamConfig {
        class,
        url: url(&base, class, &feed),
        feed,
        subscriptions,
        reconnect_delay: settings.duration(&name("RECONNECT_DELAY")),
        json: settings.choice("MARKET_DATA_ENCODING") == "json",
    })
}

/// What an address may end in: old files name the path of one class or another, and not always the right one.
const PATHS: [&str; 5] = ["/v1beta1/news", "/v1beta3/crypto", "/v1beta1", "/v1beta3", "/v2"];

/// The whole address of a class's feed.
fn url(base: &str, class: MarketClass, feed: &str) -> String {
    let websocket = match base.strip_prefix("http") {
        Some(rest) => format!("ws{rest}"),
        None => base.to_owned(),
    };
    let host = PATHS.iter().find_map(|path| websocket.strip_suffix(path));
    format!("{}{}/{feed}", host.unwrap_or(&websocket), path(class))
}

fn base(text: &str, scheme: &str, schemes: &[&str]) -> Option<String> {
    let with_scheme = if text.contains("://") {
        text.to_owned()
    } else {
        format!("{scheme}://{text}")
    };
    let url = Url::parse(&with_scheme).ok()?;
    let is_plain =
        url.has_host() && url.username().is_empty() && url.query().is_none() && url.fragment().is_none();
    (schemes.contains(&url.scheme()) && is_plain).then(|| url.as_str().trim_end_matches('/').to_owned())
}

fn symbols(settings: &mut Settings, name: &str) -> Vec<String> {
    let mut symbols = Vec::new();
    for text in settings.list(name) {
        if text == EVERY_SYMBOL || Symbol::parse(&text).is_ok() {
            symbols.push(text);
        } else {
            settings.problem(name, format!("{text:?} is no symbol"));
        }
    }
    symbols
}

fn channels(settings: &mut Settings, class: MarketClass) -> Vec<Channel> {
    if class == MarketClass::News {
        return vec![Channel::News];
    }
    let name = format!("{}_STREAM_CHANNELS", word(class));
    let mut channels = Vec::new();
    for text in settings.list(&name) {
        match Channel::named(&text).filter(|channel| class.channels().contains(channel)) {
            Some(channel) => channels.push(channel),
            None => {
                let known: Vec<&str> = class.channels().iter().map(|channel| channel.as_str()).collect();
                let what = format!("{text:?} is none; write of {}", known.join(", "));
                settings.problem(&name, what);
            }
        }
    }
    channels
}
