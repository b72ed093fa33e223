//! What an app calls the events in its log, and the fields that each of them has.

use super::CloseReason;
use crate::model::ConnectionId;
use schemars::JsonSchema;
use serde::Deserialize;
use std::net::{IpAddr, SocketAddr};

/// `[log]` of an app's file: the texts of its log lines, so that what reads its logs today goes on reading them. A line whose
/// text is empty is not written.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct LogNames {
    /// A connection was accepted: connectionId, userId, ip, totalConnections.
    pub connected: String,
    /// A connection ended: connectionId, userId, reason, code.
    pub disconnected: String,
    /// A client sent a message: connectionId, messageType, channel. At level `debug`.
    pub received: String,
    /// A connection ended by a mistake of its client or its transport: connectionId, error.
    pub failed: String,
    /// No token, or one that does not verify: connectionId, error, ip.
    pub auth_failed: String,
    /// A client subscribed: connectionId, userId, channel.
    pub subscribed: String,
    /// A client unsubscribed: connectionId, userId, channel.
    pub unsubscribed: String,
    /// A back end published or sent to many: channel, recipients, by.
    pub broadcast: String,
    /// The app answers on a listener: address.
    pub started: String,
}

impl Default for LogNames {
    fn default() -> LogNames {
        LogNames {
            connected: "connected".into(),
            disconnected: "disconnected".into(),
            received: "message received".into(),
            failed: "connection failed".into(),
            auth_failed: "authentication failed".into(),
            subscribed: "subscribed".into(),
            unsubscribed: "unsubscribed".into(),
            broadcast: "broadcast".into(),
            started: "started".into(),
        }
    }
}

/// One line, unless its text is empty.
macro_rules! line {
    ($level:ident, $text:expr, $($fields:tt)*) => {
        if !$text.is_empty() {
            tracing::$level!($($fields)*, "{}", $text);
        }
    };
}

// Texts of clients are recorded as strings, which the formatter quotes and escapes: nobody forges a line.
impl LogNames {
    pub fn connected(&self, app: &str, connection: ConnectionId, user: Option<&str>, ip: IpAddr, total: usize) {
        line!(info, self.connected, app, connectionId = %connection, userId = user, %ip, totalConnections = total);
    }

    pub fn disconnected(
        &self,
        app: &str,
        connection: ConnectionId,
        user: Option<&str>,
        reason: CloseReason,
        code: Option<u16>,
    ) {
        let reason = reason.as_str();
        line!(info, self.disconnected, app, connectionId = %connection, userId = user, reason, code);
    }

    pub fn received(&self, app: &str, connection: ConnectionId, kind: &str, channel: Option<&str>) {
        line!(debug, self.received, app, connectionId = %connection, messageType = kind, channel);
    }

    pub fn failed(&self, app: &str, connection: ConnectionId, error: &str) {
        line!(warn, self.failed, app, connectionId = %connection, error);
    }

    /// `error` says what was wrong with the token and nothing of what is in it.
    pub fn auth_failed(&self, app: &str, connection: Option<ConnectionId>, error: &str, ip: IpAddr) {
        let connection = connection.map(tracing::field::display);
        line!(warn, self.auth_failed, app, connectionId = connection, error, %ip);
    }

    pub fn subscribed(&self, app: &str, connection: ConnectionId, user: Option<&str>, channel: &str) {
        line!(info, self.subscribed, app, connectionId = %connection, userId = user, channel);
    }

    pub fn unsubscribed(&self, app: &str, connection: ConnectionId, user: Option<&str>, channel: &str) {
        line!(info, self.unsubscribed, app, connectionId = %connection, userId = user, channel);
    }

    /// `by`: the API key, or the route.
    pub fn broadcast(&self, app: &str, channel: Option<&str>, recipients: u32, by: &str) {
        line!(info, self.broadcast, app, channel, recipients, by);
    }

    pub fn started(&self, app: &str, address: SocketAddr) {
        line!(info, self.started, app, %address);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::sync::{Arc, Mutex};
    use tracing_subscriber::fmt::MakeWriter;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    impl<'a> MakeWriter<'a> for Lines {
        type Writer = Lines;
        fn make_writer(&'a self) -> Lines {
            self.clone()
        }
    }

    fn written(json: bool, work: impl FnOnce(&LogNames)) -> String {
        let lines = Lines::default();
        let names = LogNames { connected: "client_connected".into(), ..LogNames::default() };
        let builder = tracing_subscriber::fmt().with_writer(lines.clone()).with_max_level(tracing::Level::TRACE);
        match json {
            true => tracing::subscriber::with_default(builder.json().flatten_event(true).finish(), || work(&names)),
            false => tracing::subscriber::with_default(builder.with_ansi(false).finish(), || work(&names)),
        }
        String::from_utf8(lines.0.lock().unwrap().clone()).unwrap()
    }

    #[test]
    fn a_line_without_a_text_is_not_written() {
        let text = written(false, |names| {
            LogNames { received: String::new(), ..names.clone() }.received(
                "clinic",
                ConnectionId::uuid(7),
                "PING",
                None,
            );
            names.received("clinic", ConnectionId::uuid(7), "PONG", None);
        });
        assert!(text.contains("PONG") && !text.contains("PING"), "{text}");
    }

    #[test]
    fn a_line_has_the_app_s_text_and_the_fields_that_readers_know() {
        let id = ConnectionId::uuid(7);
        let text = written(true, |names| {
            names.connected("clinic", id, Some("u1"), [192, 0, 2, 1].into(), 3);
            names.received("clinic", id, "PING", None);
        });
        let lines: Vec<serde_json::Value> = text.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
        assert_eq!(lines[0]["message"], "client_connected");
        assert_eq!((&lines[0]["userId"], &lines[0]["totalConnections"]), (&"u1".into(), &3.into()));
        assert_eq!(lines[0]["connectionId"], id.to_string());
        assert_eq!(lines[1]["messageType"], "PING");
        assert!(lines[1].get("channel").is_none());
    }

    #[test]
    fn a_client_cannot_forge_a_line() {
        let text = written(false, |names| {
            names.received("clinic", ConnectionId::uuid(7), "x\n2026-01-01 ERROR forged\u{1b}[31m", Some("a\nb"))
        });
        assert_eq!(text.lines().count(), 1, "{text}");
        assert!(!text.contains('\u{1b}'), "{text}");
    }
}
