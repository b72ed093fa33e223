//! Why a connection ends, as its client reads it.

use std::borrow::Cow;

/// A WebSocket close: code (RFC 6455 §7.4) and reason (123 bytes at most).
/// A documented client reconnects on any code but 1000.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Close {
    pub code: u16,
    pub reason: Cow<'static, str>,
}

impl Close {
    pub const fn new(code: u16, reason: &'static str) -> Close {
        Close { code, reason: Cow::Borrowed(reason) }
    }

    pub const NORMAL: Close = Close::new(1000, "");
    pub const GOING_AWAY: Close = Close::new(1001, "server shutting down");
    pub const IDLE: Close = Close::new(1001, "idle");
    pub const NO_PONG: Close = Close::new(1001, "no answer to ping");
    pub const PROTOCOL: Close = Close::new(1002, "protocol error");
    pub const INVALID_TEXT: Close = Close::new(1007, "invalid UTF-8");
    pub const POLICY: Close = Close::new(1008, "policy violation");
    pub const EXPIRED: Close = Close::new(1008, "token expired");
    pub const TOO_MANY_CONNECTIONS: Close = Close::new(1008, "too many connections");
    pub const TOO_BIG: Close = Close::new(1009, "message too big");
    pub const INTERNAL: Close = Close::new(1011, "internal error");
    pub const REVOKED: Close = Close::new(1008, "no longer allowed");
    pub const ENDPOINT_REMOVED: Close = Close::new(1012, "endpoint removed");
    pub const LISTENER_REMOVED: Close = Close::new(1012, "listener removed");
    pub const APP_REMOVED: Close = Close::new(1012, "app removed");
    pub const TOO_SLOW: Close = Close::new(1013, "too slow");
    pub const OVERLOADED: Close = Close::new(1013, "overloaded");
    /// Whether the client may come could not be decided: it is not refused, and comes back.
    pub const UNAVAILABLE: Close = Close::new(1013, "temporarily unavailable");
}
