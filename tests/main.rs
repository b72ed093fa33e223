//! Weir seen from outside: one binary, one link.
//!
//! `attacks` sends what nobody should. `rooms` holds the order of `src/`. `fuzz` plays the seeds of the fuzz targets. `faults` holds what `weir check` says
//! against bad configurations. `transcripts` plays the conversations in `tests/transcripts/` with the real gateway.
//! `verbs` runs the operators' verbs as processes. `reload` changes files under a running one, `plan` asks what others
//! would change, `promises` holds the two together, `newcomers` come while that goes on, `audit` reads who did what. `rehearse` plays the tests of plugins,
//! `reports` is a back end that is told by webhook,
//! `simulation` plays whole gateways from seeds, `handbook` the examples of plugins/README.md.
//! `outputs` puts things in the way of what the process writes.
//! `support` is what they stand on.

mod attacks;
mod audit;
mod faults;
mod fuzz;
mod handbook;
mod newcomers;
mod outputs;
mod plan;
mod promises;
mod rehearse;
mod reload;
mod reports;
mod rooms;
mod simulation;
mod support;
mod transcripts;
mod verbs;
