//! The kernel's state and its turn: hear others, hear clients, look at the clock, end the tick, write.

use super::connections::Connections;
use super::drain::Drain;
use super::inbound::Inbound;
use super::input::Input;
use super::io::Io;
use super::memory::AppMemory;
use super::outbound::Outbound;
use super::queue::{Entry, Whose};
use super::reauthorizer::Reauthorizer;
use super::shared::Shared;
use super::timers::{SWEEP_MS, Timers};
use super::wheel::TICK_MS;
use crate::flow::{Generation, Replies};
use crate::hub::{Hub, Message, Out};
use crate::model::{Close, Mono, Now, Slot};
use crate::observe::{CloseReason, Local};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// Connections in one look of which more was there than their share: others come first.
const UNREAD: usize = 8;

/// The gateway without I/O: some connections, and the channels whose home it is. One per shard.
pub struct Kernel<I: Io> {
    pub(super) me: u16,
    pub(super) io: I,
    /// Of this turn.
    pub(super) now: Now,
    pub(super) generation: Arc<Generation>,
    pub(super) conns: Connections<I::Transport>,
    pub(super) hub: Hub,
    pub(super) inbound: Inbound,
    pub(super) out: Outbound,
    pub(super) timers: Timers,
    pub(super) reviews: Reauthorizer,
    pub(super) drains: Vec<Drain>,
    /// By app.
    pub(super) memory: Vec<AppMemory>,
    /// What the walk came to that is carried out now.
    pub(super) replies: Replies,
    pub(super) counts: Local,
    pub(super) shared: Arc<Shared>,
}

impl<I: Io> Kernel<I> {
    /// `me`: its number among the process's. `epoch`: chance that tells its histories from those of another process.
    pub fn new(me: u16, generation: Arc<Generation>, shared: Arc<Shared>, now: Now, epoch: u32, io: I) -> Kernel<I> {
        let shards = shared.shards() as u16;
        let mut kernel = Kernel {
            me,
            io,
            now,
            generation: generation.clone(),
            conns: Connections::new(),
            hub: Hub::new(me, shards, epoch),
            inbound: Inbound::new(),
            out: Outbound::new(),
            timers: Timers::new(now.mono),
            reviews: Reauthorizer::default(),
            drains: Vec::new(),
            memory: Vec::new(),
            replies: Replies::default(),
            counts: Local::new(),
            shared,
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
        self.timers.next().map_or(latest, |at| at.min(latest))
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
        self.inbound.items = 0;
        self.out.begin_turn();
    }

    /// Whether so much was written in this turn already that further inputs should wait for the next: sockets were not
    /// looked at meanwhile.
    pub fn is_done(&self) -> bool {
        self.out.is_done()
    }

    /// In this turn, before anything else: the process stood still since the last one.
    pub fn after_pause(&mut self) {
        self.conns.iter_mut().for_each(|conn| conn.after_pause(self.now.mono));
    }

    /// Decides some subscriptions again that a new generation has to look at. Before clients are heard: where few are
    /// concerned, what comes next finds it decided. Returns whether there were any.
    pub fn review_some(&mut self) -> bool {
        let some = self.reviews.has_work();
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
        if self.inbound.is_done() {
            self.read_later(slot);
        } else if self.conns.get(slot).is_some_and(|c| !c.unread) {
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
        for _ in 0..self.inbound.waiting().min(UNREAD) {
            if self.inbound.is_done() {
                return true;
            }
            let Some(slot) = self.inbound.next() else { break };
            if self.conns.get_mut(slot).is_some_and(|c| std::mem::take(&mut c.unread)) {
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
        let busy = self.out.has_dirty() || self.conns.has_gone();
        if self.timers.sweeps(self.now.mono) {
            self.sweep();
        }
        busy || self.inbound.waiting() > 0
    }

    /// One write for each of up to `max` connections that have something to write. Returns whether more have.
    pub fn flush_some(&mut self, max: usize) -> bool {
        let mut written = 0;
        while let Some(slot) = self.out.next_dirty(written, max) {
            written += 1;
            self.flush_one(slot);
        }
        let more = self.out.has_dirty();
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
        self.inbound.mend();
        self.replies.clear();
    }

    /// What the hub wants done, in its order.
    pub(super) fn carry(&mut self) {
        while self.hub.has_out() || self.hub.hear_waiting() {
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
            Input::Charge { client, items } => {
                if let Some(app) = self.app_of(client.slot).filter(|_| self.conns.is_same(client.slot, client.id)) {
                    self.charge_items(client.slot, &app, items);
                }
            }
            Input::Row { client, came } => self.row_came(client, came),
            Input::Relieve(app) => self.relieve(app, true),
        }
        self.carry();
    }

    fn end_tick(&mut self) {
        loop {
            self.hub.seal();
            self.carry();
            let (leaving, gone) = (self.conns.take_leaving(), self.conns.take_gone());
            if leaving.is_empty() && gone.is_empty() {
                break;
            }
            for (slot, id) in leaving {
                self.leave_all(slot, id);
            }
            for (slot, code) in gone {
                self.forget(slot, code);
            }
            self.carry();
        }
        self.drain_some();
        self.settle_all_memory();
    }

    /// To the process's metrics.
    pub(super) fn tell_counts(&mut self) {
        self.counts.queue_bytes = self.out.queued_bytes as u64;
        self.counts.history_bytes = self.hub.history_bytes() as u64;
        self.counts.flush(&self.shared.metrics, self.now.mono);
    }

    /// Replies, pongs and closes: never dropped for a slow reader.
    pub(super) fn push_reply(&mut self, slot: Slot, frame: Vec<u8>) {
        let entry = self.own(slot, frame, Whose::Own);
        self.push(slot, entry);
    }

    /// A frame that only this connection gets.
    pub(super) fn own(&mut self, slot: Slot, frame: Vec<u8>, whose: Whose) -> Entry {
        let app = self.conns[slot].session.app;
        self.out.has_made(frame.len());
        Entry::own(frame, whose, &self.memory_of(app).frames)
    }

    fn look(&mut self) {
        let due = self.timers.take_due(self.now.mono);
        for (slot, tick) in &due {
            self.guarded(*slot, |kernel| kernel.deadline(*slot, *tick));
        }
        self.timers.give_back(due);
    }
}
