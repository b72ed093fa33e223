//! The thread that fires timers, and has what is over forgotten.

use super::core::{Core, Ready};
use super::keep;
use super::timers::{Name, Owner, Timer};
use crate::model::{Millis, Mono, Now};
use crate::script::{App, Call, Event, Trigger};
use crate::store::{self, StoreError};
use std::sync::Arc;

/// Timers taken at a time; between, others may be set.
const BATCH: usize = 256;
/// Between two looks at what is over.
pub(super) const SWEEP_MS: u64 = 60_000;

impl Core {
    /// Until `stop`.
    pub(super) fn run_clock(self: &Arc<Core>) {
        let mut swept_at = self.host.now().mono;
        while !self.load.is_stopping() {
            let fired = self.fire_due();
            let now = self.host.now().mono;
            if now.since(swept_at) >= SWEEP_MS {
                swept_at = now;
                self.sweep(now);
            }
            if fired == 0 {
                self.timers.wait(|| self.host.now().mono, || self.load.is_stopping());
            }
        }
    }

    /// Calls of timers that are due, some of them; how many.
    pub(super) fn fire_due(self: &Arc<Core>) -> usize {
        let now = self.host.now();
        let due = self.timers.due(now.mono, BATCH);
        let fired = due.len();
        for (id, timer) in due {
            self.fire(id, timer, now);
        }
        fired
    }

    /// Has what is over forgotten.
    pub(super) fn sweep(self: &Arc<Core>, now: Mono) {
        self.table.sweep(&self.timers, now);
        if let Some(token) = self.load.token() {
            self.ready(Ready::Sweep(token));
        }
    }

    fn fire(self: &Arc<Core>, id: u64, timer: Timer, now: Now) {
        // An app that is gone has no timers in memory; this one goes after it.
        let Some(app) = self.app(timer.owner.0) else {
            return drop(self.timers.cancel(&timer.owner, &timer.name));
        };
        let Some(handler) = app.plugin.find(&timer.function) else { return self.drop_timer(&app, &timer) };
        let event = Event::of_nobody(Trigger::Timer { name: timer.name.text().clone() }, timer.data, now);
        let call = Call { app, generation: 0, handler, entity: timer.owner.1, event, then: Box::new(|_| ()) };
        if self.submit(call, Some(id)).is_err() {
            self.timers.retry(id, now.mono + super::RETRY_MS);
        }
    }

    fn drop_timer(self: &Arc<Core>, app: &Arc<App>, timer: &Timer) {
        let (name, handler) = (&**timer.name.text(), &*timer.function);
        let entity = timer.owner.1.as_deref();
        tracing::warn!(app = &*app.name, entity, name, handler, "a timer's handler is gone; the timer is dropped");
        self.metrics.timers(&app.name).dropped.inc();
        self.timers.cancel(&timer.owner, &timer.name);
        if timer.durable {
            let app_name = app.name.clone();
            self.commit(vec![keep::gone(timer, &app.name)], move |kept| {
                if let Err(error) = kept {
                    tracing::warn!(app = &*app_name, "a timer that is dropped stays in the store: {error}");
                }
            });
        }
    }

    /// The `[[timer]]`s of an app are these.
    pub(super) fn set_file_timers(&self, app: &App, now: Now) {
        let wanted = app.timers.iter().map(|settings| Timer {
            owner: Owner(app.id, settings.entity.as_deref().map(Arc::from)),
            name: Name::File(settings.handler.as_str().into()),
            function: settings.handler.as_str().into(),
            due: now.mono + settings.every.0,
            every: Some(settings.every.0),
            data: Default::default(),
            durable: false,
        });
        self.timers.set_files(app.id, wanted.collect());
    }

    /// Arms what the store has of these apps, unless newer ones are there.
    pub(super) fn load_timers(&self, apps: &[&Arc<App>]) -> Result<(), StoreError> {
        let Some(store) = self.store.as_ref().filter(|_| !apps.is_empty()) else { return Ok(()) };
        let timers = store.timers()?;
        let now = self.host.now();
        for timer in timers {
            let Some(app) = apps.iter().find(|app| app.name == timer.app) else { continue };
            let store::Timer { entity, name, handler, due, every, data, .. } = timer;
            self.timers.arm_new(Timer {
                owner: Owner(app.id, (!entity.is_empty()).then_some(entity)),
                name: Name::Call(name),
                function: handler,
                due: loaded_due(due, every, now),
                every,
                data: data.into(),
                durable: true,
            });
        }
        Ok(())
    }
}

/// When a timer of an earlier process is due. Its time is the wall clock's, which may have been set back meanwhile: one
/// that repeats waits for one interval at most.
fn loaded_due(due: Millis, every: Option<u64>, now: Now) -> Mono {
    let due = now.mono_of(due);
    every.map_or(due, |every| due.min(now.mono + every))
}

#[test]
fn a_stored_timer_is_due_when_it_was_and_a_clock_set_back_stops_no_rhythm() {
    let now = Now { mono: Mono::from_ms(1_000_000), wall: 50_000_000 };
    assert_eq!(loaded_due(50_007_000, None, now), now.mono + 7_000);
    assert_eq!(loaded_due(49_993_000, Some(10_000), now), now.mono.before(7_000));
    assert_eq!(loaded_due(53_600_000, Some(10_000), now), now.mono + 10_000);
}
