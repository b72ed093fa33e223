//! What the environment changes: `WEIR_SECTION__KEY` in `gateway.toml`, `WEIR_APP__NAME__KEY` in an app's `[settings]`,
//! and the names that an app's `[env]` gives to its own settings.
//!
//! A variable's text becomes a value in the tree, of the type that the schema has there; what is wrong with it is told
//! about the variable when the tree is checked.

use super::doc::{At, Doc, Node, Value as Written};
use super::fault::Fault;
use super::schema::{Schema, types};
use super::secret::Environment;
use crate::model::did_you_mean;
use serde_json::Value;
use std::collections::BTreeSet;

/// The files as read, about to be changed by the environment.
pub struct Files<'f> {
    pub gateway: &'f mut Doc,
    pub gateway_schema: &'f Schema,
    /// Name and file.
    pub apps: &'f mut [(String, Doc)],
    pub app_schema: &'f Schema,
}

/// What came of it.
#[derive(Default)]
pub struct Applied {
    pub faults: Vec<Fault>,
    pub warnings: Vec<Fault>,
    /// Variables that changed something.
    pub used: BTreeSet<String>,
}

/// Applies the environment: an app's own names first, so that `WEIR_…` has the last word.
pub fn apply(files: &mut Files, env: &Environment) -> Applied {
    let mut out = Applied::default();
    for i in 0..files.apps.len() {
        app_names(files, i, env, &mut out);
    }
    for (variable, text) in env {
        let Some(rest) = variable.strip_prefix("WEIR_") else { continue };
        let parts: Vec<String> = rest.split("__").map(str::to_lowercase).collect();
        match &parts[..] {
            [app, name, key @ ..] if app == "app" => app_setting(files, variable, text, name, key, &mut out),
            [one] => top_level(files, variable, text, one, &mut out),
            _ => gateway(files, variable, text, &parts, &mut out),
        }
    }
    out
}

