//! Handlers at work: threads that run calls, one call of an entity at a time, and what outlives a call.
//!
//! A call is taken or given back at once; nobody who submits ever waits. Effects are carried out after what the call
//! keeps is committed, all or none. Leaves to others: what a handler says (`plugin`), where things are kept (`store`),
//! who sends webhooks (`Outbox`).
//!
//! In: `Call`s, `App`s. Out: `Finished`, effects to `Carry`, writes to the store.

mod breaker;
mod clock;
mod core;
mod entity;
mod handlers;
mod job;
mod keep;
mod key;
mod perform;
mod pool;
mod table;
#[cfg(test)]
mod tests;
mod timers;
mod turn;

pub use key::EntityKey;

use self::core::Core;
use self::handlers::Handlers;
use self::job::Load;
use self::pool::Pool;
use self::table::Table;
use self::timers::Timers;
use super::{App, Call, Carry, Host, Outbox, Process, STACK_BYTES};
use crate::model::{AppId, Mono, Ms, Refusal};
use crate::observe::Metrics;
use crate::store::{Store, StoreError};
use std::collections::BTreeSet;
use std::io;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

/// After this a timer comes again whose call could not be taken, or not be kept.
const RETRY_MS: u64 = 1_000;
/// A call that is a step of a test ends by its operations. This is for those that hang.
const STEP_DEADLINE: Ms = Ms(30_000);
/// Threads that are made at least where `workers` is 0: a few slow handlers must not hold up all others.
const THREADS_MIN: usize = 4;
/// How long `stop` waits for calls that run and commits on their way, after what has not begun was given up.
const LAST_WAIT: Duration = Duration::from_secs(2);

/// What workers are given.
type Means = (Arc<dyn Host>, Arc<dyn Carry>, Option<Arc<dyn Store>>, Option<Arc<dyn Outbox>>);

