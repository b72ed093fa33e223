//! The app as the files have it, with a test's settings.

use crate::flow::{App, Generation, Handlers};
use crate::listen::Front;
use crate::model::did_you_mean;
use crate::script::{self, Plugin};
use serde_json::{Map, Value};
use std::sync::Arc;

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

/// What is compiled for one test: the files, with the test's settings.
pub(super) struct Compiled {
    pub app: Arc<App>,
    pub generation: Arc<Generation>,
    pub front: Front,
}

impl Compiled {
    /// `settings`: those that differ from the file's. Err: the plugin does not compile with them.
    pub fn new(subject: &Subject, settings: &Map<String, Value>) -> Result<Compiled, String> {
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
        if let Some(handlers) = subject.app.handlers.as_ref().filter(|_| !settings.is_empty()) {
            app.handlers = Some(Arc::new(rebound(handlers, (subject.plugin)(&app.settings)?)));
        }
        let app = Arc::new(app);
        let real = &subject.front.generation;
        let mut apps = real.apps.clone();
        apps[usize::from(app.id.0)] = Some(app.clone());
        let (number, keys) = (GENERATION, Default::default());
        let generation = Arc::new(Generation { number, keys, apps, ..(**real).clone() });
        let front = Front {
            generation: generation.clone(),
            entrance: subject.front.entrance.clone(),
            site: subject.front.site.clone(),
        };
        Ok(Compiled { app, generation, front })
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
