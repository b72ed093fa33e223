//! Two ways to the same result, measured turn by turn, in time of the processor: others may be busy on this machine.

use std::hint::black_box;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// Turns of each; the median counts.
const TURNS: usize = 7;
const TURN: Duration = Duration::from_millis(20);

static QUICK: AtomicBool = AtomicBool::new(false);

pub fn set_quick(quick: bool) {
    QUICK.store(quick, Relaxed);
}

/// Prints a line: nanoseconds of one of the `operations` that a call does, of the least, and their ratio.
pub fn race<A, B>(name: &str, operations: usize, mut weir: impl FnMut() -> A, mut least: impl FnMut() -> B) {
    let (weir_calls, least_calls) = (calls(&mut weir), calls(&mut least));
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..TURNS {
        ours.push(time(&mut weir, weir_calls));
        theirs.push(time(&mut least, least_calls));
    }
    let [ours, theirs] = [ours, theirs].map(|turns| median(turns) / operations as f64);
    println!("{name:<58}{ours:>10.1}{theirs:>10.1}{:>8.2}", ours / theirs);
}

/// How many calls fill a turn.
fn calls<T>(work: &mut impl FnMut() -> T) -> usize {
    let (start, mut calls) = (Instant::now(), 0);
    while start.elapsed() < TURN && !(QUICK.load(Relaxed) && calls > 0) {
        black_box(work());
        calls += 1;
    }
    calls
}

/// Nanoseconds of a call.
fn time<T>(work: &mut impl FnMut() -> T, calls: usize) -> f64 {
    let start = processor_ns();
    for _ in 0..calls {
        black_box(work());
    }
    (processor_ns() - start) as f64 / calls as f64
}

/// What this thread has used (POSIX `CLOCK_THREAD_CPUTIME_ID`).
fn processor_ns() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

fn median(mut turns: Vec<f64>) -> f64 {
    turns.sort_by(f64::total_cmp);
    turns[turns.len() / 2]
}
