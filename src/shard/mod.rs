//! Drives a kernel: a thread, its sockets, its poll, its clock.
//!
//! In: sockets that `listen` has upgraded, inputs by a `Mailbox`. Out: bytes on sockets.
//! The sockets are in a poll of the shard's own, so that an idle connection costs no task; handshakes and HTTP are tasks
//! of the same thread's runtime.

mod door;
mod mailbox;
#[allow(clippy::module_inception)]
mod shard;
mod socket;
mod thread;

pub use door::{Accepted, Closed, Door, NewConnection};
pub use thread::{Mailboxes, Shards, start};
