//! Timers that are armed: by when they are due, and by whose they are.

use crate::model::memory::{Account, Kind, Taken};
use crate::model::{AppId, Mono};
use crate::observe::TimerMetrics;
use bytes::Bytes;
use hashbrown::{Equivalent, HashMap};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// A call of a handler that is to come.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Timer {
    pub owner: Owner,
    pub name: Name,
    /// The plugin's function, by name: a reload changes its number.
    pub function: Arc<str>,
    pub due: Mono,
    /// Milliseconds between two calls; `None`: one call.
    pub every: Option<u64>,
    /// JSON text.
    pub data: Bytes,
    /// The store has it.
    pub durable: bool,
}

/// Whose it is: an entity's, or, without one, the app's.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Owner(pub AppId, pub Option<Arc<str>>);

/// Unique for its owner.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Name {
    /// A `[[timer]]`.
    File(Arc<str>),
    /// Of a handler.
    Call(Arc<str>),
}

impl Name {
    pub fn text(&self) -> &Arc<str> {
        match self {
            Name::File(name) | Name::Call(name) => name,
        }
    }
}

#[derive(Hash)]
struct Sought<'a>(AppId, Option<&'a str>);

impl Equivalent<Owner> for Sought<'_> {
    fn equivalent(&self, owner: &Owner) -> bool {
        self.0 == owner.0 && self.1 == owner.1.as_deref()
    }
}

/// What a timer takes beside its data, about.
const TIMER_BYTES: usize = 512;
/// The longest wait: a wake that was missed costs no more.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

#[derive(Default)]
pub(super) struct Timers {
    book: Mutex<Book>,
    changed: Condvar,
    count: AtomicUsize,
}

#[derive(Default)]
struct Book {
    next_id: u64,
    /// Those that wait; one whose call is on its way is in `armed` alone.
    order: BTreeSet<(Mono, u64)>,
    armed: HashMap<u64, (Timer, Option<Taken>)>,
    owners: HashMap<Owner, BTreeMap<Name, u64>>,
    apps: Vec<Option<(TimerMetrics, Arc<Account>)>>,
}

impl Timers {
    pub fn len(&self) -> usize {
        self.count.load(Relaxed)
    }

    /// Where an app's timers are counted.
    pub fn count_in(&self, app: AppId, metrics: TimerMetrics, account: Arc<Account>) {
        let mut book = self.lock();
        let at = app.0 as usize;
        if book.apps.len() <= at {
            book.apps.resize(at + 1, None);
        }
        book.apps[at] = Some((metrics, account));
    }

    /// Arms a timer, instead of its owner's of the same name.
    pub fn arm(&self, timer: Timer) {
        let mut book = self.lock();
        self.disarm(&mut book, &timer.owner, &timer.name);
        self.put(&mut book, timer);
        drop(book);
        self.changed.notify_one();
    }

    /// As `arm`, unless there is one of that name.
    pub fn arm_new(&self, timer: Timer) {
        let known = self.lock().owners.get(&timer.owner).is_some_and(|names| names.contains_key(&timer.name));
        if !known {
            self.arm(timer);
        }
    }

    pub fn cancel(&self, owner: &Owner, name: &Name) -> Option<Timer> {
        self.disarm(&mut self.lock(), owner, name)
    }

    /// All of an owner's that handlers set.
    pub fn cancel_all(&self, owner: &Owner) {
        self.cancel_those(owner, |_| true);
    }

    /// Those of them that would be lost with the process.
    pub fn cancel_fleeting(&self, owner: &Owner) {
        self.cancel_those(owner, |timer| !timer.durable);
    }

    /// All of an app's.
    pub fn drop_app(&self, app: AppId) {
        self.retain(app, |_| false);
    }

    /// An app's `[[timer]]`s are these: those that are new are armed, those that are armed keep their rhythm.
    pub fn set_files(&self, app: AppId, wanted: Vec<Timer>) {
        let same = |a: &Timer, b: &Timer| (&a.owner, &a.name, &a.every) == (&b.owner, &b.name, &b.every);
        self.retain(app, |timer| matches!(timer.name, Name::Call(_)) || wanted.iter().any(|w| same(w, timer)));
        wanted.into_iter().for_each(|timer| self.arm_new(timer));
    }

    /// Whether an entity has any that its handlers set.
    pub fn has(&self, app: AppId, entity: &str) -> bool {
        self.len() > 0 && {
            let book = self.lock();
            let names = book.owners.get(&Sought(app, Some(entity)));
            names.is_some_and(|names| names.keys().any(|name| matches!(name, Name::Call(_))))
        }
    }

