//! What the operating system knows of this process.

use super::metrics::{gauge, one};
use prometheus::{Counter, Gauge, IntGauge, Registry};
use std::fs;
use std::sync::Mutex;

/// Figures by the names of Prometheus's client libraries; read when asked for. Nothing where there is no `/proc`.
pub(super) struct Process {
    resident: IntGauge,
    virtual_memory: IntGauge,
    open_fds: IntGauge,
    max_fds: IntGauge,
    threads: IntGauge,
    cpu: Counter,
    cpu_told: Mutex<f64>,
}

/// Bytes in use.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Memory {
    pub resident: u64,
    /// Of it, backed by files: code and what is shared with other processes.
    pub shared: u64,
    pub virtual_memory: u64,
}

/// From `/proc/self/statm`; zeros where there is none.
pub fn memory() -> Memory {
    let text = fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: Vec<u64> = text.split_ascii_whitespace().map(|n| n.parse().unwrap_or(0)).collect();
    let bytes = |at: usize| pages.get(at).copied().unwrap_or(0) * page_bytes();
    Memory { resident: bytes(1), shared: bytes(2), virtual_memory: bytes(0) }
}

fn page_bytes() -> u64 {
    // SAFETY: reads a constant of the system.
    u64::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap_or(4096)
}

fn ticks_per_second() -> f64 {
    // SAFETY: reads a constant of the system.
    unsafe { libc::sysconf(libc::_SC_CLK_TCK) as f64 }
}

/// `utime`, `stime`, `num_threads` and `starttime` of `/proc/self/stat` (proc(5)), in ticks.
fn stat() -> Option<[u64; 4]> {
    let text = fs::read_to_string("/proc/self/stat").ok()?;
    // The second field is the program's name, in brackets, and may hold anything.
    let fields: Vec<&str> = text.rsplit_once(')')?.1.split_ascii_whitespace().collect();
    let field = |n: usize| fields.get(n - 3)?.parse().ok();
    Some([field(14)?, field(15)?, field(20)?, field(22)?])
}

fn started_at() -> Option<f64> {
    let text = fs::read_to_string("/proc/stat").ok()?;
    let boot: f64 = text.lines().find_map(|l| l.strip_prefix("btime "))?.trim().parse().ok()?;
    Some(boot + stat()?[3] as f64 / ticks_per_second())
}

impl Process {
    pub fn new(r: &Registry) -> Process {
        let start = one(r, Gauge::new("process_start_time_seconds", "Start of the process, in seconds since 1970."));
        start.set(started_at().unwrap_or_default());
        Process {
            resident: gauge(r, "process_resident_memory_bytes", "Resident memory."),
            virtual_memory: gauge(r, "process_virtual_memory_bytes", "Virtual memory."),
            open_fds: gauge(r, "process_open_fds", "Open file descriptors."),
            max_fds: gauge(r, "process_max_fds", "Most file descriptors that may be open."),
            threads: gauge(r, "process_threads", "Threads."),
            cpu: one(r, Counter::new("process_cpu_seconds_total", "Processor time of user and system.")),
            cpu_told: Mutex::default(),
        }
    }

    pub fn read(&self) {
        let memory = memory();
        self.resident.set(memory.resident as i64);
        self.virtual_memory.set(memory.virtual_memory as i64);
        // Less the one that this listing itself opens.
        self.open_fds.set(fs::read_dir("/proc/self/fd").map_or(0, |d| d.count() as i64 - 1));
        let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        // SAFETY: fills the struct that it is handed.
        if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) } == 0 {
            self.max_fds.set(i64::try_from(limit.rlim_cur).unwrap_or(i64::MAX));
        }
        if let Some([user, system, threads, _]) = stat() {
            self.threads.set(threads as i64);
            let mut told = self.cpu_told.lock().unwrap_or_else(|e| e.into_inner());
            let cpu = (user + system) as f64 / ticks_per_second();
            self.cpu.inc_by((cpu - *told).max(0.0));
            *told = cpu;
        }
    }
}
