//! From adoption to the greeting.

use super::conn::{Conn, Stage};
use super::encode::Encoding;
use super::io::{Io, Transport};
use super::kernel::Kernel;
use super::memory::{handshake_bytes, identity_bytes};
use super::newcomer::Newcomer;
use super::queue::Queue;
use crate::dialect::{Answer, Dialect};
use crate::flow::{App, Greeting, Session};
use crate::model::{Close, Identity, Slot, capped};
use crate::wire::Reader;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

impl<I: Io> Kernel<I> {
    /// Takes a connection over. `chance`: of which its id is made; nobody else may know it before.
    pub fn open(&mut self, transport: I::Transport, new: Newcomer, chance: u128) {
        if catch_unwind(AssertUnwindSafe(|| self.adopt(transport, new, chance))).is_err() {
            self.mend();
        }
    }

    fn adopt(&mut self, transport: I::Transport, new: Newcomer, chance: u128) {
        let Some(app) = self.generation.app(new.app).cloned() else { return };
        // Numbers may have changed since it was routed.
        let same = app.endpoint(new.endpoint).filter(|e| e.key == new.endpoint_key).map(|_| new.endpoint);
        let number = same.or_else(|| app.endpoint_of(&new.endpoint_key));
        let Some((number, endpoint)) = number.and_then(|n| Some((n, app.endpoint(n)?))) else { return };
        let id = endpoint.dialect.connection_ids().make(self.now.wall, chance);
        let mut session = Session::new(id, app.id, number, new.ip, self.now);
        session.listener = new.listener;
        session.shard = self.me;
        session.newcomer = new.identity.is_none() && new.close_at_once.is_none();
        session.expiry = endpoint.auth.iter().find_map(|auth| auth.expiry());
        session.identity = new.identity.unwrap_or_else(Identity::anonymous);
        let known = transport.held_bytes() + handshake_bytes(new.user_agent.as_deref(), new.request.as_deref());
        session.known_bytes = identity_bytes(&session.identity).saturating_add(capped(known));
        session.user_agent = new.user_agent;
        session.request = new.request.map(|r| Arc::new(*r) as _);
        let conn = Conn {
            transport,
            session,
            reader: Reader::new(new.deflate),
            queue: Queue::default(),
            stage: Stage::Open,
            dirty: false,
            blocked: false,
            heard: self.out.mark(),
            encoding: Encoding::new(number, new.deflate),
            progress_at: self.now.mono,
            pinged_at: None,
            tick: 0,
            conflated: None,
            held: None,
            unread: false,
            intake: None,
            counted: Default::default(),
            seat: new.seat,
        };
        let slot = self.conns.insert(conn);
        if self.io.watch(slot, &self.conns[slot].transport).is_err() {
            self.conns.remove(slot);
            return;
        }
        self.shared.loaded(self.me, 1);
        self.counts.app(app.id).opened += 1;
        self.recount(slot);
        let close_at_once = new.close_at_once;
        if !self.is_listening(new.listener) {
            self.close(slot, Close::LISTENER_REMOVED);
        } else if let Some(close) = close_at_once {
            match &new.refusal {
                Some(refusal) => {
                    app.log.failed(&app.name, id, &close.reason);
                    self.walk_own(slot, |walk| walk.tell(refusal, None, None));
                }
                // Who could not be judged has not failed.
                None if close == Close::UNAVAILABLE => app.log.failed(&app.name, id, &close.reason),
                None => app.log.auth_failed(&app.name, Some(id), &close.reason, new.ip),
            }
            self.close(slot, close);
        } else {
            self.opened(slot, &app);
        }
        self.schedule(slot);
        // What came behind the handshake is the beginning of the stream.
        let leftover = !new.leftover.is_empty();
        if leftover {
            self.hear_no_more(slot); // where it closes already: that was the beginning of what it sent
        }
        self.keep_waiting(slot, new.leftover.as_ref().into(), 0);
        if leftover || self.conns.get(slot).is_some_and(|c| c.transport.may_hold_input()) {
            self.read_later(slot);
        }
    }

    fn opened(&mut self, slot: Slot, app: &App) {
        let session = &self.conns[slot].session;
        let user = session.identity.user.as_deref();
        app.log.connected(&app.name, session.id, user, session.ip, self.shared.connections.connections() as usize);
        let session = &self.conns[slot].session;
        if !session.newcomer {
            self.greet(slot, app, true);
        } else if app.dialect(session.endpoint).is_some_and(Dialect::greets_at_open) {
            self.answer(slot, &Answer::Hello);
        }
    }

    /// The greeting, unless it was said before, and the channels that the app subscribes by itself.
    pub(super) fn greet(&mut self, slot: Slot, app: &App, hello: bool) {
        let Some(endpoint) = app.endpoint(self.conns[slot].session.endpoint) else { return };
        let dialect = &*endpoint.dialect;
        if dialect.echoes() {
            return;
        }
        let own = &endpoint.subscribe;
        let permits =
            self.walk(slot, dialect, app, |walk| own.iter().filter_map(|auto| walk.permit_auto(auto)).collect());
        self.walk(slot, dialect, app, |walk| walk.seat_and_greet(permits, hello));
        self.carry();
        self.greet_on(slot);
    }

    /// Says the greeting once the endpoint's own channels have seated the connection.
    pub(super) fn greet_on(&mut self, slot: Slot) {
        let greeting = &mut self.conns[slot].session.greeting;
        let Some(greeting) = greeting.take_if(|greeting| greeting.waiting.is_empty()) else { return };
        let Greeting { hello, unread, .. } = *greeting;
        if unread {
            self.read_later(slot);
        }
        let Some(app) = self.app_of(slot).filter(|_| self.conns[slot].is_open()) else { return };
        let Some(dialect) = app.dialect(self.conns[slot].session.endpoint) else { return };
        if hello {
            self.answer(slot, &Answer::Hello);
        }
        if app.handlers.is_some()
            && let Err(refusal) = self.walk(slot, dialect, &app, |walk| walk.connected())
        {
            self.walk(slot, dialect, &app, |walk| walk.refuse(&refusal, None, None));
        }
        self.let_go(slot);
        if let Some(close) = dialect.close_after_hello() {
            self.close(slot, close.clone());
        }
    }
}
