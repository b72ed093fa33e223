//! A call that was taken: it ends exactly once, whatever happens to whoever holds it.

use super::handlers::Handler;
use crate::model::memory::{Account, Kind, Taken};
use crate::model::{AppId, Code, Refusal};
use crate::observe::{HandlerLimit, Metrics};
use crate::script::{Call, Finished, Process, Reply, Trigger};
use bytes::Bytes;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// Counts of apps.
const APPS: usize = 1_024;
/// Beside the bytes of its message, what a call that waits takes, about.
const CALL_BYTES: usize = 1_024;

/// What a call that waits holds. Data that was published is shared with its channel, and counted there.
fn held_bytes(call: &Call) -> usize {
    let event = &call.event;
    let data = match event.trigger {
        Trigger::Publish { .. } | Trigger::Published { .. } => 0,
        _ => event.data.len(),
    };
    let asker = event.asker.as_ref().and_then(|asker| asker.id.as_ref()).map_or(0, |id| id.get().len());
    CALL_BYTES + data + asker
}

/// How much was taken and has not ended, and whether more is taken.
pub(super) struct Load {
    calls_max: usize,
    bytes_max: usize,
    waiting: AtomicUsize,
    waiting_bytes: AtomicUsize,
    /// How many apps have handlers; and of each, the calls that wait. Apps whose numbers are alike there share a count.
    pub apps: AtomicUsize,
    by_app: [AtomicUsize; APPS],
    pending: AtomicUsize,
    stopping: AtomicBool,
    cancelled: AtomicBool,
    ended: Mutex<()>,
    all_ended: Condvar,
    metrics: Arc<Metrics>,
}

/// One of `Load::pending`, until it is dropped.
pub(super) struct Token(Arc<Load>);

impl Load {
    pub fn new(process: &Process, metrics: Arc<Metrics>) -> Arc<Load> {
        Arc::new(Load {
            calls_max: process.queue as usize,
            bytes_max: usize::try_from(process.queue_bytes.0).unwrap_or(usize::MAX),
            waiting: AtomicUsize::new(0),
            waiting_bytes: AtomicUsize::new(0),
            apps: AtomicUsize::new(0),
            by_app: std::array::from_fn(|_| AtomicUsize::new(0)),
            pending: AtomicUsize::new(0),
            stopping: AtomicBool::new(false),
            cancelled: AtomicBool::new(false),
            ended: Mutex::default(),
            all_ended: Condvar::new(),
            metrics,
        })
    }

