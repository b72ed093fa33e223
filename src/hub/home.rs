//! What only a channel's home keeps: its numbers, history, presence and last value, and where its subscribers are.

use super::history::{History, Page};
use super::{ClassOptions, Tallies, Tally};
use crate::model::{AppId, ChannelName, ConnectionId, Event, Identity, Member, Millis, Mono, Now, Position, Slot};
use serde_json::value::RawValue;
use smallvec::{SmallVec, smallvec};
use std::sync::Arc;

/// A seat asked for.
#[derive(Debug)]
pub struct Join {
    pub app: AppId,
    pub channel: ChannelName,
    pub class: u16,
    /// Whose number the class is.
    pub generation: u64,
    pub home: u16,
    /// Where its connection is.
    pub shard: u16,
    pub slot: Slot,
    pub member: Member,
    pub since: Option<Position>,
    pub asked_by: AskedBy,
    /// The name that the client used, where it was an alias.
    pub alias: Option<Box<str>>,
    pub now: Now,
}

/// Who asked for a seat.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AskedBy {
    /// The client, by its subscribe message of this number, whose answer waits for the seat.
    Client(u32),
    /// The app's file: the endpoint's own channels. The client is not told.
    Endpoint,
    /// The HTTP API. The client is told.
    Api,
    /// The client is not told: the plugin says what it wants to say.
    Plugin,
}

/// A seat offered, with what was missed.
#[derive(Debug)]
pub struct Joined {
    pub app: AppId,
    pub channel: ChannelName,
    pub class: u16,
    /// Whose number the class is.
    pub generation: u64,
    pub home: u16,
    pub slot: Slot,
    pub connection: ConnectionId,
    pub identity: Arc<Identity>,
    pub asked_by: AskedBy,
    pub alias: Option<Box<str>>,
    pub epoch: u32,
    /// Where the class keeps history.
    pub position: Option<Position>,
    /// Where the client asked from a position: whether nothing is missing.
    pub recovered: Option<bool>,
    /// Missed events, or the last one.
    pub events: Vec<Event>,
    /// The home lists it.
    pub listed: bool,
}

#[derive(Debug)]
pub struct Leave {
    pub app: AppId,
    pub channel: ChannelName,
    /// Whose rules chose the home.
    pub generation: u64,
    pub shard: u16,
    pub member: Member,
}

/// Whom to tell that an event was numbered.
#[derive(Debug)]
pub struct Asker {
    pub shard: u16,
    pub slot: Slot,
    pub connection: ConnectionId,
    /// The id and the type of its message.
    pub id: Option<Box<RawValue>>,
    pub kind: Box<str>,
}

/// An event was numbered.
#[derive(Debug)]
pub struct Published {
    pub channel: ChannelName,
    pub position: Option<Position>,
    pub asker: Asker,
}

#[derive(Debug)]
pub(super) struct Home {
    pub epoch: u32,
    /// When the channel came into use.
    pub since: Millis,
    /// Of the newest event.
    pub offset: u64,
    /// Seats in this shard, those offered and not yet taken included.
    pub here: u32,
    /// Shards other than this one, with the number of seats there.
    pub elsewhere: SmallVec<[(u16, u32); 1]>,
    kept: Option<Box<Kept>>,
}

#[derive(Debug, Default)]
struct Kept {
    history: History,
    last: Option<Event>,
    members: Vec<Member>,
}

impl Home {
    pub fn new(epoch: u32, since: Millis) -> Home {
        Home { epoch, since, offset: 0, here: 0, elsewhere: smallvec![], kept: None }
    }

    pub fn position(&self) -> Position {
        Position { epoch: self.epoch, offset: self.offset }
    }

    fn kept(&mut self) -> &mut Kept {
        self.kept.get_or_insert_default()
    }

    /// Nobody would miss it otherwise.
    pub fn in_use(&self) -> bool {
        let kept = |k: &Kept| !k.history.is_empty() || k.last.is_some() || !k.members.is_empty();
        self.here > 0 || !self.elsewhere.is_empty() || self.kept.as_deref().is_some_and(kept)
    }

    pub fn count(&mut self, shard: u16, change: i32) {
        match self.elsewhere.iter().position(|(s, _)| *s == shard) {
            Some(at) => {
                let count = &mut self.elsewhere[at].1;
                *count = count.saturating_add_signed(change);
                if *count == 0 {
                    self.elsewhere.swap_remove(at);
                }
            }
            None if change > 0 => self.elsewhere.push((shard, change as u32)),
            None => {}
        }
    }

    /// Seats here are elsewhere for the shard that it goes to, and those there are its own.
    pub fn moves(&mut self, from: u16, to: u16) {
        let own = self.elsewhere.iter().find(|(shard, _)| *shard == to).map_or(0, |(_, seats)| *seats);
        self.elsewhere.retain(|(shard, _)| *shard != to);
        let here = std::mem::replace(&mut self.here, own);
        if here > 0 {
            self.elsewhere.push((from, here));
        }
    }

    /// Connections on it, over all shards.
    pub fn seats(&self) -> u32 {
        self.elsewhere.iter().fold(self.here, |sum, (_, seats)| sum.saturating_add(*seats))
    }

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

    /// Numbers an event that carries its offset already.
    pub fn keep(&mut self, event: &Event, options: &ClassOptions) {
        self.offset = event.offset;
        let kept = self.kept();
        if options.last {
            kept.last = Some(event.clone());
        }
        if let Some(history) = options.history {
            // Nobody else may look at it for long.
            kept.history.expire(event.at.mono.before(history.ttl.0));
            kept.history.push(event.clone(), history.keep as usize);
        }
    }

