//! What is kept and told outside: key-values, webhooks, counters.

use super::super::current::{Current, Raised, Stop, raise, with};
use super::super::failure::FaultKind;
use super::super::meter::go_on;
use super::super::plugin::Kept;
use super::super::{Effect, values};
use super::{Shelf, arguments as arg, is_metric_name};
use crate::model::{did_you_mean, one_of};
use crate::store::{Store, StoreError};
use rhai::{Array, Dynamic};
use std::collections::BTreeSet;

/// Keys that `keys` gives at most.
const KEYS_MAX: usize = 1_000;

pub(super) fn add(shelf: &mut Shelf) {
    shelf.group("Key-value store");
    shelf.function(
        "set",
        "Keeps a value in the app's key-value store, for all its handlers, until it is deleted or `expires`. It is there \
         after a restart.",
        r#"set("last:" + event.user.id, #{ seen: now() });
set("code:" + event.user.id, 4711, "10m");"#,
    );
    shelf.form(&["key: string", "value: ?"], "()", |key: &str, value: Dynamic| set(key, &value, None));
    shelf.form(
        &["key: string", "value: ?", "expires: string | int"],
        "()",
        |key: &str, v: Dynamic, expires: Dynamic| set(key, &v, Some(&expires)),
    );
    // Rhai's own `set(text, position, char)` would be nearer for these types; `get` has one too.
    shelf.form(&["key: string", "value: ?", "expires: string | int"], "()", |key: &str, v: i64, expires: char| {
        set(key, &Dynamic::from_int(v), Some(&expires.into()))
    });
    shelf.function(
        "get",
        "Reads a value back, with this call's own writes; `()` or `default` where there is none.",
        r#"let last = get("last:u1");
let count = get("count", 0);"#,
    );
    shelf.form(&["key: string"], "?", |key: &str| with(|c| Ok(get(c, key)?.unwrap_or(Dynamic::UNIT))));
    shelf.form(&["key: string", "default: ?"], "?", |key: &str, default: Dynamic| {
        with(|c| Ok(get(c, key)?.unwrap_or(default)))
    });
    shelf.form(&["key: string", "default: ?"], "?", |key: &str, default: i64| {
        with(|c| Ok(get(c, key)?.unwrap_or(Dynamic::from_int(default))))
    });
    shelf.function("delete", "Forgets a value.", r#"delete("last:u1");"#);
    shelf.form(&["key: string"], "()", |key: &str| {
        with(|c| {
            store(c)?;
            arg::name(key, "a key")?;
            c.keep(Kept::Delete { key: key.to_owned() }, key.len())
        })
    });
    shelf.function(
        "keys",
        "The keys that begin with `prefix`, in order, 1,000 at most.",
        r#"for key in keys("last:") { delete(key); }"#,
    );
    shelf.form(&["prefix: string"], "array", |prefix: &str| with(|c| keys(c, prefix)));

    shelf.group("Telling others");
    shelf.function(
        "webhook",
        "Sends `body` to a `[webhook.NAME]` of the app's file: after the call, again and again until the other side takes \
         it, over a restart too.",
        r#"webhook("backend", #{ cancelled: 7 });"#,
    );
    shelf.form(&["name: string", "body: ?"], "()", |name: &str, body: Dynamic| with(|c| webhook(c, name, &body)));
    shelf.function(
        "count",
        "Adds to a counter of the app: `weir_app_events_total{app, name}` in /metrics.",
        r#"count("tickets_called");
count("rows", 25);"#,
    );
    shelf.form(&["name: string"], "()", |name: &str| with(|c| count(c, name, 1)));
    shelf.form(&["name: string", "by: int"], "()", |name: &str, by: i64| with(|c| count(c, name, by)));
    shelf.function(
        "gauge",
        "Sets a gauge of the app: `weir_app_value{app, name}` in /metrics.",
        r#"gauge("waiting", 12);"#,
    );
    shelf.form(&["name: string", "value: int | float"], "()", |name: &str, value: Dynamic| {
        with(|c| {
            let value = value.as_float().or_else(|_| value.as_int().map(|v| v as f64));
            let value =
                value.map_err(|actual| raise(format!("a gauge's value is a number, this is {}", arg::typ(actual))))?;
            c.effect(Effect::Gauge { name: metric(name)?.into(), value }, name.len())
        })
    });
}

fn store<'a>(call: &Current<'a>) -> Result<&'a dyn Store, Raised> {
    call.around.store.ok_or_else(|| raise("there is no store: `[store]` of gateway.toml opens one"))
}

