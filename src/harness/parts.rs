//! What a gateway in one thread is made of: kernels, handlers, a clock that stands still.

use super::clock::{Chance, Clock};
use super::host::{Seen, Stage};
use super::kernels::Kernels;
use crate::flow::Generation;
use crate::kernel::{Input, Shared};
use crate::model::{AppId, Millis};
use crate::observe::Metrics;
use crate::script::{self, Workers};
use crate::store::Store;
use arc_swap::ArcSwap;
use fragile::Fragile;
use std::rc::Rc;
use std::sync::Arc;

pub(super) struct Parts {
    pub kernels: Rc<Kernels>,
    pub workers: Arc<Workers>,
    pub clock: Arc<Clock>,
    pub seen: Arc<Seen>,
    stage: Arc<Stage>,
    app: AppId,
}

impl Parts {
    /// So many kernels, and the handlers of one app.
    pub fn new(app: AppId, generation: &Arc<Generation>, kernels: usize, store: Arc<dyn Store>, now: Millis) -> Parts {
        let metrics = Metrics::new();
        for app in generation.apps.iter().flatten() {
            drop(metrics.app(app.id, &app.name));
        }
        let (clock, seen) = (Arc::new(Clock::new(now)), Arc::new(Seen::default()));
        let shared = Shared::new(kernels, metrics.clone());
        shared.take_limits(generation);
        let kernels = Rc::new(Kernels::new(generation, &shared, clock.clone()));
        let stage = Arc::new(Stage {
            generation: ArcSwap::new(generation.clone()),
            clock: clock.clone(),
            chance: Chance::default(),
            seen: seen.clone(),
            kernels: Fragile::new(Rc::downgrade(&kernels)),
        });
        let (host, carry, outbox) = (stage.clone(), stage.clone(), stage.clone());
        let process = script::Process::default();
        let workers = Workers::stepwise(&process, host, carry, Some(store), Some(outbox), metrics);
        shared.set_workers(workers.clone());
        let parts = Parts { app, kernels, workers, clock, seen, stage };
        parts.take_handlers(generation);
        parts
    }

    /// Other files are in force from now on; in the order in which a gateway tells of them.
    pub fn take(&self, generation: &Arc<Generation>) {
        let shared = self.kernels.port.shared();
        shared.take_limits(generation);
        shared.put_all(|| Input::Generation(generation.clone()));
        self.stage.generation.store(generation.clone());
        self.take_handlers(generation);
    }

    /// The app's plugin and timers; none of others, which are no part of it.
    fn take_handlers(&self, generation: &Generation) {
        let handlers = generation.app(self.app).and_then(|app| Some(app.handlers.as_ref()?.script.clone()));
        if let Err(error) = self.workers.set_apps(handlers.into_iter().collect()) {
            self.seen.fault(error.to_string());
        }
    }
}
