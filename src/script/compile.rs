//! A plugin's files → `Plugin`.

use super::Limits;
use super::engine::{Compiled, engine};
use super::failure::line_column;
use super::plugin::{Function, Plugin, PluginProblem, Reads};
use super::subject::dynamic;
use rhai::{AST, OptimizationLevel, Position, Scope};
use serde_json::{Map, Value};
use std::sync::Arc;

pub(super) fn compile(
    name: &str,
    files: &dyn Fn(&str) -> Result<(String, String), String>,
    limits: &Limits,
    settings: &Map<String, Value>,
    webhooks: &[&str],
) -> Result<Plugin, Vec<PluginProblem>> {
    let (file, text) = files(name).map_err(|what| vec![whole(name, what)])?;
    let mut engine = engine(limits);
    let mut scope = Scope::new();
    scope.push_constant_dynamic("settings", dynamic(&Value::Object(settings.clone())));
    engine.set_optimization_level(OptimizationLevel::Simple);
    let mut ast = engine
        .compile_with_scope(&scope, &text)
        .map_err(|e| vec![problem(&file, e.position(), e.err_type().to_string())])?;
    ast.set_source(file.as_str());
    let file: Arc<str> = file.into();
    let functions = functions(&ast, &file);
    let ast = ast.clone_functions_only();
    Ok(Plugin {
        compiled: Some(Box::new(Compiled { engine, ast, file })),
        functions,
        webhooks: webhooks.iter().map(|w| Arc::from(*w)).collect(),
    })
}

fn functions(ast: &AST, file: &Arc<str>) -> Vec<Function> {
    let mut functions: Vec<Function> = ast
        .iter_functions()
        .filter(|f| !f.name.starts_with("anon$"))
        .map(|f| {
            let line = ast
                .shared_lib()
                .get_script_fn(f.name, f.params.len())
                .map_or(0, |d| line_column(d.body.start_position()).0);
            Function {
                name: f.name.into(),
                arity: f.params.len(),
                file: file.clone(),
                line,
                keeps_state: true,
                used: false,
                reads: Reads::ALL,
            }
        })
        .collect();
    functions.sort_by(|a, b| (&a.name, a.arity).cmp(&(&b.name, b.arity)));
    functions
}

fn whole(file: &str, what: String) -> PluginProblem {
    PluginProblem { file: file.to_owned(), line: 0, column: 0, what, expected: None, hint: None }
}

fn problem(file: &str, place: Position, what: String) -> PluginProblem {
    let (line, column) = line_column(place);
    PluginProblem { file: file.to_owned(), line, column, what, expected: None, hint: None }
}
