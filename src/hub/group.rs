//! What is published in one tick, until it ends.

use super::{Tallies, Tally};
use crate::model::Event;
use smallvec::{SmallVec, smallvec};
use std::sync::Arc;

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
