//! Files changed under a running gateway, with sockets open. What is waited for is a status or a message, never time.

use crate::support::client::{Client, Got};
use crate::support::gateway::PATIENCE;
use crate::support::live::{Live, ROOM, connect, hear, hex, pong, publish, say, subscribe};
use crate::support::rows::RowService;
use serde_json::{Value, json};
use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

#[test]
fn a_good_edit_is_in_force_on_an_open_socket() {
    let mut live = Live::start(&[]);
    let before = live.wait_for_generation(1);
    assert_eq!((live.pong().as_str(), &before["last_reload"]), ("first", &Value::Null));
    live.edit(ROOM, "\"first\"", "\"second\"");
    let after = live.wait_for_generation(2);
    assert_eq!(live.pong(), "second");
    assert_ne!(before["digest"], after["digest"]);
    let file = live.path(ROOM).display().to_string();
    assert_eq!(after["files"][&file], hex(live.read(ROOM)));
    assert_eq!(after["last_reload"]["by"], "file watch");
    assert_eq!(live.metric("weir_config_generation"), 2.0);
    assert_eq!(live.metric("weir_config_reloads_total{result=\"success\"}"), 1.0);
    live.end();
}

#[test]
fn a_bad_edit_changes_nothing_until_it_is_mended() {
    let mut live = Live::start(&[]);
    let good = live.read(ROOM);
    live.write(ROOM, good.replace("publish   = \"true\"\n", "publish   = \"true\"\noverflow  = \"forevr\"\n"));
    live.wait_for_fault("forevr");
    assert_eq!(live.metric("weir_config_last_reload_successful"), 0.0);
    assert_eq!(live.metric("weir_config_reloads_total{result=\"fault\"}"), 1.0);
    live.gateway.wait_for_log(&["room.toml:25:13", "unknown overflow `forevr`"]).unwrap();
    live.write(ROOM, good);
    let status = live.wait(|status| status["last_reload"]["result"] == "unchanged");
    assert_eq!((&status["generation"], &status["last_reload"]["faults"]), (&json!(1), &json!([])));
    assert_eq!(live.metric("weir_config_last_reload_successful"), 1.0);
    live.edit(ROOM, "\"first\"", "\"second\"");
    live.wait_for_generation(2);
    assert_eq!(live.pong(), "second");
    live.end();
}

#[test]
fn what_is_no_readable_file_changes_nothing() {
    let mut live = Live::start(&[]);
    let good = live.read(ROOM);
    live.write(ROOM, [&b"# latin \xff\n"[..], good.as_bytes()].concat());
    live.wait_for_fault("not UTF-8");
    live.write(ROOM, vec![b'#'; 50 << 20]);
    live.wait_for_fault("larger than");
    live.write(ROOM, "");
    live.wait_for_fault("this file is empty");
    fs::remove_file(live.path(ROOM)).unwrap();
    fs::create_dir(live.path(ROOM)).unwrap();
    live.wait(|status| status["last_reload"]["faults"].to_string().contains("is a folder"));
    fs::remove_dir(live.path(ROOM)).unwrap();
    live.write(ROOM, &good);
    live.end_after("third", &good);
}

#[test]
fn a_half_written_file_waits_for_its_other_half() {
    let mut live = Live::start(&[]);
    let whole = live.read(ROOM).replace("\"first\"", "\"second\"");
    live.write(ROOM, &whole[..whole.len() / 2]);
    live.wait(|status| status["last_reload"]["result"] == "fault");
    assert_eq!(live.pong(), "first");
    live.write(ROOM, &whole);
    live.wait_for_generation(2);
    assert_eq!(live.pong(), "second");
    live.end();
}

#[test]
fn a_save_by_renaming_counts_each_time() {
    let mut live = Live::start(&[]);
    for (number, answer) in [(2, "second"), (3, "third"), (4, "fourth")] {
        let text = live.read(ROOM);
        let (head, tail) = text.split_once("answer = \"").unwrap();
        let text = format!("{head}answer = \"{answer}\"{}", tail.split_once('"').unwrap().1);
        live.write("channels/.room.toml.swp", &text);
        fs::rename(live.path("channels/.room.toml.swp"), live.path(ROOM)).unwrap();
        live.wait_for_generation(number);
        assert_eq!(live.pong(), answer);
    }
    live.end();
}

