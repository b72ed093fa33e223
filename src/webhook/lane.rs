//! What waits for one webhook, in the order that it is due. No I/O; the time is handed in.

use super::settings::{GIVE_UP_AFTER, Webhook};
use crate::model::memory::{Account, Kind, Taken};
use crate::model::{Mono, Ms, Now};
use crate::observe::WebhookMetrics;
use crate::store::Parcel;
use std::collections::BTreeMap;
use std::sync::Arc;

/// One webhook's parcels, from their commit to their end.
pub(super) struct Lane {
    /// `None`: no file has it any more.
    webhook: Option<Arc<Webhook>>,
    give_up_after: Ms,
    /// It was told that it is gone while parcels wait for it.
    gone_told: bool,
    /// By when they are due; those that are due together by when they came.
    waiting: BTreeMap<(Mono, u64), Waiting>,
    /// Parcels that came.
    came: u64,
    in_flight: usize,
    /// Of bodies, of those in flight too.
    bytes: usize,
    /// The same as the app's memory has it; `None`: no file has the app.
    taken: Option<Taken>,
    /// It was told that calls fail, and not yet that they are well again.
    is_told: bool,
    /// When it was told last that calls fail.
    told_at: Mono,
    metrics: WebhookMetrics,
}

struct Waiting {
    parcel: Parcel,
    created: Mono,
}

/// A parcel that goes out now.
pub(super) struct Outgoing {
    pub parcel: Parcel,
    /// When it was made, by the clock that its waits go by.
    pub created: Mono,
    /// `None`: there is nobody to call, and the wait for somebody is over.
    pub webhook: Option<Arc<Webhook>>,
    pub metrics: WebhookMetrics,
}

/// A change that an operator wants to know of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Turn {
    Fails,
    IsWell,
}

/// A body that waits is held here and, until it is on disk, by the store; the allocator rounds it up.
const COPIES: usize = 3;
/// What a parcel takes beside its body, about.
const PARCEL_BYTES: usize = 512;
/// A webhook that fails now and then is told of once in so long.
const TELL_AGAIN_MS: u64 = 60_000;
/// Parcels of a webhook that is gone are given up so many at a time.
const GONE_AT_ONCE: usize = 4;

impl Lane {
    pub fn new(metrics: WebhookMetrics, account: Option<Arc<Account>>) -> Lane {
        metrics.pending(0);
        Lane {
            webhook: None,
            give_up_after: GIVE_UP_AFTER,
            gone_told: false,
            waiting: BTreeMap::new(),
            came: 0,
            in_flight: 0,
            bytes: 0,
            taken: account.map(|account| account.take(Kind::Calls, 0).0),
            is_told: false,
            told_at: Mono::default(),
            metrics,
        }
    }

    /// The webhook of the files in force; `None`: none of them has it. Returns whether that is news, and parcels wait.
    pub fn serve(&mut self, webhook: Option<Arc<Webhook>>) -> bool {
        if let Some(webhook) = &webhook {
            self.give_up_after = webhook.give_up_after;
        }
        self.webhook = webhook;
        let is_missed = self.is_gone() && self.pending() > 0;
        let was_told = std::mem::replace(&mut self.gone_told, is_missed);
        is_missed && !was_told
    }

    pub fn is_gone(&self) -> bool {
        self.webhook.is_none()
    }

    pub fn pending(&self) -> usize {
        self.waiting.len() + self.in_flight
    }

    /// Whether one more may be taken in.
    pub fn has_room(&self) -> bool {
        let is_memory = self.taken.as_ref().is_none_or(|taken| taken.account().has_room(PARCEL_BYTES));
        let in_bounds =
            |w: &Arc<Webhook>| self.pending() < w.pending_max as usize && (self.bytes as u64) < w.pending_bytes.0;
        is_memory && self.webhook.as_ref().is_some_and(in_bounds)
    }

    fn count(&mut self) {
        self.metrics.pending(self.pending());
        let bytes = self.bytes * COPIES + self.pending() * PARCEL_BYTES;
        if let Some(taken) = &mut self.taken {
            taken.set(bytes);
        }
    }

    /// The store's times are the wall clock's. It may have been set back since they were written: so a parcel was made
    /// now at the latest, and it waits no longer than it has waited in all.
    pub fn add(&mut self, parcel: Parcel, now: Now) {
        self.bytes += parcel.body.len();
        let created = now.mono_of(parcel.created_at).min(now.mono);
        let due = now.mono_of(parcel.due).min(now.mono + parcel.due.saturating_sub(parcel.created_at));
        // What is due already goes in the order in which it came: both clocks are not read at one moment.
        self.wait(due.max(now.mono), Waiting { parcel, created });
        self.count();
    }

    /// The next one that may go out at `now`; it counts as in flight until `settled` or `back`.
    pub fn take(&mut self, now: Mono) -> Option<Outgoing> {
        let key = match &self.webhook {
            Some(w) if self.in_flight < usize::from(w.concurrency) => {
                *self.waiting.first_key_value().filter(|((due, _), _)| *due <= now)?.0
            }
            None if self.in_flight < GONE_AT_ONCE => {
                let over = |w: &Waiting| w.created + self.give_up_after.0 <= now;
                *self.waiting.iter().find(|(_, waiting)| over(waiting))?.0
            }
            _ => return None,
        };
        let Waiting { parcel, created } = self.waiting.remove(&key)?;
        self.in_flight += 1;
        Some(Outgoing { parcel, created, webhook: self.webhook.clone(), metrics: self.metrics.clone() })
    }

