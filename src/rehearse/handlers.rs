//! Handlers at once, on this thread: one call after another, all or nothing, as `script`'s workers do it on theirs.

use super::keep::Timer;
use super::stage::Stage;
use super::world::{Cause, Job, World};
use crate::dialect::{Answer, Asked};
use crate::flow::{self, After, Publishing, Wish};
use crate::hub::Tally;
use crate::model::{ChannelName, Close, Code, Millis, Now, Refusal, Slot};
use crate::script::{Around, Event, Failure, Finished, Ran, State, Trigger};
use std::sync::{Arc, Mutex};

/// Calls that one step may lead to; beyond, handlers call each other without end.
const CALLS_MAX: usize = 10_000;
/// Timers that may fire while a test's clock goes on once; beyond, it takes too long.
const FIRED_MAX: usize = 100_000;

impl Stage {
    /// Until no handler is left to be called.
    pub fn settle(&self) {
        for _ in 0..CALLS_MAX {
            let job = self.world().jobs.pop_front();
            match job {
                None => return,
                Some(Job::Forget(entity)) => self.world().kept.forget(&entity),
                Some(Job::Call(wish, cause)) => self.perform(*wish, cause),
            }
        }
        let mut world = self.world();
        world.jobs.clear();
        world.fault(format!("one step led to more than {CALLS_MAX} calls of handlers"));
    }

    fn perform(&self, wish: Wish, cause: Cause) {
        let Wish { app: script, handler, entity, event, failed, after, generation: _ } = wish;
        let plugin = &script.plugin;
        let keeps = plugin.keeps_state(handler);
        let mut state = State::new();
        if let Some(entity) = entity.as_deref().filter(|_| keeps) {
            state = self.world().kept.states.get(entity).map(|(state, _)| state.clone()).unwrap_or_default();
        }
        let around =
            Around { app: &script, host: self, store: Some(self), entity: entity.as_deref(), limits: &self.limits };
        let ran = plugin.run(handler, &mut state, &event, &around);
        let mut world = self.world();
        let ran = ran.and_then(|ran| {
            let state = entity.as_ref().filter(|_| keeps).map(|_| state);
            let told = world.keep(&script, plugin.name_of(handler), entity.as_ref(), state, &ran.kept);
            told.map(|()| ran).map_err(|fault| Failure::Fault(Box::new(fault)))
        });
        match ran {
            Ok(ran) => world.well(event, after, cause, ran),
            Err(Failure::Refused(refusal)) => world.refused(event, after, cause, refusal),
            Err(Failure::Fault(fault)) => {
                world.fault(fault.to_string());
                world.refused(event, after, cause, flow::in_words(Refusal::new(Code::Internal), failed));
            }
        }
        world.settle();
    }

    /// The clock goes on to `until`; timers fire in their order.
    pub fn go_on(&self, until: Millis) {
        for fired in 0.. {
            let mut world = self.world();
            let Some(timer) = world.kept.due(until).filter(|_| fired < FIRED_MAX) else {
                if fired == FIRED_MAX {
                    world.fault(format!("timers fired more than {FIRED_MAX} times; the clock stops"));
                }
                world.now = Now::at(world.now.wall.max(until));
                world.forget_quiet();
                return;
            };
            world.now = Now::at(world.now.wall.max(timer.due));
            world.fire(timer);
            drop(world);
            self.settle();
        }
    }
}

impl World {
    fn fire(&mut self, timer: Timer) {
        let Some(handlers) = self.app.handlers.clone() else { return };
        let Some(handler) = handlers.script.plugin.find(&timer.function) else {
            return self.fault(format!("timer `{}`: there is no function `{}`", timer.name, timer.function));
        };
        let trigger = Trigger::Timer { name: timer.name };
        let event = Event::of_nobody(trigger, timer.data.into(), self.now);
        let (app, generation, entity) = (handlers.script.clone(), self.generation, timer.entity);
        let wish = Wish { app, generation, handler, entity, event, failed: None, after: After::Nothing };
        self.jobs.push_back(Job::Call(Box::new(wish), Cause::Nobody));
    }

    /// A call ended well: first what waited for it, then what it asks for.
    fn well(&mut self, mut event: Event, after: After, cause: Cause, ran: Ran) {
        let Ran { effects, value, reply, .. } = ran;
        let asker = event.connection.clone().zip(event.asker.clone());
        let changed = value.is_some();
        if let Some(value) = value {
            event.data = value;
        }
        let (slot, tally) = match &cause {
            Cause::Player(slot) => (Some(*slot), None),
            Cause::Api { tally, .. } => (None, tally.clone()),
            Cause::Nobody | Cause::Route(_) => (None, None),
        };
        match after {
            After::Nothing => {}
            After::Publish(publishing) => {
                let publishing = publishing.with(&event, changed, &self.metrics.memory);
                if let Err(refusal) = self.publish_now(publishing, tally, Some(&event)) {
                    match &cause {
                        Cause::Player(slot) => self.tell_refusal(*slot, &event, &refusal),
                        Cause::Api { refused, .. } => give(refused, refusal),
                        Cause::Nobody | Cause::Route(_) => {}
                    }
                }
            }
            After::Subscribe { permit, text, since, number } => {
                if let Some(slot) = slot.filter(|slot| self.is_open(*slot)) {
                    self.walk(slot, |walk| walk.subscribe_on(permit, &text, since, number));
                    self.let_go(slot);
                    self.settle();
                }
            }
        }
        let recipients = self.carry_out(effects, asker);
        if let Cause::Route(answer) = cause {
            let (tell, told) = tokio::sync::oneshot::channel();
            let _ = tell.send(recipients);
            give(&answer, Finished { event, result: Ok(changed), reply, recipients: Some(told) });
        }
    }

