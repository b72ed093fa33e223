//! Handlers at work: threads that run calls, one call of an entity at a time, and what outlives a call.
//!
//! A call is taken or given back at once; nobody who submits ever waits. Effects are carried out after what the call
//! keeps is committed, all or none. Leaves to others: what a handler says (`engine`), where things are kept (`store`),
//! who sends webhooks (`Outbox`).
//!
//! In: `Call`s, `App`s. Out: `Finished`, effects to `Carry`, writes to the store.

mod key;
mod run;

pub use key::EntityKey;

use super::{App, Call, Carry, Host, Outbox, Process};
use crate::model::{AppId, Refusal};
use crate::observe::Metrics;
use crate::store::{Store, StoreError};
use std::io;
use std::sync::Arc;
use std::time::Duration;

/// The workers of the process: threads, entities, timers. They outlive reloads.
pub struct Workers {}

/// A call that was not taken: its `then` will not be called, the caller answers.
pub struct NotTaken {
    pub call: Call,
    /// `overloaded` or `limit`.
    pub refusal: Refusal,
}

/// How much there is of what, now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    pub threads: usize,
    /// Calls that were taken and have not begun.
    pub waiting: usize,
    /// Calls that were taken and have not ended, those that wait included.
    pub pending: usize,
    pub entities: usize,
    pub timers: usize,
}

impl Workers {
    /// Starts the threads. No timer is armed before `set_apps`. Without a store nothing durable can be kept: `config`
    /// refuses apps that want it. Err: a thread that did not start.
    pub fn start(
        _process: &Process,
        _host: Arc<dyn Host>,
        _carry: Arc<dyn Carry>,
        _store: Option<Arc<dyn Store>>,
        _outbox: Option<Arc<dyn Outbox>>,
        _metrics: Arc<Metrics>,
    ) -> io::Result<Arc<Workers>> {
        Ok(Arc::new(Workers {}))
    }

    /// Takes a call; never waits.
    pub fn submit(&self, call: Call) -> Result<(), Box<NotTaken>> {
        Err(Box::new(NotTaken { call, refusal: Refusal::new(crate::model::Code::Overloaded) }))
    }

    /// The apps in force from now on: timers call the newest plugin, `[[timer]]`s are armed or go, breakers close.
    /// Entities and timers of apps that are gone leave memory; what is in the store stays there. Reads the timers of
    /// newcomers from the store: may wait for a disk, so never on a shard. Err: those could not be read; all else is done,
    /// and the next `set_apps` tries again.
    pub fn set_apps(&self, _apps: Vec<Arc<App>>) -> Result<(), StoreError> {
        Ok(())
    }

    /// Ends an entity after the calls that it was given before: its state and timers are gone, in the store too.
    pub fn forget(&self, _app: AppId, _entity: &str) {}

    pub fn stats(&self) -> Stats {
        Stats::default()
    }

    /// Memory of states, waiting calls and timers, for `limits.memory`.
    pub fn bytes(&self) -> usize {
        0
    }

    /// Takes no more calls and fires no more timers; runs what was taken for up to `wait`. What has not begun by then is
    /// answered `overloaded`; what has is ended, its commits too. Blocks.
    pub fn stop(&self, _wait: Duration) {}
}
