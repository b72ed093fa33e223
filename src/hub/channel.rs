//! The channels of one shard, by number and by name.

use super::home::Home;
use super::usage::{Counted, Neighbours};
use crate::model::{AppId, ChannelName, Millis, Slot};
use hashbrown::HashTable;
use slab::Slab;
use smallvec::SmallVec;
use std::hash::{BuildHasher, Hash, Hasher};
use std::ops::{Index, IndexMut};

/// A connection's place on a channel: its slot, and which of its subscriptions this is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Seat {
    pub slot: Slot,
    pub sub: u32,
}

/// A channel as one shard knows it.
#[derive(Debug)]
pub struct Channel {
    pub name: ChannelName,
    pub app: AppId,
    pub class: u16,
    pub home_shard: u16,
    /// The group of this tick that its newest event is in.
    pub(super) group: Option<u32>,
    /// Of this shard's connections.
    pub seats: SmallVec<[Seat; 2]>,
    /// Where this shard is its home.
    pub(super) home: Option<Box<Home>>,
    /// What it takes, as its app's usage has it.
    pub(super) counted: Counted,
    /// Its neighbours among the channels of its app that keep events.
    pub(super) ages: Option<Neighbours>,
}

impl Channel {
    /// When it came into use; 0 where this shard is not its home.
    pub fn since(&self) -> Millis {
        self.home.as_ref().map_or(0, |home| home.since)
    }
}

#[derive(Default)]
pub(super) struct Table {
    channels: Slab<Channel>,
    by_name: HashTable<u32>,
}

/// The same in every shard of a process; seeded once a process against crafted collisions.
pub(super) fn hash(app: AppId, name: &str) -> u64 {
    static STATE: std::sync::LazyLock<hashbrown::DefaultHashBuilder> = std::sync::LazyLock::new(Default::default);
    let mut hasher = STATE.build_hasher();
    app.hash(&mut hasher);
    name.hash(&mut hasher);
    hasher.finish()
}

impl Table {
    pub fn find(&self, app: AppId, name: &ChannelName) -> Option<u32> {
        self.find_str(app, name.as_str())
    }

    pub fn find_str(&self, app: AppId, name: &str) -> Option<u32> {
        let same = |n: &u32| {
            let c = &self.channels[*n as usize];
            c.app == app && c.name.as_str() == name
        };
        self.by_name.find(hash(app, name), same).copied()
    }

    /// The channel's number; a new one where it has none.
    pub fn number(&mut self, app: AppId, name: &ChannelName, class: u16, home_shard: u16) -> u32 {
        if let Some(number) = self.find(app, name) {
            return number;
        }
        let seats = SmallVec::new();
        let (counted, ages) = (Counted::default(), None);
        let channel =
            Channel { name: name.clone(), app, class, home_shard, group: None, seats, home: None, counted, ages };
        let number = self.channels.insert(channel) as u32;
        let channels = &self.channels;
        self.by_name.insert_unique(hash(app, name.as_str()), number, |n| {
            let c = &channels[*n as usize];
            hash(c.app, c.name.as_str())
        });
        number
    }

    /// Nobody is on it, nothing is kept of it or on its way.
    pub fn is_unused(&self, number: u32) -> bool {
        let Some(c) = self.channels.get(number as usize) else { return false };
        c.seats.is_empty() && c.group.is_none() && !c.home.as_ref().is_some_and(|h| h.in_use())
    }

    /// Returns whether it had numbered events.
    pub fn remove(&mut self, number: u32) -> bool {
        let c = self.channels.remove(number as usize);
        if let Ok(entry) = self.by_name.find_entry(hash(c.app, c.name.as_str()), |n| *n == number) {
            entry.remove();
        }
        c.home.is_some_and(|h| h.offset > 0)
    }

    pub fn get_mut(&mut self, number: u32) -> Option<&mut Channel> {
        self.channels.get_mut(number as usize)
    }

    /// Numbers are below this.
    pub fn end(&self) -> u32 {
        self.channels.iter().next_back().map_or(0, |(number, _)| number as u32 + 1)
    }

    pub fn iter(&self) -> impl Iterator<Item = &Channel> {
        self.channels.iter().map(|(_, c)| c)
    }

    pub fn numbers(&self) -> Vec<u32> {
        self.channels.iter().map(|(n, _)| n as u32).collect()
    }
}

impl Index<u32> for Table {
    type Output = Channel;
    fn index(&self, number: u32) -> &Channel {
        &self.channels[number as usize]
    }
}

impl IndexMut<u32> for Table {
    fn index_mut(&mut self, number: u32) -> &mut Channel {
        &mut self.channels[number as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Many have a channel to each connection: what each of them costs stands here, so that nobody makes it more by accident.
    #[test]
    fn a_channel_is_small() {
        assert!(size_of::<Channel>() <= 88, "{}", size_of::<Channel>());
    }
}
