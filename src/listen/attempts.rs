//! Connection attempts by address: a token bucket each, in a table that cannot grow without end.

use crate::kernel::{neighbourhood, party};
use crate::model::{Buckets, Mono, Rate};
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

/// Addresses that have a bucket of their own; beyond, newcomers share one with their neighbours.
const ADDRESSES_MAX: usize = 65_536;

/// The buckets of all addresses; shared by all shards, kept over reloads.
pub struct Attempts(Mutex<Buckets<IpAddr>>);

impl Default for Attempts {
    fn default() -> Attempts {
        Attempts(Mutex::new(Buckets::new(ADDRESSES_MAX)))
    }
}

impl Attempts {
    /// Counts an attempt. The error is the time until the next may succeed, in ms.
    pub fn attempt(&self, ip: IpAddr, rate: &Rate, now: Mono) -> Result<(), u64> {
        let ip = party(ip);
        let mut buckets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = buckets.take(&ip, (), neighbourhood(ip), *rate, now);
        if taken.allowed { Ok(()) } else { Err(taken.wait_ms) }
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
}
