//! `{{name}}` in a step: what `<name=KIND>` captured.

use super::expect::Captured;
use serde_json::Value;

/// Replaces every `{{name}}`. Err: a name that nothing was captured under.
pub(super) fn fill(text: &str, captured: &Captured) -> Result<String, String> {
    let (mut out, mut rest) = (String::with_capacity(text.len()), text);
    while let Some(start) = rest.find("{{") {
        let inside = &rest[start + 2..];
        // Only names: `{{` may as well begin an object in an object.
        let end = inside.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(inside.len());
        if end == 0 || !inside[end..].starts_with("}}") {
            out.push_str(&rest[..start + 1]);
            rest = &rest[start + 1..];
            continue;
        }
        out.push_str(&rest[..start]);
        match captured.get(&inside[..end]) {
            Some(Value::String(text)) => out.push_str(text),
            Some(other) => out.push_str(&other.to_string()),
            None => return Err(format!("nothing was captured as {{{{{}}}}}", &inside[..end])),
        }
        rest = &inside[end + 2..];
    }
    out.push_str(rest);
    Ok(out)
}

#[test]
fn what_was_captured_is_filled_in() {
    let captured = Captured::from([("id".to_owned(), "t1".into()), ("n".to_owned(), 3.into())]);
    assert_eq!(
        fill(r#"{"to":"{{id}}","n":{{n}},"o":{"a":{}}}"#, &captured).unwrap(),
        r#"{"to":"t1","n":3,"o":{"a":{}}}"#
    );
    assert_eq!(fill("{{nobody}}", &captured).unwrap_err(), "nothing was captured as {{nobody}}");
}
