//! What is wrong with a `[webhook.NAME]` is told all at once, and nothing secret with it.

use super::*;

fn compiled(settings: Value) -> Result<Webhook, Vec<String>> {
    let problems = |problems: Vec<crate::model::Problem>| {
        problems.into_iter().map(|p| format!("{}: {}; {}", p.path, p.what, p.expected.unwrap_or_default())).collect()
    };
    compile(&serde_json::from_value(settings).unwrap(), &resolve).map_err(problems)
}

#[test]
fn only_an_address_has_to_be_written() {
    let webhook = compiled(json!({ "url": "https://crm.example/hook" })).unwrap();
    assert_eq!(webhook.uri, "https://crm.example/hook");
    assert_eq!((webhook.timeout, webhook.give_up_after), (Ms::secs(10), Ms::secs(86_400)));
    assert_eq!(webhook.retry, Retry { first: Ms::secs(1), max: Ms::secs(300) });
    assert_eq!((webhook.concurrency, webhook.pending_max, webhook.pending_bytes), (4, 10_000, Size(64 << 20)));
    assert!(serde_json::from_value::<Settings>(json!({})).is_err());
    assert!(serde_json::from_value::<Settings>(json!({ "url": "http://a", "retries": 3 })).is_err());
}

#[test]
fn an_address_may_be_a_secret_and_is_never_shown() {
    let webhook = compiled(json!({ "url": { "env": "https://crm.example/key-123\n" } })).unwrap();
    assert_eq!(webhook.uri, "https://crm.example/key-123");
    assert!(!format!("{webhook:?}").contains("key-123"));
    let told = compiled(json!({ "url": { "env": "ftp://crm.example/key-123" } })).unwrap_err().concat();
    assert!(told.contains("not an http or https address") && !told.contains("key-123"), "{told}");
}

#[test]
fn all_mistakes_are_told_at_once() {
    let told = compiled(json!({
        "url": "crm.example", "secret": { "file": "crm.key" },
        "headers": { "two words": "1", "Webhook-Id": "1", "x-line": "a\nb", "x-key": { "file": "crm.key" } },
        "timeout": 0, "retry": { "first": "10m", "max": "1m" }, "give_up_after": "0s", "concurrency": 0, "pending_max": 0,
        "pending_bytes": 0,
    }));
    let zero = "nothing could ever be delivered with 0";
    assert_eq!(
        told.unwrap_err(),
        [
            "url: not an http or https address; such as `https://crm.example/hooks/weir`".to_string(),
            "headers.Webhook-Id: `webhook-id` is made by Weir for each call; ".into(),
            "headers.two words: not a header's name; ".into(),
            "headers.x-key: crm.key does not exist; ".into(),
            "headers.x-line: a value that no header may have; ".into(),
            "secret: crm.key does not exist; ".into(),
            format!("timeout: {zero}; such as `\"10s\"`"),
            format!("give_up_after: {zero}; such as `\"24h\"`"),
            format!("concurrency: {zero}; 1 or more"),
            format!("pending_max: {zero}; 1 or more"),
            format!("pending_bytes: {zero}; such as `\"64MiB\"`"),
            "retry.first: the first wait is longer than the longest: 600000ms, and 60000ms; `first` up to `max`".into(),
        ]
    );
    let empty = compiled(json!({ "url": "http://a", "secret": { "env": "whsec_" } })).unwrap_err();
    assert_eq!(empty, ["secret: an empty secret; "]);
}
