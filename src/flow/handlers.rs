//! What an app's handlers are bound to, and the calls that this leads to. `script` runs them, `shard` hands them over.

use super::{Session, Target, Walk};
use crate::dialect::Asked;
use crate::model::{ChannelName, Code, Draft, Memory, Refusal};
use crate::policy::{Permit, Policy, Subscribe};
use crate::script::{self, Asker, Connection, EntityKey, Event, Trigger};
use bytes::Bytes;
use std::sync::Arc;

/// An app's plugin, and what of it is bound where.
pub struct Handlers {
    pub script: Arc<script::App>,
    /// By class.
    pub classes: Box<[OfClass]>,
    /// By endpoint.
    pub endpoints: Box<[OfEndpoint]>,
}

/// A function of the plugin, and whose state it is called with; `None`: what it is about.
#[derive(Clone)]
pub struct Bound {
    pub handler: u16,
    pub entity: Option<Arc<EntityKey>>,
    /// What a client reads where it fails; `None`: what its dialect says.
    pub failed: Option<Arc<str>>,
}

#[derive(Clone, Default)]
pub struct OfClass {
    pub publish: Option<Bound>,
    pub published: Option<Bound>,
    pub subscribe: Option<Bound>,
    pub subscribed: Option<Bound>,
    pub unsubscribed: Option<Bound>,
}

#[derive(Clone, Default)]
pub struct OfEndpoint {
    pub connect: Option<Bound>,
    pub disconnect: Option<Bound>,
    /// As the dialect's `bound` list.
    pub messages: Box<[Bound]>,
    /// Of its path.
    pub vars: Box<[Arc<str>]>,
}

impl OfEndpoint {
    pub fn is_bound(&self) -> bool {
        self.connect.is_some() || self.disconnect.is_some() || !self.messages.is_empty()
    }
}

/// A call that only lacks what is to happen after it.
pub struct Wish {
    pub app: Arc<script::App>,
    pub generation: u64,
    pub handler: u16,
    pub entity: Option<Arc<str>>,
    pub event: Event,
    /// As of `Bound`.
    pub failed: Option<Arc<str>>,
    pub after: After,
}

/// What happens once a call has ended well.
pub enum After {
    Nothing,
    /// The event, or what the handler made of it, is published.
    Publish(Box<Publishing>),
    /// The subscribe message `number` goes on with this channel, as the client wrote it.
    Subscribe {
        permit: Permit<Subscribe>,
        text: Box<str>,
        since: Option<crate::model::Position>,
        number: u32,
    },
}

/// A publication that waits for its handler.
pub struct Publishing {
    pub target: Target,
    pub draft: Draft,
    pub sender: Option<crate::model::Sender>,
    pub answer: Option<crate::hub::Asker>,
}

impl Publishing {
    /// As its handler let it pass; `changed`: what it returned stands in the event.
    pub fn with(mut self, event: &Event, changed: bool, memory: &Memory) -> Publishing {
        if changed {
            self.draft.data = event.data.clone();
            self.draft = self.draft.counted(&memory.app(self.target.app()));
        }
        self
    }
}

/// The handler failed, rather than said no.
pub fn is_failure(refusal: &Refusal) -> bool {
    matches!(refusal.code, Code::Internal | Code::Overloaded)
}

/// A failure as the binding's `failed` says it to the client.
pub fn in_words(refusal: Refusal, failed: Option<Arc<str>>) -> Refusal {
    match failed.filter(|_| is_failure(&refusal)) {
        Some(text) => Refusal { message: Some(text.to_string().into()), ..refusal },
        None => refusal,
    }
}

impl Handlers {
    pub fn class(&self, number: u16) -> Option<&OfClass> {
        self.classes.get(usize::from(number))
    }

    pub fn endpoint(&self, number: u16) -> Option<&OfEndpoint> {
        self.endpoints.get(usize::from(number))
    }

