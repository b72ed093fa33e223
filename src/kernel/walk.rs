//! The walk through the corridor with one connection, and carrying out what it came to.

use super::conn::Conn;
use super::io::Io;
use super::kernel::Kernel;
use super::queue::Whose;
use crate::dialect::{Answer, Dialect};
use crate::flow::{App, Rows, Walk};
use crate::hub::Seat;
use crate::model::Slot;

impl<I: Io> Kernel<I> {
    /// Walks the corridor with one connection.
    pub(super) fn walk<T>(&mut self, slot: Slot, dialect: &Dialect, app: &App, step: impl FnOnce(&mut Walk) -> T) -> T {
        let result = self.step(slot, dialect, app, step);
        self.reply(slot, app);
        result
    }

    /// What it came to is left in `replies`.
    pub(super) fn step<T>(&mut self, slot: Slot, dialect: &Dialect, app: &App, step: impl FnOnce(&mut Walk) -> T) -> T {
        self.memory_of(app.id);
        step(&mut Walk {
            app,
            generation: self.generation.number,
            dialect,
            rows: Rows::asked(&app.tables, self.now.mono),
            session: &mut self.conns[slot].session,
            hub: &mut self.hub,
            counts: &mut self.counts,
            users: &*self.shared,
            now: self.now,
            replies: &mut self.replies,
            room: self.memory[app.id.0 as usize].room(),
        })
    }

    /// As `walk`, with the connection's own dialect; nothing where it has none.
    pub(super) fn walk_own<T>(&mut self, slot: Slot, step: impl FnOnce(&mut Walk) -> T) -> Option<T> {
        let app = self.app_of(slot)?;
        let dialect = app.dialect(self.conns[slot].session.endpoint)?;
        Some(self.walk(slot, dialect, &app, step))
    }

    /// Says something to one connection.
    pub(super) fn answer(&mut self, slot: Slot, answer: &Answer<'_>) {
        self.walk_own(slot, |walk| walk.say(answer, None));
    }

    /// The same past the bound of its queue: whoever calls this is about to look at the bound.
    pub(super) fn answer_past_bounds(&mut self, slot: Slot, answer: &Answer<'_>) {
        let Some(app) = self.app_of(slot) else { return };
        let Some(dialect) = app.dialect(self.conns[slot].session.endpoint) else { return };
        self.step(slot, dialect, &app, |walk| walk.say(answer, None));
        let mut replies = std::mem::take(&mut self.replies);
        for text in replies.texts() {
            let frame = self.text_frame(slot, &app, text);
            let entry = self.own(slot, frame, Whose::Own);
            self.out.enqueue(slot, &mut self.conns[slot], entry);
        }
        replies.clear();
        self.replies = replies;
    }

    pub(super) fn text_frame(&mut self, slot: Slot, app: &App, text: &[u8]) -> Vec<u8> {
        let window = self.conns[slot].encoding.window;
        let mut frame = Vec::with_capacity(text.len() + 10);
        self.out.encoder.frame(text, window, app.limits.deflate_threshold.0, &mut frame);
        frame
    }

    /// Carries out what a walk came to.
    pub(super) fn reply(&mut self, slot: Slot, app: &App) {
        let mut replies = std::mem::take(&mut self.replies);
        self.resettle(&mut replies.moved);
        self.charge_items(slot, app, replies.items);
        self.recount(slot);
        if !replies.is_empty() {
            let open = self.conns.get(slot).is_some_and(Conn::is_open);
            if open {
                for text in replies.texts() {
                    let frame = self.text_frame(slot, app, text);
                    self.push_reply(slot, frame);
                }
                for (errand, question) in replies.errands.drain(..) {
                    self.run_errand(slot, errand, question);
                }
            }
            // Those about its end too.
            for wish in replies.wishes.drain(..) {
                self.call(slot, wish);
            }
            if open && let Some(close) = replies.close.take() {
                self.close(slot, close);
            }
        }
        replies.clear();
        self.replies = replies;
    }

    /// Tells connections the new places of their seats.
    pub(super) fn resettle(&mut self, moved: &mut Vec<(Seat, u32)>) {
        for (seat, index) in moved.drain(..) {
            if let Some(sub) = self.conns[seat.slot].session.subs.get_mut(seat.sub as usize) {
                sub.seat = index;
            }
        }
    }
}
