//! Proves to NATS who we are, at each connection anew: a secret that was replaced meanwhile is used.

use std::sync::{Arc, PoisonError, RwLock};

use async_nats::{Auth, AuthError};
use secrecy::{ExposeSecret as _, SecretString};

use crate::config::NatsAuth;

/// Who we are to NATS. Clones share it.
#[derive(Clone)]
pub(super) struct Identity(Arc<RwLock<NatsAuth>>);

impl Identity {
    pub(super) fn new(auth: NatsAuth) -> Self {
        Self(Arc::new(RwLock::new(auth)))
    }

    /// Takes another proof, from the next connection on. Says whether it is another.
    pub(super) fn replace(&self, by: &NatsAuth) -> bool {
        // Nothing panics while it holds the lock.
        let mut held = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let changed = !is_same(&held, by);
        if changed {
            *held = by.clone();
        }
        changed
    }

    /// What the server is told when it greets with this nonce.
    pub(super) fn prove(&self, nonce: &[u8]) -> Result<Auth, AuthError> {
        let held = self.0.read().unwrap_or_else(PoisonError::into_inner).clone();
        let mut auth = Auth::new();
        match held {
            NatsAuth::None => {}
            NatsAuth::UserPassword { user, password } => {
                auth.username = Some(user);
                auth.password = Some(password.expose_secret().to_owned());
            }
            NatsAuth::Token(token) => auth.token = Some(token.expose_secret().to_owned()),
            NatsAuth::NkeySeed(seed) => {
                let (public, signature) = sign(&seed, nonce)?;
                auth.nkey = Some(public);
                auth.signature = Some(signature);
            }
            NatsAuth::Jwt { jwt, seed } => {
                auth.jwt = Some(jwt.expose_secret().to_owned());
                auth.signature = Some(sign(&seed, nonce)?.1);
            }
        }
        Ok(auth)
    }
}

/// The public key and the signature. The seed is never quoted.
fn sign(seed: &SecretString, nonce: &[u8]) -> Result<(String, Vec<u8>), AuthError> {
    let refuse = |_: nkeys::error::Error| AuthError::new("the nkey seed cannot sign");
    let pair = nkeys::KeyPair::from_seed(seed.expose_secret()).map_err(refuse)?;
    Ok((pair.public_key(), pair.sign(nonce).map_err(refuse)?))
}

fn is_same(one: &NatsAuth, other: &NatsAuth) -> bool {
    let parts = |auth: &NatsAuth| match auth {
        NatsAuth::None => ("none", String::new(), String::new()),
        NatsAuth::UserPassword { user, password } => {
            ("user", user.clone(), password.expose_secret().to_owned())
        }
        NatsAuth::Token(token) => ("token", token.expose_secret().to_owned(), String::new()),
        NatsAuth::NkeySeed(seed) => ("nkey", seed.expose_secret().to_owned(), String::new()),
        NatsAuth::Jwt { jwt, seed } => (
            "jwt",
            jwt.expose_secret().to_owned(),
            seed.expose_secret().to_owned(),
        ),
    };
    parts(one) == parts(other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_form_proves_itself_and_a_replaced_one_is_used() {
        let seed = nkeys::KeyPair::new_user().seed().unwrap();
        let identity = Identity::new(NatsAuth::NkeySeed(seed.clone().into()));
        let proof = identity.prove(b"nonce").unwrap();
        let public = nkeys::KeyPair::from_public_key(&proof.nkey.unwrap()).unwrap();
        public.verify(b"nonce", &proof.signature.unwrap()).unwrap();

        let jwt = NatsAuth::Jwt {
            jwt: "eyJ.a.b".into(),
            seed: seed.into(),
        };
        assert!(identity.replace(&jwt));
        assert!(!identity.replace(&jwt));
        let proof = identity.prove(b"nonce").unwrap();
        assert_eq!(proof.jwt.as_deref(), Some("eyJ.a.b"));
        assert!(proof.signature.is_some() && proof.nkey.is_none());

        assert!(identity.replace(&NatsAuth::Token("t".into())));
        assert_eq!(identity.prove(b"").unwrap().token.as_deref(), Some("t"));
    }
}
