//! The only place that reads both clocks. Threads read them once a turn and hand the `Now` down.

use crate::model::{Millis, Mono, Now};
use std::sync::LazyLock;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// What the monotonic clock shows at the start, in milliseconds: so long ago that "an hour before the start" is a moment
/// like any other, and a zero is one that was long before.
const START_MS: u64 = 1 << 40;

static START: LazyLock<Instant> = LazyLock::new(Instant::now);

/// What the two clocks show. `Instant` is Linux's `CLOCK_MONOTONIC`: it stands still while the machine sleeps, so nobody is
/// closed at a wake for a silence that was the machine's own.
pub fn clock() -> Now {
    Now { mono: Mono::from_ms(START_MS) + START.elapsed().as_millis() as u64, wall: wall() }
}

fn wall() -> Millis {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as u64)
}

#[test]
fn the_monotonic_clock_begins_long_after_its_zero() {
    let now = clock();
    assert!(now.mono.before(10 * 365 * 86_400_000) > Mono::default());
    assert!(clock().mono >= now.mono);
}
