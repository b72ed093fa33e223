//! Token buckets by key, in a table that cannot grow without end and in which nobody can push out another's count.
//!
//! A bucket that is full again is forgotten: whoever comes back loses nothing. Where the table is full of others,
//! newcomers are not refused, and nobody is forgotten for them: newcomers of one neighbourhood share a bucket until there
//! is room. So a flood from many addresses uses up its own neighbourhood's bucket, not a stranger's.

use super::{Mono, Rate};
use hashbrown::HashMap;
use std::hash::{BuildHasher, Hash, RandomState};

/// Entries that an insertion looks at to forget full ones; and where the table has no room left. Never all of them:
/// a walk over the table for each newcomer would be the next way to stall the gateway.
const SWEEP: usize = 2;
const SWEEP_FULL: usize = 32;
/// Neighbourhoods that are told apart in each group.
const NEIGHBOURHOODS: u64 = 256;

pub struct Buckets<K> {
    places: HashMap<K, usize>,
    slots: Vec<(K, Exact)>,
    /// Where the next sweep begins.
    hand: usize,
    shared: HashMap<u64, Exact>,
    hasher: RandomState,
    max: usize,
}

/// Not `Bucket`, which rounds: callers are told when they may come again, and must not be refused at that millisecond.
/// So it counts in what a millisecond refills, and has to remember of which rate.
#[derive(Clone, Copy)]
struct Exact {
    /// In 1/`per` of a request, so that a millisecond refills `burst` of them and nothing is rounded.
    level: u64,
    at: Mono,
    rate: Rate,
}

/// What became of a request for one token.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Taken {
    pub allowed: bool,
    pub remaining: u32,
    /// Until one may be taken, in ms; 0 where one may be taken now.
    pub wait_ms: u64,
    /// Until the bucket is full, in ms.
    pub full_ms: u64,
}

impl Exact {
    fn new(rate: Rate, now: Mono) -> Exact {
        Exact { level: u64::from(rate.burst).saturating_mul(rate.per.0.max(1)), at: now, rate }
    }

    fn one(&self) -> u64 {
        self.rate.per.0.max(1)
    }

    fn full(&self) -> u64 {
        u64::from(self.rate.burst).saturating_mul(self.one())
    }

    fn refill(&mut self, now: Mono) {
        let passed = now.since(self.at);
        self.at = self.at.max(now);
        self.level = self.full().min(self.level.saturating_add(passed.saturating_mul(self.rate.burst.into())));
    }

    /// What there is now; one is taken where `tokens` is 1.
    fn take(&mut self, rate: Rate, now: Mono, tokens: u64) -> Taken {
        if self.rate != rate {
            // A reload changed it: whole requests stay what they were.
            let requests = self.level / self.one();
            self.rate = rate;
            self.level = requests.saturating_mul(self.one());
        }
        self.refill(now);
        let (one, burst) = (self.one(), u64::from(rate.burst.max(1)));
        let allowed = rate.burst > 0 && self.level >= one;
        if allowed {
            self.level -= one.saturating_mul(tokens);
        }
        Taken {
            allowed,
            remaining: u32::try_from(self.level / one).unwrap_or(u32::MAX),
            wait_ms: one.saturating_sub(self.level).div_ceil(burst),
            full_ms: (self.full() - self.level).div_ceil(burst),
        }
    }
}

impl<K: Hash + Eq + Clone> Buckets<K> {
    /// `max`: keys that have a bucket of their own.
    pub fn new(max: usize) -> Buckets<K> {
        let (places, shared) = (HashMap::new(), HashMap::new());
        Buckets { places, slots: Vec::new(), hand: 0, shared, hasher: RandomState::new(), max }
    }

    /// Takes a token of `key`'s bucket. Where there is no room for one, the bucket is that of its `neighbourhood` in its
    /// `group`; a client must not be able to choose the group.
    pub fn take(&mut self, key: &K, group: impl Hash, neighbourhood: impl Hash, rate: Rate, now: Mono) -> Taken {
        self.bucket(key, group, neighbourhood, rate, now).take(rate, now, 1)
    }

    /// Whether `take` would be allowed; nothing is taken, and nobody is remembered for it.
    pub fn look(&mut self, key: &K, group: impl Hash, neighbourhood: impl Hash, rate: Rate, now: Mono) -> Taken {
        let fresh = || Exact::new(rate, now);
        let mut bucket = match self.places.get(key) {
            Some(place) => self.slots[*place].1,
            None if self.slots.len() < self.max => fresh(),
            None => self.shared.get(&self.crowd(group, neighbourhood)).copied().unwrap_or_else(fresh),
        };
        bucket.take(rate, now, 0)
    }

