//! One entity: its state, and the calls that wait for it. One call at a time, in order.

use super::job::{Job, Token};
use super::table::Kind;
use crate::model::memory::Taken;
use crate::model::{AppId, Mono};
use crate::script::State;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub(super) struct Entity {
    pub app: AppId,
    pub app_name: Arc<str>,
    pub key: Arc<str>,
    pub kind: Arc<Kind>,
    /// Out of the table: nobody finds it any more.
    gone: AtomicBool,
    slot: Mutex<Slot>,
}

/// What waits for an entity.
pub(super) enum Item {
    Call(Box<Job>),
    /// Its state and timers end here.
    Forget(Token),
}

#[derive(Default)]
pub(super) struct Slot {
    pub queue: VecDeque<Item>,
    /// Somebody has it: the ready queue, a worker, or a commit on its way. Only they give it up, so nobody runs it twice
    /// at a time and nobody forgets it.
    pub held: bool,
    /// Its app is gone: it leaves as soon as nothing waits for it.
    pub doomed: bool,
    /// In its kind's list of quiet ones.
    pub listed: bool,
    pub listed_at: Mono,
    pub used_at: Mono,
    /// Moved out while a call runs.
    pub memory: Memory,
    /// Bytes of `memory` as its kind counts them.
    pub counted: usize,
    /// Of the app's memory: itself and all that it remembers.
    pub taken: Option<Taken>,
}

/// What an entity remembers.
#[derive(Default)]
pub(super) struct Memory {
    /// `None`: none yet, or not read from `stored` yet.
    pub state: Option<State>,
    /// The same as the store has it; `None` also where the store was not asked.
    pub stored: Option<String>,
    /// The store was asked.
    pub asked: bool,
    /// When the store was last written.
    pub written_at: Mono,
    /// About, of `state`, as `bytes` of its kind bounds it.
    pub state_bytes: usize,
    /// On the heap, of `state`.
    pub heap_bytes: usize,
}

impl Memory {
    pub fn bytes(&self) -> usize {
        self.state_bytes + self.stored.as_ref().map_or(0, String::len)
    }

    /// What an entity takes that remembers this.
    pub fn taken(&self, key: &str) -> usize {
        ENTITY_BYTES + 2 * key.len() + self.heap_bytes + self.stored.as_ref().map_or(0, String::capacity)
    }

    /// Without it nothing would be lost.
    pub fn is_empty(&self) -> bool {
        self.stored.is_none() && self.state.as_ref().is_none_or(State::is_empty)
    }

    /// All of it is in the store.
    pub fn is_stored(&self) -> bool {
        self.state.is_none() || self.stored.is_some()
    }
}

/// What an entity takes beside its key and memory, about: itself, its places in the table and in its kind's list, the
/// room of its queue.
pub(super) const ENTITY_BYTES: usize = 640;

impl Entity {
    pub fn new(app: AppId, app_name: Arc<str>, key: Arc<str>, kind: Arc<Kind>, taken: Taken) -> Entity {
        let slot = Mutex::new(Slot { taken: Some(taken), ..Slot::default() });
        Entity { app, app_name, key, kind, gone: AtomicBool::new(false), slot }
    }

    /// By whoever has it: whether there is room for what it is about to remember.
    pub fn reserve(&self, bytes: usize) -> bool {
        self.lock().taken.as_mut().is_none_or(|taken| bytes <= taken.bytes() || taken.resize_lasting(bytes))
    }

    pub fn lock(&self) -> MutexGuard<'_, Slot> {
        self.slot.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Relaxed)
    }

    /// It is taken out of the table; with the locks on its part and itself.
    pub fn leave(&self) {
        self.gone.store(true, Ordering::Relaxed);
    }

    /// Puts something behind what waits; with the lock on its part of the table, so that it cannot leave meanwhile.
    /// `Ok(true)`: nobody has it, so it is the caller's now, who makes it ready. Err: `max` wait already.
    pub fn accept(&self, item: Item, max: usize) -> Result<bool, Item> {
        let mut slot = self.lock();
        if slot.queue.len() >= max {
            return Err(item);
        }
        slot.queue.push_back(item);
        Ok(!std::mem::replace(&mut slot.held, true))
    }

    /// By whoever has it: the next that waits, and what it works on.
    pub fn begin(&self) -> Option<(Item, Memory)> {
        let mut slot = self.lock();
        let item = slot.queue.pop_front()?;
        Some((item, std::mem::take(&mut slot.memory)))
    }

    /// By whoever has it: puts its memory back.
    pub fn put(&self, memory: Memory, now: Mono) {
        let mut slot = self.lock();
        self.kind.count_bytes(&mut slot.counted, memory.bytes());
        if let Some(taken) = &mut slot.taken {
            // The call has asked for what it needs; what was read from the store is here in any case.
            taken.set(memory.taken(&self.key));
        }
        slot.used_at = now;
        slot.memory = memory;
    }
}
