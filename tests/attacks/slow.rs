//! Readers that do not read: what waits for them is bounded, and nobody else notices.

use super::raw::{FIN, Frame, Raw, TEXT, frame, head};
use super::{Attacked, MIB, Talk, gateway, wait};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

const CLOSED: &str = "weir_slow_consumers_total{action=\"closed\",app=\"app\"}";
const DROPPED: &str = "weir_slow_consumers_total{action=\"dropped\",app=\"app\"}";
const CONFLATED: &str = "weir_slow_consumers_total{action=\"conflated\",app=\"app\"}";

fn padded(n: usize, bytes: usize) -> Value {
    json!({ "n": n, "pad": "x".repeat(bytes) })
}

/// Publishes one event after the other, each heard before the next.
fn publish_one_by_one(ann: &mut Talk, channel: &str, events: std::ops::Range<usize>, bytes: usize) {
    for n in events {
        ann.publish(channel, padded(n, bytes));
        let told = ann.hears("msg");
        assert_eq!((&told["channel"], &told["data"]["n"]), (&json!(channel), &json!(n)));
    }
}

fn closed_as_too_slow(mut sleeper: Raw) {
    assert_eq!(sleeper.closed(), (1013, "too slow".to_owned()));
}

#[test]
fn who_never_reads_is_closed_and_others_hear_everything() {
    let gateway = gateway("", "queue_bytes = \"256KiB\"\nclose_timeout = \"1m\"", "");
    let (mut ann, mut sleeper) = (gateway.client(), Raw::slow(gateway.at()));
    ann.subscribe("room:1");
    sleeper.subscribe("room:1");
    publish_one_by_one(&mut ann, "room:1", 0..300, 100_000);
    gateway.wait_for_metric(CLOSED, |n| n == 1.0);
    closed_as_too_slow(sleeper);
    let most = gateway.memory("VmHWM");
    assert!(most < 120 * MIB, "{most} bytes");
}

#[test]
fn drop_oldest_tells_how_many_are_missing_and_keeps_the_newest_in_order() {
    let gateway = gateway("", "queue_bytes = \"256KiB\"\nclose_timeout = \"1m\"", "");
    let (mut ann, mut sleeper) = (gateway.client(), Raw::slow(gateway.at()));
    ann.subscribe("drop:1");
    sleeper.subscribe("drop:1");
    publish_one_by_one(&mut ann, "drop:1", 0..400, 30_000);
    gateway.wait_for_metric(DROPPED, |n| n > 0.0);
    let (mut heard, mut missed) = (Vec::new(), 0);
    while heard.last() != Some(&399) {
        let told = sleeper.hear().expect("it is not closed");
        match told["type"].as_str() {
            Some("gap") => missed += told["missed"].as_u64().unwrap(),
            _ => heard.push(told["data"]["n"].as_u64().unwrap()),
        }
    }
    sleeper.say(json!({ "type": "ping" }));
    while let Some(told) = sleeper.hear().filter(|told| told["type"] != "pong") {
        missed += told["missed"].as_u64().expect("only gaps follow the newest");
    }
    assert!(heard.windows(2).all(|w| w[0] < w[1]), "{heard:?}");
    assert!(missed > 0);
    assert_eq!(heard.len() as u64 + missed, 400, "{heard:?}");
}

#[test]
fn drop_low_leaves_out_what_matters_least_and_never_what_is_urgent() {
    let gateway = gateway("", "queue_bytes = \"256KiB\"\nclose_timeout = \"1m\"", "");
    let mut sleeper = Raw::slow(gateway.at());
    sleeper.subscribe("low:1");
    let publish = |n: usize, priority: &str| {
        let data = padded(n, 30_000);
        gateway.publishes(json!({ "channel": "low:1", "data": data, "priority": priority }));
    };
    // One urgent among many: what the socket takes at first is none of the queue's.
    (0..400).for_each(|n| publish(n, if n % 100 == 50 { "urgent" } else { "low" }));
    gateway.wait_for_metric(DROPPED, |n| n > 0.0);
    publish(400, "urgent");
    let (mut heard, mut missed) = (Vec::new(), 0);
    while heard.last() != Some(&400) {
        let told = sleeper.hear().expect("it is not closed");
        match told["type"].as_str() {
            Some("gap") => missed += told["missed"].as_u64().unwrap(),
            _ => heard.push(told["data"]["n"].as_u64().unwrap()),
        }
    }
    assert!(missed > 0 && heard.windows(2).all(|w| w[0] < w[1]), "{heard:?}");
    assert!([50, 150, 250, 350].iter().all(|n| heard.contains(n)), "{heard:?}");
}

