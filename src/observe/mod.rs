//! What operators see: metrics, the last minutes, logs.
//!
//! Shards count in a `Local` of their own, plain integers, and flush it into the shared `Metrics` once a tick: the way
//! of a delivery touches no atomics. Serving `/metrics` is left to `api`, choosing what to log to the other rooms.
//!
//! In: counts, log settings. Out: Prometheus text, minutes as JSON, log lines on stderr.

mod allocator;
mod audit;
mod clock;
mod counts;
mod handlers;
mod labels;
mod limited;
mod log;
mod log_writer;
mod metrics;
mod names;
mod one_line;
mod own;
mod process;
mod recent;
mod refusals;
mod tasks;
mod webhooks;

pub use allocator::{Allocator, held_bytes, set_up_allocator};
pub use audit::{
    AuditSettings, Record, audit, audit_dropped, audit_join, audit_reload, audit_revocation, audits_publishes,
    finish_audit, start as start_audit, unaudited,
};
pub use clock::clock;
pub use counts::{Counts, Local};
pub use handlers::{HandlerMetrics, KindMetrics, TimerMetrics};
pub use labels::{AuthOutcome, CallResult, CloseReason, HandlerLimit, LimitName, RefusedFor, SlowAction, Via};
pub(crate) use limited::limited;
pub use limited::{Limited, store_failed};
pub use log::{Level, LogFormat, LogSettings, Logs};
pub use log_writer::finish_log;
pub use metrics::{AppMetrics, Metrics};
pub use names::LogNames;
pub use own::OWN_NAMES_MAX;
pub use process::{Memory, memory};
pub use recent::RECENT_MINUTES;
pub use refusals::{Refusals, RefusedUpgrade};
pub use tasks::Tasks;
pub use webhooks::{Delivery, WebhookMetrics};
