//! Weir seen from outside: one binary, one link.
//!
//! `rooms` holds the order of `src/`. `faults` holds what `weir check` says against bad
//! configurations. `transcripts` plays the conversations in `tests/transcripts/` with the real gateway. `verbs` runs the
//! operators' verbs as processes. `support` is what both stand on.

mod faults;
mod rooms;
mod support;
mod transcripts;
mod verbs;
