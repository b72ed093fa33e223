//! What each app takes of the process's memory in this shard, and what goes where it takes too much.
//!
//! Bytes are counted as they are taken on, in plain integers. They are held against the app's bound after each read and
//! each few inputs, so what comes beyond it is at most what one of these brings. Then the app's oldest history goes,
//! then its connections that hold most, and while that is not enough nothing new is taken: of this app, not of others.

use super::conn::Conn;
use super::input::Input;
use super::io::Io;
use super::kernel::Kernel;
use crate::flow::{KeptRequest, Room};
use crate::model::memory::{Account, Allowance, Kind};
use crate::model::{AppId, Identity, Mono, Slot, capped};
use crate::observe::LimitName;
use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;

/// A connection's own places: in the slab, by its id, in the counts, in the wheel and the poll.
const CONN_BYTES: usize = size_of::<Conn<()>>() + 512;
/// After a relief that did not help: when it is tried again.
const AGAIN_MS: u64 = 50;

/// One app's memory in this shard.
pub(super) struct AppMemory {
    allowance: Allowance,
    /// Of frames that wait to be written.
    pub frames: Meter,
    /// What its connections hold was not enough: nothing new is taken.
    full: bool,
    relieved_at: Mono,
}

/// Bytes of frames of one app in one shard. A frame's share is counted once, however many queues it is in.
#[derive(Clone, Default)]
pub struct Meter(Rc<Cell<usize>>);

/// Bytes on a meter; off it again when they drop.
pub struct Metered {
    meter: Meter,
    bytes: usize,
}

/// A connection's bytes as its app's allowance has them.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Counted {
    pub(super) queue: u32,
    messages: u32,
    session: u32,
}

impl Meter {
    pub fn count(&self, bytes: usize) -> Metered {
        self.0.set(self.0.get() + bytes);
        Metered { meter: self.clone(), bytes }
    }
}

impl Drop for Metered {
    fn drop(&mut self) {
        self.meter.0.set(self.meter.0.get() - self.bytes);
    }
}

impl Counted {
    fn of<T>(conn: &Conn<T>) -> Counted {
        Counted {
            queue: capped(conn.places_bytes()),
            messages: capped(conn.unfinished_bytes()),
            session: capped(CONN_BYTES + conn.session.held_bytes()),
        }
    }
}

impl AppMemory {
    pub fn account(&self) -> &Arc<Account> {
        self.allowance.account()
    }

    /// What a walk of one of its connections may take.
    pub fn room(&self) -> Room<'_> {
        Room { account: self.allowance.account(), full: self.full }
    }
}

/// What a connection keeps beside itself from its handshake on.
pub(super) fn handshake_bytes(user_agent: Option<&str>, request: Option<&KeptRequest>) -> usize {
    user_agent.map_or(0, |text| text.len() + 16) + request.map_or(0, KeptRequest::held_bytes)
}

pub(super) fn identity_bytes(identity: &Identity) -> u32 {
    // Who is anonymous shares one identity with all others.
    if identity.user.is_none() && identity.claims.is_empty() { 0 } else { capped(identity.held_bytes()) }
}

impl<I: Io> Kernel<I> {
    pub(super) fn memory_of(&mut self, app: AppId) -> &mut AppMemory {
        let at = app.0 as usize;
        while self.memory.len() <= at {
            let account = self.shared.memory().app(AppId(self.memory.len() as u16));
            let (allowance, frames) = (Allowance::new(account), Meter::default());
            self.memory.push(AppMemory { allowance, frames, full: false, relieved_at: Mono::default() });
        }
        &mut self.memory[at]
    }

    /// Counts a connection anew: what it holds has changed, or may have.
    pub(super) fn recount(&mut self, slot: Slot) {
        let Some(conn) = self.conns.get_mut(slot) else { return };
        let now = Counted::of(conn);
        if now != conn.counted {
            let (before, app) = (std::mem::replace(&mut conn.counted, now), conn.session.app);
            self.recounted(app, before, now);
        }
    }

    /// The same where only what waits for it has changed. Asked once a tick, after what could be written was, and not at
    /// each delivery: nearly always all was, and nothing is to be counted.
    pub(super) fn recount_queue(&mut self, slot: Slot) {
        let conn = &mut self.conns[slot];
        let now = capped(conn.places_bytes());
        let before = std::mem::replace(&mut conn.counted.queue, now);
        if now != before {
            let app = conn.session.app;
            self.memory_of(app).allowance.replace(Kind::Queues, before as usize, now as usize);
        }
    }

    /// It is gone.
    pub(super) fn uncount(&mut self, conn: &Conn<I::Transport>) {
        self.recounted(conn.session.app, conn.counted, Counted::default());
    }

    fn recounted(&mut self, app: AppId, before: Counted, now: Counted) {
        let allowance = &mut self.memory_of(app).allowance;
        let kinds = [Kind::Queues, Kind::Messages, Kind::Connections];
        let (before, now) = ([before.queue, before.messages, before.session], [now.queue, now.messages, now.session]);
        for (kind, (before, now)) in kinds.into_iter().zip(before.into_iter().zip(now)) {
            allowance.replace(kind, before as usize, now as usize);
        }
    }

