//! The shard's state and its turn: hear other threads, read sockets, look at the clock, end the tick, write.

use super::conn::Conn;
use super::door::Accepted;
use super::encode::Encoder;
use super::generation::Review;
use super::mailbox::{Input, Job, Mailbox};
use super::memory::AppMemory;
use super::queue::{Entry, NO_CHANNEL};
use super::shared::Shared;
use super::wheel::{TICK_MS, Wheel};
use crate::flow::{App, Generation};
use crate::hub::{Hub, Message, Out};
use crate::model::{AppId, Close, ConnectionId, Mono, Now, Priority, Slot};
use crate::observe::{CloseReason, Local, clock};
use crate::wire::Inflater;
use hashbrown::HashMap;
use mio::{Events, Interest, Token, unix::SourceFd};
use slab::Slab;
use std::collections::VecDeque;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::Duration;

/// What a shard reads of one connection at once.
const READ_BUFFER_BYTES: usize = 64 << 10;
/// Connections in one look of which more was there than their share: others come first.
const UNREAD: usize = 8;
/// Readiness events of one look.
const EVENTS: usize = 1024;
/// Inputs of other threads in one turn.
const INPUTS: usize = 4096;
/// Of which so many bring their bytes before those are held against the apps' bounds.
const INPUTS_UNSETTLED: usize = 64;
/// Writes between two looks at the runtime's other tasks: handshakes are never kept waiting longer.
const FLUSH_SLICE: usize = 512;
/// How often what is too old is forgotten and memory is looked at.
const SWEEP_MS: u64 = 1_000;
/// A turn begins so long after the one before only if the process stood still: no wait is longer than `SWEEP_MS`.
const PAUSE_MS: u64 = 5_000;
const BELL: Token = Token(usize::MAX);

pub struct Shard {
    pub(super) me: u16,
    pub(super) conns: Slab<Conn>,
    pub(super) by_id: HashMap<ConnectionId, Slot>,
    pub(super) hub: Hub,
    pub(super) generation: Arc<Generation>,
    pub(super) counts: Local,
    pub(super) shared: Arc<Shared>,
    pub(super) encoder: Encoder,
    pub(super) inflater: Inflater,
    pub(super) wheel: Wheel,
    /// Connections with something to write.
    pub(super) dirty: Vec<Slot>,
    /// Closed in this tick: they give up their seats at its end.
    pub(super) leaving: Vec<(Slot, ConnectionId)>,
    /// Their sockets are done with, closed with this code: forgotten at the end of the tick.
    pub(super) gone: Vec<(Slot, Option<u16>)>,
    /// Read less than was there: again in the next turn.
    pub(super) unread: VecDeque<Slot>,
    pub(super) mark: u32,
    /// Of this turn.
    pub(super) now: Now,
    pub(super) buffer: Vec<u8>,
    pub(super) text: Vec<u8>,
    pub(super) replies: crate::flow::Replies,
    pub(super) scratch: Vec<u8>,
    /// The smallest `queue_bytes` of all apps.
    pub(super) queue_bytes_min: usize,
    pub(super) queued_bytes: usize,
    /// Another shard is congested: sockets were not looked at.
    held_back: bool,
    pub(super) poll: mio::Poll,
    events: Events,
    mailbox: Arc<Mailbox>,
    inputs: Receiver<Input>,
    /// Connections that a new generation has yet to look at.
    pub(super) reviews: VecDeque<Review>,
    /// The newest generation of which all channels are at their homes.
    pub(super) settled_generation: u64,
    /// Asked of a home that has yet to be handed its channels.
    pub(super) asked_early: Vec<Job>,
    /// Apps whose files are gone, while connections of theirs close.
    pub(super) former: HashMap<AppId, Arc<App>>,
    pub(super) drains: Vec<Drain>,
    /// By app.
    pub(super) memory: Vec<AppMemory>,
    swept_at: Mono,
    /// Connections at the last sweep, and whether memory was given back since they changed.
    pub(super) seen: usize,
    pub(super) settled: bool,
    pub(super) stopping: bool,
    due: Vec<(Slot, u64)>,
}

