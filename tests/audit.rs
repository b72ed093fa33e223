//! Who did what is written down, and never what was said.

use crate::support::gateway::PATIENCE;
use crate::support::live::{Live, ROOM, hear, publish, subscribe};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use std::time::Instant;

const WATCH_OFF: (&str, &str) = ("WEIR_RELOAD__WATCH", "off");
const FILE: &str = "audit.jsonl";

/// The records of a file, once there are so many: a thread of its own writes them.
fn records(path: &Path, count: usize) -> Vec<Value> {
    let end = Instant::now() + PATIENCE;
    loop {
        let text = fs::read_to_string(path).unwrap_or_default();
        let whole = text.lines().filter(|_| text.ends_with('\n'));
        let found: Vec<Value> = whole.map(|line| serde_json::from_str(line).unwrap()).collect();
        if found.len() >= count {
            return found;
        }
        assert!(Instant::now() < end, "{count} records are wanted:\n{text}");
        std::thread::yield_now();
    }
}

/// A record without its time and without connections' ids, which are others each time.
fn told(record: &Value) -> Value {
    let mut record = record.clone();
    let fields = record.as_object_mut().unwrap();
    assert!(fields.remove("at").unwrap().as_str().unwrap().ends_with('Z'));
    if let Some(connection) = fields.get_mut("connection") {
        *connection = "…".into();
    }
    record
}

/// One after another: what happens, and the record that it leaves.
fn audited(live: &mut Live) -> Vec<Value> {
    let keys = [("authorization".to_string(), "Bearer dev-weir-api-key".to_string())];
    let mut wanted = Vec::new();
    live.edit(ROOM, "name      = \"hall:{id}\"\n", "name      = \"hall:{id}\"\naudit     = true\n");
    assert_eq!(live.reload().0, 200);
    wanted.push(json!({ "audit": "reload", "who": "api key nobody", "result": "ok", "from": 1, "to": 2 }));
    subscribe(&mut live.ann, "room:1");
    subscribe(&mut live.ann, "hall:1");
    let (connection, ip) = ("…", "127.0.0.1");
    wanted.push(
        json!({ "audit": "join", "app": "room", "channel": "hall:1", "connection": connection, "ip": ip, "result": "ok" }),
    );
    publish(&mut live.ann, "hall:1", json!("whispered words"));
    assert_eq!(hear(&mut live.ann), json!("whispered words"));
    // Looking is written down as well.
    let next =
        live.candidate(&[(ROOM, "name      = \"room:{id}\"\nsubscribe = \"true\"", "name      = \"room:{id}\"")]);
    let (status, _) = live.ask_with("/admin/plan", &json!({ "candidate": next.path() }), &keys);
    assert_eq!(status, 200);
    let target = next.path().display().to_string();
    wanted.push(
        json!({ "audit": "verb", "who": "default", "verb": "plan", "target": target, "result": "ok", "count": 1 }),
    );
    let (_, listed) = live.admin("GET", "/api/connections?app=room", &keys);
    let asked = json!({ "connection": listed["connections"][0]["id"], "on": "room:1" });
    assert_eq!(live.ask_with("/admin/explain", &asked, &keys).0, 200);
    wanted.push(json!({
        "audit": "verb", "who": "default", "verb": "explain", "channel": "room:1", "connection": "…", "result": "ok",
    }));
    // A mistake, and who made it.
    let good = live.read(ROOM);
    live.write(ROOM, good.replace("subscribe = \"true\"", "subscribe = \"tru\""));
    let (status, _) = live.admin("POST", "/admin/reload", &keys);
    assert_eq!(status, 422);
    wanted.push(json!({
        "audit": "reload", "who": "api key default", "result": "faults", "count": 2, "from": 2, "to": 2,
    }));
    // What is taken back, after the reload that did it.
    fs::copy(next.path().join(ROOM), live.path(ROOM)).unwrap();
    live.gateway.signal(libc::SIGHUP).unwrap();
    assert_eq!(hear(&mut live.ann), json!({ "type": "revoked", "channel": "room:1" }));
    live.wait_for_generation(3);
    let revoked = json!({
        "audit": "revocation", "app": "room", "channel": "room:1", "connection": "…", "result": "unsubscribe",
    });
    wanted.push(json!([{ "audit": "reload", "who": "SIGHUP", "result": "ok", "from": 2, "to": 3 }, revoked]));
    wanted
}

#[test]
fn reloads_revocations_joins_and_looks_are_written_to_a_file_that_may_be_rotated() {
    let mut live = Live::start(&[WATCH_OFF, ("WEIR_AUDIT__TARGET", FILE)]);
    let wanted = audited(&mut live);
    let path = live.path(FILE);
    let all: Vec<Value> = records(&path, wanted.len() + 1).iter().map(told).collect();
    let (last, first) = wanted.split_last().unwrap();
    assert_eq!(all[..first.len()], *first, "{all:#?}");
    // A reload and what it took back are written by two threads.
    let mut both = all[first.len()..].to_vec();
    both.sort_by_key(|record| record["audit"].as_str() == Some("revocation"));
    assert_eq!(json!(both), *last);
    assert!(!fs::read_to_string(&path).unwrap().contains("whispered"));
    // logrotate moves it away: what comes then is in a file of the old name.
    fs::rename(&path, live.path("audit.1")).unwrap();
    live.edit(ROOM, "\"first\"", "\"second\"");
    assert_eq!(live.reload().0, 200);
    let after = records(&path, 1);
    assert_eq!((after.len(), &after[0]["to"], live.pong().as_str()), (1, &json!(4), "second"));
    assert_eq!(records(&live.path("audit.1"), 1).len(), wanted.len() + 1);
    live.end();
}

#[test]
fn the_log_has_them_where_no_file_is_named() {
    let mut live = Live::start(&[WATCH_OFF]);
    let wanted = audited(&mut live);
    for record in wanted.iter().flat_map(|record| record.as_array().cloned().unwrap_or(vec![record.clone()])) {
        let fields = record.as_object().unwrap().iter().filter(|(_, value)| *value != "…");
        let words: Vec<String> = fields.map(|(name, value)| format!("{name}={value}")).collect();
        live.gateway.wait_for_log(&words.iter().map(String::as_str).collect::<Vec<_>>()).unwrap();
    }
    assert!(!live.gateway.output().contains("whispered"));
    live.end();
}
