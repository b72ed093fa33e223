//! What is done to this kernel's connections in others' names, and what others ask about them.

use super::conn::Conn;
use super::input::{Act, Ask, Each, Input};
use super::io::Io;
use super::kernel::Kernel;
use crate::model::{AppId, AppStats, ChannelInfo, ChannelName, Close, ConnectionInfo, Content, Slot, Target};
use serde_json::Value;
use std::collections::BTreeMap;

impl<I: Io> Kernel<I> {
    /// Something done to each connection of a target.
    pub(super) fn each(&mut self, each: Each) {
        let Each { app, target, act, tell } = each;
        let slots = self.targets(app, &target);
        slots.iter().for_each(|slot| self.do_to(*slot, &act));
        if let Some(tell) = tell {
            tell.tell(slots.len() as u32);
        }
    }

    fn do_to(&mut self, slot: Slot, act: &Act) {
        match act {
            Act::Send(Content::Text(text)) => self.send_text(slot, text),
            Act::Send(Content::Message(message)) => self.send_message(slot, message),
            Act::Subscribe(permit, whose) => {
                self.walk_own(slot, |walk| walk.seat(permit.clone(), *whose));
                self.carry();
            }
            Act::Unsubscribe(channel) => {
                self.walk_own(slot, |walk| walk.unseat(channel));
            }
            Act::Leave(channel) => {
                self.walk_own(slot, |walk| walk.leave(channel));
            }
            Act::Close(close) => self.close(slot, close.clone()),
        }
    }

    /// Answers, or keeps the question until the channel is here: its home may have become this kernel a moment ago.
    pub(super) fn look_up(&mut self, ask: Ask) {
        if let Ask::Presence { app, channel, .. } | Ask::History { app, channel, .. } = &ask
            && self.hub.awaits(*app, channel)
        {
            return self.reviews.asked_early(Input::Ask(Box::new(ask)));
        }
        match ask {
            Ask::Presence { app, channel, tell } => tell.tell(self.hub.presence(app, &channel)),
            Ask::History { app, channel, since, limit, tell } => {
                tell.tell(self.hub.history(app, &channel, since, limit));
            }
            Ask::Channels { app, limit, pass, tell } => {
                let own = self.hub.channels().filter(|(c, _)| c.app == app && pass(&c.name));
                let mut own: Vec<ChannelInfo> = own
                    .map(|(c, subscribers)| ChannelInfo { name: c.name.clone(), subscribers, since: c.since() })
                    .collect();
                own.sort_unstable_by(|a, b| a.name.cmp(&b.name));
                own.truncate(limit);
                tell.tell(own);
            }
            Ask::Connections { app, target, limit, tell } => {
                let slots = self.targets(app, &target);
                let infos = slots.iter().take(limit).filter_map(|s| self.info(*s)).collect();
                tell.tell((infos, slots.len()));
            }
            Ask::Stats { app, claims, tell } => tell.tell(self.stats(app, &claims)),
            Ask::Live { id, tell } => tell.tell(self.live(id)),
            Ask::Foresee { candidate, from, tell } => tell.tell(self.foresee(&candidate, from)),
            Ask::Cleanup { app, idle_ms, tell } => {
                let silent = |c: &Conn<_>| self.now.mono.since(c.session.last_activity) >= idle_ms;
                let idle = self.conns.slots(|c| c.session.app == app && c.is_open() && silent(c));
                idle.iter().for_each(|slot| self.close(*slot, Close::IDLE));
                tell.tell(idle.len() as u32);
            }
        }
    }

    /// The open connections here that a target names.
    pub(super) fn targets(&self, app: AppId, target: &Target) -> Vec<Slot> {
        let open = |slot: &Slot| {
            let conn = self.conns.get(*slot);
            conn.is_some_and(|c| c.session.app == app && c.is_open() && !c.session.newcomer)
        };
        match target {
            Target::Connection(id) => self.conns.find(*id).filter(open).into_iter().collect(),
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

    fn passing(&self, app: AppId, pass: impl Fn(&Conn<I::Transport>) -> bool) -> Vec<Slot> {
        self.conns.slots(|c| c.session.app == app && c.is_open() && !c.session.newcomer && pass(c))
    }

    fn info(&self, slot: Slot) -> Option<ConnectionInfo> {
        let conn = self.conns.get(slot)?;
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
