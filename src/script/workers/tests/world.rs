//! What stands around the workers in tests: a host with a clock and gates, a listener, a store that waits to be told.

use crate::model::{self, *};
use crate::script::*;
use crate::store::{Done, Parcel, Store, StoreError, Timer, Write};
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

/// Longer than anything takes: whoever waits so long waits in vain.
pub const LONG: Duration = Duration::from_secs(60);
pub const NOW: Millis = 1_704_623_400_000;
/// What the monotonic clock shows then.
const BOOTED: u64 = 1_000_000;

/// What happened, in its order.
#[derive(Clone, Debug, PartialEq)]
pub enum Happened {
    /// `then` was called: the mark of the call, and what became of it.
    Then(String, String),
    /// `told {"n":1}`
    Carried(String),
}

/// A host whose `history("gate:x")` waits until the gate is opened.
#[derive(Default)]
pub struct World {
    now: AtomicU64,
    /// How far the wall clock was set back.
    set_back: AtomicU64,
    random: AtomicU64,
    gates: Mutex<HashMap<String, Gate>>,
    changed: Condvar,
}

#[derive(Default)]
struct Gate {
    inside: usize,
    open: bool,
}

impl World {
    pub fn set_clock(&self, now: Millis) {
        self.now.store(now, Ordering::SeqCst);
    }

    /// Somebody sets the wall clock; the monotonic one goes on.
    pub fn set_wall_back(&self, ms: u64) {
        self.set_back.store(ms, Ordering::SeqCst);
    }

    /// Waits until so many calls stand in the gate.
    pub fn wait_inside(&self, gate: &str, calls: usize) {
        let gates = self.gates.lock().unwrap();
        let few = |gates: &mut HashMap<String, Gate>| gates.get(gate).is_none_or(|g| g.inside < calls);
        let (_gates, late) = self.changed.wait_timeout_while(gates, LONG, few).unwrap();
        assert!(!late.timed_out(), "fewer than {calls} calls at {gate}");
    }

    pub fn open(&self, gate: &str) {
        self.gates.lock().unwrap().entry(gate.into()).or_default().open = true;
        self.changed.notify_all();
    }
}

impl Host for World {
    fn now(&self) -> Now {
        let now = self.now.load(Ordering::SeqCst);
        Now { mono: Mono::from_ms(BOOTED + now - NOW), wall: now - self.set_back.load(Ordering::SeqCst) }
    }
    fn random(&self) -> u128 {
        self.random.fetch_add(1, Ordering::SeqCst) as u128
    }
    fn history(&self, _: AppId, gate: &ChannelName, _: usize, _: u64) -> Result<Vec<model::Event>, Refusal> {
        let mut gates = self.gates.lock().unwrap();
        gates.entry(gate.as_str().into()).or_default().inside += 1;
        self.changed.notify_all();
        let closed = |gates: &mut HashMap<String, Gate>| !gates[gate.as_str()].open;
        drop(self.changed.wait_timeout_while(gates, LONG, closed).unwrap());
        Ok(Vec::new())
    }
    fn presence(&self, _: AppId, _: &ChannelName, _: u64) -> Result<Vec<Member>, Refusal> {
        Ok(Vec::new())
    }
    fn channels(&self, _: AppId, _: &str, _: usize, _: u64) -> Result<Vec<ChannelInfo>, Refusal> {
        Ok(Vec::new())
    }
    fn connections(&self, _: AppId, _: Target, _: usize, _: u64) -> Result<(Vec<ConnectionInfo>, usize), Refusal> {
        Ok((Vec::new(), 0))
    }
    fn stats(&self, _: AppId, _: &[String], _: u64) -> Result<AppStats, Refusal> {
        Ok(AppStats::default())
    }
}

/// Writes down what happens.
pub struct Log {
    pub happened: Mutex<Sender<Happened>>,
    pub panics: AtomicBool,
}

impl Log {
    pub fn say(&self, happened: Happened) {
        drop(self.happened.lock().unwrap().send(happened));
    }
}

