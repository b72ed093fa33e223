//! The clinic's token: base64 of JSON `{userId, timestamp, signature}`, `timestamp` in milliseconds,
//! `signature` the hexadecimal HMAC-SHA256 over `userId:timestamp`.

use super::outcome::{Cause, Failure};
use crate::model::{Millis, Secret};
use base64::Engine;
use base64::alphabet::{STANDARD, URL_SAFE};
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig, general_purpose};
use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::Sha256;

const LENIENT: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
const BASE64: GeneralPurpose = GeneralPurpose::new(&STANDARD, LENIENT);
const BASE64URL: GeneralPurpose = GeneralPurpose::new(&URL_SAFE, LENIENT);

pub(super) struct Stamp {
    pub secret: Secret,
    /// How long a token counts after its timestamp.
    pub ttl_ms: u64,
    /// How far in the future a timestamp may lie.
    pub skew_ms: u64,
}

#[derive(Deserialize, Serialize)]
struct Token<S> {
    #[serde(rename = "userId")]
    user: Value,
    timestamp: Millis,
    signature: S,
}

/// The token's JSON, from either alphabet of base64.
pub(super) fn decode(token: &str) -> Option<Vec<u8>> {
    let url_safe = token.bytes().any(|b| matches!(b, b'-' | b'_'));
    if url_safe { BASE64URL.decode(token) } else { BASE64.decode(token) }.ok()
}

impl Stamp {
    /// The token's claims, `userId` alone, and when it ends.
    pub fn verify(&self, token: &str, now: Millis) -> Result<(Map<String, Value>, Millis), Failure> {
        let malformed = || Failure::new(Cause::Malformed, "not base64 of {userId, timestamp, signature}");
        let text = decode(token).ok_or_else(malformed)?;
        let token: Token<String> = serde_json::from_slice(&text).map_err(|_| malformed())?;
        let user = match &token.user {
            Value::String(user) => user.clone(),
            Value::Number(user) if !user.is_f64() => user.to_string(),
            _ => return Err(malformed()),
        };
        let signature = hex::decode(&token.signature).map_err(|_| malformed())?;
        // Compares in constant time.
        self.mac(&user, token.timestamp)
            .verify_slice(&signature)
            .map_err(|_| Failure::new(Cause::Signature, "wrong signature"))?;
        if token.timestamp > now.saturating_add(self.skew_ms) {
            return Err(Failure::new(Cause::NotYet, "a timestamp in the future"));
        }
        let ends = token.timestamp.saturating_add(self.ttl_ms);
        if ends <= now {
            return Err(Failure::new(Cause::Expired, "expired"));
        }
        Ok((Map::from_iter([("userId".to_string(), Value::String(user))]), ends))
    }

    /// A token of `user` that counts from `now`, in standard base64.
    pub fn issue(&self, user: &str, now: Millis) -> String {
        let signature = hex::encode(self.mac(user, now).finalize().into_bytes());
        let token = Token { user: Value::String(user.into()), timestamp: now, signature };
        general_purpose::STANDARD.encode(serde_json::to_vec(&token).unwrap_or_default())
    }

    fn mac(&self, user: &str, timestamp: Millis) -> Hmac<Sha256> {
        let mut mac = Hmac::<Sha256>::new_from_slice(self.secret.expose()).expect("HMAC takes keys of any length");
        mac.update(format!("{user}:{timestamp}").as_bytes());
        mac
    }
}
