//! Proof that no other process on this machine goes by our name: only one can sit in a chair, and who dies leaves it.
//!
//! An abstract socket of Linux: it needs no file, and the kernel frees it with the process, however that ended.
//! Elsewhere nothing is proven, and a daemon that was killed waits until its lease has run out.

use sha2::{Digest as _, Sha256};

/// The chair, for as long as this lives.
pub(super) struct Chair {
    #[cfg(target_os = "linux")]
    _socket: std::os::unix::net::UnixListener,
}

impl Chair {
    /// Takes the chair of a name. `None`: somebody sits in it, or there are none here.
    #[cfg(target_os = "linux")]
    pub(super) fn take(name: &str) -> Option<Self> {
        use std::os::linux::net::SocketAddrExt as _;
        use std::os::unix::net::{SocketAddr, UnixListener};
        let address = SocketAddr::from_abstract_name(format!("nalpaca/{}", digest(name))).ok()?;
        let socket = UnixListener::bind_addr(&address).ok()?;
        Some(Self { _socket: socket })
    }

    /// Takes the chair of a name. `None`: somebody sits in it, or there are none here.
    #[cfg(not(target_os = "linux"))]
    pub(super) fn take(_name: &str) -> Option<Self> {
        None
    }
}

/// Names of sockets are short, and may not tell where NATS is.
#[cfg_attr(not(target_os = "linux"), expect(dead_code, reason = "there are no chairs"))]
fn digest(name: &str) -> String {
    let digest = Sha256::digest(name.as_bytes());
    digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn a_chair_holds_one_and_is_free_when_it_is_left() {
        let name = format!("test {}", uuid::Uuid::now_v7());
        let chair = Chair::take(&name);
        assert!(chair.is_some());
        assert!(Chair::take(&name).is_none());
        assert!(Chair::take(&format!("{name} other")).is_some());
        drop(chair);
        assert!(Chair::take(&name).is_some());
    }
}
