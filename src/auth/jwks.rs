//! Sets of public keys (RFC 7517), and those that live behind a URL.

use super::fetch::{Ask, FetchError, Fetcher, finished};
use super::key::fits;
use super::outcome::Failure;
use super::settings::JwksSettings;
use crate::model::Mono;
use hyper::Uri;
use hyper::header::HeaderMap;
use jsonwebtoken::DecodingKey;
use jsonwebtoken::jwk::{AlgorithmParameters, Jwk, KeyOperations, PublicKeyUse};
use serde::Deserialize;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;

/// Keys of one set that are read.
const KEYS_MAX: usize = 100;
/// Keys that one token is tried with: a token without `kid` must not cost a hundred RSA verifications.
const TRIES_MAX: usize = 8;
/// The shortest wait between two fetches that no token asked for.
const PREPARE_MS_MIN: u64 = 1_000;

/// The public keys of a set that can verify signatures.
#[derive(Default)]
pub(super) struct KeySet(Vec<PublicKey>);

struct PublicKey {
    kid: Option<String>,
    /// The one algorithm that the set allows it.
    alg: Option<String>,
    key: DecodingKey,
}

impl KeySet {
    /// Keys of kinds that Weir does not know are passed over, secrets too; a set without one usable key is none.
    pub fn parse(text: &[u8]) -> Result<KeySet, String> {
        #[derive(Deserialize)]
        struct Raw {
            keys: Vec<serde_json::Value>,
        }
        let raw: Raw = serde_json::from_slice(text).map_err(|_| "not a JSON Web Key Set".to_string())?;
        if raw.keys.len() > KEYS_MAX {
            return Err(format!("a key set of more than {KEYS_MAX} keys"));
        }
        let keys: Vec<_> = raw.keys.into_iter().filter_map(|v| public_key(&serde_json::from_value(v).ok()?)).collect();
        if keys.is_empty() { Err("a key set without a public signing key".into()) } else { Ok(KeySet(keys)) }
    }

    /// The keys for a token's header: those of its `kid`, else those without one; without a `kid`, all that fit.
    pub fn find(&self, alg: jsonwebtoken::Algorithm, kid: Option<&str>) -> Found {
        let name = format!("{alg:?}");
        let fitting = || self.0.iter().filter(|k| fits(&k.key, alg) && k.alg.as_ref().is_none_or(|a| *a == name));
        let list = |keys: &mut dyn Iterator<Item = &PublicKey>| -> Vec<DecodingKey> {
            keys.take(TRIES_MAX).map(|k| k.key.clone()).collect()
        };
        let Some(kid) = kid else { return Found { keys: list(&mut fitting()), named: false } };
        match list(&mut fitting().filter(|k| k.kid.as_deref() == Some(kid))) {
            named if named.is_empty() => Found { keys: list(&mut fitting().filter(|k| k.kid.is_none())), named: false },
            keys => Found { keys, named: true },
        }
    }
}

/// The keys that a token is tried with.
pub(super) struct Found {
    pub keys: Vec<DecodingKey>,
    /// They are those of its `kid`: another set could hold no better ones.
    pub named: bool,
}

fn public_key(jwk: &Jwk) -> Option<PublicKey> {
    let common = &jwk.common;
    let signs = matches!(common.public_key_use, None | Some(PublicKeyUse::Signature))
        && common.key_operations.as_ref().is_none_or(|ops| ops.contains(&KeyOperations::Verify));
    if !signs || matches!(jwk.algorithm, AlgorithmParameters::OctetKey(_)) {
        return None;
    }
    let key = DecodingKey::from_jwk(jwk).ok()?;
    Some(PublicKey { kid: common.key_id.clone(), alg: common.key_algorithm.map(|a| a.to_string()), key })
}

/// A key set behind a URL. The set in use outlives failures of its source.
pub(super) struct RemoteKeys {
    shared: Arc<Shared>,
    ask: Ask,
    fetcher: Fetcher,
    refresh_ms: u64,
    min_interval_ms: u64,
}

struct Shared {
    name: String,
    state: Mutex<State>,
    faults: AtomicU64,
}

#[derive(Default)]
struct State {
    set: Option<(Arc<KeySet>, Mono)>,
    tried_at: Option<Mono>,
    /// Why the last fetch brought nothing.
    failed: Option<FetchError>,
    flight: Option<Flight>,
}

type Flight = watch::Receiver<Option<()>>;

/// What a token is verified with.
pub(super) struct Candidates {
    pub keys: Vec<DecodingKey>,
    /// There are no others: where none verifies, none does.
    pub settled: bool,
}

