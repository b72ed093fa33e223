//! What the operating system is asked for.

use std::io::{self, Write};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// As many open files as allowed: each connection is one.
pub fn raise_open_files() {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: both calls read or write only the struct that they are given.
    unsafe {
        if libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) == 0 && limit.rlim_cur < limit.rlim_max {
            limit.rlim_cur = limit.rlim_max;
            libc::setrlimit(libc::RLIMIT_NOFILE, &limit);
        }
    }
}

/// A line for whoever started the process. Where nobody reads standard output any more, there is nobody to tell: a
/// terminal that closed must not end what serves clients, which `println!` would.
pub fn say(line: &str) {
    let _ = writeln!(io::stdout().lock(), "{line}");
}

/// As `say`, of what keeps the process from serving.
pub fn complain(line: &str) {
    let _ = writeln!(io::stderr().lock(), "{line}");
}

/// How far work on files steps back behind the shards, as `nice` counts it.
const NICE: i32 = 10;

/// Work that takes a core for a while, on a thread of its own behind all others: deliveries do not wait for it. `None`:
/// it ended by a mistake, or there was no thread.
pub async fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let (tell, told) = tokio::sync::oneshot::channel();
    let behind = move || {
        // SAFETY: concerns this thread alone, and what it starts; where it is refused, nothing has changed.
        unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, NICE) };
        let _ = tell.send(work());
    };
    std::thread::Builder::new().name("files".into()).spawn(behind).ok()?;
    told.await.ok()
}

/// Hears SIGTERM and SIGINT from the moment that it is made: before that, they end the process at once.
pub struct StopSignals(Option<(Signal, Signal)>);

impl StopSignals {
    pub fn new() -> StopSignals {
        StopSignals(signal(SignalKind::terminate()).ok().zip(signal(SignalKind::interrupt()).ok()))
    }

    /// Resolves at the next one.
    pub async fn asked(&mut self) {
        let Some((term, int)) = &mut self.0 else { return std::future::pending().await };
        tokio::select! {
            _ = term.recv() => {}
            _ = int.recv() => {}
        }
    }
}
