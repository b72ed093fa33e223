//! The events that a channel keeps, and the answer to "what did I miss?".

use crate::model::{Event, Mono, Position};
use std::collections::VecDeque;

/// Newest last; offsets without a gap.
#[derive(Debug, Default)]
pub struct History {
    events: VecDeque<Event>,
    bytes: usize,
}

/// A part of a history.
#[derive(Debug, Default, Clone)]
pub struct Page {
    pub events: Vec<Event>,
    /// Of the channel's newest event.
    pub position: Position,
    /// More is kept after these.
    pub more: bool,
    /// Nothing between `since` and these is missing.
    pub complete: bool,
}

/// What an event costs beside its data.
const EVENT_BYTES: usize = 160;

fn cost(event: &Event) -> usize {
    EVENT_BYTES + event.data.len()
}

impl History {
    /// Returns by how many bytes it grew; negative where it shrank.
    pub fn push(&mut self, event: Event, keep: usize) -> isize {
        let before = self.bytes as isize;
        self.bytes += cost(&event);
        self.events.push_back(event);
        while self.events.len() > keep {
            self.pop();
        }
        self.bytes as isize - before
    }

    fn pop(&mut self) {
        if let Some(event) = self.events.pop_front() {
            self.bytes -= cost(&event);
        }
    }

    /// Forgets what is older than `before`. Returns the bytes freed.
    pub fn expire(&mut self, before: Mono) -> usize {
        let bytes = self.bytes;
        while self.events.front().is_some_and(|e| e.at.mono < before) {
            self.pop();
        }
        bytes - self.bytes
    }

    /// The events after `offset`; `None` where some of them are gone.
    pub fn after(&self, offset: u64, newest: u64) -> Option<impl Iterator<Item = &Event>> {
        if offset > newest {
            return None;
        }
        let first = newest + 1 - self.events.len() as u64;
        if offset + 1 < first {
            return None;
        }
        Some(self.events.range((offset + 1 - first) as usize..))
    }

    pub fn iter(&self) -> impl Iterator<Item = &Event> {
        self.events.iter()
    }

    pub fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    pub fn len(&self) -> usize {
        self.events.len()
    }

    pub fn bytes(&self) -> usize {
        self.bytes
    }

    pub fn newest_at(&self) -> Option<Mono> {
        self.events.back().map(|e| e.at.mono)
    }
}
