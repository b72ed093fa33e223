//! A plugin's files → `Plugin`: read, constants computed, functions checked; all mistakes at once.

mod constants;
mod foreign;
mod lint;
mod literals;
mod settings;
mod signatures;
mod source;
mod syntax;

use super::Limits;
use super::engine::{Compiled, STACK_BYTES, engine};
use super::failure::line_column;
use super::plugin::{Function, Plugin, PluginFile, PluginProblem};
use super::subject::dynamic;
use lint::Context;
use rhai::module_resolvers::StaticModuleResolver;
use rhai::{AST, Dynamic, Engine, Module, OptimizationLevel, Position, Scope};
use serde_json::{Map, Value};
use source::Source;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, mpsc};
use std::thread;

use signatures::keywords;

/// As `Plugin::compile`: on a thread with room for the deepest text, wherever it is called.
pub(super) fn compile(
    name: &str,
    files: &dyn Fn(&str) -> PluginFile,
    limits: &Limits,
    settings: &Map<String, Value>,
    webhooks: &[&str],
) -> Result<Plugin, Vec<PluginProblem>> {
    let failed = |what: String| vec![problem(name, Position::NONE, what)];
    let (ask, asked) = mpsc::channel::<(String, mpsc::Sender<PluginFile>)>();
    thread::scope(|scope| {
        let compiling = thread::Builder::new().name("weir-compile".into()).stack_size(STACK_BYTES);
        let compiling = compiling.spawn_scoped(scope, move || {
            let files = |name: &str| {
                let (tell, told) = mpsc::channel();
                let _ = ask.send((name.to_owned(), tell));
                told.recv().unwrap_or_else(|_| Err("it was not read".to_owned()))
            };
            compile_here(name, &files, limits, settings, webhooks)
        });
        let compiling = compiling.map_err(|e| failed(format!("no thread to compile on: {e}")))?;
        // Files are read here; that ends when the other side does.
        for (name, tell) in asked {
            let _ = tell.send(files(&name));
        }
        compiling
            .join()
            .unwrap_or_else(|_| Err(failed("the compiler met a mistake of its own; the log has it".to_owned())))
    })
}

fn compile_here(
    name: &str,
    files: &dyn Fn(&str) -> PluginFile,
    limits: &Limits,
    settings: &Map<String, Value>,
    webhooks: &[&str],
) -> Result<Plugin, Vec<PluginProblem>> {
    let mut build = Build {
        engine: engine(limits),
        settings: dynamic(&Value::Object(settings.clone())),
        known_settings: settings.keys().map(String::as_str).collect(),
        settings_read: BTreeSet::new(),
        limits,
        webhooks,
        resolver: StaticModuleResolver::new(),
        modules: BTreeMap::new(),
        constants: BTreeMap::new(),
        problems: Vec::new(),
    };
    let sources = source::read(name, files, limits, &mut build.problems);
    let mut plugin = None;
    // What is imported comes before who imports it.
    for source in &sources {
        plugin = build.file(source, source.name == name);
    }
    match plugin {
        Some(plugin) if build.problems.is_empty() => Ok(build.finish(plugin)),
        _ => {
            build.problems.sort_by(|a, b| (&a.file, a.line, a.column).cmp(&(&b.file, b.line, b.column)));
            build.problems.dedup();
            Err(build.problems)
        }
    }
}

struct Build<'a> {
    engine: Engine,
    settings: Dynamic,
    known_settings: BTreeSet<&'a str>,
    /// Names that the files read of them.
    settings_read: BTreeSet<String>,
    limits: &'a Limits,
    webhooks: &'a [&'a str],
    resolver: StaticModuleResolver,
    /// What files offer to those that import them, by name.
    modules: BTreeMap<String, Offered>,
    /// Constants of all files that functions may look into at run time, with the file they are from.
    constants: BTreeMap<String, (Dynamic, Arc<str>)>,
    problems: Vec<PluginProblem>,
}

/// A file's functions and constants, for others.
pub(super) struct Offered {
    /// Name, parameters, whether private.
    pub functions: Vec<(String, usize, bool)>,
    pub constants: Vec<String>,
    module: Option<rhai::Shared<Module>>,
}

/// The plugin's own file, compiled.
struct Main {
    ast: AST,
    file: Arc<str>,
    functions: Vec<Function>,
    /// Alias and name.
    imports: Vec<(String, String)>,
}

