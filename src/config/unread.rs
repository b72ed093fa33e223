//! Settings of an app that nothing reads, and secrets that are not there, of files that have other faults too.

use super::doc::{Doc, Entry, Node, Value};
use super::file::AppFile;
use super::secret::Secrets;
use crate::auth::Purpose;
use crate::model::{Fault, Problem, SecretSource};
use std::collections::BTreeSet;

/// `[settings]` keys, and the `[env]` names that set them, of which neither a text of the file nor its plugin makes use.
/// `sources`: the plugin and its modules.
pub fn settings(file: &AppFile, doc: &Doc, sources: &[String]) -> Vec<Problem> {
    let mut read = Some(BTreeSet::new());
    for entry in doc.root.table().unwrap_or_default().iter().filter(|entry| entry.name != "env") {
        texts(&entry.node, &mut |text| named(text, &mut read));
    }
    sources.iter().for_each(|source| named(source, &mut read));
    // Somewhere they are taken as a whole: any of them may be read.
    let Some(read) = read else { return Vec::new() };
    let unread: Vec<&String> = file.settings.keys().filter(|key| !read.contains(key.as_str())).collect();
    let told = |key: &str| format!("nothing reads `settings.{key}`: it has no effect");
    let of_settings = unread.iter().map(|key| Problem::new(format!("settings.{key}"), told(key)));
    let of_env = file.env.iter().filter_map(|(name, target)| {
        let key = target.strip_prefix("settings.")?.split('.').next()?;
        let what = told(key);
        unread.iter().any(|unread| *unread == key).then(|| Problem::new(format!("env.{name}"), what))
    });
    of_settings.chain(of_env).collect()
}

fn texts(node: &Node, each: &mut impl FnMut(&str)) {
    match &node.value {
        Value::Text(text) => each(text),
        Value::Array(nodes) => nodes.iter().for_each(|node| texts(node, each)),
        Value::Table(entries) => entries.iter().for_each(|entry| texts(&entry.node, each)),
        Value::Integer(_) | Value::Float(_) | Value::Boolean(_) => {}
    }
}

/// Keys after `settings.` or in `settings["…"]`; `None` once the whole is used otherwise.
fn named(text: &str, read: &mut Option<BTreeSet<String>>) {
    let word = |c: char| c.is_alphanumeric() || c == '_';
    for (at, _) in text.match_indices("settings") {
        let Some(keys) = read else { return };
        let (before, after) = (&text[..at], &text[at + "settings".len()..]);
        // `my_settings`, `x.settings` and `settings_of` are something else.
        if before.ends_with(|c| word(c) || c == '.') || after.starts_with(word) {
            continue;
        }
        let key = match (after.strip_prefix('.'), after.strip_prefix("[\"")) {
            (Some(rest), _) => {
                rest.split(|c| !(word(c) || c == '-')).next().filter(|key| !rest[key.len()..].starts_with('('))
            }
            (None, Some(rest)) => rest.split_once("\"]").map(|(key, _)| key),
            (None, None) => None,
        };
        match key.filter(|key| !key.is_empty()) {
            Some(key) => drop(keys.insert(key.to_owned())),
            None => *read = None,
        }
    }
}

/// Sections whose `{ env = … }` and `{ file = … }` are secrets.
const SECTIONS: [&str; 6] = ["key", "api_key", "auth", "table", "webhook", "route"];

/// Secrets that a file names and that are not there. Rooms tell their own; this is for sections that no room got to see,
/// because of a mistake beside them: whoever mends files wants to know all that is missing at once.
pub fn secrets(doc: &Doc, secrets: &Secrets, folder: &str, development: bool, known: &[Fault]) -> Vec<Fault> {
    let resolve = secrets.within(folder);
    let mut faults = Vec::new();
    let mut each = |node: &Node, source: SecretSource| {
        let Err(why) = resolve(&source, Purpose::Public) else { return };
        let fault = doc.fault(&node.at, &why);
        let is_told = |other: &Fault| other.file == fault.file && other.line == fault.line || other.what.contains(&why);
        if !known.iter().any(is_told) {
            faults.push(fault);
        }
    };
    for entry in doc.root.table().unwrap_or_default().iter().filter(|e| SECTIONS.contains(&e.name.as_str())) {
        match entry.name.as_str() {
            // `file` of a [table.NAME] holds rows and no secret.
            "table" => {
                let tables = entry.node.table().unwrap_or_default().iter().filter_map(|table| table.node.table());
                tables.flatten().for_each(|entry| sources(&entry.node, development, &mut each));
            }
            "webhook" => {
                let webhooks = entry.node.table().unwrap_or_default().iter().filter_map(|webhook| webhook.node.table());
                webhooks.for_each(|webhook| of_webhook(webhook, development, &mut each));
            }
            _ => sources(&entry.node, development, &mut each),
        }
    }
    faults
}

/// Nothing is signed where nothing is sent: a webhook without an address needs no `secret`.
fn of_webhook(webhook: &[Entry], development: bool, each: &mut impl FnMut(&Node, SecretSource)) {
    let is_off = webhook.iter().any(|entry| entry.name == "url" && entry.node.text() == Some(""));
    for entry in webhook.iter().filter(|entry| !(is_off && entry.name == "secret")) {
        sources(&entry.node, development, each);
    }
}

fn sources(node: &Node, development: bool, each: &mut impl FnMut(&Node, SecretSource)) {
    match &node.value {
        Value::Array(nodes) => nodes.iter().for_each(|node| sources(node, development, each)),
        Value::Table(entries) => match &entries[..] {
            [only] if only.name == "env" && only.node.text().is_some() => {
                each(node, SecretSource::Env(only.node.text().unwrap_or_default().to_owned()));
            }
            [only] if only.name == "file" && only.node.text().is_some() => {
                each(node, SecretSource::File(only.node.text().unwrap_or_default().to_owned()));
            }
            // What is for development alone is not missed elsewhere.
            _ if !development && is_true(node, "development") => {}
            _ => entries.iter().for_each(|entry| sources(&entry.node, development, each)),
        },
        Value::Text(_) | Value::Integer(_) | Value::Float(_) | Value::Boolean(_) => {}
    }
}

fn is_true(node: &Node, name: &str) -> bool {
    node.get(name).is_some_and(|node| matches!(node.value, Value::Boolean(true)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_found_where_they_are_read() {
        let read = |text: &str| {
            let mut read = Some(BTreeSet::new());
            named(text, &mut read);
            read.map(|keys| keys.into_iter().collect::<Vec<_>>().join(" "))
        };
        assert_eq!(read("{settings.url}/x?{settings.port}").as_deref(), Some("port url"));
        assert_eq!(read("if settings.alert_above < n { settings[\"step\"] }").as_deref(), Some("alert_above step"));
        assert_eq!(read("my_settings.a; x.settings.b; settings_of(c)").as_deref(), Some(""));
        for whole in ["let s = settings;", "settings[name]", "settings.keys()", "f(settings)"] {
            assert_eq!(read(whole), None, "{whole}");
        }
    }
}
