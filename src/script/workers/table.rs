//! All entities in memory: found by key, bounded by kind, forgotten when they are quiet for long.
//!
//! Locks are taken in this order: a part of the table, an entity, its kind's list; timers' last. None while a handler runs.

use super::entity::{Entity, Item, Memory, Slot};
use super::key::kind_of;
use super::timers::{Owner, Timers};
use crate::model::memory::{self, Account};
use crate::model::{AppId, Mono};
use crate::observe::{HandlerLimit, KindMetrics, Metrics};
use crate::script::{App, EntitySettings, Keep};
use arc_swap::ArcSwap;
use hashbrown::{DefaultHashBuilder, Equivalent, HashMap};
use std::collections::VecDeque;
use std::hash::BuildHasher;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// So that shards and workers seldom meet at one lock.
const PARTS: usize = 64;
/// Quiet entities looked at to make room for one newcomer.
const LOOKS_MAX: usize = 32;

type Part = HashMap<Key, Arc<Entity>>;

pub(super) struct Table {
    hasher: DefaultHashBuilder,
    parts: [Mutex<Part>; PARTS],
    kinds: Mutex<HashMap<Key, Arc<Kind>>>,
    totals: Arc<Totals>,
    metrics: Arc<Metrics>,
}

#[derive(Default)]
struct Totals {
    entities: AtomicUsize,
}

/// The entities of one app whose keys begin alike.
pub(super) struct Kind {
    /// Of the newest files.
    settings: ArcSwap<EntitySettings>,
    count: AtomicUsize,
    /// Each that keeps something and is, or was, without calls; those longest there at the front.
    quiet: Mutex<VecDeque<Arc<Entity>>>,
    metrics: KindMetrics,
    totals: Arc<Totals>,
    /// Of the app.
    memory: Arc<Account>,
}

#[derive(PartialEq, Eq, Hash)]
struct Key(AppId, Arc<str>);

#[derive(Hash)]
struct Sought<'a>(AppId, &'a str);

impl Equivalent<Key> for Sought<'_> {
    fn equivalent(&self, key: &Key) -> bool {
        self.0 == key.0 && *self.1 == *key.1
    }
}

impl Kind {
    pub fn settings(&self) -> arc_swap::Guard<Arc<EntitySettings>> {
        self.settings.load()
    }

    pub fn is_stored(&self) -> bool {
        self.settings().state == Keep::Store
    }

    /// An entity's memory grew or shrank.
    pub fn count_bytes(&self, counted: &mut usize, bytes: usize) {
        if *counted != bytes {
            self.metrics.bytes.add(bytes as i64 - *counted as i64);
            *counted = bytes;
        }
    }

    fn reserve(&self) -> bool {
        let max = self.settings().max as usize;
        let reserved = self.count.fetch_update(Relaxed, Relaxed, |n| (n < max).then_some(n + 1)).is_ok();
        if reserved {
            self.totals.entities.fetch_add(1, Relaxed);
            self.metrics.entities.inc();
        }
        reserved
    }

    fn give_up(&self) {
        self.count.fetch_sub(1, Relaxed);
        self.totals.entities.fetch_sub(1, Relaxed);
        self.metrics.entities.dec();
    }

    fn quiet(&self) -> MutexGuard<'_, VecDeque<Arc<Entity>>> {
        self.quiet.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts an entity at the back of the list, where it is not in it.
    fn list(&self, entity: &Arc<Entity>, slot: &mut Slot, now: Mono) {
        if !std::mem::replace(&mut slot.listed, true) {
            slot.listed_at = now;
            self.quiet().push_back(entity.clone());
        }
    }
}

impl Table {
    pub fn new(metrics: Arc<Metrics>) -> Table {
        Table {
            hasher: DefaultHashBuilder::default(),
            parts: std::array::from_fn(|_| Mutex::default()),
            kinds: Mutex::default(),
            totals: Arc::default(),
            metrics,
        }
    }

    pub fn entities(&self) -> usize {
        self.totals.entities.load(Relaxed)
    }

