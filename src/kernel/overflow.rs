//! What waits for one connection, and what happens where its reader is too slow: `close`, `drop_oldest`, `drop_low` or
//! `conflate`, per channel class.
//!
//! Every way into an out-queue ends in `push`, and `push` takes nothing for a connection that is not open. So what
//! `push` itself may lead to (dropping, a gap notice, a close) never leads back to it: gap notices and the close frame
//! are queued past the bound, by `enqueue`.

use super::conn::Conn;
use super::io::Io;
use super::kernel::Kernel;
use super::queue::{Entry, Queue, Whose};
use crate::dialect::Answer;
use crate::hub::Overflow;
use crate::model::{ChannelName, Close, Event, Priority, Slot};
use crate::observe::SlowAction;
use std::collections::VecDeque;

/// The newest event of each channel and key that a blocked connection missed, in the order in which they first came;
/// of events without a key, all. Bounded in number by `KEPT_MAX`, in bytes by `queue_bytes`.
#[derive(Default)]
pub struct Conflated {
    newest: VecDeque<Kept>,
    bytes: usize,
}

/// One event that waits: not its batch, which may be many times as large.
pub struct Kept {
    pub channel: u32,
    pub name: ChannelName,
    pub epoch: u32,
    pub event: Event,
}

/// Events that one blocked connection keeps, at most; beyond, it is closed as too slow.
const KEPT_MAX: usize = 1_024;

impl Kept {
    fn bytes(&self) -> usize {
        size_of::<Kept>() + self.event.data.len()
    }
}

impl Conflated {
    /// Returns whether an older event was replaced.
    fn put(&mut self, kept: Kept) -> bool {
        self.bytes += kept.bytes();
        // An event without a key stands for nothing but itself: it replaces none.
        let same = |k: &&mut Kept| k.channel == kept.channel && k.event.key == kept.event.key;
        match self.newest.iter_mut().find(same).filter(|_| kept.event.key.is_some()) {
            Some(older) => {
                self.bytes -= older.bytes();
                *older = kept;
                true
            }
            None => {
                self.newest.push_back(kept);
                false
            }
        }
    }

    fn pop(&mut self) -> Option<Kept> {
        let kept = self.newest.pop_front()?;
        self.bytes -= kept.bytes();
        Some(kept)
    }

    fn forget(&mut self, channel: u32) {
        self.newest.retain(|kept| kept.channel != channel);
        self.bytes = self.newest.iter().map(Kept::bytes).sum();
    }

    fn put_back(&mut self, kept: Kept) {
        self.bytes += kept.bytes();
        self.newest.push_front(kept);
    }

    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

impl<I: Io> Kernel<I> {
    /// Whether so much of a `conflate` class may be queued. Else the connection is blocked, and will be released; or
    /// the bytes are several events (not `alone`) and to be asked for one by one.
    pub(super) fn has_room(&mut self, slot: Slot, bytes: usize, alone: bool) -> bool {
        let room = self.app_of(slot).map_or(0, |app| app.limits.queue_bytes.0 as usize) / 2;
        let conn = &self.conns[slot];
        // What waits already comes first: a newer event of its key must not overtake it.
        if conn.blocked || conn.conflated.is_some() {
            return false;
        }
        if conn.session.holding {
            return conn.queued() + bytes <= room;
        }
        if conn.queue.bytes() + bytes > room {
            // Only the socket knows: what it takes at once has not waited.
            self.flush_one(slot);
        }
        !self.conns[slot].blocked && (alone || bytes <= room)
    }

    /// Keeps the newest of each key for a connection that takes nothing now.
    pub(super) fn conflate(&mut self, slot: Slot, kept: Kept) {
        let queue_bytes = self.app_of(slot).map_or(0, |app| app.limits.queue_bytes.0 as usize);
        let conn = &mut self.conns[slot];
        if !conn.is_open() {
            return;
        }
        let (app, conflated) = (conn.session.app, conn.conflated.get_or_insert_default());
        let replaced = conflated.put(kept);
        let (newest, bytes) = (conflated.newest.len(), conflated.bytes);
        self.recount_queue(slot);
        let full = newest > KEPT_MAX || bytes > queue_bytes;
        if replaced {
            self.counts.app(app).slow(SlowAction::Conflated);
        }
        if full {
            self.too_slow(slot);
        }
    }

    /// The socket takes bytes again: what was conflated meanwhile goes out, as far as it takes it.
    pub(super) fn release(&mut self, slot: Slot) {
        let Some(mut conflated) = self.conns[slot].conflated.take() else { return };
        while let Some(kept) = conflated.pop() {
            let conn = &self.conns[slot];
            if !conn.session.subs.iter().any(|s| s.channel == kept.channel) {
                continue; // left meanwhile
            }
            if !self.has_room(slot, kept.event.data.len(), true) {
                let conn = &mut self.conns[slot];
                if conn.is_open() {
                    conflated.put_back(kept);
                    conn.conflated = Some(conflated);
                }
                return;
            }
            self.deliver_event(slot, kept.channel, &kept.name, kept.epoch, &kept.event);
        }
    }

