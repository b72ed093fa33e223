//! What each operation takes: the one table that calls are read by, routes are checked against, and
//! `weir schema openapi` describes. `tests/tables.rs` holds it against what reading asks for.

use super::call::{EVENT_BYTES_MAX, IDLE_MS, LIST, PAGE, REASON_BYTES_MAX};
use super::once::KEY_BYTES_MAX;
use super::verb::Verb;
use crate::model::Priority;

/// One member of a body, or one parameter of a query.
pub(super) struct Field {
    pub name: &'static str,
    pub takes: Takes,
    /// As JSON.
    pub example: &'static str,
    /// For people: what it means, and what holds without it.
    pub says: &'static str,
}

/// What a field may be.
#[derive(Clone, Copy)]
pub(super) enum Takes {
    /// The name of a channel.
    Channel,
    /// One of them, or several.
    Channels,
    /// Patterns as those of classes.
    Pattern,
    /// A connection's id.
    Connection,
    /// `e1f:42`
    Position,
    /// A text of so many bytes, at least and at most.
    Text(usize, Option<usize>),
    Word(&'static [&'static str]),
    /// A whole number; a text of digits is as good.
    Number,
    /// The code of a close frame.
    CloseCode,
    /// JSON that goes out as it was written; not null.
    Json,
    /// Whom a broadcast or a disconnect is for.
    Filter,
    /// An absolute path on the gateway's machine.
    Path,
    /// Those of a batch.
    Commands,
}

/// What a call cannot do without.
pub(super) enum Required {
    /// At least one of these.
    Any(&'static [&'static str]),
    /// Exactly one of these.
    One(&'static [&'static str]),
}

impl Required {
    pub fn names(&self) -> &'static [&'static str] {
        match self {
            Required::Any(names) | Required::One(names) => names,
        }
    }
}

macro_rules! fields {
    ($($name:ident = $text:literal $takes:expr, $example:literal, $says:literal;)*) => {
        $(pub(super) const $name: Field = Field { name: $text, takes: $takes, example: $example, says: $says };)*
    };
}

fields! {
    APP = "app" Takes::Text(0, None), r#""chat""#,
        "Which app. Without it: the one that the listener names, else the only one there that the key covers; where there are several the answer names it.";
    IDEMPOTENCY_KEY = "idempotency_key" Takes::Text(1, Some(KEY_BYTES_MAX)), r#""order-42-paid""#,
        "A request that comes again with it, within five minutes and with the same body, gets the first answer and does nothing.";
    CHANNEL = "channel" Takes::Channel, r#""room:42""#,
        "The channel.";
    CHANNELS = "channels" Takes::Channels, r#"["room:42", "room:43"]"#,
        "Several channels: all or none. A connection on two of them hears it once for each.";
    ON_CHANNEL = "channel" Takes::Channel, r#""room:42""#,
        "Only connections that are on this channel.";
    DATA = "data" Takes::Json, r#"{"type": "note", "text": "hello"}"#,
        "What subscribers hear, byte for byte.";
    MESSAGE = "message" Takes::Json, r#"{"type": "note", "text": "hello"}"#,
        "What connections hear, byte for byte.";
    MESSAGE_TOO = "data" Takes::Json, r#"{"type": "note", "text": "hello"}"#,
        "Another name of `message`.";
    EVENT = "event" Takes::Text(0, Some(EVENT_BYTES_MAX)), r#""note""#,
        "The event's name, where clients hear one.";
    KEY = "key" Takes::Text(0, Some(EVENT_BYTES_MAX)), r#""ticket-7""#,
        "What it is the newest state of: `overflow = \"conflate\"` keeps one event of each key.";
    EXCLUDE = "exclude" Takes::Connection, r#""550e8400-e29b-41d4-a716-446655440000""#,
        "A connection that does not hear it.";
    PRIORITY = "priority" Takes::Word(&PRIORITIES), r#""high""#,
        "What `overflow = \"drop_low\"` drops first, and what never. Without it: `medium`.";
    FILTER = "filter" Takes::Filter, r#"{"users": ["u1", "u2"], "claims": {"role": ["admin"]}, "channels": ["room:42"]}"#,
        "Only connections that all of its parts name.";
    EMPTY_LISTS = "empty_lists" Takes::Word(&["nobody", "everybody"]), r#""nobody""#,
        "Whom an empty list in `filter` names; with `everybody` null is as good. Without it: `nobody`.";
    USER = "user" Takes::Text(0, None), r#""u1""#,
        "All connections of this user.";
    CONNECTION = "connection" Takes::Connection, r#""550e8400-e29b-41d4-a716-446655440000""#,
        "This connection.";
    CODE = "code" Takes::CloseCode, r#"4000"#,
        "Of the close frame. Without it: 1000, after which documented clients stay away.";
    REASON = "reason" Takes::Text(0, Some(REASON_BYTES_MAX)), r#""signed out""#,
        "Of the close frame.";
    IDLE = "idle_ms" Takes::Number, r#"600000"#,
        "Connections without a frame for so many milliseconds. Without it: 300,000.";
    SINCE = "since" Takes::Position, r#""e1f:42""#,
        "Only events after this position, as `position` of another answer has it.";
    LIMIT_OF_PAGE = "limit" Takes::Number, r#"100"#,
        "How many events at most: 1 to 1,000, the nearer bound beyond. Without it: 100.";
    LIMIT_OF_LIST = "limit" Takes::Number, r#"100"#,
        "How many are listed at most: 1 to 10,000, the nearer bound beyond. Without it: 1,000.";
    PATTERN = "pattern" Takes::Pattern, r#""room:*""#,
        "Only channels that match: `clinic:*:queue`, `clinic:{*rest}`. Without it: all.";
    COMMANDS = "commands" Takes::Commands, r#"[{"publish": {"channel": "room:42", "data": {"n": 1}}}, {"presence": {"channel": "room:42"}}]"#,
        "One after another, each with an answer of its own: 1,000 at most.";
    CANDIDATE = "candidate" Takes::Path, r#""/srv/weir/next""#,
        "A folder with the gateway.toml and channels/ that might be put in force, as the gateway's machine names it: an absolute path.";
    DOES = "does" Takes::Word(&["subscribe", "publish", "history", "presence"]), r#""publish""#,
        "What is asked for. Without it: `subscribe`.";
    ON = "on" Takes::Channel, r#""room:42""#,
        "The channel.";
}

