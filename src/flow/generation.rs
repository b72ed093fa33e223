//! Everything that a command needs of the files: compiled, immutable, numbered. A command keeps the one it started with.

use super::Handlers;
use super::limits::{AppLimits, Limits};
use crate::auth::{Authenticator, Tables};
use crate::dialect::Dialect;
use crate::hub::ClassOptions;
use crate::model::AppId;
use crate::observe::LogNames;
use crate::policy::{Policy, Template};
use std::sync::Arc;

/// The apps of one loading of the files.
#[derive(Clone)]
pub struct Generation {
    pub number: u64,
    /// SHA-256 over all files, in hex.
    pub digest: String,
    pub development: bool,
    pub limits: Limits,
    /// What becomes of subscriptions that its rules do not allow.
    pub revoke: Revoke,
    /// By number of the listener: whether it is still listened on.
    pub listeners: Vec<bool>,
    /// By `AppId`; a number whose app is gone is empty.
    pub apps: Vec<Option<Arc<App>>>,
    /// What tokens are verified with.
    pub keys: crate::auth::Keys,
}

impl Generation {
    /// What cannot be had at the moment, for operators: ``key `idp`: no key set was fetched …``.
    pub fn troubles(&self) -> Vec<String> {
        let keys = self.keys.iter().filter_map(|key| Some(format!("key `{}`: {}", key.name(), key.trouble()?)));
        let tables = self.apps.iter().flatten().flat_map(|app| {
            app.tables.troubles().map(|(table, why)| format!("table `{table}` of app `{}`: {why}", app.name))
        });
        keys.chain(tables).collect()
    }

    pub fn app(&self, id: AppId) -> Option<&Arc<App>> {
        self.apps.get(id.0 as usize)?.as_ref()
    }

    pub fn by_name(&self, name: &str) -> Option<&Arc<App>> {
        self.apps.iter().flatten().find(|app| &*app.name == name)
    }
}

/// What becomes of a live subscription that new rules do not allow.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Revoke {
    /// It is taken back, and its client is told in its dialect.
    #[default]
    Unsubscribe,
    /// Its connection is closed with 1008.
    Disconnect,
    /// It stays; the log and the metrics say so.
    Report,
}

/// One file of `channels/`.
#[derive(Clone)]
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
    /// SHA-256 of what decides: its classes and its tables. While it stays the same, so do live subscriptions.
    pub rules: [u8; 32],
    /// Its plugin; `None`: it has none.
    pub handlers: Option<Arc<Handlers>>,
    /// A rule, an automatic subscription or a handler reads the request: connections keep theirs.
    pub keeps_requests: bool,
}

/// Where and how clients of an app connect. Its path and matchers are `listen`'s.
#[derive(Clone)]
pub struct Endpoint {
    /// What tells it apart from all others of its app: listener, host, path and conditions. A reload finds it by this.
    pub key: Arc<str>,
    pub path: Arc<str>,
    pub dialect: Arc<Dialect>,
    /// In order; empty: everybody is anonymous.
    pub auth: Vec<Arc<Authenticator>>,
    /// Channels that each of its connections hears from the start.
    pub subscribe: Vec<AutoSubscribe>,
}

/// A channel that connections of an endpoint are subscribed to: `reports:progress:{reportId}`, `user:{user.id}:reports`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AutoSubscribe {
    pub template: Template,
    /// Of the endpoint's path, as the template was compiled with.
    pub vars: Vec<Box<str>>,
}

impl App {
    pub fn endpoint(&self, number: u16) -> Option<&Endpoint> {
        self.endpoints.get(number as usize)
    }

    /// The number of the endpoint with this key.
    pub fn endpoint_of(&self, key: &str) -> Option<u16> {
        self.endpoints.iter().position(|e| &*e.key == key).map(|number| number as u16)
    }

    /// An endpoint's dialect; none where its messages ask for nothing.
    pub fn dialect(&self, endpoint: u16) -> Option<&Dialect> {
        Some(&*self.endpoint(endpoint)?.dialect).filter(|dialect| !dialect.echoes())
    }
}
