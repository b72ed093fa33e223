//! Memory that clients make the gateway hold: each byte has an app's account, and who fills one's costs no other's.

use super::raw::{FIN, Raw, TEXT, head};
use super::{Attacked, GATEWAY, LIMITS, MIB, Talk, started, wait};
use serde_json::{Value, json};

const A: &str = r#"
listener = "main"
plugin = "a"
[[endpoint]]
path = "/a"
dialect = "d"
[dialect.d]
type = "type"
receive.ping = { do = "ping" }
receive.sub = { do = "subscribe", channels = "channels" }
receive.pub = { do = "publish", channel = "channel", data = "data" }
receive.add = { do = "handler", handler = "add", entity = "note:{data.name}" }
receive.keep = { do = "handler", handler = "keep", entity = "keep:{data.name}" }
receive.slow = { do = "handler", handler = "slow", entity = "slow:{data.name}" }
send.pong = { type = "pong", id = "{request.id}" }
send.subscribed = { type = "ok", channel = "{channel}" }
send.error = { type = "error", code = "{error.code}" }
delivery = { envelope = "wrapped", message = { type = "msg", channel = "{channel}", data = "{data}" } }
[[channel]]
name = "last:{x}"
subscribe = "true"
publish = "true"
last = true
[[channel]]
name = "kept:{x}"
subscribe = "true"
publish = "true"
history = { keep = 10 }
"#;

