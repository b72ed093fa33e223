//! What a channel published in one tick, shared by all who hear it.

use super::Tally;
use crate::model::{AppId, ChannelName, ConnectionId, Event};
use smallvec::SmallVec;
use std::sync::Arc;

/// Events of one channel, oldest first.
#[derive(Debug)]
pub struct Batch {
    pub app: AppId,
    pub channel: ChannelName,
    pub epoch: u32,
    pub events: SmallVec<[Event; 1]>,
    /// Of which event, whose count.
    pub tallies: Vec<(u32, Arc<Tally>)>,
    /// Somebody must not hear something.
    pub exclusive: bool,
}

/// A batch and the channel's number in this shard.
#[derive(Debug)]
pub struct Part {
    pub channel: u32,
    pub batch: Arc<Batch>,
}

impl Batch {
    pub fn new(
        app: AppId,
        channel: ChannelName,
        epoch: u32,
        events: SmallVec<[Event; 1]>,
        tallies: Vec<(u32, Arc<Tally>)>,
    ) -> Batch {
        let exclusive = events.iter().any(|e| e.exclude.is_some());
        Batch { app, channel, epoch, events, tallies, exclusive }
    }

    /// Whether this connection hears all of it.
    pub fn whole_for(&self, connection: ConnectionId) -> bool {
        !self.exclusive || !self.events.iter().any(|e| e.exclude == Some(connection))
    }
}
