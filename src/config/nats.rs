//! Where NATS is and who we are to it.

use std::path::Path;

use reqwest::Url;
use secrecy::SecretString;

use super::check::Settings;
use super::source::Source;
use super::{NatsAuth, NatsConfig, NatsTls};

pub(super) fn build(settings: &mut Settings, source: &dyn Source, instance: &str) -> NatsConfig {
    let (servers, url_auth) = servers(settings);
    let default_name = || format!("nalpaca/{} {instance}", env!("CARGO_PKG_VERSION"));
    NatsConfig {
        servers,
        auth: auth(settings, source, url_auth),
        tls: tls(settings, source),
        name: settings.optional_text("NATS_NAME").unwrap_or_else(default_name),
        inbox_prefix: settings.text("NATS_INBOX_PREFIX"),
    }
}

/// What stood before the host of a URL: user and password, or a token alone.
#[derive(Clone, PartialEq, Eq)]
struct UrlAuth {
    user: String,
    password: Option<String>,
}

/// The servers' addresses without credentials, and the credentials that stood in them.
fn servers(settings: &mut Settings) -> (Vec<String>, Option<UrlAuth>) {
    let mut servers = Vec::new();
    let mut found: Option<UrlAuth> = None;
    for (at, text) in settings.list("NATS_URL").iter().enumerate() {
        let place = at + 1;
        match server(text) {
            Ok((address, auth)) => {
                if found.is_some() && auth.is_some() && found != auth {
                    settings.problem(
                        "NATS_URL",
                        "has different credentials for different servers; use one account",
                    );
                }
                found = found.or(auth);
                servers.push(address);
            }
            // Not the text: it may have a password inside.
            Err(what) => settings.problem(
                "NATS_URL",
                format!("server {place} {what}; write for example nats://localhost:4222"),
            ),
        }
    }
    if servers.is_empty() && settings.problems.iter().all(|problem| problem.name != "NATS_URL") {
        settings.problem(
            "NATS_URL",
            "names no server; write for example nats://localhost:4222",
        );
    }
    (servers, found)
}

fn server(text: &str) -> Result<(String, Option<UrlAuth>), String> {
    let (scheme, rest) = match text.split_once("://") {
        Some((scheme, rest)) => (Some(scheme), rest),
        None => (None, text),
    };
    match scheme {
        None | Some("nats" | "tls") => {}
        Some("ws" | "wss") => return Err("is a websocket, which is not supported".to_owned()),
        Some(_) => return Err("has an unknown scheme".to_owned()),
    }
    let url = Url::parse(&format!("nats://{rest}")).map_err(|error| format!("is no address ({error})"))?;
    let host = url.host_str().unwrap_or_default();
    if host.is_empty() {
        return Err("has no host".to_owned());
    }
    if !matches!(url.path(), "" | "/") || url.query().is_some() || url.fragment().is_some() {
        return Err("has more than host and port".to_owned());
    }
    let auth = match (url.username(), url.password()) {
        ("", _) => None,
        (user, password) => Some(UrlAuth {
            user: decode_percent(user)?,
            password: password.map(decode_percent).transpose()?,
        }),
    };
    let scheme = scheme.map(|scheme| format!("{scheme}://")).unwrap_or_default();
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    Ok((format!("{scheme}{host}{port}"), auth))
}

/// Text from a URL's user part.
fn decode_percent(text: &str) -> Result<String, String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let mut digit = || char::from(rest.next()?).to_digit(16);
        let decoded = digit()
            .zip(digit())
            .and_then(|(high, low)| u8::try_from(high * 16 + low).ok());
        bytes.push(decoded.ok_or("has a stray % in its credentials, % itself is %25")?);
    }
    String::from_utf8(bytes).map_err(|_| "has credentials that are not UTF-8".to_owned())
}

