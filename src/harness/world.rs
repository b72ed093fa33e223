//! A gateway in one thread: kernels, handlers, a store, clients, and a clock that the test moves.

use super::client::Client;
use super::clock::{Chance, Clock};
use super::host::{Seen, Stage};
use super::kernels::Kernels;
use super::pipe::Pipe;
use crate::flow::{App, Generation, KeptRequest};
use crate::kernel::{Newcomer, Shared};
use crate::model::{Close, Identity, Millis, Mono, Refusal};
use crate::observe::Metrics;
use crate::script::{self, Workers};
use crate::store::{self, Store};
use fragile::Fragile;
use std::net::{IpAddr, Ipv4Addr};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

/// Where everybody comes from.
pub(super) const IP: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
/// What the ids of connections begin with; those of `uuid()` begin with nothing.
const CONNECTIONS: u128 = 0xc000_0000 << 96;
/// Things that handlers may do in one step; beyond, they call each other without end.
const CALLS_MAX: usize = 10_000;
/// Timers that may fire while a test's clock goes on once; beyond, it takes too long.
const FIRED_MAX: usize = 100_000;
/// How often the store and the entities forget what is over.
const SWEEP_MS: u64 = 60_000;

pub(super) struct World {
    pub app: Arc<App>,
    pub kernels: Rc<Kernels>,
    pub workers: Arc<Workers>,
    pub store: Arc<dyn Store>,
    pub clock: Arc<Clock>,
    pub seen: Arc<Seen>,
    /// In the order in which they connected.
    pub clients: Vec<Client>,
    swept_at: Millis,
}

impl World {
    pub fn new(app: Arc<App>, generation: &Arc<Generation>, now: Millis, metrics: Arc<Metrics>) -> World {
        let (clock, seen, store) = (Arc::new(Clock::new(now)), Arc::new(Seen::default()), store::at_once());
        let shared = Shared::new(1, metrics.clone());
        shared.take_limits(generation);
        let kernels = Rc::new(Kernels::new(generation, &shared, clock.clone()));
        let stage = Arc::new(Stage {
            app: app.clone(),
            generation: generation.clone(),
            clock: clock.clone(),
            chance: Chance::default(),
            seen: seen.clone(),
            kernels: Fragile::new(Rc::downgrade(&kernels)),
        });
        let process = script::Process::default();
        let (host, carry, outbox) = (stage.clone(), stage.clone(), stage);
        let workers = Workers::stepwise(&process, host, carry, Some(store.clone()), Some(outbox), metrics);
        shared.set_workers(workers.clone());
        if let Some(handlers) = &app.handlers
            && let Err(error) = workers.set_apps(vec![handlers.script.clone()])
        {
            seen.fault(error.to_string());
        }
        World { app, kernels, workers, store, clock, seen, clients: Vec::new(), swept_at: now }
    }

    /// Somebody connects to an endpoint; `identity`: `None`: a token is to follow. Its number among the clients.
    pub fn open(
        &mut self,
        listener: u16,
        endpoint: u16,
        identity: Option<Arc<Identity>>,
        request: KeptRequest,
    ) -> Result<usize, String> {
        let limits = &self.app.limits;
        let counts = &self.kernels.port.shared().connections;
        let mut seat = counts.reserve(IP, u32::MAX, u32::MAX).map_err(|full| format!("no place: {full:?}"))?;
        let full = match seat.enter(self.app.id, limits.app_connections) {
            false => Some(Close::OVERLOADED),
            true => identity
                .as_ref()
                .and_then(|identity| seat.know(identity, limits).err())
                .map(|_| Close::TOO_MANY_CONNECTIONS),
        };
        let newcomer = Newcomer {
            leftover: Default::default(),
            app: self.app.id,
            endpoint,
            endpoint_key: self.app.endpoint(endpoint).map(|e| e.key.clone()).unwrap_or_default(),
            listener,
            identity: identity.clone(),
            refusal: full.is_some().then(|| Refusal::limit(crate::model::LimitKind::Connections)),
            close_at_once: full,
            deflate: None,
            ip: IP,
            user_agent: Some("weir test".into()),
            request: Some(Box::new(request)),
            seat,
        };
        let (pipe, number) = (Pipe::default(), self.clients.len());
        self.clients.push(Client::new(pipe.clone(), identity.unwrap_or_else(Identity::anonymous)));
        self.kernels.open(0, pipe, newcomer, CONNECTIONS | (number as u128 + 1));
        self.settle();
        Ok(number)
    }

    /// Until nothing is left to do.
    pub fn settle(&mut self) {
        for _ in 0..CALLS_MAX {
            self.hear();
            if !self.workers.step() {
                return;
            }
        }
        self.seen.fault(format!("one step led to more than {CALLS_MAX} calls of handlers"));
    }

    /// Until kernels and clients are done, but for handlers.
    fn hear(&mut self) {
        loop {
            self.kernels.settle();
            let line = self.seen.line.load(Relaxed);
            let answered: Vec<bool> = self.clients.iter_mut().map(|client| client.listen(line)).collect();
            if !answered.contains(&true) {
                return;
            }
        }
    }

    /// Waits for what back ends and routes ask. `None`: it waits for something outside of the gateway.
    pub fn answer<T>(&mut self, question: impl Future<Output = T>) -> Option<T> {
        let mut question = std::pin::pin!(question);
        for _ in 0..CALLS_MAX {
            if let Some(answer) = self.kernels.answer(question.as_mut()) {
                self.settle();
                return Some(answer);
            }
            self.hear();
            if !self.workers.step() {
                return self.kernels.answer(question);
            }
        }
        None
    }

    pub fn now(&self) -> Millis {
        self.clock.now().wall
    }

    /// The clock goes on to `until`; whatever is due meanwhile happens in its order.
    pub fn go_on(&mut self, until: Millis) {
        let mut fired = 0;
        loop {
            let timer = self.workers.next_due().map(Mono::ms);
            let sweep = self.swept_at + SWEEP_MS;
            let next = [timer, self.kernels.next_due(), Some(sweep)].into_iter().flatten().min().unwrap_or(until);
            if next > until {
                break;
            }
            self.clock.go_on(next);
            if sweep <= self.now() {
                self.swept_at = self.now();
                self.workers.sweep();
            }
            fired += self.workers.fire_due();
            self.settle();
            if fired > FIRED_MAX {
                self.seen.fault(format!("timers fired more than {FIRED_MAX} times; the clock stops"));
                break;
            }
        }
        self.clock.go_on(until);
        self.settle();
    }
}
