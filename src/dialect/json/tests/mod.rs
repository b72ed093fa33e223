//! Tables to speak by, and ann who speaks.

mod answers;
mod documents;
mod handlers;
mod requests;

use super::*;
use crate::model::{
    ClientCommand, Code, ConnectionId, Event, EventKind, Identity, Now, Position, Refusal, Request, Sender,
};
use bytes::Bytes;
use serde_json::{Value, json};
use std::sync::Arc;

const AT: u64 = 1_704_623_400_000;
const TIME: &str = "2024-01-07T10:30:00.000Z";
const ANN: ConnectionId = ConnectionId(0x550e8400_e29b_41d4_a716_446655440000);

/// S2, as far as a table can say it.
const TENANT: &str = r#"
    receive.ping          = { do = "ping" }
    receive.join_channel  = { do = "subscribe",   channel = "data.channel" }
    receive.leave_channel = { do = "unsubscribe", channel = "data.channel" }
    receive.send_message  = { do = "publish",     channel = "data.channel", data = "data.message" }
    send.hello        = { type = "connection", data = { connectionId = "{connection.id}", timestamp = "{now}" } }
    send.pong         = { type = "pong", data = { timestamp = "{now}" } }
    send.subscribed   = { type = "channel_joined", data = { channel = "{channel}" } }
    send.unsubscribed = { type = "channel_left", data = { channel = "{channel}" } }
    send.error        = { type = "error", data = { error = "{error.message}" } }
    text = { unknown_type = "Unknown message type: {request.type}", denied = "Access denied to channel" }
    delivery.envelope = "mixed"
    delivery.message  = { type = "channel_message", data = { channel = "{channel}", message = "{data}", sender = { id = "{sender.id}", connectionId = "{sender.connection}" }, timestamp = "{timestamp}" } }
"#;

/// S4 without Socket.IO.
const INTRADAY: &str = r#"
    type = "event"
    receive.authenticate  = { do = "authenticate", token = "data.token" }
    receive.subscribe     = { do = "subscribe", channels = "data.channels" }
    receive."client:ping" = { do = "ping" }
    receive_default       = { do = "publish", channel = "data.room", data = "data", event = "event" }
    send.authenticated = { event = "authenticated", id = "{request.id}", data = { success = true, socket_id = "{connection.id}", user_id = "{user.id}", organization_id = "{user.org.id}" } }
    send.subscribed    = { event = "subscribed", data = { channel = "{channel}" }, id = "{request.id}" }
    send.pong          = { event = "client:pong", data = { pong = true, server_time = "{now}" }, id = "{request.id}" }
    send.error         = { event = "error", data = { code = "{error.code}", message = "{error.message}", timestamp = "{now}" }, id = "{request.id}" }
    code     = { unauthenticated = "AUTH_FAILED", denied = "UNAUTHORIZED", invalid_message = "INVALID_MESSAGE" }
    delivery = { envelope = "wrapped", message = { event = "{event}", data = "{data}" } }
"#;

/// A dialect that has a word for everything.
const FULL: &str = r#"
    receive.sub  = { do = "subscribe", channels = "to", since = "since", channels_max = 3 }
    receive.pub  = { do = "publish", channel = "to", data = "body", event = "name", key = "of" }
    receive.past = { do = "history", channel = "to", since = "since", limit = "limit" }
    receive.who  = { do = "presence", channel = "to", id = "meta.id" }
    receive.all  = { do = "publish", channel = "to" }
    receive.bye  = { do = "close" }
    receive.psst = { do = "ignore" }
    send.subscribed = { type = "subscribed", channel = "{channel}", at = "{position}", epoch = "{epoch}", offset = "{offset}", recovered = "{recovered}" }
    send.published  = { type = "published", at = "{position}", in = "{settings.region.name}" }
    send.history    = { type = "history", events = "{events}", more = "{more}", at = "{position}" }
    send.presence   = { type = "presence", channel = "{channel}", members = "{members}" }
    send.expiring   = { type = "expiring", in_ms = "{in_ms}" }
    send.gap        = { type = "gap", channel = "{channel}", missed = "{missed}" }
    send.error      = { type = "error", code = "{error.code}", why = "{error.message}", again = "{error.retry}", channel = "{channel}" }
    send.unsubscribed       = { type = "unsubscribed", channel = "{channel}" }
    send.unsubscribe_result = { type = "gone", channels = "{channels}" }
    send.joined = { type = "joined", who = "{sender.id}", role = "{sender.role}", channel = "{channel}", at = "{position}" }
    send.status = { ip = "{connection.ip}", since = "{connection.connected_at}", seen = "{connection.last_activity}", list = "{connection.channels}" }
    member   = { id = "{member.id}", role = "{member.role}", name = "{member.id} ({member.role})" }
    delivery = { envelope = "wrapped", message = { n = "{data.count.n}", key = "{key}", data = "{data}", at = "{position}" } }
