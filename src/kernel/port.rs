//! What other rooms may ask about what the kernels have; what is done in somebody's name is in `command`.
//!
//! A question goes to the kernels that it concerns, each answers its share, and the sum comes back. Nothing waits for
//! a client; a kernel whose inbox is full refuses with `overloaded`.

use super::input::{Ask, Client, Input, Reply, Tell};
use super::shared::Shared;
use crate::flow::{self, App, Wish};
use crate::hub::Page;
use crate::model::{
    AppId, AppStats, ChannelInfo, ChannelName, Code, ConnectionInfo, Member, Message, Position, Refusal, Target,
};
use crate::script::{Asker, Connection, Finished};
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};

/// What became of a command.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Receipt {
    /// Connections that were reached, or that something was done to.
    pub recipients: u32,
    /// Of a publication, where the class keeps history.
    pub position: Option<Position>,
}

/// The way to the kernels.
#[derive(Clone)]
pub struct Port {
    pub(super) shared: Arc<Shared>,
}

pub(super) const OVERLOADED: Refusal = Refusal::new(Code::Overloaded);

impl Port {
    pub fn new(shared: Arc<Shared>) -> Port {
        Port { shared }
    }

    pub fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    // ── plugins: nothing waits ──────────────────────────────────────────────────────────────────────────────────

    /// Whether kernels have more to do than they can keep up with: who feeds them should wait.
    pub fn is_congested(&self) -> bool {
        self.shared.is_congested(None)
    }

    /// What a client's message had a handler do, for `limits.items`.
    pub(super) fn charge(&self, who: &Connection, items: u32) {
        let client = Client { shard: who.shard, slot: who.slot, id: who.id };
        self.shared.put(who.shard, Input::Charge { client, items });
    }

    /// The answer to the message that a handler was called for.
    pub fn cast_reply(&self, to: &Connection, asker: &Asker, message: Message) {
        let client = Client { shard: to.shard, slot: to.slot, id: to.id };
        let reply = Reply { to: client, asker: asker.clone(), message };
        self.shared.put(to.shard, Input::Reply(Box::new(reply)));
    }

    // ── the API ─────────────────────────────────────────────────────────────────────────────────────────────────

    /// Has a handler called; what became of it.
    pub async fn call(&self, wish: Wish) -> Result<Finished, Refusal> {
        let (tell, told) = oneshot::channel();
        self.shared.call(wish, Box::new(move |finished| drop(tell.send(finished))));
        told.await.map_err(|_| OVERLOADED)
    }

    pub async fn presence(&self, app: &App, channel: &ChannelName) -> Result<Vec<Member>, Refusal> {
        let (id, channel) = (app.id, channel.clone());
        let home = flow::home(app, self.shards(), &channel);
        self.one(home, |tell| ask(Ask::Presence { app: id, channel, tell })).await
    }

    pub async fn history(
        &self,
        app: &App,
        channel: &ChannelName,
        since: Option<Position>,
        limit: usize,
    ) -> Result<Page, Refusal> {
        let (id, channel) = (app.id, channel.clone());
        let home = flow::home(app, self.shards(), &channel);
        self.one(home, |tell| ask(Ask::History { app: id, channel, since, limit, tell })).await
    }

    /// Channels that pass, `limit` at most, by name.
    pub async fn channels(
        &self,
        app: AppId,
        limit: usize,
        pass: impl Fn(&ChannelName) -> bool + Send + Sync + 'static,
    ) -> Result<Vec<ChannelInfo>, Refusal> {
        let pass: Arc<super::input::Pass> = Arc::new(pass);
        let answers = self.all(|tell| ask(Ask::Channels { app, limit, pass: pass.clone(), tell }));
        let mut all: Vec<ChannelInfo> = answers.await?.into_iter().flatten().collect();
        all.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        all.truncate(limit);
        Ok(all)
    }

    /// Connections of the target, `limit` at most, oldest first, and how many there are.
    pub async fn connections(
        &self,
        app: AppId,
        target: Target,
        limit: usize,
    ) -> Result<(Vec<ConnectionInfo>, usize), Refusal> {
        let target = Arc::new(target);
        let answers = self.all(|tell| ask(Ask::Connections { app, target: target.clone(), limit, tell }));
        let (mut infos, mut total) = (Vec::new(), 0);
        for (some, count) in answers.await? {
            infos.extend(some);
            total += count;
        }
        infos.sort_by_key(|info| info.connected_at);
        infos.truncate(limit);
        Ok((infos, total))
    }

    pub async fn stats(&self, app: AppId, claims: &[String]) -> Result<AppStats, Refusal> {
        let claims: Arc<[String]> = claims.into();
        let answers = self.all(|tell| ask(Ask::Stats { app, claims: claims.clone(), tell }));
        let mut sum =
            AppStats { by: claims.iter().map(|c| (c.clone(), BTreeMap::new())).collect(), ..Default::default() };
        for part in answers.await? {
            sum.connections += part.connections;
            sum.channels += part.channels;
            sum.subscriptions += part.subscriptions;
            for ((_, sum), (_, part)) in sum.by.iter_mut().zip(part.by) {
                part.into_iter().for_each(|(value, count)| *sum.entry(value).or_insert(0) += count);
            }
        }
        Ok(sum)
    }

    pub(super) fn shards(&self) -> u16 {
        self.shared.shards() as u16
    }

    /// Asks all kernels.
    pub(super) async fn all<T: Send + 'static>(&self, question: impl Fn(Tell<T>) -> Input) -> Result<Vec<T>, Refusal> {
        let (tell, mut told) = mpsc::unbounded_channel();
        for shard in 0..self.shards() {
            let tell = tell.clone();
            if !self.shared.ask(shard, question(Tell::new(move |answer| drop(tell.send(answer))))) {
                return Err(OVERLOADED);
            }
        }
        drop(tell);
        let mut answers = Vec::new();
        while let Some(answer) = told.recv().await {
            answers.push(answer);
        }
        Ok(answers)
    }

    pub(super) async fn one<T: Send + 'static>(
        &self,
        shard: u16,
        question: impl FnOnce(Tell<T>) -> Input,
    ) -> Result<T, Refusal> {
        let (tell, told) = oneshot::channel();
        if !self.shared.ask(shard, question(Tell::new(move |answer| drop(tell.send(answer))))) {
            return Err(OVERLOADED);
        }
        told.await.map_err(|_| OVERLOADED)
    }
}

pub(super) fn ask(ask: Ask) -> Input {
    Input::Ask(Box::new(ask))
}
