//! Counts recipients over all shards: the last of them answers.

use crate::model::{ConnectionId, Position};
use std::collections::HashSet;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

/// How many heard it, and where it was put. Each shard adds its share and drops its clone; the last drop calls `done`.
///
/// A clone travels with the delivery to a shard (`Part`) and ends with it. Nothing that waits for a reader may hold one,
/// neither a queue nor what is conflated or held back: else a reader that does not read would keep the publisher
/// waiting. Who is late has been reached all the same.
pub struct Tally {
    recipients: AtomicU32,
    position: Mutex<Option<Position>>,
    done: Mutex<Option<Done>>,
    /// Of a publication to channels of several homes: who has heard it. None else needs it.
    heard: Option<Mutex<HashSet<ConnectionId>>>,
}

type Done = Box<dyn FnOnce(u32, Option<Position>) + Send>;

impl Tally {
    pub fn new(done: impl FnOnce(u32, Option<Position>) + Send + 'static) -> Tally {
        Tally {
            recipients: AtomicU32::new(0),
            position: Mutex::new(None),
            done: Mutex::new(Some(Box::new(done))),
            heard: None,
        }
    }

    /// For a publication to channels of several homes, which reaches a connection on several of them more than once.
    pub fn once(done: impl FnOnce(u32, Option<Position>) + Send + 'static) -> Tally {
        let mut tally = Tally::new(done);
        tally.heard = Some(Mutex::default());
        tally
    }

    pub fn is_once(&self) -> bool {
        self.heard.is_some()
    }

    /// Whether this connection has not heard it yet; from now on it has.
    pub fn first(&self, connection: ConnectionId) -> bool {
        let Some(heard) = &self.heard else { return true };
        heard.lock().unwrap_or_else(|e| e.into_inner()).insert(connection)
    }

    pub fn add(&self, recipients: u32) {
        self.recipients.fetch_add(recipients, Ordering::Relaxed);
    }

    /// Where it was put; the first channel's counts.
    pub fn at(&self, position: Option<Position>) {
        let mut at = self.position.lock().unwrap_or_else(|e| e.into_inner());
        *at = at.or(position);
    }
}

/// Of which event of a batch, whose count.
pub type Tallies = Vec<(u32, Arc<Tally>)>;

impl Drop for Tally {
    fn drop(&mut self) {
        let done = self.done.get_mut().unwrap_or_else(|e| e.into_inner()).take();
        let position = *self.position.get_mut().unwrap_or_else(|e| e.into_inner());
        if let Some(done) = done {
            done(*self.recipients.get_mut(), position);
        }
    }
}

impl std::fmt::Debug for Tally {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        write!(f, "Tally({})", self.recipients.load(Ordering::Relaxed))
    }
}
