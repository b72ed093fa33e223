//! A `[dialect.NAME]` table as people write it.

use crate::model::{ConnectionId, Millis};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;

/// A dialect: JSON objects whose type field says what is asked for.
///
/// Templates are any value; in their texts `{x.y}` stands for what Weir knows: a text that is nothing but a
/// placeholder becomes that value (a missing one drops its key), inside a longer text it is filled in, `{{` is a brace.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "DialectSettings")]
pub struct Settings {
    /// Another dialect of this file: what is not set here is as there. `receive`, `send`, `text` and `code` are taken over
    /// entry by entry, all else as a whole.
    #[serde(default)]
    pub like: Option<String>,
    /// The top-level field that names a message. Default `"type"`.
    #[serde(rename = "type", default)]
    pub type_field: Option<String>,
    /// Where a request carries an id that its answer repeats as `{request.id}`; a dotted path. Default `"id"`.
    #[serde(default)]
    pub id: Option<String>,
    /// When those are greeted who authenticate in a message. Default `"authenticated"`.
    #[serde(default)]
    pub greet: Option<Greet>,
    /// How connections are named to clients. Default `"uuid"`.
    #[serde(default)]
    pub connection_id: Option<ConnectionIds>,
    /// Malformed, unknown and refused messages are logged, not answered; `send.subscribe_result` is still sent. Default `false`.
    #[serde(default)]
    pub quiet: Option<bool>,
    /// What clients may send, by message type.
    #[serde(default)]
    pub receive: BTreeMap<String, Receive>,
    /// For message types not in `receive`; without it they are refused with `unknown_type`.
    #[serde(default)]
    pub receive_default: Option<Receive>,
    /// What clients are told, as templates. What has none is not said.
    #[serde(default)]
    pub send: Send,
    /// How publications reach subscribers.
    #[serde(default)]
    pub delivery: Option<Delivery>,
    /// Texts of `{error.message}` by code, where neither class nor plugin has one; `{request.type}` and others may stand in them.
    /// A bound's own word goes before `limit`: see `code`.
    #[serde(default)]
    pub text: BTreeMap<String, String>,
    /// Names of `{error.code}` by Weir's own code: `invalid_message`, `unknown_type`, `unknown_channel`, `denied`, `unauthenticated`,
    /// `limit`, `rate_limited`, `too_large`, `not_found`, `overloaded`, `unavailable`, `internal`. A bound's own word goes before `limit`:
    /// `limit:members`, `limit:subscriptions`, `limit:subscribe_batch`, `limit:connections`. A code that a handler gave is told as it is.
    #[serde(default)]
    pub code: BTreeMap<String, String>,
    /// One entry of `{denied}`.
    #[serde(default)]
    pub denied: Option<Value>,
    /// One entry of `{members}`.
    #[serde(default)]
    pub member: Option<Value>,
    /// Close each connection after its greeting.
    #[serde(default)]
    pub close_after_hello: Option<CloseWith>,
    /// How connections are closed at a shutdown.
    #[serde(default)]
    pub shutdown: Option<CloseWith>,
}

/// When clients are greeted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Greet {
    /// At once, before they have said who they are.
    Open,
    /// Once it is known who they are.
    #[default]
    Authenticated,
}

impl Settings {
    /// The top-level field that names a message.
    pub fn type_field(&self) -> &str {
        self.type_field.as_deref().unwrap_or("type")
    }

    /// Where a request carries its id.
    pub fn id(&self) -> &str {
        self.id.as_deref().unwrap_or("id")
    }
}

/// How connections are named: `"uuid"` (version 4) or `"ws_"` (`ws_<ms>_<9 base36>`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum ConnectionIds {
    #[default]
    #[serde(rename = "uuid")]
    Uuid,
    #[serde(rename = "ws_")]
    Ws,
}

impl ConnectionIds {
    /// A new connection's id.
    pub fn make(self, at: Millis, random: u128) -> ConnectionId {
        match self {
            ConnectionIds::Uuid => ConnectionId::uuid(random),
            ConnectionIds::Ws => ConnectionId::stamped(at, random as u64),
        }
    }
}

