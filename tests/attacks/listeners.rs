//! TLS, PROXY headers, forwarded headers, origins: what a listener believes of whom.

use super::raw::{FIN, Raw, TEXT, frame};
use super::{APP, Attacked, GATEWAY, Talk, gateway, started};
use crate::support::client::{Got, http};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use serde_json::json;
use std::sync::Arc;

struct Certificates {
    ca: CertifiedIssuer<'static, KeyPair>,
    server: (String, String),
}

impl Certificates {
    fn new() -> Certificates {
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let (cert, key) = Certificates::signed(&ca);
        Certificates { server: (cert.pem(), key.serialize_pem()), ca }
    }

    fn signed(ca: &CertifiedIssuer<'static, KeyPair>) -> (rcgen::Certificate, KeyPair) {
        let key = KeyPair::generate().unwrap();
        (CertificateParams::new(vec!["localhost".to_owned()]).unwrap().signed_by(&key, ca).unwrap(), key)
    }

    /// `own`: whether the client has a certificate of this CA.
    fn client(&self, own: bool) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(self.ca.der().clone()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let builder = builder.with_root_certificates(roots);
        if !own {
            return builder.with_no_client_auth();
        }
        let (cert, key) = Certificates::signed(&self.ca);
        let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
        builder.with_client_auth_cert(vec![CertificateDer::from(cert)], key).unwrap()
    }

    fn gateway(&self, more: &str, limits: &str) -> Attacked {
        let tls =
            format!("address = \"127.0.0.1:0\"\ntls = {{ cert = \"tls/cert.pem\", key = \"tls/key.pem\"{more} }}");
        let settings = format!("{}\n[limits]\n{limits}\n", GATEWAY.replacen("address = \"127.0.0.1:0\"", &tls, 1));
        let plain =
            settings.replace("[listener.admin]", "[listener.plain]\naddress = \"127.0.0.1:0\"\n[listener.admin]");
        let app = APP.replacen(
            "[[endpoint]]",
            "[[endpoint]]\nlistener = \"plain\"\npath = \"/ws\"\ndialect = \"plain\"\n[[endpoint]]",
            1,
        );
        let ca = self.ca.pem();
        let files = [
            ("gateway.toml", &plain[..]),
            ("channels/app.toml", &app),
            ("tls/cert.pem", &self.server.0),
            ("tls/key.pem", &self.server.1),
            ("tls/ca.pem", &ca),
        ];
        started(&files, &[])
    }
}

fn tls(gateway: &Attacked, config: ClientConfig, window: Option<usize>) -> Raw {
    let name = ServerName::try_from("localhost").unwrap();
    let connection = ClientConnection::new(Arc::new(config), name).unwrap();
    Raw::on(StreamOwned::new(connection, Raw::socket(gateway.at(), window)))
}

/// Newcomers come to the plain listener.
fn done(mut gateway: Attacked) {
    Talk::to(gateway.address("plain").unwrap(), "/ws", &[]).ok().unwrap().pings();
    gateway.ends();
}

#[test]
fn a_socket_over_tls_is_one_like_any_other() {
    let certificates = Certificates::new();
    let gateway = certificates.gateway("", "message_bytes = \"1MiB\"\nmessages = { burst = 1_000_000, per = \"1s\" }");
    let mut ann = tls(&gateway, certificates.client(false), None);
    ann.begin("/ws", "");
    ann.subscribe("room:1");
    for size in [1, 100, 20_000, 500_000] {
        ann.say(json!({ "type": "pub", "channel": "room:1", "data": "x".repeat(size) }));
        assert_eq!(ann.hear().unwrap()["data"].as_str().unwrap().len(), size);
    }
    // The handshake and a great deal behind it in one go: in one record, and in several.
    for pad in [10, 2_000, 4_000, 6_000, 40_000] {
        let mut eager = tls(&gateway, certificates.client(false), None);
        let fixed = "Host: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
                     Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
        let mut first = format!("GET /ws HTTP/1.1\r\n{fixed}\r\n").into_bytes();
        let ping = |n: usize, pad: usize| json!({ "type": "ping", "id": n, "pad": "x".repeat(pad) }).to_string();
        (0..=200).for_each(|n| first.extend(frame(FIN | TEXT, ping(n, if n == 200 { pad } else { 1 }).as_bytes())));
        eager.write(&first);
        assert!(eager.headers().starts_with("HTTP/1.1 101 "));
        for n in 0..=200 {
            assert_eq!(eager.hear().unwrap()["id"], n);
        }
    }
    // Not TLS at all.
    let mut plain = Raw::connect(gateway.at());
    plain.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n");
    assert!(!plain.rest().contains("200"));
    done(gateway);
}

