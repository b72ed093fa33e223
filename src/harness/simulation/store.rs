//! A store whose commits wait until the seed says what becomes of them.

use crate::model::Millis;
use crate::store::{self, Done, Parcel, Store, StoreError, Timer, Write};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub struct Late {
    inner: Arc<dyn Store>,
    waiting: Mutex<VecDeque<(Vec<Write>, Done)>>,
}

impl Late {
    pub fn new() -> Late {
        Late { inner: store::at_once(), waiting: Mutex::default() }
    }

    fn waiting(&self) -> MutexGuard<'_, VecDeque<(Vec<Write>, Done)>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The oldest commit that waits is kept, or fails; `None`: none waits.
    pub fn decide(&self, kept: bool) -> Option<bool> {
        let (writes, done) = self.waiting().pop_front()?;
        match kept {
            true => self.inner.commit(writes, done),
            false => done(Err(StoreError::Busy)),
        }
        Some(kept)
    }
}

impl Store for Late {
    fn get(&self, app: &str, key: &str, now: Millis) -> Result<Option<String>, StoreError> {
        self.inner.get(app, key, now)
    }

    fn keys(&self, app: &str, prefix: &str, limit: usize, now: Millis) -> Result<Vec<String>, StoreError> {
        self.inner.keys(app, prefix, limit, now)
    }

    fn entity(&self, app: &str, entity: &str) -> Result<Option<String>, StoreError> {
        self.inner.entity(app, entity)
    }

    fn commit(&self, writes: Vec<Write>, done: Done) {
        self.waiting().push_back((writes, done));
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
