//! One table in a file that belongs to two rooms: `[limits]`, `[[channel]]`.
//!
//! Each room's type refuses keys that it does not know, which serde's `flatten` cannot do.

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::{Deserialize, DeserializeOwned, Deserializer, Error};
use serde_json::{Map, Value};
use std::borrow::Cow;

/// Two rooms' settings from one table.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Both<A, B> {
    pub a: A,
    pub b: B,
}

/// Its first room's keys read as if they stood alone.
impl<A, B> std::ops::Deref for Both<A, B> {
    type Target = A;

    fn deref(&self) -> &A {
        &self.a
    }
}

fn keys<T: JsonSchema>() -> Vec<String> {
    let schema = schemars::schema_for!(T);
    let keys = schema.get("properties").and_then(Value::as_object).map(|p| p.keys().cloned().collect());
    keys.unwrap_or_default()
}

impl<'de, A: DeserializeOwned + JsonSchema, B: DeserializeOwned> Deserialize<'de> for Both<A, B> {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Both<A, B>, D::Error> {
        let first = keys::<A>();
        let (a, b): (Map<_, _>, Map<_, _>) = Map::deserialize(d)?.into_iter().partition(|(k, _)| first.contains(k));
        let a = serde_json::from_value(Value::Object(a)).map_err(D::Error::custom)?;
        let b = serde_json::from_value(Value::Object(b)).map_err(D::Error::custom)?;
        Ok(Both { a, b })
    }
}

impl<A: JsonSchema, B: JsonSchema> JsonSchema for Both<A, B> {
    fn schema_name() -> Cow<'static, str> {
        format!("{}And{}", A::schema_name(), B::schema_name()).into()
    }

    /// One closed object with the keys of both.
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let mut schema = A::json_schema(generator);
        let mut more = B::json_schema(generator);
        for part in ["properties", "required"] {
            match (schema.get_mut(part), more.remove(part)) {
                (Some(Value::Object(own)), Some(Value::Object(more))) => own.extend(more),
                (Some(Value::Array(own)), Some(Value::Array(more))) => own.extend(more),
                (None, Some(more)) => drop(schema.insert(part.to_owned(), more)),
                _ => {}
            }
        }
        schema
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::limits::{AppLimits, Limits};

    #[test]
    fn a_table_is_dealt_out_to_its_two_rooms() {
        let both: Both<Limits, AppLimits> = serde_json::from_str(r#"{"connections": 5, "subscriptions": 7}"#).unwrap();
        assert_eq!((both.a.connections, both.b.subscriptions), (5, 7));
        assert!(serde_json::from_str::<Both<Limits, AppLimits>>(r#"{"conections": 5}"#).is_err());
        let schema = schemars::schema_for!(Both<Limits, AppLimits>);
        let properties = schema.get("properties").and_then(Value::as_object).unwrap();
        assert!(properties.contains_key("drain") && properties.contains_key("queue_age"));
        assert_eq!(schema.get("additionalProperties"), Some(&Value::Bool(false)));
    }
}
