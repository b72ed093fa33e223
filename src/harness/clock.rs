//! Time and chance of a test: the clock stands still until the test moves it, and chance repeats.

use crate::model::{Millis, Now};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

pub(super) struct Clock(AtomicU64);

impl Clock {
    pub fn new(at: Millis) -> Clock {
        Clock(AtomicU64::new(at))
    }

    pub fn now(&self) -> Now {
        Now::at(self.0.load(Relaxed))
    }

    /// Never backward.
    pub fn go_on(&self, to: Millis) {
        self.0.fetch_max(to, Relaxed);
    }
}

/// Ids and chance that are the same in every run of a test.
#[derive(Default)]
pub(super) struct Chance {
    ids: AtomicU64,
    rolls: AtomicU64,
}

impl Chance {
    /// 1, 2, 3 …: as UUIDs `00000000-0000-4000-8000-000000000001` and so on.
    pub fn next_id(&self) -> u128 {
        u128::from(self.ids.fetch_add(1, Relaxed) + 1)
    }

    /// SplitMix64 (Steele, Lea, Flood 2014), two of its numbers together.
    pub fn next(&self) -> u128 {
        const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
        let at = self.rolls.fetch_add(STEP.wrapping_mul(2), Relaxed);
        let mix = |z: u64| {
            let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            z ^ (z >> 31)
        };
        u128::from(mix(at.wrapping_add(STEP))) << 64 | u128::from(mix(at.wrapping_add(STEP.wrapping_mul(2))))
    }
}

#[test]
fn ids_are_counted_and_chance_repeats() {
    let (one, two) = (Chance::default(), Chance::default());
    let ids: Vec<String> = (0..2).map(|_| crate::model::ConnectionId::uuid(one.next_id()).to_string()).collect();
    assert_eq!(ids, ["00000000-0000-4000-8000-000000000001", "00000000-0000-4000-8000-000000000002"]);
    let rolls = |chance: &Chance| [chance.next(), chance.next(), chance.next()];
    let first = rolls(&one);
    assert_eq!(first, rolls(&two));
    assert!(first[0] != first[1] && first[1] != first[2]);
}
