//! An app's plugin, and what of it the app's file binds to what.

use super::app::Compiling;
use super::file::AppFile;
use super::files::Files;
use crate::dialect::Dialect;
use crate::flow::{Bound, Handlers, OfClass, OfEndpoint};
use crate::listen::PathPattern;
use crate::model::{Fault, Problem, did_you_mean};
use crate::policy::Policy;
use crate::script::{self, ChannelHandlers, EndpointHandlers, EntityKey, Plugin, PluginProblem};
use crate::webhook;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The largest plugin or module.
pub const PLUGIN_BYTES_MAX: u64 = 1 << 20;

/// Reads a plugin's file by its name, `clinic` or `lib/queue`: its path as faults show it, and its text.
pub fn plugin_file(files: &Files, name: &str) -> Result<(String, String), String> {
    let path = files.path("plugins").join(format!("{name}.rhai"));
    let shown = path.display().to_string();
    // Only names inside the folder: a plugin reads no other file.
    let inside = name.split('/').all(|part| !part.is_empty() && !part.starts_with('.') && !part.contains('\\'));
    if !inside {
        return Err(format!("`{name}` is no name of a file in plugins/"));
    }
    files.text(&path, PLUGIN_BYTES_MAX).map(|text| (shown.clone(), text)).map_err(|why| format!("{shown} {why}"))
}

impl From<PluginProblem> for Fault {
    fn from(p: PluginProblem) -> Fault {
        Fault { file: p.file.into(), line: p.line, column: p.column, what: p.what, expected: p.expected, hint: p.hint }
    }
}

impl Compiling<'_> {
    /// Compiles the app's plugin. `None`: it has none, or faults. `sources`: gathers the texts of all its files.
    pub(super) fn script(
        &mut self,
        (files, sources): (&Files, &RefCell<Vec<String>>),
        limits: &script::Limits,
        settings: &serde_json::Map<String, serde_json::Value>,
        policy: Option<&Arc<Policy>>,
    ) -> Option<Arc<script::App>> {
        let file = self.file;
        let Some(name) = &file.plugin else {
            self.tell("", without_plugin(file));
            return None;
        };
        let webhooks: Vec<&str> = file.webhook.keys().map(String::as_str).collect();
        let read = |name: &str| {
            let read = plugin_file(files, name)?;
            sources.borrow_mut().push(read.1.clone());
            Ok(read)
        };
        let plugin = match Plugin::compile(name, &read, limits, settings, &webhooks) {
            Ok(plugin) => plugin,
            Err(problems) => {
                // What is about the plugin as a whole, such as a file that is missing, stands where it is named.
                let (whole, inside): (Vec<_>, Vec<_>) = problems.into_iter().partition(|p| p.file == *name);
                self.faults.extend(inside.into_iter().map(Fault::from));
                let named =
                    |p: PluginProblem| Problem { expected: p.expected, ..Problem::new("plugin", p.what).hint(p.hint) };
                self.tell("", whole.into_iter().map(named).collect());
                return None;
            }
        };
        let mut problems = Vec::new();
        for (i, timer) in file.timer.iter().enumerate() {
            if timer.every.0 < TIMER_MS_MIN {
                problems.push(
                    Problem::new(format!("timer[{i}].every"), "a timer that leaves no time for anything else")
                        .expected(format!("\"{TIMER_MS_MIN}ms\" or more")),
                );
            }
            if let Err(p) = plugin.handler(&timer.handler) {
                problems.push(Problem { path: format!("timer[{i}].handler"), ..p });
            }
            if let Some(entity) = &timer.entity {
                problems.extend(EntityKey::compile(entity, &[], &format!("timer[{i}].entity")).err());
            }
        }
        for (kind, settings) in &file.entity {
            if kind.contains(':') || kind.is_empty() {
                problems.push(
                    Problem::new(format!("entity.{kind}"), format!("`{kind}` is no kind of entity"))
                        .expected("the text before the first `:` of its keys"),
                );
            }
            if kind == CONNECTION && settings.state == script::Keep::Store {
                let what = "what a connection keeps ends with it: nothing of it is there after a restart";
                problems.push(Problem::new(format!("entity.{kind}.state"), what).expected("`memory`"));
            }
        }
        let sound = problems.is_empty();
        self.tell("", problems);
        sound.then(|| {
            Arc::new(script::App {
                id: self.id,
                name: self.sheet.name.as_str().into(),
                plugin,
                limits: limits.clone(),
                policy: policy.cloned(),
                entities: file.entity.clone(),
                timers: file.timer.clone(),
            })
        })
    }

    pub(super) fn webhooks(&mut self, resolve: crate::auth::Resolve) -> BTreeMap<Arc<str>, Arc<webhook::Webhook>> {
        let mut made = BTreeMap::new();
        for (name, settings) in &self.file.webhook {
            match webhook::compile(settings, resolve) {
                Ok(webhook) => drop(made.insert(name.as_str().into(), Arc::new(webhook))),
                Err(problems) => self.tell(&format!("webhook.{name}"), problems),
            }
        }
        made
    }

    /// What classes, endpoints and message types are bound to. Without a policy only names of handlers are judged.
    pub(super) fn handlers(
        &mut self,
        script: Arc<script::App>,
        policy: Option<&Policy>,
        dialects: &BTreeMap<String, Arc<Dialect>>,
    ) -> Arc<Handlers> {
        let file = self.file;
        let mut binding = Binding { plugin: &script.plugin, problems: Vec::new() };
        let classes = file.channel.iter().enumerate().map(|(i, settings)| {
            let class = policy.and_then(|policy| policy.classes().get(i));
            let vars: Option<Vec<&str>> = class.map(|class| class.vars().collect());
            binding.class(&settings.b.b.handler, vars.as_deref(), &format!("channel[{i}].handler"))
        });
        let classes: Vec<OfClass> = classes.collect();
        let endpoints = file.endpoint.iter().enumerate();
        let endpoints: Vec<OfEndpoint> = endpoints
            .map(|(i, settings)| {
                let vars = PathPattern::parse(&settings.path).map(|p| p.names).unwrap_or_default();
                let path = format!("endpoint[{i}].handler");
                let dialect = (settings.dialect.as_str(), dialects.get(&settings.dialect).map(|d| &**d));
                binding.endpoint(&settings.b.handler, dialect, &vars, &path)
            })
            .collect();
        let mut problems = binding.problems;
        // A message type of a dialect is told once, however many endpoints speak it.
        let mut seen = BTreeSet::new();
        problems.retain(|p| seen.insert((p.path.clone(), p.what.clone())));
        self.tell("", problems);
        Arc::new(Handlers { script, classes: classes.into(), endpoints: endpoints.into() })
    }
}

