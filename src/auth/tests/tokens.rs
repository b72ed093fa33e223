//! What a JWT's claims decide.

use super::*;

fn jwt(more: Value) -> Value {
    let mut settings = json!({ "type": "jwt", "keys": ["jwt"], "from": ["message"] });
    settings.as_object_mut().unwrap().extend(row(more));
    settings
}

#[tokio::test]
async fn times_are_compared_with_half_a_minute_of_leeway() {
    let strict = auth(jwt(json!({})));
    assert_eq!(refused(&strict, &hs256(json!({ "sub": "a", "exp": at(-30) }))).await, Cause::Expired);
    let late = admitted(&strict, &hs256(json!({ "sub": "a", "exp": at(-29) }))).await;
    assert_eq!(late.expires_at, Some(NOW + 1_000));
    assert_eq!(refused(&strict, &hs256(json!({ "sub": "a", "exp": at(60), "nbf": at(31) }))).await, Cause::NotYet);
    admitted(&strict, &hs256(json!({ "sub": "a", "exp": at(60), "nbf": at(30) }))).await;
    admitted(&strict, &hs256(json!({ "sub": "a", "exp": at(60) as f64 + 0.5 }))).await;
    for odd in [json!("soon"), json!(-1), json!(null), json!({}), json!(2_f64.powi(70)), json!(1e300)] {
        assert_eq!(refused(&strict, &hs256(json!({ "sub": "a", "exp": odd }))).await, Cause::Claims);
        assert_eq!(refused(&strict, &hs256(json!({ "sub": "a", "exp": at(60), "nbf": odd }))).await, Cause::Claims);
    }
    admitted(&strict, &hs256(json!({ "sub": "a", "exp": 253_402_300_799_u64 }))).await;
    let exact = auth(jwt(json!({ "leeway": 0 })));
    assert_eq!(refused(&exact, &hs256(json!({ "sub": "a", "exp": at(0) }))).await, Cause::Expired);
    admitted(&exact, &hs256(json!({ "sub": "a", "exp": at(1) }))).await;
}

#[tokio::test]
async fn a_token_without_an_end_needs_leave() {
    let endless = hs256(json!({ "sub": "a" }));
    assert_eq!(refused(&auth(jwt(json!({}))), &endless).await, Cause::Claims);
    let optional = auth(jwt(json!({ "expiry": "optional" })));
    assert_eq!(admitted(&optional, &endless).await.expires_at, None);
    assert_eq!(refused(&optional, &hs256(json!({ "sub": "a", "exp": at(-31) }))).await, Cause::Expired);
}

#[tokio::test]
async fn garbage_is_refused_and_never_logged() {
    let auth = auth(jwt(json!({})));
    let good = hs256(json!({ "sub": "a", "exp": at(60) }));
    let (head, signature) = good.rsplit_once('.').unwrap();
    let list = hs256(json!(["sub", "a"]));
    for bad in ["x", ".", "..", "...", "a.b.c", &format!("{good}."), &format!("{good}.x"), "\u{0}", "é.é.é", &list] {
        assert_eq!(refused(&auth, bad).await, Cause::Malformed, "{bad}");
    }
    assert_eq!(refused(&auth, &"a".repeat(10_000)).await, Cause::Malformed);
    assert_eq!(refused(&auth, &format!("{head}.")).await, Cause::Signature);
    assert_eq!(refused(&auth, &format!("{head}.{}", signature.to_lowercase())).await, Cause::Signature);
    let other = hs256(json!({ "sub": "b", "exp": at(60) }));
    let forged = format!("{}.{signature}", other.rsplit_once('.').unwrap().0);
    let outcome = show(&auth, &forged).await;
    let shown = format!("{outcome:?}");
    assert!(shown.contains("no key verifies its signature"), "{shown}");
    assert!(forged.split('.').all(|part| !shown.contains(part)), "{shown}");
}

#[tokio::test]
async fn the_user_is_the_first_claim_present() {
    let auth = auth(jwt(json!({ "user": ["id", "sub", "profile.name", "https://a.example/user"] })));
    let user = async |claims: Value| {
        let mut claims = claims;
        claims["exp"] = json!(at(60));
        match show(&auth, &hs256(claims)).await {
            Outcome::Identity(i) => {
                assert_eq!(i.claim("id").and_then(Value::as_str), i.user.as_deref());
                i.user.as_deref().map(String::from)
            }
            _ => None,
        }
    };
    assert_eq!(user(json!({ "sub": "s", "id": "i" })).await.as_deref(), Some("i"));
    assert_eq!(user(json!({ "sub": "s", "id": null })).await.as_deref(), Some("s"));
    assert_eq!(user(json!({ "id": "", "sub": 42 })).await.as_deref(), Some("42"));
    assert_eq!(user(json!({ "profile": { "name": "p" } })).await.as_deref(), Some("p"));
    assert_eq!(user(json!({ "https://a.example/user": "u" })).await.as_deref(), Some("u"));
    for nobody in [json!({}), json!({ "id": true, "sub": [] }), json!({ "id": 1.5 }), json!({ "id": "a\nb" })] {
        assert_eq!(user(nobody).await, None);
    }
    assert_eq!(user(json!({ "id": "x".repeat(201) })).await, None);
}

