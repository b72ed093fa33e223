//! A tree against the schema of its file: every unknown key, missing key, wrong type and wrong word, all at once.
//!
//! What passes here, serde reads. What only a room can judge (a rule, a template, a name) comes later.

use super::doc::{At, Doc, Entry, Node, Value as Written};
use super::schema::{Object, Others, Schema, is_secret, range, types};
use crate::model::{Fault, did_you_mean, one_of};
use serde_json::Value;

/// Checks a file against its schema; `others` are the other file kinds, for keys that belong there.
pub fn check(doc: &Doc, schema: &Schema, others: &[(&str, &Schema)], faults: &mut Vec<Fault>) {
    let mut check = Check { doc, schema, others, found: Vec::new() };
    check.node(&doc.root, schema.root(), &Path::default(), &At::File(0, 0));
    faults.extend(check.found.into_iter().map(|(_, fault)| fault));
}

/// Where a file is not as its schema has it: keys, and values.
pub fn places(doc: &Doc, schema: &Schema) -> Vec<At> {
    let mut check = Check { doc, schema, others: &[], found: Vec::new() };
    check.node(&doc.root, schema.root(), &Path::default(), &At::File(0, 0));
    check.found.into_iter().map(|(at, _)| at).collect()
}

/// Each with the key or the value that is wrong.
type Found = Vec<(At, Fault)>;

struct Check<'d> {
    doc: &'d Doc,
    schema: &'d Schema,
    others: &'d [(&'d str, &'d Schema)],
    found: Found,
}

/// The keys down to a value; an element of a list has its list's name.
#[derive(Clone, Default)]
struct Path {
    keys: Vec<String>,
    list: bool,
}

impl Path {
    fn key(&self, name: &str) -> Path {
        let mut keys = self.keys.clone();
        keys.push(name.to_owned());
        Path { keys, list: false }
    }

    fn name(&self) -> &str {
        self.keys.last().map_or("file", String::as_str)
    }

    /// ` in [limits]`, ` in [[channel]]`, nothing at the top of the file.
    fn within(&self) -> String {
        match (self.keys.is_empty(), self.list) {
            (true, _) => String::new(),
            (false, true) => format!(" in [[{}]]", self.keys.join(".")),
            (false, false) => format!(" in [{}]", self.keys.join(".")),
        }
    }
}

/// Keys listed in a fault; more would hide the hint.
const KEYS_LISTED_MAX: usize = 16;

