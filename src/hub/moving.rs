//! Homes that change with a generation: a channel's numbers, history and presence move there, and no event is lost.
//!
//! A hub that begins a generation tells all others (`Fence`): what it sends from then on is of that generation. A
//! channel's old home numbers what was sent before. Once it has everybody's fence it hands its channels over (`Moved`)
//! and says so (`Handed`). A new home keeps what comes for such channels until every old one has said so. So each event
//! is numbered by the old home, or after those by the new one, and seats stay where they are: clients notice nothing.
//!
//! One change at a time: `gateway` begins no generation before all hubs have settled the last one.

use super::home::Home;
use super::{Hub, Message, Out, Publication, home_of};
use crate::model::{AppId, ChannelName, Member, Now};
use crate::policy::Policy;
use smallvec::smallvec;
use std::collections::VecDeque;
use std::sync::Arc;

/// From an old home: all that it kept of a channel.
#[derive(Debug)]
pub struct Moved {
    app: AppId,
    channel: ChannelName,
    home: Home,
}

/// To a home: somebody who is on a channel already, which lists who is there from now on.
#[derive(Debug)]
pub struct Present {
    pub app: AppId,
    pub channel: ChannelName,
    pub generation: u64,
    pub member: Member,
}

/// How far the newest generation is.
#[derive(Default)]
pub(super) struct Moves {
    /// By shard: the newest generation that it has begun, as it told.
    fences: Vec<u64>,
    /// By shard: the newest generation whose channels it has handed over.
    handed: Vec<u64>,
    /// Of this generation, for channels that are still to be handed over.
    held: Vec<Message>,
    /// Of a generation that this hub has yet to begin.
    early: Vec<Message>,
    /// Those of both whose time has come.
    ready: VecDeque<(Message, Now)>,
    settled: u64,
}

impl Moves {
    pub fn new(shards: u16) -> Moves {
        let none = vec![0; shards as usize];
        Moves { fences: none.clone(), handed: none, ..Moves::default() }
    }

    /// The next message that need not wait any more.
    pub fn next_ready(&mut self) -> Option<(Message, Now)> {
        self.ready.pop_front()
    }
}

/// The shard that numbers a channel by these classes.
fn home_by(policy: &Policy, shards: u16, name: &ChannelName) -> u16 {
    match policy.find(name).map(|found| found.home()) {
        Some(Ok(home)) => home_of(shards, home.as_str()),
        _ => home_of(shards, name.as_str()),
    }
}

impl Hub {
    /// Nothing moves, and it was decided by what is in force: it is meant for here.
    pub(super) fn is_plain(&self, generation: u64) -> bool {
        generation == self.generation && self.moves.settled == generation
    }

    /// The newest generation of which everything has moved.
    pub fn settled(&self) -> u64 {
        self.moves.settled
    }

    /// Whether a channel of which this is the home has yet to be handed over: what it keeps is not here.
    pub fn awaits(&self, app: AppId, name: &ChannelName) -> bool {
        self.moves.settled < self.generation && self.home_before(app, name).is_some_and(|home| home != self.me)
    }

    /// The home of a channel as its app's files are now; `None` where they tell nothing.
    pub(super) fn home_now(&self, app: AppId, name: &ChannelName) -> Option<u16> {
        let policy = self.classes.get(app.0 as usize)?.policy.as_ref()?;
        Some(home_by(policy, self.shards, name))
    }

    fn home_before(&self, app: AppId, name: &ChannelName) -> Option<u16> {
        let policy = self.classes.get(app.0 as usize)?.before.as_ref()?;
        Some(home_by(policy, self.shards, name))
    }

    /// A generation begins: everybody is told, and what came early is heard.
    pub(super) fn begin_moves(&mut self, first: bool, now: Now) {
        let (generation, me) = (self.generation, self.me as usize);
        if first || self.shards == 1 {
            self.forget_homes();
            self.moves.settled = generation;
        } else {
            self.moves.fences[me] = generation;
            self.tell_others(|from| Message::Fence { from, generation });
            self.advance(now);
        }
        let early = std::mem::take(&mut self.moves.early);
        self.moves.ready.extend(early.into_iter().map(|message| (message, now)));
    }

