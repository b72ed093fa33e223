//! What one shard counts between two ticks: plain integers, owned by one thread.

use super::labels::{AuthOutcome, CloseReason, LimitName, SlowAction, Via};
use super::metrics::{AppMetrics, Metrics};
use crate::model::{AppId, Code, Mono};
use std::sync::Arc;

/// One shard's counts. `flush` adds them to the process's and starts again at nothing.
#[derive(Default)]
pub struct Local {
    pub bytes_received: u64,
    pub bytes_sent: u64,
    /// Waiting in this shard's out-queues now: set, not added to.
    pub queue_bytes: u64,
    /// Kept by this shard's channels now: set, not added to.
    pub history_bytes: u64,
    limits: [u64; LimitName::ALL.len()],
    limited: bool,
    told: Gauges,
    apps: Vec<AppCounts>,
}

#[derive(Default)]
struct Gauges {
    first: u64,
    second: u64,
}

#[derive(Default)]
struct AppCounts {
    counts: Counts,
    told: Gauges,
    touched: bool,
    shared: Option<Arc<AppMetrics>>,
}

/// One app's counts in one shard. All but `subscriptions` and `channels` since the last flush.
#[derive(Default)]
pub struct Counts {
    pub opened: u64,
    pub messages: u64,
    pub deliveries: u64,
    /// Of this shard's connections now: set, not added to.
    pub subscriptions: u64,
    /// That this shard is the home of now: set, not added to.
    pub channels: u64,
    pub(super) closed: [u64; CloseReason::ALL.len()],
    pub(super) publishes: [u64; Via::ALL.len()],
    pub(super) refusals: [u64; Code::ALL.len()],
    pub(super) slow: [u64; SlowAction::ALL.len()],
    pub(super) auth: [u64; AuthOutcome::ALL.len()],
}

impl Counts {
    pub fn closed(&mut self, reason: CloseReason) {
        self.closed[reason as usize] += 1;
    }
    pub fn published(&mut self, via: Via) {
        self.publishes[via as usize] += 1;
    }
    pub fn refused(&mut self, code: Code) {
        self.refusals[code as usize] += 1;
    }
    pub fn slow(&mut self, action: SlowAction) {
        self.slow[action as usize] += 1;
    }
    pub fn auth(&mut self, outcome: AuthOutcome) {
        self.auth[outcome as usize] += 1;
    }
}

impl Local {
    pub fn new() -> Local {
        Local::default()
    }

    /// Files have changed: apps that came back have other time series.
    pub fn find_again(&mut self, metrics: &Metrics) {
        for (at, app) in self.apps.iter_mut().enumerate() {
            let Some(now) = metrics.find(AppId(at as u16)) else { continue };
            if app.shared.as_ref().is_some_and(|known| !Arc::ptr_eq(known, &now)) {
                (app.shared, app.told, app.touched) = (Some(now), Gauges::default(), true);
            }
        }
    }

    /// An app's counts, to be raised in place.
    pub fn app(&mut self, app: AppId) -> &mut Counts {
        let at = app.0 as usize;
        if at >= self.apps.len() {
            self.apps.resize_with(at + 1, AppCounts::default);
        }
        self.apps[at].touched = true;
        &mut self.apps[at].counts
    }

    pub fn limit(&mut self, limit: LimitName) {
        self.limits[limit as usize] += 1;
        self.limited = true;
    }

    /// Adds all of it to the process's metrics. Once a tick; costs next to nothing where nothing happened.
    /// An app that `Metrics::app` was not told of keeps its counts until it is.
    pub fn flush(&mut self, metrics: &Metrics, now: Mono) {
        add(&metrics.bytes_received, &mut self.bytes_received);
        add(&metrics.bytes_sent, &mut self.bytes_sent);
        tell(&metrics.queue_bytes, self.queue_bytes, &mut self.told.first);
        tell(&metrics.history_bytes, self.history_bytes, &mut self.told.second);
        if std::mem::take(&mut self.limited) {
            for (limit, count) in LimitName::ALL.iter().zip(&mut self.limits) {
                let count = std::mem::take(count);
                if count > 0 {
                    metrics.limit(*limit, count);
                }
            }
        }
        for (at, app) in self.apps.iter_mut().enumerate().filter(|(_, a)| a.touched) {
            if app.shared.is_none() {
                app.shared = metrics.find(AppId(at as u16));
            }
            let Some(shared) = &app.shared else { continue };
            app.touched = false;
            tell(&shared.subscriptions, app.counts.subscriptions, &mut app.told.first);
            tell(&shared.channels, app.counts.channels, &mut app.told.second);
            shared.add(&mut app.counts, now);
        }
    }
}

/// The shard's share of a gauge that several shards add up to.
fn tell(gauge: &prometheus::IntGauge, value: u64, told: &mut u64) {
    if value != *told {
        gauge.add(value as i64 - *told as i64);
        *told = value;
    }
}

pub(super) fn add(counter: &prometheus::IntCounter, count: &mut u64) {
    if *count > 0 {
        counter.inc_by(std::mem::take(count));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_shards_add_up() {
        let metrics = Metrics::new();
        let (mut a, mut b) = (Local::new(), Local::new());
        for shard in [&mut a, &mut b] {
            let app = shard.app(AppId(1));
            (app.opened, app.subscriptions) = (3, 5);
            app.closed(CloseReason::Slow);
            app.refused(Code::Denied);
            app.published(Via::Client);
            shard.queue_bytes = 100;
            shard.limit(LimitName::QueueBytes);
            shard.flush(&metrics, Mono::default());
        }
        assert!(!metrics.text().replace("app=\"\"", "").contains("app="), "an app without a name is not shown");
        metrics.app(AppId(1), "clinic");
        a.flush(&metrics, Mono::default());
        b.flush(&metrics, Mono::default());
        a.app(AppId(1)).subscriptions = 1;
        a.queue_bytes = 0;
        a.flush(&metrics, Mono::default());
        let text = metrics.text();
        for line in [
            "weir_connections{app=\"clinic\"} 4",
            "weir_connections_closed_total{app=\"clinic\",reason=\"slow\"} 2",
            "weir_refusals_total{app=\"clinic\",code=\"denied\"} 2",
            "weir_publishes_total{app=\"clinic\",via=\"client\"} 2",
            "weir_subscriptions{app=\"clinic\"} 6",
            "weir_queue_bytes 100",
            "weir_limit_hits_total{limit=\"queue_bytes\"} 2",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} in\n{text}");
        }
        assert_eq!(metrics.find(AppId(1)).unwrap().history(crate::model::Now::default())["opened"], 6);
    }
}
