//! A server run by an operator's key: accounts and users are JWTs, as `nsc` signs them.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use nkeys::KeyPair;
use serde_json::{Value, json};

/// An operator with one account, which may use JetStream.
pub(crate) struct Operator {
    operator: KeyPair,
    account: KeyPair,
    system: KeyPair,
}

impl Operator {
    pub(crate) fn new() -> Self {
        Self {
            operator: KeyPair::new_operator(),
            account: KeyPair::new_account(),
            system: KeyPair::new_account(),
        }
    }

    /// What the server is told of them, in its configuration file.
    pub(crate) fn config(&self) -> String {
        let system = self.system.public_key();
        let account = self.account.public_key();
        let operator = json!({"type": "operator", "version": 2, "system_account": system});
        let limits = |storage: i64| {
            json!({
                "subs": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1, "wildcards": true, "conn": -1,
                "leaf": -1, "mem_storage": storage, "disk_storage": storage, "streams": -1, "consumer": -1,
            })
        };
        let claims = |storage| json!({"type": "account", "version": 2, "limits": limits(storage)});
        let sign = |subject: &KeyPair, name: &str, nats: &Value| sign(&self.operator, subject, name, nats);
        format!(
            "operator: {}\nsystem_account: {system}\nresolver: MEMORY\nresolver_preload: {{\n  {account}: {}\n  {system}: {}\n}}\n",
            sign(&self.operator, "operator", &operator),
            sign(&self.account, "trading", &claims(-1)),
            sign(&self.system, "system", &claims(0)),
        )
    }

    /// A credentials file for a user with these claims.
    pub(crate) fn credentials(&self, name: &str, nats: &Value) -> String {
        let user = KeyPair::new_user();
        let jwt = sign(&self.account, &user, name, nats);
        let seed = user.seed().expect("a pair of ours has its seed");
        format!(
            "-----BEGIN NATS USER JWT-----\n{jwt}\n------END NATS USER JWT------\n\n\
             -----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n"
        )
    }
}

/// A JWT by which one says what another is.
fn sign(issuer: &KeyPair, subject: &KeyPair, name: &str, nats: &Value) -> String {
    let part = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let header = part(json!({"typ": "JWT", "alg": "ed25519-nkey"}));
    let claims = part(json!({
        "jti": name,
        "iat": 1_700_000_000,
        "iss": issuer.public_key(),
        "sub": subject.public_key(),
        "name": name,
        "nats": nats,
    }));
    let signature = issuer
        .sign(format!("{header}.{claims}").as_bytes())
        .expect("it has its seed");
    format!("{header}.{claims}.{}", URL_SAFE_NO_PAD.encode(signature))
}
