//! A JSON Web Token (RFC 7519): its signature and its times. What its claims mean is for `claims`.

use super::key::Key;
use super::outcome::{Cause, Failure};
use super::settings::Expires;
use crate::model::{Millis, Mono};
use serde_json::{Map, Value};
use std::sync::Arc;

/// The claims of a JWT that one of `keys` verifies. Only its signature is judged here, not its claims.
pub(super) async fn verify(keys: &[Arc<Key>], token: &str, now: Mono) -> Result<Map<String, Value>, Failure> {
    let malformed = || Failure::new(Cause::Malformed, "not a signed JWT");
    let header = jsonwebtoken::decode_header(token).map_err(|_| malformed())?;
    if header.crit.is_some() {
        // RFC 7515 §4.1.11: what is critical and not understood makes the token invalid.
        return Err(Failure::new(Cause::Malformed, "its header has critical extensions"));
    }
    let kid = header.kid.as_deref();
    let mut order: Vec<&Arc<Key>> = keys.iter().filter(|k| k.allows(header.alg)).collect();
    order.sort_by_key(|k| !kid.is_some_and(|kid| k.is_called(kid)));
    if order.is_empty() {
        return Err(Failure::new(Cause::Signature, "no key allows its algorithm"));
    }
    // Times and audience are compared in `claims`, with the time that was handed in.
    let mut validation = jsonwebtoken::Validation::new(header.alg);
    validation.required_spec_claims.clear();
    (validation.validate_exp, validation.validate_nbf, validation.validate_aud) = (false, false, false);
    let mut failure = Failure::new(Cause::Signature, "no key verifies its signature");
    for key in order {
        let candidates = match key.candidates(header.alg, kid, now).await {
            Ok(candidates) => candidates,
            Err(unavailable) => {
                failure = unavailable;
                continue;
            }
        };
        if !candidates.settled {
            failure = Failure::unavailable("no key that is known verifies it, and newer ones cannot be fetched");
        }
        for key in &candidates.keys {
            match jsonwebtoken::decode(token, key, &validation) {
                Ok(data) => return Ok(data.claims),
                Err(e) => match e.kind() {
                    jsonwebtoken::errors::ErrorKind::Json(_) => return Err(malformed()),
                    _ => continue,
                },
            }
        }
    }
    Err(failure)
}

/// `exp` and `nbf` (RFC 7519 §4.1.4, §4.1.5) against the time handed in.
pub(super) struct Times {
    pub leeway_ms: u64,
    pub expiry: Expires,
}

impl Times {
    /// Until when the token counts: its end and the leeway, for whoever comes within the leeway is let in and stays for it.
    pub fn check(&self, claims: &Map<String, Value>, now: Millis) -> Result<Option<Millis>, Failure> {
        let exp = numeric_date(claims, "exp")?;
        match exp {
            Some(exp) if exp.saturating_add(self.leeway_ms) <= now => {
                return Err(Failure::new(Cause::Expired, "expired"));
            }
            None if self.expiry == Expires::Required => {
                return Err(Failure::new(Cause::Claims, "claim `exp` is missing"));
            }
            _ => {}
        }
        match numeric_date(claims, "nbf")? {
            Some(nbf) if nbf > now.saturating_add(self.leeway_ms) => Err(Failure::new(Cause::NotYet, "not valid yet")),
            _ => Ok(exp.map(|exp| exp.saturating_add(self.leeway_ms))),
        }
    }
}

/// The end of the year 9999. What claims to end later has no end.
const DATES_MAX_S: f64 = 253_402_300_800.0;

/// Seconds since 1970, perhaps with a fraction, as milliseconds.
fn numeric_date(claims: &Map<String, Value>, name: &str) -> Result<Option<Millis>, Failure> {
    match claims.get(name) {
        None => Ok(None),
        Some(value) => match value.as_f64().filter(|s| (0.0..DATES_MAX_S).contains(s)) {
            Some(seconds) => Ok(Some((seconds * 1000.0) as u64)),
            None => Err(Failure::new(Cause::Claims, format!("claim `{name}` is not a time"))),
        },
    }
}
