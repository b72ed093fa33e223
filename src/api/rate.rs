//! Token buckets of routes, one a caller; and of keys and secrets that were wrong, one an address.

use crate::kernel::{neighbourhood, party};
use crate::model::{Buckets, Mono, Now, Rate, Taken};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

/// Callers of routes, and addresses that showed wrong credentials, with a bucket of their own.
const CALLERS_MAX: usize = 100_000;
const ADDRESSES_MAX: usize = 65_536;

/// Who calls a route: a user or an API key by its name, else an address. One customer has 2^64 IPv6 addresses, so these
/// count as one.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) enum Party {
    Address(IpAddr),
    Named(String),
}

impl Party {
    pub fn address(ip: IpAddr) -> Party {
        Party::Address(party(ip))
    }
}

/// Which route of which app, and who.
type Key = (Arc<str>, Arc<str>, Party);

pub(super) struct Rates {
    routes: Mutex<Buckets<Key>>,
    wrong: Mutex<Buckets<IpAddr>>,
}

impl Default for Rates {
    fn default() -> Rates {
        Rates { routes: Mutex::new(Buckets::new(CALLERS_MAX)), wrong: Mutex::new(Buckets::new(ADDRESSES_MAX)) }
    }
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

impl Rates {
    /// One request of a caller to a route.
    pub fn take(&self, (app, route): (Arc<str>, Arc<str>), caller: Party, rate: Rate, now: Now) -> Verdict {
        let group = (app.clone(), route.clone());
        let near = match &caller {
            Party::Address(ip) => Party::Address(neighbourhood(*ip)),
            named @ Party::Named(_) => named.clone(),
        };
        let mut buckets = self.routes.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = buckets.take(&(app, route, caller), group, near, rate, now.mono);
        Verdict {
            allowed: taken.allowed,
            limit: rate.burst,
            remaining: taken.remaining,
            reset_s: (now.wall + taken.full_ms).div_ceil(1000),
            wait_s: taken.wait_ms.div_ceil(1000).max(1),
        }
    }

    /// Whether this address may still show credentials. The error is the time until then, in seconds.
    pub fn may_show(&self, ip: IpAddr, rate: Rate, now: Mono) -> Result<(), u64> {
        let mut buckets = self.wrong.lock().unwrap_or_else(PoisonError::into_inner);
        let Taken { allowed, wait_ms, .. } = buckets.look(&party(ip), (), neighbourhood(ip), rate, now);
        if allowed { Ok(()) } else { Err(wait_ms.div_ceil(1000).max(1)) }
    }

    /// This address showed wrong ones.
    pub fn was_wrong(&self, ip: IpAddr, rate: Rate, now: Mono) {
        let mut buckets = self.wrong.lock().unwrap_or_else(PoisonError::into_inner);
        buckets.take(&party(ip), (), neighbourhood(ip), rate, now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Ms;

    #[test]
    fn ten_a_minute_are_allowed_then_one_every_six_seconds() {
        let (rates, rate) = (Rates::default(), Rate { burst: 10, per: Ms(60_000) });
        let take =
            |who: &str, now| rates.take(("app".into(), "r".into()), Party::Named(who.into()), rate, Now::at(now));
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

    #[test]
    fn addresses_of_one_customer_are_one_caller() {
        let (rates, rate) = (Rates::default(), Rate { burst: 2, per: Ms(60_000) });
        let take = |ip: &str| {
            rates.take(("app".into(), "r".into()), Party::address(ip.parse().unwrap()), rate, Now::at(0)).allowed
        };
        assert!(take("2001:db8:1:2::1") && take("2001:db8:1:2:ffff::2") && !take("2001:db8:1:2::3"));
        assert!(take("2001:db8:1:3::1"));
        assert!(take("198.51.100.7") && take("::ffff:198.51.100.7") && !take("198.51.100.7"));
        assert!(take("198.51.100.8"));
    }
}
