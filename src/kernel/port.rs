//! What other rooms may ask of the kernels: every verb of the HTTP API, of routes and of plugins.
//!
//! A question goes to the kernels that it concerns, each answers its share, and the sum comes back. Nothing waits for
//! a client; a kernel whose inbox is full refuses with `overloaded`. What plugins ask for is never refused for being
//! too much: who feeds the kernels looks at `is_congested`.

use super::input::{Act, Ask, ByHandlers, Client, Decide, Decided, Each, Input, Publish, Reply, Tell};
use super::shared::Shared;
use crate::flow::{self, App, Draft, Generation, Publishing, Wish};
use crate::hub::{AskedBy, Page, Tally};
use crate::model::{
    AppId, AppStats, ChannelInfo, ChannelName, Close, Code, ConnectionId, ConnectionInfo, Member, Position, Refusal,
    Target,
};
use crate::observe::Via;
use crate::policy::Scope;
use crate::script::{Asker, Connection, Finished, Message};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};

/// What became of a publication.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Receipt {
    pub recipients: u32,
    /// Where the class keeps history.
    pub position: Option<Position>,
}

/// The way to the kernels.
#[derive(Clone)]
pub struct Port {
    pub(super) shared: Arc<Shared>,
}

const OVERLOADED: Refusal = Refusal::new(Code::Overloaded);

impl Port {
    pub fn new(shared: Arc<Shared>) -> Port {
        Port { shared }
    }

    pub fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    // ── publishing ──────────────────────────────────────────────────────────────────────────────────────────────

    /// Publishes to channels in the scope's name, all or none: a connection on several of them hears it once. A class's
    /// `publish` handler decides before. Resolves once every kernel has it in its out-queues.
    pub async fn publish(
        &self,
        generation: &Generation,
        app: &Arc<App>,
        scope: &Scope,
        channels: &[ChannelName],
        draft: Draft,
        via: Via,
    ) -> Result<Receipt, Refusal> {
        let targets = self.targets(app, scope, channels, generation.number)?;
        let account = self.shared.memory().app(app.id);
        if account.over() > 0 {
            account.refuse();
            return Err(OVERLOADED);
        }
        let draft = draft.counted(&account);
        let (tell, told) = oneshot::channel();
        let done = move |recipients, position| {
            let _ = tell.send(Receipt { recipients, position });
        };
        let tally = Arc::new(if targets.len() > 1 { Tally::once(done) } else { Tally::new(done) });
        if targets.iter().any(|target| self.shared.is_full(target.home(self.shards()))) {
            return Err(OVERLOADED);
        }
        let (refuse, mut refused) = mpsc::unbounded_channel();
        let publish = |publishing, handlers| {
            let (app, tally) = (app.clone(), Some(tally.clone()));
            self.publish_at_home(Publish { app, publishing, tally, via, handlers });
        };
        let publishing = |target| Publishing { target, draft: draft.clone(), sender: None, answer: None };
        let mut all: Vec<Publishing> = targets.into_iter().map(publishing).collect();
        match all.pop() {
            // The call's end publishes: nothing comes between two calls of one entity.
            Some(only) if all.is_empty() => {
                let refused = Tell::new(move |refusal| drop(refuse.send(refusal)));
                publish(only, ByHandlers::Asked { generation: generation.number, refused });
            }
            last => {
                all.extend(last);
                drop(refuse);
                for Decided { publishing, published } in self.decided(app, generation.number, all).await? {
                    publish(publishing, ByHandlers::Told(published.map(Box::new)));
                }
            }
        }
        drop(tally);
        let receipt = told.await.map_err(|_| OVERLOADED)?;
        match refused.try_recv() {
            Ok(refusal) => Err(refusal),
            Err(_) => Ok(receipt),
        }
    }

    /// What all handlers say before any of it is published: who is refused one channel of several could not know which
    /// of the others had gone out, and a repetition would publish those twice. What the calls themselves did (counters,
    /// messages) stays done. The price is that such a publication may be overtaken by a later one to one channel.
    async fn decided(&self, app: &Arc<App>, generation: u64, all: Vec<Publishing>) -> Result<Vec<Decided>, Refusal> {
        let ask = |publishing: Publishing| {
            let (tell, told) = oneshot::channel();
            let (home, tell) =
                (publishing.target.home(self.shards()), Tell::new(move |decided| drop(tell.send(decided))));
            let decide = Decide { app: app.clone(), generation, publishing, tell };
            self.shared.put(home, Input::Decide(Box::new(decide)));
            told
        };
        let asked: Vec<_> = all.into_iter().map(ask).collect();
        let mut decided = Vec::with_capacity(asked.len());
        for told in asked {
            decided.push(told.await.map_err(|_| OVERLOADED)??);
        }
        Ok(decided)
    }

