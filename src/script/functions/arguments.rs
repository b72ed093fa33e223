//! Reads what scripts pass.

use super::super::current::{Raised, raise};
use super::super::subject::{ConnectionValue, TargetValue, UserValue};
use super::super::values;
use crate::model::{ChannelName, ConnectionId, Filter, Ms, Target, did_you_mean, one_of};
use bytes::Bytes;
use rhai::{Dynamic, ImmutableString, Map};
use serde_json::Value;
use std::sync::Arc;

/// Of names that scripts make: timers, keys, counters.
pub const NAME_BYTES_MAX: usize = 200;

pub fn text(value: &Dynamic, what: &str) -> Result<ImmutableString, Raised> {
    match value.as_immutable_string_ref() {
        Ok(text) => Ok(text.clone()),
        Err(actual) => Err(raise(format!("{what} is a text, this is {}", typ(actual)))),
    }
}

/// A type's name, as people call it.
pub fn typ(name: &str) -> &str {
    match name {
        "()" => "missing: ()",
        "i64" => "a whole number",
        "f64" => "a number with a fraction",
        "bool" => "a truth value",
        "map" => "a map",
        "array" => "an array",
        "string" => "a text",
        "Fn" => "a function",
        other => other,
    }
}

pub fn channel(text: &str) -> Result<ChannelName, Raised> {
    ChannelName::parse(text).map_err(|why| raise(format!("`{text}` names no channel: {why}")))
}

/// One name, or an array of them.
pub fn channels(value: &Dynamic) -> Result<Vec<ChannelName>, Raised> {
    if let Ok(name) = value.as_immutable_string_ref() {
        return Ok(vec![channel(&name)?]);
    }
    let Ok(names) = value.as_array_ref() else {
        let actual = typ(value.type_name()).to_owned();
        return Err(raise(format!("a channel is a text or an array of texts, this is {actual}")));
    };
    names.iter().map(|name| channel(&text(name, "a channel's name")?)).collect()
}

/// JSON text of what is sent.
pub fn data(value: &Dynamic) -> Result<Bytes, Raised> {
    values::message(|out| values::write(value, out)).map_err(raise)
}

pub fn name(value: &str, what: &str) -> Result<Arc<str>, Raised> {
    if value.is_empty() || value.len() > NAME_BYTES_MAX || value.chars().any(char::is_control) {
        return Err(raise(format!("{what} has 1 to {NAME_BYTES_MAX} bytes and no control characters")));
    }
    Ok(value.into())
}

/// Letters, digits and `_`, a letter first.
pub fn is_metric_name(name: &str) -> bool {
    name.len() <= 64
        && name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// `"5s"`, or milliseconds.
pub fn duration(value: &Dynamic) -> Result<u64, Raised> {
    if let Ok(ms) = value.as_int() {
        return u64::try_from(ms).map_err(|_| raise(format!("a duration is not negative, this is {ms} ms")));
    }
    if let Ok(text) = value.as_immutable_string_ref() {
        return parse_duration(&text).ok_or_else(|| raise(bad_duration(&text)));
    }
    Err(raise(format!("a duration is a text such as \"5s\" or milliseconds, this is {}", typ(value.type_name()))))
}

pub fn bad_duration(text: &str) -> String {
    format!("`{text}` is no duration: write \"500ms\", \"5s\", \"10m\" or \"1h30m\"")
}

/// As files write durations, and several after each other: `"1h30m"`.
pub fn parse_duration(text: &str) -> Option<u64> {
    if let Some(ms) = Ms::parse(text) {
        return Some(ms.0);
    }
    let (mut rest, mut sum) = (text.trim(), 0u64);
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let unit = rest.find(|c: char| c.is_ascii_alphabetic())?;
        let end = rest[unit..].find(|c: char| !c.is_ascii_alphabetic()).map_or(rest.len(), |n| unit + n);
        sum = sum.checked_add(Ms::parse(&rest[..end])?.0)?;
        rest = rest[end..].trim_start();
    }
    Some(sum)
}

