//! Rules: one boolean expression in Rhai's syntax, compiled once, decided in well under a microsecond.
//!
//! Rhai's parser reads the text; what it finds becomes a small tree of our own (`lower`), and that is what runs (`run`).
//! Rhai's evaluator would copy the identity into its own values for every connection, and it takes `() == ()` for
//! true, which lets somebody without a clinic into a clinic without an id. Here something missing decides nothing: a
//! comparison with it is neither true nor false, nor is its negation, and a rule that ends so refuses (as SQL's NULL).
//! There are no loops, no assignments and no plugin code, so the bounds below bound the work as well.

mod always;
mod chain;
mod function;
mod lower;
mod node;
mod run;
#[cfg(test)]
mod tests;
mod value;

pub use always::Always;

use super::decide::Asking;
use crate::model::Problem;
use node::{Const, Kind, Node};
pub(super) use run::Run;
use std::fmt;

/// Bytes of a rule's text.
pub(super) const TEXT_MAX: usize = 4096;
/// How deep a rule's operators, brackets and calls may be nested.
pub(super) const DEPTH_MAX: usize = 128;
/// Table look-ups of one rule.
pub(super) const LOOKUPS_MAX: usize = 8;
/// Bytes of a text that a rule puts together.
pub(super) const JOINED_MAX: usize = 4096;

/// A compiled rule.
#[derive(Debug)]
pub struct Rule {
    text: Box<str>,
    root: Node,
    reads: Reads,
    lookups: usize,
}

/// What a rule may name besides `user`, `request` and `now`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Names<'c> {
    /// The pattern's wildcards, in order.
    pub captures: &'c [Option<&'c str>],
    /// The app's tables.
    pub tables: &'c [&'c str],
}

impl Rule {
    /// A rule that belongs to no channel: a route's `rule`. `path` is where it stands in the settings.
    pub fn compile(text: &str, path: &str, tables: &[&str]) -> Result<Rule, Vec<Problem>> {
        Rule::compile_with(text, path, Names { captures: &[], tables })
    }

    pub(super) fn compile_with(text: &str, path: &str, names: Names<'_>) -> Result<Rule, Vec<Problem>> {
        let (root, lookups) = lower::lower(text, path, names)?;
        Ok(Rule { text: text.into(), reads: root.reads(), root, lookups })
    }

    /// A part of a rule, which need not be boolean.
    pub(super) fn compile_part(text: &str, names: Names<'_>) -> Result<Rule, Vec<Problem>> {
        let (root, lookups) = lower::lower_part(text, "", names)?;
        Ok(Rule { text: text.into(), reads: root.reads(), root, lookups })
    }

    /// As written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// What its verdict hangs on.
    pub fn reads(&self) -> Reads {
        self.reads
    }

    /// The verdict of a rule that reads nothing.
    pub fn constant(&self) -> Option<bool> {
        match self.root.kind {
            Kind::Const(Const::Bool(verdict)) => Some(verdict),
            _ => None,
        }
    }

    /// Whether a rule without a channel allows. An error refuses too; its text is for logs.
    pub fn allows(&self, asking: &Asking<'_>) -> Result<bool, RuleError> {
        self.holds(asking, &[])
    }

    pub(super) fn holds(&self, asking: &Asking<'_>, captures: &[&str]) -> Result<bool, RuleError> {
        match self.constant() {
            Some(verdict) => Ok(verdict),
            None => self.run(asking, captures, |run| run.truth(&self.root).map(|t| t == Some(true))),
        }
    }

    /// The value that the whole comes to: for `explain`, whose parts need not be boolean.
    pub(super) fn shown(&self, asking: &Asking<'_>, captures: &[&str]) -> Result<String, RuleError> {
        self.run(asking, captures, |run| Ok(run.value(&self.root)?.shown()))
    }

    fn run<T>(
        &self,
        asking: &Asking<'_>,
        captures: &[&str],
        with: impl FnOnce(Run<'_>) -> Result<T, RuleError>,
    ) -> Result<T, RuleError> {
        let rows: [_; LOOKUPS_MAX] = Default::default();
        with(Run { asking, captures, rows: &rows[..self.lookups] })
    }
}

/// What a rule's verdict hangs on.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Reads(u8);

impl Reads {
    pub const NOTHING: Reads = Reads(0);
    /// The identity, until its version changes.
    pub const USER: Reads = Reads(1);
    /// The pattern's variables.
    pub const VARS: Reads = Reads(2);
    pub const REQUEST: Reads = Reads(4);
    pub const TABLES: Reads = Reads(8);
    pub const NOW: Reads = Reads(16);

    pub fn contains(self, other: Reads) -> bool {
        self.0 & other.0 == other.0
    }

    /// How long a verdict stays true, of one connection and one generation.
    pub fn cache(self) -> Cache {
        match self {
            Reads(0) => Cache::Always,
            Reads(1) => Cache::Class,
            Reads(2 | 3) => Cache::Channel,
            _ => Cache::Never,
        }
    }
}

impl std::ops::BitOr for Reads {
    type Output = Reads;
    fn bitor(self, other: Reads) -> Reads {
        Reads(self.0 | other.0)
    }
}

impl fmt::Debug for Reads {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let names = ["user", "vars", "request", "tables", "now"];
        let read: Vec<&str> = names.iter().enumerate().filter(|(i, _)| self.0 >> i & 1 == 1).map(|(_, n)| *n).collect();
        write!(f, "{}", if read.is_empty() { "nothing".into() } else { read.join("+") })
    }
}

/// Where a verdict may be kept. All of it ends with the generation, all but `Always` with the identity's version.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Cache {
    /// The same for everybody.
    Always,
    /// By connection and class.
    Class,
    /// By connection and channel.
    Channel,
    /// Ask each time: it reads the request, a table or the time.
    Never,
}

/// Why a rule came to nothing. It refuses; this is for logs and `explain`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RuleError {
    /// Line and column in the rule's text, 1-based.
    pub at: (u32, u32),
    pub what: String,
    /// A row that decides cannot be had now: neither yes nor no. Another time the rule may come to something.
    pub unavailable: bool,
}

impl RuleError {
    pub(super) fn new(at: (u32, u32), what: impl Into<String>) -> RuleError {
        RuleError { at, what: what.into(), unavailable: false }
    }
}

impl fmt::Display for RuleError {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "at {}:{} of the rule, {}", self.at.0, self.at.1, self.what)
    }
}