impl Build<'_> {
    /// Compiles and checks one file. `None`: it has mistakes, or it is not the plugin's own.
    fn file(&mut self, source: &Source, main: bool) -> Option<Main> {
        let before = self.problems.len();
        self.engine.set_module_resolver(self.resolver.clone());
        let constants = constants::evaluate(&self.engine, source, &self.settings, self.limits, &mut self.problems);
        let mut scope = Scope::new();
        scope.push_constant_dynamic("settings", self.settings.clone());
        for (name, value) in &constants {
            scope.push_constant_dynamic(name.clone(), value.clone());
        }
        self.remember(source, &constants);
        settings::check(source, &self.known_settings, &mut self.settings_read, &mut self.problems);
        let exact = self.parse(source, &scope, OptimizationLevel::None);
        let names = exact.as_ref().unwrap_or(&source.loose);
        let functions = exact.as_ref().map(|ast| self.lint(source, ast)).unwrap_or_default();
        let mut offered = Offered {
            functions: names
                .iter_functions()
                .filter(|f| !f.name.starts_with(ANONYMOUS))
                .map(|f| (f.name.to_owned(), f.params.len(), f.access.is_private()))
                .collect(),
            constants: source.exported.clone(),
            module: None,
        };
        let imported = |i: &source::Import| self.modules.get(&i.name).is_some_and(|m| m.module.is_some());
        let ready = source.sound && source.imports.iter().all(imported);
        let ast = match exact {
            Some(_) if ready && self.problems.len() == before => self.parse(source, &scope, OptimizationLevel::Simple),
            _ => None,
        };
        if !main {
            offered.module = ast.as_ref().and_then(|ast| self.module(source, ast));
            self.modules.insert(source.name.clone(), offered);
            return None;
        }
        let imports = source.imports.iter().map(|i| (i.alias.clone(), i.name.clone())).collect();
        Some(Main { ast: ast?.clone_functions_only(), file: source.file.clone(), functions, imports })
    }

    fn parse(&mut self, source: &Source, scope: &Scope, level: OptimizationLevel) -> Option<AST> {
        self.engine.set_optimization_level(level);
        match self.engine.compile_with_scope(scope, &source.text) {
            Ok(mut ast) => {
                ast.set_source(&*source.file);
                Some(ast)
            }
            Err(error) => {
                self.problems.push(syntax::problem_of(&source.file, &source.text, &error, Some(source)));
                None
            }
        }
    }

    fn lint(&mut self, source: &Source, ast: &AST) -> Vec<Function> {
        let modules: BTreeMap<&str, &Offered> =
            source.imports.iter().filter_map(|i| Some((i.alias.as_str(), self.modules.get(&i.name)?))).collect();
        let context = Context { source, ast, modules, webhooks: self.webhooks };
        lint::lint(&context, &mut self.problems)
    }

    /// Two files of one plugin may each have a constant of a name; where functions look into it at run time, they must
    /// agree, for they look in one place.
    fn remember(&mut self, source: &Source, constants: &[(String, Dynamic)]) {
        for (name, value) in constants {
            if !value.is_map() && !value.is_array() {
                continue;
            }
            if let Some((_, other)) = self.constants.get(name) {
                let what = format!("the constant `{name}` is in {other} too");
                let place = source.constants.iter().find(|(n, _)| n == name).map_or(Position::NONE, |(_, at)| *at);
                let hint = "maps and arrays need names of their own over a plugin and all that it imports";
                self.problems.push(problem(&source.file, place, what).hint(hint));
            }
            self.constants.insert(name.clone(), (value.clone(), source.file.clone()));
        }
    }

    fn module(&mut self, source: &Source, ast: &AST) -> Option<rhai::Shared<Module>> {
        let evaluated = constants::metered(self.limits, || Module::eval_ast_as_new(Scope::new(), ast, &self.engine));
        match evaluated {
            Ok(module) => {
                self.resolver.insert(source.name.as_str(), module.clone());
                Some(module.into())
            }
            Err(error) => {
                self.problems.push(constants::failed(source, &error, self.limits));
                None
            }
        }
    }

    fn finish(mut self, main: Main) -> Plugin {
        let Main { ast, file, functions, imports } = main;
        for (alias, name) in imports {
            if let Some(module) = self.modules.get(&name).and_then(|m| m.module.clone()) {
                self.engine.register_static_module(alias, module);
            }
        }
        let mut variables = Module::new();
        variables.set_var("settings", self.settings);
        for (name, (value, _)) in self.constants {
            variables.set_var(name, value);
        }
        variables.build_index();
        self.engine.register_global_module(variables.into());
        Plugin {
            compiled: Some(Box::new(Compiled { engine: self.engine, ast, file })),
            functions,
            webhooks: self.webhooks.iter().map(|w| Arc::from(*w)).collect(),
            settings: self.settings_read,
        }
    }
}

/// How Rhai names closures.
const ANONYMOUS: &str = "anon$";

fn problem(file: &str, place: Position, what: impl Into<String>) -> PluginProblem {
    let (line, column) = line_column(place);
    PluginProblem { file: file.to_owned(), line, column, what: what.into(), expected: None, hint: None }
}

impl PluginProblem {
    fn expected(mut self, expected: impl Into<String>) -> PluginProblem {
        self.expected = Some(expected.into());
        self
    }

    fn hint(mut self, hint: impl Into<String>) -> PluginProblem {
        self.hint = Some(hint.into());
        self
    }

    fn hint_if(mut self, hint: Option<String>) -> PluginProblem {
        self.hint = hint;
        self
    }
}
