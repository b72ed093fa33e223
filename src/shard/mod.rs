//! A thread, its sockets, its share of the channels.
//!
//! In: sockets that `listen` has upgraded, questions of `Port`. Out: bytes on sockets.
//! All of a shard is one thread's: no locks inside. Its sockets are in a poll of its own, so that an idle connection is
//! a `Conn` and nothing else; handshakes and HTTP are tasks of the same thread's runtime.

mod buckets;
mod cast;
mod conn;
mod counts;
mod deadline;
mod deliver;
mod door;
mod encode;
mod foresee;
mod generation;
mod handlers;
mod http_places;
mod life;
mod live;
mod mailbox;
mod memory;
mod overflow;
mod port;
mod queue;
mod read;
#[allow(clippy::module_inception)]
mod shard;
mod shared;
mod socket;
mod thread;
mod wheel;

pub use counts::{Counts, Full, Seat, neighbourhood, party};
pub use door::{Accepted, Closed, Door, NewConnection};
pub use encode::{Encoded, Encoder};
pub use foresee::{EndingConnection, EndingSubscription, Revoked};
pub use http_places::{BodyBytes, HTTP_BYTES, HttpPlace, HttpSeat, NoPlace};
pub use live::LiveConnection;
pub use mailbox::Mailbox;
pub use memory::Meter;
pub use port::{Port, Receipt};
pub use shard::Shard;
pub use shared::Shared;
pub use thread::{Shards, start};
