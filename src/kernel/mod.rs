//! Connections, out-queues, timers, channels, re-authorization and the walk through the corridor: the gateway without
//! I/O. One kernel a shard; what crosses from one to another is an `Input`.
//!
//! In: `Input`s, bytes of clients, the time. Out: bytes, `Input`s to other kernels, calls of handlers.
//! Nothing here reads a clock, makes chance, starts a thread or a task, or waits; its driver does (`Io`). So a kernel
//! does the same for the same inputs, whether sockets are behind it or a test.

mod buckets;
mod closing;
mod command;
mod conn;
mod connections;
mod counts;
mod deadline;
mod deliver;
mod drain;
mod effects;
mod encode;
mod foresee;
mod generation;
mod greeting;
mod handlers;
mod inbound;
mod inbox;
mod input;
mod io;
#[allow(clippy::module_inception)]
mod kernel;
mod later;
mod live;
mod look;
mod memory;
mod newcomer;
mod outbound;
mod overflow;
mod port;
mod queue;
mod read;
mod reauthorizer;
mod shared;
mod timers;
mod walk;
mod wheel;

pub use command::Caller;
pub use counts::{Counts, Full, Seat, neighbourhood, party};
pub use encode::{Encoded, Encoder};
pub use foresee::{EndingConnection, EndingSubscription, Revoked};
pub use inbox::Inbox;
pub use input::{Client, Input};
pub use io::{Io, Later, Transport};
pub use kernel::Kernel;
pub use live::LiveConnection;
pub use memory::Meter;
pub use newcomer::Newcomer;
pub use port::{Port, Receipt};
pub use shared::Shared;
