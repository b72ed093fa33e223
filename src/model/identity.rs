//! Who is asking.

use super::Millis;
use serde_json::{Map, Value};
use std::fmt;
use std::sync::Arc;

/// Who a connection, a request or a plugin is. Made by `auth`, read by rules, templates and logs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Identity {
    /// `None`: anonymous.
    pub user: Option<Arc<str>>,
    /// The token's claims and the table's row, row before claim; `role` and `roles` both present where one was.
    pub claims: Map<String, Value>,
    /// When the token ends, its leeway included.
    pub expires_at: Option<Millis>,
    /// Raised by every change of the above on a live connection: cached decisions end with it.
    pub version: u32,
}

impl Identity {
    pub fn anonymous() -> Arc<Identity> {
        static NOBODY: std::sync::LazyLock<Arc<Identity>> = std::sync::LazyLock::new(Arc::default);
        NOBODY.clone()
    }

    /// As somebody describes a user in a file or on a command line: `id` is the user, all else are claims.
    /// `role` and `roles` are both there where one is.
    pub fn described(mut claims: Map<String, Value>) -> Identity {
        let user = match claims.get("id") {
            Some(Value::String(id)) if !id.is_empty() => Some(Arc::from(id.as_str())),
            Some(Value::Number(id)) if !id.is_f64() => Some(Arc::from(id.to_string())),
            _ => None,
        };
        match (claims.get("role"), claims.get("roles")) {
            (Some(role), None) => drop(claims.insert("roles".into(), Value::Array(vec![role.clone()]))),
            (None, Some(Value::Array(roles))) if !roles.is_empty() => {
                drop(claims.insert("role".into(), roles[0].clone()))
            }
            _ => {}
        }
        Identity { user, claims, ..Identity::default() }
    }

    /// What it takes, its claims and what the allocator rounds up included.
    pub fn held_bytes(&self) -> usize {
        let user = self.user.as_ref().map_or(0, |user| user.len() + 16);
        size_of::<Identity>() + 16 + user + map_bytes(&self.claims)
    }

    /// A claim by its dotted path: `clinicId`, `org.id`. `id` is the user.
    pub fn claim(&self, path: &str) -> Option<&Value> {
        let mut parts = path.split('.');
        let mut value = self.claims.get(parts.next()?)?;
        for part in parts {
            value = value.get(part)?;
        }
        Some(value)
    }
}

/// A map of JSON is a B-tree whose leaves have room for eleven entries.
fn map_bytes(map: &Map<String, Value>) -> usize {
    const LEAF_BYTES: usize = 11 * (size_of::<String>() + size_of::<Value>()) + 16;
    map.len().div_ceil(6) * LEAF_BYTES + map.iter().map(|(k, v)| k.len() + 8 + value_bytes(v)).sum::<usize>()
}

fn value_bytes(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(_) => 0,
        Value::Number(_) => 16,
        Value::String(text) => text.len() + 8,
        Value::Array(values) => values.iter().map(|value| size_of::<Value>() + value_bytes(value)).sum(),
        Value::Object(map) => map_bytes(map),
    }
}

/// A connection's id, unique in the process and unguessable; its text form is the dialect's choice.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ConnectionId(pub u128);

const BASE36: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";
/// 36⁹
const TAIL: u128 = 101_559_956_668_416;

impl ConnectionId {
    /// Text `550e8400-e29b-41d4-a716-446655440000`. `random` holds 122 used bits.
    pub fn uuid(random: u128) -> ConnectionId {
        ConnectionId(uuid::Builder::from_random_bytes(random.to_be_bytes()).into_uuid().as_u128())
    }

    /// Text `ws_<ms>_<9 base36>` (S0): no UUID of version 4 has a zero version field, so the two forms never collide.
    pub fn stamped(at: Millis, random: u64) -> ConnectionId {
        ConnectionId(((at as u128) & 0xffff_ffff_ffff) << 80 | (random as u128 % TAIL))
    }

    /// Reads either form back.
    pub fn parse(text: &str) -> Option<ConnectionId> {
        let Some(rest) = text.strip_prefix("ws_") else {
            return uuid::Uuid::try_parse(text)
                .ok()
                .filter(|u| u.get_version_num() == 4)
                .map(|u| ConnectionId(u.as_u128()));
        };
        let (at, tail) = rest.split_once('_')?;
        let at: u64 = at.parse().ok()?;
        if tail.len() != 9 || !tail.bytes().all(|b| BASE36.contains(&b)) {
            return None;
        }
        Some(ConnectionId::stamped(at, u64::from_str_radix(tail, 36).ok()?))
    }
}

impl fmt::Display for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        if self.0 >> 76 & 0xf == 4 {
            return write!(f, "{}", uuid::Uuid::from_u128(self.0));
        }
        let (mut tail, mut digits) = ((self.0 & 0xffff_ffff_ffff) as u64, [b'0'; 9]);
        for d in digits.iter_mut().rev() {
            *d = BASE36[(tail % 36) as usize];
            tail /= 36;
        }
        write!(f, "ws_{}_{}", (self.0 >> 80) as u64, std::str::from_utf8(&digits).unwrap_or_default())
    }
}

impl fmt::Debug for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_of_an_id_are_read_back() {
        let stamped = ConnectionId::stamped(1_704_623_400_000, 123_456_789_012_345);
        assert_eq!(ConnectionId::parse(&stamped.to_string()), Some(stamped));
        assert!(stamped.to_string().starts_with("ws_1704623400000_"));
        let uuid = ConnectionId::uuid(0x1234_5678_9abc_def0_1122_3344_5566_7788);
        assert_eq!(uuid.to_string().len(), 36);
        assert_eq!(ConnectionId::parse(&uuid.to_string()), Some(uuid));
        for bad in ["", "ws_", "ws_1_short", "ws_x_abcdefghi", "nobody"] {
            assert_eq!(ConnectionId::parse(bad), None);
        }
    }
}
