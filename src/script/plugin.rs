//! One app's handlers, compiled.

use super::{EntitySettings, Event, Host, Limits, Reply, TimerSettings};
use crate::model::{AppId, Refusal};
use crate::store::Store;
use bytes::Bytes;
use std::collections::BTreeMap;
use std::sync::Arc;

/// One app's handlers in one loading of the files: immutable, shared by all workers.
pub struct App {
    pub id: AppId,
    pub name: Arc<str>,
    pub plugin: Plugin,
    pub limits: Limits,
    /// By kind.
    pub entities: BTreeMap<String, EntitySettings>,
    /// Checked: their handlers are there.
    pub timers: Vec<TimerSettings>,
}

#[derive(Default)]
pub struct Plugin;

impl Plugin {
    pub fn find(&self, _name: &str) -> Option<u16> {
        None
    }
    pub fn name_of(&self, _handler: u16) -> &str {
        ""
    }
    pub fn keeps_state(&self, _handler: u16) -> bool {
        false
    }
    pub fn run(&self, _: u16, _: &mut State, _: &Event, _: &Around) -> Result<Ran, Failure> {
        Ok(Ran::default())
    }
}

pub struct Around<'a> {
    pub app: &'a App,
    pub host: &'a dyn Host,
    pub store: Option<&'a dyn Store>,
    pub entity: Option<&'a str>,
    pub limits: &'a Limits,
}

#[derive(Clone, Debug, Default)]
pub struct State;

impl State {
    pub fn new() -> State {
        State
    }
    pub fn from_json(_text: &str) -> Result<State, String> {
        Ok(State)
    }
    pub fn to_json(&self) -> Result<String, String> {
        Ok("{}".into())
    }
    pub fn bytes(&self) -> usize {
        0
    }
    pub fn is_empty(&self) -> bool {
        true
    }
}

#[derive(Debug, Default)]
pub struct Ran {
    pub effects: Vec<super::Effect>,
    pub kept: Vec<Kept>,
    pub value: Option<Bytes>,
    pub reply: Option<Reply>,
    pub operations: u64,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Kept {
    Set { key: String, value: String, expires_ms: Option<u64> },
    Delete { key: String },
    Timer { name: Arc<str>, function: Arc<str>, after_ms: u64, every: bool, data: String },
    Cancel { name: Arc<str> },
    Webhook { name: Arc<str>, body: String },
}

#[derive(Debug)]
pub enum Failure {
    Refused(Refusal),
    Fault(Box<Fault>),
}

#[derive(Clone, Debug, PartialEq)]
pub struct Fault {
    pub what: String,
    pub file: String,
    pub line: u32,
    pub column: u32,
    pub kind: FaultKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FaultKind {
    Operations,
    Deadline,
    Depth,
    Size,
    Effects,
    Read,
    Error,
    Panic,
}