/// Closing everybody, or all of one listener, at a pace.
pub(super) struct Drain {
    pub listener: Option<u16>,
    pub pace: u32,
    pub close: Close,
    pub since: Mono,
    pub closed: u64,
}

impl Shard {
    pub(super) fn new(
        mailbox: Arc<Mailbox>,
        inputs: Receiver<Input>,
        generation: Arc<Generation>,
        shared: Arc<Shared>,
    ) -> std::io::Result<Shard> {
        let (me, shards, now) = (mailbox.number, shared.shards() as u16, clock());
        let poll = mio::Poll::new()?;
        mailbox.set_bell(mio::Waker::new(poll.registry(), BELL)?);
        let mut shard = Shard {
            me,
            conns: Slab::new(),
            by_id: HashMap::new(),
            hub: Hub::new(me, shards, random_u32()),
            generation: generation.clone(),
            counts: Local::new(),
            shared,
            encoder: Encoder::new(),
            inflater: Inflater::new(),
            wheel: Wheel::new(now.mono),
            dirty: Vec::new(),
            leaving: Vec::new(),
            gone: Vec::new(),
            unread: VecDeque::new(),
            mark: 0,
            now,
            buffer: vec![0; READ_BUFFER_BYTES],
            text: Vec::new(),
            replies: Default::default(),
            scratch: Vec::new(),
            queue_bytes_min: usize::MAX,
            queued_bytes: 0,
            held_back: false,
            poll,
            events: Events::with_capacity(EVENTS),
            mailbox,
            inputs,
            reviews: VecDeque::new(),
            settled_generation: 0,
            asked_early: Vec::new(),
            former: HashMap::new(),
            drains: Vec::new(),
            memory: Vec::new(),
            swept_at: now.mono,
            seen: 0,
            settled: true,
            stopping: false,
            due: Vec::new(),
        };
        shard.take_generation(generation);
        Ok(shard)
    }

    /// Runs until told to stop. `accept` starts the handshake of a fresh socket as a task of this thread.
    pub(super) async fn run(mut self, mut accept: impl FnMut(Accepted)) -> std::io::Result<()> {
        use std::os::fd::AsFd;
        use tokio::io::{Interest, unix::AsyncFd};
        // The sockets are in a poll of the shard's own: no task, no waker and no readiness record a connection.
        let poll = self.poll.registry().as_fd().try_clone_to_owned()?;
        // SAFETY: the descriptor is owned by the `AsyncFd` and never given away: it stays open and the same.
        let ready = unsafe { AsyncFd::register_with_interest(poll, Interest::READABLE) }.map_err(io::Error::from)?;
        while !self.stopping {
            let wait = self.wait_ms();
            tokio::select! { biased;
                guard = ready.readable() => guard?.clear_ready(),
                () = tokio::time::sleep(Duration::from_millis(wait)) => {}
            }
            while self.turn(&mut accept)? {
                self.flush().await;
                tokio::task::yield_now().await;
            }
        }
        Ok(())
    }

    fn wait_ms(&self) -> u64 {
        // Its sockets will not say again that they are ready.
        if self.held_back {
            return 1;
        }
        if !self.drains.is_empty() {
            return TICK_MS;
        }
        self.wheel.next().map_or(SWEEP_MS, |at| at.since(clock().mono).clamp(1, SWEEP_MS))
    }

    /// One turn. Returns whether anything happened.
    fn turn(&mut self, accept: &mut impl FnMut(Accepted)) -> std::io::Result<bool> {
        let before = std::mem::replace(&mut self.now, clock());
        if self.now.mono.since(before.mono) > PAUSE_MS {
            self.conns.iter_mut().for_each(|(_, conn)| conn.after_pause(self.now.mono));
        }
        let mut busy = self.hear(accept);
        // Before sockets are read: where few are concerned, what comes next finds it decided.
        busy |= !self.reviews.is_empty();
        if catch_unwind(AssertUnwindSafe(|| self.review())).is_err() {
            self.mend();
        }
        busy |= self.read_ready()?;
        self.look();
        if catch_unwind(AssertUnwindSafe(|| self.end_tick())).is_err() {
            self.mend();
        }
        busy |= !self.dirty.is_empty() || !self.gone.is_empty();
        if self.now.mono >= self.swept_at + SWEEP_MS {
            self.swept_at = self.now.mono;
            self.sweep();
        }
        Ok(busy || !self.unread.is_empty())
    }

