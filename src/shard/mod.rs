//! A thread, its sockets, its share of the channels.
//!
//! In: sockets that `listen` has upgraded, questions of `Port`. Out: bytes on sockets.

mod counts;
mod door;
mod port;

pub use counts::{Counts, Full, HttpSeat, Seat, party};
pub use door::{Accepted, Closed, Door, NewConnection};
pub use port::{AppStats, ChannelInfo, ConnectionInfo, Filter, Target};
