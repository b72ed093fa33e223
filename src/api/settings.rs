//! What people write: `[api_key.NAME]` of gateway.toml; `[[route]]` and `[errors]` of an app's file.

use crate::model::{Rate, SecretSource};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// `[api_key.NAME]`: who may use the HTTP API, by `Authorization: Bearer SECRET`.
#[derive(Clone, PartialEq, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ApiKeySettings {
    /// What a caller sends.
    pub secret: SecretSource,
    /// Names of apps; `*` is all.
    #[serde(default = "all")]
    pub apps: Vec<String>,
    /// `publish`, `broadcast`, `send`, `subscribe`, `unsubscribe`, `disconnect`, `cleanup`, `presence`, `history`,
    /// `channels`, `connections`, `admin` (the files: `/admin/config`, `/admin/reload`); `*` is all.
    #[serde(default = "all")]
    pub verbs: Vec<String>,
    /// Patterns of channels, such as `clinic:{*rest}`; `*` is all. With less than all, what reaches or
    /// lists connections must name channels of the key; `cleanup`, `admin`, one user and one connection are not for it.
    #[serde(default = "all")]
    pub channels: Vec<String>,
    /// Values of `idempotency_key` that are remembered for it, for 5 minutes each; beyond: the oldest are forgotten.
    #[serde(default = "idempotency_keys")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub idempotency_keys: u32,
}

fn idempotency_keys() -> u32 {
    super::once::KEYS_MAX as u32
}

fn all() -> Vec<String> {
    vec!["*".into()]
}

/// `[[route]]`: an HTTP request that an app answers.
#[derive(Clone, PartialEq, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RouteSettings {
    /// The path of a GET; `{name}` is one segment, a last `{*name}` all that remain. Exactly one method a route.
    pub get: Option<String>,
    /// The path of a POST.
    pub post: Option<String>,
    /// The path of a PUT.
    pub put: Option<String>,
    /// The path of a PATCH.
    pub patch: Option<String>,
    /// The path of a DELETE.
    pub delete: Option<String>,
    /// Where it is served; the file's `listener` if missing.
    pub listener: Option<String>,
    /// Who may.
    pub access: AccessSettings,
    /// How often one caller may: the user, else the address.
    pub limit: Option<Rate>,
    /// What must be there, by type: `{ "body.message.type" = "string" }`. Anything else is `invalid_body`.
    #[serde(default)]
    pub need: BTreeMap<String, Kind>,
    /// A verb of the HTTP API, `connection` (one of them, or not found) or `issue_token`.
    #[serde(rename = "do")]
    pub action: Option<String>,
    /// A function of the app's plugin that answers, instead of `do`. `{result}` and `{result.PATH}` of `reply` are what it
    /// returned, `{recipients}` how many connections its messages reached; what it says with `reply(…)` goes out as it is.
    pub handler: Option<String>,
    /// Whose state the handler is called with: `queue:{clinicId}`, with the path's variables, `{user.id}`,
    /// `{user.CLAIM}`, `{data.PATH}`. Without it: none.
    pub entity: Option<String>,
    /// What the verb takes, with placeholders. A missing value drops its key.
    #[serde(default)]
    pub with: Map<String, Value>,
    /// Claims that `{stats.by.CLAIM}` counts connections by.
    #[serde(default)]
    pub count: Vec<String>,
    /// The reply's status.
    #[serde(default = "ok")]
    pub status: u16,
    /// The reply's JSON, with placeholders. Without it: what the verb answers.
    pub reply: Option<Value>,
    /// Replies to what goes wrong, by code: `unauthorized`, `forbidden`, `not_found`, `rate_limited`, `invalid_json`,
    /// `invalid_body`, `internal` and the HTTP API's other codes. Without one: that of `[errors]`, else problem details.
    #[serde(default)]
    pub error: BTreeMap<String, ErrorReply>,
}

fn ok() -> u16 {
    200
}

/// Who may use a route.
#[derive(Clone, PartialEq, Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum AccessSettings {
    Word(AccessWord),
    Secret(SecretAccess),
    Auth(AuthAccess),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AccessWord {
    /// Everybody.
    Public,
    /// Whoever has an API key for this app and verb; in development mode everybody without a key too.
    ApiKey,
}

/// Whoever sends a secret.
#[derive(Clone, PartialEq, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SecretAccess {
    /// While it is empty nobody gets in.
    pub secret: SecretSource,
    /// Where: `header:NAME` or `bearer`.
    #[serde(default = "bearer")]
    pub from: Vec<String>,
}

fn bearer() -> Vec<String> {
    vec!["bearer".into()]
}

/// Whoever is somebody.
#[derive(Clone, PartialEq, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AuthAccess {
    /// Names of `[auth.NAME]`; the first that finds a token decides.
    pub auth: Vec<String>,
    /// An expression over `user`, `request`, `tables` and `now`.
    pub rule: Option<String>,
    /// In development mode, who a caller without a token is: a user's id or a placeholder such as `{settings.test_user}`.
    pub development_user: Option<String>,
    /// In development mode, where that is empty: the first user of this table, which also gives the claims.
    pub else_first_of: Option<String>,
}

/// A type of JSON value.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A text that is not empty.
    String,
    Number,
    Integer,
    Boolean,
    Object,
    Array,
    /// Whatever is not null.
    Any,
}

/// A reply to what goes wrong.
#[derive(Clone, PartialEq, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ErrorReply {
    /// The HTTP status; the code's own if missing.
    pub status: Option<u16>,
    /// The JSON, as it stands here.
    pub body: Value,
}
