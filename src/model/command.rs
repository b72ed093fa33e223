//! What is asked of the gateway: by clients, and by whoever is none (the HTTP API, routes, handlers).

use super::memory::Account;
use super::{ChannelName, Close, ConnectionId, EVENT_DATA_BYTES, Position, Priority, Target};
use bytes::Bytes;
use serde_json::value::RawValue;
use smallvec::SmallVec;
use std::borrow::Cow;
use std::sync::Arc;

/// One message of a client, read by its dialect; borrows the message.
#[derive(Debug)]
pub struct Request<'a> {
    /// What the client wants to see again in the answer.
    pub id: Option<&'a RawValue>,
    /// The message type as the client wrote it, for logs and templates.
    pub kind: Cow<'a, str>,
    pub command: ClientCommand<'a>,
}

/// What a client asks for, in its own words: channels are named as it wrote them. `policy` decides, `flow` carries out.
#[derive(Debug)]
pub enum ClientCommand<'a> {
    /// Channel names as written; each is decided for itself. `since`: recover from there (one channel only).
    Subscribe {
        channels: Channels<'a>,
        since: Option<Position>,
    },
    Unsubscribe {
        channels: Channels<'a>,
    },
    /// `data` as the client wrote it: the whole message's text where the table names no field.
    Publish {
        channel: Cow<'a, str>,
        data: &'a RawValue,
        event: Option<Cow<'a, str>>,
        key: Option<Cow<'a, str>>,
    },
    Ping,
    Status,
    /// First-message authentication, or a fresh token on a live connection. Neither: it failed to say who it is.
    Authenticate {
        token: Option<Cow<'a, str>>,
        /// An object in which the client says who it is.
        claims: Option<&'a RawValue>,
    },
    History {
        channel: Cow<'a, str>,
        since: Option<Position>,
        limit: Option<u32>,
    },
    Presence {
        channel: Cow<'a, str>,
    },
    /// A message type that a handler of the plugin answers.
    Handle {
        /// Which of the dialect's `bound` handlers.
        handler: u16,
        /// As the client wrote it: the whole message's text where the table names no field.
        data: &'a RawValue,
        /// Where the table says that the message names one.
        channel: Option<Cow<'a, str>>,
    },
    /// The client says goodbye: closed with 1000.
    Close,
    /// Known and to be passed over without an answer.
    Ignore,
}

impl ClientCommand<'_> {
    /// The channel that it names, or the first of several; for logs.
    pub fn channel(&self) -> Option<&str> {
        match self {
            ClientCommand::Subscribe { channels, .. } | ClientCommand::Unsubscribe { channels } => {
                channels.first().map(|c| c.as_ref())
            }
            ClientCommand::Publish { channel, .. }
            | ClientCommand::History { channel, .. }
            | ClientCommand::Presence { channel } => Some(channel),
            ClientCommand::Handle { channel, .. } => channel.as_deref(),
            ClientCommand::Ping
            | ClientCommand::Status
            | ClientCommand::Authenticate { .. }
            | ClientCommand::Close
            | ClientCommand::Ignore => None,
        }
    }
}

pub type Channels<'a> = SmallVec<[Cow<'a, str>; 2]>;

/// What is asked for by whoever is no client. Channels are named in full; a `Caller`'s scope decides, no rule.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// To all of these channels; whoever hears several hears it once.
    Publish {
        channels: Vec<ChannelName>,
        draft: Draft,
    },
    /// Past all channels.
    Send {
        target: Target,
        content: Content,
    },
    Subscribe {
        target: Target,
        channel: ChannelName,
    },
    Unsubscribe {
        target: Target,
        channel: ChannelName,
    },
    Close {
        target: Target,
        close: Close,
    },
    /// Closes connections without a frame for so long.
    Cleanup {
        idle_ms: u64,
    },
}

/// What is published, before it is numbered.
#[derive(Clone, Debug, PartialEq)]
pub struct Draft {
    /// JSON text.
    pub data: Bytes,
    pub event: Option<Arc<str>>,
    pub key: Option<Arc<str>>,
    pub exclude: Option<ConnectionId>,
    pub priority: Priority,
}

/// What is sent to connections.
#[derive(Clone, Debug, PartialEq)]
pub enum Content {
    /// As it stands.
    Text(Bytes),
    /// As the connection's dialect writes it.
    Message(Message),
}

/// A message: JSON text, and the event's name where there is one.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    pub event: Option<Arc<str>>,
    pub data: Bytes,
}

impl Draft {
    /// What it holds is the app's from now on, until the last that has its data lets go. To be asked before it is handed
    /// to others: on its way to its home it may wait.
    pub fn counted(mut self, account: &Arc<Account>) -> Draft {
        let text = |text: &Option<Arc<str>>| text.as_ref().map_or(0, |text| text.len() + 32);
        let beside = EVENT_DATA_BYTES + text(&self.event) + text(&self.key);
        self.data = account.hold(self.data, beside).0;
        self
    }
}
