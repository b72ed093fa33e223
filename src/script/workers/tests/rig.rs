//! Workers over a plugin's text, with a clock, gates and a listener in the hands of the test.

pub use super::world::{Happened, Held, Log, NOW, World, memory};

use super::world::LONG;
use crate::model::*;
use crate::observe::Metrics;
use crate::script::workers::{NotTaken, Workers};
use crate::script::{Event, *};
use crate::store::Store;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};

/// What the workers are built with.
pub struct Plan {
    pub plugin: &'static str,
    pub limits: Limits,
    pub entities: Vec<(&'static str, EntitySettings)>,
    pub timers: Vec<TimerSettings>,
    pub store: Option<Arc<dyn Store>>,
    pub outbox: Option<Arc<dyn Outbox>>,
    pub process: Process,
}

impl Default for Plan {
    fn default() -> Plan {
        Plan {
            plugin: PLUGIN,
            // Debug builds on a busy machine are slow.
            limits: Limits { deadline: Ms(50_000), read_wait: Ms(50_000), ..Limits::default() },
            entities: Vec::new(),
            timers: Vec::new(),
            store: None,
            outbox: None,
            process: Process { workers: 4, ..Process::default() },
        }
    }
}

/// Kinds `queue` (memory) and `ward` (store).
pub const PLUGIN: &str = r#"
    fn add(event) { this.list = (this.list ?? []) + [event.data.n]; }
    fn count(event) { this.n = (this.n ?? 0) + 1; publish("count", this.n); }
    fn tell(event) { publish("told", this); }
    fn nothing(event) { }
    fn gate(event) { history(event.data.gate); publish("through", event.data); }
    fn spoil(event) { this.n = 1000; publish("a", 1); publish("b", 2); publish("c", 3); throw "spoiled"; }
    fn refuses(event) { this.n = 1000; publish("a", 1); refuse("denied", "Not today"); }
    fn endless(event) { loop { } }
    fn clear(event) { this.clear(); }
    fn put(event) { set("key", event.data); publish("told", get("key")); }
    fn later(event) { after(event.data.ms, "tick", #{ of: "later" }); }
    fn often(event) { every(event.data.ms, "tick"); }
    fn never(event) { cancel("tick"); }
    fn tick(event) { this.ticks = (this.ticks ?? 0) + 1; publish("tick", this.ticks); }
    fn hook(event) { webhook("backend", event.data); }
    fn answer(event) { reply(event.data); }
"#;

pub fn stored() -> EntitySettings {
    EntitySettings { state: Keep::Store, ..EntitySettings::default() }
}

impl Plan {
    pub fn app(&self) -> Arc<App> {
        let files = |_: &str| Ok(("plugins/test.rhai".to_owned(), self.plugin.to_owned()));
        let settings = serde_json::Map::new();
        let plugin = Plugin::compile("test", &files, &self.limits, &settings, &["backend"]);
        let mut entities: BTreeMap<_, _> = self.entities.iter().map(|(k, s)| (k.to_string(), s.clone())).collect();
        entities.entry("ward".into()).or_insert_with(stored);
        Arc::new(App {
            policy: None,
            id: AppId(0),
            name: "test".into(),
            plugin: plugin.unwrap_or_else(|problems| panic!("{problems:#?}")),
            limits: self.limits.clone(),
            entities,
            timers: self.timers.clone(),
        })
    }

    pub fn start(self) -> Rig {
        let world = Arc::new(World::default());
        world.set_clock(NOW);
        self.start_in(world)
    }

    pub fn start_in(self, world: Arc<World>) -> Rig {
        let (happened, heard) = channel();
        let log = Arc::new(Log { happened: Mutex::new(happened), panics: AtomicBool::new(false) });
        let metrics = Metrics::new();
        let app = self.app();
        let (store, outbox) = (self.store.clone(), self.outbox.clone());
        let workers =
            Workers::start(&self.process, world.clone(), log.clone(), store, outbox, metrics.clone()).unwrap();
        workers.set_apps(vec![app.clone()]).unwrap();
        Rig { workers, world, log, heard: Mutex::new(heard), metrics, app }
    }
}

static CLIENTS: AtomicU32 = AtomicU32::new(0x0a00_0001);

pub struct Rig {
    pub workers: Arc<Workers>,
    pub world: Arc<World>,
    pub log: Arc<Log>,
    heard: Mutex<Receiver<Happened>>,
    pub metrics: Arc<Metrics>,
    pub app: Arc<App>,
}

impl Rig {
    pub fn event(&self, data: &str) -> Event {
        let connection = Connection {
            id: ConnectionId::uuid(42),
            shard: 0,
            slot: 1,
            // Each call is another client's.
            ip: std::net::Ipv4Addr::from(CLIENTS.fetch_add(1, Ordering::Relaxed)).into(),
            connected_at: NOW,
            endpoint: "/ws".into(),
            user_agent: None,
            request: None,
        };
        Event {
            trigger: Trigger::Message { kind: "note".into() },
            data: data.to_owned().into(),
            identity: Identity::anonymous(),
            connection: Some(Arc::new(connection)),
            asker: Some(Asker { id: None, kind: "note".into() }),
            channel: None,
            vars: Vec::new(),
            at: self.world.now(),
        }
    }

    pub fn make(&self, handler: &str, entity: &str, data: &str, then: Then) -> Call {
        Call {
            app: self.app.clone(),
            generation: 1,
            handler: self.app.plugin.handler(handler).unwrap(),
            entity: (!entity.is_empty()).then(|| entity.into()),
            event: self.event(data),
            then,
        }
    }

    /// Submits; its end is told as `Happened::Then(mark, …)`.
    pub fn try_call(&self, mark: &str, handler: &str, entity: &str, data: &str) -> Result<(), Refusal> {
        let (log, mark) = (self.log.clone(), mark.to_owned());
        let then = move |finished: Finished| log.say(Happened::Then(mark, ended(&finished)));
        let call = self.make(handler, entity, data, Box::new(then));
        self.workers.submit(call).map_err(|not_taken| {
            let NotTaken { call, refusal } = *not_taken;
            assert_eq!(&call.event.data[..], data.as_bytes(), "given back whole");
            refusal
        })
    }

    pub fn call(&self, mark: &str, handler: &str, entity: &str, data: &str) {
        self.try_call(mark, handler, entity, data).unwrap();
    }

    /// Calls and waits for its end.
    pub fn ask(&self, handler: &str, entity: &str, data: &str) -> String {
        self.call("ask", handler, entity, data);
        loop {
            if let Happened::Then(mark, ended) = self.next()
                && mark == "ask"
            {
                return ended;
            }
        }
    }

    /// What happens next.
    pub fn next(&self) -> Happened {
        self.heard.lock().unwrap().recv_timeout(LONG).expect("something happens")
    }

    pub fn nexts(&self, n: usize) -> Vec<Happened> {
        (0..n).map(|_| self.next()).collect()
    }

    /// The state of an entity, as its own handler publishes it.
    pub fn state(&self, entity: &str) -> String {
        self.call("state", "tell", entity, "{}");
        loop {
            match self.next() {
                Happened::Carried(text) if text.starts_with("told ") => return text[5..].to_owned(),
                _ => {}
            }
        }
    }

    /// What has happened, without waiting.
    pub fn so_far(&self) -> Vec<Happened> {
        self.heard.lock().unwrap().try_iter().collect()
    }

    pub fn set_clock(&self, now: Millis) {
        self.world.set_clock(now);
        self.workers.look_at_the_clock();
    }

    /// Until something holds that no event tells of. Looks again and again; how long it takes decides nothing.
    pub fn wait_until(&self, holds: impl Fn(&Rig) -> bool) {
        let began = std::time::Instant::now();
        while !holds(self) {
            assert!(began.elapsed() < LONG, "it never came true");
            std::thread::yield_now();
        }
    }

    /// Until nothing that was taken is left.
    pub fn settle(&self) {
        self.workers.stop(LONG);
    }

    /// What the app takes of the process's memory.
    pub fn memory(&self) -> usize {
        self.metrics.memory.app(self.app.id).used()
    }

    pub fn metric(&self, line: &str) -> bool {
        self.metrics.text().lines().any(|l| l == line)
    }
}

pub fn then(mark: &str, ended: &str) -> Happened {
    Happened::Then(mark.into(), ended.into())
}

pub fn carried(text: &str) -> Happened {
    Happened::Carried(text.into())
}

fn ended(finished: &Finished) -> String {
    match &finished.result {
        Ok(false) => "ok".into(),
        Ok(true) => format!("ok {}", std::str::from_utf8(&finished.event.data).unwrap()),
        Err(refusal) => match &refusal.message {
            Some(message) => format!("{} {message}", refusal.code.as_str()),
            None => refusal.code.as_str().into(),
        },
    }
}
