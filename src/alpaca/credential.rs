//! Who we are to the venue. Nothing here can be printed.

use std::fmt;

use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use secrecy::{ExposeSecret, SecretString};

const KEY_ID_HEADER: HeaderName = HeaderName::from_static("apca-api-key-id");
const SECRET_KEY_HEADER: HeaderName = HeaderName::from_static("apca-api-secret-key");

/// A key pair or an OAuth token. `Debug` says which and no more; there is no `Display`.
#[derive(Clone)]
pub struct Credential(Form);

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
        Ok(Self(Form::KeyPair { key_id, secret_key }))
    }

    /// An OAuth access token.
    pub fn bearer(token: SecretString) -> Result<Self, CredentialError> {
        check("OAuth token", &token)?;
        Ok(Self(Form::Bearer(token)))
    }

    /// The headers of every REST request, marked so that HTTP libraries do not show or index them.
    pub(super) fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        match &self.0 {
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
    pub(super) fn form(&self) -> &Form {
        &self.0
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Form::KeyPair { .. } => "Credential(key pair)",
            Form::Bearer(_) => "Credential(OAuth token)",
        })
    }
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
    fn a_credential_that_could_break_a_header_is_refused_unquoted() {
        for wrong in ["", "a b", "a\r\nx: y", "clé"] {
            let error = Credential::key_pair("PK".into(), wrong.into()).unwrap_err();
            assert_eq!(error, CredentialError { part: "API secret" }, "{wrong}");
        }
    }
}
