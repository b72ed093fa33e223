//! Idempotency keys: a request that comes again gets the answer of the first, and nothing happens twice.
//!
//! Each API key has a table of its own. Two back ends may use the same numbers of their databases: one of them must
//! neither get the other's answer, nor have its publication taken for a repetition, nor have its keys forgotten because
//! the other has many. Only what was done is kept; a refusal has no effect that a repetition could double, and what
//! refused it may have changed.

use super::fail::{Fail, Why};
use super::keys::Fingerprint;
use super::verb::Verb;
use crate::model::{AppId, Mono};
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;

/// What one API key may have remembered, where `[api_key.NAME]` does not say.
pub const KEYS_MAX: usize = 10_000;
pub(super) const KEY_BYTES_MAX: usize = 255;
/// How long a key is remembered.
const TTL_MS: u64 = 300_000;

/// JSON text, or why not.
pub(super) type Answer = Result<String, Fail>;
type Name = (AppId, Verb, String);

/// By API key.
#[derive(Default)]
pub(super) struct Once(Mutex<HashMap<Arc<str>, Table>>);

#[derive(Default)]
struct Table {
    entries: HashMap<Name, Entry>,
    /// By their number: the oldest first. One place for each entry.
    order: BTreeMap<u64, Name>,
    next: u64,
}

struct Entry {
    number: u64,
    body: Fingerprint,
    at: Mono,
    answer: watch::Receiver<Option<Answer>>,
}

/// An API key's name, and how many keys are remembered for it.
pub(super) struct Owner {
    pub name: Arc<str>,
    pub keys_max: usize,
}

/// Whether this request is the one that does it.
enum Turn {
    First(u64, watch::Sender<Option<Answer>>),
    Again(watch::Receiver<Option<Answer>>),
}

impl Once {
    /// Does `work` unless it was done under this key; who comes meanwhile waits for the same answer. `work` goes on
    /// when its caller is gone: a client that tries again must not find it half done.
    pub async fn run(
        self: &Arc<Once>,
        owner: Owner,
        (app, verb, key): Name,
        body: &[u8],
        now: Mono,
        work: impl Future<Output = Answer> + Send + 'static,
    ) -> Answer {
        if key.is_empty() || key.len() > KEY_BYTES_MAX {
            return Err(Fail::body(format!("`idempotency_key` has 1 to {KEY_BYTES_MAX} bytes")));
        }
        let name = (app, verb, key);
        let mut answer = match self.turn(&owner, &name, Fingerprint::of(body), now)? {
            Turn::Again(answer) => answer,
            Turn::First(number, sender) => {
                let answer = sender.subscribe();
                // Whoever hears of a failure may try again at once: it is forgotten before it is told. A panic of
                // `work` drops `pending`, which forgets it too.
                let mut pending = Pending { once: self.clone(), owner: owner.name, name: Some(name), number };
                tokio::spawn(async move {
                    let answer = work.await;
                    if answer.is_ok() {
                        pending.name = None;
                    }
                    drop(pending);
                    sender.send_replace(Some(answer));
                });
                answer
            }
        };
        // The sender is gone without an answer only where `work` panicked.
        let told = answer.wait_for(Option::is_some).await.ok().and_then(|a| a.clone());
        told.unwrap_or_else(|| Err(Fail::new(Why::Internal, "The request was not carried out")))
    }

    fn turn(&self, owner: &Owner, name: &Name, body: Fingerprint, now: Mono) -> Result<Turn, Fail> {
        let mut tables = self.tables();
        let table = tables.entry(owner.name.clone()).or_default();
        table.expire(now, owner.keys_max);
        if let Some(entry) = table.entries.get(name) {
            return match entry.body.is(&body) {
                true => Ok(Turn::Again(entry.answer.clone())),
                false => Err(Fail::new(Why::KeyReused, "The same `idempotency_key` came before with another body")),
            };
        }
        if table.entries.len() >= owner.keys_max {
            let detail = "Too many requests with an `idempotency_key` are being carried out";
            return Err(Fail { retry_after_s: Some(1), ..Fail::new(Why::Overloaded, detail) });
        }
        let (sender, answer) = watch::channel(None);
        let number = table.next;
        table.next += 1;
        table.entries.insert(name.clone(), Entry { number, body, at: now, answer });
        table.order.insert(number, name.clone());
        Ok(Turn::First(number, sender))
    }

