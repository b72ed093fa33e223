//! Whom Weir believes when it calls others over https: Mozilla's roots, and those of the operator's own authority.

use arc_swap::ArcSwap;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use std::fmt;
use std::sync::Arc;

/// Certificates of authorities. `Default`: Mozilla's alone.
#[derive(Clone)]
pub struct Roots(Arc<RootCertStore>);

impl Default for Roots {
    fn default() -> Roots {
        let roots = webpki_roots::TLS_SERVER_ROOTS.to_vec();
        Roots(Arc::new(RootCertStore { roots }))
    }
}

impl Roots {
    /// These, and those of a PEM file's bytes. Err: what is wrong with it.
    pub fn with(&self, pem: &[u8]) -> Result<Roots, String> {
        let mut store = RootCertStore::clone(&self.0);
        let mut count = 0;
        for certificate in CertificateDer::pem_slice_iter(pem) {
            let certificate = certificate.map_err(|e| format!("holds no PEM: {e}"))?;
            store.add(certificate).map_err(|e| format!("holds a certificate that is of no use: {e}"))?;
            count += 1;
        }
        if count == 0 { Err("holds no certificate in PEM".into()) } else { Ok(Roots(Arc::new(store))) }
    }

    fn verifier(&self) -> Arc<WebPkiServerVerifier> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = WebPkiServerVerifier::builder_with_provider(self.0.clone(), provider);
        builder.build().expect("there are roots, and no revocation lists")
    }
}

impl fmt::Debug for Roots {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "Roots({})", self.0.len())
    }
}

/// The roots in force. A clone shares them: clients made before a reload believe whom the new files name.
#[derive(Clone, Debug)]
pub struct Trust(Arc<Shared>);

#[derive(Debug)]
struct Shared(ArcSwap<WebPkiServerVerifier>);

impl Trust {
    pub fn new(roots: &Roots) -> Trust {
        Trust(Arc::new(Shared(ArcSwap::new(roots.verifier()))))
    }

    pub fn set(&self, roots: &Roots) {
        self.0.0.store(roots.verifier());
    }

    pub(super) fn config(&self) -> ClientConfig {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("aws-lc-rs speaks TLS 1.2 and 1.3")
            // Not dangerous: it asks rustls's own verifier, that of the roots in force.
            .dangerous()
            .with_custom_certificate_verifier(self.0.clone())
            .with_no_client_auth()
    }
}

impl ServerCertVerifier for Shared {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.0.load().verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.load().verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.load().verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.load().supported_verify_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_authority_of_one_s_own_is_believed_beside_the_known_ones() {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let pem = params.self_signed(&key).unwrap().pem();
        let (known, more) = (Roots::default(), Roots::default().with(pem.as_bytes()).unwrap());
        assert_eq!(more.0.len(), known.0.len() + 1);
        for bad in ["", "no PEM at all", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
            assert!(known.with(bad.as_bytes()).is_err(), "{bad:?}");
        }
        assert!(known.with(key.serialize_pem().as_bytes()).is_err(), "a private key is no authority");
        Trust::new(&known).set(&more);
    }
}
