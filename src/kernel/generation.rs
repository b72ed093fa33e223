//! A new generation under live connections: what of them goes on, what is decided again, what ends.
//!
//! Numbers of classes and endpoints belong to a generation: channels find their class by name, connections their
//! endpoint by its key. Subscriptions are decided again in slices, so that nobody waits while thousands are taken back.

use super::conn::Conn;
use super::drain::Drain;
use super::io::Io;
use super::kernel::Kernel;
use super::reauthorizer::Review;
use crate::flow::{App, Generation, Session};
use crate::model::{AppId, Close, ConnectionId, Member, Slot};
use std::sync::Arc;

/// Subscriptions decided again between two looks at sockets, about: a connection's are decided together.
pub(super) const REVIEW_SLICE: usize = 256;

/// Where a connection is in another generation, and what has to be looked at there.
pub(super) struct Place {
    pub endpoint: u16,
    pub decide: bool,
    pub born: bool,
    pub list: bool,
}

impl Place {
    /// `old`: the app as it was, where its number's generation is known. `None`: its endpoint is gone.
    pub fn of(session: &Session, old: Option<&Arc<App>>, now: &Arc<App>) -> Option<Place> {
        let Some(old) = old else {
            let endpoint = now.endpoint(session.endpoint).map(|_| session.endpoint)?;
            return Some(Place { endpoint, decide: true, born: false, list: false });
        };
        let was = old.endpoint(session.endpoint)?;
        let endpoint = now.endpoint_of(&was.key)?;
        let born = now.endpoint(endpoint)?.subscribe != was.subscribe;
        let (decide, lists) = (old.rules != now.rules, now.classes.iter().any(|class| class.presence));
        Some(Place { endpoint, decide, born, list: lists && (decide || old.classes != now.classes) })
    }
}

impl<I: Io> Kernel<I> {
    pub(super) fn take_generation(&mut self, generation: Arc<Generation>) {
        let first = self.generation.number == generation.number;
        for app in generation.apps.iter().flatten() {
            let known = self.generation.app(app.id).filter(|_| !first);
            if known.is_none_or(|known| known.rules != app.rules || known.classes != app.classes) {
                self.hub.set_classes(app.id, app.classes.clone(), Some(app.policy.clone()));
            }
            self.reviews.former.remove(&app.id);
        }
        self.hub.begin(generation.number, self.now);
        let shards = self.shared.shards();
        for app in generation.apps.iter().flatten() {
            self.hub.set_history_max(app.id, app.limits.history_bytes.0 as usize / shards);
        }
        self.counts.find_again(&self.shared.metrics);
        let bounds = generation.apps.iter().flatten().map(|a| a.limits.queue_bytes.0 as usize);
        self.out.queue_bytes_min = bounds.min().unwrap_or(0);
        let before = std::mem::replace(&mut self.generation, generation.clone());
        // Connections of an app that is gone end by its own rules.
        for app in before.apps.iter().flatten().filter(|app| generation.app(app.id).is_none()) {
            self.reviews.former.insert(app.id, app.clone());
        }
        for slot in self.conns.slots(|_| true) {
            self.carry_over(slot, &before);
        }
        self.tell_of_requests(&before);
        self.drain_listeners();
        self.carry();
        self.tell_settled();
    }

    /// Requests are kept only where something reads them: what begins to finds those missing that came before.
    fn tell_of_requests(&self, before: &Generation) {
        let begins = |app: &&Arc<App>| app.keeps_requests && before.app(app.id).is_some_and(|old| !old.keeps_requests);
        for app in self.generation.apps.iter().flatten().filter(begins) {
            let here = self.conns.iter().filter(|(_, c)| c.session.app == app.id && c.session.request.is_none());
            let connections = here.count();
            if connections > 0 {
                tracing::warn!(
                    app = &*app.name,
                    connections,
                    "rules or channels of endpoints read the request from now on: these connections have not kept \
                     theirs, what reads it is refused to them until they connect again"
                );
            }
        }
    }

    /// Others may go on, once all channels are at their homes; so may those who asked too early.
    pub(super) fn tell_settled(&mut self) {
        let settled = self.hub.settled();
        let Some(early) = self.reviews.settle(settled) else { return };
        self.shared.settle(self.me, settled);
        for input in early {
            self.input(input);
        }
        self.carry();
    }

    /// One connection's way into the new generation.
    fn carry_over(&mut self, slot: Slot, before: &Generation) {
        let Conn { session, encoding, .. } = &mut self.conns[slot];
        let Some(now) = self.generation.app(session.app) else { return self.close(slot, Close::APP_REMOVED) };
        let old = before.app(session.app);
        if old.is_some_and(|old| Arc::ptr_eq(old, now)) {
            return;
        }
        let Some(place) = Place::of(session, old, now) else { return self.close(slot, Close::ENDPOINT_REMOVED) };
        session.endpoint = place.endpoint;
        encoding.endpoint = place.endpoint;
        let Some(endpoint) = now.endpoint(place.endpoint) else { return };
        session.expiry = endpoint.auth.iter().find_map(|auth| auth.expiry());
        // Deadlines are looked at again with the decisions.
        let Place { decide, born, list, .. } = place;
        self.reviews.later(Review { slot, id: session.id, decide, born, list });
    }

