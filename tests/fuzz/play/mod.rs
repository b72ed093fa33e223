//! Bytes that anybody may send, and what must hold whatever they are. `targets/` hands in what libFuzzer invents,
//! `tests/fuzz.rs` the seeds in `corpus/`.

pub mod config;
pub mod dialect;
pub mod frames;
pub mod rules;
pub mod tokens;

/// Plays one input; panics where something does not hold.
pub type Play = fn(&[u8]);

/// Every target, by the name of its folder in `corpus/`.
pub const TARGETS: [(&str, Play); 5] = [
    ("config", config::play),
    ("dialect", dialect::play),
    ("frames", frames::play),
    ("rules", rules::play),
    ("tokens", tokens::play),
];
