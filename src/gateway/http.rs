//! Joins the HTTP API to the listeners.

use crate::api::{self, Admin, Context, State};
use crate::kernel::Port;
use crate::listen::{Answering, Api, ApiRequest, Front};
use crate::observe::{Metrics, clock};
use arc_swap::ArcSwap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// One for all shards.
pub struct Http {
    pub state: Arc<State>,
    pub port: Port,
    /// By listener: what it is bound to.
    pub ports: Arc<ArcSwap<Vec<u16>>>,
    pub admin: Arc<dyn Admin>,
}

/// Only words: metrics of what tasks said are the operator's, and `/readyz` may be asked by anybody.
fn not_ready(draining: bool, metrics: &Metrics) -> Arc<[String]> {
    let draining = draining.then(|| "draining".to_owned());
    draining.into_iter().chain(metrics.tasks.down()).collect()
}

impl Api for Http {
    fn handle(&self, request: ApiRequest, front: Arc<Front>) -> Answering {
        let shared = self.port.shared();
        let draining = shared.draining.load(Ordering::Relaxed);
        let context = Context {
            site: front.site.clone(),
            generation: front.generation.clone(),
            state: self.state.clone(),
            metrics: shared.metrics.clone(),
            not_ready: not_ready(draining, &shared.metrics),
            gateway: self.port.clone(),
            admin: Some(self.admin.clone()),
        };
        let listener = usize::from(request.listener);
        let request = api::Request {
            method: request.method,
            path: request.path.into(),
            query: request.query.into(),
            headers: request.headers,
            body: request.body,
            ip: request.ip,
            listener: front.entrance.listener(request.listener).map_or_else(String::new, |l| l.name.clone()).into(),
            port: self.ports.load().get(listener).copied().unwrap_or_default(),
            now: clock(),
        };
        Box::pin(async move { api::handle(&context, request).await })
    }
}
