//! What cannot change while the gateway runs: a reload that changes it is refused as a whole.

use super::compile::Compiled;
use super::file::{GatewayFile, Shards};
use crate::model::Problem;
use std::fmt::Debug;

/// Keys of gateway.toml, each with what is in force and what is written.
pub fn gateway(file: &GatewayFile, previous: &Compiled) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut same = |key: &str, old: String, new: String| {
        if old != new {
            let what = format!("`{key}` takes a restart to change: `{old}` is in force, `{new}` is written here");
            problems.push(Problem::new(key, what).expected(format!("`{old}`, or a restart")));
        }
    };
    let shards = |n: Option<u16>| n.map_or("auto".to_owned(), |n| n.to_string());
    let written = if let Shards::Fixed(n) = file.shards { Some(n) } else { None };
    same("mode", word(previous.mode), word(file.mode));
    same("shards", shards(previous.shards), shards(written));
    same("log.format", word(previous.log.format), word(file.log.format));
    same("audit.target", previous.audit.target.clone(), file.audit.target.clone());
    same("audit.publishes", previous.audit.publishes.to_string(), file.audit.publishes.to_string());
    same("script.workers", previous.script.workers.to_string(), file.script.a.workers.to_string());
    same("script.queue", previous.script.queue.to_string(), file.script.a.queue.to_string());
    same("script.queue_bytes", previous.script.queue_bytes.0.to_string(), file.script.a.queue_bytes.0.to_string());
    same("store.driver", word(previous.store.driver), word(file.store.driver));
    same("store.path", previous.store.path.clone(), file.store.path.clone());
    same("store.queue", previous.store.queue.to_string(), file.store.queue.to_string());
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
    problems
}

/// A setting's word: variants are written in lower case.
fn word(value: impl Debug) -> String {
    format!("{value:?}").to_lowercase()
}
