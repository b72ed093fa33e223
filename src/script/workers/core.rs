//! What the threads share, and the way of a call through them: taken, begun, kept, ended.

use super::entity::{Entity, Item};
use super::handlers::Handlers;
use super::job::{Job, Load, Token, guarded};
use super::keep;
use super::pool::Pool;
use super::table::Table;
use super::timers::{Owner, Timers};
use super::turn::{Ended, Turn};
use crate::model::memory::Kind;
use crate::model::{AppId, Code, Ms, Refusal};
use crate::observe::{CallResult, HandlerLimit, Metrics, limited};
use crate::script::{App, Call, Carry, Host, Outbox};
use crate::store::{Store, StoreError, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, PoisonError, RwLock};

pub(super) struct Core {
    pub host: Arc<dyn Host>,
    pub carry: Arc<dyn Carry>,
    pub store: Option<Arc<dyn Store>>,
    pub outbox: Option<Arc<dyn Outbox>>,
    pub metrics: Arc<Metrics>,
    pub load: Arc<Load>,
    pub pool: Pool<Ready>,
    pub table: Table,
    pub timers: Timers,
    pub handlers: Handlers,
    /// Instead of the apps' own: where calls are steps, how busy a machine is must not decide.
    pub deadline: Option<Ms>,
    /// In force, by their numbers.
    pub apps: RwLock<Vec<Option<Arc<App>>>>,
}

/// What a worker takes up.
pub(super) enum Ready {
    /// Of no entity.
    Call(Box<Job>),
    /// Something waits for it; whoever takes it has it.
    Entity(Arc<Entity>),
    /// The store has answered.
    Committed(Box<Turn>, Result<(), StoreError>),
    /// Has the store forget what is over.
    Sweep(Token),
}

/// Where to wait for a turn's end, or what to go on with.
enum Next {
    /// The store has it now, and brings it back.
    Parked,
    Free,
    Has(Had),
}

/// An entity whose turn is over, and that is still had. The call counts as pending until it is not: so where nothing is
/// pending, every entity is at rest.
struct Had {
    entity: Arc<Entity>,
    _token: Option<Token>,
}

impl Core {
    pub fn app(&self, id: AppId) -> Option<Arc<App>> {
        self.apps.read().unwrap_or_else(PoisonError::into_inner).get(id.0 as usize).cloned().flatten()
    }

    /// Takes a call, or gives it back; never waits. `timer`: the one that fired it.
    #[allow(clippy::result_large_err)] // it goes back to whoever made it, by value
    pub fn submit(self: &Arc<Core>, call: Call, timer: Option<u64>) -> Result<(), (Call, Refusal)> {
        let handler = self.handlers.find(&call.app, call.handler, &self.metrics);
        let not_now = |call, limit| {
            handler.refused(limit);
            let code = match limit {
                HandlerLimit::Entities | HandlerLimit::Memory => Code::Limit,
                _ => Code::Overloaded,
            };
            Err((call, Refusal::new(code)))
        };
        let now = call.event.at.mono;
        if handler.breaker.refuses(now).is_some() {
            return not_now(call, HandlerLimit::Breaker);
        }
        let (app, entity) = (call.app.clone(), call.entity.clone());
        let account = self.metrics.memory.app(app.id);
        let job = match Job::take(&self.load, call, handler.clone(), timer, &account) {
            Ok(job) => job,
            Err((call, limit)) => return not_now(call, limit),
        };
        let Some(key) = entity else {
            self.ready(Ready::Call(job));
            return Ok(());
        };
        let queue_max = app.limits.entity_queue as usize;
        match self.table.submit(&app, &key, Item::Call(job), queue_max, &self.timers, now) {
            Ok(None) => Ok(()),
            Ok(Some(entity)) => {
                self.ready(Ready::Entity(entity));
                Ok(())
            }
            Err((Item::Call(job), limit)) => not_now(job.give_back(), limit),
            // What was handed in is what comes back.
            Err((Item::Forget(_), _)) => Ok(()),
        }
    }

