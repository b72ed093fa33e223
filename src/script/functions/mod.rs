//! What scripts can call: registered, documented and checked from one table.

mod arguments;
mod bounded;
mod effects;
mod helpers;
mod keys;
mod reads;
mod seats;
mod timers;
mod types;

pub(super) use arguments::{bad_duration, is_metric_name, parse_duration};
pub(super) use keys::unknown_webhook;

use super::current;
use rhai::{
    Array, Dynamic, FnPtr, FuncRegistration, ImmutableString, Map, Module, NativeCallContext, Position, RhaiNativeFunc,
    Shared, Variant,
};
use std::sync::LazyLock;

/// One function that handlers may call, for the reference and the definition files.
#[derive(Clone, Debug)]
pub struct HostFunction {
    pub name: &'static str,
    /// The heading under which a reference shows it.
    pub group: &'static str,
    /// One or more, each `name(a: string, b: int) -> map`.
    pub forms: Vec<Form>,
    /// Sentences, in Markdown.
    pub doc: &'static str,
    /// Lines of a handler's body.
    pub example: &'static str,
}

/// One way to call a function.
#[derive(Clone, Debug)]
pub struct Form {
    /// `channel: string`; `?` is a value of any type, `|` separates alternatives.
    pub params: &'static [&'static str],
    pub returns: &'static str,
}

impl HostFunction {
    /// `publish(channel: string, data: ?)`, a line a form.
    pub fn signatures(&self) -> impl Iterator<Item = String> {
        self.forms.iter().map(|form| {
            let returns = if form.returns == "()" { String::new() } else { format!(" -> {}", form.returns) };
            format!("{}({}){returns}", self.name, form.params.join(", "))
        })
    }
}

/// All of them, group by group.
pub fn functions_table() -> &'static [HostFunction] {
    &SHELF.1
}

/// The functions, as the engine takes them.
pub(super) fn module() -> Shared<Module> {
    SHELF.0.clone()
}

static SHELF: LazyLock<(Shared<Module>, Vec<HostFunction>)> = LazyLock::new(|| {
    let mut shelf = Shelf { module: Module::new(), functions: Vec::new(), group: "" };
    effects::add(&mut shelf);
    seats::add(&mut shelf);
    timers::add(&mut shelf);
    keys::add(&mut shelf);
    reads::add(&mut shelf);
    helpers::add(&mut shelf);
    types::add(&mut shelf);
    gone(&mut shelf.module);
    bounded::add(&mut shelf.module);
    print(&mut shelf.module);
    shelf.module.build_index();
    (shelf.module.into(), shelf.functions)
});

/// Takes functions and what is said of them.
struct Shelf {
    module: Module,
    functions: Vec<HostFunction>,
    group: &'static str,
}

impl Shelf {
    fn group(&mut self, group: &'static str) {
        self.group = group;
    }

    /// The forms that follow are of this function.
    fn function(&mut self, name: &'static str, doc: &'static str, example: &'static str) {
        self.functions.push(HostFunction { name, group: self.group, forms: Vec::new(), doc, example });
    }

    fn form<A: 'static, const N: usize, const X: bool, R, const F: bool, FUNC>(
        &mut self,
        params: &'static [&'static str],
        returns: &'static str,
        func: FUNC,
    ) where
        R: Variant + Clone,
        FUNC: RhaiNativeFunc<A, N, X, R, F> + Send + Sync + 'static,
    {
        let Some(function) = self.functions.last_mut() else { return };
        debug_assert_eq!(params.len(), N, "{}", function.name);
        let registration = FuncRegistration::new(function.name)
            .with_params_info(params.iter().copied().chain([returns]))
            .with_comments([format!("/// {}", function.doc.replace('\n', "\n/// "))])
            .with_volatility(true);
        registration.set_into_module(&mut self.module, func);
        // A form may be registered for several types.
        if !function.forms.iter().any(|f| f.params == params) {
            function.forms.push(Form { params, returns });
        }
    }
}

/// Rhai's `sleep` would hold its thread, and no bound would end it.
fn gone(module: &mut Module) {
    let no_sleep = || current::raise("there is no `sleep`: a handler never waits; `after` calls a function later");
    FuncRegistration::new("sleep")
        .set_into_module(module, move |_: i64| -> Result<(), current::Raised> { Err(no_sleep()) });
    FuncRegistration::new("sleep")
        .set_into_module(module, move |_: f64| -> Result<(), current::Raised> { Err(no_sleep()) });
}

/// Rhai's own `print` does not tell where it is called; it has forms of its own for these types.
fn print(module: &mut Module) {
    fn of<T: Variant + Clone>(module: &mut Module) {
        FuncRegistration::new("print").set_into_module(module, |call: NativeCallContext, value: T| {
            log(tracing::Level::INFO, &Dynamic::from(value).to_string(), call.call_source(), call.call_position());
        });
    }
    of::<Dynamic>(module);
    of::<ImmutableString>(module);
    of::<char>(module);
    of::<bool>(module);
    of::<i64>(module);
    of::<f64>(module);
    of::<()>(module);
    of::<Array>(module);
    of::<Map>(module);
    of::<FnPtr>(module);
}

/// What `print` and `debug` write.
pub(super) fn log(level: tracing::Level, text: &str, file: Option<&str>, place: Position) {
    /// Of one line.
    const BYTES_MAX: usize = 4_000;
    let text = &text[..text.floor_char_boundary(BYTES_MAX)];
    let (line, column) = super::failure::line_column(place);
    let at = format_args!("{}:{line}:{column}", file.unwrap_or("")).to_string();
    let told = current::with(|c| {
        if c.around.host.printed(text) {
            return c.count(text.len());
        }
        let (app, handler) = (&*c.around.app.name, c.plugin.name_of(c.handler));
        let entity = c.around.entity.unwrap_or("");
        match level {
            tracing::Level::INFO => tracing::info!(target: "plugin", app, handler, entity, at, "{text}"),
            _ => tracing::debug!(target: "plugin", app, handler, entity, at, "{text}"),
        }
        // Lines are bounded as effects are; the call ends when there are too many.
        c.count(text.len())
    });
    // Outside of a call it is a constant that prints, once at load.
    if told.is_err() {
        tracing::debug!(target: "plugin", at, "{text}");
    }
}

/// Functions of Rhai's that a call of a host function by its name and number of arguments could reach instead.
#[cfg(test)]
pub(super) fn overlaps() -> Vec<(String, String)> {
    let engine = super::engine::engine(&super::Limits::default());
    let own: Vec<(String, String)> = engine.collect_fn_metadata(None, |i| Some(described(i.metadata)), false);
    let all: Vec<(String, String)> = engine.collect_fn_metadata(None, |i| Some(described(i.metadata)), true);
    let first = format!("[{:?}", std::any::TypeId::of::<rhai::ImmutableString>());
    let named = |f: &&(String, String)| functions_table().iter().any(|t| t.name == f.0);
    all.iter().filter(named).filter(|f| f.1.starts_with(&first) && !own.contains(f)).cloned().collect()
}

#[cfg(test)]
fn described(metadata: &rhai::FuncMetadata) -> (String, String) {
    (metadata.name.to_string(), format!("{:?}", metadata.param_types))
}
