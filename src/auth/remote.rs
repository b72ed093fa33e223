//! Rows behind a URL: cached, asked for once at a time, used a while longer while the source fails.

use super::fetch::{Ask, FetchError, Fetcher, address, finished};
use super::settings::{HeaderSetting, TableSettings};
use super::table::{Lookup, Row, Unavailable, rounded};
use super::{Purpose, Resolve};
use crate::model::{Mono, Ms, Problem, percent_encode};
use hyper::header::{ACCEPT, AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;

/// Look-ups under way at once; one more fails at once.
const FLIGHTS_MAX: usize = 256;
/// The longest key that is asked for, in bytes.
const KEY_BYTES_MAX: usize = 256;
/// After a failure, how long an old row is used before its source is asked again.
const RETRY_MS: u64 = 1_000;

pub(super) struct Remote {
    shared: Arc<Shared>,
}

struct Shared {
    table: Arc<str>,
    settings: TableSettings,
    url: String,
    headers: HeaderMap,
    fetcher: Fetcher,
    cache: Mutex<Cache>,
    version: AtomicU64,
    /// A rule wanted a row for which there was no flight left.
    unasked: AtomicBool,
}

/// What a source said: a row or none.
type Answer = Option<Arc<Row>>;
type Flight = watch::Receiver<Option<Result<Answer, FetchError>>>;

#[derive(Clone)]
struct Entry {
    row: Answer,
    asked_at: Mono,
    /// Not to be asked again before, though it is too old: the source failed.
    retry_at: Mono,
}

/// Two generations: what was used since the last turn, and what was used in the turn before. A full young generation
/// becomes the old one, whose entries are forgotten unless they are used again.
#[derive(Default)]
struct Cache {
    young: HashMap<String, Entry>,
    old: HashMap<String, Entry>,
    flights: HashMap<String, Flight>,
    /// Why the last look-up brought nothing.
    failed: Option<FetchError>,
}

impl Cache {
    fn get(&mut self, key: &str, half: usize) -> Option<&mut Entry> {
        if let Some(entry) = self.old.remove(key) {
            self.put(key, entry, half);
        }
        self.young.get_mut(key)
    }

    fn put(&mut self, key: &str, entry: Entry, half: usize) {
        if self.young.len() >= half && !self.young.contains_key(key) {
            self.old = std::mem::take(&mut self.young);
        }
        self.old.remove(key);
        self.young.insert(key.into(), entry);
    }
}

impl Remote {
    pub fn compile(
        name: &str,
        url: &str,
        settings: &TableSettings,
        resolve: Resolve<'_>,
        fetcher: &Fetcher,
        before: Option<&Remote>,
    ) -> Result<Remote, Problem> {
        let at_url = |what: &str| Problem::new("url", what).expected("such as `https://users.example/{key}`");
        let probe = address(&url.replace("{key}", "k")).map_err(at_url)?;
        if !url.contains("{key}") {
            return Err(at_url("an address without `{key}`"));
        }
        if address(&url.replace("{key}", "other")).ok().and_then(|u| u.authority().cloned()).as_ref()
            != probe.authority()
        {
            return Err(at_url("an address whose host depends on the key"));
        }
        if settings.entries < 2 {
            return Err(Problem::new("entries", "too few").expected("2 or more"));
        }
        let headers = headers(settings, resolve)?;
        // Rows fetched with other credentials may be others: only the same source continues.
        if let Some(before) = before.filter(|b| b.shared.settings == *settings && b.shared.headers == headers) {
            return Ok(Remote { shared: before.shared.clone() });
        }
        Ok(Remote {
            shared: Arc::new(Shared {
                table: name.into(),
                settings: settings.clone(),
                url: url.into(),
                headers,
                fetcher: fetcher.clone(),
                cache: Mutex::default(),
                version: AtomicU64::new(0),
                unasked: AtomicBool::new(false),
            }),
        })
    }

    pub fn is_same(&self, other: &Remote) -> bool {
        Arc::ptr_eq(&self.shared, &other.shared)
    }

    pub fn version(&self) -> u64 {
        self.shared.version.load(Ordering::Acquire)
    }

    /// Why rows may be missing now: the last look-up failed.
    pub fn trouble(&self) -> Option<String> {
        self.shared.lock().failed.as_ref().map(|why| format!("the last row was not fetched: {why}"))
    }

    pub async fn row(&self, key: &str, now: Mono) -> Result<Answer, Unavailable> {
        if !is_askable(key) {
            return Ok(None);
        }
        let answer = match self.ask(key, now) {
            Asked::Known(row) => return Ok(row),
            Asked::Flight(flight) => finished(flight).await,
            Asked::TooMany => None,
        };
        match (answer, self.cached(key, now)) {
            (Some(Ok(row)), _) => Ok(row),
            (_, Lookup::Row(row)) => Ok(Some(row)),
            (_, Lookup::Absent) => Ok(None),
            (_, Lookup::Unknown) => Err(Unavailable { table: self.shared.table.clone() }),
        }
    }

    pub fn cached(&self, key: &str, now: Mono) -> Lookup {
        let s = &self.shared;
        if !is_askable(key) {
            return Lookup::Absent;
        }
        match s.lock().get(key, s.half()) {
            Some(entry) if s.age(entry, now) < s.life(entry).saturating_add(s.settings.stale_for.0) => {
                entry.row.clone().map_or(Lookup::Absent, Lookup::Row)
            }
            _ => Lookup::Unknown,
        }
    }

    pub fn prepare(&self, key: &str, now: Mono) {
        if is_askable(key) && matches!(self.ask(key, now), Asked::TooMany) {
            self.shared.unasked.store(true, Ordering::Relaxed);
        }
    }

    pub fn take_unasked(&self) -> bool {
        self.shared.unasked.swap(false, Ordering::Relaxed)
    }

    pub fn ttl(&self) -> Ms {
        self.shared.settings.ttl.min(self.shared.settings.negative_ttl)
    }

    /// What is known and fresh, or the one look-up for it.
    fn ask(&self, key: &str, now: Mono) -> Asked {
        let s = &self.shared;
        let mut cache = s.lock();
        if let Some(entry) = cache.get(key, s.half()) {
            let age = s.age(entry, now);
            let usable = age < s.life(entry).saturating_add(s.settings.stale_for.0);
            if age < s.life(entry) || (usable && now < entry.retry_at) {
                return Asked::Known(entry.row.clone());
            }
        }
        // A flight that closed without its end went down with its runtime.
        if let Some(flight) = cache.flights.get(key).filter(|f| f.has_changed().is_ok()) {
            return Asked::Flight(flight.clone());
        }
        if cache.flights.len() >= FLIGHTS_MAX {
            return Asked::TooMany;
        }
        let (shared, key) = (s.clone(), key.to_string());
        let flight = s.fetcher.spawn({
            let key = key.clone();
            async move {
                let answer = shared.fetch(&key).await;
                shared.land(&key, answer.clone(), now);
                answer
            }
        });
        cache.flights.insert(key, flight.clone());
        Asked::Flight(flight)
    }
}

enum Asked {
    Known(Answer),
    Flight(Flight),
    TooMany,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Cache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn half(&self) -> usize {
        self.settings.entries as usize / 2
    }

    fn age(&self, entry: &Entry, now: Mono) -> u64 {
        now.since(entry.asked_at)
    }

    fn life(&self, entry: &Entry) -> u64 {
        if entry.row.is_some() { self.settings.ttl.0 } else { self.settings.negative_ttl.0 }
    }

    async fn fetch(&self, key: &str) -> Result<Answer, FetchError> {
        let uri =
            address(&self.url.replace("{key}", &percent_encode(key))).map_err(|e| FetchError::Connection(e.into()))?;
        let bytes_max = usize::try_from(self.settings.bytes.0).unwrap_or(usize::MAX);
        let timeout = self.settings.timeout.duration();
        let ask = Ask { uri, headers: self.headers.clone(), timeout, bytes_max };
        match self.fetcher.get(ask).await? {
            (status, body) if status.as_u16() == 200 => {
                let row = serde_json::from_slice::<Row>(&body);
                let row = row.map_err(|_| FetchError::Content("not a JSON object".into()))?;
                match rounded(&row) {
                    Some(column) => Err(FetchError::Content(format!("`{column}` is a number of more than 64 bits"))),
                    None => Ok(Some(Arc::new(row))),
                }
            }
            (status, _) if status.as_u16() == 404 => Ok(None),
            (status, _) => Err(FetchError::Status(status.as_u16())),
        }
    }

    fn land(&self, key: &str, answer: Result<Answer, FetchError>, now: Mono) {
        let half = self.half();
        let mut cache = self.lock();
        cache.flights.remove(key);
        match answer {
            Ok(row) => {
                cache.failed = None;
                if cache.get(key, half).is_some_and(|before| before.row != row) {
                    self.version.fetch_add(1, Ordering::Release);
                }
                cache.put(key, Entry { row, asked_at: now, retry_at: now }, half);
            }
            Err(why) => {
                if let Some(entry) = cache.get(key, half) {
                    entry.retry_at = now + RETRY_MS;
                }
                crate::observe::limited!(warn, table = %self.table, "row not fetched: {why}");
                cache.failed = Some(why);
            }
        }
    }
}

/// A key that can stand in a path: `.` and `..` would mean another one.
fn is_askable(key: &str) -> bool {
    !key.is_empty() && key.len() <= KEY_BYTES_MAX && key != "." && key != ".."
}

fn headers(settings: &TableSettings, resolve: Resolve<'_>) -> Result<HeaderMap, Problem> {
    let mut headers = HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static("application/json"))]);
    for (name, value) in &settings.headers {
        let path = format!("headers.{name}");
        let value = match value {
            HeaderSetting::Text(text) => HeaderValue::from_str(text).map_err(|_| ()),
            HeaderSetting::Secret(from) => {
                let secret = resolve(from, Purpose::Send).map_err(|why| Problem::new(path.clone(), why))?;
                HeaderValue::from_bytes(secret.expose()).map_err(|_| ())
            }
        };
        let mut value = value.map_err(|()| Problem::new(path.clone(), "a value that no header may have"))?;
        value.set_sensitive(true);
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| Problem::new(path, "not a header's name"))?;
        headers.insert(name, value);
    }
    if let Some(from) = &settings.bearer {
        let secret = resolve(from, Purpose::Send).map_err(|why| Problem::new("bearer", why))?;
        let value = HeaderValue::from_bytes(&[b"Bearer ", secret.expose()].concat());
        let mut value = value.map_err(|_| Problem::new("bearer", "a secret that no header may have"))?;
        value.set_sensitive(true);
        headers.insert(AUTHORIZATION, value);
    }
    Ok(headers)
}
