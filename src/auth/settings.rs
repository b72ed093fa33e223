//! What people write under `[key.NAME]` of gateway.toml and `[auth.NAME]`, `[table.NAME]` of an app.

use super::trusted::TrustedSettings;
use crate::model::{Ms, SecretSource, Size};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// How a token is signed (RFC 7518 §3.1, RFC 8037).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize, JsonSchema)]
pub enum Algorithm {
    HS256,
    HS384,
    HS512,
    RS256,
    RS384,
    RS512,
    PS256,
    PS384,
    PS512,
    ES256,
    ES384,
    EdDSA,
}

/// `[key.NAME]`: what tokens are verified with. Exactly one of `secret`, `public` and `jwks`.
#[derive(Clone, PartialEq, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KeySettings {
    /// What tokens may be signed with, all of one family. What a token says of itself counts only within this list.
    pub algorithms: Vec<Algorithm>,
    /// The shared secret of HS256, HS384 and HS512.
    pub secret: Option<SecretSource>,
    /// A public key in PEM (`PUBLIC KEY` or `RSA PUBLIC KEY`).
    pub public: Option<SecretSource>,
    /// A set of public keys (RFC 7517), from a file or a URL.
    pub jwks: Option<JwksSettings>,
    /// A token that names this `kid` is tried with this key first. For `secret` and `public`; the key's name if missing.
    pub kid: Option<String>,
}

/// A JSON Web Key Set. Exactly one of `file` and `url`.
#[derive(Clone, PartialEq, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct JwksSettings {
    /// A file with the set, read when the files are loaded.
    pub file: Option<String>,
    /// An http or https address of the set, fetched when it is first needed.
    pub url: Option<String>,
    /// How old a fetched set may become before it is fetched again; an old set stays in use while the source fails. Default `"10m"`.
    #[serde(default = "ten_minutes")]
    pub refresh: Ms,
    /// How long one fetch may take. Default `"5s"`.
    #[serde(default = "five_seconds")]
    pub timeout: Ms,
    /// The shortest time between two fetches, however many tokens name an unknown `kid`. Default `"10s"`.
    #[serde(default = "ten_seconds")]
    pub min_interval: Ms,
    /// The largest set that is read. Default `"256KiB"`.
    #[serde(default = "set_bytes")]
    pub bytes: Size,
}

/// `[auth.NAME]`: how a client shows who it is.
#[derive(Clone, PartialEq, Debug, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum Settings {
    /// A JSON Web Token (RFC 7519), signed.
    Jwt(JwtSettings),
    /// Base64 of JSON `{userId, timestamp, signature}`, the signature being HMAC-SHA256 over `userId:timestamp`.
    Hmac(HmacSettings),
    /// Who the client says that it is. In production only with `insecure = true`.
    Trusted(TrustedSettings),
}

