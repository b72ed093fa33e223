//! How many connections there are: in the process, by address, by app, by user, by what a claim says.
//!
//! One table for all shards, touched at connect, when a connection learns its user, and at close. What is reserved is
//! given back when its guard drops.

use crate::flow::limits::ClaimBounds;
use crate::flow::{App, AppLimits};
use crate::model::{AppId, Close, Identity};
use crate::observe::LimitName;
use hashbrown::HashMap;
use serde_json::Value;
use std::hash::{BuildHasher, Hash, RandomState};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

/// Locks by which a table is split.
const PARTS: usize = 16;

/// The counts of a process.
pub struct Counts {
    connections: AtomicU32,
    ips: Table<IpAddr>,
    apps: Table<AppId>,
    users: Table<(AppId, Arc<str>)>,
    claims: Table<Claimed>,
}

/// An app's claim and its value.
type Claimed = (AppId, Arc<str>, Arc<str>);

/// Which bound was met.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Full {
    /// `limits.connections`
    Process,
    /// `limits.connections_per_ip`
    Ip,
}

/// A connection's places; they are free again when it drops.
pub struct Seat {
    counts: Arc<Counts>,
    ip: IpAddr,
    app: Option<AppId>,
    user: Option<Arc<str>>,
    claims: Box<[Claimed]>,
}

impl Counts {
    pub fn new() -> Arc<Counts> {
        let connections = AtomicU32::new(0);
        let (ips, apps, users, claims) = (Table::new(), Table::new(), Table::new(), Table::new());
        Arc::new(Counts { connections, ips, apps, users, claims })
    }

    /// A place for a connection from `ip`.
    pub fn reserve(self: &Arc<Counts>, ip: IpAddr, connections_max: u32, per_ip_max: u32) -> Result<Seat, Full> {
        let ip = party(ip);
        if !take(&self.connections, connections_max) {
            return Err(Full::Process);
        }
        if !self.ips.take(&ip, per_ip_max) {
            self.connections.fetch_sub(1, Relaxed);
            return Err(Full::Ip);
        }
        Ok(Seat { counts: self.clone(), ip, app: None, user: None, claims: Box::default() })
    }

    /// Connections in the process, those being authenticated included.
    pub fn connections(&self) -> u32 {
        self.connections.load(Relaxed)
    }

    /// Of one app.
    pub fn app_connections(&self, app: AppId) -> u32 {
        self.apps.get(&app)
    }
}

impl Seat {
    /// Takes a newcomer's places: the app's, and those of who it is, where that is known. Err: the bound that leaves none,
    /// and what it is closed with.
    pub fn admit(&mut self, app: &App, identity: Option<&Identity>) -> Result<(), (LimitName, Close)> {
        if !self.enter(app.id, app.limits.app_connections) {
            return Err((LimitName::AppConnections, Close::OVERLOADED));
        }
        let known = identity.map_or(Ok(()), |identity| self.know(identity, &app.limits));
        known.map_err(|full| (full, Close::TOO_MANY_CONNECTIONS))
    }

    /// Takes a place of the app; `false`: none is free.
    fn enter(&mut self, app: AppId, max: u32) -> bool {
        let free = self.app.is_none() && self.counts.apps.take(&app, max);
        if free {
            self.app = Some(app);
        }
        free
    }

    /// Takes the places of somebody who is known now. Err: the bound that leaves none.
    pub fn know(&mut self, identity: &Identity, limits: &AppLimits) -> Result<(), LimitName> {
        let users_max = limits.connections_per_user;
        if identity.user.as_ref().is_some_and(|user| !self.identify(user, users_max)) {
            return Err(LimitName::ConnectionsPerUser);
        }
        match self.claim(identity, &limits.connections_per_claim) {
            true => Ok(()),
            false => Err(LimitName::ConnectionsPerClaim),
        }
    }

