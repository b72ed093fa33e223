//! Notices that the files may have changed. What changed, and whether, reading them tells.
//!
//! Two things are asked. The system tells at once of names that are replaced or written, also behind links; it cannot
//! tell of a file that is mounted alone, or of what another machine does on a network file system. So stamps of
//! everything that was read are looked at every now and then as well, and they alone decide: an event only says that it
//! is time to look.

use super::file::{ReloadSettings, Watching};
use super::inputs::{Inputs, is_listed};
use crate::api::admin::{NoticedBy, Noticing};
use notify::{Config, Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout, timeout_at};

/// Tells when to read again.
pub struct Watch {
    /// `None`: the system does not tell.
    watcher: Option<Box<dyn Watcher + Send>>,
    /// Folders that are watched.
    watched: BTreeSet<PathBuf>,
    names: Arc<Mutex<Names>>,
    /// A change that comes while nobody waits is kept: the last one is never lost.
    changed: Arc<Notify>,
    debounce: Duration,
    debounce_max: Duration,
    poll_interval: Duration,
    noticing: Noticing,
}

/// What events must concern.
#[derive(Default)]
struct Names {
    exact: BTreeSet<PathBuf>,
    listed: BTreeSet<(PathBuf, &'static str)>,
}

impl Noticing {
    pub const OFF: Noticing = Noticing { by: NoticedBy::Off, why: None };
    const EVENTS: Noticing = Noticing { by: NoticedBy::Events, why: None };
    const POLL: Noticing = Noticing { by: NoticedBy::Poll, why: None };

    fn poll(why: String) -> Noticing {
        Noticing { why: Some(why), ..Noticing::POLL }
    }
}

impl Watch {
    /// `None`: nothing is to be watched.
    pub fn start(settings: &ReloadSettings) -> Option<Watch> {
        let (names, changed) = (Arc::new(Mutex::new(Names::default())), Arc::new(Notify::new()));
        let (watcher, noticing) = match settings.watch {
            Watching::Off => return None,
            Watching::Poll => (None, Noticing::POLL),
            Watching::Auto => {
                let (names, changed) = (names.clone(), changed.clone());
                let tell = move |event: notify::Result<Event>| {
                    if event.is_ok_and(|event| concerns(&event, &names)) {
                        changed.notify_one();
                    }
                };
                match RecommendedWatcher::new(tell, Config::default()) {
                    Ok(watcher) => (Some(Box::new(watcher) as Box<dyn Watcher + Send>), Noticing::EVENTS),
                    Err(error) => (None, Noticing::poll(text(&error))),
                }
            }
        };
        let (debounce, debounce_max) = (settings.debounce.duration(), settings.debounce_max.duration());
        // A poll without a pause would be all that this thread does.
        let poll_interval = settings.poll_interval.duration().max(Duration::from_millis(10));
        let watched = BTreeSet::new();
        Some(Watch { watcher, watched, names, changed, debounce, debounce_max, poll_interval, noticing })
    }

    pub fn noticing(&self) -> &Noticing {
        &self.noticing
    }

    /// Whether anything has changed since it was looked at. Blocks on the file system.
    pub fn differs(&self, inputs: &mut Inputs) -> bool {
        inputs.changed(self.noticing.by == NoticedBy::Poll)
    }

    /// From now on these count: folders that came back or are led to by other links are others. Whoever calls it looks
    /// afterwards whether they differ, for between the reading and this nobody watched. Blocks on the file system.
    pub fn follow(&mut self, inputs: &Inputs) {
        if self.watcher.is_none() {
            return;
        }
        let exact = inputs.names();
        let listed: BTreeSet<_> =
            inputs.folders().filter_map(|(folder, extension)| Some((folder.canonicalize().ok()?, extension))).collect();
        let mut folders: BTreeSet<PathBuf> = exact.iter().filter_map(|name| Some(name.parent()?.to_owned())).collect();
        folders.extend(listed.iter().map(|(folder, _)| folder.clone()));
        *self.names.lock().unwrap_or_else(|e| e.into_inner()) = Names { exact, listed };
        // Also those watched already: at the same path may be another folder now.
        let before = std::mem::replace(&mut self.watched, folders);
        let Some(watcher) = &mut self.watcher else { return };
        before.iter().for_each(|folder| drop(watcher.unwatch(folder)));
        let mut now = Noticing::EVENTS;
        for folder in self.watched.iter().filter(|folder| folder.is_dir()) {
            let watched = watcher.watch(folder, RecursiveMode::NonRecursive).map_err(|error| text(&error));
            let why = watched.err().or_else(|| remote(folder).map(|kind| format!("changes on {kind} are not told")));
            if let Some(why) = why {
                now = Noticing::poll(format!("{}: {why}", folder.display()));
            }
        }
        self.noticing = now;
    }

