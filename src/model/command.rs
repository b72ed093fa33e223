//! What a client, an API call or a plugin asks for.

use super::Position;
use serde_json::value::RawValue;
use smallvec::SmallVec;
use std::borrow::Cow;

/// One message of a client, read by its dialect; borrows the message.
#[derive(Debug)]
pub struct Request<'a> {
    /// What the client wants to see again in the answer.
    pub id: Option<&'a RawValue>,
    /// The message type as the client wrote it, for logs and templates.
    pub kind: Cow<'a, str>,
    pub command: Command<'a>,
}

/// What is asked for. `policy` decides, `flow` carries out.
#[derive(Debug)]
pub enum Command<'a> {
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

impl Command<'_> {
    /// The channel that it names, or the first of several; for logs.
    pub fn channel(&self) -> Option<&str> {
        match self {
            Command::Subscribe { channels, .. } | Command::Unsubscribe { channels } => {
                channels.first().map(|c| c.as_ref())
            }
            Command::Publish { channel, .. } | Command::History { channel, .. } | Command::Presence { channel } => {
                Some(channel)
            }
            Command::Handle { channel, .. } => channel.as_deref(),
            Command::Ping | Command::Status | Command::Authenticate { .. } | Command::Close | Command::Ignore => None,
        }
    }
}

pub type Channels<'a> = SmallVec<[Cow<'a, str>; 2]>;
