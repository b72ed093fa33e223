//! A file without what is wrong with its shape: rooms judge the rest, so that its other mistakes are told in the same go.
//!
//! Only what nothing else hangs on may go: without an `[auth.NAME]`, say, each use of that name would look like a mistake
//! too. Where anything else is wrong, only the shape is told.

use super::doc::{At, Doc, Entry, Node, Value};
use super::schema::Schema;
use super::shape;
use std::collections::BTreeSet;

/// What is left of a file.
pub struct Rest {
    pub doc: Doc,
    /// Places, as line and column, of tables that lost something: whoever misses something there is not right.
    pub incomplete: BTreeSet<(u32, u32)>,
}

/// What goes may leave a table without a key that it needs, which goes then. No file nests deeper than this.
const ROUNDS_MAX: usize = 8;

/// Sections whose entries are named elsewhere, or change what others come to.
const NAMED: [&str; 10] =
    ["auth", "key", "api_key", "table", "webhook", "listener", "env", "settings", "entity", "script"];
/// Sections of which single entries may go.
const LOOSE: [&str; 11] =
    ["endpoint", "route", "timer", "check", "limits", "log", "http", "audit", "reload", "store", "errors"];
/// Lists of which an entry goes as a whole: half of it would mean something else.
const WHOLE: [&str; 3] = ["route", "timer", "check"];
/// Keys on which other entries hang.
const HANG_ON: [(&str, &str); 7] = [
    ("channel", "home"),
    ("channel", "also"),
    ("channel", "alias"),
    ("dialect", "like"),
    ("dialect", "envelope"),
    ("http", "origins"),
    ("limits", "memory"),
];
/// Keys that tell endpoints apart.
const APART: [&str; 4] = ["when", "host", "listener", "path"];

/// `None`: something is wrong on which the rest hangs.
pub fn rest_of(doc: &Doc, schema: &Schema) -> Option<Rest> {
    let mut rest = Rest { doc: doc.clone(), incomplete: BTreeSet::new() };
    for _ in 0..ROUNDS_MAX {
        let bad = shape::places(&rest.doc, schema);
        if bad.is_empty() {
            // They would hold what is left against what the whole file should do.
            if let Value::Table(entries) = &mut rest.doc.root.value {
                entries.retain(|entry| entry.name != "check");
            }
            return Some(rest);
        }
        let mut pruning = Pruning { bad: &bad, lost: Vec::new() };
        pruning.table(&mut rest.doc.root, &[])?;
        if pruning.lost.is_empty() {
            return None;
        }
        let places = pruning.lost.iter().filter_map(|at| match at {
            At::File(start, _) => Some(doc.position(*start)),
            At::Env(_) => None,
        });
        rest.incomplete.extend(places);
    }
    None
}

struct Pruning<'b> {
    bad: &'b [At],
    /// Keys and values that lost something.
    lost: Vec<At>,
}

