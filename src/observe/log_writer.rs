//! The way of log lines out of the process: nobody who logs waits for whoever reads.
//!
//! A line goes into a bounded queue; one thread writes it. Where the reader of stderr hangs (a full pipe, a stuck log
//! shipper) or is gone, or the disk is full, lines that find no room are dropped and counted; a line tells how many once
//! it goes on.
//!
//! In: whole lines. Out: bytes on stderr, the number of lines dropped.

use super::log::LogFormat;
use crate::model::iso8601;
use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::mem::ManuallyDrop;
use std::os::fd::{AsRawFd, FromRawFd};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

/// Of one write: lines that wait together are written together.
const WRITE_BYTES: usize = 64 << 10;
/// What a line takes beside its text, about.
const LINE_BYTES: usize = 64;
/// How long a process that ends waits for its last lines.
pub(super) const FLUSH_WAIT: Duration = Duration::from_secs(2);

/// The queue of the process's log, once it has been started.
static PROCESS: OnceLock<Arc<LogQueue>> = OnceLock::new();

/// Lines on their way to one file descriptor.
pub(super) struct LogQueue {
    state: Mutex<State>,
    /// Something is there to be written, or the last line was.
    changed: Condvar,
    bytes_max: usize,
    format: LogFormat,
}

#[derive(Default)]
struct State {
    lines: VecDeque<Vec<u8>>,
    bytes: usize,
    /// Lines taken by the writer and not yet written.
    writing: bool,
    /// A part of a line was written before an error: the next begins on a line of its own.
    torn: bool,
    /// The last write failed: the next attempt waits for a line.
    failing: bool,
    dropped: u64,
    /// How many of them a line has told of.
    told: u64,
}

impl LogQueue {
    pub fn new(bytes_max: usize, format: LogFormat) -> Arc<LogQueue> {
        Arc::new(LogQueue { state: Mutex::default(), changed: Condvar::new(), bytes_max, format })
    }

    /// Starts the thread that writes what the queue holds to stderr. Err: there is no thread.
    pub fn start(self: &Arc<LogQueue>) -> io::Result<()> {
        let queue = self.clone();
        std::thread::Builder::new().name("weir-log".into()).spawn(move || {
            // Not `io::Stderr`: its lock would be held through a write that hangs, and a `panic!` would wait for it.
            // SAFETY: stderr stays open as long as the process; `ManuallyDrop` never closes it.
            let mut stderr = ManuallyDrop::new(unsafe { File::from_raw_fd(libc::STDERR_FILENO) });
            loop {
                queue.write_some(&mut Waiting(&mut stderr));
            }
        })?;
        let _ = PROCESS.set(self.clone());
        Ok(())
    }

    /// Takes a line, or drops and counts it. Never waits for a write: the lock is held for a move of a few words.
    pub fn push(&self, line: Vec<u8>) {
        let mut state = self.lock();
        let bytes = line.len() + LINE_BYTES;
        // Whatever its size, a line fits an empty queue: else it could never be written.
        if state.bytes > 0 && state.bytes.saturating_add(bytes) > self.bytes_max {
            state.dropped += 1;
        } else {
            state.bytes += bytes;
            state.lines.push_back(line);
        }
        drop(state);
        self.changed.notify_all();
    }

