//! The process's metrics, in Prometheus's terms: names, units and labels by its naming conventions.

use super::audit::audit_dropped;
use super::counts::{Counts, add};
use super::handlers::{self, HandlerMetrics, KindMetrics, TimerMetrics};
use super::labels::{AuthOutcome, CloseReason, LimitName, SlowAction, Via};
use super::limited::store_failures;
use super::log_writer::log_dropped;
use super::own::Own;
use super::process::Process;
use super::recent::Recent;
use super::refusals::Refusals;
use super::tasks::Tasks;
use super::webhooks::Webhooks;
use crate::model::memory::{Kind, Memory};
use crate::model::{AppId, Code, Millis, Mono, Now, Traffic};
use prometheus::core::Collector;
use prometheus::{
    GaugeVec, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, RwLock};
use std::time::{Duration, Instant};

/// All metrics of the process; one `Arc` of it is handed round.
pub struct Metrics {
    registry: Registry,
    process: Process,
    started: Instant,
    pub(super) bytes_received: IntCounter,
    pub(super) bytes_sent: IntCounter,
    pub(super) queue_bytes: IntGauge,
    pub(super) history_bytes: IntGauge,
    memory_bytes: IntGaugeVec,
    memory_refused: IntCounterVec,
    /// The process's budget: what it holds is told with the metrics.
    pub memory: Arc<Memory>,
    uptime: prometheus::Gauge,
    audit_dropped: IntCounter,
    log_dropped: IntCounter,
    store_failures: IntCounter,
    limit_hits: IntCounterVec,
    pub refusals: Refusals,
    http_requests: IntCounterVec,
    http_duration: HistogramVec,
    reload_successful: IntGauge,
    reload_at: prometheus::Gauge,
    generation: IntGauge,
    certificates: GaugeVec,
    /// Tasks that the gateway cannot do without.
    pub tasks: Arc<Tasks>,
    reloads: IntCounterVec,
    revoked: IntCounter,
    /// What apps' handlers count.
    pub own: Own,
    families: Families,
    pub(super) webhooks: Webhooks,
    handlers: handlers::Families,
    apps: RwLock<Vec<Option<Arc<AppMetrics>>>>,
}

/// Families with the label `app`.
struct Families {
    connections: IntGaugeVec,
    opened: IntCounterVec,
    closed: IntCounterVec,
    messages: IntCounterVec,
    deliveries: IntCounterVec,
    publishes: IntCounterVec,
    refusals: IntCounterVec,
    subscriptions: IntGaugeVec,
    channels: IntGaugeVec,
    slow: IntCounterVec,
    auth: IntCounterVec,
}

/// One app's time series, and its last minutes.
pub struct AppMetrics {
    pub(super) subscriptions: IntGauge,
    pub(super) channels: IntGauge,
    connections: IntGauge,
    opened: IntCounter,
    closed: Vec<IntCounter>,
    messages: IntCounter,
    deliveries: IntCounter,
    publishes: Vec<IntCounter>,
    refusals: Vec<IntCounter>,
    slow: Vec<IntCounter>,
    auth: Vec<IntCounter>,
    recent: Mutex<Recent>,
}

/// Methods that have a label of their own; all others count as `other`.
const METHODS: [&str; 7] = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"];
/// What comes of reading the files again.
const RELOADS: [&str; 3] = ["success", "unchanged", "fault"];
/// Seconds, from a memory look-up to a slow client.
const BUCKETS: [f64; 11] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 5.0];

