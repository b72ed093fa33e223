//! What all kernels of a process share: ways to each other, counts, users' buckets, memory, the handlers' workers.

use super::buckets::Buckets;
use super::counts::Counts;
use super::inbox::Inbox;
use super::input::Input;
use crate::flow::{App, Generation, UserBuckets};
use crate::model::{Identity, Memory, Mono};
use crate::observe::Metrics;
use crate::script::Workers;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

/// What several shards count together; touched at connect, close and refill only.
pub struct Shared {
    inboxes: OnceLock<Vec<Arc<dyn Inbox>>>,
    shards: usize,
    /// By kernel: its connections, for whoever hands out new ones.
    load: Vec<AtomicUsize>,
    pub metrics: Arc<Metrics>,
    pub connections: Arc<Counts>,
    buckets: Buckets,
    /// By shard: the newest generation of which all channels are at their homes.
    settled: Vec<AtomicU64>,
    /// No newcomers any more.
    pub draining: AtomicBool,
    pub(super) workers: OnceLock<Arc<Workers>>,
}

impl Shared {
    pub fn new(shards: usize, metrics: Arc<Metrics>) -> Arc<Shared> {
        Arc::new(Shared {
            inboxes: OnceLock::new(),
            shards,
            load: (0..shards).map(|_| AtomicUsize::new(0)).collect(),
            metrics,
            connections: Counts::new(),
            buckets: Buckets::new(),
            settled: (0..shards).map(|_| AtomicU64::new(0)).collect(),
            draining: AtomicBool::new(false),
            workers: OnceLock::new(),
        })
    }

    /// The ways to all kernels, by number; once at the start.
    pub fn set_inboxes(&self, inboxes: Vec<Arc<dyn Inbox>>) {
        let _ = self.inboxes.set(inboxes);
    }

    /// By number.
    pub(super) fn inboxes(&self) -> &[Arc<dyn Inbox>] {
        self.inboxes.get().map_or(&[], |inboxes| inboxes)
    }

    /// Something for a kernel that must not be lost.
    pub fn put(&self, shard: u16, input: Input) {
        if let Some(inbox) = self.inboxes().get(usize::from(shard)) {
            inbox.put(input);
        }
    }

    pub fn put_all(&self, input: impl Fn() -> Input) {
        self.inboxes().iter().for_each(|inbox| inbox.put(input()));
    }

    /// A question for a kernel; `false` where it has too much to do, and the question was dropped.
    pub(super) fn ask(&self, shard: u16, input: Input) -> bool {
        let inbox = self.inboxes().get(usize::from(shard)).filter(|inbox| !inbox.is_full());
        inbox.map(|inbox| inbox.put(input)).is_some()
    }

    pub(super) fn is_full(&self, shard: u16) -> bool {
        self.inboxes().get(usize::from(shard)).is_none_or(|inbox| inbox.is_full())
    }

    /// Whether a kernel other than this one has more to do than it can keep up with.
    pub fn is_congested(&self, but: Option<u16>) -> bool {
        self.inboxes().iter().enumerate().any(|(n, inbox)| Some(n as u16) != but && inbox.is_congested())
    }

    pub fn shards(&self) -> usize {
        self.shards
    }

    /// The kernel with the fewest connections: that a fresh one goes to.
    pub fn least_loaded(&self) -> Option<u16> {
        (0..self.shards as u16).min_by_key(|shard| self.load[usize::from(*shard)].load(Ordering::Relaxed))
    }

    /// A connection more or less.
    pub(super) fn loaded(&self, shard: u16, by: isize) {
        self.load[usize::from(shard)].fetch_add(by as usize, Ordering::Relaxed);
    }

    pub(super) fn settle(&self, shard: u16, generation: u64) {
        self.settled[shard as usize].store(generation, Ordering::Release);
    }

    /// The newest generation that all shards have, with every channel at its home.
    pub fn settled(&self) -> u64 {
        self.settled.iter().map(|generation| generation.load(Ordering::Acquire)).min().unwrap_or(0)
    }

    /// The process's budget.
    pub fn memory(&self) -> &Arc<Memory> {
        &self.metrics.memory
    }

    /// These files are in force from now on: their bounds, and what is kept back for each app.
    pub fn take_limits(&self, generation: &Generation) {
        let own = |app: &Arc<App>| app.limits.app_memory.0.map(|bytes| bytes as usize);
        let apps: Vec<_> = generation.apps.iter().flatten().map(|app| (app.id, app.name.clone(), own(app))).collect();
        let missing = self.memory().set(generation.limits.memory.0 as usize, &apps);
        if missing > 0 {
            tracing::warn!(missing, "`app_memory` of all apps together is more than apps have of `memory`");
        }
    }
}

impl UserBuckets for Shared {
    fn take(&self, app: &App, identity: &Identity, wanted: u32, now: Mono) -> u32 {
        let Some(user) = &identity.user else { return wanted };
        self.buckets.take(app.id, user, wanted, app.limits.messages_per_user, now)
    }
}
