//! Clients that send more than anybody needs to: it costs them their turn, and others nothing.

use super::raw::{FIN, Frame, RSV1, Raw, TEXT, frame};
use super::{GATEWAY, Talk, gateway, started};
use serde_json::json;

const DEFLATE: &str = "Sec-WebSocket-Extensions: permessage-deflate\r\n";

#[test]
fn pings_pongs_and_fragments_have_a_rate_and_none_is_lost() {
    let gateway = gateway("", "frames = { burst = 100, per = \"100ms\" }", "");
    let mut ann = gateway.client();
    let mut raw = Raw::upgrade(gateway.at(), "/ws", "");
    let pongs = frame(FIN | 10, b"").repeat(150);
    let message = [frame(TEXT, b"{\"type\":"), frame(0, b"").repeat(150), frame(FIN, b"\"ping\"}")].concat();
    let pings: Vec<u8> = (0..300u16).flat_map(|n| frame(FIN | 9, &n.to_be_bytes())).collect();
    raw.write(&[pongs, message, pings].concat());
    gateway.limit_hit("frames");
    ann.pings();
    assert_eq!(raw.frame(), Some(Frame(FIN | TEXT, br#"{"type":"pong"}"#.to_vec())));
    for n in 0..300u16 {
        assert_eq!(raw.frame(), Some(Frame(FIN | 10, n.to_be_bytes().to_vec())));
    }
}

#[test]
fn what_messages_ask_for_has_a_rate_and_none_is_lost() {
    let gateway = gateway("", "items = { burst = 100, per = \"100ms\" }", "");
    let (mut ann, mut raw) = (gateway.client(), Raw::upgrade(gateway.at(), "/whole", ""));
    let rooms: Vec<String> = (0..50).map(|n| format!("room:{n}")).collect();
    for n in 0..20 {
        raw.say(json!({ "type": "subs", "channels": rooms }));
        raw.say(json!({ "type": "unsubs", "channels": rooms }));
        raw.say(json!({ "type": "ping", "id": n }));
    }
    gateway.limit_hit("items");
    ann.pings();
    // Who leaves before all homes have answered is told of those that had.
    let mut pongs = 0;
    while pongs < 20 {
        let told = raw.hear().unwrap();
        match told["type"].as_str() {
            Some("pong") => {
                assert_eq!(told["id"], pongs);
                pongs += 1;
            }
            _ => assert_eq!(told["type"], "result", "{told}"),
        }
    }
}

#[test]
fn events_and_members_that_are_asked_for_count_as_many_as_there_are() {
    for kind in ["history", "presence"] {
        let gateway = gateway("", "items = { burst = 300, per = \"1h\" }", "");
        let (mut bob, channel) = (gateway.client(), if kind == "history" { "kept:1" } else { "crowd:1" });
        (0..100).for_each(|n| drop(gateway.publish("kept:1", json!(n))));
        let mut crowd: Vec<Talk> = (0..100).map(|_| gateway.client()).collect();
        crowd.iter_mut().for_each(|one| drop(one.subscribe("crowd:1")));
        let mut asks = |channel: &str| {
            bob.say(json!({ "type": kind, "channel": channel }));
            bob.hears(kind);
        };
        // An empty one costs what it is: nothing. A hundred of them may be asked for three times, and once on credit.
        (0..10).for_each(|_| asks(&format!("{channel}0")));
        (0..3).for_each(|_| asks(channel));
        gateway.client().pings();
        assert_eq!(gateway.metric("weir_limit_hits_total{limit=\"items\"}"), 0.0);
        asks(channel);
        gateway.limit_hit("items");
    }
}

#[test]
fn coming_to_a_crowd_counts_by_those_who_are_told() {
    let gateway = gateway("", "items = { burst = 20, per = \"1h\" }", "");
    let mut crowd: Vec<Talk> = (0..100).map(|_| gateway.client()).collect();
    crowd.iter_mut().for_each(|one| one.say(json!({ "type": "sub", "channel": "crowd:1" })));
    gateway.wait_for_metric("weir_subscriptions{app=\"app\"}", |n| n == 100.0);
    assert_eq!(gateway.metric("weir_limit_hits_total{limit=\"items\"}"), 0.0);
    let mut bob = gateway.client();
    for _ in 0..2 {
        bob.say(json!({ "type": "sub", "channel": "crowd:1" }));
        while bob.hear()["type"] != "ok" {}
        bob.say(json!({ "type": "unsub", "channel": "crowd:1" }));
    }
    gateway.limit_hit("items");
}

#[test]
fn what_handlers_do_for_a_client_counts_as_its_own() {
    const APP: &str = "listener = \"main\"\nplugin = \"app\"\n[limits]\nitems = { burst = 150, per = \"1h\" }\n\
        [[endpoint]]\npath = \"/ws\"\ndialect = \"d\"\n[dialect.d]\nreceive.many = { do = \"handler\", handler = \"many\" }\n\
        receive.ping = { do = \"ping\" }\nsend.pong = { type = \"pong\", id = \"{request.id}\" }\n";
    const PLUGIN: &str = "fn many(event) { for n in 0..100 { send(event.connection, #{ n: n }); } }\n";
    let files = [("gateway.toml", GATEWAY), ("channels/app.toml", APP), ("plugins/app.rhai", PLUGIN)];
    let gateway = started(&files, &[]);
    let mut bob = gateway.client();
    for (times, hits) in [(1, 0.0), (2, 1.0)] {
        bob.say(json!({ "type": "many" }));
        (0..100).for_each(|n| assert_eq!(bob.hear()["n"], n));
        if times == 2 {
            gateway.limit_hit("items");
        }
        assert_eq!(gateway.metric("weir_limit_hits_total{limit=\"items\"}"), hits);
    }
}

#[test]
fn who_is_not_read_for_a_while_owes_no_pong() {
    let limits = "items = { burst = 2, per = \"1s\" }\nping_interval = \"50ms\"\npong_timeout = \"50ms\"";
    let gateway = gateway("", limits, "");
    let mut raw = Raw::upgrade(gateway.at(), "/whole", "");
    for _ in 0..3 {
        raw.say(json!({ "type": "unsubs", "channels": ["room:1", "room:2", "room:3"] }));
    }
    raw.say(json!({ "type": "ping" }));
    let pong = |frame: &Frame| String::from_utf8_lossy(&frame.1).contains("pong");
    while !pong(&raw.frame().expect("it is not closed")) {}
}

#[test]
fn who_is_not_read_for_a_while_can_still_close() {
    let gateway = gateway("", "frames = { burst = 10, per = \"100ms\" }\nclose_timeout = \"10m\"", "");
    let mut raw = Raw::upgrade(gateway.at(), "/ws", "");
    raw.write(&[frame(FIN | 9, b"").repeat(30), frame(FIN | 8, b"")].concat());
    assert_eq!(raw.closed().0, 1005);
    assert_eq!(raw.frame(), None);
}

const RATED: &str = r#"
listener = "main"
[limits]
messages = { burst = 1, per = "1h" }
[[endpoint]]
path = "/ws"
dialect = "d"
[dialect.d]
receive.ping = { do = "ping" }
send.pong = { type = "pong", id = "{request.id}" }
send.error = { type = "error", code = "{error.code}", id = "{request.id}" }
"#;

#[test]
fn the_rate_is_asked_before_a_message_is_inflated_or_read() {
    let gateway = started(&[("gateway.toml", GATEWAY), ("channels/app.toml", RATED)], &[]);
    let mut raw = Raw::upgrade(gateway.at(), "/ws", DEFLATE);
    raw.say(json!({ "type": "ping", "id": 1 }));
    assert_eq!(raw.hear().unwrap(), json!({ "type": "pong", "id": 1 }));
    // The id is told where it is cheap to know.
    raw.say(json!({ "type": "ping", "id": 2 }));
    assert_eq!(raw.hear().unwrap(), json!({ "type": "error", "code": "rate_limited", "id": 2 }));
    raw.say(json!({ "type": "no such thing", "id": 3 }));
    assert_eq!(raw.hear().unwrap(), json!({ "type": "error", "code": "rate_limited", "id": 3 }));
    raw.say(json!({ "type": "ping", "id": 4, "pad": "x".repeat(100_000) }));
    assert_eq!(raw.hear().unwrap()["code"], "rate_limited");
    // Not JSON, not UTF-8, not DEFLATE: nobody looked.
    for unread in [frame(FIN | TEXT, b"{"), frame(FIN | TEXT, b"\xff"), frame(FIN | RSV1 | TEXT, b"\x07abc")] {
        raw.write(&unread);
        assert_eq!(raw.hear().unwrap()["code"], "rate_limited");
    }
}

#[test]
fn what_cannot_be_read_counts_as_a_message() {
    let gateway = gateway("", "messages = { burst = 5, per = \"1h\" }", "");
    let mut raw = Raw::upgrade(gateway.at(), "/ws", "");
    raw.write(&frame(FIN | TEXT, b"{").repeat(7));
    let codes: Vec<String> = (0..7).map(|_| raw.hear().unwrap()["code"].as_str().unwrap().to_owned()).collect();
    assert!(codes[..5].iter().all(|code| code != "rate_limited"), "{codes:?}");
    assert_eq!(codes[5..], ["rate_limited", "rate_limited"]);
}

#[test]
fn many_who_flood_do_not_keep_one_waiting_who_asks_little() {
    // One shard: all of them share it. Nobody of the flood reads.
    let gateway = gateway("shards = 1", "queue_bytes = \"64MiB\"", "");
    let flood = frame(FIN | TEXT, br#"{"type":"ping"}"#).repeat(3_000);
    let mut many: Vec<Raw> = (0..20).map(|_| Raw::upgrade(gateway.at(), "/ws", "")).collect();
    many.iter_mut().for_each(|raw| raw.write(&flood));
    let mut ann = gateway.client();
    ann.pings();
    // In order, and none is lost: it was only served in turns.
    for raw in &mut many {
        for _ in 0..3_000 {
            assert_eq!(raw.hear().unwrap()["type"], "pong");
        }
    }
}

#[test]
fn a_list_to_unsubscribe_from_is_bounded_as_one_to_subscribe_to() {
    let gateway = gateway("", "subscriptions = 3\nsubscribe_batch = 2", "");
    let mut raw = Raw::upgrade(gateway.at(), "/whole", "");
    raw.say(json!({ "type": "subs", "channels": ["room:1", "room:2"] }));
    // The two may have homes on two shards: whose answer comes first is not promised.
    assert_eq!(raw.hear().unwrap()["allowed"].as_array().map(Vec::len), Some(2));
    raw.say(json!({ "type": "unsubs", "channels": ["room:1", "room:2", "room:3", "room:4"] }));
    raw.say(json!({ "type": "ping" }));
    assert_eq!(raw.hear().unwrap()["type"], "pong");
    gateway.limit_hit("subscribe_batch");
    assert_eq!(gateway.publish("room:1", json!(1))["recipients"], 1);
    assert_eq!(raw.hear().unwrap()["data"], 1);
    raw.say(json!({ "type": "unsubs", "channels": ["room:1", "room:2", "room:3"] }));
    raw.say(json!({ "type": "ping" }));
    assert_eq!(raw.hear().unwrap()["type"], "pong");
    assert_eq!(gateway.publish("room:1", json!(1))["recipients"], 0);
}
