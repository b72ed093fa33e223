//! Whether a secret is one: not published, not blank, long enough, readable by its owner alone.
//! Pure, but for a file's permissions.

use crate::auth::Purpose;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::path::Path;

/// RFC 7518 §3.2: a key of HS256 has 256 bits at least. Shorter ones can be guessed from one signed token, offline.
const BYTES_MIN: usize = 32;
/// Standard Webhooks 1.0: 24 to 64 bytes.
const WEBHOOK_BYTES_MIN: usize = 24;

/// What everybody knows, as `plain` writes it: values of documents, tutorials and other people's examples.
#[rustfmt::skip]
const PUBLISHED: &[&str] = &[
    "secret", "secretkey", "secret-key", "secret-token", "jwt", "jwt-secret", "jwt-key", "api-key", "apikey",
    "admin", "admin-secret", "supersecret", "super-secret", "supersecretkey", "super-secret-key", "topsecret",
    "top-secret", "mysecret", "my-secret", "mysecretkey", "my-secret-key", "password", "passwd", "pass", "letmein",
    "qwerty", "token", "key", "test", "testing", "test-secret", "test-key", "dev", "dev-secret", "dev-key",
    "development", "default", "demo", "example", "sample", "placeholder", "todo", "tbd", "none", "null", "undefined",
    "foobar", "foo", "bar", "abc", "abc123", "123", "1234", "12345", "123456", "1234567", "12345678", "123456789",
    "1234567890", "keyboard-cat", "keyboard cat", "s3cret", "s3cr3t", "shhhh", "shhhhh",
    "a-string-secret-at-least-256-bits-long",
];
/// How values begin that somebody was to replace: `your-secret-key`, `<your secret>`, `changeme`.
const TO_BE_REPLACED: &[&str] =
    &["your-", "yoursecret", "change-me", "changeme", "change-this", "changethis", "replace-"];

/// What is wrong with a secret in production; `Ok` with what is doubtful about it. Neither repeats it.
pub fn judge(value: &[u8], variable: Option<&str>, purpose: Purpose) -> Result<Option<String>, &'static str> {
    if purpose == Purpose::Public {
        return Ok(None);
    }
    // As the value of a header, `Bearer KEY`.
    let value = match value.iter().position(|b| *b == b' ') {
        Some(at) if value[..at].eq_ignore_ascii_case(b"bearer") => value[at..].trim_ascii(),
        _ => value,
    };
    let coded = value.strip_prefix(b"whsec_").and_then(|coded| STANDARD.decode(coded.trim_ascii()).ok());
    let (bytes, least) = coded.as_deref().map_or((value, BYTES_MIN), |decoded| (decoded, WEBHOOK_BYTES_MIN));
    for text in [value, bytes] {
        if is_published(text, variable) {
            return Err("a published value: everybody knows it");
        }
    }
    if is_public_key(value) {
        return Err("a public key: everybody may know it");
    }
    let short = bytes.len() < least;
    match bytes.iter().all(|b| *b == bytes[0]) {
        true if short => return Err("one letter, or one letter again and again"),
        true => return Ok(Some("is one letter again and again".into())),
        false => {}
    }
    // How long another service makes its credentials is not for this file's people to say.
    Ok((short && purpose == Purpose::Verify).then(|| format!("has {} bytes, and {least} are the least", bytes.len())))
}

/// Blank, or nothing but quotes.
pub fn is_blank(value: &[u8]) -> bool {
    plain(value).is_empty()
}

/// As people copy it into an environment: with spaces, quotes, in capitals, with `_` for `-`.
fn plain(value: &[u8]) -> String {
    let around = |c: char| {
        c.is_whitespace() || c.is_control() || matches!(c, '"' | '\'' | '`' | '<' | '>' | '\u{feff}' | '\u{200b}')
    };
    let text = String::from_utf8_lossy(value);
    text.trim_matches(around).to_lowercase().replace(['_', ' ', '.'], "-")
}

