//! Places of HTTP connections and handshakes: in the process, and by address.
//!
//! Where all are taken, the connection that has waited longest for its client makes room: a client of good will is done
//! in milliseconds, one that is silent has had its time. So neither silence nor slowness of some keeps others out.

use crate::kernel::party;
use crate::model::memory::{Account, Kind, Taken};
use hashbrown::HashMap;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// What a connection takes while HTTP is on it, about: hyper's buffers, its task, what it asks.
pub const HTTP_BYTES: usize = 20 << 10;
/// What rustls may hold beside that of a handshake that does not end: a message of 64 KiB, and its records.
const HELLO_BYTES: usize = 80 << 10;
/// Connections at work that are passed over in the search for one that waits.
const LOOKS: usize = 64;

#[derive(Default)]
pub struct HttpPlaces(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    next: u64,
    all: BTreeMap<u64, (IpAddr, Arc<HttpPlace>)>,
    addresses: HashMap<IpAddr, Address>,
}

#[derive(Default)]
struct Address {
    places: BTreeMap<u64, Arc<HttpPlace>>,
    body_bytes: usize,
}

/// One connection's, as those see it who look for room.
#[derive(Default)]
pub struct HttpPlace {
    busy: AtomicBool,
    made_room: Notify,
    /// Until its TLS handshake is done.
    hello: Mutex<Option<Taken>>,
}

/// An HTTP connection's place; free again when it drops.
pub struct HttpSeat {
    places: Arc<HttpPlaces>,
    number: u64,
    pub place: Arc<HttpPlace>,
    _memory: Taken,
}

/// Bytes of bodies from one address.
pub struct BodyBytes {
    places: Arc<HttpPlaces>,
    ip: IpAddr,
    bytes: usize,
}

/// Why there is no place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NoPlace {
    /// `http.connections`
    Process,
    /// `http.connections_per_ip`
    Address,
    /// `limits.memory`
    Memory,
}

impl HttpPlace {
    /// Whether its client is waited for.
    pub fn waits(&self, waits: bool) {
        self.busy.store(!waits, Relaxed);
    }

    /// Its TLS handshake is done, or it has none.
    pub fn has_shaken_hands(&self) {
        self.hello.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    /// Resolves when it has to make room.
    pub async fn made_room(&self) {
        self.made_room.notified().await;
    }
}

impl HttpPlaces {
    /// A place for a connection from `ip`, which waits for its client. Err: all are at work.
    pub fn take(
        self: &Arc<Self>,
        ip: IpAddr,
        (max, per_ip_max): (u32, u32),
        memory: &Arc<Account>,
        tls: bool,
    ) -> Result<HttpSeat, NoPlace> {
        let ip = party(ip);
        let mut inner = self.lock();
        let of_ip = inner.addresses.get(&ip).map_or(0, |address| address.places.len());
        if of_ip >= per_ip_max as usize && !inner.make_room(Some(ip)) {
            return Err(NoPlace::Address);
        }
        if inner.all.len() >= max as usize && !inner.make_room(None) {
            return Err(NoPlace::Process);
        }
        let mut reserve = |bytes| match memory.reserve(Kind::Http, bytes) {
            Some(taken) => Ok(taken),
            // What made room gives its bytes back in a moment.
            None if inner.make_room(None) => Ok(memory.take(Kind::Http, bytes).0),
            None => Err(NoPlace::Memory),
        };
        let taken = reserve(HTTP_BYTES)?;
        let hello = if tls { Some(reserve(HELLO_BYTES)?) } else { None };
        let number = inner.next;
        inner.next += 1;
        let place = Arc::new(HttpPlace { hello: Mutex::new(hello), ..HttpPlace::default() });
        inner.all.insert(number, (ip, place.clone()));
        inner.addresses.entry(ip).or_default().places.insert(number, place.clone());
        Ok(HttpSeat { places: self.clone(), number, place, _memory: taken })
    }

    pub fn body_bytes(self: &Arc<Self>, ip: IpAddr) -> BodyBytes {
        BodyBytes { places: self.clone(), ip: party(ip), bytes: 0 }
    }