    /// What it was allowed may not be any more: looked at soon.
    pub(super) fn review_later(&mut self, slot: Slot) {
        let id = self.conns[slot].session.id;
        self.reviews.later(Review { slot, id, decide: true, born: false, list: false });
    }

    /// The same of every connection of an app that hears something. Who waits already is not put down twice: rows may
    /// change faster than all are decided.
    pub(super) fn review_app(&mut self, app: AppId) {
        let waiting = self.reviews.undecided();
        let hears = |c: &Conn<_>| c.session.app == app && !c.session.subs.is_empty();
        let slots = self.conns.slots(|c| hears(c) && !waiting.contains(&c.session.id));
        slots.into_iter().for_each(|slot| self.review_later(slot));
    }

    /// Decides some subscriptions again. Returns whether more wait.
    pub(super) fn review(&mut self) -> bool {
        let (mut decided, mut revoked) = (0, 0);
        while decided < REVIEW_SLICE
            && let Some(Review { slot, id, decide, born, list }) = self.reviews.next()
        {
            decided += 1;
            if !self.is_open_still(slot, id) {
                continue;
            }
            if decide || born {
                let revoke = self.generation.revoke;
                let session = &self.conns[slot].session;
                decided += session.subs.len();
                // Who has yet to say who it is gets them with its greeting.
                let born = born && !session.newcomer;
                revoked += self.walk_own(slot, |walk| walk.decide_again(revoke, born)).unwrap_or(0);
                self.carry();
            }
            if list {
                decided += self.conns[slot].session.subs.len();
                self.list(slot);
            }
            self.schedule(slot);
        }
        if revoked > 0 {
            self.shared.metrics.revoked(revoked as u64);
        }
        self.reviews.has_work()
    }

    /// Homes that list who is there learn that this connection is.
    fn list(&mut self, slot: Slot) {
        for at in 0..self.conns[slot].session.subs.len() {
            self.list_sub(slot, at);
        }
        self.carry();
    }

    pub(super) fn list_sub(&mut self, slot: Slot, at: usize) {
        let session = &self.conns[slot].session;
        let number = session.subs[at].channel;
        if self.hub.lists(number) {
            let member = Member {
                connection: session.id,
                identity: session.identity.clone(),
                joined_at: session.connected_at.wall,
            };
            self.hub.present(number, member, self.now);
        }
    }

    fn is_open_still(&self, slot: Slot, id: ConnectionId) -> bool {
        self.conns.is_same(slot, id) && self.conns[slot].is_open()
    }

    /// The app of a connection, though its file may be gone.
    pub(super) fn app_of(&self, slot: Slot) -> Option<Arc<App>> {
        let id = self.conns.get(slot)?.session.app;
        self.generation.app(id).or_else(|| self.reviews.former.get(&id)).cloned()
    }

    /// Apps that are gone are forgotten with their last connection.
    pub(super) fn forget_former(&mut self) {
        if !self.reviews.former.is_empty() {
            let used: hashbrown::HashSet<AppId> = self.conns.iter().map(|(_, c)| c.session.app).collect();
            let (former, hub) = (&mut self.reviews.former, &mut self.hub);
            former.retain(|id, _| {
                let stays = used.contains(id);
                if !stays {
                    // Nobody can ask for it any more.
                    hub.evict(*id, usize::MAX);
                }
                stays
            });
        }
    }

    /// Connections of listeners that are gone are closed at the drain's pace.
    fn drain_listeners(&mut self) {
        let listeners = self.generation.listeners.clone();
        let is_live = |number: u16| listeners.get(number as usize).is_none_or(|live| *live);
        self.drains.retain(|drain| drain.listener.is_none_or(|number| !is_live(number)));
        let shards = self.shared.shards() as u32;
        let pace = self.generation.limits.drain_pace.div_ceil(shards).max(1);
        for number in (0..listeners.len() as u16).filter(|n| !is_live(*n)) {
            let used = self.conns.iter().any(|(_, c)| c.is_open() && c.session.listener == number);
            if used && !self.drains.iter().any(|d| d.listener == Some(number)) {
                let close = Close::LISTENER_REMOVED;
                self.drains.push(Drain { listener: Some(number), pace, close, since: self.now.mono, closed: 0 });
            }
        }
    }

    pub(super) fn is_listening(&self, number: u16) -> bool {
        self.generation.listeners.get(number as usize).is_none_or(|live| *live)
    }
}
