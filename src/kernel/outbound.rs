//! What one kernel has to write: whose turn it is, how much waits, and the tools that make frames.

use super::conn::Conn;
use super::encode::Encoder;
use super::io::Transport;
use super::queue::{Entry, Flushed};
use crate::model::Slot;
use std::io;

/// Bytes of frames for one connection each, in one turn: some milliseconds' work.
const MADE_MAX: usize = 4 << 20;

pub(super) struct Outbound {
    pub encoder: Encoder,
    /// A message before it is framed.
    pub text: Vec<u8>,
    /// Small frames are copied together here.
    scratch: Vec<u8>,
    /// Connections with something to write.
    dirty: Vec<Slot>,
    /// Those that are written to now, and how many were.
    flushing: Vec<Slot>,
    flushed: usize,
    /// Over all connections, what is held back included.
    pub queued_bytes: usize,
    /// The smallest `queue_bytes` of all apps: below it no connection's bound need be looked up.
    pub queue_bytes_min: usize,
    /// Bytes of frames made in this turn for one connection each.
    made: usize,
    /// Of the publication to several channels that was delivered last.
    mark: u32,
}

impl Outbound {
    pub fn new() -> Outbound {
        Outbound {
            encoder: Encoder::new(),
            text: Vec::new(),
            scratch: Vec::new(),
            dirty: Vec::new(),
            flushing: Vec::new(),
            flushed: 0,
            queued_bytes: 0,
            queue_bytes_min: usize::MAX,
            made: 0,
            mark: 0,
        }
    }

    /// A turn begins.
    pub fn begin_turn(&mut self) {
        self.made = 0;
    }

    /// A frame was made for one connection alone.
    pub fn has_made(&mut self, bytes: usize) {
        self.made += bytes;
    }

    /// Whether so much was made in this turn that others should have theirs.
    pub fn is_done(&self) -> bool {
        self.made > MADE_MAX
    }

    pub fn mark(&self) -> u32 {
        self.mark
    }

    /// A mark that no connection has, where a publication goes to several channels.
    pub fn next_mark(&mut self, several: bool) -> u32 {
        self.mark = self.mark.wrapping_add(several as u32);
        self.mark
    }

    /// Into its out-queue, whatever is there. Returns the entry's bytes.
    pub fn enqueue<T>(&mut self, slot: Slot, conn: &mut Conn<T>, entry: Entry) -> usize {
        let bytes = conn.queue.push(entry);
        self.queued_bytes += bytes;
        if !conn.dirty {
            conn.dirty = true;
            self.dirty.push(slot);
        }
        bytes
    }

    /// Behind what is held back of it. Returns the entry's bytes.
    pub fn hold_back<T>(&mut self, conn: &mut Conn<T>, entry: Entry) -> usize {
        let bytes = conn.held.get_or_insert_default().push(entry);
        self.queued_bytes += bytes;
        bytes
    }

    /// Writes what waits for it, as far as its transport takes it. Returns how many bytes were taken.
    pub fn write<T: Transport>(&mut self, conn: &mut Conn<T>) -> io::Result<(usize, Flushed)> {
        let before = conn.queue.bytes();
        let written = conn.queue.flush(&mut conn.transport, &mut self.scratch);
        self.changed(before, conn.queue.bytes());
        written
    }

    /// So many bytes waited, so many do now.
    pub fn changed(&mut self, before: usize, now: usize) {
        self.queued_bytes = (self.queued_bytes + now).saturating_sub(before);
    }

    /// The next of up to `max` connections that are to be written to; `at`: how many were.
    pub fn next_dirty(&mut self, at: usize, max: usize) -> Option<Slot> {
        if at == 0 && self.flushed == self.flushing.len() {
            self.flushing.clear();
            self.flushed = 0;
            std::mem::swap(&mut self.dirty, &mut self.flushing);
        }
        let slot = *self.flushing.get(self.flushed).filter(|_| at < max)?;
        self.flushed += 1;
        Some(slot)
    }

    /// Whether connections wait to be written to.
    pub fn has_dirty(&self) -> bool {
        self.flushed < self.flushing.len() || !self.dirty.is_empty()
    }
}
