//! What a plan promises, held against what the reload of the same files then does: one kind of change after another.

use crate::support::client::{Client, Got, Reply, http};
use crate::support::gateway::{Gateway, PATIENCE};
use crate::support::live::{Live, hear, say, subscribe};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs;
use std::net::TcpStream;
use std::panic::catch_unwind;
use std::path::Path;
use std::thread;
use std::time::Instant;

/// At an address of its own: a port that this gateway closes is nobody else's meanwhile.
const GATEWAY: &str = r#"mode = "development"
shards = 2
[listener.main]
address = "127.0.0.4:0"
[listener.spare]
address = "127.0.0.4:0"
[listener.admin]
address = "127.0.0.4:0"
admin = true
"#;

const ROOM: &str = r#"listener = "main"
[[endpoint]]
path = "/room"
dialect = "plain"
[[endpoint]]
path = "/side"
dialect = "plain"
when = { header = { x-side = "1" } }
[[route]]
get = "/old"
access = "public"
reply = { ok = true }
[table.rooms]
file = "data/rooms.json"
[dialect.plain]
receive.sub = { do = "subscribe", channel = "channel" }
receive.ping = { do = "ping" }
send.subscribed = { type = "ok", channel = "{channel}" }
send.pong = { type = "pong", answer = "first" }
send.revoked = { type = "revoked", channel = "{channel}" }
[[channel]]
name = "room:{id}"
subscribe = "true"
[[channel]]
name = "hall:{id}"
subscribe = "tables.rooms[id].open"
"#;

const SECOND: &str = r#"listener = "main"
[[endpoint]]
path = "/second"
dialect = "plain"
[dialect.plain]
receive.ping = { do = "ping" }
send.pong = { type = "pong", answer = "second" }
"#;

const ROWS: &str = r#"{"1": {"open": true}, "2": {"open": true}}"#;

