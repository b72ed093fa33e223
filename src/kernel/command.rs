//! What is asked of the kernels in somebody's name who is no client: by the HTTP API, a route, a handler. One way for all
//! of them: the scope decides, the command becomes a step, and the step goes to the kernels that it concerns.

use super::input::{Act, Ask, ByHandlers, Decide, Decided, Each, Input, Publish, Tell};
use super::port::{OVERLOADED, Port, Receipt, ask};
use crate::flow::{self, App, Generation, Publishing};
use crate::hub::{AskedBy, Tally};
use crate::model::{ChannelName, Code, Command, Draft, Filter, Refusal, Target};
use crate::observe::Via;
use crate::policy::{Scope, Subscribe};
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};

/// In whose name something is asked, and by which loading of the files.
#[derive(Clone)]
pub struct Caller {
    pub generation: Arc<Generation>,
    pub app: Arc<App>,
    /// Channels that it may reach.
    pub scope: Scope,
    /// A plugin's publications are asked of no handler, and clients are not told of its joins.
    pub via: Via,
    /// For logs: the API key's name, the route, the app.
    pub name: Arc<str>,
}

/// What a command comes to, once it is allowed.
enum Step {
    Publish(Vec<flow::Target>, Draft),
    Each(Target, Act),
    Cleanup(u64),
}

impl Caller {
    /// A handler of the app.
    pub fn plugin(generation: &Arc<Generation>, app: &Arc<App>) -> Caller {
        let (generation, app, name) = (generation.clone(), app.clone(), app.name.clone());
        Caller { generation, app, scope: Scope::everywhere(), via: Via::Plugin, name }
    }

    /// Whether it may reach all of the app.
    pub fn is_everywhere(&self) -> bool {
        self.scope == Scope::everywhere()
    }

    /// An authority over some channels reaches connections only through those channels, which it has to name.
    pub fn reaches(&self, target: &Target) -> Result<(), Refusal> {
        if self.is_everywhere() {
            return Ok(());
        }
        let named = match target {
            Target::Filter(Filter { channels, .. }) => channels.as_ref(),
            Target::User(_) | Target::Connection(_) => None,
        };
        let Some(named) = named else {
            let why = "This key must name the channels that it reaches, all of them its own";
            return Err(Refusal::because(Code::Denied, why));
        };
        match named.iter().find(|channel| !self.scope.covers(channel)) {
            None => Ok(()),
            Some(channel) => Err(Refusal::because(Code::Denied, format!("The key does not cover channel `{channel}`"))),
        }
    }

    /// Channels in its name, all or none.
    fn targets(&self, channels: &[ChannelName]) -> Result<Vec<flow::Target>, Refusal> {
        let by = |channel| flow::Target::by(&self.scope, &self.app, channel, self.generation.number);
        channels.iter().map(by).collect()
    }

    /// Whether it may ask this.
    pub fn allows(&self, command: &Command) -> Result<(), Refusal> {
        self.step(command).map(drop)
    }

    fn step(&self, command: &Command) -> Result<Step, Refusal> {
        let (policy, generation) = (&self.app.policy, self.generation.number);
        let is_plugin = self.via == Via::Plugin;
        let each = |target: &Target, act| Step::Each(target.clone(), act);
        Ok(match command {
            Command::Publish { channels, draft } => Step::Publish(self.targets(channels)?, draft.clone()),
            Command::Send { target, content } => {
                self.reaches(target)?;
                each(target, Act::Send(content.clone()))
            }
            Command::Subscribe { target, channel } => {
                // Whoever could bring anybody onto a channel of its own would reach everybody through it.
                self.reaches(target)?;
                let by = if is_plugin { AskedBy::Plugin } else { AskedBy::Api };
                each(target, Act::Subscribe(policy.allow_api(&self.scope, channel, generation)?, by))
            }
            Command::Unsubscribe { target, channel } if is_plugin => each(target, Act::Leave(channel.clone())),
            Command::Unsubscribe { target, channel } => {
                policy.allow_api::<Subscribe>(&self.scope, channel, generation)?;
                each(target, Act::Unsubscribe(channel.clone()))
            }
            Command::Close { target, close } => {
                self.reaches(target)?;
                each(target, Act::Close(close.clone()))
            }
            Command::Cleanup { idle_ms } if self.is_everywhere() => Step::Cleanup(*idle_ms),
            Command::Cleanup { .. } => {
                return Err(Refusal::because(Code::Denied, "`cleanup` is for keys of all channels"));
            }
        })
    }
}

