//! Tokens that Weir makes itself: for `weir token`, for routes that hand them out, for tests.

use super::authenticator::{Authenticator, Kind};
use super::claims::{Requirement, is_present};
use super::key::Key;
use crate::model::Millis;
use jsonwebtoken::Header;
use serde_json::{Map, Value, json};

/// A token to be made.
#[derive(Clone, Debug, Default)]
pub struct Issue {
    pub user: String,
    /// Further claims; a clinic token has none.
    pub claims: Map<String, Value>,
    /// How long it counts; `None`: an hour, or the `ttl` of a clinic token, which cannot be chosen.
    pub ttl_ms: Option<u64>,
}

const HOUR_MS: u64 = 3_600_000;

impl Authenticator {
    /// A token that `authenticate` takes. Err: why there can be none, such as keys that only verify.
    pub fn issue(&self, issue: &Issue, now: Millis) -> Result<String, String> {
        match &self.kind {
            Kind::Trusted(_) => Err(format!("auth `{}` takes no tokens: clients say who they are", self.name)),
            Kind::Hmac(stamp) => Ok(stamp.issue(&issue.user, now)),
            Kind::Jwt { keys, .. } => {
                let key = keys.iter().find(|k| k.signer().is_some());
                let key =
                    key.ok_or_else(|| format!("the keys of auth `{}` verify tokens and cannot sign", self.name))?;
                let mut claims = self.claims_of(Some(&issue.user), &issue.claims);
                claims.entry("iat").or_insert_with(|| json!(now / 1000));
                let ends = now.saturating_add(issue.ttl_ms.unwrap_or(HOUR_MS));
                claims.entry("exp").or_insert_with(|| json!(ends / 1000));
                key.sign(&claims)
            }
        }
    }

    /// With the claim that names the user, and values of the claims that must have one.
    pub(super) fn claims_of(&self, user: Option<&str>, more: &Map<String, Value>) -> Map<String, Value> {
        let mut claims = more.clone();
        if let (Some(path), Some(user)) = (self.mapping.user.first(), user) {
            insert(&mut claims, path, json!(user));
        }
        for Requirement { claim, values } in &self.mapping.require {
            if let Some(value) = values.first().filter(|_| !is_present(&claims, claim)) {
                insert(&mut claims, claim, value.clone());
            }
        }
        claims
    }
}

impl Key {
    /// A JWT with these claims. Err: this key cannot sign.
    pub fn sign(&self, claims: &Map<String, Value>) -> Result<String, String> {
        let (alg, kid, secret) = self.signer().ok_or_else(|| format!("key `{}` cannot sign", self.name()))?;
        let mut header = Header::new(alg);
        header.kid = Some(kid.into());
        jsonwebtoken::encode(&header, claims, secret).map_err(|e| format!("key `{}`: {e}", self.name()))
    }
}

/// Sets the value at a name or a dotted path.
fn insert(claims: &mut Map<String, Value>, path: &str, value: Value) {
    match path.split_once('.') {
        Some((outer, rest)) if !path.contains("://") => {
            let inner = claims.entry(outer).or_insert_with(|| json!({}));
            if let Value::Object(inner) = inner {
                insert(inner, rest, value);
            }
        }
        _ => drop(claims.insert(path.into(), value)),
    }
}
