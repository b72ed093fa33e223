//! What the files say, kept as JSON so that two readings of them can be told apart. Secrets never come this far.

use super::doc::{At, Doc, Node, Value as Written};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::sync::Arc;

/// One reading: as written, with what the environment set on top.
#[derive(Clone, Debug, Default)]
pub struct Said {
    /// `gateway.toml`.
    pub gateway: Value,
    /// `channels/*.toml`, by app.
    pub apps: BTreeMap<String, Value>,
    /// What a reload knows the endpoints of each app by, in their order.
    pub endpoints: BTreeMap<String, Vec<Arc<str>>>,
}

impl Said {
    pub fn endpoints_of(&self, app: &str) -> &[Arc<str>] {
        self.endpoints.get(app).map_or(&[], |keys| keys)
    }
}

/// Stands for a secret's source: `{ env = "NAME" }` or `{ file = "path" }`.
const SECRET: &str = "secret";

impl Said {
    pub fn of<'d>(
        gateway: &Doc,
        apps: impl Iterator<Item = (&'d str, &'d Doc)>,
        endpoints: BTreeMap<String, Vec<Arc<str>>>,
    ) -> Said {
        Said {
            gateway: value(&gateway.root),
            apps: apps.map(|(name, doc)| (name.to_owned(), value(&doc.root))).collect(),
            endpoints,
        }
    }
}

pub(super) fn value(node: &Node) -> Value {
    // A variable of the environment may hold what a file must not.
    if let At::Env(name) = &node.at
        && !matches!(node.value, Written::Table(_))
    {
        return format!("as {name} says").into();
    }
    match &node.value {
        Written::Text(text) => text.as_str().into(),
        Written::Integer(number) => (*number).into(),
        Written::Float(number) => (*number).into(),
        Written::Boolean(truth) => (*truth).into(),
        Written::Array(nodes) => nodes.iter().map(value).collect(),
        Written::Table(entries) => match &entries[..] {
            [only] if (only.name == "env" || only.name == "file") && only.node.text().is_some() => SECRET.into(),
            _ => entries.iter().map(|e| (e.name.clone(), value(&e.node))).collect::<Map<_, _>>().into(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_and_a_variable_are_not_shown() {
        let text = "[key.a]\nsecret = { env = \"X\" }\nlives = [1, 2.5, true]\n";
        let mut faults = Vec::new();
        let mut doc = Doc::parse("gateway.toml", text, &mut faults);
        let node = Node { at: At::Env("WEIR_MODE".into()), value: Written::Text("hush".into()) };
        assert!(doc.root.set(&["mode"], node) && faults.is_empty());
        let said = Said::of(&doc, std::iter::empty(), BTreeMap::new());
        let wanted = serde_json::json!({
            "key": { "a": { "secret": "secret", "lives": [1, 2.5, true] } },
            "mode": "as WEIR_MODE says",
        });
        assert_eq!(said.gateway, wanted);
    }
}
