//! The workers over real plugins: in a world whose clock and gates are the test's.

mod bounds;
mod calls;
mod rig;
mod stored;
mod stress;
mod timers;
mod world;