fn auth(settings: &mut Settings, source: &dyn Source, url_auth: Option<UrlAuth>) -> NatsAuth {
    let user = settings.optional_text("NATS_USER");
    let password = settings.optional_text("NATS_PASSWORD");
    let token = settings.optional_text("NATS_TOKEN");
    let creds = settings.path("NATS_CREDS");
    let nkey = settings.path("NATS_NKEY");
    let seed = settings.optional_text("NATS_SEED");
    let jwt = settings.optional_text("NATS_JWT");
    let ways: Vec<&str> = [
        ("NATS_USER", user.is_some() || password.is_some()),
        ("NATS_TOKEN", token.is_some()),
        ("NATS_CREDS", creds.is_some()),
        ("NATS_NKEY", nkey.is_some()),
        ("NATS_SEED", seed.is_some()),
        // With a seed it is one way, and the seed is counted.
        ("NATS_JWT", jwt.is_some() && seed.is_none() && nkey.is_none()),
        ("NATS_URL (credentials inside)", url_auth.is_some()),
    ]
    .into_iter()
    .filter_map(|(name, set)| set.then_some(name))
    .collect();
    if ways.len() > 1 {
        let names = ways.join(", ");
        settings.problem(&names, "are different ways to say who we are; keep one of them");
        return NatsAuth::None;
    }
    if let Some(token) = token {
        return NatsAuth::Token(SecretString::from(token));
    }
    if let Some(path) = creds {
        let content = check_readable(settings, source, "NATS_CREDS", &path);
        return content.map_or(NatsAuth::None, |content| credentials(settings, &content));
    }
    let seed = match (nkey, seed) {
        (Some(path), _) => check_readable(settings, source, "NATS_NKEY", &path)
            .and_then(|content| nkey_seed(settings, "NATS_NKEY", &content)),
        (None, Some(text)) => nkey_seed(settings, "NATS_SEED", &text),
        (None, None) => None,
    };
    match (jwt, seed) {
        (Some(jwt), Some(seed)) => {
            let jwt = SecretString::from(jwt);
            return NatsAuth::Jwt { jwt, seed };
        }
        (None, Some(seed)) => return NatsAuth::NkeySeed(seed),
        (Some(_), None) => {
            settings.problem(
                "NATS_JWT",
                "needs the seed that signs for it; set NATS_SEED or NATS_NKEY",
            );
            return NatsAuth::None;
        }
        (None, None) => {}
    }
    if let Some(UrlAuth { user, password }) = url_auth {
        return match password {
            Some(password) => NatsAuth::UserPassword {
                user,
                password: SecretString::from(password),
            },
            None => NatsAuth::Token(SecretString::from(user)),
        };
    }
    match (user, password) {
        (Some(user), Some(password)) => NatsAuth::UserPassword {
            user,
            password: SecretString::from(password),
        },
        (None, None) => NatsAuth::None,
        (Some(_), None) => {
            settings.problem("NATS_PASSWORD", "is missing beside NATS_USER; set both or none");
            NatsAuth::None
        }
        (None, Some(_)) => {
            settings.problem("NATS_USER", "is missing beside NATS_PASSWORD; set both or none");
            NatsAuth::None
        }
    }
}

/// A credentials file: a JWT and a seed, each between rules, as `nsc` writes them.
fn credentials(settings: &mut Settings, content: &str) -> NatsAuth {
    let is_jwt = |word: &&str| word.starts_with("eyJ") && word.matches('.').count() == 2;
    let jwt = content.split_whitespace().find(is_jwt);
    let Some(jwt) = jwt else {
        settings.problem(
            "NATS_CREDS",
            "has no user's JWT (eyJ...); make the file with `nsc generate creds`",
        );
        return NatsAuth::None;
    };
    match nkey_seed(settings, "NATS_CREDS", content) {
        Some(seed) => NatsAuth::Jwt {
            jwt: SecretString::from(jwt.to_owned()),
            seed,
        },
        None => NatsAuth::None,
    }
}

/// A seed begins with S and a letter for what it signs as; U is a user.
fn nkey_seed(settings: &mut Settings, name: &str, text: &str) -> Option<SecretString> {
    // A file may have comments and PEM-like rules around the seed, as `nsc` writes them.
    let seed = text.split_whitespace().find(|word| word.starts_with("SU"));
    let seed = seed.filter(|seed| nkeys::KeyPair::from_seed(seed).is_ok());
    if seed.is_none() {
        settings.problem(name, "has no user's nkey seed (SU...)");
    }
    seed.map(|seed| SecretString::from(seed.to_owned()))
}

fn tls(settings: &mut Settings, source: &dyn Source) -> NatsTls {
    let tls = NatsTls {
        ca: settings.path("NATS_CA"),
        cert: settings.path("NATS_CERT"),
        key: settings.path("NATS_KEY"),
        first: settings.switch("NATS_TLS_FIRST"),
    };
    for (name, path) in [
        ("NATS_CA", &tls.ca),
        ("NATS_CERT", &tls.cert),
        ("NATS_KEY", &tls.key),
    ] {
        if let Some(path) = path {
            check_readable(settings, source, name, path);
        }
    }
    match (&tls.cert, &tls.key) {
        (Some(_), None) => settings.problem("NATS_KEY", "is missing beside NATS_CERT; set both or none"),
        (None, Some(_)) => settings.problem("NATS_CERT", "is missing beside NATS_KEY; set both or none"),
        (Some(_), Some(_)) | (None, None) => {}
    }
    tls
}

/// Reads a file now, so that a wrong path is reported with everything else and not by a reconnect at night.
fn check_readable(settings: &mut Settings, source: &dyn Source, name: &str, path: &Path) -> Option<String> {
    match source.read(path) {
        Ok(content) => Some(content),
        Err(error) => {
            settings.problem(name, format!("cannot read {}: {error}", path.display()));
            None
        }
    }
}
