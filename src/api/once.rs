//! Idempotency keys: a request that comes again gets the answer of the first, and nothing happens twice.

use super::fail::{Fail, Why};
use super::keys::Fingerprint;
use super::verb::Verb;
use crate::model::{AppId, Mono};
use std::collections::{HashMap, VecDeque};
use std::sync::Mutex;
use tokio::sync::watch;

/// Keys that are remembered; the oldest is forgotten first.
const KEYS_MAX: usize = 10_000;
const KEY_BYTES_MAX: usize = 255;
/// How long a key is remembered.
const TTL_MS: u64 = 300_000;

/// JSON text, or why not.
pub(super) type Answer = Result<String, Fail>;
type Name = (AppId, Verb, String);

#[derive(Default)]
pub(super) struct Once(Mutex<Table>);

#[derive(Default)]
struct Table {
    entries: HashMap<Name, Entry>,
    /// Oldest first.
    order: VecDeque<(Mono, Name)>,
}

#[derive(Clone)]
struct Entry {
    body: Fingerprint,
    at: Mono,
    answer: watch::Receiver<Option<Answer>>,
}

/// Whether this request is the one that does it.
enum Turn {
    First(watch::Sender<Option<Answer>>),
    Again(watch::Receiver<Option<Answer>>),
}

impl Once {
    /// Does `work` unless it was done under this key; who comes meanwhile waits for the same answer. `work` goes on
    /// when its caller is gone: a client that tries again must not find it half done.
    pub async fn run(
        &self,
        app: AppId,
        verb: Verb,
        key: String,
        body: &[u8],
        now: Mono,
        work: impl Future<Output = Answer> + Send + 'static,
    ) -> Answer {
        if key.is_empty() || key.len() > KEY_BYTES_MAX {
            return Err(Fail::body(format!("`idempotency_key` has 1 to {KEY_BYTES_MAX} bytes")));
        }
        let name = (app, verb, key);
        let mut answer = match self.turn(&name, Fingerprint::of(body), now)? {
            Turn::Again(answer) => answer,
            Turn::First(sender) => {
                let answer = sender.subscribe();
                tokio::spawn(async move { sender.send_replace(Some(work.await)) });
                answer
            }
        };
        // The sender is gone without an answer only where `work` panicked.
        let told = answer.wait_for(Option::is_some).await.ok().and_then(|a| a.clone());
        let told = told.unwrap_or_else(|| Err(Fail::new(Why::Internal, "The request was not carried out")));
        if told.as_ref().is_err_and(|fail| fail.why.retry()) {
            self.forget(&name, &answer);
        }
        told
    }

    fn turn(&self, name: &Name, body: Fingerprint, now: Mono) -> Result<Turn, Fail> {
        let mut table = self.0.lock().unwrap_or_else(|e| e.into_inner());
        table.expire(now);
        if let Some(entry) = table.entries.get(name) {
            return match entry.body.is(&body) {
                true => Ok(Turn::Again(entry.answer.clone())),
                false => Err(Fail::new(Why::KeyReused, "The same `idempotency_key` came before with another body")),
            };
        }
        let (sender, answer) = watch::channel(None);
        table.entries.insert(name.clone(), Entry { body, at: now, answer });
        table.order.push_back((now, name.clone()));
        Ok(Turn::First(sender))
    }

    /// What failed for now may be tried again under the same key.
    fn forget(&self, name: &Name, answer: &watch::Receiver<Option<Answer>>) {
        let mut table = self.0.lock().unwrap_or_else(|e| e.into_inner());
        if table.entries.get(name).is_some_and(|e| e.answer.same_channel(answer)) {
            table.entries.remove(name);
        }
    }
}

impl Table {
    fn expire(&mut self, now: Mono) {
        while let Some((at, name)) = self.order.front() {
            if now.since(*at) < TTL_MS && self.order.len() < KEYS_MAX {
                break;
            }
            // A forgotten key may be here twice: only the newer place counts.
            if self.entries.get(name).is_some_and(|e| e.at <= *at) {
                self.entries.remove(name);
            }
            self.order.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn ask(once: &Once, key: &str, body: &str, now: u64, answer: Answer) -> Answer {
        once.run(AppId(0), Verb::Publish, key.into(), body.as_bytes(), Mono::from_ms(now), async move { answer }).await
    }

    #[tokio::test]
    async fn a_key_is_forgotten_after_five_minutes_and_after_a_failure_that_may_pass() {
        let once = Once::default();
        assert_eq!(ask(&once, "k", "a", 0, Ok("1".into())).await, Ok("1".into()));
        assert_eq!(ask(&once, "k", "a", TTL_MS - 1, Ok("2".into())).await, Ok("1".into()));
        assert_eq!(ask(&once, "k", "b", 1, Ok("2".into())).await.unwrap_err().why, Why::KeyReused);
        assert_eq!(ask(&once, "k", "b", TTL_MS, Ok("3".into())).await, Ok("3".into()));
        let busy = Fail::new(Why::Overloaded, "");
        assert_eq!(ask(&once, "busy", "a", 0, Err(busy.clone())).await, Err(busy));
        assert_eq!(ask(&once, "busy", "a", 0, Ok("4".into())).await, Ok("4".into()));
        let denied = Fail::new(Why::Forbidden, "");
        assert_eq!(ask(&once, "denied", "a", 0, Err(denied.clone())).await, Err(denied.clone()));
        assert_eq!(ask(&once, "denied", "a", 0, Ok("5".into())).await, Err(denied));
    }

    #[tokio::test]
    async fn the_table_has_a_bound() {
        let once = Once::default();
        for n in 0..KEYS_MAX + 100 {
            ask(&once, &n.to_string(), "a", 0, Ok(n.to_string())).await.unwrap();
        }
        let table = once.0.lock().unwrap();
        assert!(table.entries.len() <= KEYS_MAX && table.order.len() <= KEYS_MAX, "{}", table.entries.len());
    }
}
