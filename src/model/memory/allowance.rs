//! The bytes of the many small things of one thread.

use super::{Account, Kind};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

/// What an allowance asks an account for at once: a thread's next bytes cost no lock.
pub(super) const CHUNK: usize = 64 << 10;
/// What it keeps although it is not used.
pub(super) const SPARE: usize = 2 * CHUNK;

/// The bytes of one thread's small things, in plain integers: taken from the account in chunks.
pub struct Allowance {
    account: Arc<Account>,
    kinds: [usize; Kind::ALL.len()],
    told: [usize; Kind::ALL.len()],
    used: usize,
    granted: usize,
    over: bool,
}

impl Allowance {
    pub fn new(account: Arc<Account>) -> Allowance {
        let none = [0; Kind::ALL.len()];
        Allowance { account, kinds: none, told: none, used: 0, granted: 0, over: false }
    }

    pub fn account(&self) -> &Arc<Account> {
        &self.account
    }

    pub fn add(&mut self, kind: Kind, bytes: usize) {
        self.kinds[kind as usize] += bytes;
        self.used += bytes;
        if self.used > self.granted {
            let chunks = (self.used - self.granted).next_multiple_of(CHUNK);
            self.granted += chunks;
            self.over = !self.account.add(chunks);
        }
    }

    pub fn sub(&mut self, kind: Kind, bytes: usize) {
        debug_assert!(self.kinds[kind as usize] >= bytes, "more {kind:?} given back than taken");
        self.kinds[kind as usize] = self.kinds[kind as usize].saturating_sub(bytes);
        self.used = self.used.saturating_sub(bytes);
        if self.granted - self.used > SPARE + CHUNK {
            let chunks = (self.granted - self.used - SPARE) / CHUNK * CHUNK;
            self.granted -= chunks;
            self.over = !self.account.sub(chunks);
        }
    }

    /// One thing that was so large before is so large now.
    pub fn replace(&mut self, kind: Kind, before: usize, now: usize) {
        match now >= before {
            true => self.add(kind, now - before),
            false => self.sub(kind, before - now),
        }
    }

    pub fn of(&self, kind: Kind) -> usize {
        self.kinds[kind as usize]
    }

    /// Whether more was taken than there is; as it was when the account was last asked.
    pub fn is_over(&self) -> bool {
        self.over
    }

    /// Asks the account again, and tells it what the bytes are held for. Returns how many of the app's have to go.
    pub fn tell(&mut self) -> usize {
        for ((kind, now), told) in self.account.kinds.iter().zip(self.kinds).zip(&mut self.told) {
            kind.fetch_add(now.wrapping_sub(*told), Relaxed);
            *told = now;
        }
        let over = self.account.over();
        self.over = over > 0;
        over
    }
}

impl Drop for Allowance {
    fn drop(&mut self) {
        self.kinds = Default::default();
        self.tell();
        self.account.sub(self.granted);
    }
}
