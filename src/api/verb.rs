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

/// What the channels of an API key mean for a verb, where they are not all.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reach {
    /// The channel that it is about must be one of the key's.
    Channel,
    /// Goes to connections: many only through channels of the key that the call names, a user's or one by its id not.
    Through,
    /// Tells only what the key's channels are part of.
    Told,
    /// Concerns all connections, whatever they hear: not for such a key.
    Everything,
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

    /// What a key narrowed to channels may do with it. `run` holds calls to it.
    pub fn reach(self) -> Reach {
        match self {
            Verb::Publish | Verb::Unsubscribe | Verb::Presence | Verb::History => Reach::Channel,
            Verb::Broadcast | Verb::Send | Verb::Subscribe | Verb::Disconnect => Reach::Through,
            Verb::Channels | Verb::Connections => Reach::Told,
            Verb::Cleanup => Reach::Everything,
        }
    }
}