    /// Those of an owner that handlers set.
    pub fn of(&self, owner: &Owner) -> Vec<Timer> {
        let book = self.lock();
        let names = of_calls(&book, owner);
        names.iter().filter_map(|name| Some(book.armed.get(book.owners.get(owner)?.get(name)?)?.0.clone())).collect()
    }

    /// Takes up to `max` that are due; each is brought back by `end` or `retry`.
    pub fn due(&self, now: Mono, max: usize) -> Vec<(u64, Timer)> {
        let mut book = self.lock();
        let mut due = Vec::new();
        while due.len() < max && book.order.first().is_some_and(|(at, _)| *at <= now) {
            let Some((_, id)) = book.order.pop_first() else { break };
            if let Some((timer, _)) = book.armed.get(&id) {
                due.push((id, timer.clone()));
            }
        }
        due
    }

    /// When the next is due.
    pub fn next_due(&self) -> Option<Mono> {
        self.lock().order.first().map(|(due, _)| *due)
    }

    /// The timer whose call is to begin; `None`: it was cancelled or set anew meanwhile.
    pub fn begin(&self, id: u64) -> Option<Timer> {
        self.lock().armed.get(&id).map(|(timer, _)| timer.clone())
    }

    /// Its call has ended: it waits for the next, or is done.
    pub fn end(&self, id: u64, now: Mono) {
        let mut book = self.lock();
        let Some((timer, _)) = book.armed.get(&id) else { return };
        match next_due(timer, now) {
            Some(due) => self.again(book, id, due),
            None => {
                let (owner, name) = (timer.owner.clone(), timer.name.clone());
                self.disarm(&mut book, &owner, &name);
            }
        }
    }

    /// Its call could not be taken, or carried out: it comes again at `due`.
    pub fn retry(&self, id: u64, due: Mono) {
        self.again(self.lock(), id, due);
    }

    /// Waits until one is due, something changes, or a second has gone by.
    pub fn wait(&self, now: impl Fn() -> Mono, stopped: impl Fn() -> bool) {
        let book = self.lock();
        if stopped() {
            return;
        }
        let left = book.order.first().map(|(due, _)| Duration::from_millis(due.since(now())));
        let left = left.unwrap_or(LOOK_AGAIN).min(LOOK_AGAIN);
        if !left.is_zero() {
            drop(self.changed.wait_timeout(book, left));
        }
    }

