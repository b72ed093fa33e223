//! Arguments → what is asked for, checked as far as it can be without knowing who asks.

use super::args::Args;
use super::fail::{Fail, Why};
use super::filter::{bounded, filter};
use super::verb::Verb;
use crate::model::{
    ChannelName, Close, Command, ConnectionId, Content, Draft, Filter, Position, Priority, Target, one_of,
};
use crate::policy::Scope;
use bytes::Bytes;
use serde_json::value::RawValue;
use std::ops::RangeInclusive;
use std::sync::Arc;

/// Entries of a listing where the caller names no number, and at most.
pub(super) const LIST: (usize, usize) = (1_000, 10_000);
/// Events of a page of history.
pub(super) const PAGE: (usize, usize) = (100, 1_000);
/// Of `cleanup`.
pub(super) const IDLE_MS: u64 = 300_000;
/// RFC 6455 §5.5: what a close frame has room for.
pub(super) const REASON_BYTES_MAX: usize = 123;
pub(super) const EVENT_BYTES_MAX: usize = 255;
/// RFC 6455 §7.4: those that a close frame may carry.
pub(super) const CODES: [RangeInclusive<u16>; 3] = [1000..=1003, 1007..=1014, 3000..=4999];

/// What is asked for.
#[derive(Debug)]
pub(super) enum Call {
    Do(Command),
    Presence { channel: ChannelName },
    History { channel: ChannelName, since: Option<Position>, limit: usize },
    Channels { pattern: Scope, limit: usize },
    Connections { target: Target, limit: usize },
    Connection { id: ConnectionId },
}

impl Call {
    /// Takes what the verb needs; the caller takes its own and calls `Args::finish`.
    pub fn read(verb: Verb, args: &mut Args<'_>) -> Result<Call, Fail> {
        Ok(match verb {
            Verb::Publish => {
                let mut names = args.texts("channels")?.unwrap_or_default();
                names.extend(args.text("channel")?);
                if names.is_empty() {
                    return Err(Fail::body("`channel` or `channels` is required"));
                }
                bounded("channels", names.len())?;
                let channels = names.iter().map(|n| named(n)).collect::<Result<_, _>>()?;
                let data = required("data", args.raw("data")?)?;
                let draft = Draft {
                    data: text(data),
                    event: name(args, "event")?,
                    key: name(args, "key")?,
                    exclude: connection(args, "exclude")?,
                    priority: priority(args)?,
                };
                Call::Do(Command::Publish { channels, draft })
            }
            Verb::Broadcast => {
                let filter = filter(args)?.unwrap_or_default();
                let target = Target::Filter(Filter { exclude: connection(args, "exclude")?, ..filter });
                Call::Do(Command::Send { target, content: message(args)? })
            }
            Verb::Send => Call::Do(Command::Send { target: target(args)?, content: message(args)? }),
            Verb::Subscribe => Call::Do(Command::Subscribe { target: target(args)?, channel: channel(args)? }),
            Verb::Unsubscribe => Call::Do(Command::Unsubscribe { target: target(args)?, channel: channel(args)? }),
            Verb::Disconnect => {
                let target = match (filter(args)?, args.text("user")?, connection(args, "connection")?) {
                    (Some(filter), None, None) => Target::Filter(filter),
                    (None, Some(user), None) => Target::User(user.into()),
                    (None, None, Some(id)) => Target::Connection(id),
                    _ => return Err(Fail::body("exactly one of `user`, `connection` and `filter` is required")),
                };
                Call::Do(Command::Close { target, close: close(args)? })
            }
            Verb::Cleanup => Call::Do(Command::Cleanup { idle_ms: args.number("idle_ms")?.unwrap_or(IDLE_MS) }),
            Verb::Presence => Call::Presence { channel: channel(args)? },
            Verb::History => {
                let since = args.text("since")?.map(|s| s.parse::<Position>().map_err(|()| s)).transpose();
                let since = since.map_err(|s| Fail::body(format!("`since`: `{s}` is no position such as `e1f:42`")))?;
                Call::History { channel: channel(args)?, since, limit: limit(args, PAGE)? }
            }
            Verb::Channels => {
                let pattern = match args.text("pattern")? {
                    None => Scope::everywhere(),
                    Some(pattern) => Scope::compile(&[pattern], "pattern").map_err(|problems| {
                        Fail::body(problems.into_iter().map(|p| p.what).collect::<Vec<_>>().join("; "))
                    })?,
                };
                Call::Channels { pattern, limit: limit(args, LIST)? }
            }
            Verb::Connections => {
                if let Some(id) = args.text("connection")? {
                    let id = ConnectionId::parse(&id).ok_or_else(|| no_connection(&id))?;
                    return Ok(Call::Connection { id });
                }
                let users = args.text("user")?.map(|user| vec![user.into()]);
                let names =
                    args.texts("channel")?.map(|names| bounded("channel", names.len()).map(|()| names)).transpose()?;
                let channels =
                    names.map(|names| names.iter().map(|n| named(n)).collect::<Result<_, _>>()).transpose()?;
                let target = Target::Filter(Filter { users, channels, ..Filter::default() });
                Call::Connections { target, limit: limit(args, LIST)? }
            }
        })
    }
}

