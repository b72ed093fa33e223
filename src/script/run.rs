//! Runs one call.

use super::current::{Around, Current, Stop};
use super::failure::{Fault, FaultKind, trace};
use super::plugin::{Failure, Plugin, Ran};
use super::values::{self, State};
use super::{Event, Trigger, subject};
use bytes::Bytes;
use rhai::{CallFnOptions, Dynamic, EvalAltResult, Scope};
use std::panic::{AssertUnwindSafe, catch_unwind};

pub(super) fn run(
    plugin: &Plugin,
    handler: u16,
    state: &mut State,
    event: &Event,
    around: &Around,
) -> Result<Ran, Failure> {
    let (Some(compiled), Some(function)) = (&plugin.compiled, plugin.functions.get(handler as usize)) else {
        return Err(fault(Fault::new(FaultKind::Panic, format!("there is no handler {handler}"))));
    };
    let current = Current::new(plugin, handler, event, around);
    // Built after the meter began: the event counts as memory of the call.
    let told = subject::event(event, &function.reads, around.limits).map_err(Failure::Refused)?;
    let options = CallFnOptions::new().eval_ast(false).rewind_scope(false).bind_this_ptr(&mut state.0);
    let returned = current.during(|| {
        // A panic would be Rhai's or Weir's own; it ends this call and nothing else.
        catch_unwind(AssertUnwindSafe(|| {
            let mut scope = Scope::new();
            let name = &*function.name;
            compiled.engine.call_fn_with_options::<Dynamic>(options, &mut scope, &compiled.ast, name, (told,))
        }))
    });
    let stopped_by_meter = current.meter.met().map(|(kind, what)| Stop::Fault(kind, what));
    let recorded = current.recorded.into_inner();
    // Rhai forgets the place where a bound was met: the handler's own is better than none.
    let here = |fault: Fault| Failure::Fault(Box::new(fault.on_line(&function.file, function.line)));
    let error = match (returned, recorded.stopped.or(stopped_by_meter)) {
        (_, Some(Stop::Refused(refusal))) => return Err(Failure::Refused(refusal)),
        (_, Some(Stop::Fault(kind, what))) => return Err(here(Fault::new(kind, what))),
        (Ok(Ok(value)), None) => {
            let value = match event.trigger {
                Trigger::Publish { .. } | Trigger::Route(_) if !value.is_unit() => Some(values::text(&value)),
                _ => None,
            };
            let wrong =
                |e: String| here(Fault::new(FaultKind::Error, format!("what `{}` returns: {e}", function.name)));
            return Ok(Ran {
                effects: recorded.effects,
                kept: recorded.kept,
                value: value.transpose().map_err(wrong)?.map(Bytes::from),
                reply: recorded.reply,
                left_out: recorded.left_out,
                operations: current.meter.operations(),
            });
        }
        (Ok(Err(error)), None) => error,
        (Err(panic), None) => {
            let text = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
            let what = format!("`{}` met a mistake of the engine: {}", function.name, text.unwrap_or("panic"));
            return Err(here(Fault::new(FaultKind::Panic, what)));
        }
    };
    let at = trace(&error, &compiled.file);
    let (kind, what) = explain(at.error, around.limits);
    let found = Fault::new(kind, said(what, &at.calls)).at(&at.file, at.place);
    Err(if found.line == 0 { here(found) } else { fault(found) })
}

fn fault(fault: Fault) -> Failure {
    Failure::Fault(Box::new(fault))
}

fn said(what: String, calls: &[String]) -> String {
    /// Of a deep recursion nobody reads all.
    const CALLS_MAX: usize = 6;
    let mut what = what;
    for call in calls.iter().take(CALLS_MAX) {
        what.push_str("\n  ");
        what.push_str(call);
    }
    if calls.len() > CALLS_MAX {
        what.push_str(&format!("\n  and {} calls more", calls.len() - CALLS_MAX));
    }
    what
}

/// What kind of fault it is, and its text.
pub(super) fn explain(error: &EvalAltResult, limits: &super::Limits) -> (FaultKind, String) {
    use EvalAltResult as E;
    match error {
        E::ErrorStackOverflow(_) => (
            FaultKind::Depth,
            format!("functions call each other more than {} deep (`call_depth` of [script])", limits.call_depth),
        ),
        E::ErrorTooManyVariables(_) => {
            (FaultKind::Size, format!("more than {} variables (`variables` of [script])", limits.variables))
        }
        E::ErrorDataTooLarge(what, _) => (FaultKind::Size, too_large(what, limits)),
        E::ErrorRuntime(value, _) => (FaultKind::Error, thrown(value)),
        E::ErrorFunctionNotFound(signature, _) => {
            (FaultKind::Error, format!("there is no function `{signature}` for values of these types"))
        }
        E::ErrorUnboundThis(_) => {
            (FaultKind::Error, "`this` is not bound: call the function as `this.name(…)`".to_owned())
        }
        E::ErrorMismatchDataType(wanted, actual, _) => {
            (FaultKind::Error, format!("a value of type {wanted} is needed here, this is {actual}"))
        }
        E::ErrorDotExpr(what, _) => (FaultKind::Error, not_to_be_read(what)),
        other => {
            let mut text = other.to_string();
            // Rhai appends the place, which stands before the text already.
            if let Some(at) = text.rfind(" (line ") {
                text.truncate(at);
            }
            (FaultKind::Error, uncapitalized(&text))
        }
    }
}

/// ``Unknown property 'b' - a getter is not registered for type '()'``, in words.
fn not_to_be_read(what: &str) -> String {
    let mut quoted = what.split('\'').skip(1).step_by(2);
    match (quoted.next(), quoted.next()) {
        (Some(name), Some("()")) => {
            format!("`{name}` is read of something that is missing, `()`; `?.` reads on only where there is something")
        }
        (Some(name), Some(of)) => format!("a value of type {of} has no `{name}`"),
        _ => uncapitalized(what),
    }
}

/// Rhai begins its sentences with a capital; here they follow a place.
pub(super) fn uncapitalized(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |c| c.to_lowercase().chain(chars).collect())
}

fn too_large(what: &str, limits: &super::Limits) -> String {
    let (what, bound, name) = match what {
        "Length of string" => ("a text of more", format!("{} bytes", limits.string_bytes.0), "string_bytes"),
        "Size of object map" => ("a map of more", format!("{} entries", limits.map_items), "map_items"),
        _ => ("an array of more", format!("{} elements", limits.array_items), "array_items"),
    };
    format!("{what} than {bound}, those inside it included (`{name}` of [script])")
}

/// What was thrown, as its author wrote it.
fn thrown(value: &Dynamic) -> String {
    /// Of a text that somebody throws.
    const BYTES_MAX: usize = 1_000;
    let mut text = match value.as_immutable_string_ref() {
        Ok(text) => text.to_string(),
        Err(_) => format!("thrown: {}", values::text(value).unwrap_or_else(|_| value.to_string())),
    };
    if text.len() > BYTES_MAX {
        text.truncate(text.floor_char_boundary(BYTES_MAX));
        text.push('…');
    }
    text
}