    /// Ends an entity behind what waits for it.
    pub fn forget(self: &Arc<Core>, app: AppId, key: &str) {
        let (Some(app), Some(token)) = (self.app(app), self.load.token()) else { return };
        let is_stored = self.store.is_some() && self.table.kind(&app, super::key::kind_of(key)).is_stored();
        if !is_stored && !self.table.holds(app.id, key) && !self.timers.has(app.id, key) {
            return;
        }
        let (key, now): (Arc<str>, _) = (key.into(), self.host.now().mono);
        // Never refused for a full queue: it makes room.
        match self.table.submit(&app, &key, Item::Forget(token), usize::MAX, &self.timers, now) {
            Ok(None) => {}
            Ok(Some(entity)) => self.ready(Ready::Entity(entity)),
            Err((item, _)) => {
                // No room to have it wait for anything: then it has no calls either.
                let writes = keep::forget(&self.timers.of(&Owner(app.id, Some(key.clone()))), &app.name, &key, true);
                self.timers.cancel_all(&Owner(app.id, Some(key)));
                self.commit(writes, move |_| drop(item));
            }
        }
    }

    pub fn ready(self: &Arc<Core>, ready: Ready) {
        let lane = match &ready {
            Ready::Committed(..) => None,
            Ready::Call(job) => Some(job.call().app.id.0),
            Ready::Entity(entity) => Some(entity.app.0),
            Ready::Sweep(_) => Some(0),
        };
        let put = match lane {
            None => self.pool.push_first(ready),
            Some(lane) => self.pool.push(lane, ready),
        };
        if let Err(ready) = put {
            self.abandon(ready);
        }
    }

    /// One thing to do, on a worker. A mistake in here ends one call, and neither thread nor entity.
    pub fn work(self: &Arc<Core>, ready: Ready) {
        let worked = catch_unwind(AssertUnwindSafe(|| match ready {
            Ready::Call(job) => drop(self.settle(self.perform(job, None))),
            Ready::Entity(entity) => self.run_on(entity),
            Ready::Committed(turn, committed) => {
                if let Some(had) = self.complete(*turn, committed) {
                    self.release(had.entity.clone());
                }
            }
            Ready::Sweep(token) => self.sweep_store(token),
        }));
        if worked.is_err() {
            tracing::error!("a worker met a mistake of Weir's own");
        }
    }

    /// Works for an entity until nothing waits for it, or somebody else waits for a thread.
    fn run_on(self: &Arc<Core>, mut entity: Arc<Entity>) {
        loop {
            let mut ended = None;
            if let Some((item, memory)) = entity.begin() {
                let turn = match item {
                    Item::Call(job) => self.perform(job, Some((entity, memory))),
                    Item::Forget(token) => self.end_entity(token, entity),
                };
                match self.settle(turn) {
                    Next::Has(had) => entity = ended.insert(had).entity.clone(),
                    Next::Parked | Next::Free => return,
                }
            }
            if !self.table.release(&entity, &self.timers, self.host.now().mono) {
                return;
            }
            if self.pool.is_waiting() {
                return self.ready(Ready::Entity(entity));
            }
        }
    }

    /// Gives an entity up, or has the next worker go on with it.
    pub fn release(self: &Arc<Core>, entity: Arc<Entity>) {
        if self.table.release(&entity, &self.timers, self.host.now().mono) {
            self.ready(Ready::Entity(entity));
        }
    }

    /// Has what a turn keeps committed; where there is nothing, ends it now.
    fn settle(self: &Arc<Core>, mut turn: Turn) -> Next {
        let writes = std::mem::take(&mut turn.writes);
        if !writes.is_empty() {
            let bytes = writes.iter().map(Write::bytes).sum();
            turn.writing = turn.app().map(|app| self.metrics.memory.app(app).take(Kind::Calls, bytes).0);
            let (core, turn) = (self.clone(), Box::new(turn));
            self.commit(writes, move |committed| core.ready(Ready::Committed(turn, committed)));
            return Next::Parked;
        }
        match self.complete(turn, Ok(())) {
            Some(had) => Next::Has(had),
            None => Next::Free,
        }
    }

