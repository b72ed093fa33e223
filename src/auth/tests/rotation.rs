//! Keys that change while the gateway runs.

use super::*;

fn jwt(keys: Value) -> Value {
    json!({ "type": "jwt", "keys": keys, "from": ["message"], "expiry": "optional" })
}

fn set(keys: &[Value]) -> String {
    json!({ "keys": keys }).to_string()
}

fn behind(url: &str) -> Value {
    json!({ "idp": { "algorithms": ["ES256"], "jwks": {
        "url": url, "refresh": "10m", "min_interval": "10s", "timeout": "30s", "bytes": "8KiB",
    } } })
}

async fn at_time(auth: &Authenticator, token: &str, now: Millis) -> Result<String, &'static str> {
    match auth.authenticate(&Credentials::of_message(token), Now::at(now)).await {
        Outcome::Identity(identity) => Ok(identity.user.as_deref().unwrap_or_default().into()),
        Outcome::Failed { cause, .. } => Err(cause.as_str()),
        Outcome::Unavailable { .. } => Err("unavailable"),
        Outcome::Missing => panic!("missing"),
    }
}

#[tokio::test]
async fn two_secrets_rotate() {
    let keys = keys(json!({
        "new": { "algorithms": ["HS256"], "secret": { "env": "the new secret" } },
        "old": { "algorithms": ["HS256"], "secret": { "env": "the old secret" }, "kid": "2023" },
    }))
    .unwrap();
    let both = auth_with(jwt(json!(["new", "old"])), &keys, &Tables::default());
    let token = |secret: &str, kid: Option<&str>| {
        let mut header = json!({ "alg": "HS256" });
        kid.into_iter().for_each(|kid| header["kid"] = json!(kid));
        let key = EncodingKey::from_secret(secret.as_bytes());
        signed(header, &json!({ "sub": "ann" }), &key, jsonwebtoken::Algorithm::HS256)
    };
    for kid in [None, Some("2023"), Some("new"), Some("unknown")] {
        admitted(&both, &token("the old secret", kid)).await;
        admitted(&both, &token("the new secret", kid)).await;
        assert_eq!(refused(&both, &token("a third secret", kid)).await, Cause::Signature);
    }
    let after = auth_with(jwt(json!(["new"])), &keys, &Tables::default());
    assert_eq!(refused(&after, &token("the old secret", None)).await, Cause::Signature);
}

#[tokio::test]
async fn a_set_in_a_file_gives_the_key_that_a_token_names() {
    let (a, b, rsa) = (pair(Algorithm::ES256), pair(Algorithm::ES256), pair(Algorithm::RS256));
    let mut encrypts = b.jwk("enc");
    encrypts["use"] = json!("enc");
    let secret = json!({ "kty": "oct", "k": "c2VjcmV0", "kid": "oct" });
    let strange = json!({ "kty": "XYZ", "kid": "strange", "alg": "XX999" });
    let text = set(&[a.jwk("a"), b.jwk("b"), rsa.jwk("rsa"), encrypts, secret, strange]);
    let keys = keys(json!({ "idp": { "algorithms": ["ES256"], "jwks": { "file": text } } })).unwrap();
    let auth = auth_with(jwt(json!(["idp"])), &keys, &Tables::default());
    let claims = json!({ "sub": "ann" });
    admitted(&auth, &a.token(Some("a"), claims.clone())).await;
    admitted(&auth, &b.token(Some("b"), claims.clone())).await;
    admitted(&auth, &b.token(None, claims.clone())).await;
    assert_eq!(refused(&auth, &b.token(Some("a"), claims.clone())).await, Cause::Signature);
    assert_eq!(refused(&auth, &b.token(Some("enc"), claims.clone())).await, Cause::Signature);
    assert_eq!(refused(&auth, &b.token(Some("c"), claims.clone())).await, Cause::Signature);
    assert_eq!(refused(&auth, &rsa.token(Some("rsa"), claims)).await, Cause::Signature);
}

#[tokio::test]
async fn a_set_is_fetched_when_needed_once_for_all_who_wait() {
    let mut source = Source::start().await;
    let keys = keys(behind(&source.url)).unwrap();
    let auth = auth_with(jwt(json!(["idp"])), &keys, &Tables::default());
    assert!(source.is_idle());
    let a = pair(Algorithm::ES256);
    let token = a.token(Some("a"), json!({ "sub": "ann" }));
    let answer = async { source.next().await.answer(200, set(&[a.jwk("a")])) };
    let (first, second, ()) = tokio::join!(at_time(&auth, &token, NOW), at_time(&auth, &token, NOW), answer);
    assert_eq!((first, second), (Ok("ann".into()), Ok("ann".into())));
    assert_eq!(at_time(&auth, &token, NOW + 599_999).await, Ok("ann".into()));
    assert!(source.is_idle());
}