impl Metrics {
    pub fn new() -> Arc<Metrics> {
        let registry = Registry::new();
        let r = &registry;
        let build = GaugeVec::new(Opts::new("weir_build_info", "The running build; always 1."), &["version"]);
        one(r, build).with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1.0);
        let duration = HistogramOpts::new("weir_http_request_duration_seconds", "From a request's body to its reply.")
            .buckets(BUCKETS.to_vec());
        let limit_hits = counters(r, "weir_limit_hits_total", "Times that a bound was reached.", &["limit"]);
        for limit in LimitName::ALL {
            limit_hits.with_label_values(&[limit.as_str()]);
        }
        let reloads = counters(r, "weir_config_reloads_total", "Files read again, by what came of it.", &["result"]);
        for result in RELOADS {
            reloads.with_label_values(&[result]);
        }
        let started = Instant::now();
        Arc::new(Metrics {
            process: Process::new(r),
            started,
            bytes_received: counter(r, "weir_bytes_received_total", "Bytes read from WebSockets."),
            bytes_sent: counter(r, "weir_bytes_sent_total", "Bytes written to WebSockets."),
            queue_bytes: gauge(r, "weir_queue_bytes", "Bytes waiting in out-queues."),
            history_bytes: gauge(r, "weir_history_bytes", "Bytes of events kept for recovery."),
            memory_bytes: one(
                r,
                IntGaugeVec::new(
                    Opts::new("weir_memory_bytes", "Bytes that limits.memory counts; without an app: HTTP."),
                    &["app", "kind"],
                ),
            ),
            memory_refused: counters(
                r,
                "weir_memory_refused_total",
                "Times that something was refused or given up because memory was used up.",
                &["app"],
            ),
            memory: Memory::new(),
            uptime: one(r, prometheus::Gauge::new("weir_uptime_seconds", "Since the process started.")),
            audit_dropped: counter(r, "weir_audit_dropped_total", "Audit records that the disk was too slow for."),
            store_failures: counter(
                r,
                "weir_store_failures_total",
                "Transactions of handlers that the store did not keep.",
            ),
            log_dropped: counter(r, "weir_log_dropped_total", "Lines of the log that its reader was too slow for."),
            limit_hits,
            refusals: Refusals::new(r),
            http_requests: counters(
                r,
                "weir_http_requests_total",
                "HTTP requests answered.",
                &["method", "status", "verb"],
            ),
            http_duration: one(r, HistogramVec::new(duration, &["verb"])),
            reload_successful: gauge(
                r,
                "weir_config_last_reload_successful",
                "Whether the last reload put its files in force: 1 or 0.",
            ),
            reload_at: one(
                r,
                prometheus::Gauge::new(
                    "weir_config_last_reload_success_timestamp_seconds",
                    "When files were last put in force.",
                ),
            ),
            generation: gauge(r, "weir_config_generation", "The number of the files in force: 1 at the start."),
            reloads,
            revoked: counter(
                r,
                "weir_config_revoked_subscriptions_total",
                "Live subscriptions that new rules did not allow.",
            ),
            certificates: one(
                r,
                GaugeVec::new(
                    Opts::new(
                        "weir_certificate_not_after_timestamp_seconds",
                        "When a certificate of a listener ends: the earliest of each file.",
                    ),
                    &["listener", "file"],
                ),
            ),
            tasks: Arc::new(Tasks::new(r)),
            own: Own::new(r),
            families: Families::new(r),
            webhooks: Webhooks::new(r),
            handlers: handlers::Families::new(r),
            apps: RwLock::default(),
            registry,
        })
    }

    /// Makes an app's time series under its name; the same ones when called again.
    pub fn app(&self, app: AppId, name: &str) -> Arc<AppMetrics> {
        let mut apps = self.apps.write().unwrap_or_else(|e| e.into_inner());
        let at = app.0 as usize;
        if at >= apps.len() {
            apps.resize(at + 1, None);
        }
        apps[at].get_or_insert_with(|| Arc::new(self.families.app(name))).clone()
    }

    /// The time series of an app that was named before.
    pub fn find(&self, app: AppId) -> Option<Arc<AppMetrics>> {
        self.apps.read().unwrap_or_else(|e| e.into_inner()).get(app.0 as usize).cloned().flatten()
    }

    /// A handler's time series under its app's name; the same ones when called again.
    pub fn handler(&self, app: &str, handler: &str) -> HandlerMetrics {
        self.handlers.handler(app, handler)
    }

    /// Those of a kind of entity.
    pub fn kind(&self, app: &str, kind: &str) -> KindMetrics {
        self.handlers.kind(app, kind)
    }

    /// Those of an app's timers.
    pub fn timers(&self, app: &str) -> TimerMetrics {
        self.handlers.timers(app)
    }

    /// Calls that wait: one more, or one fewer.
    pub fn call_waits(&self, by: i64) {
        self.handlers.queue.add(by);
    }

    pub fn limit(&self, limit: LimitName, times: u64) {
        self.limit_hits.with_label_values(&[limit.as_str()]).inc_by(times);
    }

    /// `verb`: a name out of a closed set, such as `publish` or `route`, never a path.
    pub fn http(&self, method: &str, status: u16, verb: &str, took: Duration) {
        const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];
        let method = METHODS.iter().find(|m| **m == method).copied().unwrap_or("other");
        let class = CLASSES.get((status / 100).saturating_sub(1) as usize).copied().unwrap_or("other");
        self.http_requests.with_label_values(&[method, class, verb]).inc();
        self.http_duration.with_label_values(&[verb]).observe(took.as_secs_f64());
    }

    /// These files are in force now.
    pub fn in_force(&self, generation: u64, now: Millis) {
        self.generation.set(generation as i64);
        self.reloaded(true, now);
    }

    /// The files were read again: `success`, `unchanged` or `fault`.
    /// Listener, file, and when the certificate ends: all that are in force.
    pub fn certificates<'c>(&self, all: impl Iterator<Item = (&'c str, &'c str, Millis)>) {
        self.certificates.reset();
        let mut earliest: BTreeMap<(&str, &str), Millis> = BTreeMap::new();
        for (listener, file, ends) in all {
            earliest.entry((listener, file)).and_modify(|known| *known = ends.min(*known)).or_insert(ends);
        }
        for ((listener, file), ends) in earliest {
            self.certificates.with_label_values(&[listener, file]).set(ends as f64 / 1000.0);
        }
    }

    pub fn reload(&self, result: &'static str) {
        self.reloads.with_label_values(&[result]).inc();
    }

    pub fn revoked(&self, subscriptions: u64) {
        self.revoked.inc_by(subscriptions);
    }

    pub fn reloaded(&self, successful: bool, now: Millis) {
        self.reload_successful.set(successful as i64);
        if successful {
            self.reload_at.set(now as f64 / 1000.0);
        }
    }

    pub fn uptime(&self) -> Duration {
        self.started.elapsed()
    }

    /// All of it in Prometheus's text format 0.0.4.
    pub fn text(&self) -> String {
        self.uptime.set(self.uptime().as_secs_f64());
        self.process.read();
        self.tell_memory();
        self.audit_dropped.inc_by(audit_dropped().saturating_sub(self.audit_dropped.get()));
        self.store_failures.inc_by(store_failures().saturating_sub(self.store_failures.get()));
        self.log_dropped.inc_by(log_dropped().saturating_sub(self.log_dropped.get()));
        prometheus::TextEncoder::new().encode_to_string(&self.registry.gather()).unwrap_or_default()
    }
}

