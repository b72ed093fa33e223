//! TLS of a listener: certificates, keys, roots of client certificates.

use super::certificate::Certificate;
use super::settings::TlsSettings;
use crate::model::Problem;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;
use tokio_rustls::TlsAcceptor;

/// Reads the files; `base` is the folder of `gateway.toml`, problems' paths are relative to the listener.
pub fn acceptor(settings: &TlsSettings, base: &Path) -> Result<(TlsAcceptor, Vec<Certificate>), Vec<Problem>> {
    let (certs, key) = (certificates(&settings.cert, base, "tls.cert"), key(&settings.key, base));
    let roots = settings.client_ca.as_ref().map(|file| roots(file, base)).transpose();
    let ((certs, mut times), key, roots) = match (certs, key, roots) {
        (Ok(certs), Ok(key), Ok(roots)) => (certs, key, roots),
        (certs, key, roots) => {
            return Err([certs.err(), key.err(), roots.err()].into_iter().flatten().collect());
        }
    };
    let (roots, of_roots) = roots.unzip();
    times.extend(of_roots.into_iter().flatten());
    let config = server_config(certs, key, roots, settings).map_err(|problem| vec![problem])?;
    Ok((TlsAcceptor::from(Arc::new(config)), times))
}

/// What a file of certificates holds, and when each of them ends.
type Certificates = (Vec<CertificateDer<'static>>, Vec<Certificate>);

fn server_config(
    certs: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    roots: Option<RootCertStore>,
    settings: &TlsSettings,
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
    let mut config = builder.with_single_cert(certs, key).map_err(|e| unfit(settings, &e))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

/// Which of the two is the wrong one nobody can tell: both are named.
fn unfit(settings: &TlsSettings, error: &rustls::Error) -> Problem {
    let TlsSettings { cert, key, .. } = settings;
    match error {
        rustls::Error::InconsistentKeys(_) => {
            let what = format!("the private key `{key}` does not belong to the certificate `{cert}`");
            let hint = "`openssl x509 -noout -pubkey -in CERT` prints what `openssl pkey -pubout -in KEY` does";
            Problem::new("tls.key", what).expected("the key of the first certificate of `cert`").hint(Some(hint.into()))
        }
        error => Problem::new("tls", format!("the certificate `{cert}` with the key `{key}` is of no use: {error}")),
    }
}

/// The largest certificate or key file.
const PEM_BYTES_MAX: u64 = 1 << 20;

/// What is no regular file is refused: a pipe in its place would never answer.
fn read(file: &str, base: &Path) -> Result<Vec<u8>, String> {
    let path = base.join(file);
    let failed = |e: std::io::Error| format!("cannot read `{file}`: {e}");
    if !std::fs::metadata(&path).map_err(failed)?.is_file() {
        return Err(format!("`{file}` is not a regular file"));
    }
    let opened = std::fs::OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(&path).map_err(failed)?;
    let mut bytes = Vec::new();
    opened.take(PEM_BYTES_MAX).read_to_end(&mut bytes).map_err(failed)?;
    Ok(bytes)
}

/// The blocks of a PEM file, each with the line where it begins: one by one, for a mistake is one block's.
fn blocks(pem: &[u8]) -> Vec<(u32, Vec<u8>)> {
    let mut blocks: Vec<(u32, Vec<u8>)> = Vec::new();
    for (at, line) in pem.split_inclusive(|b| *b == b'\n').enumerate() {
        if line.starts_with(b"-----BEGIN") {
            blocks.push((at as u32 + 1, Vec::new()));
        }
        if let Some((_, block)) = blocks.last_mut() {
            block.extend_from_slice(line);
        }
    }
    blocks
}

fn certificates(file: &str, base: &Path, at: &'static str) -> Result<Certificates, Problem> {
    let problem = |what: String| Problem::new(at, what).expected("a PEM file with a certificate");
    let pem = read(file, base).map_err(problem)?;
    let (mut certs, mut times) = (Vec::new(), Vec::new());
    for (line, block) in blocks(&pem) {
        let found = CertificateDer::pem_slice_iter(&block).collect::<Result<Vec<_>, _>>();
        let found =
            found.map_err(|e| problem(format!("no certificate can be read here: {e}")).in_file(file).at(line, 1))?;
        times.extend(found.iter().filter_map(|der| Certificate::read(der, file, at, line)));
        certs.extend(found);
    }
    match certs.is_empty() {
        false => Ok((certs, times)),
        true => Err(problem(format!("no certificate in `{file}`")).in_file(file).at(1, 1)),
    }
}

fn key(file: &str, base: &Path) -> Result<PrivateKeyDer<'static>, Problem> {
    let problem = |what: String| Problem::new("tls.key", what).expected("a PEM file with a private key");
    let pem = read(file, base).map_err(problem)?;
    let first = blocks(&pem).first().map_or(1, |(line, _)| *line);
    PrivateKeyDer::from_pem_slice(&pem)
        .map_err(|e| problem(format!("no private key can be read here: {e}")).in_file(file).at(first, 1))
}

fn roots(file: &str, base: &Path) -> Result<(RootCertStore, Vec<Certificate>), Problem> {
    let mut roots = RootCertStore::empty();
    let (certs, times) = certificates(file, base, "tls.client_ca")?;
    for cert in certs {
        roots.add(cert).map_err(|e| Problem::new("tls.client_ca", format!("bad root in `{file}`: {e}")))?;
    }
    Ok((roots, times))
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

    #[test]
    fn a_key_of_another_certificate_is_told_with_both_files() {
        let folder = tempfile::tempdir().unwrap();
        let made = rcgen::generate_simple_self_signed(vec!["localhost".into()]).unwrap();
        let other = rcgen::KeyPair::generate().unwrap();
        std::fs::write(folder.path().join("c.pem"), made.cert.pem()).unwrap();
        std::fs::write(folder.path().join("k.pem"), other.serialize_pem()).unwrap();
        let settings = TlsSettings { cert: "c.pem".into(), key: "k.pem".into(), client_ca: None };
        let problems = acceptor(&settings, folder.path()).err().unwrap();
        let [problem] = &problems[..] else { panic!("{problems:?}") };
        assert_eq!((problem.path.as_str(), problem.file.is_none()), ("tls.key", true));
        assert_eq!(problem.what, "the private key `k.pem` does not belong to the certificate `c.pem`");
    }
}
