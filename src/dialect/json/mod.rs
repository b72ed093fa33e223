//! JSON messages as a `[dialect.NAME]` table describes them: `read` a client's, `write` an answer, `deliver` an event.

mod answer;
mod args;
mod compile;
mod deliver;
mod like;
mod place;
mod read;
mod scan;
mod settings;
pub mod template;
#[cfg(test)]
mod tests;
mod write;

pub use answer::{About, Answer, Asked, EachChannel, Member, Refused};
pub use settings::{CloseWith, ConnectionIds, Delivery, Envelope, Greet, Receive, Send, Settings, Verb};

use crate::model::{Close, Code, LimitKind};
use place::{Heard, Place};
use template::Template;

/// A compiled dialect; shared by all its connections.
#[derive(Clone, Debug)]
pub struct Json {
    reader: read::Reader,
    bound: Box<[Bound]>,
    /// By `place::Kind`.
    sends: [Option<Template<Place>>; place::Kind::COUNT],
    denied: Template<Place>,
    member: Template<Place>,
    /// By `word`.
    texts: [Option<Template<Place>>; WORDS],
    codes: [Option<Box<str>>; WORDS],
    quiet: bool,
    delivery: deliver::Delivery,
    joined: Option<Template<Heard>>,
    left: Option<Template<Heard>>,
    greet: Greet,
    connection_ids: ConnectionIds,
    close_after_hello: Option<Close>,
    shutdown: Option<Close>,
}

/// A message type that a handler of the app's plugin answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bound {
    /// The message type; empty: all that `receive` does not name.
    pub kind: Box<str>,
    /// The function's name.
    pub handler: Box<str>,
    /// Whose state it runs with, as written: `report:{reportId}`.
    pub entity: Option<Box<str>>,
    /// What the client reads where it fails.
    pub failed: Option<Box<str>>,
}

/// What a dialect may have a name and a text for: each code, and each bound by itself.
const WORDS: usize = Code::ALL.len() + LimitKind::ALL.len();

impl Json {
    /// The message types that handlers answer; `ClientCommand::Handle` gives the place in this list.
    pub fn bound(&self) -> &[Bound] {
        &self.bound
    }

    /// Whether a subscribe message gets one `Answer::SubscribeResult`, rather than an answer a channel.
    pub fn answers_in_whole(&self) -> bool {
        self.has(place::Kind::SubscribeResult)
    }

    /// Whether an unsubscribe message gets one `Answer::UnsubscribeResult`, rather than an answer a channel.
    pub fn answers_unsubscribe_in_whole(&self) -> bool {
        self.has(place::Kind::UnsubscribeResult)
    }

    /// Whether publishers are told where their event was put.
    pub fn answers_publish(&self) -> bool {
        self.has(place::Kind::Published)
    }

    /// Whether refused messages go unanswered.
    pub fn quiet(&self) -> bool {
        self.quiet
    }

    /// Whether a message type has its line in the table: only those are fit for a metric's label.
    pub fn knows(&self, kind: &str) -> bool {
        self.reader.knows(kind)
    }

    /// The message types in the table.
    pub fn kinds(&self) -> impl Iterator<Item = &str> {
        self.reader.kinds()
    }

    /// Whether those who authenticate in a message are greeted before they have.
    pub fn greets_at_open(&self) -> bool {
        self.greet == Greet::Open
    }

    pub fn connection_ids(&self) -> ConnectionIds {
        self.connection_ids
    }

    /// Its connections are closed so, right after their greeting.
    pub fn close_after_hello(&self) -> Option<&Close> {
        self.close_after_hello.as_ref()
    }

    /// How its connections are closed at a shutdown; `None`: as all others.
    pub fn shutdown(&self) -> Option<&Close> {
        self.shutdown.as_ref()
    }

    fn has(&self, kind: place::Kind) -> bool {
        self.sends[kind as usize].is_some()
    }
}
