//! One parcel under way: the call, and what the store is told of it.

use super::attempt::{Verdict, attempt, id_text};
use super::lane::{Outgoing, Turn};
use super::post::Office;
use super::settings::Retry;
use crate::model::{Millis, Mono};
use crate::observe::{Delivery, clock};
use crate::store::{Parcel, StoreError, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// Between two tries to have the store know that a parcel is at its end.
const STORE_RETRY: Duration = Duration::from_millis(if cfg!(test) { 10 } else { 1_000 });

/// One parcel under way. Whatever ends it, the parcel is settled or back in its lane.
pub(super) struct Flight {
    pub office: Arc<Office>,
    /// `None`: settled.
    pub outgoing: Option<Outgoing>,
}

impl Flight {
    pub async fn run(mut self) {
        let Some(Outgoing { parcel, created, webhook, metrics }) = &self.outgoing else { return };
        let office = &self.office;
        let Some(webhook) = webhook else {
            metrics.delivery(Delivery::Dead, None);
            office.bury(parcel, "its webhook is in no file any more").await;
            return self.settle();
        };
        if webhook.is_off {
            metrics.delivery(Delivery::Off, None);
            tracing::debug!(app = &*parcel.app, webhook = &*parcel.webhook, "not sent: the webhook is off");
            office.commit_end(parcel, Write::ParcelDone { id: parcel.id }).await;
            return self.settle();
        }
        let begun = Instant::now();
        let verdict = attempt(&office.client, webhook, parcel, clock().wall).await;
        let (took, now) = (Some(begun.elapsed()), clock());
        let give_up_at = *created + webhook.give_up_after.0;
        office.note(parcel, &verdict, now.mono);
        match verdict {
            Verdict::Delivered => {
                metrics.delivery(Delivery::Ok, took);
                office.commit_end(parcel, Write::ParcelDone { id: parcel.id }).await;
                self.settle();
            }
            Verdict::Refused(why) => {
                metrics.delivery(Delivery::Dead, took);
                office.bury(parcel, &why).await;
                self.settle();
            }
            Verdict::Failed { why, .. } if now.mono >= give_up_at => {
                metrics.delivery(Delivery::Dead, took);
                office.bury(parcel, &why).await;
                self.settle();
            }
            Verdict::Failed { why, after_ms } => {
                metrics.delivery(Delivery::Retry, took);
                let attempts = parcel.attempts.saturating_add(1);
                // The last attempt is at the end of its time, not before.
                let due = (now.mono + wait_ms(&webhook.retry, attempts, after_ms)).min(give_up_at);
                office.commit_retry(parcel, attempts, now.wall_of(due), why).await;
                self.back(attempts, due);
            }
        }
    }

    fn settle(&mut self) {
        if let Some(Outgoing { parcel, .. }) = self.outgoing.take() {
            let mut state = self.office.lock();
            self.office.lane(&mut state, &parcel.app, &parcel.webhook).settled(parcel.body.len());
        }
    }

    fn back(&mut self, attempts: u32, due: Mono) {
        if let Some(Outgoing { parcel, created, .. }) = self.outgoing.take() {
            let parcel = Parcel { attempts, ..parcel };
            let mut state = self.office.lock();
            self.office.lane(&mut state, &parcel.app.clone(), &parcel.webhook.clone()).back(parcel, created, due);
        }
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        // Not settled: a mistake of ours ended it in the middle. Later, so that a mistake does not spin.
        if let Some(Outgoing { parcel, .. }) = &self.outgoing {
            let (attempts, due) = (parcel.attempts, clock().mono + STORE_RETRY.as_millis() as u64);
            self.back(attempts, due);
        }
    }
}

impl Office {
    async fn commit(&self, write: Write) -> Result<(), StoreError> {
        let (done, told) = oneshot::channel();
        self.store.commit(vec![write], Box::new(move |result| drop(done.send(result))));
        told.await.unwrap_or_else(|_| Err(StoreError::Broken("no answer".into())))
    }

    /// Until it is kept: a parcel that is at its end must not go out again after a restart because the store was busy.
    async fn commit_end(&self, parcel: &Parcel, end: Write) {
        while let Err(why) = self.commit(end.clone()).await {
            let (app, webhook, id) = (&*parcel.app, &*parcel.webhook, id_text(parcel.id));
            crate::observe::limited!(warn, app, webhook, id, %why, "the end of a parcel could not be stored; trying again");
            tokio::time::sleep(STORE_RETRY).await;
        }
    }

    /// Tells when a webhook begins to fail and when it is well again; each single call only at level `debug`.
    fn note(&self, parcel: &Parcel, verdict: &Verdict, now: Mono) {
        let (app, webhook, id, attempts) = (&*parcel.app, &*parcel.webhook, id_text(parcel.id), parcel.attempts);
        let delivered = *verdict == Verdict::Delivered;
        let turn = self.lane(&mut self.lock(), &parcel.app, &parcel.webhook).turn(delivered, now);
        match (turn, verdict) {
            (Some(Turn::IsWell), _) => tracing::info!(app, webhook, "the webhook takes parcels again"),
            (Some(Turn::Fails), Verdict::Failed { why, .. } | Verdict::Refused(why)) => {
                tracing::warn!(app, webhook, id, why, "the webhook fails");
            }
            (_, Verdict::Delivered) => tracing::debug!(app, webhook, id, attempts, "delivered"),
            (_, Verdict::Failed { why, .. } | Verdict::Refused(why)) => {
                tracing::debug!(app, webhook, id, attempts, why, "not delivered");
            }
        }
    }

    async fn bury(&self, parcel: &Parcel, why: &str) {
        let (app, webhook, id, attempts) = (&*parcel.app, &*parcel.webhook, id_text(parcel.id), parcel.attempts);
        crate::observe::limited!(error, app, webhook, id, attempts, why, "a parcel was given up");
        self.commit_end(parcel, Write::ParcelDead { id: parcel.id, why: why.into() }).await;
    }

    /// Once: where the store fails, the lane knows it still, and a restart tries a little too early.
    async fn commit_retry(&self, parcel: &Parcel, attempts: u32, due: Millis, why: String) {
        if let Err(error) = self.commit(Write::ParcelRetry { id: parcel.id, attempts, due, why }).await {
            let (app, webhook, id) = (&*parcel.app, &*parcel.webhook, id_text(parcel.id));
            crate::observe::limited!(warn, app, webhook, id, %error, "a parcel's next attempt could not be stored");
        }
    }
}

fn wait_ms(retry: &Retry, attempts: u32, asked: Option<u64>) -> u64 {
    // Without chance they come back together, which is no reason to end the process.
    retry.wait_ms(attempts, asked, getrandom::u64().unwrap_or(0))
}
