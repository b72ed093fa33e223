//! Which connections of an app something is for.

use super::{ChannelName, ConnectionId, Identity};
use serde_json::Value;
use std::sync::Arc;

/// Which connections of an app.
#[derive(Clone, Debug, PartialEq)]
pub enum Target {
    Connection(ConnectionId),
    User(Arc<str>),
    /// All that pass; the empty filter passes everybody.
    Filter(Filter),
}

/// Alternatives inside a field, fields narrow each other; an empty field is no constraint.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Filter {
    pub connections: Vec<ConnectionId>,
    pub users: Vec<Arc<str>>,
    /// Any claim by its dotted path: `("role", ["admin", "sales_staff"])`. A claim that is an array passes if any of its
    /// elements does.
    pub claims: Vec<(String, Vec<Value>)>,
    /// Subscribed to any of these.
    pub channels: Vec<ChannelName>,
    pub exclude: Option<ConnectionId>,
}

impl Filter {
    /// Whether a connection passes, its channels aside.
    pub fn passes(&self, connection: ConnectionId, identity: &Identity) -> bool {
        let user = || identity.user.as_ref().is_some_and(|u| self.users.contains(u));
        let claim = |(path, wanted): &(String, Vec<Value>)| {
            wanted.is_empty()
                || match identity.claim(path) {
                    Some(Value::Array(values)) => values.iter().any(|v| wanted.contains(v)),
                    Some(value) => wanted.contains(value),
                    None => false,
                }
        };
        self.exclude != Some(connection)
            && (self.connections.is_empty() || self.connections.contains(&connection))
            && (self.users.is_empty() || user())
            && self.claims.iter().all(claim)
    }
}
