//! What a message came to, for the shard to carry out: texts for its sender, errands, a close.

use super::Wish;
use crate::hub::Seat;
use crate::model::{ChannelName, Close, Position};
use serde_json::value::RawValue;

/// Of one message; reused for the next.
#[derive(Default)]
pub struct Replies {
    text: Vec<u8>,
    ends: Vec<usize>,
    pub errands: Vec<(Errand, Question)>,
    /// Handlers to be called.
    pub wishes: Vec<Wish>,
    pub close: Option<Close>,
    /// What the message asks for beyond one thing, for `limits.items`.
    pub items: u32,
    /// Seats of other connections that moved to a new index of their channel.
    pub moved: Vec<(Seat, u32)>,
}

/// What has to be asked of others before the client is answered.
#[derive(Debug)]
pub enum Errand {
    /// By a token, or by what the client says of itself.
    Authenticate {
        token: Option<Box<str>>,
        claims: Option<Box<RawValue>>,
    },
    /// Of the channel's home.
    History {
        channel: ChannelName,
        home: u16,
        since: Option<Position>,
        limit: usize,
    },
    Presence {
        channel: ChannelName,
        home: u16,
    },
}

/// The client's message, for when its answer comes later.
#[derive(Clone, Debug)]
pub struct Question {
    pub id: Option<Box<RawValue>>,
    pub kind: Box<str>,
    /// Of `limits.items`, taken before it is known how many there are.
    pub items: u32,
}

impl Replies {
    /// Appends what `write` writes as one message; nothing where it says `false`.
    pub fn say(&mut self, write: impl FnOnce(&mut Vec<u8>) -> bool) {
        let start = self.text.len();
        if write(&mut self.text) {
            self.ends.push(self.text.len());
        } else {
            self.text.truncate(start);
        }
    }

    pub fn texts(&self) -> impl Iterator<Item = &[u8]> {
        let starts = std::iter::once(&0).chain(&self.ends);
        starts.zip(&self.ends).map(|(start, end)| &self.text[*start..*end])
    }

    pub fn is_empty(&self) -> bool {
        self.ends.is_empty() && self.errands.is_empty() && self.wishes.is_empty() && self.close.is_none()
    }

    pub fn clear(&mut self) {
        self.text.clear();
        self.ends.clear();
        self.errands.clear();
        self.wishes.clear();
        self.items = 0;
        self.close = None;
    }
}
