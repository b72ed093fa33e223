//! What plugins ask of the shards: nothing waits, nothing is refused for being too much.

use super::port::Port;
use super::shard::Shard;
use crate::flow::{self, App, Draft, Generation, Whose};
use crate::hub::Tally;
use crate::model::{AppId, ChannelName, Close, ConnectionId, Refusal, Slot, Target};
use crate::policy::Scope;
use crate::script::{Asker, Connection, Message};
use std::sync::Arc;

impl Port {
    /// Whether shards have more to do than they can keep up with: who feeds them should wait.
    pub fn is_congested(&self) -> bool {
        self.shared.peers().iter().any(|peer| peer.is_congested())
    }

    /// Publishes for a plugin. No handler is called for it.
    pub fn cast_publish(
        &self,
        generation: &Generation,
        app: &Arc<App>,
        channels: &[ChannelName],
        draft: Draft,
        tally: impl Fn(bool) -> Arc<Tally>,
    ) -> Result<(), Refusal> {
        let targets = channels.iter().map(|c| flow::Target::by(&Scope::everywhere(), app, c, generation.number));
        let targets = flow::Target::joined(targets.collect::<Result<_, _>>()?, self.shards());
        let tally = tally(targets.len() > 1);
        for target in targets {
            self.shared.publish_unasked(app, target, draft.clone(), Some(tally.clone()));
        }
        Ok(())
    }

    /// A message to each connection of the target, as its dialect writes it. `tally` counts them.
    pub fn cast_send(&self, app: AppId, target: Target, message: Message, tally: Arc<Tally>) {
        self.cast(app, target, move |shard, slot| {
            shard.send_message(slot, &message);
            tally.add(1);
        });
    }

    /// The answer to the message that a handler was called for.
    pub fn cast_reply(&self, to: &Connection, asker: &Asker, message: Message) {
        let (slot, id, asker) = (to.slot, to.id, asker.clone());
        self.shared.put(to.shard, move |shard| shard.handler_replies(slot, id, &asker, &message));
    }

    pub fn cast_subscribe(
        &self,
        generation: &Generation,
        app: &App,
        id: ConnectionId,
        channel: &ChannelName,
    ) -> Result<(), Refusal> {
        let permit = app.policy.allow_api(&Scope::everywhere(), channel, generation.number)?;
        self.cast(app.id, Target::Connection(id), move |shard, slot| {
            let permit = permit.clone();
            shard.walk_own(slot, |walk| walk.seat(permit, Whose::Plugin));
            shard.carry();
        });
        Ok(())
    }

    pub fn cast_unsubscribe(&self, app: AppId, id: ConnectionId, channel: ChannelName) {
        self.cast(app, Target::Connection(id), move |shard, slot| {
            shard.walk_own(slot, |walk| walk.leave(&channel));
        });
    }

    pub fn cast_close(&self, app: AppId, target: Target, close: Close) {
        self.cast(app, target, move |shard, slot| shard.close(slot, close.clone()));
    }

    fn cast(&self, app: AppId, target: Target, act: impl Fn(&mut Shard, Slot) + Send + Sync + 'static) {
        let (act, target) = (Arc::new(act), Arc::new(target));
        for shard in 0..self.shards() {
            let (act, target) = (act.clone(), target.clone());
            self.shared.put(shard, move |shard| {
                for slot in shard.targets(app, &target) {
                    act(shard, slot);
                }
            });
        }
    }
}
