//! What clients show of themselves: nobody becomes somebody without the key.

use hyper::header::{AUTHORIZATION, COOKIE, HeaderMap, HeaderName, HeaderValue, SEC_WEBSOCKET_PROTOCOL};
use serde_json::{Map, Value, from_value, json};
use std::collections::BTreeMap;
use std::sync::LazyLock;
use tokio::runtime::{Builder, Runtime};
use weir::auth::{
    Authenticator, Credentials, Fetcher, KeySettings, Keys, Outcome, Peek, Purpose, Settings, TableSettings, Tables,
};
use weir::model::{Now, Secret, SecretSource};

/// The time, by which the tokens of the seeds count.
pub const NOW: u64 = 1_704_623_400_000;
/// Whom the tokens of the seeds are of. Another user's token would be forged.
const USER: &str = "u1";
const SECRET: &str = "a secret of thirty-two bytes and more";
const PUBLIC: &str = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAKRlUIZO9MHSQRG2v0rISQnqsoOZ7hMZCTCxTzo+4WMs=\n-----END PUBLIC KEY-----\n";

struct World {
    runtime: Runtime,
    auths: Vec<Authenticator>,
    /// Takes everybody's word.
    believing: Authenticator,
}

static WORLD: LazyLock<World> = LazyLock::new(|| {
    let runtime = Builder::new_current_thread().build().unwrap();
    let fetcher = Fetcher::new(runtime.handle().clone());
    let resolve = |from: &SecretSource, _: Purpose| match from {
        SecretSource::Env(_) => Ok(Secret::new(SECRET.as_bytes())),
        SecretSource::File(_) => Ok(Secret::new(PUBLIC.as_bytes())),
    };
    let keys: BTreeMap<String, KeySettings> = from_value(json!({
        "shared": { "algorithms": ["HS256", "HS384", "HS512"], "secret": { "env": "S" } },
        "public": { "algorithms": ["EdDSA"], "public": { "file": "key.pem" } },
    }))
    .unwrap();
    let tables: BTreeMap<String, TableSettings> =
        from_value(json!({ "users": { "rows": { "u1": { "role": "staff" }, "": {}, "u2": { "id": "admin" } } } }))
            .unwrap();
    let keys = Keys::compile(&keys, &resolve, &fetcher, None).unwrap();
    let tables = Tables::compile(&tables, &|_| Err(String::new()), &resolve, &fetcher, None).unwrap();
    let from = json!(["query:token", "bearer", "cookie:token", "header:x-token", "message", "subprotocol"]);
    let all = [
        json!({ "type": "hmac", "from": from, "secret": { "env": "S" }, "ttl": "10m", "skew": "30s", "table": "users" }),
        json!({ "type": "jwt", "from": from, "keys": ["public", "shared"], "user": ["userId", "sub", "id"],
                "roles": ["roles", "realm.roles"], "forbid": ["tenantId"], "leeway": "0s" }),
    ];
    let compile = |settings: Value| {
        let settings: Settings = from_value(settings).unwrap();
        Authenticator::compile("auth", &settings, &keys, &tables, &resolve).unwrap()
    };
    let believing = json!({ "type": "trusted", "from": ["message", "query"], "require": ["user_id", "org"] });
    World { auths: all.map(compile).into(), believing: compile(believing), runtime }
});

/// First byte: where the token is. The rest: the query, the header's value, or the message's token.
pub fn play(input: &[u8]) {
    let Some((&place, shown)) = input.split_first() else { return };
    let (mut headers, text) = (HeaderMap::new(), std::str::from_utf8(shown).unwrap_or_default());
    let mut header = |name: HeaderName| {
        if let Ok(value) = HeaderValue::from_bytes(shown) {
            headers.insert(name, value);
        }
    };
    let credentials = match place % 6 {
        0 => {
            believe(text);
            Credentials { query: text, ..Credentials::default() }
        }
        1 => Credentials::of_message(text),
        2 => {
            header(AUTHORIZATION);
            Credentials::of_request(None, &headers)
        }
        3 => {
            header(COOKIE);
            Credentials::of_request(None, &headers)
        }
        5 => {
            header(SEC_WEBSOCKET_PROTOCOL);
            Credentials::of_request(None, &headers)
        }
        _ => {
            header(HeaderName::from_static("x-token"));
            Credentials::of_request(Some(text), &headers)
        }
    };
    for auth in &WORLD.auths {
        let outcome = WORLD.runtime.block_on(auth.authenticate(&credentials, Now::at(NOW)));
        let peek = WORLD.runtime.block_on(auth.peek(&credentials, "role", Now::at(NOW)));
        match outcome {
            Outcome::Identity(identity) => {
                assert_eq!(identity.user.as_deref(), Some(USER), "a token was forged");
                assert!(identity.expires_at.is_none_or(|at| at > NOW));
                assert!(matches!(peek, Peek::Has | Peek::HasNot));
            }
            Outcome::Missing => assert_eq!(peek, Peek::Missing),
            Outcome::Unavailable { reason } => panic!("all is here: {reason}"),
            Outcome::Failed { reason, .. } => {
                assert!(!reason.is_empty());
                assert_ne!(peek, Peek::Missing);
                // A reason goes to the log; what was shown does not. No reason has a digit of its own.
                let telling = text.len() >= 16 && text.bytes().any(|b| b.is_ascii_digit());
                assert!(!telling || !reason.contains(text), "{reason}");
            }
        }
    }
}

/// What a client says of itself, in a message or a query: it is somebody of somewhere, or nobody.
fn believe(text: &str) {
    let said: Option<Map<String, Value>> = serde_json::from_str(text).ok();
    let credentials = Credentials { query: text, claims: said.as_ref(), ..Credentials::default() };
    let outcome = WORLD.runtime.block_on(WORLD.believing.authenticate(&credentials, Now::at(NOW)));
    if let Outcome::Identity(identity) = outcome {
        assert!(identity.claims.len() == 3 && identity.user.as_deref().is_some_and(|user| !user.is_empty()));
        assert!(identity.claim("org").and_then(Value::as_str).is_some_and(|org| !org.is_empty()));
    }
}
