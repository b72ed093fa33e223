//! Who hears what: channels, their subscribers, order, history, presence, last values, recovery.
//!
//! One `Hub` a shard. It seats the shard's own connections and is the *home* of its share of the channels: the home
//! alone numbers a channel's events, so that all hear them in one order. Hubs speak to each other in `Message`s.
//! In: permits of `policy`, messages of other hubs. Out: `Out`, in order. Knows no socket, no clock, no thread.

mod batch;
mod channel;
mod classes;
mod group;
pub mod history;
mod home;
mod message;
mod moving;
mod options;
mod presence;
mod recovery;
mod seats;
mod sequence;
mod tally;
mod usage;

pub use batch::{Batch, Part};
pub use channel::{Channel, Seat};
pub use history::{History, Page};
pub use message::{AskedBy, Asker, Join, Joined, Leave, Message, Out, Publication, Published};
pub use options::{ClassOptions, HistoryOptions, Overflow};
pub use tally::{Tallies, Tally};
pub use usage::Usage;

use crate::model::{AppId, Now};
use channel::Table;
use classes::Classes;
use group::Group;
use moving::Moves;
pub use moving::{Moved, Present};
use smallvec::SmallVec;

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

    /// Whether something has to be done.
    pub fn has_out(&self) -> bool {
        !self.out.is_empty()
    }

    /// Hears the next of what had to wait for channels to move. Returns whether there was one. To be called once nothing
    /// else has to be done: a seat that one of them is offered must be taken before the next, or what that one publishes
    /// would pass it by.
    pub fn hear_waiting(&mut self) -> bool {
        let Some((message, now)) = self.moves.next_ready() else { return false };
        self.admit(message, now);
        true
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
