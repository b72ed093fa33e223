//! JSON messages as a `[dialect.NAME]` table describes them: `read` a client's, `write` an answer, `deliver` an event.

mod answer;
mod args;
mod compile;
mod deliver;
mod place;
mod read;
mod scan;
mod settings;
pub mod template;
#[cfg(test)]
mod tests;
mod write;

pub use answer::{About, Answer, Asked, EachChannel, Member, Refused};
pub use settings::{CloseWith, ConnectionIds, Delivery, Envelope, Receive, Send, Settings, Verb};

use crate::model::Close;
use place::{Heard, Place};
use template::Template;

/// A compiled dialect; shared by all its connections.
#[derive(Clone, Debug)]
pub struct Json {
    reader: read::Reader,
    /// By `place::Kind`.
    sends: [Option<Template<Place>>; 15],
    denied: Template<Place>,
    member: Template<Place>,
    /// By `model::Code`.
    texts: [Option<Template<Place>>; 11],
    codes: [Box<str>; 11],
    quiet: bool,
    delivery: deliver::Delivery,
    joined: Option<Template<Heard>>,
    left: Option<Template<Heard>>,
    connection_ids: ConnectionIds,
    close_after_hello: Option<Close>,
    shutdown: Option<Close>,
}

impl Json {
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
