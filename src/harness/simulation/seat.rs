//! One subscription as its client knows it: where it began, what was heard, what was told to be missing.

use super::truth::Truth;
use crate::model::Position;
use std::collections::BTreeSet;

pub struct Seat {
    /// The event before the first that it hears; `None`: nobody told it.
    pub start: Option<Position>,
    /// Where the channel was when it was seated: what it hears up to there is recovered.
    pub joined: Option<Position>,
    /// The newest that it heard, or where it began.
    pub at: Option<Position>,
    pub heard: BTreeSet<u64>,
    /// As gap notices say.
    pub missed: u64,
    /// The client asked for it: so its rule allows it.
    pub is_asked: bool,
}

impl Seat {
    pub fn asked(start: Position, joined: Position) -> Seat {
        Seat { joined: Some(joined), is_asked: true, ..Seat::unasked(Some(start)) }
    }

    /// Its endpoint's, or the API's wish.
    pub fn unasked(start: Option<Position>) -> Seat {
        Seat { start, joined: start, at: start, heard: BTreeSet::new(), missed: 0, is_asked: false }
    }

    /// Returns whether it is live, and not recovered.
    pub fn hears(&mut self, channel: &str, at: Position) -> Result<bool, String> {
        if let Some(before) = self.at {
            // Of each key the newest comes in the place of the first: so others may be overtaken.
            let back = match is_conflated(channel) {
                true => self.start.is_some_and(|start| at.offset <= start.offset),
                false => before.offset >= at.offset,
            };
            if before.epoch != at.epoch || back || self.heard.contains(&at.offset) {
                return Err(format!("`{channel}`: {at} was heard behind {before}"));
            }
        }
        // Where its endpoint put it, nobody told: it begins with what it hears first.
        self.start.get_or_insert(Position { offset: at.offset - 1, ..at });
        self.at = Some(self.at.filter(|before| before.offset > at.offset).unwrap_or(at));
        self.heard.insert(at.offset);
        Ok(self.joined.is_none_or(|joined| at.offset > joined.offset))
    }

    /// It is at rest, and its channel at `newest`: it has heard all, or may have missed the rest.
    pub fn is_whole(&self, channel: &str, newest: Position, truth: &Truth) -> Result<(), String> {
        let Some(start) = self.start else { return Ok(()) };
        if start.epoch != newest.epoch || newest.offset < start.offset {
            return Err(format!("`{channel}` is at {newest}, and a reader began at {start}"));
        }
        let (mut missed, mut elsewhere) = (0, 0);
        for offset in (start.offset + 1..=newest.offset).filter(|offset| !self.heard.contains(offset)) {
            missed += 1;
            let at = Position { offset, ..newest };
            match truth.number(channel, at) {
                // It went to several channels, and was heard, or told to be missing, in another of them.
                Some(number) if truth.is_of_several(number) => elsewhere += 1,
                Some(number) if channel.starts_with("low:") && truth.is_urgent(number) => {
                    return Err(format!("`{channel}`: {number} at {at} is urgent, and was not heard"));
                }
                Some(number) if is_conflated(channel) && !truth.is_outdated(channel, at, number, &self.heard) => {
                    return Err(format!("`{channel}`: {at} was not heard, nor a newer one of its key"));
                }
                None if is_conflated(channel) => return Err(format!("`{channel}`: nobody knows {at}")),
                None if truth.has_several(channel) => elsewhere += 1,
                _ => {}
            }
        }
        let told = missed.min(self.missed) + elsewhere >= missed && self.missed <= missed;
        match is_conflated(channel) || told {
            true => Ok(()),
            false => Err(format!(
                "`{channel}` is at {newest}; a reader began at {start}, is at {}, and missed {missed}, of which it was told {}",
                self.at.unwrap_or(start),
                self.missed,
            )),
        }
    }
}

/// Of each key the newest is enough.
fn is_conflated(channel: &str) -> bool {
    channel.starts_with("newest:")
}
