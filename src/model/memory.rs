//! The bytes that clients make Weir hold: one budget for the process, with an account for each app.
//!
//! Bytes are counted when they are taken on, and given back when whoever has them is dropped. A part of the budget is
//! kept back for each app (`limits.app_memory`); the rest is the pool, for whoever needs more. So an app that fills
//! the pool still leaves each other app its own part.
//!
//! Two ways to count: a [`Taken`] for one thing that several may hold, such as what was published; an [`Allowance`]
//! for the many small things of one thread, such as the entries of out-queues.

use super::AppId;
use bytes::Bytes;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

/// What bytes are held for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// What was published, as long as a history, a batch, a queue or a call has it; frames that several readers share.
    Events,
    /// Entries of out-queues, and frames of one reader.
    Queues,
    /// Messages of which the end has not come.
    Messages,
    /// Channels and what they remember, what was published not counted.
    Channels,
    /// Connections: what is known of them, and their subscriptions.
    Connections,
    /// State of handlers' entities, and timers.
    Entities,
    /// Calls that wait for a handler.
    Calls,
    /// HTTP connections and the bodies of requests.
    Http,
}

impl Kind {
    pub const ALL: [Kind; 8] = [
        Kind::Events,
        Kind::Queues,
        Kind::Messages,
        Kind::Channels,
        Kind::Connections,
        Kind::Entities,
        Kind::Calls,
        Kind::Http,
    ];

    /// As metrics write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Events => "events",
            Kind::Queues => "queues",
            Kind::Messages => "messages",
            Kind::Channels => "channels",
            Kind::Connections => "connections",
            Kind::Entities => "entities",
            Kind::Calls => "calls",
            Kind::Http => "http",
        }
    }
}

/// What an allowance asks an account for at once: a thread's next bytes cost no lock.
const CHUNK: usize = 64 << 10;
/// What it keeps although it is not used.
const SPARE: usize = 2 * CHUNK;

/// The budget of a process.
pub struct Memory {
    pool: Arc<Pool>,
    apps: RwLock<Vec<OfApp>>,
    /// HTTP of clients that nobody knows yet: connections, handshakes, bodies. Has no part of the pool.
    pub strangers: Arc<Account>,
    /// Bodies of requests whose caller has shown a key, a secret or a token.
    pub callers: Arc<Account>,
    /// HTTP connections of operators: never refused for memory, because there are few of them.
    pub operators: Arc<Account>,
}

/// An app's name, where its files are in force, and its account.
type OfApp = (Option<Arc<str>>, Arc<Account>);

#[derive(Default)]
struct Pool {
    used: AtomicUsize,
    max: AtomicUsize,
}

/// Who holds bytes.
pub struct Account {
    part: Mutex<Part>,
    /// `None`: it may take nothing beyond what is kept back for it.
    pool: Option<Arc<Pool>>,
    kinds: [AtomicUsize; Kind::ALL.len()],
    /// How often something was refused or given up because of its bound.
    refused: AtomicU64,
    /// Whether it had too much when it was settled last: a hint without the lock.
    over: AtomicBool,
}

#[derive(Default)]
struct Part {
    used: usize,
    /// Kept back for it, whatever others use.
    own: usize,
    /// Of `used`: what is of the pool.
    pooled: usize,
}

/// Bytes of one thing; given back when it drops.
#[must_use]
pub struct Taken {
    account: Arc<Account>,
    kind: Kind,
    bytes: usize,
}

/// The bytes of one thread's small things, in plain integers: taken from the account in chunks.
pub struct Allowance {
    account: Arc<Account>,
    kinds: [usize; Kind::ALL.len()],
    told: [usize; Kind::ALL.len()],
    used: usize,
    granted: usize,
    over: bool,
}

/// What an account holds, for metrics.
pub struct Holding {
    /// The app; `None`: HTTP before an app is known.
    pub app: Option<Arc<str>>,
    pub kinds: [usize; Kind::ALL.len()],
    pub refused: u64,
}

impl Memory {
    /// Without a bound until `set`.
    pub fn new() -> Arc<Memory> {
        let pool = Arc::new(Pool { used: AtomicUsize::new(0), max: AtomicUsize::new(usize::MAX) });
        let (strangers, operators) = (Account::new(None), Account::new(None));
        [&strangers, &operators].iter().for_each(|account| account.lock().own = usize::MAX);
        let callers = Account::new(Some(pool.clone()));
        Arc::new(Memory { pool, apps: RwLock::default(), strangers, callers, operators })
    }