#[tokio::test]
async fn roles_come_as_a_list_or_a_text_and_are_there_as_both() {
    let auth = auth(jwt(json!({ "roles": ["realm.roles", "roles", "role"] })));
    for (claims, role, roles) in [
        (json!({ "role": "admin" }), json!("admin"), json!(["admin"])),
        (json!({ "roles": ["a", "b"] }), json!("a"), json!(["a", "b"])),
        (json!({ "roles": ["a", "b"], "role": "b" }), json!("b"), json!(["a", "b"])),
        (json!({ "roles": ["a"], "role": "admin" }), json!("a"), json!(["a"])),
        (json!({ "realm": { "roles": ["r"] }, "role": "admin" }), json!("r"), json!(["r"])),
        (json!({ "roles": [], "role": "x" }), json!("x"), json!(["x"])),
        (json!({ "roles": [1, "x"] }), json!("x"), json!(["x"])),
    ] {
        let mut all = json!({ "sub": "a", "exp": at(60) });
        all.as_object_mut().unwrap().extend(row(claims));
        let identity = admitted(&auth, &hs256(all)).await;
        assert_eq!((identity.claim("role"), identity.claim("roles")), (Some(&role), Some(&roles)));
    }
    let none = admitted(&auth, &hs256(json!({ "sub": "a", "exp": at(60) }))).await;
    assert_eq!((none.claim("role"), none.claim("roles")), (None, None));
}

#[tokio::test]
async fn claims_are_required_and_forbidden() {
    let cause = async |settings: Value, claims: Value| {
        let mut claims = claims;
        claims["exp"] = json!(at(60));
        claims["sub"] = json!("a");
        match show(&auth(jwt(settings)), &hs256(claims)).await {
            Outcome::Identity(_) => None,
            Outcome::Failed { reason, .. } | Outcome::Unavailable { reason } => Some(reason.into_owned()),
            Outcome::Missing => Some("missing".into()),
        }
    };
    let tenant = json!({ "require": ["tenantId"] });
    assert_eq!(cause(tenant.clone(), json!({ "tenantId": "t" })).await, None);
    assert_eq!(cause(tenant.clone(), json!({})).await.as_deref(), Some("claim `tenantId` is missing"));
    assert_eq!(cause(tenant, json!({ "tenantId": null })).await.as_deref(), Some("claim `tenantId` is missing"));
    let none = json!({ "forbid": ["tenantId"] });
    assert_eq!(cause(none.clone(), json!({})).await, None);
    assert_eq!(cause(none, json!({ "tenantId": "t" })).await.as_deref(), Some("claim `tenantId` is not allowed here"));
    let issued = json!({ "require": { "aud": "weir", "iss": ["a", "b"] } });
    assert_eq!(cause(issued.clone(), json!({ "aud": "weir", "iss": "a" })).await, None);
    assert_eq!(cause(issued.clone(), json!({ "aud": ["x", "weir"], "iss": "b" })).await, None);
    assert!(cause(issued.clone(), json!({ "aud": ["x"], "iss": "b" })).await.is_some());
    assert!(cause(issued.clone(), json!({ "aud": "weir", "iss": "c" })).await.is_some());
    assert!(cause(issued, json!({ "aud": "weir" })).await.is_some());
}

#[tokio::test]
async fn a_token_for_somebody_else_is_refused_unless_files_say_otherwise() {
    let token = hs256(json!({ "sub": "a", "exp": at(60), "aud": "elsewhere" }));
    assert_eq!(refused(&auth(jwt(json!({}))), &token).await, Cause::Claims);
    admitted(&auth(jwt(json!({ "any_audience": true }))), &token).await;
}

#[tokio::test]
async fn endpoints_of_one_path_are_told_apart_by_a_verified_claim() {
    let auth = auth(jwt(json!({ "from": ["query:token"], "forbid": ["tenantId"] })));
    let peek = async |token: Option<String>| {
        let query = token.map(|t| format!("token={t}"));
        let headers = HeaderMap::new();
        auth.peek(&Credentials::of_request(query.as_deref(), &headers), "tenantId", Now::at(NOW)).await
    };
    assert_eq!(peek(None).await, Peek::Missing);
    assert_eq!(peek(Some(hs256(json!({ "exp": at(60), "tenantId": "t" })))).await, Peek::Has);
    assert_eq!(peek(Some(hs256(json!({ "exp": at(60) })))).await, Peek::HasNot);
    assert_eq!(peek(Some(hs256(json!({ "exp": at(-60), "tenantId": "t" })))).await, Peek::Failed);
    assert_eq!(peek(Some("forged".into())).await, Peek::Failed);
}

