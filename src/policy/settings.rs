//! What a `[[channel]]` table says about permission. History, presence and overflow of the same table are `hub`'s.

use schemars::JsonSchema;
use serde::Deserialize;

/// One channel class.
#[derive(Clone, PartialEq, Eq, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ChannelSettings {
    /// The pattern: `:`-separated segments, each literal, `{variable}`, `*` or (last) `{*rest}`. Whole segments match:
    /// `tenant:1` is not `tenant:12`. The most specific pattern wins, whatever the order.
    pub name: String,
    /// Who may subscribe: an expression over `user`, the pattern's variables, `request`, `tables` and `now`.
    /// Without it: nobody.
    #[serde(default)]
    pub subscribe: Option<String>,
    /// Who may publish from a client. Without it: nobody; the API and plugins need no rule.
    #[serde(default)]
    pub publish: Option<String>,
    /// Who may ask for past events. Without it: whoever may subscribe.
    #[serde(default)]
    pub read_history: Option<String>,
    /// Who may ask who is there. Without it: whoever may subscribe.
    #[serde(default)]
    pub read_presence: Option<String>,
    /// What a refused client reads: the first entry whose `when` holds.
    #[serde(default)]
    pub refuse: Vec<RefuseSettings>,
    /// Another channel that this name stands for, such as `user:{user.id}:alerts`; its own rules decide as well.
    #[serde(default)]
    pub alias: Option<String>,
    /// Channels of the same home keep one order among each other. Without it each channel is its own home.
    #[serde(default)]
    pub home: Option<String>,
    /// Channels that hear each event too; a connection in several hears it once.
    #[serde(default)]
    pub also: Vec<String>,
}

/// One entry of `refuse`.
#[derive(Clone, PartialEq, Eq, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RefuseSettings {
    /// An expression like a rule's. Without it: always.
    #[serde(default)]
    pub when: Option<String>,
    /// The refusal's code. Without it: `denied`.
    #[serde(default)]
    pub code: Option<String>,
    /// The text for the client. Without it: the dialect's.
    #[serde(default)]
    pub message: Option<String>,
}
