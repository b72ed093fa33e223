//! Token buckets of routes, one a caller.

use crate::model::{Mono, Now, Rate};
use std::collections::HashMap;
use std::sync::{Arc, Mutex};

/// Callers that are remembered. Above it, those whose bucket is full are forgotten: they lose nothing.
const CALLERS_MAX: usize = 100_000;

/// Which route of which app, and who.
pub(super) type Caller = (Arc<str>, Arc<str>, String);

#[derive(Default)]
pub(super) struct Rates(Mutex<HashMap<Caller, Bucket>>);

struct Bucket {
    /// In 1/`per` of a request, so that the refill is exact.
    level: u64,
    at: Mono,
    rate: Rate,
}

/// What a caller is told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Verdict {
    pub allowed: bool,
    pub limit: u32,
    pub remaining: u32,
    /// When the bucket is full again, in seconds since 1970.
    pub reset_s: u64,
    /// Until the next request is allowed, in seconds, rounded up.
    pub wait_s: u64,
}

impl Bucket {
    fn refill(&mut self, now: Mono) {
        let passed = now.since(self.at);
        self.at = self.at.max(now);
        self.level = self.full().min(self.level.saturating_add(passed.saturating_mul(self.rate.burst.into())));
    }

    fn full(&self) -> u64 {
        u64::from(self.rate.burst).saturating_mul(self.one())
    }

    fn one(&self) -> u64 {
        self.rate.per.0.max(1)
    }
}

impl Rates {
    pub fn take(&self, caller: Caller, rate: Rate, now: Now) -> Verdict {
        let mut buckets = self.0.lock().unwrap_or_else(|e| e.into_inner());
        if buckets.len() >= CALLERS_MAX && !buckets.contains_key(&caller) {
            buckets.retain(|_, bucket| {
                bucket.refill(now.mono);
                bucket.level < bucket.full()
            });
            if buckets.len() >= CALLERS_MAX {
                // All of them are in use: whoever comes now is one too many.
                let wait_s = rate.per.0.div_ceil(1000);
                return Verdict {
                    allowed: false,
                    limit: rate.burst,
                    remaining: 0,
                    reset_s: now.wall / 1000 + wait_s,
                    wait_s,
                };
            }
        }
        let bucket = buckets.entry(caller).or_insert_with(|| Bucket { level: u64::MAX, at: now.mono, rate });
        bucket.rate = rate; // a reload may have changed it
        bucket.refill(now.mono);
        let (one, per_ms) = (bucket.one(), u64::from(rate.burst.max(1)));
        let allowed = rate.burst > 0 && bucket.level >= one;
        if allowed {
            bucket.level -= one;
        }
        let ms = |units: u64| units.div_ceil(per_ms);
        Verdict {
            allowed,
            limit: rate.burst,
            remaining: (bucket.level / one) as u32,
            reset_s: (now.wall + ms(bucket.full() - bucket.level)).div_ceil(1000),
            wait_s: ms(one.saturating_sub(bucket.level)).div_ceil(1000).max(1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Ms;

    #[test]
    fn ten_a_minute_are_allowed_then_one_every_six_seconds() {
        let (rates, rate) = (Rates::default(), Rate { burst: 10, per: Ms(60_000) });
        let take = |who: &str, now| rates.take(("app".into(), "r".into(), who.into()), rate, Now::at(now));
        for left in (0..10).rev() {
            let verdict = take("ann", 1_000_000);
            assert!(verdict.allowed && verdict.remaining == left, "{verdict:?}");
        }
        let refused = take("ann", 1_000_000);
        let told = Verdict { allowed: false, limit: 10, remaining: 0, reset_s: 1_060, wait_s: 6 };
        assert_eq!(refused, told);
        assert!(take("bob", 1_000_000).allowed);
        assert!(!take("ann", 1_005_999).allowed);
        assert!(take("ann", 1_006_000).allowed);
        assert!(!take("ann", 1_006_000).allowed);
    }
}
