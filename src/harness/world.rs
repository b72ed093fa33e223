//! A gateway in one thread: kernels, handlers, a store, clients, and a clock that the test moves.

use super::client::Client;
use super::kernels::{Arrival, IP};
use super::parts::Parts;
use crate::flow::{App, Generation, KeptRequest};
use crate::kernel::Newcomer;
use crate::listen::Attempts;
use crate::model::{Identity, Millis, Mono};
use crate::store::{self, Store};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

/// What the ids of connections begin with; those of `uuid()` begin with nothing.
const CONNECTIONS: u128 = 0xc000_0000 << 96;
/// Things that handlers may do in one step; beyond, they call each other without end.
const CALLS_MAX: usize = 10_000;
/// Timers that may fire while a test's clock goes on once; beyond, it takes too long.
const FIRED_MAX: usize = 100_000;
/// How often the store and the entities forget what is over.
const SWEEP_MS: u64 = 60_000;

pub(super) struct World {
    app: Arc<App>,
    pub parts: Parts,
    pub store: Arc<dyn Store>,
    /// In the order in which they connected.
    pub clients: Vec<Client>,
    swept_at: Millis,
    pub attempts: Arc<Attempts>,
}

impl World {
    pub fn new(app: Arc<App>, generation: &Arc<Generation>, now: Millis) -> World {
        let store = store::at_once();
        let parts = Parts::new(app.id, generation, 1, store.clone(), now);
        World { app, parts, store, clients: Vec::new(), swept_at: now, attempts: Arc::default() }
    }

    /// Somebody connects to an endpoint; `identity`: `None`: a token is to follow. Its number among the clients.
    pub fn open(
        &mut self,
        listener: u16,
        endpoint: u16,
        identity: Option<Arc<Identity>>,
        request: KeptRequest,
    ) -> Result<usize, String> {
        let (chance, request) = (self.next_chance(), Some(request));
        let (ip, per_ip, shown) = (IP, u32::MAX, identity.clone());
        let arrival = Arrival { listener, endpoint, identity: shown, request, chance, ip, per_ip };
        let pipe = self.parts.kernels.connect(0, &self.app, arrival)?;
        Ok(self.add(Client::new(pipe, identity.unwrap_or_else(Identity::anonymous))))
    }

    /// Somebody whom admission let in.
    pub fn open_admitted(&mut self, newcomer: Newcomer) -> usize {
        let identity = newcomer.identity.clone().unwrap_or_else(Identity::anonymous);
        let pipe = self.parts.kernels.open(0, newcomer, self.next_chance());
        self.add(Client::new(pipe, identity))
    }

    /// Of which the next connection's id is made.
    fn next_chance(&self) -> u128 {
        CONNECTIONS | (self.clients.len() as u128 + 1)
    }

    fn add(&mut self, client: Client) -> usize {
        self.clients.push(client);
        self.settle();
        self.clients.len() - 1
    }

    /// Until nothing is left to do.
    pub fn settle(&mut self) {
        for _ in 0..CALLS_MAX {
            self.hear();
            if !self.parts.workers.step() {
                return;
            }
        }
        self.parts.seen.fault(format!("one step led to more than {CALLS_MAX} calls of handlers"));
    }

    /// Until kernels and clients are done, but for handlers.
    fn hear(&mut self) {
        loop {
            self.parts.kernels.settle();
            let line = self.parts.seen.line.load(Relaxed);
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
            if let Some(answer) = self.parts.kernels.answer(question.as_mut()) {
                self.settle();
                return Some(answer);
            }
            self.hear();
            if !self.parts.workers.step() {
                return self.parts.kernels.answer(question);
            }
        }
        None
    }

    pub fn now(&self) -> Millis {
        self.parts.clock.now().wall
    }

    /// The clock goes on to `until`; whatever is due meanwhile happens in its order.
    pub fn go_on(&mut self, until: Millis) {
        let mut fired = 0;
        loop {
            let timer = self.parts.workers.next_due().map(Mono::ms);
            let sweep = self.swept_at + SWEEP_MS;
            let deadline = self.parts.kernels.next_due();
            let next = [timer, deadline, Some(sweep)].into_iter().flatten().min().unwrap_or(until);
            if next > until {
                break;
            }
            // Nobody is connected and no timer waits: one sweep does what those of all the years until then would do.
            let next = if timer.is_none() && deadline.is_none() { until } else { next };
            self.parts.clock.go_on(next);
            if sweep <= self.now() {
                self.swept_at = self.now();
                self.parts.workers.sweep();
            }
            fired += self.parts.workers.fire_due();
            self.settle();
            if fired > FIRED_MAX {
                self.parts.seen.fault(format!("timers fired more than {FIRED_MAX} times; the clock stops"));
                break;
            }
        }
        self.parts.clock.go_on(until);
        self.settle();
    }
}