impl Pruning<'_> {
    /// Removes what is bad below; `None` where that must not go. `path`: the keys so far, an entry of a list being `[]`.
    fn table(&mut self, node: &mut Node, path: &[&str]) -> Option<()> {
        let at = node.at.clone();
        match &mut node.value {
            Value::Table(entries) => {
                let mut kept = Vec::with_capacity(entries.len());
                for mut entry in std::mem::take(entries) {
                    let name = entry.name.clone();
                    let path: Vec<&str> = path.iter().copied().chain([name.as_str()]).collect();
                    if self.bad.contains(&entry.at) || self.is_wrong(&entry.node) {
                        may_go(&path).then(|| self.lost.push(at.clone()))?;
                        continue;
                    }
                    let before = self.lost.len();
                    self.table(&mut entry.node, &path)?;
                    if self.lost.len() > before {
                        self.lost.push(entry.at.clone());
                    }
                    kept.push(entry);
                }
                *entries = kept;
            }
            Value::Array(items) => {
                let path: Vec<&str> = path.iter().copied().chain(["[]"]).collect();
                let mut kept = Vec::with_capacity(items.len());
                for mut item in std::mem::take(items) {
                    let goes = self.bad.contains(&item.at) || self.is_apart(&item, path[0]);
                    if goes {
                        may_go(&path).then(|| self.lost.push(at.clone()))?;
                        continue;
                    }
                    self.table(&mut item, &path)?;
                    kept.push(item);
                }
                *items = kept;
            }
            _ => {}
        }
        Some(())
    }

    /// Whether an entry of a list goes for what is bad inside of it.
    fn is_apart(&self, item: &Node, section: &str) -> bool {
        let entries = item.table().unwrap_or_default();
        let bad = |entry: &Entry| self.bad.contains(&entry.at) || self.is_bad(&entry.node);
        match section {
            "endpoint" => entries.iter().any(|entry| is_one_of(&entry.name, APART) && bad(entry)),
            section if WHOLE.contains(&section) => entries.iter().any(bad),
            _ => false,
        }
    }

    /// Whether a value itself is bad. The place of a list of tables is that of its first table.
    fn is_wrong(&self, node: &Node) -> bool {
        let first = if let Value::Array(items) = &node.value { items.first() } else { None };
        self.bad.contains(&node.at) && first.is_none_or(|first| first.at != node.at)
    }

    fn is_bad(&self, node: &Node) -> bool {
        self.bad.contains(&node.at)
            || match &node.value {
                Value::Table(entries) => {
                    entries.iter().any(|entry| self.bad.contains(&entry.at) || self.is_bad(&entry.node))
                }
                Value::Array(items) => items.iter().any(|item| self.is_bad(item)),
                _ => false,
            }
    }
}

/// Whether a key is one of these, or one of them with a slip of the finger: `last` must not count as `also`.
fn is_one_of<'k>(name: &str, keys: impl IntoIterator<Item = &'k str>) -> bool {
    keys.into_iter().any(|key| strsim::damerau_levenshtein(name, key) <= 1)
}

fn may_go(path: &[&str]) -> bool {
    let section = path[0];
    let keys = HANG_ON.iter().filter(|(of, _)| *of == section).map(|(_, key)| *key);
    let hangs = path[1..].iter().any(|name| is_one_of(name, keys.clone()));
    let deep = path.len() > 2 || path.len() == 2 && LOOSE.contains(&section);
    deep && !hangs && !NAMED.contains(&section)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::file::AppFile;

    fn left(text: &str) -> Option<Rest> {
        rest_of(&Doc::parse("x.toml", text, &mut Vec::new()), &Schema::of::<AppFile>())
    }

    #[test]
    fn what_nothing_hangs_on_goes() {
        let rest = left("[[channel]]\nname = \"a\"\nlast = 1\n[dialect.d]\nreceive.x = { do = \"png\" }\n").unwrap();
        let text = format!("{:?}", rest.doc.root);
        assert!(text.contains("\"name\"") && text.contains("\"receive\""), "{text}");
        assert!(!text.contains("\"last\"") && !text.contains("png"), "{text}");
        assert!(rest.incomplete.contains(&(1, 1)), "{:?}", rest.incomplete);
    }

    #[test]
    fn what_others_hang_on_does_not_go() {
        for text in [
            "plugni = \"x\"\n",
            "[auth.a]\ntype = \"jtw\"\n",
            "[settings]\na = 1\n[[channel]]\nnam = \"a\"\n",
            "[[channel]]\nname = \"a\"\nhomex = \"b\"\n",
            "[dialect.d]\ndelivery = { envelope = 1 }\n",
        ] {
            assert!(left(text).is_none(), "{text}");
        }
    }

    #[test]
    fn an_endpoint_that_nothing_would_tell_from_another_goes_as_a_whole() {
        let endpoint = |more: &str| format!("[[endpoint]]\npath = \"/\"\ndialect = \"d\"\n{more}");
        for bad in ["whn = {}\n", "host = 1\n", "when = { query = 1 }\n"] {
            let rest = left(&(endpoint("") + endpoint(bad).as_str())).unwrap();
            let endpoints = rest.doc.root.get("endpoint").map(|node| &node.value);
            assert!(matches!(endpoints, Some(Value::Array(items)) if items.len() == 1), "{bad}");
        }
        let rest = left(&endpoint("protocol = 1\n")).unwrap();
        assert!(
            matches!(rest.doc.root.get("endpoint").map(|n| &n.value), Some(Value::Array(items)) if items.len() == 1)
        );
    }
}
