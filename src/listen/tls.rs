//! TLS of a listener: certificates, keys, roots of client certificates.

use super::settings::TlsSettings;
use crate::model::Problem;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio_rustls::TlsAcceptor;

/// Reads the files; `base` is the folder of `gateway.toml`, problems' paths are relative to the listener.
pub fn acceptor(settings: &TlsSettings, base: &Path) -> Result<TlsAcceptor, Vec<Problem>> {
    let (certs, key) = (certificates(&settings.cert, base, "tls.cert"), key(&settings.key, base));
    let roots = settings.client_ca.as_ref().map(|file| roots(file, base)).transpose();
    let (certs, key, roots) = match (certs, key, roots) {
        (Ok(certs), Ok(key), Ok(roots)) => (certs, key, roots),
        (certs, key, roots) => {
            return Err([certs.err(), key.err(), roots.err()].into_iter().flatten().collect());
        }
    };
    server_config(certs, key, roots).map(|config| TlsAcceptor::from(Arc::new(config))).map_err(|p| vec![p])
}

fn server_config(
    certs: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    roots: Option<RootCertStore>,
) -> Result<ServerConfig, Problem> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|e| Problem::new("tls", e.to_string()))?;
    let builder = match roots {
        None => builder.with_no_client_auth(),
        Some(roots) => builder.with_client_cert_verifier(
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
                .build()
                .map_err(|e| Problem::new("tls.client_ca", e.to_string()))?,
        ),
    };
    let mut config = builder
        .with_single_cert(certs, key)
        .map_err(|e| Problem::new("tls", format!("bad certificate or key: {e}")))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

fn path(file: &str, base: &Path) -> PathBuf {
    base.join(file)
}

fn certificates(file: &str, base: &Path, at: &str) -> Result<Vec<CertificateDer<'static>>, Problem> {
    let problem = |what: String| Problem::new(at, what).expected("a PEM file with a certificate");
    let certs = CertificateDer::pem_file_iter(path(file, base)).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    match certs {
        Ok(certs) if !certs.is_empty() => Ok(certs),
        Ok(_) => Err(problem(format!("no certificate in `{file}`"))),
        Err(e) => Err(problem(format!("cannot read `{file}`: {e}"))),
    }
}

fn key(file: &str, base: &Path) -> Result<PrivateKeyDer<'static>, Problem> {
    PrivateKeyDer::from_pem_file(path(file, base)).map_err(|e| {
        Problem::new("tls.key", format!("cannot read `{file}`: {e}")).expected("a PEM file with a private key")
    })
}

fn roots(file: &str, base: &Path) -> Result<RootCertStore, Problem> {
    let mut roots = RootCertStore::empty();
    for cert in certificates(file, base, "tls.client_ca")? {
        roots.add(cert).map_err(|e| Problem::new("tls.client_ca", format!("bad root in `{file}`: {e}")))?;
    }
    Ok(roots)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_that_is_wrong_with_the_files_is_told_at_once() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("empty.pem"), "").unwrap();
        let settings =
            TlsSettings { cert: "empty.pem".into(), key: "none.pem".into(), client_ca: Some("none.pem".into()) };
        let problems = acceptor(&settings, folder.path()).err().unwrap();
        let paths: Vec<_> = problems.iter().map(|p| p.path.as_str()).collect();
        assert_eq!(paths, ["tls.cert", "tls.key", "tls.client_ca"]);
        assert_eq!(problems[0].what, "no certificate in `empty.pem`");
    }
}
