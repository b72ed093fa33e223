//! What can be asked for over HTTP.

/// One verb: `POST /api/publish`, `do = "publish"` of a route, a word in an API key's `verbs`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Verb {
    Publish,
    Broadcast,
    Send,
    Subscribe,
    Unsubscribe,
    Disconnect,
    Cleanup,
    Presence,
    History,
    Channels,
    Connections,
}

impl Verb {
    pub const ALL: [Verb; 11] = [
        Verb::Publish,
        Verb::Broadcast,
        Verb::Send,
        Verb::Subscribe,
        Verb::Unsubscribe,
        Verb::Disconnect,
        Verb::Cleanup,
        Verb::Presence,
        Verb::History,
        Verb::Channels,
        Verb::Connections,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Verb::Publish => "publish",
            Verb::Broadcast => "broadcast",
            Verb::Send => "send",
            Verb::Subscribe => "subscribe",
            Verb::Unsubscribe => "unsubscribe",
            Verb::Disconnect => "disconnect",
            Verb::Cleanup => "cleanup",
            Verb::Presence => "presence",
            Verb::History => "history",
            Verb::Channels => "channels",
            Verb::Connections => "connections",
        }
    }

    pub fn parse(word: &str) -> Option<Verb> {
        Verb::ALL.into_iter().find(|v| v.as_str() == word)
    }

    /// Whether it only looks: asked with GET.
    pub fn reads(self) -> bool {
        matches!(self, Verb::Presence | Verb::History | Verb::Channels | Verb::Connections)
    }

    /// What it takes.
    pub fn fields(self) -> &'static [&'static str] {
        match self {
            Verb::Publish => &["channel", "channels", "data", "event", "key", "exclude"],
            Verb::Broadcast => &["message", "data", "filter", "exclude"],
            Verb::Send => &["user", "connection", "message", "data"],
            Verb::Subscribe | Verb::Unsubscribe => &["user", "connection", "channel"],
            Verb::Disconnect => &["user", "connection", "filter", "code", "reason"],
            Verb::Cleanup => &["idle_ms"],
            Verb::Presence => &["channel"],
            Verb::History => &["channel", "since", "limit"],
            Verb::Channels => &["pattern", "limit"],
            Verb::Connections => &["user", "channel", "connection", "limit"],
        }
    }

    /// What it cannot do without: one field of each.
    pub fn required(self) -> &'static [&'static [&'static str]] {
        match self {
            Verb::Publish => &[&["channel", "channels"], &["data"]],
            Verb::Broadcast => &[&["message", "data"]],
            Verb::Send => &[&["user", "connection"], &["data", "message"]],
            Verb::Subscribe | Verb::Unsubscribe => &[&["user", "connection"], &["channel"]],
            Verb::Disconnect => &[&["user", "connection", "filter"]],
            Verb::Presence | Verb::History => &[&["channel"]],
            Verb::Cleanup | Verb::Channels | Verb::Connections => &[],
        }
    }
}