    /// It took a seat. Numbers of channels are used again: what waits under this one is of a channel that it has left,
    /// or of its earlier seat on this one. Counted as the new seat's, it would be told as a gap of a channel that had
    /// none; what was conflated would be heard behind the answer that says that the channel begins.
    pub(super) fn disown(&mut self, slot: Slot) {
        let conn = &mut self.conns[slot];
        let Some(number) = conn.session.subs.last().map(|sub| sub.channel) else { return };
        conn.queue.disown(number);
        if let Some(held) = &mut conn.held {
            held.disown(number);
        }
        if let Some(conflated) = &mut conn.conflated {
            conflated.forget(number);
            self.recount_queue(slot);
        }
    }

    /// Over its bound: drops the oldest deliveries of the classes that allow it, or closes.
    pub(super) fn overflow(&mut self, slot: Slot, queue_bytes: usize) {
        let Some(app) = self.app_of(slot) else { return };
        let Kernel { conns, hub, .. } = self;
        let conn = &mut conns[slot];
        let subs = &conn.session.subs;
        // What it has left since it neither misses nor hears of; its number may be nobody's by now.
        let left = |channel: u32| !subs.iter().any(|s| s.channel == channel);
        let mut lost: Vec<(u32, u32)> = Vec::new();
        let before = conn.queued();
        // What goes first; `None`: never.
        let rank = |whose| match whose {
            Whose::Own => None,
            Whose::Left => Some(Priority::Low),
            Whose::Channel(channel, _) if left(channel) => Some(Priority::Low),
            Whose::Channel(channel, priority) => match app.classes.get(hub.channel(channel).class as usize)?.overflow {
                Overflow::DropOldest => Some(Priority::Low),
                Overflow::DropLow => Some(priority).filter(|p| *p != Priority::Urgent),
                Overflow::Close | Overflow::Conflate => None,
            },
        };
        let mut note = |channel, events| match lost.iter_mut().find(|(c, _)| *c == channel) {
            Some((_, n)) => *n += events,
            None if left(channel) => {}
            None => lost.push((channel, events)),
        };
        // Down to three quarters, so that the next delivery does not begin again.
        let enough = Priority::ALL.into_iter().any(|priority| {
            let may = |whose| rank(whose) == Some(priority);
            drop_oldest(&mut conn.queue, conn.held.as_deref_mut(), queue_bytes / 4 * 3, may, &mut note)
        });
        self.out.changed(before, conn.queued());
        for (channel, missed) in lost {
            for _ in 0..missed {
                self.counts.app(app.id).slow(SlowAction::Dropped);
            }
            let name = self.hub.channel(channel).name.clone();
            self.answer_past_bounds(slot, &Answer::Gap { channel: name.as_str(), missed: missed as u64 });
        }
        // So many channels may have a gap that their notices alone are too much.
        if !enough || self.conns[slot].queued() > queue_bytes {
            self.too_slow(slot);
        }
    }

    pub(super) fn too_slow(&mut self, slot: Slot) {
        if self.conns[slot].is_open() {
            let app = self.conns[slot].session.app;
            self.counts.app(app).slow(SlowAction::Closed);
            self.close(slot, Close::TOO_SLOW);
        }
    }

    /// Queues frames for one connection, within its bound. Nothing for one that is closing.
    pub(super) fn push(&mut self, slot: Slot, entry: Entry) {
        let conn: &mut Conn<I::Transport> = &mut self.conns[slot];
        if !conn.is_open() {
            return;
        }
        let reply = entry.whose == Whose::Own;
        // Before its greeting nobody hears anything: neither what the API sends, nor that a token is about to end.
        let holds = conn.session.holding && (!reply || conn.session.greeting.is_some());
        let length = if holds {
            let length = self.out.hold_back(conn, entry);
            self.recount_queue(slot);
            length
        } else {
            self.out.enqueue(slot, conn, entry)
        };
        let bytes = self.conns[slot].queued();
        if bytes <= self.out.queue_bytes_min {
            return;
        }
        let queue_bytes = self.app_of(slot).map_or(0, |app| app.limits.queue_bytes.0 as usize);
        // Only what waits because the reader is slow counts: a large answer alone may go out first.
        let waited = if reply && !self.conns[slot].blocked { bytes - length } else { bytes };
        if waited > queue_bytes {
            self.flush_one(slot);
            let conn = &self.conns[slot];
            let waits = if reply && !conn.blocked { 0 } else { conn.queued() };
            if conn.is_open() && waits > queue_bytes {
                self.overflow(slot, queue_bytes);
            }
        }
    }
}

/// Drops deliveries that `may` go, the oldest first, until at most `bytes_max` wait in both. Whether that was enough.
fn drop_oldest(
    queue: &mut Queue,
    held: Option<&mut Queue>,
    bytes_max: usize,
    may: impl Fn(Whose) -> bool,
    mut lost: impl FnMut(u32, u32),
) -> bool {
    let Some(held) = held else { return queue.drop_oldest(bytes_max, may, lost) };
    queue.drop_oldest(bytes_max.saturating_sub(held.bytes()), &may, &mut lost)
        || held.drop_oldest(bytes_max.saturating_sub(queue.bytes()), may, lost)
}
