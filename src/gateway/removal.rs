//! Files that were there when the files in force were read, and are not now.
//!
//! Whoever replaces a file by removing it first, renames a folder or unpacks a release leaves a moment in which files
//! are gone, and all the rest is sound. Taken at its word it would end an app and close all its connections. So a file
//! that the watch misses must stay away for `[reload] remove_after`; until then everything stays as it is.

use crate::api::admin::Removing;
use crate::model::{Millis, Ms, iso8601};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
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
    /// `gone`: what the files that were read would remove. The first look that misses a file begins its time, `after`.
    /// Returns those that are new.
    pub fn missed(&mut self, gone: &BTreeSet<PathBuf>, after: Ms, now: Millis) -> Vec<PathBuf> {
        self.0.retain(|path, _| gone.contains(path));
        let until = Until { due: Instant::now() + after.duration(), at: now + after.0 };
        let new: Vec<PathBuf> = gone.iter().filter(|path| !self.0.contains_key(*path)).cloned().collect();
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
