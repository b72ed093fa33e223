//! Publishing: decided, shown to the class's handlers, handed to the hub with a permit.

use super::session::Remembered;
use super::{After, App, Publishing, Walk, Wish};
use crate::dialect::{Answer, Asked};
use crate::hub::{self, Asker, Hub, Publication, Published, Tally};
use crate::model::{AppId, ChannelName, Code, Draft, Event, EventKind, Now, Refusal, Sender};
use crate::observe::{LimitName, Via};
use crate::policy::{Cache, Permit, Policy, Publish, RightKind, Scope};
use crate::script::Trigger;
use smallvec::SmallVec;
use std::sync::Arc;

impl Walk<'_> {
    pub(super) fn publish(&mut self, text: &str, draft: Draft, asked: Asked<'_>) -> Result<(), Refusal> {
        if self.room.full {
            self.counts.limit(LimitName::Memory);
            return Err(Refusal::new(Code::Overloaded));
        }
        let draft = draft.counted(self.room.account);
        let known = self.session.memory.as_deref().filter(|m| {
            m.name.as_str() == text
                && m.version == self.session.identity.version
                && m.target.permit.generation() == self.generation
        });
        let target = match known {
            Some(m) => m.target.clone(),
            None => self.decide_publish(text)?,
        };
        let session = &*self.session;
        let sender = Sender { connection: session.id, identity: session.identity.clone() };
        let answer = self.dialect.answers_publish().then(|| Asker {
            shard: session.shard,
            slot: session.slot,
            connection: session.id,
            id: asked.id.map(ToOwned::to_owned),
            kind: asked.kind.into(),
        });
        let echo = self.app.classes.get(target.permit.class() as usize).is_none_or(|c| c.echo);
        let exclude = (!echo).then_some(session.id);
        self.counts.app(self.app.id).published(Via::Client);
        let publishing = Publishing { target, draft: Draft { exclude, ..draft }, sender: Some(sender), answer };
        if self.app.handlers.is_some() {
            return self.publish_handled(publishing, asked);
        }
        publishing.publish(self.hub, None, self.now);
        Ok(())
    }

    /// In an app with handlers: the class's `publish` decides first, its `published` hears of it.
    fn publish_handled(&mut self, publishing: Publishing, asked: Asked<'_>) -> Result<(), Refusal> {
        let Publishing { target, draft, .. } = &publishing;
        let bound = self.class_handlers(target.class()).and_then(|(_, c)| c.publish.clone());
        if let Some(bound) = bound {
            let trigger = Trigger::Publish { event: draft.event.clone(), key: draft.key.clone() };
            let event = self.event(trigger, draft.data.clone(), Some(asked));
            let wish = self.about(&bound, target.channel(), event)?;
            self.replies.wishes.push(Wish { after: After::Publish(Box::new(publishing)), ..wish });
            return Ok(());
        }
        let told = self.about_published(target, draft, asked)?;
        self.replies.wishes.extend(told);
        publishing.publish(self.hub, None, self.now);
        Ok(())
    }

    /// The call of the class's `published`, if there is one. Err: it could not be told.
    fn about_published(&self, target: &Target, draft: &Draft, asked: Asked<'_>) -> Result<Option<Wish>, Refusal> {
        let found = self.class_handlers(target.permit.class());
        let Some((handlers, bound)) = found.and_then(|(h, c)| Some((h, c.published.as_ref()?))) else {
            return Ok(None);
        };
        let trigger = Trigger::Published { event: draft.event.clone(), key: draft.key.clone() };
        let event = self.event(trigger, draft.data.clone(), Some(asked));
        handlers.about_publication(bound, &self.app.policy, target.channel(), self.generation, event).map(Some)
    }

    fn decide_publish(&mut self, text: &str) -> Result<Target, Refusal> {
        let name = Policy::name(text)?;
        let permit: Permit<Publish> = self.app.policy.decide(&name, &self.asking(), self.generation)?;
        let target = Target::new(self.app, permit);
        if self.app.policy.cache(&name, RightKind::Publish) != Cache::Never {
            let remembered = Remembered { version: self.session.identity.version, name, target: target.clone() };
            self.session.memory = Some(Box::new(remembered));
        }
        Ok(target)
    }

    /// An event of this connection was numbered.
    pub fn published(&mut self, published: &Published) {
        let asked = Asked { id: published.asker.id.as_deref(), kind: &published.asker.kind };
        let answer = Answer::Published { channel: published.channel.as_str(), position: published.position };
        self.say(&answer, Some(asked));
    }
}

