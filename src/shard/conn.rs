//! One socket's life, between the upgrade and the last byte.

use super::counts::Seat;
use super::encode::Encoding;
use super::queue::Queue;
use super::socket::Socket;
use crate::flow::Session;
use crate::model::{Close, Mono};
use crate::wire::Reader;

/// What every delivery touches comes first: two cache lines of a structure of several.
#[repr(C)]
pub struct Conn {
    pub queue: Queue,
    pub socket: Socket,
    /// When the socket last took something while more waited.
    pub progress_at: Mono,
    pub encoding: Encoding,
    /// The mark of the publication heard last: none is heard twice.
    pub heard: u32,
    pub stage: Stage,
    /// In the shard's list of connections to be flushed.
    pub dirty: bool,
    /// The socket takes no more for now.
    pub blocked: bool,
    /// What a blocked connection will hear of `conflate` classes: the newest of each key.
    pub conflated: Option<Box<super::overflow::Conflated>>,
    pub session: Session,
    pub reader: Reader,
    /// When the last unanswered ping was sent; `None`: none is out.
    pub pinged_at: Option<Mono>,
    /// The tick that the wheel will look at it.
    pub tick: u64,
    /// Given back when the connection is gone.
    pub seat: Seat,
}

/// How far a connection is.
#[derive(Clone, Debug, PartialEq)]
pub enum Stage {
    Open,
    /// Our close frame is queued or sent: nothing more is read but the client's.
    Closing(Box<Closing>),
    /// Nothing is read or written any more; at the end of the tick it is forgotten.
    Gone,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Closing {
    pub since: Mono,
    pub close: Close,
    /// The client's close frame has come.
    pub answered: bool,
}

impl Conn {
    pub fn is_open(&self) -> bool {
        self.stage == Stage::Open
    }

    /// The process stood still (a stopped container, a virtual machine that was moved). What the client owes it (a pong,
    /// its close frame, reading on) may be on its way: its time begins anew.
    pub fn after_pause(&mut self, now: Mono) {
        self.pinged_at = self.pinged_at.map(|_| now);
        self.progress_at = now;
        if let Stage::Closing(closing) = &mut self.stage {
            closing.since = now;
        }
    }
}