    /// What a newcomer is told first: all since its position; without one, the last value.
    pub fn recover(
        &mut self,
        since: Option<Position>,
        options: &ClassOptions,
        now: Mono,
    ) -> (Option<bool>, Vec<Event>) {
        let Some(history) = options.history.filter(|_| since.is_some()) else {
            let last = self.kept.as_deref().and_then(|k| k.last.clone()).filter(|_| options.last);
            return (since.map(|_| false), last.into_iter().collect());
        };
        self.kept().history.expire(now.before(history.ttl.0));
        let page = self.page(since, usize::MAX, usize::MAX);
        if page.complete { (Some(true), page.events) } else { (Some(false), Vec::new()) }
    }

    /// As many as `limit` and `bytes_max` allow, one at least.
    pub fn page(&self, since: Option<Position>, limit: usize, bytes_max: usize) -> Page {
        let position = self.position();
        let Some(kept) = self.kept.as_deref() else {
            let complete = since.is_none_or(|s| s == position);
            return Page { position, complete, ..Page::default() };
        };
        let Some(since) = since else {
            let newest = fitting(kept.history.iter().rev().take(limit), bytes_max);
            let skip = kept.history.len() - newest;
            let events = kept.history.iter().skip(skip).cloned().collect();
            return Page { events, position, more: false, complete: true };
        };
        if since.epoch != self.epoch {
            return Page { position, ..Page::default() };
        }
        match kept.history.after(since.offset, self.offset) {
            None => Page { position, ..Page::default() },
            Some(missed) => {
                let missed: Vec<&Event> = missed.collect();
                let fitting = fitting(missed.iter().take(limit).copied(), bytes_max);
                let events = missed[..fitting].iter().map(|event| (*event).clone()).collect();
                let more = missed.len() > fitting;
                Page { events, position, more, complete: true }
            }
        }
    }

    /// Forgets what is too old. Returns whether something was.
    pub fn expire(&mut self, options: &ClassOptions, now: Mono) -> bool {
        let Some(kept) = self.kept.as_deref_mut() else { return false };
        match options.history {
            Some(h) => kept.history.expire(now.before(h.ttl.0)),
            None => kept.history.expire(Mono::MAX),
        }
    }

    /// Forgets what its class does not keep.
    pub fn give_up(&mut self, options: &ClassOptions) {
        let Some(kept) = self.kept.as_deref_mut() else { return };
        if !options.presence {
            kept.members = Vec::new();
        }
        if !options.last {
            kept.last = None;
        }
        if options.history.is_none() {
            kept.history.expire(Mono::MAX);
        }
    }

    /// Forgets all events, the last one too, and starts again.
    pub fn forget(&mut self, epoch: u32) {
        let Some(kept) = self.kept.as_deref_mut() else { return };
        (kept.history, kept.last) = (History::default(), None);
        (self.epoch, self.offset) = (epoch, 0);
        if kept.members.is_empty() {
            self.kept = None;
        }
    }

    /// Of the events that it keeps: what was published. 0 where it keeps none.
    pub fn data_bytes(&self) -> usize {
        let Some(kept) = self.kept.as_deref() else { return 0 };
        // One that is in the history too is shared with it.
        let last = kept.last.as_ref().filter(|_| kept.history.is_empty()).map_or(0, Event::held_bytes);
        kept.history.data_bytes() + last
    }

    /// Beside itself: of the places of events, members, shards.
    pub fn memory_bytes(&self) -> usize {
        let shards = if self.elsewhere.spilled() { self.elsewhere.capacity() * size_of::<(u16, u32)>() } else { 0 };
        let kept = self.kept.as_deref().map_or(0, |kept| {
            size_of::<Kept>() + 16 + kept.history.memory_bytes() + kept.members.capacity() * size_of::<Member>()
        });
        shards + kept
    }
}

/// How many of these have at most `bytes_max` together; the first in any case.
fn fitting<'a>(events: impl Iterator<Item = &'a Event>, bytes_max: usize) -> usize {
    let mut bytes = 0;
    let fits = |event: &&Event| {
        let first = bytes == 0;
        bytes += event.held_bytes();
        first || bytes <= bytes_max
    };
    events.take_while(fits).count()
}

/// What went to the same channels in one tick.
pub(super) struct Group {
    parts: SmallVec<[u32; 1]>,
    events: SmallVec<[SmallVec<[Event; 1]>; 1]>,
    tallies: Tallies,
}

impl Group {
    pub fn new(channels: &[u32]) -> Group {
        Group { parts: channels.into(), events: channels.iter().map(|_| smallvec![]).collect(), tallies: Vec::new() }
    }

    pub fn channels(&self) -> &[u32] {
        &self.parts
    }

    /// One event a channel: they differ in their offsets.
    pub fn push(&mut self, events: SmallVec<[Event; 1]>, tally: Option<Arc<Tally>>) {
        if let Some(tally) = tally {
            self.tallies.push((self.events[0].len() as u32, tally));
        }
        for (list, event) in self.events.iter_mut().zip(events) {
            list.push(event);
        }
    }

    pub fn take_tallies(&mut self) -> Tallies {
        std::mem::take(&mut self.tallies)
    }

    pub fn into_parts(self) -> impl Iterator<Item = (u32, SmallVec<[Event; 1]>)> {
        self.parts.into_iter().zip(self.events)
    }
}

/// What presence events carry.
pub(super) fn member_json(member: &Member) -> String {
    let user = member.identity.user.as_deref();
    let joined_at = crate::model::iso8601(member.joined_at);
    serde_json::json!({ "connection": member.connection.to_string(), "user": user, "joinedAt": joined_at }).to_string()
}
