//! What the workers need of the engine: one run of one handler.

use crate::model::Refusal;
use crate::script::{App, Call, Effect, Host, Reply};
use crate::store::Store;
use bytes::Bytes;
use std::sync::Arc;

/// Runs handlers. The engine; in tests a double.
pub(super) trait Run: Send + Sync {
    /// The number of a function of the app's plugin that takes an event.
    fn handler(&self, app: &App, name: &str) -> Option<u16>;
    fn name_of(&self, app: &App, handler: u16) -> Arc<str>;
    /// Whether it reads or writes `this`.
    fn keeps_state(&self, app: &App, handler: u16) -> bool;
    /// On failure the caller throws `state` away.
    fn run(&self, call: &Call, state: &mut State, around: &Around<'_>) -> Result<Ran, Failure>;
}

/// What a handler reads from.
pub(super) struct Around<'a> {
    pub host: &'a dyn Host,
    pub store: Option<&'a dyn Store>,
}

/// `this` of one entity.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct State(serde_json::Map<String, serde_json::Value>);

impl State {
    pub fn from_json(text: &str) -> Result<State, String> {
        serde_json::from_str(text).map(State).map_err(|e| e.to_string())
    }

    pub fn to_json(&self) -> Result<String, String> {
        serde_json::to_string(&self.0).map_err(|e| e.to_string())
    }

    /// About how much memory it takes.
    pub fn bytes(&self) -> usize {
        self.to_json().map_or(0, |text| text.len())
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// What a handler asked for.
#[derive(Debug, Default)]
pub(super) struct Ran {
    pub effects: Vec<Effect>,
    pub kept: Vec<Kept>,
    /// JSON of what it returned, where it returned something.
    pub value: Option<Bytes>,
    pub reply: Option<Reply>,
    pub operations: u64,
}

/// What stays in `script` and the store.
#[derive(Clone, Debug)]
pub(super) enum Kept {
    Set { key: String, value: String, expires_ms: Option<u64> },
    Delete { key: String },
    Timer { name: Arc<str>, handler: Arc<str>, after_ms: u64, every: bool, data: String },
    Cancel { name: Arc<str> },
    Webhook { name: Arc<str>, body: String },
}

/// Why nothing of a call is carried out.
#[derive(Debug)]
pub(super) enum Failure {
    Refused(Refusal),
    Fault(Fault),
}

/// A handler's own mistake; for the log.
#[derive(Debug)]
pub(super) struct Fault {
    pub what: String,
    pub file: String,
    pub line: u32,
    pub column: u32,
    pub kind: FaultKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FaultKind {
    Operations,
    Deadline,
    Depth,
    Size,
    Effects,
    Read,
    Timers,
    Error,
    Panic,
}
