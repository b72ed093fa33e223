//! Decides whether something may happen on a channel. Pure: no clock, no socket, no lock.
//!
//! A channel's name finds its class: the most specific pattern, whatever the order in the file; a channel without a
//! class does not exist. The class's rule for the right asked for then says yes, or the answer is no: a missing rule,
//! a rule that errs, and a rule that reads something missing all refuse.
//!
//! Leaves to others: who somebody is (`auth`), what a permit is used for (`hub`), where a rule stands (`config`).
//!
//! In: `ChannelSettings`, `Identity`, `RequestView`, `Tables`, the time. Out: `Permit` or `Refusal`.
//! No other room can make a `Permit`, and without one nothing passes `flow`'s doors to the hub.

mod class;
mod decide;
mod explain;
mod lint;
mod pattern;
mod permit;
mod rule;
mod settings;
mod template;
#[cfg(test)]
mod tests;
mod trie;

pub use class::{Class, Match};
pub use decide::{Asking, Policy, RequestView};
pub use explain::{Explanation, Part};
pub use lint::{Doubt, Shadow};
pub use pattern::Pattern;
pub use permit::{History, Permit, Presence, Publish, Right, RightKind, Scope, Subscribe};
pub use rule::{Always, Cache, Reads, Rule, RuleError};
pub use settings::{ChannelSettings, RefuseSettings};
pub use template::{Template, Unnamed};