#[test]
fn a_swapped_symlink_counts_as_kubernetes_does_it() {
    use std::os::unix::fs::symlink;
    let mut live = Live::start(&[]);
    let good = live.read(ROOM);
    for (version, answer) in [("..v1", "first"), ("..v2", "second"), ("..v3", "third")] {
        fs::create_dir(live.path("channels").join(version)).unwrap();
        let text = good.replace("\"first\"", &format!("{answer:?}"));
        live.write(&format!("channels/{version}/room.toml"), text);
        symlink(version, live.path("channels/..data_tmp")).unwrap();
        fs::rename(live.path("channels/..data_tmp"), live.path("channels/..data")).unwrap();
        if version == "..v1" {
            symlink("..data/room.toml", live.path("channels/next.toml")).unwrap();
            fs::rename(live.path("channels/next.toml"), live.path(ROOM)).unwrap();
            continue;
        }
        let file = live.path(ROOM).display().to_string();
        let digest = hex(live.read(ROOM));
        live.wait(|status| status["files"][&file] == digest.as_str());
        assert_eq!(live.pong(), answer);
    }
    live.end();
}

#[test]
fn of_twenty_edits_in_a_second_the_last_wins() {
    let live = Live::start(&[]);
    let good = live.read(ROOM);
    for n in 0..20 {
        live.write(ROOM, good.replace("\"first\"", &format!("\"edit {n}\"")));
        thread::sleep(Duration::from_millis(40));
    }
    live.end_after("edit 20", &good);
}

#[test]
fn a_polled_folder_counts_too() {
    let mut live = Live::start(&[("WEIR_RELOAD__WATCH", "poll"), ("WEIR_RELOAD__POLL_INTERVAL", "50ms")]);
    live.edit(ROOM, "\"first\"", "\"second\"");
    live.wait_for_generation(2);
    assert_eq!(live.pong(), "second");
    live.end();
}

#[test]
fn a_signal_puts_files_in_force() {
    let mut live = Live::unwatched();
    live.edit(ROOM, "\"first\"", "\"second\"");
    assert_eq!((live.pong(), live.status()["generation"].clone()), ("first".into(), json!(1)));
    live.gateway.signal(libc::SIGHUP).unwrap();
    let status = live.wait_for_generation(2);
    assert_eq!((live.pong().as_str(), &status["last_reload"]["by"]), ("second", &json!("SIGHUP")));
    live.end();
}

#[test]
fn a_request_waits_for_what_came_of_it() {
    let mut live = Live::unwatched();
    let (status, told) = live.reload();
    assert_eq!((status, &told["generation"], &told["changed"]), (200, &json!(1), &json!([])), "{told}");
    live.edit(ROOM, "\"first\"", "\"second\"");
    let (status, told) = live.reload();
    let file = live.path(ROOM).display().to_string();
    assert_eq!((status, &told["generation"], &told["changed"]), (200, &json!(2), &json!([file])), "{told}");
    assert_eq!(live.pong(), "second");
    live.edit(ROOM, "publish   = \"true\"", "publsh    = \"true\"");
    let (status, told) = live.reload();
    assert_eq!((status, &told["code"]), (422, &json!("invalid_config")), "{told}");
    assert_eq!(told["faults"].as_array().map(Vec::len), Some(2), "{told}");
    assert!(told["faults"][0]["hint"].to_string().contains("publish"), "{told}");
    assert_eq!(live.admin("GET", "/admin/reload", &[]).0, 405);
    let key = |key: &str| [("authorization".to_string(), format!("Bearer {key}"))];
    assert_eq!(live.admin("POST", "/admin/reload", &key("guessed")).0, 401);
    assert_eq!(live.admin("POST", "/admin/reload", &key("dev-publisher-key")).0, 403);
    assert_eq!(live.admin("GET", "/admin/config", &key("dev-weir-api-key")).0, 200);
    live.end();
}

#[test]
fn what_needs_a_restart_refuses_all_of_it() {
    let mut live = Live::unwatched();
    live.edit("gateway.toml", "shards = 2", "shards = 3\n[log]\nformat = \"json\"\n[store]\nqueue_bytes = \"1MiB\"");
    live.edit(ROOM, "\"first\"", "\"second\"");
    let (status, told) = live.reload();
    assert_eq!(status, 422);
    let told: Vec<&str> = told["faults"].as_array().unwrap().iter().filter_map(|f| f["what"].as_str()).collect();
    let wanted = [
        "`shards` takes a restart to change: `2` is in force, `3` is written here",
        "`log.format` takes a restart to change: `text` is in force, `json` is written here",
        "`store.queue_bytes` takes a restart to change: `67108864` is in force, `1048576` is written here",
    ];
    assert_eq!(told, wanted);
    assert_eq!(live.pong(), "first");
    live.end();
}