const PRIORITIES: [&str; 4] =
    [Priority::Low.as_str(), Priority::Medium.as_str(), Priority::High.as_str(), Priority::Urgent.as_str()];

impl Verb {
    /// What it takes, of a route's `with` and of the HTTP API alike.
    pub(super) fn fields(self) -> &'static [Field] {
        match self {
            Verb::Publish => const { &[CHANNEL, CHANNELS, DATA, EVENT, KEY, EXCLUDE, PRIORITY] },
            Verb::Broadcast => const { &[MESSAGE, MESSAGE_TOO, FILTER, EMPTY_LISTS, EXCLUDE] },
            Verb::Send => const { &[USER, CONNECTION, MESSAGE, MESSAGE_TOO] },
            Verb::Subscribe | Verb::Unsubscribe => const { &[USER, CONNECTION, CHANNEL] },
            Verb::Disconnect => const { &[USER, CONNECTION, FILTER, EMPTY_LISTS, CODE, REASON] },
            Verb::Cleanup => const { &[IDLE] },
            Verb::Presence => const { &[CHANNEL] },
            Verb::History => const { &[CHANNEL, SINCE, LIMIT_OF_PAGE] },
            Verb::Channels => const { &[PATTERN, LIMIT_OF_LIST] },
            Verb::Connections => const { &[USER, ON_CHANNEL, CONNECTION, LIMIT_OF_LIST] },
        }
    }

    pub(super) fn needs(self) -> &'static [Required] {
        const MESSAGES: Required = Required::One(&["message", "data"]);
        const TARGETS: Required = Required::One(&["user", "connection"]);
        const ONE_CHANNEL: Required = Required::Any(&["channel"]);
        match self {
            Verb::Publish => const { &[Required::Any(&["channel", "channels"]), Required::Any(&["data"])] },
            Verb::Broadcast => const { &[MESSAGES] },
            Verb::Send => const { &[TARGETS, MESSAGES] },
            Verb::Subscribe | Verb::Unsubscribe => const { &[TARGETS, ONE_CHANNEL] },
            Verb::Disconnect => const { &[Required::One(&["user", "connection", "filter"])] },
            Verb::Presence | Verb::History => const { &[ONE_CHANNEL] },
            Verb::Cleanup | Verb::Channels | Verb::Connections => &[],
        }
    }
}

// The texts above say these numbers.
const _: () = assert!(IDLE_MS == 300_000 && PAGE.0 == 100 && PAGE.1 == 1_000 && LIST.0 == 1_000 && LIST.1 == 10_000);
