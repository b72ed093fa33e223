//! Everything that a command needs of the files: compiled, immutable, numbered. A command keeps the one it started with.

use super::limits::{AppLimits, Limits};
use crate::auth::{Authenticator, Tables};
use crate::dialect::{Dialect, Json};
use crate::hub::ClassOptions;
use crate::model::AppId;
use crate::observe::LogNames;
use crate::policy::{Policy, Template};
use std::sync::Arc;

/// The apps of one loading of the files.
pub struct Generation {
    pub number: u64,
    /// SHA-256 over all files, in hex.
    pub digest: String,
    pub development: bool,
    pub limits: Limits,
    /// By `AppId`; a number whose app is gone is empty.
    pub apps: Vec<Option<Arc<App>>>,
}

impl Generation {
    pub fn app(&self, id: AppId) -> Option<&Arc<App>> {
        self.apps.get(id.0 as usize)?.as_ref()
    }

    pub fn by_name(&self, name: &str) -> Option<&Arc<App>> {
        self.apps.iter().flatten().find(|app| &*app.name == name)
    }
}

/// One file of `channels/`.
pub struct App {
    pub id: AppId,
    pub name: Arc<str>,
    pub endpoints: Vec<Endpoint>,
    pub policy: Arc<Policy>,
    /// By class.
    pub classes: Arc<[ClassOptions]>,
    pub limits: AppLimits,
    /// `[settings]`: for templates and plugins.
    pub settings: serde_json::Map<String, serde_json::Value>,
    pub log: LogNames,
    pub tables: Arc<Tables>,
    /// A rule or an automatic subscription reads the request: connections keep theirs.
    pub keeps_requests: bool,
}

/// Where and how clients of an app connect. Its path and matchers are `listen`'s.
pub struct Endpoint {
    pub path: Arc<str>,
    pub dialect: Arc<Dialect>,
    /// In order; empty: everybody is anonymous.
    pub auth: Vec<Arc<Authenticator>>,
    /// Channels that each of its connections hears from the start.
    pub subscribe: Vec<AutoSubscribe>,
}

/// A channel that connections of an endpoint are subscribed to: `reports:progress:{reportId}`, `user:{user.id}:reports`.
pub struct AutoSubscribe {
    pub template: Template,
    /// Of the endpoint's path, as the template was compiled with.
    pub vars: Vec<Box<str>>,
}

impl App {
    pub fn endpoint(&self, number: u16) -> Option<&Endpoint> {
        self.endpoints.get(number as usize)
    }

    pub fn json(&self, endpoint: u16) -> Option<&Json> {
        match &*self.endpoint(endpoint)?.dialect {
            Dialect::Json(json) => Some(json),
            Dialect::Echo => None,
        }
    }
}