impl RemoteKeys {
    pub fn new(name: &str, uri: Uri, settings: &JwksSettings, fetcher: Fetcher) -> RemoteKeys {
        let timeout = settings.timeout.duration();
        let bytes_max = usize::try_from(settings.bytes.0).unwrap_or(usize::MAX);
        RemoteKeys {
            shared: Arc::new(Shared { name: name.into(), state: Mutex::default(), faults: AtomicU64::new(0) }),
            ask: Ask { uri, headers: HeaderMap::new(), timeout, bytes_max },
            fetcher,
            refresh_ms: settings.refresh.0,
            min_interval_ms: settings.min_interval.0,
        }
    }

    pub fn faults(&self) -> u64 {
        self.shared.faults.load(Ordering::Relaxed)
    }

    /// Why tokens may go undecided now: the last fetch failed.
    pub fn trouble(&self) -> Option<String> {
        let state = self.shared.lock();
        match (&state.set, &state.failed) {
            (Some(_), None) => None,
            (Some(_), Some(why)) => Some(format!("a newer key set was not fetched, that of before is in use: {why}")),
            (None, Some(why)) => Some(format!("no key set was fetched, its tokens get 503 or 1013: {why}")),
            (None, None) => Some("no key set was fetched yet".into()),
        }
    }

    /// Fetches the set before any token asks for it, and goes on trying until it has come or the key is gone.
    pub fn prepare(self: &Arc<Self>, now: Mono) {
        if self.set().is_some() {
            return;
        }
        let (weak, pause) = (Arc::downgrade(self), Duration::from_millis(self.min_interval_ms.max(PREPARE_MS_MIN)));
        self.fetcher.spawn(async move {
            let began = tokio::time::Instant::now();
            while let Some(keys) = weak.upgrade() {
                wait(keys.fetch(now + began.elapsed().as_millis() as u64)).await;
                if keys.set().is_some() {
                    return;
                }
                drop(keys);
                tokio::time::sleep(pause).await;
            }
        });
    }

    /// The keys for a token's header. Waits for a fetch where there is no set yet, where the set is older than twice
    /// its refresh time, or where it does not have the `kid`; otherwise a refresh goes on beside the answer.
    /// What an outage leaves open is never answered with keys alone: `settled` is false where the set may lack the
    /// key of a token that is good.
    pub async fn find(
        &self,
        alg: jsonwebtoken::Algorithm,
        kid: Option<&str>,
        now: Mono,
    ) -> Result<Candidates, Failure> {
        let age = self.set().map(|(_, at)| now.since(at));
        if age.is_none_or(|age| age >= self.refresh_ms) {
            let flight = self.fetch(now);
            if age.is_none_or(|age| age >= self.refresh_ms.saturating_mul(2)) {
                wait(flight).await;
            }
        }
        let unavailable = || Failure::unavailable("the key set cannot be fetched");
        let mut found = self.set().ok_or_else(unavailable)?.0.find(alg, kid);
        if !found.named && found.keys.is_empty() && kid.is_some() {
            wait(self.fetch(now)).await;
            found = self.set().ok_or_else(unavailable)?.0.find(alg, kid);
        }
        Ok(Candidates { settled: found.named || self.shared.lock().failed.is_none(), keys: found.keys })
    }

    fn set(&self) -> Option<(Arc<KeySet>, Mono)> {
        self.shared.lock().set.clone()
    }

    /// The fetch under way, a new one, or `None` where the last is too recent.
    fn fetch(&self, now: Mono) -> Option<Flight> {
        let mut state = self.shared.lock();
        // A flight that closed without its end went down with its runtime.
        if let Some(flight) = state.flight.as_ref().filter(|f| f.has_changed().is_ok()) {
            return Some(flight.clone());
        }
        if state.tried_at.is_some_and(|at| now.since(at) < self.min_interval_ms) {
            return None;
        }
        state.tried_at = Some(now);
        let (shared, fetcher, ask) = (self.shared.clone(), self.fetcher.clone(), self.ask.clone());
        let flight = self.fetcher.spawn(async move {
            let answer = fetcher.get(ask).await.and_then(|(status, body)| match status.as_u16() {
                200 => KeySet::parse(&body).map_err(FetchError::Content),
                other => Err(FetchError::Status(other)),
            });
            shared.land(answer, now);
        });
        state.flight = Some(flight.clone());
        Some(flight)
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn land(&self, answer: Result<KeySet, FetchError>, at: Mono) {
        let mut state = self.lock();
        state.flight = None;
        match answer {
            Ok(set) => {
                state.failed = None;
                state.set = Some((Arc::new(set), at));
            }
            Err(why) => {
                let faults = self.faults.fetch_add(1, Ordering::Relaxed) + 1;
                let kept = state.set.is_some();
                crate::observe::limited!(warn, key = self.name, faults, kept, "key set not fetched: {why}");
                state.failed = Some(why);
            }
        }
    }
}

async fn wait(flight: Option<Flight>) {
    if let Some(flight) = flight {
        finished(flight).await;
    }
}
