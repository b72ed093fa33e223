//! Signatures as Standard Webhooks 1.0 has them (standardwebhooks.com, "Signature scheme", symmetric).

use crate::model::Secret;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// What a secret in base64 begins with.
const PREFIX: &[u8] = b"whsec_";

/// A webhook's key.
pub(super) struct Key(Vec<u8>);

impl Key {
    /// The secret's own bytes; or, behind `whsec_`, what its base64 stands for.
    pub fn new(secret: &Secret) -> Result<Key, &'static str> {
        let text = secret.expose();
        let key = match text.strip_prefix(PREFIX) {
            Some(coded) => STANDARD.decode(coded.trim_ascii()).map_err(|_| "no base64 behind `whsec_`")?,
            None => text.to_vec(),
        };
        if key.is_empty() { Err("an empty secret") } else { Ok(Key(key)) }
    }

    /// The value of `webhook-signature`: `v1,` and the base64 of HMAC-SHA256 over `id.timestamp.body`.
    pub fn sign(&self, id: &str, timestamp_s: u64, body: &[u8]) -> String {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("HMAC takes keys of any length");
        mac.update(format!("{id}.{timestamp_s}.").as_bytes());
        mac.update(body);
        format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> Result<Key, &'static str> {
        Key::new(&Secret::new(text.as_bytes()))
    }

    /// The example of the reference libraries' own tests.
    #[test]
    fn a_signature_is_what_standard_webhooks_say() {
        let signed = key("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap().sign(
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            1_614_265_330,
            br#"{"test": 2432232314}"#,
        );
        assert_eq!(signed, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn a_secret_is_taken_as_it_is_unless_it_says_that_it_is_base64() {
        assert_eq!(key("plain text").unwrap().0, b"plain text");
        assert_eq!(key("whsec_cGxhaW4gdGV4dA==\n").unwrap().0, b"plain text");
        assert_eq!(key("whsec_?").err(), Some("no base64 behind `whsec_`"));
        assert_eq!(key("whsec_").err(), Some("an empty secret"));
        assert_eq!(key("").err(), Some("an empty secret"));
    }
}