impl Metrics {
    fn tell_memory(&self) {
        for holding in self.memory.holdings() {
            let app = holding.app.as_deref().unwrap_or("");
            for (kind, bytes) in Kind::ALL.iter().zip(holding.kinds) {
                self.memory_bytes.with_label_values(&[app, kind.as_str()]).set(bytes as i64);
            }
            let refused = self.memory_refused.with_label_values(&[app]);
            refused.inc_by(holding.refused.saturating_sub(refused.get()));
        }
    }

    /// An app is gone, and its last connection: its time series end.
    pub fn forget(&self, app: AppId, name: &str) {
        let mut apps = self.apps.write().unwrap_or_else(|e| e.into_inner());
        if let Some(known) = apps.get_mut(app.0 as usize) {
            *known = None;
        }
        drop(apps);
        self.families.forget(name);
        self.handlers.forget(name);
        self.webhooks.forget(name);
        self.own.forget(app, name);
        forget(&self.memory_bytes, name);
        forget(&self.memory_refused, name);
    }
}

/// Takes the series out whose label `app` is this.
pub(super) fn forget<T: prometheus::core::MetricVecBuilder>(family: &prometheus::core::MetricVec<T>, app: &str) {
    for metrics in family.collect() {
        for metric in metrics.get_metric() {
            let labels: std::collections::HashMap<&str, &str> =
                metric.get_label().iter().map(|pair| (pair.name(), pair.value())).collect();
            if labels.get("app") == Some(&app) {
                let _ = family.remove(&labels);
            }
        }
    }
}