#[test]
fn over_tls_the_server_ends_first_too_and_says_so() {
    let certificates = Certificates::new();
    let gateway = certificates.gateway("", "close_timeout = \"10m\"");
    let mut raw = tls(&gateway, certificates.client(false), None);
    raw.begin("/ws", "");
    raw.write(&frame(FIN | 3, b""));
    assert_eq!(raw.closed().0, 1002);
    // Without a close_notify this would be an error: the end could be an attacker's.
    assert_eq!(raw.frame(), None);
    done(gateway);
}

#[test]
fn a_slow_reader_over_tls_gets_all_of_it_when_it_reads() {
    let certificates = Certificates::new();
    let limits = "queue_bytes = \"64MiB\"\nmessages = { burst = 1_000_000, per = \"1s\" }";
    let gateway = certificates.gateway("", limits);
    let mut sleeper = tls(&gateway, certificates.client(false), Some(4096));
    sleeper.begin("/ws", "");
    sleeper.subscribe("room:1");
    let mut ann = Talk::to(gateway.address("plain").unwrap(), "/ws", &[]).ok().unwrap();
    for n in 0..300 {
        ann.publish("room:1", json!({ "n": n, "pad": "x".repeat(if n % 2 == 0 { 100 } else { 60_000 }) }));
    }
    ann.pings();
    for n in 0..300 {
        assert_eq!(sleeper.hear().unwrap_or_else(|| panic!("lost before {n}"))["data"]["n"], n);
    }
    sleeper.say(json!({ "type": "ping" }));
    assert_eq!(sleeper.hear().unwrap()["type"], "pong");
    done(gateway);
}

