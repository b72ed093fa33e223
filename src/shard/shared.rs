//! What all shards share: each other's doors, the process's memory, users' buckets.

use super::buckets::Buckets;
use super::counts::Counts;
use super::mailbox::Mailbox;
use crate::flow::{App, Generation, UserBuckets};
use crate::model::{Identity, Memory, Mono};
use crate::observe::Metrics;
use crate::script::Workers;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

/// What several shards count together; touched at connect, close and refill only.
pub struct Shared {
    peers: OnceLock<Vec<Arc<Mailbox>>>,
    shards: usize,
    pub metrics: Arc<Metrics>,
    pub connections: Arc<Counts>,
    buckets: Buckets,
    /// By shard: the newest generation of which all channels are at their homes.
    settled: Vec<AtomicU64>,
    /// No newcomers any more.
    pub draining: AtomicBool,
    pub background: tokio::runtime::Handle,
    pub(super) workers: OnceLock<Arc<Workers>>,
}

impl Shared {
    pub fn new(shards: usize, metrics: Arc<Metrics>, background: tokio::runtime::Handle) -> Arc<Shared> {
        Arc::new(Shared {
            peers: OnceLock::new(),
            shards,
            metrics,
            connections: Counts::new(),
            buckets: Buckets::new(),
            settled: (0..shards).map(|_| AtomicU64::new(0)).collect(),
            draining: AtomicBool::new(false),
            background,
            workers: OnceLock::new(),
        })
    }

    pub(super) fn set_peers(&self, peers: Vec<Arc<Mailbox>>) {
        let _ = self.peers.set(peers);
    }

    /// The shards' doors, by number.
    pub fn peers(&self) -> &[Arc<Mailbox>] {
        self.peers.get().map_or(&[], |p| p)
    }

    pub fn shards(&self) -> usize {
        self.shards
    }

    /// The shard that a fresh socket goes to.
    pub fn least_loaded(&self) -> Option<&Arc<Mailbox>> {
        self.peers().iter().min_by_key(|p| p.load.load(Ordering::Relaxed))
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
