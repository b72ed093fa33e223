//! A thread, its sockets, its share of the channels.
//!
//! In: sockets that `listen` has upgraded, questions of `Port`. Out: bytes on sockets.

mod port;

pub use port::{AppStats, ChannelInfo, ConnectionInfo, Filter, Target};
