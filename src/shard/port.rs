//! What other rooms may ask of the shards: every verb of the HTTP API, of routes and of plugins.
//!
//! A question goes to the shards that it concerns, each answers its share, and the sum comes back. Nothing waits for
//! a shard's sockets; a shard whose mailbox is full refuses with `overloaded`.

use crate::model::{ChannelName, ConnectionId, Identity, Millis};
use serde_json::Value;
use std::net::IpAddr;
use std::sync::Arc;

/// Which connections of an app.
#[derive(Clone, Debug)]
pub enum Target {
    Connection(ConnectionId),
    User(Arc<str>),
    /// All that pass; the empty filter passes everybody.
    Filter(Filter),
}

/// Alternatives inside a field, fields narrow each other; an empty field is no constraint.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    pub users: Vec<Arc<str>>,
    /// Any claim by its dotted path: `("role", ["admin", "sales_staff"])`. A claim that is an array passes if any of its
    /// elements does.
    pub claims: Vec<(String, Vec<Value>)>,
    /// Subscribed to any of these.
    pub channels: Vec<ChannelName>,
    pub exclude: Option<ConnectionId>,
}

/// A live connection, as listings show it.
#[derive(Clone, Debug)]
pub struct ConnectionInfo {
    pub id: ConnectionId,
    pub identity: Arc<Identity>,
    pub channels: Vec<ChannelName>,
    pub ip: IpAddr,
    pub user_agent: Option<Box<str>>,
    pub endpoint: Arc<str>,
    pub connected_at: Millis,
    pub last_activity: Millis,
    pub queued_bytes: usize,
}

#[derive(Clone, Debug)]
pub struct ChannelInfo {
    pub name: ChannelName,
    pub subscribers: usize,
}

/// An app's figures over all shards.
#[derive(Clone, Debug, Default)]
pub struct AppStats {
    pub connections: usize,
    pub channels: usize,
    pub subscriptions: usize,
    /// Connections by the value of a claim, for each claim asked for.
    pub by: Vec<(String, std::collections::BTreeMap<String, usize>)>,
}