impl Check<'_> {
    fn tell(&mut self, at: &At, what: String, expected: Option<String>, hint: Option<String>) {
        let fault = Fault { expected: expected.filter(|e| !e.is_empty()), hint, ..self.doc.fault(at, what) };
        self.found.push((at.clone(), fault));
    }

    fn node(&mut self, node: &Node, schema: &Value, path: &Path, key: &At) {
        let branches = self.schema.branches(schema);
        let fitting: Vec<&Value> = branches.iter().copied().filter(|b| self.schema.fits(node, b)).collect();
        if fitting.is_empty() {
            let text = branches.iter().any(|b| types(b) == ["string"] && self.schema.words(b).is_empty());
            let hint = match &node.value {
                Written::Text(_) if is_secret(schema) => {
                    Some("a secret never stands in a file: name the variable or the file that holds it".to_owned())
                }
                Written::Boolean(value) if text && branches.len() == 1 => {
                    Some(format!("a text stands in quotes: \"{value}\""))
                }
                Written::Integer(value) if text && branches.len() == 1 => {
                    Some(format!("a text stands in quotes: \"{value}\""))
                }
                _ => None,
            };
            let what = match (&node.at, node.text()) {
                // A variable is always a text.
                (At::Env(_), Some(text)) if !is_secret(schema) => format!("`{}` cannot be `{text}`", path.name()),
                _ => format!("`{}` is {}", path.name(), node.value.kind()),
            };
            return self.tell(&node.at, what, Some(self.schema.expected(schema)), hint);
        }
        match &node.value {
            Written::Text(text) => self.text(node, text, &fitting, schema, path),
            Written::Integer(n) => self.number(node, *n, &fitting, schema, path),
            Written::Float(_) | Written::Boolean(_) => {}
            Written::Array(items) => self.array(node, items, fitting[0], path),
            Written::Table(entries) => {
                let objects: Vec<Object> = fitting.iter().flat_map(|b| self.schema.objects(b)).collect();
                self.table(entries, objects, path, key);
            }
        }
    }

    fn text(&mut self, node: &Node, text: &str, fitting: &[&Value], schema: &Value, path: &Path) {
        let words: Vec<&str> = fitting.iter().flat_map(|b| self.schema.words(b)).collect();
        let free = fitting.iter().any(|b| self.schema.words(b).is_empty() && self.schema.reads(text, b));
        if free || words.contains(&text) {
            return;
        }
        let expected = Some(self.schema.expected(schema));
        let hint = did_you_mean(text, words.iter().copied());
        let what = match words.is_empty() {
            false if path.name() == "do" => format!("unknown verb `{text}`"),
            false if path.list => format!("unknown {} `{text}`", path.name().trim_end_matches('s')),
            false => format!("unknown {} `{text}`", path.name()),
            true if text.is_empty() => format!("`{}` is empty", path.name()),
            true => format!("`{}` cannot be `{text}`", path.name()),
        };
        self.tell(&node.at, what, expected, hint);
    }

    fn number(&mut self, node: &Node, n: i64, fitting: &[&Value], schema: &Value, path: &Path) {
        let within = |b: &&Value| {
            let (min, max) = range(b);
            min.is_none_or(|min| n >= min) && max.is_none_or(|max| n <= max)
        };
        if !fitting.iter().any(within) {
            let what = format!("`{}` cannot be {n}", path.name());
            self.tell(&node.at, what, Some(self.schema.expected(schema)), None);
        }
    }

    fn array(&mut self, node: &Node, items: &[Node], branch: &Value, path: &Path) {
        let bound = |key: &str| branch.get(key).and_then(Value::as_u64).map(|n| n as usize);
        if let Some(min) = bound("minItems").filter(|min| items.len() < *min) {
            let what = if items.is_empty() {
                format!("`{}` is empty", path.name())
            } else {
                format!("`{}` is too short", path.name())
            };
            self.tell(&node.at, what, Some(format!("{min} or more entries")), None);
        }
        if let Some(max) = bound("maxItems").filter(|max| items.len() > *max) {
            self.tell(&node.at, format!("`{}` is too long", path.name()), Some(format!("{max} entries at most")), None);
        }
        let tuple = branch.get("prefixItems").and_then(Value::as_array);
        let path = Path { list: true, ..path.clone() };
        for (i, item) in items.iter().enumerate() {
            if let Some(schema) = tuple.and_then(|t| t.get(i)).or(branch.get("items")) {
                self.node(item, schema, &path, &item.at);
            }
        }
    }

    fn table(&mut self, entries: &[Entry], objects: Vec<Object>, path: &Path, key: &At) {
        if let [object] = &objects[..] {
            return self.keys(entries, object, path, key);
        }
        if let Some((tag, words)) = tag_of(&objects) {
            let Some(entry) = entries.iter().find(|e| e.name == tag) else {
                return self.tell(key, format!("missing key `{tag}`{}", path.within()), Some(one_of(words)), None);
            };
            let word = entry.node.text().unwrap_or_default();
            return match objects.iter().zip(&words).find(|(_, w)| **w == word) {
                Some((object, _)) => self.keys(entries, object, path, key),
                None => {
                    let hint = did_you_mean(word, words.iter().copied());
                    self.tell(&entry.node.at, format!("unknown {tag} `{word}`"), Some(one_of(words)), hint)
                }
            };
        }
        self.nearest(entries, &objects, path, key);
    }

    /// Alternatives without a tag: the one that fits, else the faults of the one that nearly does.
    fn nearest(&mut self, entries: &[Entry], objects: &[Object], path: &Path, key: &At) {
        let mut best: Option<((usize, usize), Found)> = None;
        for object in objects {
            let known = entries.iter().filter(|e| object.get(&e.name).is_some()).count();
            let mut trial = Check { doc: self.doc, schema: self.schema, others: self.others, found: Vec::new() };
            trial.keys(entries, object, path, key);
            let rank = (entries.len() - known, trial.found.len());
            if trial.found.is_empty() {
                return;
            }
            if best.as_ref().is_none_or(|(r, _)| rank < *r) {
                best = Some((rank, trial.found));
            }
        }
        let Some(((unknown, _), found)) = best else { return };
        if unknown < entries.len() || objects.iter().any(|o| matches!(o.others, Others::Each(_))) {
            return self.found.extend(found);
        }
        let mut union: Vec<&str> = objects.iter().flat_map(|o| o.keys.iter().map(|(k, _)| *k)).collect();
        union.sort_unstable();
        union.dedup();
        match entries.is_empty() {
            true => self.tell(key, format!("`{}` is empty", path.name()), Some(one_of(union)), None),
            false => entries.iter().for_each(|e| self.unknown(e, &union, path)),
        }
    }

    fn keys(&mut self, entries: &[Entry], object: &Object, path: &Path, key: &At) {
        let names: Vec<&str> = object.keys.iter().map(|(k, _)| *k).collect();
        let mut misspelt = Vec::new();
        for entry in entries {
            match (object.get(&entry.name), object.others) {
                (Some(schema), _) => self.node(&entry.node, schema, &path.key(&entry.name), &entry.at),
                (None, Others::Anything) => {}
                (None, _) => {
                    misspelt.extend(did_you_mean(&entry.name, names.iter().copied()));
                    self.unknown(entry, &names, path);
                }
            }
        }
        for name in &object.required {
            // A misspelt key has been told already, with its right name.
            let told = misspelt.iter().any(|m| m.contains(&format!("`{name}`")));
            if told || entries.iter().any(|e| e.name == *name) {
                continue;
            }
            let schema = object.get(name).unwrap_or(&Value::Null);
            let about =
                schema.get("description").or(self.schema.resolve(schema).get("description")).and_then(Value::as_str);
            let hint = about.map(|d| d.split("\n\n").next().unwrap_or(d).replace('\n', " "));
            self.tell(key, format!("missing key `{name}`{}", path.within()), Some(self.schema.expected(schema)), hint);
        }
    }

    fn unknown(&mut self, entry: &Entry, names: &[&str], path: &Path) {
        let name = &entry.name;
        let table = matches!(&entry.node.value, Written::Table(_))
            || matches!(&entry.node.value, Written::Array(items) if items.iter().any(|i| i.table().is_some()));
        let what = match path.keys.is_empty() && table {
            true => format!("unknown section [{name}]"),
            false => format!("unknown key `{name}`{}", path.within()),
        };
        let hint = did_you_mean(name, names.iter().copied()).or_else(|| self.elsewhere(name, path));
        let listed = (names.len() <= KEYS_LISTED_MAX && !names.is_empty()).then(|| one_of(names.iter().copied()));
        self.tell(&entry.at, what, listed, hint);
    }

    /// Where else a key of this name is at home.
    fn elsewhere(&self, name: &str, path: &Path) -> Option<String> {
        if let Some((file, _)) = self.others.iter().find(|(_, s)| path.keys.is_empty() && has_key(s, name)) {
            return Some(format!("`{name}` belongs in {file}"));
        }
        let homes = home_of(name, self.schema, path.keys.first().map(String::as_str));
        if homes.iter().any(String::is_empty) {
            return Some(format!("`{name}` belongs at the top of the file, before the first [section]"));
        }
        if !homes.is_empty() {
            return Some(format!("`{name}` belongs in {}", homes.join(" or ")));
        }
        self.others.iter().find_map(|(file, schema)| {
            let homes = home_of(name, schema, None);
            (!homes.is_empty()).then(|| format!("`{name}` belongs in {} of {file}", homes.join(" or ")))
        })
    }
}

