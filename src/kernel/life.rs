//! From adoption to the last byte: greeting, closing, giving everything back.

use super::conn::{Closing, Conn, Stage};
use super::encode::Encoding;
use super::input::Client;
use super::io::{Io, Transport};
use super::kernel::Kernel;
use super::memory::{capped, handshake_bytes, identity_bytes};
use super::newcomer::Newcomer;
use super::queue::{Flushed, NO_CHANNEL, Queue};
use crate::dialect::{Answer, Dialect, Json};
use crate::flow::{App, Greeting, Rows, Session, Walk};
use crate::hub::Seat;
use crate::model::{Close, ConnectionId, Identity, Priority, Slot};
use crate::observe::{CloseReason, LimitName};
use crate::wire::{self, Reader};
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
            heard: self.mark,
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
        let slot = self.conns.insert(conn) as Slot;
        self.conns[slot as usize].session.slot = slot;
        if self.io.watch(slot, &self.conns[slot as usize].transport).is_err() {
            self.conns.remove(slot as usize);
            return;
        }
        self.by_id.insert(id, slot);
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
        if leftover || self.conns.get(slot as usize).is_some_and(|c| c.transport.may_hold_input()) {
            self.read_later(slot);
        }
    }

    fn opened(&mut self, slot: Slot, app: &App) {
        let session = &self.conns[slot as usize].session;
        let user = session.identity.user.as_deref();
        app.log.connected(&app.name, session.id, user, session.ip, self.shared.connections.connections() as usize);
        let session = &self.conns[slot as usize].session;
        if !session.newcomer {
            self.greet(slot, app, true);
        } else if app.json(session.endpoint).is_some_and(Json::greets_at_open) {
            self.answer(slot, &Answer::Hello);
        }
    }

    /// The greeting, unless it was said before, and the channels that the app subscribes by itself.
    pub(super) fn greet(&mut self, slot: Slot, app: &App, hello: bool) {
        let Some(endpoint) = app.endpoint(self.conns[slot as usize].session.endpoint) else { return };
        let Dialect::Json(json) = &*endpoint.dialect else { return };
        let own = &endpoint.subscribe;
        let permits = self.walk(slot, json, app, |walk| own.iter().filter_map(|auto| walk.permit_auto(auto)).collect());
        self.walk(slot, json, app, |walk| walk.seat_and_greet(permits, hello));
        self.carry();
        self.greet_on(slot);
    }

    /// Says the greeting once the endpoint's own channels have seated the connection.
    pub(super) fn greet_on(&mut self, slot: Slot) {
        let greeting = &mut self.conns[slot as usize].session.greeting;
        let Some(greeting) = greeting.take_if(|greeting| greeting.waiting.is_empty()) else { return };
        let Greeting { hello, unread, .. } = *greeting;
        if unread {
            self.read_later(slot);
        }
        let Some(app) = self.app_of(slot).filter(|_| self.conns[slot as usize].is_open()) else { return };
        let Some(json) = app.json(self.conns[slot as usize].session.endpoint) else { return };
        if hello {
            self.answer(slot, &Answer::Hello);
        }
        if app.handlers.is_some()
            && let Err(refusal) = self.walk(slot, json, &app, |walk| walk.connected())
        {
            self.walk(slot, json, &app, |walk| walk.refuse(&refusal, None, None));
        }
        self.let_go(slot);
        if let Some(close) = json.close_after_hello() {
            self.close(slot, close.clone());
        }
    }

    /// Walks the corridor with one connection.
    pub(super) fn walk<T>(&mut self, slot: Slot, json: &Json, app: &App, step: impl FnOnce(&mut Walk) -> T) -> T {
        let result = self.step(slot, json, app, step);
        self.reply(slot, app);
        result
    }

    /// What it came to is left in `replies`.
    pub(super) fn step<T>(&mut self, slot: Slot, json: &Json, app: &App, step: impl FnOnce(&mut Walk) -> T) -> T {
        self.memory_of(app.id);
        step(&mut Walk {
            app,
            generation: self.generation.number,
            json,
            rows: Rows { tables: &app.tables, now: self.now.mono, asks: true },
            session: &mut self.conns[slot as usize].session,
            hub: &mut self.hub,
            counts: &mut self.counts,
            users: &*self.shared,
            now: self.now,
            replies: &mut self.replies,
            room: self.memory[app.id.0 as usize].room(),
        })
    }

    /// As `walk`, with the connection's own dialect; nothing where it has none.
    pub(super) fn walk_own<T>(&mut self, slot: Slot, step: impl FnOnce(&mut Walk) -> T) -> Option<T> {
        let app = self.app_of(slot)?;
        let json = app.json(self.conns[slot as usize].session.endpoint)?;
        Some(self.walk(slot, json, &app, step))
    }

    /// Says something to one connection.
    pub(super) fn answer(&mut self, slot: Slot, answer: &Answer<'_>) {
        self.walk_own(slot, |walk| walk.say(answer, None));
    }

    /// The same past the bound of its queue: whoever calls this is about to look at the bound.
    pub(super) fn answer_past_bounds(&mut self, slot: Slot, answer: &Answer<'_>) {
        let Some(app) = self.app_of(slot) else { return };
        let Some(json) = app.json(self.conns[slot as usize].session.endpoint) else { return };
        self.step(slot, json, &app, |walk| walk.say(answer, None));
        let mut replies = std::mem::take(&mut self.replies);
        for text in replies.texts() {
            let frame = self.text_frame(slot, &app, text);
            let entry = self.own(slot, frame, NO_CHANNEL, Priority::Urgent);
            self.enqueue(slot, entry);
        }
        replies.clear();
        self.replies = replies;
    }

    pub(super) fn text_frame(&mut self, slot: Slot, app: &App, text: &[u8]) -> Vec<u8> {
        let window = self.conns[slot as usize].encoding.window;
        let mut frame = Vec::with_capacity(text.len() + 10);
        self.encoder.frame(text, window, app.limits.deflate_threshold.0, &mut frame);
        frame
    }

    /// Carries out what a walk came to.
    fn reply(&mut self, slot: Slot, app: &App) {
        let mut replies = std::mem::take(&mut self.replies);
        self.resettle(&mut replies.moved);
        self.recount(slot);
        if !replies.is_empty() {
            let open = self.conns.get(slot as usize).is_some_and(Conn::is_open);
            if open {
                for text in replies.texts() {
                    let frame = self.text_frame(slot, app, text);
                    self.push_reply(slot, frame);
                }
                for (errand, question) in replies.errands.drain(..) {
                    self.run_errand(slot, errand, question);
                }
            }
            // Those about its end too.
            for wish in replies.wishes.drain(..) {
                self.call(slot, wish);
            }
            if open && let Some(close) = replies.close.take() {
                self.close(slot, close);
            }
        }
        replies.clear();
        self.replies = replies;
    }

    /// Tells connections the new places of their seats.
    fn resettle(&mut self, moved: &mut Vec<(Seat, u32)>) {
        for (seat, index) in moved.drain(..) {
            if let Some(sub) = self.conns[seat.slot as usize].session.subs.get_mut(seat.sub as usize) {
                sub.seat = index;
            }
        }
    }

    /// Begins to close: our close frame goes out, the client's answer or a deadline ends it.
    pub fn close(&mut self, slot: Slot, close: Close) {
        let mut frame = Vec::with_capacity(128);
        wire::close_frame(&close, &mut frame);
        self.begin_close(slot, close, frame, false);
    }

    /// The client closes: its code goes back, and that is all.
    pub(super) fn client_closes(&mut self, slot: Slot, code: Option<u16>) {
        if let Stage::Closing(closing) = &mut self.conns[slot as usize].stage {
            (closing.answered, closing.deaf) = (true, true);
            return self.close_further(slot);
        }
        let close = code.map_or(Close::NORMAL, |code| Close { code, reason: "".into() });
        let mut frame = Vec::with_capacity(4);
        match code {
            Some(_) => wire::close_frame(&close, &mut frame),
            None => wire::header(wire::OpCode::Close, 0, false, &mut frame),
        }
        self.begin_close(slot, close, frame, true);
    }

    /// The one place that decides that a connection ends.
    ///
    /// The order matters. The stage comes first: from then on `push` takes nothing for this connection, so nothing that
    /// is done here leads back here. Then what waits is written as far as the socket takes it at once: an answer that
    /// was given just before is still heard. The rest is dropped, but for a frame that is half written, because the
    /// close frame must begin where a frame ends. The close frame is queued past all bounds.
    fn begin_close(&mut self, slot: Slot, close: Close, frame: Vec<u8>, answered: bool) {
        let Some(conn) = self.conns.get_mut(slot as usize).filter(|c| c.is_open()) else { return };
        // Bytes that were read and not looked at go too; the client's close frame may be among them.
        let paused = conn.intake.take();
        let deaf = answered || paused.as_ref().is_some_and(|intake| intake.holds_bytes());
        let closing = Closing { since: self.now.mono, close, answered, deaf, ended: false, received: 0 };
        conn.stage = Stage::Closing(Box::new(closing));
        let before = conn.queued();
        (conn.conflated, conn.held) = (None, None);
        conn.reader.close_only();
        self.leaving.push((slot, conn.session.id));
        let written = if conn.blocked {
            Ok((0, Flushed::Blocked))
        } else {
            conn.queue.flush(&mut conn.transport, &mut self.scratch)
        };
        conn.queue.keep_begun();
        self.recount(slot);
        let conn = &mut self.conns[slot as usize];
        self.queued_bytes = (self.queued_bytes + conn.queued()).saturating_sub(before);
        match written {
            Ok((written, _)) => self.counts.bytes_sent += written as u64,
            Err(_) => return self.remove(slot, CloseReason::Lost),
        }
        let entry = self.own(slot, frame, NO_CHANNEL, Priority::Urgent);
        self.enqueue(slot, entry);
        self.schedule(slot);
        if paused.is_some() {
            self.read_later(slot);
        }
    }

    /// Nothing that the client sends matters any more: it broke the protocol, or what it sent was cut. The server ends
    /// the connection without waiting for a close frame (RFC 6455 §7.1.7).
    pub(super) fn hear_no_more(&mut self, slot: Slot) {
        if let Some(Stage::Closing(closing)) = self.conns.get_mut(slot as usize).map(|c| &mut c.stage) {
            closing.deaf = true;
            self.conns[slot as usize].reader.end();
            self.close_further(slot);
        }
    }

    /// Once our close frame is out and nothing is heard any more, the server ends its side of the TCP connection first
    /// (RFC 6455 §7.1.1). Where both close frames are exchanged and nothing is unread, that is all, and its places are
    /// free for the next. Else it does not close the socket yet: the kernel answers bytes that nobody read with a reset,
    /// and a reset throws away the close frame on its way. What the client still sends is read and dropped until its
    /// side ends too, or `close_timeout` or `close_bytes` end it.
    fn close_further(&mut self, slot: Slot) {
        let conn = &mut self.conns[slot as usize];
        let Stage::Closing(closing) = &mut conn.stage else { return };
        if !closing.deaf || closing.ended || !conn.queue.is_empty() {
            return;
        }
        match conn.transport.half_close() {
            Ok(true) if closing.answered && !matches!(conn.transport.read(&mut [0]), Ok(1..)) => {
                let reason = self.reason_of(slot);
                self.remove(slot, reason);
            }
            Ok(ended) => {
                closing.ended = ended;
                conn.blocked |= !ended;
            }
            Err(_) => {
                let reason = self.reason_of(slot);
                self.remove(slot, reason);
            }
        }
    }

    /// Counts what comes of a connection that closes. Beyond `close_bytes` its socket is dropped.
    pub(super) fn may_still_send(&mut self, slot: Slot, bytes: usize) -> bool {
        let bytes_max = self.app_of(slot).map_or(0, |app| app.limits.close_bytes.0 as usize);
        let Stage::Closing(closing) = &mut self.conns[slot as usize].stage else { return true };
        closing.received += bytes;
        if closing.received <= bytes_max {
            return true;
        }
        self.counts.limit(LimitName::CloseBytes);
        let reason = self.reason_of(slot);
        self.remove(slot, reason);
        false
    }

    pub(super) fn reason_of(&self, slot: Slot) -> CloseReason {
        match &self.conns[slot as usize].stage {
            Stage::Closing(closing) if closing.close == Close::NORMAL => CloseReason::Client,
            Stage::Closing(closing) => CloseReason::of(&closing.close),
            Stage::Open | Stage::Gone => CloseReason::Lost,
        }
    }

    /// At the end of the tick in which it closed: its channels are told, its places given back.
    pub(super) fn leave_all(&mut self, slot: Slot, id: ConnectionId) {
        if self.conns.get(slot as usize).is_none_or(|c| c.session.id != id) {
            return;
        }
        if self.handled(slot) {
            self.walk_own(slot, |walk| walk.leaving());
        }
        let mut moved = std::mem::take(&mut self.replies.moved);
        self.conns[slot as usize].session.leave_all(&mut self.hub, self.now, &mut moved);
        self.resettle(&mut moved);
        self.replies.moved = moved;
    }

    /// Writes what waits. One write where one is enough.
    pub(super) fn flush_one(&mut self, slot: Slot) {
        let Some(conn) = self.conns.get_mut(slot as usize) else { return };
        conn.dirty = false;
        let nothing = conn.queue.is_empty() && !conn.transport.wants_flush();
        if conn.blocked || nothing || conn.stage == Stage::Gone {
            return self.recount_queue(slot);
        }
        let before = conn.queue.bytes();
        let result = conn.queue.flush(&mut conn.transport, &mut self.scratch);
        let conn = &mut self.conns[slot as usize];
        self.queued_bytes = (self.queued_bytes + conn.queue.bytes()).saturating_sub(before);
        match result {
            Ok((written, flushed)) => {
                self.counts.bytes_sent += written as u64;
                if flushed == Flushed::Blocked {
                    // From now on it waits: it was not blocked before, or its socket said that it is not any more.
                    conn.blocked = true;
                    conn.progress_at = self.now.mono;
                    self.schedule(slot);
                    return self.recount_queue(slot);
                }
                conn.progress_at = self.now.mono;
                if conn.counted.queue > 0 {
                    self.recount_queue(slot);
                }
                let conn = &mut self.conns[slot as usize];
                if conn.conflated.is_some() {
                    self.release(slot);
                } else if !conn.is_open() {
                    self.close_further(slot);
                }
            }
            Err(_) => self.remove(slot, CloseReason::Lost),
        }
    }

    /// The socket takes bytes again.
    pub(super) fn write_on(&mut self, slot: Slot) {
        let Some(conn) = self.conns.get_mut(slot as usize) else { return };
        if !std::mem::take(&mut conn.blocked) {
            return;
        }
        self.flush_one(slot);
    }

    /// The socket is done with. Its connection is forgotten at the end of the tick: a batch may be on its way through
    /// the seats at this moment.
    pub(super) fn remove(&mut self, slot: Slot, reason: CloseReason) {
        let Some(conn) = self.conns.get_mut(slot as usize).filter(|c| c.stage != Stage::Gone) else { return };
        // Where it was not ended in order: dropping it does the rest.
        let _ = conn.transport.half_close();
        let (id, user) = (conn.session.id, conn.session.identity.user.clone());
        let code = match std::mem::replace(&mut conn.stage, Stage::Gone) {
            Stage::Closing(closing) => Some(closing.close.code),
            Stage::Open | Stage::Gone => None,
        };
        self.counts.app(conn.session.app).closed(reason);
        if let Some(app) = self.app_of(slot) {
            app.log.disconnected(&app.name, id, user.as_deref(), reason, code);
        }
        self.gone.push((slot, code));
    }

    /// Forgets a connection that is gone.
    pub(super) fn forget(&mut self, slot: Slot, code: Option<u16>) {
        let Some(id) = self.conns.get(slot as usize).map(|c| c.session.id) else { return };
        self.leave_all(slot, id);
        if self.handled(slot) {
            self.walk_own(slot, |walk| walk.disconnected(code));
            self.forget_entity(slot);
        }
        let conn = self.conns.remove(slot as usize);
        self.uncount(&conn);
        self.queued_bytes = self.queued_bytes.saturating_sub(conn.queued());
        self.by_id.remove(&id);
        self.shared.loaded(self.me, -1);
    }

    /// Closes at the drains' pace.
    pub(super) fn drain_some(&mut self) {
        let mut drains = std::mem::take(&mut self.drains);
        drains.retain_mut(|drain| {
            let elapsed = self.now.mono.since(drain.since) + 100;
            let due = (elapsed * drain.pace as u64 / 1_000).saturating_sub(drain.closed);
            if due == 0 {
                return true;
            }
            let here = |c: &Conn<I::Transport>| {
                c.is_open() && drain.listener.is_none_or(|number| number == c.session.listener)
            };
            let open = self.conns.iter().filter(|(_, c)| here(c)).map(|(slot, _)| slot as Slot);
            let slots: Vec<Slot> = open.take(due as usize).collect();
            drain.closed += slots.len() as u64;
            let all = (slots.len() as u64) < due;
            for slot in slots {
                let own = self.app_of(slot).filter(|_| drain.listener.is_none()).and_then(|app| {
                    let json = app.json(self.conns[slot as usize].session.endpoint)?;
                    json.shutdown().cloned()
                });
                if drain.listener.is_none() {
                    self.answer(slot, &Answer::Shutdown);
                }
                self.close(slot, own.unwrap_or_else(|| drain.close.clone()));
            }
            // Who comes late to a listener that is gone is turned away at once.
            drain.listener.is_none() || !all
        });
        self.drains = drains;
    }

    /// Whether it is still there, and open.
    pub(super) fn is_open(&self, client: Client) -> bool {
        self.is_same(client.slot, client.id) && self.conns[client.slot as usize].is_open()
    }

    pub(super) fn is_same(&self, slot: Slot, id: ConnectionId) -> bool {
        self.conns.get(slot as usize).is_some_and(|c| c.session.id == id)
    }
}
