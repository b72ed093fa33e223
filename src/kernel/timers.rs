//! When one kernel has to look at its connections, and at itself.

use super::conn::Conn;
use super::wheel::Wheel;
use crate::model::{Mono, Slot};

/// How often what is too old is forgotten and memory is looked at.
pub(super) const SWEEP_MS: u64 = 1_000;

pub(super) struct Timers {
    wheel: Wheel,
    /// Taken from the wheel, and used again.
    due: Vec<(Slot, u64)>,
    swept_at: Mono,
}

impl Timers {
    pub fn new(now: Mono) -> Timers {
        Timers { wheel: Wheel::new(now), due: Vec::new(), swept_at: now }
    }

    /// Has it looked at at that time.
    pub fn schedule<T>(&mut self, slot: Slot, conn: &mut Conn<T>, at: Mono) {
        conn.tick = self.wheel.schedule(slot, at);
    }

    /// Those whose time has come, and for which tick that was meant; to be given back.
    pub fn take_due(&mut self, now: Mono) -> Vec<(Slot, u64)> {
        let mut due = std::mem::take(&mut self.due);
        self.wheel.advance(now, &mut due);
        due
    }

    pub fn give_back(&mut self, mut due: Vec<(Slot, u64)>) {
        due.clear();
        self.due = due;
    }

    /// When a connection is due next.
    pub fn next(&self) -> Option<Mono> {
        self.wheel.next()
    }

    /// Whether a sweep is due, which is thereby begun.
    pub fn sweeps(&mut self, now: Mono) -> bool {
        let due = now >= self.swept_at + SWEEP_MS;
        if due {
            self.swept_at = now;
        }
        due
    }
}
