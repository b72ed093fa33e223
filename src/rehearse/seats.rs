//! What the hub wants done: seats are taken, events reach those who hear them. As `shard` does it, in text.

use super::world::World;
use crate::dialect::Dialect;
use crate::hub::{Batch, Join, Joined, Out, Part, Published};
use crate::model::{Slot, Target};
use std::sync::Arc;

impl World {
    /// Until nothing is left to deliver and nobody to leave.
    pub fn settle(&mut self) {
        loop {
            self.hub.seal();
            self.carry();
            if self.leaving.is_empty() {
                return;
            }
            for (slot, code) in std::mem::take(&mut self.leaving) {
                self.leave(slot, code);
            }
        }
    }

    /// What the hub wants done, in its order.
    pub fn carry(&mut self) {
        while self.hub.has_out() {
            let outs: Vec<Out> = self.hub.drain().collect();
            for out in outs {
                match out {
                    Out::To { message, .. } => self.hub.hear(message, self.now),
                    Out::Deliver(parts) => self.deliver(&parts),
                    Out::Joined(joined) => self.joined(joined),
                    Out::Full(join) => self.full(&join),
                    Out::Published(published) => self.published(&published),
                }
            }
        }
    }

    /// Each connection hears it once, on the first of its channels.
    fn deliver(&mut self, parts: &[Part]) {
        let mut heard_by: Vec<Slot> = Vec::new();
        for Part { channel, batch, tallies } in parts {
            let slots: Vec<Slot> = self.hub.channel(*channel).seats.iter().map(|seat| seat.slot).collect();
            for slot in slots {
                if !self.is_open(slot) || heard_by.contains(&slot) {
                    continue;
                }
                heard_by.push(slot);
                let events = batch.heard_by(self.players[slot as usize].session.id, tallies);
                tallies.iter().for_each(|(at, tally)| tally.add(events.contains(at).into()));
                events.iter().for_each(|at| self.deliver_event(slot, batch, *at as usize));
            }
        }
    }

    fn deliver_event(&mut self, slot: Slot, batch: &Batch, at: usize) {
        let (app, session) = (self.app.clone(), &self.players[slot as usize].session);
        if batch.events[at].exclude == Some(session.id) {
            return;
        }
        let Some(Dialect::Json(json)) = app.endpoint(session.endpoint).map(|e| &*e.dialect) else { return };
        let mut text = Vec::new();
        if json.deliver(batch.channel.as_str(), batch.epoch, &batch.events[at], &mut text) {
            self.counts.app(app.id).deliveries += 1;
            let player = &mut self.players[slot as usize];
            if player.session.holding {
                return player.held.push(text);
            }
            self.tell(slot, &text);
        }
    }

    fn deliver_all(&mut self, slot: Slot, batch: &Batch) {
        (0..batch.events.len()).for_each(|at| self.deliver_event(slot, batch, at));
    }

    /// A seat is offered: the answer, and what was missed.
    fn joined(&mut self, joined: Box<Joined>) {
        let slot = joined.slot;
        let taken = self.is_open(slot) && self.walk(slot, |walk| walk.joined(&joined)) == Some(true);
        if !taken {
            self.hub.decline(*joined, self.now);
            return self.let_go(slot);
        }
        self.walk(slot, |walk| walk.answer_ask(joined.request));
        if !joined.events.is_empty() {
            let events = joined.events.into_iter().collect();
            let batch = Arc::new(Batch::new(joined.app, joined.channel, joined.epoch, events, &Vec::new()));
            self.deliver_all(slot, &batch);
        }
        self.let_go(slot);
    }

    fn full(&mut self, join: &Join) {
        if self.is_open(join.slot) {
            self.walk(join.slot, |walk| walk.full(join));
            self.let_go(join.slot);
        }
    }

    /// What was held back until a subscribe message was answered.
    pub fn let_go(&mut self, slot: Slot) {
        if !self.is_open(slot) || !self.players[slot as usize].session.holding {
            return;
        }
        if self.walk(slot, |walk| walk.all_answered()) == Some(true) {
            let player = &mut self.players[slot as usize];
            player.session.holding = false;
            std::mem::take(&mut player.held).iter().for_each(|text| self.tell(slot, text));
        }
    }

    fn published(&mut self, published: &Published) {
        let slot = published.asker.slot;
        if self.is_open(slot) {
            self.walk(slot, |walk| walk.published(published));
        }
    }

    /// The open connections that a target names.
    pub fn targets(&self, target: &Target) -> Vec<Slot> {
        let open = self.players.iter().enumerate().filter(|(_, player)| player.open);
        let passes = |session: &crate::flow::Session| match target {
            Target::Connection(id) => session.id == *id,
            Target::User(user) => session.identity.user.as_ref() == Some(user),
            Target::Filter(filter) => {
                let on = |names: &Vec<crate::model::ChannelName>| {
                    session.subs.iter().any(|sub| names.contains(&self.hub.channel(sub.channel).name))
                };
                filter.passes(session.id, &session.identity) && filter.channels.as_ref().is_none_or(on)
            }
        };
        open.filter(|(_, player)| passes(&player.session)).map(|(slot, _)| slot as Slot).collect()
    }
}