fn set(key: &str, value: &Dynamic, expires: Option<&Dynamic>) -> Result<(), Raised> {
    with(|call| {
        store(call)?;
        arg::name(key, "a key")?;
        let value = values::text(value).map_err(raise)?;
        let expires_ms = expires.map(arg::duration).transpose()?;
        let bytes = key.len() + value.len();
        call.keep(Kept::Set { key: key.to_owned(), value, expires_ms }, bytes)
    })
}

fn get(call: &Current, key: &str) -> Result<Option<Dynamic>, Raised> {
    let store = store(call)?;
    go_on()?;
    for kept in call.recorded.borrow().kept.iter().rev() {
        match kept {
            Kept::Set { key: k, value, .. } if k == key => return arg::from_json(value.as_bytes()).map(Some),
            Kept::Delete { key: k } if k == key => return Ok(None),
            _ => {}
        }
    }
    let found = store.get(&call.around.app.name, key, call.around.host.now().wall);
    found.map_err(|e| broken(call, e))?.map(|text| arg::from_json(text.as_bytes())).transpose()
}

fn keys(call: &Current, prefix: &str) -> Result<Array, Raised> {
    let store = store(call)?;
    go_on()?;
    let stored = store.keys(&call.around.app.name, prefix, KEYS_MAX, call.around.host.now().wall);
    let mut keys: BTreeSet<String> = stored.map_err(|e| broken(call, e))?.into_iter().collect();
    for kept in &call.recorded.borrow().kept {
        match kept {
            Kept::Set { key, .. } if key.starts_with(prefix) => drop(keys.insert(key.clone())),
            Kept::Delete { key } => drop(keys.remove(key)),
            _ => {}
        }
    }
    Ok(keys.into_iter().take(KEYS_MAX).map(Dynamic::from).collect())
}

/// A store that does not answer ends the call: what a script would do without it is a guess.
fn broken(call: &Current, error: StoreError) -> Raised {
    let why = match error {
        StoreError::Busy => "it is too busy".to_owned(),
        StoreError::Unavailable(why) | StoreError::Broken(why) => why,
    };
    call.stop(Stop::Fault(FaultKind::Read, format!("the store did not answer: {why}")))
}

fn webhook(call: &Current, name: &str, body: &Dynamic) -> Result<(), Raised> {
    let Some(name) = call.plugin.webhooks.iter().find(|w| &***w == name) else {
        return Err(raise(unknown_webhook(name, call.plugin.webhooks.iter().map(|w| &**w))));
    };
    let body = values::text(body).map_err(raise)?;
    let bytes = body.len();
    call.keep(Kept::Webhook { name: name.clone(), body }, bytes)
}

pub fn unknown_webhook<'a>(name: &str, declared: impl Iterator<Item = &'a str> + Clone) -> String {
    let hint = match did_you_mean(name, declared.clone()) {
        Some(hint) => format!("; {hint}"),
        None if declared.clone().next().is_none() => "; it declares none".to_owned(),
        None => format!("; it declares {}", one_of(declared)),
    };
    format!("the app's file declares no `[webhook.{name}]`{hint}")
}

fn metric(name: &str) -> Result<&str, Raised> {
    if is_metric_name(name) {
        return Ok(name);
    }
    Err(raise(format!("`{name}` is no metric's name: letters, digits and _, a letter first, 64 at most")))
}

fn count(call: &Current, name: &str, by: i64) -> Result<(), Raised> {
    let by = u64::try_from(by).map_err(|_| raise(format!("a counter only grows; {by} is negative")))?;
    call.effect(Effect::Count { name: metric(name)?.into(), by }, name.len())
}