#[test]
fn a_subscription_that_is_no_longer_allowed_is_taken_back() {
    let mut live = Live::unwatched();
    subscribe(&mut live.ann, "room:1");
    subscribe(&mut live.ann, "hall:1");
    live.edit(
        ROOM,
        "name      = \"room:{id}\"\nsubscribe = \"true\"",
        "name      = \"room:{id}\"\nsubscribe = \"false\"",
    );
    assert_eq!(live.reload().0, 200);
    assert_eq!(hear(&mut live.ann), json!({ "type": "revoked", "channel": "room:1" }));
    let mut ben = connect(&live.gateway);
    publish(&mut ben, "room:1", json!({ "n": 1 }));
    publish(&mut ben, "hall:1", json!({ "n": 2 }));
    assert_eq!(hear(&mut live.ann), json!({ "n": 2 }));
    say(&mut live.ann, json!({ "type": "sub", "channel": "room:1" }));
    assert_eq!(hear(&mut live.ann)["code"], "denied");
    assert_eq!(live.metric("weir_config_revoked_subscriptions_total"), 1.0);
    live.gateway.wait_for_log(&["subscription no longer allowed", "room:1"]).unwrap();
    live.end();
}

#[test]
fn a_class_that_is_gone_takes_its_subscriptions_along() {
    for (revoke, told) in [("report", None), ("disconnect", Some(Got::Close(1008, "no longer allowed".into())))] {
        let mut live = Live::start(&[("WEIR_RELOAD__WATCH", "off"), ("WEIR_RELOAD__REVOKE", revoke)]);
        subscribe(&mut live.ann, "hall:1");
        let text = live.read(ROOM);
        live.write(ROOM, text.split("[[channel]]\nname      = \"hall").next().unwrap());
        assert_eq!(live.reload().0, 200);
        live.gateway.wait_for_log(&["subscription no longer allowed", "hall:1"]).unwrap();
        match told {
            Some(close) => assert_eq!(live.ann.next().unwrap(), close),
            None => assert_eq!(live.pong(), "first"),
        }
        live.end();
    }
}

#[test]
fn ten_thousand_revocations_stall_nobody() {
    let mut live = Live::unwatched();
    let mut crowd: Vec<Client> = (0..50).map(|_| connect(&live.gateway)).collect();
    for client in &mut crowd {
        (0..200).for_each(|n| say(client, json!({ "type": "sub", "channel": format!("room:{n}") })));
        (0..200).for_each(|_| assert_eq!(hear(client)["type"], "ok"));
    }
    live.edit(
        ROOM,
        "name      = \"room:{id}\"\nsubscribe = \"true\"",
        "name      = \"room:{id}\"\nsubscribe = \"false\"",
    );
    assert_eq!(live.reload().0, 200);
    assert_eq!(live.pong(), "first");
    for client in &mut crowd {
        (0..200).for_each(|_| assert_eq!(hear(client)["type"], "revoked"));
        assert_eq!(pong(client), "first");
    }
    assert_eq!(live.metric("weir_config_revoked_subscriptions_total"), 10_000.0);
    live.end();
}

#[test]
fn an_app_comes_with_its_listener_and_goes_with_it() {
    let mut live = Live::unwatched();
    let (gateway, annex) = (live.read("gateway.toml"), live.read(ROOM).replace("\"main\"", "\"annex\""));
    live.write("channels/annex.toml", &annex);
    assert_eq!(live.reload().0, 422); // its listener is not there yet
    live.write("gateway.toml", format!("{gateway}\n[listener.annex]\naddress = \"127.0.0.1:0\"\n"));
    assert_eq!(live.reload().0, 200);
    live.gateway.wait_for_log(&["weir: listening annex "]).unwrap();
    let output = live.gateway.output();
    let address = output.lines().find_map(|l| l.strip_prefix("weir: listening annex ")).unwrap().trim();
    let mut ben = Client::connect(address, "/room", &[]).unwrap();
    subscribe(&mut ben, "room:1");
    subscribe(&mut live.ann, "room:1");
    publish(&mut ben, "room:1", json!("of the annex"));
    assert_eq!(hear(&mut ben), json!("of the annex"));
    // Only the app goes, and nobody listens at another address than before.
    fs::remove_file(live.path("channels/annex.toml")).unwrap();
    assert_eq!(live.reload().0, 200);
    assert_eq!(ben.next().unwrap(), Got::Close(1012, "app removed".into()));
    assert_eq!(Client::connect(address, "/room", &[]).unwrap().upgrade.status, 404);
    // It comes back, and then its listener goes.
    live.write(
        "channels/annex.toml",
        annex
            .replace("\"annex\"", "\"main\"")
            .replace("path    = \"/room\"", "path    = \"/annex\"\nlistener = \"annex\""),
    );
    assert_eq!(live.reload().0, 200);
    let mut ben = Client::connect(address, "/annex", &[]).unwrap();
    assert_eq!(pong(&mut ben), "first");
    fs::remove_file(live.path("channels/annex.toml")).unwrap();
    live.write("gateway.toml", &gateway);
    assert_eq!(live.reload().0, 200);
    assert!(matches!(ben.next().unwrap(), Got::Close(1012, _)));
    assert!(Client::connect(address, "/annex", &[]).is_err());
    assert_eq!(live.pong(), "first");
    live.end();
}