impl Carry for Log {
    fn carry(
        &self,
        _: AppId,
        asker: Option<(&Connection, &Asker)>,
        effects: Vec<Effect>,
        tell: Option<tokio::sync::oneshot::Sender<u32>>,
    ) {
        assert!(!self.panics.load(Ordering::SeqCst), "as the test wants it");
        if let Some(tell) = tell {
            tell.send(effects.len() as u32).unwrap();
        }
        for effect in effects {
            self.say(Happened::Carried(match effect {
                Effect::Do(Command::Publish { channels, draft }) => {
                    format!("{} {}", channels[0], std::str::from_utf8(&draft.data).unwrap())
                }
                Effect::Reply(reply) => {
                    let to = asker.map_or("nobody", |(_, asker)| &asker.kind);
                    format!("reply to {to} {}", std::str::from_utf8(&reply.message.data).unwrap())
                }
                other => format!("{other:?}"),
            }));
        }
    }
}

/// A store that commits when the test says so.
pub struct Held {
    pub inner: Arc<dyn Store>,
    waiting: Mutex<Vec<(Vec<Write>, Done)>>,
    arrived: Condvar,
}

impl Held {
    pub fn new(inner: Arc<dyn Store>) -> Arc<Held> {
        Arc::new(Held { inner, waiting: Mutex::default(), arrived: Condvar::new() })
    }

    /// Waits for so many commits; what they write, shown short.
    pub fn wait(&self, commits: usize) -> Vec<String> {
        let waiting = self.waiting.lock().unwrap();
        let (waiting, late) = self.arrived.wait_timeout_while(waiting, LONG, |w| w.len() < commits).unwrap();
        assert!(!late.timed_out(), "fewer than {commits} commits");
        waiting.iter().map(|(writes, _)| writes.iter().map(shown).collect::<Vec<_>>().join(", ")).collect()
    }

    /// Lets the oldest through, or has it fail.
    pub fn answer(&self, fails: Option<StoreError>) {
        let (writes, done) = self.waiting.lock().unwrap().remove(0);
        match fails {
            Some(error) => done(Err(error)),
            None => self.inner.commit(writes, done),
        }
    }
}

fn shown(write: &Write) -> String {
    match write {
        Write::Entity { entity, state, .. } => format!("{entity} = {state}"),
        Write::ForgetEntity { entity, .. } => format!("forget {entity}"),
        Write::Set { key, value, .. } => format!("{key} = {value}"),
        Write::Timer(timer) => format!("timer {} {}", timer.name, timer.due - NOW),
        Write::CancelTimer { name, .. } => format!("cancel {name}"),
        Write::Parcel(parcel) => format!("{} {}", parcel.webhook, parcel.body),
        other => format!("{other:?}"),
    }
}

impl Store for Held {
    fn get(&self, app: &str, key: &str, now: Millis) -> Result<Option<String>, StoreError> {
        self.inner.get(app, key, now)
    }
    fn keys(&self, app: &str, prefix: &str, limit: usize, now: Millis) -> Result<Vec<String>, StoreError> {
        self.inner.keys(app, prefix, limit, now)
    }
    fn entity(&self, app: &str, entity: &str) -> Result<Option<String>, StoreError> {
        self.inner.entity(app, entity)
    }
    fn commit(&self, writes: Vec<Write>, done: Done) {
        self.waiting.lock().unwrap().push((writes, done));
        self.arrived.notify_all();
    }
    fn timers(&self) -> Result<Vec<Timer>, StoreError> {
        self.inner.timers()
    }
    fn outbox(&self) -> Result<Vec<Parcel>, StoreError> {
        self.inner.outbox()
    }
    fn sweep(&self, now: Millis) -> Result<usize, StoreError> {
        self.inner.sweep(now)
    }
}

pub fn memory() -> Arc<dyn Store> {
    let settings = crate::store::Settings { driver: crate::store::Driver::Memory, ..Default::default() };
    crate::store::open(&settings, std::path::Path::new("."), None).unwrap()
}
