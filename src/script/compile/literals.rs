//! Texts and numbers in calls that cannot work, whatever the message.

use super::lint::Context;
use super::problem;
use super::signatures::native;
use crate::model::{BadName, ChannelName, did_you_mean, one_of};
use crate::script::functions::{bad_duration, is_metric_name, parse_duration, unknown_webhook};
use crate::script::plugin::PluginProblem;
use rhai::{Expr, FnCallExpr, Position};
use std::sync::Arc;

/// Checks the literals of one call of a host function; the file's own functions of these names are their own business.
pub fn check(context: &Context, call: &FnCallExpr, problems: &mut Vec<PluginProblem>) {
    let (name, args) = (call.name.as_str(), &call.args[..]);
    if context.ast.iter_functions().any(|f| f.name == name && f.params.len() == args.len()) {
        return;
    }
    let mut wrong = |(what, place): (String, Position)| problems.push(problem(&context.source.file, place, what));
    match (name, args) {
        ("publish", [channels, ..]) => match channels {
            Expr::Array(names, _) => names.iter().filter_map(channel).for_each(wrong),
            one => channel(one).into_iter().for_each(wrong),
        },
        ("join" | "leave" | "history" | "presence" | "members", args) => {
            // The channel comes last, before history's count.
            let at = if name == "history" { args.first() } else { args.last() };
            at.and_then(channel).into_iter().for_each(wrong);
        }
        ("duration", [text]) => duration(text).into_iter().for_each(wrong),
        ("set", [_, _, expires]) => duration(expires).into_iter().for_each(wrong),
        ("after" | "every", [delay, function] | [delay, function, _] | [_, delay, function, _]) => {
            duration(delay).into_iter().for_each(&mut wrong);
            if let Some(problem) = timer(context, function) {
                problems.push(problem);
            }
        }
        ("webhook", [Expr::StringConstant(name, place), _]) if !context.webhooks.contains(&name.as_str()) => {
            wrong((unknown_webhook(name, context.webhooks.iter().copied()), *place));
        }
        ("count" | "gauge", [Expr::StringConstant(name, place), ..]) if !is_metric_name(name) => {
            wrong((format!("`{name}` is no metric's name: letters, digits and _, a letter first, 64 at most"), *place));
        }
        ("Fn", [Expr::StringConstant(name, place)]) => problems.extend(pointer(context, name, *place)),
        ("filter", [Expr::Map(fields, _)]) => fields_of_filter(context, fields.0.iter(), problems),
        _ => {}
    }
}

/// The parser makes fractions of whole numbers that are too long for it, and rounds them.
pub fn rounded(text: &str, file: &Arc<str>, place: Position) -> Option<PluginProblem> {
    let line = text.lines().nth(place.line()?.checked_sub(1)?)?;
    let written = line.chars().skip(place.position()?.checked_sub(1)?);
    let written: String = written.take_while(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.')).collect();
    let whole = written.bytes().all(|b| b.is_ascii_digit() || b == b'_');
    let told = || problem(file, place, format!("`{written}` is too long for a whole number, and would be rounded"));
    (whole && !written.is_empty()).then(|| told().expected("9223372036854775807 at most, or a text"))
}

fn channel(name: &Expr) -> Option<(String, Position)> {
    match name {
        Expr::StringConstant(text, place) => {
            ChannelName::check(text).err().map(|why| (format!("`{text}` names no channel: {why}"), *place))
        }
        // Whatever is filled in, an empty segment stays one.
        Expr::InterpolatedString(parts, place) => parts.iter().find_map(|part| match part {
            Expr::StringConstant(text, _) if text.contains("::") => {
                Some((format!("`{text}` is in no channel's name: {}", BadName::EmptySegment), *place))
            }
            _ => None,
        }),
        _ => None,
    }
}

fn duration(value: &Expr) -> Option<(String, Position)> {
    match value {
        Expr::StringConstant(text, place) if parse_duration(text).is_none() => Some((bad_duration(text), *place)),
        Expr::IntegerConstant(ms, place) if *ms < 0 => {
            Some((format!("a duration is not negative, this is {ms} ms"), *place))
        }
        _ => None,
    }
}

/// `Fn("name")`, of the file or of the host.
fn pointer(context: &Context, name: &str, place: Position) -> Option<PluginProblem> {
    let own = || context.ast.iter_functions().map(|f| f.name);
    if own().any(|f| f == name) || native().contains_key(name) {
        return None;
    }
    let known = own().filter(|f| !f.starts_with(super::ANONYMOUS));
    let told = problem(&context.source.file, place, format!("unknown function `{name}`"));
    Some(told.hint_if(did_you_mean(name, known)))
}

/// A timer's function has one parameter.
fn timer(context: &Context, function: &Expr) -> Option<PluginProblem> {
    let Expr::StringConstant(name, place) = function else { return None };
    let known = || context.ast.iter_functions().filter(|f| !f.name.starts_with(super::ANONYMOUS));
    if known().any(|f| f.name == name.as_str() && f.params.len() == 1) {
        return None;
    }
    let told = |what: String| problem(&context.source.file, *place, what);
    Some(match known().find(|f| f.name == name.as_str()) {
        Some(f) => told(format!("a timer's function takes the event: `{name}` takes {} parameters", f.params.len()))
            .expected(format!("`fn {name}(event)`")),
        None => told(format!("a timer's function `{name}` is not in this file"))
            .hint_if(did_you_mean(name, known().filter(|f| f.params.len() == 1).map(|f| f.name))),
    })
}

fn fields_of_filter<'a>(
    context: &Context,
    fields: impl Iterator<Item = &'a (rhai::Ident, Expr)>,
    problems: &mut Vec<PluginProblem>,
) {
    const FIELDS: [&str; 5] = ["users", "connections", "claims", "channels", "exclude"];
    for (field, _) in fields.filter(|(f, _)| !FIELDS.contains(&f.name.as_str())) {
        let what = format!("a filter has no field `{}`", field.name);
        let told = problem(&context.source.file, field.pos, what).expected(one_of(FIELDS));
        problems.push(told.hint_if(did_you_mean(&field.name, FIELDS)));
    }
}
