//! Lines that clients or a failing disk can cause: one a second of each kind. The others are counted and told with the
//! next, so that a flood neither fills a disk nor hides the rest of the log. Every line at `warn` or `error` that a client can
//! cause goes this way, unless its room limits it by a rule of its own.

use super::clock;
use crate::model::Mono;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// How often a kind of line is written at most.
const EVERY_MS: u64 = 1_000;

/// `limited!(warn, app, %error, "row not fetched")`: as `tracing::warn!`, one line a second from this place.
macro_rules! limited {
    ($level:ident, $($line:tt)+) => {{
        static KIND: $crate::observe::Limited = $crate::observe::Limited::new();
        if let Some(left_out) = KIND.speaks() {
            tracing::$level!(left_out, $($line)+);
        }
    }};
}

pub(crate) use limited;

/// One kind of line.
pub struct Limited {
    /// `Mono::ms` of the last line; 0: none yet.
    at: AtomicU64,
    left_out: AtomicU64,
}

/// Transactions that the store did not keep, of the whole process: for `weir_store_failures_total`.
static STORE_FAILURES: AtomicU64 = AtomicU64::new(0);

/// So many transactions were not kept.
pub fn store_failed(transactions: u64) {
    STORE_FAILURES.fetch_add(transactions, Relaxed);
}

pub(super) fn store_failures() -> u64 {
    STORE_FAILURES.load(Relaxed)
}

impl Limited {
    #[allow(clippy::new_without_default)] // made once, in a `static`
    pub const fn new() -> Limited {
        Limited { at: AtomicU64::new(0), left_out: AtomicU64::new(0) }
    }

    /// Whether a line is written now, and if it is, how many were left out before: `Some(None)` for none, as a field of
    /// the line takes it.
    pub fn speaks(&self) -> Option<Option<u64>> {
        self.speaks_at(clock().mono)
    }

    fn speaks_at(&self, now: Mono) -> Option<Option<u64>> {
        let at = self.at.load(Relaxed);
        let is_due = at == 0 || now.since(Mono::from_ms(at)) >= EVERY_MS;
        // Of several threads, the one that sets the time writes the line.
        if !is_due || self.at.compare_exchange(at, now.ms(), Relaxed, Relaxed).is_err() {
            self.left_out.fetch_add(1, Relaxed);
            return None;
        }
        let left_out = self.left_out.swap(0, Relaxed);
        Some((left_out > 0).then_some(left_out))
    }
}

#[test]
fn one_line_a_second_tells_of_those_that_were_left_out() {
    let (limited, at) = (Limited::new(), Mono::from_ms);
    assert_eq!(limited.speaks_at(at(5_000)), Some(None));
    assert_eq!([5_000, 5_500, 5_999].map(|ms| limited.speaks_at(at(ms))), [None; 3]);
    assert_eq!(limited.speaks_at(at(6_000)), Some(Some(3)));
    assert_eq!(limited.speaks_at(at(7_000)), Some(None));
}
