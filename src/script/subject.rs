//! `event` as scripts see it, and in it `user` and `connection`: read where they are, never copied.

use super::reads::Reads;
use super::values;
use super::{Connection, Event, Limits, Trigger};
use crate::model::{ChannelName, Code, ConnectionId, Filter, Identity, Refusal, Target};
use rhai::{Array, Dynamic, Identifier, ImmutableString, Map};
use serde_json::Value;
use std::sync::Arc;

/// `event.user`.
#[derive(Clone)]
pub(super) struct UserValue(pub Arc<Identity>);

/// `event.connection`.
#[derive(Clone)]
pub(super) struct ConnectionValue(pub Arc<Connection>);

/// `event.connection.vars`.
#[derive(Clone)]
pub(super) struct VarsValue(pub Arc<Connection>);

/// What `user(…)`, `filter(…)` and `everyone()` give.
#[derive(Clone)]
pub(super) struct TargetValue(pub Target);

impl UserValue {
    /// `user.NAME`: `id`, `known`, a claim; missing ones are `()`.
    pub fn get(&self, name: &str) -> Dynamic {
        match name {
            "id" => self.0.user.as_deref().map_or(Dynamic::UNIT, shared),
            "known" => self.0.user.is_some().into(),
            name => self.0.claims.get(name).map_or(Dynamic::UNIT, dynamic),
        }
    }

    pub fn map(&self) -> Map {
        user_map(&self.0)
    }
}

pub(super) fn user_map(identity: &Identity) -> Map {
    let mut map: Map = identity.claims.iter().map(|(k, v)| (k.as_str().into(), dynamic(v))).collect();
    map.insert("id".into(), identity.user.as_deref().map_or(Dynamic::UNIT, shared));
    map.insert("known".into(), identity.user.is_some().into());
    map
}

impl ConnectionValue {
    pub const FIELDS: [&str; 6] = ["id", "ip", "user_agent", "connected_at", "endpoint", "vars"];

    /// `connection.NAME`; `None`: it has no such field.
    pub fn get(&self, name: &str) -> Option<Dynamic> {
        let c = &self.0;
        Some(match name {
            "id" => id_text(c.id),
            "ip" => shared(&c.ip.to_string()),
            "user_agent" => c.user_agent.as_deref().map_or(Dynamic::UNIT, shared),
            "connected_at" => Dynamic::from_int(c.connected_at as i64),
            "endpoint" => shared(&c.endpoint),
            "vars" => Dynamic::from(VarsValue(c.clone())),
            _ => return None,
        })
    }

    pub fn map(&self) -> Map {
        let fields = Self::FIELDS.iter().filter(|f| **f != "vars");
        fields.filter_map(|f| Some((Identifier::from(*f), self.get(f)?))).collect()
    }
}

impl VarsValue {
    pub fn get(&self, name: &str) -> Dynamic {
        self.0.request.as_deref().and_then(|r| r.var(name)).map_or(Dynamic::UNIT, shared)
    }
}

impl TargetValue {
    pub fn user(id: &str) -> TargetValue {
        TargetValue(Target::User(id.into()))
    }

    pub fn everyone() -> TargetValue {
        TargetValue(Target::Filter(Filter::default()))
    }
}

/// The text form of a connection's id. Dialects may have their own; `ConnectionId::parse` reads this one back.
pub(super) fn id_text(id: ConnectionId) -> Dynamic {
    shared(&id.to_string())
}

pub(super) fn shared(text: &str) -> Dynamic {
    ImmutableString::from(text).into()
}

pub(super) fn channel(name: &ChannelName) -> Dynamic {
    shared(name.as_str())
}

/// A value of a token, a table or `[settings]`.
pub(super) fn dynamic(value: &Value) -> Dynamic {
    match value {
        Value::Null => Dynamic::UNIT,
        Value::Bool(v) => (*v).into(),
        Value::Number(n) => {
            let whole = n.as_i64().map(Dynamic::from_int).or_else(|| n.as_u64().map(super::values::whole));
            whole.or_else(|| n.as_f64().map(Dynamic::from_float)).unwrap_or(Dynamic::UNIT)
        }
        Value::String(v) => shared(v),
        Value::Array(values) => Dynamic::from_array(values.iter().map(dynamic).collect::<Array>()),
        Value::Object(entries) => {
            Dynamic::from_map(entries.iter().map(|(k, v)| (k.as_str().into(), dynamic(v))).collect())
        }
    }
}

