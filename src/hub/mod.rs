//! Who hears what: channels, their subscribers, order, history, presence, last values, recovery.
//!
//! One `Hub` a shard. It seats the shard's own connections and is the *home* of its share of the channels: the home
//! alone numbers a channel's events, so that all hear them in one order. Hubs speak to each other in `Message`s.
//! In: permits of `policy`, messages of other hubs. Out: `Out`, in order. Knows no socket, no clock, no thread.

mod batch;
mod channel;
mod classes;
pub mod history;
mod home;
mod moving;
mod options;
mod sequence;
mod tally;
mod usage;

pub use batch::{Batch, Part};
pub use channel::{Channel, Seat};
pub use history::{History, Page};
pub use home::{AskedBy, Asker, Join, Joined, Leave, Published};
pub use options::{ClassOptions, HistoryOptions, Overflow};
pub use tally::{Tallies, Tally};
pub use usage::Usage;

use crate::model::{AppId, ChannelName, Event, Member, Now, Position, Slot};
use channel::Table;
use classes::Classes;
use home::Group;
use moving::Moves;
pub use moving::{Moved, Present};
use smallvec::SmallVec;
use std::sync::Arc;

/// Data of one answer to a question for history, but for one event that is larger: it is written as one text.
const PAGE_BYTES: usize = 1 << 20;

/// What one hub tells another.
#[derive(Debug)]
pub enum Message {
    /// To a home: seat a connection of another shard.
    Join(Box<Join>),
    /// From a home: seated, with what it missed; the batches that follow come after it.
    Joined(Box<Joined>),
    /// From a home: no seat is free, by the class's `members_max`.
    Full(Box<Join>),
    Leave(Box<Leave>),
    /// To a home: number this and pass it round.
    Publish(Box<Publication>),
    /// From a home: where an event of this shard's connection was put.
    Published(Box<Published>),
    /// From a home: what a channel published in one tick.
    Deliver(SmallVec<[(Arc<Batch>, Tallies); 1]>),
    /// To a home: who is on a channel already.
    Present(Box<Present>),
    /// To all: what comes from this shard is of that generation from now on.
    Fence {
        from: u16,
        generation: u64,
    },
    /// From an old home to the new one.
    Moved(Box<Moved>),
    /// To all: all channels of this shard whose home is another one by that generation are there.
    Handed {
        from: u16,
        generation: u64,
    },
}

/// What a hub asks its shard to do, in this order.
#[derive(Debug)]
pub enum Out {
    To {
        shard: u16,
        message: Message,
    },
    /// To every seat of these channels; a connection on several of them hears it once.
    Deliver(SmallVec<[Part; 1]>),
    Joined(Box<Joined>),
    /// No seat is free.
    Full(Box<Join>),
    Published(Box<Published>),
}

/// Something to be numbered, kept and heard. Made by `flow` from a `Permit<Publish>`.
#[derive(Debug)]
pub struct Publication {
    pub app: AppId,
    /// The first is the one that was named; the others are its copies (`also`), all of one home.
    pub channels: SmallVec<[(ChannelName, u16); 1]>,
    /// Whose numbers the classes are.
    pub generation: u64,
    pub event: Event,
    pub tally: Option<Arc<Tally>>,
    /// Whom to tell the position: shard and connection.
    pub answer: Option<Asker>,
}

pub struct Hub {
    me: u16,
    shards: u16,
    table: Table,
    /// Of this tick, in the order in which they were opened.
    groups: Vec<Group>,
    /// By app.
    classes: Vec<Classes>,
    /// Whose numbers the classes are.
    generation: u64,
    epoch: u32,
    /// By app.
    usage: Vec<usage::OfApp>,
    evicted: usize,
    /// The channel that the next sweep begins with.
    swept: u32,
    out: Vec<Out>,
    moves: Moves,
}