    /// Whoever waits looks again.
    pub fn look_again(&self) {
        drop(self.lock());
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn again(&self, mut book: MutexGuard<'_, Book>, id: u64, due: Mono) {
        let Some((timer, _)) = book.armed.get_mut(&id) else { return };
        let was = std::mem::replace(&mut timer.due, due);
        book.order.remove(&(was, id));
        book.order.insert((due, id));
        drop(book);
        self.changed.notify_one();
    }

    fn put(&self, book: &mut Book, timer: Timer) {
        let id = book.next_id;
        book.next_id += 1;
        book.order.insert((timer.due, id));
        book.owners.entry(timer.owner.clone()).or_default().insert(timer.name.clone(), id);
        let mut taken = None;
        if let Some(Some((metrics, account))) = book.apps.get(timer.owner.0.0 as usize) {
            metrics.armed.inc();
            // The call that sets it has asked whether there is room.
            taken = Some(account.take(Kind::Entities, timer_bytes(&timer.data)).0);
        }
        self.count.fetch_add(1, Relaxed);
        book.armed.insert(id, (timer, taken));
    }

    fn disarm(&self, book: &mut Book, owner: &Owner, name: &Name) -> Option<Timer> {
        let names = book.owners.get_mut(owner)?;
        let id = names.remove(name)?;
        if names.is_empty() {
            book.owners.remove(owner);
        }
        let (timer, _) = book.armed.remove(&id)?;
        book.order.remove(&(timer.due, id));
        if let Some(Some((metrics, _))) = book.apps.get(owner.0.0 as usize) {
            metrics.armed.dec();
        }
        self.count.fetch_sub(1, Relaxed);
        Some(timer)
    }

    fn cancel_those(&self, owner: &Owner, which: impl Fn(&Timer) -> bool) {
        if self.len() == 0 {
            return;
        }
        let mut book = self.lock();
        for name in of_calls(&book, owner) {
            let id = book.owners.get(owner).and_then(|names| names.get(&name));
            if id.and_then(|id| book.armed.get(id)).is_some_and(|(timer, _)| which(timer)) {
                self.disarm(&mut book, owner, &name);
            }
        }
    }

    fn retain(&self, app: AppId, keep: impl Fn(&Timer) -> bool) {
        let mut book = self.lock();
        let gone = book.armed.values().filter(|(t, _)| t.owner.0 == app && !keep(t));
        let gone: Vec<_> = gone.map(|(t, _)| (t.owner.clone(), t.name.clone())).collect();
        for (owner, name) in gone {
            self.disarm(&mut book, &owner, &name);
        }
    }
}

/// What a timer takes.
pub(super) fn timer_bytes(data: &[u8]) -> usize {
    TIMER_BYTES + data.len()
}

/// When a timer that is or was due calls again: in its rhythm, and once for all that was missed. `None`: never.
pub(super) fn next_due(timer: &Timer, now: Mono) -> Option<Mono> {
    let every = timer.every?.max(1);
    let missed = now.since(timer.due) / every;
    Some(timer.due + every.saturating_mul(missed + 1))
}

fn of_calls(book: &Book, owner: &Owner) -> Vec<Name> {
    let names = book.owners.get(owner).into_iter().flat_map(|names| names.keys());
    names.filter(|name| matches!(name, Name::Call(_))).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Mono {
        Mono::from_ms(ms)
    }

    fn timer(entity: &str, name: &str, due: u64, every: Option<u64>) -> Timer {
        Timer {
            owner: Owner(AppId(0), Some(entity.into())),
            name: Name::Call(name.into()),
            function: "tick".into(),
            due: at(due),
            every,
            data: Bytes::new(),
            durable: false,
        }
    }

    fn names(due: &[(u64, Timer)]) -> Vec<&str> {
        due.iter().map(|(_, t)| &**t.name.text()).collect()
    }

    #[test]
    fn timers_come_when_they_are_due_and_once() {
        let timers = Timers::default();
        for (name, due) in [("c", 30), ("a", 10), ("b", 20)] {
            timers.arm(timer("q:1", name, due, None));
        }
        assert_eq!(names(&timers.due(at(9), 10)), [] as [&str; 0]);
        let due = timers.due(at(20), 10);
        assert_eq!(names(&due), ["a", "b"]);
        assert!(timers.due(at(20), 10).is_empty(), "their calls are on their way");
        assert_eq!(timers.len(), 3, "cancelling them is still possible");
        timers.end(due[0].0, at(20));
        timers.retry(due[1].0, at(25));
        assert_eq!(names(&timers.due(at(30), 10)), ["b", "c"]);
        assert_eq!(timers.len(), 2);
    }

    #[test]
    fn a_timer_that_is_set_anew_or_cancelled_does_not_call_from_the_queue() {
        let timers = Timers::default();
        timers.arm(timer("q:1", "a", 10, None));
        let due = timers.due(at(10), 10);
        assert!(timers.begin(due[0].0).is_some());
        timers.arm(timer("q:1", "a", 50, None));
        assert!(timers.begin(due[0].0).is_none());
        timers.end(due[0].0, at(10));
        assert_eq!(timers.len(), 1, "the new one stays");
        assert!(timers.has(AppId(0), "q:1") && !timers.has(AppId(0), "q:2"));
        assert!(timers.cancel(&Owner(AppId(0), Some("q:1".into())), &Name::Call("a".into())).is_some());
        assert!(timers.due(at(99), 10).is_empty() && timers.len() == 0);
    }

    #[test]
    fn a_rhythm_is_kept_without_bursts_after_a_pause() {
        let timers = Timers::default();
        timers.arm(timer("q:1", "a", 100, Some(10)));
        let due = timers.due(at(103), 10);
        timers.end(due[0].0, at(104));
        assert!(timers.due(at(109), 10).is_empty());
        let due = timers.due(at(1_234), 10);
        assert_eq!(due.len(), 1, "what was missed is one call");
        timers.end(due[0].0, at(1_234));
        assert!(timers.due(at(1_239), 10).is_empty());
        assert_eq!(timers.due(at(1_240), 10).len(), 1);
    }

    #[test]
    fn the_files_timers_keep_their_rhythm_over_a_reload() {
        let file =
            |name: &str, due, every| Timer { name: Name::File(name.into()), ..timer("q:1", "x", due, Some(every)) };
        let timers = Timers::default();
        timers.arm(timer("q:1", "own", 70, None));
        timers.set_files(AppId(0), vec![file("a", 100, 100), file("b", 100, 100)]);
        timers.set_files(AppId(0), vec![file("a", 150, 100), file("b", 150, 50), file("c", 150, 100)]);
        assert_eq!(names(&timers.due(at(100), 10)), ["own", "a"]);
        assert_eq!(names(&timers.due(at(150), 10)), ["b", "c"]);
        assert!(!timers.has(AppId(0), "q:2"));
        timers.cancel_all(&Owner(AppId(0), Some("q:1".into())));
        assert_eq!(timers.len(), 3, "an entity that is forgotten keeps the file's timers");
        timers.drop_app(AppId(0));
        assert_eq!(timers.len(), 0);
    }
}
