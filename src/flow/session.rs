//! What the corridor remembers of one connection.

use super::{Target, Wish};
use crate::hub::{AskedBy, Hub, Seat};
use crate::model::{AppId, Bucket, ChannelName, ConnectionId, Identity, Member, Mono, Now, Refusal, Slot};
use crate::policy::RequestView;
use serde_json::value::RawValue;
use std::net::IpAddr;
use std::sync::Arc;

/// A connection on its way through the corridor; its socket is `shard`'s. Small: most connections are idle.
pub struct Session {
    pub id: ConnectionId,
    pub app: AppId,
    pub endpoint: u16,
    /// The number of the listener that it came by.
    pub listener: u16,
    pub identity: Arc<Identity>,
    /// Still to authenticate with its first message.
    pub newcomer: bool,
    pub ip: IpAddr,
    pub user_agent: Option<Arc<str>>,
    /// Path variables, query and headers, where the app's rules read them.
    pub request: Option<Arc<dyn RequestView + Send + Sync>>,
    /// Its number among the shards.
    pub shard: u16,
    pub connected_at: Now,
    /// Of any frame.
    pub last_activity: Mono,
    /// Of a message.
    pub last_message: Mono,
    pub subs: Vec<Sub>,
    /// Subscribe messages whose channels' homes have not all answered.
    pub(super) asks: Option<Box<Asks>>,
    pub(super) next_ask: u32,
    pub slot: Slot,
    /// Whether it ends with its token.
    pub expiry: Option<crate::auth::Expiry>,
    /// Its endpoint's own channels that have yet to seat it: it is greeted after that, and hears nothing before.
    pub greeting: Option<Box<Greeting>>,
    /// It was greeted: handlers know of it.
    pub greeted: bool,
    /// Its last token could not be judged, for keys or rows could not be had: it is not sent away as one without.
    pub undecided: bool,
    /// It was told that its token ends.
    pub warned: bool,
    /// Deliveries wait until a subscribe message is answered in whole.
    pub holding: bool,
    pub(super) bucket: Bucket,
    /// Of the user's bucket, taken but not used.
    pub(super) granted: u16,
    pub(super) violations: u32,
    pub(super) memory: Option<Box<Remembered>>,
    /// What it has known of its client since the handshake, and its identity: bytes.
    pub known_bytes: u32,
}

/// A greeting that waits.
pub struct Greeting {
    pub waiting: Vec<ChannelName>,
    /// Whether it is said; it may have been at the open.
    pub hello: bool,
    /// What the client sent meanwhile waits.
    pub unread: bool,
}

/// Boxed, because nearly all connections have none.
#[derive(Default)]
pub(super) struct Asks(pub Vec<Ask>);

/// One subscription: the channel's number in this shard's hub, and the seat there.
#[derive(Clone, Copy, Debug)]
pub struct Sub {
    pub channel: u32,
    pub seat: u32,
    pub by: By,
    /// The generation's number (its low bits) under which it was reported that it is not allowed; 0: none.
    pub reported: u16,
}

/// Who wanted a subscription. Only what a client asked for was allowed by its channel's rule.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum By {
    Client,
    /// The app's file: the endpoint's own channels.
    Endpoint,
    /// The HTTP API or a plugin.
    Api,
}

impl From<AskedBy> for By {
    fn from(asked_by: AskedBy) -> By {
        match asked_by {
            AskedBy::Client(_) => By::Client,
            AskedBy::Endpoint => By::Endpoint,
            AskedBy::Api | AskedBy::Plugin => By::Api,
        }
    }
}

/// A subscribe message that is not yet answered in whole.
pub(super) struct Ask {
    pub number: u32,
    pub id: Option<Box<RawValue>>,
    pub kind: Box<str>,
    /// Seats asked for and not yet offered.
    pub waiting: Vec<ChannelName>,
    pub allowed: Vec<Box<str>>,
    pub denied: Vec<(Box<str>, Refusal)>,
    /// Answered once, rather than a channel at a time.
    pub whole: bool,
    /// Handlers that hear of the seats once the client was told.
    pub wishes: Vec<Wish>,
}

impl Ask {
    fn held_bytes(&self) -> usize {
        let id = self.id.as_ref().map_or(0, |id| id.get().len());
        let names = self.allowed.iter().map(|name| name.len() + 32).sum::<usize>();
        let denied = self.denied.iter().map(|(name, _)| name.len() + size_of::<Refusal>() + 32).sum::<usize>();
        size_of::<Ask>() + id + self.kind.len() + self.waiting.len() * 32 + names + denied + self.wishes.len() * 512
    }
}

/// The channel published to last: most clients publish to one. True until the identity's version or the generation
/// changes.
pub(super) struct Remembered {
    pub version: u32,
    pub name: ChannelName,
    pub target: Target,
}

impl Session {
    pub fn new(id: ConnectionId, app: AppId, endpoint: u16, ip: IpAddr, now: Now) -> Session {
        Session {
            id,
            app,
            endpoint,
            listener: 0,
            identity: Identity::anonymous(),
            newcomer: false,
            ip,
            user_agent: None,
            request: None,
            connected_at: now,
            last_activity: now.mono,
            last_message: now.mono,
            subs: Vec::new(),
            asks: None,
            next_ask: 0,
            slot: 0,
            shard: 0,
            expiry: None,
            greeting: None,
            greeted: false,
            undecided: false,
            warned: false,
            holding: false,
            bucket: Bucket::default(),
            granted: 0,
            violations: 0,
            memory: None,
            known_bytes: 0,
        }
    }
}

impl Session {
    /// What it holds beside itself. Costs the same for all but those with a subscribe message that is not answered.
    pub fn held_bytes(&self) -> usize {
        let asks = self.asks.as_ref().map_or(0, |asks| asks.0.iter().map(Ask::held_bytes).sum());
        let remembered = self.memory.as_ref().map_or(0, |m| size_of::<Remembered>() + m.name.as_str().len());
        self.known_bytes as usize + self.subs.capacity() * size_of::<Sub>() + remembered + asks
    }

    /// Gives up the seat of one subscription. Seats of others that thereby have a new index are added to `moved`.
    pub fn rise(&mut self, at: usize, hub: &mut Hub, now: Now, moved: &mut Vec<(Seat, u32)>) {
        let sub = self.subs.swap_remove(at);
        if let Some(moved) = self.subs.get(at) {
            hub.channel_mut(moved.channel).seats[moved.seat as usize].sub = at as u32;
        }
        let member = Member { connection: self.id, identity: self.identity.clone(), joined_at: now.wall };
        if let Some(seat) = hub.rise(sub.channel, sub.seat, member, now) {
            moved.push((seat, sub.seat));
        }
    }

    /// Gives up all seats; what it asked for and was not yet given, too. Needs no app: that one may be gone.
    pub fn leave_all(&mut self, hub: &mut Hub, now: Now, moved: &mut Vec<(Seat, u32)>) {
        self.asks = None;
        self.holding = false;
        while !self.subs.is_empty() {
            self.rise(self.subs.len() - 1, hub, now, moved);
        }
    }
}