    fn of_app(&self, app: AppId) -> &AtomicUsize {
        &self.by_app[app.0 as usize % APPS]
    }

    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    pub fn pending(&self) -> usize {
        self.pending.load(Ordering::SeqCst)
    }

    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::SeqCst)
    }

    /// What has not begun is answered without being run.
    pub fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Relaxed)
    }

    pub fn stop(&self) {
        self.stopping.store(true, Ordering::SeqCst);
    }

    pub fn cancel(&self) {
        self.cancelled.store(true, Ordering::Relaxed);
    }

    /// Counts first, asks then: whoever stops sees the count, or this sees the stop. `None`: nothing more is taken.
    pub fn token(self: &Arc<Load>) -> Option<Token> {
        self.pending.fetch_add(1, Ordering::SeqCst);
        let token = Token(self.clone());
        (!self.is_stopping()).then_some(token)
    }

    /// Whether all that was taken has ended within `wait`. After `stop`.
    pub fn wait(&self, wait: Duration) -> bool {
        let until = Instant::now() + wait;
        let mut guard = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        while self.pending() > 0 {
            let Some(left) = until.checked_duration_since(Instant::now()).filter(|d| !d.is_zero()) else {
                return false;
            };
            guard = self.all_ended.wait_timeout(guard, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }
}

impl Drop for Token {
    fn drop(&mut self) {
        let load = &self.0;
        if load.pending.fetch_sub(1, Ordering::SeqCst) == 1 && load.is_stopping() {
            // With the lock: whoever waits has either not looked yet, or is told.
            let _guard = load.ended.lock().unwrap_or_else(PoisonError::into_inner);
            load.all_ended.notify_all();
        }
    }
}

/// A call on its way. Dropped before its end, it answers `internal`.
pub(super) struct Job {
    call: Option<Call>,
    pub handler: Arc<Handler>,
    /// The timer that fired it.
    pub timer: Option<u64>,
    /// While it waits: the bytes counted against `queue_bytes`, and the app's memory.
    waits: Option<(usize, Taken)>,
    token: Option<Token>,
}

impl Job {
    /// Err: the bound that there is no room in; the call is given back.
    #[allow(clippy::result_large_err)] // it goes back to whoever made it, by value
    pub fn take(
        load: &Arc<Load>,
        call: Call,
        handler: Arc<Handler>,
        timer: Option<u64>,
        account: &Arc<Account>,
    ) -> Result<Box<Job>, (Call, HandlerLimit)> {
        let Some(token) = load.token() else { return Err((call, HandlerLimit::Queue)) };
        let (bytes, held) = (call.event.data.len(), held_bytes(&call));
        let app = load.of_app(call.app.id);
        let Some(taken) = account.reserve(Kind::Calls, held) else { return Err((call, HandlerLimit::Queue)) };
        let calls = load.waiting.fetch_add(1, Ordering::Relaxed);
        let of_app = app.fetch_add(1, Ordering::Relaxed);
        let before = load.waiting_bytes.fetch_add(bytes, Ordering::Relaxed);
        load.metrics.call_waits(1);
        let job = Job { call: Some(call), handler, timer, waits: Some((bytes, taken)), token: Some(token) };
        // Whatever its size, a message fits an empty queue: else it could never be handled. One app alone fills half
        // of the places, so that another finds one.
        let alone_max = if load.apps.load(Ordering::Relaxed) > 1 { load.calls_max.div_ceil(2) } else { usize::MAX };
        let is_full = calls >= load.calls_max || of_app >= alone_max;
        match is_full || (before > 0 && before + bytes > load.bytes_max) {
            true => Err((job.give_back(), HandlerLimit::Queue)),
            false => Ok(Box::new(job)),
        }
    }

    /// The call, as if it had never been taken.
    pub fn give_back(mut self) -> Call {
        self.begin();
        self.call.take().expect("a job that has not ended holds its call")
    }

    pub fn call(&self) -> &Call {
        self.call.as_ref().expect("a job that has not ended holds its call")
    }

    /// It no longer waits.
    pub fn begin(&mut self) {
        if let (Some((bytes, _)), Some(Token(load))) = (self.waits.take(), &self.token) {
            load.waiting.fetch_sub(1, Ordering::Relaxed);
            if let Some(call) = &self.call {
                load.of_app(call.app.id).fetch_sub(1, Ordering::Relaxed);
            }
            load.waiting_bytes.fetch_sub(bytes, Ordering::Relaxed);
            load.metrics.call_waits(-1);
        }
    }

    /// Counts as pending until this is dropped, rather than until it ends.
    pub fn stays_pending(&mut self) -> Option<Token> {
        self.begin();
        self.token.take()
    }

    /// Tells whoever waits for it. `value`: what the handler returned.
    pub fn end(
        &mut self,
        result: Result<Option<Bytes>, Refusal>,
        reply: Option<Reply>,
        recipients: Option<oneshot::Receiver<u32>>,
    ) {
        let Some(Call { mut event, then, .. }) = self.call.take() else { return };
        let result = result.map(|value| value.map(|value| event.data = value).is_some());
        let finished = Finished { event, result, reply, recipients };
        guarded("who waited for a handler", || then(finished));
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        self.begin();
        if self.call.is_some() {
            crate::observe::limited!(error, app = &*self.handler.app, handler = &*self.handler.name, "a call was lost");
            self.end(Err(Refusal::new(Code::Internal)), None, None);
        }
    }
}

/// Runs what others wrote: a panic of theirs ends that alone.
pub(super) fn guarded<T>(whose: &'static str, work: impl FnOnce() -> T) -> Option<T> {
    let made = catch_unwind(AssertUnwindSafe(work));
    if made.is_err() {
        tracing::error!("a panic of {whose}");
    }
    made.ok()
}
