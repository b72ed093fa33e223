//! From a verified token's claims to an `Identity`: required claims, the table's row, user and roles.

use super::outcome::{Cause, Failure};
use super::settings::{Require, UnknownRow};
use super::table::{Row, Table};
use crate::model::{Identity, Millis, Mono, is_exact};
use serde_json::{Map, Value};
use std::sync::Arc;

/// The longest user id, in bytes: it becomes part of channel names.
const USER_BYTES_MAX: usize = 200;

/// A value by its name or its dotted path: `tenantId`, `realm_access.roles`, `https://example.com/roles`.
pub fn lookup<'v>(values: &'v Map<String, Value>, path: &str) -> Option<&'v Value> {
    if let Some(value) = values.get(path) {
        return Some(value);
    }
    let mut parts = path.split('.');
    let mut value = values.get(parts.next()?)?;
    for part in parts {
        value = value.get(part)?;
    }
    Some(value)
}

/// Whether a value is there: neither missing nor null nor an empty text.
pub(super) fn is_present(values: &Map<String, Value>, path: &str) -> bool {
    !matches!(lookup(values, path), None | Some(Value::Null))
        && lookup(values, path) != Some(&Value::String(String::new()))
}

/// How claims become an identity.
pub(super) struct Mapping {
    pub user: Vec<String>,
    pub roles: Vec<String>,
    pub require: Vec<Requirement>,
    pub forbid: Vec<String>,
    pub any_audience: bool,
    pub table: Option<Arc<Table>>,
    pub table_key: Option<String>,
    pub defaults: Row,
    pub unknown: UnknownRow,
}

/// A claim that must be there, with one of `values` unless there are none.
pub(super) struct Requirement {
    pub claim: String,
    pub values: Vec<Value>,
}

impl Requirement {
    pub fn list(settings: &Require) -> Vec<Requirement> {
        let values = |v: &Value| v.as_array().cloned().unwrap_or_else(|| vec![v.clone()]);
        match settings {
            Require::Present(names) => {
                names.iter().map(|n| Requirement { claim: n.clone(), values: Vec::new() }).collect()
            }
            Require::Equal(map) => {
                map.iter().map(|(n, v)| Requirement { claim: n.clone(), values: values(v) }).collect()
            }
        }
    }

    fn is_met(&self, claims: &Map<String, Value>) -> bool {
        if self.values.is_empty() {
            return is_present(claims, &self.claim);
        }
        match lookup(claims, &self.claim) {
            Some(Value::Array(list)) => list.iter().any(|v| self.values.contains(v) && is_exact(v)),
            Some(value) => self.values.contains(value) && is_exact(value),
            None => false,
        }
    }

    /// Who made the token and for whom is the token's own to say; all else a row may say too.
    fn is_of_token(&self) -> bool {
        matches!(self.claim.as_str(), "iss" | "aud" | "sub" | "azp")
    }
}

impl Mapping {
    /// `claims` are verified; `ends` is when.
    pub async fn identity(
        &self,
        mut claims: Map<String, Value>,
        ends: Option<Millis>,
        now: Mono,
    ) -> Result<Identity, Failure> {
        self.check_token(&claims)?;
        // A number that JSON's readers have rounded could be another user's: it is as if it were missing, but for
        // `defaults`, which must not take its place. Rows have none, see `Table`.
        let rounded: Vec<String> = claims.iter().filter(|(_, v)| !is_exact(v)).map(|(name, _)| name.clone()).collect();
        rounded.iter().for_each(|name| drop(claims.remove(name)));
        let user = self.user(&claims)?;
        let row = self.row(&claims, user.as_deref(), now).await?.unwrap_or_default();
        let roles = [&*row, &claims, &self.defaults].into_iter().find_map(|values| self.roles(values));
        claims.extend(row.iter().map(|(k, v)| (k.clone(), v.clone())));
        if let Some(missing) = self.require.iter().find(|r| !r.is_met(&claims)) {
            let what = if missing.values.is_empty() { "is missing" } else { "has another value" };
            return Err(Failure::new(Cause::Claims, format!("claim `{}` {what}", missing.claim)));
        }
        for (name, value) in &self.defaults {
            if !is_present(&claims, name) && !rounded.contains(name) {
                claims.insert(name.clone(), value.clone());
            }
        }
        if let Some(roles) = roles {
            let role = claims.get("role").filter(|r| roles.contains(r)).cloned().unwrap_or_else(|| roles[0].clone());
            claims.insert("role".into(), role);
            claims.insert("roles".into(), Value::Array(roles));
        }
        // Last, so that a row's own `id` cannot make somebody else of the user.
        if let Some(user) = &user {
            claims.insert("id".into(), Value::String(user.clone()));
        }
        Ok(Identity { user: user.map(Arc::from), claims, expires_at: ends, version: 0 })
    }