    /// Holds what an app takes against its bound.
    pub(super) fn settle_memory(&mut self, app: AppId) {
        let channels = self.hub.usage(app).bytes;
        let memory = self.memory_of(app);
        let allowance = &mut memory.allowance;
        allowance.replace(Kind::Channels, allowance.of(Kind::Channels), channels);
        allowance.replace(Kind::Events, allowance.of(Kind::Events), memory.frames.0.get());
        if allowance.is_over() || allowance.account().was_over() || memory.full {
            self.relieve(app, false);
        }
    }

    /// The same for the app of a connection that was given much.
    pub(super) fn settle_memory_of(&mut self, slot: Slot) {
        if let Some(app) = self.conns.get(slot).map(|conn| conn.session.app) {
            self.settle_memory(app);
        }
    }

    /// Holds what all apps take against their bounds: between inputs of which each may bring much.
    pub fn settle_all_memory(&mut self) {
        for app in 0..self.memory.len() {
            self.settle_memory(AppId(app as u16));
        }
        self.count_evicted();
    }

    /// Tells the account what its bytes are held for.
    pub(super) fn tell_memory(&mut self) {
        self.settle_all_memory();
        for memory in &mut self.memory {
            memory.allowance.tell();
        }
    }

    /// Makes room for an app that takes too much. `asked`: by another shard, which found nothing of its own.
    pub(super) fn relieve(&mut self, app: AppId, asked: bool) {
        let (now, shards) = (self.now.mono, self.shared.shards());
        let memory = self.memory_of(app);
        let account = memory.account().clone();
        let over = account.over();
        if over == 0 {
            memory.full = false;
            return;
        }
        if !asked && memory.full && now.since(memory.relieved_at) < AGAIN_MS {
            return;
        }
        memory.relieved_at = now;
        account.refuse();
        self.counts.limit(LimitName::Memory);
        // A little more than is needed, so that the next byte does not begin again.
        let bound = account.bound();
        self.hub.evict(app, over + bound / 16);
        // A shard that has little of what the app holds closes nobody: the large ones are elsewhere.
        let little = bound / 8 / shards;
        let mut holders: Vec<(usize, Slot)> = (self.conns.iter())
            .filter(|(_, conn)| conn.session.app == app && conn.is_open())
            .map(|(slot, conn)| (conn.held_bytes(), slot))
            .collect();
        holders.sort_unstable_by(|a, b| b.cmp(a));
        let mut held: usize = holders.iter().map(|(bytes, _)| bytes).sum();
        let (mut closed, mut freed) = (false, 0);
        for (bytes, slot) in holders {
            self.sync_memory(app);
            let enough = account.over() == 0 && !(closed && freed < bound / 32);
            if enough || held <= little {
                break;
            }
            held -= bytes;
            (closed, freed) = (true, freed + bytes);
            self.too_slow(slot);
            self.recount(slot);
        }
        self.sync_memory(app);
        let full = account.over() > 0;
        let memory = self.memory_of(app);
        let newly = full && !std::mem::replace(&mut memory.full, full);
        memory.full = full;
        if newly && !asked {
            for other in (0..shards as u16).filter(|other| *other != self.me) {
                self.shared.ask(other, Input::Relieve(app));
            }
        }
    }

    /// What closing and forgetting have given back is the account's again.
    fn sync_memory(&mut self, app: AppId) {
        let channels = self.hub.usage(app).bytes;
        let memory = self.memory_of(app);
        let allowance = &mut memory.allowance;
        allowance.replace(Kind::Channels, allowance.of(Kind::Channels), channels);
        allowance.replace(Kind::Events, allowance.of(Kind::Events), memory.frames.0.get());
    }

    /// Channels that lost what they kept, for the metrics.
    fn count_evicted(&mut self) {
        for _ in 0..self.hub.take_evicted() {
            self.counts.limit(LimitName::HistoryBytes);
        }
    }

    /// Once in a while: old history goes, memory and metrics are looked at.
    pub(super) fn sweep(&mut self) {
        self.hub.sweep(self.now.mono);
        self.out.queued_bytes = self.conns.iter().map(|(_, c)| c.queued()).sum();
        self.tell_memory();
        self.forget_former();
        let generation = self.generation.clone();
        let mut subscriptions = vec![0; generation.apps.len()];
        for (_, conn) in self.conns.iter() {
            if let Some(sum) = subscriptions.get_mut(conn.session.app.0 as usize) {
                *sum += conn.session.subs.len() as u64;
            }
        }
        for app in generation.apps.iter().flatten() {
            let counts = self.counts.app(app.id);
            counts.subscriptions = subscriptions[app.id.0 as usize];
            counts.channels = self.hub.usage(app.id).channels as u64;
        }
        self.tell_counts();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_counts_once_until_its_last_queue_lets_go() {
        let meter = Meter::default();
        let frame = Rc::new(meter.count(100));
        let queues: Vec<_> = (0..1_000).map(|_| frame.clone()).collect();
        drop(frame);
        assert_eq!(meter.0.get(), 100);
        drop(queues);
        assert_eq!(meter.0.get(), 0);
    }
}
