//! Connection attempts by address: a token bucket each, in a table that cannot grow without end.

use crate::model::{Mono, Rate};
use crate::shard::party;
use hashbrown::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

/// Addresses that are remembered; beyond, those with the fullest buckets are forgotten first.
const ADDRESSES_MAX: usize = 65_536;
/// Entries that are looked at to find one to forget.
const SAMPLE: usize = 16;

/// The buckets of all addresses; shared by all shards, kept over reloads.
pub struct Attempts {
    buckets: Mutex<HashMap<IpAddr, Bucket>>,
    max: usize,
}

#[derive(Clone, Copy)]
struct Bucket {
    /// In `1 / rate.per` of an attempt, so that a millisecond refills `rate.burst` of them.
    level: u64,
    at: Mono,
}

impl Bucket {
    fn at(self, now: Mono, rate: &Rate) -> Bucket {
        let refill = now.since(self.at).saturating_mul(u64::from(rate.burst));
        Bucket { level: self.level.saturating_add(refill).min(full(rate)), at: self.at.max(now) }
    }
}

fn full(rate: &Rate) -> u64 {
    cost(rate).saturating_mul(u64::from(rate.burst))
}

fn cost(rate: &Rate) -> u64 {
    rate.per.0.max(1)
}

impl Default for Attempts {
    fn default() -> Attempts {
        Attempts::with_room(ADDRESSES_MAX)
    }
}

impl Attempts {
    fn with_room(max: usize) -> Attempts {
        Attempts { buckets: Mutex::default(), max }
    }

    /// Counts an attempt. The error is the time until the next may succeed, in ms.
    pub fn attempt(&self, ip: IpAddr, rate: &Rate, now: Mono) -> Result<(), u64> {
        let ip = party(ip);
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = Bucket { level: full(rate), at: now };
        let mut bucket = buckets.get(&ip).map_or(fresh, |b| b.at(now, rate));
        let Some(level) = bucket.level.checked_sub(cost(rate)) else {
            return Err((cost(rate) - bucket.level).div_ceil(u64::from(rate.burst.max(1))));
        };
        bucket.level = level;
        if buckets.len() >= self.max && !buckets.contains_key(&ip) {
            make_room(&mut buckets, rate, now, self.max);
        }
        buckets.insert(ip, bucket);
        Ok(())
    }
}

/// Forgets full buckets; where there is none, the fullest of a sample.
fn make_room(buckets: &mut HashMap<IpAddr, Bucket>, rate: &Rate, now: Mono, max: usize) {
    let level = |bucket: &Bucket| bucket.at(now, rate).level;
    let fullest = buckets.iter().take(SAMPLE).map(|(ip, bucket)| (*ip, level(bucket))).max_by_key(|(_, level)| *level);
    // The walk over all is paid once for many newcomers: only where the sample promises that it frees some.
    if fullest.is_some_and(|(_, level)| level >= full(rate)) {
        buckets.retain(|_, bucket| level(bucket) < full(rate));
    }
    if buckets.len() >= max
        && let Some((ip, _)) = fullest
    {
        buckets.remove(&ip);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Ms;

    const RATE: Rate = Rate { burst: 2, per: Ms(60_000) };

    #[test]
    fn attempts_come_back_with_time() {
        let attempts = Attempts::default();
        let ip = "192.0.2.1".parse().unwrap();
        assert_eq!(attempts.attempt(ip, &RATE, Mono::from_ms(0)), Ok(()));
        assert_eq!(attempts.attempt(ip, &RATE, Mono::from_ms(0)), Ok(()));
        assert_eq!(attempts.attempt(ip, &RATE, Mono::from_ms(0)), Err(30_000));
        assert_eq!(attempts.attempt("::ffff:192.0.2.1".parse().unwrap(), &RATE, Mono::from_ms(10_000)), Err(20_000));
        assert_eq!(attempts.attempt("192.0.2.2".parse().unwrap(), &RATE, Mono::from_ms(10_000)), Ok(()));
        assert_eq!(attempts.attempt(ip, &RATE, Mono::from_ms(30_000)), Ok(()));
    }

    #[test]
    fn the_table_stays_bounded() {
        let attempts = Attempts::with_room(8);
        for i in 0..100u32 {
            let ip = IpAddr::from(i.to_be_bytes());
            assert_eq!(attempts.attempt(ip, &RATE, Mono::from_ms(i.into())), Ok(()));
        }
        assert!(attempts.buckets.lock().unwrap().len() <= 8);
    }
}
