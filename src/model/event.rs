//! What subscribers hear.

use super::{ConnectionId, Identity, Now};
use bytes::Bytes;
use std::fmt;
use std::sync::Arc;

/// A place in a channel's history. Written `e1f:42`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Hash)]
pub struct Position {
    /// Changes whenever offsets start again: a restart, an eviction.
    pub epoch: u32,
    /// Of the newest event included; 0 before the first.
    pub offset: u64,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{:x}:{}", self.epoch, self.offset)
    }
}

impl std::str::FromStr for Position {
    type Err = ();
    fn from_str(text: &str) -> Result<Position, ()> {
        let (epoch, offset) = text.split_once(':').ok_or(())?;
        Ok(Position { epoch: u32::from_str_radix(epoch, 16).map_err(drop)?, offset: offset.parse().map_err(drop)? })
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum EventKind {
    /// Something published.
    Message,
    /// Somebody joined a channel with presence.
    Joined,
    /// Somebody left it.
    Left,
}

/// How dear an event is where a reader is too slow for all of them. Orders nothing else.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub enum Priority {
    Low,
    #[default]
    Medium,
    High,
    /// Never dropped.
    Urgent,
}

impl Priority {
    pub const ALL: [Priority; 4] = [Priority::Low, Priority::Medium, Priority::High, Priority::Urgent];

    pub const fn as_str(self) -> &'static str {
        match self {
            Priority::Low => "low",
            Priority::Medium => "medium",
            Priority::High => "high",
            Priority::Urgent => "urgent",
        }
    }

    pub fn parse(text: &str) -> Option<Priority> {
        Priority::ALL.into_iter().find(|p| p.as_str() == text)
    }
}

/// Bytes of an event for which it counts once more.
const ITEM_BYTES: usize = 4 << 10;

/// One thing that happened on a channel; shared by all who hear it.
#[derive(Clone, Debug)]
pub struct Event {
    pub kind: EventKind,
    /// JSON text, as published.
    pub data: Bytes,
    /// The event's name, where the publisher gave one.
    pub event: Option<Arc<str>>,
    /// What it is the newest state of: `conflate` keeps one a key.
    pub key: Option<Arc<str>>,
    /// Who published; `None`: the gateway, its API or a plugin.
    pub sender: Option<Sender>,
    /// A connection that does not hear it.
    pub exclude: Option<ConnectionId>,
    pub priority: Priority,
    /// In its channel; 0 where the class keeps none.
    pub offset: u64,
    /// Shown by the wall clock; its age goes by the monotonic one.
    pub at: Now,
}

impl Event {
    /// How often it counts for `limits.items`.
    pub fn items(&self) -> u32 {
        1 + (self.data.len() / ITEM_BYTES) as u32
    }

    /// What whoever keeps it keeps alive beside it: its data, name and key; never 0.
    pub fn held_bytes(&self) -> usize {
        let text = |text: &Option<Arc<str>>| text.as_ref().map_or(0, |text| text.len() + 32);
        EVENT_DATA_BYTES + self.data.len() + text(&self.event) + text(&self.key)
    }
}

/// What shared data costs beside its bytes: who counts it, and what the allocator rounds up.
pub const EVENT_DATA_BYTES: usize = 112;

/// Who published an event.
#[derive(Clone, Debug)]
pub struct Sender {
    pub connection: ConnectionId,
    pub identity: Arc<Identity>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_is_read_back() {
        let p = Position { epoch: 0xe1f, offset: 42 };
        assert_eq!(p.to_string(), "e1f:42");
        assert_eq!("e1f:42".parse(), Ok(p));
        for bad in ["", "1", ":", "x:1", "1:x", "1:-1", "123456789:1"] {
            assert!(bad.parse::<Position>().is_err(), "{bad}");
        }
    }
}
