//! One call of a handler: what it is told, and what becomes of it.

use super::{App, Reply};
use crate::model::{ChannelName, ConnectionId, Identity, Millis, Now, Refusal, Slot};
use crate::policy::RequestView;
use bytes::Bytes;
use serde_json::value::RawValue;
use std::net::IpAddr;
use std::sync::Arc;

/// What a handler is called about. Its text forms are `event.kind`.
#[derive(Clone, Debug)]
pub enum Trigger {
    /// A message of a client that is bound to a handler; its type as the client wrote it.
    Message {
        kind: Box<str>,
    },
    /// Before a publication.
    Publish {
        event: Option<Arc<str>>,
        key: Option<Arc<str>>,
    },
    /// After it.
    Published {
        event: Option<Arc<str>>,
        key: Option<Arc<str>>,
    },
    Subscribe,
    Subscribed,
    Unsubscribed,
    Connect,
    /// The close code, where there was one.
    Disconnect {
        code: Option<u16>,
    },
    Timer {
        name: Arc<str>,
    },
    Route(Box<Web>),
}

impl Trigger {
    pub fn as_str(&self) -> &'static str {
        match self {
            Trigger::Message { .. } => "message",
            Trigger::Publish { .. } => "publish",
            Trigger::Published { .. } => "published",
            Trigger::Subscribe => "subscribe",
            Trigger::Subscribed => "subscribed",
            Trigger::Unsubscribed => "unsubscribed",
            Trigger::Connect => "connect",
            Trigger::Disconnect { .. } => "disconnect",
            Trigger::Timer { .. } => "timer",
            Trigger::Route(_) => "route",
        }
    }
}

impl Trigger {
    /// It has happened already: nobody waits for the handler, and nobody can be refused.
    pub fn is_past(&self) -> bool {
        match self {
            Trigger::Published { .. }
            | Trigger::Subscribed
            | Trigger::Unsubscribed
            | Trigger::Disconnect { .. }
            | Trigger::Timer { .. } => true,
            Trigger::Message { .. }
            | Trigger::Publish { .. }
            | Trigger::Subscribe
            | Trigger::Connect
            | Trigger::Route(_) => false,
        }
    }
}

/// An HTTP request that a route hands to a handler; its body is the event's `data`.
#[derive(Clone, Debug)]
pub struct Web {
    pub method: Box<str>,
    pub path: Box<str>,
    /// Decoded, in their order.
    pub query: Vec<(String, String)>,
    /// Names in lower case. Credentials (`authorization`, `cookie`, API keys) are left out.
    pub headers: Vec<(String, String)>,
    pub ip: IpAddr,
}

/// The connection that a call is about.
#[derive(Clone)]
pub struct Connection {
    pub id: ConnectionId,
    pub shard: u16,
    pub slot: Slot,
    pub ip: IpAddr,
    pub connected_at: Millis,
    /// The path of its endpoint, as the file writes it.
    pub endpoint: Arc<str>,
    pub user_agent: Option<Arc<str>>,
    /// Where the app keeps it.
    pub request: Option<Arc<dyn RequestView + Send + Sync>>,
}

/// The message that a reply answers.
#[derive(Clone, Debug)]
pub struct Asker {
    pub id: Option<Box<RawValue>>,
    pub kind: Box<str>,
}

/// What a handler is told: `event` in the script.
#[derive(Clone)]
pub struct Event {
    pub trigger: Trigger,
    /// `event.data`: JSON text; empty where there is none.
    pub data: Bytes,
    /// `event.user`.
    pub identity: Arc<Identity>,
    /// `event.connection`.
    pub connection: Option<Arc<Connection>>,
    pub asker: Option<Asker>,
    /// `event.channel`.
    pub channel: Option<ChannelName>,
    /// `event.vars`: of the class's pattern, the endpoint's or the route's path.
    pub vars: Vec<(Arc<str>, Box<str>)>,
    pub at: Now,
}

impl Event {
    /// An event that no connection caused.
    pub fn of_nobody(trigger: Trigger, data: Bytes, at: Now) -> Event {
        Event {
            trigger,
            data,
            identity: Identity::anonymous(),
            connection: None,
            asker: None,
            channel: None,
            vars: Vec::new(),
            at,
        }
    }
}

/// One call, on its way to a worker.
pub struct Call {
    /// The app as its call began; a reload does not change it.
    pub app: Arc<App>,
    /// The number of the generation.
    pub generation: u64,
    /// The function, by its number in the app's plugin.
    pub handler: u16,
    /// Whose state: a key such as `queue:c1`. `None`: it has none, and waits for nobody.
    pub entity: Option<Arc<str>>,
    pub event: Event,
    pub then: Then,
}

/// Told once, on a worker's thread or the store's, in the order in which an entity's calls ended. After what the call
/// keeps is committed, before its effects are carried out: a publication comes before what its handler publishes. Must
/// not wait.
pub type Then = Box<dyn FnOnce(Finished) + Send>;

/// What became of a call.
pub struct Finished {
    /// The event, given back. `data` is what the handler returned, where it returned something.
    pub event: Event,
    /// `Ok(true)`: `event.data` was replaced. Err: nothing of the call is carried out; the client may read it. A fault of
    /// the handler's is `Code::Internal`; its place and text went to the log.
    pub result: Result<bool, Refusal>,
    /// What a route answers.
    pub reply: Option<Reply>,
    /// Of a route: how many connections its effects reach, once all are counted.
    pub recipients: Option<tokio::sync::oneshot::Receiver<u32>>,
}