/// The same text whether its form or its connection is unknown: ids are not to be guessed at.
pub(super) fn no_connection(id: &str) -> Fail {
    Fail::new(Why::NotFound, format!("No connection `{}`", id.escape_debug()))
}

fn required<T>(name: &str, value: Option<T>) -> Result<T, Fail> {
    value.ok_or_else(|| Fail::body(format!("`{name}` is required")))
}

/// A copy: what is kept in a history must not keep the whole body that it came in.
fn text(data: &RawValue) -> Bytes {
    Bytes::copy_from_slice(data.get().as_bytes())
}

fn message(args: &mut Args<'_>) -> Result<Content, Fail> {
    let (message, data) = (args.raw("message")?, args.raw("data")?);
    match (message, data) {
        (Some(_), Some(_)) => Err(Fail::body("`message` and `data` are the same thing: one of them")),
        (message, data) => required("message", message.or(data)).map(|raw| Content::Text(text(raw))),
    }
}

fn name(args: &mut Args<'_>, field: &'static str) -> Result<Option<Arc<str>>, Fail> {
    match args.text(field)? {
        Some(text) if text.len() > EVENT_BYTES_MAX => {
            Err(Fail::body(format!("`{field}` has at most {EVENT_BYTES_MAX} bytes")))
        }
        text => Ok(text.map(Arc::from)),
    }
}

fn priority(args: &mut Args<'_>) -> Result<Priority, Fail> {
    let Some(text) = args.text("priority")? else { return Ok(Priority::default()) };
    let expected = || one_of(Priority::ALL.map(Priority::as_str));
    Priority::parse(&text).ok_or_else(|| Fail::body(format!("`priority` must be {}", expected())))
}

fn connection(args: &mut Args<'_>, field: &'static str) -> Result<Option<ConnectionId>, Fail> {
    let Some(id) = args.text(field)? else { return Ok(None) };
    match ConnectionId::parse(&id) {
        Some(id) => Ok(Some(id)),
        None => Err(Fail::body(format!("`{field}`: `{}` is no id of a connection", id.escape_debug()))),
    }
}

fn channel(args: &mut Args<'_>) -> Result<ChannelName, Fail> {
    named(&required("channel", args.text("channel")?)?)
}

/// No class matches a name that is none.
pub(super) fn named(name: &str) -> Result<ChannelName, Fail> {
    ChannelName::parse(name).map_err(|bad| Fail::new(Why::UnknownChannel, format!("`channel`: {bad}")))
}

fn target(args: &mut Args<'_>) -> Result<Target, Fail> {
    match (args.text("user")?, connection(args, "connection")?) {
        (Some(user), None) => Ok(Target::User(user.into())),
        (None, Some(id)) => Ok(Target::Connection(id)),
        _ => Err(Fail::body("exactly one of `user` and `connection` is required")),
    }
}

fn close(args: &mut Args<'_>) -> Result<Close, Fail> {
    // Documented clients come back after any other code: who is shown the door stays out.
    let code = args.number("code")?.unwrap_or(1000);
    let reason = args.text("reason")?.unwrap_or_default();
    let known = u16::try_from(code).ok().filter(|code| CODES.iter().any(|range| range.contains(code)));
    match known {
        None => Err(Fail::body(format!("`code`: {code} is not a code that a close frame may carry"))),
        Some(_) if reason.len() > REASON_BYTES_MAX => {
            Err(Fail::body(format!("`reason` has at most {REASON_BYTES_MAX} bytes")))
        }
        Some(code) => Ok(Close { code, reason: reason.into() }),
    }
}

fn limit(args: &mut Args<'_>, (usual, max): (usize, usize)) -> Result<usize, Fail> {
    let limit = args.number("limit")?.map_or(usual, |n| usize::try_from(n).unwrap_or(usize::MAX));
    Ok(limit.clamp(1, max))
}
