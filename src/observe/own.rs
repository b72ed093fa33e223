//! Counters and gauges that apps keep for themselves, by the names that their handlers give them.

use super::metrics::{forget, one};
use crate::model::AppId;
use prometheus::{GaugeVec, IntCounterVec, Opts, Registry};
use std::collections::{BTreeMap, HashMap};
use std::sync::Mutex;

/// Names of one app, of counters and gauges together. Beyond: not counted, `weir_app_metrics_refused_total`.
pub const OWN_NAMES_MAX: usize = 200;

/// All apps' own.
pub struct Own {
    counters: IntCounterVec,
    gauges: GaugeVec,
    refused: IntCounterVec,
    not_carried: IntCounterVec,
    names: Mutex<HashMap<AppId, Names>>,
}

#[derive(Default)]
struct Names {
    counters: BTreeMap<String, u64>,
    gauges: BTreeMap<String, f64>,
}

impl Own {
    pub(super) fn new(r: &Registry) -> Own {
        let counters =
            |name: &str, help: &str, labels: &[&str]| one(r, IntCounterVec::new(Opts::new(name, help), labels));
        Own {
            counters: counters(
                "weir_app_events_total",
                "What an app's handlers count, by their names.",
                &["app", "name"],
            ),
            gauges: one(
                r,
                GaugeVec::new(
                    Opts::new("weir_app_value", "What an app's handlers measure, by their names."),
                    &["app", "name"],
                ),
            ),
            refused: counters(
                "weir_app_metrics_refused_total",
                "Counts and values of handlers that had one name too many.",
                &["app"],
            ),
            not_carried: counters(
                "weir_effects_refused_total",
                "Effects of handlers that could not be carried out: no class matches the channel.",
                &["app"],
            ),
            names: Mutex::default(),
        }
    }

    pub(super) fn forget(&self, app: AppId, app_name: &str) {
        self.names.lock().unwrap_or_else(|e| e.into_inner()).remove(&app);
        let counters = [&self.counters, &self.refused, &self.not_carried];
        counters.into_iter().for_each(|family| forget(family, app_name));
        forget(&self.gauges, app_name);
    }

    pub fn count(&self, app: AppId, app_name: &str, name: &str, by: u64) {
        let mut names = self.names.lock().unwrap_or_else(|e| e.into_inner());
        let names = names.entry(app).or_default();
        if !names.counters.contains_key(name) && names.counters.len() + names.gauges.len() >= OWN_NAMES_MAX {
            return self.refused.with_label_values(&[app_name]).inc();
        }
        *names.counters.entry(name.to_owned()).or_default() += by;
        self.counters.with_label_values(&[app_name, name]).inc_by(by);
    }

    pub fn gauge(&self, app: AppId, app_name: &str, name: &str, value: f64) {
        let mut names = self.names.lock().unwrap_or_else(|e| e.into_inner());
        let names = names.entry(app).or_default();
        if !names.gauges.contains_key(name) && names.counters.len() + names.gauges.len() >= OWN_NAMES_MAX {
            return self.refused.with_label_values(&[app_name]).inc();
        }
        names.gauges.insert(name.to_owned(), value);
        self.gauges.with_label_values(&[app_name, name]).set(value);
    }

    pub fn effect_refused(&self, app_name: &str) {
        self.not_carried.with_label_values(&[app_name]).inc();
    }

    /// An app's counters, then its gauges, for `stats()` and `{stats.own}`.
    pub fn of(&self, app: AppId) -> (BTreeMap<String, u64>, BTreeMap<String, f64>) {
        let names = self.names.lock().unwrap_or_else(|e| e.into_inner());
        names.get(&app).map(|n| (n.counters.clone(), n.gauges.clone())).unwrap_or_default()
    }
}
