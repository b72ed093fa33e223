//! A client's text: refused or read, and whatever is answered or delivered because of it is JSON.

use bytes::Bytes;
use serde::de::IgnoredAny;
use serde_json::{Map, Value};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::LazyLock;
use weir::dialect::{About, Answer, Asked, Json, Settings};
use weir::model::{
    Channels, ClientCommand, Code, ConnectionId, Event, EventKind, Identity, Now, Position, Refusal, Sender,
};

const SHIPPED: [(&str, &str); 5] = [
    (include_str!("../../../channels/reports.toml"), "reports"),
    (include_str!("../../../channels/clinic.toml"), "clinic"),
    (include_str!("../../config/bench/channels/bench.toml"), "mini"),
    (include_str!("../../config/invented/channels/fleet.toml"), "radio"),
    (include_str!("../../config/desk/channels/desk.toml"), "desk"),
];

static DIALECTS: LazyLock<Vec<Json>> = LazyLock::new(|| {
    let read = |(file, name): (&str, &str)| {
        let file: Map<String, Value> = toml::from_str(file).unwrap();
        let settings: Settings = serde_json::from_value(file["dialect"][name].clone()).unwrap();
        Json::compile(&settings).unwrap()
    };
    SHIPPED.into_iter().map(read).collect()
});

/// First byte: which dialect. The rest: the message.
pub fn play(input: &[u8]) {
    let Some((&which, text)) = input.split_first() else { return };
    let Ok(text) = std::str::from_utf8(text) else { return };
    let json = &DIALECTS[which as usize % DIALECTS.len()];
    let object = is_json(text) && text.trim_ascii_start().starts_with('{');
    match json.read(text) {
        Ok(request) => {
            assert!(object, "something was read that is no JSON object");
            let asked = Asked { id: request.id, kind: &request.kind };
            request.id.inspect(|id| assert!(is_json(id.get())));
            for answer in [Answer::Hello, Answer::Pong, Answer::Status, Answer::Authenticated] {
                say(json, answer, Some(asked));
            }
            obey(json, &request.command, asked);
        }
        Err(refused) => {
            assert!(matches!(refused.refusal.code, Code::InvalidMessage | Code::UnknownType | Code::Limit));
            assert!(object || refused.refusal.code == Code::InvalidMessage);
            let asked = Asked { id: refused.id, kind: &refused.kind };
            say(json, Answer::Error { refusal: &refused.refusal, channel: None }, Some(asked));
        }
    }
}

fn obey(json: &Json, command: &ClientCommand, asked: Asked) {
    let denied = Refusal::because(Code::Denied, "\"no\"\n");
    let position = Some(Position { epoch: 0xe1f, offset: 42 });
    match command {
        ClientCommand::Subscribe { channels, since } => {
            for channel in channels {
                say(json, Answer::Subscribed { channel, position: *since, recovered: Some(false) }, Some(asked));
                say(json, Answer::Error { refusal: &denied, channel: Some(channel) }, Some(asked));
                say(json, Answer::Revoked { channel, refusal: Some(&denied) }, None);
            }
            let (allowed, refused) = (borrowed(channels), channels.iter().map(|c| (&**c, &denied)).collect::<Vec<_>>());
            say(json, Answer::SubscribeResult { allowed: &allowed, denied: &refused }, Some(asked));
        }
        ClientCommand::Unsubscribe { channels } => {
            say(json, Answer::UnsubscribeResult { channels: &borrowed(channels) }, Some(asked));
        }
        ClientCommand::Publish { channel, data, event, key } => {
            assert!(is_json(data.get()));
            let sender = Sender { connection: ConnectionId::uuid(7), identity: Identity::anonymous() };
            let event = Event {
                kind: EventKind::Message,
                data: Bytes::copy_from_slice(data.get().as_bytes()),
                event: event.as_deref().map(Into::into),
                key: key.as_deref().map(Into::into),
                sender: Some(sender),
                exclude: None,
                priority: Default::default(),
                offset: 42,
                at: Now::at(1_704_623_400_000),
            };
            let mut out = Vec::new();
            assert!(json.deliver(channel, 0xe1f, &event, &mut out));
            assert_json(&out);
            say(json, Answer::Published { channel, position }, Some(asked));
            say(json, Answer::History { channel, position, events: &[event.clone(), event], more: true }, Some(asked));
        }
        ClientCommand::History { channel, .. } => {
            say(json, Answer::History { channel, position, events: &[], more: false }, Some(asked));
        }
        ClientCommand::Handle { handler, data, .. } => {
            assert!(is_json(data.get()) && (*handler as usize) < json.bound().len());
            say(json, Answer::Reply { event: Some("\"e\""), data: data.get().as_bytes() }, Some(asked));
            let mut out = Vec::new();
            json.direct_event(None, data.get().as_bytes(), 1_704_623_400_000, &mut out);
            assert_json(&out);
        }
        ClientCommand::Presence { channel } => say(json, Answer::Presence { channel, members: &[] }, Some(asked)),
        ClientCommand::Ping
        | ClientCommand::Status
        | ClientCommand::Authenticate { .. }
        | ClientCommand::Close
        | ClientCommand::Ignore => {}
    }
}

fn borrowed<'c>(channels: &'c Channels) -> Vec<&'c str> {
    channels.iter().map(|c| &**c).collect()
}

fn say(json: &Json, answer: Answer, request: Option<Asked>) {
    let (settings, identity) = (Map::new(), Identity::anonymous());
    let about = About {
        now: 1_704_623_400_000,
        connection: ConnectionId::uuid(7),
        connected_at: 0,
        last_activity: u64::MAX,
        identity: &identity,
        channels: &|each| ["a", "\"b\"\u{7f}"].into_iter().for_each(each),
        ip: IpAddr::V4(Ipv4Addr::LOCALHOST),
        settings: &settings,
        request,
    };
    let mut out = Vec::new();
    match json.write(&answer, &about, &mut out) {
        true => assert_json(&out),
        false => assert!(out.is_empty()),
    }
}

fn assert_json(out: &[u8]) {
    let text = std::str::from_utf8(out).expect("a text message is UTF-8");
    assert!(is_json(text), "not JSON: {text}");
}

fn is_json(text: &str) -> bool {
    serde_json::from_str::<IgnoredAny>(text).is_ok()
}
