//! Everything that changes while a test is played: connections, channels, what handlers keep, the clock.

use super::keep::Kept;
use crate::flow::{App, Bucket, Draft, Replies, Session, Target, UserBuckets, Wish};
use crate::hub::{Hub, Tally};
use crate::model::{AppId, Close, Identity, Mono, Now, Refusal, Slot};
use crate::observe::{Local, Metrics};
use crate::script::Finished;
use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex};

/// The first shard, and the only one.
pub(super) const ME: u16 = 0;

pub(super) struct World {
    pub app: Arc<App>,
    pub generation: u64,
    pub now: Now,
    /// Of the step that is being played: what comes of it is told with it.
    pub line: u32,
    /// Ids of connections that were given out.
    pub connected: u128,
    /// By slot; nobody's place is given to another.
    pub players: Vec<Player>,
    pub hub: Hub,
    pub counts: Local,
    /// What handlers count and measure.
    pub metrics: Arc<Metrics>,
    pub replies: Replies,
    pub users: Buckets,
    /// Closed, and still to give up their seats.
    pub leaving: Vec<(Slot, Option<u16>)>,
    /// Calls of handlers to come, in their order.
    pub jobs: VecDeque<Job>,
    pub kept: Kept,
    /// What went wrong in handlers, in its order, with the step's line.
    pub faults: VecDeque<(u32, String)>,
    /// What they printed.
    pub printed: VecDeque<String>,
}

/// One connection and what it has heard.
pub(super) struct Player {
    pub session: Session,
    pub open: bool,
    /// Not yet looked at, with the step's line.
    pub heard: VecDeque<(u32, Heard)>,
    /// Waits until a subscribe message is answered.
    pub held: Vec<Vec<u8>>,
}

pub(super) enum Heard {
    Text(String),
    Closed(Close),
}

impl fmt::Display for Heard {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Heard::Text(text) => f.write_str(text),
            Heard::Closed(close) => write!(f, "closed {} \"{}\"", close.code, close.reason),
        }
    }
}

/// Something for a worker to do.
pub(super) enum Job {
    Call(Box<Wish>, Cause),
    /// What was kept of a connection alone ends with it.
    Forget(Arc<str>),
}

/// Who wanted a call.
pub(super) enum Cause {
    Player(Slot),
    /// A timer, or what follows a publication.
    Nobody,
    /// A publication of a back end: `tally` counts whom it reaches, `refused` says why it did not happen.
    Api {
        tally: Option<Arc<Tally>>,
        refused: Arc<Mutex<Option<Refusal>>>,
    },
    /// A route waits for what becomes of it.
    Route(Arc<Mutex<Option<Finished>>>),
}

/// Message buckets of users.
#[derive(Default)]
pub(super) struct Buckets(RefCell<HashMap<(AppId, Arc<str>), Bucket>>);

impl UserBuckets for Buckets {
    fn take(&self, app: &App, identity: &Identity, wanted: u32, now: Mono) -> u32 {
        let Some(user) = &identity.user else { return wanted };
        let mut buckets = self.0.borrow_mut();
        buckets.entry((app.id, user.clone())).or_default().take(wanted, app.limits.messages_per_user, now)
    }
}

impl World {
    pub fn new(app: Arc<App>, generation: u64, now: Now, metrics: Arc<Metrics>) -> World {
        let mut hub = Hub::new(ME, 1, 1);
        hub.set_classes(app.id, app.classes.clone(), Some(app.policy.clone()));
        hub.begin(generation, now);
        World {
            app,
            generation,
            now,
            line: 0,
            connected: 0,
            players: Vec::new(),
            hub,
            counts: Local::new(),
            metrics,
            replies: Replies::default(),
            users: Buckets::default(),
            leaving: Vec::new(),
            jobs: VecDeque::new(),
            kept: Kept::default(),
            faults: VecDeque::new(),
            printed: VecDeque::new(),
        }
    }

    pub fn is_open(&self, slot: Slot) -> bool {
        self.players.get(slot as usize).is_some_and(|player| player.open)
    }

    /// Something reached a connection.
    pub fn tell(&mut self, slot: Slot, text: &[u8]) {
        if let Some(player) = self.players.get_mut(slot as usize).filter(|player| player.open) {
            player.heard.push_back((self.line, Heard::Text(String::from_utf8_lossy(text).into_owned())));
        }
    }

    /// Something went wrong in a handler.
    pub fn fault(&mut self, what: String) {
        self.faults.push_back((self.line, what));
    }

    /// An event goes to its channels, and everybody hears of it at once.
    pub fn publish(&mut self, target: Target, draft: Draft, tally: Option<Arc<Tally>>) {
        let app = self.app.clone();
        crate::flow::publish(&mut self.hub, &app, target, draft, None, tally, None, self.now);
        self.settle();
    }
}
