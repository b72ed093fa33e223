//! Bytes from a socket → messages → the corridor.
//!
//! One connection never keeps the others of its shard waiting for long. What is done for it in one look is a `Share`,
//! bounded in frames of any kind and in bytes after inflation; what is left waits, here or in the kernel, until the
//! others had theirs. Over all looks, messages have their rate (`limits.messages`), and what is no message within it
//! has another (`limits.frames`): pings, pongs, fragments, refused messages. A message may ask for more than one thing,
//! and those have theirs (`limits.items`). Over either of the two, the connection is not read until the rate allows it,
//! so a flood costs others nothing and a client that is merely busy loses nothing.

use super::conn::Stage;
use super::input::{Client, Input};
use super::io::{Io, Transport};
use super::kernel::Kernel;
use super::wheel::TICK_MS;
use crate::dialect::Dialect;
use crate::flow::{App, AppLimits, MissingRow, ROWS_MAX};
use crate::model::{Bucket, Close, Code, Mono, Refusal, Slot};
use crate::observe::{CloseReason, LimitName};
use crate::wire::{self, Arrived, Frames, Incoming, Inflater, Limits, OpCode, WireError};
use std::io::ErrorKind;

/// Frames of one connection in one look; what a message asks for beyond one thing counts as they do.
const SHARE_FRAMES: u32 = 64;
/// Bytes of one connection in one look, of messages after inflation. One message may be more by itself.
const SHARE_BYTES: usize = 64 << 10;
/// How much of a message over the rate is looked into for its id.
const GLIMPSE_BYTES: usize = 8 << 10;

/// What is left of one connection's share of a look.
pub struct Share {
    frames: u32,
    bytes: usize,
}

impl Share {
    fn new() -> Share {
        Share { frames: SHARE_FRAMES, bytes: SHARE_BYTES }
    }

    fn is_spent(&self) -> bool {
        self.frames == 0 || self.bytes == 0
    }

    fn frames(&mut self, frames: u32) {
        self.frames = self.frames.saturating_sub(frames);
    }

    fn bytes(&mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_sub(bytes);
    }
}

/// Bytes that were read and not yet looked at, and the rates of frames and items. Boxed: nearly all connections have
/// none of them.
#[derive(Default)]
pub struct Intake {
    waiting: Box<[u8]>,
    at: usize,
    frames: Bucket,
    items: Bucket,
    /// A message that waits for a row behind a URL.
    parked: Option<Parked>,
    /// Not read before.
    pub resume_at: Option<Mono>,
}

struct Parked {
    text: Box<str>,
    /// It has waited for so many.
    rows: u8,
}

impl Intake {
    pub fn bytes(&self) -> usize {
        size_of::<Intake>() + self.waiting.len() + self.parked.as_ref().map_or(0, |parked| parked.text.len())
    }

    /// Whether bytes wait to be looked at.
    pub fn holds_bytes(&self) -> bool {
        self.at < self.waiting.len()
    }

    /// Nothing waits and the rates are whole again: nothing is lost by forgetting it.
    pub fn is_idle(&self, limits: &AppLimits, now: Mono) -> bool {
        let whole = self.frames.is_full(limits.frames, now) && self.items.is_full(limits.items, now);
        whole && !self.holds_bytes() && !self.is_paused()
    }

    /// Nothing more is read of it: a rate is used up, or a message waits.
    pub fn is_paused(&self) -> bool {
        self.resume_at.is_some() || self.parked.is_some()
    }
}

