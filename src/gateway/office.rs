//! Where the admin listener's questions about files go.

use super::plan::Planner;
use super::reload::Desk;
use crate::api::admin::{LiveExplanation, Plan, Reloaded, Status};
use crate::api::{Admin, Doing, NotDone, Wanted};
use std::sync::Arc;
use std::sync::atomic::Ordering;

pub struct Office {
    pub desk: Arc<Desk>,
    pub planner: Arc<Planner>,
}

impl Office {
    fn draining(&self) -> bool {
        self.planner.port.shared().draining.load(Ordering::Relaxed)
    }
}

impl Admin for Office {
    fn status(&self) -> Status {
        self.desk.told()
    }

    fn reload(&self, by: &str) -> Doing<Reloaded> {
        match self.draining() {
            true => Box::pin(async { Err(NotDone::Draining) }),
            false => self.desk.reload(by),
        }
    }

    fn plan(&self, candidate: String) -> Doing<Plan> {
        Box::pin(self.planner.clone().plan(candidate))
    }

    fn explain(&self, wanted: Wanted) -> Doing<LiveExplanation> {
        Box::pin(self.planner.clone().explain(wanted))
    }
}
