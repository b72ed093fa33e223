//! `{{…}}` in a transcript: captured variables, and tokens made when their line is played.
//!
//! `{{hmac u1}}` the clinic's token, percent-encoded for a query. Options: `at=-11m` (timestamp that far from now),
//! `secret=…`, `signature=…`, `base64url`, `bare` (not percent-encoded).
//! `{{jwt {"id":"u7"}}}` an HS256 token. Options: `exp=-60` (seconds from now, default 3600, `none`), `secret=…`,
//! `alg=none|HS512`.
//! `{{port clinic}}` a listener's port. `{{now}}` ms. `{{repeat x 300}}`. `{{name}}` what `<name=any>` captured.

use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD, Engine};
use hmac::{Hmac, KeyInit, Mac};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};
use sha2::Sha256;
use std::time::{SystemTime, UNIX_EPOCH};

pub use weir::harness::expect::Captured;

/// Secrets as development mode fills them in.
const JWT_SECRET: &str = "dev-jwt-secret";
const TOKEN_SECRET: &str = "dev-ws-token-secret";

pub fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as i64)
}

/// Replaces every `{{…}}` of `text`.
pub fn fill(text: &str, captured: &Captured, port: &dyn Fn(&str) -> Result<String, String>) -> Result<String, String> {
    let (mut out, mut rest) = (String::with_capacity(text.len()), text);
    while let Some(start) = rest.find("{{") {
        out.push_str(&rest[..start]);
        let inside = &rest[start + 2..];
        let end = end_of_word(inside).ok_or_else(|| format!("`{{{{` without `}}}}`: {rest}"))?;
        out.push_str(&word(inside[..end].trim(), captured, port)?);
        rest = &inside[end + 2..];
    }
    out.push_str(rest);
    Ok(out)
}

/// Where the `}}` stands that closes a word; braces inside it are balanced.
fn end_of_word(inside: &str) -> Option<usize> {
    let mut depth = 0;
    for (at, c) in inside.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth > 0 => depth -= 1,
            '}' => return inside[at..].starts_with("}}").then_some(at),
            _ => {}
        }
    }
    None
}

fn word(word: &str, captured: &Captured, port: &dyn Fn(&str) -> Result<String, String>) -> Result<String, String> {
    let (name, rest) = word.split_once(' ').unwrap_or((word, ""));
    match name {
        "hmac" => clinic_token(rest.trim()),
        "jwt" => jwt(rest.trim()),
        "port" => port(rest.trim()),
        "now" => Ok(now_ms().to_string()),
        "repeat" => {
            let (what, times) = rest.trim().rsplit_once(' ').ok_or("`{{repeat TEXT N}}`")?;
            Ok(what.repeat(times.parse().map_err(|_| format!("not a number: {times}"))?))
        }
        _ => match captured.get(word) {
            Some(Value::String(text)) => Ok(text.clone()),
            Some(other) => Ok(other.to_string()),
            None => Err(format!("nothing is called {{{{{word}}}}}")),
        },
    }
}

fn option<'a>(options: &'a str, name: &str) -> Option<&'a str> {
    options.split_whitespace().find_map(|o| o.strip_prefix(name)?.strip_prefix('='))
}

/// base64(JSON {userId, timestamp, signature}), signature = HMAC-SHA256 of `userId:timestamp` in hex.
fn clinic_token(arguments: &str) -> Result<String, String> {
    let (user, options) = arguments.split_once(' ').unwrap_or((arguments, ""));
    let timestamp = now_ms() + option(options, "at").map_or(Ok(0), offset_ms)?;
    let secret = option(options, "secret").unwrap_or(TOKEN_SECRET);
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).map_err(|e| e.to_string())?;
    mac.update(format!("{user}:{timestamp}").as_bytes());
    let signature = match option(options, "signature") {
        Some(given) => given.to_string(),
        None => hex::encode(mac.finalize().into_bytes()),
    };
    let token = json!({ "userId": user, "timestamp": timestamp, "signature": signature }).to_string();
    let has = |word| options.split_whitespace().any(|o| o == word);
    let token = match has("base64url") {
        true => BASE64_URL_SAFE_NO_PAD.encode(token),
        false => BASE64_STANDARD.encode(token),
    };
    Ok(match has("bare") {
        true => token,
        false => token.replace('+', "%2B").replace('/', "%2F").replace('=', "%3D"),
    })
}

fn offset_ms(text: &str) -> Result<i64, String> {
    let bad = || format!("not an offset such as -11m: {text}");
    let (number, scale) = match text.strip_suffix('m') {
        Some(minutes) => (minutes, 60_000),
        None => (text.strip_suffix('s').ok_or_else(bad)?, 1_000),
    };
    number.parse::<i64>().map(|n| n * scale).map_err(|_| bad())
}

fn jwt(arguments: &str) -> Result<String, String> {
    let end = arguments.rfind('}').map_or(0, |at| at + 1);
    let (claims, options) = arguments.split_at(end);
    let mut claims: Value = serde_json::from_str(claims).map_err(|e| format!("{claims}: {e}"))?;
    let expires = option(options, "exp").unwrap_or("3600");
    if let (Some(map), Ok(seconds)) = (claims.as_object_mut(), expires.parse::<i64>()) {
        map.entry("exp").or_insert(json!(now_ms() / 1000 + seconds));
    }
    let secret = option(options, "secret").unwrap_or(JWT_SECRET).as_bytes();
    let algorithm = match option(options, "alg").unwrap_or("HS256") {
        "none" => {
            let part = |v: &Value| BASE64_URL_SAFE_NO_PAD.encode(v.to_string());
            return Ok(format!("{}.{}.", part(&json!({"alg": "none", "typ": "JWT"})), part(&claims)));
        }
        name => name.parse::<Algorithm>().map_err(|_| format!("unknown algorithm {name}"))?,
    };
    jsonwebtoken::encode(&Header::new(algorithm), &claims, &EncodingKey::from_secret(secret)).map_err(|e| e.to_string())
}

#[test]
fn a_token_may_hold_braces() {
    let captured = Captured::from([("id".to_string(), json!("ws_1")), ("n".to_string(), json!(3))]);
    let port = |_: &str| Ok("3000".to_string());
    let fill = |text| fill(text, &captured, &port);
    assert_eq!(fill(r#"{"to":"{{id}}","n":{{n}}}"#).unwrap(), r#"{"to":"ws_1","n":3}"#);
    assert_eq!(fill(r#"/ws?token={{jwt {"id":"u7","org":{"id":1}}}}&x=1"#).unwrap().matches('.').count(), 2);
    assert!(fill("/?token={{hmac u1 at=-11m}}").unwrap().starts_with("/?token=ey"));
    assert_eq!(fill("{{repeat ab 3}}:{{port main}}").unwrap(), "ababab:3000");
    assert!(fill("{{nobody}}").unwrap_err().contains("nobody"));
    assert!(fill("{{open").is_err());
}