/// The home of a channel among so many shards: `key` is its name, or what its class's `home` expands to.
///
/// FNV-1a of 64 bits and SplitMix64's last steps: the same in each process, so that a channel's home is where its name says,
/// and a seed's simulation is the same everywhere.
pub fn home_of(shards: u16, key: &str) -> u16 {
    if shards == 1 {
        return 0;
    }
    let fnv = key
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3));
    let mixed = (fnv ^ (fnv >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((mixed >> 32) % u64::from(shards)) as u16
}

impl Hub {
    /// `epoch`: any number that another run of the process is unlikely to use again.
    pub fn new(me: u16, shards: u16, epoch: u32) -> Hub {
        let (table, groups, classes, out) = (Table::default(), Vec::new(), Vec::new(), Vec::new());
        let (moves, usage) = (Moves::new(shards), Vec::new());
        Hub { me, shards, table, groups, classes, generation: 0, epoch, usage, evicted: 0, swept: 0, out, moves }
    }

    pub fn shards(&self) -> u16 {
        self.shards
    }

    /// What has to be done, in order; empties the list.
    pub fn drain(&mut self) -> std::vec::Drain<'_, Out> {
        self.out.drain(..)
    }

    pub fn has_out(&self) -> bool {
        !self.out.is_empty()
    }

    /// Asks for a seat; the answer is `Out::Joined` or `Out::Full`, now or after the home was heard.
    pub fn subscribe(&mut self, join: Box<Join>) {
        if join.home == self.me && self.is_plain(join.generation) {
            self.join(*join);
        } else if join.home == self.me {
            let now = join.now;
            self.admit(Message::Join(join), now);
        } else {
            self.out.push(Out::To { shard: join.home, message: Message::Join(join) });
        }
    }

    /// Takes the seat that a `Joined` offers. Returns the channel's number and the seat's index in it.
    pub fn sit(&mut self, joined: &Joined, slot: Slot, sub: u32) -> (u32, u32) {
        let class = self.class_now(joined.app, &joined.channel, joined.class, joined.generation);
        let number = self.table.number(joined.app, &joined.channel, class, self.home_of(joined));
        let channel = &mut self.table[number];
        channel.seats.push(Seat { slot, sub });
        let seat = channel.seats.len() as u32 - 1;
        self.measure(number, false);
        (number, seat)
    }

    /// Of a seat that was offered: files may have changed since.
    fn home_of(&self, joined: &Joined) -> u16 {
        let now = || self.home_now(joined.app, &joined.channel).unwrap_or(joined.home);
        if joined.generation == self.generation { joined.home } else { now() }
    }

    /// Gives up a seat that a `Joined` offered: its connection has gone meanwhile.
    pub fn decline(&mut self, joined: Joined, now: Now) {
        let home = self.home_of(&joined);
        let leave = Leave {
            app: joined.app,
            channel: joined.channel,
            generation: self.generation,
            shard: self.me,
            member: Member { connection: joined.connection, identity: joined.identity, joined_at: now.wall },
        };
        self.leave_home(home, leave, now);
    }

    /// Empties a seat. Returns the seat that took its place in the list, whose connection has to be told its new index.
    pub fn rise(&mut self, number: u32, index: u32, member: Member, now: Now) -> Option<Seat> {
        let channel = &mut self.table[number];
        channel.seats.swap_remove(index as usize);
        let moved = channel.seats.get(index as usize).copied();
        let (app, name, generation) = (channel.app, channel.name.clone(), self.generation);
        let leave = Leave { app, channel: name, generation, shard: self.me, member };
        let home = channel.home_shard;
        self.measure(number, false);
        self.leave_home(home, leave, now);
        self.drop_unused(number);
        moved
    }

    fn leave_home(&mut self, home: u16, leave: Leave, now: Now) {
        if home == self.me && self.is_plain(leave.generation) {
            self.leave(leave, now);
        } else if home == self.me {
            self.admit(Message::Leave(Box::new(leave)), now);
        } else {
            self.out.push(Out::To { shard: home, message: Message::Leave(Box::new(leave)) });
        }
    }

    /// Numbers an event and has it heard at the end of the tick; `home` as `home_of` said.
    pub fn publish(&mut self, home: u16, publication: Publication) {
        if home == self.me && self.is_plain(publication.generation) {
            self.sequence(publication);
        } else if home == self.me {
            let now = publication.event.at;
            self.admit(Message::Publish(Box::new(publication)), now);
        } else {
            self.out.push(Out::To { shard: home, message: Message::Publish(Box::new(publication)) });
        }
    }

    /// A message of another hub.
    pub fn hear(&mut self, message: Message, now: Now) {
        match message {
            Message::Join(_) | Message::Leave(_) | Message::Publish(_) | Message::Present(_) => {
                self.admit(message, now)
            }
            Message::Joined(joined) => self.out.push(Out::Joined(joined)),
            Message::Full(join) => self.out.push(Out::Full(join)),
            Message::Fence { from, generation } => self.fence(from, generation, now),
            Message::Moved(moved) => self.take_over(*moved),
            Message::Handed { from, generation } => self.handed(from, generation, now),
            Message::Published(published) => self.out.push(Out::Published(published)),
            Message::Deliver(batches) => {
                let parts: SmallVec<[Part; 1]> = batches
                    .into_iter()
                    .filter_map(|(batch, tallies)| {
                        Some(Part { channel: self.table.find(batch.app, &batch.channel)?, batch, tallies })
                    })
                    .collect();
                if !parts.is_empty() {
                    self.out.push(Out::Deliver(parts));
                }
            }
        }
    }

    /// Whether something waits for `seal`.
    pub fn pending(&self) -> bool {
        !self.groups.is_empty()
    }

    // ── what may be asked ───────────────────────────────────────────────────────────────────────────────────────

    pub fn channel(&self, number: u32) -> &Channel {
        &self.table[number]
    }

    pub fn channel_mut(&mut self, number: u32) -> &mut Channel {
        &mut self.table[number]
    }

    pub fn find(&self, app: AppId, name: &str) -> Option<u32> {
        self.table.find_str(app, name)
    }

    /// Who is on a channel; asked of its home.
    pub fn presence(&self, app: AppId, name: &ChannelName) -> Vec<Member> {
        let home = self.table.find(app, name).and_then(|n| self.table[n].home.as_ref());
        home.map(|h| h.members().to_vec()).unwrap_or_default()
    }

    /// What a channel keeps after `since`, oldest first, `limit` and `PAGE_BYTES` at most; whether more is kept; whether all since then
    /// is there. Asked of its home.
    pub fn history(&self, app: AppId, name: &ChannelName, since: Option<Position>, limit: usize) -> history::Page {
        let home = self.table.find(app, name).and_then(|n| self.table[n].home.as_ref());
        home.map(|h| h.page(since, limit, PAGE_BYTES)).unwrap_or_default()
    }

    /// The channels that this shard is the home of, with the number of connections on each.
    pub fn channels(&self) -> impl Iterator<Item = (&Channel, usize)> {
        self.table.iter().filter_map(|c| {
            let home = c.home.as_ref()?;
            Some((c, c.seats.len() + home.elsewhere.iter().map(|(_, n)| *n as usize).sum::<usize>()))
        })
    }

    /// Channels share an epoch until one that had numbered something is forgotten: if that one comes back, its offsets
    /// start again.
    fn drop_unused(&mut self, number: u32) {
        if !self.table.is_unused(number) {
            return;
        }
        self.forget_measure(number);
        if self.table.remove(number) {
            self.epoch = self.epoch.wrapping_add(1);
        }
    }
}

#[cfg(test)]
mod moving_tests;
#[cfg(test)]
mod tests;
