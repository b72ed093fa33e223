//! What a gateway in one thread is made of: kernels, handlers, a clock that stands still.

use super::clock::{Chance, Clock};
use super::host::{Seen, Stage};
use super::kernels::Kernels;
use crate::flow::{App, Generation};
use crate::kernel::Shared;
use crate::model::Millis;
use crate::observe::Metrics;
use crate::script::{self, Workers};
use crate::store::Store;
use fragile::Fragile;
use std::rc::Rc;
use std::sync::Arc;

pub(super) struct Parts {
    pub kernels: Rc<Kernels>,
    pub workers: Arc<Workers>,
    pub clock: Arc<Clock>,
    pub seen: Arc<Seen>,
}

impl Parts {
    /// So many kernels, and the handlers of one app.
    pub fn new(
        app: &Arc<App>,
        generation: &Arc<Generation>,
        kernels: usize,
        store: Arc<dyn Store>,
        now: Millis,
    ) -> Parts {
        let metrics = Metrics::new();
        drop(metrics.app(app.id, &app.name));
        let (clock, seen) = (Arc::new(Clock::new(now)), Arc::new(Seen::default()));
        let shared = Shared::new(kernels, metrics.clone());
        shared.take_limits(generation);
        let kernels = Rc::new(Kernels::new(generation, &shared, clock.clone()));
        let stage = Arc::new(Stage {
            app: app.clone(),
            generation: generation.clone(),
            clock: clock.clone(),
            chance: Chance::default(),
            seen: seen.clone(),
            kernels: Fragile::new(Rc::downgrade(&kernels)),
        });
        let (host, carry, outbox) = (stage.clone(), stage.clone(), stage);
        let process = script::Process::default();
        let workers = Workers::stepwise(&process, host, carry, Some(store), Some(outbox), metrics);
        shared.set_workers(workers.clone());
        let parts = Parts { kernels, workers, clock, seen };
        parts.set_handlers(app);
        parts
    }

    /// The app's plugin and timers from now on.
    pub fn set_handlers(&self, app: &App) {
        if let Some(handlers) = &app.handlers
            && let Err(error) = self.workers.set_apps(vec![handlers.script.clone()])
        {
            self.seen.fault(error.to_string());
        }
    }
}
