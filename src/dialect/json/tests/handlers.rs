//! Message types that handlers answer, and what handlers say.

use super::*;
use crate::model::LimitKind;

/// A dialect whose messages a plugin answers.
const HANDLED: &str = r#"
    receive.cancel = { do = "handler", handler = "cancel", entity = "report:{reportId}", failed = "Failed to cancel" }
    receive.filter = { do = "handler", handler = "filter", data = "data.filter", channel = "data.room" }
    receive_default = { do = "handler", handler = "others" }
    send.error = { type = "error", code = "{error.code}", why = "{error.message}", details = "{error.details}" }
    delivery.timestamp = "timestamp"
    code."limit:members" = "ROOM_FULL"
    code.limit = "LIMIT"
    text."limit:members" = "the room is full"
"#;

#[test]
fn a_message_reaches_the_handler_that_its_type_is_bound_to() {
    let handled = dialect(HANDLED);
    let at = |kind: &str| handled.bound().iter().position(|b| *b.kind == *kind).unwrap();
    let bound = |kind, handler: &str, entity: Option<&str>, failed: Option<&str>| {
        let [entity, failed] = [entity, failed].map(|text| text.map(Into::into));
        assert_eq!(handled.bound()[at(kind)], Bound { kind: kind.into(), handler: handler.into(), entity, failed });
    };
    bound("cancel", "cancel", Some("report:{reportId}"), Some("Failed to cancel"));
    bound("filter", "filter", None, None);
    bound("", "others", None, None);

    let whole = r#"{"type":"cancel","n":1}"#;
    let ClientCommand::Handle { handler, data, channel } = read(&handled, whole).command else { panic!() };
    assert_eq!((handler as usize, data.get(), channel), (at("cancel"), whole, None));
    let request = read(&handled, r#"{"type":"filter","data":{"room":"a","filter":{"x":1}}}"#);
    assert_eq!(request.command.channel(), Some("a"));
    let ClientCommand::Handle { handler, data, .. } = request.command else { panic!() };
    assert_eq!((handler as usize, data.get()), (at("filter"), r#"{"x":1}"#));
    let ClientCommand::Handle { handler, .. } = read(&handled, r#"{"type":"what"}"#).command else { panic!() };
    assert_eq!(handler as usize, at(""));
    assert_eq!(handled.read(r#"{"type":"filter","data":{}}"#).unwrap_err().refusal.code, Code::InvalidMessage);
    assert!(handled.knows("cancel") && !handled.knows("what"));
}

#[test]
fn a_reply_is_the_handlers_data_or_what_the_template_makes_of_it() {
    let handled = dialect(HANDLED);
    let plain = Answer::Reply { event: None, data: br#"{"type":"report_cancelled"}"# };
    assert_eq!(say(&handled, plain, None), json!({ "type": "report_cancelled", "timestamp": TIME }));

    let wrapped = dialect(
        r#"type = "event"
        receive.ask = { do = "handler", handler = "ask" }
        send.reply  = { event = "{event}", of = "{request.type}", data = "{data}", n = "{data.list.n}", none = "{data.x}", at = "{now}", id = "{request.id}" }
        delivery    = { envelope = "wrapped", message = { event = "{event}", data = "{data}", channel = "{channel}" } }"#,
    );
    let request = read(&wrapped, r#"{"event":"ask","id":7}"#);
    let answer = Answer::Reply { event: Some("told"), data: br#"{"list":{"n":[1]}}"# };
    let told = json!({ "event": "told", "of": "ask", "data": { "list": { "n": [1] } }, "n": [1], "at": TIME, "id": 7 });
    assert_eq!(say(&wrapped, answer, Some(&request)), told);
    assert_eq!(say(&wrapped, Answer::Reply { event: None, data: b"5" }, None), json!({ "data": 5, "at": TIME }));
}

#[test]
fn what_a_plugin_sends_is_wrapped_where_deliveries_are() {
    let sent = |table: &str, event: Option<&str>| {
        let mut out = Vec::new();
        dialect(table).direct_event(event, br#"{"n":1}"#, AT, &mut out);
        String::from_utf8(out).unwrap()
    };
    let wrapped = r#"delivery = { envelope = "wrapped", message = { event = "{event}", data = "{data}", channel = "{channel}", at = "{timestamp}" } }"#;
    assert_eq!(sent(wrapped, Some("e")), format!(r#"{{"event":"e","data":{{"n":1}},"at":"{TIME}"}}"#));
    assert_eq!(sent(wrapped, None), format!(r#"{{"data":{{"n":1}},"at":"{TIME}"}}"#));
    assert_eq!(sent(TENANT, Some("e")), r#"{"n":1}"#, "`mixed` wraps what clients say");
    assert_eq!(sent(HANDLED, Some("e")), format!(r#"{{"n":1,"timestamp":"{TIME}"}}"#));
}

#[test]
fn a_handlers_own_code_is_told_as_it_is_and_a_bound_by_its_own_word() {
    let handled = dialect(HANDLED);
    let error = |refusal: Refusal| say(&handled, Answer::Error { refusal: &refusal, channel: None }, None);
    let own = Refusal {
        name: Some("ROOM_NOT_FOUND".into()),
        details: Some(r#"{"room":"a"}"#.into()),
        ..Refusal::because(Code::Limit, "no such room")
    };
    assert_eq!(
        error(own),
        json!({ "type": "error", "code": "ROOM_NOT_FOUND", "why": "no such room", "details": { "room": "a" } })
    );
    assert_eq!(
        error(Refusal::limit(LimitKind::Members)),
        json!({ "type": "error", "code": "ROOM_FULL", "why": "the room is full" })
    );
    let plain = |why: &str| json!({ "type": "error", "code": "LIMIT", "why": why });
    assert_eq!(error(Refusal::limit(LimitKind::Subscriptions)), plain("Too many subscriptions"));
    assert_eq!(error(Refusal::new(Code::Limit)), plain("Limit reached"));
    assert_eq!(error(Refusal::new(Code::Denied))["code"], "denied");
}

#[test]
fn a_handler_without_a_name_is_told_and_so_is_a_name_without_a_handler() {
    assert_eq!(
        problems(
            r#"
            receive.a = { do = "handler" }
            receive.b = { do = "handler", handler = "b", token = "t" }
            receive.c = { do = "ping", handler = "c", entity = "e", failed = "f" }
            send.reply = "{position}"
            code."limit:member" = "x"
            "#
        ),
        [
            "send.reply: unknown placeholder `{position}`",
            "receive.a.do: needs `handler`, the function of the plugin that answers",
            "receive.b.token: `token` means nothing here",
            "receive.c.handler: `handler` means nothing here",
            "receive.c.entity: `entity` means nothing here",
            "receive.c.failed: `failed` means nothing here",
            "code.limit:member: unknown code `limit:member` did you mean `limit:members`?",
        ]
    );
}