    /// `max`: of the process. By app: its name, and what is kept back for it; where it does not say, an even part of half
    /// of what is left. A quarter of all is for HTTP of clients that nobody knows yet, a sixteenth for callers of the API.
    /// Returns by how much more is kept back than there is.
    pub fn set(&self, max: usize, apps: &[(AppId, Arc<str>, Option<usize>)]) -> usize {
        let (strangers, callers) = (max / 4, max / 16);
        let left = max - strangers - callers;
        let named: usize = apps.iter().filter_map(|(.., own)| *own).sum();
        let unnamed = apps.iter().filter(|(.., own)| own.is_none()).count();
        let even = left.saturating_sub(named) / 2 / unnamed.max(1);
        let kept = named + even * unnamed;
        self.strangers.keep(strangers);
        self.callers.keep(callers);
        self.pool.max.store(left.saturating_sub(kept), Relaxed);
        let mut all = self.apps.write().unwrap_or_else(PoisonError::into_inner);
        for (name, account) in all.iter_mut() {
            *name = None;
            account.keep(0);
        }
        for (id, name, own) in apps {
            self.grow(&mut all, *id);
            let (known, account) = &mut all[id.0 as usize];
            *known = Some(name.clone());
            account.keep(own.unwrap_or(even));
        }
        named.saturating_sub(left)
    }

    /// An app's account; the same one for the life of the process.
    pub fn app(&self, app: AppId) -> Arc<Account> {
        if let Some((_, account)) = self.apps.read().unwrap_or_else(PoisonError::into_inner).get(app.0 as usize) {
            return account.clone();
        }
        let mut all = self.apps.write().unwrap_or_else(PoisonError::into_inner);
        self.grow(&mut all, app);
        all[app.0 as usize].1.clone()
    }

    /// The account of an app in force.
    pub fn named(&self, app: &str) -> Option<Arc<Account>> {
        let all = self.apps.read().unwrap_or_else(PoisonError::into_inner);
        all.iter().find(|(name, _)| name.as_deref() == Some(app)).map(|(_, account)| account.clone())
    }

    fn grow(&self, all: &mut Vec<OfApp>, app: AppId) {
        while all.len() <= app.0 as usize {
            all.push((None, Account::new(Some(self.pool.clone()))));
        }
    }

    /// What is held, by the apps in force; HTTP last.
    pub fn holdings(&self) -> Vec<Holding> {
        let all = self.apps.read().unwrap_or_else(PoisonError::into_inner);
        let named = all.iter().filter(|(name, _)| name.is_some());
        let mut holdings: Vec<Holding> = named.map(|(name, account)| account.holding(name.clone())).collect();
        let mut http = self.strangers.holding(None);
        for of in [&self.callers, &self.operators].map(|account| account.holding(None)) {
            http.kinds.iter_mut().zip(of.kinds).for_each(|(sum, bytes)| *sum += bytes);
            http.refused += of.refused;
        }
        holdings.push(http);
        holdings
    }
}

impl Account {
    fn new(pool: Option<Arc<Pool>>) -> Arc<Account> {
        let (part, refused, over) = (Mutex::default(), AtomicU64::new(0), AtomicBool::new(false));
        Arc::new(Account { part, pool, kinds: Default::default(), refused, over })
    }

    fn lock(&self) -> MutexGuard<'_, Part> {
        self.part.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keep(&self, own: usize) {
        let mut part = self.lock();
        part.own = own;
        self.settle(&mut part);
    }

    /// Moves what is beyond its own part to or from the pool. Returns whether all of it fits.
    fn settle(&self, part: &mut Part) -> bool {
        let fits = self.move_pooled(part);
        self.over.store(!fits, Relaxed);
        fits
    }

    fn move_pooled(&self, part: &mut Part) -> bool {
        let beyond = part.used.saturating_sub(part.own);
        let Some(pool) = &self.pool else { return beyond == 0 };
        if beyond > part.pooled {
            pool.used.fetch_add(beyond - part.pooled, Relaxed);
        } else if beyond < part.pooled {
            pool.used.fetch_sub(part.pooled - beyond, Relaxed);
        }
        part.pooled = beyond;
        beyond == 0 || pool.used.load(Relaxed) <= pool.max.load(Relaxed)
    }

