//! The values of labels: closed sets, so that nothing a client sends can make a new time series.

use crate::model::Close;

macro_rules! labels {
    ($($(#[$doc:meta])* $name:ident { $($(#[$inner:meta])* $variant:ident = $text:literal,)* })*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
        pub enum $name { $($(#[$inner])* $variant,)* }

        impl $name {
            pub const ALL: [$name; [$($text),*].len()] = [$($name::$variant),*];

            /// As metrics and statistics write it.
            pub fn as_str(self) -> &'static str {
                match self { $($name::$variant => $text,)* }
            }
        }
    )*};
}

labels! {
    /// Why a connection ended.
    CloseReason {
        /// The client's close frame.
        Client = "client",
        /// The transport ended without a close frame.
        Lost = "lost",
        Idle = "idle",
        NoPong = "no_pong",
        /// The client broke RFC 6455.
        Protocol = "protocol",
        TooBig = "too_big",
        Policy = "policy",
        /// No token, a bad one, one that ended or that could not be judged.
        Auth = "auth",
        /// A slow reader.
        Slow = "slow",
        /// A bound of connections or memory.
        Limit = "limit",
        /// The app's file, a rule change or a plugin ended it.
        App = "app",
        /// The HTTP API ended it.
        Api = "api",
        Shutdown = "shutdown",
        Internal = "internal",
    }
    /// Whose publish it was.
    Via {
        Client = "client",
        /// The HTTP API.
        Api = "api",
        /// A `[[route]]`.
        Route = "route",
        Plugin = "plugin",
    }
    /// What happened to a slow reader.
    SlowAction {
        Closed = "closed",
        /// Lost its oldest deliveries.
        Dropped = "dropped",
        Conflated = "conflated",
    }
    AuthOutcome {
        Identified = "identified",
        Anonymous = "anonymous",
        Missing = "missing",
        Failed = "failed",
        /// Keys or rows could not be had: neither yes nor no.
        Unavailable = "unavailable",
    }
    /// Why a client got no connection.
    RefusedFor {
        /// No token where one is needed.
        NoToken = "no_token",
        /// A token that does not count.
        Token = "token",
        /// Keys or rows that decide cannot be had.
        Unavailable = "unavailable",
        /// A page of an `Origin` that may not connect.
        Origin = "origin",
        /// Nothing is served at this address.
        NotFound = "not_found",
        /// No handshake as RFC 6455 has it.
        Handshake = "handshake",
        /// A bound; `weir_limit_hits_total` says which.
        Limit = "limit",
        Draining = "draining",
    }
    /// What became of a handler's call.
    CallResult {
        Ok = "ok",
        /// The handler said no.
        Refused = "refused",
        /// The handler's own mistake.
        Fault = "fault",
        /// It did not run, or what it kept found no room.
        Overloaded = "overloaded",
    }
    /// Bounds of handlers, mostly by their names in `[script]` and `[entity.NAME]`.
    HandlerLimit {
        Operations = "operations",
        Deadline = "deadline",
        CallDepth = "call_depth",
        /// A text, an array, a map, or variables.
        Size = "size",
        CallBytes = "call_bytes",
        Effects = "effects",
        ReadWait = "read_wait",
        /// Events that a script cannot hold, which `history` left out.
        Unreadable = "unreadable",
        Timers = "timers",
        /// `bytes` of an `[entity.NAME]`.
        EntityBytes = "entity_bytes",
        /// `max` of an `[entity.NAME]`.
        Entities = "entities",
        EntityQueue = "entity_queue",
        /// `queue` and `queue_bytes` of the process.
        Queue = "queue",
        Breaker = "breaker",
        /// `limits.memory`: the app's part of it.
        Memory = "memory",
        /// Transactions that wait for the store.
        Store = "store",
        /// `pending_max` of a webhook.
        Webhook = "webhook",
    }
    /// Bounds by their names in `[limits]` and `[http]`.
    LimitName {
        Connections = "connections",
        ConnectionsPerIp = "connections_per_ip",
        AttemptsPerIp = "attempts_per_ip",
        HandshakeTimeout = "handshake_timeout",
        Memory = "memory",
        AppConnections = "app_connections",
        ConnectionsPerUser = "connections_per_user",
        ConnectionsPerClaim = "connections_per_claim",
        Subscriptions = "subscriptions",
        MembersMax = "members_max",
        SubscribeBatch = "subscribe_batch",
        MessageBytes = "message_bytes",
        MessageFragments = "message_fragments",
        Frames = "frames",
        Items = "items",
        CloseBytes = "close_bytes",
        Messages = "messages",
        MessagesPerUser = "messages_per_user",
        Violations = "violations",
        QueueBytes = "queue_bytes",
        QueueAge = "queue_age",
        AuthTimeout = "auth_timeout",
        HistoryBytes = "history_bytes",
        /// `connections` of `[http]`.
        HttpConnections = "http_connections",
        /// `connections_per_ip` of `[http]`.
        HttpConnectionsPerIp = "http_connections_per_ip",
        /// Descriptors that are kept back for operators and files.
        OpenFiles = "open_files",
        HeaderTimeout = "header_timeout",
        HeaderBytes = "header_bytes",
        BodyBytes = "body_bytes",
        BodyTimeout = "body_timeout",
        /// `limit` of a `[[route]]`.
        Route = "route",
    }
}

impl CloseReason {
    /// The reason that a close of Weir's own stands for; an app's own code is `App`.
    pub fn of(close: &Close) -> CloseReason {
        match close {
            c if *c == Close::IDLE => CloseReason::Idle,
            c if *c == Close::NO_PONG => CloseReason::NoPong,
            c if *c == Close::EXPIRED || *c == Close::UNAVAILABLE => CloseReason::Auth,
            c if *c == Close::TOO_MANY_CONNECTIONS || *c == Close::OVERLOADED => CloseReason::Limit,
            c if *c == Close::TOO_SLOW => CloseReason::Slow,
            c => match c.code {
                1001 => CloseReason::Shutdown,
                1002 | 1003 | 1007 => CloseReason::Protocol,
                1008 => CloseReason::Policy,
                1009 => CloseReason::TooBig,
                1011 => CloseReason::Internal,
                1013 => CloseReason::Limit,
                _ => CloseReason::App,
            },
        }
    }
}
