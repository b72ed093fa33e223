//! What placeholders stand for, and where each may stand.

use super::settings::Send;
use crate::model::{Problem, did_you_mean, one_of};
use serde_json::Value;

/// What is sent to one connection. In the order of `Answer`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Hello,
    Pong,
    Status,
    Subscribed,
    SubscribeResult,
    Unsubscribed,
    UnsubscribeResult,
    Published,
    Error,
    History,
    Presence,
    Authenticated,
    Reply,
    Expiring,
    Gap,
    Revoked,
    Shutdown,
}

/// A placeholder of what is sent to one connection.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Place {
    ConnectionId,
    ConnectionChannels,
    ConnectedAt,
    LastActivity,
    Ip,
    UserId,
    UserClaim(Box<str>),
    Now,
    Setting(Box<str>),
    RequestId,
    RequestType,
    Channel,
    Channels,
    Position,
    Epoch,
    Offset,
    Recovered,
    Allowed,
    Denied,
    ErrorCode,
    ErrorMessage,
    ErrorRetry,
    ErrorDetails,
    Event,
    Data,
    DataAt(Box<[Box<str>]>),
    Events,
    More,
    Members,
    MemberId,
    MemberConnection,
    MemberClaim(Box<str>),
    InMs,
    Missed,
}

/// A placeholder of what all subscribers hear.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Heard {
    Channel,
    Data,
    DataAt(Box<[Box<str>]>),
    Event,
    Key,
    Timestamp,
    Position,
    Epoch,
    Offset,
    SenderId,
    SenderConnection,
    SenderClaim(Box<str>),
}

/// Those that stand anywhere but in a delivery.
const ALWAYS: &[&str] = &[
    "connection.id",
    "connection.channels",
    "connection.connected_at",
    "connection.last_activity",
    "connection.ip",
    "user.id",
    "user.CLAIM",
    "now",
    "settings.NAME",
];
const REQUEST: &[&str] = &["request.id", "request.type"];
const POSITION: &[&str] = &["position", "epoch", "offset"];
const ERROR: &[&str] = &["error.code", "error.message", "error.retry", "error.details"];
const HEARD: &[&str] = &[
    "channel",
    "data",
    "data.PATH",
    "event",
    "key",
    "timestamp",
    "position",
    "epoch",
    "offset",
    "sender.id",
    "sender.connection",
    "sender.CLAIM",
];

