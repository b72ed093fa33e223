//! What the API asks of the shards.

use crate::flow::{App, Draft, Generation, Wish};
use crate::hub::Page;
use crate::kernel::{Port, Receipt};
use crate::model::Target;
use crate::model::{AppId, ChannelName, Close, Member, Position, Refusal};
use crate::model::{AppStats, ChannelInfo, ConnectionInfo};
use crate::observe::Via;
use crate::policy::Scope;
use crate::script::Finished;
use bytes::Bytes;
use std::sync::Arc;

/// On whose authority a call happens, and by which loading of the files.
#[derive(Clone)]
pub struct Ground {
    pub generation: Arc<Generation>,
    pub app: Arc<App>,
    pub scope: Scope,
    /// For logs: the API key's name, or the route.
    pub by: Arc<str>,
}

/// What the API asks of all shards. `Port` answers; tests have one of their own. A handle: cheap to clone.
pub trait Gateway: Clone + Send + Sync + 'static {
    /// To all of these; a connection on several of them hears it once.
    fn publish(
        &self,
        ground: &Ground,
        channels: &[ChannelName],
        draft: Draft,
        via: Via,
    ) -> impl Future<Output = Result<Receipt, Refusal>> + Send;

    /// Past all channels, to connections. How many it reached.
    fn send(&self, app: AppId, target: Target, text: Bytes) -> impl Future<Output = Result<u32, Refusal>> + Send;

    /// How many connections the target names.
    fn subscribe(
        &self,
        ground: &Ground,
        target: Target,
        channel: &ChannelName,
    ) -> impl Future<Output = Result<u32, Refusal>> + Send;

    fn unsubscribe(
        &self,
        app: AppId,
        target: Target,
        channel: &ChannelName,
    ) -> impl Future<Output = Result<u32, Refusal>> + Send;

    fn disconnect(&self, app: AppId, target: Target, close: Close)
    -> impl Future<Output = Result<u32, Refusal>> + Send;

    /// Closes connections without a frame for `idle_ms`. How many.
    fn cleanup(&self, app: AppId, idle_ms: u64) -> impl Future<Output = Result<u32, Refusal>> + Send;

    /// Has a handler called; what became of it.
    fn call(&self, wish: Wish) -> impl Future<Output = Result<Finished, Refusal>> + Send;

    fn presence(&self, app: &App, channel: &ChannelName) -> impl Future<Output = Result<Vec<Member>, Refusal>> + Send;

    fn history(
        &self,
        app: &App,
        channel: &ChannelName,
        since: Option<Position>,
        limit: usize,
    ) -> impl Future<Output = Result<Page, Refusal>> + Send;

    /// Those that pass, `limit` at most, by name.
    fn channels(
        &self,
        app: AppId,
        limit: usize,
        pass: impl Fn(&ChannelName) -> bool + Send + Sync + 'static,
    ) -> impl Future<Output = Result<Vec<ChannelInfo>, Refusal>> + Send;

    /// `limit` of them at most, and how many there are.
    fn connections(
        &self,
        app: AppId,
        target: Target,
        limit: usize,
    ) -> impl Future<Output = Result<(Vec<ConnectionInfo>, usize), Refusal>> + Send;

    /// `claims`: those to count connections by.
    fn stats(&self, app: AppId, claims: &[String]) -> impl Future<Output = Result<AppStats, Refusal>> + Send;
}

impl Gateway for Port {
    async fn publish(&self, g: &Ground, channels: &[ChannelName], draft: Draft, via: Via) -> Result<Receipt, Refusal> {
        Port::publish(self, &g.generation, &g.app, &g.scope, channels, draft, via).await
    }
    async fn send(&self, app: AppId, target: Target, text: Bytes) -> Result<u32, Refusal> {
        Port::send(self, app, target, text).await
    }
    async fn subscribe(&self, g: &Ground, target: Target, channel: &ChannelName) -> Result<u32, Refusal> {
        Port::subscribe(self, g.app.id, target, &g.scope, channel, &g.generation).await
    }
    async fn unsubscribe(&self, app: AppId, target: Target, channel: &ChannelName) -> Result<u32, Refusal> {
        Port::unsubscribe(self, app, target, channel).await
    }
    async fn disconnect(&self, app: AppId, target: Target, close: Close) -> Result<u32, Refusal> {
        Port::disconnect(self, app, target, close).await
    }
    async fn cleanup(&self, app: AppId, idle_ms: u64) -> Result<u32, Refusal> {
        Port::cleanup(self, app, idle_ms).await
    }
    async fn call(&self, wish: Wish) -> Result<Finished, Refusal> {
        Port::call(self, wish).await
    }
    async fn presence(&self, app: &App, channel: &ChannelName) -> Result<Vec<Member>, Refusal> {
        Port::presence(self, app, channel).await
    }
    async fn history(
        &self,
        app: &App,
        channel: &ChannelName,
        since: Option<Position>,
        limit: usize,
    ) -> Result<Page, Refusal> {
        Port::history(self, app, channel, since, limit).await
    }
    async fn channels(
        &self,
        app: AppId,
        limit: usize,
        pass: impl Fn(&ChannelName) -> bool + Send + Sync + 'static,
    ) -> Result<Vec<ChannelInfo>, Refusal> {
        Port::channels(self, app, limit, pass).await
    }
    async fn connections(
        &self,
        app: AppId,
        target: Target,
        limit: usize,
    ) -> Result<(Vec<ConnectionInfo>, usize), Refusal> {
        Port::connections(self, app, target, limit).await
    }
    async fn stats(&self, app: AppId, claims: &[String]) -> Result<AppStats, Refusal> {
        Port::stats(self, app, claims).await
    }
}
