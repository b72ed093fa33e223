//! What handlers ask to keep → writes for the store, timers, parcels.

use super::timers::{Name, Owner, Timer, Timers, next_due};
use crate::model::{Mono, Now};
use crate::script::{App, Kept, Outbox};
use crate::store::{self, Parcel, Write};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What happens to timers once a call is committed.
pub(super) enum TimerOp {
    Arm(Timer),
    Cancel(Owner, Name),
}

impl TimerOp {
    pub fn apply(self, timers: &Timers) {
        match self {
            TimerOp::Arm(timer) => timers.arm(timer),
            TimerOp::Cancel(owner, name) => drop(timers.cancel(&owner, &name)),
        }
    }
}

/// Whose keepings they are.
pub(super) struct Keeping<'a> {
    pub app: &'a Arc<App>,
    pub entity: Option<&'a Arc<str>>,
    /// Timers go to the store.
    pub is_durable: bool,
    pub timers: &'a Timers,
    pub outbox: Option<&'a dyn Outbox>,
    pub random: &'a dyn Fn() -> u128,
    pub now: Now,
}

impl Keeping<'_> {
    fn owner(&self) -> Owner {
        Owner(self.app.id, self.entity.cloned())
    }

    /// Whether all its webhooks take one more parcel.
    pub fn is_room(&self, kept: &[Kept]) -> bool {
        let Some(outbox) = self.outbox else { return true };
        let names = kept.iter().filter_map(|k| if let Kept::Webhook { name, .. } = k { Some(name) } else { None });
        let names: BTreeSet<&Arc<str>> = names.collect();
        names.into_iter().all(|name| outbox.room(&self.app.name, name))
    }

    /// How many timers its owner would have; 0 where it sets none.
    pub fn timers_after(&self, kept: &[Kept]) -> usize {
        if !kept.iter().any(|k| matches!(k, Kept::Timer { .. })) {
            return 0;
        }
        let armed = self.timers.of(&self.owner());
        let mut names: BTreeSet<&str> = armed.iter().map(|timer| &**timer.name.text()).collect();
        for kept in kept {
            match kept {
                Kept::Timer { name, .. } => drop(names.insert(name)),
                Kept::Cancel { name } => drop(names.remove(&**name)),
                Kept::Set { .. } | Kept::Delete { .. } | Kept::Webhook { .. } => {}
            }
        }
        names.len()
    }

    pub fn keep(&self, kept: Vec<Kept>, writes: &mut Vec<Write>, timers: &mut Vec<TimerOp>, parcels: &mut Vec<Parcel>) {
        let app = &self.app.name;
        // Those that the store has: of this entity before, or of this call.
        let mut durable: BTreeMap<Arc<str>, bool> = BTreeMap::new();
        for kept in kept {
            match kept {
                Kept::Set { key, value, expires_ms } => {
                    let expires_at = expires_ms.map(|ms| self.now.wall.saturating_add(ms));
                    writes.push(Write::Set { app: app.clone(), key, value, expires_at });
                }
                Kept::Delete { key } => writes.push(Write::Delete { app: app.clone(), key }),
                Kept::Timer { name, function, after_ms, every, data } => {
                    let timer = Timer {
                        owner: self.owner(),
                        name: Name::Call(name.clone()),
                        function,
                        due: self.now.mono + after_ms,
                        every: every.then_some(after_ms),
                        data: data.into(),
                        durable: self.is_durable,
                    };
                    if self.is_durable {
                        writes.push(Write::Timer(stored(&timer, app, timer.due, self.now)));
                    }
                    durable.insert(name, self.is_durable);
                    timers.push(TimerOp::Arm(timer));
                }
                Kept::Cancel { name } => {
                    let is_durable = durable.get(&name).copied().unwrap_or_else(|| {
                        let armed = self.timers.of(&self.owner());
                        armed.iter().any(|timer| timer.durable && *timer.name.text() == name)
                    });
                    if is_durable {
                        let entity = self.entity.cloned().unwrap_or_default();
                        writes.push(Write::CancelTimer { app: app.clone(), entity, name: name.clone() });
                    }
                    timers.push(TimerOp::Cancel(self.owner(), Name::Call(name)));
                }
                Kept::Webhook { name, body } => {
                    let parcel = Parcel {
                        id: (self.random)(),
                        app: app.clone(),
                        webhook: name,
                        body,
                        created_at: self.now.wall,
                        attempts: 0,
                        due: self.now.wall,
                    };
                    writes.push(Write::Parcel(parcel.clone()));
                    parcels.push(parcel);
                }
            }
        }
    }
}

/// What the store must know of a timer whose call has ended: when it comes again, or that it does not.
pub(super) fn fired(timer: &Timer, app: &Arc<str>, now: Now) -> Option<Write> {
    timer.durable.then(|| match next_due(timer, now.mono) {
        Some(due) => Write::Timer(stored(timer, app, due, now)),
        None => gone(timer, app),
    })
}

/// A stored timer is no more.
pub(super) fn gone(timer: &Timer, app: &Arc<str>) -> Write {
    let entity = timer.owner.1.clone().unwrap_or_default();
    Write::CancelTimer { app: app.clone(), entity, name: timer.name.text().clone() }
}

/// An entity ends: `timers` are its own.
pub(super) fn forget(timers: &[Timer], app: &Arc<str>, entity: &Arc<str>, is_stored: bool) -> Vec<Write> {
    let mut writes: Vec<Write> = timers.iter().filter(|t| t.durable).map(|t| gone(t, app)).collect();
    if is_stored {
        writes.push(Write::ForgetEntity { app: app.clone(), entity: entity.clone() });
    }
    writes
}

fn stored(timer: &Timer, app: &Arc<str>, due: Mono, now: Now) -> store::Timer {
    store::Timer {
        app: app.clone(),
        entity: timer.owner.1.clone().unwrap_or_default(),
        name: timer.name.text().clone(),
        handler: timer.function.clone(),
        due: now.wall_of(due),
        every: timer.every,
        data: String::from_utf8_lossy(&timer.data).into_owned(),
    }
}