    pub(super) fn fence(&mut self, from: u16, generation: u64, now: Now) {
        self.moves.fences[from as usize] = generation;
        self.advance(now);
    }

    pub(super) fn handed(&mut self, from: u16, generation: u64, now: Now) {
        self.moves.handed[from as usize] = generation;
        self.advance(now);
    }

    fn tell_others(&mut self, message: impl Fn(u16) -> Message) {
        for shard in (0..self.shards).filter(|shard| *shard != self.me) {
            self.out.push(Out::To { shard, message: message(self.me) });
        }
    }

    /// As far as others are.
    fn advance(&mut self, now: Now) {
        let (generation, me) = (self.generation, self.me as usize);
        if self.moves.settled == generation || self.moves.fences.iter().any(|g| *g < generation) {
            return;
        }
        if self.moves.handed[me] < generation {
            self.hand_over();
            self.moves.handed[me] = generation;
            self.tell_others(|from| Message::Handed { from, generation });
        }
        if self.moves.handed.iter().all(|g| *g >= generation) {
            self.moves.settled = generation;
            self.forget_homes();
            let held = std::mem::take(&mut self.moves.held);
            self.moves.ready.extend(held.into_iter().map(|message| (message, now)));
        }
    }

    fn forget_homes(&mut self) {
        self.classes.iter_mut().for_each(|classes| classes.before = None);
    }

    /// Nobody sends anything of an earlier generation any more: channels go to their new homes.
    fn hand_over(&mut self) {
        if self.classes.iter().all(|classes| classes.before.is_none()) {
            return;
        }
        self.seal();
        for number in self.table.numbers() {
            let channel = &self.table[number];
            if channel.home.is_none() || self.classes.get(channel.app.0 as usize).is_none_or(|c| c.before.is_none()) {
                continue;
            }
            let Some(to) = self.home_now(channel.app, &channel.name).filter(|home| *home != self.me) else { continue };
            let channel = &mut self.table[number];
            channel.home_shard = to;
            let Some(mut home) = channel.home.take() else { continue };
            home.moves(self.me, to);
            let moved = Moved { app: channel.app, channel: channel.name.clone(), home: *home };
            self.measure(number, false);
            if moved.home.offset > 0 {
                // Should it be made here again, its numbers must be others.
                self.epoch = self.epoch.wrapping_add(1);
            }
            self.out.push(Out::To { shard: to, message: Message::Moved(Box::new(moved)) });
            self.drop_unused(number);
        }
    }

    /// Goes on as its new home.
    pub(super) fn take_over(&mut self, moved: Moved) {
        let Moved { app, channel, home } = moved;
        let class = self.class_of(app, &channel, u16::MAX);
        let number = self.table.number(app, &channel, class, self.me);
        self.table[number].home = Some(Box::new(home));
        self.measure(number, true);
        self.drop_unused(number);
        self.keep_within(app);
    }

    /// What is meant for a channel's home: now, or when it is here, or on to where it is.
    pub(super) fn admit(&mut self, message: Message, now: Now) {
        let Some((app, generation)) = message.generation() else { return };
        let homes = |of: &dyn Fn(&ChannelName) -> Option<u16>| {
            message.channels().find_map(|name| of(name).filter(|home| *home != self.me))
        };
        if generation > self.generation {
            return self.moves.early.push(message);
        }
        let (settled, current) = (self.moves.settled == self.generation, generation == self.generation);
        // Here is its home by what is in force. What was decided longer ago may have come from anywhere.
        let is_new_home = current || homes(&|name| self.home_now(app, name)).is_none();
        if !settled && is_new_home && homes(&|name| self.home_before(app, name)).is_some() {
            return self.moves.held.push(message);
        }
        // Channels that are to be handed over are still where they were by the generation before: not by whatever
        // decided this, which may be older than that, as a publication that waited for its handler.
        let still_home = !settled && self.moves.handed[self.me as usize] < self.generation;
        if !current && homes(&|name| self.home_of_old(app, name, still_home)).is_some() {
            return self.pass_on(message, still_home);
        }
        match message {
            Message::Join(join) => self.join(*join),
            Message::Leave(leave) => self.leave(*leave, now),
            Message::Publish(publication) => self.sequence(*publication),
            Message::Present(present) => self.list(*present),
            _ => {}
        }
    }

