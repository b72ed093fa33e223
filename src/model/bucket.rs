//! One token bucket, for what is looked at with each message.

use super::{Mono, Rate};

/// Small, and it does not know its rate: that is handed in, and may be another after a reload. What is used then stays
/// used. `Buckets` has another, which is exact to the millisecond and larger.
#[derive(Clone, Copy, Debug, Default)]
pub struct Bucket {
    /// Tokens used, in 2⁻²⁰; refills by going down.
    used: u64,
    at: Mono,
}

impl Bucket {
    const ONE: u64 = 1 << 20;

    /// Takes up to `wanted` tokens; returns how many there were.
    pub fn take(&mut self, wanted: u32, rate: Rate, now: Mono) -> u32 {
        let size = rate.burst as u64 * Self::ONE;
        let refilled = match rate.per.0 {
            0 => size,
            per => now.since(self.at).saturating_mul(size) / per,
        };
        // Whole units only, so that frequent takes lose next to no time.
        if refilled > 0 {
            self.used = self.used.saturating_sub(refilled);
            self.at = now;
        }
        let free = size.saturating_sub(self.used) / Self::ONE;
        let taken = free.min(wanted as u64);
        self.used += taken * Self::ONE;
        taken as u32
    }

    /// Takes all that is wanted, on credit where it has to. Returns for how many ms nothing more should be taken: 0
    /// within the rate.
    pub fn spend(&mut self, wanted: u32, rate: Rate, now: Mono) -> u64 {
        let rate = Rate { burst: rate.burst.max(1), ..rate };
        let wanted = wanted.min(rate.burst);
        let taken = self.take(wanted, rate, now);
        self.used = self.used.saturating_add(u64::from(wanted - taken) * Self::ONE);
        let size = u64::from(rate.burst) * Self::ONE;
        self.used.saturating_sub(size).saturating_mul(rate.per.0) / size
    }

    /// Tokens that were taken and not needed.
    pub fn give_back(&mut self, tokens: u32) {
        self.used = self.used.saturating_sub(u64::from(tokens) * Self::ONE);
    }

    /// Whether it is full again: nothing would be lost by forgetting it.
    pub fn is_full(&self, rate: Rate, now: Mono) -> bool {
        now.since(self.at) >= rate.per.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Ms;

    #[test]
    fn a_bucket_gives_its_burst_and_then_its_rate() {
        let rate = Rate { burst: 100, per: Ms::secs(1) };
        let (mut bucket, at) = (Bucket::default(), Mono::from_ms);
        assert_eq!(bucket.take(1_000, rate, at(5_000)), 100);
        assert_eq!(bucket.take(1, rate, at(5_000)), 0);
        assert_eq!(bucket.take(1, rate, at(5_009)), 0);
        assert_eq!(bucket.take(5, rate, at(5_011)), 1);
        // Asking often does not slow the refill down.
        let taken: u32 = (5_012..=6_011).map(|now| bucket.take(1, rate, at(now))).sum();
        assert!((99..=101).contains(&taken), "{taken}");
        assert!(bucket.is_full(rate, at(7_011)));
    }

    #[test]
    fn a_bucket_gives_on_credit_and_says_how_long_that_takes() {
        let rate = Rate { burst: 100, per: Ms::secs(1) };
        let (mut bucket, at) = (Bucket::default(), Mono::from_ms);
        assert_eq!(bucket.spend(100, rate, at(5_000)), 0);
        assert_eq!(bucket.spend(30, rate, at(5_000)), 300);
        assert_eq!((bucket.spend(0, rate, at(5_299)), bucket.spend(0, rate, at(5_300))), (1, 0));
        // However much is wanted: it waits for `per` at most.
        assert_eq!(bucket.spend(u32::MAX, rate, at(5_300)), 1_000);
        bucket.give_back(50);
        assert_eq!(bucket.spend(0, rate, at(5_300)), 500);
        let none = Rate { burst: 0, per: Ms::secs(1) };
        assert_eq!((Bucket::default().spend(7, none, at(1)), Bucket::default().spend(0, none, at(1))), (0, 0));
    }
}
