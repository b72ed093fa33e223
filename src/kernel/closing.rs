//! From the decision to close to the last byte: everything is given back.

use super::conn::{Closing, Stage};
use super::io::{Io, Transport};
use super::kernel::Kernel;
use super::queue::{Flushed, Whose};
use crate::model::{Close, ConnectionId, Slot};
use crate::observe::{CloseReason, LimitName};
use crate::wire;

impl<I: Io> Kernel<I> {
    /// Begins to close: our close frame goes out, the client's answer or a deadline ends it.
    pub fn close(&mut self, slot: Slot, close: Close) {
        let mut frame = Vec::with_capacity(128);
        wire::close_frame(&close, &mut frame);
        self.begin_close(slot, close, frame, false);
    }

    /// The client closes: its code goes back, and that is all.
    pub(super) fn client_closes(&mut self, slot: Slot, code: Option<u16>) {
        if let Stage::Closing(closing) = &mut self.conns[slot].stage {
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
        let Some(conn) = self.conns.get_mut(slot).filter(|c| c.is_open()) else { return };
        // Bytes that were read and not looked at go too; the client's close frame may be among them.
        let paused = conn.intake.take();
        let deaf = answered || paused.as_ref().is_some_and(|intake| intake.holds_bytes());
        let closing = Closing { since: self.now.mono, close, answered, deaf, ended: false, received: 0 };
        conn.stage = Stage::Closing(Box::new(closing));
        let before = conn.queued();
        (conn.conflated, conn.held) = (None, None);
        conn.reader.close_only();
        self.out.changed(before, conn.queued());
        let written = if conn.blocked { Ok((0, Flushed::Blocked)) } else { self.out.write(conn) };
        let before = conn.queued();
        conn.queue.keep_begun();
        self.out.changed(before, conn.queued());
        self.conns.leave_later(slot);
        self.recount(slot);
        match written {
            Ok((written, _)) => self.counts.bytes_sent += written as u64,
            Err(_) => return self.remove(slot, CloseReason::Lost),
        }
        let entry = self.own(slot, frame, Whose::Own);
        self.out.enqueue(slot, &mut self.conns[slot], entry);
        self.schedule(slot);
        if paused.is_some() {
            self.read_later(slot);
        }
    }

    /// Nothing that the client sends matters any more: it broke the protocol, or what it sent was cut. The server ends
    /// the connection without waiting for a close frame (RFC 6455 §7.1.7).
    pub(super) fn hear_no_more(&mut self, slot: Slot) {
        if let Some(Stage::Closing(closing)) = self.conns.get_mut(slot).map(|c| &mut c.stage) {
            closing.deaf = true;
            self.conns[slot].reader.end();
            self.close_further(slot);
        }
    }

    /// Once our close frame is out and nothing is heard any more, the server ends its side of the TCP connection first
    /// (RFC 6455 §7.1.1). Where both close frames are exchanged and nothing is unread, that is all, and its places are
    /// free for the next. Else it does not close the socket yet: the kernel answers bytes that nobody read with a reset,
    /// and a reset throws away the close frame on its way. What the client still sends is read and dropped until its
    /// side ends too, or `close_timeout` or `close_bytes` end it.
    fn close_further(&mut self, slot: Slot) {
        let conn = &mut self.conns[slot];
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
        let Stage::Closing(closing) = &mut self.conns[slot].stage else { return true };
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
        match &self.conns[slot].stage {
            Stage::Closing(closing) if closing.close == Close::NORMAL => CloseReason::Client,
            Stage::Closing(closing) => CloseReason::of(&closing.close),
            Stage::Open | Stage::Gone => CloseReason::Lost,
        }
    }

    /// At the end of the tick in which it closed: its channels are told, its places given back.
    pub(super) fn leave_all(&mut self, slot: Slot, id: ConnectionId) {
        if self.conns.get(slot).is_none_or(|c| c.session.id != id) {
            return;
        }
        if self.handled(slot) {
            self.walk_own(slot, |walk| walk.leaving());
        }
        let mut moved = std::mem::take(&mut self.replies.moved);
        self.conns[slot].session.leave_all(&mut self.hub, self.now, &mut moved);
        self.resettle(&mut moved);
        self.replies.moved = moved;
    }

    /// Writes what waits. One write where one is enough.
    pub(super) fn flush_one(&mut self, slot: Slot) {
        let Some(conn) = self.conns.get_mut(slot) else { return };
        conn.dirty = false;
        let nothing = conn.queue.is_empty() && !conn.transport.wants_flush();
        if conn.blocked || nothing || conn.stage == Stage::Gone {
            return self.recount_queue(slot);
        }
        match self.out.write(conn) {
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
                let conn = &mut self.conns[slot];
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
        let Some(conn) = self.conns.get_mut(slot) else { return };
        if !std::mem::take(&mut conn.blocked) {
            return;
        }
        self.flush_one(slot);
    }

    /// The socket is done with. Its connection is forgotten at the end of the tick: a batch may be on its way through
    /// the seats at this moment.
    pub(super) fn remove(&mut self, slot: Slot, reason: CloseReason) {
        let Some(conn) = self.conns.get_mut(slot).filter(|c| c.stage != Stage::Gone) else { return };
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
        self.conns.forget_later(slot, code);
    }

    /// Forgets a connection that is gone.
    pub(super) fn forget(&mut self, slot: Slot, code: Option<u16>) {
        let Some(id) = self.conns.get(slot).map(|c| c.session.id) else { return };
        self.leave_all(slot, id);
        if self.handled(slot) {
            self.walk_own(slot, |walk| walk.disconnected(code));
            self.forget_entity(slot);
        }
        let conn = self.conns.remove(slot);
        self.uncount(&conn);
        self.out.changed(conn.queued(), 0);
        self.shared.loaded(self.me, -1);
    }
}
