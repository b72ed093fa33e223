//! One change to what is kept, and what comes back.

use crate::model::Millis;
use std::fmt;
use std::sync::Arc;

/// Told once what became of a commit. Must not block: every later commit waits for it.
pub type Done = Box<dyn FnOnce(Result<(), StoreError>) + Send>;

/// One change. Several make a transaction, carried out in their order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Write {
    /// Puts a value, JSON text, under a key. From `expires_at` on it is gone; `None`: it stays.
    Set { app: Arc<str>, key: String, value: String, expires_at: Option<Millis> },
    /// Without effect where the key is not there.
    Delete { app: Arc<str>, key: String },
    /// An entity's state, JSON text. From `forget_at` on a sweep may forget it; `None`: it stays.
    Entity { app: Arc<str>, entity: Arc<str>, state: String, forget_at: Option<Millis> },
    /// Forgets an entity's state. Its timers stay until they are cancelled.
    ForgetEntity { app: Arc<str>, entity: Arc<str> },
    /// Replaces one of the same app, entity and name.
    Timer(Timer),
    /// Without effect where the timer is not there.
    CancelTimer { app: Arc<str>, entity: Arc<str>, name: Arc<str> },
    /// Into the webhook outbox. An id that is there already fails the transaction.
    Parcel(Parcel),
    /// It was delivered. This and the two below are without effect where the parcel is not there.
    ParcelDone { id: u128 },
    /// It was not delivered: the next attempt is at `due`.
    ParcelRetry { id: u128, attempts: u32, due: Millis, why: String },
    /// It was given up: no longer in the outbox.
    ParcelDead { id: u128, why: String },
}

/// A call of a handler that is to come.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Timer {
    pub app: Arc<str>,
    /// The entity that it belongs to; empty where it belongs to none.
    pub entity: Arc<str>,
    /// Unique within app and entity.
    pub name: Arc<str>,
    /// The plugin's function.
    pub handler: Arc<str>,
    pub due: Millis,
    /// Milliseconds between two calls; `None`: one call.
    pub every: Option<u64>,
    /// JSON text, handed to the function.
    pub data: String,
}

/// A webhook's call that is to be made.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Parcel {
    /// Unique for ever: what a receiver knows a repeated delivery by.
    pub id: u128,
    pub app: Arc<str>,
    /// A name of `[webhook.NAME]` in the app's file.
    pub webhook: Arc<str>,
    /// JSON text, sent as it is.
    pub body: String,
    pub created_at: Millis,
    /// How many were made in vain.
    pub attempts: u32,
    /// Not to be sent before.
    pub due: Millis,
}

/// Why something was not kept, or not found out.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum StoreError {
    /// Too much waits already; nothing was changed, and trying again later helps.
    Busy,
    /// The disk is full, read-only or gone; nothing was changed, and it may work again in a moment.
    Unavailable(String),
    /// What is stored is damaged, or a mistake of ours; for logs.
    Broken(String),
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            StoreError::Busy => f.write_str("the store is busy"),
            StoreError::Unavailable(why) | StoreError::Broken(why) => write!(f, "the store failed: {why}"),
        }
    }
}

impl std::error::Error for StoreError {}

/// What a write costs in the queue beside its texts, in bytes.
const WRITE_BYTES: usize = 128;

impl Write {
    /// About how much memory it holds while it waits.
    pub fn bytes(&self) -> usize {
        let texts = match self {
            Write::Set { key, value, .. } => key.len() + value.len(),
            Write::Delete { key, .. } => key.len(),
            Write::Entity { entity, state, .. } => entity.len() + state.len(),
            Write::ForgetEntity { entity, .. } | Write::CancelTimer { entity, .. } => entity.len(),
            Write::Timer(timer) => timer.entity.len() + timer.data.len(),
            Write::Parcel(parcel) => parcel.body.len(),
            Write::ParcelRetry { why, .. } | Write::ParcelDead { why, .. } => why.len(),
            Write::ParcelDone { .. } => 0,
        };
        texts + WRITE_BYTES
    }
}
