//! Subscribing: decided a channel at a time, seated by the channel's home, answered as the dialect answers.

use super::session::{Ask, Asks, Greeting};
use super::{After, Sub, Walk, Wish, home};
use crate::dialect::{Answer, Asked};
use crate::hub::{AskedBy, Join, Joined};
use crate::model::{ChannelName, Channels, Code, LimitKind, Member, Position, Refusal};
use crate::observe::{LimitName, audit_join};
use crate::policy::{Permit, Policy, Scope, Subscribe};
use crate::script::Trigger;
use bytes::Bytes;

impl Walk<'_> {
    pub(super) fn subscribe(&mut self, channels: &Channels<'_>, since: Option<Position>, asked: Asked<'_>) {
        if channels.len() > self.app.limits.subscribe_batch as usize {
            self.counts.limit(LimitName::SubscribeBatch);
            return self.refuse(&Refusal::limit(LimitKind::SubscribeBatch), None, Some(asked));
        }
        if self.room.full {
            self.counts.limit(LimitName::Memory);
            return self.refuse(&Refusal::new(Code::Overloaded), None, Some(asked));
        }
        self.replies.items += channels.len() as u32;
        // A position belongs to one channel.
        let since = since.filter(|_| channels.len() == 1);
        let number = self.session.next_ask;
        self.session.next_ask = number.wrapping_add(1);
        let whole = self.dialect.answers_in_whole();
        let ask = Ask {
            number,
            id: asked.id.map(ToOwned::to_owned),
            kind: asked.kind.into(),
            waiting: Vec::new(),
            allowed: Vec::new(),
            denied: Vec::new(),
            whole,
            wishes: Vec::new(),
        };
        self.session.asks.get_or_insert_default().0.push(ask);
        let mut joins: Vec<Box<Join>> = Vec::new();
        for text in channels {
            match self.may_subscribe(text, joins.len()) {
                Ok(permit)
                    if self.is_seated(permit.channel()) || joins.iter().any(|j| j.channel == *permit.channel()) =>
                {
                    self.allowed(number, text, None, None, asked)
                }
                Ok(permit) => match self.ask_handler(permit, text, since, number, asked) {
                    Ok(Some(permit)) => joins.push(self.join(permit, text, since, AskedBy::Client(number))),
                    Ok(None) => {}
                    Err(refusal) => self.denied(number, text, refusal, asked),
                },
                Err(refusal) => self.denied(number, text, refusal, asked),
            }
        }
        if let Some(ask) = self.ask(number) {
            ask.waiting.extend(joins.iter().map(|j| j.channel.clone()));
        }
        if whole && self.ask(number).is_some_and(|ask| !ask.waiting.is_empty()) {
            // Nothing is heard before the answer that says what is heard.
            self.session.holding = true;
        }
        for join in joins {
            self.hub.subscribe(join);
        }
        self.answer_ask(number);
    }

    /// The class's `subscribe` handler is asked first, where there is one: the seat waits.
    fn ask_handler(
        &mut self,
        permit: Permit<Subscribe>,
        text: &str,
        since: Option<Position>,
        number: u32,
        asked: Asked<'_>,
    ) -> Result<Option<Permit<Subscribe>>, Refusal> {
        let Some((_, of_class)) = self.class_handlers(permit.class()) else { return Ok(Some(permit)) };
        let (asks, told) = (of_class.subscribe.clone(), of_class.subscribed.clone());
        // Whom `subscribed` could not be told of is refused now: later it would be too late.
        if let Some(told) = told.filter(|told| told.entity.is_some()) {
            let event = self.event(Trigger::Subscribed, Bytes::new(), None);
            self.about(&told, permit.channel(), event)?;
        }
        let Some(bound) = asks else { return Ok(Some(permit)) };
        let event = self.event(Trigger::Subscribe, Bytes::new(), Some(asked));
        let channel = permit.channel().clone();
        let wish = self.about(&bound, &channel, event)?;
        let after = After::Subscribe { permit, text: text.into(), since, number };
        self.replies.wishes.push(Wish { after, ..wish });
        if let Some(ask) = self.ask(number) {
            ask.waiting.push(channel);
        }
        Ok(None)
    }

    /// The `subscribe` handler said yes: the seat is asked for, unless it is not wanted any more.
    pub fn subscribe_on(&mut self, permit: Permit<Subscribe>, text: &str, since: Option<Position>, number: u32) {
        let waits = self.ask(number).is_some_and(|ask| ask.waiting.contains(permit.channel()));
        if waits {
            let join = self.join(permit, text, since, AskedBy::Client(number));
            self.hub.subscribe(join);
        }
    }

    /// It said no.
    pub fn subscribe_refused(&mut self, channel: &ChannelName, text: &str, number: u32, refusal: Refusal) {
        let Some(ask) = self.ask(number) else { return };
        let Some(at) = ask.waiting.iter().position(|c| c == channel) else { return };
        ask.waiting.swap_remove(at);
        let (id, kind) = (ask.id.clone(), ask.kind.clone());
        self.denied(number, text, refusal, Asked { id: id.as_deref(), kind: &kind });
        self.answer_ask(number);
    }

    /// One channel of a subscribe message is refused.
    fn denied(&mut self, number: u32, text: &str, refusal: Refusal, asked: Asked<'_>) {
        if !self.ask(number).is_some_and(|ask| ask.whole) {
            return self.refuse(&refusal, Some(text), Some(asked));
        }
        self.counts.app(self.app.id).refused(refusal.code);
        self.log_refusal(&refusal, Some(text), Some(asked));
        if let Some(ask) = self.ask(number) {
            ask.denied.push((text.into(), refusal));
        }
    }

    fn may_subscribe(&mut self, text: &str, more: usize) -> Result<Permit<Subscribe>, Refusal> {
        let name = Policy::name(text)?;
        let permit = self.app.policy.decide(&name, &self.asking(), self.generation)?;
        let waiting: usize = self.session.asks.iter().flat_map(|a| a.0.iter()).map(|a| a.waiting.len()).sum();
        let full = self.session.subs.len() + waiting + more >= self.app.limits.subscriptions as usize;
        if full && !self.is_seated(permit.channel()) {
            self.counts.limit(LimitName::Subscriptions);
            return Err(Refusal::limit(LimitKind::Subscriptions));
        }
        Ok(permit)
    }

    /// Leave for what the endpoint subscribes by itself; `None` where the name cannot be filled in, as that of an
    /// anonymous user's own channel.
    pub fn permit_auto(&self, auto: &super::AutoSubscribe) -> Option<Permit<Subscribe>> {
        let request = self.session.request.as_deref();
        let vars: Option<Vec<&str>> = auto.vars.iter().map(|v| request?.var(v)).collect();
        let name = auto.template.name(&vars?, &self.session.identity).ok()?;
        self.app.policy.allow_api(&Scope::everywhere(), &name, self.generation).ok()
    }

    /// Subscribed without being asked by the client.
    pub fn seat(&mut self, permit: Permit<Subscribe>, asked_by: AskedBy) {
        if !self.is_seated(permit.channel()) {
            // A plugin that joins whatever clients name must not be a way around their bound.
            if asked_by == AskedBy::Plugin && self.session.subs.len() >= self.app.limits.subscriptions as usize {
                self.counts.limit(LimitName::Subscriptions);
                let (app, connection, channel) = (&*self.app.name, self.session.id, permit.channel());
                crate::observe::limited!(warn, app, %connection, %channel, "a plugin's join: too many subscriptions (`limits.subscriptions`)");
                return;
            }
            let text = permit.channel().to_string();
            let join = self.join(permit, &text, None, asked_by);
            self.hub.subscribe(join);
        }
    }

    /// The endpoint's own channels are joined first: whoever was greeted misses nothing on them.
    pub fn seat_and_greet(&mut self, mut permits: Vec<Permit<Subscribe>>, hello: bool) {
        permits.retain(|permit| !self.is_seated(permit.channel()));
        let waiting: Vec<ChannelName> = permits.iter().map(|permit| permit.channel().clone()).collect();
        if !waiting.is_empty() {
            self.session.holding = true;
        }
        self.session.greeting = Some(Box::new(Greeting { waiting, hello, unread: false }));
        permits.into_iter().for_each(|permit| self.seat(permit, AskedBy::Endpoint));
    }

    /// One of the endpoint's own channels seated the connection, or has no seat for it.
    pub(super) fn greet_without(&mut self, channel: &ChannelName) {
        if let Some(greeting) = &mut self.session.greeting {
            greeting.waiting.retain(|waits| waits != channel);
        }
    }

    /// Unsubscribed without being asked by the client, and told so.
    pub fn unseat(&mut self, channel: &ChannelName) -> bool {
        let left = self.leave(channel);
        if left {
            match self.dialect.answers_unsubscribe_in_whole() {
                true => self.say(&Answer::UnsubscribeResult { channels: &[channel.as_str()] }, None),
                false => self.say(&Answer::Unsubscribed { channel: channel.as_str() }, None),
            }
        }
        left
    }

    fn join(&mut self, permit: Permit<Subscribe>, text: &str, since: Option<Position>, asked_by: AskedBy) -> Box<Join> {
        let session = &*self.session;
        let channel = permit.channel().clone();
        Box::new(Join {
            app: self.app.id,
            class: permit.class(),
            generation: permit.generation(),
            home: home(self.app, self.hub.shards(), &channel),
            shard: session.shard,
            slot: session.slot,
            member: Member { connection: session.id, identity: session.identity.clone(), joined_at: self.now.wall },
            since,
            asked_by,
            alias: (text != channel.as_str()).then(|| text.into()),
            channel,
            now: self.now,
        })
    }

    /// The connection's seat on a channel: its place among the subscriptions.
    pub fn sub(&self, channel: &ChannelName) -> Option<usize> {
        let number = self.hub.find(self.app.id, channel.as_str())?;
        self.session.subs.iter().position(|sub| sub.channel == number)
    }

    pub(super) fn is_seated(&self, channel: &ChannelName) -> bool {
        let waiting = |ask: &Ask| ask.waiting.contains(channel);
        self.sub(channel).is_some() || self.session.asks.iter().flat_map(|a| a.0.iter()).any(waiting)
    }

    pub(super) fn ask(&mut self, number: u32) -> Option<&mut Ask> {
        self.session.asks.as_mut()?.0.iter_mut().find(|a| a.number == number)
    }

    /// A home offers a seat. Returns whether it was taken; the events missed are the caller's to deliver.
    pub fn joined(&mut self, joined: &Joined) -> bool {
        let shown = joined.alias.as_deref().unwrap_or(joined.channel.as_str());
        self.greet_without(&joined.channel);
        let number = match joined.asked_by {
            AskedBy::Client(number) => Some(number),
            AskedBy::Endpoint | AskedBy::Api | AskedBy::Plugin => None,
        };
        if let Some(number) = number {
            let Some(ask) = self.ask(number) else { return false };
            // Unsubscribed before the home had answered.
            let Some(at) = ask.waiting.iter().position(|c| *c == joined.channel) else { return false };
            ask.waiting.swap_remove(at);
        }
        // Two wishes for one seat were on their way: the client's, and its endpoint's or the API's.
        if self.sub(&joined.channel).is_some() {
            if let Some(number) = number {
                self.granted(number, shown, None, None);
                self.answer_ask(number);
            }
            return false;
        }
        let (channel, seat) = self.hub.sit(joined, self.session.slot, self.session.subs.len() as u32);
        self.session.subs.push(Sub { channel, seat, by: joined.asked_by.into(), reported: 0 });
        let (id, user) = (self.session.id, self.session.identity.user.as_deref());
        self.app.log.subscribed(&self.app.name, id, user, joined.channel.as_str());
        let audited = self.app.classes.get(joined.class as usize).is_some_and(|class| class.audit);
        if audited {
            audit_join(&self.app.name, user, &id.to_string(), self.session.ip, joined.channel.as_str());
        }
        let before = self.replies.wishes.len();
        self.tell_of_seat(joined.class, &joined.channel, Trigger::Subscribed);
        // What its handler sends comes behind the answer to the whole message.
        if number.and_then(|number| self.ask(number)).is_some_and(|ask| ask.whole) {
            let wishes: Vec<Wish> = self.replies.wishes.drain(before..).collect();
            if let Some(ask) = number.and_then(|number| self.ask(number)) {
                ask.wishes.extend(wishes);
            }
        }
        let (position, recovered) = (joined.position, joined.recovered);
        match joined.asked_by {
            AskedBy::Client(number) => self.granted(number, shown, position, recovered),
            AskedBy::Api if self.dialect.answers_in_whole() => {
                self.say(&Answer::SubscribeResult { allowed: &[shown], denied: &[] }, None);
            }
            AskedBy::Api => self.say(&Answer::Subscribed { channel: shown, position, recovered }, None),
            AskedBy::Endpoint | AskedBy::Plugin => {}
        }
        true
    }

    /// A seat was taken that a subscribe message asked for.
    pub(super) fn granted(&mut self, number: u32, shown: &str, position: Option<Position>, recovered: Option<bool>) {
        let Some((id, kind)) = self.ask(number).map(|ask| (ask.id.clone(), ask.kind.clone())) else { return };
        self.allowed(number, shown, position, recovered, Asked { id: id.as_deref(), kind: &kind });
    }

    fn allowed(
        &mut self,
        number: u32,
        text: &str,
        position: Option<Position>,
        recovered: Option<bool>,
        asked: Asked<'_>,
    ) {
        match self.ask(number) {
            Some(ask) if ask.whole => ask.allowed.push(text.into()),
            _ => self.say(&Answer::Subscribed { channel: text, position, recovered }, Some(asked)),
        }
    }

    /// Answers a subscribe message where all of its channels are decided.
    pub fn answer_ask(&mut self, number: u32) {
        let Some(Asks(asks)) = self.session.asks.as_deref_mut() else { return };
        let Some(at) = asks.iter().position(|a| a.number == number && a.waiting.is_empty()) else { return };
        let ask = asks.swap_remove(at);
        if asks.is_empty() {
            self.session.asks = None;
        }
        if ask.whole {
            let asked = Asked { id: ask.id.as_deref(), kind: &ask.kind };
            let allowed: Vec<&str> = ask.allowed.iter().map(|c| &**c).collect();
            let denied: Vec<(&str, &Refusal)> = ask.denied.iter().map(|(c, r)| (&**c, r)).collect();
            self.say(&Answer::SubscribeResult { allowed: &allowed, denied: &denied }, Some(asked));
        }
        self.replies.wishes.extend(ask.wishes);
    }

    /// Whether every subscribe message is answered: what was held back may go.
    pub fn all_answered(&self) -> bool {
        let asks = self.session.asks.as_ref();
        self.session.greeting.is_none() && asks.is_none_or(|asks| asks.0.iter().all(|a| !a.whole))
    }

    pub(super) fn unsubscribe(&mut self, channels: &Channels<'_>, asked: Asked<'_>) {
        // As for subscribing; whoever may be on more channels than one message may name can leave them all in one.
        let limits = &self.app.limits;
        if channels.len() > limits.subscribe_batch.max(limits.subscriptions) as usize {
            self.counts.limit(LimitName::SubscribeBatch);
            return self.refuse(&Refusal::limit(LimitKind::SubscribeBatch), None, Some(asked));
        }
        self.replies.items += channels.len() as u32;
        let whole = self.dialect.answers_unsubscribe_in_whole();
        for text in channels {
            let target = Policy::name(text).and_then(|n| self.app.policy.resolve(&n, &self.session.identity));
            if let Ok(channel) = target {
                self.leave(&channel);
            }
            if !whole {
                self.say(&Answer::Unsubscribed { channel: text }, Some(asked));
            }
        }
        if whole {
            let names: Vec<&str> = channels.iter().map(|c| c.as_ref()).collect();
            self.say(&Answer::UnsubscribeResult { channels: &names }, Some(asked));
        }
    }

    /// Gives up a seat, or the wish for one. Returns whether there was one.
    pub fn leave(&mut self, channel: &ChannelName) -> bool {
        let mut answered = Vec::new();
        for ask in self.session.asks.iter_mut().flat_map(|a| a.0.iter_mut()) {
            let before = ask.waiting.len();
            ask.waiting.retain(|c| c != channel);
            if ask.waiting.len() < before {
                answered.push(ask.number);
            }
        }
        let seated = self.sub(channel);
        if let Some(at) = seated {
            let class = self.hub.channel(self.session.subs[at].channel).class;
            self.tell_of_seat(class, channel, Trigger::Unsubscribed);
            self.rise(at);
            let (id, user) = (self.session.id, self.session.identity.user.as_deref());
            self.app.log.unsubscribed(&self.app.name, id, user, channel.as_str());
        }
        let wished = !answered.is_empty();
        answered.into_iter().for_each(|number| self.answer_ask(number));
        seated.is_some() || wished
    }

    pub(super) fn rise(&mut self, at: usize) {
        self.session.rise(at, self.hub, self.now, &mut self.replies.moved);
    }
}