/// Where a publication goes: its channel and its copies.
#[derive(Clone, Debug)]
pub struct Target {
    app: AppId,
    permit: Permit<Publish>,
    /// What decides the home.
    key: ChannelName,
    also: SmallVec<[(ChannelName, u16); 1]>,
}

impl Target {
    /// Targets of one publication, those of one home joined; a connection on several of them is reached once in each.
    pub fn joined(targets: Vec<Target>, shards: u16) -> Vec<Target> {
        let mut joined: Vec<Target> = Vec::with_capacity(1);
        for target in targets {
            let Some(first) = joined.iter_mut().find(|t| t.home(shards) == target.home(shards)) else {
                joined.push(target);
                continue;
            };
            let own = (target.permit.channel().clone(), target.permit.class());
            for channel in std::iter::once(own).chain(target.also) {
                if *first.permit.channel() != channel.0 && !first.also.contains(&channel) {
                    first.also.push(channel);
                }
            }
        }
        joined
    }

    fn new(app: &App, permit: Permit<Publish>) -> Target {
        let name = permit.channel().clone();
        let found = app.policy.find(&name);
        let key = found.as_ref().and_then(|f| f.home().ok()).unwrap_or_else(|| name.clone());
        let copies = found.iter().flat_map(|f| f.also());
        let mut also: SmallVec<[(ChannelName, u16); 1]> = SmallVec::new();
        for copy in copies {
            // A wider class's variable may make the same name twice, or the channel's own.
            if copy != name && !also.iter().any(|(known, _)| *known == copy) {
                let class = app.policy.find(&copy).map(|found| found.number());
                also.extend(class.map(|class| (copy, class)));
            }
        }
        Target { app: app.id, permit, key, also }
    }

    /// For the API, a route or a plugin: no rule is asked, the scope decides.
    pub fn by(scope: &Scope, app: &App, name: &ChannelName, generation: u64) -> Result<Target, Refusal> {
        Ok(Target::new(app, app.policy.allow_api(scope, name, generation)?))
    }

    pub fn app(&self) -> AppId {
        self.app
    }

    pub fn channel(&self) -> &ChannelName {
        self.permit.channel()
    }

    /// The number of its channel's class, in the generation that decided.
    pub fn class(&self) -> u16 {
        self.permit.class()
    }

    /// The shard that numbers it.
    pub fn home(&self, shards: u16) -> u16 {
        hub::home_of(shards, self.key.as_str())
    }
}

impl Publishing {
    /// The last door: a target has a permit, and only with it does an event reach the hub.
    pub fn publish(self, hub: &mut Hub, tally: Option<Arc<Tally>>, at: Now) {
        let Publishing { target, draft: Draft { data, event, key, exclude, priority }, sender, answer } = self;
        let event = Event { kind: EventKind::Message, data, event, key, sender, exclude, priority, offset: 0, at };
        let home = target.home(hub.shards());
        let (app, generation) = (target.app, target.permit.generation());
        let mut channels: SmallVec<[(ChannelName, u16); 1]> =
            smallvec::smallvec![(target.permit.channel().clone(), target.permit.class())];
        channels.extend(target.also);
        hub.publish(home, Publication { app, channels, generation, event, tally, answer });
    }
}
