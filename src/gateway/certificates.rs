//! Certificates end on a day that everybody knew, and still by surprise: they are told of at the start and with each
//! reload, as warnings of the files, and once a day from then on.

use crate::listen::{Entrance, Front};
use crate::observe::{Metrics, clock};
use arc_swap::ArcSwap;
use std::sync::Arc;
use std::time::Duration;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// When those in force end, as a metric.
pub fn show(metrics: &Metrics, entrance: &Entrance) {
    metrics.certificates(entrance.certificates().map(|(listener, c)| (listener, &*c.file, c.not_after)));
}

/// Tells of those that have expired or soon will, day by day.
pub async fn remind(front: Arc<ArcSwap<Front>>) -> Result<(), String> {
    loop {
        tokio::time::sleep(DAY).await;
        for problem in front.load().entrance.expiring(clock().wall) {
            tracing::warn!(key = problem.path, file = problem.file.map(|file| file.0), "{}", problem.what);
        }
    }
}