#[tokio::test]
async fn a_fresh_token_on_a_live_connection_must_be_of_the_same_user() {
    let token = |user: &str| hs256(json!({ "sub": user, "exp": at(600), "role": "new" }));
    let auth = auth(jwt(json!({ "from": ["bearer"], "close_on_expiry": true, "warn_before": "10s" })));
    assert_eq!(auth.expiry(), Some(Expiry { warn_before_ms: 10_000 }));
    let current = Identity { user: Some("ann".into()), version: 7, ..Identity::default() };
    let Outcome::Identity(fresh) = auth.refresh(&current, &Credentials::of_message(&token("ann")), Now::at(NOW)).await
    else {
        panic!("refused")
    };
    assert_eq!((fresh.version, fresh.expires_at), (8, Some(NOW + 630_000)));
    let cause = async |current: &Identity, token: &str| match auth
        .refresh(current, &Credentials::of_message(token), Now::at(NOW))
        .await
    {
        Outcome::Failed { cause, .. } => Some(cause),
        _ => None,
    };
    assert_eq!(cause(&current, &token("ben")).await, Some(Cause::OtherUser));
    assert_eq!(cause(&current, "garbage").await, Some(Cause::Malformed));
    assert_eq!(cause(&Identity::default(), &token("ann")).await, Some(Cause::OtherUser));
    let in_band = self::auth(jwt(json!({})));
    assert!(in_band.takes_messages());
    assert!(matches!(
        in_band.refresh(&Identity::default(), &Credentials::of_message(&token("ann")), Now::at(NOW)).await,
        Outcome::Identity(_)
    ));
}

#[tokio::test]
async fn a_token_made_here_is_taken_here() {
    let auth = auth(jwt(json!({ "user": ["userId"], "require": { "aud": ["weir", "x"], "org.id": "o" } })));
    let issue = Issue { user: "ann".into(), claims: row(json!({ "tenantId": "t" })), ttl_ms: Some(5_000) };
    let identity = admitted(&auth, &auth.issue(&issue, NOW).unwrap()).await;
    assert_eq!(identity.user.as_deref(), Some("ann"));
    assert_eq!(identity.expires_at, Some(NOW + 35_000));
    assert_eq!(identity.claim("tenantId"), Some(&json!("t")));
    let keys =
        keys(json!({ "k": { "algorithms": ["EdDSA"], "public": { "file": pair(Algorithm::EdDSA).pem } } })).unwrap();
    let verifies = auth_with(json!({ "type": "jwt", "keys": ["k"] }), &keys, &Tables::default());
    assert_eq!(verifies.issue(&issue, NOW).unwrap_err(), "the keys of auth `test` verify tokens and cannot sign");
}

#[tokio::test]
async fn a_number_that_was_rounded_is_nobody_s() {
    let settings = || jwt(json!({ "user": ["sub"], "defaults": { "org": 1, "plan": "free" } }));
    let claims = |org: Value| json!({ "sub": "a", "exp": at(60), "org": org });
    for exact in [json!(u64::MAX), json!(9_007_199_254_740_993_u64), json!(i64::MIN)] {
        let found = show(&auth(settings()), &hs256(claims(exact.clone()))).await;
        let Outcome::Identity(identity) = found else { panic!("{found:?}") };
        assert_eq!((&identity.claims["org"], &identity.claims["plan"]), (&exact, &json!("free")));
    }
    for rounded in [json!(1.8446744073709552e19), json!([1, 1e300]), json!({ "id": -1e19 })] {
        let found = show(&auth(settings()), &hs256(claims(rounded.clone()))).await;
        let Outcome::Identity(identity) = found else { panic!("{found:?}") };
        assert_eq!(identity.claims.get("org"), None, "{rounded}: not the default either");
    }
    let required = auth(jwt(json!({ "user": ["sub"], "require": ["org"] })));
    assert_eq!(refused(&required, &hs256(claims(json!(1e19)))).await, Cause::Claims);
}

#[tokio::test]
async fn who_comes_within_the_leeway_stays_for_it() {
    let by = auth(jwt(json!({ "user": ["sub"], "leeway": "30s", "close_on_expiry": true })));
    let found = show(&by, &hs256(json!({ "sub": "a", "exp": at(-20) }))).await;
    let Outcome::Identity(identity) = found else { panic!("{found:?}") };
    assert_eq!(identity.expires_at, Some(NOW + 10_000));
    assert_eq!(refused(&by, &hs256(json!({ "sub": "a", "exp": at(-30) }))).await, Cause::Expired);
    for odd in [json!("1"), json!(-1), Value::Null] {
        assert_eq!(refused(&by, &hs256(json!({ "sub": "a", "exp": odd }))).await, Cause::Claims, "{odd}");
    }
    let found = show(&by, &hs256(json!({ "sub": "a", "exp": 253_402_300_799_u64 }))).await;
    assert!(matches!(found, Outcome::Identity(identity) if identity.expires_at == Some(253_402_300_829_000)));
}
