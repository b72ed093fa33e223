//! Between kernels and handlers: calls go to the workers, what becomes of them comes back as `Input::Ended`.
//!
//! Nothing here waits: a full worker queue refuses, an end is put in an inbox.

use super::input::{ByHandlers, Cause, Client, Decide, Decided, Ended, Input, Publish, Refused};
use super::io::Io;
use super::kernel::Kernel;
use super::shared::Shared;
use crate::dialect::{Answer, Asked};
use crate::flow::{self, After, App, Publishing, Wish};
use crate::hub::Tally;
use crate::model::{ChannelName, Close, Code, Draft, Message, Refusal, Slot};
use crate::observe::Via;
use crate::script::{Asker, Call, Event, Finished, NotTaken, Then, Trigger, Workers};
use std::sync::Arc;

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

    /// The same; the kernel that the cause names hears of its end.
    fn call_for(self: &Arc<Self>, wish: Wish, cause: Cause) {
        let (shared, shard) = (self.clone(), cause.shard(self.shards() as u16));
        let then = move |finished: Finished| {
            if finished.result.is_err() || cause.goes_on() {
                shared.put(shard, Input::Ended(Box::new(Ended { cause, finished })));
            }
        };
        self.call(wish, Box::new(then));
    }
}

impl<I: Io> Kernel<I> {
    // ── publications ────────────────────────────────────────────────────────────────────────────────────────────

    /// A publication of the API, a route or a plugin: this is its channel's home.
    pub(super) fn publish(&mut self, publish: Publish) {
        let Publish { app, publishing, tally, via, handlers } = publish;
        match handlers {
            ByHandlers::Unasked => self.sequence(&app, publishing, tally, via),
            ByHandlers::Told(published) => {
                self.sequence(&app, publishing, tally, via);
                self.tell_published(published.map(|wish| *wish));
            }
            ByHandlers::Asked { generation, refused } => match self.asks(&app, generation, &publishing) {
                Err(refusal) => refused.tell(refusal),
                Ok(Some(wish)) => {
                    let handlers = ByHandlers::Asked { generation, refused };
                    let cause = Cause::Publish(Box::new(Publish { app, publishing, tally, via, handlers }));
                    self.shared.call_for(wish, cause);
                }
                Ok(None) => match self.about_published(&app, generation, &publishing, None) {
                    Err(refusal) => refused.tell(refusal),
                    Ok(published) => {
                        self.sequence(&app, publishing, tally, via);
                        self.tell_published(published);
                    }
                },
            },
        }
    }

    /// What the class's handlers say of a publication that is not made yet.
    pub(super) fn decide(&mut self, decide: Decide) {
        let Decide { app, generation, publishing, tell } = decide;
        match self.asks(&app, generation, &publishing) {
            Err(refusal) => tell.tell(Err(refusal)),
            Ok(Some(wish)) => {
                self.shared.call_for(wish, Cause::Decide(Box::new(Decide { app, generation, publishing, tell })));
            }
            Ok(None) => {
                let published = self.about_published(&app, generation, &publishing, None);
                tell.tell(published.map(|published| Decided { publishing, published }));
            }
        }
    }

    /// The call of the class's `publish`, where there is one.
    fn asks(&self, app: &App, generation: u64, publishing: &Publishing) -> Result<Option<Wish>, Refusal> {
        let class = publishing.target.class();
        let bound = app.handlers.as_ref().and_then(|h| Some((h, h.class(class)?.publish.as_ref()?)));
        let Some((handlers, bound)) = bound else { return Ok(None) };
        let Draft { event, key, data, .. } = publishing.draft.clone();
        let event = Event::of_nobody(Trigger::Publish { event, key }, data, self.now);
        handlers.about_channel(bound, &app.policy, publishing.target.channel(), generation, event).map(Some)
    }

