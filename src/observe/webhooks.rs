//! Metrics of webhooks: labels are the names that stand in the apps' files.

use super::Metrics;
use super::metrics::{counters, forget, one};
use prometheus::{HistogramOpts, HistogramVec, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry};
use std::time::Duration;

/// Families with the labels `app` and `webhook`.
pub(super) struct Webhooks {
    deliveries: IntCounterVec,
    pending: IntGaugeVec,
    duration: HistogramVec,
}

/// One webhook's time series.
#[derive(Clone)]
pub struct WebhookMetrics {
    deliveries: [prometheus::IntCounter; Delivery::ALL.len()],
    pending: IntGauge,
    duration: prometheus::Histogram,
}

/// What came of an attempt to deliver.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Delivery {
    Ok,
    /// In vain; there will be another attempt.
    Retry,
    /// Given up.
    Dead,
    /// Not sent: it has no address.
    Off,
}

impl Delivery {
    const ALL: [Delivery; 4] = [Delivery::Ok, Delivery::Retry, Delivery::Dead, Delivery::Off];

    /// The label's value.
    pub fn as_str(self) -> &'static str {
        match self {
            Delivery::Ok => "ok",
            Delivery::Retry => "retry",
            Delivery::Dead => "dead",
            Delivery::Off => "off",
        }
    }
}

/// Seconds, from a service in the same rack to the longest patience.
const BUCKETS: [f64; 9] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 5.0, 30.0];
const LABELS: [&str; 2] = ["app", "webhook"];

impl Webhooks {
    pub(super) fn forget(&self, app: &str) {
        forget(&self.deliveries, app);
        forget(&self.pending, app);
        forget(&self.duration, app);
    }

    pub(super) fn new(r: &Registry) -> Webhooks {
        let deliveries = counters(
            r,
            "weir_webhook_deliveries_total",
            "Webhook calls by what came of them.",
            &["app", "webhook", "result"],
        );
        let pending = Opts::new("weir_webhook_pending", "Webhook calls that wait or are under way.");
        let duration = HistogramOpts::new("weir_webhook_duration_seconds", "From a webhook's call to its answer.");
        Webhooks {
            deliveries,
            pending: one(r, IntGaugeVec::new(pending, &LABELS)),
            duration: one(r, HistogramVec::new(duration.buckets(BUCKETS.to_vec()), &LABELS)),
        }
    }
}

impl Metrics {
    /// A webhook's time series, from 0 where there were none.
    pub fn webhook(&self, app: &str, webhook: &str) -> WebhookMetrics {
        let families = &self.webhooks;
        WebhookMetrics {
            deliveries: Delivery::ALL.map(|d| families.deliveries.with_label_values(&[app, webhook, d.as_str()])),
            pending: families.pending.with_label_values(&[app, webhook]),
            duration: families.duration.with_label_values(&[app, webhook]),
        }
    }
}

impl WebhookMetrics {
    /// An attempt ended, after `took`; `None`: nobody was called.
    pub fn delivery(&self, result: Delivery, took: Option<Duration>) {
        self.deliveries[result as usize].inc();
        if let Some(took) = took {
            self.duration.observe(took.as_secs_f64());
        }
    }

    pub fn pending(&self, parcels: usize) {
        self.pending.set(parcels as i64);
    }
}