    /// How much more would fit.
    fn room(&self, part: &Part) -> usize {
        let own = part.own.saturating_sub(part.used);
        let pool = self.pool.as_ref().map_or(0, |p| p.max.load(Relaxed).saturating_sub(p.used.load(Relaxed)));
        own.saturating_add(pool)
    }

    /// Counts bytes that are here already, whether they fit or not; `false`: they do not, and something has to go.
    pub fn take(self: &Arc<Account>, kind: Kind, bytes: usize) -> (Taken, bool) {
        let fits = self.add(bytes);
        self.kinds[kind as usize].fetch_add(bytes, Relaxed);
        (Taken { account: self.clone(), kind, bytes }, fits)
    }

    /// Bytes that are to come, if they fit.
    pub fn reserve(self: &Arc<Account>, kind: Kind, bytes: usize) -> Option<Taken> {
        let fits = self.add_if(kind, bytes, |used, room| bytes <= room && used.checked_add(bytes).is_some());
        fits.then(|| Taken { account: self.clone(), kind, bytes })
    }

    /// The same for what stays for long and is not given up to make room, such as handlers' states: a quarter is left
    /// to queues and messages, which come and go.
    pub fn reserve_lasting(self: &Arc<Account>, kind: Kind, bytes: usize) -> Option<Taken> {
        let fits = self.add_if(kind, bytes, |used, room| leaves_a_quarter(used, room, bytes));
        fits.then(|| Taken { account: self.clone(), kind, bytes })
    }

    fn add_if(&self, kind: Kind, bytes: usize, fits: impl FnOnce(usize, usize) -> bool) -> bool {
        let mut part = self.lock();
        if !fits(part.used, self.room(&part)) {
            drop(part);
            self.refuse();
            return false;
        }
        part.used += bytes;
        self.settle(&mut part);
        drop(part);
        self.kinds[kind as usize].fetch_add(bytes, Relaxed);
        true
    }

    /// Data that several will hold: its bytes, and so many beside them, are counted until the last lets go. `false`: they
    /// do not fit.
    pub fn hold(self: &Arc<Account>, data: Bytes, beside: usize) -> (Bytes, bool) {
        let (taken, fits) = self.take(Kind::Events, data.len() + beside);
        (Bytes::from_owner(Held { data, _taken: taken }), fits)
    }

    /// Something was refused or given up.
    pub fn refuse(&self) {
        self.refused.fetch_add(1, Relaxed);
    }

    /// Whether so many bytes more would fit and leave a quarter: asked before what may grow is let in.
    pub fn has_room(&self, bytes: usize) -> bool {
        let part = self.lock();
        leaves_a_quarter(part.used, self.room(&part), bytes)
    }

    /// Whether it had too much when something was last taken or given back.
    pub fn was_over(&self) -> bool {
        self.over.load(Relaxed)
    }

    /// How many of its bytes have to go.
    pub fn over(&self) -> usize {
        let part = self.lock();
        match &self.pool {
            Some(pool) => part.pooled.min(pool.used.load(Relaxed).saturating_sub(pool.max.load(Relaxed))),
            None => part.used.saturating_sub(part.own),
        }
    }

    /// All that it holds and all that would still fit.
    pub fn bound(&self) -> usize {
        let part = self.lock();
        part.used.saturating_add(self.room(&part))
    }

    pub fn used(&self) -> usize {
        self.lock().used
    }

    fn add(&self, bytes: usize) -> bool {
        let mut part = self.lock();
        part.used += bytes;
        self.settle(&mut part)
    }

    fn sub(&self, bytes: usize) -> bool {
        let mut part = self.lock();
        part.used = part.used.saturating_sub(bytes);
        self.settle(&mut part)
    }

    fn holding(&self, app: Option<Arc<str>>) -> Holding {
        let kinds = std::array::from_fn(|kind| self.kinds[kind].load(Relaxed));
        Holding { app, kinds, refused: self.refused.load(Relaxed) }
    }
}

fn leaves_a_quarter(used: usize, room: usize, bytes: usize) -> bool {
    used.saturating_add(bytes) <= used.saturating_add(room) / 4 * 3
}

impl Taken {
    pub fn account(&self) -> &Arc<Account> {
        &self.account
    }

    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// It is to grow, or has shrunk; `false`: it does not fit, and is as it was.
    pub fn resize(&mut self, bytes: usize) -> bool {
        let more = bytes.saturating_sub(self.bytes);
        if more > 0 && !self.account.add_if(self.kind, more, |_, room| more <= room) {
            return false;
        }
        self.bytes += more;
        self.shrink(self.bytes - bytes);
        true
    }

