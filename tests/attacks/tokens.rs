//! Tokens that prove nothing, and that no token is ever written to a log.

use super::raw::Raw;
use super::{Attacked, GATEWAY, Talk, started};
use crate::support::client::{Got, http};
use crate::support::words::now_ms;
use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};

const APP: &str = r#"
listener = "main"
[[endpoint]]
path = "/ws"
dialect = "d"
auth = ["both"]
[[endpoint]]
path = "/strict"
dialect = "d"
auth = ["strict"]
[[endpoint]]
path = "/live"
dialect = "d"
auth = ["live"]
[[endpoint]]
path = "/odd"
dialect = "d"
auth = ["odd"]
[auth.odd]
type = "jwt"
keys = ["jwt"]
from = ["query:t", "subprotocol", "header:x-mine", "cookie:c"]
[auth.both]
type = "jwt"
keys = ["jwt", "rsa", "ec"]
forbid = ["tenantId"]
failed = { close = 4401, reason = "no" }
missing = "anonymous"
[auth.strict]
type = "jwt"
keys = ["jwt"]
[auth.live]
type = "jwt"
keys = ["jwt"]
leeway = "0s"
[auth.live.live]
[dialect.d]
receive.ping = { do = "ping" }
send.hello = { type = "hello", user = "{user.id}" }
send.pong = { type = "pong", id = "{request.id}" }
[[channel]]
name = "room:{id}"
subscribe = "true"
"#;

struct Keys {
    rsa: rcgen::KeyPair,
    ec: rcgen::KeyPair,
}

fn gateway(level: &str) -> (Attacked, Keys) {
    let rsa = rcgen::KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, rcgen::RsaKeySize::_2048).unwrap();
    let keys = Keys { rsa, ec: rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap() };
    let settings = format!(
        "{GATEWAY}\n[key.rsa]\nalgorithms = [\"RS256\"]\npublic = {{ file = \"keys/rsa.pem\" }}\n\
         [key.ec]\nalgorithms = [\"ES256\"]\npublic = {{ file = \"keys/ec.pem\" }}\n[log]\nlevel = \"{level}\"\n"
    );
    let app = APP.replace("[auth.live.live]\n", "");
    let (rsa, ec) = (keys.rsa.public_key_pem(), keys.ec.public_key_pem());
    let files =
        [("gateway.toml", &settings[..]), ("channels/app.toml", &app), ("keys/rsa.pem", &rsa), ("keys/ec.pem", &ec)];
    (started(&files, &[]), keys)
}

fn signed(algorithm: Algorithm, key: &EncodingKey, claims: Value) -> String {
    jsonwebtoken::encode(&Header::new(algorithm), &claims, key).unwrap()
}

fn hs256(secret: &[u8], claims: Value) -> String {
    signed(Algorithm::HS256, &EncodingKey::from_secret(secret), claims)
}

fn in_seconds(seconds: i64) -> i64 {
    now_ms() / 1000 + seconds
}

fn unsigned(header: Value, claims: Value, signature: &str) -> String {
    let part = |v: &Value| BASE64_URL_SAFE_NO_PAD.encode(v.to_string());
    format!("{}.{}.{signature}", part(&header), part(&claims))
}

