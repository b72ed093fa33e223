//! What all clients and callers together were told: one order per channel, each place of it with one content, and nothing
//! of what was refused.

use crate::model::Position;
use std::collections::{BTreeMap, BTreeSet};

#[derive(Default)]
pub struct Truth {
    /// By channel and epoch, then by offset.
    events: BTreeMap<(String, u32), BTreeMap<u64, u64>>,
    /// By number of a publication and channel: where it is.
    places: BTreeMap<(u64, String), Position>,
    refused: BTreeSet<u64>,
    /// Those of clients that a rule or a handler refused, not a bound.
    denied: BTreeSet<u64>,
    urgent: BTreeSet<u64>,
    /// Published to several channels: to which.
    several: BTreeMap<u64, Vec<String>>,
    /// How many heard it when it was published, not later.
    live: BTreeMap<u64, u64>,
    /// How many heard what was sent past channels.
    sent: BTreeMap<u64, u64>,
    /// Keys of publications that have one.
    keys: BTreeMap<u64, u64>,
    /// By channel and epoch: the newest place that somebody was told of.
    newest: BTreeMap<(String, u32), u64>,
}

impl Truth {
    /// Publication `number` is at this place, as somebody was told.
    pub fn is_at(&mut self, channel: &str, at: Position, number: u64) -> Result<(), String> {
        if self.refused.contains(&number) {
            return Err(format!("{number} was refused, and is in `{channel}` at {at}"));
        }
        let channel = channel.to_owned();
        let newest = self.newest.entry((channel.clone(), at.epoch)).or_default();
        *newest = at.offset.max(*newest);
        let events = self.events.entry((channel.clone(), at.epoch)).or_default();
        let known = *events.entry(at.offset).or_insert(number);
        if known != number {
            return Err(format!("`{channel}` has {number} and {known} at {at}"));
        }
        let first = *self.places.entry((number, channel.clone())).or_insert(at);
        match first == at {
            true => Ok(()),
            false => Err(format!("{number} is in `{channel}` at {first} and at {at}")),
        }
    }

    /// Somebody was told that it was not published: nobody may hear it, before or after.
    pub fn is_refused(&mut self, number: u64) -> Result<(), String> {
        self.refused.insert(number);
        match self.places.range((number, String::new())..).next().filter(|((n, _), _)| *n == number) {
            Some(((_, channel), at)) => Err(format!("{number} is in `{channel}` at {at}, and was refused")),
            None => Ok(()),
        }
    }

    pub fn is_denied(&mut self, number: u64) {
        self.denied.insert(number);
    }

    /// Whether it was let pass or denied; `None`: a bound refused it.
    pub fn was_let_pass(&self, number: u64) -> Option<bool> {
        let denied = self.denied.contains(&number);
        (denied || !self.refused.contains(&number)).then_some(!denied)
    }

    pub fn has_key(&mut self, number: u64, key: u64) {
        self.keys.insert(number, key);
    }

    pub fn is_to_be_urgent(&mut self, number: u64) {
        self.urgent.insert(number);
    }

    pub fn is_urgent(&self, number: u64) -> bool {
        self.urgent.contains(&number)
    }

    pub fn goes_to_several(&mut self, number: u64, channels: Vec<String>) {
        self.several.insert(number, channels);
    }

    pub fn is_of_several(&self, number: u64) -> bool {
        self.several.contains_key(&number)
    }

    /// Whether any publication went to this channel and to others.
    pub fn has_several(&self, channel: &str) -> bool {
        self.several.values().any(|channels| channels.iter().any(|c| c == channel))
    }

    /// How many that were to go to this channel and to others were refused.
    pub fn refused_of_several(&self, channel: &str) -> u64 {
        let refused = self.several.iter().filter(|(number, _)| self.refused.contains(number));
        refused.filter(|(_, channels)| channels.iter().any(|c| c == channel)).count() as u64
    }

    pub fn is_heard_live(&mut self, number: u64) {
        *self.live.entry(number).or_default() += 1;
    }

    pub fn is_sent(&mut self, number: u64) {
        *self.sent.entry(number).or_default() += 1;
    }

    /// How many have heard it: a publication, or what was sent.
    pub fn reached(&self, number: u64) -> u64 {
        self.live.get(&number).or_else(|| self.sent.get(&number)).copied().unwrap_or_default()
    }

    /// By epoch: the newest place in this channel that somebody was told of.
    pub fn newest(&self, channel: &str) -> BTreeMap<u32, u64> {
        let of_channel = self.newest.range((channel.to_owned(), 0)..=(channel.to_owned(), u32::MAX));
        of_channel.map(|((_, epoch), offset)| (*epoch, *offset)).collect()
    }

    pub fn number(&self, channel: &str, at: Position) -> Option<u64> {
        self.events.get(&(channel.to_owned(), at.epoch))?.get(&at.offset).copied()
    }

    /// Whether a reader who conflates may have missed this: another of its key, which it has heard, is newer.
    pub fn is_outdated(&self, channel: &str, at: Position, number: u64, heard: &BTreeSet<u64>) -> bool {
        let Some(key) = self.keys.get(&number) else { return false };
        let newer = self.events.get(&(channel.to_owned(), at.epoch)).map(|events| events.range(at.offset + 1..));
        newer.into_iter().flatten().any(|(offset, n)| self.keys.get(n) == Some(key) && heard.contains(offset))
    }
}