#[test]
fn connections_of_a_listener_that_moved_are_closed() {
    let mut live = Live::unwatched();
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    live.edit(
        "gateway.toml",
        "[listener.main]\naddress = \"127.0.0.1:0\"",
        &format!("[listener.main]\naddress = \"{free}\""),
    );
    let (status, told) = live.reload();
    assert_eq!(status, 200, "{told}");
    assert_eq!(live.ann.next().unwrap(), Got::Close(1012, "listener removed".into()));
    let mut ben = Client::connect(&free.to_string(), "/room", &[]).unwrap();
    assert_eq!(pong(&mut ben), "first");
    assert_eq!(live.gateway.panics(), None);
}

#[test]
fn an_address_that_is_taken_is_a_fault() {
    let mut live = Live::unwatched();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let listener = format!("\n[listener.annex]\naddress = \"{}\"\n", taken.local_addr().unwrap());
    live.write("gateway.toml", live.read("gateway.toml") + listener.as_str());
    let (status, told) = live.reload();
    assert_eq!(status, 422);
    assert!(told["faults"][0]["what"].as_str().unwrap().contains("[listener.annex] cannot listen on"), "{told}");
    assert_eq!(live.pong(), "first");
    live.end();
}

#[test]
fn numbers_that_change_place_mix_nothing_up() {
    let mut live = Live::unwatched();
    subscribe(&mut live.ann, "hall:1");
    publish(&mut live.ann, "hall:1", json!(1));
    assert_eq!(hear(&mut live.ann), json!(1));
    // Other classes and another endpoint before those in use.
    let endpoint = "[[endpoint]]\npath    = \"/echo\"\ndialect = \"echo\"\n\n[[endpoint]]\npath    = \"/room\"";
    live.edit(ROOM, "[[endpoint]]\npath    = \"/room\"", endpoint);
    live.edit(
        ROOM,
        "[[channel]]\nname      = \"room",
        "[[channel]]\nname = \"attic\"\n\n[[channel]]\nname      = \"room",
    );
    assert_eq!(live.reload().0, 200);
    assert_eq!(live.pong(), "first");
    let mut ben = connect(&live.gateway);
    publish(&mut ben, "hall:1", json!(2));
    assert_eq!(hear(&mut live.ann), json!(2));
    // History outlives the reload, and goes on.
    let keys = [("authorization".to_string(), "Bearer dev-weir-api-key".to_string())];
    let (status, history) = live.admin("GET", "/api/history?app=room&channel=hall:1", &keys);
    assert_eq!((status, history["events"].as_array().map(Vec::len)), (200, Some(2)), "{history}");
    live.end();
}

