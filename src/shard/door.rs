//! How a socket that `listen` has upgraded comes to its shard, and what all shards count together.

use super::mailbox::Mailbox;
use crate::flow::{App, Bucket, Limits, UserBuckets};
use crate::model::{AppId, Close, Identity, Millis, Rate};
use crate::observe::{LimitName, Metrics};
use crate::policy::RequestView;
use crate::wire::DeflateParams;
use bytes::Bytes;
use hashbrown::HashMap;
use rustls::ServerConnection;
use std::net::{IpAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};

/// A WebSocket after its 101.
pub struct NewConnection {
    pub stream: TcpStream,
    pub tls: Option<Box<ServerConnection>>,
    /// What came behind the handshake.
    pub leftover: Bytes,
    pub app: AppId,
    pub endpoint: u16,
    /// `None`: authenticates with its first message.
    pub identity: Option<Arc<Identity>>,
    /// Accepted only to be told why not.
    pub refused: Option<Close>,
    pub deflate: Option<DeflateParams>,
    pub ip: IpAddr,
    pub user_agent: Option<Box<str>>,
    /// Where the app's rules read it.
    pub request: Option<Arc<dyn RequestView + Send + Sync>>,
    pub reserved: Reserved,
}

/// What several shards count together; touched at connect, close and refill only.
pub struct Shared {
    peers: OnceLock<Vec<Arc<Mailbox>>>,
    shards: usize,
    pub metrics: Arc<Metrics>,
    counted: Mutex<HashMap<Key, u32>>,
    buckets: Mutex<HashMap<(AppId, Arc<str>), Bucket>>,
    /// Bytes of queues, histories and unfinished messages, by shard.
    memory: Vec<AtomicUsize>,
    memory_full: AtomicBool,
    pub background: tokio::runtime::Handle,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
enum Key {
    All,
    Ip(IpAddr),
    App(AppId),
    User(AppId, Arc<str>),
}

/// Places taken in `Shared`; given back when dropped.
#[derive(Default)]
pub struct Reserved(Option<Box<(Arc<Shared>, smallvec::SmallVec<[Key; 4]>)>>);

/// Users whose buckets are remembered, at most; those that are full again go first.
const BUCKETS_MAX: usize = 100_000;

impl Shared {
    pub fn new(shards: usize, metrics: Arc<Metrics>, background: tokio::runtime::Handle) -> Arc<Shared> {
        Arc::new(Shared {
            peers: OnceLock::new(),
            shards,
            metrics,
            counted: Mutex::default(),
            buckets: Mutex::default(),
            memory: (0..shards).map(|_| AtomicUsize::new(0)).collect(),
            memory_full: AtomicBool::new(false),
            background,
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

    fn counted(&self) -> MutexGuard<'_, HashMap<Key, u32>> {
        self.counted.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// Whether `limits.memory` is used up: newcomers are turned away.
    pub fn memory_full(&self) -> bool {
        self.memory_full.load(Ordering::Relaxed)
    }

    /// A shard's bytes. Returns by how much all shards are over.
    pub(super) fn use_memory(&self, shard: u16, bytes: usize, max: usize) -> usize {
        self.memory[shard as usize].store(bytes, Ordering::Relaxed);
        let all: usize = self.memory.iter().map(|m| m.load(Ordering::Relaxed)).sum();
        self.memory_full.store(all > max, Ordering::Relaxed);
        all.saturating_sub(max)
    }

    /// Connections in the whole process.
    pub fn connections(&self) -> u32 {
        self.counted().get(&Key::All).copied().unwrap_or(0)
    }
}

impl Reserved {
    /// A place for one more connection from this address; before its request is read.
    pub fn connection(shared: &Arc<Shared>, ip: IpAddr, limits: &Limits) -> Result<Reserved, LimitName> {
        if shared.memory_full() {
            return Err(LimitName::Memory);
        }
        let mut reserved = Reserved(Some(Box::new((shared.clone(), Default::default()))));
        reserved.take(Key::All, limits.connections, LimitName::Connections)?;
        reserved.take(Key::Ip(ip), limits.connections_per_ip, LimitName::ConnectionsPerIp)?;
        Ok(reserved)
    }

    /// And one among its app's connections and its user's.
    pub fn app(&mut self, app: &App, identity: Option<&Identity>) -> Result<(), LimitName> {
        self.take(Key::App(app.id), app.limits.app_connections, LimitName::AppConnections)?;
        match identity {
            Some(identity) => self.user(app, identity),
            None => Ok(()),
        }
    }

    /// Among its user's, once the user is known.
    pub fn user(&mut self, app: &App, identity: &Identity) -> Result<(), LimitName> {
        let Some(user) = &identity.user else { return Ok(()) };
        let key = Key::User(app.id, user.clone());
        self.take(key, app.limits.connections_per_user, LimitName::ConnectionsPerUser)
    }

    fn take(&mut self, key: Key, max: u32, limit: LimitName) -> Result<(), LimitName> {
        let Some((shared, keys)) = self.0.as_deref_mut() else { return Ok(()) };
        if keys.contains(&key) {
            return Ok(());
        }
        let mut counted = shared.counted();
        let count = counted.entry(key.clone()).or_insert(0);
        if *count >= max {
            return Err(limit);
        }
        *count += 1;
        keys.push(key);
        Ok(())
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        let Some((shared, keys)) = self.0.as_deref() else { return };
        let mut counted = shared.counted();
        for key in keys {
            if let Some(count) = counted.get_mut(key) {
                *count -= 1;
                if *count == 0 {
                    counted.remove(key);
                }
            }
        }
    }
}

impl UserBuckets for Shared {
    fn take(&self, app: &App, identity: &Identity, wanted: u32, now: Millis) -> u32 {
        let Some(user) = &identity.user else { return wanted };
        let rate: Rate = app.limits.messages_per_user;
        let mut buckets = self.buckets.lock().unwrap_or_else(|e| e.into_inner());
        if buckets.len() >= BUCKETS_MAX {
            buckets.retain(|_, bucket| !bucket.is_full(rate, now));
        }
        buckets.entry((app.id, user.clone())).or_default().take(wanted, rate, now)
    }
}