/// The groups of placeholders that may stand somewhere.
pub(super) type Allowed = &'static [&'static [&'static str]];

/// In one entry of `{denied}`, of `{members}`, and in a `text`.
pub(super) const DENIED: Allowed = &[ALWAYS, REQUEST, ERROR, &["channel"]];
pub(super) const MEMBER: Allowed = &[ALWAYS, REQUEST, &["channel", "member.id", "member.connection", "member.CLAIM"]];
pub(super) const TEXT: Allowed = &[ALWAYS, REQUEST, &["channel", "error.code", "error.retry"]];

impl Kind {
    pub const COUNT: usize = 17;

    /// The templates of a `send` table, each with its key.
    pub fn all(send: &Send) -> [(Kind, &'static str, Option<&Value>); Kind::COUNT] {
        [
            (Kind::Hello, "hello", send.hello.as_ref()),
            (Kind::Pong, "pong", send.pong.as_ref()),
            (Kind::Status, "status", send.status.as_ref()),
            (Kind::Subscribed, "subscribed", send.subscribed.as_ref()),
            (Kind::SubscribeResult, "subscribe_result", send.subscribe_result.as_ref()),
            (Kind::Unsubscribed, "unsubscribed", send.unsubscribed.as_ref()),
            (Kind::UnsubscribeResult, "unsubscribe_result", send.unsubscribe_result.as_ref()),
            (Kind::Published, "published", send.published.as_ref()),
            (Kind::Error, "error", send.error.as_ref()),
            (Kind::History, "history", send.history.as_ref()),
            (Kind::Presence, "presence", send.presence.as_ref()),
            (Kind::Authenticated, "authenticated", send.authenticated.as_ref()),
            (Kind::Reply, "reply", send.reply.as_ref()),
            (Kind::Expiring, "expiring", send.expiring.as_ref()),
            (Kind::Gap, "gap", send.gap.as_ref()),
            (Kind::Revoked, "revoked", send.revoked.as_ref()),
            (Kind::Shutdown, "shutdown", send.shutdown.as_ref()),
        ]
    }

    pub fn allows(self) -> Allowed {
        match self {
            Kind::Hello | Kind::Shutdown => &[ALWAYS],
            Kind::Pong | Kind::Status | Kind::Authenticated => &[ALWAYS, REQUEST],
            Kind::Subscribed => &[ALWAYS, REQUEST, POSITION, &["channel", "recovered"]],
            Kind::SubscribeResult => &[ALWAYS, REQUEST, &["allowed", "denied"]],
            Kind::Unsubscribed => &[ALWAYS, REQUEST, &["channel"]],
            Kind::UnsubscribeResult => &[ALWAYS, REQUEST, &["channels"]],
            Kind::Published => &[ALWAYS, REQUEST, POSITION, &["channel"]],
            Kind::Error => &[ALWAYS, REQUEST, ERROR, &["channel"]],
            Kind::History => &[ALWAYS, REQUEST, POSITION, &["channel", "events", "more"]],
            Kind::Presence => &[ALWAYS, REQUEST, &["channel", "members"]],
            Kind::Reply => &[ALWAYS, REQUEST, &["event", "data", "data.PATH"]],
            Kind::Expiring => &[ALWAYS, &["in_ms"]],
            Kind::Gap => &[ALWAYS, &["channel", "missed"]],
            Kind::Revoked => &[ALWAYS, ERROR, &["channel"]],
        }
    }
}

impl Place {
    pub fn parse(name: &str, allowed: Allowed) -> Result<Place, Problem> {
        let general = check(name, allowed)?;
        let rest = || name.split_once('.').unwrap_or_default().1.into();
        Ok(match general {
            "connection.id" => Place::ConnectionId,
            "connection.channels" => Place::ConnectionChannels,
            "connection.connected_at" => Place::ConnectedAt,
            "connection.last_activity" => Place::LastActivity,
            "connection.ip" => Place::Ip,
            "user.id" => Place::UserId,
            "user.CLAIM" => Place::UserClaim(rest()),
            "now" => Place::Now,
            "settings.NAME" => Place::Setting(rest()),
            "request.id" => Place::RequestId,
            "request.type" => Place::RequestType,
            "channel" => Place::Channel,
            "channels" => Place::Channels,
            "position" => Place::Position,
            "epoch" => Place::Epoch,
            "offset" => Place::Offset,
            "recovered" => Place::Recovered,
            "allowed" => Place::Allowed,
            "denied" => Place::Denied,
            "error.code" => Place::ErrorCode,
            "error.message" => Place::ErrorMessage,
            "error.retry" => Place::ErrorRetry,
            "error.details" => Place::ErrorDetails,
            "event" => Place::Event,
            "data" => Place::Data,
            "data.PATH" => Place::DataAt(path(name)),
            "events" => Place::Events,
            "more" => Place::More,
            "members" => Place::Members,
            "member.id" => Place::MemberId,
            "member.connection" => Place::MemberConnection,
            "member.CLAIM" => Place::MemberClaim(rest()),
            "in_ms" => Place::InMs,
            "missed" => Place::Missed,
            _ => return Err(unknown(name, allowed)),
        })
    }
}

impl Heard {
    pub fn parse(name: &str) -> Result<Heard, Problem> {
        let allowed: Allowed = &[HEARD];
        if name.starts_with("user.") || name.starts_with("connection.") {
            let what = format!("`{{{name}}}` in a delivery, which is written once for all who hear it");
            let hint = name.starts_with("user.").then(|| format!("the publisher is `{{sender.{}}}`", &name[5..]));
            return Err(Problem::new("", what).expected(names(allowed)).hint(hint));
        }
        if name == "now" {
            let hint = Some("the event's time is `{timestamp}`".to_owned());
            return Err(unknown(name, allowed).hint(hint));
        }
        let general = check(name, allowed)?;
        let rest = name.split_once('.').unwrap_or_default().1;
        Ok(match general {
            "channel" => Heard::Channel,
            "data" => Heard::Data,
            "data.PATH" => Heard::DataAt(path(name)),
            "event" => Heard::Event,
            "key" => Heard::Key,
            "timestamp" => Heard::Timestamp,
            "position" => Heard::Position,
            "epoch" => Heard::Epoch,
            "offset" => Heard::Offset,
            "sender.id" => Heard::SenderId,
            "sender.connection" => Heard::SenderConnection,
            "sender.CLAIM" => Heard::SenderClaim(rest.into()),
            _ => return Err(unknown(name, allowed)),
        })
    }
}

/// The steps behind a placeholder's first name.
fn path(name: &str) -> Box<[Box<str>]> {
    name.split('.').skip(1).map(Into::into).collect()
}

/// The entry of `allowed` that a name falls under: itself, or the one with capitals for its group.
fn check(name: &str, allowed: Allowed) -> Result<&'static str, Problem> {
    let all = || allowed.iter().flat_map(|group| group.iter().copied());
    if let Some(exact) = all().find(|known| *known == name) {
        return Ok(exact);
    }
    let open = name.split_once('.').and_then(|(group, rest)| {
        let whole = rest.split('.').all(|part| !part.is_empty());
        let is_open = |known: &&str| {
            known.split_once('.').is_some_and(|(g, r)| g == group && r.bytes().all(|b| b.is_ascii_uppercase()))
        };
        all().find(is_open).filter(|_| whole)
    });
    open.ok_or_else(|| unknown(name, allowed))
}

fn unknown(name: &str, allowed: Allowed) -> Problem {
    let near = did_you_mean(name, allowed.iter().flat_map(|group| group.iter().copied()));
    Problem::new("", format!("unknown placeholder `{{{name}}}`")).expected(names(allowed)).hint(near)
}

fn names(allowed: Allowed) -> String {
    one_of(allowed.iter().flat_map(|group| group.iter().copied()))
}
