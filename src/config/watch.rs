//! Notices that the files may have changed. What changed, and whether, reading them tells.
//!
//! Folders are watched, never files: an editor's rename and Kubernetes' swap of `..data` leave a watched file behind.
//! Whatever happens in them counts, for neither names the files that it changes; only being read does not.

use super::file::{ReloadSettings, Watching};
use notify::{Config, Event, EventKind, PollWatcher, RecommendedWatcher, RecursiveMode, Watcher};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

/// Tells when to read again.
pub struct Watch {
    watcher: Box<dyn Watcher + Send>,
    /// A change that comes while nobody waits is kept: the last one is never lost.
    changed: Arc<Notify>,
    debounce: Duration,
    debounce_max: Duration,
    root: PathBuf,
}

/// Folders beside `gateway.toml` that are watched with all that is in them.
const FOLDERS: [&str; 2] = ["channels", "plugins"];

impl Watch {
    /// `None`: nothing is to be watched. `Err`: nothing can be; why.
    pub fn start(gateway: &Path, settings: &ReloadSettings) -> Result<Option<Watch>, String> {
        let root = match gateway.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
            _ => PathBuf::from("."),
        };
        let changed = Arc::new(Notify::new());
        let tell = {
            let changed = changed.clone();
            move |event: notify::Result<Event>| {
                // Our own reading is an event, too.
                if event.is_ok_and(|e| !matches!(e.kind, EventKind::Access(_))) {
                    changed.notify_one();
                }
            }
        };
        let poll = Config::default().with_poll_interval(settings.poll_interval.duration()).with_compare_contents(true);
        let polling = |tell| PollWatcher::new(tell, poll).map(|w| Box::new(w) as Box<dyn Watcher + Send>);
        let watcher: notify::Result<Box<dyn Watcher + Send>> = match settings.watch {
            Watching::Off => return Ok(None),
            Watching::Poll => polling(tell),
            Watching::Auto => match RecommendedWatcher::new(tell.clone(), Config::default()) {
                Ok(watcher) => Ok(Box::new(watcher)),
                Err(error) => {
                    tracing::warn!(%error, "the system does not tell of changed files: looking now and then");
                    polling(tell)
                }
            },
        };
        let watcher = watcher.map_err(|e| e.to_string())?;
        let (debounce, debounce_max) = (settings.debounce.duration(), settings.debounce_max.duration());
        let mut watch = Watch { watcher, changed, debounce, debounce_max, root };
        let root = watch.root.clone();
        watch.watcher.watch(&root, RecursiveMode::NonRecursive).map_err(|e| e.to_string())?;
        watch.follow([]);
        Ok(Some(watch))
    }

    /// Watches what is there now: a folder that came back is another one. `files`: all that were read.
    pub fn follow<'f>(&mut self, files: impl IntoIterator<Item = &'f PathBuf>) {
        for folder in FOLDERS.map(|name| self.root.join(name)).iter().filter(|f| f.is_dir()) {
            self.add(folder, RecursiveMode::Recursive);
        }
        let inside = |folder: &Path| FOLDERS.iter().any(|name| folder.starts_with(self.root.join(name)));
        let others: BTreeSet<&Path> = files.into_iter().filter_map(|f| f.parent()).collect();
        let others = others.into_iter().filter(|f| !f.as_os_str().is_empty() && *f != self.root && !inside(f));
        let others: Vec<PathBuf> = others.map(Path::to_owned).collect();
        others.iter().for_each(|folder| self.add(folder, RecursiveMode::NonRecursive));
    }

    fn add(&mut self, folder: &Path, mode: RecursiveMode) {
        if let Err(error) = self.watcher.watch(folder, mode) {
            tracing::warn!(folder = %folder.display(), %error, "a folder cannot be watched");
        }
    }

    /// Resolves when something changed and then was quiet for a while.
    pub async fn changed(&mut self) {
        self.changed.notified().await;
        let ends = Instant::now() + self.debounce_max;
        while timeout_at(ends.min(Instant::now() + self.debounce), self.changed.notified()).await.is_ok() {
            if Instant::now() >= ends {
                break;
            }
        }
        self.follow([]);
    }
}
