//! The sender, one a process: takes parcels that are due, calls, and has the store know what came of it.

use super::attempt::{Verdict, attempt, id_text};
use super::lane::{Lane, Outgoing, Turn};
use super::settings::{Retry, Webhook};
use crate::auth::{HttpClient, http_client};
use crate::model::Millis;
use crate::observe::{Delivery, Metrics};
use crate::store::{Parcel, Store, StoreError, Write};
use bytes::Bytes;
use http_body_util::Full;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::runtime::Handle;
use tokio::sync::{Notify, oneshot};
use tokio::task::{JoinError, JoinHandle, JoinSet};

/// The webhooks of the files in force: app → name → webhook.
pub type Webhooks = BTreeMap<Arc<str>, BTreeMap<Arc<str>, Arc<Webhook>>>;

/// The longest sleep: after it the clock is read again, which somebody may have set.
const LOOK_AGAIN: Duration = Duration::from_secs(30);
/// Between two tries to have the store know that a parcel is at its end.
const STORE_RETRY: Duration = Duration::from_millis(if cfg!(test) { 10 } else { 1_000 });

/// The sender. A drop ends it at once; what was under way is then sent again at the next start.
pub struct Post {
    office: Arc<Office>,
    task: Mutex<Option<JoinHandle<()>>>,
}

struct Office {
    store: Arc<dyn Store>,
    metrics: Arc<Metrics>,
    client: HttpClient<Full<Bytes>>,
    state: Mutex<State>,
    wake: Notify,
}

#[derive(Default)]
struct State {
    /// App → webhook → what waits for it.
    lanes: BTreeMap<Arc<str>, BTreeMap<Arc<str>, Lane>>,
    /// Files are in force: it is known which webhooks there are.
    is_ready: bool,
    /// Nothing new goes out.
    is_stopping: bool,
}

impl Post {
    /// `background`: the runtime that calls are made on. Nothing goes out before the first `set_generation`.
    pub fn new(background: &Handle, store: Arc<dyn Store>, metrics: Arc<Metrics>) -> Post {
        let (client, state, wake) = (http_client(), Mutex::default(), Notify::new());
        let office = Arc::new(Office { store, metrics, client, state, wake });
        let task = background.spawn(office.clone().run());
        Post { office, task: Mutex::new(Some(task)) }
    }

    /// These webhooks are in force now, also for parcels that wait already. Parcels whose webhook is gone are kept for
    /// its `give_up_after`, should it come back.
    pub fn set_generation(&self, webhooks: &Webhooks) {
        let mut state = self.office.lock();
        state.is_ready = true;
        for (app, name) in webhooks.iter().flat_map(|(app, of_app)| of_app.keys().map(move |name| (app, name))) {
            self.office.lane(&mut state, app, name);
        }
        for (app, of_app) in &mut state.lanes {
            for (name, lane) in of_app.iter_mut() {
                if lane.serve(webhooks.get(app).and_then(|of_app| of_app.get(name)).cloned()) {
                    let parcels = lane.pending();
                    tracing::warn!(
                        app = &**app,
                        webhook = &**name,
                        parcels,
                        "parcels wait for a webhook that no file has; they are kept for a while"
                    );
                }
            }
            of_app.retain(|_, lane| !lane.is_gone() || lane.pending() > 0);
        }
        state.lanes.retain(|_, of_app| !of_app.is_empty());
        drop(state);
        self.office.wake.notify_one();
    }

    /// Goes on with what was in the outbox when the process ended. Once, before the first `sent`.
    pub fn start(&self, parcels: Vec<Parcel>) {
        let mut state = self.office.lock();
        for parcel in parcels {
            self.office.lane(&mut state, &parcel.app, &parcel.webhook).add(parcel);
        }
        drop(state);
        self.office.wake.notify_one();
    }

    /// A new parcel was committed. Never waits for a call: it may be told by the store's own thread.
    pub fn sent(&self, parcel: Parcel) {
        let mut state = self.office.lock();
        self.office.lane(&mut state, &parcel.app, &parcel.webhook).add(parcel);
        drop(state);
        self.office.wake.notify_one();
    }

    /// Whether this webhook takes one more parcel: false where its `pending_max` or `pending_bytes` is reached, or where
    /// no file in force has it. Commits under way may take it beyond by their number; none of those is lost.
    pub fn room(&self, app: &str, webhook: &str) -> bool {
        self.office.lock().lanes.get(app).and_then(|of_app| of_app.get(webhook)).is_some_and(Lane::has_room)
    }

    /// Begins no more calls, and waits for those under way, `wait` at most. What comes meanwhile stays in the outbox.
    /// Must be polled on a tokio runtime.
    pub async fn stop(&self, wait: Duration) {
        self.office.lock().is_stopping = true;
        self.office.wake.notify_one();
        let task = self.task.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(mut task) = task
            && tokio::time::timeout(wait, &mut task).await.is_err()
        {
            task.abort();
            // Its end, not its value: an abort is what was asked for.
            let _ = task.await;
        }
    }
}

impl Drop for Post {
    fn drop(&mut self) {
        if let Some(task) = self.task.get_mut().unwrap_or_else(PoisonError::into_inner) {
            task.abort();
        }
    }
}

