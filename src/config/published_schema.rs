//! The JSON Schema of a file kind as editors and validators read it.
//!
//! `schemars` writes a tagged alternative as a `$ref` beside the tag's own key; where what it refers to is closed, a
//! validator would refuse the tag. Here the two are joined into one closed object.

use schemars::JsonSchema;
use serde_json::{Map, Value, json};

/// The schema of a file kind, with a title and every reference beside other keys joined.
pub fn of<T: JsonSchema>(title: &str) -> Value {
    let mut schema = schemars::schema_for!(T).to_value();
    let definitions = schema.get("$defs").cloned().unwrap_or_default();
    join(&mut schema, &definitions);
    if let Value::Object(schema) = &mut schema {
        schema.insert("title".into(), json!(title));
    }
    schema
}

fn join(schema: &mut Value, definitions: &Value) {
    match schema {
        Value::Object(object) => {
            if object.contains_key("properties")
                && let Some(Value::String(to)) = object.remove("$ref")
                && let Some(Value::Object(referred)) = definitions.get(to.trim_start_matches("#/$defs/"))
            {
                merge(object, referred);
            }
            object.values_mut().for_each(|value| join(value, definitions));
        }
        Value::Array(items) => items.iter_mut().for_each(|item| join(item, definitions)),
        _ => {}
    }
}

/// Keys and requirements of both; of all else the first one's counts.
fn merge(into: &mut Map<String, Value>, from: &Map<String, Value>) {
    for (key, value) in from {
        match (into.get_mut(key), value) {
            (Some(Value::Object(own)), Value::Object(more)) => own.extend(more.clone()),
            (Some(Value::Array(own)), Value::Array(more)) => own.extend(more.clone()),
            (Some(_), _) => {}
            (None, value) => drop(into.insert(key.clone(), value.clone())),
        }
    }
}