const PLUGIN: &str = r#"
fn add(event) { this.note = event.data.note; reply(#{ type: "noted" }); }
fn keep(event) { set(event.data.name, event.data.note); reply(#{ type: "kept" }); }
fn slow(event) { let n = 0; while n < 20000 { n += 1; } }
"#;

fn two_apps(limits: &str) -> Attacked {
    let others: String = LIMITS.iter().map(|(n, v)| format!("{n} = {v}\n")).collect();
    let settings =
        format!("{GATEWAY}\n[limits]\n{limits}\n{others}violations = 1_000_000\n[store]\ndriver = \"memory\"\n");
    let b = A.replace("\"/a\"", "\"/ws\"").replace("plugin = \"a\"", "plugin = \"b\"");
    let files = [
        ("gateway.toml", &*settings),
        ("channels/a.toml", A),
        ("channels/b.toml", &b),
        ("plugins/a.rhai", PLUGIN),
        ("plugins/b.rhai", PLUGIN),
    ];
    started(&files, &[])
}

/// Newcomers, publishes and handlers of the other app, as if nothing had happened.
fn notices_nothing(gateway: &Attacked, b: &mut Talk) {
    let mut newcomer = gateway.talk("/ws");
    newcomer.say(json!({ "type": "sub", "channels": ["kept:1"] }));
    newcomer.hears("ok");
    b.say(json!({ "type": "pub", "channel": "kept:1", "data": "still here" }));
    assert_eq!(newcomer.hears("msg")["data"], "still here");
    b.say(json!({ "type": "add", "name": "one", "note": "n" }));
    b.hears("noted");
}

#[test]
fn a_flood_of_entities_is_refused_and_costs_no_other_app_anything() {
    let gateway = two_apps("memory = \"32MiB\"");
    let (mut a, mut b) = (gateway.talk("/a"), gateway.talk("/ws"));
    a.say(json!({ "type": "add", "name": "first", "note": "x" }));
    a.hears("noted");
    let before = gateway.memory("VmRSS");
    let note = "x".repeat(60_000);
    let mut refused = 0;
    for n in 0..1_000 {
        a.say(json!({ "type": "add", "name": n.to_string(), "note": note }));
        let told = a.hear();
        match told["type"].as_str() {
            Some("error") => {
                assert_eq!(told["code"], "limit");
                refused += 1;
            }
            _ => assert_eq!(told["type"], "noted"),
        }
    }
    let grown = gateway.memory("VmHWM").saturating_sub(before);
    assert!(refused > 500 && grown < 64 * MIB, "{refused} refused, {grown} bytes");
    notices_nothing(&gateway, &mut b);
    // What was there goes on, and so do the app's own newcomers.
    gateway.talk("/a").say(json!({ "type": "ping" }));
    a.say(json!({ "type": "add", "name": "first", "note": "y" }));
    a.hears("noted");
}

#[test]
fn tiny_entities_count_with_all_that_they_take() {
    let gateway = two_apps("memory = \"32MiB\"");
    let (mut a, mut b) = (gateway.talk("/a"), gateway.talk("/ws"));
    let before = gateway.memory("VmRSS");
    for n in 0..60 {
        for m in 0..1_000 {
            a.say(json!({ "type": "add", "name": format!("{n}.{m}"), "note": "ten bytes." }));
        }
        (0..1_000).for_each(|_| drop(a.hear()));
    }
    let grown = gateway.memory("VmHWM").saturating_sub(before);
    assert!(grown < 64 * MIB, "{grown} bytes");
    notices_nothing(&gateway, &mut b);
}

#[test]
fn last_values_are_bounded_and_the_quietest_go_first() {
    let gateway = two_apps("memory = \"32MiB\"\nhistory_bytes = \"8MiB\"");
    let (mut a, mut b) = (gateway.talk("/a"), gateway.talk("/ws"));
    notices_nothing(&gateway, &mut b);
    let before = gateway.memory("VmRSS");
    let value = "x".repeat(100_000);
    for n in 0..1_000 {
        a.say(json!({ "type": "pub", "channel": format!("last:{n}"), "data": value }));
    }
    a.pings();
    gateway.limit_hit("history_bytes");
    let grown = gateway.memory("VmHWM").saturating_sub(before);
    assert!(grown < 64 * MIB, "{grown} bytes");
    let mut late = gateway.talk("/a");
    late.say(json!({ "type": "sub", "channels": ["last:999"] }));
    late.hears("ok");
    late.hears("msg");
    notices_nothing(&gateway, &mut b);
}

#[test]
fn many_tiny_channels_with_long_names_count_with_all_that_they_take() {
    let gateway = two_apps("memory = \"32MiB\"");
    let (mut a, mut b) = (gateway.talk("/a"), gateway.talk("/ws"));
    let before = gateway.memory("VmRSS");
    let long = "n".repeat(200);
    for n in 0..100_000 {
        a.say(json!({ "type": "pub", "channel": format!("kept:{n}-{long}"), "data": 1 }));
        if n % 1_000 == 0 {
            a.pings();
        }
    }
    a.pings();
    let grown = gateway.memory("VmHWM").saturating_sub(before);
    assert!(grown < 64 * MIB, "{grown} bytes");
    // Shards that are idle now have told what they hold all the same.
    gateway.wait_for_metric("weir_channels{app=\"a\"}", |n| n > 1_000.0 && n < 50_000.0);
    notices_nothing(&gateway, &mut b);
}

#[test]
fn unfinished_messages_give_way_and_are_freed_at_once() {
    let gateway = two_apps("memory = \"32MiB\"\nclose_timeout = \"10m\"");
    let mut b = gateway.talk("/ws");
    let before = gateway.memory("VmRSS");
    let mut all: Vec<Raw> = Vec::new();
    for _ in 0..120 {
        // Until room is made, the app's own newcomers are told to come back.
        let mut raw = Raw::connect(gateway.at());
        raw.ask("/a", "");
        if !raw.headers().starts_with("HTTP/1.1 101 ") {
            continue;
        }
        raw.try_write(&[head(FIN | TEXT, 1 << 20, true), vec![0; 4], vec![b' '; (1 << 20) - 1]].concat());
        all.push(raw);
    }
    gateway.limit_hit("memory");
    notices_nothing(&gateway, &mut b);
    let grown = gateway.memory("VmHWM").saturating_sub(before);
    assert!(grown < 64 * MIB, "{grown} bytes");
    // None of them has gone, and hardly any byte of theirs is left.
    gateway.wait_for_metric("weir_memory_bytes{app=\"a\",kind=\"messages\"}", |n| n < 24.0 * MIB as f64);
    drop(all);
    gateway.wait_for_metric("weir_memory_bytes{app=\"a\",kind=\"messages\"}", |n| n == 0.0);
}

#[test]
fn the_answers_of_a_batch_are_bounded_together() {
    let gateway = two_apps("memory = \"32MiB\"");
    let (mut a, mut b) = (gateway.talk("/a"), gateway.talk("/ws"));
    (0..10).for_each(|_| a.say(json!({ "type": "pub", "channel": "kept:1", "data": "x".repeat(100_000) })));
    a.pings();
    let before = gateway.memory("VmRSS");
    let history = json!({ "history": { "channel": "kept:1" } });
    let batch = json!({ "app": "a", "commands": vec![history; 300] });
    let replies = gateway.asks("/api/batch", batch)["replies"].as_array().unwrap().clone();
    let (answered, refused): (Vec<&Value>, Vec<&Value>) = replies.iter().partition(|r| r["history"].is_object());
    assert_eq!(answered.len() + refused.len(), 300);
    assert!((1..9).contains(&answered.len()), "{} of 1 MB each", answered.len());
    assert!(refused.iter().all(|r| r["error"]["code"] == "too_large"), "{}", refused[0]);
    let grown = gateway.memory("VmHWM").saturating_sub(before);
    assert!(grown < 64 * MIB, "{grown} bytes");
    notices_nothing(&gateway, &mut b);
}

#[test]
fn answers_that_nobody_reads_are_counted() {
    const ROUTE: &str = "[[route]]\nget = \"/much\"\naccess = \"public\"\nhandler = \"much\"\n";
    // In JSON each of them takes six bytes.
    const MUCH: &str = "fn much(event) { let t = \"\\x01\"; t.pad(200_000, \"\\x01\"); #{ t: t } }\n";
    let settings = format!("{GATEWAY}\n[limits]\nmemory = \"32MiB\"\n[http]\nbody_timeout = \"60s\"\n");
    let b = A.replace("\"/a\"", "\"/ws\"").replace("plugin = \"a\"", "plugin = \"b\"");
    let (a, plugin) = (format!("{A}{ROUTE}"), format!("{PLUGIN}{MUCH}"));
    let files = [
        ("gateway.toml", &*settings),
        ("channels/a.toml", &*a),
        ("channels/b.toml", &b),
        ("plugins/a.rhai", &plugin),
        ("plugins/b.rhai", PLUGIN),
    ];
    let gateway = started(&files, &[]);
    let mut innocent = gateway.talk("/ws");
    let before = gateway.memory("VmRSS");
    // What the system's own buffers take of each is none of the gateway's memory: several answers a connection.
    let ask = "GET /much HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(20);
    let all: Vec<Raw> = (0..20)
        .map(|_| {
            let mut raw = Raw::connect(gateway.at());
            raw.try_write(ask.as_bytes());
            raw
        })
        .collect();
    gateway.limit_hit("memory");
    notices_nothing(&gateway, &mut innocent);
    let grown = gateway.memory("VmHWM").saturating_sub(before);
    assert!(grown < 64 * MIB, "{grown} bytes");
    drop(all);
}

#[test]
fn values_kept_in_memory_are_counted_and_the_next_is_refused() {
    let gateway = two_apps("memory = \"32MiB\"");
    let (mut a, mut b) = (gateway.talk("/a"), gateway.talk("/ws"));
    let before = gateway.memory("VmRSS");
    let mut refused = 0;
    for n in 0..600 {
        a.say(json!({ "type": "keep", "name": n.to_string(), "note": "x".repeat(100_000) }));
        let told = a.hear();
        match told["type"].as_str() {
            Some("error") => refused += 1,
            _ => assert_eq!(told["type"], "kept"),
        }
    }
    let grown = gateway.memory("VmHWM").saturating_sub(before);
    assert!(refused > 200 && grown < 64 * MIB, "{refused} refused, {grown} bytes");
    notices_nothing(&gateway, &mut b);
    // What is replaced by less makes room.
    (0..600).for_each(|n| a.say(json!({ "type": "keep", "name": n.to_string(), "note": "" })));
    (0..600).for_each(|_| drop(a.hear()));
    a.say(json!({ "type": "keep", "name": "new", "note": "x".repeat(100_000) }));
    a.hears("kept");
}

#[test]
fn a_crowd_of_slow_calls_does_not_stand_before_another_app_s() {
    let gateway = two_apps("");
    let (mut a, mut b) = (gateway.talk("/a"), gateway.talk("/ws"));
    for n in 0..2_000 {
        a.say(json!({ "type": "slow", "name": n.to_string() }));
    }
    a.say(json!({ "type": "ping" }));
    // A call may be too slow for its deadline.
    while a.hear()["type"] != "pong" {}
    b.say(json!({ "type": "add", "name": "one", "note": "n" }));
    b.hears("noted");
    assert!(gateway.metric("weir_handler_queue") > 100.0, "the crowd still waits");
}

#[test]
fn an_app_that_is_gone_leaves_no_time_series() {
    let gateway = two_apps("");
    let mut a = gateway.talk("/a");
    a.pings();
    gateway.wait_for_metric("weir_messages_received_total{app=\"a\"}", |n| n > 0.0);
    std::fs::remove_file(gateway.file("channels/a.toml")).unwrap();
    gateway.signal(libc::SIGHUP).unwrap();
    wait("its time series to end", || !gateway.metrics().contains("app=\"a\""));
    assert_eq!(gateway.metric("weir_connections{app=\"b\"}"), 0.0);
}
