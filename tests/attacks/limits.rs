//! Every bound: what its client is told, and the counter that its operator sees.

use super::raw::{FIN, Frame, Raw, TEXT, frame};
use super::{Attacked, Talk, gateway};
use crate::support::client::Got;
use crate::support::words::{Captured, fill};
use serde_json::json;

fn token(user: &str) -> String {
    let word = format!("{{{{jwt {{\"sub\":\"{user}\"}}}}}}");
    fill(&word, &Captured::new(), &|_| Err(String::new())).unwrap()
}

fn as_user(gateway: &Attacked, user: &str) -> Talk {
    gateway.talk(&format!("/ws?token={}", token(user)))
}

fn refused(gateway: &Attacked) -> (u16, bool) {
    match Talk::to(gateway.at(), "/ws", &[]) {
        Err(Got::Http(reply)) => (reply.status, reply.header("retry-after").is_some()),
        Err(other) => panic!("{other:?}"),
        Ok(_) => panic!("it was let in"),
    }
}

fn let_in_again(gateway: &Attacked) {
    super::wait("a place", || Talk::to(gateway.at(), "/ws", &[]).is_ok());
}

#[test]
fn connections_of_the_process_and_of_an_address() {
    let gateway = gateway("", "connections = 3", "");
    let held: Vec<Talk> = (0..3).map(|_| gateway.client()).collect();
    assert_eq!(refused(&gateway), (503, true));
    gateway.limit_hit("connections");
    drop(held);
    let_in_again(&gateway);

    let gateway = super::gateway("", "connections_per_ip = 2", "");
    let held: Vec<Talk> = (0..2).map(|_| gateway.client()).collect();
    assert_eq!(refused(&gateway), (429, true));
    gateway.limit_hit("connections_per_ip");
    drop(held);
    let_in_again(&gateway);
}

#[test]
fn attempts_from_an_address() {
    let mut gateway = gateway("", "attempts_per_ip = { burst = 3, per = \"1h\" }\nattempts_loopback = true", "");
    (0..3).for_each(|_| gateway.client().pings());
    assert_eq!(refused(&gateway), (429, true));
    gateway.limit_hit("attempts_per_ip");
    gateway.ends();
}

#[test]
fn connections_of_an_app() {
    let gateway = gateway("", "app_connections = 1", "");
    let ann = gateway.client();
    assert_eq!(gateway.client().closed(), (1013, "overloaded".into()));
    gateway.limit_hit("app_connections");
    ann.0.leave();
    super::wait("a place", || {
        let mut ben = gateway.client();
        ben.say(json!({ "type": "ping" }));
        matches!(ben.next(), Got::Text(_))
    });
    gateway.wait_for_metric("weir_connections{app=\"app\"}", |n| n == 0.0);
}

#[test]
fn connections_of_a_user() {
    let gateway = gateway("", "connections_per_user = 2", "");
    let _held = [as_user(&gateway, "ann"), as_user(&gateway, "ann")];
    assert_eq!(as_user(&gateway, "ann").closed(), (1008, "too many connections".into()));
    let mut late = gateway.talk("/first");
    late.say(json!({ "type": "auth", "token": token("ann") }));
    assert_eq!(late.closed(), (1008, "too many connections".into()));
    as_user(&gateway, "ben").pings();
    gateway.limit_hit("connections_per_user");
}

#[test]
fn messages_of_a_connection_and_violations() {
    let gateway = gateway("", "messages = { burst = 10, per = \"1h\" }\nviolations = 3", "");
    let mut ann = gateway.client();
    (0..10).for_each(|_| ann.pings());
    for _ in 0..4 {
        ann.say(json!({ "type": "ping" }));
        assert_eq!(ann.hears("error")["code"], "rate_limited");
    }
    assert_eq!(ann.closed().0, 1008);
    gateway.limit_hit("messages");
    gateway.limit_hit("violations");
}

