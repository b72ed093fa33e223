//! Weir seen from outside: one binary, one link.
//!
//! `rooms` holds the order of `src/`. `fuzz` plays the seeds of the fuzz targets. `faults` holds what `weir check` says
//! against bad configurations. `transcripts` plays the conversations in `tests/transcripts/` with the real gateway.
//! `verbs` runs the operators' verbs as processes. `support` is what all stand on.

mod faults;
mod fuzz;
mod rooms;
mod support;
mod transcripts;
mod verbs;