    /// Resolves when it is time to look: something was told and then it was quiet for a while, or nothing was told.
    pub async fn time_to_look(&mut self) {
        if timeout(self.poll_interval, self.changed.notified()).await.is_err() {
            return;
        }
        let ends = Instant::now() + self.debounce_max;
        while timeout_at(ends.min(Instant::now() + self.debounce), self.changed.notified()).await.is_ok() {
            if Instant::now() >= ends {
                break;
            }
        }
    }
}

/// Being read is an event, too, and so is what happens to files that nobody reads.
fn concerns(event: &Event, names: &Mutex<Names>) -> bool {
    if event.need_rescan() {
        return true;
    }
    let names = names.lock().unwrap_or_else(|e| e.into_inner());
    let listed = |path: &Path| {
        names.listed.iter().any(|(folder, extension)| path.parent() == Some(folder) && is_listed(path, extension))
    };
    !matches!(event.kind, EventKind::Access(_)) && event.paths.iter().any(|p| names.exact.contains(p) || listed(p))
}

fn text(error: &notify::Error) -> String {
    match &error.kind {
        notify::ErrorKind::MaxFilesWatch => {
            "the system's limit of watches is reached (fs.inotify.max_user_watches)".into()
        }
        notify::ErrorKind::Io(error) if error.raw_os_error() == Some(libc::EMFILE) => {
            "the system's limit of watchers is reached (fs.inotify.max_user_instances)".into()
        }
        _ => error.to_string(),
    }
}

/// The kind of file system, where other machines may change what is on it without this one being told.
#[cfg(target_os = "linux")]
fn remote(folder: &Path) -> Option<&'static str> {
    use std::os::unix::ffi::OsStrExt;
    // statfs(2): f_type of linux/magic.h.
    const REMOTE: &[(u32, &str)] = &[
        (0x6969, "NFS"),
        (0xff53_4d42, "CIFS"),
        (0xfe53_4d42, "SMB"),
        (0x517b, "SMB"),
        (0x0102_1997, "9P"),
        (0x6573_5546, "FUSE"),
        (0x00c3_6400, "Ceph"),
        (0x5346_414f, "AFS"),
        (0x7461_636f, "OCFS2"),
        (0x0116_1970, "GFS2"),
        (0x0bd0_0bd0, "Lustre"),
    ];
    let path = std::ffi::CString::new(folder.as_os_str().as_bytes()).ok()?;
    let mut found = std::mem::MaybeUninit::<libc::statfs>::uninit();
    // SAFETY: reads a text that ends with 0 and writes the struct; it is read only where the call says that it did.
    let kind = unsafe { (libc::statfs(path.as_ptr(), found.as_mut_ptr()) == 0).then(|| found.assume_init().f_type) }?;
    REMOTE.iter().find(|(magic, _)| *magic == kind as u32).map(|(_, name)| *name)
}

