//! Time series of handlers and of what they keep. Their labels are names out of files, never what a client sends.

use super::labels::{CallResult, HandlerLimit};
use super::metrics::{counters, forget, gauge, one};
use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
};
use std::time::Duration;

/// Families with the labels `app` and `handler`, or `app` and `kind`.
pub(super) struct Families {
    calls: IntCounterVec,
    duration: HistogramVec,
    operations: IntCounterVec,
    limits: IntCounterVec,
    breaker: IntGaugeVec,
    entities: IntGaugeVec,
    entity_bytes: IntGaugeVec,
    timers: IntGaugeVec,
    timers_dropped: IntCounterVec,
    pub queue: IntGauge,
}

/// Seconds, from an empty handler to one that reads and meets its deadline.
const BUCKETS: [f64; 11] = [0.000_01, 0.000_025, 0.000_05, 0.0001, 0.00025, 0.001, 0.005, 0.025, 0.1, 0.5, 2.5];

/// One handler's time series.
pub struct HandlerMetrics {
    calls: [IntCounter; CallResult::ALL.len()],
    /// Made as they are reached: most never are.
    limits: IntCounterVec,
    app: Box<str>,
    handler: Box<str>,
    duration: Histogram,
    operations: IntCounter,
    breaker: IntGauge,
}

/// Time series of one kind of entity.
pub struct KindMetrics {
    pub entities: IntGauge,
    pub bytes: IntGauge,
}

/// Time series of one app's timers.
#[derive(Clone)]
pub struct TimerMetrics {
    /// Armed now.
    pub armed: IntGauge,
    /// Those whose handler was gone when they fired.
    pub dropped: IntCounter,
}

impl Families {
    pub fn new(r: &Registry) -> Families {
        let of_handler = ["app", "handler"];
        let duration = HistogramOpts::new("weir_handler_duration_seconds", "From a call's begin to its end, unqueued.");
        let gauges = |name: &str, help: &str, labels: &[&str]| one(r, IntGaugeVec::new(Opts::new(name, help), labels));
        Families {
            calls: counters(r, "weir_handler_calls_total", "Calls of handlers.", &["app", "handler", "result"]),
            duration: one(r, HistogramVec::new(duration.buckets(BUCKETS.to_vec()), &of_handler)),
            operations: counters(r, "weir_handler_operations_total", "Operations of handlers' calls.", &of_handler),
            limits: counters(
                r,
                "weir_handler_limit_hits_total",
                "Times that a call reached a bound of [script].",
                &["app", "handler", "limit"],
            ),
            breaker: gauges("weir_handler_breaker_open", "Whether faults switched a handler off: 1 or 0.", &of_handler),
            entities: gauges("weir_entities", "Entities in memory.", &["app", "kind"]),
            entity_bytes: gauges("weir_entity_bytes", "Bytes of their state.", &["app", "kind"]),
            timers: gauges("weir_timers", "Timers that are armed.", &["app"]),
            timers_dropped: counters(
                r,
                "weir_timers_dropped_total",
                "Timers whose handler was gone when they were due.",
                &["app"],
            ),
            queue: gauge(r, "weir_handler_queue", "Calls that wait for a worker or their entity."),
        }
    }

    pub fn forget(&self, app: &str) {
        let counters = [&self.calls, &self.operations, &self.limits, &self.timers_dropped];
        counters.into_iter().for_each(|family| forget(family, app));
        let gauges = [&self.breaker, &self.entities, &self.entity_bytes, &self.timers];
        gauges.into_iter().for_each(|family| forget(family, app));
        forget(&self.duration, app);
    }

    pub fn handler(&self, app: &str, handler: &str) -> HandlerMetrics {
        let of = |family: &IntCounterVec, value: &str| family.with_label_values(&[app, handler, value]);
        HandlerMetrics {
            calls: CallResult::ALL.map(|r| of(&self.calls, r.as_str())),
            limits: self.limits.clone(),
            app: app.into(),
            handler: handler.into(),
            duration: self.duration.with_label_values(&[app, handler]),
            operations: self.operations.with_label_values(&[app, handler]),
            breaker: self.breaker.with_label_values(&[app, handler]),
        }
    }

    pub fn kind(&self, app: &str, kind: &str) -> KindMetrics {
        KindMetrics {
            entities: self.entities.with_label_values(&[app, kind]),
            bytes: self.entity_bytes.with_label_values(&[app, kind]),
        }
    }

    pub fn timers(&self, app: &str) -> TimerMetrics {
        TimerMetrics {
            armed: self.timers.with_label_values(&[app]),
            dropped: self.timers_dropped.with_label_values(&[app]),
        }
    }
}

impl HandlerMetrics {
    pub fn called(&self, result: CallResult) {
        self.calls[result as usize].inc();
    }

    /// It ran, and came to an end.
    pub fn ran(&self, took: Duration, operations: u64) {
        self.duration.observe(took.as_secs_f64());
        self.operations.inc_by(operations);
    }

    pub fn limit(&self, limit: HandlerLimit) {
        self.limits.with_label_values(&[&*self.app, &*self.handler, limit.as_str()]).inc();
    }

    pub fn breaker(&self, is_open: bool) {
        self.breaker.set(is_open as i64);
    }
}
