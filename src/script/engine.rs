//! Rhai as handlers get it: which functions there are, and where it ends.

use super::{Limits, functions, meter};
use rhai::packages::*;
use rhai::{AST, Engine, Module, OptimizationLevel, Shared, def_package};
use std::sync::{Arc, LazyLock};

/// Stack that a thread must have to run handlers: `call_depth` and `expression_depth` at their highest, in a debug build.
pub const STACK_BYTES: usize = 64 << 20;

/// A plugin, ready to run.
pub(super) struct Compiled {
    pub engine: Engine,
    /// Functions only: constants are in their bodies.
    pub ast: AST,
    pub file: Arc<str>,
}

def_package! {
    /// Rhai's own functions without the clock, files and BLOBs: one module, so that a call looks in one place.
    Standard(module): LanguageCorePackage, ArithmeticPackage, LogicPackage, BasicStringPackage, BasicIteratorPackage,
        BasicFnPackage, BasicMathPackage, BasicArrayPackage, BasicMapPackage, MoreStringPackage, BitFieldPackage {}
}

/// What scripts must not do: wait, or run texts as code.
pub(super) const GONE: [&str; 2] = ["sleep", "eval"];

static STANDARD: LazyLock<Shared<Module>> = LazyLock::new(|| Standard::new().as_shared_module());

/// Rhai's own functions.
pub(super) fn standard() -> Shared<Module> {
    STANDARD.clone()
}

/// An engine with all functions and bounds.
pub(super) fn engine(limits: &Limits) -> Engine {
    let mut engine = Engine::new_raw();
    engine.register_global_module(STANDARD.clone());
    engine.register_global_module(functions::module());
    for symbol in GONE {
        engine.disable_symbol(symbol);
    }
    engine
        .set_strict_variables(true)
        .set_optimization_level(OptimizationLevel::None)
        // Counted by the meter: Rhai counts those of each closure from where its caller stood.
        .set_max_operations(0)
        .set_max_call_levels(limits.call_depth as usize)
        .set_max_expr_depths(limits.expression_depth as usize, limits.expression_depth as usize)
        .set_max_string_size(limits.string_bytes.0 as usize)
        .set_max_array_size(limits.array_items as usize)
        .set_max_map_size(limits.map_items as usize)
        .set_max_variables(limits.variables as usize)
        .set_max_modules(limits.modules as usize);
    engine.on_progress(meter::progress);
    engine.on_debug(|text, source, place| functions::log(tracing::Level::DEBUG, text, source, place));
    engine
}
