//! What a channel published in one tick, shared by all who hear it.

use super::Tallies;
use crate::model::{AppId, ChannelName, ConnectionId, Event, Priority};
use smallvec::SmallVec;
use std::sync::Arc;

/// Events of one channel, oldest first.
#[derive(Debug)]
pub struct Batch {
    pub app: AppId,
    pub channel: ChannelName,
    pub epoch: u32,
    pub events: SmallVec<[Event; 1]>,
    /// Somebody must not hear something.
    pub exclusive: bool,
}

/// A batch and the channel's number in this shard.
#[derive(Debug)]
pub struct Part {
    pub channel: u32,
    pub batch: Arc<Batch>,
    pub tallies: Tallies,
}

impl Batch {
    pub fn new(app: AppId, channel: ChannelName, epoch: u32, events: SmallVec<[Event; 1]>, tallies: &Tallies) -> Batch {
        let exclusive = events.iter().any(|e| e.exclude.is_some()) || tallies.iter().any(|(_, t)| t.is_once());
        Batch { app, channel, epoch, events, exclusive }
    }

    /// That of all its events; `None` where they differ.
    pub fn priority(&self) -> Option<Priority> {
        let (first, others) = self.events.split_first()?;
        others.iter().all(|e| e.priority == first.priority).then_some(first.priority)
    }

    /// The events that this connection hears. Asked once a connection: what several homes pass round counts as heard.
    pub fn heard_by(&self, connection: ConnectionId, tallies: &Tallies) -> SmallVec<[u32; 8]> {
        let first = |at: &u32| {
            let mut own = tallies.iter().filter(|(event, _)| event == at);
            own.all(|(_, tally)| tally.first(connection))
        };
        let not_excluded = |at: &u32| self.events[*at as usize].exclude != Some(connection);
        (0..self.events.len() as u32).filter(not_excluded).filter(first).collect()
    }
}
