//! Rows behind URLs change without a reload: live subscriptions that they decided are decided again.
//!
//! When an answer was another one than before, and when rows may be too old: a rule asks for those again that it reads,
//! and a subscriber that only listens makes no rule read any. Rows of files change with a reload alone.

use crate::flow::App;
use crate::kernel::{Input, Shared};
use crate::listen::Front;
use crate::model::{AppId, Mono};
use crate::observe::clock;
use crate::policy::RightKind;
use arc_swap::ArcSwap;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// How often it is looked whether rows have changed; subscriptions of an app are decided again no more often.
const LOOK: Duration = Duration::from_secs(1);

/// What an app's subscriptions were last decided with, and when.
#[derive(Clone, Copy)]
struct Decided {
    version: u64,
    at: Mono,
}

/// Has subscriptions decided again, until the process ends.
pub async fn follow(front: Arc<ArcSwap<Front>>, shared: Arc<Shared>) -> Result<(), String> {
    let mut decided = HashMap::new();
    loop {
        tokio::time::sleep(LOOK).await;
        let (generation, now) = (front.load().generation.clone(), clock().mono);
        decided.retain(|id: &AppId, _| generation.app(*id).is_some());
        for app in generation.apps.iter().flatten() {
            if is_due(app, decided.entry(app.id).or_insert(Decided { version: 0, at: now }), now) {
                shared.put_all(|| Input::Rows(app.id));
            }
        }
    }
}

fn is_due(app: &App, last: &mut Decided, now: Mono) -> bool {
    let Some(ttl) = app.tables.shortest_ttl().filter(|_| app.policy.reads_tables(RightKind::Subscribe)) else {
        return false;
    };
    // Read before it is decided: what changes meanwhile is another version, and decided once more.
    let version = app.tables.version();
    let due = version != last.version || app.tables.take_unasked() || now.since(last.at) >= ttl.0;
    if due {
        *last = Decided { version, at: now };
    }
    due
}
