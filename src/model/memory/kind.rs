//! What bytes are held for.

/// What bytes are held for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// What was published, as long as a history, a batch, a queue or a call has it; frames that several readers share.
    Events,
    /// Entries of out-queues, and frames of one reader.
    Queues,
    /// Messages of which the end has not come.
    Messages,
    /// Channels and what they remember, what was published not counted.
    Channels,
    /// Connections: what is known of them, and their subscriptions.
    Connections,
    /// State of handlers' entities, and timers.
    Entities,
    /// Calls that wait for a handler.
    Calls,
    /// HTTP connections and the bodies of requests.
    Http,
}

impl Kind {
    pub const ALL: [Kind; 8] = [
        Kind::Events,
        Kind::Queues,
        Kind::Messages,
        Kind::Channels,
        Kind::Connections,
        Kind::Entities,
        Kind::Calls,
        Kind::Http,
    ];

    /// As metrics write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Events => "events",
            Kind::Queues => "queues",
            Kind::Messages => "messages",
            Kind::Channels => "channels",
            Kind::Connections => "connections",
            Kind::Entities => "entities",
            Kind::Calls => "calls",
            Kind::Http => "http",
        }
    }
}
