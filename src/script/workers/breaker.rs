//! Switches a handler off that fails again and again, and lets calls try after a while.
//!
//! A client that sends what a handler cannot bear must not take the handler from everybody. So a fault of a client's call
//! counts as that client's, however often it comes, and only faults of several clients switch the handler off.

use crate::model::Mono;
use crate::script::{Event, Limits, Trigger};
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

/// Of one handler. Only its own numbers hang on it: relaxed atomics do.
#[derive(Default)]
pub(super) struct Breaker {
    /// Faults since the last call without one.
    row: AtomicU32,
    /// Of them, those of calls that no client caused.
    own: AtomicU32,
    /// Clients whose calls failed since the last one without a fault: `breaker_clients` at most, by a number that nobody
    /// outside can foresee, and when.
    clients: Mutex<Vec<(u64, Mono)>>,
    keys: RandomState,
    /// `Mono::ms`; 0: closed.
    open_until: AtomicU64,
    trying: AtomicBool,
}

/// Who caused a call.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum Cause<'e> {
    User(&'e str),
    /// An IPv4 address; of an IPv6 address the /64, which is what one subscriber has.
    Address(u64),
    /// A timer, the HTTP API's caller without an address, …
    Nobody,
}

impl Cause<'_> {
    pub fn of(event: &Event) -> Cause<'_> {
        if let Some(user) = event.identity.user.as_deref() {
            return Cause::User(user);
        }
        match (&event.connection, &event.trigger) {
            (_, Trigger::Timer { .. }) => Cause::Nobody,
            (Some(connection), _) => Cause::Address(network(connection.ip)),
            (None, Trigger::Route(web)) => Cause::Address(network(web.ip)),
            (None, _) => Cause::Nobody,
        }
    }
}

fn network(ip: IpAddr) -> u64 {
    match ip.to_canonical() {
        IpAddr::V4(ip) => u32::from(ip).into(),
        IpAddr::V6(ip) => (u128::from(ip) >> 64) as u64,
    }
}

/// Leave to run once. Dropped: the trial, if it is one, is over.
pub(super) struct Pass<'b> {
    breaker: &'b Breaker,
    trial: bool,
}

/// What a call's end did to the breaker.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Turned {
    No,
    /// This many faults in a row.
    Open(u32),
    Closed,
}

impl Breaker {
    /// Until when calls are refused; `None`: it may run, or try.
    pub fn refuses(&self, now: Mono) -> Option<Mono> {
        match self.open_until.load(Relaxed) {
            until if now.ms() < until => Some(Mono::from_ms(until)),
            _ => None,
        }
    }

    /// Err: refused until then.
    pub fn admit(&self, now: Mono, limits: &Limits) -> Result<Pass<'_>, Mono> {
        match self.open_until.load(Relaxed) {
            0 => Ok(Pass { breaker: self, trial: false }),
            until if now.ms() < until => Err(Mono::from_ms(until)),
            _ if self.trying.swap(true, Relaxed) => Err(now + limits.breaker_for.0),
            _ => Ok(Pass { breaker: self, trial: true }),
        }
    }

    /// As new: the plugin may have changed.
    pub fn reset(&self) {
        self.forget();
        self.open_until.store(0, Relaxed);
    }

    fn forget(&self) {
        self.row.store(0, Relaxed);
        self.own.store(0, Relaxed);
        self.clients.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Whether as many clients' calls have failed as switch the handler off.
    fn fails_clients(&self, cause: Cause, now: Mono, limits: &Limits) -> bool {
        let max = limits.breaker_clients as usize;
        let key = self.keys.hash_one(cause);
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        clients.retain(|(known, at)| *known != key && now.since(*at) < limits.breaker_for.0);
        clients.push((key, now));
        max != 0 && clients.len() >= max
    }
}

