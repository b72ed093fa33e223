//! What another reading of the files changes: made once, for whoever tells of it and for whoever does it.
//!
//! A plan promises what a `ConfigDiff` holds, and a reload does what it holds. Neither looks at the two readings again, so
//! the one cannot promise what the other does not do.

use super::compile::Compiled;
use super::restart::Refused;
use crate::api::admin::{Changes, Item};
use crate::listen::ListenerSettings;
use crate::model::{AppId, Fault, sorted};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Files that may follow those in force.
pub struct Candidate {
    pub compiled: Compiled,
    pub diff: ConfigDiff,
}

/// All that differs from what is in force.
#[derive(Debug, Default)]
pub struct ConfigDiff {
    /// By name, as the files write it.
    pub changes: Changes,
    /// Each file that differs, is new or is gone: where it is. Empty: nothing is to be done.
    pub files: Vec<PathBuf>,
    pub listeners: Vec<ListenerChange>,
    /// Apps that these files do not have.
    pub gone: Vec<(AppId, Arc<str>)>,
    /// Files that were found in a folder, are away, and have no other file in their place.
    pub away: BTreeSet<PathBuf>,
}

/// What becomes of a `[listener.NAME]`. A number is of a name and an address: at another address it is another listener.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ListenerChange {
    pub name: String,
    /// Its number in force.
    pub was: Option<u16>,
    /// Its number from now on.
    pub now: Option<u16>,
    /// Which of its keys are others; also `tls` where only the content of its files is.
    pub parts: Vec<&'static str>,
}

impl ListenerChange {
    /// To be bound and listened on.
    pub fn opens(&self) -> Option<u16> {
        self.now.filter(|_| self.was != self.now)
    }

    /// To be closed, and its connections in a while.
    pub fn closes(&self) -> Option<u16> {
        self.was.filter(|_| self.was != self.now)
    }

    /// Stays at its address, and accepts otherwise than before.
    pub fn renews(&self) -> Option<u16> {
        let accepts = ["admin", "backlog"].iter().any(|part| self.parts.contains(part));
        self.now.filter(|_| self.was == self.now && accepts)
    }
}

impl ConfigDiff {
    /// Where nothing is in force: all listeners are to be opened.
    pub fn at_start(compiled: &Compiled) -> ConfigDiff {
        ConfigDiff { listeners: listeners(None, compiled), ..ConfigDiff::default() }
    }

    /// `was`: in force.
    pub(super) fn between(was: &Compiled, now: &Compiled) -> ConfigDiff {
        let files = changed_files(was, now);
        let listeners = listeners(Some(was), now);
        let mut changes = Changes::between(was, now, &listeners);
        changes.files = files.keys().cloned().collect();
        let is_gone = |id: &AppId| now.apps.iter().all(|app| app.flow.id != *id);
        let old = was.apps.iter().map(|app| (app.flow.id, app.flow.name.clone()));
        ConfigDiff {
            changes,
            files: files.into_values().collect(),
            listeners,
            gone: old.filter(|(id, _)| is_gone(id)).collect(),
            away: away(was, now),
        }
    }

    /// What is on disk is in force already.
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// Listeners where a call of the HTTP API without an app's name is another app's from now on.
    pub fn default_apps(&self) -> &[Item] {
        self.changes.groups.get(super::changes::DEFAULT_APPS).map_or(&[], |group| &group.changed)
    }
}

/// What a reading of the files came to that might be put in force.
pub struct Reading {
    pub candidate: Result<Candidate, Vec<Fault>>,
    pub refused: Vec<Refused>,
}

impl Reading {
    /// As a reload takes it: what needs a restart is a fault too.
    pub fn in_this_process(self) -> Result<Candidate, Vec<Fault>> {
        merged(self.candidate, self.refused)
    }
}

/// What needs a restart, told with all other faults.
pub(super) fn merged<T>(made: Result<T, Vec<Fault>>, refused: Vec<Refused>) -> Result<T, Vec<Fault>> {
    match made {
        Ok(made) if refused.is_empty() => Ok(made),
        made => {
            let refused = refused.into_iter().map(|refused| refused.fault);
            Err(sorted(made.err().into_iter().flatten().chain(refused).collect()))
        }
    }
}

/// Files by their name below their folder. A candidate may name a file in the folder that is in force: the same file.
fn changed_files(was: &Compiled, now: &Compiled) -> BTreeMap<String, PathBuf> {
    let name = |path: &Path, of: &Compiled| {
        let below = path.strip_prefix(&of.base).or_else(|_| path.strip_prefix(&was.base)).unwrap_or(path);
        below.display().to_string()
    };
    let named = |of: &Compiled| -> BTreeMap<String, (PathBuf, String)> {
        of.files.iter().map(|(path, digest)| (name(path, of), (path.clone(), digest.clone()))).collect()
    };
    let (old, mut new) = (named(was), named(now));
    let gone: Vec<_> =
        old.iter().filter(|(name, _)| !new.contains_key(*name)).map(|(n, (p, _))| (n.clone(), p.clone())).collect();
    new.retain(|name, (_, digest)| old.get(name).is_none_or(|(_, before)| before != digest));
    new.into_iter().map(|(name, (path, _))| (name, path)).chain(gone).collect()
}

