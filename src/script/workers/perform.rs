//! Runs one handler over its entity's state, and says what is to be kept of it.

use super::breaker::Cause;
use super::core::Core;
use super::entity::{ENTITY_BYTES, Entity, Memory};
use super::job::{Job, Token};
use super::keep::{self, Keeping};
use super::timers::{Owner, Timer, timer_bytes};
use super::turn::{Ended, Turn, Undo};
use crate::model::{Code, Now, Refusal, memory};
use crate::observe::{CallResult, HandlerLimit, limited};
use crate::script::{Around, Failure, Fault, FaultKind, Kept, Limits, Ran, State, Trigger};
use crate::store::{StoreError, Write};
use std::borrow::Cow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Instant;

/// Why a call came to nothing.
enum Stopped {
    Refused(Refusal),
    /// Weir's own, such as no room: not the handler's mistake.
    Unable(Refusal, HandlerLimit),
    /// The store did not answer; for the log.
    Store(StoreError),
    Fault(Box<Fault>, Option<HandlerLimit>),
}

impl Core {
    /// Runs a call, and says what is to be kept of it.
    pub(super) fn perform(self: &Arc<Core>, job: Box<Job>, held: Option<(Arc<Entity>, Memory)>) -> Turn {
        let mut turn = Turn::new(self, Some(job), None, held);
        let Some(job) = &mut turn.job else { return turn };
        job.begin();
        let handler = job.handler.clone();
        let timer = match job.timer.map(|id| self.timers.begin(id)) {
            // Cancelled while its call waited: as if it had never fired.
            Some(None) => {
                turn.fired = None;
                return turn;
            }
            timer => timer.flatten(),
        };
        let (now, app) = (turn.now.mono, job.call().app.clone());
        let retry_at = match self.load.is_cancelled() {
            true => Err((now + super::RETRY_MS, HandlerLimit::Queue)),
            false => handler.breaker.admit(now, &app.limits).map_err(|until| (until, HandlerLimit::Breaker)),
        };
        let pass = match retry_at {
            Ok(pass) => pass,
            Err((at, limit)) => {
                handler.metrics.limit(limit);
                turn.retry_at = Some(at);
                turn.outcome = Some(CallResult::Overloaded);
                turn.ended = Err(Refusal::new(Code::Overloaded));
                return turn;
            }
        };
        // What waits to be answered is small; what it would come to may not be. It is held against the app's part before it
        // runs, not only when it was taken on.
        let has_room = self.metrics.memory.app(app.id).over() == 0;
        let no_room = Stopped::Unable(Refusal::new(Code::Overloaded), HandlerLimit::Memory);
        let stopped = match if has_room { self.run(&mut turn, timer.as_ref()) } else { Err(no_room) } {
            Ok(()) => {
                handler.well(pass);
                turn.outcome = Some(CallResult::Ok);
                return turn;
            }
            Err(stopped) => stopped,
        };
        // A call that came to nothing has still used up its timer.
        turn.writes = timer.iter().filter_map(|t| keep::fired(t, &app.name, self.host.now())).collect();
        turn.timers.clear();
        turn.parcels.clear();
        let key = turn.entity.as_ref().map(|e| e.key.clone());
        let (outcome, refusal) = match stopped {
            Stopped::Refused(refusal) => {
                handler.well(pass);
                (CallResult::Refused, refusal)
            }
            Stopped::Unable(refusal, limit) => {
                handler.metrics.limit(limit);
                turn.retry_at = Some(now + super::RETRY_MS);
                turn.writes.clear();
                (CallResult::Overloaded, refusal)
            }
            Stopped::Store(error) => {
                let (app, name) = (&*handler.app, &*handler.name);
                limited!(error, app, handler = name, entity = key.as_deref(), "its state was not read: {error}");
                turn.retry_at = Some(now + super::RETRY_MS);
                turn.writes.clear();
                (CallResult::Fault, Refusal::new(Code::Internal))
            }
            Stopped::Fault(fault, limit) => {
                self.host.failed(&fault);
                let cause = turn.job.as_ref().map_or(Cause::Nobody, |job| Cause::of(&job.call().event));
                handler.fault(pass, cause, &app, key.as_deref(), &fault, limit, self.host.now().mono);
                (CallResult::Fault, Refusal::new(Code::Internal))
            }
        };
        turn.outcome = Some(outcome);
        turn.ended = Err(refusal);
        turn
    }

    /// An entity's end: its memory, its timers, what the store has of it.
    pub(super) fn end_entity(self: &Arc<Core>, token: Token, entity: Arc<Entity>) -> Turn {
        let owner = Owner(entity.app, Some(entity.key.clone()));
        let timers = self.timers.of(&owner);
        let is_stored = self.store.is_some() && entity.kind.is_stored();
        let writes = keep::forget(&timers, &entity.app_name, &entity.key, is_stored);
        let mut turn = Turn::new(self, None, Some(token), Some((entity, Memory::default())));
        turn.writes = writes;
        self.timers.cancel_all(&owner);
        turn
    }