    /// A call about a channel, whoever caused it.
    pub fn about_channel(
        self: &Arc<Self>,
        bound: &Bound,
        policy: &Policy,
        channel: &ChannelName,
        generation: u64,
        event: Event,
    ) -> Result<Wish, Refusal> {
        self.wish(bound, generation, on_channel(policy, channel, event), || format!("channel:{channel}"))
    }

    /// A call about a publication that is to be made. Err: its `published` handler could not be told of it, since the data
    /// cannot be read by it or its entity has no key. Then nothing is published: whoever hears a message may rely on
    /// the handler having seen it.
    pub fn about_publication(
        self: &Arc<Self>,
        bound: &Bound,
        policy: &Policy,
        channel: &ChannelName,
        generation: u64,
        event: Event,
    ) -> Result<Wish, Refusal> {
        let wish = self.about_channel(bound, policy, channel, generation, event)?;
        self.script.plugin.can_read(wish.handler, &wish.event, &self.script.limits)?;
        Ok(wish)
    }

    /// A call about what has happened already, which cannot be refused any more: where the entity has no key, it is called
    /// without one rather than not at all.
    fn wish_after(&self, bound: &Bound, generation: u64, event: Event, own: impl FnOnce() -> String) -> Wish {
        let entity = match bound.entity.as_ref().map(|key| key.key(&event)) {
            None => Some(own().into()),
            Some(Ok(key)) => Some(key),
            Some(Err(refusal)) => {
                let (app, handler) = (&*self.script.name, self.script.plugin.name_of(bound.handler));
                let why = refusal.message.as_deref();
                tracing::debug!(app, handler, why, "a handler is called without its entity, which has no key");
                None
            }
        };
        let (app, handler, failed) = (self.script.clone(), bound.handler, bound.failed.clone());
        Wish { app, generation, handler, entity, event, failed, after: After::Nothing }
    }

    /// `own`: whose state it is where the binding names nobody.
    fn wish(
        &self,
        bound: &Bound,
        generation: u64,
        event: Event,
        own: impl FnOnce() -> String,
    ) -> Result<Wish, Refusal> {
        let entity = match &bound.entity {
            Some(key) => key.key(&event)?,
            None => own().into(),
        };
        let (app, handler, failed) = (self.script.clone(), bound.handler, bound.failed.clone());
        Ok(Wish { app, generation, handler, entity: Some(entity), event, failed, after: After::Nothing })
    }
}

/// With the channel, and the variables of its class's pattern.
fn on_channel(policy: &Policy, channel: &ChannelName, event: Event) -> Event {
    let vars = policy.find(channel).map(|found| found.vars().map(|(n, v)| (n.into(), v.into())).collect());
    Event { channel: Some(channel.clone()), vars: vars.unwrap_or_default(), ..event }
}

impl Session {
    /// What handlers are told of the connection.
    pub fn facts(&self, endpoint: &Arc<str>) -> Arc<Connection> {
        Arc::new(Connection {
            id: self.id,
            shard: self.shard,
            slot: self.slot,
            ip: self.ip,
            connected_at: self.connected_at.wall,
            endpoint: endpoint.clone(),
            user_agent: self.user_agent.clone(),
            request: self.request.clone(),
        })
    }

    /// The entity that is the connection's own.
    pub fn entity(&self) -> String {
        format!("connection:{}", self.id)
    }
}

