//! What back ends and routes ask of the stage: the HTTP API's gateway, answered at once.

use super::stage::Stage;
use super::world::{Cause, Job, World};
use crate::api::{Gateway, Ground};
use crate::flow::{App, Draft, Publishing, Target, Whose, Wish};
use crate::hub::{Page, Tally};
use crate::kernel::Receipt;
use crate::model::{
    self, AppId, AppStats, ChannelInfo, ChannelName, Close, Code, ConnectionInfo, Member, Position, Refusal, Slot,
};
use crate::observe::Via;
use crate::policy::{Permit, Scope, Subscribe};
use crate::script::Finished;
use bytes::Bytes;
use std::sync::{Arc, Mutex};

/// The stage, as the API reaches it.
#[derive(Clone)]
pub(super) struct Backstage(pub Arc<Stage>);

impl Stage {
    /// Publishes in the scope's name; the classes' `publish` handlers decide.
    pub fn publish(&self, scope: &Scope, channels: &[ChannelName], draft: Draft) -> Result<Receipt, Refusal> {
        let (heard, refused) = (Arc::new(Mutex::new(None)), Arc::new(Mutex::new(None)));
        let mut world = self.world();
        let targets = channels.iter().map(|channel| Target::by(scope, &self.app, channel, world.generation));
        let targets = targets.collect::<Result<Vec<_>, _>>()?;
        let sum = heard.clone();
        let done = move |recipients, position| super::handlers::give(&sum, Receipt { recipients, position });
        let tally = Arc::new(if targets.len() > 1 { Tally::once(done) } else { Tally::new(done) });
        for target in targets {
            let publishing = Publishing { target, draft: draft.clone(), sender: None, answer: None };
            world.publish_asked(publishing, Some(tally.clone()), &refused);
        }
        drop((tally, world));
        self.settle();
        if let Some(refusal) = taken(&refused) {
            return Err(refusal);
        }
        // Where somebody's subscribe message is not answered yet, a share of the count is still to come.
        Ok(taken(&heard).unwrap_or(Receipt { recipients: 0, position: None }))
    }

    /// Something done to each connection of a target.
    fn each(&self, target: &model::Target, mut act: impl FnMut(&mut World, Slot)) -> u32 {
        let mut world = self.world();
        let slots = world.targets(target);
        slots.iter().for_each(|slot| act(&mut world, *slot));
        world.settle();
        drop(world);
        self.settle();
        slots.len() as u32
    }
}

fn taken<T>(from: &Mutex<Option<T>>) -> Option<T> {
    from.lock().unwrap_or_else(|e| e.into_inner()).take()
}

impl Gateway for Backstage {
    async fn publish(&self, g: &Ground, channels: &[ChannelName], draft: Draft, _: Via) -> Result<Receipt, Refusal> {
        self.0.publish(&g.scope, channels, draft)
    }

    async fn send(&self, _: AppId, target: model::Target, text: Bytes) -> Result<u32, Refusal> {
        Ok(self.0.each(&target, |world, slot| {
            let (app, now) = (world.app.clone(), world.now.wall);
            let mut stamped = Vec::new();
            match app.json(world.players[slot as usize].session.endpoint) {
                Some(json) => json.direct(&text, now, &mut stamped),
                None => stamped.extend_from_slice(&text),
            }
            world.tell(slot, &stamped);
        }))
    }

    async fn subscribe(&self, g: &Ground, target: model::Target, channel: &ChannelName) -> Result<u32, Refusal> {
        let generation = self.0.generation.number;
        let permit: Permit<Subscribe> = self.0.app.policy.allow_api(&g.scope, channel, generation)?;
        Ok(self.0.each(&target, |world, slot| {
            world.walk(slot, |walk| walk.seat(permit.clone(), Whose::Api));
            world.carry();
        }))
    }

    async fn unsubscribe(&self, _: AppId, target: model::Target, channel: &ChannelName) -> Result<u32, Refusal> {
        Ok(self.0.each(&target, |world, slot| {
            world.walk(slot, |walk| walk.unseat(channel));
        }))
    }

    async fn disconnect(&self, _: AppId, target: model::Target, close: Close) -> Result<u32, Refusal> {
        Ok(self.0.each(&target, |world, slot| world.close(slot, close.clone())))
    }

    async fn cleanup(&self, _: AppId, idle_ms: u64) -> Result<u32, Refusal> {
        let world = self.0.world();
        let idle = |slot: &Slot| {
            let session = &world.players[*slot as usize].session;
            world.now.mono.since(session.last_activity) >= idle_ms
        };
        let all = world.targets(&model::Target::Filter(model::Filter::default()));
        let ids: Vec<_> = all.into_iter().filter(idle).map(|slot| world.players[slot as usize].session.id).collect();
        drop(world);
        let close = |id| self.0.each(&model::Target::Connection(id), |world, slot| world.close(slot, Close::IDLE));
        Ok(ids.into_iter().map(close).sum())
    }

    async fn call(&self, wish: Wish) -> Result<Finished, Refusal> {
        let answer = Arc::new(Mutex::new(None));
        self.0.world().jobs.push_back(Job::Call(Box::new(wish), Cause::Route(answer.clone())));
        self.0.settle();
        taken(&answer).ok_or(Refusal::new(Code::Overloaded))
    }

    async fn presence(&self, app: &App, channel: &ChannelName) -> Result<Vec<Member>, Refusal> {
        Ok(self.0.world().hub.presence(app.id, channel))
    }

    async fn history(
        &self,
        app: &App,
        channel: &ChannelName,
        since: Option<Position>,
        limit: usize,
    ) -> Result<Page, Refusal> {
        Ok(self.0.world().hub.history(app.id, channel, since, limit))
    }

    async fn channels(
        &self,
        _: AppId,
        limit: usize,
        pass: impl Fn(&ChannelName) -> bool + Send + Sync + 'static,
    ) -> Result<Vec<ChannelInfo>, Refusal> {
        Ok(self.0.world().channels(limit, pass))
    }

    async fn connections(
        &self,
        _: AppId,
        target: model::Target,
        limit: usize,
    ) -> Result<(Vec<ConnectionInfo>, usize), Refusal> {
        Ok(self.0.world().connections(&target, limit))
    }

    async fn stats(&self, _: AppId, claims: &[String]) -> Result<AppStats, Refusal> {
        Ok(self.0.world().stats(claims))
    }
}
