//! Clients that were refused before they had a connection: counted all, told as often as a disk bears.

use super::audit::{Record, audit};
use super::labels::RefusedFor;
use super::metrics::{counter, counters};
use crate::model::{AppId, Mono, Ms, Rate};
use prometheus::{IntCounter, IntCounterVec, Registry};
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard};

/// Tells about refused upgrades, in the log and in the audit. A flood of them must not fill the disk: what exceeds the rate
/// is counted, in `weir_refusals_unlogged_total` and in the next line.
pub struct Refusals {
    upgrades: IntCounterVec,
    unlogged: IntCounter,
    state: Mutex<State>,
}

struct State {
    rate: Rate,
    /// Milliseconds of the rate that are used up, and when that was so.
    used_ms: u64,
    at: Mono,
    /// Since the last line.
    unlogged: u64,
}

/// One refused upgrade. Nothing of the query or of headers is in it.
#[derive(Clone, Copy, Debug)]
pub struct RefusedUpgrade<'a> {
    /// `None`: no app was found.
    pub app: Option<(AppId, &'a str)>,
    pub ip: IpAddr,
    pub listener: &'a str,
    pub path: &'a str,
    pub status: u16,
    pub reason: RefusedFor,
    /// What was wrong, for the log.
    pub why: &'a str,
}

impl Refusals {
    pub(super) fn new(r: &Registry) -> Refusals {
        let labels = ["app", "reason", "status"];
        Refusals {
            upgrades: counters(r, "weir_upgrades_refused_total", "Clients that got no connection.", &labels),
            unlogged: counter(r, "weir_refusals_unlogged_total", "Refused upgrades beyond `log.refusals`, not told."),
            state: Mutex::new(State::new(Rate { burst: 100, per: Ms::secs(10) })),
        }
    }

    /// As `log.refusals` says.
    pub fn set_rate(&self, rate: Rate) {
        self.state().rate = rate;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|e| e.into_inner())
    }

    pub fn refused(&self, refused: &RefusedUpgrade<'_>, now: Mono) {
        let app = refused.app.map(|(_, name)| name);
        let reason = refused.reason.as_str();
        // All three are out of closed sets: names of apps, reasons, the statuses that an upgrade is refused with.
        self.upgrades.with_label_values(&[app.unwrap_or(""), reason, &refused.status.to_string()]).inc();
        let Some(unlogged) = self.state().take(now) else {
            self.unlogged.inc();
            return;
        };
        let unlogged = (unlogged > 0).then_some(unlogged);
        let RefusedUpgrade { ip, listener, path, status, why, .. } = *refused;
        tracing::warn!(app, %ip, listener, path, status, reason, why, unlogged, "upgrade refused");
        let ip = ip.to_string();
        audit(&Record { audit: "refused", app, ip: Some(&ip), result: reason, count: unlogged, ..Record::default() });
    }
}

impl State {
    fn new(rate: Rate) -> State {
        State { rate, used_ms: 0, at: Mono::default(), unlogged: 0 }
    }

    /// `None`: too many lines; else how many were left out before this one.
    fn take(&mut self, now: Mono) -> Option<u64> {
        let rate = self.rate;
        let one = rate.per.0.max(1) / u64::from(rate.burst.max(1));
        self.used_ms = self.used_ms.saturating_sub(now.since(self.at));
        self.at = now;
        if self.used_ms + one > rate.per.0.max(1) {
            self.unlogged += 1;
            return None;
        }
        self.used_ms += one;
        Some(std::mem::take(&mut self.unlogged))
    }
}

#[cfg(test)]
mod tests {
    use super::super::Metrics;
    use super::*;

    #[test]
    fn a_flood_is_told_now_and_then_and_counted_in_whole() {
        let metrics = Metrics::new();
        metrics.refusals.set_rate(Rate { burst: 2, per: Ms(1_000) });
        let refused = RefusedUpgrade {
            app: Some((AppId(0), "clinic")),
            ip: [192, 0, 2, 1].into(),
            listener: "main",
            path: "/ws",
            status: 401,
            reason: RefusedFor::Token,
            why: "expired",
        };
        (0..10).for_each(|_| metrics.refusals.refused(&refused, Mono::from_ms(5_000)));
        metrics.refusals.refused(&RefusedUpgrade { app: None, ..refused }, Mono::from_ms(5_500));
        let text = metrics.text();
        for line in [
            "weir_upgrades_refused_total{app=\"clinic\",reason=\"token\",status=\"401\"} 10",
            "weir_upgrades_refused_total{app=\"\",reason=\"token\",status=\"401\"} 1",
            "weir_refusals_unlogged_total 8",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} in\n{text}");
        }
    }

    #[test]
    fn what_was_left_out_is_told_with_the_next_line() {
        let mut state = State::new(Rate { burst: 2, per: Ms(1_000) });
        let taken: Vec<_> = (0..5).map(|_| state.take(Mono::from_ms(10))).collect();
        assert_eq!(taken, [Some(0), Some(0), None, None, None]);
        let mut at = |ms| state.take(Mono::from_ms(ms));
        assert_eq!((at(509), at(510), at(510)), (None, Some(4), None));
    }
}
