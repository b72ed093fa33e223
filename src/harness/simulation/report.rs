//! What happened in a run, counted: what never happened was not tried.

use std::collections::BTreeMap;
use std::fmt;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Of all steps and of all that was heard: the same for the same seed.
    pub hash: u64,
    counts: BTreeMap<&'static str, u64>,
}

impl Report {
    pub fn count(&mut self, what: &'static str) {
        self.add(what, 1);
    }

    pub fn add(&mut self, what: &'static str, n: u64) {
        *self.counts.entry(what).or_default() += n;
    }

    pub fn of(&self, what: &str) -> u64 {
        self.counts.get(what).copied().unwrap_or_default()
    }

    /// Of both; hashes together are one of all runs, whatever their order.
    pub fn with(mut self, other: &Report) -> Report {
        self.hash ^= other.hash;
        other.counts.iter().for_each(|(what, n)| self.add(what, *n));
        self
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let counts: Vec<String> = self.counts.iter().map(|(what, n)| format!("{n} {what}")).collect();
        write!(f, "{}; trace {:016x}", counts.join(", "), self.hash)
    }
}