    /// Where a channel is, for what files decided that are no longer in force. `still`: nothing was handed over from here.
    fn home_of_old(&self, app: AppId, name: &ChannelName, still: bool) -> Option<u16> {
        let before = if still { self.home_before(app, name) } else { None };
        before.or_else(|| self.home_now(app, name))
    }

    /// Decided by files that are no longer in force, and its home is another one.
    fn pass_on(&mut self, message: Message, still: bool) {
        let Message::Publish(publication) = message else {
            let Some((app, _)) = message.generation() else { return };
            let home = message.channels().find_map(|name| self.home_of_old(app, name, still)).unwrap_or(self.me);
            return self.out.push(Out::To { shard: home, message });
        };
        // What went to one home together may be of several now.
        let Publication { app, channels, generation, event, tally, mut answer } = *publication;
        for channel in channels {
            let home = self.home_of_old(app, &channel.0, still).unwrap_or(self.me);
            let (event, tally, answer) = (event.clone(), tally.clone(), answer.take());
            let one = Publication { app, channels: smallvec![channel], generation, event, tally, answer };
            match home == self.me {
                true => self.sequence(one),
                false => self.out.push(Out::To { shard: home, message: Message::Publish(Box::new(one)) }),
            }
        }
    }

    /// Somebody is on a channel whose class has begun to list who is there. To be told to its home.
    pub fn present(&mut self, number: u32, member: Member, now: Now) {
        let channel = &self.table[number];
        let present = Present { app: channel.app, channel: channel.name.clone(), generation: self.generation, member };
        let (home, message) = (channel.home_shard, Message::Present(Box::new(present)));
        match home == self.me {
            true => self.admit(message, now),
            false => self.out.push(Out::To { shard: home, message }),
        }
    }

    /// Whether a channel's class lists who is there.
    pub fn lists(&self, number: u32) -> bool {
        let channel = &self.table[number];
        self.options(channel.app, channel.class).presence
    }

    fn list(&mut self, present: Present) {
        let Some(number) = self.table.find(present.app, &present.channel) else { return };
        let presence = self.options(present.app, self.table[number].class).presence;
        if presence && let Some(home) = self.table[number].home.as_mut() {
            home.list(present.member);
            self.measure(number, false);
        }
    }
}

impl Message {
    /// Of what is meant for a home: the app, and whose rules chose it.
    fn generation(&self) -> Option<(AppId, u64)> {
        match self {
            Message::Join(join) => Some((join.app, join.generation)),
            Message::Leave(leave) => Some((leave.app, leave.generation)),
            Message::Publish(publication) => Some((publication.app, publication.generation)),
            Message::Present(present) => Some((present.app, present.generation)),
            _ => None,
        }
    }

    fn channels(&self) -> impl Iterator<Item = &ChannelName> {
        let (one, more): (Option<&ChannelName>, &[(ChannelName, u16)]) = match self {
            Message::Join(join) => (Some(&join.channel), &[]),
            Message::Leave(leave) => (Some(&leave.channel), &[]),
            Message::Present(present) => (Some(&present.channel), &[]),
            Message::Publish(publication) => (None, &publication.channels),
            _ => (None, &[]),
        };
        one.into_iter().chain(more.iter().map(|(name, _)| name))
    }
}

/// Whether a channel's home may be another one by these classes than by those.
pub(super) fn homes_differ(before: &Arc<Policy>, now: &Arc<Policy>) -> bool {
    before.has_homes() || now.has_homes()
}
