//! What only a channel's home keeps: its numbers, and where its subscribers are; history, last value and who is there in `Kept`.

use super::History;
use crate::model::{Event, Member, Millis, Position};
use smallvec::{SmallVec, smallvec};

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
    pub kept: Option<Box<Kept>>,
}

#[derive(Debug, Default)]
pub(super) struct Kept {
    pub history: History,
    pub last: Option<Event>,
    pub members: Vec<Member>,
}

impl Home {
    pub fn new(epoch: u32, since: Millis) -> Home {
        Home { epoch, since, offset: 0, here: 0, elsewhere: smallvec![], kept: None }
    }

    pub fn position(&self) -> Position {
        Position { epoch: self.epoch, offset: self.offset }
    }

    pub fn kept(&mut self) -> &mut Kept {
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

    /// Beside itself: of the places of events, members, shards.
    pub fn memory_bytes(&self) -> usize {
        let shards = if self.elsewhere.spilled() { self.elsewhere.capacity() * size_of::<(u16, u32)>() } else { 0 };
        let kept = self.kept.as_deref().map_or(0, |kept| {
            size_of::<Kept>() + 16 + kept.history.memory_bytes() + kept.members.capacity() * size_of::<Member>()
        });
        shards + kept
    }
}
