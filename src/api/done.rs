//! What became of a call → JSON, whole as the HTTP API answers it or in parts as routes name them.

use crate::hub::Page;
use crate::model::{ChannelInfo, ConnectionInfo};
use crate::model::{ChannelName, Event, EventKind, Member, Position, iso8601};
use bytes::Bytes;
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

/// What became of a call.
#[derive(Debug)]
pub(super) enum Done {
    Published {
        recipients: u32,
        /// Where one channel was named, and its class keeps history.
        position: Option<Position>,
    },
    /// Connections that a message reached.
    Sent(u32),
    /// Connections that something was done to.
    Changed(u32),
    Presence(ChannelName, Vec<Member>),
    History(ChannelName, Page),
    Channels(Vec<ChannelInfo>),
    Connections(Vec<ConnectionInfo>, usize),
    Connection(Box<ConnectionInfo>),
    Token(String),
    /// A handler ended; `result`: JSON text that it returned.
    Handled {
        recipients: u32,
        result: Option<Bytes>,
    },
}

impl Done {
    /// The HTTP API's answer, as JSON text.
    pub fn to_json(&self) -> String {
        let fields: &[&str] = match self {
            Done::Published { .. } => &["recipients", "position"],
            Done::Sent(_) => &["recipients"],
            Done::Changed(_) => &["connections"],
            Done::Presence(..) => &["channel", "count", "members"],
            Done::History(..) => &["channel", "position", "complete", "more", "events"],
            Done::Channels(_) => &["count", "channels"],
            Done::Connections(..) => &["count", "connections"],
            Done::Connection(info) => return connection(info).to_string(),
            Done::Token(_) => &["token"],
            Done::Handled { result, .. } => {
                let text = result.as_deref().and_then(|r| std::str::from_utf8(r).ok());
                return text.unwrap_or_default().to_owned();
            }
        };
        let fields = fields.iter().filter_map(|name| Some(format!("\"{name}\":{}", self.field(name)?)));
        format!("{{{}}}", fields.collect::<Vec<_>>().join(","))
    }

    /// One part as JSON text, by the name of its placeholder.
    pub fn field(&self, name: &str) -> Option<String> {
        let value = match (self, name) {
            (Done::Published { recipients, .. } | Done::Sent(recipients), "recipients") => json!(recipients),
            (Done::Changed(n), "connections" | "count") => json!(n),
            (Done::Published { position, .. }, "position") => json!((*position)?.to_string()),
            (Done::Presence(channel, _) | Done::History(channel, _), "channel") => json!(channel.as_str()),
            (Done::Presence(_, members), "count") => json!(members.len()),
            (Done::Presence(_, members), "members") => members.iter().map(member).collect(),
            (Done::History(_, page), "position") => json!(page.position.to_string()),
            (Done::History(_, page), "complete") => json!(page.complete),
            (Done::History(_, page), "more") => json!(page.more),
            (Done::History(_, page), "count") => json!(page.events.len()),
            (Done::History(_, page), "events") => {
                let events: Vec<Shown> = page.events.iter().map(|e| Shown::of(e, page.position.epoch)).collect();
                return serde_json::to_string(&events).ok();
            }
            (Done::Channels(list), "count") => json!(list.len()),
            (Done::Channels(list), "channels") => list.iter().map(channel).collect(),
            (Done::Connections(_, total), "count") => json!(total),
            (Done::Connections(list, _), "connections") => list.iter().map(connection).collect(),
            (Done::Connection(info), "connection") => connection(info),
            (Done::Token(token), "token") => json!(token),
            (Done::Handled { recipients, .. }, "recipients") => json!(recipients),
            (Done::Handled { result, .. }, "result") => {
                return String::from_utf8(result.as_ref()?.to_vec()).ok();
            }
            _ => return None,
        };
        Some(value.to_string())
    }
}

/// What each `do` of a route gives to its reply.
pub(super) fn fields(action: &str) -> &'static [&'static str] {
    match action {
        "publish" => &["recipients", "position"],
        "broadcast" | "send" => &["recipients"],
        "subscribe" | "unsubscribe" | "disconnect" | "cleanup" => &["count"],
        "presence" => &["channel", "count", "members"],
        "history" => &["channel", "position", "complete", "more", "count", "events"],
        "channels" => &["count", "channels"],
        "connections" => &["count", "connections"],
        "connection" => &["connection"],
        "issue_token" => &["token"],
        "handler" => &["recipients", "result"],
        // An unknown verb is a fault by itself; what its reply names is not another.
        _ => &[
            "recipients",
            "position",
            "count",
            "channel",
            "members",
            "complete",
            "more",
            "events",
            "channels",
            "connections",
            "connection",
            "token",
        ],
    }
}

fn member(member: &Member) -> Value {
    json!({
        "connection": member.connection.to_string(),
        "user": member.identity.user,
        "joinedAt": iso8601(member.joined_at),
    })
}

/// An event of a history; its data as published, byte for byte.
#[derive(Serialize)]
struct Shown<'a> {
    position: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    event: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<&'a str>,
    data: Option<&'a RawValue>,
    at: String,
}

impl<'a> Shown<'a> {
    fn of(event: &'a Event, epoch: u32) -> Shown<'a> {
        Shown {
            position: Position { epoch, offset: event.offset }.to_string(),
            kind: match event.kind {
                EventKind::Message => None,
                EventKind::Joined => Some("joined"),
                EventKind::Left => Some("left"),
            },
            event: event.event.as_deref(),
            key: event.key.as_deref(),
            data: serde_json::from_slice(&event.data).ok(),
            at: iso8601(event.at.wall),
        }
    }
}

fn channel(info: &ChannelInfo) -> Value {
    json!({ "channel": info.name.as_str(), "subscribers": info.subscribers })
}

/// The connection record that the report builder's debug routes list.
fn connection(info: &ConnectionInfo) -> Value {
    let channels: Vec<&str> = info.channels.iter().map(ChannelName::as_str).collect();
    let mut out = Map::new();
    out.insert("id".into(), info.id.to_string().into());
    out.extend(info.identity.user.as_deref().map(|user| ("userId".into(), user.into())));
    out.insert("channels".into(), channels.into());
    out.insert("lastActivity".into(), iso8601(info.last_activity).into());
    let mut metadata = Map::new();
    metadata.extend(info.user_agent.as_deref().map(|agent| ("userAgent".into(), agent.into())));
    metadata.insert("ip".into(), info.ip.to_string().into());
    metadata.insert("connectedAt".into(), iso8601(info.connected_at).into());
    out.insert("metadata".into(), metadata.into());
    out.insert("endpoint".into(), (*info.endpoint).into());
    out.insert("queuedBytes".into(), info.queued_bytes.into());
    out.into()
}