impl Families {
    fn forget(&self, app: &str) {
        for family in [&self.connections, &self.subscriptions, &self.channels] {
            forget(family, app);
        }
        let counters = [&self.opened, &self.closed, &self.messages, &self.deliveries, &self.publishes];
        for family in counters.into_iter().chain([&self.refusals, &self.slow, &self.auth]) {
            forget(family, app);
        }
    }

    fn new(r: &Registry) -> Families {
        Families {
            connections: one(r, IntGaugeVec::new(Opts::new("weir_connections", "Live connections."), &["app"])),
            opened: counters(r, "weir_connections_opened_total", "Connections accepted.", &["app"]),
            closed: counters(r, "weir_connections_closed_total", "Connections ended.", &["app", "reason"]),
            messages: counters(r, "weir_messages_received_total", "Messages of clients.", &["app"]),
            deliveries: counters(r, "weir_deliveries_total", "Events put into out-queues.", &["app"]),
            publishes: counters(r, "weir_publishes_total", "Events published.", &["app", "via"]),
            refusals: counters(r, "weir_refusals_total", "Commands refused.", &["app", "code"]),
            subscriptions: one(r, IntGaugeVec::new(Opts::new("weir_subscriptions", "Live subscriptions."), &["app"])),
            channels: one(r, IntGaugeVec::new(Opts::new("weir_channels", "Channels in use."), &["app"])),
            slow: counters(r, "weir_slow_consumers_total", "Readers too slow for their queue.", &["app", "action"]),
            auth: counters(r, "weir_auth_total", "Authentications by outcome.", &["app", "outcome"]),
        }
    }

    fn app(&self, name: &str) -> AppMetrics {
        let each = |family: &IntCounterVec, values: &[&str]| {
            values.iter().map(|v| family.with_label_values(&[name, *v])).collect::<Vec<_>>()
        };
        AppMetrics {
            subscriptions: self.subscriptions.with_label_values(&[name]),
            channels: self.channels.with_label_values(&[name]),
            connections: self.connections.with_label_values(&[name]),
            opened: self.opened.with_label_values(&[name]),
            closed: each(&self.closed, &CloseReason::ALL.map(CloseReason::as_str)),
            messages: self.messages.with_label_values(&[name]),
            deliveries: self.deliveries.with_label_values(&[name]),
            publishes: each(&self.publishes, &Via::ALL.map(Via::as_str)),
            refusals: each(&self.refusals, &Code::ALL.map(Code::as_str)),
            slow: each(&self.slow, &SlowAction::ALL.map(SlowAction::as_str)),
            auth: each(&self.auth, &AuthOutcome::ALL.map(AuthOutcome::as_str)),
            recent: Mutex::default(),
        }
    }
}

