//! When to try again. Pure: chance and time are handed in.

use super::settings::Retry;
use crate::model::Millis;

/// `Retry-After` in seconds or as a date (RFC 9110 §10.2.3), in milliseconds from `now`.
pub(super) fn retry_after(header: &str, now: Millis) -> Option<u64> {
    let header = header.trim();
    if !header.is_empty() && header.bytes().all(|b| b.is_ascii_digit()) {
        return Some(header.parse::<u64>().map_or(u64::MAX, |s| s.saturating_mul(1_000)));
    }
    let at = jiff::fmt::rfc2822::parse(header).ok()?.timestamp().as_millisecond();
    Some(u64::try_from(at).unwrap_or(0).saturating_sub(now))
}

impl Retry {
    /// Milliseconds until the next attempt, after `attempts` in vain (1 or more). What the receiver asks for counts, as
    /// long as it is within our own bounds; else the wait doubles each time.
    pub(super) fn wait_ms(&self, attempts: u32, asked: Option<u64>, chance: u64) -> u64 {
        let (first, max) = (self.first.0.max(1), self.max.0.max(self.first.0).max(1));
        if let Some(asked) = asked {
            return asked.clamp(first, max);
        }
        let doubled = 1_u64.checked_shl(attempts.saturating_sub(1)).unwrap_or(u64::MAX);
        let whole = first.saturating_mul(doubled).min(max);
        // From half of it to the whole: parcels that failed together do not come back together.
        whole / 2 + chance % (whole - whole / 2 + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Ms;

    const RETRY: Retry = Retry { first: Ms(1_000), max: Ms(300_000) };

    #[test]
    fn waits_double_up_to_the_longest_and_differ_by_chance() {
        let longest = |attempts| (0..5_000_u64).map(|chance| RETRY.wait_ms(attempts, None, chance)).max().unwrap();
        assert_eq!([1, 2, 3].map(longest), [1_000, 2_000, 4_000]);
        for attempts in [9, 10, 64, 65, u32::MAX] {
            let wait = |chance| RETRY.wait_ms(attempts, None, chance);
            assert_eq!(
                (wait(0), wait(150_000), wait(150_001)),
                match attempts {
                    9 => (128_000, 128_000 + 150_000 % 128_001, 128_000 + 150_001 % 128_001),
                    _ => (150_000, 300_000, 150_000),
                }
            );
        }
        let tiny = Retry { first: Ms(1), max: Ms(1) };
        assert!((0..9).all(|chance| tiny.wait_ms(7, None, chance) <= 1));
    }

    #[test]
    fn what_the_receiver_asks_for_counts_within_our_bounds() {
        let wait = |asked| RETRY.wait_ms(5, Some(asked), 0);
        assert_eq!([0, 500, 7_000, u64::MAX].map(wait), [1_000, 1_000, 7_000, 300_000]);
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = 784_111_777_000 - 30_000;
        assert_eq!(retry_after(" 120 ", now), Some(120_000));
        assert_eq!(retry_after("99999999999999999999999", now), Some(u64::MAX));
        assert_eq!(retry_after("Sun, 06 Nov 1994 08:49:37 GMT", now), Some(30_000));
        assert_eq!(retry_after("Sun, 06 Nov 1994 08:49:37 GMT", now + 60_000), Some(0));
        for other in ["", "soon", "-1", "1.5", "Sun, 99 Nov 1994 08:49:37 GMT"] {
            assert_eq!(retry_after(other, now), None, "{other}");
        }
    }
}
