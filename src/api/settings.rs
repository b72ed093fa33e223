//! `[api_key.NAME]` of gateway.toml, `[[route]]` and `[errors]` of an app's file.

use crate::model::{Rate, SecretSource};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;

/// `[api_key.NAME]`: who may use the HTTP API, and for what.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ApiKeySettings {
    /// Sent as `Authorization: Bearer`.
    pub secret: SecretSource,
    /// Names of apps; `"*"`: all.
    #[serde(default)]
    pub apps: Vec<String>,
    /// Verbs; `"*"`: all.
    #[serde(default)]
    pub verbs: Vec<String>,
    /// Patterns of channels; `"*"`: all.
    #[serde(default)]
    pub channels: Vec<String>,
}

/// `[[route]]`: one HTTP request that an app answers.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RouteSettings {
    /// The listener's name; else the app's `listener`.
    pub listener: Option<String>,
    /// Answers GET at this path.
    pub get: Option<String>,
    /// Answers POST at this path.
    pub post: Option<String>,
    /// Answers PUT at this path.
    pub put: Option<String>,
    /// Answers DELETE at this path.
    pub delete: Option<String>,
    /// Who may.
    pub access: Option<Value>,
    /// What is done.
    #[serde(rename = "do")]
    pub verb: Option<String>,
    /// With what, as templates.
    pub with: Option<Value>,
    /// What the body must hold, by path and type.
    #[serde(default)]
    pub need: BTreeMap<String, String>,
    /// The answer, a template.
    pub reply: Option<Value>,
    /// Answers by refusal code.
    #[serde(default)]
    pub error: BTreeMap<String, ErrorReply>,
    /// Claims that `{stats.by}` counts.
    #[serde(default)]
    pub count: Vec<String>,
    /// Requests from one address.
    pub limit: Option<Rate>,
}

/// A status and a body.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ErrorReply {
    /// HTTP status code.
    #[schemars(range(min = 100, max = 599))]
    pub status: u16,
    /// A template.
    #[serde(default)]
    pub body: Value,
}