    /// What other threads want.
    fn hear(&mut self, accept: &mut impl FnMut(Accepted)) -> bool {
        self.mailbox.listening();
        let mut heard = 0;
        while heard < INPUTS
            && let Ok(input) = self.inputs.try_recv()
        {
            heard += 1;
            if heard % INPUTS_UNSETTLED == 0 {
                self.settle_all_memory();
            }
            match input {
                Input::Hub(message) => {
                    self.hub.hear(message, self.now);
                    self.carry();
                    self.tell_settled();
                }
                Input::Accepted(accepted) => accept(accepted),
                Input::Adopt(new) => {
                    if catch_unwind(AssertUnwindSafe(|| self.adopt(*new))).is_err() {
                        self.mend();
                    }
                }
                Input::Generation(generation) => self.take_generation(generation),
                Input::Job(job) => {
                    // Whoever asked finds its answer dropped.
                    if catch_unwind(AssertUnwindSafe(|| job(self))).is_err() {
                        self.mend();
                    }
                    self.carry();
                }
                Input::Drain { pace, close } => {
                    self.drains.push(Drain { listener: None, pace, close, since: self.now.mono, closed: 0 });
                }
                Input::Stop => self.stopping = true,
            }
        }
        if heard > 0 {
            self.mailbox.took(heard);
        }
        if heard == INPUTS {
            // More is there: ring for oneself.
            self.mailbox.put(Input::Job(Box::new(|_| ())));
        }
        heard > 0
    }

    fn read_ready(&mut self) -> std::io::Result<bool> {
        let mut busy = false;
        // Others cannot keep up with what this shard's clients send them: let the clients wait.
        self.held_back = self.shared.peers().iter().any(|p| p.number != self.me && p.is_congested());
        if self.held_back {
            return Ok(false);
        }
        let mut events = std::mem::replace(&mut self.events, Events::with_capacity(0));
        if let Err(e) = self.poll.poll(&mut events, Some(Duration::ZERO))
            && e.kind() != std::io::ErrorKind::Interrupted
        {
            return Err(e);
        }
        for event in events.iter() {
            busy = true;
            // Rung since `hear`: this look has used the ring up, so the mailbox is heard once more before any wait.
            if event.token() == BELL {
                continue;
            }
            let slot = event.token().0 as Slot;
            self.guarded(slot, |shard| {
                if event.is_writable() {
                    shard.writable(slot);
                }
                let ended = event.is_read_closed() || event.is_error();
                // Whose turn comes below is read there.
                if (event.is_readable() || ended) && shard.conns.get(slot as usize).is_some_and(|c| !c.unread) {
                    shard.read(slot, ended);
                }
            });
        }
        self.events = events;
        // A few at a time: whoever asks little is answered in the next look, however many ask much.
        for _ in 0..self.unread.len().min(UNREAD) {
            let Some(slot) = self.unread.pop_front() else { break };
            if self.conns.get_mut(slot as usize).is_some_and(|c| std::mem::take(&mut c.unread)) {
                busy = true;
                self.guarded(slot, |shard| shard.read(slot, true));
            }
        }
        Ok(busy)
    }

    /// A panic is a mistake of ours: it ends one connection, never the shard.
    fn guarded(&mut self, slot: Slot, work: impl FnOnce(&mut Shard)) {
        if catch_unwind(AssertUnwindSafe(|| work(self))).is_ok() {
            return;
        }
        self.mend();
        crate::observe::limited!(error, shard = self.me, slot, "a connection ended by a mistake of Weir's own");
        self.close(slot, Close::INTERNAL);
        self.flush_one(slot);
        self.remove(slot, CloseReason::Internal);
    }

