//! Several shards: order, recovery, copies and counts do not depend on where a channel or a connection lives.

use super::raw::{FIN, Raw, TEXT, frame};
use super::{Attacked, Talk, gateway, wait};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

const SHARDS: &str = "shards = 4";

#[test]
fn each_channel_is_heard_in_one_order_by_all() {
    const PUBLISHERS: usize = 8;
    const SUBSCRIBERS: usize = 16;
    const CHANNELS: usize = 12;
    const EACH: usize = 20;
    let gateway = gateway(SHARDS, "", "");
    let listeners: Vec<Talk> = (0..SUBSCRIBERS)
        .map(|_| {
            let mut talk = gateway.client();
            let names: Vec<String> = (0..CHANNELS).map(|c| format!("kept:{c}")).collect();
            talk.say(json!({ "type": "subs", "channels": names }));
            (0..CHANNELS).for_each(|_| drop(talk.hears("ok")));
            talk
        })
        .collect();
    let heard: Vec<BTreeMap<String, Vec<String>>> = thread::scope(|scope| {
        for p in 0..PUBLISHERS {
            let mut talk = gateway.client();
            scope.spawn(move || {
                for n in 0..EACH {
                    for c in 0..CHANNELS {
                        talk.publish(&format!("kept:{c}"), json!({ "p": p, "n": n }));
                    }
                }
                talk.pings();
            });
        }
        let reading = listeners.into_iter().map(|mut talk| {
            scope.spawn(move || {
                let mut heard: BTreeMap<String, Vec<String>> = BTreeMap::new();
                for _ in 0..PUBLISHERS * EACH * CHANNELS {
                    let told = talk.hears("msg");
                    let list = heard.entry(told["channel"].as_str().unwrap().to_owned()).or_default();
                    list.push(format!("{} {}", told["position"], told["data"]));
                }
                talk.pings();
                heard
            })
        });
        reading.collect::<Vec<_>>().into_iter().map(|r| r.join().unwrap()).collect()
    });
    for (channel, list) in &heard[0] {
        assert_eq!(list.len(), PUBLISHERS * EACH, "{channel}");
        for p in 0..PUBLISHERS {
            let own: Vec<u64> = list.iter().filter_map(|l| number_of(l, p)).collect();
            assert_eq!(own, (0..EACH as u64).collect::<Vec<_>>(), "{channel} of {p}");
        }
    }
    assert!(heard.iter().all(|one| *one == heard[0]), "two subscribers heard different orders");
}

fn number_of(line: &str, publisher: usize) -> Option<u64> {
    let data: Value = serde_json::from_str(&line[line.find('{')?..]).ok()?;
    (data["p"] == json!(publisher)).then(|| data["n"].as_u64())?
}

#[test]
fn who_comes_back_while_much_is_published_misses_nothing_and_hears_nothing_twice() {
    let gateway = gateway(SHARDS, "", "");
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let mut ann = gateway.client();
        ann.subscribe("kept:1");
        let (gateway, stop) = (&gateway, &stop);
        scope.spawn(move || {
            for n in 0.. {
                if stop.load(Ordering::Relaxed) {
                    break;
                }
                ann.publish("kept:1", json!(n));
                ann.hears("msg");
            }
        });
        let reading = scope.spawn(move || {
            let mut seen: Option<(u64, Value)> = None;
            for round in 0..60 {
                let mut ben = gateway.client();
                let since = seen.as_ref().map(|(_, position)| position.clone());
                ben.say(json!({ "type": "sub", "channel": "kept:1", "since": since }));
                let told = ben.hears("ok");
                if since.is_some() {
                    assert_eq!(told["recovered"], true, "{told}");
                }
                for _ in 0..5 {
                    let told = ben.hears("msg");
                    let n = told["data"].as_u64().unwrap();
                    if let Some((before, _)) = &seen {
                        assert_eq!(n, before + 1, "round {round}");
                    }
                    seen = Some((n, told["position"].clone()));
                }
                if round % 2 == 0 {
                    ben.0.drop_connection();
                }
            }
        });
        let result = reading.join();
        stop.store(true, Ordering::Relaxed);
        assert!(result.is_ok());
    });
}

/// Clients on all shards: the least loaded gets the next.
fn everywhere(gateway: &Attacked, path: &str) -> Vec<Talk> {
    (0..8).map(|_| gateway.talk(path)).collect()
}

#[test]
fn copies_reach_a_socket_once_and_recipients_are_sockets() {
    let gateway = gateway(SHARDS, "", "");
    let mut all = everywhere(&gateway, "/ws");
    for (n, talk) in all.iter_mut().enumerate() {
        for channel in [&["part:1", "parts", "part:2"][..], &["parts"], &["part:1"], &["room:1"]][n % 4] {
            talk.subscribe(channel);
        }
    }
    for n in 0..20 {
        assert_eq!(gateway.publish("part:1", json!(n))["recipients"], 6);
        assert_eq!(gateway.publish("part:2", json!(n + 100))["recipients"], 4);
    }
    for (n, talk) in all.iter_mut().enumerate() {
        talk.say(json!({ "type": "ping" }));
        let mut heard = Vec::new();
        loop {
            let told = talk.hear();
            match told["type"].as_str() {
                Some("msg") => heard.push(told["data"].as_u64().unwrap()),
                _ => break,
            }
        }
        let both = || (0..20).flat_map(|n| [n, n + 100]).collect::<Vec<u64>>();
        let expected = [both(), both(), (0..20).collect(), Vec::new()][n % 4].clone();
        assert_eq!(heard, expected, "client {n}");
    }
}

