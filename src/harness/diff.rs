//! What differs between the JSON that was expected and the JSON that came, as people read it.

use super::expect::{self, Captured};
use serde_json::Value;

/// Lines of one difference that are shown.
const LINES_MAX: usize = 60;

/// Lines that begin with `-` were expected, those with `+` came, others are the same in both.
pub(super) fn lines(expected: &Value, got: &Value) -> Vec<String> {
    let mut out = Vec::new();
    show("", expected, got, 0, &mut out);
    if out.len() > LINES_MAX {
        let more = out.len() - LINES_MAX;
        out.truncate(LINES_MAX);
        out.push(format!("  … {more} lines more"));
    }
    out
}

fn same(expected: &Value, got: &Value) -> bool {
    expect::json(expected, got, &mut Captured::new()).is_ok()
}

fn show(key: &str, expected: &Value, got: &Value, depth: usize, out: &mut Vec<String>) {
    let pad = "  ".repeat(depth);
    match (expected, got) {
        _ if same(expected, got) => out.push(format!("  {pad}{key}{got}")),
        (Value::Object(want), Value::Object(have)) => {
            out.push(format!("  {pad}{key}{{"));
            let key_of = |name: &str| format!("{}: ", Value::from(name));
            for (name, value) in want.iter().filter(|(name, _)| *name != "...") {
                match have.get(name) {
                    Some(got) => show(&key_of(name), value, got, depth + 1, out),
                    None => out.push(format!("- {pad}  {}{value}", key_of(name))),
                }
            }
            for (name, value) in have.iter().filter(|(name, _)| !want.contains_key(*name)) {
                let sign = if want.contains_key("...") { ' ' } else { '+' };
                out.push(format!("{sign} {pad}  {}{value}", key_of(name)));
            }
            out.push(format!("  {pad}}}"));
        }
        (Value::Array(want), Value::Array(have)) if want.first().is_none_or(|w| w != "<unordered>") => {
            out.push(format!("  {pad}{key}["));
            for at in 0..want.len().max(have.len()) {
                match (want.get(at), have.get(at)) {
                    (Some(want), Some(have)) => show("", want, have, depth + 1, out),
                    (Some(want), None) => out.push(format!("- {pad}  {want}")),
                    (None, Some(have)) => out.push(format!("+ {pad}  {have}")),
                    (None, None) => {}
                }
            }
            out.push(format!("  {pad}]"));
        }
        _ => {
            out.push(format!("- {pad}{key}{expected}"));
            out.push(format!("+ {pad}{key}{got}"));
        }
    }
}

#[test]
fn only_what_differs_is_marked() {
    let expected = serde_json::json!({"type": "Q", "at": "<iso>", "data": {"n": 1, "gone": true, "list": [1, 2]}});
    let got =
        serde_json::json!({"type": "Q", "at": "2026-01-01T00:00:00.000Z", "data": {"n": 2, "list": [1, 3], "new": 0}});
    assert_eq!(
        lines(&expected, &got).join("\n"),
        r#"  {
    "type": "Q"
    "at": "2026-01-01T00:00:00.000Z"
    "data": {
-     "n": 1
+     "n": 2
-     "gone": true
      "list": [
        1
-       2
+       3
      ]
+     "new": 0
    }
  }"#
    );
}
