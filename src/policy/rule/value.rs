//! What an expression comes to. Borrows the identity, the request and the rows; nothing is converted beforehand.

use super::node::{Comparison, Const};
use crate::model::EXACT_MAX;
use serde_json::{Map, Value};
use std::borrow::Cow;
use std::cmp::Ordering;
use std::fmt;

#[derive(Clone, Debug)]
pub(in crate::policy) enum Val<'a> {
    /// Rhai's `()`: a claim, a row or a header that is not there, or JSON's null.
    Missing,
    Bool(bool),
    /// Of 64 bits, with or without a sign: ids of both kinds are compared exactly.
    Int(i128),
    Float(f64),
    Text(Cow<'a, str>),
    List(&'a [Value]),
    /// What `split` made.
    Words(Vec<Cow<'a, str>>),
    Map(&'a Map<String, Value>),
}

impl<'a> Val<'a> {
    pub fn of(value: Option<&'a Value>) -> Val<'a> {
        match value {
            None | Some(Value::Null) => Val::Missing,
            Some(Value::Bool(b)) => Val::Bool(*b),
            Some(Value::Number(n)) => {
                let whole = n.as_i64().map(i128::from).or_else(|| n.as_u64().map(i128::from));
                whole.map(Val::Int).or_else(|| n.as_f64().map(Val::Float)).unwrap_or(Val::Missing)
            }
            Some(Value::String(text)) => Val::Text(Cow::Borrowed(text)),
            Some(Value::Array(list)) => Val::List(list),
            Some(Value::Object(map)) => Val::Map(map),
        }
    }

    pub fn text(text: Option<&'a str>) -> Val<'a> {
        text.map_or(Val::Missing, |t| Val::Text(Cow::Borrowed(t)))
    }

    pub fn is_a(&self) -> &'static str {
        match self {
            Val::Missing => "what is missing",
            Val::Bool(_) => "a boolean",
            Val::Int(_) | Val::Float(_) => "a number",
            Val::Text(_) => "a text",
            Val::List(_) | Val::Words(_) => "a list",
            Val::Map(_) => "a map",
        }
    }

    pub fn len(&self) -> Option<usize> {
        match self {
            Val::Text(text) => Some(text.chars().count()),
            Val::List(list) => Some(list.len()),
            Val::Words(words) => Some(words.len()),
            Val::Map(map) => Some(map.len()),
            _ => None,
        }
    }

    /// Whether a list has the element or a map the key. `None`: this is neither.
    pub fn holds(&self, needle: &Val<'_>) -> Option<bool> {
        match self {
            Val::List(list) => Some(list.iter().any(|v| Val::of(Some(v)).equals(needle))),
            Val::Words(words) => Some(matches!(needle, Val::Text(text) if words.contains(text))),
            Val::Map(map) => Some(matches!(needle, Val::Text(key) if map.get(&**key).is_some_and(|v| !v.is_null()))),
            _ => None,
        }
    }

    pub fn equals(&self, other: &Val<'_>) -> bool {
        self.compare(Comparison::Equal, other) == Some(true)
    }

    /// `None`: nothing to say of what is missing, or of two things as different as a text and a number.
    pub fn compare(&self, by: Comparison, other: &Val<'_>) -> Option<bool> {
        let order = match (self, other) {
            (Val::Int(a), Val::Int(b)) => a.cmp(b),
            // Beyond 2⁵³ a fraction stands for its neighbours too: which of them is meant, nobody can say.
            (Val::Float(n), _) | (_, Val::Float(n)) if n.abs() >= EXACT_MAX => return None,
            (Val::Int(a), Val::Float(b)) => (*a as f64).partial_cmp(b)?,
            (Val::Float(a), Val::Int(b)) => a.partial_cmp(&(*b as f64))?,
            (Val::Float(a), Val::Float(b)) => a.partial_cmp(b)?,
            (Val::Text(a), Val::Text(b)) => a.cmp(b),
            (Val::Bool(a), Val::Bool(b)) => a.cmp(b),
            (Val::List(a), Val::List(b)) => return by.of_equality(a == b),
            (Val::Map(a), Val::Map(b)) => return by.of_equality(a == b),
            _ => return None,
        };
        Some(match by {
            Comparison::Equal => order == Ordering::Equal,
            Comparison::NotEqual => order != Ordering::Equal,
            Comparison::Less => order == Ordering::Less,
            Comparison::LessOrEqual => order != Ordering::Greater,
            Comparison::Greater => order == Ordering::Greater,
            Comparison::GreaterOrEqual => order != Ordering::Less,
        })
    }

    /// The constant of a value that needs nothing.
    pub fn into_const(self) -> Option<Const> {
        match self {
            Val::Bool(b) => Some(Const::Bool(b)),
            Val::Int(n) => Some(Const::Int(n)),
            Val::Float(n) => Some(Const::Float(n)),
            Val::Text(text) => Some(Const::Text(text.into())),
            Val::Missing | Val::List(_) | Val::Words(_) | Val::Map(_) => None,
        }
    }
}

impl Comparison {
    fn of_equality(self, equal: bool) -> Option<bool> {
        match self {
            Comparison::Equal => Some(equal),
            Comparison::NotEqual => Some(!equal),
            _ => None,
        }
    }
}

impl From<bool> for Val<'_> {
    fn from(b: bool) -> Self {
        Val::Bool(b)
    }
}

impl<'a> From<&'a Const> for Val<'a> {
    fn from(constant: &'a Const) -> Val<'a> {
        match constant {
            Const::Bool(b) => Val::Bool(*b),
            Const::Int(n) => Val::Int(*n),
            Const::Float(n) => Val::Float(*n),
            Const::Text(text) => Val::Text(Cow::Borrowed(text)),
        }
    }
}

impl Val<'_> {
    /// For people: as JSON, so that 7 and "7" do not look alike; `()` for what is missing.
    pub fn shown(&self) -> String {
        match self {
            Val::Text(text) => Value::from(&**text).to_string(),
            Val::Float(n) => Value::from(*n).to_string(),
            Val::Missing | Val::Bool(_) | Val::Int(_) | Val::List(_) | Val::Words(_) | Val::Map(_) => self.to_string(),
        }
    }
}

/// Texts without quotes, all else as JSON.
impl fmt::Display for Val<'_> {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Val::Missing => f.write_str("()"),
            Val::Bool(b) => b.fmt(f),
            Val::Int(n) => n.fmt(f),
            Val::Float(n) => n.fmt(f),
            Val::Text(text) => f.write_str(text),
            Val::List(list) => f.write_str(&serde_json::to_string(list).unwrap_or_default()),
            Val::Words(words) => f.write_str(&serde_json::to_string(words).unwrap_or_default()),
            Val::Map(map) => f.write_str(&serde_json::to_string(map).unwrap_or_default()),
        }
    }
}
