//! What hubs tell each other, and what a hub asks its kernel to do.

use super::{Batch, Moved, Part, Present, Tallies, Tally};
use crate::model::{AppId, ChannelName, ConnectionId, Event, Identity, Member, Now, Position, Slot};
use serde_json::value::RawValue;
use smallvec::SmallVec;
use std::sync::Arc;

/// What one hub tells another.
#[derive(Debug)]
pub enum Message {
    /// To a home: seat a connection of another shard.
    Join(Box<Join>),
    /// From a home: seated, with what it missed; the batches that follow come after it.
    Joined(Box<Joined>),
    /// From a home: no seat is free, by the class's `members_max`.
    Full(Box<Join>),
    Leave(Box<Leave>),
    /// To a home: number this and pass it round.
    Publish(Box<Publication>),
    /// From a home: where an event of this shard's connection was put.
    Published(Box<Published>),
    /// From a home: what a channel published in one tick.
    Deliver(SmallVec<[(Arc<Batch>, Tallies); 1]>),
    /// To a home: who is on a channel already.
    Present(Box<Present>),
    /// To all: what comes from this shard is of that generation from now on.
    Fence {
        from: u16,
        generation: u64,
    },
    /// From an old home to the new one.
    Moved(Box<Moved>),
    /// To all: all channels of this shard whose home is another one by that generation are there.
    Handed {
        from: u16,
        generation: u64,
    },
}

/// What a hub asks its shard to do, in this order.
#[derive(Debug)]
pub enum Out {
    To {
        shard: u16,
        message: Message,
    },
    /// To every seat of these channels; a connection on several of them hears it once.
    Deliver(SmallVec<[Part; 1]>),
    Joined(Box<Joined>),
    /// No seat is free.
    Full(Box<Join>),
    Published(Box<Published>),
}

/// Something to be numbered, kept and heard. Made by `flow` from a `Permit<Publish>`.
#[derive(Debug)]
pub struct Publication {
    pub app: AppId,
    /// The first is the one that was named; the others are its copies (`also`), all of one home.
    pub channels: SmallVec<[(ChannelName, u16); 1]>,
    /// Whose numbers the classes are.
    pub generation: u64,
    pub event: Event,
    pub tally: Option<Arc<Tally>>,
    /// Whom to tell the position: shard and connection.
    pub answer: Option<Asker>,
}

/// A seat asked for.
#[derive(Debug)]
pub struct Join {
    pub app: AppId,
    pub channel: ChannelName,
    pub class: u16,
    /// Whose number the class is.
    pub generation: u64,
    pub home: u16,
    /// Where its connection is.
    pub shard: u16,
    pub slot: Slot,
    pub member: Member,
    pub since: Option<Position>,
    pub asked_by: AskedBy,
    /// The name that the client used, where it was an alias.
    pub alias: Option<Box<str>>,
    pub now: Now,
}

/// Who asked for a seat.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AskedBy {
    /// The client, by its subscribe message of this number, whose answer waits for the seat.
    Client(u32),
    /// The app's file: the endpoint's own channels. The client is not told.
    Endpoint,
    /// The HTTP API. The client is told.
    Api,
    /// The client is not told: the plugin says what it wants to say.
    Plugin,
}

/// A seat offered, with what was missed.
#[derive(Debug)]
pub struct Joined {
    pub app: AppId,
    pub channel: ChannelName,
    pub class: u16,
    /// Whose number the class is.
    pub generation: u64,
    pub home: u16,
    pub slot: Slot,
    pub connection: ConnectionId,
    pub identity: Arc<Identity>,
    pub asked_by: AskedBy,
    pub alias: Option<Box<str>>,
    pub epoch: u32,
    /// Where the class keeps history.
    pub position: Option<Position>,
    /// Where the client asked from a position: whether nothing is missing.
    pub recovered: Option<bool>,
    /// Missed events, or the last one.
    pub events: Vec<Event>,
    /// The home lists it.
    pub listed: bool,
    /// Connections that hear of its coming.
    pub told: u32,
}

#[derive(Debug)]
pub struct Leave {
    pub app: AppId,
    pub channel: ChannelName,
    /// Whose rules chose the home.
    pub generation: u64,
    pub shard: u16,
    pub member: Member,
}

/// Whom to tell that an event was numbered.
#[derive(Debug)]
pub struct Asker {
    pub shard: u16,
    pub slot: Slot,
    pub connection: ConnectionId,
    /// The id and the type of its message.
    pub id: Option<Box<RawValue>>,
    pub kind: Box<str>,
}

/// An event was numbered.
#[derive(Debug)]
pub struct Published {
    pub channel: ChannelName,
    pub position: Option<Position>,
    pub asker: Asker,
}
