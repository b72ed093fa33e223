//! Whose subscriptions are to be decided again, and which generation all channels of this kernel have come to.

use super::input::Input;
use crate::flow::App;
use crate::model::{AppId, ConnectionId, Slot};
use hashbrown::{HashMap, HashSet};
use std::collections::VecDeque;
use std::sync::Arc;

/// A connection that a new generation has yet to look at.
pub(super) struct Review {
    pub slot: Slot,
    pub id: ConnectionId,
    /// Its subscriptions are to be decided again.
    pub decide: bool,
    /// Its endpoint subscribes other channels by itself.
    pub born: bool,
    /// Classes may have begun to list who is there.
    pub list: bool,
}

#[derive(Default)]
pub(super) struct Reauthorizer {
    waiting: VecDeque<Review>,
    /// The newest generation of which all channels are at their homes.
    settled: u64,
    /// Asked of a home that has yet to be handed its channels.
    early: Vec<Input>,
    /// Apps whose files are gone, while connections of theirs close: they end by their own rules.
    pub former: HashMap<AppId, Arc<App>>,
}

impl Reauthorizer {
    pub fn later(&mut self, review: Review) {
        self.waiting.push_back(review);
    }

    pub fn next(&mut self) -> Option<Review> {
        self.waiting.pop_front()
    }

    /// Whether connections wait.
    pub fn has_work(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Those whose subscriptions wait to be decided.
    pub fn undecided(&self) -> HashSet<ConnectionId> {
        self.waiting.iter().filter(|review| review.decide).map(|review| review.id).collect()
    }

    /// All channels are at their homes of this generation. Returns what was asked too early, where that is news.
    pub fn settle(&mut self, generation: u64) -> Option<Vec<Input>> {
        let news = std::mem::replace(&mut self.settled, generation) != generation;
        news.then(|| std::mem::take(&mut self.early))
    }

    /// To be answered once all channels are at their homes.
    pub fn asked_early(&mut self, input: Input) {
        self.early.push(input);
    }
}
