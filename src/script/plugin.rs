//! One app's handlers, compiled.

use super::current::Around;
use super::engine::Compiled;
use super::reads::Reads;
use super::subject::{self, FIELDS};
use super::values::State;
use super::{EntitySettings, Event, Fault, Limits, Reply, TimerSettings};
use crate::model::{AppId, Problem, Refusal, did_you_mean, one_of};
use crate::policy::Policy;
use bytes::Bytes;
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// One app's handlers in one loading of the files: immutable, shared by all workers.
pub struct App {
    pub id: AppId,
    pub name: Arc<str>,
    pub plugin: Plugin,
    pub limits: Limits,
    /// The app's classes: a message to a channel that none matches is a fault. `None`: not looked at, in tests.
    pub policy: Option<Arc<Policy>>,
    /// By kind.
    pub entities: BTreeMap<String, EntitySettings>,
    /// Checked: their handlers are there.
    pub timers: Vec<TimerSettings>,
}

/// A plugin's functions, ready to be called. `Plugin::default()` has none, for apps without a plugin.
#[derive(Default)]
pub struct Plugin {
    pub(super) compiled: Option<Box<Compiled>>,
    /// In the order of their names; a handler's number is its place.
    pub(super) functions: Vec<Function>,
    /// Names that `webhook` may be called with.
    pub(super) webhooks: Vec<Arc<str>>,
    /// Names of `[settings]` that its files read.
    pub(super) settings: BTreeSet<String>,
}

/// A function of a plugin's file.
#[derive(Clone, Debug)]
pub struct Function {
    pub name: Arc<str>,
    /// How many parameters it has.
    pub arity: usize,
    /// As faults show it.
    pub file: Arc<str>,
    pub line: u32,
    /// It reads or writes `this`, itself.
    pub keeps_state: bool,
    /// Some function of the plugin calls it, or names it.
    pub used: bool,
    /// What of its first parameter, the event, is read.
    pub(super) reads: Reads,
    /// Fields of it that no event has: name, line, column.
    pub(super) doubts: Vec<(Arc<str>, u32, u32)>,
}

/// A plugin's file: the path as faults show it, and its text; or why it cannot be read.
pub type PluginFile = Result<(String, String), String>;

/// One mistake in a plugin's text.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PluginProblem {
    /// As `files` named it.
    pub file: String,
    /// 1-based; 0: the file as a whole.
    pub line: u32,
    pub column: u32,
    /// ``unknown function `publsh` ``
    pub what: String,
    pub expected: Option<String>,
    /// ``did you mean `publish`?``
    pub hint: Option<String>,
}

/// What a call that returned normally asks for.
#[derive(Debug, Default)]
pub struct Ran {
    /// In their order. Of a route without its reply.
    pub effects: Vec<super::Effect>,
    pub kept: Vec<Kept>,
    /// JSON of what it returned, where that means something (publish, route) and is not `()`.
    pub value: Option<Bytes>,
    /// Of a route.
    pub reply: Option<Reply>,
    /// Events of histories that a script cannot hold.
    pub left_out: u64,
    /// Operations that it took.
    pub operations: u64,
}

/// What belongs to the entity or the app and is committed before effects are carried out.
#[derive(Clone, Debug, PartialEq)]
pub enum Kept {
    /// `value`: JSON text. `expires_ms`: from now.
    Set {
        key: String,
        value: String,
        expires_ms: Option<u64>,
    },
    Delete {
        key: String,
    },
    /// Replaces the entity's timer of the same name. `function`: a function of the plugin, by name; a reload may change
    /// its number. `data`: JSON text, `event.data` of its call; empty where there is none.
    Timer {
        name: Arc<str>,
        function: Arc<str>,
        after_ms: u64,
        every: bool,
        data: String,
    },
    Cancel {
        name: Arc<str>,
    },
    /// `body`: JSON text.
    Webhook {
        name: Arc<str>,
        body: String,
    },
}

