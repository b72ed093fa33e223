//! The budget of the process: what is kept back for each app, and the pool for whoever needs more.

use super::Kind;
use super::account::Account;
use crate::model::AppId;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, PoisonError, RwLock};

/// The budget of a process.
pub struct Memory {
    pub(super) pool: Arc<Pool>,
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
pub(super) struct Pool {
    pub used: AtomicUsize,
    pub max: AtomicUsize,
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