/// One message type of clients: what it does, and where in the message its arguments are. Paths are dotted: `data.channel`.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Receive {
    /// What it asks for.
    #[serde(rename = "do")]
    pub verb: Verb,
    /// A channel's name, a string.
    #[serde(default)]
    pub channel: Option<String>,
    /// Several channels' names, an array of strings (one string is taken too).
    #[serde(default)]
    pub channels: Option<String>,
    /// Of `channels`: more in one message are refused with `limit` before they are read. The app's `limits.subscribe_batch` is usually lower.
    #[serde(default = "channels_max")]
    pub channels_max: u32,
    /// What is published, or handed to a handler; without it the whole message.
    #[serde(default)]
    pub data: Option<String>,
    /// With `do = "handler"`: the plugin's function that answers.
    #[serde(default)]
    pub handler: Option<String>,
    /// With `do = "handler"`: whose state it runs with: `report:{reportId}`.
    #[serde(default)]
    pub entity: Option<String>,
    /// With `do = "handler"`: what the client reads where the handler fails, rather than `text.internal` or `text.overloaded`.
    #[serde(default)]
    pub failed: Option<String>,
    /// The token of `authenticate`, a string.
    #[serde(default)]
    pub token: Option<String>,
    /// With `do = "authenticate"`: the object in which a client says who it is, beside a token or for an auth of type `trusted`.
    #[serde(default)]
    pub claims: Option<String>,
    /// The position to go on from, a string as `{position}` gave it.
    #[serde(default)]
    pub since: Option<String>,
    /// How many events at most, a whole number.
    #[serde(default)]
    pub limit: Option<String>,
    /// The event's name, a string.
    #[serde(default)]
    pub event: Option<String>,
    /// What the event is the newest state of, a string.
    #[serde(default)]
    pub key: Option<String>,
    /// The request's id, where it is not in the dialect's own place.
    #[serde(default)]
    pub id: Option<String>,
}

fn channels_max() -> u32 {
    1_000
}

/// What a client's message asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Verb {
    Subscribe,
    Unsubscribe,
    Publish,
    Ping,
    Status,
    Authenticate,
    History,
    Presence,
    Handler,
    Close,
    Ignore,
}

/// What clients are told; each a template.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Send {
    /// The greeting.
    pub hello: Option<Value>,
    /// The answer to `ping`.
    pub pong: Option<Value>,
    /// The answer to `status`.
    pub status: Option<Value>,
    /// A channel was subscribed: `{channel}`, `{position}`, `{recovered}`.
    pub subscribed: Option<Value>,
    /// The answer to a whole subscribe message, instead of `subscribed` and `error` a channel: `{allowed}`, `{denied}`.
    pub subscribe_result: Option<Value>,
    /// A channel was left: `{channel}`.
    pub unsubscribed: Option<Value>,
    /// The answer to a whole unsubscribe message, instead of `unsubscribed` a channel: `{channels}`.
    pub unsubscribe_result: Option<Value>,
    /// Something was published: `{channel}`, `{position}`.
    pub published: Option<Value>,
    /// A refusal: `{error.code}`, `{error.message}`, `{error.retry}`, `{error.details}`, `{channel}`.
    pub error: Option<Value>,
    /// Past events: `{channel}`, `{events}` (each as it was delivered), `{position}`, `{more}`.
    pub history: Option<Value>,
    /// Who is on a channel: `{channel}`, `{members}`.
    pub presence: Option<Value>,
    /// A handler's answer: `{event}`, `{data}`, `{data.PATH}`. Without it the data as it is, with `delivery.timestamp`.
    pub reply: Option<Value>,
    /// A token was accepted on a live connection.
    pub authenticated: Option<Value>,
    /// The token ends: `{in_ms}`.
    pub expiring: Option<Value>,
    /// A slow reader missed events: `{channel}`, `{missed}`.
    pub gap: Option<Value>,
    /// A subscription was taken back: `{channel}`, `{error.code}`. Without it `subscribe_result` with the channel denied, else `unsubscribed`.
    pub revoked: Option<Value>,
    /// The gateway stops: said before the connection is closed as `shutdown` says.
    pub shutdown: Option<Value>,
    /// Somebody joined a channel with presence; as a delivery: `{channel}`, `{sender.id}`.
    pub joined: Option<Value>,
    /// Somebody left it.
    pub left: Option<Value>,
}

/// How publications reach subscribers.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Delivery {
    /// What is around them.
    pub envelope: Envelope,
    /// The envelope, where there is one: `{channel}`, `{data}`, `{data.PATH}`, `{event}`, `{sender.id}`, `{timestamp}`, `{position}`.
    pub message: Option<Value>,
    /// Of unwrapped objects: a field that is added with the event's time where it is missing.
    pub timestamp: Option<String>,
}

/// What is around a publication.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Envelope {
    /// Nothing: as published.
    #[default]
    Raw,
    /// `delivery.message`.
    Wrapped,
    /// `delivery.message` around what clients published; what the gateway, its API and plugins publish goes as it is.
    Mixed,
}

/// How a connection is closed.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CloseWith {
    /// RFC 6455 §7.4: 1000 to 1014 but for 1004 to 1006, or 3000 to 4999.
    pub code: u16,
    /// 123 bytes at most.
    #[serde(default)]
    pub reason: String,
}
