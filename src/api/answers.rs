//! What the verbs answer, as JSON: `weir schema openapi` describes it from here.

use super::fail::ProblemDetails;
use crate::model::{ChannelInfo, ConnectionInfo, Event, EventKind, Member, Position, iso8601};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;
use std::borrow::Cow;

/// `publish`
#[derive(Debug, Serialize, JsonSchema)]
pub struct Published {
    /// Connections on this node that it went to.
    pub recipients: u32,
    /// Where one channel was named, and its class keeps history: `e1f:42`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub position: Option<String>,
}

/// `broadcast`, `send`
#[derive(Debug, Serialize, JsonSchema)]
pub struct Sent {
    /// Connections on this node that it went to.
    pub recipients: u32,
}

/// `subscribe`, `unsubscribe`, `disconnect`, `cleanup`
#[derive(Debug, Serialize, JsonSchema)]
pub struct Changed {
    /// How many connections it was done to.
    pub connections: u32,
}

/// `presence`
#[derive(Debug, Serialize, JsonSchema)]
pub struct Present {
    pub channel: String,
    pub count: usize,
    pub members: Vec<PresentMember>,
}

/// A connection on a channel.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PresentMember {
    pub connection: String,
    pub user: Option<String>,
    /// ISO 8601.
    pub joined_at: String,
}

impl From<&Member> for PresentMember {
    fn from(member: &Member) -> PresentMember {
        PresentMember {
            connection: member.connection.to_string(),
            user: member.identity.user.as_deref().map(Into::into),
            joined_at: iso8601(member.joined_at),
        }
    }
}

/// `history`
#[derive(Debug, Serialize, JsonSchema)]
pub struct HistoryPage<'a> {
    pub channel: String,
    /// Of the channel's newest event: where a client goes on.
    pub position: String,
    /// Whether nothing since `since` is missing.
    pub complete: bool,
    /// Whether there is another page.
    pub more: bool,
    pub events: Vec<PastEvent<'a>>,
}

/// An event of a history; its data as published, byte for byte.
#[derive(Debug, Serialize, JsonSchema)]
pub struct PastEvent<'a> {
    pub position: String,
    /// Of those that presence made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<PastKind>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<Cow<'a, str>>,
    #[schemars(with = "Value")]
    pub data: Option<&'a RawValue>,
    /// ISO 8601.
    pub at: String,
}

#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum PastKind {
    Joined,
    Left,
}

impl<'a> PastEvent<'a> {
    pub fn of(event: &'a Event, epoch: u32) -> PastEvent<'a> {
        PastEvent {
            position: Position { epoch, offset: event.offset }.to_string(),
            kind: match event.kind {
                EventKind::Message => None,
                EventKind::Joined => Some(PastKind::Joined),
                EventKind::Left => Some(PastKind::Left),
            },
            event: event.event.as_deref().map(Cow::Borrowed),
            key: event.key.as_deref().map(Cow::Borrowed),
            data: serde_json::from_slice(&event.data).ok(),
            at: iso8601(event.at.wall),
        }
    }
}

/// `channels`
#[derive(Debug, Serialize, JsonSchema)]
pub struct ChannelList {
    pub count: usize,
    pub channels: Vec<ListedChannel>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub struct ListedChannel {
    pub channel: String,
    /// Connections on this node.
    pub subscribers: usize,
}

impl From<&ChannelInfo> for ListedChannel {
    fn from(info: &ChannelInfo) -> ListedChannel {
        ListedChannel { channel: info.name.to_string(), subscribers: info.subscribers }
    }
}

/// `connections`
#[derive(Debug, Serialize, JsonSchema)]
pub struct ConnectionList {
    /// How many there are; `connections` has `limit` of them at most.
    pub count: usize,
    pub connections: Vec<Connection>,
}

/// One connection: the record that the report builder's debug routes list.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Connection {
    pub id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_id: Option<String>,
    pub channels: Vec<String>,
    /// ISO 8601.
    pub last_activity: String,
    pub metadata: ConnectionMetadata,
    /// The path that it came to.
    pub endpoint: String,
    /// What waits to be written to it.
    pub queued_bytes: usize,
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConnectionMetadata {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_agent: Option<String>,
    pub ip: String,
    /// ISO 8601.
    pub connected_at: String,
}

impl From<&ConnectionInfo> for Connection {
    fn from(info: &ConnectionInfo) -> Connection {
        Connection {
            id: info.id.to_string(),
            user_id: info.identity.user.as_deref().map(Into::into),
            channels: info.channels.iter().map(ToString::to_string).collect(),
            last_activity: iso8601(info.last_activity),
            metadata: ConnectionMetadata {
                user_agent: info.user_agent.as_deref().map(Into::into),
                ip: info.ip.to_string(),
                connected_at: iso8601(info.connected_at),
            },
            endpoint: info.endpoint.to_string(),
            queued_bytes: info.queued_bytes,
        }
    }
}

/// What a route with `issue_token` answers.
#[derive(Debug, Serialize)]
pub struct Token<'a> {
    pub token: &'a str,
}

/// A command of a batch that was refused.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Failed {
    pub error: ProblemDetails,
}

/// `GET /healthz`
#[derive(Debug, Serialize, JsonSchema)]
pub struct Alive {
    /// `ok`
    pub status: String,
}

/// `GET /readyz`
#[derive(Debug, Serialize, JsonSchema)]
pub struct Readiness {
    pub status: ReadyStatus,
    /// Key sets and tables that cannot be had at the moment, and why. Those who need none of them are served.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub degraded: Option<Vec<String>>,
    /// Why it is not ready: `draining`, tasks that are down.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reasons: Option<Vec<String>>,
}

#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
pub enum ReadyStatus {
    #[serde(rename = "ready")]
    Ready,
    #[serde(rename = "not ready")]
    NotReady,
}
