//! How other threads reach a shard: a queue and a bell.

use super::door::{Accepted, NewConnection};
use crate::kernel::{self, Inbox};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, OnceLock};

pub(super) enum Letter {
    ToKernel(kernel::Input),
    Accepted(Accepted),
    Adopt(Box<NewConnection>),
    /// To itself: more was there than one turn takes.
    Again,
    /// Close what is left and end the thread.
    Stop,
}

pub(super) struct Mailbox {
    sender: Sender<Letter>,
    bell: OnceLock<mio::Waker>,
    rung: AtomicBool,
    queued: AtomicUsize,
    pub number: u16,
}

impl Mailbox {
    /// Inputs waiting, above which questions are refused with `overloaded`.
    pub const QUESTIONS_MAX: usize = 65_536;
    /// Inputs waiting, above which other shards stop reading from their sockets.
    pub const CONGESTED: usize = 16_384;

    pub(super) fn new(number: u16) -> (Arc<Mailbox>, Receiver<Letter>) {
        let (sender, receiver) = channel();
        let (bell, rung, queued) = (OnceLock::new(), AtomicBool::new(false), 0.into());
        (Arc::new(Mailbox { sender, bell, rung, queued, number }), receiver)
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

    /// Never waits. Inputs of kernels are bounded by `CONGESTED`, those of clients of the API by `QUESTIONS_MAX`.
    pub(super) fn send(&self, letter: Letter) {
        self.queued.fetch_add(1, Ordering::Relaxed);
        if self.sender.send(letter).is_ok() {
            self.ring();
        }
    }
}

impl Inbox for Mailbox {
    fn put(&self, input: kernel::Input) {
        self.send(Letter::ToKernel(input));
    }

    fn is_full(&self) -> bool {
        self.queued.load(Ordering::Relaxed) > Self::QUESTIONS_MAX
    }

    fn is_congested(&self) -> bool {
        self.queued.load(Ordering::Relaxed) > Self::CONGESTED
    }
}