impl Port {
    /// Carries a command out. Resolves once every kernel that it concerns has: what is sent is in out-queues, whoever is
    /// closed reads no more. A class's `publish` handler decides before.
    pub async fn execute(&self, caller: &Caller, command: &Command) -> Result<Receipt, Refusal> {
        let recipients = match caller.step(command)? {
            Step::Publish(targets, draft) => return self.publish(caller, targets, draft).await,
            Step::Each(target, act) => self.each(caller, target, act).await?,
            Step::Cleanup(idle_ms) => {
                let app = caller.app.id;
                self.all(|tell| ask(Ask::Cleanup { app, idle_ms, tell })).await?.into_iter().sum()
            }
        };
        Ok(Receipt { recipients, position: None })
    }

    /// The same for handlers, which wait for nothing and are never refused for being too much: who feeds the kernels looks
    /// at `is_congested`. No handler is called for it. `tally` counts whom it reaches; asked for where there is anybody to
    /// count, with whether one connection may be reached by several kernels' parts of it.
    pub fn cast(&self, caller: &Caller, command: &Command, tally: impl Fn(bool) -> Arc<Tally>) -> Result<(), Refusal> {
        let app = &caller.app;
        match caller.step(command)? {
            Step::Publish(targets, draft) => {
                let targets = flow::Target::joined(targets, self.shards());
                let tally = tally(targets.len() > 1);
                for target in targets {
                    let draft = draft.clone().counted(&self.shared.memory().app(app.id));
                    self.publish_at_home(Publish::unasked(app, target, draft, tally.clone()));
                }
            }
            Step::Each(target, act) => {
                let tally = matches!(act, Act::Send(_)).then(|| tally(false));
                let (target, act) = (Arc::new(target), Arc::new(act));
                for shard in 0..self.shards() {
                    let tell = tally.clone().map(|tally| Tell::new(move |connections| tally.add(connections)));
                    let each = Each { app: app.id, target: target.clone(), act: act.clone(), tell };
                    self.shared.put(shard, Input::Each(Box::new(each)));
                }
            }
            Step::Cleanup(idle_ms) => {
                let app = app.id;
                (0..self.shards()).for_each(|shard| {
                    self.shared.put(shard, ask(Ask::Cleanup { app, idle_ms, tell: Tell::new(|_| ()) }));
                });
            }
        }
        Ok(())
    }

    /// To all of these channels, or none: a connection on several of them hears it once.
    async fn publish(&self, caller: &Caller, targets: Vec<flow::Target>, draft: Draft) -> Result<Receipt, Refusal> {
        let (app, generation) = (&caller.app, caller.generation.number);
        // A handler decides about one channel.
        let targets = if app.handlers.is_some() { targets } else { flow::Target::joined(targets, self.shards()) };
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
            let (app, tally, via) = (app.clone(), Some(tally.clone()), caller.via);
            self.publish_at_home(Publish { app, publishing, tally, via, handlers });
        };
        let publishing = |target| Publishing { target, draft: draft.clone(), sender: None, answer: None };
        let mut all: Vec<Publishing> = targets.into_iter().map(publishing).collect();
        match all.pop() {
            // The call's end publishes: nothing comes between two calls of one entity.
            Some(only) if all.is_empty() => {
                let refused = Tell::new(move |refusal| drop(refuse.send(refusal)));
                publish(only, ByHandlers::Asked { generation, refused });
            }
            last => {
                all.extend(last);
                drop(refuse);
                for Decided { publishing, published } in self.decided(app, generation, all).await? {
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

    fn publish_at_home(&self, publish: Publish) {
        self.shared.put(publish.home(self.shards()), Input::Publish(Box::new(publish)));
    }

    /// Something done to each connection of a target; how many there were.
    async fn each(&self, caller: &Caller, target: Target, act: Act) -> Result<u32, Refusal> {
        let (app, target, act) = (caller.app.id, Arc::new(target), Arc::new(act));
        let answers = self.all(|tell| {
            Input::Each(Box::new(Each { app, target: target.clone(), act: act.clone(), tell: Some(tell) }))
        });
        Ok(answers.await?.into_iter().sum())
    }
}