/// One kind of change: of a file, this text becomes that one. Without a first text, the file is written anew; without
/// a second one, it is removed.
type Edit = (&'static str, &'static str, &'static str);

const APP: &str = "channels/room.toml";
const TOML: &str = "gateway.toml";

#[rustfmt::skip]
const CHANGES: &[(&str, &[Edit])] = &[
    ("nothing", &[]),
    ("a comment", &[(APP, "listener = \"main\"", "# main\nlistener = \"main\"")]),
    ("a rule", &[(APP, "subscribe = \"true\"", "subscribe = 'user.id == \"nobody\"'")]),
    ("a rule, which disconnects", &[
        (APP, "subscribe = \"true\"", "subscribe = 'user.id == \"nobody\"'"),
        (TOML, "shards = 2", "shards = 2\nreload = { revoke = \"disconnect\" }"),
    ]),
    ("a rule, which is reported", &[
        (APP, "subscribe = \"true\"", "subscribe = 'user.id == \"nobody\"'"),
        (TOML, "shards = 2", "shards = 2\nreload = { revoke = \"report\" }"),
    ]),
    ("a rule that reads the request", &[(APP, "subscribe = \"true\"", "subscribe = 'request.query.pass == id'")]),
    ("a row", &[("channels/data/rooms.json", "\"2\": {\"open\": true}", "\"2\": {\"open\": false}")]),
    ("a class that is gone", &[(APP, "name = \"room:{id}\"", "name = \"den:{id}\"")]),
    ("a dialect", &[(APP, "answer = \"first\"", "answer = \"other\"")]),
    ("an endpoint at another path", &[(APP, "path = \"/room\"", "path = \"/den\"")]),
    ("an endpoint written otherwise", &[(APP, "{ x-side = \"1\" }", "{ X-Side = \"1\" }")]),
    ("another condition of an endpoint", &[(APP, "{ x-side = \"1\" }", "{ x-side = \"2\" }")]),
    ("a route", &[(APP, "get = \"/old\"", "get = \"/new\"")]),
    ("an app that comes", &[("channels/second.toml", "", SECOND)]),
    ("an app that goes", &[(APP, ROOM, "")]),
    ("an app by another name", &[(APP, ROOM, ""), ("channels/other.toml", "", ROOM)]),
    ("a listener that comes", &[(TOML, "[listener.spare]", "[listener.more]\naddress = \"127.0.0.3:0\"\n[listener.spare]")]),
    ("a listener that goes", &[(TOML, "[listener.spare]\naddress = \"127.0.0.4:0\"\n", "")]),
    ("a listener at another address", &[(TOML, "[listener.main]\naddress = \"127.0.0.4:0\"", "[listener.main]\naddress = \"127.0.0.2:0\"")]),
    ("a listener that accepts otherwise", &[(TOML, "[listener.main]\n", "[listener.main]\nbacklog = 7\n")]),
    ("a key", &[(TOML, "shards = 2", "shards = 2\n[api_key.more]\nsecret = { file = \"more\" }"), ("more", "", "more-than-thirty-two-bytes-of-secret")]),
    ("a limit", &[(TOML, "shards = 2", "shards = 2\nlimits = { connections = 50 }")]),
    ("what takes a restart", &[(TOML, "shards = 2", "shards = 3"), (APP, "answer = \"first\"", "answer = \"other\"")]),
    ("a mistake", &[(APP, "subscribe = \"true\"", "subscribe = \"tru\"")]),
    ("a mistake and what takes a restart", &[(TOML, "shards = 2", "shards = 3"), (APP, "subscribe = \"true\"", "subscribe = \"tru\"")]),
    ("a check that does not hold", &[(APP, "[table.rooms]", "[[check]]\ndoes = \"subscribe\"\non = \"room:1\"\nexpect = \"refused\"\n[table.rooms]")]),
    ("a plugin", &[(APP, "listener = \"main\"", "listener = \"main\"\nplugin = \"p\""), ("plugins/p.rhai", "", "fn one(event) { }\n")]),
    ("a plugin whose store cannot be", &[
        ("data/weir.db/in-the-way", "", "x"),
        (APP, "listener = \"main\"", "listener = \"main\"\nplugin = \"p\""), ("plugins/p.rhai", "", "fn one(event) { }\n"),
    ]),
    ("a test that fails", &[
        (TOML, "shards = 2", "shards = 2\nreload = { require_tests = true }"),
        (APP, "listener = \"main\"", "listener = \"main\"\nplugin = \"p\""), ("plugins/p.rhai", "", "fn one(event) { }\n"),
        ("plugins/p.test", "", "# never\nann connects /room\nann< {\"type\":\"never\"}\n"),
    ]),
];

#[test]
fn a_reload_does_what_a_plan_promised() {
    let broken = CHANGES.iter().filter(|(change, edits)| {
        println!("{change}");
        catch_unwind(|| holds(edits)).is_err()
    });
    let broken: Vec<&str> = broken.map(|(change, _)| *change).collect();
    assert_eq!(broken, [""; 0], "of {} kinds of change", CHANGES.len());
}

/// Clients of the two endpoints, each with channels of its own.
struct Person {
    client: Client,
    path: &'static str,
    channels: [&'static str; 2],
}

fn holds(edits: &[Edit]) {
    let files = [(TOML, GATEWAY), (APP, ROOM), ("channels/data/rooms.json", ROWS)];
    let unwatched = [("WEIR_RELOAD__WATCH".to_owned(), "off".to_owned())];
    let gateway = Gateway::start_files(&files, &unwatched).unwrap();
    let side = [("x-side".to_owned(), "1".to_owned())];
    let at = |path, headers| Client::connect(gateway.address("main").unwrap(), path, headers).unwrap();
    let people = [("/room", &[][..], ["room:1", "hall:1"]), ("/side", &side[..], ["room:2", "hall:2"])];
    let mut people = people.map(|(path, headers, channels)| Person { client: at(path, headers), path, channels });
    for Person { client, channels, .. } in &mut people {
        channels.iter().for_each(|channel| subscribe(client, channel));
    }
    let live = Live { ann: at("/room", &[]), gateway };

    let next = tempfile::tempdir().unwrap();
    for (file, text) in files {
        write(next.path(), file, text);
    }
    let in_the_way = |file: &str| file.starts_with("data/");
    for (file, from, to) in edits {
        // What stands in the gateway's own folder is no part of a candidate.
        let folder = if in_the_way(file) { live.path("") } else { next.path().to_owned() };
        let before = fs::read_to_string(folder.join(file)).unwrap_or_default();
        assert!(before.contains(from), "{file} has no `{from}`");
        match to {
            &"" if *from == ROOM => fs::remove_file(folder.join(file)).unwrap(),
            _ if from.is_empty() => write(&folder, file, to),
            to => write(&folder, file, &before.replacen(from, to, 1)),
        }
    }
    let plan = live.plan(&next);
    let listening = said(&live);
    for (file, from, to) in edits.iter().filter(|(file, ..)| !in_the_way(file)) {
        match to {
            &"" if *from == ROOM => fs::remove_file(live.path(file)).unwrap(),
            _ => write(&live.path(""), file, &fs::read_to_string(next.path().join(file)).unwrap()),
        }
    }
    let (status, told) = live.reload();

    let is_possible = plan["ok"] == true && list(&plan["restart"]).is_empty();
    assert_eq!(is_possible, status == 200, "{plan:#}\n{told:#}");
    if !is_possible {
        assert_eq!(refusals(&plan, &live, next.path()), whats(&told["faults"]), "{plan:#}\n{told:#}");
        assert_eq!(live.status()["generation"], plan["generation"]);
        people
            .iter_mut()
            .for_each(|person| assert_eq!(until_pong(&mut person.client).unwrap(), (vec![], "first".into())));
        return;
    }
    let changes = &plan["changes"];
    let folder = live.path("").display().to_string();
    let changed: BTreeSet<_> = texts(&told["changed"]).iter().map(|file| file.replace(&folder, "")).collect();
    assert_eq!(changed, texts(&changes["files"]), "{told:#}");
    let generation = plan["generation"].as_u64().unwrap() + u64::from(!changed.is_empty());
    assert_eq!((&told["generation"], &told["digest"]), (&json!(generation), &plan["digest"]));
    people.into_iter().for_each(|person| ends_as_planned(person, &plan));
    listens_as_planned(&live, changes, &listening);
    serves_as_planned(&live, changes);
    // Nothing that was promised is left to do.
    let again = live.plan(&next);
    let left = |group: &Value| ["added", "removed", "changed"].iter().map(|key| list(&group[key]).len()).sum::<usize>();
    let groups: usize = again["changes"].as_object().unwrap().values().map(left).sum();
    let (files, settings) = (list(&again["changes"]["files"]).len(), list(&again["changes"]["settings"]).len());
    let revoked = (&again["revoked"]["connection_count"], plan["revoke"] == "report");
    assert_eq!((files, settings, groups, revoked.0 == 0), (0, 0, 0, true), "{again:#}");
    assert_eq!(live.gateway.panics(), None);
}

/// Who is told to be closed is, for that reason; who is told to lose subscriptions does; nobody else, and nothing else.
fn ends_as_planned(Person { mut client, path, channels }: Person, plan: &Value) {
    let closed = list(&plan["revoked"]["connections"]).iter().find(|one| one["endpoint"] == path);
    let is_removed = |name: &String| name.split(' ').nth(1) == Some(path);
    let removed = names(&plan["changes"]["endpoints"]["removed"]).iter().any(is_removed);
    assert_eq!(removed, closed.is_some_and(|one| one["why"] == "endpoint removed"), "{path} {plan:#}");
    if let Some(closed) = closed {
        let reason = loop {
            match client.next().unwrap() {
                Got::Close(_, reason) => break reason,
                Got::Text(_) => {}
                other => panic!("{other:?}"),
            }
        };
        return assert_eq!(closed["why"], json!(reason));
    }
    let lost = list(&plan["revoked"]["subscriptions"]).iter().filter_map(|one| one["channel"].as_str());
    let mut lost: Vec<String> = lost.filter(|name| channels.contains(name)).map(str::to_owned).collect();
    if plan["revoke"] == "report" {
        lost.clear();
    }
    let (heard, answer) = until_pong(&mut client).unwrap();
    assert_eq!(heard, lost, "{path}");
    let dialect = !list(&plan["changes"]["dialects"]["changed"]).is_empty();
    assert_eq!(answer, if dialect { "other" } else { "first" });
}

/// Channels that were taken back, and what a pong says. A shard has decided all again before it reads the ping.
fn until_pong(client: &mut Client) -> Result<(Vec<String>, String), String> {
    say(client, json!({ "type": "ping" }));
    let mut revoked = Vec::new();
    loop {
        let told = hear(client);
        let text = |key: &str| told[key].as_str().unwrap_or_default().to_owned();
        match told["type"].as_str() {
            Some("revoked") => revoked.push(text("channel")),
            Some("pong") => return Ok((revoked, text("answer"))),
            _ => return Err(told.to_string()),
        }
    }
}

/// Listeners that were opened are those that were promised; so are those that accept nobody any more.
fn listens_as_planned(live: &Live, changes: &Value, before: &[(String, String)]) {
    let of = |key: &str| names(&changes["listeners"][key]);
    let moved: BTreeSet<String> = list(&changes["listeners"]["changed"])
        .iter()
        .filter(|item| list(&item["parts"]).contains(&json!("address")))
        .filter_map(|item| item["name"].as_str().map(str::to_owned))
        .collect();
    let promised: BTreeSet<String> = of("added").union(&moved).cloned().collect();
    let opened = eventually(|| said(live)[before.len()..].to_vec(), |opened| opened.len() >= promised.len());
    assert_eq!(opened.into_iter().map(|(name, _)| name).collect::<BTreeSet<_>>(), promised);
    for (name, address) in before {
        let closes = of("removed").contains(name) || moved.contains(name);
        let closed = eventually(|| TcpStream::connect(address).is_err(), |closed| *closed == closes);
        assert_eq!(closed, closes, "{name} {address}");
    }
}

/// Endpoints, apps and routes are there, or not any more.
fn serves_as_planned(live: &Live, changes: &Value) {
    let (_, main) = said(live).into_iter().rfind(|(name, _)| name == "main").unwrap();
    let upgrade = |path: &str| Client::connect(&main, path, &[]).is_ok_and(|client| client.upgrade.status == 101);
    let get = |path: &str| http(&main, "GET", path, &[], None).is_ok_and(|Reply { status, .. }| status == 200);
    let last = |name: String| name.rsplit(' ').next().unwrap_or_default().to_owned();
    for (key, is_there) in [("added", true), ("removed", false)] {
        for name in names(&changes["endpoints"][key]).into_iter().filter(|name| !name.contains("when")) {
            let path = last(name);
            assert_eq!(upgrade(&path), is_there, "{path}");
        }
        for name in names(&changes["routes"][key]) {
            let path = last(name);
            assert_eq!(get(&path), is_there, "{path}");
        }
    }
    for app in texts(&changes["apps"]["added"]).iter().filter(|app| *app == "second") {
        assert!(upgrade(&format!("/{app}")));
    }
    let moved = list(&changes["default_apps"]["changed"]).len();
    let logged = || live.gateway.output().matches("calls of the HTTP API that name no app").count();
    assert_eq!(eventually(logged, |logged| *logged >= moved), moved);
}

/// What the process has written is read a moment later.
fn eventually<T>(look: impl Fn() -> T, is_there: impl Fn(&T) -> bool) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        let seen = look();
        if is_there(&seen) || Instant::now() > end {
            return seen;
        }
        thread::yield_now();
    }
}

