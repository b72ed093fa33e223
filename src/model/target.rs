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

/// Alternatives inside a field, fields narrow each other. `None` is no constraint; an empty list passes nobody.
///
/// The two must never be mixed up: a back end computes a list of addressees, and the list comes out empty. Read as
/// "no constraint", the message for nobody would reach everybody, and a disconnect would close everybody.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Filter {
    pub connections: Option<Vec<ConnectionId>>,
    pub users: Option<Vec<Arc<str>>>,
    /// Any claim by its dotted path: `("role", ["admin", "sales_staff"])`. A claim that is an array passes if any of its
    /// elements does. A claim without values passes nobody.
    pub claims: Vec<(String, Vec<Value>)>,
    /// Subscribed to any of these.
    pub channels: Option<Vec<ChannelName>>,
    pub exclude: Option<ConnectionId>,
}

impl Filter {
    /// Whether a connection passes, its channels aside.
    pub fn passes(&self, connection: ConnectionId, identity: &Identity) -> bool {
        let user = |users: &Vec<Arc<str>>| identity.user.as_ref().is_some_and(|user| users.contains(user));
        let claim = |(path, wanted): &(String, Vec<Value>)| match identity.claim(path) {
            Some(Value::Array(values)) => values.iter().any(|v| wanted.contains(v)),
            Some(value) => wanted.contains(value),
            None => false,
        };
        self.exclude != Some(connection)
            && self.connections.as_ref().is_none_or(|connections| connections.contains(&connection))
            && self.users.as_ref().is_none_or(user)
            && self.claims.iter().all(claim)
    }

    /// Whether it names anything, were it only an empty list.
    pub fn narrows(&self) -> bool {
        self.connections.is_some() || self.users.is_some() || self.channels.is_some() || !self.claims.is_empty()
    }

    /// Whether some list of it is empty.
    pub fn is_nobody(&self) -> bool {
        self.connections.as_ref().is_some_and(Vec::is_empty)
            || self.users.as_ref().is_some_and(Vec::is_empty)
            || self.channels.as_ref().is_some_and(Vec::is_empty)
            || self.claims.iter().any(|(_, values)| values.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_empty_list_passes_nobody() {
        let id = ConnectionId::parse("12345678-9abc-4ef0-8122-334455667788").unwrap();
        let claims = [("role".to_owned(), json!(["admin"]))].into_iter().collect();
        let ann = Identity { user: Some("ann".into()), claims, ..Identity::default() };
        let everybody = Filter::default();
        assert!(everybody.passes(id, &ann) && !everybody.narrows());
        for nobody in [
            Filter { users: Some(Vec::new()), ..Filter::default() },
            Filter { connections: Some(Vec::new()), ..Filter::default() },
            Filter { claims: vec![("role".into(), Vec::new())], ..Filter::default() },
            Filter { claims: vec![("none".into(), Vec::new())], ..Filter::default() },
        ] {
            assert!(!nobody.passes(id, &ann) && nobody.narrows() && nobody.is_nobody(), "{nobody:?}");
        }
        let role = Filter { claims: vec![("role".into(), vec![json!("admin")])], ..Filter::default() };
        assert!(role.passes(id, &ann) && !role.is_nobody());
    }
}
