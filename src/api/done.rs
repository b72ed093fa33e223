//! What became of a call → JSON, whole as the HTTP API answers it or in parts as routes name them.

use super::answers::{
    Changed, ChannelList, Connection, ConnectionList, HistoryPage, ListedChannel, PastEvent, Present, PresentMember,
    Published, Sent, Token,
};
use super::fail::json;
use super::json::members;
use crate::hub::Page;
use crate::model::{ChannelInfo, ChannelName, ConnectionInfo, Member, Position};
use bytes::Bytes;

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
        match self {
            Done::Published { recipients, position } => {
                json(&Published { recipients: *recipients, position: position.map(|p| p.to_string()) })
            }
            Done::Sent(recipients) => json(&Sent { recipients: *recipients }),
            Done::Changed(connections) => json(&Changed { connections: *connections }),
            Done::Presence(channel, members) => {
                let members: Vec<_> = members.iter().map(PresentMember::from).collect();
                json(&Present { channel: channel.to_string(), count: members.len(), members })
            }
            Done::History(channel, page) => json(&HistoryPage {
                channel: channel.to_string(),
                position: page.position.to_string(),
                complete: page.complete,
                more: page.more,
                events: page.events.iter().map(|event| PastEvent::of(event, page.position.epoch)).collect(),
            }),
            Done::Channels(list) => {
                json(&ChannelList { count: list.len(), channels: list.iter().map(ListedChannel::from).collect() })
            }
            Done::Connections(list, total) => {
                json(&ConnectionList { count: *total, connections: list.iter().map(Connection::from).collect() })
            }
            Done::Connection(info) => json(&Connection::from(&**info)),
            Done::Token(token) => json(&Token { token }),
            Done::Handled { result, .. } => {
                let text = result.as_deref().and_then(|r| std::str::from_utf8(r).ok());
                text.unwrap_or_default().to_owned()
            }
        }
    }

    /// One part as JSON text, by the name of its placeholder: a member of the answer, or what only routes name.
    pub fn field(&self, name: &str) -> Option<String> {
        match (self, name) {
            (Done::Changed(n), "count") => return Some(n.to_string()),
            (Done::History(_, page), "count") => return Some(page.events.len().to_string()),
            (Done::Connection(_), "connection") => return Some(self.to_json()),
            (Done::Handled { recipients, .. }, "recipients") => return Some(recipients.to_string()),
            (Done::Handled { result, .. }, "result") => return String::from_utf8(result.as_ref()?.to_vec()).ok(),
            (Done::Connection(_) | Done::Handled { .. }, _) => return None,
            _ => {}
        }
        let answer = self.to_json();
        let found = members(&answer).ok()?.into_iter().find(|(member, _)| member == name)?;
        Some(found.1.get().to_owned())
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
