//! What another reading of the files changes, by name: for those who want to know before it is in force. Pure.
//!
//! It compares what is written, not what became of it, so a section that a room adds later is told apart as well.

use super::app::App;
use super::compile::Compiled;
use super::diff::ListenerChange;
use super::doc::Doc;
use super::written::{self, Said};
use crate::api::admin::{Changes, Group, Item, Setting};
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, LazyLock};

/// Always told, though nothing of the kind changed.
const GROUPS: [&str; 6] = ["listeners", "endpoints", "classes", "routes", "dialects", "handlers"];

/// What the shipped `gateway.toml` says, which a test holds against the defaults in the code.
static DEFAULTS: LazyLock<Value> = LazyLock::new(|| {
    written::value(&Doc::parse("gateway.toml", include_str!("../../gateway.toml"), &mut Vec::new()).root)
});

/// Listeners where a call of the HTTP API without an app's name would be another app's: `reports → none`.
fn default_apps(was: &Compiled, now: &Compiled) -> Vec<Item> {
    let (old, new) = (was.site.default_apps(), now.site.default_apps());
    let word = |app: &Option<&str>| app.unwrap_or("none").to_owned();
    let both = new.iter().filter_map(|(listener, now)| Some((listener, old.get(listener)?, now)));
    let changed = both.filter(|(_, was, now)| was != now);
    changed
        .map(|(listener, was, now)| Item {
            app: None,
            name: (*listener).to_owned(),
            parts: vec![format!("{} → {}", word(was), word(now))],
        })
        .collect()
}

/// The group of `default_apps`.
pub(super) const DEFAULT_APPS: &str = "default_apps";

impl Changes {
    /// Files are for the caller to fill in.
    pub(super) fn between(was: &Compiled, now: &Compiled, listeners: &[ListenerChange]) -> Changes {
        let mut changes = Changes::said(&was.said, &now.said);
        changes.listeners(listeners);
        let defaults = default_apps(was, now);
        if !defaults.is_empty() {
            changes.groups.insert(DEFAULT_APPS.to_owned(), Group { changed: defaults, ..Group::default() });
        }
        for new in &now.apps {
            let old = was.apps.iter().find(|old| old.flow.name == new.flow.name);
            if let Some(old) = old {
                changes.handlers(&new.flow.name, handlers(old, was), handlers(new, now));
            }
        }
        changes
    }

    fn listeners(&mut self, listeners: &[ListenerChange]) {
        let group = self.groups.entry(plural("listener")).or_default();
        for change in listeners {
            let parts = change.parts.iter().map(|part| (*part).to_owned()).collect();
            let item = Item { app: None, name: change.name.clone(), parts };
            match (change.was, change.now) {
                (None, _) => group.added.push(item),
                (Some(_), None) => group.removed.push(item),
                (Some(_), Some(_)) => group.changed.push(item),
            }
        }
    }

    /// A handler is another one where its file is.
    fn handlers(&mut self, app: &str, was: BTreeMap<String, Place>, now: BTreeMap<String, Place>) {
        let item = |name: &str, parts| Item { app: Some(app.to_owned()), name: name.to_owned(), parts };
        let group = self.groups.entry("handlers".to_owned()).or_default();
        for (name, place) in &now {
            match was.get(name) {
                None => group.added.push(item(name, Vec::new())),
                Some(old) if old == place => {}
                Some(_) => group.changed.push(item(name, vec![place.file.clone()])),
            }
        }
        group.removed.extend(was.keys().filter(|name| !now.contains_key(*name)).map(|name| item(name, Vec::new())));
    }

    fn said(was: &Said, now: &Said) -> Changes {
        let mut changes = Changes::default();
        changes.groups.extend(GROUPS.map(|name| (name.to_owned(), Group::default())));
        changes.sections(None, (&was.gateway, &now.gateway), NO_ENDPOINTS, &|_, key| {
            let mut at = DEFAULTS.get(key.first()?)?;
            if is_named(at) {
                return None;
            }
            for key in &key[1..] {
                at = at.get(key)?;
            }
            Some(at.clone())
        });
        for (name, new) in &now.apps {
            let Some(old) = was.apps.get(name) else {
                changes.apps.added.push(name.clone());
                continue;
            };
            if old == new {
                continue;
            }
            changes.apps.changed.push(name.clone());
            // What an app does not say for itself, `gateway.toml` says.
            changes.sections(
                Some(name),
                (old, new),
                (was.endpoints_of(name), now.endpoints_of(name)),
                &|is_now, path| {
                    let [section @ ("limits" | "script"), key] = path else { return None };
                    let gateway = if is_now { &now.gateway } else { &was.gateway };
                    gateway.get(section).and_then(|l| l.get(key)).or_else(|| DEFAULTS.get(section)?.get(key)).cloned()
                },
            );
        }
        changes.apps.removed = was.apps.keys().filter(|name| !now.apps.contains_key(*name)).cloned().collect();
        changes
    }

