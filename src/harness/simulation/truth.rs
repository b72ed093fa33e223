//! What all clients together have heard: one order per channel, each place of it with one content.

use crate::model::Position;
use std::collections::BTreeMap;

#[derive(Default)]
pub struct Truth {
    /// By channel, epoch and offset.
    events: BTreeMap<(String, u32, u64), u64>,
    /// By number of a publication: where it is.
    places: BTreeMap<u64, (String, u32, u64)>,
}

impl Truth {
    /// Publication `number` is at this place, as somebody was told.
    pub fn is_at(&mut self, channel: &str, at: Position, number: u64) -> Result<(), String> {
        let place = (channel.to_owned(), at.epoch, at.offset);
        let known = *self.events.entry(place.clone()).or_insert(number);
        if known != number {
            return Err(format!("`{channel}` has {number} and {known} at {at}"));
        }
        let first = self.places.entry(number).or_insert_with(|| place.clone());
        match *first == place {
            true => Ok(()),
            false => Err(format!("{number} is at {first:?} and at {place:?}")),
        }
    }
}
