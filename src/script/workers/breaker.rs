//! Switches a handler off that fails again and again, and lets one call try after a while.

use crate::model::Mono;
use crate::script::Limits;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};

/// Of one handler. Only its own numbers hang on it: relaxed atomics do.
#[derive(Default)]
pub(super) struct Breaker {
    /// Faults since the last call without one.
    row: AtomicU32,
    /// `Mono::ms`; 0: closed.
    open_until: AtomicU64,
    trying: AtomicBool,
}

/// Leave to run once. Dropped: the trial, if it is one, is over.
pub(super) struct Pass<'b> {
    breaker: &'b Breaker,
    trial: bool,
}

/// What a call's end did to the breaker.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Turned {
    No,
    /// This many faults in a row.
    Open(u32),
    Closed,
}

impl Breaker {
    /// Until when calls are refused; `None`: it may run, or try.
    pub fn refuses(&self, now: Mono) -> Option<Mono> {
        match self.open_until.load(Relaxed) {
            until if now.ms() < until => Some(Mono::from_ms(until)),
            _ => None,
        }
    }

    /// Err: refused until then.
    pub fn admit(&self, now: Mono, limits: &Limits) -> Result<Pass<'_>, Mono> {
        match self.open_until.load(Relaxed) {
            0 => Ok(Pass { breaker: self, trial: false }),
            until if now.ms() < until => Err(Mono::from_ms(until)),
            _ if self.trying.swap(true, Relaxed) => Err(now + limits.breaker_for.0),
            _ => Ok(Pass { breaker: self, trial: true }),
        }
    }

    /// As new: the plugin may have changed.
    pub fn reset(&self) {
        self.row.store(0, Relaxed);
        self.open_until.store(0, Relaxed);
    }
}

impl Pass<'_> {
    /// It came to an end that its developer meant.
    pub fn well(self) -> Turned {
        let b = self.breaker;
        if b.row.load(Relaxed) != 0 {
            b.row.store(0, Relaxed);
        }
        match b.open_until.load(Relaxed) {
            0 => Turned::No,
            _ => {
                b.open_until.store(0, Relaxed);
                Turned::Closed
            }
        }
    }

    pub fn fault(self, now: Mono, limits: &Limits) -> Turned {
        let b = self.breaker;
        let row = b.row.fetch_add(1, Relaxed).saturating_add(1);
        let was_open = b.open_until.load(Relaxed) != 0;
        if !self.trial && (limits.breaker_faults == 0 || row < limits.breaker_faults || was_open) {
            return Turned::No;
        }
        b.open_until.store((now + limits.breaker_for.0).ms().max(1), Relaxed);
        Turned::Open(row)
    }
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        if self.trial {
            self.breaker.trying.store(false, Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Ms;

    const LIMITS: fn() -> Limits = || Limits { breaker_faults: 3, breaker_for: Ms(1_000), ..Limits::default() };

    fn at(ms: u64) -> Mono {
        Mono::from_ms(ms)
    }

    fn fails(breaker: &Breaker, now: u64) -> Turned {
        let now = at(now);
        breaker.admit(now, &LIMITS()).map_or_else(|_| panic!("open"), |pass| pass.fault(now, &LIMITS()))
    }

    #[test]
    fn three_faults_in_a_row_switch_a_handler_off_and_one_call_tries() {
        let (breaker, limits) = (Breaker::default(), LIMITS());
        assert_eq!([fails(&breaker, 1), fails(&breaker, 2)], [Turned::No, Turned::No]);
        assert_eq!(breaker.admit(at(3), &limits).ok().unwrap().well(), Turned::No);
        assert_eq!([fails(&breaker, 4), fails(&breaker, 5)], [Turned::No, Turned::No]);
        assert_eq!(fails(&breaker, 6), Turned::Open(3));
        assert_eq!(breaker.refuses(at(1_005)), Some(at(1_006)));
        assert_eq!(breaker.admit(at(1_005), &limits).err(), Some(at(1_006)));
        let trial = breaker.admit(at(1_006), &limits).ok().unwrap();
        assert!(breaker.admit(at(1_006), &limits).is_err(), "one call tries, not two");
        assert_eq!(trial.fault(at(1_010), &limits), Turned::Open(4));
        assert_eq!(breaker.refuses(at(2_009)), Some(at(2_010)));
        // A trial that never came to an end leaves room for the next.
        drop(breaker.admit(at(2_010), &limits));
        assert_eq!(breaker.admit(at(2_010), &limits).ok().unwrap().well(), Turned::Closed);
        assert_eq!(breaker.refuses(at(2_010)), None);
    }

    #[test]
    fn zero_faults_never_switch_it_off() {
        let (breaker, limits) = (Breaker::default(), Limits { breaker_faults: 0, ..LIMITS() });
        for now in (0..100).map(at) {
            assert_eq!(breaker.admit(now, &limits).ok().unwrap().fault(now, &limits), Turned::No);
        }
    }
}