fn listeners(was: Option<&Compiled>, now: &Compiled) -> Vec<ListenerChange> {
    let number = |of: &Compiled, name: &str, settings: &ListenerSettings| {
        of.numbers.get(&(name.to_owned(), settings.address.clone())).copied()
    };
    let mut changes = Vec::new();
    for (name, settings) in &now.listeners {
        let before = was.and_then(|was| Some((was, was.listeners.get(name)?)));
        let change = ListenerChange {
            name: name.clone(),
            was: before.and_then(|(was, before)| number(was, name, before)),
            now: number(now, name, settings),
            parts: before.map_or(Vec::new(), |before| parts(before, (now, settings))),
        };
        if change.was != change.now || !change.parts.is_empty() {
            changes.push(change);
        }
    }
    for (was, (name, settings)) in was.into_iter().flat_map(|was| was.listeners.iter().map(move |each| (was, each))) {
        if !now.listeners.contains_key(name) {
            let number = number(was, name, settings);
            changes.push(ListenerChange { name: name.clone(), was: number, now: None, parts: Vec::new() });
        }
    }
    changes
}

/// Taken apart field by field, so that a new key is not forgotten.
fn parts((was, old): (&Compiled, &ListenerSettings), (now, new): (&Compiled, &ListenerSettings)) -> Vec<&'static str> {
    let ListenerSettings { address, admin, app, tls, proxy_protocol, backlog } = new;
    let certificates = |of: &Compiled, settings: &ListenerSettings| -> Vec<Option<String>> {
        let files = settings.tls.iter().flat_map(|tls| [Some(&tls.cert), Some(&tls.key), tls.client_ca.as_ref()]);
        files.flatten().map(|file| of.files.get(&of.base.join(file)).cloned()).collect()
    };
    let differs = [
        ("address", *address != old.address),
        ("admin", *admin != old.admin),
        ("app", *app != old.app),
        ("tls", *tls != old.tls || certificates(was, old) != certificates(now, new)),
        ("proxy_protocol", *proxy_protocol != old.proxy_protocol),
        ("backlog", *backlog != old.backlog),
    ];
    differs.into_iter().filter(|(_, differs)| *differs).map(|(part, _)| part).collect()
}

fn away(was: &Compiled, now: &Compiled) -> BTreeSet<PathBuf> {
    let gone = was.inputs.vanished(&now.inputs).into_iter();
    gone.filter(|path| !is_replaced(path, was, now)).collect()
}

/// Another file stands for it, so it does not come back: one of the same content, or an app that has an endpoint of its.
fn is_replaced(path: &Path, in_force: &Compiled, next: &Compiled) -> bool {
    let of = |file: &str| Path::new(file) == path;
    let endpoints = |compiled: &Compiled, wanted: &dyn Fn(&str) -> bool| -> Vec<_> {
        let apps = compiled.apps.iter().filter(|app| wanted(&app.file));
        apps.flat_map(|app| app.flow.endpoints.iter().map(|endpoint| endpoint.key.clone())).collect()
    };
    let (lost, taken) = (endpoints(in_force, &of), endpoints(next, &|_| true));
    lost.iter().any(|key| taken.contains(key)) || in_force.inputs.renamed(path, &next.inputs)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Means, read, read_next};
    use std::fs;

    /// What becomes of `[listener.main]` and those beside it.
    fn told(was: &str, now: &str) -> Vec<ListenerChange> {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let (env, fetcher) = (BTreeMap::new(), crate::auth::Fetcher::new(runtime.handle().clone()));
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("gateway.toml");
        fs::create_dir(folder.path().join("channels")).unwrap();
        fs::write(&file, was).unwrap();
        let in_force = read(&file, &Means { env: &env, fetcher: &fetcher, previous: None }).unwrap();
        fs::write(&file, now).unwrap();
        let (reading, _) = read_next(&file, &env, &fetcher, &in_force);
        reading.in_this_process().unwrap_or_else(|faults| panic!("{faults:#?}")).diff.listeners
    }

    #[test]
    fn a_listener_is_told_by_what_is_done_to_it() {
        const MAIN: &str = "[listener.main]\naddress = \"127.0.0.1:0\"\n";
        let done = |c: &ListenerChange| (c.opens(), c.renews(), c.closes());
        let one = |now: &str| {
            let told = told(MAIN, now);
            assert_eq!(told.len(), 1, "{told:?}");
            (done(&told[0]), told[0].parts.clone())
        };
        // Written or not, a default is the same.
        assert_eq!(told(MAIN, &format!("{MAIN}backlog = 4096\nadmin = false\n")), []);
        assert_eq!(one(&format!("{MAIN}backlog = 7\n")), ((None, Some(0), None), vec!["backlog"]));
        assert_eq!(one(&format!("{MAIN}admin = true\n")), ((None, Some(0), None), vec!["admin"]));
        assert_eq!(one(&format!("{MAIN}app = \"room\"\n")), ((None, None, None), vec!["app"]));
        let moved = one(&MAIN.replace("127.0.0.1", "127.0.0.2"));
        assert_eq!(moved, ((Some(1), None, Some(0)), vec!["address"]));
        let more = format!("{MAIN}[listener.more]\naddress = \"127.0.0.2:0\"\n");
        assert_eq!(one(&more), ((Some(1), None, None), vec![]));
        let gone = told(&more, MAIN);
        assert_eq!((gone[0].name.as_str(), done(&gone[0])), ("more", (None, None, Some(1))));
    }
}
