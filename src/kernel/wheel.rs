//! When to look at a connection again: one coarse wheel a shard, no timer object a connection.

use crate::model::{Mono, Slot};

const SLOTS: usize = 512;
/// What a tick is: deadlines are kept to this.
pub const TICK_MS: u64 = 32;

/// Entries name a connection's slot and the tick it was meant for. A connection that is looked at says when it wants
/// to be looked at next; what lies beyond the wheel is looked at once a turn of it.
pub struct Wheel {
    slots: Vec<Vec<(Slot, u64)>>,
    /// The next tick to be looked at.
    tick: u64,
    entries: usize,
}

impl Wheel {
    pub fn new(now: Mono) -> Wheel {
        Wheel { slots: vec![Vec::new(); SLOTS], tick: now.ms() / TICK_MS, entries: 0 }
    }

    /// Returns the tick at which the connection will be looked at.
    pub fn schedule(&mut self, slot: Slot, at: Mono) -> u64 {
        let tick = (at.ms().div_ceil(TICK_MS)).clamp(self.tick, self.tick + SLOTS as u64 - 1);
        self.slots[tick as usize % SLOTS].push((slot, tick));
        self.entries += 1;
        tick
    }

    /// Those whose time has come.
    pub fn advance(&mut self, now: Mono, due: &mut Vec<(Slot, u64)>) {
        let until = now.ms() / TICK_MS;
        if until < self.tick {
            return;
        }
        // After a long pause every slot is due once.
        for _ in 0..(until - self.tick + 1).min(SLOTS as u64) {
            let slot = &mut self.slots[self.tick as usize % SLOTS];
            self.entries -= slot.len();
            due.append(slot);
            self.tick += 1;
        }
        self.tick = until + 1;
    }

    /// When somebody is due next.
    pub fn next(&self) -> Option<Mono> {
        if self.entries == 0 {
            return None;
        }
        let ahead = (0..SLOTS as u64).find(|n| !self.slots[(self.tick + n) as usize % SLOTS].is_empty())?;
        Some(Mono::from_ms((self.tick + ahead) * TICK_MS))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Mono {
        Mono::from_ms(ms)
    }

    #[test]
    fn everybody_is_looked_at_in_time_and_once() {
        let mut wheel = Wheel::new(at(1_000_000));
        let mut due = Vec::new();
        for n in 0..100u32 {
            wheel.schedule(n, at(1_000_000 + n as u64 * 50));
        }
        let mut seen = Vec::new();
        for now in (1_000_000..1_006_000).step_by(7) {
            wheel.advance(at(now), &mut due);
            for (slot, _) in due.drain(..) {
                assert!(1_000_000 + slot as u64 * 50 <= now, "{slot} too early at {now}");
                seen.push(slot);
            }
        }
        seen.sort_unstable();
        assert_eq!(seen, (0..100).collect::<Vec<_>>());
        assert_eq!(wheel.next(), None);
    }

    #[test]
    fn a_far_deadline_is_looked_at_once_a_turn_and_a_pause_loses_nobody() {
        let mut wheel = Wheel::new(at(0));
        let mut due = Vec::new();
        assert_eq!(wheel.schedule(1, at(3_600_000)), SLOTS as u64 - 1);
        wheel.schedule(2, at(100));
        wheel.advance(at(10_000_000), &mut due);
        assert_eq!(due.len(), 2);
        due.clear();
        wheel.schedule(3, at(5));
        wheel.advance(at(10_000_000 + TICK_MS * 2), &mut due);
        assert_eq!(due.len(), 1);
    }
}
