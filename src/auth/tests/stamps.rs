//! The clinic's tokens, as its document writes them.

use super::*;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};

fn clinic() -> Authenticator {
    let users = json!({ "users": { "rows": {
        "u1": { "role": "sales_staff", "clinicId": "c1" },
        "u?>2": { "clinicId": "c2", "id": "admin" },
    } } });
    let settings = json!({
        "type": "hmac", "from": ["message"], "secret": { "env": SECRET }, "ttl": "10m", "skew": "30s", "table": "users",
        "defaults": { "role": "free_user", "clinicId": "default" },
        "missing": { "close": 4000, "reason": "Authentication token is required" },
        "failed": { "close": 4001, "reason": "Authentication failed" },
    });
    auth_with(settings, &Keys::default(), &tables(users).unwrap())
}

/// openssl's own: `printf 'u1:1704623400000' | openssl dgst -sha256 -hmac "$SECRET"`.
const SIGNATURE_OF_U1: &str = "7105a32a9212cc5f411726494b47bcf1d76b9d88e54a706018d4c1125d0aded5";

fn token(user: Value, timestamp: Value, signature: &str) -> String {
    STANDARD.encode(json!({ "userId": user, "timestamp": timestamp, "signature": signature }).to_string())
}

fn issued(user: &str, at: Millis) -> String {
    let stamp = crate::auth::stamp::Stamp { secret: Secret::new(SECRET.as_bytes()), ttl_ms: 1, skew_ms: 0 };
    stamp.issue(user, at)
}

#[tokio::test]
async fn a_documented_token_is_taken_in_every_base64() {
    let auth = clinic();
    let text = STANDARD.decode(token(json!("u1"), json!(NOW), SIGNATURE_OF_U1)).unwrap();
    assert_eq!(issued("u1", NOW), STANDARD.encode(&text));
    for engine in [STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD] {
        let identity = admitted(&auth, &engine.encode(&text)).await;
        assert_eq!(identity.user.as_deref(), Some("u1"));
        assert_eq!(identity.claim("clinicId"), Some(&json!("c1")));
        assert_eq!(identity.claim("roles"), Some(&json!(["sales_staff"])));
        assert_eq!(identity.expires_at, Some(NOW + 600_000));
    }
    // One whose base64 has `+` or `/`, and `-` or `_` in the other alphabet.
    let odd = STANDARD.decode(issued("u?>2", NOW)).unwrap();
    for engine in [STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD] {
        assert_eq!(admitted(&auth, &engine.encode(&odd)).await.user.as_deref(), Some("u?>2"));
    }
    let upper = token(json!("u1"), json!(NOW), &SIGNATURE_OF_U1.to_uppercase());
    admitted(&auth, &upper).await;
}

#[tokio::test]
async fn missing_columns_have_defaults_and_a_row_does_not_rename_its_user() {
    let identity = admitted(&clinic(), &issued("u?>2", NOW)).await;
    assert_eq!(identity.claim("role"), Some(&json!("free_user")));
    assert_eq!(identity.claim("roles"), Some(&json!(["free_user"])));
    assert_eq!(identity.claim("clinicId"), Some(&json!("c2")));
    assert_eq!(identity.claim("id"), Some(&json!("u?>2")));
}

#[tokio::test]
async fn a_wrong_token_is_refused_for_its_reason() {
    let auth = clinic();
    for (token, cause) in [
        (token(json!("u1"), json!(NOW), &"0".repeat(64)), Cause::Signature),
        (token(json!("u2"), json!(NOW), SIGNATURE_OF_U1), Cause::Signature),
        (token(json!("u1"), json!(NOW + 1), SIGNATURE_OF_U1), Cause::Signature),
        (token(json!("u1"), json!(NOW), &SIGNATURE_OF_U1[..62]), Cause::Signature),
        (token(json!("u1"), json!(NOW), ""), Cause::Signature),
        (token(json!("u1"), json!(NOW), "zz"), Cause::Malformed),
        (token(json!("u1"), json!(NOW.to_string()), SIGNATURE_OF_U1), Cause::Malformed),
        (token(json!("u1"), json!(-1), SIGNATURE_OF_U1), Cause::Malformed),
        (token(json!(null), json!(NOW), SIGNATURE_OF_U1), Cause::Malformed),
        (STANDARD.encode("{}"), Cause::Malformed),
        ("not base64!".into(), Cause::Malformed),
        (issued("nobody", NOW), Cause::UnknownUser),
        (issued("u1", NOW - 600_000), Cause::Expired),
        (issued("u1", NOW + 30_001), Cause::NotYet),
    ] {
        assert_eq!(refused(&auth, &token).await, cause, "{token}");
    }
    admitted(&auth, &issued("u1", NOW - 599_999)).await;
    admitted(&auth, &issued("u1", NOW + 30_000)).await;
}

#[tokio::test]
async fn closes_are_as_written() {
    let auth = clinic();
    let close = |action: &Action| match action {
        Action::Close(close) => (close.code, close.reason.to_string()),
        other => panic!("{other:?}"),
    };
    assert_eq!(close(auth.on_missing()), (4000, "Authentication token is required".into()));
    assert_eq!(close(auth.on_failed()), (4001, "Authentication failed".into()));
    assert!(matches!(auth.authenticate(&Credentials::default(), Now::at(NOW)).await, Outcome::Missing));
    let issue = Issue { user: "u1".into(), ..Issue::default() };
    assert_eq!(auth.issue(&issue, NOW).unwrap(), issued("u1", NOW));
}