#[test]
fn who_is_born_on_a_channel_and_asks_for_it_hears_it_once() {
    let gateway = gateway(SHARDS, "", "");
    for n in 0..16 {
        let channel = format!("room:{n}");
        let mut ann = gateway.talk(&format!("/born/{n}"));
        ann.say(json!({ "type": "sub", "channel": channel }));
        ann.hears("ok");
        wait("its seat", || gateway.publish(&channel, json!("first"))["recipients"].as_u64() >= Some(1));
        assert_eq!(gateway.publish(&channel, json!("second"))["recipients"], 1, "{channel}");
        let heard: Vec<Value> = (0..).map(|_| ann.hears("msg")["data"].clone()).take_while(|d| d != "second").collect();
        assert!(heard.len() <= 1, "{heard:?}");
        ann.say(json!({ "type": "unsub", "channel": channel }));
        ann.hears("left");
        wait("its seat to be empty", || gateway.publish(&channel, json!("third"))["recipients"] == 0);
    }
}

#[test]
fn presence_is_who_is_there() {
    let gateway = gateway(SHARDS, "", "");
    let mut all = everywhere(&gateway, "/ws");
    let mut watcher = gateway.client();
    all.iter_mut().for_each(|talk| talk.say(json!({ "type": "sub", "channel": "crowd:1" })));
    let mut members = |count: usize| {
        wait("the members", || {
            watcher.say(json!({ "type": "presence", "channel": "crowd:1" }));
            watcher.hears("presence")["members"].as_array().unwrap().len() == count
        })
    };
    members(8);
    all.truncate(4);
    members(4);
    for talk in &mut all {
        talk.say(json!({ "type": "unsub", "channel": "crowd:1" }));
        talk.say(json!({ "type": "sub", "channel": "crowd:1" }));
        talk.say(json!({ "type": "unsub", "channel": "crowd:1" }));
    }
    members(0);
}

#[test]
fn who_flickers_is_seen_to_be_there_in_the_end() {
    let gateway = gateway(SHARDS, "", "");
    for n in 0..12 {
        let channel = format!("crowd:{n}");
        let (mut watcher, mut ann) = (gateway.client(), gateway.client());
        watcher.subscribe(&channel);
        // The second wish is on its way before the first is granted, where the channel lives elsewhere.
        for kind in ["sub", "unsub", "sub"] {
            ann.say(json!({ "type": kind, "channel": channel }));
        }
        wait("ann's seat", || gateway.publish(&channel, json!("end"))["recipients"] == 2);
        gateway.publish(&channel, json!("over"));
        let mut there = 0;
        loop {
            let told = watcher.hear();
            match told["type"].as_str() {
                Some("joined") => there += 1,
                Some("gone") => there -= 1,
                _ if told["data"] == "over" => break,
                _ => {}
            }
        }
        assert_eq!(there, 1, "{channel}");
    }
}

#[test]
fn a_wish_taken_back_before_it_is_granted_makes_nobody_deaf() {
    let gateway = gateway(SHARDS, "", "");
    for n in 0..12 {
        let mut ann = gateway.talk("/whole");
        ann.say(json!({ "type": "subs", "channels": ["room:stay"] }));
        assert_eq!(ann.hears("result")["allowed"], json!(["room:stay"]));
        let channel = format!("room:{n}");
        ann.say(json!({ "type": "subs", "channels": [channel] }));
        ann.say(json!({ "type": "unsub", "channel": channel }));
        ann.hears("result");
        gateway.publish("room:stay", json!(n));
        assert_eq!(ann.hears("msg")["data"], n);
    }
}

#[test]
fn a_channel_left_in_the_tick_of_its_last_event_may_be_joined_again() {
    for shards in ["shards = 1", SHARDS] {
        let gateway = gateway(shards, "", "");
        let mut watcher = gateway.client();
        watcher.subscribe("parts");
        for (n, channel) in ["room:1", "crowd:1", "kept:1", "part:1"].into_iter().cycle().take(40).enumerate() {
            let mut ann = Raw::upgrade(gateway.at(), "/ws", "");
            let say = |kind: &str| {
                frame(FIN | TEXT, json!({ "type": kind, "channel": channel, "data": n }).to_string().as_bytes())
            };
            // In one write, so that they come in one tick.
            let all = ["sub", "pub", "unsub", "sub", "pub", "unsub"];
            ann.write(&all.iter().flat_map(|kind| say(kind)).collect::<Vec<u8>>());
            ann.write(&say("ping"));
            while ann.hear().expect("it is answered")["type"] != "pong" {}
        }
        for _ in 0..20 {
            watcher.hears("msg");
        }
        watcher.pings();
    }
}
