//! What listings show of the live gateway.

use super::{ChannelName, ConnectionId, Identity, Millis};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

/// A live connection, as listings show it.
#[derive(Clone, Debug)]
pub struct ConnectionInfo {
    pub id: ConnectionId,
    pub identity: Arc<Identity>,
    pub channels: Vec<ChannelName>,
    pub ip: IpAddr,
    pub user_agent: Option<Arc<str>>,
    pub endpoint: Arc<str>,
    pub connected_at: Millis,
    pub last_activity: Millis,
    pub queued_bytes: usize,
}

/// A channel with at least one subscriber or history.
#[derive(Clone, Debug)]
pub struct ChannelInfo {
    pub name: ChannelName,
    pub subscribers: usize,
    /// When it came into use.
    pub since: Millis,
}

/// An app's figures over all shards.
#[derive(Clone, Debug, Default)]
pub struct AppStats {
    pub connections: usize,
    pub channels: usize,
    pub subscriptions: usize,
    /// Connections by the value of a claim, for each claim asked for.
    pub by: Vec<(String, BTreeMap<String, usize>)>,
    pub traffic: Traffic,
    /// What the app's handlers count and measure, by their names.
    pub own: BTreeMap<String, f64>,
}

/// What an app heard and said since the process started.
#[derive(Clone, Copy, Debug, Default)]
pub struct Traffic {
    /// Messages of clients.
    pub received: u64,
    /// Events put into out-queues.
    pub delivered: u64,
    /// Over the last minute.
    pub delivered_per_second: f64,
    pub published: u64,
    pub refused: u64,
    pub uptime_ms: u64,
}
