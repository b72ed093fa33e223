//! What handlers ask for.

use crate::model::{Command, Message};
use std::sync::Arc;

/// One thing that a handler asked for, to be carried out by the gateway after it returned. What belongs to the entity or
/// the store (state, key-values, timers, webhooks) never leaves `script` this way.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// In the app's own name: all its channels, no rule.
    Do(Command),
    /// To whoever's message is being handled; the HTTP answer where a route is.
    Reply(Reply),
    /// Adds to a counter of the app's own: `weir_app_events_total{app,name}`.
    Count { name: Arc<str>, by: u64 },
    /// Sets a gauge of the app's own: `weir_app_value{app,name}`.
    Gauge { name: Arc<str>, value: f64 },
}

/// An answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Reply {
    pub message: Message,
    /// Of a route; 200 if missing.
    pub status: Option<u16>,
    /// Of a route: names in lower case.
    pub headers: Vec<(String, String)>,
}