/// The key whose word tells alternatives apart, and the words.
fn tag_of<'s>(objects: &[Object<'s>]) -> Option<(&'s str, Vec<&'s str>)> {
    let first = objects.first()?;
    first.keys.iter().find_map(|(name, _)| {
        let words: Option<Vec<&str>> = objects.iter().map(|o| o.get(name)?.get("const")?.as_str()).collect();
        Some((*name, words?))
    })
}

/// Whether a file kind has a key at its top.
fn has_key(schema: &Schema, name: &str) -> bool {
    schema.objects(schema.root()).iter().any(|o| o.keys.iter().any(|(k, _)| *k == name))
}

/// The sections that have a key: `[limits]`, `[listener.NAME]`, `[[channel]]`; empty: the top of the file.
fn home_of(name: &str, schema: &Schema, but: Option<&str>) -> Vec<String> {
    if but.is_some() && has_key(schema, name) {
        return vec![String::new()];
    }
    let tables = |s| {
        let branches = schema.branches(s).into_iter().filter(|b| types(b).contains(&"object"));
        branches.flat_map(|b| schema.objects(b)).collect::<Vec<Object>>()
    };
    let has = |s| tables(s).iter().any(|o| o.keys.iter().any(|(k, _)| *k == name));
    let top = schema.objects(schema.root());
    let sections = top.iter().flat_map(|o| o.keys.iter()).filter(|(section, _)| Some(*section) != but);
    sections
        .filter_map(|(section, s)| {
            let mut each =
                tables(s).into_iter().filter_map(|o| if let Others::Each(s) = o.others { Some(s) } else { None });
            let mut items = schema.branches(s).into_iter().filter_map(|b| b.get("items"));
            match () {
                _ if has(s) => Some(format!("[{section}]")),
                _ if each.any(has) => Some(format!("[{section}.NAME]")),
                _ if items.any(has) => Some(format!("[[{section}]]")),
                _ => None,
            }
        })
        .collect()
}

#[cfg(test)]
#[path = "shape_tests.rs"]
mod tests;
