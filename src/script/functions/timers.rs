//! Timers of the entity: `after`, `every`, `cancel`.

use super::super::current::{Raised, raise, with};
use super::super::plugin::Kept;
use super::super::values;
use super::{Shelf, arguments as arg};
use crate::model::did_you_mean;
use rhai::{Dynamic, FnPtr};
use std::sync::Arc;

pub(super) fn add(shelf: &mut Shelf) {
    shelf.group("Timers");
    shelf.function(
        "after",
        "Calls a function of the plugin once, after a while, with the same `this`. `delay`: \"500ms\", \"5s\", \"1h30m\" or \
         milliseconds. `data` is its `event.data`. Its name is the function's unless given; a timer of the same name is \
         replaced.",
        r#"after("30s", "ring_timeout", #{ caller: event.user.id });
after("ring:" + event.user.id, "30s", "ring_timeout", #{ caller: event.user.id });"#,
    );
    forms(shelf, false);
    shelf.function(
        "every",
        "As `after`, again and again, until it is cancelled or its entity is forgotten.",
        r#"every("5s", "send_progress");"#,
    );
    forms(shelf, true);
    shelf.function(
        "cancel",
        "Stops a timer by its name. One that is not there is no mistake.",
        r#"cancel("ring_timeout");"#,
    );
    shelf.form(&["name: string"], "()", |name: &str| {
        with(|call| {
            entity(call.around.entity)?;
            call.keep(Kept::Cancel { name: arg::name(name, "a timer's name")? }, name.len())
        })
    });
}

fn forms(shelf: &mut Shelf, every: bool) {
    shelf.form(&["delay: string | int", "function: string | Fn"], "()", move |delay: Dynamic, function: Dynamic| {
        timer(None, &delay, &function, None, every)
    });
    shelf.form(
        &["delay: string | int", "function: string | Fn", "data: ?"],
        "()",
        move |delay: Dynamic, function: Dynamic, data: Dynamic| timer(None, &delay, &function, Some(&data), every),
    );
    shelf.form(
        &["name: string", "delay: string | int", "function: string | Fn", "data: ?"],
        "()",
        move |name: &str, delay: Dynamic, function: Dynamic, data: Dynamic| {
            timer(Some(name), &delay, &function, Some(&data), every)
        },
    );
}

/// `every` is no busy loop.
const EVERY_MS_MIN: u64 = 10;

fn timer(
    name: Option<&str>,
    delay: &Dynamic,
    function: &Dynamic,
    data: Option<&Dynamic>,
    every: bool,
) -> Result<(), Raised> {
    with(|call| {
        entity(call.around.entity)?;
        let after_ms = arg::duration(delay)?;
        if every && after_ms < EVERY_MS_MIN {
            return Err(raise(format!("`every` takes {EVERY_MS_MIN} ms at least, this is {after_ms} ms")));
        }
        let function: Arc<str> = match function.read_lock::<FnPtr>() {
            Some(f) if f.is_anonymous() || f.is_curried() => {
                return Err(raise("a timer calls a function of the plugin by its name; a closure cannot be kept"));
            }
            Some(f) => f.fn_name().into(),
            None => arg::text(function, "a timer's function")?.as_str().into(),
        };
        if call.plugin.find(&function).is_none() {
            let names = call.plugin.functions().filter(|f| f.arity == 1).map(|f| &*f.name);
            let hint = did_you_mean(&function, names).map(|h| format!("; {h}")).unwrap_or_default();
            return Err(raise(format!("the plugin has no function `{function}(event)`{hint}")));
        }
        let name = match name {
            Some(name) => arg::name(name, "a timer's name")?,
            None => function.clone(),
        };
        let data = match data.filter(|d| !d.is_unit()) {
            Some(data) => values::text(data).map_err(raise)?,
            None => String::new(),
        };
        let bytes = name.len() + function.len() + data.len();
        call.keep(Kept::Timer { name, function, after_ms, every, data }, bytes)
    })
}

fn entity(entity: Option<&str>) -> Result<(), Raised> {
    match entity {
        Some(_) => Ok(()),
        None => Err(raise("timers belong to an entity, and this call has none: give its binding an `entity`")),
    }
}
