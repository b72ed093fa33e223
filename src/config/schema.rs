//! The JSON Schema of a file kind, as questions that checking asks: which types fit, which keys, what to call it.
//!
//! Made by `schemars` from the types of `file`; only what `schemars` writes is understood.

use super::doc::{Node, Value as Written};
use crate::model::{Ms, MsOrOff, Size, SizeOrOff, one_of};
use schemars::JsonSchema;
use serde_json::Value;

/// The schema of one file kind.
pub struct Schema {
    root: Value,
    quantities: Vec<Quantity>,
}

/// A text with units: JSON Schema knows it by its pattern, here its own reader judges it.
struct Quantity {
    pattern: String,
    expected: String,
    reads: fn(&str) -> bool,
}

/// One way to write a table.
#[derive(Clone)]
pub struct Object<'s> {
    pub keys: Vec<(&'s str, &'s Value)>,
    pub required: Vec<&'s str>,
    pub others: Others<'s>,
}

/// What a table may hold beside its named keys.
#[derive(Clone, Copy)]
pub enum Others<'s> {
    None,
    Anything,
    Each(&'s Value),
}

/// Types within types, and alternatives of one table, as far as checking follows.
const DEPTH_MAX: usize = 12;
const ALTERNATIVES_MAX: usize = 64;

fn quantity<T: JsonSchema + serde::de::DeserializeOwned>() -> Option<Quantity> {
    let schema = schemars::schema_for!(T).to_value();
    Some(Quantity {
        pattern: schema.pointer("/anyOf/0/pattern")?.as_str()?.to_owned(),
        expected: schema.get("description")?.as_str()?.to_owned(),
        reads: |text| serde_json::from_value::<T>(text.into()).is_ok(),
    })
}

impl Schema {
    pub fn of<T: JsonSchema>() -> Schema {
        let quantities = [quantity::<Ms>(), quantity::<MsOrOff>(), quantity::<Size>(), quantity::<SizeOrOff>()];
        Schema { root: schemars::schema_for!(T).to_value(), quantities: quantities.into_iter().flatten().collect() }
    }

    /// As JSON, for editors.
    pub fn root(&self) -> &Value {
        &self.root
    }

    pub fn resolve<'s>(&'s self, mut schema: &'s Value) -> &'s Value {
        for _ in 0..DEPTH_MAX {
            // A tagged alternative names its own key beside the type that it refers to: `objects` joins the two.
            if schema.get("properties").is_some() {
                break;
            }
            let Some(to) = schema.get("$ref").and_then(Value::as_str) else { break };
            let Some(found) = self.root.pointer(to.trim_start_matches('#')) else { break };
            schema = found;
        }
        schema
    }

    /// The alternatives of a schema, one type each; `null` (a key left out) is none of them.
    pub fn branches<'s>(&'s self, schema: &'s Value) -> Vec<&'s Value> {
        let mut found = Vec::new();
        self.collect(schema, DEPTH_MAX, &mut found);
        found
    }

