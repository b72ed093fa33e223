//! One live connection, as decisions about it see it: for operators who ask why.

use super::input::Ask;
use super::io::Io;
use super::kernel::Kernel;
use super::port::{Port, ask};
use crate::flow::App;
use crate::model::{ConnectionId, Identity, Refusal};
use crate::policy::RequestView;
use std::sync::Arc;

/// What decisions about a live connection hang on.
pub struct LiveConnection {
    pub identity: Arc<Identity>,
    /// Where it was kept.
    pub request: Option<Arc<dyn RequestView + Send + Sync>>,
    pub app: Arc<App>,
    /// Its path.
    pub endpoint: Option<Arc<str>>,
    /// In force on its shard.
    pub generation: u64,
}

impl Port {
    /// An open connection of any app.
    pub async fn look(&self, id: ConnectionId) -> Result<Option<LiveConnection>, Refusal> {
        Ok(self.all(|tell| ask(Ask::Live { id, tell })).await?.into_iter().flatten().next())
    }
}

impl<I: Io> Kernel<I> {
    pub(super) fn live(&self, id: ConnectionId) -> Option<LiveConnection> {
        let session = &self.conns.get(self.conns.find(id)?).filter(|c| c.is_open())?.session;
        let app = self.generation.app(session.app)?.clone();
        Some(LiveConnection {
            identity: session.identity.clone(),
            request: session.request.clone(),
            endpoint: app.endpoint(session.endpoint).map(|e| e.path.clone()),
            app,
            generation: self.generation.number,
        })
    }
}