    pub fn kind(&self, app: &App, name: &str) -> Arc<Kind> {
        let mut kinds = self.kinds.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(kind) = kinds.get(&Sought(app.id, name)) {
            return kind.clone();
        }
        let kind = Arc::new(Kind {
            settings: ArcSwap::from_pointee(app.entities.get(name).cloned().unwrap_or_default()),
            count: AtomicUsize::new(0),
            quiet: Mutex::default(),
            metrics: self.metrics.kind(&app.name, name),
            totals: self.totals.clone(),
            memory: self.metrics.memory.app(app.id),
        });
        kinds.insert(Key(app.id, name.into()), kind.clone());
        kind
    }

    /// An entity's state as it is in memory, JSON text; inside `None`: it has none here.
    pub fn state(&self, app: AppId, key: &str) -> Option<Result<String, String>> {
        let entity = self.part(app, key).get(&Sought(app, key)).cloned()?;
        let slot = entity.lock();
        slot.memory.state.as_ref().map(|state| state.to_json())
    }

    pub fn holds(&self, app: AppId, key: &str) -> bool {
        self.part(app, key).contains_key(&Sought(app, key))
    }

    /// Puts something behind what waits for an entity, which is made where there is none. `Some`: it is the caller's
    /// now, who makes it ready. Err: the bound that there is no room in.
    pub fn submit(
        &self,
        app: &App,
        key: &Arc<str>,
        item: Item,
        queue_max: usize,
        timers: &Timers,
        now: Mono,
    ) -> Result<Option<Arc<Entity>>, (Item, HandlerLimit)> {
        let accept = |entity: &Arc<Entity>, item| match entity.accept(item, queue_max.max(1)) {
            Ok(is_mine) => Ok(is_mine.then(|| entity.clone())),
            Err(item) => Err((item, HandlerLimit::EntityQueue)),
        };
        if let Some(entity) = self.part(app.id, key).get(&Sought(app.id, key)) {
            return accept(entity, item);
        }
        // Without the lock: making room looks into other parts.
        let kind = self.kind(app, kind_of(key));
        let is_room = kind.reserve() || (self.make_room(&kind, timers, now) && kind.reserve());
        if !is_room {
            return Err((item, HandlerLimit::Entities));
        }
        // What remembers something stays, and what is new is refused: a flood of names must not end what is in use.
        let bytes = Memory::default().taken(key);
        let reserve = || kind.memory.reserve_lasting(memory::Kind::Entities, bytes);
        let Some(taken) = reserve().or_else(|| self.make_room(&kind, timers, now).then(reserve).flatten()) else {
            kind.give_up();
            return Err((item, HandlerLimit::Memory));
        };
        let mut part = self.part(app.id, key);
        if let Some(entity) = part.get(&Sought(app.id, key)) {
            kind.give_up();
            return accept(entity, item);
        }
        let entity = Arc::new(Entity::new(app.id, app.name.clone(), key.clone(), kind, taken));
        let accepted = accept(&entity, item);
        part.insert(Key(app.id, key.clone()), entity);
        accepted
    }

    /// By whoever has the entity, its memory put back: gives it up. `true`: no, something waits for it.
    pub fn release(&self, entity: &Arc<Entity>, timers: &Timers, now: Mono) -> bool {
        {
            let mut slot = entity.lock();
            if !slot.queue.is_empty() {
                return true;
            }
            let may_go = slot.doomed || (slot.memory.is_empty() && !timers.has(entity.app, &entity.key));
            if !may_go {
                slot.held = false;
                entity.kind.list(entity, &mut slot, now);
                return false;
            }
        }
        let mut part = self.part(entity.app, &entity.key);
        let mut slot = entity.lock();
        if slot.queue.is_empty() {
            if slot.doomed {
                // Set by calls that ran when the app went.
                timers.cancel_fleeting(&Owner(entity.app, Some(entity.key.clone())));
            }
            self.remove(&mut part, entity, &mut slot);
            return false;
        }
        true
    }

    /// Takes out those that were quiet for longer than their kind says.
    pub fn sweep(&self, timers: &Timers, now: Mono) {
        let kinds: Vec<_> = self.kinds.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect();
        for kind in kinds {
            // One by one: newcomers find room in the list meanwhile.
            let listed = kind.quiet().len();
            for _ in 0..listed {
                let Some(entity) = kind.quiet().pop_front() else { break };
                self.look(&entity, now, |slot| is_over(&entity, slot, now) && !timers.has(entity.app, &entity.key));
            }
        }
    }