/// Why nothing of a call is carried out.
#[derive(Debug)]
pub enum Failure {
    /// The handler refused, or the message was too large for it: the client may read it.
    Refused(Refusal),
    /// For the log and the counters; the client reads `Code::Internal`.
    Fault(Box<Fault>),
}

impl Plugin {
    /// Compiles `name` and what it imports. `files` reads a plugin's file by its name (`clinic`, `lib/queue`) → (path as
    /// faults show it, text). `settings`: the app's `[settings]`, seen as `settings`. `webhooks`: the names declared.
    /// Err: all mistakes found, in the order of files and lines.
    pub fn compile(
        name: &str,
        files: &dyn Fn(&str) -> PluginFile,
        limits: &Limits,
        settings: &Map<String, Value>,
        webhooks: &[&str],
    ) -> Result<Plugin, Vec<PluginProblem>> {
        super::compile::compile(name, files, limits, settings, webhooks)
    }

    /// The number of the function `name` with one parameter, the event. Err: a `Problem` without a path.
    pub fn handler(&self, name: &str) -> Result<u16, Problem> {
        if let Some(at) = self.find(name) {
            let function = &self.functions[at as usize];
            return match function.doubts.first() {
                None => Ok(at),
                Some((field, line, column)) => {
                    let what = format!(
                        "the handler `{name}` reads `{field}` of its event, at {}:{line}:{column}",
                        function.file
                    );
                    let fields = || FIELDS.iter().map(|(field, ..)| *field);
                    Err(Problem::new("", what).expected(one_of(fields())).hint(did_you_mean(field, fields())))
                }
            };
        }
        let problem = Problem::new("", format!("unknown handler `{name}`"));
        Err(match self.functions.iter().find(|f| &*f.name == name) {
            Some(f) => Problem::new("", format!("`{name}` takes {} parameters", f.arity))
                .expected("a function with one parameter, the event")
                .hint(Some(format!("write `fn {name}(event)` in {}:{}", f.file, f.line))),
            None if self.functions.is_empty() => problem.expected("a function of the app's plugin, which has none"),
            None => {
                let names = || self.functions.iter().filter(|f| f.arity == 1).map(|f| &*f.name);
                problem
                    .expected("a function of the plugin with one parameter, the event")
                    .hint(did_you_mean(name, names()))
            }
        })
    }

    /// As `handler`, without an explanation.
    pub fn find(&self, name: &str) -> Option<u16> {
        let at = self.functions.partition_point(|f| (&*f.name, f.arity) < (name, 1));
        self.functions.get(at).filter(|f| &*f.name == name && f.arity == 1).map(|_| at as u16)
    }

    /// The functions of the plugin's own file, by name.
    pub fn functions(&self) -> impl Iterator<Item = &Function> {
        self.functions.iter()
    }

    /// Names of `[settings]` that its text reads, in their order.
    pub fn settings(&self) -> impl Iterator<Item = &str> {
        self.settings.iter().map(String::as_str)
    }

    /// Empty where there is no such handler.
    pub fn name_of(&self, handler: u16) -> &str {
        self.functions.get(handler as usize).map_or("", |f| &f.name)
    }

    /// It reads or writes `this`, itself.
    pub fn keeps_state(&self, handler: u16) -> bool {
        self.functions.get(handler as usize).is_some_and(|f| f.keeps_state)
    }

    /// Whether the handler could read what it would be told. Err: `invalid_message` or `too_large`.
    pub fn can_read(&self, handler: u16, event: &Event, limits: &Limits) -> Result<(), Refusal> {
        match self.functions.get(handler as usize) {
            Some(function) => subject::can_read(event, &function.reads, limits),
            None => Ok(()),
        }
    }

    /// Runs one call. `state` is `this`. On failure the caller throws `state` away and keeps its copy.
    pub fn run(&self, handler: u16, state: &mut State, event: &Event, around: &Around) -> Result<Ran, Failure> {
        super::run::run(self, handler, state, event, around)
    }
}
