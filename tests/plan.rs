//! What other files would change, asked of a running gateway; and why a live connection may or may not.

use crate::support::client::{Client, Got, Reply, http};
use crate::support::gateway::Gateway;
use crate::support::live::{Live, ROOM, connect, hear, pong, publish, say, subscribe};
use crate::support::rows::RowService;
use serde_json::{Value, json};
use std::fs;
use std::process::Command;

/// `room:{id}` for nobody.
const CLOSED: (&str, &str, &str) = (
    ROOM,
    "name      = \"room:{id}\"\nsubscribe = \"true\"",
    "name      = \"room:{id}\"\nsubscribe = 'user.id == \"nobody\"'",
);

/// The verb as a process, against this gateway: exit code, standard output, standard error.
fn weir(live: &Live, arguments: &[&str]) -> (i32, String, String) {
    let url = format!("http://{}", live.gateway.address("admin").unwrap());
    let mut weir = Command::new(env!("CARGO_BIN_EXE_weir"));
    weir.args(arguments).args(["--url", &url, "--key", "dev-weir-api-key"]).env_clear();
    let output = weir.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap_or(-1), text(output.stdout), text(output.stderr))
}

#[test]
fn a_plan_tells_what_would_end_and_ends_nothing() {
    let mut live = Live::unwatched();
    subscribe(&mut live.ann, "room:1");
    subscribe(&mut live.ann, "hall:1");
    let next = live.candidate(&[CLOSED, ("gateway.toml", "shards = 2", "shards = 2\n[limits]\nconnections = 50")]);
    let before = live.status();
    let plan = live.plan(&next);
    assert_eq!((&plan["ok"], &plan["generation"], &plan["restart"]), (&json!(true), &json!(1), &json!([])), "{plan:#}");
    let changes = &plan["changes"];
    assert_eq!(changes["files"], json!([ROOM, "gateway.toml"]));
    assert_eq!(changes["settings"], json!([{ "key": "limits.connections", "from": 100_000, "to": 50 }]));
    let class = json!([{ "app": "room", "name": "room:{id}", "parts": ["subscribe"] }]);
    assert_eq!((&changes["classes"]["changed"], &changes["classes"]["added"]), (&class, &json!([])));
    let revoked = &plan["revoked"];
    assert_eq!((&revoked["connection_count"], &revoked["subscription_count"]), (&json!(0), &json!(1)), "{revoked:#}");
    let one = &revoked["subscriptions"][0];
    let rule = format!("{}:23:13", next.path().join(ROOM).display());
    let wanted = json!(["room", "room:1", "denied", rule, null]);
    assert_eq!(json!([one["app"], one["channel"], one["code"], one["rule"], one["user"]]), wanted);
    // As if nobody had asked.
    assert_eq!(live.status(), before);
    let Value::String(metrics) = live.admin("GET", "/metrics", &[]).1 else { panic!("no metrics") };
    assert!(!metrics.contains("weir_config_reloads_total{result=\"success\"} 1"), "{metrics}");
    let mut ben = connect(&live.gateway);
    publish(&mut ben, "room:1", json!({ "n": 1 }));
    assert_eq!(hear(&mut live.ann), json!({ "n": 1 }));
    // And it comes as it was told.
    fs::copy(next.path().join(ROOM), live.path(ROOM)).unwrap();
    assert_eq!(live.reload().0, 200);
    assert_eq!(hear(&mut live.ann), json!({ "type": "revoked", "channel": "room:1" }));
    assert_eq!(live.pong(), "first");
    live.end();
}

#[test]
fn faults_of_the_candidate_are_told_where_they_stand() {
    let live = Live::unwatched();
    let next = live.candidate(&[(ROOM, "publish   = \"true\"\n", "publish   = \"true\"\noverflow  = \"forevr\"\n")]);
    let plan = live.plan(&next);
    assert_eq!((&plan["ok"], &plan["changes"], &plan["revoked"]), (&json!(false), &Value::Null, &Value::Null));
    let fault = &plan["faults"][0];
    assert_eq!((&fault["line"], &fault["column"]), (&json!(25), &json!(13)), "{plan:#}");
    assert!(fault["what"].as_str().unwrap().contains("unknown overflow `forevr`"), "{plan:#}");
    assert_eq!(live.status()["last_reload"], Value::Null);
    let (_, plan) = live.ask("/admin/plan", &json!({ "candidate": "/no/such/folder" }));
    assert!(plan["faults"].to_string().contains("does not exist"), "{plan:#}");
    live.end();
}