    /// The kinds' settings are these from now on.
    pub fn reload(&self, apps: &[Option<Arc<App>>]) {
        let kinds = self.kinds.lock().unwrap_or_else(PoisonError::into_inner);
        for (Key(app, name), kind) in kinds.iter() {
            if let Some(Some(app)) = apps.get(app.0 as usize) {
                kind.settings.store(Arc::new(app.entities.get(&**name).cloned().unwrap_or_default()));
            }
        }
    }

    /// An app is gone: its entities leave, those with calls after these.
    pub fn drop_app(&self, app: AppId) {
        for part in &self.parts {
            let mut part = lock(part);
            let of_app: Vec<_> = part.values().filter(|e| e.app == app).cloned().collect();
            for entity in of_app {
                let mut slot = entity.lock();
                match slot.held {
                    true => slot.doomed = true,
                    false => self.remove(&mut part, &entity, &mut slot),
                }
            }
        }
        let mut kinds = self.kinds.lock().unwrap_or_else(PoisonError::into_inner);
        for (_, kind) in kinds.iter().filter(|(key, _)| key.0 == app) {
            kind.quiet().retain(|entity| !entity.is_gone());
        }
        kinds.retain(|key, kind| key.0 != app || kind.count.load(Relaxed) > 0);
    }

    /// Whether one of the kind left.
    fn make_room(&self, kind: &Kind, timers: &Timers, now: Mono) -> bool {
        for looks_left in (0..LOOKS_MAX).rev() {
            let Some(entity) = kind.quiet().pop_front() else { return false };
            let left = self.look(&entity, now, |slot| {
                let was_used = slot.used_at > slot.listed_at && looks_left > 0;
                let is_kept = slot.memory.is_empty() || (entity.kind.is_stored() && slot.memory.is_stored());
                !was_used && (is_kept || is_over(&entity, slot, now)) && !timers.has(entity.app, &entity.key)
            });
            if left {
                return true;
            }
        }
        false
    }

    /// One that came off its kind's list: removed where it is quiet and `may_go`, else listed again.
    fn look(&self, entity: &Arc<Entity>, now: Mono, may_go: impl FnOnce(&Slot) -> bool) -> bool {
        let mut part = self.part(entity.app, &entity.key);
        let mut slot = entity.lock();
        slot.listed = false;
        // Whoever has it lists it again.
        if entity.is_gone() || slot.held {
            return false;
        }
        if may_go(&slot) {
            self.remove(&mut part, entity, &mut slot);
            return true;
        }
        entity.kind.list(entity, &mut slot, now);
        false
    }

    fn remove(&self, part: &mut Part, entity: &Entity, slot: &mut Slot) {
        part.remove(&Sought(entity.app, &entity.key));
        entity.leave();
        (slot.memory, slot.taken) = (Memory::default(), None);
        entity.kind.count_bytes(&mut slot.counted, 0);
        entity.kind.give_up();
        // What is gone comes off the list when it is looked at; until then it must not outgrow what is alive.
        let mut quiet = entity.kind.quiet();
        if quiet.len() > 2 * (entity.kind.count.load(Relaxed) + LOOKS_MAX) {
            quiet.retain(|entity| !entity.is_gone());
        }
    }

    fn part(&self, app: AppId, key: &str) -> MutexGuard<'_, Part> {
        lock(&self.parts[self.hasher.hash_one(Sought(app, key)) as usize % PARTS])
    }
}

impl Drop for Table {
    fn drop(&mut self) {
        // Kinds and their entities hold each other.
        for kind in self.kinds.get_mut().unwrap_or_else(PoisonError::into_inner).values() {
            kind.quiet().clear();
        }
    }
}

fn lock(part: &Mutex<Part>) -> MutexGuard<'_, Part> {
    part.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Quiet for longer than its kind is kept; what the store does not have yet stays.
fn is_over(entity: &Entity, slot: &Slot, now: Mono) -> bool {
    let settings = entity.kind.settings();
    let stays = settings.state == Keep::Store && !slot.memory.is_stored();
    !stays && settings.forget_after.0.is_some_and(|ms| slot.used_at + ms <= now)
}
