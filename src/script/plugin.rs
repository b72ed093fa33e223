//! One app's handlers, compiled.

use super::{EntitySettings, Limits, TimerSettings};
use crate::model::AppId;
use std::collections::BTreeMap;
use std::sync::Arc;

/// One app's handlers in one loading of the files: immutable, shared by all workers.
pub struct App {
    pub id: AppId,
    pub name: Arc<str>,
    pub limits: Limits,
    /// By kind.
    pub entities: BTreeMap<String, EntitySettings>,
    /// Checked: their handlers are there.
    pub timers: Vec<TimerSettings>,
}
