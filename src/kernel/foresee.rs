//! What another generation would do to live connections: looked at, and nothing done about it.
//!
//! In: a generation that is not in force. Out: who would be closed, which subscriptions would end, and why.
//! In slices, each a question of its own, so that no socket waits for it: who connects or subscribes meanwhile may be
//! missing.

use super::generation::{Place, REVIEW_SLICE};
use super::input::Ask;
use super::io::Io;
use super::kernel::Kernel;
use super::port::{Port, ask};
use crate::flow::{App, Foreseen, Generation, Replies, Revoke, Rows, Walk};
use crate::model::{Close, ConnectionId, Refusal, Slot};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::sync::Arc;

/// Connections and subscriptions that are listed of each; all are counted.
pub const LISTED_MAX: usize = 1_000;

/// What would end.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct Revoked {
    pub connections: Vec<EndingConnection>,
    pub subscriptions: Vec<EndingSubscription>,
    pub connection_count: usize,
    pub subscription_count: usize,
    /// Of the subscriptions: those whose rule reads the request while their connection's was not kept.
    pub undecidable_count: usize,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct EndingConnection {
    pub id: String,
    pub user: Option<Arc<str>>,
    pub app: Arc<str>,
    /// Its path.
    pub endpoint: Option<Arc<str>>,
    /// As its close says: `app removed`.
    pub why: Cow<'static, str>,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct EndingSubscription {
    pub id: String,
    pub user: Option<Arc<str>>,
    pub app: Arc<str>,
    pub channel: String,
    /// Where the rule stands that refuses: `channels/clinic.toml:68:13`.
    pub rule: Option<String>,
    /// The refusal's; `unsubscribed` where its endpoint subscribes it no longer.
    pub code: Cow<'static, str>,
    pub why: String,
}

impl Revoked {
    fn add(&mut self, mut other: Revoked) {
        let room = |len: usize| LISTED_MAX.saturating_sub(len);
        other.connections.truncate(room(self.connections.len()));
        other.subscriptions.truncate(room(self.subscriptions.len()));
        self.connections.append(&mut other.connections);
        self.subscriptions.append(&mut other.subscriptions);
        self.connection_count += other.connection_count;
        self.subscription_count += other.subscription_count;
        self.undecidable_count += other.undecidable_count;
    }
}

impl Port {
    /// What `candidate` would end, were it in force now.
    pub async fn foresee(&self, candidate: &Arc<Generation>) -> Result<Revoked, Refusal> {
        let mut all = Revoked::default();
        for shard in 0..self.shared().shards() as u16 {
            let mut next = Some(0);
            while let Some(from) = next {
                let question = |tell| ask(Ask::Foresee { candidate: candidate.clone(), from, tell });
                let (some, rest) = self.one(shard, question).await?;
                all.add(some);
                next = rest;
            }
        }
        Ok(all)
    }
}

impl<I: Io> Kernel<I> {
    /// Of the connections from this slot on, as many as one slice takes; the slot to go on with.
    pub(super) fn foresee(&mut self, candidate: &Generation, from: Slot) -> (Revoked, Option<Slot>) {
        let (mut revoked, mut looked) = (Revoked::default(), 0);
        let slots = self.conns.iter().filter(|(slot, c)| *slot >= from && c.is_open());
        let slots: Vec<Slot> = slots.map(|(slot, _)| slot as Slot).take(REVIEW_SLICE).collect();
        for slot in &slots {
            if looked >= REVIEW_SLICE {
                return (revoked, Some(*slot));
            }
            looked += 1 + self.conns[*slot].session.subs.len();
            self.foresee_one(candidate, *slot, &mut revoked);
        }
        let next = slots.last().filter(|_| slots.len() == REVIEW_SLICE).map(|last| last + 1);
        (revoked, next)
    }