    /// One file's. `default`: of a key that is not written, in force or now.
    fn sections(
        &mut self,
        app: Option<&str>,
        (was, now): (&Value, &Value),
        endpoints: (&[Arc<str>], &[Arc<str>]),
        default: &dyn Fn(bool, &[&str]) -> Option<Value>,
    ) {
        for key in keys(was, now) {
            let (old, new) = (was.get(key), now.get(key));
            // Listeners are compared as they are listened on.
            if old == new || key == "check" || app.is_none() && key == "listener" {
                continue;
            }
            let either = || old.into_iter().chain(new);
            if either().all(is_list_of_tables) {
                self.group(app, key, (listed(key, old, was, endpoints.0), listed(key, new, now, endpoints.1)));
            } else if either().all(is_named) && !["errors", "settings"].contains(&key) {
                self.group(app, key, (named(old), named(new)));
            } else {
                self.leaves(app, &mut vec![key], (old, new), default);
            }
        }
    }

    fn group(&mut self, app: Option<&str>, key: &str, (was, now): (Named, Named)) {
        let item = |name: &String, parts| Item { app: app.map(str::to_owned), name: name.clone(), parts };
        let group = self.groups.entry(plural(key)).or_default();
        for (id, (name, new)) in &now {
            match was.get(id) {
                None => group.added.push(item(name, Vec::new())),
                Some((_, old)) if old == new => {}
                Some((_, old)) => {
                    let parts = keys(old, new).into_iter().filter(|key| old.get(key) != new.get(key));
                    group.changed.push(item(name, parts.map(str::to_owned).collect()));
                }
            }
        }
        let removed = was.iter().filter(|(id, _)| !now.contains_key(*id));
        group.removed.extend(removed.map(|(_, (name, _))| item(name, Vec::new())));
    }

    fn leaves<'v>(
        &mut self,
        app: Option<&str>,
        path: &mut Vec<&'v str>,
        (was, now): (Option<&'v Value>, Option<&'v Value>),
        default: &dyn Fn(bool, &[&str]) -> Option<Value>,
    ) {
        let table = |v: &Value| v.is_object();
        if was.into_iter().chain(now).all(table) {
            let empty = &Value::Null;
            for key in keys(was.unwrap_or(empty), now.unwrap_or(empty)) {
                path.push(key);
                self.leaves(app, path, (was.and_then(|v| v.get(key)), now.and_then(|v| v.get(key))), default);
                path.pop();
            }
            return;
        }
        let value = |is_now, v: Option<&Value>| v.cloned().or_else(|| default(is_now, path)).unwrap_or_default();
        let (from, to) = (value(false, was), value(true, now));
        if from != to {
            self.settings.push(Setting { app: app.map(str::to_owned), key: path.join("."), from, to });
        }
    }
}

/// Where a handler stands: its file, relative, and what that one holds.
#[derive(PartialEq)]
struct Place {
    file: String,
    digest: Option<String>,
}

/// What an app's plugin offers to be called with an event, by name.
fn handlers(app: &App, compiled: &Compiled) -> BTreeMap<String, Place> {
    let functions = app.flow.handlers.iter().flat_map(|handlers| handlers.script.plugin.functions());
    let place = |file: &str| Place {
        file: Path::new(file).strip_prefix(&compiled.base).unwrap_or(Path::new(file)).display().to_string(),
        digest: compiled.files.get(Path::new(file)).cloned(),
    };
    functions.filter(|f| f.arity == 1).map(|f| (f.name.to_string(), place(&f.file))).collect()
}

/// Of both, each once.
fn keys<'v>(was: &'v Value, now: &'v Value) -> BTreeSet<&'v str> {
    let of = |v: &'v Value| v.as_object().into_iter().flat_map(Map::keys).map(String::as_str);
    of(was).chain(of(now)).collect()
}

fn is_list_of_tables(v: &Value) -> bool {
    v.as_array().is_some_and(|list| !list.is_empty() && list.iter().all(Value::is_object))
}

/// A section of sections: `[listener.NAME]`.
fn is_named(v: &Value) -> bool {
    v.as_object().is_some_and(|table| !table.is_empty() && table.values().all(Value::is_object))
}

/// By what tells them apart: the name that people read, and what is written.
type Named<'v> = BTreeMap<String, (String, &'v Value)>;

/// `gateway.toml` has none.
const NO_ENDPOINTS: (&[Arc<str>], &[Arc<str>]) = (&[], &[]);

fn named(section: Option<&Value>) -> Named<'_> {
    let entries = section.and_then(Value::as_object).into_iter().flatten();
    entries.map(|(name, v)| (name.clone(), (name.clone(), v))).collect()
}

