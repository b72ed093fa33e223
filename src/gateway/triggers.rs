//! What asks for a reload without anybody's call: SIGHUP, and files that have changed.

use super::process::aside;
use super::reload::{Desk, WATCH};
use crate::api::admin::Noticing;
use crate::config::{Inputs, ReloadSettings, Watch};
use std::sync::Arc;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch::Receiver;

/// Asks for a reload at each SIGHUP, which from now on ends the process no more.
pub async fn signals(desk: Arc<Desk>) -> Result<(), String> {
    let mut hangup = signal(SignalKind::hangup()).map_err(|error| error.to_string())?;
    while hangup.recv().await.is_some() {
        desk.ask("SIGHUP", None);
    }
    Ok(())
}

/// Asks for a reload whenever anything has changed that the last reading looked at. `read`: what that was.
pub async fn files(desk: Arc<Desk>, settings: ReloadSettings, mut read: Receiver<Arc<Inputs>>) -> Result<(), String> {
    let Some(mut watch) = Watch::start(&settings) else { return Ok(()) };
    let mut inputs = Inputs::clone(&read.borrow_and_update());
    let (mut follow, mut at_once) = (true, false);
    loop {
        // Followed first and looked at then: a change in between is seen by the look, one after it is told.
        let looked = aside(move || {
            if follow {
                watch.follow(&inputs);
            }
            let differs = watch.differs(&mut inputs);
            (watch, inputs, differs)
        });
        let Some((now, seen, differs)) = looked.await else { return Err("looking at the files failed".into()) };
        (watch, inputs) = (now, seen);
        tell(&desk, watch.noticing());
        if differs {
            // A file that changes without end is read once a while, not as fast as it can be.
            if at_once {
                tokio::time::sleep(settings.debounce_max.duration()).await;
            }
            desk.ask(WATCH, None);
            if read.changed().await.is_err() {
                return Ok(());
            }
            (inputs, follow, at_once) = (Inputs::clone(&read.borrow_and_update()), true, true);
            continue;
        }
        at_once = false;
        follow = tokio::select! {
            () = watch.time_to_look() => false,
            _ = read.changed() => true,
        };
        if follow {
            inputs = Inputs::clone(&read.borrow_and_update());
        }
    }
}

/// Once, until it is another way.
fn tell(desk: &Desk, noticing: &Noticing) {
    if !desk.noticing(noticing) {
        return;
    }
    match &noticing.why {
        Some(why) => tracing::warn!(why, "changed files are looked for every now and then: the system does not tell"),
        None => tracing::debug!(by = ?noticing.by, "changed files are noticed"),
    }
}