/// Name, token, and whether it proves who somebody is.
fn tokens(keys: &Keys) -> Vec<(&'static str, String, bool)> {
    let (secret, claims) = (b"dev-jwt-secret", json!({ "sub": "u1", "exp": in_seconds(3600) }));
    let (rsa_pem, ec_pem) = (keys.rsa.public_key_pem(), keys.ec.public_key_pem());
    let rsa = EncodingKey::from_rsa_pem(keys.rsa.serialize_pem().as_bytes());
    let ec = EncodingKey::from_ec_pem(keys.ec.serialize_pem().as_bytes());
    let good = hs256(secret, claims.clone());
    let (body, signature) = good.rsplit_once('.').unwrap();
    let mut parts: Vec<&str> = good.split('.').collect();
    let other = BASE64_URL_SAFE_NO_PAD.encode(json!({ "sub": "admin", "exp": in_seconds(3600) }).to_string());
    parts[1] = &other;
    let swapped = parts.join(".");
    vec![
        ("signed with RS256", signed(Algorithm::RS256, &rsa.unwrap(), claims.clone()), true),
        ("signed with ES256", signed(Algorithm::ES256, &ec.unwrap(), claims.clone()), true),
        ("expired", hs256(secret, json!({ "sub": "u1", "exp": in_seconds(-3600) })), false),
        (
            "not yet valid",
            hs256(secret, json!({ "sub": "u1", "exp": in_seconds(9000), "nbf": in_seconds(3600) })),
            false,
        ),
        ("without end", hs256(secret, json!({ "sub": "u1" })), false),
        ("an end that is no number", hs256(secret, json!({ "sub": "u1", "exp": "never" })), false),
        ("forged", hs256(b"another secret", claims.clone()), false),
        ("signed with nothing", hs256(b"", claims.clone()), false),
        (
            "of another family member",
            signed(Algorithm::HS512, &EncodingKey::from_secret(secret), claims.clone()),
            false,
        ),
        ("alg none", unsigned(json!({ "alg": "none", "typ": "JWT" }), claims.clone(), ""), false),
        ("alg None", unsigned(json!({ "alg": "None", "typ": "JWT" }), claims.clone(), signature), false),
        ("no alg", unsigned(json!({ "typ": "JWT" }), claims.clone(), signature), false),
        ("HS256 with RSA's public key", hs256(rsa_pem.as_bytes(), claims.clone()), false),
        ("HS256 with EC's public key", hs256(ec_pem.as_bytes(), claims.clone()), false),
        ("claims of another", swapped, false),
        ("no signature", format!("{body}."), false),
        ("half of it", good[..good.len() / 2].to_owned(), false),
        ("a tenant's", hs256(secret, json!({ "sub": "u1", "tenantId": "t1", "exp": in_seconds(3600) })), false),
        ("no token", "s3cret-but-no-token".to_owned(), false),
        ("dots", "...".to_owned(), false),
        ("large", "x".repeat(6_000), false),
    ]
}

#[test]
fn only_what_is_signed_as_the_key_says_proves_who_somebody_is() {
    let (gateway, keys) = gateway("info");
    for (what, token, good) in tokens(&keys) {
        let mut talk = Talk::to(gateway.at(), "/ws", &[("Authorization", &format!("Bearer {token}"))]).ok().unwrap();
        match (good, talk.next()) {
            (true, Got::Text(hello)) => assert!(hello.contains("u1"), "{what}: {hello}"),
            (false, Got::Close(4401, reason)) => assert_eq!(reason, "no", "{what}"),
            (_, got) => panic!("{what}: {got:?}"),
        }
        match (good, Talk::to(gateway.at(), &format!("/strict?token={token}"), &[])) {
            (false, Err(Got::Http(reply))) => assert_eq!(reply.status, 401, "{what}"),
            (true, _) => {}
            (_, Ok(_)) if what == "a tenant's" => {} // nothing forbids it here
            (_, _) => panic!("{what}: let in"),
        }
    }
    let mut anonymous = gateway.talk("/ws");
    assert_eq!(anonymous.hear(), json!({ "type": "hello" }));
    hello_and_done(gateway);
}

/// This app greets: the shared newcomer does not expect that.
fn hello_and_done(mut gateway: Attacked) {
    let mut newcomer = gateway.talk("/ws");
    newcomer.hears("hello");
    newcomer.pings();
    gateway.ends();
}