fn is_published(value: &[u8], variable: Option<&str>) -> bool {
    let plain = plain(value);
    // What development mode makes up for any variable; a long value behind `dev-` may be somebody's own.
    let made_up = plain.starts_with("dev-") && plain.len() < BYTES_MIN
        || variable.is_some_and(|name| super::secret::published(name) == plain);
    // `${JWT_SECRET}` in a file that nothing expanded, or the name instead of the value.
    let unfilled = plain.starts_with("${") || plain.starts_with("$(") || plain.starts_with("{{");
    let named = variable.is_some_and(|name| plain.trim_start_matches('$') == self::plain(name.as_bytes()));
    made_up
        || unfilled
        || named
        || PUBLISHED.contains(&&*plain)
        || TO_BE_REPLACED.iter().any(|begin| plain.starts_with(begin))
}

/// Whoever signs with the bytes of a public key signs with what others may read: the confusion of algorithms.
fn is_public_key(value: &[u8]) -> bool {
    let text = String::from_utf8_lossy(value);
    text.contains("-----BEGIN") && !text.contains("PRIVATE KEY")
}

/// Whether others than its owner may read a file, as `ls -l` and `chmod` write that.
#[cfg(unix)]
pub fn readable_by_others(path: &Path) -> Option<String> {
    use std::os::unix::fs::PermissionsExt;
    let mode = std::fs::metadata(path).ok()?.permissions().mode() & 0o777;
    (mode & 0o044 != 0).then(|| format!("{mode:04o}"))
}

#[cfg(not(unix))]
pub fn readable_by_others(_: &Path) -> Option<String> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_everybody_knows_is_no_secret_however_it_is_written() {
        for value in [
            "dev-jwt-secret",
            "DEV-JWT-SECRET",
            "dev_jwt_secret",
            " dev-jwt-secret ",
            "\"dev-jwt-secret\"",
            "dev-weir-api-key",
            "your-secret-key",
            "YOUR_SECRET_KEY",
            "'your-admin-secret'",
            "your-256-bit-secret",
            "<your secret>",
            "changeme",
            "Change_Me_Please",
            "secret",
            "Password",
            "s3cret",
            "whsec_ZGV2LWp3dC1zZWNyZXQ=",
            "your-secret-key\n",
            "your-secret-key-that-somebody-made-longer",
            "Bearer dev-weir-api-key",
            "${JWT_SECRET}",
            "$JWT_SECRET",
            "jwt_secret",
            "{{ .Values.jwtSecretOfTheRelease }}",
        ] {
            for purpose in [Purpose::Verify, Purpose::Send] {
                let judged = judge(value.as_bytes(), Some("JWT_SECRET"), purpose);
                assert_eq!(judged, Err("a published value: everybody knows it"), "{value:?}");
            }
        }
        let own = "dev-a-very-long-name-of-a-variable-of-ours";
        assert!(judge(own.as_bytes(), Some("A_VERY_LONG_NAME_OF_A_VARIABLE_OF_OURS"), Purpose::Verify).is_err());
        assert_eq!(judge(own.as_bytes(), None, Purpose::Verify), Ok(None));
    }

    #[test]
    fn a_secret_that_is_none_is_refused_and_a_short_one_doubted() {
        for (value, told) in [
            ("x", Err("one letter, or one letter again and again")),
            ("xxxxxxxx", Err("one letter, or one letter again and again")),
            ("short-of-it", Ok(Some("has 11 bytes, and 32 are the least".to_owned()))),
            ("kJ8#mQ2$vL5^nR7&wT9*yU3!zX6@pB4%", Ok(None)),
            ("ssssssssssssssssssssssssssssssss", Ok(Some("is one letter again and again".to_owned()))),
            ("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", Ok(None)),
            ("whsec_MfKQ9r8GKYqrTwjU", Ok(Some("has 12 bytes, and 24 are the least".to_owned()))),
            ("-----BEGIN PUBLIC KEY-----\nMFkw", Err("a public key: everybody may know it")),
        ] {
            assert_eq!(judge(value.as_bytes(), None, Purpose::Verify), told, "{value}");
        }
        assert_eq!(judge(b"short-of-it", None, Purpose::Send), Ok(None));
        assert_eq!(judge(b"-----BEGIN PUBLIC KEY-----", None, Purpose::Public), Ok(None));
        assert!(is_blank(b" \t\r\n") && is_blank(b"\"\"") && is_blank(b"' '") && !is_blank(b"x"));
    }
}
