//! What handlers keep while a test is played: states, key-values, timers, webhooks asked for. In memory, for the test.

use super::world::World;
use crate::model::Millis;
use crate::script::{self, App, EntitySettings, Fault, FaultKind, Keep, State, TimerSettings};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

#[derive(Default)]
pub(super) struct Kept {
    /// By the entity's key, with the time of its last call.
    pub states: BTreeMap<Arc<str>, (State, Millis)>,
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
                due: self.now.wall + settings.every.0,
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

    /// Entities without timers that were quiet for longer than their kind's `forget_after`.
    pub fn forget_quiet(&mut self) {
        let Some(handlers) = &self.app.handlers else { return };
        let (kinds, now, timers) = (&handlers.script.entities, self.now.wall, &self.kept.timers);
        let forgets = EntitySettings::default().forget_after;
        self.kept.states.retain(|entity, (_, at)| {
            let kind = kinds.get(entity.split(':').next().unwrap_or_default());
            let life = kind.map_or(forgets, |kind| kind.forget_after).0;
            let waits = timers.iter().any(|t| !t.of_file && t.entity.as_ref() == Some(entity));
            waits || life.is_none_or(|ms| now.saturating_sub(*at) < ms)
        });
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
            self.kept.states.insert(entity.clone(), (state, self.now.wall));
        }
        let (before, now) = (self.kept.timers.clone(), self.now.wall);
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

#[cfg(test)]
mod tests {
    use super::*;

    fn timer(entity: &str, name: &str, due: Millis, every: Option<u64>) -> Timer {
        let (entity, name) = (Some(entity.into()), Arc::from(name));
        Timer { due, number: 0, entity, function: Arc::clone(&name), name, every, data: String::new(), of_file: false }
    }

    /// What fires until then, in its order.
    fn fires(kept: &mut Kept, until: Millis) -> Vec<String> {
        let next = || kept.due(until).map(|t| format!("{} {}", t.due, t.name));
        std::iter::from_fn(next).collect()
    }

    #[test]
    fn timers_fire_when_they_are_due_and_in_the_order_in_which_they_were_set() {
        let mut kept = Kept::default();
        kept.arm(timer("a:1", "late", 30, None));
        kept.arm(timer("a:1", "again", 10, Some(10)));
        kept.arm(timer("a:2", "once", 10, None));
        assert_eq!(fires(&mut kept, 9), [""; 0]);
        assert_eq!(fires(&mut kept, 20), ["10 again", "10 once", "20 again"]);
        assert_eq!(fires(&mut kept, 30), ["30 late", "30 again"]);
    }

    #[test]
    fn a_timer_of_the_same_name_takes_the_place_of_its_entitys_alone() {
        let mut kept = Kept::default();
        kept.arm(timer("a:1", "t", 10, None));
        kept.arm(timer("a:2", "t", 10, None));
        kept.arm(timer("a:1", "t", 20, None));
        assert_eq!(kept.timers_of(Some(&"a:1".into())), 1);
        kept.cancel(Some(&"a:2".into()), "t");
        assert_eq!(fires(&mut kept, 100), ["20 t"]);
        kept.arm(timer("a:1", "t", 200, None));
        kept.forget("a:1");
        assert_eq!(fires(&mut kept, 1_000), [""; 0]);
    }

    #[test]
    fn a_value_is_gone_once_it_has_expired() {
        let mut kept = Kept::default();
        kept.values.insert("k".into(), ("1".into(), Some(10)));
        assert_eq!((kept.value("k", 9), kept.value("k", 10), kept.value("x", 0)), (Some("1"), None, None));
    }
}