    /// Puts back what a panic left lying about.
    fn mend(&mut self) {
        if self.buffer.is_empty() {
            self.buffer = vec![0; READ_BUFFER_BYTES];
        }
        self.replies.clear();
    }

    /// What the hub wants done, in its order.
    pub(super) fn carry(&mut self) {
        while self.hub.has_out() {
            let outs: smallvec::SmallVec<[Out; 8]> = self.hub.drain().collect();
            for out in outs {
                match out {
                    Out::To { shard, message } => self.tell(shard, message),
                    Out::Deliver(parts) => self.deliver(&parts),
                    Out::Joined(joined) => self.joined(joined),
                    Out::Full(join) => self.full(&join),
                    Out::Published(published) => self.published(*published),
                }
            }
        }
    }

    fn tell(&mut self, shard: u16, message: Message) {
        self.shared.peers()[shard as usize].put(Input::Hub(message));
    }

    fn end_tick(&mut self) {
        loop {
            self.hub.seal();
            self.carry();
            if self.leaving.is_empty() && self.gone.is_empty() {
                break;
            }
            for (slot, id) in std::mem::take(&mut self.leaving) {
                self.leave_all(slot, id);
            }
            for (slot, code) in std::mem::take(&mut self.gone) {
                self.forget(slot, code);
            }
            self.carry();
        }
        self.drain_some();
        self.settle_all_memory();
    }

    /// One write a dirty connection. Others of this thread get their turn in between.
    async fn flush(&mut self) {
        while !self.dirty.is_empty() {
            let dirty = std::mem::take(&mut self.dirty);
            for slice in dirty.chunks(FLUSH_SLICE) {
                for slot in slice {
                    self.flush_one(*slot);
                }
                if slice.len() == FLUSH_SLICE {
                    tokio::task::yield_now().await;
                }
            }
            if self.dirty.is_empty() {
                // Its room is used again.
                self.dirty = dirty;
                self.dirty.clear();
            }
        }
        self.tell_counts();
    }

    /// To the process's metrics.
    pub(super) fn tell_counts(&mut self) {
        self.counts.queue_bytes = self.queued_bytes as u64;
        self.counts.history_bytes = self.hub.history_bytes() as u64;
        self.counts.flush(&self.shared.metrics, self.now.mono);
    }

    pub(super) fn register(&self, slot: Slot) -> std::io::Result<()> {
        let fd = self.conns[slot as usize].socket.fd();
        let both = Interest::READABLE | Interest::WRITABLE;
        self.poll.registry().register(&mut SourceFd(&fd), Token(slot as usize), both)
    }

    /// Replies, pongs and closes: never dropped for a slow reader.
    pub(super) fn push_reply(&mut self, slot: Slot, frame: Vec<u8>) {
        let entry = self.own(slot, frame, NO_CHANNEL, Priority::Urgent);
        self.push(slot, entry);
    }

    /// A frame that only this connection gets.
    pub(super) fn own(&mut self, slot: Slot, frame: Vec<u8>, channel: u32, priority: Priority) -> Entry {
        let app = self.conns[slot as usize].session.app;
        Entry::own(frame, channel, priority, &self.memory_of(app).frames)
    }

    fn look(&mut self) {
        let mut due = std::mem::take(&mut self.due);
        self.wheel.advance(self.now.mono, &mut due);
        for (slot, tick) in due.drain(..) {
            self.guarded(slot, |shard| shard.deadline(slot, tick));
        }
        self.due = due;
    }
}

pub(super) fn random_u32() -> u32 {
    getrandom::u32().unwrap_or_else(|_| clock().wall as u32)
}

pub(super) fn random_u128() -> u128 {
    let mut bytes = [0; 16];
    if getrandom::fill(&mut bytes).is_err() {
        return uuid::Uuid::from_u64_pair(clock().wall, random_u32() as u64).as_u128();
    }
    u128::from_ne_bytes(bytes)
}