/// The items of a list. `file`: what surrounds them. `endpoints`: what a reload finds endpoints again by; written
/// otherwise, with a host in capitals, it is the same endpoint and its connections stay.
fn listed<'v>(key: &str, list: Option<&'v Value>, file: &Value, endpoints: &[Arc<str>]) -> Named<'v> {
    let items = list.and_then(Value::as_array).into_iter().flatten().enumerate();
    let each = items.map(|(at, item)| {
        let name = name_of(key, at, item, file);
        let id = endpoints.get(at).filter(|_| key == "endpoint").map_or(name.clone(), |key| key.to_string());
        (id, (name, item))
    });
    each.collect()
}

fn name_of(key: &str, at: usize, item: &Value, file: &Value) -> String {
    let text = |key: &str| item.get(key).and_then(Value::as_str);
    let listener = || text("listener").or(file.get("listener").and_then(Value::as_str)).unwrap_or_default();
    match key {
        "endpoint" => {
            let when = item.get("when").map(|when| format!(" when {when}")).unwrap_or_default();
            format!("{} {}{}{when}", listener(), text("host").unwrap_or_default(), text("path").unwrap_or_default())
        }
        "route" => {
            let methods = ["get", "post", "put", "patch", "delete"];
            let found = methods.iter().find_map(|m| Some((m.to_uppercase(), text(m)?)));
            found.map_or_else(|| format!("{at}"), |(method, path)| format!("{method} {} {path}", listener()))
        }
        "timer" => format!("{} every {}", text("handler").unwrap_or_default(), text("every").unwrap_or_default()),
        _ => text("name").map_or_else(|| format!("{at}"), str::to_owned),
    }
}

fn plural(key: &str) -> String {
    match key {
        "channel" => "classes".into(),
        "auth" => "auth".into(),
        "entity" => "entities".into(),
        key => format!("{key}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn said(gateway: &str, app: Option<&str>) -> Said {
        let mut faults = Vec::new();
        let gateway = Doc::parse("gateway.toml", gateway, &mut faults);
        let app = app.map(|text| Doc::parse("channels/a.toml", text, &mut faults));
        assert_eq!(faults, []);
        Said::of(&gateway, app.iter().map(|doc| ("a", doc)), BTreeMap::new())
    }

    fn told(was: (&str, Option<&str>), now: (&str, Option<&str>)) -> Value {
        serde_json::to_value(Changes::said(&said(was.0, was.1), &said(now.0, now.1))).unwrap()
    }

    #[test]
    fn a_setting_is_told_with_its_default() {
        let now = "[limits]\nconnections = 7\ndrain = \"20s\"\n[api_key.main]\nverbs = []\n";
        let told = told(("", None), (now, None));
        assert_eq!(told["settings"], json!([{ "key": "limits.connections", "from": 100_000, "to": 7 }]));
        assert_eq!(told["api_keys"]["added"], json!([{ "name": "main" }]));
    }

    #[test]
    fn an_app_falls_back_on_the_gateway() {
        let app = "listener = \"main\"\n[limits]\nmessage_bytes = \"2KiB\"\n";
        let told = told(("[limits]\nmessage_bytes = \"1KiB\"\n", Some("listener = \"main\"")), ("", Some(app)));
        let wanted = json!([
            { "key": "limits.message_bytes", "from": "1KiB", "to": "1MiB" },
            { "app": "a", "key": "limits.message_bytes", "from": "1KiB", "to": "2KiB" },
        ]);
        assert_eq!((&told["settings"], &told["apps"]["changed"]), (&wanted, &json!(["a"])));
    }

    #[test]
    fn a_class_is_told_with_its_parts_whatever_its_place() {
        let was = "[[channel]]\nname = \"a\"\nsubscribe = \"true\"\n[[channel]]\nname = \"b\"\n";
        let now = "[[channel]]\nname = \"c\"\n[[channel]]\nname = \"a\"\npresence = true\n\
                   [[endpoint]]\nlistener = \"main\"\npath = \"/x\"\n[dialect.d]\ntype = \"t\"\n";
        let told = told(("", Some(was)), ("", Some(now)));
        let wanted = json!({
            "added": [{ "app": "a", "name": "c" }],
            "removed": [{ "app": "a", "name": "b" }],
            "changed": [{ "app": "a", "name": "a", "parts": ["presence", "subscribe"] }],
        });
        assert_eq!(told["classes"], wanted);
        assert_eq!(told["endpoints"]["added"], json!([{ "app": "a", "name": "main /x" }]));
        assert_eq!(told["dialects"]["added"], json!([{ "app": "a", "name": "d" }]));
    }

    #[test]
    fn an_app_that_comes_or_goes_is_only_named() {
        let told_of = told(("", None), ("", Some("[[channel]]\nname = \"a\"\n")));
        assert_eq!((&told_of["apps"]["added"], &told_of["classes"]["added"]), (&json!(["a"]), &json!([])));
        let told_of = told(("", Some("")), ("", None));
        assert_eq!(told_of["apps"]["removed"], json!(["a"]));
    }
}