impl Office {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The lane of a webhook, made where it is missing: gone, until a generation has it.
    fn lane<'a>(&self, state: &'a mut State, app: &Arc<str>, name: &Arc<str>) -> &'a mut Lane {
        let of_app = state.lanes.entry(app.clone()).or_default();
        of_app.entry(name.clone()).or_insert_with(|| Lane::new(self.metrics.webhook(app, name)))
    }

    async fn run(self: Arc<Office>) {
        // Calls live in this set: they end with it.
        let mut flights = JoinSet::new();
        loop {
            let (outgoing, next) = self.due(clock());
            for outgoing in outgoing {
                flights.spawn(Flight { office: self.clone(), outgoing: Some(outgoing) }.run());
            }
            if flights.is_empty() && self.lock().is_stopping {
                return;
            }
            let sleep = next.map_or(LOOK_AGAIN, |at| Duration::from_millis(at.saturating_sub(clock())).min(LOOK_AGAIN));
            tokio::select! {
                () = self.wake.notified() => {}
                Some(ended) = flights.join_next() => look(&ended),
                () = tokio::time::sleep(sleep) => {}
            }
            while let Some(ended) = flights.try_join_next() {
                look(&ended);
            }
        }
    }

    /// All that may go out at `now`, and when to look again.
    fn due(&self, now: Millis) -> (Vec<Outgoing>, Option<Millis>) {
        let mut state = self.lock();
        if !state.is_ready || state.is_stopping {
            return (Vec::new(), None);
        }
        let (mut outgoing, mut next) = (Vec::new(), None::<Millis>);
        for lane in state.lanes.values_mut().flat_map(BTreeMap::values_mut) {
            outgoing.extend(std::iter::from_fn(|| lane.take(now)));
            next = next.into_iter().chain(lane.next_at()).min();
        }
        (outgoing, next)
    }

    async fn commit(&self, write: Write) -> Result<(), StoreError> {
        let (done, told) = oneshot::channel();
        self.store.commit(vec![write], Box::new(move |result| drop(done.send(result))));
        told.await.unwrap_or_else(|_| Err(StoreError::Broken("no answer".into())))
    }

    /// Until it is kept: a parcel that is at its end must not go out again after a restart because the store was busy.
    async fn commit_end(&self, parcel: &Parcel, end: Write) {
        while let Err(why) = self.commit(end.clone()).await {
            let (app, webhook, id) = (&*parcel.app, &*parcel.webhook, id_text(parcel.id));
            tracing::warn!(app, webhook, id, %why, "the end of a parcel could not be stored; trying again");
            tokio::time::sleep(STORE_RETRY).await;
        }
    }
}

/// One parcel under way. Whatever ends it, the parcel is settled or back in its lane.
struct Flight {
    office: Arc<Office>,
    /// `None`: settled.
    outgoing: Option<Outgoing>,
}

impl Flight {
    async fn run(mut self) {
        let Some(Outgoing { parcel, webhook, metrics }) = &self.outgoing else { return };
        let office = &self.office;
        let Some(webhook) = webhook else {
            metrics.delivery(Delivery::Dead, None);
            office.bury(parcel, "its webhook is in no file any more").await;
            return self.settle();
        };
        let begun = Instant::now();
        let verdict = attempt(&office.client, webhook, parcel, clock()).await;
        let (took, now) = (Some(begun.elapsed()), clock());
        let give_up_at = parcel.created_at.saturating_add(webhook.give_up_after.0);
        office.note(parcel, &verdict, now);
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
            Verdict::Failed { why, .. } if now >= give_up_at => {
                metrics.delivery(Delivery::Dead, took);
                office.bury(parcel, &why).await;
                self.settle();
            }
            Verdict::Failed { why, after_ms } => {
                metrics.delivery(Delivery::Retry, took);
                let attempts = parcel.attempts.saturating_add(1);
                // The last attempt is at the end of its time, not before.
                let due = now.saturating_add(wait_ms(&webhook.retry, attempts, after_ms)).min(give_up_at);
                office.commit_retry(parcel, attempts, due, why).await;
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

    fn back(&mut self, attempts: u32, due: Millis) {
        if let Some(Outgoing { parcel, .. }) = self.outgoing.take() {
            let parcel = Parcel { attempts, due, ..parcel };
            let mut state = self.office.lock();
            self.office.lane(&mut state, &parcel.app.clone(), &parcel.webhook.clone()).back(parcel);
        }
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        // Not settled: a mistake of ours ended it in the middle. Later, so that a mistake does not spin.
        if let Some(Outgoing { parcel, .. }) = &self.outgoing {
            let (attempts, due) = (parcel.attempts, clock() + STORE_RETRY.as_millis() as u64);
            self.back(attempts, due);
        }
    }
}

impl Office {
    /// Tells when a webhook begins to fail and when it is well again; each single call only at level `debug`.
    fn note(&self, parcel: &Parcel, verdict: &Verdict, now: Millis) {
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
        tracing::error!(app, webhook, id, attempts, why, "a parcel was given up");
        self.commit_end(parcel, Write::ParcelDead { id: parcel.id, why: why.into() }).await;
    }

    /// Once: where the store fails, the lane knows it still, and a restart tries a little too early.
    async fn commit_retry(&self, parcel: &Parcel, attempts: u32, due: Millis, why: String) {
        if let Err(error) = self.commit(Write::ParcelRetry { id: parcel.id, attempts, due, why }).await {
            let (app, webhook, id) = (&*parcel.app, &*parcel.webhook, id_text(parcel.id));
            tracing::warn!(app, webhook, id, %error, "a parcel's next attempt could not be stored");
        }
    }
}

/// A panic ends one call; its parcel is back in its lane.
fn look(ended: &Result<(), JoinError>) {
    if ended.as_ref().is_err_and(JoinError::is_panic) {
        tracing::error!("a panic while a parcel was under way");
    }
}

fn wait_ms(retry: &Retry, attempts: u32, asked: Option<u64>) -> u64 {
    // Without chance they come back together, which is no reason to end the process.
    retry.wait_ms(attempts, asked, getrandom::u64().unwrap_or(0))
}

fn clock() -> Millis {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as u64)
}