    /// Runs the handler over its entity's state; `turn` gets what it did.
    fn run(&self, turn: &mut Turn, timer: Option<&Timer>) -> Result<(), Stopped> {
        let Some(job) = &turn.job else { return Ok(()) };
        let call = job.call();
        let app = &*call.app;
        let is_stored = turn.entity.as_ref().is_some_and(|e| e.kind.is_stored());
        // Of those that do not look at it, the state stays where it is.
        let keeps_state = app.plugin.keeps_state(call.handler);
        let mut scratch = State::new();
        let state = match (&turn.entity, keeps_state) {
            (Some(entity), true) => {
                self.load_state(&mut turn.memory, entity, is_stored)?;
                // A stored state is read again where it must be undone: cheaper than a copy each time.
                let copy = if is_stored && turn.memory.is_stored() { None } else { Some(turn.memory.state.clone()) };
                turn.undo = copy.map_or(Undo::Reread, Undo::State);
                turn.memory.state.get_or_insert_default()
            }
            _ => &mut scratch,
        };
        let limits = match self.deadline {
            None => Cow::Borrowed(&app.limits),
            Some(deadline) => Cow::Owned(Limits { deadline, ..app.limits.clone() }),
        };
        let around = Around {
            app,
            host: &*self.host,
            store: self.store.as_deref(),
            entity: call.entity.as_deref(),
            limits: &limits,
        };
        let began = Instant::now();
        let ran = catch_unwind(AssertUnwindSafe(|| app.plugin.run(call.handler, state, &call.event, &around)));
        let operations = ran.as_ref().map_or(0, |ran| ran.as_ref().map_or(0, |ran| ran.operations));
        job.handler.metrics.ran(began.elapsed(), operations);
        let ran = match ran {
            Ok(Ok(ran)) => ran,
            Ok(Err(Failure::Refused(refusal))) => return Err(Stopped::Refused(refusal)),
            Ok(Err(Failure::Fault(fault))) => return Err(Stopped::Fault(fault, None)),
            Err(_) => return Err(self.fault(turn, FaultKind::Panic, "a mistake of Weir's own".into(), None)),
        };
        (0..ran.left_out).for_each(|_| job.handler.metrics.limit(HandlerLimit::Unreadable));
        let now = if ran.kept.is_empty() && timer.is_none() && !is_stored { turn.now } else { self.host.now() };
        turn.writes.extend(timer.and_then(|t| keep::fired(t, &app.name, now)));
        if keeps_state && turn.entity.is_some() {
            self.measure(turn, is_stored, now)?;
        }
        self.keep(turn, ran, is_stored, now)
    }

    /// Has the state in memory, from the store where it is kept there.
    fn load_state(&self, memory: &mut Memory, entity: &Entity, is_stored: bool) -> Result<(), Stopped> {
        if memory.state.is_some() || !is_stored {
            return Ok(());
        }
        if !memory.asked {
            let none = || StoreError::Broken("there is none".into());
            let store = self.store.as_ref().ok_or_else(none).map_err(Stopped::Store)?;
            memory.stored = match store.entity(&entity.app_name, &entity.key) {
                Ok(stored) => stored,
                Err(error @ (StoreError::Busy | StoreError::Unavailable(_))) => {
                    limited!(error, app = &*entity.app_name, entity = &*entity.key, "a state was not read: {error}");
                    return Err(Stopped::Unable(Refusal::new(Code::Overloaded), HandlerLimit::Store));
                }
                Err(error) => return Err(Stopped::Store(error)),
            };
            memory.asked = true;
        }
        if let Some(text) = &memory.stored {
            let state = State::from_json(text).map_err(|e| Stopped::Store(StoreError::Broken(e)))?;
            (memory.state_bytes, memory.heap_bytes) = (state.bytes(), state.heap_bytes());
            let needed = memory.taken(&entity.key);
            memory.state = Some(state);
            if !entity.reserve(needed) {
                return Err(Stopped::Unable(Refusal::new(Code::Overloaded), HandlerLimit::Memory));
            }
        }
        Ok(())
    }

