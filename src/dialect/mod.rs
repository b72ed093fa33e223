//! What a client writes and reads: message text ⇄ nouns, by the tables in an app's file.
//! Leaves to others: frames (`wire`), whether it may happen (`policy`), who hears it (`hub`). No socket, no clock.
//! In: message text, `Answer`, `Event`. Out: `Request` or `Refused`, message text.

pub mod json;

pub use json::template::Template;
pub use json::{About, Answer, Asked, Bound, ConnectionIds, Json, Member, Refused, Settings};

/// How an endpoint speaks.
#[derive(Clone, Debug)]
pub enum Dialect {
    /// JSON messages as a `[dialect.NAME]` table describes them.
    Json(Box<Json>),
    /// Each text or binary message goes back as it came; the shard does that. For conformance suites.
    Echo,
}

impl Dialect {
    /// Names that an endpoint may give without a table of that name.
    pub const BUILT_IN: [&'static str; 1] = ["echo"];

    /// The dialect of a name in `BUILT_IN`.
    pub fn built_in(name: &str) -> Option<Dialect> {
        (name == "echo").then_some(Dialect::Echo)
    }

    /// How its connections are named.
    pub fn connection_ids(&self) -> ConnectionIds {
        match self {
            Dialect::Json(json) => json.connection_ids(),
            Dialect::Echo => ConnectionIds::Uuid,
        }
    }
}