/// What a reload would say: the faults, and keys that take a restart.
fn refusals(plan: &Value, live: &Live, next: &Path) -> BTreeSet<String> {
    let (next, here) = (format!("{}/", next.display()), live.path("").display().to_string());
    let restart = list(&plan["restart"]).iter().map(|one| {
        let text = |key: &str| one[key].as_str().unwrap_or_default();
        let (key, from, to) = (text("key"), text("from"), text("to"));
        format!("`{key}` takes a restart to change: `{from}` is in force, `{to}` is written here")
    });
    whats(&plan["faults"]).into_iter().map(|what| what.replace(&next, &here)).chain(restart).collect()
}

fn whats(faults: &Value) -> BTreeSet<String> {
    list(faults).iter().filter_map(|fault| fault["what"].as_str().map(str::to_owned)).collect()
}

/// `weir: listening NAME ADDRESS`, in order.
fn said(live: &Live) -> Vec<(String, String)> {
    let output = live.gateway.output();
    let said = output.lines().filter_map(|line| line.strip_prefix("weir: listening ")?.trim().split_once(' '));
    said.map(|(name, address)| (name.to_owned(), address.to_owned())).collect()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], |list| list)
}

fn texts(value: &Value) -> BTreeSet<String> {
    list(value).iter().filter_map(|text| text.as_str().map(str::to_owned)).collect()
}

fn names(items: &Value) -> BTreeSet<String> {
    list(items).iter().filter_map(|item| item["name"].as_str().map(str::to_owned)).collect()
}

fn write(folder: &Path, file: &str, text: &str) {
    let path = folder.join(file);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}