#[tokio::test]
async fn an_unknown_kid_fetches_again_but_not_too_often() {
    let mut source = Source::start().await;
    let keys = keys(behind(&source.url)).unwrap();
    let auth = auth_with(jwt(json!(["idp"])), &keys, &Tables::default());
    let (a, b) = (pair(Algorithm::ES256), pair(Algorithm::ES256));
    let (of_a, of_b) = (a.token(Some("a"), json!({ "sub": "ann" })), b.token(Some("b"), json!({ "sub": "ben" })));
    let answer = async { source.next().await.answer(200, set(&[a.jwk("a")])) };
    tokio::join!(at_time(&auth, &of_a, NOW), answer).0.unwrap();
    // Within the interval nobody makes the source work, whatever tokens say.
    assert_eq!(at_time(&auth, &of_b, NOW + 9_999).await, Err("signature"));
    assert!(source.is_idle());
    let answer = async { source.next().await.answer(200, set(&[b.jwk("b")])) };
    assert_eq!(tokio::join!(at_time(&auth, &of_b, NOW + 10_000), answer).0, Ok("ben".into()));
    // The set is the new one: a key that it dropped does not count any more.
    assert_eq!(at_time(&auth, &of_a, NOW + 10_001).await, Err("signature"));
    assert!(source.is_idle());
}

#[tokio::test]
async fn a_failing_source_leaves_the_old_set_in_use() {
    let mut source = Source::start().await;
    let keys = keys(behind(&source.url)).unwrap();
    let auth = auth_with(jwt(json!(["idp"])), &keys, &Tables::default());
    let a = pair(Algorithm::ES256);
    let token = a.token(Some("a"), json!({ "sub": "ann" }));
    let answer = async { source.next().await.answer(503, "") };
    assert_eq!(tokio::join!(at_time(&auth, &token, NOW), answer).0, Err("unavailable"));
    assert_eq!(at_time(&auth, &token, NOW + 9_999).await, Err("unavailable"));
    let answer = async { source.next().await.answer(200, set(&[a.jwk("a")])) };
    assert_eq!(tokio::join!(at_time(&auth, &token, NOW + 10_000), answer).0, Ok("ann".into()));
    // Far too old: every kind of failure is waited for, and survived.
    let mut now = NOW;
    let huge = format!("{{\"keys\":[],\"x\":\"{}\"}}", "x".repeat(9_000));
    for (status, body) in [(500, ""), (302, ""), (200, "<html>"), (200, "{\"keys\":[]}"), (200, huge.as_str())] {
        now += 10_000_000;
        let answer = async { source.next().await.answer(status, body) };
        assert_eq!(tokio::join!(at_time(&auth, &token, now), answer).0, Ok("ann".into()), "{body}");
    }
    assert_eq!(keys.get("idp").unwrap().faults(), 6);
}

#[tokio::test]
async fn a_set_past_its_time_is_used_while_the_next_one_comes() {
    let mut source = Source::start().await;
    let keys = keys(behind(&source.url)).unwrap();
    let auth = auth_with(jwt(json!(["idp"])), &keys, &Tables::default());
    let (a, b) = (pair(Algorithm::ES256), pair(Algorithm::ES256));
    let (of_a, of_b) = (a.token(Some("a"), json!({ "sub": "ann" })), b.token(Some("b"), json!({ "sub": "ben" })));
    let answer = async { source.next().await.answer(200, set(&[a.jwk("a")])) };
    tokio::join!(at_time(&auth, &of_a, NOW), answer).0.unwrap();
    let later = NOW + 600_000;
    assert_eq!(at_time(&auth, &of_a, later).await, Ok("ann".into()));
    // Asked beside the answer above; a token of a new key waits for what comes.
    let answer = async { source.next().await.answer(200, set(&[b.jwk("b")])) };
    assert_eq!(tokio::join!(at_time(&auth, &of_b, later), answer).0, Ok("ben".into()));
}

