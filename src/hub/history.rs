//! The events that a channel keeps, and the answer to "what did I miss?".

use crate::model::{Event, Mono, Position};
use std::collections::VecDeque;

/// Newest last; offsets without a gap.
#[derive(Debug, Default)]
pub struct History {
    events: VecDeque<Event>,
    data_bytes: usize,
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

impl History {
    pub fn push(&mut self, event: Event, keep: usize) {
        self.data_bytes += event.held_bytes();
        self.events.push_back(event);
        while self.events.len() > keep {
            self.pop();
        }
    }

    fn pop(&mut self) {
        if let Some(event) = self.events.pop_front() {
            self.data_bytes -= event.held_bytes();
        }
        // A burst long ago does not keep its room for ever.
        if self.events.capacity() > 16 && self.events.len() < self.events.capacity() / 4 {
            self.events.shrink_to(self.events.len() * 2);
        }
    }

    /// Forgets what is older than `before`. Returns whether something was.
    pub fn expire(&mut self, before: Mono) -> bool {
        let len = self.events.len();
        while self.events.front().is_some_and(|e| e.at.mono < before) {
            self.pop();
        }
        self.events.len() < len
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

    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &Event> {
        self.events.iter()
    }

    pub fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    pub fn len(&self) -> usize {
        self.events.len()
    }

    /// Of what was published.
    pub fn data_bytes(&self) -> usize {
        self.data_bytes
    }

    /// Of the places of its events.
    pub fn memory_bytes(&self) -> usize {
        self.events.capacity() * size_of::<Event>()
    }
}
