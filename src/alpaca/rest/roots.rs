//! Whom the client believes: the roots of the system's bundle.
//!
//! The library would load the folder beside it as well, which on most systems has each root of the bundle twice more, in
//! files of their own: five hundred files at each start, and the heap they leave behind (docs/benchmarks.md).

use std::path::Path;

use rustls::RootCertStore;
use rustls_native_certs::CertificateResult;
use tracing::{debug, warn};

/// Where systems keep the bundle: Debian and the image, Red Hat, SUSE, Alpine and BSD.
const BUNDLES: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];
/// What says that roots are elsewhere, to every program that goes by OpenSSL's customs; no settings of ours.
const ELSEWHERE: [&str; 2] = ["SSL_CERT_FILE", "SSL_CERT_DIR"];

/// The roots of the bundle; where there is none, or where the environment names others, whatever the library finds.
pub(super) fn of_the_system() -> RootCertStore {
    let is_elsewhere = ELSEWHERE.iter().any(|name| std::env::var_os(name).is_some());
    let bundle = BUNDLES.iter().map(Path::new).find(|path| path.is_file());
    let read = bundle.filter(|_| !is_elsewhere).and_then(read);
    let roots = read.unwrap_or_else(|| store(rustls_native_certs::load_native_certs()));
    if roots.is_empty() {
        warn!(
            "no root certificate was found, so no venue can be trusted over https; install ca-certificates or set SSL_CERT_FILE"
        );
    }
    roots
}

fn read(bundle: &Path) -> Option<RootCertStore> {
    let roots = store(rustls_native_certs::load_certs_from_paths(Some(bundle), None));
    (!roots.is_empty()).then_some(roots)
}

fn store(found: CertificateResult) -> RootCertStore {
    for error in &found.errors {
        debug!(%error, "a root cannot be read");
    }
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(found.certs);
    roots
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bundle_without_a_root_is_none() {
        let folder = std::env::temp_dir().join(format!("nalpaca-roots-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let bundle = folder.join("bundle.pem");
        assert!(read(&bundle).is_none(), "it is not there");
        std::fs::write(&bundle, "no certificate").unwrap();
        assert!(read(&bundle).is_none());
        let key = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        std::fs::write(&bundle, key.cert.pem()).unwrap();
        assert_eq!(read(&bundle).map(|roots| roots.len()), Some(1));
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