#[test]
fn what_takes_a_restart_is_no_fault_of_the_candidate() {
    let live = Live::unwatched();
    let next = live.candidate(&[("gateway.toml", "shards = 2", "shards = 3\n[log]\nformat = \"json\"")]);
    let plan = live.plan(&next);
    let wanted = json!([
        { "key": "shards", "from": "2", "to": "3" },
        { "key": "log.format", "from": "text", "to": "json" },
    ]);
    assert_eq!((&plan["ok"], &plan["restart"]), (&json!(true), &wanted), "{plan:#}");
    live.end();
}

#[test]
fn connections_that_would_be_closed_are_told_with_the_reason() {
    let mut live = Live::unwatched();
    let why = |plan: &Value| {
        let revoked = &plan["revoked"];
        assert_eq!(revoked["connection_count"], 1, "{plan:#}");
        let one = &revoked["connections"][0];
        assert_eq!((&one["app"], &one["endpoint"], &one["user"]), (&json!("room"), &json!("/room"), &Value::Null));
        one["why"].as_str().unwrap().to_owned()
    };
    let moved = live.candidate(&[(ROOM, "path    = \"/room\"", "path    = \"/hall\"")]);
    let plan = live.plan(&moved);
    assert_eq!(why(&plan), "endpoint removed");
    assert_eq!(plan["changes"]["endpoints"]["removed"], json!([{ "app": "room", "name": "main /room" }]));
    let gone = live.candidate(&[]);
    fs::remove_file(gone.path().join(ROOM)).unwrap();
    let plan = live.plan(&gone);
    assert_eq!((why(&plan).as_str(), &plan["changes"]["apps"]["removed"]), ("app removed", &json!(["room"])));
    let elsewhere = live.candidate(&[("gateway.toml", "127.0.0.1:0", "127.0.0.2:0")]);
    let plan = live.plan(&elsewhere);
    assert_eq!(why(&plan), "listener removed");
    assert_eq!(plan["changes"]["listeners"]["changed"], json!([{ "name": "main", "parts": ["address"] }]));
    // With `disconnect`, whoever loses a subscription goes.
    subscribe(&mut live.ann, "room:1");
    let strict =
        live.candidate(&[CLOSED, ("gateway.toml", "shards = 2", "shards = 2\nreload.revoke = \"disconnect\"")]);
    fs::write(strict.path().join("gateway.toml"), live.read("gateway.toml") + "\n[reload]\nrevoke = \"disconnect\"\n")
        .unwrap();
    assert_eq!(why(&live.plan(&strict)), "no longer allowed");
    assert_eq!(live.pong(), "first");
    live.end();
}

#[test]
fn a_plan_of_ten_thousand_subscriptions_lists_some_and_counts_all() {
    let mut live = Live::unwatched();
    let mut crowd: Vec<Client> = (0..50).map(|_| connect(&live.gateway)).collect();
    for client in &mut crowd {
        (0..200).for_each(|n| say(client, json!({ "type": "sub", "channel": format!("room:{n}") })));
        (0..200).for_each(|_| assert_eq!(hear(client)["type"], "ok"));
    }
    let plan = live.plan(&live.candidate(&[CLOSED]));
    let revoked = &plan["revoked"];
    assert_eq!(revoked["subscription_count"], 10_000);
    assert_eq!(revoked["subscriptions"].as_array().map(Vec::len), Some(1_000));
    assert_eq!(live.pong(), "first");
    live.end();
}

#[test]
fn a_secret_is_never_part_of_a_plan() {
    let live = Live::unwatched();
    let next = live.candidate(&[(
        "gateway.toml",
        "secret = { env = \"WEIR_API_KEY\" }",
        "secret = { file = \"hush\" }\n\n[api_key.extra]\nsecret = { file = \"more\" }",
    )]);
    fs::write(next.path().join("hush"), "whispered-words\n").unwrap();
    fs::write(next.path().join("more"), "other-words\n").unwrap();
    let plan = live.plan(&next);
    assert_eq!(plan["changes"]["api_keys"]["added"], json!([{ "name": "extra" }]), "{plan:#}");
    assert!(plan["changes"]["files"].to_string().contains("hush"), "{plan:#}");
    assert!(!plan.to_string().contains("words"), "{plan:#}");
    live.end();
}