    pub fn len(&self) -> usize {
        self.lock().all.len()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// Ends the connection that has waited longest, of one address or of all.
    fn make_room(&mut self, of: Option<IpAddr>) -> bool {
        let waits = |place: &&Arc<HttpPlace>| !place.busy.load(Relaxed);
        let found = match of {
            Some(ip) => self.addresses.get(&ip).and_then(|address| {
                address.places.iter().take(LOOKS).find(|(_, place)| waits(place)).map(|(number, _)| *number)
            }),
            None => self.all.iter().take(LOOKS).find(|(_, (_, place))| waits(&place)).map(|(number, _)| *number),
        };
        let Some(number) = found else { return false };
        if let Some(place) = self.remove(number) {
            place.made_room.notify_one();
        }
        true
    }

    fn remove(&mut self, number: u64) -> Option<Arc<HttpPlace>> {
        let (ip, place) = self.all.remove(&number)?;
        if let Some(address) = self.addresses.get_mut(&ip) {
            address.places.remove(&number);
            self.tidy(ip);
        }
        Some(place)
    }

    fn tidy(&mut self, ip: IpAddr) {
        if self.addresses.get(&ip).is_some_and(|address| address.places.is_empty() && address.body_bytes == 0) {
            self.addresses.remove(&ip);
        }
    }
}

impl Drop for HttpSeat {
    fn drop(&mut self) {
        self.places.lock().remove(self.number);
    }
}

impl BodyBytes {
    /// It is to grow, or has shrunk; `false`: all bodies of its address would have more than `max`.
    pub fn resize(&mut self, bytes: usize, max: usize) -> bool {
        let mut inner = self.places.lock();
        let address = inner.addresses.entry(self.ip).or_default();
        let sum = address.body_bytes - self.bytes + bytes;
        let fits = sum <= max || bytes <= self.bytes;
        if fits {
            address.body_bytes = sum;
            self.bytes = bytes;
        }
        inner.tidy(self.ip);
        fits
    }
}

impl Drop for BodyBytes {
    fn drop(&mut self) {
        if self.bytes > 0 {
            self.resize(0, 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Memory;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_tls_handshake_counts_until_it_is_done() {
        let (places, memory) = (Arc::new(HttpPlaces::default()), Memory::new());
        memory.set(1 << 20, &[]);
        let take = |from: &str| places.take(ip(from), (100, 100), &memory.strangers, true);
        let (one, two) = (take("192.0.2.1").ok().unwrap(), take("192.0.2.2").ok().unwrap());
        let full = memory.strangers.used();
        assert_eq!(full, 2 * (HTTP_BYTES + HELLO_BYTES));
        // There is room for no third: the one that has waited longest makes it.
        let three = take("192.0.2.3").ok().unwrap();
        assert!(tokio_test(&one) && !tokio_test(&two));
        drop(one);
        three.place.has_shaken_hands();
        assert_eq!(memory.strangers.used(), full - HELLO_BYTES);
        drop((two, three));
        assert_eq!(memory.strangers.used(), 0);
    }

    #[test]
    fn who_has_waited_longest_makes_room_and_who_is_at_work_does_not() {
        let (places, memory) = (Arc::new(HttpPlaces::default()), Memory::new());
        let take = |from: &str| places.take(ip(from), (4, 2), &memory.strangers, false);
        let silent = take("192.0.2.1").unwrap();
        let busy = take("192.0.2.1").unwrap();
        busy.place.waits(false);
        // The same /64 is one address; another is not touched by it.
        let neighbour = take("2001:db8::1").unwrap();
        let third = take("192.0.2.1").unwrap();
        assert!(tokio_test(&silent) && !tokio_test(&busy) && !tokio_test(&neighbour));
        third.place.waits(false);
        assert_eq!(take("192.0.2.1").err(), Some(NoPlace::Address), "both are at work");
        let other = take("198.51.100.1").unwrap();
        let last = take("198.51.100.2").unwrap();
        assert!(tokio_test(&neighbour), "of all, it has waited longest");
        assert!(!tokio_test(&last));
        drop((silent, busy, neighbour, third, other, last));
        assert_eq!((places.len(), places.lock().addresses.len(), memory.strangers.used()), (0, 0, 0));
    }

    /// Whether it was told to make room.
    fn tokio_test(seat: &HttpSeat) -> bool {
        use std::pin::pin;
        use std::task::{Context, Waker};
        pin!(seat.place.made_room()).poll(&mut Context::from_waker(Waker::noop())).is_ready()
    }

    #[test]
    fn bodies_of_one_address_have_a_bound_together() {
        let places = Arc::new(HttpPlaces::default());
        let (mut a, mut b) = (places.body_bytes(ip("2001:db8::1")), places.body_bytes(ip("2001:db8::2")));
        let mut other = places.body_bytes(ip("192.0.2.1"));
        assert!(a.resize(60, 100) && !b.resize(60, 100) && b.resize(40, 100) && other.resize(100, 100));
        drop(a);
        assert!(b.resize(100, 100));
        drop((b, other));
        assert!(places.lock().addresses.is_empty());
    }
}
