//! What a channel class keeps and does for its channels: the hub's part of a `[[channel]]` table.

use crate::model::Ms;
use schemars::JsonSchema;
use serde::Deserialize;

/// Per class; small, so that it is copied.
#[derive(Clone, Copy, PartialEq, Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ClassOptions {
    /// Events kept for recovery and for the history call: `{ keep = 50, for = "1h" }`.
    pub history: Option<HistoryOptions>,
    /// Connections on one channel, over all shards. Beyond: refused, `limit:members`.
    #[schemars(range(min = 1))]
    pub members_max: Option<u32>,
    /// Keeps who is there; joins and leaves are told where the dialect has a message for them.
    pub presence: bool,
    /// A new subscriber is sent the newest event.
    pub last: bool,
    /// The sender hears its own publish.
    pub echo: bool,
    /// What happens to a reader too slow for its out-queue.
    pub overflow: Overflow,
    /// Each join becomes a record of `[audit]`.
    pub audit: bool,
}

impl Default for ClassOptions {
    fn default() -> ClassOptions {
        ClassOptions {
            history: None,
            members_max: None,
            presence: false,
            last: false,
            echo: true,
            overflow: Overflow::Close,
            audit: false,
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HistoryOptions {
    /// How many events.
    pub keep: u32,
    /// For how long.
    #[serde(rename = "for", default = "day")]
    pub ttl: Ms,
}

fn day() -> Ms {
    Ms::secs(86_400)
}

/// What happens to a reader too slow for its out-queue.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Overflow {
    /// Closed with 1013; it recovers from history.
    #[default]
    Close,
    /// Loses the oldest deliveries and is told how many.
    DropOldest,
    /// The same, those of low priority before others and urgent ones never; where that is not enough, closed.
    DropLow,
    /// Keeps the newest event of each key, and all events that have none, in order. Beyond 1,024 of them, or `queue_bytes`: closed.
    Conflate,
}