#[test]
fn a_token_among_sub_protocols_lets_in_and_is_not_answered() {
    let (gateway, _) = gateway("info");
    let good = hs256(b"dev-jwt-secret", json!({ "sub": "u1", "exp": in_seconds(3600) }));
    let offer = format!("chat, bearer, {good}");
    let mut talk = Talk::to(gateway.at(), "/odd", &[("Sec-WebSocket-Protocol", &offer)]).ok().unwrap();
    assert_eq!(talk.0.upgrade.header("sec-websocket-protocol"), Some("bearer"));
    assert_eq!(talk.hear(), json!({ "type": "hello", "user": "u1" }));
    let forged = hs256(b"another secret", json!({ "sub": "u1", "exp": in_seconds(3600) }));
    for (path, offer) in [
        ("/odd", format!("bearer, {forged}")),
        ("/odd", good.clone()),
        ("/odd", "bearer".to_owned()),
        // One that fails is not passed over for one that is good.
        (&format!("/odd?t={forged}"), offer),
    ] {
        let Err(Got::Http(reply)) = Talk::to(gateway.at(), path, &[("Sec-WebSocket-Protocol", &offer)]) else {
            panic!("let in by {path} {offer}");
        };
        assert_eq!((reply.status, reply.header("sec-websocket-protocol")), (401, None));
    }
    hello_and_done(gateway);
}

#[test]
fn no_token_is_ever_logged() {
    for level in ["debug", "trace"] {
        let (gateway, keys) = gateway(level);
        let tokens = tokens(&keys);
        for (_, token, _) in &tokens {
            let (main, admin) = (gateway.at(), gateway.address("admin").unwrap());
            let bearer = [("Authorization".to_owned(), format!("Bearer {token}"))];
            let query = format!("token={token}&x=1");
            for path in ["/ws", "/strict", "/odd", "/nothing", "/ws/deeper"] {
                drop(Talk::to(main, &format!("{path}?{query}"), &[]));
                drop(Talk::to(main, path, &[("Cookie", &format!("token={token}"))]));
                drop(Talk::to(main, path, &[("Authorization", &bearer[0].1)]));
                drop(Talk::to(main, path, &[("Sec-WebSocket-Protocol", &format!("bearer, {token}"))]));
                drop(Talk::to(main, path, &[("X-Mine", token), ("Cookie", &format!("c={token}"))]));
                // A parameter that is a token by the app's file alone, one that is none, and one without a name.
                for query in [format!("t={token}"), format!("%74={token}"), format!("x={token}"), token.clone()] {
                    drop(Talk::to(main, &format!("{path}?{query}"), &[]));
                }
                // Not upgrades, or half of one.
                http(main, "GET", &format!("{path}?{query}"), &[], None).unwrap();
                http(admin, "POST", &format!("{path}?{query}"), &bearer, Some("{}")).unwrap();
                let mut raw = Raw::connect(main);
                let half = format!("GET {path}?{query} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n\r\n");
                raw.write(half.as_bytes());
                assert_eq!(raw.status() / 100, 4);
            }
            http(main, "POST", "/api/publish", &bearer, Some("{}")).unwrap();
            for broken in [
                format!("GET /ws?{query} HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n"),
                format!("GET /ws?{query} HTTP/9.9\r\n\r\n"),
                format!("GET /ws?{query}\u{1} HTTP/1.1\r\nHost: x\r\n\r\n"),
                format!("GET /ws?{query} HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n", "y".repeat(20_000)),
            ] {
                let mut raw = Raw::connect(main);
                raw.try_write(broken.as_bytes());
                raw.rest();
            }
        }
        let mut newcomer = gateway.talk("/ws");
        newcomer.hears("hello");
        newcomer.pings();
        gateway.wait_for_log(&["upgrade refused"]).unwrap();
        let output = gateway.output();
        for (what, token, _) in &tokens {
            // What is left of a token when its dots are cut off tells enough, too.
            for part in token.split('.').filter(|part| part.len() > 12) {
                let line = output.lines().find(|line| line.contains(part));
                assert_eq!(line, None, "{what} at {level}");
            }
        }
        hello_and_done(gateway);
    }
}