    fn collect<'s>(&'s self, schema: &'s Value, depth: usize, found: &mut Vec<&'s Value>) {
        let schema = self.resolve(schema);
        let several = ["anyOf", "oneOf"].iter().find_map(|k| schema.get(k)).and_then(Value::as_array);
        match (several, schema.get("allOf").and_then(Value::as_array)) {
            (Some(subs), _) if depth > 0 && schema.get("properties").is_none() => {
                subs.iter().for_each(|s| self.collect(s, depth - 1, found));
            }
            (None, Some(all)) if depth > 0 && all.len() == 1 && schema.get("properties").is_none() => {
                self.collect(&all[0], depth - 1, found);
            }
            _ if schema.get("type").and_then(Value::as_str) == Some("null") => {}
            _ => found.push(schema),
        }
    }

    /// Whether a value is of a branch's type; what it says is another question.
    pub fn fits(&self, node: &Node, branch: &Value) -> bool {
        let types = types(branch);
        let any = |wanted: &[&str]| types.is_empty() || types.iter().any(|t| wanted.contains(t));
        match &node.value {
            Written::Text(_) => any(&["string"]),
            Written::Integer(_) => any(&["integer", "number"]),
            Written::Float(_) => any(&["number"]),
            Written::Boolean(_) => any(&["boolean"]),
            Written::Array(_) => any(&["array"]),
            Written::Table(_) => any(&["object"]),
        }
    }

    /// The words that a branch consists of, if it does.
    pub fn words<'s>(&self, branch: &'s Value) -> Vec<&'s str> {
        match (branch.get("const"), branch.get("enum").and_then(Value::as_array)) {
            (Some(word), _) => word.as_str().into_iter().collect(),
            (None, Some(words)) => words.iter().filter_map(Value::as_str).collect(),
            _ => Vec::new(),
        }
    }

    /// Whether a text is what a branch's pattern asks for; patterns of unknown make are left to serde.
    pub fn reads(&self, text: &str, branch: &Value) -> bool {
        let length = text.chars().count() as u64;
        self.quantity(branch).is_none_or(|q| (q.reads)(text))
            && branch.get("minLength").and_then(Value::as_u64).is_none_or(|min| length >= min)
            && branch.get("maxLength").and_then(Value::as_u64).is_none_or(|max| length <= max)
    }

    fn quantity(&self, branch: &Value) -> Option<&Quantity> {
        let pattern = branch.get("pattern")?.as_str()?;
        self.quantities.iter().find(|q| q.pattern == pattern)
    }

    /// The ways to write a table: a schema's own keys, times those of each alternative that it embeds.
    pub fn objects<'s>(&'s self, schema: &'s Value) -> Vec<Object<'s>> {
        self.alternatives(schema, DEPTH_MAX)
    }

    fn alternatives<'s>(&'s self, schema: &'s Value, depth: usize) -> Vec<Object<'s>> {
        let schema = self.resolve(schema);
        let mut made = vec![own(schema)];
        if depth == 0 {
            return made;
        }
        let all = schema.get("allOf").and_then(Value::as_array).into_iter().flatten().map(std::slice::from_ref);
        let referred =
            schema.get("$ref").and_then(Value::as_str).and_then(|r| self.root.pointer(r.trim_start_matches('#')));
        let one = ["oneOf", "anyOf"].iter().filter_map(|k| schema.get(k)?.as_array()).map(Vec::as_slice);
        for choice in referred.into_iter().map(std::slice::from_ref).chain(all).chain(one) {
            let parts: Vec<Object> = choice.iter().flat_map(|s| self.alternatives(s, depth - 1)).collect();
            made = made.iter().flat_map(|m| parts.iter().map(|p| m.with(p))).take(ALTERNATIVES_MAX).collect();
        }
        made
    }

    /// ``a duration such as "30s"``, `` `a` or `b` ``, `a list of texts`: what to write.
    pub fn expected(&self, schema: &Value) -> String {
        if is_secret(schema) {
            return "a secret: { env = \"NAME\" } or { file = \"path\" }".into();
        }
        let branches = self.branches(schema);
        let words: Vec<&str> = branches.iter().flat_map(|b| self.words(b)).collect();
        let mut told: Vec<String> = Vec::new();
        if !words.is_empty() {
            told.push(one_of(words));
        }
        let quantity = branches.iter().find_map(|b| self.quantity(b));
        for branch in branches.iter().filter(|b| self.words(b).is_empty()) {
            let text = match quantity {
                Some(q) if matches!(types(branch).first(), Some(&"integer" | &"string")) => q.expected.clone(),
                _ => self.noun(branch),
            };
            if !told.contains(&text) {
                told.push(text);
            }
        }
        told.join(" or ")
    }

    fn noun(&self, branch: &Value) -> String {
        match types(branch).first() {
            Some(&"string") if branch.get("minLength").is_some() => "a text that is not empty".into(),
            Some(&"string") => "a text".into(),
            Some(&"integer") => match range(branch) {
                (Some(min), Some(max)) => format!("a whole number from {min} to {max}"),
                (Some(min), None) => format!("a whole number from {min}"),
                (None, Some(max)) => format!("a whole number up to {max}"),
                (None, None) => "a whole number".into(),
            },
            Some(&"number") => "a number".into(),
            Some(&"boolean") => "`true` or `false`".into(),
            Some(&"array") => match branch.get("items").map(|i| self.expected(i)) {
                Some(item) if item == "a text" => "a list of texts".into(),
                Some(item) if !item.is_empty() => format!("a list, each {item}"),
                _ => "a list".into(),
            },
            Some(&"object") => {
                let objects = self.objects(branch);
                let object = &objects[0];
                let keys = match object.required.is_empty() {
                    true => object.keys.iter().map(|(k, _)| *k).take(4).collect(),
                    false => object.required.clone(),
                };
                if keys.is_empty() {
                    "a table".into()
                } else {
                    format!("a table with {}", one_of(keys).replace(" or ", " and "))
                }
            }
            _ => "any value".into(),
        }
    }

    /// The schema below a path of keys, through maps and lists; several where alternatives differ.
    pub fn below<'s>(&'s self, path: &[&str]) -> Vec<&'s Value> {
        let mut at = vec![&self.root];
        for name in path {
            at = at
                .into_iter()
                .flat_map(|s| self.branches(s))
                .flat_map(|s| self.objects(s))
                .filter_map(|o| o.get(name))
                .collect();
        }
        at
    }
}