    /// Takes a place of the app's user; `false`: none is free. A connection that becomes another user gives the first back.
    fn identify(&mut self, user: &Arc<str>, max: u32) -> bool {
        let Some(app) = self.app else { return false };
        if self.user.as_ref() == Some(user) {
            return true;
        }
        let free = self.counts.users.take(&(app, user.clone()), max);
        if free && let Some(before) = self.user.replace(user.clone()) {
            self.counts.users.give(&(app, before));
        }
        free
    }

    /// Takes a place by each bounded claim that the identity has; `false`: one has none free, and nothing has changed.
    /// Places by claims that it does not have any more are given back.
    fn claim(&mut self, identity: &Identity, bounds: &ClaimBounds) -> bool {
        let Some(app) = self.app.filter(|_| !bounds.is_empty() || !self.claims.is_empty()) else { return true };
        let table = &self.counts.claims;
        let (mut all, mut fresh): (Vec<Claimed>, Vec<Claimed>) = (Vec::new(), Vec::new());
        for (name, max) in bounds {
            let Some(value) = identity.claim(name).and_then(text) else { continue };
            let key: Claimed = (app, name.as_str().into(), value);
            if !self.claims.contains(&key) {
                if !table.take(&key, max.get()) {
                    fresh.iter().for_each(|key| table.give(key));
                    return false;
                }
                fresh.push(key.clone());
            }
            all.push(key);
        }
        self.claims.iter().filter(|key| !all.contains(key)).for_each(|key| table.give(key));
        self.claims = all.into();
        true
    }
}

/// A claim's value as it is counted; nothing where there is none.
fn text(value: &Value) -> Option<Arc<str>> {
    match value {
        Value::Null => None,
        Value::String(text) => (!text.is_empty()).then(|| text.as_str().into()),
        other => Some(other.to_string().into()),
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.counts.connections.fetch_sub(1, Relaxed);
        self.counts.ips.give(&self.ip);
        if let Some(app) = self.app {
            self.counts.apps.give(&app);
            if let Some(user) = self.user.take() {
                self.counts.users.give(&(app, user));
            }
            self.claims.iter().for_each(|key| self.counts.claims.give(key));
        }
    }
}

/// Who an address belongs to, for bounds: an IPv6 subscriber has a /64 of them.
pub fn party(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(ip) => IpAddr::V6(Ipv6Addr::from_bits(ip.to_bits() >> 64 << 64)),
        v4 => v4,
    }
}

/// Whose addresses are near to each other: a /32 of IPv6, a /16 of IPv4, as networks get them.
pub fn neighbourhood(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(ip) => IpAddr::V6(Ipv6Addr::from_bits(ip.to_bits() >> 96 << 96)),
        IpAddr::V4(ip) => IpAddr::V4(Ipv4Addr::from_bits(ip.to_bits() >> 16 << 16)),
    }
}

fn take(count: &AtomicU32, max: u32) -> bool {
    count.fetch_update(Relaxed, Relaxed, |n| (n < max).then_some(n + 1)).is_ok()
}

struct Table<K> {
    parts: [Mutex<HashMap<K, u32>>; PARTS],
    hasher: RandomState,
}

impl<K: Hash + Eq + Clone> Table<K> {
    fn new() -> Table<K> {
        Table { parts: std::array::from_fn(|_| Mutex::default()), hasher: RandomState::new() }
    }