/// The workers of the process: threads, entities, timers. They outlive reloads.
pub struct Workers {
    core: Arc<Core>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    /// One reload at a time; the apps whose timers were read from the store.
    loaded: Mutex<BTreeSet<AppId>>,
}

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
        process: &Process,
        host: Arc<dyn Host>,
        carry: Arc<dyn Carry>,
        store: Option<Arc<dyn Store>>,
        outbox: Option<Arc<dyn Outbox>>,
        metrics: Arc<Metrics>,
    ) -> io::Result<Arc<Workers>> {
        let cores = || std::thread::available_parallelism().map_or(1, usize::from);
        let threads = match process.workers {
            0 => (2 * cores()).max(THREADS_MIN),
            n => n.into(),
        };
        let workers = Workers::new(process, threads, (host, carry, store, outbox), None, metrics);
        // Made before the threads: should one not start, dropping this ends those that did.
        let core = workers.core.clone();
        for me in 0..threads {
            let core = core.clone();
            workers.spawn(format!("weir-work-{me}"), STACK_BYTES, move || {
                core.pool.enter(me);
                core.metrics.tasks.supervise_thread("handlers", || {
                    while let Some(ready) = core.pool.next(me) {
                        core.work(ready);
                    }
                });
            })?;
        }
        workers.spawn("weir-timers".into(), 2 << 20, move || {
            core.metrics.tasks.supervise_thread("timers", || core.run_clock());
        })?;
        Ok(workers)
    }

    /// Without threads and without a clock: who has them calls `step`, `fire_due` and `sweep`. For tests.
    pub fn stepwise(
        process: &Process,
        host: Arc<dyn Host>,
        carry: Arc<dyn Carry>,
        store: Option<Arc<dyn Store>>,
        outbox: Option<Arc<dyn Outbox>>,
        metrics: Arc<Metrics>,
    ) -> Arc<Workers> {
        Workers::new(process, 0, (host, carry, store, outbox), Some(STEP_DEADLINE), metrics)
    }

    fn new(
        process: &Process,
        threads: usize,
        (host, carry, store, outbox): Means,
        deadline: Option<Ms>,
        metrics: Arc<Metrics>,
    ) -> Arc<Workers> {
        let core = Arc::new(Core {
            host,
            carry,
            store,
            outbox,
            load: Load::new(process, metrics.clone()),
            pool: Pool::new(threads),
            table: Table::new(metrics.clone()),
            timers: Timers::default(),
            handlers: Handlers::default(),
            deadline,
            apps: RwLock::default(),
            metrics,
        });
        Arc::new(Workers { core, threads: Mutex::default(), loaded: Mutex::default() })
    }

    /// Does one thing that is ready. Returns whether there was one.
    pub fn step(&self) -> bool {
        self.core.pool.try_next().map(|ready| self.core.work(ready)).is_some()
    }

    /// Has the handlers of timers called that are due; how many.
    pub fn fire_due(&self) -> usize {
        self.core.fire_due()
    }

    /// When the next timer is due.
    pub fn next_due(&self) -> Option<Mono> {
        self.core.timers.next_due()
    }

    /// Has what is over forgotten.
    pub fn sweep(&self) {
        self.core.sweep(self.core.host.now().mono);
    }

    /// An entity's state, JSON text, as its next call would find it. Reads the store: may wait for a disk.
    pub fn state(&self, app: &App, entity: &str) -> Result<Option<String>, String> {
        match (self.core.table.state(app.id, entity), &self.core.store) {
            (Some(state), _) => state.map(Some),
            (None, Some(store)) => store.entity(&app.name, entity).map_err(|error| error.to_string()),
            (None, None) => Ok(None),
        }
    }

    /// Takes a call; never waits.
    pub fn submit(&self, call: Call) -> Result<(), Box<NotTaken>> {
        self.core.submit(call, None).map_err(|(call, refusal)| Box::new(NotTaken { call, refusal }))
    }

    /// The apps in force from now on: timers call the newest plugin, `[[timer]]`s are armed or go, breakers close.
    /// Entities and timers of apps that are gone leave memory; what is in the store stays there. Reads the timers of
    /// newcomers from the store: may wait for a disk, so never on a shard. Err: those could not be read; all else is done,
    /// and the next `set_apps` tries again.
    pub fn set_apps(&self, apps: Vec<Arc<App>>) -> Result<(), StoreError> {
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        let core = &self.core;
        let mut numbered: Vec<Option<Arc<App>>> = Vec::new();
        for app in &apps {
            let at = app.id.0 as usize;
            numbered.resize(numbered.len().max(at + 1), None);
            numbered[at] = Some(app.clone());
        }
        core.load.apps.store(apps.len(), Relaxed);
        core.handlers.reload(&numbered);
        core.table.reload(&numbered);
        let before = {
            let mut in_force = core.apps.write().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *in_force, numbered)
        };
        let gone = before.iter().flatten().filter(|old| apps.iter().all(|app| app.id != old.id));
        for app in gone {
            core.table.drop_app(app.id);
            core.timers.drop_app(app.id);
            loaded.remove(&app.id);
        }
        let now = core.host.now();
        for app in &apps {
            core.timers.count_in(app.id, core.metrics.timers(&app.name), core.metrics.memory.app(app.id));
            core.set_file_timers(app, now);
        }
        let new: Vec<&Arc<App>> = apps.iter().filter(|app| !loaded.contains(&app.id)).collect();
        core.load_timers(&new)?;
        loaded.extend(new.iter().map(|app| app.id));
        Ok(())
    }

    /// Ends an entity after the calls that it was given before: its state and the timers that its handlers set are gone,
    /// in the store too.
    pub fn forget(&self, app: AppId, entity: &str) {
        self.core.forget(app, entity);
    }

    pub fn stats(&self) -> Stats {
        Stats {
            threads: self.core.pool.threads(),
            waiting: self.core.load.waiting(),
            pending: self.core.load.pending(),
            entities: self.core.table.entities(),
            timers: self.core.timers.len(),
        }
    }

    /// Takes no more calls and fires no more timers; runs what was taken for up to `wait`. What has not begun by then is
    /// answered `overloaded`; what has is ended, its commits too. Blocks; never on one of the workers.
    pub fn stop(&self, wait: Duration) {
        let load = &self.core.load;
        load.stop();
        self.core.timers.look_again();
        let mut all_ended = load.wait(wait);
        if !all_ended {
            tracing::warn!(waiting = load.waiting(), "calls that have not begun are given up");
            load.cancel();
            all_ended = load.wait(LAST_WAIT);
        }
        self.core.pool.close();
        let threads = std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        if !all_ended {
            // A thread that hangs in a read would hold up the end of the process.
            return tracing::warn!(pending = load.pending(), "calls that run did not end in time");
        }
        let me = std::thread::current().id();
        for thread in threads.into_iter().filter(|thread| thread.thread().id() != me) {
            if thread.join().is_err() {
                tracing::error!("a worker ended by a panic");
            }
        }
    }

    /// Has the clock looked at now: tests set it.
    #[cfg(test)]
    fn look_at_the_clock(&self) {
        self.core.timers.look_again();
    }

    fn spawn(&self, name: String, stack: usize, work: impl FnOnce() + Send + 'static) -> io::Result<()> {
        let thread = Builder::new().name(name).stack_size(stack).spawn(work)?;
        self.threads.lock().unwrap_or_else(PoisonError::into_inner).push(thread);
        Ok(())
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.stop(Duration::ZERO);
    }
}
