//! Tasks that the gateway cannot do without: one that ends by a mistake of Weir's own begins anew, is counted, and
//! while it is down `/readyz` says so.

use super::metrics::counters;
use prometheus::{IntCounterVec, Registry};
use std::any::Any;
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;

/// How long a task is down that failed for the first time; each time in a row twice as long, up to `PAUSE_MAX`.
const PAUSE: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// Which tasks are down, and why.
pub struct Tasks {
    restarts: IntCounterVec,
    down: Mutex<BTreeMap<String, String>>,
    /// The first one; tests have others.
    pause: Duration,
}

impl Tasks {
    pub(super) fn new(registry: &Registry) -> Tasks {
        let help = "Times that a task ended by a mistake of Weir's own and began anew.";
        let restarts = counters(registry, "weir_task_restarts_total", help, &["task"]);
        Tasks { restarts, down: Mutex::default(), pause: PAUSE }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, String>> {
        self.down.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn failed(&self, task: &str, why: &str) {
        tracing::error!(task, why, "a task ended by a mistake of Weir's own: it begins anew");
        self.restarts.with_label_values(&[task]).inc();
        self.lock().insert(task.to_owned(), why.to_owned());
    }

    fn runs(&self, task: &str) {
        self.lock().remove(task);
    }

    /// For people: `file watch: no space left`. Empty: all run.
    pub fn down(&self) -> Vec<String> {
        self.lock().iter().map(|(task, why)| format!("{task}: {why}")).collect()
    }

    /// Runs what `make` makes until it ends well, again and again. What it holds is dropped before it begins anew.
    pub async fn supervise<F>(self: Arc<Tasks>, task: String, mut make: impl FnMut() -> F)
    where
        F: Future<Output = Result<(), String>>,
    {
        let mut pause = self.pause;
        loop {
            let mut running = Box::pin(make());
            let ended = poll_fn(|context| match catch_unwind(AssertUnwindSafe(|| running.as_mut().poll(context))) {
                Ok(Poll::Pending) => Poll::Pending,
                Ok(Poll::Ready(ended)) => Poll::Ready(ended),
                Err(panic) => Poll::Ready(Err(text(&*panic))),
            });
            let Err(why) = ended.await else { return };
            drop(running);
            self.failed(&task, &why);
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSE_MAX);
            self.runs(&task);
        }
    }

    /// The same for a thread of its own.
    pub fn supervise_thread(&self, task: &str, mut work: impl FnMut()) {
        let mut pause = self.pause;
        while let Err(panic) = catch_unwind(AssertUnwindSafe(&mut work)) {
            self.failed(task, &text(&*panic));
            std::thread::sleep(pause);
            pause = (pause * 2).min(PAUSE_MAX);
            self.runs(task);
        }
    }
}

/// What a panic said.
fn text(panic: &(dyn Any + Send)) -> String {
    let said = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    said.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "a panic".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    fn tasks(pause: Duration) -> Arc<Tasks> {
        Arc::new(Tasks { pause, ..Tasks::new(&Registry::new()) })
    }

    #[tokio::test]
    async fn a_task_that_fails_begins_anew() {
        let (tasks, begun) = (tasks(Duration::ZERO), AtomicUsize::new(0));
        let make = || {
            let nth = begun.fetch_add(1, Ordering::Relaxed);
            assert_eq!(tasks.down(), [""; 0]);
            async move {
                tokio::task::yield_now().await;
                match nth {
                    0 => panic!("failed printing to stdout"),
                    1 => Err("no socket".to_owned()),
                    _ => Ok(()),
                }
            }
        };
        tasks.clone().supervise("files".into(), make).await;
        assert_eq!((begun.load(Ordering::Relaxed), tasks.down()), (3, Vec::new()));
        assert_eq!(tasks.restarts.with_label_values(&["files"]).get(), 2);
    }

    #[tokio::test]
    async fn a_task_is_told_while_it_is_down() {
        let tasks = tasks(Duration::from_secs(3600));
        let failing = tokio::spawn(tasks.clone().supervise("files".into(), || async { panic!("no {}", "disk") }));
        while tasks.down().is_empty() {
            tokio::task::yield_now().await;
        }
        assert_eq!(tasks.down(), ["files: no disk"]);
        failing.abort();
    }

    #[test]
    fn a_thread_that_panics_goes_on() {
        let tasks = tasks(Duration::ZERO);
        let mut left = 2;
        tasks.supervise_thread("timers", || {
            left -= 1;
            assert!(left == 0, "not yet");
        });
        assert_eq!((left, tasks.down()), (0, Vec::new()));
        assert_eq!(tasks.restarts.with_label_values(&["timers"]).get(), 1);
    }
}
