//! The nouns that every room speaks. No I/O, no clock, no tokio.

mod bucket;
mod buckets;
mod close;
mod command;
mod event;
mod fault;
mod identity;
mod listing;
mod member;
pub mod memory;
mod name;
mod number;
mod origins;
mod overridable;
mod problem;
mod query;
mod refusal;
mod secret;
mod tables;
mod target;
mod time;
mod units;

pub use bucket::Bucket;
pub use buckets::{Buckets, Taken};
pub use close::Close;
pub use command::{Channels, ClientCommand, Command, Content, Draft, Message, Request};
pub use event::{EVENT_DATA_BYTES, Event, EventKind, Position, Priority, Sender};
pub use fault::{Fault, count, sorted, summary};
pub use identity::{ConnectionId, Identity};
pub use listing::{AppStats, ChannelInfo, ConnectionInfo, Traffic};
pub use member::Member;
pub use memory::Memory;
pub use name::{BadName, ChannelName};
pub use number::{EXACT_MAX, capped, is_exact};
pub use origins::{Origins, canonical_host, is_loopback_host, is_loopback_origin};
pub(crate) use overridable::overridable;
pub use problem::{NamedFile, Problem, did_you_mean, one_of};
pub use query::{canonical_path, percent_decode, percent_decode_lossy, percent_encode, query_fault, query_pairs};
pub use refusal::{Code, LimitKind, Refusal};
pub use secret::{Secret, SecretSource};
pub use tables::{RowUnknown, Tables};
pub use target::{Filter, Target};
pub use time::{Millis, Mono, Now};
pub use units::{Ms, MsOrOff, Rate, Size, SizeOrAuto, SizeOrOff};

/// A number of a connection inside its shard: dense, reused after a close.
pub type Slot = u32;

/// An app's number for the life of the process; a reload keeps it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub struct AppId(pub u16);

/// `2024-01-07T10:30:00.000Z`, as JavaScript's `toISOString` writes it.
pub fn iso8601(at: Millis) -> String {
    let t = jiff::Timestamp::from_millisecond(at as i64).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    format!("{t:.3}")
}

#[cfg(test)]
mod tests {
    #[test]
    fn iso8601_is_what_javascript_writes() {
        assert_eq!(super::iso8601(1_704_623_400_000), "2024-01-07T10:30:00.000Z");
        assert_eq!(super::iso8601(1_704_623_400_007), "2024-01-07T10:30:00.007Z");
    }
}
