//! The kernel's state and its turn: hear others, hear clients, look at the clock, end the tick, write.

use super::conn::Conn;
use super::encode::Encoder;
use super::generation::Review;
use super::input::Input;
use super::io::Io;
use super::memory::AppMemory;
use super::queue::{Entry, NO_CHANNEL};
use super::shared::Shared;
use super::wheel::{TICK_MS, Wheel};
use crate::flow::{App, Generation};
use crate::hub::{Hub, Message, Out};
use crate::model::{AppId, Close, ConnectionId, Mono, Now, Priority, Slot};
use crate::observe::{CloseReason, Local};
use crate::wire::Inflater;
use hashbrown::HashMap;
use slab::Slab;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// What is read of one connection at once.
const READ_BUFFER_BYTES: usize = 64 << 10;
/// Connections in one look of which more was there than their share: others come first.
const UNREAD: usize = 8;
/// Bytes of frames for one connection each, in one turn: some milliseconds' work.
const MADE_MAX: usize = 4 << 20;
/// How often what is too old is forgotten and memory is looked at.
const SWEEP_MS: u64 = 1_000;

/// The gateway without I/O: some connections, and the channels whose home it is. One per shard.
pub struct Kernel<I: Io> {
    pub(super) me: u16,
    pub(super) io: I,
    pub(super) conns: Slab<Conn<I::Transport>>,
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
    /// Those that are written to now, and how many were.
    flushing: Vec<Slot>,
    flushed: usize,
    /// Closed in this tick: they give up their seats at its end.
    pub(super) leaving: Vec<(Slot, ConnectionId)>,
    /// Their transports are done with, closed with this code: forgotten at the end of the tick.
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
    /// Connections that a new generation has yet to look at.
    pub(super) reviews: VecDeque<Review>,
    /// The newest generation of which all channels are at their homes.
    pub(super) settled_generation: u64,
    /// Asked of a home that has yet to be handed its channels.
    pub(super) asked_early: Vec<Input>,
    /// Apps whose files are gone, while connections of theirs close.
    pub(super) former: HashMap<AppId, Arc<App>>,
    pub(super) drains: Vec<Drain>,
    /// By app.
    pub(super) memory: Vec<AppMemory>,
    /// Bytes of frames made in this turn for one connection each.
    pub(super) made: usize,
    swept_at: Mono,
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

impl<I: Io> Kernel<I> {
    /// `me`: its number among the process's. `epoch`: chance that tells its histories from those of another process.
    pub fn new(me: u16, generation: Arc<Generation>, shared: Arc<Shared>, now: Now, epoch: u32, io: I) -> Kernel<I> {
        let shards = shared.shards() as u16;
        let mut kernel = Kernel {
            me,
            io,
            conns: Slab::new(),
            by_id: HashMap::new(),
            hub: Hub::new(me, shards, epoch),
            generation: generation.clone(),
            counts: Local::new(),
            shared,
            encoder: Encoder::new(),
            inflater: Inflater::new(),
            wheel: Wheel::new(now.mono),
            dirty: Vec::new(),
            flushing: Vec::new(),
            flushed: 0,
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
            reviews: VecDeque::new(),
            settled_generation: 0,
            asked_early: Vec::new(),
            former: HashMap::new(),
            drains: Vec::new(),
            memory: Vec::new(),
            made: 0,
            swept_at: now.mono,
            due: Vec::new(),
        };
        kernel.take_generation(generation);
        kernel
    }

    /// When it has to have a turn, whatever happens until then.
    pub fn wakes_at(&self) -> Mono {
        let latest = self.now.mono + SWEEP_MS;
        if !self.drains.is_empty() {
            return self.now.mono + TICK_MS;
        }
        self.wheel.next().map_or(latest, |at| at.min(latest))
    }

    /// Of this turn.
    pub fn now(&self) -> Now {
        self.now
    }

    /// Its connections, those included that are on their way out.
    pub fn connections(&self) -> usize {
        self.conns.len()
    }

    /// A turn begins: first its inputs, then `review_some`, then what clients sent, then `end_turn`, then `flush_some`.
    pub fn begin_turn(&mut self, now: Now) {
        self.now = now;
        self.made = 0;
    }

    /// Whether so much was written in this turn already that further inputs should wait for the next: sockets were not
    /// looked at meanwhile.
    pub fn is_done(&self) -> bool {
        self.made > MADE_MAX
    }

    /// In this turn, before anything else: the process stood still since the last one.
    pub fn after_pause(&mut self) {
        self.conns.iter_mut().for_each(|(_, conn)| conn.after_pause(self.now.mono));
    }

    /// Decides some subscriptions again that a new generation has to look at. Before clients are heard: where few are
    /// concerned, what comes next finds it decided. Returns whether there were any.
    pub fn review_some(&mut self) -> bool {
        let some = !self.reviews.is_empty();
        if catch_unwind(AssertUnwindSafe(|| self.review())).is_err() {
            self.mend();
        }
        some
    }

    /// One thing that others want.
    pub fn input(&mut self, input: Input) {
        // A panic is a mistake of ours: it ends what was asked, whose answer is dropped, and never the kernel.
        if catch_unwind(AssertUnwindSafe(|| self.hear(input))).is_err() {
            self.mend();
        }
    }

