//! Why something did not happen, as its client and its operator read it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::sync::Arc;

/// The stable codes of refusals. `as_str` is what clients, APIs and metrics see; a dialect may rename them.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Code {
    /// Not JSON, or JSON of the wrong shape.
    InvalidMessage,
    /// A message type that the dialect does not know.
    UnknownType,
    /// No class matches, or the name is malformed.
    UnknownChannel,
    /// A rule said no.
    Denied,
    /// No token, or none that verifies.
    Unauthenticated,
    /// A bound of the connection or the app: subscriptions, batch sizes, rooms.
    Limit,
    /// Too many messages.
    RateLimited,
    /// A size bound.
    TooLarge,
    /// Something asked for is not there: a connection, a channel's history.
    NotFound,
    /// Weir is too busy; try again.
    Overloaded,
    /// Keys, rows or a store that decide cannot be had at the moment: neither yes nor no; try again.
    Unavailable,
    /// Weir's or a handler's own mistake.
    Internal,
}

impl Code {
    pub const ALL: [Code; 12] = [
        Code::InvalidMessage,
        Code::UnknownType,
        Code::UnknownChannel,
        Code::Denied,
        Code::Unauthenticated,
        Code::Limit,
        Code::RateLimited,
        Code::TooLarge,
        Code::NotFound,
        Code::Overloaded,
        Code::Unavailable,
        Code::Internal,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Code::InvalidMessage => "invalid_message",
            Code::UnknownType => "unknown_type",
            Code::UnknownChannel => "unknown_channel",
            Code::Denied => "denied",
            Code::Unauthenticated => "unauthenticated",
            Code::Limit => "limit",
            Code::RateLimited => "rate_limited",
            Code::TooLarge => "too_large",
            Code::NotFound => "not_found",
            Code::Overloaded => "overloaded",
            Code::Unavailable => "unavailable",
            Code::Internal => "internal",
        }
    }

    /// The text where neither class nor dialect has one.
    pub fn text(self) -> &'static str {
        match self {
            Code::InvalidMessage => "Invalid message format",
            Code::UnknownType => "Unknown message type",
            Code::UnknownChannel => "Unknown channel",
            Code::Denied => "Access denied",
            Code::Unauthenticated => "Authentication required",
            Code::Limit => "Limit reached",
            Code::RateLimited => "Too many messages",
            Code::TooLarge => "Too large",
            Code::NotFound => "Not found",
            Code::Overloaded => "Overloaded, try again",
            Code::Unavailable => "Temporarily unavailable, try again",
            Code::Internal => "Internal error",
        }
    }

    /// Whether the same request may succeed later.
    pub fn retry(self) -> bool {
        matches!(self, Code::RateLimited | Code::Overloaded | Code::Unavailable | Code::Internal)
    }
}

/// Which bound a refusal with `Code::Limit` met. `as_str` is the word by which a dialect names it apart from the others.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum LimitKind {
    /// `members_max` of a class: connections on one channel.
    Members,
    /// `limits.subscriptions`: channels of one connection.
    Subscriptions,
    /// `limits.subscribe_batch` or `channels_max`: channels in one message.
    SubscribeBatch,
    /// A bound of connections: of the app, of a user, of a claim.
    Connections,
}

impl LimitKind {
    pub const ALL: [LimitKind; 4] =
        [LimitKind::Members, LimitKind::Subscriptions, LimitKind::SubscribeBatch, LimitKind::Connections];

    pub fn as_str(self) -> &'static str {
        match self {
            LimitKind::Members => "limit:members",
            LimitKind::Subscriptions => "limit:subscriptions",
            LimitKind::SubscribeBatch => "limit:subscribe_batch",
            LimitKind::Connections => "limit:connections",
        }
    }

    /// The text where neither class nor dialect has one.
    pub fn text(self) -> &'static str {
        match self {
            LimitKind::Members => "Channel is full",
            LimitKind::Subscriptions => "Too many subscriptions",
            LimitKind::SubscribeBatch => "Too many channels in one message",
            LimitKind::Connections => "Too many connections",
        }
    }
}

/// Why a command does not happen.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Refusal {
    pub code: Code,
    /// Which bound it was, where `code` is `Code::Limit` and dialects may tell it apart.
    pub limit: Option<LimitKind>,
    /// A handler's own code: clients read it as it is.
    pub name: Option<Arc<str>>,
    /// A text of the class or of the plugin; `None`: the dialect's, else `Code::text`.
    pub message: Option<Cow<'static, str>>,
    /// JSON text that a handler gave along.
    pub details: Option<Arc<str>>,
    /// The rule that refused, for logs and `explain`: `channels/clinic.toml:41:13 subscribe`. Never sent to a client.
    pub rule: Option<Arc<str>>,
}

impl Refusal {
    pub const fn new(code: Code) -> Refusal {
        Refusal { code, limit: None, name: None, message: None, details: None, rule: None }
    }

    pub fn because(code: Code, message: impl Into<Cow<'static, str>>) -> Refusal {
        Refusal { message: Some(message.into()), ..Refusal::new(code) }
    }

    /// A bound was met.
    pub fn limit(kind: LimitKind) -> Refusal {
        Refusal { limit: Some(kind), ..Refusal::new(Code::Limit) }
    }
}
