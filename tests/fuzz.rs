//! Plays the seeds of the fuzz targets (`tests/fuzz/run`) and what fuzzing once found: each with a stack as small as
//! a shard's.

mod play;

use std::fs;
use std::path::Path;
use std::thread;

/// A thread's stack, as Rust makes it.
const STACK_BYTES: usize = 2 << 20;

#[test]
fn every_seed_is_survived() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus");
    let mut played = 0;
    for (target, play) in play::TARGETS {
        let mut seeds: Vec<_> = fs::read_dir(corpus.join(target)).unwrap().map(|e| e.unwrap().path()).collect();
        seeds.sort();
        assert!(!seeds.is_empty(), "{target} has no seeds");
        for seed in &seeds {
            let input = fs::read(seed).unwrap();
            let thread = thread::Builder::new().name(format!("{target}/{}", seed.file_name().unwrap().display()));
            let outcome = thread.stack_size(STACK_BYTES).spawn(move || play(&input)).unwrap().join();
            assert!(outcome.is_ok(), "{} is not survived", seed.display());
        }
        played += seeds.len();
    }
    println!("fuzz: {played} seeds of {} targets", play::TARGETS.len());
}
