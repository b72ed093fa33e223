//! What the API asks of the kernels.

use crate::flow::{App, Wish};
use crate::hub::Page;
use crate::kernel::{Caller, Port, Receipt};
use crate::model::{
    AppId, AppStats, ChannelInfo, ChannelName, Command, ConnectionInfo, Member, Position, Refusal, Target,
};
use crate::script::Finished;

/// What the API asks of all kernels. `Port` answers; tests have one of their own. A handle: cheap to clone.
pub trait Gateway: Clone + Send + Sync + 'static {
    /// What of it came to be.
    fn execute(&self, caller: &Caller, command: &Command) -> impl Future<Output = Result<Receipt, Refusal>> + Send;

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
    async fn execute(&self, caller: &Caller, command: &Command) -> Result<Receipt, Refusal> {
        Port::execute(self, caller, command).await
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
