//! One call: what it is told, what it asks for, and that it asks for nothing when it fails.

use super::support::*;
use crate::model::*;
use crate::script::Event;
use crate::script::*;
use serde_json::json;

#[test]
fn a_handler_keeps_state_and_publishes() {
    let mut bench = bench(
        r#"fn note(event) {
            this.count = (this.count ?? 0) + event.data.n;
            publish(`room:${event.vars.room}:log`, #{ count: this.count, by: event.user.id });
        }"#,
    );
    bench.run("note", &message(r#"{"n":2}"#)).unwrap();
    let ran = bench.run("note", &message(r#"{"n":5}"#)).unwrap();
    assert_eq!(publications(&ran), [r#"room:1:log {"by":"ann","count":7}"#]);
    assert_eq!(bench.state.to_json().unwrap(), r#"{"count":7}"#);
    assert!(ran.operations > 5);
}

#[test]
fn a_handler_that_throws_after_three_effects_asks_for_nothing() {
    let mut bench = bench(
        r#"fn note(event) {
            this.seen = true;
            publish("a", 1); publish("b", 2); send(event.connection, 3);
            throw "no more";
        }"#,
    );
    let fault = bench.fault("note", &message("{}"));
    assert_eq!(fault.to_string(), "plugins/test.rhai:4:13: no more");
    assert_eq!(bench.state.to_json().unwrap(), "{}");
}

#[test]
fn a_refusal_ends_the_call_and_cannot_be_caught() {
    let mut bench = bench(
        r#"fn no(event) { publish("a", 1); try { deep() } catch { } publish("b", 2); }
        fn deep() { refuse("denied", "Only nurses") }
        fn own(event) { refuse("TICKET_GONE", "Too late", #{ ticket: 7 }) }"#,
    );
    let refusal = bench.refusal("no", &message("{}"));
    assert_eq!((refusal.code, refusal.message.as_deref()), (Code::Denied, Some("Only nurses")));
    let refusal = bench.refusal("own", &message("{}"));
    assert_eq!(refusal.name.as_deref(), Some("TICKET_GONE"));
    assert_eq!(refusal.details.as_deref(), Some(r#"{"ticket":7}"#));
}

#[test]
fn all_that_a_message_is_told_can_be_read() {
    let told = r#"return #{ kind: event.kind, typ: event.type, role: event.user.role, known: event.user.known,
        nothing: event.user.nothing, org: event.user.org.id, ip: event.connection.ip, agent: event.connection.user_agent,
        channel: event.channel, room: event.vars.room, at: event.at, data: event.data, none: event.code };"#;
    let mut bench = bench(&format!("fn f(event) {{ reply(value(event)) }} fn value(event) {{ {told} }}"));
    let ran = bench.run("f", &message(r#"{"big":18446744073709551615,"text":"é","list":[1,2.5,null,true]}"#)).unwrap();
    let Effect::Reply(reply) = &ran.effects[0] else { panic!("{ran:?}") };
    let told: serde_json::Value = serde_json::from_slice(&reply.message.data).unwrap();
    assert_eq!(
        told,
        json!({ "kind": "message", "typ": "note", "role": "nurse", "known": true, "nothing": null, "org": 7,
            "ip": "127.0.0.1", "agent": "test", "channel": "room:1", "room": "1", "at": NOW, "none": null,
            "data": { "big": 18446744073709551615_u64, "text": "é", "list": [1, 2.5, null, true] } })
    );
}

#[test]
fn what_is_read_of_a_message_is_there_however_it_is_read() {
    let message_text = r#"{"a":{"b":{"c":1,"d":2},"e":[{"f":3}]},"text":"four","list":[1,{"x":5}],"len":9}"#;
    for (body, told) in [
        ("event.data.a.b.c", json!(1)),
        ("event.data.a.b", json!({ "c": 1, "d": 2 })),
        ("[event.data.a.b.c, event.data.a]", json!([1, { "b": { "c": 1, "d": 2 }, "e": [{ "f": 3 }] }])),
        ("event.data.a.e[0].f", json!(3)),
        ("event.data.list[1].x", json!(5)),
        ("event.data.text.len", json!(4)),
        ("event.data.text.len()", json!(4)),
        ("event.data.list.len", json!(2)),
        ("event.data.len", json!(9)),
        ("event.data[\"a\"][\"b\"].d", json!(2)),
        ("event[\"data\"].a.b.d", json!(2)),
        ("let k = \"a\"; event.data[k].b.c", json!(1)),
        ("event.data.keys().len()", json!(4)),
        ("event?.data?.a?.b?.c", json!(1)),
        ("event.data.none?.x", json!(null)),
        ("event.data.a.b.keys()", json!(["c", "d"])),
        ("\"text\" in event.data", json!(true)),
        ("event.data.a.b.c += 5; event.data.a.b.c", json!(6)),
        ("event.data.fresh = 5; event.data.fresh", json!(5)),
        ("event.data.fresh = 5; event.data.keys().len()", json!(5)),
        ("[1].map(|n| n + event.data.a.b.d)", json!([3])),
        ("let d = event.data; d.a.b.d", json!(2)),
        ("let e = event; e.data.text", json!("four")),
        ("helper(event)", json!("four")),
        ("event.data.a.helper_of_map()", json!(2)),
        ("`${event.data.text}!`", json!("four!")),
        ("if event.data.text == \"four\" { event.data.len } else { 0 }", json!(9)),
        ("switch event.data.a.b.c { 1 => event.data.text, _ => () }", json!("four")),
        ("for x in event.data.list { return x; }", json!(1)),
    ] {
        let text =
            format!("fn f(event) {{ {body} }}\nfn helper(e) {{ e.data.text }}\nfn helper_of_map() {{ this.b.d }}");
        let mut bench = bench(&text);
        let event = Event { data: message_text.into(), ..route() };
        let ran = bench.run("f", &event).unwrap_or_else(|e| panic!("{body}: {e:?}"));
        let value = ran.value.map_or(json!(null), |v| serde_json::from_slice(&v).unwrap());
        assert_eq!(value, told, "{body}");
    }
}

#[test]
fn what_is_not_read_is_not_judged_but_must_be_json() {
    let limits = Limits { array_items: 3, ..patient() };
    let mut bench = bench_with("fn f(event) { this.a = event.data.a; } fn g(event) { this.n = event.kind; }", limits);
    bench.run("f", &message(r#"{"a":1,"list":[1,2,3,4,5]}"#)).unwrap();
    assert_eq!(bench.refusal("f", &message(r#"{"a":[1,2,3,4],"b":2}"#)).code, Code::TooLarge);
    assert_eq!(bench.refusal("f", &message(r#"{"a":1,"b":}"#)).code, Code::InvalidMessage);
    bench.run("g", &message("not read at all")).unwrap();
    assert_eq!(bench.state.to_json().unwrap(), r#"{"a":1,"n":"message"}"#);
}