    fn targets(
        &self,
        app: &App,
        scope: &Scope,
        channels: &[ChannelName],
        generation: u64,
    ) -> Result<Vec<flow::Target>, Refusal> {
        let targets = channels.iter().map(|channel| flow::Target::by(scope, app, channel, generation));
        let targets = targets.collect::<Result<Vec<_>, _>>()?;
        // A handler decides about one channel.
        Ok(if app.handlers.is_some() { targets } else { flow::Target::joined(targets, self.shards()) })
    }

    fn publish_at_home(&self, publish: Publish) {
        self.shared.put(publish.home(self.shards()), Input::Publish(Box::new(publish)));
    }

    // ── plugins: nothing waits ──────────────────────────────────────────────────────────────────────────────────

    /// Whether kernels have more to do than they can keep up with: who feeds them should wait.
    pub fn is_congested(&self) -> bool {
        self.shared.is_congested(None)
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
            let draft = draft.clone().counted(&self.shared.memory().app(app.id));
            self.publish_at_home(Publish::unasked(app, target, draft, tally.clone()));
        }
        Ok(())
    }

    /// A message to each connection of the target, as its dialect writes it. `tally` counts them.
    pub fn cast_send(&self, app: AppId, target: Target, message: Message, tally: Arc<Tally>) {
        self.cast(app, target, Act::Message(message), Some(tally));
    }

    /// The answer to the message that a handler was called for.
    pub fn cast_reply(&self, to: &Connection, asker: &Asker, message: Message) {
        let client = Client { shard: to.shard, slot: to.slot, id: to.id };
        let reply = Reply { to: client, asker: asker.clone(), message };
        self.shared.put(to.shard, Input::Reply(Box::new(reply)));
    }

    pub fn cast_subscribe(
        &self,
        generation: &Generation,
        app: &App,
        id: ConnectionId,
        channel: &ChannelName,
    ) -> Result<(), Refusal> {
        let permit = app.policy.allow_api(&Scope::everywhere(), channel, generation.number)?;
        self.cast(app.id, Target::Connection(id), Act::Subscribe(permit, AskedBy::Plugin), None);
        Ok(())
    }

    pub fn cast_unsubscribe(&self, app: AppId, id: ConnectionId, channel: ChannelName) {
        self.cast(app, Target::Connection(id), Act::Leave(channel), None);
    }

    pub fn cast_close(&self, app: AppId, target: Target, close: Close) {
        self.cast(app, target, Act::Close(close), None);
    }

    fn cast(&self, app: AppId, target: Target, act: Act, tally: Option<Arc<Tally>>) {
        let (target, act) = (Arc::new(target), Arc::new(act));
        for shard in 0..self.shards() {
            let tell = tally.clone().map(|tally| Tell::new(move |connections| tally.add(connections)));
            let each = Each { app, target: target.clone(), act: act.clone(), tell };
            self.shared.put(shard, Input::Each(Box::new(each)));
        }
    }

    // ── the API ─────────────────────────────────────────────────────────────────────────────────────────────────

    /// Has a handler called; what became of it.
    pub async fn call(&self, wish: Wish) -> Result<Finished, Refusal> {
        let (tell, told) = oneshot::channel();
        self.shared.call(wish, Box::new(move |finished| drop(tell.send(finished))));
        told.await.map_err(|_| OVERLOADED)
    }

    /// A message as it stands to all connections of the target; how many there were.
    pub async fn send(&self, app: AppId, target: Target, text: Bytes) -> Result<u32, Refusal> {
        self.each(app, target, Act::Text(text)).await
    }

    pub async fn subscribe(
        &self,
        app: AppId,
        target: Target,
        scope: &Scope,
        channel: &ChannelName,
        generation: &Generation,
    ) -> Result<u32, Refusal> {
        let known = generation.app(app).ok_or(Refusal::new(Code::NotFound))?;
        let permit = known.policy.allow_api(scope, channel, generation.number)?;
        self.each(app, target, Act::Subscribe(permit, AskedBy::Api)).await
    }

    pub async fn unsubscribe(&self, app: AppId, target: Target, channel: &ChannelName) -> Result<u32, Refusal> {
        self.each(app, target, Act::Unsubscribe(channel.clone())).await
    }

    pub async fn disconnect(&self, app: AppId, target: Target, close: Close) -> Result<u32, Refusal> {
        self.each(app, target, Act::Close(close)).await
    }

    /// Closes those that were silent for so long; how many there were.
    pub async fn cleanup(&self, app: AppId, idle_ms: u64) -> Result<u32, Refusal> {
        Ok(self.all(|tell| ask(Ask::Cleanup { app, idle_ms, tell })).await?.into_iter().sum())
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

    /// Something done to each connection of a target; how many there were.
    async fn each(&self, app: AppId, target: Target, act: Act) -> Result<u32, Refusal> {
        let (target, act) = (Arc::new(target), Arc::new(act));
        let answers = self.all(|tell| {
            Input::Each(Box::new(Each { app, target: target.clone(), act: act.clone(), tell: Some(tell) }))
        });
        Ok(answers.await?.into_iter().sum())
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
