//! Compares what came with what a test or a transcript expects.
//!
//! JSON is compared as values: the order of keys is free, every key must be expected and there. A text that is only
//! a placeholder stands for values of a kind: `<any>`, `<string>`, `<number>`, `<bool>`, `<object>`, `<array>`, `<uuid>`,
//! `<iso>` (ISO 8601 with milliseconds), `<ws-id>` (S0's connection id), `<has TEXT>`. `<name=KIND>` remembers the value.
//! The key `"..."` allows further keys. A list that begins with `"<unordered>"` is compared without regard to order.

use serde_json::Value;
use std::collections::BTreeMap;

/// What `<name=KIND>` remembered.
pub type Captured = BTreeMap<String, Value>;

/// `Err`: what differs, with its place.
pub fn json(expected: &Value, got: &Value, captured: &mut Captured) -> Result<(), String> {
    compare(expected, got, "", captured)
}

fn compare(expected: &Value, got: &Value, at: &str, captured: &mut Captured) -> Result<(), String> {
    let differs = || Err(format!("{}: expected {expected}, got {got}", if at.is_empty() { "the value" } else { at }));
    match (expected, got) {
        (Value::String(text), _) if placeholder(text).is_some() => {
            let (name, kind) = placeholder(text).unwrap_or_default();
            if !is(kind, got)? {
                return differs();
            }
            if !name.is_empty() {
                captured.insert(name.to_string(), got.clone());
            }
            Ok(())
        }
        (Value::Object(want), Value::Object(have)) => {
            let open = want.contains_key("...");
            for (key, value) in want.iter().filter(|(key, _)| *key != "...") {
                let inner = format!("{at}.{key}");
                match have.get(key) {
                    Some(got) => compare(value, got, &inner, captured)?,
                    None => return Err(format!("{inner}: expected {value}, but the key is not there")),
                }
            }
            match have.iter().find(|(key, _)| !open && !want.contains_key(*key)) {
                Some((key, value)) => Err(format!("{at}.{key}: not expected, got {value}")),
                None => Ok(()),
            }
        }
        (Value::Array(want), Value::Array(have)) if want.first().is_some_and(|w| w == "<unordered>") => {
            unordered(&want[1..], have, at, captured)
        }
        (Value::Array(want), Value::Array(have)) if want.len() == have.len() => {
            want.iter().zip(have).enumerate().try_for_each(|(n, (w, h))| compare(w, h, &format!("{at}[{n}]"), captured))
        }
        (Value::Number(want), Value::Number(have))
            if (want.is_f64() || have.is_f64()) && want.as_f64() == have.as_f64() =>
        {
            Ok(())
        }
        _ if expected == got => Ok(()),
        _ => differs(),
    }
}

fn unordered(want: &[Value], have: &[Value], at: &str, captured: &mut Captured) -> Result<(), String> {
    let mut left: Vec<&Value> = have.iter().collect();
    for value in want {
        match left.iter().position(|have| compare(value, have, at, captured).is_ok()) {
            Some(found) => drop(left.remove(found)),
            None => return Err(format!("{at}: expected {value} among {}", Value::from(have))),
        }
    }
    match left.first() {
        Some(more) => Err(format!("{at}: not expected: {more}")),
        None => Ok(()),
    }
}

/// `<kind>` or `<name=kind>`.
fn placeholder(text: &str) -> Option<(&str, &str)> {
    let inside = text.strip_prefix('<')?.strip_suffix('>')?;
    Some(inside.split_once('=').unwrap_or(("", inside)))
}

fn is(kind: &str, got: &Value) -> Result<bool, String> {
    let text = got.as_str();
    Ok(match kind {
        "any" => true,
        "string" => text.is_some(),
        "number" => got.is_number(),
        "bool" => got.is_boolean(),
        "object" => got.is_object(),
        "array" => got.is_array(),
        "uuid" => text.is_some_and(|t| t.len() == 36 && shape(t, "hhhhhhhh-hhhh-hhhh-hhhh-hhhhhhhhhhhh")),
        "iso" => text.is_some_and(|t| shape(t, "dddd-dd-ddTdd:dd:dd.dddZ")),
        "ws-id" => text.and_then(|t| t.strip_prefix("ws_")?.split_once('_')).is_some_and(|(ms, tail)| {
            shape(ms, "ddddddddddddd")
                && tail.len() == 9
                && tail.bytes().all(|b| b.is_ascii_digit() || b.is_ascii_lowercase())
        }),
        _ => match kind.strip_prefix("has ") {
            Some(part) => text.is_some_and(|t| t.contains(part)),
            None => return Err(format!("unknown placeholder <{kind}>")),
        },
    })
}

/// `h`: a lower-case hexadecimal digit, `d`: a digit, all else itself.
fn shape(text: &str, shape: &str) -> bool {
    text.len() == shape.len()
        && text.bytes().zip(shape.bytes()).all(|(t, s)| match s {
            b'h' => t.is_ascii_hexdigit() && !t.is_ascii_uppercase(),
            b'd' => t.is_ascii_digit(),
            _ => t == s,
        })
}

/// A line of text: exact, or a placeholder.
pub fn text(expected: &str, got: &str, captured: &mut Captured) -> Result<(), String> {
    compare(&Value::from(expected), &Value::from(got), "", captured)
}

#[test]
fn a_message_is_compared_as_values() {
    use serde_json::json;
    let mut captured = Captured::new();
    let mut same = |expected: Value, got: Value| json(&expected, &got, &mut captured);
    assert_eq!(same(json!({"a": 1, "b": "<iso>"}), json!({"b": "2024-01-07T10:30:00.000Z", "a": 1.0})), Ok(()));
    assert_eq!(same(json!({"a": "<id=ws-id>", "...": 0}), json!({"a": "ws_1704623400000_abcdefgh1", "c": 1})), Ok(()));
    assert_eq!(same(json!(["<unordered>", 1, 2]), json!([2, 1])), Ok(()));
    for (expected, got, told) in [
        (json!({"a": 1}), json!({"a": 1, "b": 2}), ".b: not expected, got 2"),
        (json!({"a": {"b": 1}}), json!({"a": {}}), ".a.b: expected 1, but the key is not there"),
        (json!({"a": [1, "<uuid>"]}), json!({"a": [1, "x"]}), ".a[1]: expected \"<uuid>\", got \"x\""),
        (json!(["<unordered>", 1, 2]), json!([2, 3]), ": expected 1 among [2,3]"),
        (json!("<iso>"), json!("2024-01-07T10:30:00Z"), "the value: expected \"<iso>\", got \"2024-01-07T10:30:00Z\""),
        (json!("<odd>"), json!(1), "unknown placeholder <odd>"),
    ] {
        assert_eq!(same(expected, got), Err(told.to_string()));
    }
    assert_eq!(captured["id"], "ws_1704623400000_abcdefgh1");
}
