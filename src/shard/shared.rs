//! What all shards share: each other's doors, the process's memory, users' buckets.

use super::counts::Counts;
use super::mailbox::Mailbox;
use crate::flow::{App, Bucket, UserBuckets};
use crate::model::{AppId, Identity, Mono, Rate};
use crate::observe::Metrics;
use crate::script::Workers;
use hashbrown::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

/// What several shards count together; touched at connect, close and refill only.
pub struct Shared {
    peers: OnceLock<Vec<Arc<Mailbox>>>,
    shards: usize,
    pub metrics: Arc<Metrics>,
    pub connections: Arc<Counts>,
    buckets: Mutex<HashMap<(AppId, Arc<str>), Bucket>>,
    /// Bytes of queues, histories and unfinished messages, by shard.
    memory: Vec<AtomicUsize>,
    memory_full: AtomicBool,
    /// By shard: the newest generation of which all channels are at their homes.
    settled: Vec<AtomicU64>,
    /// No newcomers any more.
    pub draining: AtomicBool,
    pub background: tokio::runtime::Handle,
    pub(super) workers: OnceLock<Arc<Workers>>,
}

/// Users whose buckets are remembered, at most; those that are full again go first.
const BUCKETS_MAX: usize = 100_000;

impl Shared {
    pub fn new(shards: usize, metrics: Arc<Metrics>, background: tokio::runtime::Handle) -> Arc<Shared> {
        Arc::new(Shared {
            peers: OnceLock::new(),
            shards,
            metrics,
            connections: Counts::new(),
            buckets: Mutex::default(),
            memory: (0..shards).map(|_| AtomicUsize::new(0)).collect(),
            memory_full: AtomicBool::new(false),
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

    /// Whether `limits.memory` is used up: newcomers are turned away.
    pub fn memory_full(&self) -> bool {
        self.memory_full.load(Ordering::Relaxed)
    }

    /// A shard's bytes. Returns by how much all shards are over.
    pub(super) fn use_memory(&self, shard: u16, bytes: usize, max: usize) -> usize {
        self.memory[shard as usize].store(bytes, Ordering::Relaxed);
        let handlers = self.workers().map_or(0, |workers| workers.bytes());
        let all: usize = self.memory.iter().map(|m| m.load(Ordering::Relaxed)).sum::<usize>() + handlers;
        self.memory_full.store(all > max, Ordering::Relaxed);
        all.saturating_sub(max)
    }
}

impl UserBuckets for Shared {
    fn take(&self, app: &App, identity: &Identity, wanted: u32, now: Mono) -> u32 {
        let Some(user) = &identity.user else { return wanted };
        let rate: Rate = app.limits.messages_per_user;
        let mut buckets = self.buckets.lock().unwrap_or_else(|e| e.into_inner());
        if buckets.len() >= BUCKETS_MAX {
            buckets.retain(|_, bucket| !bucket.is_full(rate, now));
        }
        buckets.entry((app.id, user.clone())).or_default().take(wanted, rate, now)
    }
}