#[test]
fn messages_of_a_user_over_all_connections() {
    let gateway = gateway("shards = 2", "messages_per_user = { burst = 40, per = \"1h\" }\nviolations = 1000", "");
    let mut both = [as_user(&gateway, "ann"), as_user(&gateway, "ann")];
    let mut pongs = 0;
    for n in 0..60 {
        let ann = &mut both[n % 2];
        ann.say(json!({ "type": "ping" }));
        pongs += (ann.hear()["type"] == "pong") as usize;
    }
    assert_eq!(pongs, 40);
    gateway.limit_hit("messages_per_user");
    as_user(&gateway, "ben").pings();
    gateway.client().pings();
}

#[test]
fn nobody_waits_for_a_first_message_for_ever() {
    let gateway = gateway("", "auth_timeout = \"200ms\"", "");
    let mut ann = gateway.talk("/first");
    ann.say(json!({ "type": "sub", "channel": "room:1" }));
    assert_eq!(ann.hears("error")["code"], "unauthenticated");
    assert_eq!(ann.closed().0, 1008);
    gateway.limit_hit("auth_timeout");
}

#[test]
fn who_does_not_pong_is_gone() {
    let gateway = gateway("", "ping_interval = \"100ms\"\npong_timeout = \"200ms\"", "");
    let mut dead = Raw::upgrade(gateway.at(), "/ws", "");
    assert_eq!(dead.frame(), Some(Frame(FIN | 9, Vec::new())));
    assert_eq!(dead.closed(), (1001, "no answer to ping".into()));
    gateway.wait_for_metric("weir_connections_closed_total{app=\"app\",reason=\"no_pong\"}", |n| n == 1.0);
    // One that does lives on: three pings later it is still answered.
    let mut alive = Raw::upgrade(gateway.at(), "/ws", "");
    for _ in 0..3 {
        assert_eq!(alive.frame(), Some(Frame(FIN | 9, Vec::new())));
        alive.write(&frame(FIN | 10, b""));
    }
    alive.write(&frame(FIN | TEXT, br#"{"type":"ping"}"#));
    while alive.frame().expect("it lives") != Frame(FIN | TEXT, br#"{"type":"pong"}"#.to_vec()) {}
}

#[test]
fn the_idle_and_the_silent_are_closed() {
    let gateway = gateway("", "idle_timeout = \"200ms\"\nping_interval = \"off\"", "");
    assert_eq!(gateway.client().closed(), (1001, "idle".into()));
    gateway.wait_for_metric("weir_connections_closed_total{app=\"app\",reason=\"idle\"}", |n| n == 1.0);

    let gateway = super::gateway("", "message_idle_timeout = \"300ms\"\nping_interval = \"50ms\"", "");
    let mut raw = Raw::upgrade(gateway.at(), "/ws", "");
    // Pongs are no messages.
    let closed = loop {
        match raw.frame().expect("a close frame") {
            Frame(first, _) if first == FIN | 9 => drop(raw.try_write(&frame(FIN | 10, b""))),
            Frame(_, payload) => break payload,
        }
    };
    assert!(closed.starts_with(&1001u16.to_be_bytes()));
}

#[test]
fn who_does_not_answer_a_close_is_dropped() {
    let gateway = gateway("", "idle_timeout = \"100ms\"\nping_interval = \"off\"\nclose_timeout = \"200ms\"", "");
    let mut raw = Raw::upgrade(gateway.at(), "/ws", "");
    assert_eq!(raw.closed().0, 1001);
    assert_eq!(raw.frame(), None);
    gateway.wait_for_metric("weir_connections{app=\"app\"}", |n| n == 0.0);
}

#[test]
fn history_is_bounded_and_says_so() {
    let gateway = gateway("", "history_bytes = \"256KiB\"", "");
    let mut ann = gateway.client();
    let position = ann.subscribe("kept:old")["position"].clone();
    for n in 0..40 {
        ann.publish(&format!("kept:{n}"), json!("x".repeat(30_000)));
    }
    ann.publish("kept:old", json!("x".repeat(300_000)));
    ann.hears("msg");
    gateway.limit_hit("history_bytes");
    let mut ben = gateway.client();
    super::wait("an epoch of its own", || {
        ben.say(json!({ "type": "unsub", "channel": "kept:old" }));
        ben.hears("left");
        ben.say(json!({ "type": "sub", "channel": "kept:old", "since": position }));
        let told = ben.hears("ok");
        if told["recovered"] == true {
            ben.hears("msg");
        }
        told["recovered"] == false
    });
}