/// `[auth.NAME]` with `type = "jwt"`.
#[derive(Clone, PartialEq, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct JwtSettings {
    /// Names of `[key.NAME]`, tried in this order; two rotate.
    pub keys: Vec<String>,
    /// Where the token is, in this order: `query:NAME`, `bearer`, `cookie:NAME`, `header:NAME`, `message`, and `subprotocol` or
    /// `subprotocol:NAME` for `Sec-WebSocket-Protocol: NAME, TOKEN` (`bearer` if missing), which is answered with NAME. The first
    /// one present counts, and one that fails is never passed over for the next.
    #[serde(default = "from_anywhere")]
    pub from: Vec<String>,
    /// Claims that name the user: the first one present. Dots lead inward.
    #[serde(default = "user_claims")]
    pub user: Vec<String>,
    /// Claims that hold the user's roles, a text or a list: the first one present. Becomes `role` and `roles`.
    #[serde(default = "role_claims")]
    pub roles: Vec<String>,
    /// Claims that must be there, `["tenantId"]`, or must have a value, `{ aud = "x", iss = ["a", "b"] }`.
    #[serde(default)]
    pub require: Require,
    /// Claims that must not be there.
    #[serde(default)]
    pub forbid: Vec<String>,
    /// Where a message brings claims beside its token, those that must not differ from the token's: `["organization_id"]`.
    /// A fresh token on a live connection must not differ in them either. One that names the user is compared with the user.
    #[serde(default, rename = "match")]
    pub matching: Vec<String>,
    /// Accepts a token whose `aud` names somebody, though `require` does not say who this is (RFC 7519 §4.1.3 forbids that).
    #[serde(default)]
    pub any_audience: bool,
    /// How far clocks may differ when `exp` and `nbf` are compared. Default `"30s"`.
    #[serde(default = "half_a_minute")]
    pub leeway: Ms,
    /// Whether a token must have an `exp`. Default `required`.
    #[serde(default)]
    pub expiry: Expires,
    /// The table that the user is looked up in; its row's columns go before claims of the same name.
    pub table: Option<String>,
    /// The claim that is the row's key; the user if missing.
    pub table_key: Option<String>,
    /// Claims for those that neither the token nor the row has.
    #[serde(default)]
    pub defaults: Map<String, Value>,
    /// What becomes of a user without a row. Default `fail`.
    #[serde(default)]
    pub unknown: UnknownRow,
    /// Whether a connection ends with its token.
    #[serde(default)]
    pub close_on_expiry: bool,
    /// How long before that the client is asked for a new token. Default `"1m"`.
    #[serde(default = "one_minute")]
    pub warn_before: Ms,
    /// What happens without a token: `anonymous`, `reject` (HTTP 401) or a close after the upgrade. Default `reject`.
    /// With `message` in `from` that is after `limits.auth_timeout`; `anonymous` waits for no token.
    #[serde(default)]
    pub missing: OnMissing,
    /// What happens with a token that does not verify: `reject` (HTTP 401) or a close after the upgrade. Default `reject`.
    /// `retry`: who sent it in a message is told, and may try again until `limits.auth_timeout`.
    #[serde(default)]
    pub failed: OnFailed,
}

/// `[auth.NAME]` with `type = "hmac"`.
#[derive(Clone, PartialEq, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HmacSettings {
    /// The secret that signatures are made with.
    pub secret: SecretSource,
    /// Where the token is, in this order: `query:NAME`, `bearer`, `cookie:NAME`, `header:NAME`, `message`, and `subprotocol` or
    /// `subprotocol:NAME` for `Sec-WebSocket-Protocol: NAME, TOKEN` (`bearer` if missing), which is answered with NAME. The first
    /// one present counts, and one that fails is never passed over for the next.
    #[serde(default = "from_anywhere")]
    pub from: Vec<String>,
    /// How long a token counts after its timestamp. Default `"10m"`.
    #[serde(default = "ten_minutes")]
    pub ttl: Ms,
    /// How far in the future a timestamp may lie. Default `"30s"`.
    #[serde(default = "half_a_minute")]
    pub skew: Ms,
    /// The table that the user is looked up in; its row's columns become claims.
    pub table: Option<String>,
    /// Columns that hold the user's roles, a text or a list: the first one present. Becomes `role` and `roles`.
    #[serde(default = "role_claims")]
    pub roles: Vec<String>,
    /// Claims for those that the row does not have.
    #[serde(default)]
    pub defaults: Map<String, Value>,
    /// What becomes of a user without a row. Default `fail`.
    #[serde(default)]
    pub unknown: UnknownRow,
    /// Whether a connection ends with its token.
    #[serde(default)]
    pub close_on_expiry: bool,
    /// How long before that the client is asked for a new token. Default `"1m"`.
    #[serde(default = "one_minute")]
    pub warn_before: Ms,
    /// What happens without a token: `anonymous`, `reject` (HTTP 401) or a close after the upgrade. Default `reject`.
    /// With `message` in `from` that is after `limits.auth_timeout`; `anonymous` waits for no token.
    #[serde(default)]
    pub missing: OnMissing,
    /// What happens with a token that does not verify: `reject` (HTTP 401) or a close after the upgrade. Default `reject`.
    /// `retry`: who sent it in a message is told, and may try again until `limits.auth_timeout`.
    #[serde(default)]
    pub failed: OnFailed,
}

impl Settings {
    /// Whether it is there in this mode.
    pub fn is_there(&self, development: bool) -> bool {
        development || !matches!(self, Settings::Trusted(trusted) if trusted.development)
    }
}

