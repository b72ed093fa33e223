//! Plays an app's conversations without sockets: `plugins/NAME.test` against the compiled files.
//!
//! Rules, dialects, hub and handlers are the real ones; a message walks the corridor as it does on a shard. Clock, ids and
//! chance are fixed, and everything happens at once, on one thread: a step is over when nothing is left to do. Leaves to
//! others: sockets and what hangs on them (pings, idleness, slow readers, compression), authentication, worker threads,
//! the disk, sending webhooks, finding files (`config`), telling people (`cli`).
//!
//! In: a `Subject`, the text of a test file. Out: an `Outcome` a test.

mod api;
mod carry;
mod diff;
pub mod expect;
mod handlers;
mod host;
mod keep;
mod life;
mod look;
mod play;
mod script;
mod seats;
mod stage;
mod web;
mod words;
mod world;

pub use play::{Failure, Outcome, play};
pub use script::{Conversation, Mistake, Transcript};
pub use stage::{Recompile, Subject};

/// When a test begins that does not say: 2026-01-01T00:00:00.000Z.
pub const BEGINNING: crate::model::Millis = 1_767_225_600_000;
