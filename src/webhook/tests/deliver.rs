//! What a service sees, and what its answer leads to.

use super::*;
use base64::Engine;
use sha2::{Digest, Sha256};

/// HMAC-SHA256 as RFC 2104 §2 writes it down, for keys up to 64 bytes.
fn hmac(key: &[u8], text: &[u8]) -> Vec<u8> {
    let pad = |with: u8| (0..64).map(|at| key.get(at).copied().unwrap_or(0) ^ with).collect::<Vec<u8>>();
    let inner = Sha256::digest([&pad(0x36), text].concat());
    Sha256::digest([&pad(0x5c)[..], &inner].concat()).to_vec()
}

#[tokio::test]
async fn a_parcel_is_posted_and_signed_and_leaves_the_outbox() {
    let mut service = Service::start().await;
    let more = json!({
        "secret": { "env": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw" },
        "headers": { "x-clinic": "c1", "authorization": { "env": "Bearer 1" } },
    });
    let mut scene = Scene::new(&in_force([("crm", webhook(&service.url, more))]));
    let (parcel, before) = (parcel(7, "crm"), now() / 1_000);
    scene.send(parcel.clone()).await;
    let asked = service.next().await;
    assert_eq!((&asked.method, asked.path.as_str(), &asked.body), (&Method::POST, "/hook?to=weir", &parcel.body));
    assert_eq!(asked.header("content-type"), "application/json");
    assert_eq!(asked.header("user-agent"), concat!("weir/", env!("CARGO_PKG_VERSION")));
    assert_eq!((asked.header("x-clinic"), asked.header("authorization")), ("c1", "Bearer 1"));
    assert_eq!(asked.header("webhook-id"), "00000000-0000-0000-0000-000000000007");
    let timestamp: u64 = asked.header("webhook-timestamp").parse().unwrap();
    assert!((before..=now() / 1_000).contains(&timestamp), "{timestamp}");
    let base64 = base64::engine::general_purpose::STANDARD;
    let key = base64.decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
    let signed = format!("00000000-0000-0000-0000-000000000007.{timestamp}.{}", parcel.body);
    let expected = format!("v1,{}", base64.encode(hmac(&key, signed.as_bytes())));
    assert_eq!(asked.header("webhook-signature"), expected);
    asked.answer(204);
    assert_eq!(scene.kept().await, Write::ParcelDone { id: 7 });
    assert!(scene.store.outbox().unwrap().is_empty());
    assert_eq!(["ok", "retry", "dead"].map(|r| scene.count("crm", r)), ["1", "0", "0"]);
    let took = "weir_webhook_duration_seconds_count{app=\"clinic\",webhook=\"crm\"}";
    assert_eq!(scene.metric(took).as_deref(), Some("1"));
}

#[tokio::test]
async fn without_a_secret_there_is_no_signature() {
    let mut service = Service::start().await;
    let mut scene = Scene::new(&in_force([("crm", webhook(&service.url, json!({})))]));
    scene.send(parcel(1, "crm")).await;
    let asked = service.next().await;
    assert!(!asked.headers.contains_key("webhook-signature") && asked.headers.contains_key("webhook-id"));
}

#[tokio::test]
async fn a_webhook_without_an_address_is_off() {
    let off = Arc::new(
        compile(&serde_json::from_value(json!({ "url": "", "secret": { "file": "no" } })).unwrap(), &resolve).unwrap(),
    );
    let mut scene = Scene::new(&in_force([("crm", off)]));
    scene.send(parcel(1, "crm")).await;
    assert_eq!(scene.kept().await, Write::ParcelDone { id: 1 });
    assert!(scene.store.outbox().unwrap().is_empty());
    assert_eq!(["ok", "retry", "dead", "off"].map(|r| scene.count("crm", r)), ["0", "0", "0", "1"]);
}

#[tokio::test]
async fn a_parcel_that_fails_comes_again_under_the_same_id() {
    let mut service = Service::start().await;
    let mut scene = Scene::new(&in_force([("crm", webhook(&service.url, json!({})))]));
    scene.send(parcel(1, "crm")).await;
    for attempts in 1..=3 {
        let asked = service.next().await;
        assert_eq!(asked.id(), 1);
        asked.answer(500);
        let Write::ParcelRetry { id, attempts: kept, due, why } = scene.kept().await else { panic!() };
        assert_eq!((id, kept, why.as_str()), (1, attempts, "status 500"));
        assert_eq!(
            scene.store.outbox().unwrap()[0],
            Parcel { attempts, due, ..scene.store.outbox().unwrap()[0].clone() }
        );
    }
    let asked = service.next().await;
    assert_eq!((asked.id(), asked.body.as_str()), (1, "{\"n\":1,\"ö\":\"<&>\"}"));
    asked.answer(200);
    assert_eq!(scene.kept().await, Write::ParcelDone { id: 1 });
    assert_eq!(["ok", "retry", "dead"].map(|r| scene.count("crm", r)), ["1", "3", "0"]);
}

#[tokio::test]
async fn a_service_that_asks_for_time_gets_it_within_our_bounds() {
    let mut service = Service::start().await;
    let retry = json!({ "retry": { "first": "30s", "max": "10m" } });
    let mut scene = Scene::new(&in_force([("crm", webhook(&service.url, retry))]));
    for (id, (asked_for, wait_ms)) in [("120", 120_000), ("1", 30_000), ("86400", 600_000)].into_iter().enumerate() {
        scene.send(parcel(id as u128, "crm")).await;
        let (before, asked) = (now(), service.next().await);
        asked.answer_with(503, &[("retry-after", asked_for)], "");
        let Write::ParcelRetry { due, why, .. } = scene.kept().await else { panic!() };
        assert_eq!(why, "status 503");
        assert!((before + wait_ms..=now() + wait_ms).contains(&due), "{asked_for}: {}", due - before);
    }
    // Without a word of its own, half of the first wait to the whole.
    scene.send(parcel(9, "crm")).await;
    let (before, asked) = (now(), service.next().await);
    asked.answer(503);
    let Write::ParcelRetry { due, .. } = scene.kept().await else { panic!() };
    assert!((before + 15_000..=now() + 30_000).contains(&due), "{}", due - before);
}

#[tokio::test]
async fn a_service_that_is_gone_for_good_is_not_asked_again() {
    let mut service = Service::start().await;
    let mut scene = Scene::new(&in_force([("crm", webhook(&service.url, json!({})))]));
    scene.send(parcel(1, "crm")).await;
    service.next().await.answer(410);
    assert_eq!(scene.kept().await, Write::ParcelDead { id: 1, why: "status 410".into() });
    assert!(scene.store.outbox().unwrap().is_empty());
    assert_eq!(scene.count("crm", "dead"), "1");
    // Another parcel is asked for anew: what the test sees next is that one.
    scene.send(parcel(2, "crm")).await;
    assert_eq!(service.next().await.id(), 2);
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let (mut service, mut elsewhere) = (Service::start().await, Service::start().await);
    let mut scene = Scene::new(&in_force([("crm", webhook(&service.url, json!({})))]));
    scene.send(parcel(1, "crm")).await;
    for status in [301, 302, 307, 308] {
        service.next().await.answer_with(status, &[("location", &elsewhere.url)], "");
        let Write::ParcelRetry { why, .. } = scene.kept().await else { panic!() };
        assert_eq!(why, format!("status {status}"));
    }
    assert!(elsewhere.is_idle());
}

#[tokio::test]
async fn what_an_answer_says_beside_its_status_does_not_matter() {
    let mut service = Service::start().await;
    let mut scene = Scene::new(&in_force([("crm", webhook(&service.url, json!({})))]));
    for id in 0..3 {
        scene.send(parcel(id, "crm")).await;
        service.next().await.answer_with(200, &[], &"x".repeat(1 << 20));
        assert_eq!(scene.kept().await, Write::ParcelDone { id });
    }
}

#[tokio::test]
async fn a_parcel_is_given_up_when_its_time_is_over_and_not_before_one_attempt() {
    let mut service = Service::start().await;
    let patience = json!({ "give_up_after": "1h", "retry": { "first": "1h", "max": "1h" } });
    let mut scene = Scene::new(&in_force([("crm", webhook(&service.url, patience))]));
    // Written long ago: the process was away.
    let old = Parcel { created_at: now() - 3_600_001, ..parcel(1, "crm") };
    scene.send(old).await;
    service.next().await.answer(500);
    assert_eq!(scene.kept().await, Write::ParcelDead { id: 1, why: "status 500".into() });
    // A long wait does not lead beyond the end: the last attempt is there.
    let created_at = now() - 3_590_000;
    scene.send(Parcel { created_at, ..parcel(2, "crm") }).await;
    service.next().await.answer(503);
    let Write::ParcelRetry { due, .. } = scene.kept().await else { panic!() };
    // Both clocks are read in whole milliseconds.
    assert!(due.abs_diff(created_at + 3_600_000) <= 1, "{due}");
}
