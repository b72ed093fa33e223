//! What handlers see of the world, and who carries out what they ask for: the gateway; in tests somebody with a fixed clock.

use super::{Asker, Connection, Effect, Fault};
use crate::model::{AppId, AppStats, ChannelInfo, ChannelName, ConnectionInfo, Event, Member, Now, Refusal, Target};
use crate::store::Parcel;

/// Read-only. Every read may wait up to `wait_ms`, then it fails with `overloaded`.
pub trait Host: Send + Sync {
    fn now(&self) -> Now;
    /// 128 random bits.
    fn random(&self) -> u128;
    /// Those of a fresh id: a rehearsal counts them, so that its tests can name them.
    fn random_id(&self) -> u128 {
        self.random()
    }
    /// Takes a line that a handler printed, instead of the log. `false`: it goes there.
    fn printed(&self, _line: &str) -> bool {
        false
    }
    /// A handler failed; the log and the metrics know.
    fn failed(&self, _fault: &Fault) {}
    /// The newest `limit` events, oldest first.
    fn history(&self, app: AppId, channel: &ChannelName, limit: usize, wait_ms: u64) -> Result<Vec<Event>, Refusal>;
    /// Who is on a channel with presence.
    fn presence(&self, app: AppId, channel: &ChannelName, wait_ms: u64) -> Result<Vec<Member>, Refusal>;
    /// Channels whose names begin with `prefix` and that have subscribers, by name, `limit` at most.
    fn channels(&self, app: AppId, prefix: &str, limit: usize, wait_ms: u64) -> Result<Vec<ChannelInfo>, Refusal>;
    /// Oldest first, and how many there are.
    fn connections(
        &self,
        app: AppId,
        target: Target,
        limit: usize,
        wait_ms: u64,
    ) -> Result<(Vec<ConnectionInfo>, usize), Refusal>;
    /// `claims`: those to count connections by.
    fn stats(&self, app: AppId, claims: &[String], wait_ms: u64) -> Result<AppStats, Refusal>;
}

/// Carries effects out. Never waits; effects of one call in their order.
pub trait Carry: Send + Sync {
    /// `asker`: whose message is answered by `Effect::Reply`. `tell`: how many connections publications and sends reached,
    /// together, once all shards have counted.
    fn carry(
        &self,
        app: AppId,
        asker: Option<(&Connection, &Asker)>,
        effects: Vec<Effect>,
        tell: Option<tokio::sync::oneshot::Sender<u32>>,
    );
}

/// Whoever sends webhooks.
pub trait Outbox: Send + Sync {
    /// Whether one more parcel may wait; if not, the call that asks for it is refused, `overloaded`.
    fn room(&self, app: &str, webhook: &str) -> bool;
    /// A parcel was committed; it may be sent. Must not wait.
    fn sent(&self, parcel: Parcel);
}