/// `[[check]]`s read rows as rules do, and rows behind a URL may be another system's to count.
#[test]
fn a_plan_fetches_no_row() {
    let (mut live, service) = (Live::unwatched(), RowService::start());
    let table = format!(
        "[table.rooms]\nurl = {:?}\n\n[[check]]\ndoes = \"subscribe\"\non = \"room:check\"\nexpect = \"refused\"\n\n\
         [[channel]]\nname      = \"room:{{id}}\"\nsubscribe = \"tables.rooms[id].open\"",
        service.url
    );
    let next = live.candidate(&[(ROOM, "[[channel]]\nname      = \"room:{id}\"\nsubscribe = \"true\"", &table)]);
    let plan = live.plan(&next);
    assert_eq!((&plan["ok"], &plan["faults"]), (&json!(true), &json!([])), "{plan:#}");
    fs::copy(next.path().join(ROOM), live.path(ROOM)).unwrap();
    assert_eq!(live.reload().0, 200);
    say(&mut live.ann, json!({ "type": "sub", "channel": "room:client" }));
    assert_eq!(hear(&mut live.ann)["code"], "denied");
    assert_eq!(service.asked(), "client", "and none before");
    live.end();
}

#[test]
fn only_who_may_reload_may_plan() {
    let live = Live::unwatched();
    let next = live.candidate(&[]);
    let body = json!({ "candidate": next.path() });
    let key = |key: &str| [("authorization".to_string(), format!("Bearer {key}"))];
    assert_eq!(live.ask_with("/admin/plan", &body, &key("guessed")).0, 401);
    assert_eq!(live.ask_with("/admin/plan", &body, &key("dev-publisher-key")).0, 403);
    assert_eq!(live.ask_with("/admin/explain", &body, &key("dev-publisher-key")).0, 403);
    assert_eq!(live.ask_with("/admin/plan", &body, &key("dev-weir-api-key")).0, 200);
    assert_eq!(live.admin("GET", "/admin/plan", &[]).0, 405);
    for body in
        [json!({}), json!({ "candidate": "next" }), json!({ "candidate": 7 }), json!([]), json!({ "candidat": "/" })]
    {
        let (status, told) = live.ask("/admin/plan", &body);
        assert_eq!((status, &told["code"]), (400, &json!("invalid_body")), "{body} {told}");
    }
    let Reply { status, .. } =
        http(live.gateway.address("main").unwrap(), "POST", "/admin/plan", &[], Some("{}")).unwrap();
    assert_eq!(status, 404);
    live.end();
}

#[test]
fn the_command_says_whether_files_can_be_put_in_force() {
    let mut live = Live::unwatched();
    subscribe(&mut live.ann, "room:1");
    let plan = |next: &tempfile::TempDir, more: &[&str]| {
        weir(&live, &[&["plan", "--candidate", next.path().to_str().unwrap()], more].concat())
    };
    let same = live.candidate(&[]);
    let (code, out, err) = plan(&same, &["--strict"]);
    assert!(code == 0 && out.ends_with("nothing would change\n"), "{out}{err}");
    let closed = live.candidate(&[CLOSED]);
    let (code, out, _) = plan(&closed, &[]);
    assert!(code == 0 && out.contains("1 subscription would be taken back\n  "), "{out}");
    assert!(out.contains("  ~ room  room:{id}   subscribe\n") && !out.contains('\x1b'), "{out}");
    let (code, out, _) = plan(&closed, &["--strict", "--json"]);
    let told: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &told["revoked"]["subscription_count"]), (1, &json!(1)));
    let restart = live.candidate(&[("gateway.toml", "shards = 2", "shards = 3")]);
    let (code, out, _) = plan(&restart, &[]);
    assert!(code == 1 && out.contains("takes a restart: shards   2 → 3\n"), "{out}");
    let faulty = live.candidate(&[(ROOM, "\"true\"", "\"tru\"")]);
    let (code, out, _) = plan(&faulty, &[]);
    assert!(code == 1 && out.contains(":23:14: unknown variable `tru`") && out.contains("1 fault"), "{out}");
    let (code, _, err) = weir(&live, &["plan", "--candidate", "/no", "--timeout", "1", "--config", "/no"]);
    assert!(code == 1 && err.is_empty(), "{err}");
    live.end();
}