/// A connection: `event.connection`, or its id.
pub fn connection(value: &Dynamic) -> Result<ConnectionId, Raised> {
    if let Some(connection) = value.read_lock::<ConnectionValue>() {
        return Ok(connection.0.id);
    }
    match value.as_immutable_string_ref() {
        Ok(id) => ConnectionId::parse(&id).ok_or_else(|| raise(format!("`{}` is no connection's id", *id))),
        Err(actual) => Err(raise(format!("a connection is `event.connection` or its id, this is {}", typ(actual)))),
    }
}

/// Whom something is for.
pub fn target(value: &Dynamic) -> Result<Target, Raised> {
    if let Some(target) = value.read_lock::<TargetValue>() {
        return Ok(target.0.clone());
    }
    if let Some(user) = value.read_lock::<UserValue>() {
        let Some(id) = &user.0.user else { return Err(raise("this user is not known: it has no id")) };
        return Ok(Target::User(id.clone()));
    }
    connection(value).map(Target::Connection).map_err(|_| {
        let actual = match value.as_immutable_string_ref() {
            Ok(text) => format!("the text `{}`, which is no connection's id", *text),
            Err(actual) => typ(actual).to_owned(),
        };
        raise(format!(
            "a target is `event.connection`, a connection's id, `user(id)`, `filter(#{{ … }})` or `everyone()`; this is {actual}"
        ))
    })
}

/// Alternatives: one value, or an array of them.
fn several(value: &Dynamic) -> Vec<Dynamic> {
    match value.as_array_ref() {
        Ok(values) => values.clone(),
        Err(_) => vec![value.clone()],
    }
}

/// The map of `filter`. An empty array passes nobody: it was computed, and found none.
pub fn filter(map: &Map) -> Result<Filter, Raised> {
    const KEYS: [&str; 5] = ["users", "connections", "claims", "channels", "exclude"];
    let mut filter = Filter::default();
    for (key, value) in map {
        let given = several(value);
        if given.is_empty() {
            return Err(raise(format!(
                "`{key}` of a filter is empty, which would pass nobody: leave it out to pass all"
            )));
        }
        match key.as_str() {
            "users" => {
                for user in &given {
                    let id = match target(user) {
                        Ok(Target::User(id)) => id,
                        _ => text(user, "a user's id")?.as_str().into(),
                    };
                    filter.users.get_or_insert_default().push(id);
                }
            }
            "connections" => filter.connections = Some(given.iter().map(connection).collect::<Result<_, _>>()?),
            "channels" => filter.channels = Some(channels(value)?),
            "exclude" => filter.exclude = Some(connection(value)?),
            "claims" => {
                let Ok(claims) = value.as_map_ref() else {
                    return Err(raise("`claims` of a filter is a map: #{ role: [\"admin\"] }"));
                };
                if claims.is_empty() {
                    return Err(raise("`claims` of a filter is empty, which would pass all: leave it out for that"));
                }
                for (claim, wanted) in claims.iter() {
                    if wanted.is_unit() {
                        return Err(raise(format!("the claim `{claim}` of a filter is missing: ()")));
                    }
                    let wanted = several(wanted).iter().map(json).collect::<Result<Vec<Value>, _>>()?;
                    if wanted.is_empty() {
                        return Err(raise(format!(
                            "the claim `{claim}` of a filter has no values, which would pass nobody"
                        )));
                    }
                    filter.claims.push((claim.to_string(), wanted));
                }
            }
            other => {
                let hint = did_you_mean(other, KEYS).map(|h| format!("; {h}")).unwrap_or_default();
                return Err(raise(format!("a filter has {}, not `{other}`{hint}", one_of(KEYS))));
            }
        }
    }
    if !filter.narrows() && filter.exclude.is_none() {
        return Err(raise("a filter that names nothing would pass all: write `everyone()` for that"));
    }
    Ok(filter)
}

fn json(value: &Dynamic) -> Result<Value, Raised> {
    let text = values::text(value).map_err(raise)?;
    serde_json::from_str(&text).map_err(|e| raise(e.to_string()))
}

/// From JSON text of the gateway's own; Err beyond what one value may hold.
pub fn from_json(text: &[u8]) -> Result<Dynamic, Raised> {
    values::parse_within(text, &mut values::Room::of_run()).map_err(|e| raise(e.to_string()))
}
