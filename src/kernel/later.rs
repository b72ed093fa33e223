//! Answers that come later: seats that homes offer, positions of publications, histories, who is there.

use super::input::{Answered, Ask, Client, Input, Tell, Told};
use super::io::Io;
use super::kernel::Kernel;
use super::port::ask;
use crate::dialect::{Answer, Asked};
use crate::flow::{Errand, Question};
use crate::hub::{AskedBy, Join, Joined, Published};
use crate::model::{Code, Event, Refusal, Slot};

/// Of those who hear that somebody has come, and later that it has gone, so many count as an item.
const TOLD_AN_ITEM: u32 = 8;

impl<I: Io> Kernel<I> {
    /// A home offers a seat: the answer, what was missed, and from then on every batch.
    pub(super) fn joined(&mut self, joined: Box<Joined>) {
        let slot = joined.slot;
        let open = self.conns.is_same(slot, joined.connection) && self.conns[slot].is_open();
        if !open || !self.take_seat(slot, &joined) {
            self.hub.decline(*joined, self.now);
            // The message that asked may have been the last to wait for.
            if open {
                self.greet_on(slot);
                self.let_go(slot);
            }
            return;
        }
        if joined.generation != self.generation.number {
            self.review_later(slot);
        }
        let last = self.conns[slot].session.subs.len().checked_sub(1);
        if let Some(last) = last.filter(|_| !joined.listed) {
            self.list_sub(slot, last);
        }
        if let AskedBy::Client(number) = joined.asked_by {
            self.walk_own(slot, |walk| walk.answer_ask(number));
        }
        // It has shown another token since it asked, and what that one does not allow was decided without this seat: the
        // offer was on its way. (Found by the simulation: the seat stayed.)
        if joined.identity.version != self.conns[slot].session.identity.version {
            self.decide_again(slot);
        }
        let number = self.hub.find(joined.app, joined.channel.as_str());
        let hears = |number: &u32| self.conns[slot].session.subs.iter().any(|sub| sub.channel == *number);
        if let Some(number) = number.filter(hears) {
            for event in &joined.events {
                self.deliver_event(slot, number, &joined.channel, joined.epoch, event);
            }
        }
        if !joined.events.is_empty() {
            self.settle_memory_of(slot);
        }
        self.charge_seat(slot, &joined);
        self.greet_on(slot);
        self.let_go(slot);
    }

    /// What a seat that its client asked for costs others: the events missed, and telling of it.
    fn charge_seat(&mut self, slot: Slot, joined: &Joined) {
        let Some(app) = self.app_of(slot) else { return };
        let missed: u32 = joined.events.iter().map(Event::items).sum();
        let told = match joined.asked_by {
            AskedBy::Client(_) | AskedBy::Endpoint => joined.told / TOLD_AN_ITEM,
            AskedBy::Api | AskedBy::Plugin => 0,
        };
        self.charge_items(slot, &app, missed.max(1) + told);
    }

    /// Whether it was taken. What waits of an earlier seat is given up before the answer is queued: that answer may be what
    /// is too much for a slow reader, and what is dropped then would be told as a gap of the new seat. (Found by seed 1800
    /// of the simulation.)
    fn take_seat(&mut self, slot: Slot, joined: &Joined) -> bool {
        let Some(app) = self.app_of(slot) else { return false };
        let Some(dialect) = app.dialect(self.conns[slot].session.endpoint) else { return false };
        let taken = self.step(slot, dialect, &app, |walk| walk.joined(joined));
        if taken {
            self.disown(slot);
        }
        self.reply(slot, &app);
        taken
    }

    /// A home has no seat free: the client is told, as far as it asked.
    pub(super) fn full(&mut self, join: &Join) {
        let slot = join.slot;
        if self.conns.is_same(slot, join.member.connection) && self.conns[slot].is_open() {
            self.walk_own(slot, |walk| walk.full(join));
            self.greet_on(slot);
            self.let_go(slot);
        }
    }

    /// What was held back until a subscribe message was answered.
    pub(super) fn let_go(&mut self, slot: Slot) {
        if !self.conns[slot].session.holding || self.walk_own(slot, |walk| walk.all_answered()) != Some(true) {
            return;
        }
        let conn = &mut self.conns[slot];
        conn.session.holding = false;
        if let Some(mut held) = conn.held.take() {
            self.out.changed(held.bytes(), 0);
            held.take().for_each(|entry| self.push(slot, entry));
        }
        let conn = &self.conns[slot];
        if conn.conflated.is_some() && !conn.blocked {
            self.release(slot);
        }
    }

    pub(super) fn published(&mut self, published: Published) {
        let slot = published.asker.slot;
        if self.conns.is_same(slot, published.asker.connection) {
            self.walk_own(slot, |walk| walk.published(&published));
        }
    }

    /// Asks others what a client wants to know, and answers it then.
    pub(super) fn run_errand(&mut self, slot: Slot, errand: Errand, question: Question) {
        let session = &self.conns[slot].session;
        let (app, to) = (session.app, Client { shard: self.me, slot, id: session.id });
        let (shared, kept) = (self.shared.clone(), question.clone());
        let answer = move |told| {
            shared.put(to.shard, Input::Answer(Box::new(Answered { to, question: kept, told })));
        };
        // Behind what this kernel has sent to that home already.
        let asked = match errand {
            Errand::Authenticate { token, claims } => return self.authenticate(slot, token, claims, question),
            Errand::History { channel, home, since, limit } => {
                let name = channel.clone();
                let tell = Tell::new(move |page| answer(Told::History { channel: name, page }));
                self.shared.ask(home, ask(Ask::History { app, channel, since, limit, tell }))
            }
            Errand::Presence { channel, home } => {
                let name = channel.clone();
                let tell = Tell::new(move |members| answer(Told::Presence { channel: name, members }));
                self.shared.ask(home, ask(Ask::Presence { app, channel, tell }))
            }
        };
        if !asked {
            self.answer_question(to, &question, &Told::Overloaded);
        }
    }

    pub(super) fn answer_question(&mut self, to: Client, question: &Question, told: &Told) {
        if !self.conns.is_same(to.slot, to.id) {
            return;
        }
        let Some(app) = self.app_of(to.slot) else { return };
        let items = match told {
            Told::History { page, .. } => page.events.iter().map(Event::items).sum(),
            Told::Presence { members, .. } => members.len() as u32,
            Told::Overloaded => 0,
        };
        self.settle_items(to.slot, &app, question.items, items);
        let asked = Asked { id: question.id.as_deref(), kind: &question.kind };
        self.walk_own(to.slot, |walk| match told {
            Told::History { channel, page } => {
                let (channel, position) = (channel.as_str(), Some(page.position));
                walk.say(&Answer::History { channel, position, events: &page.events, more: page.more }, Some(asked));
            }
            Told::Presence { channel, members } => {
                walk.say(&Answer::Presence { channel: channel.as_str(), members }, Some(asked));
            }
            Told::Overloaded => walk.refuse(&Refusal::new(Code::Overloaded), None, Some(asked)),
        });
    }
}
