//! Drives kernels and handlers in one thread, without sockets and with a clock of its own: plays `plugins/NAME.test`.
//!
//! The kernel, the handlers' scheduler, the store and the HTTP API are the gateway's own; what is here is their
//! surroundings. A step of a test is over when nothing is left to do. A handler runs as a step of its own; what it reads
//! steps the kernels, and no other handler. Leaves to others: real sockets, compression, the disk, sending webhooks,
//! reading files (`config`), telling people (`cli`).
//!
//! In: what the files came to, or a `Subject` and the text of a test file. Out: an `Outcome` a test.

mod client;
mod clock;
mod compiled;
mod diff;
pub mod expect;
mod host;
mod kernels;
mod look;
mod parts;
mod pipe;
mod play;
mod script;
pub mod simulation;
mod suite;
mod upgrade;
mod web;
mod words;
mod world;

pub use compiled::{Recompile, Subject};
pub use play::{Failure, Outcome, play};
pub use script::{Conversation, Mistake, Transcript};
pub use suite::{Played, Wanted, gate, run_tests, unreadable};

/// When a test begins that does not say: 2026-01-01T00:00:00.000Z.
pub const BEGINNING: crate::model::Millis = 1_767_225_600_000;
