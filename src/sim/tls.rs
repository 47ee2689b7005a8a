//! The TLS listener, for clients that speak nothing else: the JavaScript SDK's data streams insist on `wss`.
//!
//! Its certificate is made at the start, for this run and for loopback names alone, and signs itself: a client is told
//! to trust its PEM. Behind the handshake is the same service as on the plain listener.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rcgen::{CertifiedKey, KeyPair, generate_simple_self_signed};
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tracing::debug;

use super::server::{Shared, connection, no_delay};

/// What the certificate is for.
const NAMES: [&str; 3] = ["localhost", "127.0.0.1", "::1"];
/// A client that has not shaken hands by then is let go.
const HANDSHAKE_PATIENCE: Duration = Duration::from_secs(10);

/// A certificate of its own and what serves it.
pub(crate) struct Identity {
    acceptor: TlsAcceptor,
    pub(crate) pem: String,
}

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub(crate) enum IdentityError {
    #[error("could not make a certificate")]
    Certificate(#[from] rcgen::Error),
    #[error("could not use the certificate")]
    Tls(#[from] rustls::Error),
}

impl Identity {
    pub(crate) fn new() -> Result<Self, IdentityError> {
        let names = NAMES.map(str::to_owned);
        let CertifiedKey { cert, signing_key } = generate_simple_self_signed(names)?;
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(KeyPair::serialize_der(&signing_key)));
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(vec![cert.der().clone()], key)?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self {
            acceptor: TlsAcceptor::from(Arc::new(config)),
            pem: cert.pem(),
        })
    }
}

/// Accepts connections until told to stop.
pub(crate) async fn accept(shared: Arc<Shared>, listener: TcpListener, identity: Identity) {
    loop {
        let accepted = tokio::select! {
            () = shared.stop.cancelled() => return,
            accepted = listener.accept() => accepted, // cancel-safe: docs
        };
        match accepted {
            Ok((socket, peer)) => {
                no_delay(&socket, peer);
                let acceptor = identity.acceptor.clone();
                shared
                    .tasks
                    .spawn(serve(Arc::clone(&shared), acceptor, socket, peer));
            }
            Err(error) => {
                debug!(%error, "connection was not accepted");
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    }
}

async fn serve(shared: Arc<Shared>, acceptor: TlsAcceptor, socket: TcpStream, peer: SocketAddr) {
    let handshake = tokio::select! {
        () = shared.stop.cancelled() => return,
        handshake = timeout(HANDSHAKE_PATIENCE, acceptor.accept(socket)) => handshake,
    };
    match handshake {
        Ok(Ok(socket)) => connection(shared, socket, peer).await,
        Ok(Err(error)) => debug!(%peer, %error, "no TLS handshake"),
        Err(_) => debug!(%peer, "TLS handshake took too long"),
    }
}