    fn tables(&self) -> MutexGuard<'_, HashMap<Arc<str>, Table>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Forgets a key when it drops, unless what it stood for was done.
struct Pending {
    once: Arc<Once>,
    owner: Arc<str>,
    name: Option<Name>,
    number: u64,
}

impl Drop for Pending {
    fn drop(&mut self) {
        let Some(name) = self.name.take() else { return };
        let mut tables = self.once.tables();
        let Some(table) = tables.get_mut(&self.owner) else { return };
        if table.entries.get(&name).is_some_and(|entry| entry.number == self.number) {
            table.entries.remove(&name);
        }
        table.order.remove(&self.number);
    }
}

impl Table {
    /// Forgets what is too old, and the oldest where there is no room; never what is still being done.
    fn expire(&mut self, now: Mono, keys_max: usize) {
        while let Some(oldest) = self.order.first_entry() {
            let Some(entry) = self.entries.get(oldest.get()) else {
                oldest.remove();
                continue;
            };
            let old = now.since(entry.at) >= TTL_MS;
            if !(old || self.entries.len() >= keys_max) || entry.answer.borrow().is_none() {
                return;
            }
            let name = oldest.remove();
            self.entries.remove(&name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn ask_as(once: &Arc<Once>, owner: &str, key: &str, body: &str, now: u64, answer: Answer) -> Answer {
        let owner = Owner { name: owner.into(), keys_max: KEYS_MAX };
        once.run(
            owner,
            (AppId(0), Verb::Publish, key.into()),
            body.as_bytes(),
            Mono::from_ms(now),
            async move { answer },
        )
        .await
    }

    async fn ask(once: &Arc<Once>, key: &str, body: &str, now: u64, answer: Answer) -> Answer {
        ask_as(once, "default", key, body, now, answer).await
    }

    #[tokio::test]
    async fn a_key_is_forgotten_after_five_minutes_and_after_any_refusal() {
        let once = Arc::new(Once::default());
        assert_eq!(ask(&once, "k", "a", 0, Ok("1".into())).await, Ok("1".into()));
        assert_eq!(ask(&once, "k", "a", TTL_MS - 1, Ok("2".into())).await, Ok("1".into()));
        assert_eq!(ask(&once, "k", "b", 1, Ok("2".into())).await.unwrap_err().why, Why::KeyReused);
        assert_eq!(ask(&once, "k", "b", TTL_MS, Ok("3".into())).await, Ok("3".into()));
        for why in [Why::Overloaded, Why::Forbidden, Why::UnknownChannel, Why::InvalidBody] {
            let failed = Fail::new(why, "");
            assert_eq!(ask(&once, why.as_str(), "a", 0, Err(failed.clone())).await, Err(failed));
            assert_eq!(ask(&once, why.as_str(), "b", 0, Ok("4".into())).await, Ok("4".into()));
        }
    }

    #[tokio::test]
    async fn each_api_key_has_keys_of_its_own() {
        let once = Arc::new(Once::default());
        assert_eq!(ask_as(&once, "one", "k", "a", 0, Ok("1".into())).await, Ok("1".into()));
        assert_eq!(ask_as(&once, "two", "k", "a", 0, Ok("2".into())).await, Ok("2".into()));
        assert_eq!(ask_as(&once, "three", "k", "b", 0, Ok("3".into())).await, Ok("3".into()));
        for n in 0..KEYS_MAX + 100 {
            ask_as(&once, "two", &n.to_string(), "a", 0, Ok("4".into())).await.unwrap();
        }
        assert_eq!(ask_as(&once, "one", "k", "a", 0, Ok("5".into())).await, Ok("1".into()));
        assert_eq!(ask_as(&once, "two", "k", "a", 0, Ok("5".into())).await, Ok("5".into()), "its own are many");
        let tables = once.tables();
        assert!(tables["two"].entries.len() <= KEYS_MAX && tables["two"].order.len() <= KEYS_MAX);
    }

    #[tokio::test]
    async fn refusals_leave_nothing_behind() {
        let once = Arc::new(Once::default());
        for n in 0..100 {
            ask(&once, &n.to_string(), "a", 0, Err(Fail::new(Why::Forbidden, ""))).await.unwrap_err();
        }
        let tables = once.tables();
        assert!(tables["default"].entries.is_empty() && tables["default"].order.is_empty());
    }

    #[tokio::test]
    async fn what_is_being_done_is_not_forgotten() {
        let once = Arc::new(Once::default());
        let owner = || Owner { name: "default".into(), keys_max: 1 };
        let name = |key: &str| (AppId(0), Verb::Publish, key.to_owned());
        let (end, ended) = tokio::sync::oneshot::channel::<()>();
        let slow = async move {
            ended.await.unwrap();
            Ok("1".to_owned())
        };
        let (copy, body) = (once.clone(), b"a");
        let first = tokio::spawn(async move { copy.run(owner(), name("k"), body, Mono::from_ms(0), slow).await });
        tokio::task::yield_now().await;
        let other = once.run(owner(), name("other"), body, Mono::from_ms(TTL_MS), async { Ok("2".to_owned()) }).await;
        assert_eq!(other.unwrap_err().why, Why::Overloaded);
        let copy = once.clone();
        let again = tokio::spawn(async move {
            copy.run(owner(), name("k"), body, Mono::from_ms(TTL_MS), async { panic!("it is done twice") }).await
        });
        tokio::task::yield_now().await;
        end.send(()).unwrap();
        assert_eq!((first.await.unwrap(), again.await.unwrap()), (Ok("1".to_owned()), Ok("1".to_owned())));
        assert!(once.run(owner(), name("other"), body, Mono::from_ms(0), async { Ok("2".to_owned()) }).await.is_ok());
    }
}