    /// One turn of the writer: waits for lines, and writes them, those that wait together in one write. A line counts
    /// against the bound until it is written: what hangs in the write is memory, too.
    fn write_some(&self, out: &mut impl Write) {
        let mut state = self.lock();
        while state.is_quiet() {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        let lines = std::mem::take(&mut state.lines);
        state.writing = true;
        drop(state);
        let mut lines = lines.into_iter().peekable();
        let (mut together, mut ends) = (Vec::new(), Vec::new());
        while lines.peek().is_some() {
            together.clear();
            ends.clear();
            while let Some(line) = lines.next_if(|line| together.len() + line.len() <= WRITE_BYTES || ends.is_empty()) {
                together.extend_from_slice(&line);
                ends.push(together.len());
            }
            let told = self.tell_dropped(out);
            let written = if told.is_ok() { write_all(out, &together) } else { Err(0) };
            let whole = written.map_or_else(|bytes| ends.iter().filter(|end| **end <= bytes).count(), |()| ends.len());
            let begun = written.err().filter(|bytes| *bytes > 0 && !ends.contains(bytes)).is_some();
            let mut state = self.lock();
            state.bytes = state.bytes.saturating_sub(together.len() + ends.len() * LINE_BYTES);
            state.dropped += (ends.len() - whole) as u64;
            state.failing = written.is_err();
            state.torn |= begun || told.is_err_and(|bytes| bytes > 0);
        }
        let told = self.tell_dropped(out);
        let mut state = self.lock();
        state.failing = told.is_err();
        state.torn |= told.is_err_and(|bytes| bytes > 0);
        state.writing = false;
        drop(state);
        self.changed.notify_all();
    }

    /// Says how many lines are missing since it was told last. Err: it cannot be written; how much of it was.
    fn tell_dropped(&self, out: &mut impl Write) -> Result<(), usize> {
        let (dropped, told, torn) = {
            let state = self.lock();
            (state.dropped, state.told, state.torn)
        };
        if dropped == told {
            return Ok(());
        }
        let (at, lines) = (iso8601(super::clock().wall), dropped - told);
        let message = "lines of the log were dropped: they were not taken in time";
        let line = match self.format {
            LogFormat::Text => format!("{at}  WARN {message} lines={lines}\n"),
            LogFormat::Json => {
                format!(
                    "{}\n",
                    serde_json::json!({ "timestamp": at, "level": "WARN", "message": message, "lines": lines })
                )
            }
        };
        let line = if torn { format!("\n{line}") } else { line };
        write_all(out, line.as_bytes())?;
        let mut state = self.lock();
        (state.told, state.torn) = (dropped, false);
        Ok(())
    }

    pub fn dropped(&self) -> u64 {
        self.lock().dropped
    }

    /// Waits until all lines are written, `patience` at most.
    fn flush(&self, patience: Duration) {
        let until = Instant::now() + patience;
        let mut state = self.lock();
        while state.writing || !state.is_quiet() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Nothing is to be written, lines that are missing included.
    fn is_quiet(&self) -> bool {
        self.lines.is_empty() && (self.dropped == self.told || self.failing)
    }
}

/// How many lines of the process's log were dropped.
pub(super) fn log_dropped() -> u64 {
    PROCESS.get().map_or(0, |queue| queue.dropped())
}

/// Waits until what was logged is written, within a bound; at the end of a process.
pub fn finish_log() {
    if let Some(queue) = PROCESS.get() {
        queue.flush(FLUSH_WAIT);
    }
}

/// Err: how much of it was written.
fn write_all(out: &mut impl Write, bytes: &[u8]) -> Result<(), usize> {
    let mut written = 0;
    while written < bytes.len() {
        match out.write(&bytes[written..]) {
            Ok(0) => return Err(written),
            Ok(n) => written += n,
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(_) => return Err(written),
        }
    }
    Ok(())
}

/// Whoever shares the terminal or the pipe may have made it non-blocking: this thread waits all the same.
struct Waiting<'a>(&'a mut File);

impl Write for Waiting<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            match self.0.write(bytes) {
                Err(e) if e.kind() == ErrorKind::WouldBlock => {
                    let mut ready = libc::pollfd { fd: self.0.as_raw_fd(), events: libc::POLLOUT, revents: 0 };
                    // SAFETY: one entry, which lives through the call.
                    unsafe { libc::poll(&mut ready, 1, -1) };
                }
                result => return result,
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What `tracing` writes one event to: it hands over whole lines.
pub(super) struct LineWriter(pub Arc<LogQueue>);

impl Write for LineWriter {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.push(line.to_vec());
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes so many bytes, then fails until it is given more.
    struct Disk {
        text: Vec<u8>,
        room: usize,
    }

    impl Write for Disk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if self.room == 0 {
                return Err(ErrorKind::StorageFull.into());
            }
            let n = bytes.len().min(self.room);
            self.room -= n;
            self.text.extend_from_slice(&bytes[..n]);
            Ok(n)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn what_finds_no_room_is_counted_and_told_once() {
        let queue = LogQueue::new(2 * (LINE_BYTES + 2), LogFormat::Text);
        for line in ["1\n", "2\n", "3\n", "4\n"] {
            queue.push(line.into());
        }
        assert_eq!(queue.dropped(), 2);
        let mut disk = Disk { text: Vec::new(), room: usize::MAX };
        queue.write_some(&mut disk);
        queue.push("5\n".into());
        queue.write_some(&mut disk);
        let text = String::from_utf8(disk.text).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert!(
            lines[0].ends_with(" WARN lines of the log were dropped: they were not taken in time lines=2"),
            "{text}"
        );
        assert_eq!(lines[1..], ["1", "2", "5"]);
    }

    #[test]
    fn a_full_disk_tears_no_line_into_the_next() {
        let queue = LogQueue::new(1_000, LogFormat::Json);
        let mut disk = Disk { text: Vec::new(), room: 6 };
        queue.push("first\n".into());
        queue.push("second\n".into());
        queue.write_some(&mut disk);
        assert_eq!((queue.dropped(), queue.lock().bytes), (1, 0));
        assert!(queue.lock().is_quiet(), "it does not try again and again");
        disk.room = 3;
        queue.push("third\n".into());
        queue.write_some(&mut disk);
        disk.room = usize::MAX;
        queue.push("fourth\n".into());
        queue.write_some(&mut disk);
        let text = String::from_utf8(disk.text).unwrap();
        let whole: Vec<&str> = text.lines().filter(|l| l.starts_with('f')).collect();
        assert_eq!(whole, ["first", "fourth"], "{text}");
        assert!(text.contains(r#""lines":2"#) && queue.dropped() == 2, "{text}");
        // Of lines that are written together, those are dropped that were not whole.
        (disk.text, disk.room) = (Vec::new(), 8);
        ["a\n", "b\n", "cdefgh\n", "i\n"].into_iter().for_each(|line| queue.push(line.into()));
        queue.write_some(&mut disk);
        disk.room = usize::MAX;
        queue.push("last\n".into());
        queue.write_some(&mut disk);
        let text = String::from_utf8(disk.text).unwrap();
        assert!(text.starts_with("a\nb\ncdef\n{") && text.ends_with("\nlast\n"), "{text}");
        assert!(text.contains(r#""lines":2"#) && queue.dropped() == 4 && queue.lock().bytes == 0, "{text}");
    }

    #[test]
    fn a_writer_that_hangs_holds_up_nobody_who_logs_or_ends() {
        let queue = LogQueue::new(10_000, LogFormat::Text);
        queue.push("hangs\n".into());
        queue.lock().writing = true;
        (0..1_000).for_each(|_| queue.push("more\n".into()));
        queue.flush(Duration::from_millis(1));
        assert!(queue.dropped() > 800 && queue.lock().bytes <= 10_000);
    }
}