    /// The store has answered, or was not needed: what the call did becomes true, or undone, and is told.
    fn complete(&self, mut turn: Turn, committed: Result<(), StoreError>) -> Option<Had> {
        let now = turn.now.mono;
        if let Err(error) = &committed {
            self.not_kept(&mut turn, error);
        } else {
            for op in turn.timers.drain(..) {
                op.apply(&self.timers);
            }
        }
        if let Some(id) = turn.fired {
            match turn.retry_at {
                Some(at) => self.timers.retry(id, at),
                None => self.timers.end(id, self.host.now().mono),
            }
        }
        let parcels = std::mem::take(&mut turn.parcels);
        let kept = turn.ended.is_ok() && committed.is_ok();
        let memory = turn.memory_after(committed.is_ok(), now);
        if let Some(entity) = &turn.entity {
            entity.put(memory, now);
        }
        if let (true, Some(outbox)) = (kept, &self.outbox) {
            for parcel in parcels {
                guarded("the outbox", || outbox.sent(parcel));
            }
        }
        self.tell(&mut turn);
        Some(Had { entity: turn.entity.take()?, _token: turn.token.take() })
    }

    fn not_kept(&self, turn: &mut Turn, error: &StoreError) {
        let key = turn.entity.as_deref().map(|e| &*e.key);
        let Some(job) = &turn.job else {
            limited!(error, entity = key, "an entity that ended stays in the store: {error}");
            return;
        };
        let (app, handler) = (&*job.handler.app, &*job.handler.name);
        let code = match error {
            // The disk's state is no mistake of the handler's: its client may try again.
            StoreError::Busy | StoreError::Unavailable(_) => {
                job.handler.metrics.limit(HandlerLimit::Store);
                Code::Overloaded
            }
            StoreError::Broken(_) => Code::Internal,
        };
        limited!(error, app, handler, entity = key, "a call was undone: {error}");
        turn.ended = Err(Refusal::new(code));
        turn.outcome = Some(if code == Code::Overloaded { CallResult::Overloaded } else { CallResult::Fault });
        turn.retry_at = Some(self.host.now().mono + super::RETRY_MS);
    }

    /// First whoever waits for the call, then its effects.
    fn tell(&self, turn: &mut Turn) {
        let Some(mut job) = turn.job.take() else { return };
        if let Some(outcome) = turn.outcome {
            job.handler.metrics.called(outcome);
        }
        let ended = std::mem::replace(&mut turn.ended, Ok(Ended::default()));
        turn.token = job.stays_pending();
        let Ended { value, effects, reply } = match ended {
            Ok(ended) => ended,
            Err(refusal) => return job.end(Err(refusal), None, None),
        };
        let app = job.call().app.id;
        let asker = turn.asker(&job, &effects);
        let (tell, recipients) = turn.recipients(&job);
        job.end(Ok(value), reply, recipients);
        if effects.is_empty() {
            if let Some(tell) = tell {
                let _ = tell.send(0);
            }
            return;
        }
        let asker = asker.as_ref().map(|(connection, asker)| (&**connection, asker));
        guarded("who carries out effects", || self.carry.carry(app, asker, effects, tell));
    }

    /// Nobody works any more: what came too late is answered, what was committed is told.
    fn abandon(&self, ready: Ready) {
        let entity = match ready {
            Ready::Committed(turn, committed) => self.complete(*turn, committed).map(|had| had.entity),
            Ready::Entity(entity) => Some(entity),
            // Dropped, a job answers.
            Ready::Call(_) | Ready::Sweep(_) => None,
        };
        let Some(entity) = entity else { return };
        while let Some((item, memory)) = entity.begin() {
            drop(item);
            entity.put(memory, self.host.now().mono);
        }
        self.table.release(&entity, &self.timers, self.host.now().mono);
    }

    /// `done` hears once, also where there is no store.
    pub fn commit(&self, writes: Vec<crate::store::Write>, done: impl FnOnce(Result<(), StoreError>) + Send + 'static) {
        match &self.store {
            Some(store) => store.commit(writes, Box::new(done)),
            None => done(Err(StoreError::Broken("there is none".into()))),
        }
    }

    fn sweep_store(&self, token: Token) {
        if let Some(store) = &self.store
            && let Some(Err(error)) = guarded("the store", || store.sweep(self.host.now().wall))
        {
            tracing::warn!("the store did not forget what is over: {error}");
        }
        drop(token);
    }
}