impl Pass<'_> {
    /// It came to an end that its developer meant.
    pub fn well(self) -> Turned {
        let b = self.breaker;
        if b.row.load(Relaxed) != 0 {
            b.forget();
        }
        match b.open_until.load(Relaxed) {
            0 => Turned::No,
            _ => {
                b.open_until.store(0, Relaxed);
                Turned::Closed
            }
        }
    }

    /// A trial that a client's call fails leaves the handler as it was, ready for the next trial: else one client's calls
    /// could keep it off.
    pub fn fault(self, cause: Cause, now: Mono, limits: &Limits) -> Turned {
        let b = self.breaker;
        let row = b.row.fetch_add(1, Relaxed).saturating_add(1);
        let opens = match cause {
            Cause::Nobody => {
                let own = b.own.fetch_add(1, Relaxed).saturating_add(1);
                limits.breaker_faults != 0 && (self.trial || own >= limits.breaker_faults)
            }
            cause => limits.breaker_faults != 0 && b.fails_clients(cause, now, limits),
        };
        // Calls that were on their way when it opened do not open it again.
        if !opens || (!self.trial && b.open_until.load(Relaxed) != 0) {
            return Turned::No;
        }
        b.forget();
        b.open_until.store((now + limits.breaker_for.0).ms().max(1), Relaxed);
        Turned::Open(row)
    }
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        if self.trial {
            self.breaker.trying.store(false, Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Ms;

    const LIMITS: fn() -> Limits =
        || Limits { breaker_faults: 3, breaker_clients: 2, breaker_for: Ms(1_000), ..Limits::default() };

    fn at(ms: u64) -> Mono {
        Mono::from_ms(ms)
    }

    fn fails_of(breaker: &Breaker, cause: Cause, now: u64) -> Turned {
        let now = at(now);
        breaker.admit(now, &LIMITS()).map_or_else(|_| panic!("open"), |pass| pass.fault(cause, now, &LIMITS()))
    }

    fn fails(breaker: &Breaker, now: u64) -> Turned {
        fails_of(breaker, Cause::Nobody, now)
    }

    #[test]
    fn three_faults_in_a_row_switch_a_handler_off_and_one_call_tries() {
        let (breaker, limits) = (Breaker::default(), LIMITS());
        assert_eq!([fails(&breaker, 1), fails(&breaker, 2)], [Turned::No, Turned::No]);
        assert_eq!(breaker.admit(at(3), &limits).ok().unwrap().well(), Turned::No);
        assert_eq!([fails(&breaker, 4), fails(&breaker, 5)], [Turned::No, Turned::No]);
        assert_eq!(fails(&breaker, 6), Turned::Open(3));
        assert_eq!(breaker.refuses(at(1_005)), Some(at(1_006)));
        assert_eq!(breaker.admit(at(1_005), &limits).err(), Some(at(1_006)));
        let trial = breaker.admit(at(1_006), &limits).ok().unwrap();
        assert!(breaker.admit(at(1_006), &limits).is_err(), "one call tries, not two");
        assert_eq!(trial.fault(Cause::Nobody, at(1_010), &limits), Turned::Open(1));
        assert_eq!(breaker.refuses(at(2_009)), Some(at(2_010)));
        // A trial that never came to an end leaves room for the next.
        drop(breaker.admit(at(2_010), &limits));
        assert_eq!(breaker.admit(at(2_010), &limits).ok().unwrap().well(), Turned::Closed);
        assert_eq!(breaker.refuses(at(2_010)), None);
    }

    #[test]
    fn one_client_never_switches_a_handler_off_and_several_do() {
        let breaker = Breaker::default();
        for n in 0..50 {
            assert_eq!(fails_of(&breaker, Cause::User("ann"), n), Turned::No);
        }
        assert_eq!(fails_of(&breaker, Cause::Address(1), 50), Turned::Open(51), "a second one");
        // One call tries at a time, and one client's do not keep it off.
        for n in 0..50 {
            assert_eq!(fails_of(&breaker, Cause::User("ann"), 1_050 + n), Turned::No);
        }
        assert_eq!(breaker.refuses(at(1_100)), None);
        assert_eq!(breaker.admit(at(1_100), &LIMITS()).ok().unwrap().well(), Turned::Closed);
    }

    #[test]
    fn clients_count_together_within_the_time_that_it_would_be_off() {
        let breaker = Breaker::default();
        assert_eq!(fails_of(&breaker, Cause::User("ann"), 10_000), Turned::No);
        assert_eq!(fails_of(&breaker, Cause::User("bob"), 11_000), Turned::No, "a second after");
        assert_eq!(breaker.admit(at(11_001), &LIMITS()).ok().unwrap().well(), Turned::No);
        assert_eq!(fails_of(&breaker, Cause::User("ann"), 11_002), Turned::No, "it went well in between");
        assert!(breaker.clients.lock().unwrap().len() <= LIMITS().breaker_clients as usize);
    }

    #[test]
    fn addresses_of_one_subscriber_are_one_client() {
        let of = |ip: &str| Cause::Address(network(ip.parse().unwrap()));
        assert_eq!(of("2001:db8:0:1::1"), of("2001:db8:0:1:ffff::2"));
        assert_ne!(of("2001:db8:0:1::1"), of("2001:db8:0:2::1"));
        assert_eq!(of("192.0.2.1"), of("::ffff:192.0.2.1"));
        assert_ne!(of("192.0.2.1"), of("192.0.2.2"));
    }

    #[test]
    fn zero_faults_never_switch_it_off() {
        let (breaker, limits) = (Breaker::default(), Limits { breaker_faults: 0, ..LIMITS() });
        for now in 0..100 {
            for cause in [Cause::Nobody, Cause::Address(now)] {
                assert_eq!(breaker.admit(at(now), &limits).ok().unwrap().fault(cause, at(now), &limits), Turned::No);
            }
        }
        assert!(breaker.clients.lock().unwrap().is_empty());
    }
}
