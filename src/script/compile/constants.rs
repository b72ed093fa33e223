//! Computes a file's `const`s, once.

use super::problem;
use super::source::Source;
use crate::script::Limits;
use crate::script::failure::trace;
use crate::script::meter::{Bounds, Meter};
use crate::script::plugin::PluginProblem;
use crate::script::run::explain;
use rhai::{Dynamic, Engine, EvalAltResult, Position, Scope};

/// Names and values, in their order; `()` where they cannot be known.
pub fn evaluate(
    engine: &Engine,
    source: &Source,
    settings: &Dynamic,
    limits: &Limits,
    problems: &mut Vec<PluginProblem>,
) -> Vec<(String, Dynamic)> {
    let unknown = || source.constants.iter().map(|(name, _)| (name.clone(), Dynamic::UNIT)).collect();
    if source.constants.is_empty() || !source.sound {
        return unknown();
    }
    let mut scope = Scope::new();
    scope.push_constant_dynamic("settings", settings.clone());
    let mut ast = source.loose.clone();
    ast.set_source(&*source.file);
    match metered(limits, || engine.run_ast_with_scope(&mut scope, &ast)) {
        Ok(()) => scope.iter().skip(1).map(|(name, _, value)| (name.to_owned(), value)).collect(),
        Err(error) => {
            problems.push(failed(source, &error, limits));
            unknown()
        }
    }
}

/// Time for one file's constants. A load happens on busy machines, so it is generous; `operations` ends most mistakes.
const DEADLINE_MS: u64 = 10_000;

/// A run at load, within the bounds of a call. Err: what Rhai says, or the bound that was met.
pub fn metered<T>(
    limits: &Limits,
    run: impl FnOnce() -> Result<T, Box<EvalAltResult>>,
) -> Result<T, Box<EvalAltResult>> {
    let meter = Meter::new(Bounds { deadline_ms: limits.deadline.0.max(DEADLINE_MS), ..Bounds::of(limits) });
    let ran = meter.during(run);
    match (meter.met(), ran) {
        (None, ran) => ran,
        (Some((_, what)), ran) => {
            let place = ran.err().map_or(Position::NONE, |error| trace(&error, "").place);
            Err(EvalAltResult::ErrorRuntime(what.into(), place).into())
        }
    }
}

/// A constant could not be computed.
pub fn failed(source: &Source, error: &EvalAltResult, limits: &Limits) -> PluginProblem {
    let mut error = error;
    while let EvalAltResult::ErrorInModule(_, inner, _) = error {
        error = inner;
    }
    let at = trace(error, &source.file);
    let mut what = explain(at.error, limits).1;
    for call in at.calls {
        what.push_str("\n  ");
        what.push_str(&call);
    }
    problem(&at.file, at.place, what)
}
