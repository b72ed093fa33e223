//! Bytes from a socket → messages → the corridor.

use super::conn::Stage;
use super::mailbox::Job;
use super::shard::Shard;
use crate::dialect::{Answer, Asked, Dialect};
use crate::flow::{Errand, Question};
use crate::hub::{Batch, Join, Joined, Published};
use crate::model::{AppId, ChannelName, Close, Code, Member, Refusal, Slot};
use crate::observe::{CloseReason, LimitName};
use crate::wire::{self, Incoming, Limits, OpCode, WireError};
use std::io::ErrorKind;
use std::sync::Arc;

/// Reads of one connection in one turn: others get theirs in between.
const READS: usize = 4;

impl Shard {
    /// `ended`: the other side has ended behind what it sent, or may have: no further event will tell.
    pub(super) fn read(&mut self, slot: Slot, ended: bool) {
        let mut buffer = std::mem::take(&mut self.buffer);
        for n in 0.. {
            let Some(conn) = self.conns.get_mut(slot as usize).filter(|c| c.stage != Stage::Gone) else { break };
            // Who is not greeted yet is not heard yet: its messages keep their order behind its handlers' greeting.
            if let Some(greeting) = &mut conn.session.greeting {
                greeting.unread = true;
                break;
            }
            if n == READS {
                self.unread.push(slot);
                break;
            }
            match conn.socket.read(&mut buffer) {
                Ok(0) => {
                    let reason = self.reason_of(slot);
                    self.remove(slot, reason);
                    break;
                }
                Ok(bytes) => {
                    let last = !ended && bytes < buffer.len() && conn.socket.short_read_is_last();
                    self.counts.bytes_received += bytes as u64;
                    self.feed(slot, &mut buffer[..bytes]);
                    if last {
                        break;
                    }
                }
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) if e.kind() == ErrorKind::WouldBlock => break,
                Err(_) => {
                    self.remove(slot, CloseReason::Lost);
                    break;
                }
            }
        }
        self.buffer = buffer;
    }

    /// The next bytes of a connection.
    pub(super) fn feed(&mut self, slot: Slot, bytes: &mut [u8]) {
        let now = self.now.mono;
        let Some(app) = self.app_of(slot) else { return };
        let Some(conn) = self.conns.get_mut(slot as usize) else { return };
        conn.session.last_activity = now;
        // The wheel waits for the pong; the next ping may be due before that.
        if conn.pinged_at.take().is_some() {
            self.schedule(slot);
        }
        let Some(conn) = self.conns.get_mut(slot as usize) else { return };
        // Without an endpoint it is closing: its own close frame is all that is heard.
        let dialect = app.endpoint(conn.session.endpoint).map_or(&Dialect::Echo, |e| &*e.dialect);
        let limits =
            Limits { message_bytes: app.limits.message_bytes.0 as usize, fragments: app.limits.message_fragments };
        let id = conn.session.id;
        let mut reader = std::mem::replace(&mut conn.reader, wire::Reader::new(None));
        let mut inflater = std::mem::take(&mut self.inflater);
        let mut frames = reader.feed(bytes);
        let outcome = loop {
            match frames.next(&limits, &mut inflater) {
                Ok(None) => break Ok(()),
                Err(error) => break Err(error),
                Ok(Some(incoming)) => {
                    self.incoming(slot, incoming, dialect, &app);
                    if !self.is_same(slot, id) {
                        self.inflater = inflater;
                        return;
                    }
                }
            }
        };
        self.inflater = inflater;
        self.conns[slot as usize].reader = reader;
        if let Err(error) = outcome {
            self.broken(slot, &app, error);
        }
    }

    fn broken(&mut self, slot: Slot, app: &crate::flow::App, error: WireError) {
        let close = error.close();
        match error {
            WireError::TooBig => self.counts.limit(LimitName::MessageBytes),
            WireError::TooManyFragments => self.counts.limit(LimitName::MessageFragments),
            _ => {}
        }
        app.log.failed(&app.name, self.conns[slot as usize].session.id, &close.reason);
        if matches!(error, WireError::TooBig | WireError::TooManyFragments) && self.conns[slot as usize].is_open() {
            self.walk_own(slot, |walk| walk.tell(&Refusal::new(Code::TooLarge), None, None));
        }
        self.close(slot, close);
    }

    fn incoming(&mut self, slot: Slot, incoming: Incoming<'_>, dialect: &Dialect, app: &crate::flow::App) {
        if let Incoming::Close(close) = incoming {
            return self.client_closes(slot, close.map(|(code, _)| code));
        }
        if !self.conns[slot as usize].is_open() {
            return;
        }
        match (incoming, dialect) {
            (Incoming::Text(text), Dialect::Json(json)) => {
                self.walk(slot, json, app, |walk| walk.receive(text));
                if self.hub.has_out() {
                    self.carry();
                }
            }
            (Incoming::Text(text), Dialect::Echo) => self.echo(slot, app, OpCode::Text, text.as_bytes()),
            (Incoming::Binary(data), Dialect::Echo) => self.echo(slot, app, OpCode::Binary, data),
            (Incoming::Binary(data), Dialect::Json(json)) => match std::str::from_utf8(data) {
                // Some clients send their JSON as binary.
                Ok(text) => {
                    self.walk(slot, json, app, |walk| walk.receive(text));
                    self.carry();
                }
                Err(_) => self.close(slot, Close::new(1003, "text messages only")),
            },
            (Incoming::Ping(data), _) => {
                let mut frame = Vec::with_capacity(data.len() + 4);
                wire::frame(OpCode::Pong, data, &mut frame);
                self.push_reply(slot, frame);
            }
            (Incoming::Pong(_) | Incoming::Close(_), _) => {}
        }
    }

    fn echo(&mut self, slot: Slot, app: &crate::flow::App, op: OpCode, data: &[u8]) {
        self.conns[slot as usize].session.last_message = self.now.mono;
        self.counts.app(app.id).messages += 1;
        let window = self.conns[slot as usize].encoding.window;
        let mut frame = Vec::with_capacity(data.len() + 14);
        self.encoder.message(op, data, window, app.limits.deflate_threshold.0, &mut frame);
        self.push_reply(slot, frame);
    }

    // ── answers that come later ─────────────────────────────────────────────────────────────────────────────────

    /// A home offers a seat: the answer, what was missed, and from then on every batch.
    pub(super) fn joined(&mut self, joined: Box<Joined>) {
        let slot = joined.slot;
        let open = self.is_same(slot, joined.connection) && self.conns[slot as usize].is_open();
        let taken = open && self.walk_own(slot, |walk| walk.joined(&joined)) == Some(true);
        if !taken {
            self.hub.decline(*joined, self.now);
            // The message that asked may have been the last to wait for.
            if open {
                self.greet_on(slot);
                self.let_go(slot);
            }
            return;
        }
        if joined.generation != self.generation.number {
            self.review_later(slot);
        }
        let last = self.conns[slot as usize].session.subs.len().checked_sub(1);
        if let Some(last) = last.filter(|_| !joined.listed) {
            self.list_sub(slot, last);
        }
        self.walk_own(slot, |walk| walk.answer_ask(joined.request));
        let Some(sub) = self.conns[slot as usize].session.subs.last().copied() else { return };
        if !joined.events.is_empty() {
            let events = joined.events.into_iter().collect();
            let (app, channel) = (joined.app, joined.channel);
            let batch = Arc::new(Batch::new(app, channel, joined.epoch, events, Vec::new()));
            match &mut self.conns[slot as usize].session.held {
                Some(held) => held.0.push((sub.channel, batch)),
                None => self.deliver_all(slot, sub.channel, &batch),
            }
        }
        self.greet_on(slot);
        self.let_go(slot);
    }

    /// A home has no seat free: the client is told, as far as it asked.
    pub(super) fn full(&mut self, join: &Join) {
        let slot = join.slot;
        if self.is_same(slot, join.member.connection) && self.conns[slot as usize].is_open() {
            self.walk_own(slot, |walk| walk.full(join));
            self.greet_on(slot);
            self.let_go(slot);
        }
    }

    fn deliver_all(&mut self, slot: Slot, channel: u32, batch: &Batch) {
        for at in 0..batch.events.len() {
            self.deliver_event(slot, channel, batch, at);
        }
    }

    /// What was held back until a subscribe message was answered.
    pub(super) fn let_go(&mut self, slot: Slot) {
        if self.conns[slot as usize].session.held.is_none() {
            return;
        }
        if self.walk_own(slot, |walk| walk.all_answered()) == Some(true)
            && let Some(held) = self.conns[slot as usize].session.held.take()
        {
            for (channel, batch) in held.0 {
                self.deliver_all(slot, channel, &batch);
            }
        }
    }

    pub(super) fn published(&mut self, published: Published) {
        let slot = published.asker.slot;
        if self.is_same(slot, published.asker.connection) {
            self.walk_own(slot, |walk| walk.published(&published));
        }
    }

    /// Asks others what a client wants to know, and answers it then.
    pub(super) fn run_errand(&mut self, slot: Slot, errand: Errand, question: Question) {
        let (me, id) = (self.me, self.conns[slot as usize].session.id);
        let app = self.conns[slot as usize].session.app;
        match errand {
            Errand::Authenticate { token, claims } => self.authenticate(slot, token, claims, question),
            Errand::History { channel, home, since, limit } => {
                let at = channel.clone();
                let reply = move |shard: &mut Shard| {
                    let page = shard.hub.history(app, &channel, since, limit);
                    shard.shared.peers()[me as usize].ask(move |shard| {
                        let position = Some(page.position);
                        let name = channel.as_str();
                        let answer = Answer::History { channel: name, position, events: &page.events, more: page.more };
                        shard.answer_later(slot, id, &question, &answer);
                    });
                };
                self.ask_home(home, app, at, reply);
            }
            Errand::Presence { channel, home } => {
                let at = channel.clone();
                let reply = move |shard: &mut Shard| {
                    let members: Vec<Member> = shard.hub.presence(app, &channel);
                    shard.shared.peers()[me as usize].ask(move |shard| {
                        let answer = Answer::Presence { channel: channel.as_str(), members: &members };
                        shard.answer_later(slot, id, &question, &answer);
                    });
                };
                self.ask_home(home, app, at, reply);
            }
        }
    }

    /// Behind what this shard has sent to that home already.
    fn ask_home(&mut self, home: u16, app: AppId, channel: ChannelName, job: impl FnOnce(&mut Shard) + Send + 'static) {
        self.shared.peers()[home as usize].ask(move |shard| shard.at_home(app, &channel, Box::new(job)));
    }

    /// Now, or when the channel is here: its home may have become this one a moment ago.
    pub(super) fn at_home(&mut self, app: AppId, channel: &ChannelName, job: Job) {
        if self.hub.awaits(app, channel) { self.asked_early.push(job) } else { job(self) }
    }

    fn answer_later(&mut self, slot: Slot, id: crate::model::ConnectionId, question: &Question, answer: &Answer<'_>) {
        if self.is_same(slot, id) {
            let asked = Asked { id: question.id.as_deref(), kind: &question.kind };
            self.walk_own(slot, |walk| walk.say(answer, Some(asked)));
        }
    }
}
