//! Log lines without tokens.

use super::credentials::decoded;
use std::borrow::Cow;

/// Parts of a parameter's name that make its value a secret.
const PARTS: &[&str] = &["token", "secret", "signature", "password", "passwd", "auth", "jwt", "session", "credential"];
/// Ends of such a name: `key`, `api_key`, `sig`.
const ENDS: &[&str] = &["key", "sig", "pwd"];

/// The path and query with `[redacted]` for every value whose name says that it is secret: `/ws?token=[redacted]&x=1`.
pub fn redact_query(path_and_query: &str) -> Cow<'_, str> {
    let Some((path, query)) = path_and_query.split_once('?') else { return Cow::Borrowed(path_and_query) };
    if !query.split('&').any(is_secret) {
        return Cow::Borrowed(path_and_query);
    }
    let pairs: Vec<Cow<str>> = query.split('&').map(redacted).collect();
    Cow::Owned(format!("{path}?{}", pairs.join("&")))
}

fn redacted(pair: &str) -> Cow<'_, str> {
    match pair.split_once('=') {
        Some((name, _)) if is_secret(pair) => Cow::Owned(format!("{name}=[redacted]")),
        _ => Cow::Borrowed(pair),
    }
}

fn is_secret(pair: &str) -> bool {
    let Some((name, _)) = pair.split_once('=') else { return false };
    let name = decoded(name).to_ascii_lowercase();
    PARTS.iter().any(|p| name.contains(p)) || ENDS.iter().any(|e| name.ends_with(e))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_of_a_query_do_not_reach_the_log() {
        for (line, shown) in [
            ("/ws?token=abc.def&x=1", "/ws?token=[redacted]&x=1"),
            ("/ws?x=1&access_token=a&API_KEY=b", "/ws?x=1&access_token=[redacted]&API_KEY=[redacted]"),
            ("/ws?%74oken=a", "/ws?%74oken=[redacted]"),
            ("/ws?auth=a&sig=b&secret=c", "/ws?auth=[redacted]&sig=[redacted]&secret=[redacted]"),
            ("/ws?EIO=4&transport=polling", "/ws?EIO=4&transport=polling"),
            ("/ws", "/ws"),
            ("/ws?", "/ws?"),
        ] {
            assert_eq!(redact_query(line), shown);
        }
    }
}