/// The shortest interval of a `[[timer]]`.
const TIMER_MS_MIN: u64 = 10;
/// The kind of entity that a connection is itself.
const CONNECTION: &str = "connection";

/// Handlers that a file binds without having a plugin.
fn without_plugin(file: &AppFile) -> Vec<Problem> {
    let mut bound: Vec<String> = Vec::new();
    for (i, class) in file.channel.iter().enumerate() {
        if class.b.b.handler != ChannelHandlers::default() {
            bound.push(format!("channel[{i}].handler"));
        }
    }
    for (i, endpoint) in file.endpoint.iter().enumerate() {
        if endpoint.b.handler != EndpointHandlers::default() {
            bound.push(format!("endpoint[{i}].handler"));
        }
    }
    bound.extend(file.webhook.keys().map(|name| format!("webhook.{name}")));
    bound.extend((0..file.timer.len()).map(|i| format!("timer[{i}].handler")));
    bound.extend(
        file.route.iter().enumerate().filter(|(_, r)| r.handler.is_some()).map(|(i, _)| format!("route[{i}].handler")),
    );
    for (name, dialect) in &file.dialect {
        let handled = dialect.receive.iter().filter(|(_, r)| r.handler.is_some());
        bound.extend(handled.map(|(kind, _)| format!("dialect.{name}.receive.{kind}.handler")));
        if dialect.receive_default.as_ref().is_some_and(|r| r.handler.is_some()) {
            bound.push(format!("dialect.{name}.receive_default.handler"));
        }
    }
    let told = |path: String| {
        let what = if path.starts_with("webhook") { "a webhook" } else { "a handler" };
        Problem::new(path, format!("{what}, and this file names no plugin"))
            .expected("`plugin = \"NAME\"` at the top of this file, for plugins/NAME.rhai")
    };
    bound.into_iter().map(told).collect()
}

/// Names of functions → their numbers, with all that is wrong on the way.
struct Binding<'a> {
    plugin: &'a Plugin,
    problems: Vec<Problem>,
}

/// What handlers of one table have in common.
struct Common {
    entity: Option<Arc<EntityKey>>,
    failed: Option<Arc<str>>,
}

