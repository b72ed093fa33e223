//! What a dialect is asked to say, and about whom.

use crate::model::{ConnectionId, Event, Identity, Millis, Position, Refusal};
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use std::borrow::Cow;
use std::net::IpAddr;

/// Who is on a channel with presence.
pub use crate::model::Member;

/// Calls its argument with names of channels, one by one.
pub type EachChannel<'a> = &'a dyn Fn(&mut dyn FnMut(&str));

/// The connection that is told, and what it asked.
#[derive(Clone, Copy)]
pub struct About<'a> {
    pub now: Millis,
    pub connection: ConnectionId,
    pub connected_at: Millis,
    pub last_activity: Millis,
    pub identity: &'a Identity,
    /// The channels that the connection hears.
    pub channels: EachChannel<'a>,
    pub ip: IpAddr,
    /// The app's `[settings]`.
    pub settings: &'a Map<String, Value>,
    /// The message that is answered; `None`: said unasked.
    pub request: Option<Asked<'a>>,
}

/// A message that is answered.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    pub id: Option<&'a RawValue>,
    /// Its type, as the client wrote it.
    pub kind: &'a str,
}

/// One thing to say to one connection.
#[derive(Clone, Copy, Debug)]
pub enum Answer<'a> {
    Hello,
    Pong,
    Status,
    Subscribed {
        channel: &'a str,
        /// Where the channel stands, where its class keeps history.
        position: Option<Position>,
        /// Whether all since the position asked for follows; `None`: none was asked for.
        recovered: Option<bool>,
    },
    /// For dialects that answer a subscribe message in whole.
    SubscribeResult {
        allowed: &'a [&'a str],
        denied: &'a [(&'a str, &'a Refusal)],
    },
    Unsubscribed {
        channel: &'a str,
    },
    /// For dialects that answer an unsubscribe message in whole.
    UnsubscribeResult {
        channels: &'a [&'a str],
    },
    Published {
        channel: &'a str,
        position: Option<Position>,
    },
    Error {
        refusal: &'a Refusal,
        channel: Option<&'a str>,
    },
    History {
        channel: &'a str,
        /// Where the channel stands; its epoch is that of `events`.
        position: Option<Position>,
        events: &'a [Event],
        /// Whether older ones were left out.
        more: bool,
    },
    Presence {
        channel: &'a str,
        members: &'a [Member],
    },
    Authenticated,
    /// A handler's own answer.
    Reply {
        /// Its name, where the handler gave one.
        event: Option<&'a str>,
        /// JSON text.
        data: &'a [u8],
    },
    /// The token ends.
    Expiring {
        in_ms: u64,
    },
    /// A slow reader missed events.
    Gap {
        channel: &'a str,
        missed: u64,
    },
    /// A subscription was taken back.
    Revoked {
        channel: &'a str,
        refusal: Option<&'a Refusal>,
    },
    /// The gateway stops.
    Shutdown,
}

/// A message that is no request, with what its answer can repeat.
#[derive(Clone, Debug)]
pub struct Refused<'a> {
    pub refusal: Refusal,
    pub id: Option<&'a RawValue>,
    /// Its type, as the client wrote it; empty where there is none.
    pub kind: Cow<'a, str>,
}
