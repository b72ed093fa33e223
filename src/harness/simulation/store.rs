//! A store whose commits wait until the seed says what becomes of them, and that now and then has no answer to a read.

use crate::model::Millis;
use crate::store::{self, Done, Parcel, Store, StoreError, Timer, Write};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Commits that wait; beyond, it says that it is busy, as the real one does.
const QUEUE_MAX: usize = 2;

pub struct Late {
    inner: Arc<dyn Store>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<(Vec<Write>, Done)>,
    /// The disk does not answer before: whatever waits for it waits.
    hangs_until: Millis,
    /// Commits that found the queue full.
    busy: u64,
    /// So many reads have no answer from now on.
    fails: u64,
    /// Reads that had none.
    failed: u64,
}

impl Late {
    pub fn new() -> Late {
        Late { inner: store::at_once(), state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The oldest commit that waits is kept, or fails; `None`: none waits, or the disk hangs.
    pub fn decide(&self, kept: bool, now: Millis) -> Option<bool> {
        let mut state = self.state();
        if now < state.hangs_until {
            return None;
        }
        let (writes, done) = state.waiting.pop_front()?;
        drop(state);
        match kept {
            true => self.inner.commit(writes, done),
            false => done(Err(StoreError::Unavailable("the seed says so".into()))),
        }
        Some(kept)
    }

    /// From now on. Whether anything waits for it.
    pub fn hang(&self, until: Millis) -> bool {
        let mut state = self.state();
        state.hangs_until = until;
        !state.waiting.is_empty()
    }

    pub fn busy(&self) -> u64 {
        self.state().busy
    }

    /// The next so many reads have no answer.
    pub fn fail_reads(&self, reads: u64) {
        self.state().fails = reads;
    }

    pub fn failed_reads(&self) -> u64 {
        self.state().failed
    }

    /// Whether a read may be made.
    fn read(&self) -> Result<(), StoreError> {
        let mut state = self.state();
        let Some(left) = state.fails.checked_sub(1) else { return Ok(()) };
        (state.fails, state.failed) = (left, state.failed + 1);
        Err(if left % 2 == 0 { StoreError::Busy } else { StoreError::Unavailable("the seed says so".into()) })
    }
}

impl Store for Late {
    fn get(&self, app: &str, key: &str, now: Millis) -> Result<Option<String>, StoreError> {
        self.read()?;
        self.inner.get(app, key, now)
    }

    fn keys(&self, app: &str, prefix: &str, limit: usize, now: Millis) -> Result<Vec<String>, StoreError> {
        self.read()?;
        self.inner.keys(app, prefix, limit, now)
    }

    fn entity(&self, app: &str, entity: &str) -> Result<Option<String>, StoreError> {
        self.read()?;
        self.inner.entity(app, entity)
    }

    fn commit(&self, writes: Vec<Write>, done: Done) {
        let mut state = self.state();
        if state.waiting.len() == QUEUE_MAX {
            state.busy += 1;
            drop(state);
            return done(Err(StoreError::Busy));
        }
        state.waiting.push_back((writes, done));
    }

    fn timers(&self) -> Result<Vec<Timer>, StoreError> {
        self.inner.timers()
    }

    fn outbox(&self) -> Result<Vec<Parcel>, StoreError> {
        self.inner.outbox()
    }

    fn sweep(&self, now: Millis) -> Result<usize, StoreError> {
        self.inner.sweep(now)
    }
}