impl Walk<'_> {
    /// The app's handlers that are bound to channels of a class.
    pub(super) fn class_handlers(&self, class: u16) -> Option<(&Arc<Handlers>, &OfClass)> {
        let handlers = self.app.handlers.as_ref()?;
        Some((handlers, handlers.class(class)?))
    }

    /// An event of this connection, for a handler.
    pub(super) fn event(&self, trigger: Trigger, data: Bytes, asked: Option<Asked<'_>>) -> Event {
        let path = self.app.endpoint(self.session.endpoint).map(|e| e.path.clone()).unwrap_or_default();
        Event {
            trigger,
            data,
            identity: self.session.identity.clone(),
            connection: Some(self.session.facts(&path)),
            asker: asked.map(|a| Asker { id: a.id.map(ToOwned::to_owned), kind: a.kind.into() }),
            channel: None,
            vars: Vec::new(),
            at: self.now,
        }
    }

    /// A handler of the connection's endpoint is called.
    fn call_own(&mut self, bound: &Bound, event: Event) -> Result<(), Refusal> {
        let Some(handlers) = &self.app.handlers else { return Ok(()) };
        let event = self.with_vars(handlers, event);
        let wish = handlers.wish(bound, self.generation, event, || self.session.entity())?;
        self.replies.wishes.push(wish);
        Ok(())
    }

    /// With the variables of the endpoint's path.
    fn with_vars(&self, handlers: &Handlers, event: Event) -> Event {
        let names = handlers.endpoint(self.session.endpoint).map_or(&[][..], |e| &e.vars);
        let request = self.session.request.as_deref();
        let vars = names.iter().filter_map(|n| Some((n.clone(), request?.var(n)?.into()))).collect();
        Event { vars, ..event }
    }

    /// A message that the dialect's table binds to a handler.
    pub(super) fn handle(&mut self, number: u16, data: Bytes, asked: Asked<'_>) -> Result<(), Refusal> {
        let Some(handlers) = self.app.handlers.clone() else { return Ok(()) };
        let of_endpoint = handlers.endpoint(self.session.endpoint);
        let Some(bound) = of_endpoint.and_then(|e| e.messages.get(usize::from(number))) else { return Ok(()) };
        let event = self.event(Trigger::Message { kind: asked.kind.into() }, data, Some(asked));
        self.call_own(bound, event)
    }

    /// It was greeted.
    pub fn connected(&mut self) -> Result<(), Refusal> {
        self.session.greeted = true;
        let Some(handlers) = self.app.handlers.clone() else { return Ok(()) };
        match handlers.endpoint(self.session.endpoint).and_then(|e| e.connect.as_ref()) {
            Some(bound) => self.call_own(bound, self.event(Trigger::Connect, Bytes::new(), None)),
            None => Ok(()),
        }
    }

    /// It has ended.
    pub fn disconnected(&mut self, code: Option<u16>) {
        if !self.session.greeted {
            return;
        }
        let Some(handlers) = self.app.handlers.clone() else { return };
        if let Some(bound) = handlers.endpoint(self.session.endpoint).and_then(|e| e.disconnect.as_ref()) {
            let event = self.with_vars(&handlers, self.event(Trigger::Disconnect { code }, Bytes::new(), None));
            let wish = handlers.wish_after(bound, self.generation, event, || self.session.entity());
            self.replies.wishes.push(wish);
        }
    }

    /// A handler of a channel's class is called about this connection.
    pub(super) fn about(&mut self, bound: &Bound, channel: &ChannelName, event: Event) -> Result<Wish, Refusal> {
        let handlers = self.app.handlers.as_ref().ok_or(Refusal::new(Code::Internal))?;
        handlers.about_channel(bound, &self.app.policy, channel, self.generation, event)
    }

    /// It hears a channel now, or hears it no more.
    pub(super) fn tell_of_seat(&mut self, class: u16, channel: &ChannelName, trigger: Trigger) {
        let Some((handlers, of_class)) = self.class_handlers(class) else { return };
        let bound = match trigger {
            Trigger::Subscribed => of_class.subscribed.as_ref(),
            _ => of_class.unsubscribed.as_ref(),
        };
        let Some(bound) = bound else { return };
        let event = on_channel(&self.app.policy, channel, self.event(trigger, Bytes::new(), None));
        let wish = handlers.wish_after(bound, self.generation, event, || format!("channel:{channel}"));
        self.replies.wishes.push(wish);
    }

    /// It leaves all channels, since it ends.
    pub fn leaving(&mut self) {
        let Some(handlers) = self.app.handlers.clone() else { return };
        for at in 0..self.session.subs.len() {
            let channel = self.hub.channel(self.session.subs[at].channel);
            let (class, name) = (channel.class, channel.name.clone());
            if handlers.class(class).is_some_and(|c| c.unsubscribed.is_some()) {
                self.tell_of_seat(class, &name, Trigger::Unsubscribed);
            }
        }
    }
}
