//! Between shards and handlers: calls go to the workers, what becomes of them comes back as jobs.
//!
//! Nothing here waits: a full worker queue refuses, a result is put in a mailbox.

use super::mailbox::Input;
use super::shard::Shard;
use super::shared::Shared;
use crate::dialect::{Answer, Asked};
use crate::flow::{self, After, App, Draft, Publishing, Wish};
use crate::hub::Tally;
use crate::model::{ChannelName, Close, Code, ConnectionId, Refusal, Slot};
use crate::observe::Via;
use crate::script::{Asker, Call, Event, Finished, Message, NotTaken, Then, Trigger, Workers};
use std::sync::Arc;
use tokio::sync::mpsc;

/// Who hears that a publication was refused by its handler.
type Refused = mpsc::UnboundedSender<Refusal>;

impl Shared {
    /// The workers; once at the start.
    pub fn set_workers(&self, workers: Arc<Workers>) {
        let _ = self.workers.set(workers);
    }

    pub fn workers(&self) -> Option<&Arc<Workers>> {
        self.workers.get()
    }

    /// Has a handler called. Where that cannot be, `then` hears why.
    pub fn call(&self, wish: Wish, then: Then) {
        let Wish { app, generation, handler, entity, event, failed: _, after: _ } = wish;
        let call = Call { app, generation, handler, entity, event, then };
        let refused = match self.workers() {
            Some(workers) => workers.submit(call),
            None => Err(Box::new(NotTaken { call, refusal: Refusal::new(Code::Overloaded) })),
        };
        if let Err(not_taken) = refused {
            let NotTaken { call, refusal } = *not_taken;
            (call.then)(Finished { event: call.event, result: Err(refusal), reply: None, recipients: None });
        }
    }

    /// Work for a shard that must not be lost.
    pub(super) fn put(&self, shard: u16, job: impl FnOnce(&mut Shard) + Send + 'static) {
        if let Some(peer) = self.peers().get(usize::from(shard)) {
            peer.put(Input::Job(Box::new(job)));
        }
    }

    /// Publishes for the API or a route: the class's `publish` decides first, its `published` hears of it.
    pub(super) fn publish(
        self: &Arc<Self>,
        app: &Arc<App>,
        generation: u64,
        publishing: Publishing,
        tally: Option<Arc<Tally>>,
        via: Via,
        refused: Refused,
    ) {
        let (shared, of) = (self.clone(), app.clone());
        self.decide(app, generation, publishing, move |decided| match decided {
            Err(refusal) => drop(refused.send(refusal)),
            Ok((publishing, about)) => {
                if let Err(refusal) = shared.publish_now(&of, generation, publishing, tally, via, about.as_ref()) {
                    drop(refused.send(refusal));
                }
            }
        });
    }

    /// Asks the class's `publish` handler; nothing is published. `then` hears what may go out, and of which call, or why
    /// it may not.
    pub(super) fn decide(
        &self,
        app: &Arc<App>,
        generation: u64,
        publishing: Publishing,
        then: impl FnOnce(Result<(Publishing, Option<Event>), Refusal>) + Send + 'static,
    ) {
        let class = publishing.target.class();
        let bound = app.handlers.as_ref().and_then(|h| Some((h, h.class(class)?.publish.as_ref()?)));
        let Some((handlers, bound)) = bound else { return then(Ok((publishing, None))) };
        let Draft { event, key, data, .. } = publishing.draft.clone();
        let event = Event::of_nobody(Trigger::Publish { event, key }, data, crate::observe::clock());
        match handlers.about_channel(bound, &app.policy, publishing.target.channel(), generation, event) {
            Err(refusal) => then(Err(refusal)),
            Ok(wish) => {
                let memory = self.memory().clone();
                let decided = move |finished: Finished| match finished.result {
                    Err(refusal) => then(Err(refusal)),
                    Ok(changed) => {
                        let publishing = publishing.with(&finished.event, changed, &memory);
                        then(Ok((publishing, Some(finished.event))));
                    }
                };
                self.call(wish, Box::new(decided));
            }
        }
    }

    /// Straight to its home. `about`: the call that let it pass. Err: the class's `published` could not be told.
    pub(super) fn publish_now(
        self: &Arc<Self>,
        app: &Arc<App>,
        generation: u64,
        publishing: Publishing,
        tally: Option<Arc<Tally>>,
        via: Via,
        about: Option<&Event>,
    ) -> Result<(), Refusal> {
        let published = self.about_published(app, generation, &publishing, about)?;
        self.publish_and_tell(app, publishing, tally, via, published);
        Ok(())
    }

    /// The call of the class's `published`, if it has one. Err: it could not be told; then nothing is published.
    pub(super) fn about_published(
        &self,
        app: &App,
        generation: u64,
        publishing: &Publishing,
        about: Option<&Event>,
    ) -> Result<Option<Wish>, Refusal> {
        let Publishing { target, draft, .. } = publishing;
        let handlers = app.handlers.as_ref();
        let Some((handlers, bound)) = handlers.and_then(|h| Some((h, h.class(target.class())?.published.clone()?)))
        else {
            return Ok(None);
        };
        let trigger = Trigger::Published { event: draft.event.clone(), key: draft.key.clone() };
        let event = match about {
            Some(event) => Event { trigger, data: draft.data.clone(), ..event.clone() },
            None => Event::of_nobody(trigger, draft.data.clone(), crate::observe::clock()),
        };
        handlers.about_publication(&bound, &app.policy, target.channel(), generation, event).map(Some)
    }