/// The trace is that of the files, with whoever is connected in the place of somebody described.
#[test]
fn a_live_connection_is_explained_as_the_files_would() {
    let mut live = Live::unwatched();
    live.edit(ROOM, "subscribe = \"true\"", "subscribe = 'user.id == \"ben\" || request.query.pass == id'");
    assert_eq!(live.reload().0, 200);
    let ben = Client::connect(live.gateway.address("main").unwrap(), "/room?pass=7", &[]).unwrap();
    let keys = [("authorization".to_string(), "Bearer dev-weir-api-key".to_string())];
    let (_, listed) = live.admin("GET", "/api/connections?app=room", &keys);
    let ids: Vec<&str> = listed["connections"].as_array().unwrap().iter().filter_map(|c| c["id"].as_str()).collect();
    let explained = |id: &str, on: &str| live.ask("/admin/explain", &json!({ "connection": id, "on": on }));
    let told: Vec<(u16, Value)> = ids.iter().map(|id| explained(id, "room:7")).collect();
    let of = |request: &str| told.iter().position(|(_, told)| told["request"] == request).unwrap();
    let (kept, without) = (of("kept"), of("not kept"));
    assert_eq!((told[kept].0, &told[kept].1["allowed"], &told[kept].1["generation"]), (200, &json!(true), &json!(2)));
    // Nobody kept it before a rule asked for it: no is the answer.
    assert_eq!((told[without].0, &told[without].1["allowed"]), (200, &json!(false)));
    assert_eq!(explained(ids[kept], "room:8").1["allowed"], false);
    let config = live.path("gateway.toml").display().to_string();
    let request = ["explain", "-c", &config, "--app", "room", "--on", "room:8"];
    let (code, offline, err) = weir(&live, &[&request[..], &["--request", "/room?pass=7"]].concat());
    assert_eq!(code, 1, "{err}");
    let (code, online, err) = weir(&live, &["explain", "-c", &config, "--live", ids[kept], "--on", "room:8"]);
    assert!(code == 1 && online.starts_with(offline.trim_end()), "{offline}\n{online}{err}");
    assert!(online.contains("generation 2") && online.contains("\"7\"      request.query.pass"), "{online}");
    let (code, _, _) = weir(&live, &["explain", "-c", &config, "--live", ids[kept], "--on", "room:7"]);
    assert_eq!(code, 0);
    let (code, _, err) =
        weir(&live, &["explain", "-c", &config, "--live", "00000000-0000-4000-8000-000000000000", "--on", "x"]);
    assert!(code == 1 && err.contains("404"), "{err}");
    drop(ben);
    assert_eq!(live.ann.fence().unwrap(), None::<Got>);
    assert_eq!(pong(&mut live.ann), "first");
    live.end();
}

/// A plugin's file is one of the files: its functions are told by name.
#[test]
fn handlers_of_a_changed_plugin_are_named() {
    let gateway = Gateway::start("ward", &[("WEIR_RELOAD__WATCH".into(), "off".into())]).unwrap();
    let next = tempfile::tempdir().unwrap();
    for folder in ["channels", "plugins/lib"] {
        fs::create_dir_all(next.path().join(folder)).unwrap();
    }
    let lib = fs::read_dir(gateway.file("plugins/lib")).unwrap();
    let lib = lib.map(|entry| format!("plugins/lib/{}", entry.unwrap().file_name().display()));
    let files = ["gateway.toml", "channels/ward.toml", "plugins/ward.rhai"].map(str::to_owned).into_iter().chain(lib);
    for file in files {
        fs::copy(gateway.file(&file), next.path().join(&file)).unwrap();
    }
    let plugin = next.path().join("plugins/ward.rhai");
    let text = fs::read_to_string(&plugin).unwrap();
    fs::write(&plugin, format!("{text}\nfn newcomer(event) {{ reply(\"hello\", 1); }}\n")).unwrap();
    let body = json!({ "candidate": next.path() }).to_string();
    let Reply { status, body, .. } =
        http(gateway.address("admin").unwrap(), "POST", "/admin/plan", &[], Some(&body)).unwrap();
    let plan: Value = serde_json::from_str(&body).unwrap();
    assert_eq!((status, &plan["ok"]), (200, &json!(true)), "{plan:#}");
    let (handlers, files) = (&plan["changes"]["handlers"], &plan["changes"]["files"]);
    assert_eq!(files, &json!(["plugins/ward.rhai"]), "{plan:#}");
    assert_eq!(handlers["added"], json!([{ "app": "ward", "name": "newcomer" }]), "{plan:#}");
    let note = json!({ "app": "ward", "name": "note", "parts": ["plugins/ward.rhai"] });
    assert!(handlers["changed"].as_array().unwrap().contains(&note), "{plan:#}");
    assert_eq!(gateway.panics(), None);
}