impl AppMetrics {
    pub(super) fn add(&self, counts: &mut Counts, now: Mono) {
        let closed: u64 = counts.closed.iter().sum();
        let refused: u64 = counts.refusals.iter().sum();
        if counts.opened + closed + refused + counts.messages + counts.deliveries > 0 {
            self.recent.lock().unwrap_or_else(|e| e.into_inner()).add(counts, now);
        }
        if counts.opened != closed {
            self.connections.add(counts.opened as i64 - closed as i64);
        }
        add(&self.opened, &mut counts.opened);
        add(&self.messages, &mut counts.messages);
        add(&self.deliveries, &mut counts.deliveries);
        let arrays: [(&[IntCounter], &mut [u64]); 5] = [
            (&self.closed, &mut counts.closed),
            (&self.publishes, &mut counts.publishes),
            (&self.refusals, &mut counts.refusals),
            (&self.slow, &mut counts.slow),
            (&self.auth, &mut counts.auth),
        ];
        for (counters, counts) in arrays {
            counters.iter().zip(counts).for_each(|(counter, count)| add(counter, count));
        }
    }

    /// What became of a token or of its absence, before there was a connection.
    pub fn authenticated(&self, outcome: AuthOutcome) {
        self.auth[outcome as usize].inc();
    }

    /// What was heard and said so far.
    pub fn traffic(&self, now: Mono, uptime: Duration) -> Traffic {
        let sum = |counters: &[IntCounter]| counters.iter().map(|c| c.get()).sum();
        Traffic {
            received: self.messages.get(),
            delivered: self.deliveries.get(),
            delivered_per_second: self.recent.lock().unwrap_or_else(|e| e.into_inner()).deliveries_per_second(now),
            published: sum(&self.publishes),
            refused: sum(&self.refusals),
            uptime_ms: uptime.as_millis() as u64,
        }
    }

    /// Connections opened and closed, in all and over the last minutes: `{stats.history}`.
    pub fn history(&self, now: Now) -> serde_json::Value {
        self.recent.lock().unwrap_or_else(|e| e.into_inner()).history(now)
    }

    /// Refusals, in all and over the last minutes: `{stats.errors}`.
    pub fn errors(&self, now: Mono) -> serde_json::Value {
        self.recent.lock().unwrap_or_else(|e| e.into_inner()).errors(now)
    }
}

// A metric that cannot be made or registered is a mistake in this file, found by its first test.
pub(super) fn one<C: Collector + Clone + 'static>(registry: &Registry, made: prometheus::Result<C>) -> C {
    let made = made.expect("a valid metric");
    registry.register(Box::new(made.clone())).expect("a metric of its own");
    made
}

pub(super) fn gauge(registry: &Registry, name: &str, help: &str) -> IntGauge {
    one(registry, IntGauge::new(name, help))
}

pub(super) fn counter(registry: &Registry, name: &str, help: &str) -> IntCounter {
    one(registry, IntCounter::new(name, help))
}

pub(super) fn counters(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
    one(registry, IntCounterVec::new(Opts::new(name, help), labels))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The conventions that `promtool check metrics` holds metrics against.
    #[test]
    fn names_and_help_follow_prometheus() {
        let metrics = Metrics::new();
        metrics.app(AppId(0), "clinic");
        metrics.http("GET", 200, "health", Duration::from_millis(2));
        metrics.reloaded(true, 1_000);
        let families = metrics.registry.gather();
        assert!(families.len() > 25, "{}", families.len());
        for family in families {
            let (name, counter) = (family.name(), family.get_field_type() == prometheus::proto::MetricType::COUNTER);
            assert!(!family.help().is_empty(), "{name}");
            assert_eq!(name.ends_with("_total"), counter, "{name}");
            for bad in ["_count", "_sum", "_bucket", "_ms", "_seconds_seconds", "counter", "gauge", "histogram"] {
                assert!(!name.ends_with(bad), "{name}");
            }
            assert!(name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{name}");
        }
    }

    #[test]
    fn what_a_client_sends_makes_no_time_series() {
        let metrics = Metrics::new();
        for method in ["BREW", "POUR", "get"] {
            metrics.http(method, 999, "unknown", Duration::ZERO);
        }
        let text = metrics.text();
        let line = "weir_http_requests_total{method=\"other\",status=\"other\",verb=\"unknown\"} 3";
        assert!(text.contains(line), "{text}");
        assert!(text.contains("process_resident_memory_bytes"), "{text}");
    }
}
