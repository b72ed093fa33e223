//! What other files would change, asked of the running gateway; and why a live connection may or may not.
//!
//! Nothing is put in force: the candidate is read as a reload reads it, held against what is in force and against
//! every live connection, and forgotten. No listener is bound, nothing is fetched, no figure of reloads moves.

use super::process::aside;
use super::scripts::Scripts;
use crate::api::admin::{KeptRequest, LiveExplanation, Plan};
use crate::api::{NotDone, Wanted};
use crate::auth::Fetcher;
use crate::config::{self, Compiled, Environment, Reading};
use crate::flow::Rows;
use crate::harness;
use crate::kernel::Port;
use crate::listen::Front;
use crate::model::Refusal;
use crate::observe::clock;
use crate::policy::{Asking, RequestView};
use arc_swap::ArcSwap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;

/// Plans and explanations at once: each reads and compiles all files, or a rule part by part. Beyond: 503.
const AT_ONCE_MAX: usize = 2;

/// All that looking needs.
pub struct Planner {
    pub env: Environment,
    pub fetcher: Fetcher,
    pub in_force: Arc<ArcSwap<Compiled>>,
    pub front: Arc<ArcSwap<Front>>,
    pub port: Port,
    pub scripts: Arc<Scripts>,
    /// Compiling is for threads that no socket waits for.
    pub background: tokio::runtime::Handle,
    turns: Semaphore,
}

const BUSY: NotDone = NotDone::Overloaded("Other plans are being made");

impl Planner {
    pub fn new(
        (env, fetcher): (Environment, Fetcher),
        in_force: Arc<ArcSwap<Compiled>>,
        front: Arc<ArcSwap<Front>>,
        port: Port,
        scripts: Arc<Scripts>,
    ) -> Planner {
        let background = tokio::runtime::Handle::current();
        Planner { env, fetcher, in_force, front, port, scripts, background, turns: Semaphore::new(AT_ONCE_MAX) }
    }

    /// `candidate`: a folder with a `gateway.toml`, or such a file.
    pub async fn plan(self: Arc<Planner>, candidate: String) -> Result<Plan, NotDone> {
        let _turn = self.turns.try_acquire().map_err(|_| BUSY)?;
        let path = Path::new(&candidate);
        if !path.is_absolute() {
            return Err(NotDone::Invalid("`candidate` must be an absolute path on the gateway's machine".into()));
        }
        let file = if path.extension().is_some_and(|e| e == "toml") { path.into() } else { path.join("gateway.toml") };
        let (planner, (previous, number)) = (self.clone(), self.in_force().await);
        let read = aside(move || {
            let (reading, _) = config::read_next(&file, &planner.env, &planner.fetcher, &previous);
            planner.of(reading, number)
        });
        let mistake = || NotDone::Internal("reading the files ended by a mistake of Weir's own".into());
        let (mut plan, candidate) = read.await.ok_or_else(mistake)?;
        if let Some(candidate) = candidate {
            let revoked = self.port.foresee(&candidate.generation).await;
            plan.revoked = Some(revoked.map_err(|_: Refusal| NotDone::Overloaded("The shards are overloaded"))?);
        }
        Ok(plan)
    }

    /// As a reload would take it, but for sockets: whether an address is free, only binding it tells.
    fn of(&self, reading: Reading, generation: u64) -> (Plan, Option<Front>) {
        let restart = reading.refused.into_iter().map(|refused| refused.restart).collect();
        let usable = reading.candidate.and_then(|candidate| {
            harness::gate(&candidate.compiled)?;
            match self.scripts.unusable(&candidate.compiled) {
                Some(fault) => Err(vec![fault]),
                None => Ok(candidate),
            }
        });
        let (made, faults) = match usable {
            Ok(candidate) => (Some(candidate), Vec::new()),
            Err(faults) => (None, faults),
        };
        let front = made.as_ref().map(|made| made.compiled.front(generation + 1));
        let plan = Plan {
            ok: made.is_some(),
            faults,
            generation,
            digest: made.as_ref().map(|made| made.compiled.digest.to_string()),
            restart,
            revoke: made.as_ref().map(|made| made.compiled.reload.revoke),
            revoked: None,
            warnings: made.as_ref().map(|made| made.compiled.warnings.clone()).unwrap_or_default(),
            changes: made.map(|made| made.diff.changes),
        };
        (plan, front)
    }

    /// What the files came to, and their generation: one is told of a reload a moment before the other.
    async fn in_force(&self) -> (Arc<Compiled>, u64) {
        loop {
            let (compiled, front) = (self.in_force.load_full(), self.front.load_full());
            if front.generation.digest == *compiled.digest {
                return (compiled, front.generation.number);
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// Why a live connection may or may not, by the files in force.
    pub async fn explain(self: Arc<Planner>, wanted: Wanted) -> Result<LiveExplanation, NotDone> {
        let _turn = self.turns.try_acquire().map_err(|_| BUSY)?;
        let found = self.port.look(wanted.connection).await;
        let found = found.map_err(|_| NotDone::Overloaded("The shards are overloaded"))?;
        let Some(live) = found else {
            return Err(NotDone::NotFound(format!("No connection {} is open", wanted.connection)));
        };
        let explained = self.background.spawn_blocking(move || {
            let now = clock();
            let rows = Rows::as_they_are(&live.app.tables, now.mono);
            let request = live.request.as_deref().map(|r| r as &dyn RequestView);
            let asking = Asking { identity: &live.identity, request, tables: &rows, now: now.wall };
            LiveExplanation {
                why: live.app.policy.explain(wanted.does, &wanted.on, &asking),
                generation: live.generation,
                connection: wanted.connection.to_string(),
                app: live.app.name.to_string(),
                user: live.identity.user.as_deref().map(Into::into),
                endpoint: live.endpoint.as_deref().map(Into::into),
                request: if live.request.is_some() { KeptRequest::Kept } else { KeptRequest::NotKept },
            }
        });
        explained.await.map_err(|error| NotDone::Internal(error.to_string()))
    }
}