    fn part<T>(&self, key: &K, with: impl FnOnce(&mut HashMap<K, u32>) -> T) -> T {
        let part = &self.parts[self.hasher.hash_one(key) as usize % PARTS];
        with(&mut part.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn take(&self, key: &K, max: u32) -> bool {
        self.part(key, |counts| match counts.get_mut(key) {
            Some(n) if *n >= max => false,
            Some(n) => {
                *n += 1;
                true
            }
            None if max == 0 => false,
            None => {
                counts.insert(key.clone(), 1);
                true
            }
        })
    }

    fn give(&self, key: &K) {
        self.part(key, |counts| match counts.get_mut(key) {
            Some(n) if *n > 1 => *n -= 1,
            _ => drop(counts.remove(key)),
        })
    }

    fn get(&self, key: &K) -> u32 {
        self.part(key, |counts| counts.get(key).copied().unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_holds_until_somebody_leaves() {
        let counts = Counts::new();
        let [ann, bob]: [IpAddr; 2] = ["192.0.2.1".parse().unwrap(), "2001:db8::1".parse().unwrap()];
        let first = counts.reserve(ann, 3, 1).ok().unwrap();
        assert_eq!(counts.reserve(ann, 3, 1).err(), Some(Full::Ip));
        let _second = counts.reserve(bob, 3, 2).ok().unwrap();
        let neighbour = "2001:db8::2".parse().unwrap();
        let _third = counts.reserve(neighbour, 3, 2).ok().unwrap();
        assert_eq!(counts.reserve("2001:db8::3".parse().unwrap(), 9, 2).err(), Some(Full::Ip));
        assert_eq!(counts.reserve("192.0.2.9".parse().unwrap(), 3, 1).err(), Some(Full::Process));
        drop(first);
        assert_eq!(counts.connections(), 2);
        assert!(counts.reserve(ann, 3, 1).is_ok());
    }

    #[test]
    fn apps_and_users_are_counted_apart_and_given_back() {
        let counts = Counts::new();
        let seat = || counts.reserve("192.0.2.1".parse().unwrap(), 9, 9).ok().unwrap();
        let (user, other): (Arc<str>, Arc<str>) = ("u1".into(), "u2".into());
        let (mut a, mut b, mut c) = (seat(), seat(), seat());
        assert!(a.enter(AppId(1), 2) && b.enter(AppId(1), 2) && !c.enter(AppId(1), 2) && c.enter(AppId(2), 2));
        assert!(a.identify(&user, 1) && a.identify(&user, 1) && !b.identify(&user, 1) && c.identify(&user, 1));
        assert!(a.identify(&other, 1), "the first user's place is free again");
        assert!(b.identify(&user, 1));
        drop((a, b, c));
        assert_eq!((counts.connections(), counts.app_connections(AppId(1))), (0, 0));
    }

    #[test]
    fn claims_are_counted_by_value_and_given_back_when_they_change() {
        let counts = Counts::new();
        let seat = || {
            let mut seat = counts.reserve("192.0.2.1".parse().unwrap(), 9, 9).ok().unwrap();
            assert!(seat.enter(AppId(1), 9));
            seat
        };
        let bounds: ClaimBounds = serde_json::from_str(r#"{"org.id":2,"plan":1}"#).unwrap();
        let who = |org: &str, plan: Value| {
            let claims = serde_json::json!({ "org": { "id": org }, "plan": plan });
            Identity { claims: claims.as_object().unwrap().clone(), ..Identity::default() }
        };
        let (mut a, mut b, mut c, mut d) = (seat(), seat(), seat(), seat());
        assert!(a.claim(&who("o1", Value::Null), &bounds) && a.claim(&who("o1", Value::Null), &bounds));
        assert!(b.claim(&who("o1", 7.into()), &bounds));
        assert!(!c.claim(&who("o1", Value::Null), &bounds), "the third of the organization");
        assert!(!c.claim(&who("o2", 7.into()), &bounds), "the second of the plan");
        // What was refused has taken nothing: both places of `o2` are free.
        assert!(c.claim(&who("o2", "".into()), &bounds) && d.claim(&who("o2", Value::Null), &bounds));
        assert!(a.claim(&who("o3", Value::Null), &bounds), "somebody else now");
        assert!(d.claim(&who("o1", Value::Null), &bounds), "and so a place is free again");
        drop((a, b, c, d));
        assert!(counts.claims.parts.iter().all(|part| part.lock().unwrap().is_empty()));
    }
}