    fn foresee_one(&mut self, candidate: &Generation, slot: Slot, revoked: &mut Revoked) {
        let session = &self.conns[slot].session;
        let Some(old) = self.generation.app(session.app).cloned() else { return };
        let Some(now) = candidate.app(session.app).cloned() else {
            return self.ends(slot, &old, &Close::APP_REMOVED, revoked);
        };
        let Some(place) = Place::of(session, Some(&old), &now) else {
            return self.ends(slot, &old, &Close::ENDPOINT_REMOVED, revoked);
        };
        if !candidate.listeners.get(session.listener as usize).is_none_or(|live| *live) {
            return self.ends(slot, &old, &Close::LISTENER_REMOVED, revoked);
        }
        if !place.decide && !place.born {
            return;
        }
        let (id, user) = (session.id, session.identity.user.clone());
        let found = self.foresee_subscriptions(candidate, slot, &now, &place);
        for one in &found {
            revoked.subscription_count += 1;
            revoked.undecidable_count += usize::from(one.undecidable);
            if revoked.subscriptions.len() < LISTED_MAX {
                revoked.subscriptions.push(told(id, user.clone(), &now, one));
            }
        }
        if candidate.revoke == Revoke::Disconnect && found.iter().any(|one| one.refusal.is_some()) {
            self.ends(slot, &old, &Close::REVOKED, revoked);
        }
    }

    fn foresee_subscriptions(&mut self, candidate: &Generation, slot: Slot, now: &App, place: &Place) -> Vec<Foreseen> {
        let Some(dialect) = now.dialect(place.endpoint) else { return Vec::new() };
        self.memory_of(now.id);
        let session = &mut self.conns[slot].session;
        let (born, before) = (place.born && !session.newcomer, session.endpoint);
        session.endpoint = place.endpoint;
        let walk = Walk {
            app: now,
            generation: candidate.number,
            dialect,
            rows: Rows::as_they_are(&now.tables, self.now.mono),
            session,
            hub: &mut self.hub,
            counts: &mut self.counts,
            users: &*self.shared,
            now: self.now,
            replies: &mut Replies::default(),
            room: self.memory[now.id.0 as usize].room(),
        };
        let found = walk.foresee(born);
        self.conns[slot].session.endpoint = before;
        found
    }

    fn ends(&self, slot: Slot, app: &App, close: &Close, revoked: &mut Revoked) {
        revoked.connection_count += 1;
        if revoked.connections.len() < LISTED_MAX {
            let session = &self.conns[slot].session;
            revoked.connections.push(EndingConnection {
                id: session.id.to_string(),
                user: session.identity.user.clone(),
                app: app.name.clone(),
                endpoint: app.endpoint(session.endpoint).map(|e| e.path.clone()),
                why: close.reason.clone(),
            });
        }
    }
}

fn told(id: ConnectionId, user: Option<Arc<str>>, app: &App, one: &Foreseen) -> EndingSubscription {
    let (code, rule, why) = match &one.refusal {
        None => ("unsubscribed", None, "its endpoint subscribes it no longer".to_owned()),
        Some(refusal) => {
            let rule = refusal.rule.as_deref();
            let why = match (one.undecidable, rule) {
                (true, _) => "its rule reads the request, which was not kept for this connection".to_owned(),
                (false, Some(rule)) => rule.to_owned(),
                (false, None) => refusal.message.as_deref().unwrap_or(refusal.code.text()).to_owned(),
            };
            (refusal.code.as_str(), rule.and_then(place_of), why)
        }
    };
    let (app, channel) = (app.name.clone(), one.channel.to_string());
    EndingSubscription { id: id.to_string(), user, app, channel, rule, code: code.into(), why }
}

/// The place of `channels/clinic.toml:68:13 subscribe: why`.
fn place_of(rule: &str) -> Option<String> {
    let end = [" subscribe", " has no "].iter().filter_map(|word| rule.find(word)).min()?;
    Some(rule[..end].to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_bounded_and_counts_are_whole() {
        let some = |n: usize| Revoked {
            subscriptions: (0..n.min(LISTED_MAX))
                .map(|n| EndingSubscription {
                    id: n.to_string(),
                    user: None,
                    app: "a".into(),
                    channel: "c".into(),
                    rule: None,
                    code: "denied".into(),
                    why: String::new(),
                })
                .collect(),
            subscription_count: n,
            ..Revoked::default()
        };
        let mut all = some(700);
        all.add(some(5_000));
        assert_eq!((all.subscriptions.len(), all.subscription_count), (LISTED_MAX, 5_700));
    }

    #[test]
    fn a_place_is_told_without_its_rule() {
        assert_eq!(place_of("a b/c.toml:1:2 subscribe: why").as_deref(), Some("a b/c.toml:1:2"));
        assert_eq!(place_of("c.toml:1:2 has no `subscribe` rule").as_deref(), Some("c.toml:1:2"));
        assert_eq!(place_of("`a` as `b`: why"), None);
    }
}
