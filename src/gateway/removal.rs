//! Files that were there when the files in force were read, and are not now.
//!
//! Whoever replaces a file by removing it first, renames a folder or unpacks a release leaves a moment in which files
//! are gone, and all the rest is sound. Taken at its word it would end an app and close all its connections. So a file
//! that the watch misses must stay away for `[reload] remove_after`; until then everything stays as it is.

use crate::api::admin::Removing;
use crate::config::Compiled;
use crate::model::{Millis, iso8601};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use tokio::time::Instant;

/// Files that are away, and until when they may come back.
#[derive(Default)]
pub struct Away(BTreeMap<PathBuf, Until>);

#[derive(Clone, Copy)]
struct Until {
    due: Instant,
    /// For people.
    at: Millis,
}

impl Away {
    /// What these files would remove, and not yet: the first look that misses a file begins its time. Returns those that
    /// are new.
    pub fn missed(&mut self, in_force: &Compiled, next: &Compiled, now: Millis) -> Vec<PathBuf> {
        let after = in_force.reload.remove_after;
        let gone = in_force.inputs.vanished(&next.inputs);
        let gone: Vec<PathBuf> = gone.into_iter().filter(|path| !is_replaced(path, in_force, next)).collect();
        self.0.retain(|path, _| gone.contains(path));
        let until = Until { due: Instant::now() + after.duration(), at: now + after.0 };
        let new: Vec<PathBuf> = gone.into_iter().filter(|path| !self.0.contains_key(path)).collect();
        self.0.extend(new.iter().map(|path| (path.clone(), until)));
        new
    }

    /// When the next of them has been away long enough.
    pub fn due(&self) -> Option<Instant> {
        self.0.values().map(|until| until.due).min()
    }

    /// Whether all of them have been away long enough.
    pub fn is_over(&self) -> bool {
        let now = Instant::now();
        self.0.values().all(|until| until.due <= now)
    }

    pub fn clear(&mut self) {
        self.0.clear();
    }

    pub fn shown(&self) -> Vec<Removing> {
        let one =
            |(path, until): (&PathBuf, &Until)| Removing { file: path.display().to_string(), at: iso8601(until.at) };
        self.0.iter().map(one).collect()
    }
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
