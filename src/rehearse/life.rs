//! A connection's life on the stage, as `shard` has it: opened, greeted, its messages, its end.

use super::world::{Cause, Heard, Job, ME, Player, World};
use crate::dialect::{Answer, Dialect};
use crate::flow::{Errand, KeptRequest, Question, Room, Rows, Session, Walk, Whose};
use crate::hub::Seat;
use crate::model::{Close, Code, ConnectionId, Identity, Refusal, Slot};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

/// Where everybody comes from.
pub(super) const IP: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
/// What the ids of connections begin with; those of `uuid()` begin with nothing.
const CONNECTIONS: u128 = 0xc000_0000 << 96;

impl World {
    /// Somebody connects to an endpoint, already known.
    pub fn open(&mut self, endpoint: u16, identity: Identity, request: KeptRequest) -> Slot {
        let slot = self.players.len() as Slot;
        self.connected += 1;
        let app = self.app.clone();
        let id = match app.endpoint(endpoint) {
            Some(endpoint) => endpoint.dialect.connection_ids().make(self.now.wall, CONNECTIONS | self.connected),
            None => ConnectionId::uuid(CONNECTIONS | self.connected),
        };
        let mut session = Session::new(id, app.id, endpoint, IP, self.now);
        (session.slot, session.shard) = (slot, ME);
        session.identity = Arc::new(identity);
        session.user_agent = Some("weir test".into());
        session.request = Some(Arc::new(request));
        self.players.push(Player { session, open: true, heard: Default::default(), held: Vec::new() });
        self.counts.app(app.id).opened += 1;
        self.greet(slot);
        self.settle();
        slot
    }

    fn greet(&mut self, slot: Slot) {
        let app = self.app.clone();
        let Some(endpoint) = app.endpoint(self.players[slot as usize].session.endpoint) else { return };
        let Dialect::Json(json) = &*endpoint.dialect else { return };
        self.walk(slot, |walk| walk.say(&Answer::Hello, None));
        for auto in &endpoint.subscribe {
            let permit = self.walk(slot, |walk| walk.permit_auto(auto)).flatten();
            if let Some(permit) = permit {
                self.walk(slot, |walk| walk.seat(permit, Whose::Endpoint));
                self.carry();
            }
        }
        self.walk(slot, |walk| {
            if let Err(refusal) = walk.connected() {
                walk.refuse(&refusal, None, None);
            }
        });
        if let Some(close) = json.close_after_hello() {
            self.close(slot, close.clone());
        }
    }

    /// A message of a client.
    pub fn receive(&mut self, slot: Slot, text: &str) {
        if !self.is_open(slot) {
            return;
        }
        let app = self.app.clone();
        let session = &mut self.players[slot as usize].session;
        session.last_activity = self.now.mono;
        match app.endpoint(session.endpoint).map(|e| &*e.dialect) {
            Some(Dialect::Json(_)) => {
                self.walk(slot, |walk| match walk.charge() {
                    Ok(()) => walk.receive(text),
                    Err(refusal) => walk.refuse_unread(Some(text), &refusal),
                });
            }
            _ => self.tell(slot, text.as_bytes()),
        }
        self.settle();
    }

    /// Walks the corridor with one connection; nothing where its endpoint has no JSON dialect.
    pub fn walk<T>(&mut self, slot: Slot, step: impl FnOnce(&mut Walk) -> T) -> Option<T> {
        let app = self.app.clone();
        let account = self.metrics.memory.app(app.id);
        let session = &mut self.players.get_mut(slot as usize)?.session;
        let mut walk = Walk {
            json: app.json(session.endpoint)?,
            app: &app,
            generation: self.generation,
            rows: Rows { tables: &app.tables, now: self.now.mono, asks: true },
            session,
            hub: &mut self.hub,
            counts: &mut self.counts,
            users: &self.users,
            now: self.now,
            replies: &mut self.replies,
            room: Room { account: &account, full: false },
        };
        let result = step(&mut walk);
        self.reply(slot);
        Some(result)
    }

    /// Carries out what a walk came to.
    fn reply(&mut self, slot: Slot) {
        let mut replies = std::mem::take(&mut self.replies);
        self.resettle(&mut replies.moved);
        if self.is_open(slot) {
            replies.texts().for_each(|text| self.tell(slot, text));
            for (errand, question) in replies.errands.drain(..) {
                self.run_errand(slot, errand, question);
            }
        }
        for wish in replies.wishes.drain(..) {
            self.jobs.push_back(Job::Call(Box::new(wish), Cause::Player(slot)));
        }
        if let Some(close) = replies.close.take() {
            self.close(slot, close);
        }
        replies.clear();
        self.replies = replies;
    }

    /// Tells connections the new places of their seats.
    pub fn resettle(&mut self, moved: &mut Vec<(Seat, u32)>) {
        for (seat, index) in moved.drain(..) {
            if let Some(sub) = self.players[seat.slot as usize].session.subs.get_mut(seat.sub as usize) {
                sub.seat = index;
            }
        }
    }

    fn run_errand(&mut self, slot: Slot, errand: Errand, question: Question) {
        let asked = crate::dialect::Asked { id: question.id.as_deref(), kind: &question.kind };
        let app = self.app.id;
        match errand {
            Errand::History { channel, since, limit, .. } => {
                let page = self.hub.history(app, &channel, since, limit);
                let (name, position) = (channel.as_str(), Some(page.position));
                let answer = Answer::History { channel: name, position, events: &page.events, more: page.more };
                self.walk(slot, |walk| walk.say(&answer, Some(asked)));
            }
            Errand::Presence { channel, .. } => {
                let members = self.hub.presence(app, &channel);
                let answer = Answer::Presence { channel: channel.as_str(), members: &members };
                self.walk(slot, |walk| walk.say(&answer, Some(asked)));
            }
            // Who somebody is, a test says when they connect.
            Errand::Authenticate { .. } => match self.players[slot as usize].session.identity.user {
                Some(_) => drop(self.walk(slot, |walk| walk.say(&Answer::Authenticated, Some(asked)))),
                None => {
                    let refusal = Refusal::new(Code::Unauthenticated);
                    self.walk(slot, |walk| walk.refuse(&refusal, None, Some(asked)));
                }
            },
        }
    }

    /// The gateway closes a connection.
    pub fn close(&mut self, slot: Slot, close: Close) {
        if self.is_open(slot) {
            let code = close.code;
            self.players[slot as usize].heard.push_back((self.line, Heard::Closed(close)));
            self.end(slot, Some(code));
        }
    }

    /// A connection ends, with a close frame or without.
    pub fn end(&mut self, slot: Slot, code: Option<u16>) {
        let player = &mut self.players[slot as usize];
        if std::mem::take(&mut player.open) {
            self.leaving.push((slot, code));
        }
    }

    /// It gives up its seats, and the app's handlers hear of its end.
    pub fn leave(&mut self, slot: Slot, code: Option<u16>) {
        self.walk(slot, |walk| walk.leaving());
        let mut moved = Vec::new();
        self.players[slot as usize].session.leave_all(&mut self.hub, self.now, &mut moved);
        self.resettle(&mut moved);
        self.walk(slot, |walk| walk.disconnected(code));
        let own = self.players[slot as usize].session.entity();
        self.jobs.push_back(Job::Forget(own.into()));
    }
}
