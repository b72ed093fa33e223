//! What handlers ask for, carried out on the stage: in its order, as `gateway` does it over shards.

use super::world::World;
use crate::dialect::Asked;
use crate::flow::{Draft, Target, Whose};
use crate::hub::Tally;
use crate::model::{self, ChannelName, ConnectionId, Refusal, Slot};
use crate::policy::{Permit, Scope, Subscribe};
use crate::script::{Asker, Connection, Effect, Message};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

impl World {
    /// How many connections publications and sends reached.
    pub fn carry_out(&mut self, effects: Vec<Effect>, asker: Option<(Arc<Connection>, Asker)>) -> u32 {
        let reached = Arc::new(AtomicU32::new(0));
        for effect in effects {
            if let Err((what, refusal)) = self.carry_one(effect, asker.as_ref(), &reached) {
                // On a gateway that is a line in the log; here somebody reads it.
                let why = refusal.message.as_deref().unwrap_or(refusal.code.text());
                self.fault(format!("{what} was not carried out: {} ({why})", refusal.code.as_str()));
            }
            self.settle();
        }
        reached.load(Ordering::Relaxed)
    }

    fn carry_one(
        &mut self,
        effect: Effect,
        asker: Option<&(Arc<Connection>, Asker)>,
        reached: &Arc<AtomicU32>,
    ) -> Result<(), (String, Refusal)> {
        match effect {
            Effect::Publish { channels, message, key, exclude, priority } => {
                let shown: Vec<&str> = channels.iter().map(ChannelName::as_str).collect();
                let told = |refusal| (format!("publish to `{}`", shown.join("`, `")), refusal);
                let draft = Draft { data: message.data, event: message.event, key, exclude, priority };
                self.publish_unasked(&channels, draft, reached).map_err(told)?;
            }
            Effect::Send { target, message } => {
                for slot in self.targets(&target) {
                    self.send(slot, &message);
                    reached.fetch_add(1, Ordering::Relaxed);
                }
            }
            Effect::Reply(reply) => {
                if let Some((connection, asker)) = asker {
                    let asked = Asked { id: asker.id.as_deref(), kind: &asker.kind };
                    let Message { event, data } = &reply.message;
                    self.handler_replies(connection.slot, asked, event.as_deref(), data);
                }
            }
            Effect::Join { connection, channel } => {
                let told = |refusal| (format!("join `{channel}`"), refusal);
                let permit: Result<Permit<Subscribe>, Refusal> =
                    self.app.policy.allow_api(&Scope::everywhere(), &channel, self.generation);
                let permit = permit.map_err(told)?;
                if let Some(slot) = self.open_slot(connection) {
                    self.walk(slot, |walk| walk.seat(permit, Whose::Plugin));
                }
            }
            Effect::Leave { connection, channel } => {
                if let Some(slot) = self.open_slot(connection) {
                    self.walk(slot, |walk| walk.leave(&channel));
                }
            }
            Effect::Close { target, close } => {
                self.targets(&target).into_iter().for_each(|slot| self.close(slot, close.clone()));
            }
            Effect::Count { name, by } => self.metrics.own.count(self.app.id, &self.app.name, &name, by),
            Effect::Gauge { name, value } => self.metrics.own.gauge(self.app.id, &self.app.name, &name, value),
        }
        Ok(())
    }

    fn open_slot(&self, id: ConnectionId) -> Option<Slot> {
        self.targets(&model::Target::Connection(id)).first().copied()
    }

    /// No handler is called again for what a plugin publishes.
    fn publish_unasked(
        &mut self,
        channels: &[ChannelName],
        draft: Draft,
        reached: &Arc<AtomicU32>,
    ) -> Result<(), Refusal> {
        let targets = channels.iter().map(|c| Target::by(&Scope::everywhere(), &self.app, c, self.generation));
        let targets = Target::joined(targets.collect::<Result<_, _>>()?, self.hub.shards());
        let sum = reached.clone();
        let tally = Arc::new(Tally::new(move |recipients, _| {
            sum.fetch_add(recipients, Ordering::Relaxed);
        }));
        for target in targets {
            self.publish(target, draft.clone(), Some(tally.clone()));
        }
        Ok(())
    }

    fn send(&mut self, slot: Slot, message: &Message) {
        let app = self.app.clone();
        let Some(json) = app.json(self.players[slot as usize].session.endpoint) else { return };
        let mut text = Vec::new();
        json.direct_event(message.event.as_deref(), &message.data, self.now.wall, &mut text);
        self.tell(slot, &text);
    }
}