/// A value of the type that the schema has at that place.
fn typed(text: &str, at: &[&Value], schema: &Schema, variable: &str) -> Node {
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

fn node(value: Written, variable: &str) -> Node {
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

fn fault(variable: &str, what: impl std::fmt::Display) -> Fault {
    Fault::of_file(Fault::ENVIRONMENT, format!("{variable}: {what}"))
}

/// The names that are there, for a name in which case and dashes are lost.
fn spelled<'n>(lower: &str, names: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    names.into_iter().find(|n| n.to_lowercase().replace('-', "_") == lower.replace('-', "_"))
}

fn names(node: Option<&Node>) -> Vec<&str> {
    node.and_then(Node::table).into_iter().flatten().map(|e| e.name.as_str()).collect()
}

/// `WEIR_MODE`: a key at the top of the file. Other single words (`WEIR_API_KEY`) may be secrets and are not settings.
fn top_level(files: &mut Files, variable: &str, text: &str, key: &str, out: &mut Applied) {
    let schema = files.gateway_schema;
    let scalar = |k: &str| {
        let at = schema.below(&[k]);
        let branches: Vec<&Value> = at.into_iter().flat_map(|s| schema.branches(s)).collect();
        !branches.is_empty() && !branches.iter().any(|b| types(b).contains(&"object"))
    };
    if scalar(key) {
        let value = typed(text, &schema.below(&[key]), schema, variable);
        files.gateway.root.set(&[key], value);
        out.used.insert(variable.to_owned());
        return;
    }
    let keys: Vec<&str> = schema
        .objects(schema.root())
        .iter()
        .flat_map(|o| o.keys.iter().map(|(k, _)| *k))
        .filter(|k| scalar(k))
        .collect();
    if let Some(hint) = did_you_mean(
        &format!("WEIR_{}", key.to_uppercase()),
        keys.iter().map(|k| format!("WEIR_{}", k.to_uppercase())).collect::<Vec<_>>().iter().map(String::as_str),
    ) {
        out.warnings.push(fault(variable, "this variable sets nothing").hint(hint));
    }
}

/// `WEIR_LISTENER__MAIN__ADDRESS`: any key of `gateway.toml`.
fn gateway(files: &mut Files, variable: &str, text: &str, parts: &[String], out: &mut Applied) {
    let schema = files.gateway_schema;
    let mut path: Vec<String> = Vec::new();
    for part in parts {
        // As the file spells it, so that WEIR_LISTENER__EU_WEST__ADDRESS reaches [listener.eu-west].
        let at = path.iter().try_fold(&files.gateway.root, |n, k| n.get(k));
        path.push(spelled(part, names(at).into_iter()).unwrap_or(part).to_owned());
    }
    let path: Vec<&str> = path.iter().map(String::as_str).collect();
    let at = schema.below(&path);
    if at.is_empty() {
        return out.faults.push(unknown(schema, variable, &path));
    }
    if path.len() > 2
        && ["listener", "key", "api_key"].contains(&path[0])
        && files.gateway.root.get(path[0]).and_then(|s| s.get(path[1])).is_none()
    {
        let known = names(files.gateway.root.get(path[0]));
        let hint = did_you_mean(path[1], known.iter().copied());
        let fault = fault(variable, format!("{} has no [{}.{}]", files.gateway.file, path[0], path[1]));
        return out.faults.push(Fault { hint, ..fault });
    }
    let value = typed(text, &at, schema, variable);
    if !files.gateway.root.set(&path, value) {
        return out.faults.push(fault(variable, format!("`{}` is not a table in {}", path[0], files.gateway.file)));
    }
    out.used.insert(variable.to_owned());
}

fn unknown(schema: &Schema, variable: &str, path: &[&str]) -> Fault {
    let good = (0..path.len()).rev().find(|n| !schema.below(&path[..*n]).is_empty()).unwrap_or(0);
    let keys: Vec<&str> = schema
        .below(&path[..good])
        .into_iter()
        .flat_map(|s| schema.branches(s))
        .flat_map(|b| schema.objects(b))
        .flat_map(|o| o.keys)
        .map(|(k, _)| k)
        .collect();
    let near = did_you_mean(path[good], keys.iter().copied());
    let hint = near.and_then(|n| {
        let mut path: Vec<String> = path.iter().map(|p| p.to_uppercase()).collect();
        path[good] = n.split('`').nth(1)?.to_uppercase();
        Some(format!("did you mean `WEIR_{}`?", path.join("__")))
    });
    let within = if good == 0 { String::new() } else { format!(" in [{}]", path[..good].join(".")) };
    Fault {
        hint,
        ..fault(variable, format!("unknown {} `{}`{within}", if good == 0 { "section" } else { "key" }, path[good]))
    }
}

/// `WEIR_APP__TELEHEALTH__RING_MS`: a setting that the app's file has, of the type that it has there.
fn app_setting(files: &mut Files, variable: &str, text: &str, name: &str, key: &[String], out: &mut Applied) {
    let known: Vec<String> = files.apps.iter().map(|(n, _)| n.clone()).collect();
    let Some(app) = spelled(name, known.iter().map(String::as_str)) else {
        let hint = did_you_mean(name, known.iter().map(String::as_str));
        return out.faults.push(Fault { hint, ..fault(variable, format!("there is no app `{name}`")) });
    };
    let Some((_, doc)) = files.apps.iter_mut().find(|(n, _)| n == app) else { return };
    let mut path = vec!["settings".to_owned()];
    let mut at = doc.root.get("settings");
    for part in key {
        let known = names(at);
        let Some(found) = spelled(part, known.iter().copied()) else {
            let hint = did_you_mean(part, known.iter().copied());
            return out
                .faults
                .push(Fault { hint, ..fault(variable, format!("{} has no setting `{}`", doc.file, key.join("."))) });
        };
        path.push(found.to_owned());
        at = at.and_then(|n| n.get(found));
    }
    let Some(old) = at.filter(|_| !key.is_empty()) else {
        return out
            .faults
            .push(fault(variable, "no setting is named").expected(format!("WEIR_APP__{}__KEY", name.to_uppercase())));
    };
    match like(text, old, variable) {
        Ok(value) => {
            doc.root.set(&path.iter().map(String::as_str).collect::<Vec<_>>(), value);
            out.used.insert(variable.to_owned());
        }
        Err(expected) => {
            out.faults.push(fault(variable, format!("`{}` cannot be `{text}`", key.join("."))).expected(expected))
        }
    }
}

/// A text as a value of the type of the one that it replaces.
fn like(text: &str, old: &Node, variable: &str) -> Result<Node, &'static str> {
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

/// An app's `[env]`: every target is checked, set or not, so that a slip is found before the variable is needed.
fn app_names(files: &mut Files, app: usize, env: &Environment, out: &mut Applied) {
    let doc = &files.apps[app].1;
    let entries = doc.root.get("env").and_then(Node::table).unwrap_or_default().to_vec();
    for entry in entries {
        let Some(target) = entry.node.text() else { continue };
        let parts: Vec<&str> = target.split('.').collect();
        let text = env.get(&entry.name).filter(|t| !t.is_empty());
        let doc = &mut files.apps[app].1;
        let told = match &parts[..] {
            ["listener", name, "port"] => port(files.gateway, name, &entry.name, text),
            ["listener", ..] => Err((
                "an app changes a listener's port alone".to_owned(),
                Some("`listener.NAME.port`".to_owned()),
                None,
            )),
            [_] | [] => Err((
                format!("`{target}` is no setting"),
                Some("a path such as `limits.message_bytes`".to_owned()),
                None,
            )),
            path => own(doc, files.app_schema, path, &entry.name, text),
        };
        match told {
            Ok(true) => drop(out.used.insert(entry.name)),
            Ok(false) => {}
            Err((what, expected, hint)) => {
                let at = files.apps[app].1.fault(&entry.node.at, what);
                out.faults.push(Fault { expected, hint, ..at });
            }
        }
    }
}

/// What is wrong with a target: what, expected, hint.
type Wrong = (String, Option<String>, Option<String>);

fn port(gateway: &mut Doc, name: &str, variable: &str, text: Option<&String>) -> Result<bool, Wrong> {
    let known = names(gateway.root.get("listener"));
    if !known.contains(&name) {
        let hint = did_you_mean(name, known.iter().copied());
        return Err((format!("unknown listener `{name}`"), None, hint));
    }
    let Some(text) = text else { return Ok(false) };
    let Some(host) = gateway.root.nearest_text(&["listener", name, "address"]).and_then(|a| a.rsplit_once(':')) else {
        return Ok(false);
    };
    // A port that is none is told when the listener's address is read.
    let address = format!("{}:{}", host.0, text.trim());
    Ok(gateway.root.set(&["listener", name, "address"], node(Written::Text(address), variable)))
}

fn own(doc: &mut Doc, schema: &Schema, path: &[&str], variable: &str, text: Option<&String>) -> Result<bool, Wrong> {
    // What the app's file says in a table without a schema (its settings) must be there already.
    let old = path.iter().try_fold(&doc.root, |n, k| n.get(k)).cloned();
    let at = schema.below(path);
    let parent = path[..path.len() - 1].iter().try_fold(&doc.root, |n, k| n.get(k));
    let free = at.iter().all(|s| schema.branches(s).iter().all(|b| types(b).is_empty()));
    if at.is_empty() && !(path[0] == "settings" && old.is_some())
        || free && old.is_none()
        || parent.is_none() && path.len() > 2
    {
        let known = names(parent);
        let keys: Vec<&str> = schema
            .below(&path[..path.len() - 1])
            .into_iter()
            .flat_map(|s| schema.branches(s))
            .flat_map(|b| schema.objects(b))
            .flat_map(|o| o.keys)
            .map(|(k, _)| k)
            .collect();
        let hint = did_you_mean(path[path.len() - 1], known.into_iter().chain(keys));
        return Err((format!("there is no `{}` in this file", path.join(".")), None, hint));
    }
    let Some(text) = text else { return Ok(false) };
    let value = match old {
        Some(old) if free => like(text, &old, variable)
            .map_err(|expected| (format!("{variable} cannot be `{text}`"), Some(expected.to_owned()), None))?,
        _ => typed(text, &at, schema, variable),
    };
    Ok(doc.root.set(path, value))
}

impl Node {
    fn nearest_text(&self, path: &[&str]) -> Option<&str> {
        path.iter().try_fold(self, |n, k| n.get(k))?.text()
    }
}
