//! A batch → the out-queues of all who hear it. The hot path: one shared slice a connection, nothing else.

use super::encode::{Encoded, Encoding};
use super::io::Io;
use super::kernel::Kernel;
use super::overflow::Kept;
use super::queue::{Entry, Whose};
use crate::hub::{Batch, Overflow, Part, Seat};
use crate::model::{ChannelName, Event, Message, Slot};
use smallvec::SmallVec;
use std::rc::Rc;
use std::sync::Arc;

impl<I: Io> Kernel<I> {
    /// What some channels published together: each connection hears it once, on the first of its channels.
    pub(super) fn deliver(&mut self, parts: &[Part]) {
        let Some(app) = parts.first().and_then(|p| self.generation.app(p.batch.app)).cloned() else { return };
        let threshold = app.limits.deflate_threshold.0;
        let several = parts.len() > 1;
        let mark = self.out.next_mark(several);
        for Part { channel, batch, tallies } in parts {
            let class = self.hub.channel(*channel).class;
            let overflow = app.classes.get(class as usize).map(|c| c.overflow).unwrap_or_default();
            let conflate = overflow == Overflow::Conflate;
            // Where priorities count, an entry has one: a batch of several goes in slices.
            let priority = batch.priority();
            let mixed = overflow == Overflow::DropLow && priority.is_none();
            let simple = !batch.exclusive && !conflate && !mixed;
            let priority = priority.unwrap_or_default();
            let meter = self.memory_of(app.id).frames.clone();
            let mut encodings: SmallVec<[(Encoding, Option<Rc<Encoded>>); 2]> = SmallVec::new();
            let (mut delivered, mut whole) = (0, 0);
            // Nobody takes or leaves a seat while a batch is handed round: `push` closes at most the queue's own
            // connection, and a closed one gives up its seats at the end of the tick.
            for at in 0..self.hub.channel(*channel).seats.len() {
                let Seat { slot, .. } = self.hub.channel(*channel).seats[at];
                let conn = &mut self.conns[slot];
                if !conn.is_open() {
                    continue;
                }
                if several && std::mem::replace(&mut conn.heard, mark) == mark {
                    continue;
                }
                let encoding = conn.encoding;
                let encoded = match encodings.iter().find(|(e, _)| *e == encoding) {
                    Some((_, encoded)) => encoded,
                    None => {
                        let dialect = app.dialect(encoding.endpoint);
                        let encoded = dialect
                            .map(|d| Rc::new(self.out.encoder.batch(batch, d, encoding.window, threshold, &meter)));
                        encodings.push((encoding, encoded));
                        &encodings[encodings.len() - 1].1
                    }
                };
                let Some(encoded) = encoded else { continue };
                if simple {
                    if encoded.is_empty() {
                        continue;
                    }
                    whole += 1;
                    self.push(slot, Entry::whole(encoded, Whose::Channel(*channel, priority)));
                } else {
                    let encoded = encoded.clone();
                    let heard = batch.heard_by(self.conns[slot].session.id, tallies);
                    for (at, tally) in tallies {
                        tally.add(heard.contains(at) as u32);
                    }
                    delivered += heard.len() as u64;
                    self.deliver_slices(slot, *channel, batch, &encoded, &heard, (conflate, mixed));
                }
            }
            tallies.iter().for_each(|(_, tally)| tally.add(whole));
            self.counts.app(app.id).deliveries += delivered + whole as u64 * batch.events.len() as u64;
        }
    }

    /// The same for a connection that does not hear all of it, or only the newest of each key.
    fn deliver_slices(
        &mut self,
        slot: Slot,
        channel: u32,
        batch: &Arc<Batch>,
        encoded: &Rc<Encoded>,
        heard: &[u32],
        (conflate, mixed): (bool, bool),
    ) {
        let priority = batch.priority().unwrap_or_default();
        let fits = !mixed && (!conflate || self.has_room(slot, encoded.len(0, encoded.events()), false));
        if fits && heard.len() == batch.events.len() {
            // A dialect without a word for it, as for joins and leaves: nothing to write.
            if !encoded.is_empty() {
                self.push(slot, Entry::whole(encoded, Whose::Channel(channel, priority)));
            }
        } else {
            for at in heard.iter().copied() {
                let (bytes, event) = (encoded.len(at, at + 1), &batch.events[at as usize]);
                if bytes == 0 {
                    continue;
                }
                if conflate && !self.has_room(slot, bytes, true) {
                    self.conflate(
                        slot,
                        Kept { channel, name: batch.channel.clone(), epoch: batch.epoch, event: event.clone() },
                    );
                } else {
                    self.push(slot, Entry::one(encoded, at, Whose::Channel(channel, event.priority)));
                }
            }
        }
    }

    /// One event of a batch, to one connection.
    pub(super) fn deliver_event(&mut self, slot: Slot, channel: u32, name: &ChannelName, epoch: u32, event: &Event) {
        let Some(app) = self.app_of(slot) else { return };
        let conn = &self.conns[slot];
        if !conn.is_open() || event.exclude == Some(conn.session.id) {
            return;
        }
        let encoding = conn.encoding;
        let Some(dialect) = app.dialect(encoding.endpoint) else { return };
        let mut text = std::mem::take(&mut self.out.text);
        text.clear();
        if dialect.deliver(name.as_str(), epoch, event, &mut text) {
            let mut frame = Vec::with_capacity(text.len() + 16);
            self.out.encoder.frame(&text, encoding.window, app.limits.deflate_threshold.0, &mut frame);
            self.counts.app(app.id).deliveries += 1;
            let entry = self.own(slot, frame, Whose::Channel(channel, event.priority));
            self.push(slot, entry);
        }
        self.out.text = text;
    }

    /// A message of a plugin, to one connection past all channels.
    pub(super) fn send_message(&mut self, slot: Slot, message: &Message) {
        let Some(app) = self.app_of(slot) else { return };
        let Some(dialect) = app.dialect(self.conns[slot].session.endpoint) else { return };
        let mut text = Vec::with_capacity(message.data.len() + 128);
        dialect.say(message.event.as_deref(), &message.data, self.now.wall, &mut text);
        let window = self.conns[slot].encoding.window;
        let mut frame = Vec::with_capacity(text.len() + 16);
        self.out.encoder.frame(&text, window, app.limits.deflate_threshold.0, &mut frame);
        self.push_reply(slot, frame);
    }

    /// A message in the words of its sender, to one connection: sent to it, its user or a filter it passes.
    pub(super) fn send_text(&mut self, slot: Slot, text: &[u8]) {
        let Some(app) = self.app_of(slot) else { return };
        let mut stamped = Vec::new();
        let text = match app.dialect(self.conns[slot].session.endpoint) {
            None => text,
            Some(dialect) => {
                dialect.pass_on(text, self.now.wall, &mut stamped);
                &stamped
            }
        };
        let window = self.conns[slot].encoding.window;
        let mut frame = Vec::with_capacity(text.len() + 16);
        self.out.encoder.frame(text, window, app.limits.deflate_threshold.0, &mut frame);
        self.push_reply(slot, frame);
    }
}