    /// As `resize`, of what stays for long.
    pub fn resize_lasting(&mut self, bytes: usize) -> bool {
        let more = bytes.saturating_sub(self.bytes);
        if more > 0 && !self.account.add_if(self.kind, more, |used, room| leaves_a_quarter(used, room, more)) {
            return false;
        }
        self.bytes += more;
        self.shrink(self.bytes - bytes);
        true
    }

    /// It is so large now, whether that fits or not.
    pub fn set(&mut self, bytes: usize) {
        let more = bytes.saturating_sub(self.bytes);
        if more > 0 {
            self.account.add(more);
            self.account.kinds[self.kind as usize].fetch_add(more, Relaxed);
        }
        self.bytes += more;
        self.shrink(self.bytes - bytes);
    }

    /// Data that this counts; `with` goes with it.
    pub fn held_with<T: Send + 'static>(self, data: Bytes, with: T) -> Bytes {
        Bytes::from_owner(Held { data, _taken: (self, with) })
    }

    fn shrink(&mut self, by: usize) {
        if by == 0 {
            return;
        }
        self.account.sub(by);
        self.account.kinds[self.kind as usize].fetch_sub(by, Relaxed);
        self.bytes -= by;
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.shrink(self.bytes);
    }
}

impl std::fmt::Debug for Taken {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        write!(f, "Taken({:?}, {})", self.kind, self.bytes)
    }
}

/// Data, and who counts it.
struct Held<T> {
    data: Bytes,
    _taken: T,
}

impl<T> AsRef<[u8]> for Held<T> {
    fn as_ref(&self) -> &[u8] {
        &self.data
    }
}

impl Allowance {
    pub fn new(account: Arc<Account>) -> Allowance {
        let none = [0; Kind::ALL.len()];
        Allowance { account, kinds: none, told: none, used: 0, granted: 0, over: false }
    }

    pub fn account(&self) -> &Arc<Account> {
        &self.account
    }

    pub fn add(&mut self, kind: Kind, bytes: usize) {
        self.kinds[kind as usize] += bytes;
        self.used += bytes;
        if self.used > self.granted {
            let chunks = (self.used - self.granted).next_multiple_of(CHUNK);
            self.granted += chunks;
            self.over = !self.account.add(chunks);
        }
    }

    pub fn sub(&mut self, kind: Kind, bytes: usize) {
        debug_assert!(self.kinds[kind as usize] >= bytes, "more {kind:?} given back than taken");
        self.kinds[kind as usize] = self.kinds[kind as usize].saturating_sub(bytes);
        self.used = self.used.saturating_sub(bytes);
        if self.granted - self.used > SPARE + CHUNK {
            let chunks = (self.granted - self.used - SPARE) / CHUNK * CHUNK;
            self.granted -= chunks;
            self.over = !self.account.sub(chunks);
        }
    }

    /// One thing that was so large before is so large now.
    pub fn replace(&mut self, kind: Kind, before: usize, now: usize) {
        match now >= before {
            true => self.add(kind, now - before),
            false => self.sub(kind, before - now),
        }
    }

    pub fn of(&self, kind: Kind) -> usize {
        self.kinds[kind as usize]
    }

    /// Whether more was taken than there is; as it was when the account was last asked.
    pub fn is_over(&self) -> bool {
        self.over
    }

    /// Asks the account again, and tells it what the bytes are held for. Returns how many of the app's have to go.
    pub fn tell(&mut self) -> usize {
        for ((kind, now), told) in self.account.kinds.iter().zip(self.kinds).zip(&mut self.told) {
            kind.fetch_add(now.wrapping_sub(*told), Relaxed);
            *told = now;
        }
        let over = self.account.over();
        self.over = over > 0;
        over
    }
}