    /// When the next one may go out; `None`: only once something changes.
    pub fn next_at(&self) -> Option<Mono> {
        match &self.webhook {
            Some(w) if self.in_flight < usize::from(w.concurrency) => self.waiting.keys().next().map(|(due, _)| *due),
            None if self.in_flight < GONE_AT_ONCE => {
                self.waiting.values().map(|w| w.created + self.give_up_after.0).min()
            }
            _ => None,
        }
    }

    /// One that was in flight is delivered or given up.
    pub fn settled(&mut self, body_bytes: usize) {
        self.in_flight = self.in_flight.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(body_bytes);
        self.count();
    }

    /// A call was made: what is worth a line in the log. A webhook that works on and off gets two of them a minute.
    pub fn turn(&mut self, delivered: bool, now: Mono) -> Option<Turn> {
        if delivered {
            return std::mem::take(&mut self.is_told).then_some(Turn::IsWell);
        }
        if self.is_told || now < self.told_at + TELL_AGAIN_MS {
            return None;
        }
        (self.is_told, self.told_at) = (true, now);
        Some(Turn::Fails)
    }

    /// One that was in flight waits again, until it is due.
    pub fn back(&mut self, parcel: Parcel, created: Mono, due: Mono) {
        self.in_flight = self.in_flight.saturating_sub(1);
        self.wait(due, Waiting { parcel, created });
    }

    fn wait(&mut self, due: Mono, waiting: Waiting) {
        self.waiting.insert((due, self.came), waiting);
        self.came += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::Metrics;

    #[test]
    fn a_webhook_that_is_missed_is_told_of_once_each_time() {
        let settings = serde_json::from_str(r#"{"url":"http://crm.example"}"#).unwrap();
        let webhook = Arc::new(crate::webhook::compile(&settings, &|_, _| Err(String::new())).unwrap());
        let mut lane = Lane::new(Metrics::new().webhook("clinic", "crm"), None);
        assert!(!lane.serve(None), "nobody waits for it");
        let [app, name] = ["clinic", "crm"].map(Arc::from);
        lane.add(
            Parcel { id: 1, app, webhook: name, body: "1".into(), created_at: 1, attempts: 0, due: 1 },
            Now::at(1),
        );
        assert!(lane.serve(None));
        assert!(!lane.serve(None));
        assert!(!lane.serve(Some(webhook)));
        assert!(lane.serve(None));
    }

    #[test]
    fn parcels_of_one_moment_go_out_in_the_order_in_which_they_came() {
        let settings = serde_json::from_str(r#"{"url":"http://crm.example","concurrency":9}"#).unwrap();
        let webhook = Arc::new(crate::webhook::compile(&settings, &|_, _| Err(String::new())).unwrap());
        let mut lane = Lane::new(Metrics::new().webhook("clinic", "crm"), None);
        lane.serve(Some(webhook));
        let now = |mono, wall| Now { mono: Mono::from_ms(mono), wall };
        // The wall clock was read a moment before the other, or after it.
        for (id, at, now) in [(9, 50, now(1_000, 51)), (7, 51, now(1_000, 51)), (8, 51, now(1_001, 51))] {
            let [app, webhook] = ["clinic", "crm"].map(Arc::from);
            let parcel = Parcel { id, app, webhook, body: "1".into(), created_at: at, attempts: 0, due: at };
            lane.add(parcel, now);
        }
        let out = || lane.take(Mono::from_ms(1_001)).map(|outgoing| outgoing.parcel.id);
        assert_eq!(std::iter::from_fn(out).collect::<Vec<_>>(), [9, 7, 8]);
    }

    #[test]
    fn what_waits_is_the_app_s_memory_and_no_more_is_taken_than_that() {
        use crate::model::{AppId, Memory};
        let settings = serde_json::from_str(r#"{"url":"http://crm.example"}"#).unwrap();
        let webhook = Arc::new(crate::webhook::compile(&settings, &|_, _| Err(String::new())).unwrap());
        let memory = Memory::new();
        memory.set(8 << 20, &[(AppId(0), "clinic".into(), None)]);
        let account = memory.named("clinic").unwrap();
        let mut lane = Lane::new(Metrics::new().webhook("clinic", "crm"), Some(account.clone()));
        lane.serve(Some(webhook));
        let mut added = 0;
        while lane.has_room() {
            let [app, webhook] = ["clinic", "crm"].map(Arc::from);
            let body = "1".repeat(100_000);
            lane.add(Parcel { id: added, app, webhook, body, created_at: 1, attempts: 0, due: 1 }, Now::at(1));
            added += 1;
        }
        assert!((5..30).contains(&added), "{added} parcels in 8 MiB");
        assert!(account.used() > added as usize * 100_000);
        while let Some(outgoing) = lane.take(Mono::from_ms(1)) {
            lane.settled(outgoing.parcel.body.len());
        }
        assert_eq!(account.used(), 0);
        assert!(lane.has_room());
    }

    #[test]
    fn a_webhook_that_works_on_and_off_does_not_flood_the_log() {
        let mut lane = Lane::new(Metrics::new().webhook("clinic", "crm"), None);
        let now = Mono::from_ms(1_700_000_000_000);
        assert_eq!(lane.turn(true, now), None);
        assert_eq!(lane.turn(false, now), Some(Turn::Fails));
        assert_eq!(lane.turn(false, now + 1), None);
        assert_eq!(lane.turn(true, now + 2), Some(Turn::IsWell));
        for on_and_off in 3..59_999 {
            assert_eq!(lane.turn(on_and_off % 2 == 0, now + on_and_off), None);
        }
        assert_eq!(lane.turn(false, now + 60_000), Some(Turn::Fails));
        assert_eq!(lane.turn(false, now + 600_000), None, "until it is well again");
        assert_eq!(lane.turn(true, now + 600_001), Some(Turn::IsWell));
    }
}