    /// The call of the class's `published`, if it has one. `about`: the call that let it pass. Err: it could not be told;
    /// then nothing is published.
    fn about_published(
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
            None => Event::of_nobody(trigger, draft.data.clone(), self.now),
        };
        handlers.about_publication(&bound, &app.policy, target.channel(), generation, event).map(Some)
    }

    fn tell_published(&self, published: Option<Wish>) {
        if let Some(wish) = published {
            self.shared.call(wish, Box::new(|_| ()));
        }
    }

    fn sequence(&mut self, app: &App, publishing: Publishing, tally: Option<Arc<Tally>>, via: Via) {
        self.counts.app(app.id).published(via);
        publishing.publish(&mut self.hub, tally, self.now);
    }

    // ── calls ───────────────────────────────────────────────────────────────────────────────────────────────────

    /// Has a handler called for a connection of this kernel.
    pub(super) fn call(&mut self, slot: Slot, wish: Wish) {
        let Some(app) = self.app_of(slot) else { return };
        let client = Client { shard: self.me, slot, id: self.conns[slot].session.id };
        let Wish { after, generation, failed, .. } = wish;
        let cause = match after {
            After::Nothing => Cause::Client { client, failed },
            After::Publish(publishing) => Cause::ClientPublish { client, failed, app, generation, publishing },
            After::Subscribe { permit, text, since, number } => {
                Cause::Subscribe { client, failed, permit, text, since, number }
            }
        };
        self.shared.call_for(Wish { after: After::Nothing, failed: None, ..wish }, cause);
    }

    /// A call has ended: what waited for it goes on.
    pub(super) fn ended(&mut self, ended: Ended) {
        let Ended { cause, finished: Finished { event, result, .. } } = ended;
        match cause {
            Cause::Client { client, failed } => {
                if let Err(refusal) = result {
                    self.handler_refused(client, &event, &flow::in_words(refusal, failed));
                }
            }
            Cause::Subscribe { client, failed, permit, text, since, number } => {
                if !self.conns.is_open(client) {
                    return;
                }
                self.walk_own(client.slot, |walk| match (result, &event.channel) {
                    (Err(refusal), Some(channel)) => {
                        walk.subscribe_refused(channel, &text, number, flow::in_words(refusal, failed));
                    }
                    _ => walk.subscribe_on(permit, &text, since, number),
                });
                self.let_go(client.slot);
            }
            Cause::ClientPublish { client, failed, app, generation, publishing } => {
                let published = result.and_then(|changed| {
                    let publishing = publishing.with(&event, changed, self.shared.memory());
                    self.publish_decided(&app, generation, publishing, None, Via::Client, &event)
                });
                if let Err(refusal) = published {
                    let told = Refused { to: client, event, refusal: flow::in_words(refusal, failed) };
                    self.shared.put(client.shard, Input::Refused(Box::new(told)));
                }
            }
            Cause::Publish(publish) => {
                let Publish { app, publishing, tally, via, handlers } = *publish;
                let ByHandlers::Asked { generation, refused } = handlers else { return };
                let published = result.and_then(|changed| {
                    let publishing = publishing.with(&event, changed, self.shared.memory());
                    self.publish_decided(&app, generation, publishing, tally, via, &event)
                });
                if let Err(refusal) = published {
                    refused.tell(refusal);
                }
            }
            Cause::Decide(decide) => {
                let Decide { app, generation, publishing, tell } = *decide;
                tell.tell(result.and_then(|changed| {
                    let publishing = publishing.with(&event, changed, self.shared.memory());
                    let published = self.about_published(&app, generation, &publishing, Some(&event))?;
                    Ok(Decided { publishing, published })
                }));
            }
        }
    }

    /// Its `publish` handler let it pass in the call of `event`. Err: the class's `published` could not be told.
    fn publish_decided(
        &mut self,
        app: &App,
        generation: u64,
        publishing: Publishing,
        tally: Option<Arc<Tally>>,
        via: Via,
        event: &Event,
    ) -> Result<(), Refusal> {
        let published = self.about_published(app, generation, &publishing, Some(event))?;
        self.sequence(app, publishing, tally, via);
        self.tell_published(published);
        Ok(())
    }

    /// Whether its app has handlers.
    pub(super) fn handled(&self, slot: Slot) -> bool {
        self.app_of(slot).is_some_and(|app| app.handlers.is_some())
    }

    /// What handlers kept of this connection alone ends with it, behind the calls that wait.
    pub(super) fn forget_entity(&self, slot: Slot) {
        let session = &self.conns[slot].session;
        if let Some(workers) = self.shared.workers() {
            workers.forget(session.app, &session.entity());
        }
    }

    /// A handler refused, or failed: the client is told where it asked for something.
    pub(super) fn handler_refused(&mut self, to: Client, event: &Event, refusal: &Refusal) {
        if !self.conns.is_open(to) {
            return;
        }
        let slot = to.slot;
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
    pub(super) fn handler_replies(&mut self, to: Client, asker: &Asker, message: &Message) {
        if self.conns.is_open(to) {
            let asked = Asked { id: asker.id.as_deref(), kind: &asker.kind };
            let answer = Answer::Reply { event: message.event.as_deref(), data: &message.data };
            self.walk_own(to.slot, |walk| walk.say(&answer, Some(asked)));
        }
    }
}
