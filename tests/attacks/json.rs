//! Text that is no JSON, JSON that is no message, messages that ask for too much.

use super::{MIB, Talk, gateway};
use crate::support::client::Got;
use serde_json::{Value, json};
use tungstenite::Message;

#[test]
fn every_wrong_message_is_refused_and_the_next_is_answered() {
    let gateway = gateway("", "violations = 1000", "");
    let mut ann = gateway.client();
    let deep = |open: &str, close: &str| format!("{}{}", open.repeat(100_000), close.repeat(100_000));
    let cases = [
        ("", "invalid_message"),
        ("null", "invalid_message"),
        ("[]", "invalid_message"),
        ("3", "invalid_message"),
        ("{", "invalid_message"),
        ("{}", "invalid_message"),
        (r#"{"type":1}"#, "invalid_message"),
        (r#"{"type":null}"#, "invalid_message"),
        (r#"{"type":["sub"]}"#, "invalid_message"),
        (r#"{"type":"nobody knows"}"#, "unknown_type"),
        (r#"{"type":"sub"}"#, "invalid_message"),
        (r#"{"type":"sub","channel":3}"#, "invalid_message"),
        (r#"{"type":"sub","channel":{}}"#, "invalid_message"),
        (r#"{"type":"subs","channels":"room:a:b:c"}"#, "unknown_channel"),
        (r#"{"type":"subs","channels":[1]}"#, "invalid_message"),
        (r#"{"type":"subs","channels":{"a":1}}"#, "invalid_message"),
        (r#"{"type":"pub","channel":"room:1"}"#, "invalid_message"),
        (r#"{"type":"sub","channel":"room:1","since":7}"#, "invalid_message"),
        (r#"{"type":"sub","channel":"kept:1","since":"no position"}"#, "invalid_message"),
        (r#"{"type":"ping"} trailing"#, "invalid_message"),
        ("{\"type\":\"ping\u{0}\"}", "invalid_message"),
        (r#"{"type":"\ud800"}"#, "invalid_message"),
        ("\u{feff}{\"type\":\"ping\"}", "invalid_message"),
    ];
    for (text, code) in cases {
        ann.0.send(Message::text(text)).unwrap();
        assert_eq!(ann.hears("error")["code"], code, "{text}");
    }
    for text in [deep("[", "]"), deep("{\"a\":", "}"), "[".repeat(200_000), deep("{\"type\":", "}")] {
        ann.0.send(Message::text(text)).unwrap();
        assert_eq!(ann.hears("error")["code"], "invalid_message");
    }
    ann.pings();
    // Deep data inside a message that is right is nobody's business but the readers'.
    ann.subscribe("room:deep");
    let data = deep("[", "]");
    ann.0.send(Message::text(format!(r#"{{"type":"pub","channel":"room:deep","data":{data}}}"#))).unwrap();
    match ann.next() {
        Got::Text(text) => assert!(text.contains(&data) || text.contains("invalid_message"), "{}", &text[..200]),
        other => panic!("{other:?}"),
    }
    ann.pings();
}

#[test]
fn names_that_are_no_channels_do_not_exist() {
    let gateway = gateway("", "violations = 1000", "");
    let mut ann = gateway.client();
    let names = [
        String::new(),
        ":".into(),
        "room:".into(),
        ":room".into(),
        "room::1".into(),
        "room:\u{0}".into(),
        "room:a\nb".into(),
        "room:\u{7f}".into(),
        "room:\u{85}".into(),
        format!("room:{}", "x".repeat(300)),
        format!("room:{}", "é".repeat(150)),
        vec!["a"; 1_000].join(":"),
        "room".into(),
        "room:1:2".into(),
        "Room:1".into(),
        "room:{id}".into(),
    ];
    for name in &names {
        for kind in ["sub", "pub", "history", "presence"] {
            ann.say(json!({ "type": kind, "channel": name, "data": 1 }));
            let told = ann.hear();
            if name == "room:{id}" {
                // A brace is a letter like any other: it must not be taken for the pattern's.
                assert!(matches!(told["type"].as_str(), Some("ok" | "msg" | "history" | "presence")), "{told}");
                continue;
            }
            assert_eq!(told["type"], "error", "{kind} {name:?}: {told}");
            assert!(["unknown_channel", "denied"].contains(&told["code"].as_str().unwrap()), "{kind} {name:?}: {told}");
        }
    }
    ann.say(json!({ "type": "pub", "channel": "heard:1", "data": 1 }));
    assert_eq!(ann.hears("error")["code"], "denied");
    ann.pings();
}

#[test]
fn a_thousand_subscriptions_at_once_and_ten_thousand_one_by_one_meet_the_bound() {
    let gateway = gateway("", "subscriptions = 200\nsubscribe_batch = 300\nviolations = 20_000", "");
    let mut ann = gateway.client();
    let names = |n: usize| (0..n).map(|n| format!("room:{n}")).collect::<Vec<_>>();
    ann.say(json!({ "type": "subs", "channels": names(1_000) }));
    assert_eq!(ann.hears("error")["code"], "limit");
    ann.say(json!({ "type": "subs", "channels": names(1_001) }));
    assert_eq!(ann.hears("error")["code"], "limit");
    ann.say(json!({ "type": "subs", "channels": names(300) }));
    let told: Vec<Value> = (0..300).map(|_| ann.hear()).collect();
    assert_eq!(told.iter().filter(|t| t["type"] == "ok").count(), 200);
    assert_eq!(told.iter().filter(|t| t["code"] == "limit").count(), 100);
    let mut bob = gateway.client();
    let (mut allowed, mut refused) = (0, 0);
    for slice in names(10_000).chunks(500) {
        slice.iter().for_each(|name| bob.say(json!({ "type": "sub", "channel": name })));
        for _ in slice {
            let told = bob.hear();
            allowed += (told["type"] == "ok") as usize;
            refused += (told["code"] == "limit") as usize;
        }
    }
    assert_eq!((allowed, refused), (200, 9_800));
    gateway.limit_hit("subscriptions");
    gateway.limit_hit("subscribe_batch");
    // A subscription of its own, twice: one seat, one event.
    bob.subscribe("room:0");
    assert_eq!(gateway.publish("room:0", json!(1))["recipients"], 2);
    assert_eq!(bob.hears("msg")["data"], 1);
    bob.pings();
    let most = gateway.memory("VmHWM");
    assert!(most < 100 * MIB, "{most} bytes");
}

#[test]
fn coming_and_going_in_one_breath_leaves_what_was_said_last() {
    let gateway = gateway("shards = 4", "", "");
    let (mut ann, mut ben) = (gateway.client(), gateway.client());
    for n in 0..200 {
        let channel = format!("room:{n}");
        let say = |client: &mut Talk, kind: &str| client.say(json!({ "type": kind, "channel": channel }));
        ["sub", "unsub", "sub"].iter().for_each(|kind| say(&mut ann, kind));
        ["sub", "unsub", "sub", "sub", "unsub"].iter().for_each(|kind| say(&mut ben, kind));
        for (client, leaves, hears) in [(&mut ann, 1, true), (&mut ben, 2, false)] {
            // Each is answered; when, depends on where the channel lives.
            let mut left = 0;
            client.say(json!({ "type": "ping" }));
            loop {
                match client.hear()["type"].as_str() {
                    Some("left") => left += 1,
                    Some("ok") => {}
                    Some("msg") if hears => {}
                    Some("pong") => break,
                    other => panic!("{other:?}"),
                }
            }
            assert_eq!(left, leaves);
        }
        let seats = || gateway.publish(&channel, json!(n))["recipients"].as_u64();
        super::wait("ann's seat", || seats() == Some(1));
    }
    // Ann hears each, Ben none of them.
    ben.pings();
}
