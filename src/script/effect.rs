//! What handlers ask for.

use crate::model::{ChannelName, Close, ConnectionId, Priority, Target};
use bytes::Bytes;
use std::sync::Arc;

/// One thing that a handler asked for, to be carried out by the gateway after it returned. What belongs to the entity or
/// the store (state, key-values, timers, webhooks) never leaves `script` this way.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// To all of these channels; whoever hears several hears it once.
    Publish {
        channels: Vec<ChannelName>,
        message: Message,
        key: Option<Arc<str>>,
        exclude: Option<ConnectionId>,
        priority: Priority,
    },
    /// Past all channels.
    Send {
        target: Target,
        message: Message,
    },
    /// To whoever's message is being handled; the HTTP answer where a route is.
    Reply(Reply),
    Join {
        connection: ConnectionId,
        channel: ChannelName,
    },
    Leave {
        connection: ConnectionId,
        channel: ChannelName,
    },
    Close {
        target: Target,
        close: Close,
    },
    /// Adds to a counter of the app's own: `weir_app_events_total{app,name}`.
    Count {
        name: Arc<str>,
        by: u64,
    },
    /// Sets a gauge of the app's own: `weir_app_value{app,name}`.
    Gauge {
        name: Arc<str>,
        value: f64,
    },
}

/// A message: JSON text, and the event's name where there is one.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    pub event: Option<Arc<str>>,
    pub data: Bytes,
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
