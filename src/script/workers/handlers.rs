//! What is known of each handler over its calls: its breaker, its time series, what was logged of it lately.

use super::breaker::{Breaker, Cause, Pass, Turned};
use crate::model::{AppId, Mono};
use crate::observe::{CallResult, HandlerLimit, HandlerMetrics, Metrics};
use crate::script::{App, Fault, FaultKind};
use hashbrown::{Equivalent, HashMap};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

/// Of one app and function name: reloads leave it in place.
pub(super) struct Handler {
    pub app: Arc<str>,
    pub name: Arc<str>,
    pub breaker: Breaker,
    pub metrics: HandlerMetrics,
    logged: Mutex<Vec<Logged>>,
}

/// A place in a plugin that a fault of a kind was logged of.
struct Logged {
    kind: FaultKind,
    file: String,
    line: u32,
    column: u32,
    at: Mono,
    left_out: u64,
}

/// The same place of a handler is logged once in this time.
const LOG_EVERY_MS: u64 = 1_000;
/// Places kept of one handler; the one logged first makes room.
const PLACES_MAX: usize = 32;

#[derive(Default)]
pub(super) struct Handlers(RwLock<HashMap<Key, Arc<Handler>>>);

#[derive(PartialEq, Eq, Hash)]
struct Key(AppId, Arc<str>);

#[derive(Hash)]
struct Sought<'a>(AppId, &'a str);

impl Equivalent<Key> for Sought<'_> {
    fn equivalent(&self, key: &Key) -> bool {
        self.0 == key.0 && *self.1 == *key.1
    }
}

impl Handlers {
    pub fn find(&self, app: &App, handler: u16, metrics: &Metrics) -> Arc<Handler> {
        let name = app.plugin.name_of(handler);
        if let Some(known) = self.0.read().unwrap_or_else(PoisonError::into_inner).get(&Sought(app.id, name)) {
            return known.clone();
        }
        let mut all = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let name: Arc<str> = name.into();
        let new = || {
            Arc::new(Handler {
                app: app.name.clone(),
                name: name.clone(),
                breaker: Breaker::default(),
                metrics: metrics.handler(&app.name, &name),
                logged: Mutex::default(),
            })
        };
        all.entry(Key(app.id, name.clone())).or_insert_with(new).clone()
    }

    /// Files were read again: breakers close, and handlers that are gone are forgotten.
    pub fn reload(&self, apps: &[Option<Arc<App>>]) {
        let mut all = self.0.write().unwrap_or_else(PoisonError::into_inner);
        all.retain(|Key(app, name), handler| {
            handler.breaker.reset();
            handler.metrics.breaker(false);
            let app = apps.get(app.0 as usize).and_then(Option::as_ref);
            app.is_some_and(|app| app.plugin.find(name).is_some())
        });
    }
}

impl Handler {
    /// It ran to an end that its developer meant.
    pub fn well(&self, pass: Pass<'_>) {
        if pass.well() == Turned::Closed {
            self.metrics.breaker(false);
            tracing::info!(app = &*self.app, handler = &*self.name, "the handler is on again");
        }
    }

    /// It failed by its own mistake: counted, logged, and perhaps switched off.
    #[allow(clippy::too_many_arguments)]
    /// `limit`: the bound that it reached, where `fault` does not say.
    pub fn fault(
        &self,
        pass: Pass<'_>,
        cause: Cause<'_>,
        app: &App,
        entity: Option<&str>,
        fault: &Fault,
        limit: Option<HandlerLimit>,
        now: Mono,
    ) {
        if let Some(limit) = limit.or(limit_of(fault.kind)) {
            self.metrics.limit(limit);
        }
        self.log(entity, fault, now);
        if let Turned::Open(faults) = pass.fault(cause, now, &app.limits) {
            self.metrics.breaker(true);
            let off_ms = app.limits.breaker_for.0;
            tracing::error!(
                app = &*self.app,
                handler = &*self.name,
                faults,
                off_ms,
                "the handler is off: too many faults in a row"
            );
        }
    }

    /// It did not run.
    pub fn refused(&self, limit: HandlerLimit) {
        self.metrics.limit(limit);
        self.metrics.called(CallResult::Overloaded);
    }

    fn log(&self, entity: Option<&str>, fault: &Fault, now: Mono) {
        let Some(left_out) = self.speaks(fault, now) else { return };
        let left_out = (left_out > 0).then_some(left_out);
        let place = match fault.line {
            0 => fault.file.clone(),
            line => format!("{}:{line}:{}", fault.file, fault.column),
        };
        tracing::error!(
            app = &*self.app,
            handler = &*self.name,
            entity,
            place,
            left_out,
            "a handler failed: {}",
            fault.what.replace("\n  ", "; ")
        );
    }

    /// Whether a fault at this place is logged now, and how many were left out before.
    fn speaks(&self, fault: &Fault, now: Mono) -> Option<u64> {
        let mut logged = self.logged.lock().unwrap_or_else(PoisonError::into_inner);
        let same =
            |l: &Logged| (l.kind, l.line, l.column) == (fault.kind, fault.line, fault.column) && l.file == fault.file;
        if let Some(place) = logged.iter_mut().find(|l| same(l)) {
            if now.since(place.at) < LOG_EVERY_MS {
                place.left_out += 1;
                return None;
            }
            place.at = now;
            return Some(std::mem::take(&mut place.left_out));
        }
        if logged.len() == PLACES_MAX {
            logged.remove(0);
        }
        let Fault { file, line, column, kind, .. } = fault;
        logged.push(Logged { kind: *kind, file: file.clone(), line: *line, column: *column, at: now, left_out: 0 });
        Some(0)
    }
}

fn limit_of(kind: FaultKind) -> Option<HandlerLimit> {
    match kind {
        FaultKind::Operations => Some(HandlerLimit::Operations),
        FaultKind::Deadline => Some(HandlerLimit::Deadline),
        FaultKind::Depth => Some(HandlerLimit::CallDepth),
        FaultKind::Size => Some(HandlerLimit::Size),
        FaultKind::Memory => Some(HandlerLimit::CallBytes),
        FaultKind::Effects => Some(HandlerLimit::Effects),
        FaultKind::Read => Some(HandlerLimit::ReadWait),
        FaultKind::Timers => Some(HandlerLimit::Timers),
        FaultKind::Error | FaultKind::Panic => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_that_fails_all_the_time_is_logged_once_a_second() {
        let handler = Handler {
            app: "clinic".into(),
            name: "called".into(),
            breaker: Breaker::default(),
            metrics: Metrics::new().handler("clinic", "called"),
            logged: Mutex::default(),
        };
        let fault = |line| Fault {
            what: "no".into(),
            file: "plugins/clinic.rhai".into(),
            line,
            column: 1,
            kind: FaultKind::Error,
        };
        assert_eq!(handler.speaks(&fault(3), Mono::from_ms(10_000)), Some(0));
        assert_eq!(handler.speaks(&fault(3), Mono::from_ms(10_999)), None);
        assert_eq!(handler.speaks(&fault(4), Mono::from_ms(10_999)), Some(0), "another place");
        assert_eq!(handler.speaks(&fault(3), Mono::from_ms(10_999)), None);
        assert_eq!(handler.speaks(&fault(3), Mono::from_ms(11_000)), Some(2), "two were left out");
        for line in 100..200 {
            assert_eq!(handler.speaks(&fault(line), Mono::from_ms(11_000)), Some(0));
        }
        assert_eq!(handler.logged.lock().unwrap().len(), PLACES_MAX);
    }
}
