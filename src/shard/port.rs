//! What other rooms may ask of the shards: every verb of the HTTP API, of routes and of plugins.
//!
//! A question goes to the shards that it concerns, each answers its share, and the sum comes back. Nothing waits for
//! a shard's sockets; a shard whose mailbox is full refuses with `overloaded`.

use super::shard::Shard;
use super::shared::Shared;
use crate::flow::{self, App, Draft, Generation, Publishing, Whose, Wish};
use crate::hub::{Page, Tally};
use crate::model::{
    AppId, AppStats, ChannelInfo, ChannelName, Close, Code, ConnectionInfo, Member, Position, Refusal, Slot, Target,
};
use crate::observe::Via;
use crate::policy::Scope;
use crate::script::{Event, Finished};
use bytes::Bytes;
use serde_json::Value;
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

/// The way to the shards.
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

    /// Publishes to channels in the scope's name, all or none: a connection on several of them hears it once. A class's
    /// `publish` handler decides before. Resolves once every shard has it in its out-queues.
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
        if targets.iter().any(|target| self.is_full(target.home(self.shards()))) {
            return Err(OVERLOADED);
        }
        let mut all: Vec<Publishing> = (targets.into_iter())
            .map(|target| Publishing { target, draft: draft.clone(), sender: None, answer: None })
            .collect();
        let (refuse, mut refused) = mpsc::unbounded_channel();
        match all.pop() {
            // The call's end publishes: nothing comes between two calls of one entity.
            Some(only) if all.is_empty() => {
                self.shared.publish(app, generation.number, only, Some(tally.clone()), via, refuse);
            }
            last => {
                all.extend(last);
                drop(refuse);
                let decided = self.decided(app, generation.number, all).await?;
                // All of them before the first is out, as above.
                let published = decided.iter().map(|(publishing, about)| {
                    self.shared.about_published(app, generation.number, publishing, about.as_ref())
                });
                let published = published.collect::<Result<Vec<_>, _>>()?;
                for ((publishing, _), wish) in decided.into_iter().zip(published) {
                    self.shared.publish_and_tell(app, publishing, Some(tally.clone()), via, wish);
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
    async fn decided(
        &self,
        app: &Arc<App>,
        generation: u64,
        all: Vec<Publishing>,
    ) -> Result<Vec<(Publishing, Option<Event>)>, Refusal> {
        let ask = |publishing| {
            let (tell, told) = oneshot::channel();
            self.shared.decide(app, generation, publishing, move |decided| drop(tell.send(decided)));
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

    fn is_full(&self, shard: u16) -> bool {
        self.shared.peers().get(usize::from(shard)).is_none_or(|peer| peer.is_full())
    }

    /// Has a handler called; what became of it.
    pub async fn call(&self, wish: Wish) -> Result<Finished, Refusal> {
        let (tell, told) = oneshot::channel();
        self.shared.call(wish, Box::new(move |finished| drop(tell.send(finished))));
        told.await.map_err(|_| OVERLOADED)
    }

    /// A message as it stands to all connections of the target; how many there were.
    pub async fn send(&self, app: AppId, target: Target, text: Bytes) -> Result<u32, Refusal> {
        self.each(app, target, move |shard, slot| shard.send_text(slot, &text)).await
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
        self.each(app, target, move |shard, slot| {
            let permit = permit.clone();
            shard.walk_own(slot, |walk| walk.seat(permit, Whose::Api));
            shard.carry();
        })
        .await
    }

    pub async fn unsubscribe(&self, app: AppId, target: Target, channel: &ChannelName) -> Result<u32, Refusal> {
        let channel = channel.clone();
        self.each(app, target, move |shard, slot| {
            shard.walk_own(slot, |walk| walk.unseat(&channel));
        })
        .await
    }

    pub async fn disconnect(&self, app: AppId, target: Target, close: Close) -> Result<u32, Refusal> {
        self.each(app, target, move |shard, slot| shard.close(slot, close.clone())).await
    }

    /// Closes those that were silent for so long; how many there were.
    pub async fn cleanup(&self, app: AppId, idle_ms: u64) -> Result<u32, Refusal> {
        let answers = self.all(move |shard| {
            let idle: Vec<Slot> = (shard.conns.iter())
                .filter(|(_, c)| c.session.app == app && c.is_open())
                .filter(|(_, c)| shard.now.mono.since(c.session.last_activity) >= idle_ms)
                .map(|(slot, _)| slot as Slot)
                .collect();
            idle.iter().for_each(|slot| shard.close(*slot, Close::IDLE));
            idle.len() as u32
        });
        Ok(answers.await?.into_iter().sum())
    }

    pub async fn presence(&self, app: &App, channel: &ChannelName) -> Result<Vec<Member>, Refusal> {
        let (id, channel) = (app.id, channel.clone());
        self.at_home(app, &channel.clone(), move |shard| shard.hub.presence(id, &channel)).await
    }

    pub async fn history(
        &self,
        app: &App,
        channel: &ChannelName,
        since: Option<Position>,
        limit: usize,
    ) -> Result<Page, Refusal> {
        let (id, channel) = (app.id, channel.clone());
        self.at_home(app, &channel.clone(), move |shard| shard.hub.history(id, &channel, since, limit)).await
    }

    /// Channels that pass, `limit` at most, by name.
    pub async fn channels(
        &self,
        app: AppId,
        limit: usize,
        pass: impl Fn(&ChannelName) -> bool + Send + Sync + 'static,
    ) -> Result<Vec<ChannelInfo>, Refusal> {
        let pass = Arc::new(pass);
        let answers = self.all(move |shard| {
            let own = shard.hub.channels().filter(|(c, _)| c.app == app && pass(&c.name));
            let mut own: Vec<ChannelInfo> = own
                .map(|(c, subscribers)| ChannelInfo { name: c.name.clone(), subscribers, since: c.since() })
                .collect();
            own.sort_unstable_by(|a, b| a.name.cmp(&b.name));
            own.truncate(limit);
            own
        });
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
        let answers = self.all(move |shard| {
            let slots = shard.targets(app, &target);
            let infos: Vec<ConnectionInfo> = slots.iter().take(limit).filter_map(|s| shard.info(*s)).collect();
            (infos, slots.len())
        });
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
        let asked = claims.clone();
        let answers = self.all(move |shard| shard.stats(app, &asked));
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

    /// Something done to each connection of a target.
    async fn each(
        &self,
        app: AppId,
        target: Target,
        act: impl Fn(&mut Shard, Slot) + Send + Sync + 'static,
    ) -> Result<u32, Refusal> {
        let act = Arc::new(act);
        let answers = self.all(move |shard| {
            let slots = shard.targets(app, &target);
            slots.iter().for_each(|slot| act(shard, *slot));
            slots.len() as u32
        });
        Ok(answers.await?.into_iter().sum())
    }

    pub(super) async fn all<T: Send + 'static>(
        &self,
        question: impl FnOnce(&mut Shard) -> T + Clone + Send + 'static,
    ) -> Result<Vec<T>, Refusal> {
        let (tell, mut told) = mpsc::unbounded_channel();
        for peer in self.shared.peers() {
            let (tell, question) = (tell.clone(), question.clone());
            let asked = peer.ask(move |shard| {
                let _ = tell.send(question(shard));
            });
            if !asked {
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

    async fn at_home<T: Send + 'static>(
        &self,
        app: &App,
        channel: &ChannelName,
        question: impl FnOnce(&mut Shard) -> T + Send + 'static,
    ) -> Result<T, Refusal> {
        let (tell, told) = oneshot::channel();
        let (id, home, channel) = (app.id, flow::home(app, self.shards(), channel), channel.clone());
        let job = move |shard: &mut Shard| {
            let _ = tell.send(question(shard));
        };
        let asked = self.shared.peers().get(home as usize);
        let asked = asked.is_some_and(|peer| peer.ask(move |shard| shard.at_home(id, &channel, Box::new(job))));
        if !asked {
            return Err(OVERLOADED);
        }
        told.await.map_err(|_| OVERLOADED)
    }

    pub(super) async fn one<T: Send + 'static>(
        &self,
        shard: u16,
        question: impl FnOnce(&mut Shard) -> T + Send + 'static,
    ) -> Result<T, Refusal> {
        let (tell, told) = oneshot::channel();
        let asked = self.shared.peers().get(shard as usize).is_some_and(|peer| {
            peer.ask(move |shard| {
                let _ = tell.send(question(shard));
            })
        });
        if !asked {
            return Err(OVERLOADED);
        }
        told.await.map_err(|_| OVERLOADED)
    }
}

impl Shard {
    /// This shard's open connections that a target names.
    pub(super) fn targets(&self, app: AppId, target: &Target) -> Vec<Slot> {
        let open = |slot: &Slot| {
            let conn = self.conns.get(*slot as usize);
            conn.is_some_and(|c| c.session.app == app && c.is_open() && !c.session.newcomer)
        };
        match target {
            Target::Connection(id) => self.by_id.get(id).copied().filter(open).into_iter().collect(),
            Target::User(user) => self.passing(app, |c| c.session.identity.user.as_ref() == Some(user)),
            Target::Filter(filter) => {
                let found = |name: &ChannelName| self.hub.find(app, name.as_str());
                let channels: Option<Vec<u32>> =
                    filter.channels.as_ref().map(|names| names.iter().filter_map(found).collect());
                if channels.as_ref().is_some_and(Vec::is_empty) {
                    return Vec::new();
                }
                self.passing(app, |c| {
                    let session = &c.session;
                    filter.passes(session.id, &session.identity)
                        && channels.as_ref().is_none_or(|on| session.subs.iter().any(|s| on.contains(&s.channel)))
                })
            }
        }
    }

    fn passing(&self, app: AppId, pass: impl Fn(&super::conn::Conn) -> bool) -> Vec<Slot> {
        let of_app = self.conns.iter().filter(|(_, c)| c.session.app == app && c.is_open() && !c.session.newcomer);
        of_app.filter(|(_, c)| pass(c)).map(|(slot, _)| slot as Slot).collect()
    }

    fn info(&self, slot: Slot) -> Option<ConnectionInfo> {
        let conn = self.conns.get(slot as usize)?;
        let session = &conn.session;
        let app = self.generation.app(session.app)?;
        Some(ConnectionInfo {
            id: session.id,
            identity: session.identity.clone(),
            channels: session.subs.iter().map(|s| self.hub.channel(s.channel).name.clone()).collect(),
            ip: session.ip,
            user_agent: session.user_agent.clone(),
            endpoint: app.endpoint(session.endpoint)?.path.clone(),
            connected_at: session.connected_at.wall,
            last_activity: self.now.wall_of(session.last_activity),
            queued_bytes: conn.queued(),
        })
    }

    fn stats(&self, app: AppId, claims: &[String]) -> AppStats {
        let mut stats =
            AppStats { by: claims.iter().map(|c| (c.clone(), BTreeMap::new())).collect(), ..Default::default() };
        for (_, conn) in self.conns.iter().filter(|(_, c)| c.session.app == app && c.is_open()) {
            stats.connections += 1;
            stats.subscriptions += conn.session.subs.len();
            for (claim, counts) in &mut stats.by {
                let value = match conn.session.identity.claim(claim) {
                    Some(Value::String(text)) => text.clone(),
                    Some(other) => other.to_string(),
                    None => continue,
                };
                *counts.entry(value).or_insert(0) += 1;
            }
        }
        stats.channels = self.hub.channels().filter(|(c, _)| c.app == app).count();
        stats
    }
}
