//! What cannot change while the gateway runs: a reload that changes it is refused as a whole.

use super::compile::Compiled;
use super::file::{GatewayFile, Shards};
use crate::api::admin::Restart;
use crate::model::Problem;
use std::fmt::Debug;

impl Restart {
    /// As a reload tells it.
    pub(super) fn problem(&self) -> Problem {
        let Restart { key, from, to } = self;
        let what = format!("`{key}` takes a restart to change: `{from}` is in force, `{to}` is written here");
        Problem::new(key, what).expected(format!("`{from}`, or a restart"))
    }
}

/// Keys of gateway.toml, each with what is in force and what is written.
pub fn gateway(file: &GatewayFile, previous: &Compiled) -> Vec<Restart> {
    let mut restarts = Vec::new();
    let mut same = |key: &str, from: String, to: String| {
        if from != to {
            restarts.push(Restart { key: key.into(), from, to });
        }
    };
    let shards = |n: Option<u16>| n.map_or("auto".to_owned(), |n| n.to_string());
    let written = if let Shards::Fixed(n) = file.shards { Some(n) } else { None };
    same("mode", word(previous.mode), word(file.mode));
    same("shards", shards(previous.shards), shards(written));
    same("log.format", word(previous.log.format), word(file.log.format));
    same("log.queue_bytes", previous.log.queue_bytes.0.to_string(), file.log.queue_bytes.0.to_string());
    same("audit.target", previous.audit.target.clone(), file.audit.target.clone());
    same("audit.publishes", previous.audit.publishes.to_string(), file.audit.publishes.to_string());
    same("script.workers", previous.script.workers.to_string(), file.script.a.workers.to_string());
    same("script.queue", previous.script.queue.to_string(), file.script.a.queue.to_string());
    same("script.queue_bytes", previous.script.queue_bytes.0.to_string(), file.script.a.queue_bytes.0.to_string());
    same("store.driver", word(previous.store.driver), word(file.store.driver));
    same("store.path", previous.store.path.clone(), file.store.path.clone());
    same("store.queue", previous.store.queue.to_string(), file.store.queue.to_string());
    same("store.queue_bytes", previous.store.queue_bytes.0.to_string(), file.store.queue_bytes.0.to_string());
    same("store.synchronous", word(previous.store.synchronous), word(file.store.synchronous));
    let (old, new) = (&previous.reload, &file.reload);
    same("reload.watch", word(old.watch), word(new.watch));
    for (key, old, new) in [
        ("reload.debounce", old.debounce, new.debounce),
        ("reload.debounce_max", old.debounce_max, new.debounce_max),
        ("reload.poll_interval", old.poll_interval, new.poll_interval),
    ] {
        same(key, format!("{}ms", old.0), format!("{}ms", new.0));
    }
    restarts
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