impl<I: Io> Kernel<I> {
    /// Reads one connection's share. `ended`: the other side has ended behind what it sent, or may have: no further
    /// event will tell.
    pub(super) fn read(&mut self, slot: Slot, ended: bool) {
        let mut buffer = self.inbound.lend();
        let mut share = Share::new();
        while let Some(conn) = self.conns.get_mut(slot).filter(|c| c.stage != Stage::Gone) {
            // Who is not greeted yet is not heard yet: its messages keep their order behind its handlers' greeting.
            if let Some(greeting) = &mut conn.session.greeting {
                greeting.unread = true;
                break;
            }
            if conn.is_paused() {
                break; // its deadline reads on
            }
            if share.is_spent() {
                self.read_later(slot);
                break;
            }
            if let Some(intake) = conn.intake.as_mut().filter(|intake| intake.holds_bytes()) {
                let (mut bytes, at) = (std::mem::take(&mut intake.waiting), intake.at);
                let taken = at + self.feed(slot, &mut bytes[at..], &mut share);
                self.keep_waiting(slot, bytes, taken);
                continue;
            }
            match conn.transport.read(&mut buffer) {
                Ok(0) => {
                    // It may still read: answers and our close frame are for it.
                    self.flush_one(slot);
                    let reason = self.reason_of(slot);
                    self.remove(slot, reason);
                    break;
                }
                Ok(bytes) => {
                    let last = !ended && bytes < buffer.len() && conn.transport.short_read_is_last();
                    self.counts.bytes_received += bytes as u64;
                    if !self.may_still_send(slot, bytes) {
                        break;
                    }
                    let taken = self.feed(slot, &mut buffer[..bytes], &mut share);
                    if taken < bytes {
                        self.keep_waiting(slot, buffer[taken..bytes].into(), 0);
                        self.read_later(slot);
                        break;
                    }
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
        self.inbound.give_back(buffer);
        self.recount(slot);
        if let Some(app) = self.conns.get(slot).map(|conn| conn.session.app) {
            self.settle_memory(app);
        }
    }

    /// The rest of it in a later look, behind the others that wait.
    pub(super) fn read_later(&mut self, slot: Slot) {
        if let Some(conn) = self.conns.get_mut(slot) {
            self.inbound.later(slot, conn);
        }
    }

    /// Bytes to be fed before anything else is read; from `at` on.
    pub(super) fn keep_waiting(&mut self, slot: Slot, bytes: Box<[u8]>, at: usize) {
        let Some(conn) = self.conns.get_mut(slot) else { return };
        // Of a connection that has begun to close meanwhile nothing is kept: see `begin_close`.
        let left = at < bytes.len() && conn.is_open();
        if left || conn.intake.is_some() {
            let intake = conn.intake.get_or_insert_default();
            (intake.waiting, intake.at) = if left { (bytes, at) } else { Default::default() };
        }
        let Some(app) = self.app_of(slot) else { return };
        self.conns[slot].intake.take_if(|intake| intake.is_idle(&app.limits, self.now.mono));
    }

    /// The next bytes of a connection, as far as its share goes. Returns how many were taken.
    fn feed(&mut self, slot: Slot, bytes: &mut [u8], share: &mut Share) -> usize {
        let (now, all) = (self.now.mono, bytes.len());
        let Some(app) = self.app_of(slot) else { return all };
        let Some(conn) = self.conns.get_mut(slot) else { return all };
        conn.session.last_activity = now;
        // One pong was asked for.
        let mut awaited = conn.pinged_at.take().is_some();
        if awaited {
            // The wheel waits for the pong; the next ping may be due before that.
            self.schedule(slot);
        }
        let Some(conn) = self.conns.get_mut(slot) else { return all };
        // Without an endpoint it is closing: its own close frame is all that is heard.
        let dialect = app.endpoint(conn.session.endpoint).map_or(&Dialect::Echo, |e| &*e.dialect);
        let limits =
            Limits { message_bytes: app.limits.message_bytes.0 as usize, fragments: app.limits.message_fragments };
        let id = conn.session.id;
        let mut reader = std::mem::replace(&mut conn.reader, wire::Reader::new(None));
        let mut inflater = std::mem::take(&mut self.inbound.inflater);
        let mut frames = reader.feed(bytes);
        let outcome = loop {
            // A token and what follows it may come in one read: the rest waits for the greeting, as what is read later.
            if share.is_spent() || self.conns[slot].session.greeting.is_some() || self.conns[slot].is_paused() {
                break Ok(());
            }
            share.frames(1);
            match frames.next(&limits) {
                Ok(None) => break Ok(()),
                Err(error) => break Err(error),
                Ok(Some(Arrived::Message)) => {
                    let items = self.inbound.items;
                    if let Err(error) = self.message(slot, &mut frames, dialect, &app, &mut inflater, share) {
                        break Err(error);
                    }
                    share.frames(self.inbound.items - items);
                }
                Ok(Some(Arrived::Fragment)) => self.charge_frame(slot, &app),
                Ok(Some(Arrived::Control)) => match frames.take(0, &mut inflater) {
                    Ok(Some(Incoming::Close(close))) => self.client_closes(slot, close.map(|(code, _)| code)),
                    Ok(Some(Incoming::Pong(_))) if std::mem::take(&mut awaited) => {}
                    Ok(Some(Incoming::Ping(data))) => {
                        self.pong(slot, data);
                        self.charge_frame(slot, &app);
                    }
                    Ok(_) => self.charge_frame(slot, &app),
                    Err(error) => break Err(error),
                },
            }
            if !self.conns.is_same(slot, id) {
                frames.done(&mut inflater);
                self.inbound.inflater = inflater;
                return all;
            }
        };
        let taken = frames.done(&mut inflater);
        share.bytes(taken);
        self.inbound.inflater = inflater;
        let conn = &mut self.conns[slot];
        if !conn.is_open() {
            reader.close_only();
        }
        conn.reader = reader;
        if let Err(error) = outcome {
            self.broken(slot, &app, error);
            return all;
        }
        // What waits of a connection that has begun to close is dropped: where that cuts a frame, its close frame could
        // not be told from the rest.
        if taken < all && !self.conns[slot].is_open() {
            self.hear_no_more(slot);
            return all;
        }
        taken
    }

    /// Takes one frame of those that are no messages within their rate.
    fn charge_frame(&mut self, slot: Slot, app: &App) {
        let Some(conn) = self.conns.get_mut(slot).filter(|c| c.is_open()) else { return };
        if conn.intake.get_or_insert_default().frames.spend(1, app.limits.frames, self.now.mono) > 0 {
            self.counts.limit(LimitName::Frames);
            self.pause(slot, app);
        }
    }

    /// What a message asked for: one thing is the message itself. Beyond the rate, this one was heard all the same, and
    /// the next ones wait.
    pub(super) fn charge_items(&mut self, slot: Slot, app: &App, items: u32) {
        let Some(conn) = self.conns.get_mut(slot).filter(|c| c.is_open() && items > 1) else { return };
        self.inbound.items = self.inbound.items.saturating_add(items - 1);
        if conn.intake.get_or_insert_default().items.spend(items - 1, app.limits.items, self.now.mono) > 0 {
            self.counts.limit(LimitName::Items);
            self.pause(slot, app);
        }
    }

    /// It was taken for so many, and came to `items`.
    pub(super) fn settle_items(&mut self, slot: Slot, app: &App, taken: u32, items: u32) {
        if items > taken {
            return self.charge_items(slot, app, items - taken + 1);
        }
        let Some(intake) = &mut self.conns[slot].intake else { return };
        intake.items.give_back(taken - items);
        if intake.resume_at.is_some() {
            self.pause(slot, app);
        }
    }

    /// Reads no more of it until both rates allow it. What is due of its client meanwhile is not.
    fn pause(&mut self, slot: Slot, app: &App) {
        let now = self.now.mono;
        let Some(intake) = &mut self.conns[slot].intake else { return };
        let wait_ms = intake.frames.spend(0, app.limits.frames, now).max(intake.items.spend(0, app.limits.items, now));
        intake.resume_at = Some(now + wait_ms.max(TICK_MS));
        self.schedule(slot);
    }

    /// A rate allows some again.
    pub(super) fn resume(&mut self, slot: Slot) {
        let now = self.now.mono;
        let conn = &mut self.conns[slot];
        if let Some(intake) = &mut conn.intake {
            intake.resume_at = None;
        }
        // What it sent meanwhile is read now.
        conn.pinged_at = conn.pinged_at.map(|_| now);
        self.read_later(slot);
    }

    fn broken(&mut self, slot: Slot, app: &App, error: WireError) {
        let close = error.close();
        match error {
            WireError::TooBig => self.counts.limit(LimitName::MessageBytes),
            WireError::TooManyFragments => self.counts.limit(LimitName::MessageFragments),
            _ => {}
        }
        app.log.failed(&app.name, self.conns[slot].session.id, &close.reason);
        if matches!(error, WireError::TooBig | WireError::TooManyFragments) && self.conns[slot].is_open() {
            self.walk_own(slot, |walk| walk.tell(&Refusal::new(Code::TooLarge), None, None));
        }
        self.close(slot, close);
        self.hear_no_more(slot);
    }

    /// A message. Its rate is asked before anything is inflated or read.
    fn message(
        &mut self,
        slot: Slot,
        frames: &mut Frames<'_>,
        dialect: &Dialect,
        app: &App,
        inflater: &mut Inflater,
        share: &mut Share,
    ) -> Result<(), WireError> {
        if !self.conns[slot].is_open() {
            return Ok(());
        }
        let bytes_max = app.limits.message_bytes.0 as usize;
        if !dialect.echoes()
            && let Err(refusal) = self.step(slot, dialect, app, |walk| walk.charge())
        {
            self.charge_frame(slot, app);
            let text = frames.glimpse(GLIMPSE_BYTES, inflater).and_then(as_text);
            share.bytes(text.map_or(GLIMPSE_BYTES, str::len));
            self.walk(slot, dialect, app, |walk| walk.refuse_unread(text, &refusal));
            return Ok(());
        }
        let (op, data, text) = match frames.take(bytes_max, inflater)? {
            Some(Incoming::Text(text)) => (OpCode::Text, text.as_bytes(), Some(text)),
            Some(Incoming::Binary(data)) => (OpCode::Binary, data, None),
            Some(Incoming::Ping(_) | Incoming::Pong(_) | Incoming::Close(_)) | None => return Ok(()),
        };
        share.bytes(data.len());
        if dialect.echoes() {
            self.echo(slot, app, op, data);
            return Ok(());
        }
        // Some clients send their JSON as binary.
        match text.or_else(|| std::str::from_utf8(data).ok()) {
            Some(text) => self.receive(slot, text, dialect, app),
            None => self.close(slot, Close::new(1003, "text messages only")),
        }
        Ok(())
    }

    fn receive(&mut self, slot: Slot, text: &str, dialect: &Dialect, app: &App) {
        match self.walk(slot, dialect, app, |walk| walk.receive(text, true)) {
            None if self.hub.has_out() => self.carry(),
            None => {}
            Some(row) => self.wait_for_row(slot, text.into(), 1, row),
        }
    }

    /// Its message waits for a row, the `rows`-th, and all that it sends behind it waits in its socket. How long: the
    /// table's `timeout`.
    fn wait_for_row(&mut self, slot: Slot, text: Box<str>, rows: u8, row: MissingRow) {
        let conn = &mut self.conns[slot];
        let client = Client { shard: self.me, slot, id: conn.session.id };
        conn.intake.get_or_insert_default().parked = Some(Parked { text, rows });
        self.schedule(slot);
        self.io.wait(Box::pin(async move { Input::Row { client, came: row.comes().await } }));
    }

    /// The row has come, or will not. The message is decided anew, by what is in force now.
    pub(super) fn row_came(&mut self, client: Client, came: bool) {
        let slot = client.slot;
        let Some(conn) = self.conns.get_mut(slot).filter(|conn| conn.session.id == client.id) else { return };
        let Some(Parked { text, rows }) = conn.intake.as_mut().and_then(|intake| intake.parked.take()) else { return };
        // It was its client's turn to wait for us.
        conn.pinged_at = conn.pinged_at.map(|_| self.now.mono);
        let waits = came && rows < ROWS_MAX;
        match self.walk_own(slot, |walk| walk.receive(&text, waits)).flatten() {
            Some(row) => self.wait_for_row(slot, text, rows + 1, row),
            None => self.read_later(slot),
        }
        self.recount(slot);
        self.schedule(slot);
    }

    fn pong(&mut self, slot: Slot, data: &[u8]) {
        let mut frame = Vec::with_capacity(data.len() + 4);
        wire::frame(OpCode::Pong, data, &mut frame);
        self.push_reply(slot, frame);
    }

    fn echo(&mut self, slot: Slot, app: &App, op: OpCode, data: &[u8]) {
        self.conns[slot].session.last_message = self.now.mono;
        self.counts.app(app.id).messages += 1;
        let window = self.conns[slot].encoding.window;
        let mut frame = Vec::with_capacity(data.len() + 14);
        self.out.encoder.message(op, data, window, app.limits.deflate_threshold.0, &mut frame);
        self.push_reply(slot, frame);
    }
}

fn as_text(incoming: Incoming<'_>) -> Option<&str> {
    match incoming {
        Incoming::Text(text) => Some(text),
        Incoming::Binary(data) => std::str::from_utf8(data).ok(),
        Incoming::Ping(_) | Incoming::Pong(_) | Incoming::Close(_) => None,
    }
}
