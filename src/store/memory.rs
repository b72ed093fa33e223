//! The same in memory: for tests, and for `driver = "memory"`. Bounded only by what the handlers write.

use super::queue::{Apply, Writer};
use super::settings::Settings;
use super::write::{Done, Parcel, StoreError, Timer, Write};
use super::{Millis, Problem, Store};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub(super) struct Memory {
    data: Shared,
    /// `None`: transactions are kept at once, on their caller's thread.
    writer: Option<Writer>,
}

#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Data>>);

#[derive(Default)]
struct Data {
    apps: HashMap<Arc<str>, App>,
    outbox: HashMap<u128, Parcel>,
}

#[derive(Default)]
struct App {
    values: BTreeMap<String, Kept>,
    entities: HashMap<Arc<str>, Kept>,
    /// By entity, then by name.
    timers: HashMap<Arc<str>, HashMap<Arc<str>, Timer>>,
}

struct Kept {
    text: String,
    until: Option<Millis>,
}

impl Kept {
    fn is_over(&self, now: Millis) -> bool {
        self.until.is_some_and(|until| until <= now)
    }
}

pub(super) fn open(settings: &Settings) -> Result<Memory, Problem> {
    let data = Shared::default();
    let writer = Writer::start(settings, data.clone());
    let writer = writer.map_err(|e| Problem::new("driver", format!("the writer's thread did not start: {e}")))?;
    Ok(Memory { data, writer: Some(writer) })
}

/// Without a thread: for tests, whose steps follow each other.
pub(super) fn at_once() -> Memory {
    Memory { data: Shared::default(), writer: None }
}

impl Store for Memory {
    fn get(&self, app: &str, key: &str, now: Millis) -> Result<Option<String>, StoreError> {
        let data = self.data.lock();
        let kept = data.apps.get(app).and_then(|a| a.values.get(key)).filter(|kept| !kept.is_over(now));
        Ok(kept.map(|kept| kept.text.clone()))
    }

    fn keys(&self, app: &str, prefix: &str, limit: usize, now: Millis) -> Result<Vec<String>, StoreError> {
        let data = self.data.lock();
        let Some(app) = data.apps.get(app) else { return Ok(Vec::new()) };
        let from = app.values.range::<str, _>((Bound::Included(prefix), Bound::Unbounded));
        let live = from.take_while(|(key, _)| key.starts_with(prefix)).filter(|(_, kept)| !kept.is_over(now));
        Ok(live.map(|(key, _)| key.clone()).take(limit).collect())
    }

    fn entity(&self, app: &str, entity: &str) -> Result<Option<String>, StoreError> {
        let data = self.data.lock();
        Ok(data.apps.get(app).and_then(|a| a.entities.get(entity)).map(|kept| kept.text.clone()))
    }

    fn commit(&self, writes: Vec<Write>, done: Done) {
        match &self.writer {
            Some(writer) => writer.commit(writes, done),
            None => {
                let kept = self.data.lock().commit(&writes);
                done(kept);
            }
        }
    }

    fn timers(&self) -> Result<Vec<Timer>, StoreError> {
        let data = self.data.lock();
        let of_entities = data.apps.values().flat_map(|app| app.timers.values());
        let mut timers: Vec<Timer> = of_entities.flat_map(|timers| timers.values().cloned()).collect();
        timers.sort_by_key(|t| t.due);
        Ok(timers)
    }

    fn outbox(&self) -> Result<Vec<Parcel>, StoreError> {
        let mut parcels: Vec<Parcel> = self.data.lock().outbox.values().cloned().collect();
        parcels.sort_by_key(|p| (p.due, p.created_at));
        Ok(parcels)
    }

    fn sweep(&self, now: Millis) -> Result<usize, StoreError> {
        match &self.writer {
            Some(writer) => writer.sweep(now),
            None => self.data.clone().sweep(now),
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Data> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Apply for Shared {
    fn commit(&mut self, group: &[Vec<Write>]) -> Vec<Result<(), StoreError>> {
        let mut data = self.lock();
        group.iter().map(|writes| data.commit(writes)).collect()
    }

    fn sweep(&mut self, now: Millis) -> Result<usize, StoreError> {
        let mut forgotten = 0;
        for app in self.lock().apps.values_mut() {
            let before = app.values.len() + app.entities.len();
            app.values.retain(|_, kept| !kept.is_over(now));
            app.entities.retain(|entity, kept| !kept.is_over(now) || app.timers.contains_key(entity));
            forgotten += before - app.values.len() - app.entities.len();
        }
        Ok(forgotten)
    }
}

impl Data {
    fn commit(&mut self, writes: &[Write]) -> Result<(), StoreError> {
        self.refuse_known(writes)?;
        for write in writes.iter().cloned() {
            self.write(write);
        }
        Ok(())
    }

    /// The one way to fail, looked for before anything is changed.
    fn refuse_known(&self, writes: &[Write]) -> Result<(), StoreError> {
        let (mut come, mut gone) = (HashSet::new(), HashSet::new());
        for write in writes {
            match write {
                Write::Parcel(Parcel { id, .. }) => {
                    let is_there = self.outbox.contains_key(id) && !gone.contains(id);
                    if is_there || !come.insert(*id) {
                        return Err(StoreError::Broken(format!("the parcel {id:032x} is there already")));
                    }
                }
                Write::ParcelDone { id } | Write::ParcelDead { id, .. } => {
                    come.remove(id);
                    gone.insert(*id);
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn app(&mut self, app: Arc<str>) -> &mut App {
        self.apps.entry(app).or_default()
    }

    fn write(&mut self, write: Write) {
        match write {
            Write::Set { app, key, value, expires_at } => {
                self.app(app).values.insert(key, Kept { text: value, until: expires_at });
            }
            Write::Delete { app, key } => {
                self.app(app).values.remove(&key);
            }
            Write::Entity { app, entity, state, forget_at } => {
                self.app(app).entities.insert(entity, Kept { text: state, until: forget_at });
            }
            Write::ForgetEntity { app, entity } => {
                self.app(app).entities.remove(&entity);
            }
            Write::Timer(timer) => {
                let of_entity = self.app(timer.app.clone()).timers.entry(timer.entity.clone()).or_default();
                of_entity.insert(timer.name.clone(), timer);
            }
            Write::CancelTimer { app, entity, name } => {
                let timers = &mut self.app(app).timers;
                if let Some(of_entity) = timers.get_mut(&entity) {
                    of_entity.remove(&name);
                    if of_entity.is_empty() {
                        timers.remove(&entity);
                    }
                }
            }
            Write::Parcel(parcel) => {
                self.outbox.insert(parcel.id, parcel);
            }
            Write::ParcelRetry { id, attempts, due, .. } => {
                if let Some(parcel) = self.outbox.get_mut(&id) {
                    (parcel.attempts, parcel.due) = (attempts, due);
                }
            }
            Write::ParcelDone { id } | Write::ParcelDead { id, .. } => {
                self.outbox.remove(&id);
            }
        }
    }
}
