//! What admin listeners answer, as JSON: the gateway makes it, `weir plan` and `weir explain --live` read it,
//! `weir schema openapi` describes it.

use crate::flow::Revoke;
use crate::kernel::Revoked;
use crate::model::Fault;
use crate::policy::Explanation;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// What is in force.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct InForce {
    /// Counts the changes since the start.
    pub generation: u64,
    /// Of all files together: SHA-256 in hexadecimal.
    pub digest: String,
    /// ISO 8601.
    pub loaded_at: String,
    /// Each file with its digest; `secret` for one with a secret in it.
    pub files: BTreeMap<String, String>,
}

/// `GET /admin/config`
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Status {
    #[serde(flatten)]
    pub in_force: InForce,
    pub watch: Noticing,
    pub removing: Vec<Removing>,
    pub last_reload: Option<LastReload>,
}

/// How changed files are noticed now.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Noticing {
    pub by: NoticedBy,
    /// Why not by events, where that was wanted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum NoticedBy {
    /// The system tells.
    Events,
    /// By looking every now and then.
    Poll,
    /// Not at all.
    Off,
}

/// A file that is gone, and stays in force in case it comes back.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Removing {
    pub file: String,
    /// When it ends, ISO 8601.
    pub at: String,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct LastReload {
    /// ISO 8601.
    pub at: String,
    /// Who asked.
    pub by: String,
    pub result: ReloadResult,
    pub faults: Vec<Fault>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ReloadResult {
    Success,
    /// What is on disk was in force already.
    Unchanged,
    /// What was in force before still is.
    Fault,
}

/// `POST /admin/reload`
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Reloaded {
    #[serde(flatten)]
    pub in_force: InForce,
    /// The files that differ from those before.
    pub changed: Vec<String>,
}

/// `POST /admin/plan`
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct Plan {
    /// No faults. What needs a restart is told apart.
    pub ok: bool,
    pub faults: Vec<Fault>,
    pub warnings: Vec<Fault>,
    /// In force now.
    pub generation: u64,
    /// The candidate's.
    pub digest: Option<String>,
    pub changes: Option<Changes>,
    pub restart: Vec<Restart>,
    /// What becomes of `revoked.subscriptions`: the candidate's `[reload] revoke`.
    pub revoke: Option<Revoke>,
    pub revoked: Option<Revoked>,
}

/// A key of gateway.toml that takes a restart to change: what is in force and what is written.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Restart {
    pub key: String,
    pub from: String,
    pub to: String,
}

/// All that differs between two readings of the files. Everything is named as its file names it.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct Changes {
    /// Relative to the folder of `gateway.toml`.
    pub files: BTreeSet<String>,
    pub settings: Vec<Setting>,
    pub apps: Names,
    /// `listeners`, `endpoints`, `classes`, `routes`, `dialects`, `handlers` and the like.
    #[serde(flatten)]
    pub groups: BTreeMap<String, Group>,
}

/// A plain setting.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Setting {
    /// Whose file; not there: `gateway.toml`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub app: Option<String>,
    /// `limits.connections`
    pub key: String,
    /// What is in force, the default where nothing is written; null where there is none.
    pub from: Value,
    pub to: Value,
}

#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct Names {
    pub added: Vec<String>,
    pub removed: Vec<String>,
    pub changed: Vec<String>,
}

/// Things of one kind.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct Group {
    pub added: Vec<Item>,
    pub removed: Vec<Item>,
    pub changed: Vec<Item>,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Item {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub app: Option<String>,
    pub name: String,
    /// Which keys of it changed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<String>,
}

/// `POST /admin/explain`
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct LiveExplanation {
    #[serde(flatten)]
    pub why: Explanation,
    /// Whose rules decided.
    pub generation: u64,
    pub connection: String,
    pub app: String,
    pub user: Option<String>,
    /// Its path.
    pub endpoint: Option<String>,
    pub request: KeptRequest,
}

/// Whether a connection's request was kept for rules that read it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub enum KeptRequest {
    #[serde(rename = "kept")]
    Kept,
    #[serde(rename = "not kept")]
    NotKept,
}