impl Binding<'_> {
    fn handler(&mut self, name: Option<&String>, of: &Common, path: String) -> Option<Bound> {
        match self.plugin.handler(name?) {
            Ok(handler) => Some(Bound { handler, entity: of.entity.clone(), failed: of.failed.clone() }),
            Err(problem) => {
                self.problems.push(Problem { path, ..problem });
                None
            }
        }
    }

    fn entity(&mut self, text: Option<&str>, vars: &[&str], path: &str) -> Option<Arc<EntityKey>> {
        match EntityKey::compile(text?, vars, path) {
            Ok(key) => Some(Arc::new(key)),
            Err(problem) => {
                self.problems.push(problem);
                None
            }
        }
    }

    fn class(&mut self, s: &ChannelHandlers, vars: Option<&[&str]>, path: &str) -> OfClass {
        let entity = vars.and_then(|vars| self.entity(s.entity.as_deref(), vars, &format!("{path}.entity")));
        let common = Common { entity, failed: s.failed.as_deref().map(Into::into) };
        let mut of = |name: &Option<String>, key: &str| self.handler(name.as_ref(), &common, format!("{path}.{key}"));
        OfClass {
            publish: of(&s.publish, "publish"),
            published: of(&s.published, "published"),
            subscribe: of(&s.subscribe, "subscribe"),
            subscribed: of(&s.subscribed, "subscribed"),
            unsubscribed: of(&s.unsubscribed, "unsubscribed"),
        }
    }

    fn endpoint(
        &mut self,
        s: &EndpointHandlers,
        (name, dialect): (&str, Option<&Dialect>),
        vars: &[String],
        path: &str,
    ) -> OfEndpoint {
        let names: Vec<&str> = vars.iter().map(String::as_str).collect();
        let entity = self.entity(s.entity.as_deref(), &names, &format!("{path}.entity"));
        let common = Common { entity, failed: s.failed.as_deref().map(Into::into) };
        let connect = self.handler(s.connect.as_ref(), &common, format!("{path}.connect"));
        let disconnect = self.handler(s.disconnect.as_ref(), &common, format!("{path}.disconnect"));
        let bound = dialect.map_or(&[][..], Dialect::bound);
        let mut messages = Vec::new();
        for message in bound {
            let at = format!("dialect.{name}.receive.{}", message.kind);
            let own = self.entity(message.entity.as_deref(), &names, &format!("{at}.entity"));
            // Messages of an endpoint with a common state are about that, unless they say otherwise.
            let entity = own.or_else(|| common.entity.clone());
            let of = Common { entity, failed: message.failed.as_deref().map(Into::into) };
            let handler = self.handler(Some(&message.handler.to_string()), &of, format!("{at}.handler"));
            messages.push(handler.unwrap_or(Bound { handler: 0, entity: None, failed: None }));
        }
        OfEndpoint {
            connect,
            disconnect,
            messages: messages.into(),
            vars: vars.iter().map(|v| Arc::from(v.as_str())).collect(),
        }
    }
}

/// Functions of the plugin that nothing calls, and a plugin that nothing tests.
pub fn doubts(file: &AppFile, handlers: &Handlers) -> Vec<Problem> {
    let plugin = &handlers.script.plugin;
    let mut bound = BTreeSet::new();
    for class in &file.channel {
        let h = &class.b.b.handler;
        bound.extend([&h.publish, &h.published, &h.subscribe, &h.subscribed, &h.unsubscribed].into_iter().flatten());
    }
    for endpoint in &file.endpoint {
        bound.extend([&endpoint.b.handler.connect, &endpoint.b.handler.disconnect].into_iter().flatten());
    }
    bound.extend(file.timer.iter().map(|t| &t.handler));
    bound.extend(file.route.iter().filter_map(|r| r.handler.as_ref()));
    let received = file.dialect.values().flat_map(|d| d.receive.values().chain(&d.receive_default));
    bound.extend(received.filter_map(|r| r.handler.as_ref()));
    let unused = plugin.functions().filter(|f| !f.used && !bound.iter().any(|b| **b == *f.name));
    let known: Vec<&str> = plugin.functions().map(|f| &*f.name).collect();
    unused
        .map(|f| {
            Problem::new("plugin", format!("nothing calls `{}` ({}:{})", f.name, f.file, f.line))
                .hint(did_you_mean(&f.name, bound.iter().map(|b| b.as_str()).filter(|b| !known.contains(b))))
        })
        .collect()
}
