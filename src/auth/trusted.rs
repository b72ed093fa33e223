//! Who a client says it is, believed: for development, and behind something else that lets only the right ones through.

use super::authenticator::{Authenticator, Kind};
use super::claims::{Mapping, Requirement};
use super::credentials::{Credentials, Source};
use super::outcome::{Cause, Failure, on_failed, on_missing};
use super::settings::{FailedWord, OnFailed, OnMissing, UnknownRow};
use super::table::Table;
use crate::model::{Problem, query_pairs};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};
use std::sync::Arc;

/// `[auth.NAME]` with `type = "trusted"`.
#[derive(Clone, PartialEq, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TrustedSettings {
    /// Where the client says it: the `claims` of an `authenticate` message, or the query. The first that says anything counts.
    #[serde(default = "from_messages")]
    pub from: Vec<TrustedSource>,
    /// Fields that name the user: the first one present. Default `["user_id"]`.
    #[serde(default = "said_user")]
    pub user: Vec<String>,
    /// Fields that hold the user's roles, a text or a list: the first one present. Becomes `role` and `roles`. Default: none.
    #[serde(default)]
    pub roles: Vec<String>,
    /// Fields that must be there, texts and not empty; on a live connection they cannot change any more.
    #[serde(default)]
    pub require: Vec<String>,
    /// Further fields that are taken over. No others are.
    #[serde(default)]
    pub optional: Vec<String>,
    /// The table that the user is looked up in; its row's columns go before fields of the same name.
    pub table: Option<String>,
    /// Claims for those that neither the client nor the row has.
    #[serde(default)]
    pub defaults: Map<String, Value>,
    /// What becomes of a user without a row. Default `fail`.
    #[serde(default)]
    pub unknown: UnknownRow,
    /// Allows it in production, where everybody who can connect can be anybody.
    #[serde(default)]
    pub insecure: bool,
    /// In development mode alone: in production endpoints are as if they did not name it.
    #[serde(default)]
    pub development: bool,
    /// What happens to those who say nothing: `anonymous`, `reject` (HTTP 401) or a close after the upgrade. Default `reject`.
    /// With `message` in `from` that is after `limits.auth_timeout`; `anonymous` waits for nothing.
    #[serde(default)]
    pub missing: OnMissing,
    /// What happens where fields are missing or wrong: `reject`, `retry` (told, and tried again until `limits.auth_timeout`) or
    /// a close. Default `retry`.
    #[serde(default = "retry")]
    pub failed: OnFailed,
}

/// Where a client says who it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum TrustedSource {
    Message,
    Query,
}

fn from_messages() -> Vec<TrustedSource> {
    vec![TrustedSource::Message]
}

fn said_user() -> Vec<String> {
    vec!["user_id".into()]
}

fn retry() -> OnFailed {
    OnFailed::Word(FailedWord::Retry)
}

/// The longest value that is taken of a field, in bytes of its JSON text; such values become parts of channel names.
const VALUE_BYTES_MAX: usize = 200;

/// Which fields are believed.
pub(super) struct Trusted {
    /// All that are taken over.
    fields: Vec<String>,
    /// Those that must be texts, and not empty.
    require: Vec<String>,
    message: bool,
    query: bool,
}

impl Trusted {
    /// What the client says of itself, by `fields`; `None`: it says nothing.
    pub fn claims(&self, from: &Credentials<'_>) -> Option<Result<Map<String, Value>, Failure>> {
        if let Some(said) = from.claims.filter(|_| self.message) {
            return Some(self.taken(|field| said.get(field).cloned()));
        }
        let asked = |field: &str| query_pairs(from.query).find(|(name, _)| name == field).map(|(_, value)| value);
        if self.query && self.fields.iter().any(|field| asked(field).is_some()) {
            return Some(self.taken(|field| asked(field).map(|text| Value::from(text.as_ref()))));
        }
        None
    }

    /// The claims that tell one client's world from another's: on a live connection they stay as they are.
    pub fn fixed(&self) -> &[String] {
        &self.require
    }

    fn taken(&self, said: impl Fn(&str) -> Option<Value>) -> Result<Map<String, Value>, Failure> {
        let failed = |field: &str, what: &str| Err(Failure::new(Cause::Claims, format!("field `{field}` {what}")));
        let mut claims = Map::new();
        for field in &self.fields {
            let Some(value) = said(field).filter(|value| !value.is_null()) else { continue };
            if value.to_string().len() > VALUE_BYTES_MAX {
                return failed(field, "is too long");
            }
            claims.insert(field.clone(), value);
        }
        for field in &self.require {
            match claims.get(field) {
                Some(Value::String(text)) if text.chars().any(char::is_control) => {
                    return failed(field, "has control characters");
                }
                Some(Value::String(text)) if !text.is_empty() => {}
                Some(_) => return failed(field, "is no text, or an empty one"),
                None => return failed(field, "is missing"),
            }
        }
        Ok(claims)
    }
}

/// `[auth.NAME]` with `type = "trusted"`; `table` is the one that it names.
pub(super) fn compile(
    name: &str,
    s: &TrustedSettings,
    table: Option<Arc<Table>>,
    problems: &mut Vec<Problem>,
) -> Authenticator {
    if s.user.is_empty() {
        problems.push(Problem::new("user", "no field that names the user").expected("such as [\"user_id\"]"));
    }
    if s.from.is_empty() {
        problems.push(Problem::new("from", "no place to find a client's word in").expected("`message` or `query`"));
    }
    let mut fields: Vec<String> = Vec::new();
    for field in s.user.iter().chain(&s.roles).chain(&s.require).chain(&s.optional) {
        if !fields.contains(field) {
            fields.push(field.clone());
        }
    }
    let (message, query) = (s.from.contains(&TrustedSource::Message), s.from.contains(&TrustedSource::Query));
    Authenticator {
        name: name.into(),
        kind: Kind::Trusted(Trusted { fields, require: s.require.clone(), message, query }),
        mapping: Mapping {
            user: s.user.clone(),
            roles: s.roles.clone(),
            require: s.require.iter().map(|claim| Requirement { claim: claim.clone(), values: Vec::new() }).collect(),
            forbid: Vec::new(),
            any_audience: true,
            table,
            table_key: None,
            defaults: s.defaults.clone(),
            unknown: s.unknown,
        },
        from: if message { vec![Source::Message] } else { Vec::new() },
        matching: Vec::new(),
        missing: on_missing(&s.missing, problems),
        failed: on_failed(&s.failed, problems),
        expiry: None,
    }
}