#[test]
fn where_a_client_ca_stands_a_client_shows_its_certificate() {
    let certificates = Certificates::new();
    let gateway = certificates.gateway(", client_ca = \"tls/ca.pem\"", "");
    let mut known = tls(&gateway, certificates.client(true), None);
    known.begin("/ws", "");
    let stranger = Certificates::new();
    for config in [certificates.client(false), {
        let mut roots = certificates.client(false);
        roots.client_auth_cert_resolver = stranger.client(true).client_auth_cert_resolver.clone();
        roots
    }] {
        let name = ServerName::try_from("localhost").unwrap();
        let connection = ClientConnection::new(Arc::new(config), name).unwrap();
        let mut stream = StreamOwned::new(connection, Raw::socket(gateway.at(), None));
        let written = std::io::Write::write_all(&mut stream, b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n");
        let mut answer = Vec::new();
        let read = std::io::Read::read_to_end(&mut stream, &mut answer);
        assert!(written.is_err() || read.is_err() && answer.is_empty(), "{}", String::from_utf8_lossy(&answer));
    }
    done(gateway);
}

const V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x07\x7f\0\0\x01\x1f\x90\x0b\xb8";

/// Production takes no published one.
const API_KEY: &str = "an-api-key-of-its-own-with-some-length";

fn behind_a_proxy(mode: &str) -> Attacked {
    let listener = format!("address = \"127.0.0.1:0\"\nproxy_protocol = \"{mode}\"");
    let settings = format!(
        "mode = \"production\"\n{}\n[http]\ntrusted_proxies = [\"127.0.0.1\"]\nheader_timeout = \"500ms\"\n[limits]\nhandshake_timeout = \"500ms\"\n",
        GATEWAY.replacen("address = \"127.0.0.1:0\"", &listener, 1)
    );
    let secrets = [("JWT_SECRET", "a-secret-of-its-own-with-some-length"), ("WEIR_API_KEY", API_KEY)];
    started(&[("gateway.toml", &settings), ("channels/app.toml", APP)], &secrets)
}

/// The addresses of live connections, as the API tells them.
fn addresses(gateway: &Attacked) -> String {
    let key = [("Authorization".to_owned(), format!("Bearer {API_KEY}"))];
    let reply = http(gateway.address("admin").unwrap(), "GET", "/api/connections?app=app", &key, None).unwrap();
    assert_eq!(reply.status, 200, "{}", reply.body);
    reply.body
}

#[test]
fn a_proxy_header_says_who_is_there() {
    let mut gateway = behind_a_proxy("require");
    let mut raw = Raw::connect(gateway.at());
    raw.write(V2);
    raw.begin("/ws", "");
    raw.subscribe("room:1");
    assert!(addresses(&gateway).contains("192.0.2.7"), "{}", addresses(&gateway));
    for wrong in [&b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"[..], b"", &V2[..20], b"PROXY TCP4 nonsense\r\n"] {
        let mut raw = Raw::connect(gateway.at());
        raw.try_write(wrong);
        assert_eq!(raw.rest(), "");
    }
    raw.say(json!({ "type": "ping" }));
    assert_eq!(raw.hear().unwrap()["type"], "pong");
    gateway.ends();
    drop(gateway);
    let gateway = behind_a_proxy("accept");
    let mut raw = Raw::connect(gateway.at());
    raw.write(V2);
    raw.begin("/ws", "");
    raw.subscribe("room:1");
    gateway.client().pings();
    assert!(addresses(&gateway).contains("192.0.2.7"), "{}", addresses(&gateway));
}

#[test]
fn forwarded_headers_are_believed_of_trusted_proxies_only() {
    let gateway = behind_a_proxy("off");
    let mut ann = Talk::to(gateway.at(), "/ws", &[("X-Forwarded-For", "198.51.100.1, 203.0.113.9")]).ok().unwrap();
    let mut ben = Talk::to(gateway.at(), "/ws", &[("Forwarded", "for=\"[2001:db8::5]:80\";proto=https")]).ok().unwrap();
    // The 101 comes before the shard has it.
    ann.pings();
    ben.pings();
    let told = addresses(&gateway);
    assert!(told.contains("203.0.113.9") && told.contains("2001:db8::5"), "{told}");
    assert!(!told.contains("198.51.100.1"), "what a client wrote itself was believed: {told}");
    // Limits count whom the proxy names; nonsense names nobody, and does no harm.
    for nonsense in ["", ",", "unknown", "x.y", "1.2.3.4.5", "::::", "\"", &"1.1.1.1,".repeat(300)] {
        Talk::to(gateway.at(), "/ws", &[("X-Forwarded-For", nonsense)]).ok().unwrap().pings();
        Talk::to(gateway.at(), "/ws", &[("Forwarded", nonsense)]).ok().unwrap().pings();
    }
}

#[test]
fn development_is_not_for_what_a_proxy_passes_on() {
    let gateway = gateway("", "", "");
    for (name, value) in [("X-Forwarded-For", "192.0.2.1"), ("Forwarded", "for=192.0.2.1"), ("X-Real-IP", "192.0.2.1")]
    {
        match Talk::to(gateway.at(), "/ws", &[(name, value)]) {
            Err(Got::Http(reply)) => assert_eq!(reply.status, 403, "{name}"),
            Ok(_) => assert_eq!(name, "X-Real-IP", "{name} was let in"),
            Err(other) => panic!("{other:?}"),
        }
    }
}

/// In development mode there are no secrets, so a page of the world in the developer's browser could do what they may.
#[test]
fn in_development_pages_of_the_world_need_a_token_to_connect() {
    let gateway = gateway("", "", "");
    let signed = jsonwebtoken::encode(
        &jsonwebtoken::Header::default(),
        &json!({ "sub": "ann", "exp": 4_102_444_800_u64 }),
        &jsonwebtoken::EncodingKey::from_secret(b"dev-jwt-secret"),
    );
    let bearer = format!("Bearer {}", signed.unwrap());
    for (headers, good) in [
        (vec![], true),
        (vec![("Origin", "http://localhost:5173")], true),
        (vec![("Origin", "http://127.0.0.1")], true),
        (vec![("Origin", "https://evil.example")], false),
        (vec![("Origin", "null")], false),
        (vec![("Origin", "https://evil.example"), ("Authorization", &bearer)], true),
    ] {
        match Talk::to(gateway.at(), "/ws", &headers) {
            Ok(mut talk) => {
                talk.pings();
                assert!(good, "{headers:?} was let in");
            }
            Err(Got::Http(reply)) => assert!(!good && reply.status == 403, "{headers:?}: {}", reply.status),
            Err(other) => panic!("{other:?}"),
        }
    }
    for origins in ["Origin: http://localhost\r\nOrigin: https://evil.example\r\n", "Origin: \r\n"] {
        let mut raw = Raw::connect(gateway.at());
        raw.ask("/ws", origins);
        assert_eq!(raw.status(), 403, "{origins}");
    }
}

#[test]
fn pages_of_other_origins_may_not_connect() {
    let gateway = gateway("", "", "[http]\norigins = [\"https://app.example\", \"https://*.good.example\"]\n");
    for (origin, good) in [
        ("https://app.example", true),
        ("https://a.good.example", true),
        ("https://good.example", false),
        ("https://good.example.evil.example", false),
        ("https://evilgood.example", false),
        ("http://app.example", false),
        ("https://app.example:8443", false),
        ("https://app.example.evil.example", false),
        ("null", false),
        ("", false),
    ] {
        match Talk::to(gateway.at(), "/ws", &[("Origin", origin)]) {
            Ok(mut talk) => {
                talk.pings();
                assert!(good, "{origin} was let in");
            }
            Err(Got::Http(reply)) => assert!(!good && reply.status == 403, "{origin}: {}", reply.status),
            Err(other) => panic!("{other:?}"),
        }
    }
    gateway.client().pings();
}