#[test]
fn conflate_keeps_the_newest_of_each_key() {
    let gateway = gateway("", "queue_bytes = \"256KiB\"\nclose_timeout = \"1m\"", "");
    let (mut ann, mut sleeper) = (gateway.client(), Raw::slow(gateway.at()));
    sleeper.subscribe("newest:1");
    // In bursts: several events come in one tick.
    for n in 0..1_000 {
        let key = format!("k{}", n % 5);
        ann.say(json!({ "type": "pub", "channel": "newest:1", "key": key, "data": padded(n, 20_000) }));
    }
    gateway.wait_for_metric("weir_publishes_total{app=\"app\",via=\"client\"}", |n| n == 1_000.0);
    gateway.wait_for_metric(CONFLATED, |n| n > 0.0);
    ann.pings();
    let mut newest: BTreeMap<u64, u64> = BTreeMap::new();
    let mut heard = 0;
    while newest.values().filter(|n| **n >= 995).count() < 5 {
        let told = sleeper.hear().expect("it is not closed");
        let n = told["data"]["n"].as_u64().unwrap();
        let before = newest.insert(n % 5, n);
        assert!(before.is_none_or(|before| before < n), "{before:?} before {n}");
        heard += 1;
    }
    assert!(heard < 1_000);
    sleeper.say(json!({ "type": "ping" }));
    assert_eq!(sleeper.hear().unwrap()["type"], "pong");
}

#[test]
fn a_slow_reader_that_left_a_channel_does_not_trip_over_it() {
    let gateway = gateway("", "queue_bytes = \"1MiB\"", "");
    let (mut ann, mut sleeper) = (gateway.client(), Raw::slow(gateway.at()));
    sleeper.subscribe("drop:1");
    sleeper.subscribe("drop:2");
    for n in 0..300 {
        ann.publish("drop:1", padded(n, 30_000));
    }
    gateway.wait_for_metric(DROPPED, |n| n > 0.0);
    sleeper.say(json!({ "type": "unsub", "channel": "drop:1" }));
    wait("the seat to be empty", || gateway.publish("drop:1", json!({ "n": 0 }))["recipients"] == 0);
    for n in 0..300 {
        ann.publish("drop:2", padded(n, 30_000));
    }
    ann.publish("drop:2", json!({ "n": 300 }));
    ann.pings();
    let mut last = None;
    while last != Some(300) {
        let told = sleeper.hear().expect("it is not closed");
        if told["channel"] == "drop:2" && told["type"] == "msg" {
            last = told["data"]["n"].as_u64();
        }
    }
}

#[test]
fn what_does_not_move_for_too_long_is_closed() {
    let gateway = gateway("", "queue_bytes = \"256MiB\"\nqueue_age = \"300ms\"", "");
    let (mut ann, mut sleeper) = (gateway.client(), Raw::slow(gateway.at()));
    sleeper.subscribe("room:1");
    for n in 0..100 {
        ann.publish("room:1", padded(n, 100_000));
    }
    gateway.limit_hit("queue_age");
    closed_as_too_slow(sleeper);
}

/// Something of the app had to go, and newcomers come all the same.
fn makes_room(gateway: &Attacked) {
    gateway.limit_hit("memory");
    wait("a newcomer to be let in", || Talk::to(gateway.at(), "/ws", &[]).is_ok());
}

#[test]
fn beyond_its_memory_the_gateway_closes_the_largest_queue() {
    // The small queues are on other shards than the large one.
    let gateway = gateway("shards = 3", "memory = \"4MiB\"\nclose_timeout = \"1m\"\nqueue_bytes = \"64MiB\"", "");
    let (mut ann, mut sleeper, mut small) = (gateway.client(), Raw::slow(gateway.at()), gateway.client());
    sleeper.subscribe("room:1");
    small.subscribe("room:2");
    let enough = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            for n in 0.. {
                // Not faster than the gateway takes it. Until the sleeper's shard has made room, some are refused.
                ann.publish("room:1", padded(n, 60_000));
                ann.say(json!({ "type": "ping" }));
                while ann.hear()["type"] != "pong" {}
                if enough.load(Ordering::Relaxed) {
                    break;
                }
            }
        });
        makes_room(&gateway);
        enough.store(true, Ordering::Relaxed);
    });
    closed_as_too_slow(sleeper);
    ann.publish("room:2", json!(2));
    assert_eq!(small.hears("msg")["data"], 2);
}

