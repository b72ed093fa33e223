//! TLS and PROXY headers.

use super::*;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use std::fs;
use tokio_rustls::TlsConnector;

/// A root and what it signed, in a folder.
struct Certificates {
    folder: tempfile::TempDir,
    root: CertificateDer<'static>,
    client: (CertificateDer<'static>, PrivateKeyDer<'static>),
}

fn certificates() -> Certificates {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let root = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let signed = |name: &str| {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new([name.to_owned()]).unwrap();
        (params.signed_by(&key, &root).unwrap(), key)
    };
    let ((server, server_key), (client, client_key)) = (signed("localhost"), signed("ann.example"));
    let folder = tempfile::tempdir().unwrap();
    for (file, text) in [("root.pem", root.pem()), ("cert.pem", server.pem()), ("key.pem", server_key.serialize_pem())]
    {
        fs::write(folder.path().join(file), text).unwrap();
    }
    let client_key = PrivateKeyDer::try_from(client_key.serialize_der()).unwrap();
    Certificates { folder, root: root.der().clone(), client: (client.der().clone(), client_key) }
}

impl Certificates {
    fn setup(&self, client_ca: Option<&str>) -> Setup {
        let tls = json!({ "cert": "cert.pem", "key": "key.pem", "client_ca": client_ca });
        let listener = json!({ "address": "127.0.0.1:0", "tls": tls });
        Setup { listener, base: Some(self.folder.path().into()), ..Setup::default() }
    }

    async fn connect(
        &self,
        house: &House,
        identified: bool,
    ) -> std::io::Result<Client<tokio_rustls::client::TlsStream<TcpStream>>> {
        let mut roots = RootCertStore::empty();
        roots.add(self.root.clone()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let config = config.with_root_certificates(roots);
        let config = match identified {
            false => config.with_no_client_auth(),
            true => config.with_client_auth_cert(vec![self.client.0.clone()], self.client.1.clone_key()).unwrap(),
        };
        let stream = TcpStream::connect(house.address).await?;
        let name = ServerName::try_from("localhost").unwrap();
        let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
        Ok(Client { stream, read: Vec::new() })
    }
}

#[tokio::test(flavor = "local")]
async fn an_encrypted_connection_is_adopted_with_its_session() {
    let certificates = certificates();
    let mut house = House::open(certificates.setup(None));
    let mut client = certificates.connect(&house, false).await.unwrap();
    client.send("GET /plain HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    assert_eq!(client.response().await.0, 200);
    client.send(&format!("GET /ws HTTP/1.1\r\n{WS}{KEY}\r\nearly")).await;
    assert_eq!(status(&client.head().await), 101);
    let mut new = house.adopted.recv().await.unwrap();
    let mut tls = new.tls.take().unwrap();
    assert_eq!(&*new.newcomer.leftover, b"early");
    // The session goes on under other hands.
    std::io::Write::write_all(&mut tls.writer(), b"hello").unwrap();
    tls.send_close_notify();
    tls.write_tls(&mut new.stream).unwrap();
    assert_eq!(client.rest().await, "hello");
}

#[tokio::test(flavor = "local")]
async fn where_client_certificates_are_asked_for_others_are_refused() {
    let certificates = certificates();
    let house = House::open(certificates.setup(Some("root.pem")));
    let mut client = certificates.connect(&house, true).await.unwrap();
    client.send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    assert_eq!(client.response().await.0, 200);
    // In TLS 1.3 the client learns of it with its first read.
    let refused = match certificates.connect(&house, false).await {
        Err(_) => true,
        Ok(mut client) => client.stream.read_u8().await.is_err(),
    };
    assert!(refused);
    let plain = house.connect().await;
    let mut plain = plain;
    plain.send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    assert!(!String::from_utf8_lossy(&plain_rest(plain).await).contains("HTTP/1.1 200"));
    let mut again = certificates.connect(&house, true).await.unwrap();
    again.send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    assert_eq!(again.response().await.0, 200);
}

/// Whatever comes; a reset is an end, too.
async fn plain_rest(mut client: Client<TcpStream>) -> Vec<u8> {
    let _ = client.stream.read_to_end(&mut client.read).await;
    client.read
}

const PROXY_V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x07\x7f\0\0\x01\x1f\x90\x0b\xb8";

fn behind(mode: &str, trusted: &str) -> Setup {
    Setup {
        listener: json!({ "address": "127.0.0.1:0", "proxy_protocol": mode }),
        http: json!({ "trusted_proxies": [trusted] }),
        ..Setup::default()
    }
}

#[tokio::test(flavor = "local")]
async fn a_balancer_tells_whom_it_brings() {
    let mut house = House::open(behind("require", "127.0.0.0/8"));
    let mut client = house.connect().await;
    client.stream.write_all(PROXY_V2).await.unwrap();
    client.send(&format!("GET /ws HTTP/1.1\r\n{WS}{KEY}\r\n")).await;
    assert_eq!(status(&client.head().await), 101);
    assert_eq!(house.adopted.recv().await.unwrap().newcomer.ip.to_string(), "192.0.2.7");
    let mut without = house.connect().await;
    without.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert!(plain_rest(without).await.is_empty(), "a connection without the header is closed");

    let house = House::open(behind("accept", "127.0.0.1"));
    still_answers(&house).await;
    let mut client = house.connect().await;
    client.send("PROXY TCP4 192.0.2.9 127.0.0.1 1 2\r\nGET /x HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(client.response().await.1, "GET /x  192.0.2.9 ");
}

#[tokio::test(flavor = "local")]
async fn a_stranger_cannot_claim_to_be_a_balancer() {
    let house = House::open(behind("require", "10.0.0.1"));
    let mut client = house.connect().await;
    let _ = client.stream.write_all(PROXY_V2).await;
    assert!(plain_rest(client).await.is_empty());
    let house = House::open(behind("accept", "10.0.0.1"));
    let mut client = house.connect().await;
    client.send("PROXY TCP4 192.0.2.9 127.0.0.1 1 2\r\nGET /x HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(status(&client.head().await), 400);
    still_answers(&house).await;
}
