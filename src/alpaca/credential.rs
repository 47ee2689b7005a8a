//! Who we are to the venue. Nothing here can be printed.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use http::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use secrecy::{ExposeSecret, SecretString};

const KEY_ID_HEADER: HeaderName = HeaderName::from_static("apca-api-key-id");
const SECRET_KEY_HEADER: HeaderName = HeaderName::from_static("apca-api-secret-key");

/// A key pair or an OAuth token. `Debug` says which and no more; there is no `Display`.
///
/// Clones share it: replaced in one place, it is replaced for every request and connection that begins afterwards.
#[derive(Clone)]
pub struct Credential(Arc<RwLock<Form>>);

/// The two ways to prove who we are.
#[derive(Clone)]
pub(super) enum Form {
    KeyPair {
        key_id: SecretString,
        secret_key: SecretString,
    },
    Bearer(SecretString),
}

/// A credential that could not be sent: empty, or not visible ASCII. Never quotes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the {part} must be visible ASCII and not empty")]
pub struct CredentialError {
    /// Which part.
    pub part: &'static str,
}

impl Credential {
    /// An API key and its secret.
    pub fn key_pair(key_id: SecretString, secret_key: SecretString) -> Result<Self, CredentialError> {
        check("API key", &key_id)?;
        check("API secret", &secret_key)?;
        Ok(Self::of(Form::KeyPair { key_id, secret_key }))
    }

    /// An OAuth access token.
    pub fn bearer(token: SecretString) -> Result<Self, CredentialError> {
        check("OAuth token", &token)?;
        Ok(Self::of(Form::Bearer(token)))
    }

    fn of(form: Form) -> Self {
        Self(Arc::new(RwLock::new(form)))
    }

    /// Takes what another one holds, here and in every clone.
    pub fn replace(&self, by: &Self) {
        let form = by.form();
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = form;
    }

    /// Whether both prove the same.
    pub fn is_same_as(&self, other: &Self) -> bool {
        match (self.form(), other.form()) {
            (
                Form::KeyPair { key_id, secret_key },
                Form::KeyPair {
                    key_id: other_id,
                    secret_key: other_secret,
                },
            ) => same(&key_id, &other_id) && same(&secret_key, &other_secret),
            (Form::Bearer(token), Form::Bearer(other)) => same(&token, &other),
            (Form::KeyPair { .. }, Form::Bearer(_)) | (Form::Bearer(_), Form::KeyPair { .. }) => false,
        }
    }

    /// The headers of every REST request, marked so that HTTP libraries do not show or index them.
    pub(super) fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        match self.form() {
            Form::KeyPair { key_id, secret_key } => {
                headers.insert(KEY_ID_HEADER, sensitive(key_id.expose_secret()));
                headers.insert(SECRET_KEY_HEADER, sensitive(secret_key.expose_secret()));
            }
            Form::Bearer(token) => {
                headers.insert(
                    AUTHORIZATION,
                    sensitive(&format!("Bearer {}", token.expose_secret())),
                );
            }
        }
        headers
    }

    /// Which form it has, for the stream's handshake.
    pub(super) fn form(&self) -> Form {
        // Nothing panics while it holds the lock.
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.form() {
            Form::KeyPair { .. } => "Credential(key pair)",
            Form::Bearer(_) => "Credential(OAuth token)",
        })
    }
}

fn same(one: &SecretString, other: &SecretString) -> bool {
    one.expose_secret() == other.expose_secret()
}

fn check(part: &'static str, secret: &SecretString) -> Result<(), CredentialError> {
    let text = secret.expose_secret();
    (!text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic()))
        .then_some(())
        .ok_or(CredentialError { part })
}

fn sensitive(text: &str) -> HeaderValue {
    let mut value = HeaderValue::from_str(text).expect("credentials are checked to be visible ASCII");
    value.set_sensitive(true);
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_a_credential_can_be_printed() {
        let pair = Credential::key_pair("PKCANARY".into(), "s3cr3t-canary".into()).unwrap();
        let bearer = Credential::bearer("t0ken-canary".into()).unwrap();
        for shown in [
            format!("{pair:?}"),
            format!("{:?}", pair.headers()),
            format!("{bearer:?}"),
            format!("{:?}", bearer.headers()),
        ] {
            assert!(!shown.to_lowercase().contains("canary"), "{shown}");
        }
        assert_eq!(pair.headers()["apca-api-secret-key"], "s3cr3t-canary");
        assert_eq!(bearer.headers()["authorization"], "Bearer t0ken-canary");
    }

    #[test]
    fn one_that_is_replaced_is_replaced_for_whoever_holds_it() {
        let held = Credential::key_pair("PK".into(), "old".into()).unwrap();
        let clone = held.clone();
        let renewed = Credential::key_pair("PK".into(), "new".into()).unwrap();
        assert!(!clone.is_same_as(&renewed));
        held.replace(&renewed);
        assert!(clone.is_same_as(&renewed));
        assert_eq!(clone.headers()["apca-api-secret-key"], "new");
    }

    #[test]
    fn a_credential_that_could_break_a_header_is_refused_unquoted() {
        for wrong in ["", "a b", "a\r\nx: y", "clé"] {
            let error = Credential::key_pair("PK".into(), wrong.into()).unwrap_err();
            assert_eq!(error, CredentialError { part: "API secret" }, "{wrong}");
        }
    }
}
