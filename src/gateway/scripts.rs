//! The workers that run handlers, and what they stand on: the store, opened once an app has a plugin.

use super::plugins::Stage;
use crate::auth::Trust;
use crate::config::Compiled;
use crate::model::{Fault, Memory, Millis, Problem};
use crate::observe::{Metrics, clock};
use crate::script::{self, Outbox, Workers};
use crate::store::{self, Done, Parcel, Store, StoreError, Timer, Write};
use crate::webhook::Post;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

/// How often expired keys and forgotten entities are looked for.
const SWEEP: Duration = Duration::from_secs(60);
/// How long a stopping process waits for the store to tidy its file.
const CLOSE: Duration = Duration::from_secs(5);

/// One a process.
pub struct Scripts {
    pub workers: Arc<Workers>,
    store: Arc<LateStore>,
    post: Arc<Post>,
    memory: Arc<Memory>,
    base: PathBuf,
}

/// Webhooks, as handlers see them.
struct Letters(Arc<Post>);

impl Outbox for Letters {
    fn room(&self, app: &str, webhook: &str) -> bool {
        self.0.room(app, webhook)
    }
    fn sent(&self, parcel: Parcel) {
        self.0.sent(parcel);
    }
}

impl Scripts {
    /// `base`: the folder of gateway.toml.
    pub fn start(
        compiled: &Compiled,
        base: &Path,
        stage: Arc<Stage>,
        background: &tokio::runtime::Handle,
        metrics: Arc<Metrics>,
        trust: &Trust,
    ) -> io::Result<Scripts> {
        let (store, memory) = (Arc::new(LateStore::default()), metrics.memory.clone());
        let post = Arc::new(Post::new(background, store.clone(), metrics.clone(), trust));
        let outbox = Arc::new(Letters(post.clone()));
        let workers =
            Workers::start(&compiled.script, stage.clone(), stage, Some(store.clone() as _), Some(outbox), metrics)?;
        Ok(Scripts { workers, store, post, memory, base: base.to_owned() })
    }

    /// Before these files are put in force: what their plugins need is there. Err: why it is not, below `[store]`.
    pub fn prepare(&self, compiled: &Compiled) -> Result<(), Problem> {
        let wanted = compiled.apps.iter().any(|app| app.flow.handlers.is_some());
        if wanted && self.store.get().is_none() {
            let opened = store::open(&compiled.store, &self.base, Some(&self.memory))?;
            // What was not yet sent when the process ended goes out first.
            let parcels = opened.outbox().map_err(|e| Problem::new("path", e.to_string()))?;
            self.store.set(Some(opened));
            self.post.start(parcels);
        }
        Ok(())
    }

    /// As `prepare`; Err: where gateway.toml says so.
    pub fn ready(&self, compiled: &Compiled) -> Result<(), Fault> {
        match self.unusable(compiled) {
            Some(fault) => Err(fault),
            None => self.prepare(compiled).map_err(|problem| below_store(compiled, problem)),
        }
    }

    /// Why the store that these files need could not be opened, as far as it shows without opening it. What is no file is
    /// told as such: SQLite would say that the disk fails.
    pub fn unusable(&self, compiled: &Compiled) -> Option<Fault> {
        // Not of a store that is open: looking at its file would end SQLite's locks.
        let wanted = self.store.get().is_none() && compiled.apps.iter().any(|app| app.plugin.is_some());
        let problem = wanted.then(|| crate::config::store_problem(&compiled.store, &self.base))??;
        Some(below_store(compiled, problem))
    }

    /// Ends handlers, then calls of webhooks that are under way: what is left is in the store, and goes on at the next
    /// start.
    pub async fn stop(&self, wait: Duration) {
        let workers = self.workers.clone();
        let _ = tokio::task::spawn_blocking(move || workers.stop(wait)).await;
        self.post.stop(wait).await;
        // Workers, webhooks and what they hand each other hold the store in a circle, which would last until the process
        // ends: so it is taken out of its holder here. The last handle of it closes the file and tidies SQLite's log.
        let store = self.store.set(None);
        let closed = tokio::task::spawn_blocking(move || drop(store));
        if tokio::time::timeout(CLOSE, closed).await.is_err() {
            tracing::warn!("the store's file was not tidied in time; the next start does it");
        }
    }

    /// Forgets what has expired, now and then, until the process ends.
    pub async fn sweep(self: Arc<Self>) -> Result<(), String> {
        loop {
            tokio::time::sleep(SWEEP).await;
            let store = self.store.clone();
            let swept = tokio::task::spawn_blocking(move || store.sweep(clock().wall)).await;
            if let Ok(Err(error)) = swept {
                tracing::error!(%error, "the store could not be swept");
            }
        }
    }

    /// These files are in force.
    pub fn take(&self, compiled: &Compiled) {
        let webhooks = compiled.apps.iter().map(|app| (app.flow.name.clone(), app.webhooks.clone())).collect();
        self.post.set_generation(&webhooks);
        let apps: Vec<Arc<script::App>> =
            compiled.apps.iter().filter_map(|app| Some(app.flow.handlers.as_ref()?.script.clone())).collect();
        if let Err(error) = self.workers.set_apps(apps) {
            tracing::error!(%error, "timers could not be read from the store");
        }
    }
}

fn below_store(compiled: &Compiled, problem: Problem) -> Fault {
    compiled.fault(&Problem { path: format!("store.{}", problem.path), ..problem })
}

/// A store that is there once somebody needs it: a gateway without plugins makes no file.
#[derive(Default)]
struct LateStore(RwLock<Option<Arc<dyn Store>>>);

impl LateStore {
    fn get(&self) -> Option<Arc<dyn Store>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns the one before.
    fn set(&self, store: Option<Arc<dyn Store>>) -> Option<Arc<dyn Store>> {
        std::mem::replace(&mut *self.0.write().unwrap_or_else(PoisonError::into_inner), store)
    }

    fn opened(&self) -> Result<Arc<dyn Store>, StoreError> {
        self.get().ok_or_else(|| StoreError::Broken("not open: no app has a plugin, or Weir is stopping".into()))
    }
}

impl Store for LateStore {
    fn get(&self, app: &str, key: &str, now: Millis) -> Result<Option<String>, StoreError> {
        self.opened()?.get(app, key, now)
    }
    fn keys(&self, app: &str, prefix: &str, limit: usize, now: Millis) -> Result<Vec<String>, StoreError> {
        self.opened()?.keys(app, prefix, limit, now)
    }
    fn entity(&self, app: &str, entity: &str) -> Result<Option<String>, StoreError> {
        self.opened()?.entity(app, entity)
    }
    fn commit(&self, writes: Vec<Write>, done: Done) {
        match self.opened() {
            Ok(store) => store.commit(writes, done),
            Err(error) => done(Err(error)),
        }
    }
    fn timers(&self) -> Result<Vec<Timer>, StoreError> {
        self.get().map_or_else(|| Ok(Vec::new()), |store| store.timers())
    }
    fn outbox(&self) -> Result<Vec<Parcel>, StoreError> {
        self.get().map_or_else(|| Ok(Vec::new()), |store| store.outbox())
    }
    fn sweep(&self, now: Millis) -> Result<usize, StoreError> {
        self.get().map_or(Ok(0), |store| store.sweep(now))
    }
}