/// While files change fifty times: what is published is heard once, in order.
#[test]
fn nothing_is_lost_and_nothing_is_doubled_while_files_change() {
    let mut live = Live::unwatched();
    let good = live.read(ROOM);
    let (mut ann, mut ben) = (connect(&live.gateway), connect(&live.gateway));
    subscribe(&mut ann, "room:1");
    subscribe(&mut ann, "hall:1");
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let publisher = scope.spawn(|| {
            let mut n = 0;
            while !done.load(Ordering::Relaxed) || n % 2 == 1 {
                publish(&mut ben, ["room:1", "hall:1"][n % 2], json!({ "n": n }));
                n += 1;
                // As fast as they are heard of: the gateway answers in between.
                if n % 16 == 0 {
                    pong(&mut ben);
                }
            }
            publish(&mut ben, "room:1", json!({ "last": n }));
            n
        });
        let reader = scope.spawn(|| {
            let (mut heard, mut last) = ([Vec::new(), Vec::new()], None);
            while last.is_none() {
                let told = hear(&mut ann);
                match told["n"].as_u64() {
                    Some(n) => heard[n as usize % 2].push(n),
                    None => last = told["last"].as_u64(),
                }
            }
            // What was published before on the other channel is here at the next answer from its home.
            while (heard[1].len() as u64) < last.unwrap() / 2 {
                let n = hear(&mut ann)["n"].as_u64().unwrap();
                heard[n as usize % 2].push(n);
            }
            heard
        });
        for n in 0..50 {
            let classes = if n % 2 == 0 {
                "[[channel]]\nname = \"attic\"\n\n[[channel]]\nname      = \"room"
            } else {
                "[[channel]]\nname      = \"room"
            };
            // And each time they are numbered elsewhere, the one beside the other.
            let home = format!("\nhome      = \"{}\"\nsubscribe", n / 3);
            let text = good.replace("\"first\"", &format!("\"edit {n}\""));
            let text = text.replace("\nsubscribe", &home).replace("[[channel]]\nname      = \"room", classes);
            live.write(ROOM, text);
            let (status, told) = live.reload();
            assert_eq!((status, &told["generation"]), (200, &json!(n + 2)), "{told}");
        }
        done.store(true, Ordering::Relaxed);
        let published = publisher.join().unwrap() as u64;
        let heard = reader.join().unwrap();
        for (parity, heard) in heard.iter().enumerate() {
            let all: Vec<u64> = (0..published).filter(|n| *n as usize % 2 == parity).collect();
            assert!(*heard == all, "published {published}, heard {} of {}", heard.len(), all.len());
        }
        assert!(published > 50, "{published}");
    });
    assert_eq!(live.pong(), "edit 49");
    live.end();
}

