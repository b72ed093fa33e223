//! Kernels in one thread, driven by hand: each has one inbox, filled at the time of sending, as a shard's mailbox is.

use super::clock::Clock;
use super::pipe::{Pipe, Pipes};
use crate::flow::{App, Generation, KeptRequest};
use crate::kernel::{Inbox, Input, Kernel, Later, Newcomer, Port, Shared};
use crate::model::{Identity, LimitKind, Refusal};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr};
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

/// Where the clients of plugins' tests come from.
pub(super) const IP: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
/// Inputs or writes of one turn: all.
const ALL: usize = 1 << 20;
/// Turns that one step may take; beyond, something goes on for ever.
const TURNS_MAX: usize = 100_000;

pub(super) struct Kernels {
    pub port: Port,
    clock: Arc<Clock>,
    all: Vec<One>,
}

/// A client that comes.
pub(super) struct Arrival {
    pub listener: u16,
    pub endpoint: u16,
    /// `None`: a token is to follow.
    pub identity: Option<Arc<Identity>>,
    pub request: Option<KeptRequest>,
    /// Of which its id is made.
    pub chance: u128,
    pub ip: IpAddr,
    /// Connections from there, at most.
    pub per_ip: u32,
}

struct One {
    kernel: RefCell<Kernel<Pipes>>,
    pipes: Pipes,
    inbox: Arc<Letters>,
    waiting: RefCell<Vec<Later>>,
}

#[derive(Default)]
struct Letters(Mutex<VecDeque<Input>>);

impl Letters {
    fn take(&self) -> Option<Input> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }
}

impl Inbox for Letters {
    fn put(&self, input: Input) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push_back(input);
    }

    fn is_full(&self) -> bool {
        false
    }

    fn is_congested(&self) -> bool {
        false
    }
}

impl Kernels {
    pub fn new(generation: &Arc<Generation>, shared: &Arc<Shared>, clock: Arc<Clock>) -> Kernels {
        let inboxes: Vec<Arc<Letters>> = (0..shared.shards()).map(|_| Arc::default()).collect();
        shared.set_inboxes(inboxes.iter().map(|inbox| inbox.clone() as Arc<dyn Inbox>).collect());
        let all = inboxes.into_iter().enumerate().map(|(me, inbox)| {
            let pipes = Pipes::default();
            let (number, epoch) = (me as u16, me as u32 + 1);
            let kernel = Kernel::new(number, generation.clone(), shared.clone(), clock.now(), epoch, pipes.clone());
            One { kernel: RefCell::new(kernel), pipes, inbox, waiting: RefCell::default() }
        });
        Kernels { port: Port::new(shared.clone()), all: all.collect(), clock }
    }

    /// A client's handshake with this kernel is done. Where it has no place it is told so and closed.
    pub fn connect(&self, kernel: usize, app: &App, arrival: Arrival) -> Result<Pipe, String> {
        let Arrival { listener, endpoint, identity, request, chance, ip, per_ip } = arrival;
        let counts = &self.port.shared().connections;
        let mut seat = counts.reserve(ip, u32::MAX, per_ip).map_err(|full| format!("no place: {full:?}"))?;
        let close_at_once = seat.admit(app, identity.as_deref()).err().map(|(_, close)| close);
        let newcomer = Newcomer {
            leftover: Default::default(),
            app: app.id,
            endpoint,
            endpoint_key: app.endpoint(endpoint).map(|e| e.key.clone()).unwrap_or_default(),
            listener,
            identity,
            refusal: close_at_once.is_some().then(|| Refusal::limit(LimitKind::Connections)),
            close_at_once,
            deflate: None,
            ip,
            user_agent: Some("weir test".into()),
            request: request.map(Box::new),
            seat,
        };
        Ok(self.open(kernel, newcomer, chance))
    }

    /// Somebody who was let in is this kernel's from now on.
    pub fn open(&self, kernel: usize, newcomer: Newcomer, chance: u128) -> Pipe {
        let pipe = Pipe::default();
        let mut kernel = self.all[kernel].kernel.borrow_mut();
        kernel.begin_turn(self.clock.now());
        kernel.open(pipe.clone(), newcomer, chance);
        pipe
    }

    pub fn len(&self) -> usize {
        self.all.len()
    }

    /// One turn of one kernel, which takes up `inputs` at most and makes `writes` at most. Whether anything happened.
    pub fn turn(&self, number: usize, inputs: usize, writes: usize) -> bool {
        self.all[number].turn(&self.clock, inputs, writes)
    }

    /// Connections that are there, those included that are on their way out.
    pub fn connections(&self) -> usize {
        self.all.iter().map(|one| one.kernel.borrow().connections()).sum()
    }

    /// Until nothing is left to do for them. Handlers are not called meanwhile.
    pub fn settle(&self) {
        for _ in 0..TURNS_MAX {
            let busy: Vec<bool> = self.all.iter().map(|one| one.turn(&self.clock, ALL, ALL)).collect();
            if !busy.contains(&true) {
                return;
            }
        }
        panic!("kernels do not come to rest");
    }

    /// The time of the next deadline of theirs, from now on; `None`: nobody is connected.
    pub fn next_due(&self) -> Option<u64> {
        let used = self.all.iter().map(|one| one.kernel.borrow()).filter(|kernel| kernel.connections() > 0);
        used.map(|kernel| kernel.wakes_at().ms()).min()
    }

    /// Waits for an answer of theirs. `None`: it waits for something else.
    pub fn answer<T>(&self, question: impl Future<Output = T>) -> Option<T> {
        let mut question = pin!(question);
        let mut context = Context::from_waker(Waker::noop());
        if let Poll::Ready(answer) = question.as_mut().poll(&mut context) {
            return Some(answer);
        }
        self.settle();
        match question.poll(&mut context) {
            Poll::Ready(answer) => Some(answer),
            Poll::Pending => None,
        }
    }
}

impl One {
    /// Returns whether anything happened.
    fn turn(&self, clock: &Clock, inputs: usize, writes: usize) -> bool {
        let mut kernel = self.kernel.borrow_mut();
        kernel.begin_turn(clock.now());
        let mut busy = self.bring();
        for input in std::iter::from_fn(|| self.inbox.take()).take(inputs) {
            kernel.input(input);
            busy = true;
        }
        busy |= kernel.review_some();
        for (slot, news) in self.pipes.news() {
            if news.writable {
                kernel.writable(slot);
            }
            if let Some(ended) = news.readable {
                kernel.readable(slot, ended);
            }
            busy = true;
        }
        busy |= kernel.read_on();
        busy |= kernel.end_turn();
        match writes {
            ALL => while kernel.flush_some(ALL) {},
            _ => drop(kernel.flush_some(writes)),
        }
        busy
    }

    /// What was waited for and is here now.
    fn bring(&self) -> bool {
        let mut waiting = self.waiting.borrow_mut();
        waiting.append(&mut self.pipes.later());
        let before = waiting.len();
        waiting.retain_mut(|later| match later.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Pending => true,
            Poll::Ready(input) => {
                self.inbox.put(input);
                false
            }
        });
        waiting.len() < before
    }
}
