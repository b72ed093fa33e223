//! What a test is played on: the app as the files have it, and a world that begins empty.

use super::host::Chance;
use super::world::World;
use crate::api::State;
use crate::flow::{App, Generation, Handlers};
use crate::listen::Front;
use crate::model::{Millis, Ms, Now, did_you_mean};
use crate::observe::Metrics;
use crate::script::{self, Plugin};
use serde_json::{Map, Value};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// An app whose conversations are played.
pub struct Subject<'a> {
    pub app: Arc<App>,
    pub front: &'a Front,
    /// Compiles the app's plugin anew, with these `[settings]`. Err: what is wrong, for people.
    pub plugin: Recompile<'a>,
}

/// Settings → the plugin as it is with them.
pub type Recompile<'a> = &'a dyn Fn(&Map<String, Value>) -> Result<Plugin, String>;

/// The number of the only generation there is.
const GENERATION: u64 = 1;
/// A handler's deadline: tests must not hang on how busy a machine is. Its operations are bounded as always.
const DEADLINE: Ms = Ms(30_000);

/// One test's.
pub(super) struct Stage {
    pub app: Arc<App>,
    /// Its handlers' bounds.
    pub limits: script::Limits,
    pub generation: Arc<Generation>,
    pub front: Front,
    pub metrics: Arc<Metrics>,
    pub state: Arc<State>,
    pub chance: Chance,
    world: Mutex<World>,
}

impl Stage {
    /// `settings`: those that differ from the file's. Err: the plugin does not compile with them.
    pub fn new(subject: &Subject, now: Millis, settings: &Map<String, Value>) -> Result<Arc<Stage>, String> {
        let mut app = App::clone(&subject.app);
        for (name, value) in settings {
            let read = || subject.app.handlers.iter().flat_map(|h| h.script.plugin.settings());
            if !subject.app.settings.contains_key(name) && !read().any(|read| read == name) {
                let known = subject.app.settings.keys().map(String::as_str).chain(read());
                let hint = did_you_mean(name, known).map(|hint| format!("\n  hint: {hint}")).unwrap_or_default();
                return Err(format!("unknown setting `{name}`: neither `[settings]` nor the plugin has it{hint}"));
            }
            app.settings.insert(name.clone(), value.clone());
        }
        let (mut limits, mut timers) = (script::Limits::default(), Vec::new());
        if let Some(handlers) = &subject.app.handlers {
            let known = &handlers.script;
            limits = script::Limits { deadline: DEADLINE, ..known.limits.clone() };
            timers = known.timers.clone();
            if !settings.is_empty() {
                app.handlers = Some(Arc::new(rebound(handlers, (subject.plugin)(&app.settings)?)));
            }
        }
        let app = Arc::new(app);
        let real = &subject.front.generation;
        let mut apps = real.apps.clone();
        apps[usize::from(app.id.0)] = Some(app.clone());
        let generation = Arc::new(Generation {
            number: GENERATION,
            digest: real.digest.clone(),
            development: real.development,
            limits: real.limits.clone(),
            revoke: real.revoke,
            listeners: real.listeners.clone(),
            keys: Default::default(),
            apps,
        });
        let front = Front {
            generation: generation.clone(),
            entrance: subject.front.entrance.clone(),
            site: subject.front.site.clone(),
        };
        let metrics = Metrics::new();
        drop(metrics.app(app.id, &app.name));
        let mut world = World::new(app.clone(), GENERATION, Now::at(now), metrics.clone());
        world.arm_file_timers(&timers);
        let (state, world) = (Arc::default(), Mutex::new(world));
        Ok(Arc::new(Stage { app, limits, generation, front, metrics, state, chance: Chance::default(), world }))
    }

    /// The world; never held while a handler runs, which reads it.
    pub fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The same bindings of the plugin with other settings: its functions, and so their numbers, are the same.
fn rebound(handlers: &Handlers, plugin: Plugin) -> Handlers {
    let known = &handlers.script;
    let script = script::App {
        id: known.id,
        name: known.name.clone(),
        plugin,
        policy: known.policy.clone(),
        limits: known.limits.clone(),
        entities: known.entities.clone(),
        timers: known.timers.clone(),
    };
    Handlers { script: Arc::new(script), classes: handlers.classes.clone(), endpoints: handlers.endpoints.clone() }
}
