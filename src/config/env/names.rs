//! An app's `[env]`: the names that its documents use, and the settings that they set.

use super::super::doc::{Doc, Node, Value as Written};
use super::super::schema::{Schema, types};
use super::super::secret::Environment;
use super::value::{like, node, typed};
use super::{Applied, Files, fault, is_service_link, names};
use crate::model::{Fault, did_you_mean};

/// Applies one app's names. Every target is checked, set or not: a slip is found before the variable is needed.
pub fn apply(files: &mut Files, app: usize, env: &Environment, out: &mut Applied) {
    let entries = files.apps[app].1.root.get("env").and_then(Node::table).unwrap_or_default().to_vec();
    for entry in entries {
        let Some(target) = entry.node.text() else { continue };
        let path: Vec<&str> = target.split('.').collect();
        let set = env.get(&entry.name).filter(|t| !t.trim().is_empty()).map(|text| Set { variable: &entry.name, text });
        let set = set.filter(|set| {
            let link = set.text.contains("://") && is_service_link(set.variable, set.text);
            if link {
                let told = fault(set.variable, format!("`{}` is ignored: Kubernetes sets it for a Service", set.text));
                out.warnings
                    .push(told.hint("`enableServiceLinks: false` in the pod's spec, or another name for the Service"));
            }
            !link
        });
        let doc = &mut files.apps[app].1;
        let told = match &path[..] {
            // Documents name it, and there is nothing here that it could change.
            [""] => {
                if let Some(set) = set {
                    out.warnings.push(
                        fault(set.variable, "this variable has no effect")
                            .hint(format!("{} knows it only because documents name it", files.apps[app].1.file)),
                    );
                }
                continue;
            }
            ["listener", name, "port"] => port(files.gateway, name, set),
            ["listener", ..] => Err(wrong("an app changes a listener's port alone").expected("`listener.NAME.port`")),
            [_] | [] => {
                Err(wrong(format!("`{target}` is no setting")).expected("a path such as `limits.message_bytes`"))
            }
            path => own(doc, files.app_schema, path, set),
        };
        match told {
            Ok(true) => drop(out.used.insert(entry.name)),
            Ok(false) => {}
            Err(told) if &*told.file == Fault::ENVIRONMENT => out.faults.push(told),
            Err(told) => {
                let at = files.apps[app].1.fault(&entry.node.at, "");
                out.faults.push(Fault { file: at.file, line: at.line, column: at.column, ..told });
            }
        }
    }
}

/// A variable that is set.
struct Set<'e> {
    variable: &'e str,
    text: &'e str,
}

/// A fault of the entry, whose place the caller knows.
fn wrong(what: impl Into<String>) -> Fault {
    Fault::of_file("", what)
}

fn port(gateway: &mut Doc, name: &str, set: Option<Set>) -> Result<bool, Fault> {
    let known = names(gateway.root.get("listener"));
    if !known.contains(&name) {
        let hint = did_you_mean(name, known.iter().copied());
        return Err(Fault { hint, ..wrong(format!("unknown listener `{name}`")) });
    }
    let Some(set) = set else { return Ok(false) };
    let port: u16 = set.text.trim().parse().map_err(|_| {
        fault(set.variable, format!("`{}` is no port", set.text)).expected("a whole number from 0 to 65535")
    })?;
    let path = ["listener", name, "address"];
    let address = path.iter().try_fold(&gateway.root, |n, k| n.get(k)).and_then(Node::text);
    let Some((host, _)) = address.and_then(|a| a.rsplit_once(':')) else { return Ok(false) };
    let address = Written::Text(format!("{host}:{port}"));
    Ok(gateway.root.set(&path, node(address, set.variable)))
}

fn own(doc: &mut Doc, schema: &Schema, path: &[&str], set: Option<Set>) -> Result<bool, Fault> {
    let at = schema.below(path);
    let there = |upto: usize| path[..upto].iter().try_fold(&doc.root, |n, k| n.get(k));
    let old = there(path.len()).cloned();
    // A table without a schema (the app's settings) has what the file says and no more.
    let free = at.iter().all(|s| schema.branches(s).iter().all(|b| types(b).is_empty()));
    // A section with a name of the app's own, such as [auth.hmac], must be there; [limits] need not.
    let named = path.len() > 2 && there(path.len() - 1).is_none();
    if free && old.is_none() || named {
        // Of the nearest place that has names at all, in the file or by the schema.
        let known = (0..path.len()).rev().find_map(|depth| {
            let mut known = names(there(depth));
            known.extend(schema.keys_below(&path[..depth]));
            (!known.is_empty()).then_some((depth, known))
        });
        let (depth, known) = known.unwrap_or_default();
        let hint = did_you_mean(path[depth], known).filter(|h| !h.contains(&format!("`{}`", path[depth])));
        return Err(Fault { hint, ..wrong(format!("there is no `{}` in this file", path.join("."))) });
    }
    let Some(set) = set else { return Ok(false) };
    let value = match old {
        Some(old) if free => like(set.text, &old, set.variable).map_err(|expected| {
            fault(set.variable, format!("`{}` cannot be `{}`", path[path.len() - 1], set.text)).expected(expected)
        })?,
        _ => typed(set.text, &at, schema, set.variable),
    };
    Ok(doc.root.set(path, value))
}
