//! What the environment changes: `WEIR_SECTION__KEY` in `gateway.toml`, `WEIR_APP__NAME__KEY` in an app's `[settings]`,
//! and the names that an app's `[env]` gives to its own settings.
//!
//! A variable's text becomes a value in the tree, of the type that the schema has there; what is wrong with it is told
//! about the variable when the tree is checked.

mod names;
mod value;

use super::doc::{Doc, Node};
use super::schema::{Schema, types};
use super::secret::Environment;
use crate::model::{Fault, did_you_mean};
use serde_json::Value;
use std::collections::BTreeSet;
use value::{like, typed};

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
        names::apply(files, i, env, &mut out);
    }
    for (variable, text) in env {
        let Some(rest) = variable.strip_prefix("WEIR_") else { continue };
        // A script that hands on what is not set, or a Service of this name in the same namespace: not meant as settings.
        if text.trim().is_empty() || is_service_link(variable, text) {
            continue;
        }
        let parts: Vec<String> = rest.split("__").map(str::to_lowercase).collect();
        match &parts[..] {
            [app, name, key @ ..] if app == "app" => app_setting(files, variable, text, name, key, &mut out),
            [one] => top_level(files, variable, text, one, &mut out),
            _ => gateway(files, variable, text, &parts, &mut out),
        }
    }
    out
}

/// What Kubernetes sets in each container for each Service of its namespace (`enableServiceLinks`): for one called `ws`
/// `WS_PORT=tcp://10.96.12.7:80`, `WS_PORT_80_TCP=…`, `WS_PORT_80_TCP_ADDR`, `WS_SERVICE_HOST`, `WS_SERVICE_PORT_HTTP`.
fn is_service_link(variable: &str, text: &str) -> bool {
    let address = ["tcp://", "udp://", "sctp://"].iter().any(|scheme| text.starts_with(scheme));
    let of_port = variable.split_once("_PORT").is_some_and(|(_, rest)| {
        let mut parts = rest.split('_').skip(1);
        let port = parts.next().is_some_and(|port| !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()));
        port && parts.next().is_some_and(|protocol| ["TCP", "UDP", "SCTP"].contains(&protocol))
    });
    let of_service = ["_SERVICE_HOST", "_SERVICE_PORT"].iter().any(|part| variable.contains(part));
    of_port || address && variable.ends_with("PORT") || of_service && !variable.contains("__")
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
    let known: Vec<String> = schema
        .keys_below(&[])
        .into_iter()
        .filter(|k| scalar(k))
        .map(|k| format!("WEIR_{}", k.to_uppercase()))
        .collect();
    if let Some(hint) = did_you_mean(variable, known.iter().map(String::as_str)) {
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
    // [listener.NAME] and the like: the environment changes one that is there and adds none.
    let known = names(files.gateway.root.get(path[0]));
    if path.len() > 2 && schema.keys_below(&path[..1]).is_empty() && !known.contains(&path[1]) {
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
    let near = did_you_mean(path[good], schema.keys_below(&path[..good]));
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

#[cfg(test)]
mod tests;
