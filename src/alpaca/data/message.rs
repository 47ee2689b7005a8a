//! What we send: who we are, and what we want to hear.

use secrecy::ExposeSecret as _;
use serde_json::{Map, Value, json};

use super::{Format, key};
use crate::alpaca::credential::{Credential, Form};
use crate::domain::market::Subscriptions;

/// Who we are. An OAuth token goes where the secret goes, as the venue's own clients put it.
pub(super) fn authenticate(format: Format, credential: &Credential) -> Vec<u8> {
    let message = match credential.form() {
        Form::KeyPair { key_id, secret_key } => json!({
            "action": "auth",
            "key": key_id.expose_secret(),
            "secret": secret_key.expose_secret(),
        }),
        Form::Bearer(token) => json!({ "action": "auth", "key": "oauth", "secret": token.expose_secret() }),
    };
    written(format, &message)
}

/// What we want to hear more of, or no longer.
pub(super) fn change(format: Format, action: &str, symbols: &Subscriptions) -> Vec<u8> {
    let mut message = Map::new();
    message.insert("action".to_owned(), action.into());
    for (channel, symbols) in symbols.iter() {
        message.insert(
            key(channel).to_owned(),
            symbols.iter().cloned().collect::<Value>(),
        );
    }
    written(format, &Value::Object(message))
}

fn written(format: Format, message: &Value) -> Vec<u8> {
    match format {
        Format::Json => message.to_string().into_bytes(),
        // Text and lists of text can be written in any format.
        Format::MessagePack => rmp_serde::to_vec(message).unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::market::Channel;

    #[test]
    fn both_formats_say_the_same() {
        let mut wanted = Subscriptions::default();
        wanted.add(Channel::UpdatedBars, ["AAPL".to_owned(), "BRK.B".to_owned()]);
        let text = change(Format::Json, "subscribe", &wanted);
        let expected = json!({"action": "subscribe", "updatedBars": ["AAPL", "BRK.B"]});
        assert_eq!(serde_json::from_slice::<Value>(&text).unwrap(), expected);
        let binary = change(Format::MessagePack, "subscribe", &wanted);
        assert_eq!(rmp_serde::from_slice::<Value>(&binary).unwrap(), expected);

        let credential = Credential::bearer("t0ken".into()).unwrap();
        let text = String::from_utf8(authenticate(Format::Json, &credential)).unwrap();
        assert!(
            text.contains(r#""key":"oauth""#) && text.contains("t0ken"),
            "{text}"
        );
    }
}
