//! Two ways to the same result, measured turn by turn.

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

fn time<T>(work: &mut impl FnMut() -> T, calls: usize) -> f64 {
    let start = Instant::now();
    for _ in 0..calls {
        black_box(work());
    }
    start.elapsed().as_nanos() as f64 / calls as f64
}

fn median(mut turns: Vec<f64>) -> f64 {
    turns.sort_by(f64::total_cmp);
    turns[turns.len() / 2]
}
