//! What happens to a reader too slow for its out-queue: `close`, `drop_oldest` or `conflate`, per channel class.

use super::conn::Conn;
use super::queue::{Entry, NO_CHANNEL};
use super::shard::Shard;
use crate::dialect::Answer;
use crate::hub::{Batch, Overflow};
use crate::model::{Close, Priority, Slot};
use crate::observe::SlowAction;
use std::collections::VecDeque;
use std::sync::Arc;

/// The newest event of each channel and key that a blocked connection missed, in the order in which they first came.
#[derive(Default)]
pub struct Conflated {
    newest: VecDeque<Kept>,
}

struct Kept {
    channel: u32,
    key: Option<Arc<str>>,
    batch: Arc<Batch>,
    /// Which of the batch's events.
    at: u32,
}

/// Keys of one blocked connection, at most; beyond, it is closed as too slow.
const KEYS_MAX: usize = 1_024;

impl Conflated {
    /// Returns whether an older event was replaced.
    fn put(&mut self, channel: u32, batch: &Arc<Batch>, at: u32) -> bool {
        let key = &batch.events[at as usize].key;
        if let Some(kept) = self.newest.iter_mut().find(|k| k.channel == channel && k.key == *key) {
            (kept.batch, kept.at) = (batch.clone(), at);
            return true;
        }
        self.newest.push_back(Kept { channel, key: key.clone(), batch: batch.clone(), at });
        false
    }
}

impl Shard {
    /// Whether so much of a `conflate` class may be queued. Else the connection is blocked, and will be released; or
    /// the bytes are several events (not `alone`) and to be asked for one by one.
    pub(super) fn has_room(&mut self, slot: Slot, bytes: usize, alone: bool) -> bool {
        let room = self.app_of(slot).map_or(0, |app| app.limits.queue_bytes.0 as usize) / 2;
        let conn = &self.conns[slot as usize];
        if conn.blocked {
            return false;
        }
        if conn.queue.bytes() + bytes > room {
            // Only the socket knows: what it takes at once has not waited.
            self.flush_one(slot);
        }
        !self.conns[slot as usize].blocked && (alone || bytes <= room)
    }

    /// Keeps the newest of each key for a connection that takes nothing now.
    pub(super) fn conflate(&mut self, slot: Slot, channel: u32, batch: &Arc<Batch>, at: u32) {
        let conn = &mut self.conns[slot as usize];
        let app = conn.session.app;
        let kept = conn.conflated.get_or_insert_default();
        let replaced = kept.put(channel, batch, at);
        let full = kept.newest.len() > KEYS_MAX;
        if replaced {
            self.counts.app(app).slow(SlowAction::Conflated);
        }
        if full {
            self.too_slow(slot);
        }
    }

    /// The socket takes bytes again: what was conflated meanwhile goes out, as far as it takes it.
    pub(super) fn release(&mut self, slot: Slot) {
        let Some(mut conflated) = self.conns[slot as usize].conflated.take() else { return };
        while let Some(kept) = conflated.newest.pop_front() {
            let conn = &self.conns[slot as usize];
            if !conn.session.subs.iter().any(|s| s.channel == kept.channel) {
                continue; // left meanwhile
            }
            if !self.has_room(slot, kept.batch.events[kept.at as usize].data.len(), true) {
                conflated.newest.push_front(kept);
                self.conns[slot as usize].conflated = Some(conflated);
                return;
            }
            self.deliver_event(slot, kept.channel, &kept.batch, kept.at as usize);
        }
    }

    /// Over its bound: drops the oldest deliveries of the classes that allow it, or closes.
    pub(super) fn overflow(&mut self, slot: Slot, queue_bytes: usize) {
        let Some(app) = self.app_of(slot) else { return };
        let Shard { conns, hub, .. } = self;
        let conn = &mut conns[slot as usize];
        let subs = &conn.session.subs;
        // What it has left since it neither misses nor hears of; its number may be nobody's by now.
        let left = |channel: u32| !subs.iter().any(|s| s.channel == channel);
        let mut lost: Vec<(u32, u32)> = Vec::new();
        // What goes first; `None`: never.
        let rank = |entry: &Entry| {
            if left(entry.channel) {
                return Some(Priority::Low);
            }
            match app.classes.get(hub.channel(entry.channel).class as usize)?.overflow {
                Overflow::DropOldest => Some(Priority::Low),
                Overflow::DropLow => Some(entry.priority).filter(|p| *p != Priority::Urgent),
                Overflow::Close | Overflow::Conflate => None,
            }
        };
        let mut note = |channel, events| match lost.iter_mut().find(|(c, _)| *c == channel) {
            Some((_, n)) => *n += events,
            None if left(channel) => {}
            None => lost.push((channel, events)),
        };
        // Down to three quarters, so that the next delivery does not begin again.
        let enough = Priority::ALL.into_iter().any(|priority| {
            conn.queue.drop_oldest(queue_bytes / 4 * 3, |entry| rank(entry) == Some(priority), &mut note)
        });
        for (channel, missed) in lost {
            for _ in 0..missed {
                self.counts.app(app.id).slow(SlowAction::Dropped);
            }
            let name = self.hub.channel(channel).name.clone();
            self.answer(slot, &Answer::Gap { channel: name.as_str(), missed: missed as u64 });
        }
        if !enough {
            self.too_slow(slot);
        }
    }

    pub(super) fn too_slow(&mut self, slot: Slot) {
        let app = self.conns[slot as usize].session.app;
        self.counts.app(app).slow(SlowAction::Closed);
        self.conns[slot as usize].queue.clear();
        self.close(slot, Close::TOO_SLOW);
    }

    /// Queues frames for one connection, within its bound.
    pub(super) fn push(&mut self, slot: Slot, entry: Entry) {
        let conn: &mut Conn = &mut self.conns[slot as usize];
        let (reply, length) = (entry.channel == NO_CHANNEL, entry.bytes.len());
        self.queued_bytes += entry.bytes.len();
        conn.queue.push(entry);
        if !conn.dirty {
            conn.dirty = true;
            self.dirty.push(slot);
        }
        let bytes = conn.queue.bytes();
        if bytes > self.queue_bytes_min && conn.is_open() {
            let queue_bytes = self.app_of(slot).map_or(0, |app| app.limits.queue_bytes.0 as usize);
            // Only what waits because the reader is slow counts: a large answer alone may go out first.
            let waited = if reply && !self.conns[slot as usize].blocked { bytes - length } else { bytes };
            if waited > queue_bytes {
                self.flush_one(slot);
                let conn = &self.conns[slot as usize];
                let waits = if reply && !conn.blocked { 0 } else { conn.queue.bytes() };
                if conn.is_open() && waits > queue_bytes {
                    self.overflow(slot, queue_bytes);
                }
            }
        }
    }
}