    /// Holds the new state against its bound; of a stored one, whether it must be written.
    fn measure(&self, turn: &mut Turn, is_stored: bool, now: Now) -> Result<(), Stopped> {
        let (Some(entity), Some(state)) = (&turn.entity, &turn.memory.state) else { return Ok(()) };
        let settings = entity.kind.settings();
        // Whatever thread forgets the entity throws its state away by recursion.
        if state.is_too_deep() {
            let what = "`this` is nested deeper than 100 values".to_owned();
            return Err(self.fault(turn, FaultKind::Depth, what, None));
        }
        let text = match is_stored.then(|| state.to_json()).transpose() {
            Ok(text) => text,
            Err(why) => {
                return Err(self.fault(turn, FaultKind::Error, format!("`this` cannot be stored: {why}"), None));
            }
        };
        let bytes = state.bytes();
        if text.as_ref().map_or(bytes, String::len) > settings.bytes.0 as usize {
            let what = format!("`this` takes more than {} bytes (`bytes` of [entity])", settings.bytes.0);
            return Err(self.fault(turn, FaultKind::Size, what, Some(HandlerLimit::EntityBytes)));
        }
        let heap_bytes = state.heap_bytes();
        let stored = text.as_ref().map_or(0, String::len).max(turn.memory.stored.as_ref().map_or(0, String::len));
        if !entity.reserve(ENTITY_BYTES + 2 * entity.key.len() + heap_bytes + stored) {
            return Err(Stopped::Unable(Refusal::new(Code::Limit), HandlerLimit::Memory));
        }
        (turn.memory.state_bytes, turn.memory.heap_bytes) = (bytes, heap_bytes);
        let Some(text) = text else { return Ok(()) };
        if state.is_empty() {
            // An empty state is none: nothing has to be kept of it.
            if turn.memory.stored.is_some() {
                let (app, entity) = (entity.app_name.clone(), entity.key.clone());
                turn.writes.push(Write::ForgetEntity { app, entity });
                turn.text = Some(None);
            }
            return Ok(());
        }
        let life = settings.forget_after.0;
        // What is only read must not be forgotten either: written again after an eighth of its life, it lives so much longer.
        let is_old = life.is_some_and(|ms| now.mono.since(turn.memory.written_at) > ms / 8);
        if is_old || turn.memory.stored.as_ref() != Some(&text) {
            turn.writes.push(Write::Entity {
                app: entity.app_name.clone(),
                entity: entity.key.clone(),
                state: text.clone(),
                forget_at: life.map(|ms| now.wall.saturating_add(ms).saturating_add(ms / 8)),
            });
            turn.text = Some(Some(text));
        }
        Ok(())
    }

    /// What goes to the store and the timers; the rest is carried out later.
    fn keep(&self, turn: &mut Turn, ran: Ran, is_durable: bool, now: Now) -> Result<(), Stopped> {
        let Ran { effects, kept, mut value, mut reply, .. } = ran;
        // What a route answers may wait for its turn.
        if let Some(call) = turn.job.as_ref().map(|job| job.call())
            && matches!(call.event.trigger, Trigger::Route(_))
        {
            let account = self.metrics.memory.app(call.app.id);
            for data in value.iter_mut().chain(reply.as_mut().map(|reply| &mut reply.message.data)) {
                let Some(taken) = account.reserve(memory::Kind::Calls, data.len()) else {
                    return Err(Stopped::Unable(Refusal::new(Code::Overloaded), HandlerLimit::Memory));
                };
                *data = taken.held_with(std::mem::take(data), ());
            }
        }
        if !kept.is_empty() {
            let Some(job) = &turn.job else { return Ok(()) };
            let call = job.call();
            let keeping = Keeping {
                app: &call.app,
                entity: call.entity.as_ref(),
                is_durable,
                timers: &self.timers,
                outbox: self.outbox.as_deref(),
                random: &|| self.host.random(),
                now,
            };
            if !keeping.is_room(&kept) {
                return Err(Stopped::Unable(Refusal::new(Code::Overloaded), HandlerLimit::Webhook));
            }
            let max = call.app.limits.timers as usize;
            if keeping.timers_after(&kept) > max {
                let what = format!("more than {max} timers of one entity (`timers` of [script])");
                return Err(self.fault(turn, FaultKind::Timers, what, None));
            }
            let timers = kept.iter().filter_map(|k| if let Kept::Timer { data, .. } = k { Some(data) } else { None });
            let bytes: usize = timers.map(|data| timer_bytes(data.as_bytes())).sum();
            if bytes > 0 && !self.metrics.memory.app(call.app.id).has_room(bytes) {
                return Err(Stopped::Unable(Refusal::new(Code::Limit), HandlerLimit::Memory));
            }
            keeping.keep(kept, &mut turn.writes, &mut turn.timers, &mut turn.parcels);
            if self.store.is_none() && !turn.writes.is_empty() {
                return Err(Stopped::Store(StoreError::Broken("there is none".into())));
            }
        }
        turn.ended = Ok(Ended { value, effects, reply });
        Ok(())
    }

    /// A fault at the handler's own place.
    fn fault(&self, turn: &Turn, kind: FaultKind, what: String, limit: Option<HandlerLimit>) -> Stopped {
        let call = turn.job.as_ref().map(|job| job.call());
        let function = call.and_then(|call| call.app.plugin.functions().nth(call.handler as usize));
        let (file, line) = function.map_or((String::new(), 0), |f| (f.file.to_string(), f.line));
        Stopped::Fault(Box::new(Fault { what, file, line, column: 1, kind }), limit)
    }
}
