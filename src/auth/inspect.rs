//! A token taken apart for an operator: what it says, which key verifies it, why it does not count.

use super::authenticator::{Authenticator, Kind};
use super::jwt::verify;
use super::outcome::Outcome;
use crate::model::{Mono, Now};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};
use std::slice::from_ref;

/// What a token says of itself; nothing of it is verified.
#[derive(Clone, PartialEq, Debug)]
pub struct Unverified {
    /// `JSON Web Token`, `clinic token`.
    pub kind: &'static str,
    /// Algorithm, `kid` and the like; empty for a clinic token.
    pub header: Map<String, Value>,
    pub claims: Map<String, Value>,
}

/// What one `[auth.NAME]` makes of a token.
#[derive(Clone, Debug)]
pub struct Inspection {
    pub auth: String,
    /// The key that verifies it.
    pub key: Option<String>,
    /// The keys that do not, and why.
    pub others: Vec<(String, String)>,
    /// What a client with it would be.
    pub outcome: Outcome,
}

impl Unverified {
    /// `None`: no token of a kind that Weir knows.
    pub fn read(token: &str) -> Option<Unverified> {
        let object = |bytes: Vec<u8>| serde_json::from_slice::<Map<String, Value>>(&bytes).ok();
        let mut parts = token.split('.');
        if let (Some(header), Some(claims), Some(_), None) = (parts.next(), parts.next(), parts.next(), parts.next()) {
            let read = |part: &str| object(URL_SAFE_NO_PAD.decode(part).ok()?);
            return Some(Unverified { kind: "JSON Web Token", header: read(header)?, claims: read(claims)? });
        }
        let claims = object(super::stamp::decode(token)?)?;
        let known = claims.contains_key("userId") && claims.contains_key("timestamp");
        known.then_some(Unverified { kind: "clinic token", header: Map::new(), claims })
    }
}

impl Authenticator {
    /// Whether its tokens hold nothing but a user and a time.
    pub fn has_fixed_tokens(&self) -> bool {
        matches!(self.kind, Kind::Hmac(_))
    }

    /// The table that its users are looked up in.
    pub fn table(&self) -> Option<&str> {
        self.mapping.table.as_ref().map(|table| table.name())
    }

    /// What a client with a good token of `user` would be, that has these further claims. May fetch a row.
    pub async fn assume(&self, user: Option<&str>, claims: &Map<String, Value>, now: Mono) -> Outcome {
        self.mapping.identity(self.claims_of(user, claims), None, now).await.into()
    }

    /// As if a client had come with this token, wherever it had carried it. May fetch keys and rows.
    pub async fn inspect(&self, token: &str, now: Now) -> Inspection {
        let (mut key, mut others) = (None, Vec::new());
        match &self.kind {
            Kind::Hmac(_) | Kind::Trusted(_) => {}
            Kind::Jwt { keys, .. } => {
                for candidate in keys {
                    match verify(from_ref(candidate), token, now.mono).await {
                        Ok(_) => key = key.or(Some(candidate.name().to_owned())),
                        Err(failure) => others.push((candidate.name().to_owned(), failure.reason.into_owned())),
                    }
                }
            }
        }
        Inspection { auth: self.name.clone(), key, others, outcome: self.admit(token, now).await.into() }
    }
}
