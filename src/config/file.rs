//! What people write: `gateway.toml` and `channels/NAME.toml`. Each room brings the type of its own tables.

use super::both::Both;
use super::cases::CheckSettings;
use crate::flow::limits::{AppLimits, AppLimitsOverride, Limits};
use crate::model::Ms;
use crate::{api, auth, dialect, flow, hub, listen, observe, policy, script, store, webhook};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// `gateway.toml`: the gateway's own settings.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct GatewayFile {
    /// Whether this is for trying things out or for the world.
    pub mode: Mode,
    /// How many threads share the connections.
    pub shards: Shards,
    /// Where clients and operators connect, by name.
    pub listener: BTreeMap<String, listen::ListenerSettings>,
    /// Before the upgrade.
    pub http: listen::HttpSettings,
    /// Bounds of the process, and those of apps that set none of their own.
    pub limits: Both<Limits, AppLimits>,
    /// What tokens are verified with, by name.
    pub key: BTreeMap<String, auth::KeySettings>,
    /// Who may use the HTTP API, by name.
    pub api_key: BTreeMap<String, api::ApiKeySettings>,
    /// Whom Weir believes when it calls others over https.
    pub tls: TlsSettings,
    /// The workers that run handlers, and bounds of apps' handlers that set none of their own.
    pub script: Both<script::Process, script::Limits>,
    /// Where what handlers keep outlives the process.
    pub store: store::Settings,
    /// Where Weir writes what happens.
    pub log: observe::LogSettings,
    /// Where Weir writes who did what: calls of the HTTP API, reloads, revocations, joins of marked classes.
    pub audit: observe::AuditSettings,
    /// How changed files come into force.
    pub reload: ReloadSettings,
}

/// `[tls]`: calls of Weir's own over https: key sets, rows, webhooks, and `weir health` and others of its commands.
#[derive(Clone, PartialEq, Eq, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct TlsSettings {
    /// A PEM file with the certificates of further authorities, beside Mozilla's, such as a company's own. Empty: none.
    /// Those of the file that `SSL_CERT_FILE` names are believed as well.
    pub ca: String,
}

/// `[reload]`: how changed files come into force. `SIGHUP` and `POST /admin/reload` always do.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ReloadSettings {
    /// How changes are noticed. Takes a restart to change.
    pub watch: Watching,
    /// Quiet after a change before the files are read: an editor writes in several steps. Takes a restart to change.
    pub debounce: Ms,
    /// And at most, where changes do not end. Takes a restart to change.
    pub debounce_max: Ms,
    /// How often files are looked at where the system tells of no change. Takes a restart to change.
    pub poll_interval: Ms,
    /// How long a file must stay away before what it said is removed: an editor or a deployment may be replacing it.
    pub remove_after: Ms,
    /// What becomes of a live subscription that new rules do not allow.
    pub revoke: flow::Revoke,
    /// Whether plugins' tests must pass before files are put in force.
    pub require_tests: bool,
}

impl Default for ReloadSettings {
    fn default() -> ReloadSettings {
        ReloadSettings {
            watch: Watching::Auto,
            debounce: Ms(50),
            debounce_max: Ms::secs(1),
            poll_interval: Ms::secs(2),
            remove_after: Ms::secs(5),
            revoke: flow::Revoke::default(),
            require_tests: false,
        }
    }
}

/// How changed files are noticed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Watching {
    /// The system tells, and every `poll_interval` sizes and times are looked at; where it cannot tell, as `poll`.
    #[default]
    Auto,
    /// Contents are compared every `poll_interval`: for network and overlay file systems.
    Poll,
    /// Not at all.
    Off,
}

/// `channels/NAME.toml`: one app.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AppFile {
    /// Where `[[endpoint]]` and `[[route]]` listen unless they say otherwise.
    pub listener: Option<String>,
    /// Allowed `Origin`s of upgrades and of calls that a cookie authenticates, within those of `[http]`; these pages may
    /// also read answers of the HTTP API. Without it: those of `[http]`, and no page reads answers.
    pub origins: Option<Vec<String>>,
    /// Environment variables and the settings of this file that they set: `WS_PORT = "listener.clinic.port"`; `""`: a name
    /// that documents use and that has no effect here.
    pub env: BTreeMap<String, String>,
    /// Values for reply templates and the plugin.
    pub settings: Map<String, Value>,
    /// Bounds that differ from `gateway.toml`.
    pub limits: AppLimitsOverride,
    /// The app's plugin: `plugins/NAME.rhai`.
    pub plugin: Option<String>,
    /// Bounds of its handlers that differ from `gateway.toml`.
    pub script: script::LimitsOverride,
    /// What its handlers keep, by kind: `queue:{clinicId}` is of `[entity.queue]`.
    pub entity: BTreeMap<String, script::EntitySettings>,
    /// Services that its handlers call, by name.
    pub webhook: BTreeMap<String, webhook::Settings>,
    /// Handlers that are called again and again.
    pub timer: Vec<script::TimerSettings>,
    /// Where clients connect.
    pub endpoint: Vec<Endpoint>,
    /// How clients show who they are, by name.
    pub auth: BTreeMap<String, auth::Settings>,
    /// How clients write things, by name.
    pub dialect: BTreeMap<String, dialect::json::Settings>,
    /// Rows by key that rules and authentication look up, by name.
    pub table: BTreeMap<String, auth::TableSettings>,
    /// Channel classes.
    pub channel: Vec<Channel>,
    /// HTTP requests that the app answers.
    pub route: Vec<api::RouteSettings>,
    /// Answers by refusal code, for all routes.
    pub errors: BTreeMap<String, api::ErrorReply>,
    /// What must be allowed and what refused: a file that breaks one is not put in force.
    pub check: Vec<CheckSettings>,
    /// Texts of log lines by event, where others than Weir's own are looked for.
    pub log: observe::LogNames,
}

/// `[[channel]]`: who may, what is kept, and which handlers are told.
pub type Channel = Both<policy::ChannelSettings, Both<hub::ClassOptions, script::ChannelBinding>>;

/// `[[endpoint]]`: where clients connect, and which handlers are told.
pub type Endpoint = Both<listen::EndpointSettings, script::EndpointBinding>;

/// Whether this is for trying things out or for the world.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Every listener on loopback; missing secrets get published values; forwarded requests are refused.
    #[default]
    Development,
    /// A missing secret is a fault.
    Production,
}

/// How many threads share the connections: `"auto"`, one a core, or a number.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Shards {
    Auto(Auto),
    Fixed(#[schemars(range(min = 1, max = 256))] u16),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Auto {
    Auto,
}

impl Default for Shards {
    fn default() -> Shards {
        Shards::Auto(Auto::Auto)
    }
}
