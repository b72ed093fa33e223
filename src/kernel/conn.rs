//! One socket's life, between the upgrade and the last byte.

use super::counts::Seat;
use super::encode::Encoding;
use super::memory::Counted;
use super::queue::Queue;
use super::read::Intake;
use crate::flow::Session;
use crate::model::{Close, Mono};
use crate::wire::Reader;

/// What every delivery touches comes first: two cache lines of a structure of several.
#[repr(C)]
pub struct Conn<T> {
    pub queue: Queue,
    pub transport: T,
    /// When the transport last took something while more waited.
    pub progress_at: Mono,
    pub encoding: Encoding,
    /// The mark of the publication heard last: none is heard twice.
    pub heard: u32,
    pub stage: Stage,
    /// In the kernel's list of connections to be flushed.
    pub dirty: bool,
    /// The transport takes no more for now.
    pub blocked: bool,
    /// In the kernel's list of connections to be read on.
    pub unread: bool,
    /// What a blocked connection will hear of `conflate` classes: the newest of each key.
    pub conflated: Option<Box<super::overflow::Conflated>>,
    /// Deliveries that wait until a subscribe message is answered in whole: bounded together with `queue`.
    pub held: Option<Box<Queue>>,
    pub session: Session,
    pub reader: Reader,
    /// What was read and not yet looked at; how many frames may come.
    pub intake: Option<Box<Intake>>,
    /// When the last unanswered ping was sent; `None`: none is out.
    pub pinged_at: Option<Mono>,
    /// The tick that the wheel will look at it.
    pub tick: u64,
    /// Its bytes, as its app's memory has them.
    pub counted: Counted,
    /// Given back when the connection is gone.
    pub seat: Seat,
}

/// How far a connection is.
#[derive(Clone, Debug, PartialEq)]
pub enum Stage {
    Open,
    /// Our close frame is queued or sent: nothing more is heard but the client's. Then our side of the TCP connection
    /// ends, and what the client still sends is dropped until its side ends too.
    Closing(Box<Closing>),
    /// Nothing is read or written any more; at the end of the tick it is forgotten.
    Gone,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Closing {
    pub since: Mono,
    pub close: Close,
    /// The client's close frame has come: nothing may follow it.
    pub answered: bool,
    /// That, or the client broke the protocol: nothing it sends matters any more.
    pub deaf: bool,
    /// Our side has ended.
    pub ended: bool,
    /// Bytes that came since.
    pub received: usize,
}

impl<T> Conn<T> {
    pub fn is_open(&self) -> bool {
        self.stage == Stage::Open
    }

    /// It is not read for a time.
    pub fn is_paused(&self) -> bool {
        self.intake.as_ref().is_some_and(|intake| intake.is_paused())
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

    /// Bytes that wait to be written, those that are held back included.
    pub fn queued(&self) -> usize {
        self.queue.bytes() + self.held.as_ref().map_or(0, |held| held.bytes())
    }

    /// Of the places of what waits to be written, and of what is conflated.
    pub fn places_bytes(&self) -> usize {
        let held = self.held.as_ref().map_or(0, |held| held.places_bytes());
        self.queue.places_bytes() + held + self.conflated.as_ref().map_or(0, |c| c.bytes())
    }

    /// Of what its client sent and has not ended, or that is not looked at yet.
    pub fn unfinished_bytes(&self) -> usize {
        self.reader.buffered() + self.intake.as_ref().map_or(0, |intake| intake.bytes())
    }

    /// All that it holds, what it shares with others included.
    pub fn held_bytes(&self) -> usize {
        self.queued() + self.places_bytes() + self.unfinished_bytes() + self.session.held_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Most connections are idle: what each of them costs stands here, so that nobody makes it more by accident.
    #[test]
    fn a_connection_is_small() {
        let bytes = size_of::<Conn<()>>();
        assert!(bytes <= 448, "{bytes}");
    }
}
