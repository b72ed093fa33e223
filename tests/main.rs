//! Weir seen from outside: one binary, one link.
//!
//! `rooms` holds the order of `src/`. `transcripts` plays the conversations in `tests/transcripts/` with the real
//! gateway. `support` is what both stand on.

mod rooms;
mod support;
mod transcripts;
