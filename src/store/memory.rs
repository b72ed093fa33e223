//! The same in memory: for tests, and for `driver = "memory"`. What an app keeps counts as its memory: beyond its bound a
//! transaction is refused, once what has expired is gone.

use super::queue::{Apply, Writer};
use super::settings::Settings;
use super::write::{Done, Parcel, StoreError, Timer, Write};
use super::{Millis, Problem, Store};
use crate::model;
use crate::model::memory::{Account, Kind, Taken};
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
    /// `None`: nothing is bounded.
    memory: Option<Arc<model::Memory>>,
}

#[derive(Default)]
struct App {
    values: BTreeMap<String, Kept>,
    entities: HashMap<Arc<str>, Kept>,
    /// By entity, then by name.
    timers: HashMap<Arc<str>, HashMap<Arc<str>, Timer>>,
    /// Of all of it, and of its parcels, about.
    bytes: usize,
    taken: Option<Taken>,
}

/// What a value, a state, a timer or a parcel takes beside its texts, about.
const PLACE_BYTES: usize = 192;

struct Kept {
    text: String,
    until: Option<Millis>,
}

impl Kept {
    fn bytes(&self, key: &str) -> usize {
        PLACE_BYTES + key.len() + self.text.len()
    }

    fn is_over(&self, now: Millis) -> bool {
        self.until.is_some_and(|until| until <= now)
    }
}

pub(super) fn open(settings: &Settings, memory: Option<Arc<model::Memory>>) -> Result<Memory, Problem> {
    let data = Shared(Arc::new(Mutex::new(Data { memory, ..Data::default() })));
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
            forgotten += app.sweep(now);
            app.tell();
        }
        Ok(forgotten)
    }
}

impl Data {
    fn commit(&mut self, writes: &[Write]) -> Result<(), StoreError> {
        self.refuse_known(writes)?;
        self.make_room(writes)?;
        for write in writes.iter().cloned() {
            self.write(write);
        }
        self.apps.values_mut().filter(|app| app.is_told_less()).for_each(App::tell);
        Ok(())
    }

    /// Whether each app may keep what it is to keep. What is replaced counts until it is.
    fn make_room(&mut self, writes: &[Write]) -> Result<(), StoreError> {
        let Some(memory) = self.memory.clone() else { return Ok(()) };
        let mut more: BTreeMap<&Arc<str>, usize> = BTreeMap::new();
        for write in writes {
            let app = match write {
                Write::Set { app, .. } | Write::Entity { app, .. } => app,
                Write::Timer(timer) => &timer.app,
                Write::Parcel(parcel) => &parcel.app,
                _ => continue,
            };
            *more.entry(app).or_default() += PLACE_BYTES + write.bytes();
        }
        for (name, bytes) in more {
            let Some(account) = memory.named(name) else { continue };
            let app = self.apps.entry(name.clone()).or_default();
            if !app.reserve(&account, app.bytes + bytes) {
                return Err(StoreError::Unavailable(format!("`{name}` keeps too much (`limits.memory`)")));
            }
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
                let (app, kept) = (self.app(app), Kept { text: value, until: expires_at });
                app.bytes += kept.bytes(&key);
                app.bytes -= app.values.get(&key).map_or(0, |old| old.bytes(&key));
                app.values.insert(key, kept);
            }
            Write::Delete { app, key } => {
                let app = self.app(app);
                app.bytes -= app.values.remove(&key).map_or(0, |old| old.bytes(&key));
            }
            Write::Entity { app, entity, state, forget_at } => {
                let (app, kept) = (self.app(app), Kept { text: state, until: forget_at });
                app.bytes += kept.bytes(&entity);
                app.bytes -= app.entities.insert(entity.clone(), kept).map_or(0, |old| old.bytes(&entity));
            }
            Write::ForgetEntity { app, entity } => {
                let app = self.app(app);
                app.bytes -= app.entities.remove(&entity).map_or(0, |old| old.bytes(&entity));
            }
            Write::Timer(timer) => {
                let app = self.app(timer.app.clone());
                app.bytes += timer_bytes(&timer);
                let of_entity = app.timers.entry(timer.entity.clone()).or_default();
                app.bytes -= of_entity.insert(timer.name.clone(), timer).as_ref().map_or(0, timer_bytes);
            }
            Write::CancelTimer { app, entity, name } => {
                let app = self.app(app);
                if let Some(of_entity) = app.timers.get_mut(&entity) {
                    app.bytes -= of_entity.remove(&name).as_ref().map_or(0, timer_bytes);
                    if of_entity.is_empty() {
                        app.timers.remove(&entity);
                    }
                }
            }
            Write::Parcel(parcel) => {
                self.app(parcel.app.clone()).bytes += parcel_bytes(&parcel);
                self.outbox.insert(parcel.id, parcel);
            }
            Write::ParcelRetry { id, attempts, due, .. } => {
                if let Some(parcel) = self.outbox.get_mut(&id) {
                    (parcel.attempts, parcel.due) = (attempts, due);
                }
            }
            Write::ParcelDone { id } | Write::ParcelDead { id, .. } => {
                if let Some(parcel) = self.outbox.remove(&id) {
                    self.app(parcel.app.clone()).bytes -= parcel_bytes(&parcel);
                }
            }
        }
    }
}

fn timer_bytes(timer: &Timer) -> usize {
    PLACE_BYTES + timer.entity.len() + timer.data.len()
}

fn parcel_bytes(parcel: &Parcel) -> usize {
    PLACE_BYTES + parcel.body.len()
}

impl App {
    fn reserve(&mut self, account: &Arc<Account>, bytes: usize) -> bool {
        match &mut self.taken {
            Some(taken) => taken.resize_lasting(bytes),
            None => {
                self.taken = account.reserve_lasting(Kind::Entities, bytes);
                self.taken.is_some()
            }
        }
    }

    /// Whether its account has another number than what it keeps.
    fn is_told_less(&self) -> bool {
        self.taken.as_ref().is_some_and(|taken| taken.bytes() != self.bytes)
    }

    fn tell(&mut self) {
        if let Some(taken) = &mut self.taken {
            taken.set(self.bytes);
        }
    }

    /// Forgets what is over; how many.
    fn sweep(&mut self, now: Millis) -> usize {
        let before = self.values.len() + self.entities.len();
        let (bytes, timers) = (&mut self.bytes, &self.timers);
        let mut stays = |key: &str, kept: &Kept, is_over: bool| {
            *bytes -= if is_over { kept.bytes(key) } else { 0 };
            !is_over
        };
        self.values.retain(|key, kept| stays(key, kept, kept.is_over(now)));
        self.entities.retain(|key, kept| stays(key, kept, kept.is_over(now) && !timers.contains_key(key)));
        before - self.values.len() - self.entities.len()
    }
}
