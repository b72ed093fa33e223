//! The sender, one a process: holds what waits, and lets go what is due.

use super::flight::Flight;
use super::lane::{Lane, Outgoing};
use super::settings::Webhook;
use crate::auth::{HttpClient, Trust, http_client};
use crate::model::Mono;
use crate::observe::{Metrics, clock};
use crate::store::{Parcel, Store};
use bytes::Bytes;
use http_body_util::Full;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::task::{JoinError, JoinHandle, JoinSet};

/// The webhooks of the files in force: app → name → webhook.
pub type Webhooks = BTreeMap<Arc<str>, BTreeMap<Arc<str>, Arc<Webhook>>>;

/// The longest sleep: a lane that was missed waits no longer.
const LOOK_AGAIN: Duration = Duration::from_secs(30);

/// The sender. A drop ends it at once; what was under way is then sent again at the next start.
pub struct Post {
    office: Arc<Office>,
    task: Mutex<Option<JoinHandle<()>>>,
}

/// What the loop and its calls share.
pub(super) struct Office {
    pub store: Arc<dyn Store>,
    metrics: Arc<Metrics>,
    pub client: HttpClient<Full<Bytes>>,
    state: Mutex<State>,
    wake: Notify,
}

#[derive(Default)]
pub(super) struct State {
    /// App → webhook → what waits for it.
    lanes: BTreeMap<Arc<str>, BTreeMap<Arc<str>, Lane>>,
    /// Files are in force: it is known which webhooks there are.
    is_ready: bool,
    /// Nothing new goes out.
    is_stopping: bool,
}

impl Post {
    /// `background`: the runtime that calls are made on. Nothing goes out before the first `set_generation`.
    pub fn new(background: &Handle, store: Arc<dyn Store>, metrics: Arc<Metrics>, trust: &Trust) -> Post {
        let (client, state, wake) = (http_client(trust), Mutex::default(), Notify::new());
        let office = Arc::new(Office { store, metrics, client, state, wake });
        // Calls that it drops are back in their lanes: they go out again.
        let (tasks, again) = (office.metrics.tasks.clone(), office.clone());
        let task = background.spawn(tasks.supervise("webhooks".into(), move || again.clone().run()));
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
            self.office.lane(&mut state, &parcel.app, &parcel.webhook).add(parcel, clock());
        }
        drop(state);
        self.office.wake.notify_one();
    }

    /// A new parcel was committed. Never waits for a call: it may be told by the store's own thread.
    pub fn sent(&self, parcel: Parcel) {
        let mut state = self.office.lock();
        self.office.lane(&mut state, &parcel.app, &parcel.webhook).add(parcel, clock());
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
    pub fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The lane of a webhook, made where it is missing: gone, until a generation has it.
    pub fn lane<'a>(&self, state: &'a mut State, app: &Arc<str>, name: &Arc<str>) -> &'a mut Lane {
        let of_app = state.lanes.entry(app.clone()).or_default();
        of_app
            .entry(name.clone())
            .or_insert_with(|| Lane::new(self.metrics.webhook(app, name), self.metrics.memory.named(app)))
    }

    async fn run(self: Arc<Office>) -> Result<(), String> {
        // Calls live in this set: they end with it.
        let mut flights = JoinSet::new();
        loop {
            let (outgoing, next) = self.due(clock().mono);
            for outgoing in outgoing {
                flights.spawn(Flight { office: self.clone(), outgoing: Some(outgoing) }.run());
            }
            if flights.is_empty() && self.lock().is_stopping {
                return Ok(());
            }
            let sleep = next.map_or(LOOK_AGAIN, |at| Duration::from_millis(at.since(clock().mono)).min(LOOK_AGAIN));
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
    fn due(&self, now: Mono) -> (Vec<Outgoing>, Option<Mono>) {
        let mut state = self.lock();
        if !state.is_ready || state.is_stopping {
            return (Vec::new(), None);
        }
        let (mut outgoing, mut next) = (Vec::new(), None::<Mono>);
        for lane in state.lanes.values_mut().flat_map(BTreeMap::values_mut) {
            outgoing.extend(std::iter::from_fn(|| lane.take(now)));
            next = next.into_iter().chain(lane.next_at()).min();
        }
        (outgoing, next)
    }
}

/// A panic ends one call; its parcel is back in its lane.
fn look(ended: &Result<(), JoinError>) {
    if ended.as_ref().is_err_and(JoinError::is_panic) {
        tracing::error!("a panic while a parcel was under way");
    }
}
