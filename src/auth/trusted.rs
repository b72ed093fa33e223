//! Who a client says it is, believed: for development, and behind something else that lets only the right ones through.

use super::authenticator::{Authenticator, Kind};
use super::claims::{Mapping, Requirement};
use super::credentials::{Credentials, Source};
use super::outcome::{Cause, Failure, on_failed, on_missing};
use super::settings::{TrustedSettings, TrustedSource};
use super::table::Table;
use crate::model::{Problem, query_pairs};
use serde_json::{Map, Value};
use std::sync::Arc;

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