    fn bucket(&mut self, key: &K, group: impl Hash, neighbourhood: impl Hash, rate: Rate, now: Mono) -> &mut Exact {
        if let Some(place) = self.places.get(key).copied() {
            return &mut self.slots[place].1;
        }
        self.sweep(now);
        if self.slots.len() < self.max {
            let place = self.slots.len();
            self.places.insert(key.clone(), place);
            self.slots.push((key.clone(), Exact::new(rate, now)));
            return &mut self.slots[place].1;
        }
        let crowd = self.crowd(group, neighbourhood);
        self.shared.entry(crowd).or_insert_with(|| Exact::new(rate, now))
    }

    fn crowd(&self, group: impl Hash, neighbourhood: impl Hash) -> u64 {
        self.hasher.hash_one((group, self.hasher.hash_one(neighbourhood) % NEIGHBOURHOODS))
    }

    /// Forgets some that are full again.
    fn sweep(&mut self, now: Mono) {
        for _ in 0..if self.slots.len() < self.max { SWEEP } else { SWEEP_FULL } {
            if self.hand >= self.slots.len() {
                self.hand = 0;
            }
            let Some((_, bucket)) = self.slots.get_mut(self.hand) else { return };
            bucket.refill(now);
            if bucket.level < bucket.full() {
                self.hand += 1;
                continue;
            }
            let (gone, _) = self.slots.swap_remove(self.hand);
            self.places.remove(&gone);
            if let Some((moved, _)) = self.slots.get(self.hand) {
                self.places.insert(moved.clone(), self.hand);
            }
        }
    }

    /// How many have a bucket of their own.
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Ms;

    const RATE: Rate = Rate { burst: 2, per: Ms(60_000) };

    fn take(buckets: &mut Buckets<u32>, key: u32, near: u32, now: u64) -> bool {
        buckets.take(&key, "route", near, RATE, Mono::from_ms(now)).allowed
    }

    #[test]
    fn tokens_come_back_with_time() {
        let mut buckets = Buckets::new(8);
        let mut at = |now| buckets.take(&1, "route", 0, RATE, Mono::from_ms(now));
        assert_eq!(at(0), Taken { allowed: true, remaining: 1, wait_ms: 0, full_ms: 30_000 });
        assert!(at(0).allowed);
        assert_eq!(at(0), Taken { allowed: false, remaining: 0, wait_ms: 30_000, full_ms: 60_000 });
        assert!(!at(29_999).allowed && at(30_000).allowed && !at(30_000).allowed);
    }

    #[test]
    fn a_look_takes_nothing() {
        let mut buckets = Buckets::new(8);
        assert!((0..9).all(|_| buckets.look(&1, "route", 0, RATE, Mono::from_ms(0)).allowed) && buckets.is_empty());
        take(&mut buckets, 1, 0, 0);
        take(&mut buckets, 1, 0, 0);
        assert!(
            !buckets.look(&1, "route", 0, RATE, Mono::from_ms(0)).allowed
                && buckets.look(&1, "route", 0, RATE, Mono::from_ms(30_000)).allowed
        );
    }

    #[test]
    fn nobody_can_push_out_their_own_count() {
        let mut buckets = Buckets::new(100);
        assert!(take(&mut buckets, 0, 0, 0) && take(&mut buckets, 0, 0, 0) && !take(&mut buckets, 0, 0, 0));
        for key in 1..10_000 {
            take(&mut buckets, key, 0, 0);
        }
        assert_eq!(buckets.len(), 100);
        assert!(!take(&mut buckets, 0, 0, 0), "the flood has not made it forgotten");
    }

    #[test]
    fn beyond_the_bound_newcomers_share_a_bucket_with_their_neighbours() {
        let mut buckets = Buckets::new(100);
        for key in 0..10_000 {
            take(&mut buckets, key, 7, 0);
        }
        assert!(!take(&mut buckets, 20_000, 7, 0), "the neighbourhood of the flood has used its bucket");
        let strangers = (8..108).filter(|near| take(&mut buckets, 30_000 + near, *near, 0)).count();
        assert!(strangers > 90, "{strangers}");
        assert!(buckets.take(&40_000, "another route", 7, RATE, Mono::from_ms(0)).allowed);
    }

    #[test]
    fn those_that_are_full_again_make_room() {
        let mut buckets = Buckets::new(100);
        (0..100).for_each(|key| assert!(take(&mut buckets, key, 0, 0)));
        for key in 200..300 {
            assert!(take(&mut buckets, key, 0, 60_000));
        }
        assert!(buckets.len() <= 100 && buckets.places.len() == buckets.len());
        for (place, (key, _)) in buckets.slots.iter().enumerate() {
            assert_eq!(buckets.places[key], place);
        }
    }
}
