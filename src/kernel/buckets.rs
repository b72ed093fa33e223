//! The rates of users over all shards: a table that never grows, and of which a message looks at one small set.
//!
//! A user's place follows from a hash, so that neither a flood of names nor a full table makes a message dearer. A set
//! that is full gives the place whose user was quiet longest to the newcomer: nearly always its bucket is full again,
//! and nothing is lost by forgetting it.

use crate::model::{AppId, Bucket, Mono, Rate};
use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, PoisonError};

/// Users of one set.
const WAYS: usize = 8;
/// Sets behind one lock.
const SETS: usize = 256;
/// Locks: 131,072 users in all.
const PARTS: usize = 64;

pub(super) struct Buckets {
    /// Of this process alone: nobody knows whose place is whose.
    hasher: RandomState,
    /// Made when the first user of a part comes.
    parts: [Mutex<Box<[Set]>>; PARTS],
}

#[derive(Clone, Copy, Default)]
struct Place {
    /// Of app and user; 0: free. Two of the same hash share a bucket: of a million users, none do.
    user: u64,
    bucket: Bucket,
    used_at: Mono,
}

type Set = [Place; WAYS];

impl Buckets {
    pub fn new() -> Buckets {
        Buckets { hasher: RandomState::new(), parts: std::array::from_fn(|_| Mutex::default()) }
    }

    /// Up to `wanted` of the user's tokens.
    pub fn take(&self, app: AppId, user: &str, wanted: u32, rate: Rate, now: Mono) -> u32 {
        let hash = self.hasher.hash_one((app, user)).max(1);
        let mut sets = self.parts[hash as usize % PARTS].lock().unwrap_or_else(PoisonError::into_inner);
        if sets.is_empty() {
            *sets = vec![Set::default(); SETS].into();
        }
        let set = &mut sets[hash as usize / PARTS % SETS];
        let known = set.iter().position(|place| place.user == hash);
        let oldest = || (0..WAYS).min_by_key(|at| (set[*at].user != 0, set[*at].used_at)).unwrap_or(0);
        let at = known.unwrap_or_else(oldest);
        if known.is_none() {
            set[at] = Place { user: hash, ..Place::default() };
        }
        set[at].used_at = now;
        set[at].bucket.take(wanted, rate, now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Ms;

    const RATE: Rate = Rate { burst: 10, per: Ms::secs(60) };

    #[test]
    fn users_of_two_apps_are_counted_apart() {
        let buckets = Buckets::new();
        assert_eq!(buckets.take(AppId(0), "u1", 16, RATE, Mono::from_ms(1_000)), 10);
        assert_eq!(buckets.take(AppId(0), "u1", 16, RATE, Mono::from_ms(1_000)), 0);
        assert_eq!(buckets.take(AppId(1), "u1", 16, RATE, Mono::from_ms(1_000)), 10);
        assert_eq!(buckets.take(AppId(0), "u2", 16, RATE, Mono::from_ms(1_000)), 10);
    }

    #[test]
    fn any_number_of_users_finds_a_place_and_who_goes_on_sending_keeps_its_own() {
        let buckets = Buckets::new();
        assert_eq!(buckets.take(AppId(0), "busy", 10, RATE, Mono::from_ms(1_000)), 10);
        for n in 0..3 * PARTS * SETS * WAYS {
            let now = Mono::from_ms(1_001 + n as u64 / 100);
            assert_eq!(buckets.take(AppId(0), &format!("u{n}"), 1, RATE, now), 1, "a newcomer's bucket is full");
            if n % 1_000 == 0 {
                assert!(buckets.take(AppId(0), "busy", 10, RATE, now) <= 3, "it was not forgotten");
            }
        }
        let places: usize = buckets.parts.iter().map(|part| part.lock().unwrap().len() * WAYS).sum();
        assert_eq!(places, PARTS * SETS * WAYS);
    }
}