#[cfg(not(target_os = "linux"))]
fn remote(_: &Path) -> Option<&'static str> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::files::Files;
    use std::fs;
    use std::os::unix::fs::symlink;

    fn settings() -> ReloadSettings {
        use crate::model::Ms;
        // Only events: a look by the clock would find everything.
        ReloadSettings { poll_interval: Ms::secs(3600), debounce: Ms(1), ..ReloadSettings::default() }
    }

    fn looked(folder: &Path) -> Inputs {
        let files = Files::new(folder);
        let _ = files.read(&files.path("gateway.toml"), 99);
        for path in files.apps().unwrap_or_default() {
            let _ = files.read(&path, 99);
        }
        files.inputs()
    }

    #[tokio::test]
    async fn the_system_tells_of_what_links_lead_to() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for release in ["1", "2"] {
            fs::create_dir_all(at(release).join("channels")).unwrap();
            fs::write(at(release).join("gateway.toml"), release).unwrap();
        }
        fs::create_dir(at("elsewhere")).unwrap();
        fs::write(at("elsewhere/app"), "1").unwrap();
        symlink("../../elsewhere/app", at("1/channels/app.toml")).unwrap();
        symlink("1", at("current")).unwrap();
        let swap = |what: &str, over: &str| fs::rename(at(what), at(over)).unwrap();
        let mut watch = Watch::start(&settings()).unwrap();
        type Change<'c> = &'c dyn Fn();
        let changes: [(&str, Change); 7] = [
            ("a file behind a link is written", &|| fs::write(at("elsewhere/app"), "2").unwrap()),
            ("and replaced", &|| {
                fs::write(at("elsewhere/next"), "3").unwrap();
                swap("elsewhere/next", "elsewhere/app");
            }),
            ("and replaced again", &|| {
                fs::write(at("elsewhere/next"), "4").unwrap();
                swap("elsewhere/next", "elsewhere/app");
            }),
            ("a release", &|| {
                symlink("2", at("next")).unwrap();
                swap("next", "current");
            }),
            ("a new app of it", &|| fs::write(at("2/channels/new.toml"), "1").unwrap()),
            ("its folder goes", &|| swap("2/channels", "2/channels.old")),
            ("and comes back", &|| swap("2/channels.old", "2/channels")),
        ];
        for (what, change) in changes {
            let mut inputs = looked(&at("current"));
            watch.follow(&inputs);
            assert_eq!(watch.noticing(), &Noticing::EVENTS);
            change();
            let told = timeout(Duration::from_secs(20), watch.time_to_look()).await;
            assert!(told.is_ok() && watch.differs(&mut inputs), "{what}");
        }
    }

    #[test]
    fn what_happens_to_other_files_is_not_told() {
        use notify::event::{AccessKind, ModifyKind};
        let names = Names {
            exact: ["/srv/gateway.toml".into(), "/srv/channels".into()].into(),
            listed: [("/srv/channels".into(), "toml")].into(),
        };
        let names = Mutex::new(names);
        let told = |path: &str, kind| concerns(&Event::new(kind).add_path(path.into()), &names);
        let written = EventKind::Modify(ModifyKind::Any);
        for path in ["/srv/gateway.toml", "/srv/channels", "/srv/channels/new.toml"] {
            assert!(told(path, written), "{path}");
            assert!(!told(path, EventKind::Access(AccessKind::Any)), "{path}");
        }
        for path in
            ["/srv/weir.log", "/srv/data/weir.db-wal", "/srv/channels/.#a.toml", "/srv/channels/a.toml~", "/srv"]
        {
            assert!(!told(path, written), "{path}");
        }
    }

    /// A system that is at its limit.
    #[derive(Debug)]
    struct Full;

    impl Watcher for Full {
        fn new<F: notify::EventHandler>(_: F, _: Config) -> notify::Result<Full> {
            Ok(Full)
        }
        fn watch(&mut self, _: &Path, _: RecursiveMode) -> notify::Result<()> {
            Err(notify::Error::new(notify::ErrorKind::MaxFilesWatch))
        }
        fn unwatch(&mut self, _: &Path) -> notify::Result<()> {
            Ok(())
        }
        fn kind() -> notify::WatcherKind {
            notify::WatcherKind::NullWatcher
        }
    }

    #[test]
    fn where_the_system_cannot_tell_contents_are_compared() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("gateway.toml"), "1").unwrap();
        let mut watch = Watch::start(&settings()).unwrap();
        watch.watcher = Some(Box::new(Full));
        watch.follow(&looked(folder.path()));
        assert_eq!(watch.noticing().by, NoticedBy::Poll);
        assert!(watch.noticing().why.as_deref().is_some_and(|why| why.contains("fs.inotify.max_user_watches")));
        assert!(Watch::start(&ReloadSettings { watch: Watching::Off, ..settings() }).is_none());
    }
}
