//! What cannot change while the gateway runs: a reload that changes it is refused as a whole.

use super::compile::Compiled;
use super::doc::Doc;
use super::file::{GatewayFile, ReloadSettings, Shards};
use crate::api::admin::Restart;
use crate::model::{Fault, Problem};
use crate::observe::{AuditSettings, LogSettings};
use crate::script::Process;
use crate::store;
use std::fmt::Debug;

/// A key whose change needs a restart, and how a reload refuses it.
#[derive(Clone, Debug)]
pub struct Refused {
    pub restart: Restart,
    pub fault: Fault,
}

/// Keys of gateway.toml, each with what is in force and what is written.
///
/// Settings are taken apart field by field: a new one leads the compiler here, to the question whether a reload can change
/// it. One that it cannot and that is not here would be promised by a plan, and never come.
pub fn gateway(file: &GatewayFile, doc: &Doc, previous: &Compiled) -> Vec<Refused> {
    let mut refused = Vec::new();
    let mut same = |key: &str, from: String, to: String| {
        if from != to {
            let what = format!("`{key}` takes a restart to change: `{from}` is in force, `{to}` is written here");
            let fault = doc.locate(&Problem::new(key, what).expected(format!("`{from}`, or a restart")));
            refused.push(Refused { restart: Restart { key: key.into(), from, to }, fault });
        }
    };
    let shards = |n: Option<u16>| n.map_or("auto".to_owned(), |n| n.to_string());
    let written = if let Shards::Fixed(n) = file.shards { Some(n) } else { None };
    same("mode", word(previous.mode), word(file.mode));
    same("shards", shards(previous.shards), shards(written));
    let LogSettings { format, level: _, queue_bytes, refusals: _ } = &file.log;
    same("log.format", word(previous.log.format), word(format));
    same("log.queue_bytes", previous.log.queue_bytes.0.to_string(), queue_bytes.0.to_string());
    let AuditSettings { target, publishes } = &file.audit;
    same("audit.target", previous.audit.target.clone(), target.clone());
    same("audit.publishes", previous.audit.publishes.to_string(), publishes.to_string());
    let Process { workers, queue, queue_bytes } = &file.script.a;
    same("script.workers", previous.script.workers.to_string(), workers.to_string());
    same("script.queue", previous.script.queue.to_string(), queue.to_string());
    same("script.queue_bytes", previous.script.queue_bytes.0.to_string(), queue_bytes.0.to_string());
    let store::Settings { driver, path, queue, queue_bytes, synchronous } = &file.store;
    same("store.driver", word(previous.store.driver), word(driver));
    same("store.path", previous.store.path.clone(), path.clone());
    same("store.queue", previous.store.queue.to_string(), queue.to_string());
    same("store.queue_bytes", previous.store.queue_bytes.0.to_string(), queue_bytes.0.to_string());
    same("store.synchronous", word(previous.store.synchronous), word(synchronous));
    let (old, new) = (&previous.reload, &file.reload);
    let ReloadSettings { watch, debounce, debounce_max, poll_interval, remove_after: _, revoke: _, require_tests: _ } =
        new;
    same("reload.watch", word(old.watch), word(watch));
    for (key, old, new) in [
        ("reload.debounce", old.debounce, debounce),
        ("reload.debounce_max", old.debounce_max, debounce_max),
        ("reload.poll_interval", old.poll_interval, poll_interval),
    ] {
        same(key, format!("{}ms", old.0), format!("{}ms", new.0));
    }
    refused
}

/// A setting's word: variants are written in lower case.
fn word(value: impl Debug) -> String {
    format!("{value:?}").to_lowercase()
}

#[cfg(test)]
mod tests {
    /// README.md's table of what a reload does has a row of what takes a restart.
    #[test]
    fn the_readme_names_every_key_that_takes_a_restart() {
        let (readme, source) = (include_str!("../../README.md"), include_str!("restart.rs"));
        let row = readme.lines().find(|line| line.starts_with('|') && line.contains("| a restart: ")).unwrap();
        let source = source.split("#[cfg(test)]").next().unwrap();
        let keys: Vec<&str> = source.split("same(\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
        assert!(keys.len() > 10, "{keys:?}");
        for key in keys {
            let (section, name) = key.split_once('.').unwrap_or(("", key));
            let whole = row.contains(&format!("`[{section}]`"));
            let in_part = row.contains(&format!("of `[{section}]`")) && !row.contains(&format!("`{name}`"));
            assert!(row.contains(&format!("`{key}`")) || whole && !in_part, "README.md does not say that `{key}` does");
        }
    }
}