/// The fields of `event`: name, the bit by which `Reads` knows it, what `definitions` says of it.
pub(super) const FIELDS: &[(&str, u32, &str)] = &[
    (
        "kind",
        1 << 0,
        "what the call is about: message, publish, published, subscribe, subscribed, unsubscribed, connect, disconnect, timer or route",
    ),
    ("type", 1 << 1, "the message's type as the client wrote it; of publish and published: the event's name"),
    ("data", 1 << 2, "the message, the publication, the timer's data or the request's body"),
    ("user", 1 << 3, "who is asking: id, known, and every claim by its name"),
    (
        "connection",
        1 << 4,
        "the connection: id, ip, user_agent, connected_at (ms), endpoint, vars; () where there is none",
    ),
    ("channel", 1 << 5, "the channel's name, where there is one"),
    ("vars", 1 << 6, "variables of the channel's pattern, the endpoint's or the route's path"),
    ("at", 1 << 7, "when it happened, ms since 1970"),
    ("name", 1 << 8, "of a timer: its name"),
    ("code", 1 << 9, "of disconnect: the close code, where there was one"),
    ("key", 1 << 10, "of publish and published: what the event is the newest state of"),
    ("method", 1 << 11, "of a route: GET, POST, …"),
    ("path", 1 << 12, "of a route"),
    ("query", 1 << 13, "of a route: the parameters, by name"),
    ("headers", 1 << 14, "of a route: by their names in lower case, credentials left out"),
    ("ip", 1 << 15, "of a route: the client's"),
];

/// The field whose parts are read one by one.
pub(super) const DATA: &str = "data";

/// Builds what of `event` is read. Err: its data is no JSON, or too large.
pub(super) fn event(event: &Event, reads: &Reads, limits: &Limits) -> Result<Map, Refusal> {
    let mut map = Map::new();
    let mut put = |(name, bit, _): &(&str, u32, &str), value: &dyn Fn() -> Dynamic| {
        if reads.has(*bit) {
            map.insert((*name).into(), value());
        }
    };
    let optional = |text: Option<&str>| text.map_or(Dynamic::UNIT, shared);
    put(&FIELDS[0], &|| event.trigger.as_str().into());
    put(&FIELDS[3], &|| Dynamic::from(UserValue(event.identity.clone())));
    put(&FIELDS[7], &|| Dynamic::from_int(event.at.wall as i64));
    if let Some(connection) = &event.connection {
        put(&FIELDS[4], &|| Dynamic::from(ConnectionValue(connection.clone())));
    }
    if let Some(name) = &event.channel {
        put(&FIELDS[5], &|| channel(name));
    }
    put(&FIELDS[6], &|| {
        Dynamic::from_map(event.vars.iter().map(|(k, v)| (Identifier::from(&**k), shared(v))).collect())
    });
    match &event.trigger {
        Trigger::Message { kind } => put(&FIELDS[1], &|| shared(kind)),
        Trigger::Publish { event, key } | Trigger::Published { event, key } => {
            put(&FIELDS[1], &|| optional(event.as_deref()));
            put(&FIELDS[10], &|| optional(key.as_deref()));
        }
        Trigger::Timer { name } => put(&FIELDS[8], &|| shared(name)),
        Trigger::Disconnect { code } => {
            put(&FIELDS[9], &|| code.map_or(Dynamic::UNIT, |c| Dynamic::from_int(c.into())))
        }
        Trigger::Route(web) => {
            let pairs = |pairs: &[(String, String)]| {
                // The first of a name counts, as for rules.
                let mut map = Map::new();
                for (name, value) in pairs {
                    map.entry(name.as_str().into()).or_insert_with(|| shared(value));
                }
                Dynamic::from_map(map)
            };
            put(&FIELDS[11], &|| shared(&web.method));
            put(&FIELDS[12], &|| shared(&web.path));
            put(&FIELDS[13], &|| pairs(&web.query));
            put(&FIELDS[14], &|| pairs(&web.headers));
            put(&FIELDS[15], &|| shared(&web.ip.to_string()));
        }
        Trigger::Subscribe | Trigger::Subscribed | Trigger::Unsubscribed | Trigger::Connect => {}
    }
    match data(event, reads, limits) {
        Ok(None) => {}
        Ok(Some(data)) => drop(map.insert(FIELDS[2].0.into(), data)),
        // It has happened, and nobody can be refused any more: the handler is called with what there is, `data` being ().
        Err(refusal) if event.trigger.is_past() => {
            let (kind, code) = (event.trigger.as_str(), refusal.code.as_str());
            tracing::warn!(kind, code, "a handler is called without its data, which it cannot read");
        }
        Err(refusal) => return Err(refusal),
    }
    Ok(map)
}

/// What of the event's data is read.
fn data(event: &Event, reads: &Reads, limits: &Limits) -> Result<Option<Dynamic>, Refusal> {
    if !reads.has(FIELDS[2].1) || event.data.is_empty() {
        return Ok(None);
    }
    values::parse_some(&event.data, reads.wanted(), limits).map(Some).map_err(|e| {
        let text = e.to_string();
        let code = if text.starts_with(values::TOO_LARGE) { Code::TooLarge } else { Code::InvalidMessage };
        Refusal::new(code)
    })
}

/// Whether a handler could be told of it.
pub(super) fn can_read(event: &Event, reads: &Reads, limits: &Limits) -> Result<(), Refusal> {
    data(event, reads, limits).map(drop)
}
