//! What an app calls the events in its log, and the fields that each of them has.

use super::CloseReason;
use crate::model::ConnectionId;
use schemars::JsonSchema;
use serde::Deserialize;
use std::net::SocketAddr;

/// `[log]` of an app's file: the texts of its log lines, so that what reads its logs today goes on reading them.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct LogNames {
    /// A connection was accepted: connectionId, userId, totalConnections.
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

// Texts of clients are recorded as strings, which the formatter quotes and escapes: nobody forges a line.
impl LogNames {
    pub fn connected(&self, app: &str, connection: ConnectionId, user: Option<&str>, total: usize) {
        tracing::info!(app, connectionId = %connection, userId = user, totalConnections = total, "{}", self.connected);
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
        tracing::info!(app, connectionId = %connection, userId = user, reason, code, "{}", self.disconnected);
    }

    pub fn received(&self, app: &str, connection: ConnectionId, kind: &str, channel: Option<&str>) {
        tracing::debug!(app, connectionId = %connection, messageType = kind, channel, "{}", self.received);
    }

    pub fn failed(&self, app: &str, connection: ConnectionId, error: &str) {
        tracing::warn!(app, connectionId = %connection, error, "{}", self.failed);
    }

    /// `error` says what was wrong with the token and nothing of what is in it.
    pub fn auth_failed(&self, app: &str, connection: Option<ConnectionId>, error: &str, ip: std::net::IpAddr) {
        let connection = connection.map(tracing::field::display);
        tracing::warn!(app, connectionId = connection, error, %ip, "{}", self.auth_failed);
    }

    pub fn subscribed(&self, app: &str, connection: ConnectionId, user: Option<&str>, channel: &str) {
        tracing::info!(app, connectionId = %connection, userId = user, channel, "{}", self.subscribed);
    }

    pub fn unsubscribed(&self, app: &str, connection: ConnectionId, user: Option<&str>, channel: &str) {
        tracing::info!(app, connectionId = %connection, userId = user, channel, "{}", self.unsubscribed);
    }

    /// `by`: the API key, or the route.
    pub fn broadcast(&self, app: &str, channel: Option<&str>, recipients: u32, by: &str) {
        tracing::info!(app, channel, recipients, by, "{}", self.broadcast);
    }

    pub fn started(&self, app: &str, address: SocketAddr) {
        tracing::info!(app, %address, "{}", self.started);
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
    fn a_line_has_the_app_s_text_and_the_fields_that_readers_know() {
        let id = ConnectionId::uuid(7);
        let text = written(true, |names| {
            names.connected("clinic", id, Some("u1"), 3);
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
