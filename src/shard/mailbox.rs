//! How other threads reach a shard.

use super::door::{Accepted, NewConnection};
use super::shard::Shard;
use crate::flow::Generation;
use crate::hub;
use crate::model::Close;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, OnceLock};

/// Work that another thread wants done on a shard.
pub type Job = Box<dyn FnOnce(&mut Shard) + Send>;

pub(super) enum Input {
    Hub(hub::Message),
    Accepted(Accepted),
    Adopt(Box<NewConnection>),
    Generation(Arc<Generation>),
    Job(Job),
    /// Close all connections, this many a second; each with its dialect's close or this one.
    Drain {
        pace: u32,
        close: Close,
    },
    /// Close what is left and end the thread.
    Stop,
}

/// The door of one shard: a queue and a bell.
pub struct Mailbox {
    sender: Sender<Input>,
    bell: OnceLock<mio::Waker>,
    rung: AtomicBool,
    queued: AtomicUsize,
    /// Connections on the shard, handshakes included: the acceptor prefers the least.
    pub load: AtomicUsize,
    pub number: u16,
}

impl Mailbox {
    /// Inputs waiting, above which questions are refused with `overloaded`.
    pub const QUESTIONS_MAX: usize = 65_536;
    /// Inputs waiting, above which other shards stop reading from their sockets.
    pub const CONGESTED: usize = 16_384;

    pub(super) fn new(number: u16) -> (Arc<Mailbox>, Receiver<Input>) {
        let (sender, receiver) = channel();
        let (bell, rung, queued, load) = (OnceLock::new(), AtomicBool::new(false), 0.into(), 0.into());
        (Arc::new(Mailbox { sender, bell, rung, queued, load, number }), receiver)
    }

    pub(super) fn set_bell(&self, bell: mio::Waker) {
        let _ = self.bell.set(bell);
        // Whatever came before there was a bell.
        self.rung.store(false, Ordering::Release);
        self.ring();
    }

    fn ring(&self) {
        if !self.rung.swap(true, Ordering::AcqRel)
            && let Some(bell) = self.bell.get()
        {
            let _ = bell.wake();
        }
    }

    /// The shard is about to look: the next input rings again.
    pub(super) fn listening(&self) {
        self.rung.store(false, Ordering::Release);
    }

    pub(super) fn took(&self, inputs: usize) {
        self.queued.fetch_sub(inputs, Ordering::Relaxed);
    }

    /// Never waits. Inputs of shards are bounded by `CONGESTED`, those of clients of the API by `QUESTIONS_MAX`.
    pub(super) fn put(&self, input: Input) {
        self.queued.fetch_add(1, Ordering::Relaxed);
        if self.sender.send(input).is_ok() {
            self.ring();
        }
    }

    pub fn is_congested(&self) -> bool {
        self.queued.load(Ordering::Relaxed) > Self::CONGESTED
    }

    /// Whether questions are refused.
    pub fn is_full(&self) -> bool {
        self.queued.load(Ordering::Relaxed) > Self::QUESTIONS_MAX
    }

    /// Has a job done on the shard; `false` where it is overloaded and the job was dropped.
    pub fn ask(&self, job: impl FnOnce(&mut Shard) + Send + 'static) -> bool {
        if self.is_full() {
            return false;
        }
        self.put(Input::Job(Box::new(job)));
        true
    }

    pub fn accepted(&self, accepted: Accepted) {
        self.put(Input::Accepted(accepted));
    }

    pub fn generation(&self, generation: Arc<Generation>) {
        self.put(Input::Generation(generation));
    }

    pub fn drain(&self, pace: u32, close: Close) {
        self.put(Input::Drain { pace, close });
    }

    pub fn stop(&self) {
        self.put(Input::Stop);
    }
}
