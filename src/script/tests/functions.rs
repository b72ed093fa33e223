//! What each function of the host does, and what it says when it cannot.

use super::support::*;
use crate::model::*;
use crate::script::Event;
use crate::script::*;
use serde_json::{Value, json};

#[test]
fn what_can_be_a_segment_of_a_channels_name() {
    for (text, good) in [
        ("\"room-1\"", true),
        ("\"ö x\"", true),
        ("\"a:b\"", false),
        ("\"\"", false),
        ("\"a\\n\"", false),
        ("7", false),
        ("()", false),
    ] {
        assert_eq!(value(&format!("is_segment({text})")), json!(good), "{text}");
    }
    assert_eq!(value(r#"let t = ""; t.pad(100, "x"); is_segment(t)"#), json!(true));
    assert_eq!(value(r#"let t = ""; t.pad(101, "x"); is_segment(t)"#), json!(false));
}

#[test]
fn times_durations_and_numbers() {
    assert_eq!(value("now()"), json!(NOW));
    assert_eq!(value("iso()"), json!("2024-01-07T10:30:00.000Z"));
    assert_eq!(value("iso(0)"), json!("1970-01-01T00:00:00.000Z"));
    assert_eq!(value(r#"parse_time("2024-01-07T11:30:00+01:00")"#), json!(NOW));
    assert_eq!(value(r#"parse_time("2024-01-07")"#), json!(1_704_585_600_000u64));
    assert_eq!(value(r#"[duration("500ms"), duration("1h30m"), duration("1.5s")]"#), json!([500, 5_400_000, 1_500]));
    assert_eq!(
        value("[percent_change(80, 100), percent_change(3, 2), percent_change(0, 5)]"),
        json!([25.0, -33.33, null])
    );
    assert_eq!(
        value("[percent_text(100, 105), percent_text(3, 2), percent_text(1, 1), percent_text(0, 5)]"),
        json!(["+5%", "-33.33%", "0%", "n/a"])
    );
    assert_eq!(value("[round(12.345, 2), round(-2.5, 0), round(7, 2)]"), json!([12.35, -3.0, 7.0]));
    assert_eq!(value("[uuid(), uuid()].len()"), json!(2));
    assert_ne!(value("uuid()"), Value::Null);
    assert_eq!(value("let n = random(1, 6); n >= 1 && n <= 6 && random() < 1.0"), json!(true));
    assert_eq!(value("random(5, 5)"), json!(5));
    for none in ["\"soon\"", "\"\"", "7", "()", "#{ a: 1 }"] {
        assert_eq!(value(&format!("[parse_time({none})]")), json!([null]), "{none}");
    }
    assert!(told("let f = Fn(\"sleep\"); f.call(1)").contains("there is no `sleep`: a handler never waits"));
    assert!(told("random(2, 1)").ends_with("random(2, 1): `low` is above `high`"));
}

#[test]
fn json_there_and_back() {
    for text in [
        "null",
        "true",
        "-9223372036854775808",
        "9223372036854775807",
        "0.1",
        "1e300",
        r#""a\"\\\n\u0001é😀""#,
        "[]",
        "{}",
        r#"{"a":[1,{"b":null}],"c":"d"}"#,
        "2.0",
    ] {
        let state = State::from_json(text).unwrap();
        let back: Value = serde_json::from_str(&state.to_json().unwrap()).unwrap();
        assert_eq!(back, serde_json::from_str::<Value>(text).unwrap(), "{text}");
    }
    assert_eq!(State::from_json("2.0").unwrap().to_json().unwrap(), "2.0", "a float stays one");
    assert_eq!(State::from_json("18446744073709551615").unwrap().to_json().unwrap(), "18446744073709551615");
    assert!(State::from_json("18446744073709551616").is_err(), "would be rounded");
    assert!(State::from_json("{").is_err());
    assert_eq!(value(r#"parse_json("{\"a\": [1, 2]}").a[1]"#), json!(2));
    assert_eq!(value("json(#{ a: 'c', u: event.user.id, none: () })"), json!(r#"{"a":"c","none":null,"u":"ann"}"#));
    assert_eq!(
        value("event.user"),
        json!({ "id": "ann", "known": true, "org": { "id": 7 }, "role": "nurse", "roles": ["nurse"] })
    );
    assert_eq!(value(r#"[parse_json("{"), parse_json("")]"#), json!([null, null]));
    assert_eq!(
        value(r#"["7".parse_int(), parse_int(" -7 "), parse_int("ff", 16), parse_int(8)]"#),
        json!([7, -7, 255, 8])
    );
    assert_eq!(
        value(r#"[parse_int("x"), parse_int("1.5"), parse_int(()), parse_int([1])]"#),
        json!([null, null, null, null])
    );
    assert_eq!(value(r#"["1.5".parse_float(), parse_float("2"), parse_float(3)]"#), json!([1.5, 2.0, 3.0]));
    assert_eq!(value(r#"[parse_float("x"), parse_float("inf"), parse_float(true)]"#), json!([null, null, null]));
    assert!(told(r#"parse_int("1", 99)"#).contains("a radix is from 2 to 36"));
    assert!(told("publish(\"a\", 0.0 / 0.0)").ends_with("the number NaN cannot be sent: JSON has no such number"));
    assert!(told("publish(\"a\", #{ f: |x| x })").ends_with("a function cannot be sent: JSON has none"));
}

#[test]
fn a_state_knows_its_size_and_shares_nothing_with_its_copy() {
    let state = State::from_json(&format!(r#"{{"a":"{}","b":[1,2,3]}}"#, "x".repeat(1_000))).unwrap();
    assert!((1_000..2_000).contains(&state.bytes()), "{}", state.bytes());
    assert!(State::new().is_empty() && !state.is_empty());
    let mut bench =
        bench("fn f(event) { this.list = this.list ?? []; this.list.push(1); if this.list.len > 1 { throw 1 } }");
    bench.run("f", &message("{}")).unwrap();
    bench.fault("f", &message("{}"));
    assert_eq!(bench.state.to_json().unwrap(), r#"{"list":[1]}"#);
}

#[test]
fn messages_go_where_they_are_sent() {
    let mut bench = bench(
        r#"fn f(event) {
            publish(["a", "b"], "named", 1, #{ key: "k", exclude: event.connection });
            send(event.connection, "one", 2);
            send(event.connection.id, 3);
            send(user("bob"), 4);
            send(event.user, 5);
            send(everyone(), 6);
            send(filter(#{ users: ["u1", "u2"], claims: #{ role: ["admin"], "org.id": 7 }, channels: "room:1", exclude: event.connection }), 7);
            join("lobby"); leave("lobby"); close(4001, "bye"); close(user("bob"), 1000, "");
            reply("done", #{ ok: true }); reply(1);
            count("rows"); count("rows", 5); gauge("waiting", 2);
        }"#,
    );
    let ran = bench.run("f", &message("{}")).unwrap();
    let own = connection().id;
    assert!(matches!(&ran.effects[0], Effect::Do(Command::Publish { channels, draft })
        if channels.len() == 2 && draft.event.as_deref() == Some("named") && draft.key.as_deref() == Some("k") && draft.exclude == Some(own)));
    let targets: Vec<&Target> = ran
        .effects
        .iter()
        .filter_map(|e| if let Effect::Do(Command::Send { target, .. }) = e { Some(target) } else { None })
        .collect();
    assert_eq!(targets[..2], [&Target::Connection(own), &Target::Connection(own)]);
    assert_eq!(
        targets[2..5],
        [&Target::User("bob".into()), &Target::User("ann".into()), &Target::Filter(Filter::default())]
    );
    let Target::Filter(filter) = targets[5] else { panic!() };
    assert_eq!(filter.users.as_deref(), Some(&["u1".into(), "u2".into()][..]));
    assert_eq!(filter.claims, [("org.id".into(), vec![json!(7)]), ("role".into(), vec![json!("admin")])]);
    assert_eq!((filter.channels.as_ref().unwrap()[0].as_str(), filter.exclude), ("room:1", Some(own)));
    let rest = format!("{:?}", &ran.effects[7..]);
    for part in ["Subscribe", "Unsubscribe", "code: 4001", "code: 1000", "Reply", "by: 1", "by: 5", "value: 2.0"] {
        assert!(rest.contains(part), "{part} in {rest}");
    }
}

#[test]
fn mistakes_in_calls_are_told_in_words() {
    for (body, what) in [
        ("publish(1, 2)", "a channel is a text or an array of texts, this is a whole number"),
        ("let c = \"a:\"; publish(c, 2)", "`a:` names no channel: a channel name has no empty segment"),
        (
            "send(\"nobody\", 1)",
            "a target is `event.connection`, a connection's id, `user(id)`, `filter(#{ … })` or `everyone()`; this is the text `nobody`, which is no connection's id",
        ),
        ("send((), 1)", "this is missing: ()"),
        (
            "let f = #{ users: [] }; send(filter(f), 1)",
            "`users` of a filter is empty, which would pass nobody: leave it out to pass all",
        ),
        ("let f = #{}; send(filter(f), 1)", "a filter that names nothing would pass all: write `everyone()`"),
        ("let f = #{ claims: #{} }; send(filter(f), 1)", "`claims` of a filter is empty, which would pass all"),
        ("let f = #{ claims: #{ role: () } }; send(filter(f), 1)", "the claim `role` of a filter is missing: ()"),
        (
            "let o = #{ exlude: 1 }; publish(\"a\", \"e\", 1, o)",
            "options of `publish` are `key`, `exclude` or `priority`, not `exlude`; did you mean `exclude`?",
        ),
        ("close(1005, \"\")", "1005 is no close code to send: 1000, 1001, 1003, 1007 to 1014, 3000 to 4999"),
        ("reply(200, 1)", "a reply has a status where a route is answered"),
        (
            "event.connection.ipp",
            "a connection has `id`, `ip`, `user_agent`, `connected_at`, `endpoint` or `vars`, not `ipp`; did you mean `ip`?",
        ),
        ("let d = \"5 sec\"; after(d, \"f\")", "`5 sec` is no duration: write \"500ms\", \"5s\", \"10m\" or \"1h30m\""),
        ("let n = \"g\"; after(5, n)", "the plugin has no function `g(event)`; did you mean `f`?"),
        ("after(5, |e| 1)", "a timer calls a function of the plugin by its name; a closure cannot be kept"),
        ("every(1, \"f\")", "`every` takes 10 ms at least, this is 1 ms"),
        ("let w = \"back\"; webhook(w, 1)", "the app's file declares no `[webhook.back]`"),
        ("set(\"k\", 1)", "there is no store: `[store]` of gateway.toml opens one"),
        ("count(\"n\", -1)", "a counter only grows; -1 is negative"),
        ("let x = event.data.a.b;", "`b` is read of something that is missing, `()`"),
        ("1 + #{}", "there is no function `+ (i64, map)` for values of these types"),
    ] {
        let told = told(body);
        assert!(told.contains(what), "{body}\n told: {told}\n want: {what}");
        assert!(told.starts_with("plugins/test.rhai:1:"), "{told}");
    }
}

#[test]
fn a_route_has_one_reply_with_status_and_headers() {
    let mut bench = bench(
        r#"fn f(event) { reply(201, #{ method: event.method, path: event.path, a: event.query.a, accept: event.headers.accept, n: event.data.n }, #{ Location: "/t/1" }); }
        fn twice(event) { reply(1); reply(2); }
        fn own(event) { reply(200, 1, #{ "Content-Length": 5 }); }
        fn odd(event) { reply(99, 1); }
        fn text(event) { reply("named", 1); }
        fn join_it(event) { join("lobby"); }"#,
    );
    let reply = bench.run("f", &route()).unwrap().reply.unwrap();
    assert_eq!((reply.status, &reply.headers[..]), (Some(201), &[("location".to_owned(), "/t/1".to_owned())][..]));
    assert_eq!(&reply.message.data[..], br#"{"a":"1","accept":"text/plain","method":"POST","n":1,"path":"/tickets"}"#);
    assert!(bench.fault("twice", &route()).what.contains("has one reply"));
    assert!(bench.fault("own", &route()).what.contains("the header `content-length` is set by Weir"));
    assert!(bench.fault("odd", &route()).what.contains("99 is no HTTP status of an answer"));
    assert!(bench.fault("join_it", &route()).what.contains("this call, about `route`, is of no connection"));
    let event = Event { asker: None, ..message("{}") };
    assert!(bench.fault("text", &event).what.contains("nobody waits for a reply: this call is about `message`"));
}

#[test]
fn timers_are_asked_for_by_name() {
    let mut bench = bench(
        r#"fn f(event) {
            after("5s", "ring"); after(250, Fn("ring"), #{ n: 1 }); every("ring:7", "1m", "ring", ()); cancel("ring:7");
        }
        fn ring(event) { this.rung = event.name; this.n = event.data.n; }"#,
    );
    let kept = bench.run("f", &message("{}")).unwrap().kept;
    let timer = |name: &str, after_ms, every, data: &str| Kept::Timer {
        name: name.into(),
        function: "ring".into(),
        after_ms,
        every,
        data: data.into(),
    };
    assert_eq!(
        kept,
        [
            timer("ring", 5_000, false, ""),
            timer("ring", 250, false, r#"{"n":1}"#),
            timer("ring:7", 60_000, true, ""),
            Kept::Cancel { name: "ring:7".into() }
        ]
    );
    let event = Event { trigger: Trigger::Timer { name: "ring".into() }, ..message(r#"{"n":1}"#) };
    bench.run("ring", &event).unwrap();
    assert_eq!(bench.state.to_json().unwrap(), r#"{"n":1,"rung":"ring"}"#);
    bench.entity = None;
    assert!(bench.fault("f", &message("{}")).what.contains("timers belong to an entity, and this call has none"));
}

#[test]
fn key_values_are_read_back_with_the_calls_own_writes() {
    let settings = crate::store::Settings { driver: crate::store::Driver::Memory, ..Default::default() };
    let store = crate::store::open(&settings, std::path::Path::new("."), None).unwrap();
    let (tell, told) = std::sync::mpsc::channel();
    let set = |key: &str| crate::store::Write::Set {
        app: "test".into(),
        key: key.into(),
        value: "7".into(),
        expires_at: None,
    };
    store.commit(vec![set("a:1"), set("a:2")], Box::new(move |done| tell.send(done).unwrap()));
    told.recv().unwrap().unwrap();
    let mut bench = bench(
        r#"fn f(event) {
            set("a:3", #{ n: 1 }, "10m"); delete("a:1"); set("b", 1);
            return [get("a:1"), get("a:2"), get("a:3").n, get("none"), get("none", 5), keys("a:")];
        }"#,
    );
    bench.store = Some(store);
    let ran = bench.run("f", &route()).unwrap();
    let value: Value = serde_json::from_slice(&ran.value.unwrap()).unwrap();
    assert_eq!(value, json!([null, 7, 1, null, 5, ["a:2", "a:3"]]));
    assert_eq!(ran.kept[0], Kept::Set { key: "a:3".into(), value: r#"{"n":1}"#.into(), expires_ms: Some(600_000) });
    assert_eq!(ran.kept.len(), 3);
}

#[test]
fn webhooks_are_kept_by_their_declared_name() {
    let mut bench = bench(r#"fn f(event) { webhook("backend", #{ n: 1 }); }"#);
    assert_eq!(
        bench.run("f", &message("{}")).unwrap().kept,
        [Kept::Webhook { name: "backend".into(), body: r#"{"n":1}"#.into() }]
    );
}

#[test]
fn the_gateway_is_read() {
    assert_eq!(value(r#"history("room:1").map(|e| e.data.n)"#), json!([1, 2, 3]));
    assert_eq!(
        value(r#"let e = history("room:1", 1)[0]; [e.event, e.at, e.offset, e.user]"#),
        json!(["note", NOW - 9, 1, null])
    );
    assert_eq!(value(r#"presence("room:1").map(|m| m.user.role)"#), json!(["nurse"]));
    assert_eq!(value(r#"[members("room:1"), members("room:3")]"#), json!([6, 0]));
    assert_eq!(value(r#"channels("room:1").map(|c| c.name)"#), json!(["room:1", "room:1:chat"]));
    assert_eq!(
        value(r#"let c = connections()[0]; [c.user.id, c.channels, c.ip, c.endpoint]"#),
        json!(["ann", ["room:1"], "127.0.0.1", "/ws"])
    );
    assert_eq!(value(r#"[connections(user("ann")).len(), count_connections(user("nobody"))]"#), json!([2, 0]));
    assert_eq!(value(r#"let s = stats(["role"]); [s.connections, s.by.role.nurse, stats().by]"#), json!([2, 2, {}]));
}

#[test]
fn settings_and_constants_are_seen_inside_functions() {
    let text = r#"const MAX = settings.limit * 2; const TABLE = #{ a: #{ b: [10, 20] } }; const NAMES = ["x", "y"];
        fn f(event) { [MAX, settings.name, settings.deep.er[1], TABLE.a.b[1], TABLE["a"].b.len(), NAMES.contains("y"), inner(), NAMES.map(|n| n + MAX)] }
        fn inner() { MAX + settings.limit }
        fn change(event) { TABLE.a.b.push(30); NAMES.clear(); }"#;
    let mut bench = bench(text);
    let ran = bench.run("f", &route()).unwrap();
    let value: Value = serde_json::from_slice(&ran.value.unwrap()).unwrap();
    assert_eq!(value, json!([6, "ward", 2, 20, 2, true, 9, ["x6", "y6"]]));
    let _ = bench.run("change", &message("{}")); // of a copy, or not at all
    assert_eq!(serde_json::from_slice::<Value>(&bench.run("f", &route()).unwrap().value.unwrap()).unwrap(), value);
}

#[test]
fn what_a_handler_prints_is_logged_with_its_place() {
    #[derive(Clone, Default)]
    struct Lines(std::sync::Arc<std::sync::Mutex<Vec<u8>>>);
    impl std::io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::DEBUG)
        .with_ansi(false)
        .without_time()
        .with_writer(move || writer.clone())
        .finish();
    let text = "fn f(event) {\n  print(\"hello\"); print(7); print(event.data);\n  debug([event.data.n]);\n}";
    let mut bench = bench(text);
    let ran = tracing::subscriber::with_default(subscriber, || bench.run("f", &message(r#"{"n":1}"#)).unwrap());
    assert!(ran.effects.is_empty());
    let told = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    let known = r#"app="test" handler="f" entity="room:1" at="plugins/test.rhai:"#;
    for line in [
        format!(" INFO plugin: hello {known}2:3\""),
        format!(" INFO plugin: 7 {known}2:19\""),
        format!(" INFO plugin: #{{\"n\": 1}} {known}2:29\""),
        format!("DEBUG plugin: [1] {known}3:3\""),
    ] {
        assert!(told.contains(&line), "{line}\nin\n{told}");
    }
}

#[test]
fn every_function_has_forms_a_sentence_and_an_example_that_compiles() {
    let table = functions_table();
    assert!(table.len() > 30, "{}", table.len());
    for function in table {
        assert!(!function.forms.is_empty() && function.doc.ends_with(['.', '!']), "{}", function.name);
        let text = format!(
            "fn f(event) {{ {}\n }}\nfn ring_timeout(event) {{}}\nfn send_progress(event) {{}}",
            function.example
        );
        if let Err(problems) = compile(&text, &Limits::default()) {
            panic!("{}: {}", function.name, shown(&problems));
        }
    }
}

#[test]
fn no_function_of_rhai_is_nearer_than_a_function_of_the_host() {
    assert_eq!(crate::script::functions::overlaps(), []);
}

#[test]
fn closures_share_nothing_with_the_state() {
    let mut bench = bench(
        r#"fn f(event) {
            let x = #{ n: 1 };
            let add = |by| { x.n += by; x.n };
            this.x = x; this.list = [x]; this.deep = #{ a: [x] };
            add.call(5);
            this.after = x.n;
        }"#,
    );
    bench.run("f", &message("{}")).unwrap();
    assert_eq!(bench.state.to_json().unwrap(), r#"{"after":6,"deep":{"a":[{"n":1}]},"list":[{"n":1}],"x":{"n":1}}"#);
    fn shared(value: &rhai::Dynamic) -> bool {
        value.is_shared()
            || value.as_map_ref().is_ok_and(|m| m.values().any(shared))
            || value.as_array_ref().is_ok_and(|a| a.iter().any(shared))
    }
    assert!(!shared(&bench.state.0));
}
