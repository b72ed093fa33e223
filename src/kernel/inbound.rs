//! What one kernel reads with, and whom it reads on.

use super::conn::Conn;
use crate::model::Slot;
use crate::wire::Inflater;
use std::collections::VecDeque;

/// What is read of one connection at once.
const BUFFER_BYTES: usize = 64 << 10;

/// What all connections may ask for in one turn, beyond one thing a message: a few milliseconds' work.
const ITEMS_MAX: u32 = 256;

pub(super) struct Inbound {
    buffer: Vec<u8>,
    pub inflater: Inflater,
    /// Of which less was read than was there: again in the next turn.
    unread: VecDeque<Slot>,
    /// What was asked for in this turn beyond one thing a message.
    pub items: u32,
}

impl Inbound {
    pub fn new() -> Inbound {
        Inbound { buffer: vec![0; BUFFER_BYTES], inflater: Inflater::new(), unread: VecDeque::new(), items: 0 }
    }

    /// Whether so much was asked for in this turn that the rest should wait for the next: what others ask this kernel
    /// comes first, and what it asks of them stays little.
    pub fn is_done(&self) -> bool {
        self.items > ITEMS_MAX
    }

    /// Somewhere to read to, until it is given back.
    pub fn lend(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.buffer)
    }

    pub fn give_back(&mut self, buffer: Vec<u8>) {
        self.buffer = buffer;
    }

    /// Makes a new buffer where a panic has lost the old one.
    pub fn mend(&mut self) {
        if self.buffer.is_empty() {
            self.buffer = vec![0; BUFFER_BYTES];
        }
    }

    /// The rest of it in a later look, behind the others that wait.
    pub fn later<T>(&mut self, slot: Slot, conn: &mut Conn<T>) {
        if !conn.unread {
            conn.unread = true;
            self.unread.push_back(slot);
        }
    }

    /// How many wait.
    pub fn waiting(&self) -> usize {
        self.unread.len()
    }

    pub fn next(&mut self) -> Option<Slot> {
        self.unread.pop_front()
    }
}
