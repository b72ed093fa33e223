//! JSON text looked into without reading all of it, so that what is passed on stays as it was written.

use super::settings::Kind;
use serde::de::{Deserializer, Error, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;

/// An object's members in their order. A key that comes twice is an error: readers would disagree on which counts.
pub(super) fn members(text: &str) -> Result<Vec<(Cow<'_, str>, &RawValue)>, serde_json::Error> {
    let mut json = serde_json::Deserializer::from_str(text);
    let members = json.deserialize_map(Members)?;
    json.end().map(|()| members)
}

struct Members;

impl<'de> Visitor<'de> for Members {
    type Value = Vec<(Cow<'de, str>, &'de RawValue)>;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members: Self::Value = Vec::new();
        // A key without escapes borrows the text; serde's `Cow` alone would copy it.
        while let Some(key) = map.next_key::<Key<'de>>()? {
            if members.iter().any(|(k, _)| *k == key.0) {
                return Err(A::Error::custom(format!("`{}` comes twice", key.0)));
            }
            members.push((key.0, map.next_value()?));
        }
        Ok(members)
    }
}

#[derive(serde::Deserialize)]
struct Key<'a>(#[serde(borrow)] Cow<'a, str>);

/// The value at a dotted path; a number is a place in an array. `None` also for null.
pub(super) fn at<'a>(value: &'a RawValue, path: &[Box<str>]) -> Option<&'a RawValue> {
    let mut value = value;
    for step in path {
        value = match value.get().as_bytes().first()? {
            b'{' => members(value.get()).ok()?.into_iter().find(|(key, _)| *key == **step)?.1,
            b'[' => {
                let items: Vec<&RawValue> = serde_json::from_str(value.get()).ok()?;
                items.get(step.parse::<usize>().ok()?).copied()?
            }
            _ => return None,
        };
    }
    (value.get() != "null").then_some(value)
}

/// Whether a value is of that type.
pub(super) fn is(value: &RawValue, kind: Kind) -> bool {
    let text = value.get();
    match (kind, text.as_bytes().first()) {
        (_, None) => false,
        (Kind::Any, Some(first)) => *first != b'n',
        (Kind::String, Some(first)) => *first == b'"' && text.len() > 2,
        (Kind::Number, Some(first)) => first.is_ascii_digit() || *first == b'-',
        (Kind::Integer, Some(first)) => (first.is_ascii_digit() || *first == b'-') && !text.contains(['.', 'e', 'E']),
        (Kind::Boolean, Some(first)) => matches!(first, b't' | b'f'),
        (Kind::Object, Some(first)) => *first == b'{',
        (Kind::Array, Some(first)) => *first == b'[',
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_found_and_left_as_it_was() {
        let body: &RawValue = serde_json::from_str(r#"{"a":{"b":[1.00,{"c": "x" }],"n":null}}"#).unwrap();
        let find = |path: &str| at(body, &path.split('.').map(Into::into).collect::<Vec<_>>()).map(|v| v.get());
        assert_eq!(find("a.b.0"), Some("1.00"));
        assert_eq!(find("a.b.1"), Some(r#"{"c": "x" }"#));
        for missing in ["a.n", "a.b.2", "a.b.x", "a.b.0.z", "b"] {
            assert_eq!(find(missing), None, "{missing}");
        }
        assert!(members(r#"{"a":1,"a":2}"#).unwrap_err().to_string().contains("`a` comes twice"));
        assert!(members("[]").is_err() && members(r#"{"a":1} x"#).is_err());
    }
}
