//! Whom the client believes: the roots of the system's bundle.
//!
//! The library would load the folder beside it as well, which on most systems has each root of the bundle twice more, in
//! files of their own: five hundred files at each start, and the heap they leave behind (docs/benchmarks.md).

use std::path::Path;

use reqwest::Certificate;
use tracing::debug;

/// Where systems keep the bundle: Debian and the image, Red Hat, SUSE, Alpine and BSD.
const BUNDLES: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];
/// What says that roots are elsewhere, to every program that goes by OpenSSL's customs; no settings of ours.
const ELSEWHERE: [&str; 2] = ["SSL_CERT_FILE", "SSL_CERT_DIR"];

/// The roots of the bundle; none where there is none, or where the environment names others: then the library looks by itself.
pub(super) fn of_the_bundle() -> Option<Vec<Certificate>> {
    if ELSEWHERE.iter().any(|name| std::env::var_os(name).is_some()) {
        return None;
    }
    let bundle = BUNDLES.iter().map(Path::new).find(|path| path.is_file())?;
    read(bundle)
}

fn read(bundle: &Path) -> Option<Vec<Certificate>> {
    let found = rustls_native_certs::load_certs_from_paths(Some(bundle), None);
    for error in &found.errors {
        debug!(%error, "a root of the bundle cannot be read");
    }
    let roots = found.certs.iter().map(|root| Certificate::from_der(root));
    let roots: Vec<Certificate> = roots.filter_map(Result::ok).collect();
    (!roots.is_empty()).then_some(roots)
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