    /// Bytes may have come of a connection. `ended`: the other side has ended, or may have.
    pub fn readable(&mut self, slot: Slot, ended: bool) {
        // Whose turn comes in `read_on` is read there.
        if self.conns.get(slot as usize).is_some_and(|c| !c.unread) {
            self.guarded(slot, |kernel| kernel.read(slot, ended));
        }
    }

    /// A connection takes bytes again.
    pub fn writable(&mut self, slot: Slot) {
        self.guarded(slot, |kernel| kernel.write_on(slot));
    }

    /// Reads on where more was there than a connection's share. A few at a time: whoever asks little is answered in the
    /// next turn, however many ask much. Returns whether there were any.
    pub fn read_on(&mut self) -> bool {
        let mut busy = false;
        for _ in 0..self.unread.len().min(UNREAD) {
            let Some(slot) = self.unread.pop_front() else { break };
            if self.conns.get_mut(slot as usize).is_some_and(|c| std::mem::take(&mut c.unread)) {
                busy = true;
                self.guarded(slot, |kernel| kernel.read(slot, true));
            }
        }
        busy
    }

    /// Deadlines, what was published in this turn, who has left. Returns whether another turn should follow at once.
    pub fn end_turn(&mut self) -> bool {
        self.look();
        if catch_unwind(AssertUnwindSafe(|| self.end_tick())).is_err() {
            self.mend();
        }
        let busy = !self.dirty.is_empty() || !self.gone.is_empty();
        if self.now.mono >= self.swept_at + SWEEP_MS {
            self.swept_at = self.now.mono;
            self.sweep();
        }
        busy || !self.unread.is_empty()
    }

    /// One write for each of up to `max` connections that have something to write. Returns whether more have.
    pub fn flush_some(&mut self, max: usize) -> bool {
        if self.flushed == self.flushing.len() {
            self.flushing.clear();
            self.flushed = 0;
            std::mem::swap(&mut self.dirty, &mut self.flushing);
        }
        let end = self.flushing.len().min(self.flushed + max);
        for at in self.flushed..end {
            self.flush_one(self.flushing[at]);
        }
        self.flushed = end;
        let more = end < self.flushing.len() || !self.dirty.is_empty();
        if !more {
            self.tell_counts();
        }
        more
    }

    /// A panic is a mistake of ours: it ends one connection, never the kernel.
    fn guarded(&mut self, slot: Slot, work: impl FnOnce(&mut Kernel<I>)) {
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
    pub(super) fn mend(&mut self) {
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
        self.shared.put(shard, Input::Hub(message));
    }

    fn hear(&mut self, input: Input) {
        match input {
            Input::Hub(message) => {
                self.hub.hear(message, self.now);
                self.carry();
                self.tell_settled();
                return;
            }
            Input::Generation(generation) => return self.take_generation(generation),
            Input::Rows(app) => self.review_app(app),
            Input::Drain { pace, close } => {
                let (listener, since, closed) = (None, self.now.mono, 0);
                return self.drains.push(Drain { listener, pace, close, since, closed });
            }
            Input::Publish(publish) => self.publish(*publish),
            Input::Decide(decide) => self.decide(*decide),
            Input::Each(each) => self.each(*each),
            Input::Ask(ask) => self.look_up(*ask),
            Input::Ended(ended) => self.ended(*ended),
            Input::Reply(reply) => self.handler_replies(reply.to, &reply.asker, &reply.message),
            Input::Refused(told) => self.handler_refused(told.to, &told.event, &told.refusal),
            Input::Answer(answered) => {
                self.answer_question(answered.to, &answered.question, &answered.told);
                // It may be a whole history.
                self.settle_memory_of(answered.to.slot);
            }
            Input::Judged(judged) => self.judged(*judged),
            Input::Relieve(app) => self.relieve(app, true),
        }
        self.carry();
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

    /// To the process's metrics.
    pub(super) fn tell_counts(&mut self) {
        self.counts.queue_bytes = self.queued_bytes as u64;
        self.counts.history_bytes = self.hub.history_bytes() as u64;
        self.counts.flush(&self.shared.metrics, self.now.mono);
    }

    /// Replies, pongs and closes: never dropped for a slow reader.
    pub(super) fn push_reply(&mut self, slot: Slot, frame: Vec<u8>) {
        let entry = self.own(slot, frame, NO_CHANNEL, Priority::Urgent);
        self.push(slot, entry);
    }

    /// A frame that only this connection gets.
    pub(super) fn own(&mut self, slot: Slot, frame: Vec<u8>, channel: u32, priority: Priority) -> Entry {
        let app = self.conns[slot as usize].session.app;
        self.made += frame.len();
        Entry::own(frame, channel, priority, &self.memory_of(app).frames)
    }

    fn look(&mut self) {
        let mut due = std::mem::take(&mut self.due);
        self.wheel.advance(self.now.mono, &mut due);
        for (slot, tick) in due.drain(..) {
            self.guarded(slot, |kernel| kernel.deadline(slot, tick));
        }
        self.due = due;
    }
}
