//! Weir moves events between sockets; files say who may hear and say what.
//!
//! The rooms, in reading order. A room may use those on the lines above its own, never those below;
//! `tests/rooms.rs` holds this against the `use` lines.
//!
//! ```text
//! model                          the nouns: names, Identity, Command, Event, Position, Refusal, Close. No I/O, no clock.
//! observe                        logs and metrics; the only reader of the clocks
//! wire     dialect   auth  store frames ⇄ messages │ messages ⇄ nouns │ tokens → Identity │ what handlers keep
//! webhook                        parcels of the outbox → signed HTTP calls, until they are taken or given up
//! policy                         may this happen? → Permit | Refusal. Pure.
//! hub                            who hears what: channels, presence, history, recovery, fan-out. Never knows a socket.
//! script                         handlers: plugins in Rhai on worker threads, entities, timers; the only home of effects
//! flow                           the corridor, as code; the generation that a command walks it with
//! kernel                         connections, queues, timers, channels: the gateway without I/O, one a shard
//! shard                          drives a kernel: a thread, its sockets, its clock
//! api                            HTTP verbs and routes → what is asked of the shards
//! listen                         accept, TLS, hyper, routing, upgrade
//! config                         the only room that knows TOML and files: file → compile → faults | generation
//! harness                        drives kernels without sockets, the clock in its hand: plays plugins' tests
//! gateway                        builds the rooms, swaps generations, drains
//! cli                            one file a verb
//! ```

pub mod model;
pub mod observe;

pub mod auth;
pub mod dialect;
pub mod store;
pub mod wire;

pub mod webhook;

pub mod policy;

pub mod hub;

pub mod script;

pub mod flow;

pub mod kernel;

pub mod shard;

pub mod api;

pub mod listen;

pub mod config;

pub mod harness;

pub mod gateway;

pub mod cli;

/// What the program has: tests of bounds count bytes.
#[cfg(test)]
#[global_allocator]
static ALLOCATOR: observe::Allocator = observe::Allocator;