#[test]
fn messages_in_the_making_count_too() {
    let gateway = gateway("", "memory = \"4MiB\"\nmessage_bytes = \"3MiB\"", "");
    let mut half: Vec<Raw> = (0..4).map(|_| Raw::upgrade(gateway.at(), "/ws", "")).collect();
    for raw in &mut half {
        raw.write(&[head(FIN | TEXT, 3 << 20, true), vec![0; 4], vec![b' '; 2 << 20]].concat());
    }
    makes_room(&gateway);
    assert!(half.into_iter().any(|mut raw| {
        raw.try_write(&frame(FIN | 8, b""));
        matches!(raw.frame(), Some(Frame(0x88, payload)) if payload.starts_with(&1013u16.to_be_bytes()))
    }));
}

#[test]
fn history_gives_way_before_newcomers_are_turned_away_for_ever() {
    let gateway = gateway("", "memory = \"4MiB\"", "");
    let mut ann = gateway.client();
    for n in 0..120 {
        ann.publish(&format!("kept:{}", n % 8), padded(n, 60_000));
    }
    makes_room(&gateway);
    // Until the other shard has made room too, an event may be refused; afterwards none is. What its home says of it comes
    // before its history.
    for n in 0..8 {
        ann.say(json!({ "type": "history", "channel": format!("kept:{n}"), "limit": 1 }));
    }
    (0..8).for_each(|_| while ann.hear()["type"] != "history" {});
    ann.publish("kept:1", json!("room again"));
    ann.pings();
}

#[test]
fn many_large_answers_to_one_who_does_not_read_are_not_made() {
    let gateway = gateway("", "queue_bytes = \"1MiB\"", "");
    let (mut ann, mut sleeper) = (gateway.client(), Raw::slow(gateway.at()));
    for n in 0..60 {
        ann.publish("kept:1", padded(n, 60_000));
    }
    ann.pings();
    let question = frame(FIN | TEXT, json!({ "type": "history", "channel": "kept:1" }).to_string().as_bytes());
    sleeper.try_write(&question.repeat(200));
    gateway.wait_for_metric(CLOSED, |n| n == 1.0);
    let most = gateway.memory("VmHWM");
    assert!(most < 150 * MIB, "{most} bytes for answers that nobody reads");
    closed_as_too_slow(sleeper);
}

#[test]
fn an_answer_half_written_and_larger_than_the_bound_ends_one_connection_only() {
    let gateway = gateway("", "queue_bytes = \"64KiB\"\nclose_timeout = \"10m\"", "");
    let (mut ann, mut sleeper) = (gateway.client(), Raw::slow(gateway.at()));
    for n in 0..100 {
        ann.publish("kept:1", padded(n, 100_000));
    }
    ann.pings();
    // One is half written when the others come; each is larger than the queue may be.
    for _ in 0..30 {
        sleeper.say(json!({ "type": "history", "channel": "kept:1" }));
    }
    gateway.wait_for_metric(CLOSED, |n| n == 1.0);
    ann.pings();
    closed_as_too_slow(sleeper);
}

#[test]
fn events_larger_than_the_bound_end_one_connection_only() {
    for class in ["room:1", "drop:1", "newest:1"] {
        let gateway = gateway("", "queue_bytes = \"64KiB\"\nclose_timeout = \"10m\"", "");
        let (mut ann, mut sleeper) = (gateway.client(), Raw::slow(gateway.at()));
        sleeper.subscribe(class);
        for n in 0..20 {
            ann.publish(class, padded(n, 900_000));
        }
        ann.pings();
        if class != "drop:1" {
            gateway.wait_for_metric(CLOSED, |n| n == 1.0);
            closed_as_too_slow(sleeper);
        }
    }
}

#[test]
fn a_publisher_never_waits_for_a_reader() {
    // Nothing but the reader itself would end its wait.
    let gateway = gateway("", "queue_bytes = \"64MiB\"\nqueue_age = \"10m\"", "");
    let (mut sleeper, mut ann) = (Raw::slow(gateway.at()), gateway.client());
    sleeper.subscribe("newest:1");
    ann.subscribe("newest:1");
    for n in 0..200 {
        let body = json!({ "channel": "newest:1", "key": format!("k{n}"), "data": padded(n, 100_000) });
        assert_eq!(gateway.publishes(body)["recipients"], 2, "who is late is reached all the same");
        assert_eq!(ann.hears("msg")["data"]["n"], n);
    }
}