    /// A call came to nothing.
    fn refused(&mut self, event: Event, after: After, cause: Cause, refusal: Refusal) {
        match (cause, after) {
            (Cause::Nobody, _) => {}
            (Cause::Api { refused, .. }, _) => give(&refused, refusal),
            (Cause::Route(answer), _) => {
                give(&answer, Finished { event, result: Err(refusal), reply: None, recipients: None });
            }
            (Cause::Player(slot), After::Subscribe { text, number, .. }) => {
                if let Some(channel) = event.channel.as_ref().filter(|_| self.is_open(slot)) {
                    self.walk(slot, |walk| walk.subscribe_refused(channel, &text, number, refusal));
                    self.let_go(slot);
                }
            }
            (Cause::Player(slot), After::Nothing | After::Publish(_)) => self.tell_refusal(slot, &event, &refusal),
        }
    }

    /// The client is told where it asked for something.
    fn tell_refusal(&mut self, slot: Slot, event: &Event, refusal: &Refusal) {
        if !self.is_open(slot) {
            return;
        }
        let channel = event.channel.as_ref().map(ChannelName::as_str);
        let asked = event.asker.as_ref().map(|a| Asked { id: a.id.as_deref(), kind: &a.kind });
        if let Trigger::Message { .. } | Trigger::Publish { .. } | Trigger::Connect = event.trigger {
            self.walk(slot, |walk| walk.refuse(refusal, channel, asked));
        }
        if matches!(event.trigger, Trigger::Subscribed) && flow::is_failure(refusal) && refusal.message.is_some() {
            self.walk(slot, |walk| walk.tell(refusal, channel, asked));
        }
        // Who may not connect does not stay; a mistake of the plugin's own keeps nobody out.
        if matches!(event.trigger, Trigger::Connect) && refusal.code != Code::Internal {
            self.close(slot, Close::POLICY);
        }
    }

    /// A publication of a back end: its class's `publish` decides first.
    pub fn publish_asked(
        &mut self,
        publishing: Publishing,
        tally: Option<Arc<Tally>>,
        refused: &Arc<Mutex<Option<Refusal>>>,
    ) {
        let handlers = self.app.handlers.clone();
        let bound = handlers.as_ref().and_then(|h| Some((h, h.class(publishing.target.class())?.publish.as_ref()?)));
        let Some((handlers, bound)) = bound else {
            if let Err(refusal) = self.publish_now(publishing, tally, None) {
                give(refused, refusal);
            }
            return;
        };
        let draft = &publishing.draft;
        let trigger = Trigger::Publish { event: draft.event.clone(), key: draft.key.clone() };
        let event = Event::of_nobody(trigger, draft.data.clone(), self.now);
        let policy = self.app.policy.clone();
        match handlers.about_channel(bound, &policy, publishing.target.channel(), self.generation, event) {
            Err(refusal) => give(refused, refusal),
            Ok(wish) => {
                let wish = Wish { after: After::Publish(Box::new(publishing)), ..wish };
                let cause = Cause::Api { tally, refused: refused.clone() };
                self.jobs.push_back(Job::Call(Box::new(wish), cause));
            }
        }
    }

    /// It goes out, and its class's `published` hears of it; not at all where that could not be told. `about`: the call
    /// that let it pass.
    fn publish_now(
        &mut self,
        publishing: Publishing,
        tally: Option<Arc<Tally>>,
        about: Option<&Event>,
    ) -> Result<(), Refusal> {
        let Publishing { target, draft, sender, answer } = publishing;
        let handlers = self.app.handlers.clone();
        let bound = handlers.as_ref().and_then(|h| Some((h, h.class(target.class())?.published.as_ref()?)));
        let told = bound.map(|(handlers, bound)| {
            let trigger = Trigger::Published { event: draft.event.clone(), key: draft.key.clone() };
            let mut event = Event::of_nobody(trigger, draft.data.clone(), self.now);
            if let Some(about) = about {
                event.identity = about.identity.clone();
                event.connection = about.connection.clone();
                event.asker = about.asker.clone();
            }
            let policy = self.app.policy.clone();
            handlers.about_publication(bound, &policy, target.channel(), self.generation, event)
        });
        let told = told.transpose()?;
        let app = self.app.clone();
        crate::flow::publish(&mut self.hub, &app, target, draft, sender, tally, answer, self.now);
        self.settle();
        if let Some(wish) = told {
            self.jobs.push_back(Job::Call(Box::new(wish), Cause::Nobody));
        }
        Ok(())
    }

    /// The answer to the message that a handler was called for.
    pub fn handler_replies(&mut self, slot: Slot, asked: Asked<'_>, event: Option<&str>, data: &[u8]) {
        if self.is_open(slot) {
            self.walk(slot, |walk| walk.say(&Answer::Reply { event, data }, Some(asked)));
        }
    }
}

pub(super) fn give<T>(to: &Mutex<Option<T>>, what: T) {
    *to.lock().unwrap_or_else(|e| e.into_inner()) = Some(what);
}