"#;

fn settings(table: &str) -> Settings {
    toml::from_str(table).unwrap()
}

fn dialect(table: &str) -> Json {
    Json::compile(&settings(table)).unwrap()
}

/// The `[dialect.NAME]` table of a shipped app.
fn shipped(file: &str, name: &str) -> Json {
    let path = format!("{}/channels/{file}.toml", env!("CARGO_MANIFEST_DIR"));
    let mut file: toml::Table = std::fs::read_to_string(path).unwrap().parse().unwrap();
    let written = file.remove("dialect").unwrap().try_into().unwrap();
    let (mut whole, problems) = Settings::inherited(&written);
    assert_eq!(problems, []);
    Json::compile(&whole.remove(name).unwrap()).unwrap()
}

fn ann() -> Identity {
    let claims = json!({ "role": "nurse", "org": { "id": "o1" } });
    Identity { user: Some("ann".into()), claims: claims.as_object().unwrap().clone(), ..Identity::default() }
}

fn read<'a>(dialect: &Json, text: &'a str) -> Request<'a> {
    dialect.read(text).unwrap_or_else(|refused| panic!("{text}: {refused:?}"))
}

/// What ann is told; objects compare without regard to order.
fn say(dialect: &Json, answer: Answer, asked: Option<&Request>) -> Value {
    let (identity, settings) = (ann(), json!({ "region": { "name": "eu" } }));
    let about = About {
        now: AT,
        connection: ANN,
        connected_at: AT,
        last_activity: AT + 7,
        identity: &identity,
        channels: &|each| ["a", "b"].into_iter().for_each(each),
        ip: [127, 0, 0, 1].into(),
        settings: settings.as_object().unwrap(),
        request: asked.map(|request| Asked { id: request.id, kind: &request.kind }),
    };
    let mut out = Vec::new();
    match dialect.write(&answer, &about, &mut out) {
        true => serde_json::from_slice(&out).unwrap_or_else(|e| panic!("{}: {e}", String::from_utf8_lossy(&out))),
        false => {
            assert_eq!(out, b"");
            Value::Null
        }
    }
}

/// What ann is told after a message that is refused.
fn refused(dialect: &Json, text: &str) -> Value {
    let no = dialect.read(text).map(|request| format!("{request:?}")).unwrap_err();
    let command = ClientCommand::Ignore;
    let asked = Request { id: no.id, kind: no.kind, command };
    say(dialect, Answer::Error { refusal: &no.refusal, channel: None }, Some(&asked))
}

fn event(data: &str) -> Event {
    let data = Bytes::copy_from_slice(data.as_bytes());
    let sender = Some(Sender { connection: ANN, identity: Arc::new(ann()) });
    Event {
        kind: EventKind::Message,
        data,
        event: None,
        key: None,
        sender,
        exclude: None,
        priority: crate::model::Priority::default(),
        offset: 0,
        at: Now { wall: AT, ..Now::default() },
    }
}

fn heard(dialect: &Json, event: &Event) -> String {
    let mut out = Vec::new();
    assert!(dialect.deliver("chat:1", 0xe1, event, &mut out));
    String::from_utf8(out).unwrap()
}

fn problems(table: &str) -> Vec<String> {
    let told = Json::compile(&settings(table)).unwrap_err();
    told.into_iter()
        .map(|p| format!("{}: {} {}", p.path, p.what, p.hint.unwrap_or_default()).trim().to_owned())
        .collect()
}