#[test]
fn events_without_a_key_replace_none() {
    let gateway = gateway("", "queue_bytes = \"64MiB\"\nqueue_age = \"10m\"", "");
    let (mut ann, mut sleeper) = (gateway.client(), Raw::slow(gateway.at()));
    sleeper.subscribe("newest:1");
    for n in 0..200 {
        ann.publish("newest:1", padded(n, 60_000));
    }
    ann.pings();
    for n in 0..200 {
        assert_eq!(sleeper.hear().unwrap()["data"]["n"], n);
    }
}

#[test]
fn more_keys_than_are_kept_close_the_reader() {
    let gateway = gateway("", "queue_bytes = \"64MiB\"\nqueue_age = \"10m\"\nclose_timeout = \"10m\"", "");
    let (mut ann, mut sleeper) = (gateway.client(), Raw::slow(gateway.at()));
    sleeper.subscribe("newest:1");
    for n in 0..1_500 {
        ann.say(json!({ "type": "pub", "channel": "newest:1", "key": format!("k{n}"), "data": padded(n, 20_000) }));
    }
    gateway.wait_for_metric(CLOSED, |n| n == 1.0);
    closed_as_too_slow(sleeper);
}

const HELD: &str = r#"
listener = "main"
plugin = "app"
[limits]
queue_bytes = "256KiB"
messages = { burst = 1_000_000, per = "1s" }
[[endpoint]]
path = "/ws"
dialect = "d"
[dialect.d]
receive.sub = { do = "subscribe", channels = "channels" }
receive.busy = { do = "handler", handler = "busy", entity = "room:one" }
receive.ping = { do = "ping" }
send.pong = { type = "pong", id = "{request.id}" }
send.subscribe_result = { type = "subs", allowed = "{allowed}" }
[[channel]]
name = "room:{r}"
subscribe = "true"
handler = { subscribe = "may", entity = "room:one" }
[[channel]]
name = "feed"
subscribe = "true"
"#;

#[test]
fn what_is_held_back_until_a_subscribe_message_is_answered_is_bounded_like_a_queue() {
    let plugin = "fn may(event) { }\nfn busy(event) { while true { } }\n";
    // The handler is busy for as long as it may be: the subscribe message behind it is not answered.
    let settings = format!("{}\n[script]\ndeadline = \"1m\"\noperations = 4_000_000_000\n", super::GATEWAY);
    let files = [("gateway.toml", &*settings), ("channels/app.toml", HELD), ("plugins/app.rhai", plugin)];
    let gateway = super::started(&files, &[]);
    let (mut busy, mut held) = (Raw::upgrade(gateway.at(), "/ws", ""), Raw::upgrade(gateway.at(), "/ws", ""));
    held.say(json!({ "type": "sub", "channels": ["feed"] }));
    assert_eq!(held.hear().unwrap()["allowed"], json!(["feed"]));
    busy.say(json!({ "type": "busy" }));
    busy.say(json!({ "type": "ping" }));
    assert_eq!(busy.hear().unwrap()["type"], "pong");
    held.say(json!({ "type": "sub", "channels": ["room:1"] }));
    held.say(json!({ "type": "ping" }));
    assert_eq!(held.hear().unwrap()["type"], "pong");
    // It is read all the time; what waits, waits for the handler. Each publisher is answered at once.
    let mut reached = 0;
    while reached < 3 || gateway.metric(CLOSED) == 0.0 {
        reached += gateway.publish("feed", padded(0, 50_000))["recipients"].as_u64().unwrap();
        assert!(reached < 100, "5 MB are held");
    }
    assert_eq!(held.closed(), (1013, "too slow".to_owned()));
}

#[test]
fn who_asks_and_never_listens_is_closed() {
    let gateway = gateway("", "queue_bytes = \"64KiB\"", "");
    let mut sleeper = Raw::slow(gateway.at());
    let pings = frame(FIN | 9, &[b'x'; 125]).repeat(4_000);
    wait("the end of patience", || !sleeper.try_write(&pings) || gateway.metric(CLOSED) > 0.0);
}

#[test]
fn who_answers_a_ping_is_asked_again_in_the_interval() {
    // Longer than any patience: a next ping that waited for the pong's deadline would not come.
    let gateway = gateway("", "ping_interval = \"20ms\"\npong_timeout = \"10m\"", "");
    let mut raw = Raw::upgrade(gateway.at(), "/ws", "");
    for _ in 0..5 {
        assert_eq!(raw.frame(), Some(Frame(0x89, Vec::new())));
        raw.write(&frame(FIN | 10, b""));
    }
}