    pub(super) fn publish_and_tell(
        self: &Arc<Self>,
        app: &Arc<App>,
        publishing: Publishing,
        tally: Option<Arc<Tally>>,
        via: Via,
        published: Option<Wish>,
    ) {
        let Publishing { target, draft, sender, answer } = publishing;
        let app = app.clone();
        self.put(target.home(self.shards() as u16), move |shard| {
            shard.counts.app(app.id).published(via);
            flow::publish(&mut shard.hub, &app, target, draft, sender, tally, answer, shard.now);
        });
        if let Some(wish) = published {
            self.call(wish, Box::new(|_| ()));
        }
    }

    /// What a plugin publishes: no handler is called again for it.
    pub(super) fn publish_unasked(
        &self,
        app: &Arc<App>,
        target: flow::Target,
        draft: Draft,
        tally: Option<Arc<Tally>>,
    ) {
        let (app, draft) = (app.clone(), draft.counted(&self.memory().app(app.id)));
        self.put(target.home(self.shards() as u16), move |shard| {
            shard.counts.app(app.id).published(Via::Plugin);
            flow::publish(&mut shard.hub, &app, target, draft, None, tally, None, shard.now);
        });
    }
}

impl Shard {
    /// Has a handler called for a connection of this shard.
    pub(super) fn call(&mut self, slot: Slot, wish: Wish) {
        let Some(app) = self.app_of(slot) else { return };
        let id = self.conns[slot as usize].session.id;
        let (me, shared) = (self.me, self.shared.clone());
        let Wish { after, generation, failed, .. } = wish;
        let wish = Wish { after: After::Nothing, failed: None, ..wish };
        let then: Then = match after {
            After::Nothing => Box::new(move |Finished { event, result, .. }| {
                if let Err(refusal) = result {
                    let refusal = flow::in_words(refusal, failed);
                    shared.put(me, move |shard| shard.handler_refused(slot, id, &event, &refusal));
                }
            }),
            After::Publish(publishing) => Box::new(move |Finished { event, result, .. }| {
                let published = result.and_then(|changed| {
                    let publishing = publishing.with(&event, changed, shared.memory());
                    shared.publish_now(&app, generation, publishing, None, Via::Client, Some(&event))
                });
                if let Err(refusal) = published {
                    let refusal = flow::in_words(refusal, failed);
                    shared.put(me, move |shard| shard.handler_refused(slot, id, &event, &refusal));
                }
            }),
            After::Subscribe { permit, text, since, number } => Box::new(move |Finished { event, result, .. }| {
                shared.put(me, move |shard| {
                    if !shard.is_same(slot, id) || !shard.conns[slot as usize].is_open() {
                        return;
                    }
                    let channel = event.channel.as_ref();
                    shard.walk_own(slot, |walk| match (result, channel) {
                        (Err(refusal), Some(channel)) => {
                            walk.subscribe_refused(channel, &text, number, flow::in_words(refusal, failed));
                        }
                        _ => walk.subscribe_on(permit, &text, since, number),
                    });
                    shard.let_go(slot);
                    shard.carry();
                });
            }),
        };
        self.shared.call(wish, then);
    }

    /// Whether its app has handlers.
    pub(super) fn handled(&self, slot: Slot) -> bool {
        self.app_of(slot).is_some_and(|app| app.handlers.is_some())
    }

    /// What handlers kept of this connection alone ends with it, behind the calls that wait.
    pub(super) fn forget_entity(&self, slot: Slot) {
        let session = &self.conns[slot as usize].session;
        if let Some(workers) = self.shared.workers() {
            workers.forget(session.app, &session.entity());
        }
    }

    /// A handler refused, or failed: the client is told where it asked for something.
    fn handler_refused(&mut self, slot: Slot, id: ConnectionId, event: &Event, refusal: &Refusal) {
        if !self.is_same(slot, id) || !self.conns[slot as usize].is_open() {
            return;
        }
        let channel = event.channel.as_ref().map(ChannelName::as_str);
        let asked = event.asker.as_ref().map(|a| Asked { id: a.id.as_deref(), kind: &a.kind });
        match event.trigger {
            Trigger::Message { .. } | Trigger::Publish { .. } | Trigger::Connect => {
                self.walk_own(slot, |walk| walk.refuse(refusal, channel, asked));
            }
            // It was subscribed all the same; only what the file has words for is told.
            Trigger::Subscribed if flow::is_failure(refusal) && refusal.message.is_some() => {
                self.walk_own(slot, |walk| walk.tell(refusal, channel, asked));
            }
            _ => {}
        }
        // Who may not connect does not stay; a mistake of the plugin's own keeps nobody out.
        if matches!(event.trigger, Trigger::Connect) && refusal.code != Code::Internal {
            self.close(slot, Close::POLICY);
        }
    }

    /// What a handler answers to a message of a client.
    pub(super) fn handler_replies(&mut self, slot: Slot, id: ConnectionId, asker: &Asker, message: &Message) {
        if self.is_same(slot, id) && self.conns[slot as usize].is_open() {
            let asked = Asked { id: asker.id.as_deref(), kind: &asker.kind };
            let answer = Answer::Reply { event: message.event.as_deref(), data: &message.data };
            self.walk_own(slot, |walk| walk.say(&answer, Some(asked)));
        }
    }
}