impl Drop for Allowance {
    fn drop(&mut self) {
        self.kinds = Default::default();
        self.tell();
        self.account.sub(self.granted);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: AppId = AppId(0);
    const B: AppId = AppId(1);

    fn memory(max: usize, apps: &[(AppId, Option<usize>)]) -> Arc<Memory> {
        let memory = Memory::new();
        let apps: Vec<_> = apps.iter().map(|(id, own)| (*id, Arc::from(format!("app{}", id.0)), *own)).collect();
        memory.set(max, &apps);
        memory
    }

    #[test]
    fn an_app_that_fills_the_pool_leaves_the_other_its_own_part() {
        let memory = memory(1600, &[(A, None), (B, None)]);
        let (a, b) = (memory.app(A), memory.app(B));
        // 1,600 less a quarter and a sixteenth are 1,100: 275 for each app, 550 for whoever needs more.
        let _most = a.reserve(Kind::Events, 825).unwrap();
        assert!(a.reserve(Kind::Events, 1).is_none());
        let own = b.reserve(Kind::Events, 275).unwrap();
        assert!(b.reserve(Kind::Events, 1).is_none());
        assert_eq!((a.over(), b.over()), (0, 0));
        drop(own);
        let (forced, fits) = a.take(Kind::Events, 100);
        assert!(!fits && a.over() == 100 && b.over() == 0, "only who is beyond its part has to give");
        assert!(b.take(Kind::Events, 275).1, "what another has too much is not taken from it");
        drop(forced);
        assert_eq!((a.over(), a.used(), b.used()), (0, 825, 0));
    }

    #[test]
    fn what_lasts_leaves_room_for_what_comes_and_goes() {
        let memory = memory(1600, &[(A, None)]);
        let a = memory.app(A);
        let mut lasting = a.reserve_lasting(Kind::Entities, 800).unwrap();
        assert!(!lasting.resize_lasting(900) && lasting.bytes() == 800);
        assert!(!a.has_room(100) && a.reserve(Kind::Queues, 300).is_some());
        assert!(lasting.resize_lasting(10) && a.used() == 10);
    }

    #[test]
    fn a_part_that_changes_under_load_keeps_the_sums() {
        let memory = memory(1600, &[(A, Some(1000)), (B, None)]);
        let (a, b) = (memory.app(A), memory.app(B));
        let held = a.reserve(Kind::Events, 1000).unwrap();
        assert_eq!(memory.set(1600, &[(B, "b".into(), Some(100))]), 0);
        assert_eq!(a.over(), 0, "it is of the pool now");
        assert!(b.reserve(Kind::Events, 101).is_none() && b.reserve(Kind::Events, 100).is_some());
        drop(held);
        assert_eq!((a.used(), b.used(), memory.pool.used.load(Relaxed)), (0, 0, 0));
        assert_eq!(memory.set(1600, &[(B, "b".into(), Some(2000))]), 900, "more is kept back than there is");
    }

    #[test]
    fn an_allowance_asks_in_chunks_and_gives_all_of_it_back() {
        let memory = memory(16 << 20, &[(A, None)]);
        let a = memory.app(A);
        let mut allowance = Allowance::new(a.clone());
        allowance.add(Kind::Queues, 100);
        assert_eq!((a.used(), allowance.of(Kind::Queues)), (CHUNK, 100));
        for _ in 0..200 {
            allowance.add(Kind::Queues, CHUNK);
        }
        assert!(allowance.is_over() && allowance.tell() > 0);
        assert_eq!(memory.holdings()[0].kinds[Kind::Queues as usize], 100 + 200 * CHUNK);
        for _ in 0..200 {
            allowance.sub(Kind::Queues, CHUNK);
        }
        assert!(!allowance.is_over() && a.used() <= SPARE + 2 * CHUNK);
        drop(allowance);
        assert_eq!((a.used(), memory.holdings()[0].kinds[Kind::Queues as usize]), (0, 0));
    }

    #[test]
    fn what_several_hold_counts_once_until_the_last_lets_go() {
        let memory = memory(1600, &[(A, None)]);
        let a = memory.app(A);
        let (data, fits) = a.hold(Bytes::from_static(b"0123456789"), 5);
        let readers: Vec<Bytes> = (0..1_000).map(|at| data.slice(at % 10..)).collect();
        drop(data);
        assert!(fits && a.used() == 15 && &readers[7][..] == b"789");
        drop(readers);
        assert_eq!(a.used(), 0);
    }

    #[test]
    fn strangers_take_their_own_part_and_nothing_else() {
        let memory = memory(1600, &[(A, None)]);
        let all = memory.strangers.reserve(Kind::Http, 400).unwrap();
        assert!(memory.strangers.reserve(Kind::Http, 1).is_none());
        assert_eq!(memory.app(A).bound(), 1100);
        let bodies = memory.callers.reserve(Kind::Http, 650).unwrap();
        assert!(memory.callers.reserve(Kind::Http, 1).is_none() && memory.operators.reserve(Kind::Http, 100).is_some());
        drop((all, bodies));
        assert_eq!(memory.strangers.used(), 0);
    }
}
