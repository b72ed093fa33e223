//! What clients are told, and what is wrong with a table.

use super::*;

#[test]
fn answers_hold_what_is_known_and_drop_what_is_not() {
    let full = dialect(FULL);
    let at = Some(Position { epoch: 0xe1, offset: 6 });
    let answer = Answer::Subscribed { channel: "a\"b", position: at, recovered: Some(true) };
    let subscribed =
        json!({ "type": "subscribed", "channel": "a\"b", "at": "e1:6", "epoch": "e1", "offset": 6, "recovered": true });
    assert_eq!(say(&full, answer, None), subscribed);
    let answer = Answer::Subscribed { channel: "a", position: None, recovered: None };
    assert_eq!(say(&full, answer, None), json!({ "type": "subscribed", "channel": "a" }));
    let answer = Answer::Published { channel: "a", position: at };
    assert_eq!(say(&full, answer, None), json!({ "type": "published", "at": "e1:6", "in": "eu" }));
    assert_eq!(say(&full, Answer::Expiring { in_ms: 500 }, None), json!({ "type": "expiring", "in_ms": 500 }));
    assert_eq!(
        say(&full, Answer::Gap { channel: "a", missed: 3 }, None),
        json!({ "type": "gap", "channel": "a", "missed": 3 })
    );
    let busy = Refusal::new(Code::Overloaded);
    assert_eq!(
        say(&full, Answer::Error { refusal: &busy, channel: Some("a") }, None),
        json!({ "type": "error", "code": "overloaded", "why": "Overloaded, try again", "again": true, "channel": "a" })
    );
    assert_eq!(say(&full, Answer::Pong, None), Value::Null);
    assert_eq!(
        say(&full, Answer::UnsubscribeResult { channels: &["a", "b"] }, None),
        json!({ "type": "gone", "channels": ["a", "b"] })
    );
    assert!(full.answers_unsubscribe_in_whole());
    let taken = Answer::Revoked { channel: "a", refusal: None };
    assert_eq!(say(&full, taken, None), json!({ "type": "unsubscribed", "channel": "a" }));
    let status = say(&full, Answer::Status, None);
    assert_eq!((&status["ip"], &status["since"]), (&json!("127.0.0.1"), &json!(TIME)));
}

#[test]
fn history_and_presence_are_lists() {
    let full = dialect(FULL);
    let first = Event { offset: 1, ..event(r#"{"count":{"n":9}}"#) };
    let second = Event { offset: 2, key: Some("k".into()), ..event("true") };
    let left = Event { kind: EventKind::Left, ..event("") };
    let events = [first, left, second];
    let answer = Answer::History {
        channel: "a",
        position: Some(Position { epoch: 0xe1, offset: 2 }),
        events: &events,
        more: false,
    };
    let list =
        json!([{ "n": 9, "data": { "count": { "n": 9 } }, "at": "e1:1" }, { "key": "k", "data": true, "at": "e1:2" }]);
    assert_eq!(say(&full, answer, None), json!({ "type": "history", "events": list, "more": false, "at": "e1:2" }));

    let members = [
        Member { connection: ANN, identity: Arc::new(ann()), joined_at: AT },
        Member { connection: ANN, identity: Identity::anonymous(), joined_at: AT },
    ];
    let list = json!([{ "id": "ann", "role": "nurse", "name": "ann (nurse)" }, { "name": " ()" }]);
    let presence = json!({ "type": "presence", "channel": "a", "members": list });
    assert_eq!(say(&full, Answer::Presence { channel: "a", members: &members }, None), presence);
}

#[test]
fn joins_are_told_where_the_table_has_a_word_for_them() {
    let full = dialect(FULL);
    let joined = Event { kind: EventKind::Joined, ..event("") };
    let told: Value = serde_json::from_str(&heard(&full, &joined)).unwrap();
    assert_eq!(told, json!({ "type": "joined", "who": "ann", "role": "nurse", "channel": "chat:1" }));
    let left = Event { kind: EventKind::Left, ..event("") };
    let mut out = Vec::new();
    assert!(!full.deliver("chat:1", 1, &left, &mut out) && out.is_empty());
}

#[test]
fn a_stop_is_told_where_the_table_has_a_word_for_it() {
    let told = dialect(r#"send.shutdown = { event = "bye", data = { to = "{user.id}" } }"#);
    assert_eq!(say(&told, Answer::Shutdown, None)["event"], "bye");
    let quiet = dialect(r#"send.pong = "pong""#);
    assert_eq!(say(&quiet, Answer::Shutdown, None), Value::Null);
}

#[test]
fn all_mistakes_of_a_table_are_told_at_once() {
    assert_eq!(
        problems(
            r#"
            receive.PING = { do = "publish" }
            receive.SUB  = { do = "subscribe", channel = "a", channels = "b" }
            receive.X    = { do = "ping", token = "t" }
            receive.Y    = { do = "presence", channel = "data..x" }
            send.hello   = { type = "hi", data = { userId = "{usr.id}" } }
            send.pong    = ["{members}"]
            send.error   = "{error.mesage}"
            delivery     = { envelope = "wrapped", message = ["{user.id}", "{now}", "{sender.}"] }
            text         = { denyed = "no", denied = "{error.message}" }
            shutdown     = { code = 1006, reason = "" }
            "#
        ),
        [
            "send.hello.data.userId: unknown placeholder `{usr.id}` did you mean `user.id`?",
            "send.pong[0]: unknown placeholder `{members}`",
            "send.error: unknown placeholder `{error.mesage}` did you mean `error.message`?",
            "receive.PING.do: needs `channel`, where the name lies in the message",
            "receive.SUB.do: needs either `channel` or `channels`, where the names lie in the message",
            "receive.X.token: `token` means nothing here",
            "receive.Y.channel: `data..x` is no path",
            "text.denied: unknown placeholder `{error.message}`",
            "text.denyed: unknown code `denyed` did you mean `denied`?",
            "delivery.message[0]: `{user.id}` in a delivery, which is written once for all who hear it the publisher is `{sender.id}`",
            "delivery.message[1]: unknown placeholder `{now}` the event's time is `{timestamp}`",
            "delivery.message[2]: unknown placeholder `{sender.}` did you mean `sender.id`?",
            "shutdown.code: 1006 is no close code to send",
        ]
    );
    assert_eq!(
        problems(r#"delivery = { message = "{data}" }"#),
        ["delivery.message: `message` means nothing to envelope `raw`"]
    );
    assert_eq!(problems(r#"delivery.timestamp = "a b""#), ["delivery.timestamp: `a b` is no field name to add"]);
}

#[test]
fn an_empty_table_is_a_dialect_that_only_listens() {
    let empty = dialect("");
    assert_eq!(say(&empty, Answer::Hello, None), Value::Null);
    assert_eq!(empty.read(r#"{"type":"x"}"#).unwrap_err().refusal.code, Code::UnknownType);
    assert_eq!(heard(&empty, &event("[1]")), "[1]");
    assert!(toml::from_str::<Settings>("quite = true").is_err());
    let schema = serde_json::to_string(&schemars::schema_for!(Settings)).unwrap();
    assert!(schema.contains("\"DialectSettings\"") && schema.contains("channels_max"));
}