/// A row decides: the tables of an app are part of its rules.
#[test]
fn a_changed_row_takes_subscriptions_back() {
    let mut live = Live::unwatched();
    fs::create_dir_all(live.path("channels/data")).unwrap();
    live.write("channels/data/rooms.json", r#"{"1": {"open": true}, "2": {"open": true}}"#);
    let table = "[table.rooms]\nfile = \"data/rooms.json\"\n\n[[channel]]\nname      = \"room";
    live.edit(ROOM, "[[channel]]\nname      = \"room", table);
    live.edit(
        ROOM,
        "name      = \"room:{id}\"\nsubscribe = \"true\"",
        "name      = \"room:{id}\"\nsubscribe = \"tables.rooms[id].open\"",
    );
    let (status, told) = live.reload();
    assert_eq!(status, 200, "{told:#}");
    subscribe(&mut live.ann, "room:1");
    subscribe(&mut live.ann, "room:2");
    live.write("channels/data/rooms.json", r#"{"1": {"open": false}, "2": {"open": true}}"#);
    assert_eq!(live.reload().0, 200);
    assert_eq!(hear(&mut live.ann), json!({ "type": "revoked", "channel": "room:1" }));
    assert_eq!(live.pong(), "first");
    live.end();
}

/// Rooms that are open where a service says so; ann is in two of them.
fn rooms_of(service: &RowService, revoke: &str) -> Live {
    let mut live = Live::unwatched();
    live.write("gateway.toml", format!("{}\n[reload]\nrevoke = {revoke:?}\n", live.read("gateway.toml")));
    let table = format!("[table.rooms]\nurl = {:?}\nttl = \"50ms\"\n\n[[channel]]\nname      = \"room", service.url);
    live.edit(ROOM, "[[channel]]\nname      = \"room", &table);
    live.edit(
        ROOM,
        "name      = \"room:{id}\"\nsubscribe = \"true\"",
        "name      = \"room:{id}\"\nsubscribe = \"tables.rooms[id].open\"",
    );
    assert_eq!(live.reload().0, 200);
    for room in ["1", "2"] {
        service.set(room, json!({ "open": true }));
        subscribe(&mut live.ann, &format!("room:{room}"));
    }
    live
}

/// Rows of another service change without a reload: who only listens loses what they no longer allow.
#[test]
fn a_row_that_changes_at_its_service_takes_subscriptions_back() {
    let service = RowService::start();
    let mut live = rooms_of(&service, "unsubscribe");
    service.set("1", json!({ "open": false }));
    assert_eq!(hear(&mut live.ann), json!({ "type": "revoked", "channel": "room:1" }));
    assert_eq!(live.pong(), "first");
    live.end();
}

/// They are decided again and again: what stays all the same is not reported each time.
#[test]
fn a_row_that_allows_a_subscription_no_more_is_reported_once() {
    let service = RowService::start();
    let mut live = rooms_of(&service, "report");
    service.set("1", json!({ "open": false }));
    let reported = |live: &Live| live.gateway.output().matches("subscription no longer allowed").count();
    let end = Instant::now() + PATIENCE;
    while reported(&live) == 0 {
        service.asked();
        assert!(Instant::now() < end, "never reported");
    }
    // Asked for because it was decided again; the third time, the second one is over.
    (0..3).for_each(|_| while service.asked() != "1" {});
    assert_eq!((reported(&live), live.pong()), (1, "first".into()));
    live.end();
}

/// Another home numbers the channel: its subscribers follow without being told.
#[test]
fn subscribers_follow_a_channel_to_its_new_home() {
    let mut live = Live::unwatched();
    let names: Vec<String> = (0..8).map(|n| format!("room:{n}")).collect();
    names.iter().for_each(|name| subscribe(&mut live.ann, name));
    live.edit(ROOM, "name      = \"room:{id}\"\n", "name      = \"room:{id}\"\nhome      = \"all\"\n");
    assert_eq!(live.reload().0, 200);
    // Who subscribes later is answered by the same homes, after them.
    let mut ben = connect(&live.gateway);
    names.iter().for_each(|name| subscribe(&mut ben, name));
    live.ann.fence().unwrap();
    names.iter().for_each(|name| publish(&mut ben, name, json!(name)));
    for client in [&mut live.ann, &mut ben] {
        names.iter().for_each(|name| assert_eq!(hear(client), json!(name)));
    }
    live.end();
}

/// What an endpoint subscribes by itself is the file's: it comes to those who are here already, and goes.
#[test]
fn an_endpoints_own_channels_come_and_go_under_live_connections() {
    let mut live = Live::unwatched();
    subscribe(&mut live.ann, "hall:1");
    live.edit(ROOM, "path    = \"/room\"\n", "path    = \"/room\"\nsubscribe = [\"hall:all\", \"room:all\"]\n");
    assert_eq!(live.reload().0, 200);
    assert_eq!(live.pong(), "first");
    for channel in ["hall:1", "hall:all", "room:all"] {
        assert_eq!(live.publish(channel, json!(channel)), 1, "{channel}");
        assert_eq!(hear(&mut live.ann), json!(channel));
    }
    // One goes, with those whom it was subscribed for; what the client asked for stays.
    let next = live.candidate(&[(ROOM, "\"hall:all\", ", "")]);
    let plan = live.plan(&next);
    let one = &plan["revoked"]["subscriptions"][0];
    assert_eq!(
        (&one["channel"], &one["code"], &one["rule"]),
        (&json!("hall:all"), &json!("unsubscribed"), &Value::Null)
    );
    assert_eq!(plan["revoked"]["subscription_count"], 1);
    fs::copy(next.path().join(ROOM), live.path(ROOM)).unwrap();
    assert_eq!(live.reload().0, 200);
    assert_eq!(live.pong(), "first");
    for (channel, recipients) in [("hall:all", 0), ("room:all", 1), ("hall:1", 1)] {
        assert_eq!(live.publish(channel, json!(channel)), recipients, "{channel}");
    }
    assert_eq!((hear(&mut live.ann), hear(&mut live.ann)), (json!("room:all"), json!("hall:1")));
    live.end();
}

/// What a channel kept goes with it: positions, history, and who comes back misses nothing.
#[test]
fn a_history_goes_with_its_channel_to_another_home() {
    let mut live = Live::unwatched();
    live.edit(
        ROOM,
        "{ type = \"ok\", channel = \"{channel}\" }",
        "{ type = \"ok\", channel = \"{channel}\", at = \"{position}\" }",
    );
    assert_eq!(live.reload().0, 200);
    let names: Vec<String> = (0..8).map(|n| format!("hall:{n}")).collect();
    let at = |client: &mut Client, name: &str, since: Value| {
        say(client, json!({ "type": "sub", "channel": name, "since": since }));
        hear(client)["at"].clone()
    };
    let before: Vec<Value> = names.iter().map(|name| at(&mut live.ann, name, Value::Null)).collect();
    for (n, name) in names.iter().enumerate() {
        (0..3).for_each(|_| assert_eq!(live.publish(name, json!(n)), 1));
        (0..3).for_each(|_| assert_eq!(hear(&mut live.ann), json!(n)));
    }
    for home in ["all", "one", "none"] {
        let text = live.read(ROOM);
        let (head, hall) = text.split_once("name      = \"hall:{id}\"\n").unwrap();
        let hall = hall.split_once("subscribe").unwrap().1;
        live.write(ROOM, format!("{head}name      = \"hall:{{id}}\"\nhome      = \"{home}\"\nsubscribe{hall}"));
        assert_eq!(live.reload().0, 200);
        let mut ben = connect(&live.gateway);
        for (n, name) in names.iter().enumerate() {
            at(&mut ben, name, before[n].clone());
            let heard = [hear(&mut ben), hear(&mut ben), hear(&mut ben)];
            assert_eq!(heard, [json!(n), json!(n), json!(n)], "{name} at home {home}");
        }
        ben.leave();
    }
    for (n, name) in names.iter().enumerate() {
        live.publish(name, json!([n]));
        assert_eq!(hear(&mut live.ann), json!([n]));
    }
    live.end();
}

#[test]
fn a_class_that_begins_to_list_who_is_there_lists_those_who_are() {
    let mut live = Live::unwatched();
    let names: Vec<String> = (0..8).map(|n| format!("room:{n}")).collect();
    let mut ben = connect(&live.gateway);
    for name in &names {
        subscribe(&mut live.ann, name);
        subscribe(&mut ben, name);
    }
    let there = |live: &Live, name: &str| {
        let keys = [("authorization".to_string(), "Bearer dev-weir-api-key".to_string())];
        let (status, told) = live.admin("GET", &format!("/api/presence?app=room&channel={name}"), &keys);
        assert_eq!(status, 200, "{told}");
        told["members"].as_array().unwrap().len()
    };
    assert_eq!(there(&live, "room:1"), 0);
    live.edit(ROOM, "name      = \"room:{id}\"\n", "name      = \"room:{id}\"\npresence  = true\n");
    assert_eq!(live.reload().0, 200);
    // Each shard has answered since it took the files.
    assert_eq!((live.pong().as_str(), pong(&mut ben).as_str()), ("first", "first"));
    names.iter().for_each(|name| assert_eq!(there(&live, name), 2, "{name}"));
    // Who leaves is listed no more; those who stay are not disturbed, though their dialect has no word for it.
    ben.leave();
    let end = std::time::Instant::now() + crate::support::gateway::PATIENCE;
    while names.iter().any(|name| there(&live, name) != 1) {
        assert!(std::time::Instant::now() < end, "somebody who left is still listed");
    }
    assert_eq!(live.pong(), "first");
    live.end();
}

/// Who came before a rule read the request has not kept it: nobody can tell, so the answer is no, and it is said so.
#[test]
fn a_rule_that_begins_to_read_the_request_refuses_whom_it_cannot_judge() {
    for rule in ["request.query.pass == id", "request.query.banned != \"1\"", "!(request.path == \"/hall\")"] {
        let mut live = Live::unwatched();
        subscribe(&mut live.ann, "room:1");
        subscribe(&mut live.ann, "hall:1");
        let to = format!("name      = \"room:{{id}}\"\nsubscribe = '{rule}'");
        let next = live.candidate(&[(ROOM, "name      = \"room:{id}\"\nsubscribe = \"true\"", &to)]);
        let revoked = &live.plan(&next)["revoked"];
        assert_eq!(
            (&revoked["undecidable_count"], &revoked["subscription_count"]),
            (&json!(1), &json!(1)),
            "{revoked}"
        );
        let why = revoked["subscriptions"][0]["why"].as_str().unwrap();
        assert!(why.contains("reads the request, which was not kept"), "{why}");
        fs::copy(next.path().join(ROOM), live.path(ROOM)).unwrap();
        assert_eq!(live.reload().0, 200);
        assert_eq!(hear(&mut live.ann), json!({ "type": "revoked", "channel": "room:1" }));
        live.gateway.wait_for_log(&["room:1", "undecidable=true", "no longer allowed"]).unwrap();
        live.gateway.wait_for_log(&["WARN", "connections=1", "have not kept theirs"]).unwrap();
        say(&mut live.ann, json!({ "type": "sub", "channel": "room:1" }));
        assert_eq!(hear(&mut live.ann)["code"], "denied");
        // Who comes now keeps it, also over the next change.
        let mut ben = Client::connect(live.gateway.address("main").unwrap(), "/room?pass=1&banned=0", &[]).unwrap();
        subscribe(&mut ben, "room:1");
        live.edit(ROOM, "\"first\"", "\"second\"");
        live.edit(ROOM, &format!("'{rule}'"), &format!("'{rule} && id == \"1\"'"));
        assert_eq!(live.reload().0, 200);
        assert_eq!(pong(&mut ben), "second");
        assert_eq!(live.publish("room:1", json!(1)), 1);
        assert_eq!(hear(&mut ben), json!(1));
        live.end();
    }
}

/// A file that is replaced by being removed first, a folder that is renamed for a moment: nobody is closed.
#[test]
fn a_folder_that_is_gone_is_a_fault() {
    let mut live = Live::start(&[]);
    fs::rename(live.path("channels"), live.path("channels.old")).unwrap();
    live.wait_for_fault("this folder does not exist");
    live.gateway.signal(libc::SIGHUP).unwrap();
    live.wait(|status| status["last_reload"]["by"] == "SIGHUP");
    assert_eq!(live.pong(), "first");
    fs::write(live.path("channels"), "not a folder").unwrap();
    live.wait(|status| status["last_reload"]["faults"].to_string().contains("lies below a file"));
    fs::remove_file(live.path("channels")).unwrap();
    fs::rename(live.path("channels.old"), live.path("channels")).unwrap();
    live.wait(|status| status["last_reload"]["result"] == "unchanged");
    live.edit(ROOM, "\"first\"", "\"second\"");
    live.wait_for_generation(2);
    assert_eq!(live.pong(), "second");
    live.end();
}

#[test]
fn an_app_whose_file_is_gone_stays_until_it_stayed_away() {
    let mut live = Live::start(&[("WEIR_RELOAD__REMOVE_AFTER", "1h")]);
    let good = live.read(ROOM);
    fs::remove_file(live.path(ROOM)).unwrap();
    let away = live.wait(|status| status["removing"] != json!([]));
    assert_eq!(away["removing"][0]["file"], live.path(ROOM).display().to_string());
    assert_eq!((&away["generation"], live.pong().as_str()), (&json!(1), "first"));
    live.write(ROOM, good.replace("\"first\"", "\"second\""));
    live.wait_for_generation(2);
    assert_eq!((live.status()["removing"].clone(), live.pong()), (json!([]), "second".into()));
    // Another file with its endpoint is its new name.
    fs::rename(live.path(ROOM), live.path("channels/hall.toml")).unwrap();
    live.wait_for_generation(3);
    assert_eq!(live.ann.next().unwrap(), Got::Close(1012, "app removed".into()));
    let mut ben = connect(&live.gateway);
    // Asked for, it is gone at once.
    fs::remove_file(live.path("channels/hall.toml")).unwrap();
    live.wait(|status| status["removing"] != json!([]));
    assert_eq!(pong(&mut ben), "second");
    live.gateway.signal(libc::SIGHUP).unwrap();
    assert_eq!(ben.next().unwrap(), Got::Close(1012, "app removed".into()));
    assert_eq!(live.status()["removing"], json!([]));
    assert_eq!(live.gateway.panics(), None);
}

#[test]
fn an_app_whose_file_stays_away_is_removed() {
    let mut live = Live::start(&[("WEIR_RELOAD__REMOVE_AFTER", "1ms")]);
    fs::remove_file(live.path(ROOM)).unwrap();
    assert_eq!(live.ann.next().unwrap(), Got::Close(1012, "app removed".into()));
    assert_eq!(live.status()["last_reload"]["by"], "file watch");
}

/// What Weir writes itself is not what it reads: one mistake is told once.
#[test]
fn a_log_beside_the_files_is_not_one_of_them() {
    let audit = [("WEIR_AUDIT__TARGET", "audit.log")];
    let mut live = Live::start(&audit);
    let good = live.read(ROOM);
    live.edit(ROOM, "publish   = \"true\"", "publsh    = \"true\"");
    live.wait_for_fault("publsh");
    // Each of these was read once it is told, and so was everything between them.
    for n in 0..3 {
        live.write("weir.log", format!("{n}"));
        live.write("next", good.replace("publish   = \"true\"", &format!("publsh{n}   = \"true\"")));
        fs::rename(live.path("next"), live.path(ROOM)).unwrap();
        live.wait_for_fault(&format!("publsh{n}"));
    }
    let told = fs::read_to_string(live.path("audit.log")).unwrap();
    let log = live.gateway.output();
    assert_eq!(log.lines().filter(|line| line.contains("are not put in force")).count(), 4, "{log}");
    assert!(told.lines().filter(|line| line.contains("\"reload\"")).count() <= 4, "{told}");
    assert_eq!(live.pong(), "first");
}
