//! Who is on a channel, as its home lists them, and telling of those who come and go.

use super::Hub;
use super::home::Home;
use crate::model::{AppId, ChannelName, Event, EventKind, Member, Now, Sender};
use smallvec::smallvec;

impl Home {
    /// Whether a user (or somebody anonymous) appeared who was not there before.
    pub fn enter(&mut self, member: Member) -> bool {
        let kept = self.kept();
        let user = &member.identity.user;
        let known = user.is_some() && kept.members.iter().any(|m| m.identity.user == *user);
        kept.members.push(member);
        !known
    }

    /// Somebody who was there before it was listed: no news to anybody.
    pub fn list(&mut self, member: Member) {
        let kept = self.kept();
        if kept.members.iter().all(|m| m.connection != member.connection) {
            kept.members.push(member);
        }
    }

    /// Whether its last connection left.
    pub fn exit(&mut self, member: &Member) -> bool {
        let Some(kept) = self.kept.as_deref_mut() else { return false };
        let Some(at) = kept.members.iter().position(|m| m.connection == member.connection) else { return false };
        let gone = kept.members.swap_remove(at);
        let user = &gone.identity.user;
        user.is_none() || !kept.members.iter().any(|m| m.identity.user == *user)
    }

    pub fn members(&self) -> &[Member] {
        self.kept.as_deref().map(|k| &k.members[..]).unwrap_or_default()
    }
}

impl Hub {
    /// Who is on a channel; asked of its home.
    pub fn presence(&self, app: AppId, name: &ChannelName) -> Vec<Member> {
        let home = self.table.find(app, name).and_then(|n| self.table[n].home.as_ref());
        home.map(|h| h.members().to_vec()).unwrap_or_default()
    }

    pub(super) fn announce(&mut self, number: u32, kind: EventKind, member: &Member, at: Now) {
        let event = Event {
            kind,
            data: member_json(member).into(),
            event: None,
            key: None,
            sender: Some(Sender { connection: member.connection, identity: member.identity.clone() }),
            exclude: Some(member.connection),
            priority: crate::model::Priority::default(),
            offset: 0,
            at,
        };
        self.append(&[number], smallvec![event], None);
    }
}

/// What presence events carry.
fn member_json(member: &Member) -> String {
    let user = member.identity.user.as_deref();
    let joined_at = crate::model::iso8601(member.joined_at);
    serde_json::json!({ "connection": member.connection.to_string(), "user": user, "joinedAt": joined_at }).to_string()
}
