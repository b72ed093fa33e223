//! Who holds bytes, and the bytes of one thing that several may hold.

use super::Kind;
use super::budget::{Holding, Pool};
use bytes::Bytes;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Who holds bytes.
pub struct Account {
    part: Mutex<Part>,
    /// `None`: it may take nothing beyond what is kept back for it.
    pool: Option<Arc<Pool>>,
    pub(super) kinds: [AtomicUsize; Kind::ALL.len()],
    /// How often something was refused or given up because of its bound.
    refused: AtomicU64,
    /// Whether it had too much when it was settled last: a hint without the lock.
    over: AtomicBool,
}

#[derive(Default)]
pub(super) struct Part {
    used: usize,
    /// Kept back for it, whatever others use.
    pub own: usize,
    /// Of `used`: what is of the pool.
    pooled: usize,
}

/// Bytes of one thing; given back when it drops.
#[must_use]
pub struct Taken {
    account: Arc<Account>,
    kind: Kind,
    bytes: usize,
}

impl Account {
    pub(super) fn new(pool: Option<Arc<Pool>>) -> Arc<Account> {
        let (part, refused, over) = (Mutex::default(), AtomicU64::new(0), AtomicBool::new(false));
        Arc::new(Account { part, pool, kinds: Default::default(), refused, over })
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Part> {
        self.part.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn keep(&self, own: usize) {
        let mut part = self.lock();
        part.own = own;
        self.settle(&mut part);
    }

    /// Moves what is beyond its own part to or from the pool. Returns whether all of it fits.
    fn settle(&self, part: &mut Part) -> bool {
        let fits = self.move_pooled(part);
        self.over.store(!fits, Relaxed);
        fits
    }

    fn move_pooled(&self, part: &mut Part) -> bool {
        let beyond = part.used.saturating_sub(part.own);
        let Some(pool) = &self.pool else { return beyond == 0 };
        if beyond > part.pooled {
            pool.used.fetch_add(beyond - part.pooled, Relaxed);
        } else if beyond < part.pooled {
            pool.used.fetch_sub(part.pooled - beyond, Relaxed);
        }
        part.pooled = beyond;
        beyond == 0 || pool.used.load(Relaxed) <= pool.max.load(Relaxed)
    }

    /// How much more would fit.
    fn room(&self, part: &Part) -> usize {
        let own = part.own.saturating_sub(part.used);
        let pool = self.pool.as_ref().map_or(0, |p| p.max.load(Relaxed).saturating_sub(p.used.load(Relaxed)));
        own.saturating_add(pool)
    }

    /// Counts bytes that are here already, whether they fit or not; `false`: they do not, and something has to go.
    pub fn take(self: &Arc<Account>, kind: Kind, bytes: usize) -> (Taken, bool) {
        let fits = self.add(bytes);
        self.kinds[kind as usize].fetch_add(bytes, Relaxed);
        (Taken { account: self.clone(), kind, bytes }, fits)
    }

    /// Bytes that are to come, if they fit.
    pub fn reserve(self: &Arc<Account>, kind: Kind, bytes: usize) -> Option<Taken> {
        let fits = self.add_if(kind, bytes, |used, room| bytes <= room && used.checked_add(bytes).is_some());
        fits.then(|| Taken { account: self.clone(), kind, bytes })
    }

    /// The same for what stays for long and is not given up to make room, such as handlers' states: a quarter is left
    /// to queues and messages, which come and go.
    pub fn reserve_lasting(self: &Arc<Account>, kind: Kind, bytes: usize) -> Option<Taken> {
        let fits = self.add_if(kind, bytes, |used, room| leaves_a_quarter(used, room, bytes));
        fits.then(|| Taken { account: self.clone(), kind, bytes })
    }

    fn add_if(&self, kind: Kind, bytes: usize, fits: impl FnOnce(usize, usize) -> bool) -> bool {
        let mut part = self.lock();
        if !fits(part.used, self.room(&part)) {
            drop(part);
            self.refuse();
            return false;
        }
        part.used += bytes;
        self.settle(&mut part);
        drop(part);
        self.kinds[kind as usize].fetch_add(bytes, Relaxed);
        true
    }

    /// Data that several will hold: its bytes, and so many beside them, are counted until the last lets go. `false`: they
    /// do not fit.
    pub fn hold(self: &Arc<Account>, data: Bytes, beside: usize) -> (Bytes, bool) {
        let (taken, fits) = self.take(Kind::Events, data.len() + beside);
        (Bytes::from_owner(Held { data, _taken: taken }), fits)
    }

    /// Something was refused or given up.
    pub fn refuse(&self) {
        self.refused.fetch_add(1, Relaxed);
    }

    /// Whether so many bytes more would fit and leave a quarter: asked before what may grow is let in.
    pub fn has_room(&self, bytes: usize) -> bool {
        let part = self.lock();
        leaves_a_quarter(part.used, self.room(&part), bytes)
    }

    /// Whether it had too much when something was last taken or given back.
    pub fn was_over(&self) -> bool {
        self.over.load(Relaxed)
    }

    /// How many of its bytes have to go.
    pub fn over(&self) -> usize {
        let part = self.lock();
        match &self.pool {
            Some(pool) => part.pooled.min(pool.used.load(Relaxed).saturating_sub(pool.max.load(Relaxed))),
            None => part.used.saturating_sub(part.own),
        }
    }

    /// All that it holds and all that would still fit.
    pub fn bound(&self) -> usize {
        let part = self.lock();
        part.used.saturating_add(self.room(&part))
    }

    pub fn used(&self) -> usize {
        self.lock().used
    }

    pub(super) fn add(&self, bytes: usize) -> bool {
        let mut part = self.lock();
        part.used += bytes;
        self.settle(&mut part)
    }

    pub(super) fn sub(&self, bytes: usize) -> bool {
        let mut part = self.lock();
        part.used = part.used.saturating_sub(bytes);
        self.settle(&mut part)
    }

    pub(super) fn holding(&self, app: Option<Arc<str>>) -> Holding {
        let kinds = std::array::from_fn(|kind| self.kinds[kind].load(Relaxed));
        Holding { app, kinds, refused: self.refused.load(Relaxed) }
    }
}

fn leaves_a_quarter(used: usize, room: usize, bytes: usize) -> bool {
    used.saturating_add(bytes) <= used.saturating_add(room) / 4 * 3
}

impl Taken {
    pub fn account(&self) -> &Arc<Account> {
        &self.account
    }

    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// It is to grow, or has shrunk; `false`: it does not fit, and is as it was.
    pub fn resize(&mut self, bytes: usize) -> bool {
        let more = bytes.saturating_sub(self.bytes);
        if more > 0 && !self.account.add_if(self.kind, more, |_, room| more <= room) {
            return false;
        }
        self.bytes += more;
        self.shrink(self.bytes - bytes);
        true
    }

    /// As `resize`, of what stays for long.
    pub fn resize_lasting(&mut self, bytes: usize) -> bool {
        let more = bytes.saturating_sub(self.bytes);
        if more > 0 && !self.account.add_if(self.kind, more, |used, room| leaves_a_quarter(used, room, more)) {
            return false;
        }
        self.bytes += more;
        self.shrink(self.bytes - bytes);
        true
    }

    /// It is so large now, whether that fits or not.
    pub fn set(&mut self, bytes: usize) {
        let more = bytes.saturating_sub(self.bytes);
        if more > 0 {
            self.account.add(more);
            self.account.kinds[self.kind as usize].fetch_add(more, Relaxed);
        }
        self.bytes += more;
        self.shrink(self.bytes - bytes);
    }

    /// Data that this counts; `with` goes with it.
    pub fn held_with<T: Send + 'static>(self, data: Bytes, with: T) -> Bytes {
        Bytes::from_owner(Held { data, _taken: (self, with) })
    }

    fn shrink(&mut self, by: usize) {
        if by == 0 {
            return;
        }
        self.account.sub(by);
        self.account.kinds[self.kind as usize].fetch_sub(by, Relaxed);
        self.bytes -= by;
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.shrink(self.bytes);
    }
}

impl std::fmt::Debug for Taken {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        write!(f, "Taken({:?}, {})", self.kind, self.bytes)
    }
}

/// Data, and who counts it.
struct Held<T> {
    data: Bytes,
    _taken: T,
}

impl<T> AsRef<[u8]> for Held<T> {
    fn as_ref(&self) -> &[u8] {
        &self.data
    }
}