impl Schema {
    /// The named keys below a path.
    pub fn keys_below(&self, path: &[&str]) -> Vec<&str> {
        let objects = self.below(path).into_iter().flat_map(|s| self.branches(s)).flat_map(|b| self.objects(b));
        objects.flat_map(|o| o.keys).map(|(k, _)| k).collect()
    }
}

impl<'s> Object<'s> {
    /// The schema of a key, named or not.
    pub fn get(&self, name: &str) -> Option<&'s Value> {
        let named = self.keys.iter().find(|(k, _)| *k == name).map(|(_, s)| *s);
        named.or(match self.others {
            Others::Each(schema) => Some(schema),
            Others::None | Others::Anything => None,
        })
    }

    fn with(&self, more: &Object<'s>) -> Object<'s> {
        let mut both = self.clone();
        both.keys.extend(more.keys.iter().filter(|(k, _)| !self.keys.iter().any(|(own, _)| own == k)));
        both.required.extend(&more.required);
        both.others = match (self.others, more.others) {
            (Others::Each(s), _) | (_, Others::Each(s)) => Others::Each(s),
            (Others::Anything, Others::Anything) => Others::Anything,
            // A part without keys of its own (a bare `oneOf`) closes nothing and opens nothing.
            (Others::Anything, other) | (other, Others::Anything) => other,
            (Others::None, Others::None) => Others::None,
        };
        both
    }
}

fn own(schema: &Value) -> Object<'_> {
    let properties = schema.get("properties").and_then(Value::as_object);
    let keys: Vec<(&str, &Value)> = properties.into_iter().flatten().map(|(k, v)| (k.as_str(), v)).collect();
    let required =
        schema.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect();
    let others = match schema.get("additionalProperties").or(schema.get("unevaluatedProperties")) {
        Some(Value::Bool(false)) => Others::None,
        Some(each @ Value::Object(_)) => Others::Each(each),
        Some(_) => Others::Anything,
        None => match schema.get("patternProperties").and_then(Value::as_object).and_then(|p| p.values().next()) {
            Some(each) => Others::Each(each),
            // Settings are closed even where a type forgot to say so: a misspelt key must not be silent.
            None if !keys.is_empty() => Others::None,
            None => Others::Anything,
        },
    };
    Object { keys, required, others }
}

/// The JSON types of a branch; empty: any.
pub fn types(branch: &Value) -> Vec<&str> {
    match branch.get("type") {
        Some(Value::String(one)) => vec![one],
        Some(Value::Array(several)) => several.iter().filter_map(Value::as_str).filter(|t| *t != "null").collect(),
        _ if branch.get("properties").is_some() => vec!["object"],
        _ if branch.get("const").or(branch.get("enum")).is_some() => vec!["string"],
        _ => Vec::new(),
    }
}

/// The bounds of a whole number: as written, else those of its type.
pub fn range(branch: &Value) -> (Option<i64>, Option<i64>) {
    let (min, max) = match branch.get("format").and_then(Value::as_str) {
        Some("uint8") => (Some(0), Some(u8::MAX.into())),
        Some("uint16") => (Some(0), Some(u16::MAX.into())),
        Some("uint32") => (Some(0), Some(u32::MAX.into())),
        Some("int32") => (Some(i32::MIN.into()), Some(i32::MAX.into())),
        Some("uint64" | "uint") => (Some(0), None),
        _ => (None, None),
    };
    let bound = |key: &str| branch.get(key).and_then(|v| v.as_i64().or(v.as_f64().map(|f| f as i64)));
    (bound("minimum").or(min), bound("maximum").or(max))
}

/// Whether a value of this type is a secret, which no message may repeat.
pub fn is_secret(schema: &Value) -> bool {
    let names = |s: &Value| s.get("$ref").and_then(Value::as_str).is_some_and(|r| r.ends_with("/SecretSource"));
    names(schema) || schema.get("anyOf").and_then(Value::as_array).is_some_and(|a| a.iter().any(names))
}
