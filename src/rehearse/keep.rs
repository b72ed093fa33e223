//! What handlers keep while a test is played: states, key-values, timers, webhooks asked for. In memory, for the test.

use super::world::World;
use crate::model::Millis;
use crate::script::{self, App, Fault, FaultKind, Keep, State, TimerSettings};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

#[derive(Default)]
pub(super) struct Kept {
    /// By the entity's key.
    pub states: BTreeMap<Arc<str>, State>,
    /// JSON texts, and when they expire.
    pub values: BTreeMap<String, (String, Option<Millis>)>,
    timers: Vec<Timer>,
    /// Names and bodies, JSON texts, not yet looked at, with the step's line.
    pub webhooks: VecDeque<(u32, Arc<str>, String)>,
    /// Timers that were set.
    set: u64,
}

/// A call that is to come.
#[derive(Clone)]
pub(super) struct Timer {
    pub due: Millis,
    /// Of two that are due together, the one that was set first fires first.
    number: u64,
    pub entity: Option<Arc<str>>,
    pub name: Arc<str>,
    pub function: Arc<str>,
    every: Option<u64>,
    pub data: String,
    /// A `[[timer]]` of the app's file.
    of_file: bool,
}

impl Kept {
    /// The timer that is due next, by `until`; it is armed again where it comes again.
    pub fn due(&mut self, until: Millis) -> Option<Timer> {
        let next = (0..self.timers.len()).min_by_key(|at| (self.timers[*at].due, self.timers[*at].number))?;
        if self.timers[next].due > until {
            return None;
        }
        let timer = self.timers[next].clone();
        match timer.every {
            Some(every) => self.timers[next].due = timer.due.saturating_add(every.max(1)),
            None => drop(self.timers.swap_remove(next)),
        }
        Some(timer)
    }

    fn arm(&mut self, timer: Timer) {
        self.cancel(timer.entity.as_ref(), &timer.name);
        self.set += 1;
        self.timers.push(Timer { number: self.set, ..timer });
    }

    fn cancel(&mut self, entity: Option<&Arc<str>>, name: &str) {
        self.timers.retain(|t| t.of_file || t.entity.as_ref() != entity || *t.name != *name);
    }

    fn timers_of(&self, entity: Option<&Arc<str>>) -> usize {
        self.timers.iter().filter(|t| !t.of_file && t.entity.as_ref() == entity).count()
    }

    /// An entity ends.
    pub fn forget(&mut self, entity: &str) {
        self.states.remove(entity);
        self.timers.retain(|t| t.of_file || t.entity.as_deref() != Some(entity));
    }

    /// A value that has not expired.
    pub fn value(&self, key: &str, now: Millis) -> Option<&str> {
        let (value, until) = self.values.get(key)?;
        until.is_none_or(|until| until > now).then_some(value)
    }
}

impl World {
    /// `[[timer]]`s: the first time one interval after the beginning.
    pub fn arm_file_timers(&mut self, timers: &[TimerSettings]) {
        for settings in timers {
            let name: Arc<str> = settings.handler.as_str().into();
            self.kept.set += 1;
            self.kept.timers.push(Timer {
                due: self.now + settings.every.0,
                number: self.kept.set,
                entity: settings.entity.as_deref().map(Arc::from),
                function: name.clone(),
                name,
                every: Some(settings.every.0),
                data: String::new(),
                of_file: true,
            });
        }
    }

    /// Keeps what a call asks to keep, all or nothing. `state`: `this` after it, where it has one.
    pub fn keep(
        &mut self,
        script: &App,
        handler: &str,
        entity: Option<&Arc<str>>,
        state: Option<State>,
        kept: &[script::Kept],
    ) -> Result<(), Fault> {
        let fault = |kind, what| {
            let function = script.plugin.functions().find(|f| *f.name == *handler);
            let (file, line) = function.map_or((String::new(), 0), |f| (f.file.to_string(), f.line));
            Fault { what, file, line, column: 1, kind }
        };
        if let (Some(entity), Some(state)) = (entity, state) {
            let settings = script.entities.get(entity.split(':').next().unwrap_or_default()).cloned();
            let settings = settings.unwrap_or_default();
            let text = state.to_json();
            if let (Keep::Store, Err(why)) = (settings.state, &text) {
                return Err(fault(FaultKind::Error, format!("`this` cannot be stored: {why}")));
            }
            if state.bytes() > settings.bytes.0 as usize {
                let what = format!("`this` takes more than {} bytes (`bytes` of [entity])", settings.bytes.0);
                return Err(fault(FaultKind::Size, what));
            }
            // As it is read back after a restart.
            let state = match (settings.state, text) {
                (Keep::Store, Ok(text)) => State::from_json(&text).unwrap_or(state),
                _ => state,
            };
            self.kept.states.insert(entity.clone(), state);
        }
        let (before, now) = (self.kept.timers.clone(), self.now);
        for one in kept {
            match one {
                script::Kept::Set { key, value, expires_ms } => {
                    let until = expires_ms.map(|ms| now.saturating_add(ms));
                    self.kept.values.insert(key.clone(), (value.clone(), until));
                }
                script::Kept::Delete { key } => drop(self.kept.values.remove(key)),
                script::Kept::Timer { name, function, after_ms, every, data } => self.kept.arm(Timer {
                    due: now.saturating_add(*after_ms),
                    number: 0,
                    entity: entity.cloned(),
                    name: name.clone(),
                    function: function.clone(),
                    every: every.then_some(*after_ms),
                    data: data.clone(),
                    of_file: false,
                }),
                script::Kept::Cancel { name } => self.kept.cancel(entity, name),
                script::Kept::Webhook { name, body } => {
                    self.kept.webhooks.push_back((self.line, name.clone(), body.clone()));
                }
            }
        }
        let max = script.limits.timers as usize;
        if self.kept.timers_of(entity) > max {
            self.kept.timers = before;
            return Err(fault(
                FaultKind::Timers,
                format!("more than {max} timers of one entity (`timers` of [script])"),
            ));
        }
        Ok(())
    }
}
