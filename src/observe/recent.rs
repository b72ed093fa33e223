//! An app's last minutes: connections opened, closed by reason, refusals by code.

use super::counts::Counts;
use super::labels::CloseReason;
use crate::model::{Code, Mono, Now, iso8601};
use serde_json::{Map, Value, json};
use std::collections::VecDeque;

/// How many minutes are kept.
pub const RECENT_MINUTES: usize = 15;
const MINUTE: u64 = 60_000;

#[derive(Clone, Default)]
struct Minute {
    /// In minutes of the monotonic clock.
    at: u64,
    opened: u64,
    messages: u64,
    deliveries: u64,
    closed: [u64; CloseReason::ALL.len()],
    refused: [u64; Code::ALL.len()],
}

/// Totals since the start, and a ring of minutes in which something happened, newest last.
#[derive(Default)]
pub(super) struct Recent {
    total: Minute,
    minutes: VecDeque<Minute>,
}

impl Minute {
    fn add(&mut self, counts: &Counts) {
        self.opened += counts.opened;
        self.messages += counts.messages;
        self.deliveries += counts.deliveries;
        self.closed.iter_mut().zip(&counts.closed).for_each(|(sum, n)| *sum += n);
        self.refused.iter_mut().zip(&counts.refusals).for_each(|(sum, n)| *sum += n);
    }

    fn closed(&self) -> Value {
        named(CloseReason::ALL.iter().map(|r| r.as_str()).zip(&self.closed))
    }

    fn refused(&self) -> Value {
        named(Code::ALL.iter().map(|c| c.as_str()).zip(&self.refused))
    }
}

fn named<'a>(counts: impl Iterator<Item = (&'a str, &'a u64)>) -> Value {
    Value::Object(counts.filter(|(_, n)| **n > 0).map(|(name, n)| (name.to_string(), json!(n))).collect::<Map<_, _>>())
}

impl Recent {
    pub fn add(&mut self, counts: &Counts, now: Mono) {
        let at = now.ms() / MINUTE;
        self.total.add(counts);
        // Shards read their clocks one after another: a late flush counts in the newest minute.
        if self.minutes.back().is_none_or(|m| m.at < at) {
            self.minutes.push_back(Minute { at, ..Minute::default() });
            if self.minutes.len() > RECENT_MINUTES {
                self.minutes.pop_front();
            }
        }
        if let Some(minute) = self.minutes.back_mut() {
            minute.add(counts);
        }
    }

    fn since(&self, now: Mono) -> impl Iterator<Item = &Minute> {
        let first = (now.ms() / MINUTE + 1).saturating_sub(RECENT_MINUTES as u64);
        self.minutes.iter().filter(move |m| m.at >= first)
    }

    /// Deliveries a second over the last sixty, the minute before counted by the share of it that is younger.
    pub fn deliveries_per_second(&self, now: Mono) -> f64 {
        let now = now.ms();
        let of = |at: u64| self.minutes.iter().find(|m| m.at == at).map_or(0, |m| m.deliveries) as f64;
        let older = 1.0 - (now % MINUTE) as f64 / MINUTE as f64;
        (of(now / MINUTE) + of((now / MINUTE).wrapping_sub(1)) * older) / 60.0
    }

    pub fn history(&self, now: Now) -> Value {
        let at = |m: &Minute| iso8601(now.wall_of(Mono::from_ms(m.at * MINUTE)) / MINUTE * MINUTE);
        let minutes: Vec<Value> = (self.since(now.mono))
            .filter(|m| m.opened > 0 || m.closed.iter().any(|n| *n > 0))
            .map(|m| json!({ "at": at(m), "opened": m.opened, "closed": m.closed() }))
            .collect();
        json!({ "opened": self.total.opened, "closed": self.total.closed(), "minutes": minutes })
    }

    pub fn errors(&self, now: Mono) -> Value {
        let mut recent = Minute::default();
        for minute in self.since(now) {
            recent.messages += minute.messages;
            recent.refused.iter_mut().zip(&minute.refused).for_each(|(sum, n)| *sum += n);
        }
        let (total, lately): (u64, u64) = (self.total.refused.iter().sum(), recent.refused.iter().sum());
        let rate = if recent.messages == 0 { 0.0 } else { lately as f64 / recent.messages as f64 };
        json!({
            "total": total,
            "byCode": self.total.refused(),
            "lastMinutes": { "minutes": RECENT_MINUTES, "errors": lately, "byCode": recent.refused(), "perMessage": rate },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_minutes_are_told_and_older_ones_only_summed() {
        let mut recent = Recent::default();
        for minute in 0..40 {
            let mut counts = Counts { opened: 2, messages: 4, deliveries: 120, ..Counts::default() };
            counts.closed(CloseReason::Client);
            counts.refused(Code::Denied);
            recent.add(&counts, Mono::from_ms(minute * MINUTE + 5));
        }
        let history = recent.history(Now::at(39 * MINUTE + 30_000));
        assert_eq!(history["opened"], 80);
        assert_eq!(history["closed"], json!({ "client": 40 }));
        assert_eq!(history["minutes"].as_array().unwrap().len(), RECENT_MINUTES);
        assert_eq!(
            history["minutes"][14],
            json!({ "at": "1970-01-01T00:39:00.000Z", "opened": 2, "closed": { "client": 1 } })
        );
        let errors = recent.errors(Mono::from_ms(39 * MINUTE));
        assert_eq!((&errors["total"], &errors["lastMinutes"]["errors"]), (&json!(40), &json!(15)));
        assert_eq!(errors["lastMinutes"]["perMessage"], 0.25);
        assert_eq!(recent.deliveries_per_second(Mono::from_ms(39 * MINUTE + 30_000)), 3.0);
        assert_eq!(recent.history(Now::at(100 * MINUTE))["minutes"], json!([]), "quiet minutes end it");
    }
}
