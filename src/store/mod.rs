//! What handlers keep: values with an expiry, states of entities, timers, and the outbox of webhooks.
//!
//! Leaves to others: what the texts mean (`script`), when a timer fires, who sends a parcel (`webhook`), and the time:
//! it is handed in. Nothing here is published to anybody.
//!
//! In: `Settings`, transactions of `Write`s. Out: texts, timers and parcels as they were committed, and a word when a
//! transaction is durable.

mod memory;
mod queue;
mod settings;
mod sqlite;
#[cfg(test)]
mod tests;
mod write;

pub use settings::{Driver, Settings, Synchronous};
pub use write::{Done, Parcel, StoreError, Timer, Write};

use crate::model::{Memory, Millis, Problem};
use std::path::Path;
use std::sync::Arc;

/// What is kept, of all apps. Reads see what was committed, and may wait for a disk: never call them on a shard.
pub trait Store: Send + Sync {
    /// JSON text, unless it has expired (`expires_at <= now`).
    fn get(&self, app: &str, key: &str, now: Millis) -> Result<Option<String>, StoreError>;

    /// Keys that begin with `prefix`, in the order of their bytes, `limit` at most, expired ones left out.
    fn keys(&self, app: &str, prefix: &str, limit: usize, now: Millis) -> Result<Vec<String>, StoreError>;

    /// State of an entity, JSON text.
    fn entity(&self, app: &str, entity: &str) -> Result<Option<String>, StoreError>;

    /// All or nothing, in the order of the calls. `done` is called once, when it is durable (or failed), on a thread of
    /// the store's; it must not block. A full queue answers `StoreError::Busy`, and a store that has ended
    /// `StoreError::Broken`, at once and on the caller's own thread.
    fn commit(&self, writes: Vec<Write>, done: Done);

    /// Timers that wait, the next one first: what was pending when the process ended.
    fn timers(&self) -> Result<Vec<Timer>, StoreError>;

    /// Parcels that wait, the one that is due first ahead.
    fn outbox(&self) -> Result<Vec<Parcel>, StoreError>;

    /// Forgets expired keys, and entities whose `forget_at` has come and that no timer waits for. Returns how many.
    /// Waits behind commits that came before; for a background thread, now and then.
    fn sweep(&self, now: Millis) -> Result<usize, StoreError>;
}

/// A store in memory whose transactions are kept at once, on their caller's thread: for tests.
pub fn at_once() -> Arc<dyn Store> {
    Arc::new(memory::at_once())
}

/// Opens what `[store]` says. A relative path starts at `base`, the folder of gateway.toml. Blocks; for the start.
/// A problem's path is relative to `[store]`; its text names the file, and its hint says what to do.
/// `memory`: whose accounts count what is kept in memory; `None`: that is not bounded.
pub fn open(settings: &Settings, base: &Path, memory: Option<&Arc<Memory>>) -> Result<Arc<dyn Store>, Problem> {
    settings.check()?;
    Ok(match settings.driver {
        Driver::Memory => Arc::new(memory::open(settings, memory.cloned())?),
        Driver::Sqlite => Arc::new(sqlite::open(settings, base)?),
    })
}
