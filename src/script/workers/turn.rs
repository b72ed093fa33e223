//! One call on a worker: what its handler did, until it is kept and told.

use super::core::Core;
use super::entity::{Entity, Memory};
use super::job::{Job, Token};
use super::keep::TimerOp;
use crate::model::memory::Taken;
use crate::model::{AppId, Mono, Now, Refusal};
use crate::observe::CallResult;
use crate::script::{Asker, Connection, Effect, Reply, State, Trigger};
use crate::store::{Parcel, Write};
use bytes::Bytes;
use std::sync::Arc;
use tokio::sync::oneshot;

/// A call that has run, and what is to become of it. Dropped before its end, it gives its entity up.
pub(super) struct Turn {
    core: Arc<Core>,
    /// `None`: its entity ends.
    pub job: Option<Box<Job>>,
    /// It counts as pending until this is dropped.
    pub token: Option<Token>,
    pub entity: Option<Arc<Entity>>,
    pub memory: Memory,
    /// What a commit that fails brings back.
    pub undo: Undo,
    /// The state as the store has it once it is committed, where that changes; inside `None`: it has none.
    pub text: Option<Option<String>>,
    pub ended: Result<Ended, Refusal>,
    /// `None`: it did not count as a call.
    pub outcome: Option<CallResult>,
    /// When it began.
    pub now: Now,
    pub writes: Vec<Write>,
    /// What they take until the store has them.
    pub writing: Option<Taken>,
    pub timers: Vec<TimerOp>,
    pub parcels: Vec<Parcel>,
    /// The timer that fired it, and when it comes again although its call has come to an end of sorts.
    pub fired: Option<u64>,
    pub retry_at: Option<Mono>,
}

/// What a call asks for.
#[derive(Default)]
pub(super) struct Ended {
    pub value: Option<Bytes>,
    pub effects: Vec<Effect>,
    pub reply: Option<Reply>,
}

pub(super) enum Undo {
    Nothing,
    /// The state as it was before.
    State(Option<State>),
    /// It is read again from what is stored.
    Reread,
}

impl Turn {
    pub fn new(
        core: &Arc<Core>,
        job: Option<Box<Job>>,
        token: Option<Token>,
        held: Option<(Arc<Entity>, Memory)>,
    ) -> Turn {
        let (entity, memory) = held.map_or((None, Memory::default()), |(entity, memory)| (Some(entity), memory));
        Turn {
            core: core.clone(),
            now: core.host.now(),
            fired: job.as_ref().and_then(|job| job.timer),
            job,
            token,
            entity,
            memory,
            undo: Undo::Nothing,
            text: None,
            ended: Ok(Ended::default()),
            outcome: None,
            writes: Vec::new(),
            writing: None,
            timers: Vec::new(),
            parcels: Vec::new(),
            retry_at: None,
        }
    }

    pub fn app(&self) -> Option<AppId> {
        self.job.as_ref().map(|job| job.call().app.id).or_else(|| self.entity.as_ref().map(|entity| entity.app))
    }

    /// The entity's memory after the turn.
    pub fn memory_after(&mut self, kept: bool, now: Mono) -> Memory {
        let mut memory = std::mem::take(&mut self.memory);
        if kept && self.ended.is_ok() {
            if let Some(text) = self.text.take() {
                (memory.stored, memory.written_at) = (text, now);
            }
        } else {
            match std::mem::replace(&mut self.undo, Undo::Nothing) {
                Undo::Nothing => return memory,
                Undo::State(before) => memory.state = before,
                Undo::Reread => memory.state = None,
            }
            let state = memory.state.as_ref();
            memory.state_bytes = state.map_or(0, State::bytes);
            memory.heap_bytes = state.map_or(0, State::heap_bytes);
        }
        memory
    }

    /// Whose message is answered, where one is, or had several things done.
    pub fn asker(&self, job: &Job, effects: &[Effect]) -> Option<(Arc<Connection>, Asker)> {
        let event = &job.call().event;
        let concerns = effects.len() > 1 || effects.iter().any(|effect| matches!(effect, Effect::Reply(_)));
        Some((event.connection.clone()?, event.asker.clone().filter(|_| concerns)?))
    }

    /// A route's caller hears how many were reached.
    pub fn recipients(&self, job: &Job) -> (Option<oneshot::Sender<u32>>, Option<oneshot::Receiver<u32>>) {
        match job.call().event.trigger {
            Trigger::Route(_) => {
                let (tell, heard) = oneshot::channel();
                (Some(tell), Some(heard))
            }
            _ => (None, None),
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if let Some(entity) = self.entity.take() {
            tracing::error!(entity = &*entity.key, "a call was lost, and what its entity had in memory");
            self.core.release(entity);
        }
    }
}
