//! One socket's life, between the upgrade and the last byte.

use super::counts::Seat;
use super::queue::Queue;
use super::socket::Socket;
use crate::flow::Session;
use crate::model::{Close, Millis};
use crate::wire::{DeflateParams, Reader};

pub struct Conn {
    pub socket: Socket,
    pub session: Session,
    pub reader: Reader,
    pub queue: Queue,
    pub stage: Stage,
    /// In the shard's list of connections to be flushed.
    pub dirty: bool,
    /// The socket takes no more for now.
    pub blocked: bool,
    /// The mark of the publication heard last: none is heard twice.
    pub heard: u32,
    pub deflate: Option<DeflateParams>,
    /// When the socket last took something while more waited.
    pub progress_at: Millis,
    /// When the last unanswered ping was sent; 0: none is out.
    pub pinged_at: Millis,
    /// The tick that the wheel will look at it.
    pub tick: u64,
    /// What a blocked connection will hear of `conflate` classes: the newest of each key.
    pub conflated: Option<Box<super::overflow::Conflated>>,
    /// Given back when the connection is gone.
    pub seat: Seat,
}

/// How far a connection is.
#[derive(Clone, Debug, PartialEq)]
pub enum Stage {
    Open,
    /// Our close frame is queued or sent: nothing more is read but the client's.
    Closing {
        since: Millis,
        close: Close,
        answered: bool,
    },
    /// Nothing is read or written any more; at the end of the tick it is forgotten.
    Gone,
}

impl Conn {
    pub fn is_open(&self) -> bool {
        self.stage == Stage::Open
    }
}