#[tokio::test]
async fn a_reload_forgets_no_fetched_key() {
    let mut source = Source::start().await;
    let before = keys(behind(&source.url)).unwrap();
    let a = pair(Algorithm::ES256);
    let token = a.token(Some("a"), json!({ "sub": "ann" }));
    let auth = auth_with(jwt(json!(["idp"])), &before, &Tables::default());
    let answer = async { source.next().await.answer(200, set(&[a.jwk("a")])) };
    tokio::join!(at_time(&auth, &token, NOW), answer).0.unwrap();
    let fetcher = Fetcher::new(Handle::current());
    let after = Keys::compile(&parse(behind(&source.url)), &resolve, &fetcher, Some(&before)).unwrap();
    let auth = auth_with(jwt(json!(["idp"])), &after, &Tables::default());
    assert_eq!(at_time(&auth, &token, NOW).await, Ok("ann".into()));
    assert!(source.is_idle());
}

#[test]
fn a_shard_waits_for_the_background_runtime() {
    let background = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (handle, (stop, stopped)) = (background.handle().clone(), oneshot::channel::<()>());
    let mut source = background.block_on(Source::start());
    let (a, url) = (pair(Algorithm::ES256), source.url.clone());
    let body = set(&[a.jwk("a")]);
    let thread = std::thread::spawn(move || {
        background.block_on(async {
            source.next().await.answer(200, body);
            let _ = stopped.await;
        });
    });
    // No I/O driver here: a fetch that ran on this runtime would panic.
    let shard = tokio::runtime::Builder::new_current_thread().build_local(Default::default()).unwrap();
    shard.block_on(async {
        let keys = Keys::compile(&parse(behind(&url)), &resolve, &Fetcher::new(handle), None).unwrap();
        let auth = auth_with(jwt(json!(["idp"])), &keys, &Tables::default());
        let token = a.token(Some("a"), json!({ "sub": "ann" }));
        assert_eq!(at_time(&auth, &token, NOW).await, Ok("ann".into()));
        let _ = stop.send(());
        // Without a background runtime nobody waits for ever.
        thread.join().unwrap();
        assert_eq!(at_time(&auth, &token, NOW + 10_000_000).await, Ok("ann".into()));
        assert_eq!(
            at_time(&auth, &a.token(Some("b"), json!({ "sub": "ann" })), NOW + 20_000_000).await,
            Err("signature")
        );
    });
}

#[tokio::test]
async fn an_outage_leaves_open_what_it_hides() {
    let mut source = Source::start().await;
    let keys = keys(behind(&source.url)).unwrap();
    let key = keys.get("idp").unwrap();
    let auth = auth_with(jwt(json!(["idp"])), &keys, &Tables::default());
    let (a, b) = (pair(Algorithm::ES256), pair(Algorithm::ES256));
    let claims = json!({ "sub": "ann" });
    let (of_a, forged) = (a.token(Some("a"), claims.clone()), b.token(Some("a"), claims.clone()));
    let (of_b, unnamed) = (b.token(Some("b"), claims.clone()), b.token(None, claims));
    // Before any token comes.
    key.prepare(Mono::from_ms(NOW));
    source.next().await.answer(200, set(&[a.jwk("a")]));
    assert_eq!(at_time(&auth, &of_a, NOW + 1).await, Ok("ann".into()));
    assert_eq!((key.trouble(), at_time(&auth, &unnamed, NOW + 1).await), (None, Err("signature")));
    let answer = async { source.next().await.answer(503, "") };
    assert_eq!(
        tokio::join!(at_time(&auth, &of_b, NOW + 10_000), answer).0,
        Err("unavailable"),
        "it may be a new key's"
    );
    assert_eq!(at_time(&auth, &of_b, NOW + 10_001).await, Err("unavailable"), "not asked again yet");
    assert_eq!(at_time(&auth, &unnamed, NOW + 10_001).await, Err("unavailable"));
    assert_eq!(at_time(&auth, &of_a, NOW + 10_001).await, Ok("ann".into()), "a known key goes on");
    assert_eq!(at_time(&auth, &forged, NOW + 10_001).await, Err("signature"), "and so does a known forgery");
    assert!(key.trouble().is_some_and(|why| why.contains("status 503")), "{:?}", key.trouble());
    let answer = async { source.next().await.answer(200, set(&[a.jwk("a"), b.jwk("b")])) };
    assert_eq!(tokio::join!(at_time(&auth, &of_b, NOW + 20_001), answer).0, Ok("ann".into()));
    assert_eq!(key.trouble(), None);
}
