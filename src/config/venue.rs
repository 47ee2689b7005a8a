//! Which venue, and with whose money.

use reqwest::Url;
use secrecy::SecretString;

use super::AlpacaConfig;
use super::check::Settings;
use crate::domain::Environment;

const PAPER_HOST: &str = "paper-api.alpaca.markets";
/// Every host of the venue ends in this. None of them is a simulator, whatever `ALPACA_ENV` says.
const VENUE_DOMAIN: &str = "alpaca.markets";

pub(super) fn build(settings: &mut Settings) -> AlpacaConfig {
    let (base_url, environment) = venue(settings);
    let oauth = settings.optional_text("ALPACA_OAUTH");
    let (key, secret) = key_pair(settings, environment, oauth.is_some());
    AlpacaConfig {
        base_url,
        key,
        secret,
        oauth: oauth.map(SecretString::from),
        account: settings.optional_text("ALPACA_ACCOUNT"),
        environment,
        request_timeout: settings.duration("HTTP_CLIENT_TIMEOUT"),
        rate_limit_per_minute: settings.count("RATE_LIMIT_PER_MINUTE"),
    }
}

fn venue(settings: &mut Settings) -> (String, Environment) {
    let (url, host) = match base_url(&settings.text("ALPACA_URL")) {
        Ok(parsed) => parsed,
        Err(what) => {
            settings.problem("ALPACA_URL", what);
            return (String::new(), Environment::Paper);
        }
    };
    let declared = settings.choice("ALPACA_ENV");
    let is_venue = host == VENUE_DOMAIN || host.ends_with(&format!(".{VENUE_DOMAIN}"));
    let environment = if host == PAPER_HOST {
        Environment::Paper
    } else if is_loopback(&host) || (declared == "sim" && !is_venue) {
        Environment::Sim
    } else {
        Environment::Live
    };
    if !declared.is_empty() && declared != environment.as_str() {
        let what = format!(
            "says {declared}, but {host} is {}; correct one of them",
            environment.as_str()
        );
        settings.problem("ALPACA_ENV, ALPACA_URL", what);
    }
    if url.starts_with("http://") && environment != Environment::Sim {
        let what = format!("would send the account's secret to {host} unencrypted; write https://");
        settings.problem("ALPACA_URL", what);
    }
    if environment == Environment::Live {
        check_live(settings, &host);
    }
    (url, environment)
}

/// Real money takes consent, limits, the account's number and a deadline for every order: each of them has saved somebody.
fn check_live(settings: &mut Settings, host: &str) {
    if settings.choice("LIVE_TRADING") != "yes" {
        let what = format!(
            "{host} is not the paper API, so it is taken for real money and refused without LIVE_TRADING=yes; \
             use https://{PAPER_HOST}, or write ALPACA_ENV=sim if it is a simulator"
        );
        settings.problem("ALPACA_URL", what);
        return;
    }
    if settings.path("LIMITS_FILE").is_none() {
        settings.problem(
            "LIMITS_FILE",
            "is missing, and live trading takes limits; write a file with an [account] section, and see docs/limits.md",
        );
    }
    if settings.optional_text("ALPACA_ACCOUNT").is_none() {
        settings.problem(
            "ALPACA_ACCOUNT",
            "is missing, and live trading takes the account's number, so that keys of another account are refused",
        );
    }
    if settings.duration("ORDER_MAX_AGE").is_zero() {
        settings.problem(
            "ORDER_MAX_AGE",
            "is 0, which lets an order be sent however late; live trading takes a deadline, for example 2m",
        );
    }
}

/// The URL without what the client adds itself, and its host.
fn base_url(text: &str) -> Result<(String, String), String> {
    const RIGHT: &str = "write for example https://paper-api.alpaca.markets";
    let with_scheme = if text.contains("://") {
        text.to_owned()
    } else {
        let host = text.split(['/', ':']).next().unwrap_or_default();
        let scheme = if is_loopback(host) || text.starts_with('[') {
            "http"
        } else {
            "https"
        };
        format!("{scheme}://{text}")
    };
    // The text is not repeated from here on: it may have credentials inside.
    let url = Url::parse(&with_scheme).map_err(|error| format!("is no URL ({error}); {RIGHT}"))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(format!("has the scheme {:?}; {RIGHT}", url.scheme()));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(format!(
            "has credentials inside; set ALPACA_API_KEY and ALPACA_API_SECRET, and {RIGHT}"
        ));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(format!("has a query or a fragment; {RIGHT}"));
    }
    let host = url
        .host_str()
        .unwrap_or_default()
        .trim_end_matches('.')
        .to_owned();
    let trimmed = url.as_str().trim_end_matches('/');
    let trimmed = trimmed
        .strip_suffix("/v2")
        .unwrap_or(trimmed)
        .trim_end_matches('/');
    Ok((trimmed.to_owned(), host))
}

fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    bare == "localhost"
        || bare
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

fn key_pair(settings: &mut Settings, environment: Environment, oauth: bool) -> (String, SecretString) {
    let key = settings.optional_text("ALPACA_API_KEY");
    let secret = settings.optional_text("ALPACA_API_SECRET");
    if oauth {
        if key.is_some() || secret.is_some() {
            let line = "ALPACA_OAUTH: is used, so ALPACA_API_KEY and ALPACA_API_SECRET are not";
            settings.warnings.push(line.to_owned());
        }
        return (String::new(), SecretString::default());
    }
    let (key, secret) = match (key, secret) {
        (Some(key), Some(secret)) => (key, secret),
        (None, None) if environment == Environment::Sim => ("sim".to_owned(), "sim".to_owned()),
        (key, secret) => {
            for (name, value) in [("ALPACA_API_KEY", &key), ("ALPACA_API_SECRET", &secret)] {
                if value.is_none() {
                    let what = format!("is missing; set it, or {name}_FILE to a file that holds it");
                    settings.problem(name, what);
                }
            }
            (key.unwrap_or_default(), secret.unwrap_or_default())
        }
    };
    for (name, value) in [("ALPACA_API_KEY", &key), ("ALPACA_API_SECRET", &secret)] {
        if !value.bytes().all(|byte| byte.is_ascii_graphic()) {
            settings.problem(name, "has a blank or a character outside ASCII; copy it again");
        }
    }
    // The venue's key ids say what they open: PK paper, AK live.
    match environment {
        Environment::Paper if key.starts_with("AK") => settings.problem(
            "ALPACA_API_KEY, ALPACA_URL",
            "the key is a live key (AK...) and the host is the paper API; use a paper key (PK...)",
        ),
        Environment::Live if key.starts_with("PK") => settings.problem(
            "ALPACA_API_KEY, ALPACA_URL",
            "the key is a paper key (PK...) and the host is not the paper API; use https://paper-api.alpaca.markets",
        ),
        Environment::Paper | Environment::Live | Environment::Sim => {}
    }
    (key, SecretString::from(secret))
}
