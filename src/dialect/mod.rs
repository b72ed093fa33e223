//! What a client writes and reads: message text ⇄ nouns, by the tables in an app's file.
//! Leaves to others: frames (`wire`), whether it may happen (`policy`), who hears it (`hub`). No socket, no clock.
//! In: message text, `Answer`, `Event`. Out: `Request` or `Refused`, message text.

pub mod json;

pub use json::template::Template;
pub use json::{About, Answer, Asked, Bound, ConnectionIds, Json, Member, Refused, Settings};

use crate::model::{ClientCommand, Close, Event, Millis, Request};

/// How an endpoint speaks. Other rooms ask it and not what is behind it: a dialect is added here.
#[derive(Clone, Debug)]
pub enum Dialect {
    /// JSON messages as a `[dialect.NAME]` table describes them.
    Json(Box<Json>),
    /// Each text or binary message goes back as it came; the shard does that. For conformance suites.
    Echo,
}

impl Dialect {
    /// A message's text → what it asks for. Whatever is no request comes back with the code to answer.
    pub fn read<'a>(&self, text: &'a str) -> Result<Request<'a>, Refused<'a>> {
        match self {
            Dialect::Json(json) => json.read(text),
            Dialect::Echo => Ok(Request { id: None, kind: "".into(), command: ClientCommand::Ignore }),
        }
    }

    /// Appends an answer's text. `false`: this dialect says nothing here, nothing is appended.
    pub fn write(&self, answer: &Answer<'_>, about: &About<'_>, out: &mut Vec<u8>) -> bool {
        match self {
            Dialect::Json(json) => json.write(answer, about, out),
            Dialect::Echo => false,
        }
    }

    /// Appends one delivery's text. `false`: this dialect does not tell of such events, nothing is appended.
    pub fn deliver(&self, channel: &str, epoch: u32, event: &Event, out: &mut Vec<u8>) -> bool {
        match self {
            Dialect::Json(json) => json.deliver(channel, epoch, event, out),
            Dialect::Echo => false,
        }
    }

    /// Appends a message of a plugin's own, past all channels: by the event's name, where it has one.
    pub fn say(&self, event: Option<&str>, data: &[u8], at: Millis, out: &mut Vec<u8>) {
        match self {
            Dialect::Json(json) => json.direct_event(event, data, at, out),
            Dialect::Echo => out.extend_from_slice(data),
        }
    }

    /// Appends a message in the words of its sender, past all channels.
    pub fn pass_on(&self, data: &[u8], at: Millis, out: &mut Vec<u8>) {
        match self {
            Dialect::Json(json) => json.direct(data, at, out),
            Dialect::Echo => out.extend_from_slice(data),
        }
    }

    /// The message types that handlers answer; `ClientCommand::Handle` gives the place in this list.
    pub fn bound(&self) -> &[Bound] {
        self.json().map_or(&[], Json::bound)
    }

    /// Whether a subscribe message gets one `Answer::SubscribeResult`, rather than an answer a channel.
    pub fn answers_in_whole(&self) -> bool {
        self.json().is_some_and(Json::answers_in_whole)
    }

    /// Whether an unsubscribe message gets one `Answer::UnsubscribeResult`, rather than an answer a channel.
    pub fn answers_unsubscribe_in_whole(&self) -> bool {
        self.json().is_some_and(Json::answers_unsubscribe_in_whole)
    }

    /// Whether publishers are told where their event was put.
    pub fn answers_publish(&self) -> bool {
        self.json().is_some_and(Json::answers_publish)
    }

    /// Whether those who authenticate in a message are greeted before they have.
    pub fn greets_at_open(&self) -> bool {
        self.json().is_some_and(Json::greets_at_open)
    }

    /// Its connections are closed so, right after their greeting.
    pub fn close_after_hello(&self) -> Option<&Close> {
        self.json()?.close_after_hello()
    }

    /// How its connections are closed at a shutdown; `None`: as all others.
    pub fn shutdown(&self) -> Option<&Close> {
        self.json()?.shutdown()
    }

    fn json(&self) -> Option<&Json> {
        match self {
            Dialect::Json(json) => Some(json),
            Dialect::Echo => None,
        }
    }

    /// Whether its messages only go back as they came, and ask for nothing.
    pub fn echoes(&self) -> bool {
        matches!(self, Dialect::Echo)
    }

    /// Names that an endpoint may give without a table of that name.
    pub const BUILT_IN: [&'static str; 1] = ["echo"];

    /// The dialect of a name in `BUILT_IN`.
    pub fn built_in(name: &str) -> Option<Dialect> {
        (name == "echo").then_some(Dialect::Echo)
    }

    /// How its connections are named.
    pub fn connection_ids(&self) -> ConnectionIds {
        match self {
            Dialect::Json(json) => json.connection_ids(),
            Dialect::Echo => ConnectionIds::Uuid,
        }
    }
}
