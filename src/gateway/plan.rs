//! What other files would change, asked of the running gateway; and why a live connection may or may not.
//!
//! Nothing is put in force: the candidate is read as a reload reads it, held against what is in force and against
//! every live connection, and forgotten. No listener is bound, nothing is fetched, no figure of reloads moves.

use super::process::aside;
use crate::api::admin::{Changes, KeptRequest, LiveExplanation, Plan, Restart};
use crate::api::{NotDone, Wanted};
use crate::auth::Fetcher;
use crate::config::{self, Compiled, Environment, Means};
use crate::flow::Rows;
use crate::kernel::Port;
use crate::listen::Front;
use crate::model::{Fault, Refusal};
use crate::observe::clock;
use crate::policy::{Asking, RequestView};
use arc_swap::ArcSwap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;

/// Plans and explanations at once: each reads and compiles all files, or a rule part by part. Beyond: 503.
const AT_ONCE_MAX: usize = 2;

/// All that looking needs.
pub struct Planner {
    /// The `gateway.toml` that is in force.
    pub gateway: PathBuf,
    pub env: Environment,
    pub fetcher: Fetcher,
    pub in_force: Arc<ArcSwap<Compiled>>,
    pub front: Arc<ArcSwap<Front>>,
    pub port: Port,
    /// Compiling is for threads that no socket waits for.
    pub background: tokio::runtime::Handle,
    turns: Semaphore,
}

const BUSY: NotDone = NotDone::Overloaded("Other plans are being made");

impl Planner {
    pub fn new(
        (gateway, env, fetcher): (PathBuf, Environment, Fetcher),
        in_force: Arc<ArcSwap<Compiled>>,
        front: Arc<ArcSwap<Front>>,
        port: Port,
    ) -> Planner {
        let background = tokio::runtime::Handle::current();
        Planner { gateway, env, fetcher, in_force, front, port, background, turns: Semaphore::new(AT_ONCE_MAX) }
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
            let means = Means { env: &planner.env, fetcher: &planner.fetcher, previous: Some(&previous) };
            let (compiled, restart) = config::read_candidate(&file, &means);
            compiled_plan(compiled, restart, (&previous, &planner.gateway, number), &file)
        });
        let mistake = || NotDone::Internal("reading the files ended by a mistake of Weir's own".into());
        let (mut plan, candidate) = read.await.ok_or_else(mistake)?;
        if let Some(candidate) = candidate {
            let revoked = self.port.foresee(&candidate.generation).await;
            plan.revoked = Some(revoked.map_err(|_: Refusal| NotDone::Overloaded("The shards are overloaded"))?);
        }
        Ok(plan)
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
            let rows = Rows { tables: &live.app.tables, now: now.mono, asks: false };
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

fn compiled_plan(
    compiled: Result<Compiled, Vec<Fault>>,
    restart: Vec<Restart>,
    (previous, live, generation): (&Compiled, &Path, u64),
    file: &Path,
) -> (Plan, Option<Front>) {
    let folder = |file: &Path| file.parent().unwrap_or(Path::new("")).to_owned();
    let mut plan = Plan {
        ok: true,
        faults: Vec::new(),
        warnings: Vec::new(),
        generation,
        digest: None,
        changes: None,
        restart,
        revoke: None,
        revoked: None,
    };
    match compiled {
        Err(faults) => {
            (plan.ok, plan.faults) = (false, faults);
            (plan, None)
        }
        Ok(made) => {
            plan.changes = Some(Changes::between((previous, &folder(live)), (&made, &folder(file))));
            plan.digest = Some(made.digest.to_string());
            plan.revoke = Some(made.reload.revoke);
            let front = made.front(generation + 1);
            plan.warnings = made.warnings;
            (plan, Some(front))
        }
    }
}
