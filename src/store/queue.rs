//! The one writer: a bounded queue and the thread behind it, which takes all that waits and has it kept together.

use super::settings::Settings;
use super::write::{Done, StoreError, Write};
use crate::model::Millis;
use crate::observe::{limited, store_failed};
use std::collections::VecDeque;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

/// Transactions that are made durable together at most: it bounds how long the first of them waits for the last.
const GROUP_MAX: usize = 1_024;

/// What a driver does on the writer's thread.
pub(super) trait Apply: Send + 'static {
    /// Keeps transactions: one answer for each, in order. One that fails leaves no trace and takes no other with it.
    fn commit(&mut self, group: &[Vec<Write>]) -> Vec<Result<(), StoreError>>;
    /// Forgets some of what may be forgotten, and says how many; 0: there was no more.
    fn sweep(&mut self, now: Millis) -> Result<usize, StoreError>;
}

/// The writer's handle. Dropping it waits until all that was queued is kept.
pub(super) struct Writer {
    queue: Arc<Queue>,
    thread: Option<JoinHandle<()>>,
}

struct Queue {
    state: Mutex<State>,
    filled: Condvar,
    commits_max: usize,
    bytes_max: usize,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Job>,
    commits: usize,
    bytes: usize,
    /// No more will come.
    closed: bool,
    /// Nobody takes any more.
    ended: bool,
}

enum Job {
    Commit { writes: Vec<Write>, bytes: usize, done: Done },
    Sweep { now: Millis, answer: SyncSender<Result<usize, StoreError>> },
}

/// What the thread does next.
enum Work {
    Commits(Vec<Vec<Write>>, Vec<Done>),
    Sweep(Millis, SyncSender<Result<usize, StoreError>>),
}

impl Writer {
    /// Starts the thread; `apply` lives on it.
    pub fn start(settings: &Settings, apply: impl Apply) -> io::Result<Writer> {
        let queue = Arc::new(Queue {
            state: Mutex::default(),
            filled: Condvar::new(),
            commits_max: settings.queue as usize,
            bytes_max: usize::try_from(settings.queue_bytes.0).unwrap_or(usize::MAX),
        });
        let taken = queue.clone();
        let thread = std::thread::Builder::new().name("weir-store".into()).spawn(move || taken.run(apply))?;
        Ok(Writer { queue, thread: Some(thread) })
    }

    pub fn commit(&self, writes: Vec<Write>, done: Done) {
        if let Err((why, done)) = self.queue.push(writes, done) {
            done(Err(why));
        }
    }

    /// Piece by piece, so that commits that come meanwhile do not wait for all of it.
    pub fn sweep(&self, now: Millis) -> Result<usize, StoreError> {
        let mut forgotten = 0;
        loop {
            let (answer, answered) = sync_channel(1);
            self.queue.push_sweep(Job::Sweep { now, answer })?;
            match answered.recv().unwrap_or_else(|_| Err(ended()))? {
                0 => return Ok(forgotten),
                some => forgotten += some,
            }
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.queue.lock().closed = true;
        self.queue.filled.notify_one();
        // The last handle may go down inside a `done`: the thread cannot wait for itself.
        if let Some(thread) = self.thread.take().filter(|t| t.thread().id() != std::thread::current().id()) {
            let _ = thread.join();
        }
    }
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, writes: Vec<Write>, done: Done) -> Result<(), (StoreError, Done)> {
        let bytes = writes.iter().map(Write::bytes).sum::<usize>();
        let mut state = self.lock();
        if state.ended {
            return Err((ended(), done));
        }
        // Whatever its size, a transaction fits an empty queue: else it could never be kept.
        let too_large = state.commits > 0 && state.bytes.saturating_add(bytes) > self.bytes_max;
        if state.commits >= self.commits_max || too_large {
            return Err((StoreError::Busy, done));
        }
        state.commits += 1;
        state.bytes += bytes;
        state.waiting.push_back(Job::Commit { writes, bytes, done });
        drop(state);
        self.filled.notify_one();
        Ok(())
    }

    fn push_sweep(&self, job: Job) -> Result<(), StoreError> {
        let mut state = self.lock();
        if state.ended {
            return Err(ended());
        }
        state.waiting.push_back(job);
        drop(state);
        self.filled.notify_one();
        Ok(())
    }

    /// The transactions at the head, or one sweep; `None`: all is done, and no more will come.
    fn take(&self) -> Option<Work> {
        let mut state = self.lock();
        while state.waiting.is_empty() {
            if state.closed {
                return None;
            }
            state = self.filled.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        let (mut group, mut dones) = (Vec::new(), Vec::new());
        while group.len() < GROUP_MAX {
            match state.waiting.pop_front() {
                Some(Job::Commit { writes, bytes, done }) => {
                    state.commits -= 1;
                    state.bytes -= bytes;
                    group.push(writes);
                    dones.push(done);
                }
                Some(Job::Sweep { now, answer }) if group.is_empty() => return Some(Work::Sweep(now, answer)),
                Some(sweep) => {
                    state.waiting.push_front(sweep);
                    break;
                }
                None => break,
            }
        }
        Some(Work::Commits(group, dones))
    }

    fn run(&self, mut apply: impl Apply) {
        let _end = End(self);
        while let Some(work) = self.take() {
            match work {
                Work::Commits(group, dones) => {
                    let answers = guarded(|| apply.commit(&group)).unwrap_or_default();
                    log(&answers);
                    let mut answers = answers.into_iter();
                    for done in dones {
                        let answer = answers.next().unwrap_or_else(|| Err(panicked()));
                        let _ = guarded(|| done(answer));
                    }
                }
                Work::Sweep(now, answer) => {
                    // Nobody waits for the answer any more: nothing to tell.
                    let _ = answer.send(guarded(|| apply.sweep(now)).unwrap_or_else(|| Err(panicked())));
                }
            }
        }
    }
}

/// One line for a group, however many of it failed; a disk that stays full is told of once a second.
fn log(answers: &[Result<(), StoreError>]) {
    let failed = answers.iter().filter_map(|answer| answer.as_ref().err());
    store_failed(failed.clone().count() as u64);
    if let Some(why) = failed.clone().next() {
        limited!(error, transactions = failed.count(), %why, "not stored");
    }
}

/// When the thread ends, however it does, nobody waits for it in vain.
struct End<'a>(&'a Queue);

impl Drop for End<'_> {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.ended = true;
        let left = std::mem::take(&mut state.waiting);
        drop(state);
        for job in left {
            if let Job::Commit { done, .. } = job {
                let _ = guarded(|| done(Err(ended())));
            }
        }
    }
}

/// A panic ends one group or one `done`, never the writer.
fn guarded<T>(work: impl FnOnce() -> T) -> Option<T> {
    let made = catch_unwind(AssertUnwindSafe(work));
    if made.is_err() {
        tracing::error!("a panic in the store's writer");
    }
    made.ok()
}

fn ended() -> StoreError {
    StoreError::Broken("its writer has ended".into())
}

fn panicked() -> StoreError {
    StoreError::Broken("a mistake in the writer; see the log".into())
}
