//! A variable's text as a value of the type that its place asks for.

use super::super::doc::{At, Doc, Node, Value as Written};
use super::super::schema::{Schema, types};
use serde_json::Value;

/// A value of the type that the schema has at that place.
pub fn typed(text: &str, at: &[&Value], schema: &Schema, variable: &str) -> Node {
    let branches: Vec<&Value> = at.iter().flat_map(|s| schema.branches(s)).collect();
    let accepts = |t: &str| branches.iter().any(|b| types(b).contains(&t));
    let whole = || text.replace('_', "").parse::<i64>().ok();
    let value = match text {
        "true" if accepts("boolean") => Written::Boolean(true),
        "false" if accepts("boolean") => Written::Boolean(false),
        _ if accepts("integer") && whole().is_some() => Written::Integer(whole().unwrap_or_default()),
        _ if accepts("number") && text.parse::<f64>().is_ok_and(f64::is_finite) => {
            Written::Float(text.parse().unwrap_or_default())
        }
        _ if accepts("array") && !accepts("string") || accepts("object") && text.starts_with('{') => {
            return list_or_table(text, variable);
        }
        _ => Written::Text(text.to_owned()),
    };
    node(value, variable)
}

/// `["a", "b"]` and `{ a = 1 }` as in a file; else words between commas.
fn list_or_table(text: &str, variable: &str) -> Node {
    if text.starts_with(['[', '{']) {
        let doc = Doc::parse("", &format!("value = {text}"), &mut Vec::new());
        if let Some(value) = doc.root.get("value") {
            return renamed(value, variable);
        }
    }
    let words = text.split(',').map(str::trim).filter(|w| !w.is_empty());
    node(Written::Array(words.map(|w| node(Written::Text(w.to_owned()), variable)).collect()), variable)
}

pub fn node(value: Written, variable: &str) -> Node {
    Node { at: At::Env(variable.into()), value }
}

fn renamed(from: &Node, variable: &str) -> Node {
    let value = match &from.value {
        Written::Array(items) => Written::Array(items.iter().map(|i| renamed(i, variable)).collect()),
        Written::Table(entries) => {
            let mut entries = entries.clone();
            for entry in &mut entries {
                (entry.at, entry.node) = (At::Env(variable.into()), renamed(&entry.node, variable));
            }
            Written::Table(entries)
        }
        other => other.clone(),
    };
    node(value, variable)
}

/// A text as a value of the type of the one that it replaces.
pub fn like(text: &str, old: &Node, variable: &str) -> Result<Node, &'static str> {
    let value = match &old.value {
        Written::Text(_) => Written::Text(text.to_owned()),
        Written::Integer(_) => Written::Integer(text.replace('_', "").parse().map_err(|_| "a whole number")?),
        Written::Float(_) => Written::Float(text.parse().ok().filter(|f: &f64| f.is_finite()).ok_or("a number")?),
        Written::Boolean(_) => Written::Boolean(text.parse().map_err(|_| "`true` or `false`")?),
        Written::Array(_) => return Ok(list_or_table(text, variable)),
        Written::Table(_) => {
            let made = list_or_table(text, variable);
            return made.table().is_some().then_some(made).ok_or("a table such as { key = 1 }");
        }
    };
    Ok(node(value, variable))
}