/// Claims that a token must have.
#[derive(Clone, PartialEq, Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Require {
    /// These must be there.
    Present(Vec<String>),
    /// These must have this value, or one of these values; a claim that is a list must hold one.
    Equal(BTreeMap<String, Value>),
}

impl Default for Require {
    fn default() -> Require {
        Require::Present(Vec::new())
    }
}

/// Whether a token must say when it ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Expires {
    #[default]
    Required,
    Optional,
}

/// What becomes of a verified user that the table does not have.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum UnknownRow {
    #[default]
    Fail,
    Allow,
}

/// What happens without a token.
#[derive(Clone, PartialEq, Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum OnMissing {
    Word(MissingWord),
    Close(CloseSettings),
}

/// What happens with a token that does not verify.
#[derive(Clone, PartialEq, Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum OnFailed {
    Word(FailedWord),
    Close(CloseSettings),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum MissingWord {
    Anonymous,
    Reject,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum FailedWord {
    Reject,
    Retry,
}

/// A close after the upgrade.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CloseSettings {
    /// A close code (RFC 6455 §7.4).
    pub close: u16,
    /// Its reason, 123 bytes at most.
    #[serde(default)]
    pub reason: String,
}

impl Default for OnMissing {
    fn default() -> OnMissing {
        OnMissing::Word(MissingWord::Reject)
    }
}

impl Default for OnFailed {
    fn default() -> OnFailed {
        OnFailed::Word(FailedWord::Reject)
    }
}

/// `[table.NAME]`: named rows by key. Exactly one of `rows`, `file` and `url`.
#[derive(Clone, PartialEq, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TableSettings {
    /// The rows themselves: `{ u1 = { role = "admin" } }`.
    pub rows: Option<Map<String, Value>>,
    /// A JSON file with an object of rows by key.
    pub file: Option<String>,
    /// An http or https address of one row, `{key}` standing for the key. 200 with a JSON object is the row, 404 is no row.
    pub url: Option<String>,
    /// Headers of a look-up, as text or as a secret.
    #[serde(default)]
    pub headers: BTreeMap<String, HeaderSetting>,
    /// A secret sent as `Authorization: Bearer`.
    pub bearer: Option<SecretSource>,
    /// How long one look-up may take. Default `"2s"`.
    #[serde(default = "two_seconds")]
    pub timeout: Ms,
    /// How long a row is used without asking again. Default `"1m"`.
    #[serde(default = "one_minute")]
    pub ttl: Ms,
    /// How long a missing row counts as missing. Default `"10s"`.
    #[serde(default = "ten_seconds")]
    pub negative_ttl: Ms,
    /// How long after that an old row is used while the source fails. Default `"10m"`.
    #[serde(default = "ten_minutes")]
    pub stale_for: Ms,
    /// How many rows are kept; those not asked for lately go first.
    #[serde(default = "entries")]
    pub entries: u32,
    /// The largest row that is read. Default `"64KiB"`.
    #[serde(default = "row_bytes")]
    pub bytes: Size,
}

/// A header's value.
#[derive(Clone, PartialEq, Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum HeaderSetting {
    /// As written.
    Text(String),
    /// A secret.
    Secret(SecretSource),
}

fn two_seconds() -> Ms {
    Ms::secs(2)
}
fn five_seconds() -> Ms {
    Ms::secs(5)
}
fn ten_seconds() -> Ms {
    Ms::secs(10)
}
fn half_a_minute() -> Ms {
    Ms::secs(30)
}
fn one_minute() -> Ms {
    Ms::secs(60)
}
fn ten_minutes() -> Ms {
    Ms::secs(600)
}
fn set_bytes() -> Size {
    Size(256 << 10)
}
fn row_bytes() -> Size {
    Size(64 << 10)
}
fn entries() -> u32 {
    10_000
}
fn from_anywhere() -> Vec<String> {
    ["query:token", "bearer", "cookie:token"].map(String::from).into()
}
fn user_claims() -> Vec<String> {
    ["userId", "sub", "id"].map(String::from).into()
}
fn role_claims() -> Vec<String> {
    ["roles", "role"].map(String::from).into()
}
