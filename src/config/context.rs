//! Contexts of the nats CLI: where NATS is and who we are, as the operator's own tool has it.
//!
//! One JSON file per context under the XDG configuration folder (NATS ADR-21). Variables win over it, and the
//! means of authentication as a whole: a user from a variable beside credentials from a context would be two.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;

use super::source::{Origin, Source};

/// What is used of a context file.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Fields {
    url: String,
    user: String,
    password: String,
    token: String,
    creds: String,
    nkey: String,
    user_jwt: String,
    user_seed: String,
    cert: String,
    key: String,
    ca: String,
    tls_first: bool,
    jetstream_domain: String,
    jetstream_api_prefix: String,
    inbox_prefix: String,
    nsc: String,
    socks_proxy: String,
}

/// A context that was read.
pub(super) struct Context {
    name: String,
    home: Option<String>,
    fields: Fields,
}

/// The settings that say who we are.
const AUTHENTICATION: [&str; 7] = [
    "NATS_USER",
    "NATS_PASSWORD",
    "NATS_TOKEN",
    "NATS_CREDS",
    "NATS_NKEY",
    "NATS_SEED",
    "NATS_JWT",
];

/// The settings that make our certificate.
const CERTIFICATE: [&str; 2] = ["NATS_CERT", "NATS_KEY"];

/// Reads a context by name. The error is a half sentence.
pub(super) fn read(source: &dyn Source, name: &str) -> Result<Context, String> {
    if name.contains(['/', '\\']) || name.starts_with('.') {
        return Err(format!(
            "{name:?} is no name of a context; write a name that `nats context ls` shows"
        ));
    }
    let text_of = |variable: &str| {
        source
            .variable(variable)?
            .into_string()
            .ok()
            .filter(|text| !text.is_empty())
    };
    let home = text_of("HOME");
    let folder = match (text_of("XDG_CONFIG_HOME"), &home) {
        (Some(folder), _) => PathBuf::from(folder),
        (None, Some(home)) => PathBuf::from(home).join(".config"),
        (None, None) => return Err("needs HOME or XDG_CONFIG_HOME to find the context's file".to_owned()),
    };
    let path = folder.join("nats/context").join(format!("{name}.json"));
    let content = source
        .read(&path)
        .map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    // The parser's error would quote the file, and with it perhaps a password.
    let fields = serde_json::from_str(&content)
        .map_err(|error| format!("{} is not a context file (line {})", path.display(), error.line()))?;
    Ok(Context {
        name: name.to_owned(),
        home,
        fields,
    })
}

impl Context {
    /// Gives every setting that has no value yet the context's.
    pub(super) fn fill(
        self,
        given: &mut BTreeMap<&'static str, (String, Origin)>,
        warnings: &mut Vec<String>,
    ) {
        let fields = self.fields;
        for (field, value) in [("nsc", &fields.nsc), ("socks_proxy", &fields.socks_proxy)] {
            if !value.is_empty() {
                warnings.push(format!(
                    "NATS_CONTEXT: {field} of context {} is not supported",
                    self.name
                ));
            }
        }
        let home = self.home;
        let path = |text: String| match (text.strip_prefix("~/"), &home) {
            (Some(rest), Some(home)) => format!("{home}/{rest}"),
            (Some(_), None) | (None, _) => text,
        };
        let has_any = |given: &BTreeMap<&'static str, _>, names: &[&str]| {
            names.iter().any(|name| given.contains_key(name))
        };
        let skip_authentication = has_any(given, &AUTHENTICATION);
        let skip_certificate = has_any(given, &CERTIFICATE);
        let tls_first = if fields.tls_first { "true" } else { "" };
        for (name, text) in [
            ("NATS_URL", fields.url),
            ("NATS_USER", fields.user),
            ("NATS_PASSWORD", fields.password),
            ("NATS_TOKEN", fields.token),
            ("NATS_CREDS", path(fields.creds)),
            ("NATS_NKEY", path(fields.nkey)),
            ("NATS_SEED", fields.user_seed),
            ("NATS_JWT", fields.user_jwt),
            ("NATS_CERT", path(fields.cert)),
            ("NATS_KEY", path(fields.key)),
            ("NATS_CA", path(fields.ca)),
            ("NATS_TLS_FIRST", tls_first.to_owned()),
            ("NATS_JS_DOMAIN", fields.jetstream_domain),
            ("NATS_JS_API_PREFIX", fields.jetstream_api_prefix),
            ("NATS_INBOX_PREFIX", fields.inbox_prefix),
        ] {
            let skipped = (skip_authentication && AUTHENTICATION.contains(&name))
                || (skip_certificate && CERTIFICATE.contains(&name));
            if !text.trim().is_empty() && !skipped {
                let origin = || Origin::Context(self.name.clone());
                given
                    .entry(name)
                    .or_insert_with(|| (text.trim().to_owned(), origin()));
            }
        }
    }
}