    fn check_token(&self, claims: &Map<String, Value>) -> Result<(), Failure> {
        let failed = |claim: &str, what: &str| Err(Failure::new(Cause::Claims, format!("claim `{claim}` {what}")));
        if let Some(claim) = self.forbid.iter().find(|c| is_present(claims, c)) {
            return failed(claim, "is not allowed here");
        }
        if let Some(r) = self.require.iter().find(|r| r.is_of_token() && !r.is_met(claims)) {
            return failed(&r.claim, if r.values.is_empty() { "is missing" } else { "has another value" });
        }
        // RFC 7519 §4.1.3: who does not find himself in `aud` must reject.
        if claims.contains_key("aud") && !self.any_audience && !self.require.iter().any(|r| r.claim == "aud") {
            return failed("aud", "names an audience, and `require` does not say which one this is");
        }
        Ok(())
    }

    fn user(&self, claims: &Map<String, Value>) -> Result<Option<String>, Failure> {
        let failed = |what: &'static str| Err(Failure::new(Cause::Claims, what));
        if self.user.is_empty() {
            return Ok(None);
        }
        match self.user.iter().find_map(|path| text(lookup(claims, path)?)) {
            None => failed("no claim names the user"),
            Some(user) if user.len() > USER_BYTES_MAX => failed("the user's name is too long"),
            Some(user) if user.chars().any(char::is_control) => failed("the user's name has control characters"),
            user => Ok(user),
        }
    }

    async fn row(
        &self,
        claims: &Map<String, Value>,
        user: Option<&str>,
        now: Mono,
    ) -> Result<Option<Arc<Row>>, Failure> {
        let Some(table) = &self.table else { return Ok(None) };
        let key = match &self.table_key {
            Some(path) => lookup(claims, path).and_then(text),
            None => user.map(String::from),
        };
        let row = match key {
            Some(key) => table.row(&key, now).await.map_err(|e| Failure::unavailable(e.to_string()))?,
            None => None,
        };
        match (row, self.unknown) {
            (None, UnknownRow::Fail) => {
                Err(Failure::new(Cause::UnknownUser, format!("table `{}` has no such row", table.name())))
            }
            (row, _) => Ok(row),
        }
    }

    /// The first path present, as a list of texts with at least one.
    fn roles(&self, values: &Map<String, Value>) -> Option<Vec<Value>> {
        self.roles.iter().find_map(|path| {
            let roles: Vec<Value> = match lookup(values, path)? {
                Value::String(role) if !role.is_empty() => vec![Value::String(role.clone())],
                Value::Array(list) => list.iter().filter(|v| v.is_string()).cloned().collect(),
                _ => return None,
            };
            (!roles.is_empty()).then_some(roles)
        })
    }
}

/// A name: a text that is not empty, or a whole number as its digits.
fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(s) => (!s.is_empty()).then(|| s.clone()),
        Value::Number(n) if !n.is_f64() => Some(n.to_string()),
        _ => None,
    }
}
