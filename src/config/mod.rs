//! The only room that knows TOML and files: file → compile → faults, or everything ready to use.
//!
//! `load` reads `gateway.toml` and `channels/*.toml` into trees that know where everything stands (`doc`), lets the
//! environment change them (`env`), and checks them against the schema of what people write (`shape`, `file`).
//! `compile` hands each room its own table and puts what it makes together; what a room finds wrong (`model::Problem`)
//! becomes a `Fault` with file, line and column. All faults are told at once.
//!
//! Leaves to others: what a table means (the room that owns it), when to read again (`watch` tells, `gateway` does), telling people (`cli`).
//! In: a path to `gateway.toml` and an environment. Out: `Compiled`, or every `Fault`.

mod app;
mod as_if;
mod both;
mod cases;
mod changes;
mod check;
mod compile;
mod de;
mod diff;
mod doc;
mod env;
mod file;
mod files;
mod front;
mod handlers;
mod inputs;
mod lint;
mod load;
mod outputs;
mod plugin_tests;
mod prune;
mod published_schema;
mod restart;
mod schema;
mod secret;
mod shape;
mod strength;
#[cfg(test)]
mod tests;
mod unread;
mod watch;
mod written;

pub use app::App;
pub use as_if::AsIf;
pub use both::Both;
pub use cases::CheckSettings;
pub use compile::{Compiled, Means, SSL_CERT_FILE};
pub use diff::{Candidate, ConfigDiff, ListenerChange, Reading};
pub use file::{AppFile, Channel, GatewayFile, Mode, ReloadSettings, Shards, Watching};
pub use files::Files;
pub use handlers::plugin_file;
pub use inputs::Inputs;
pub use outputs::store as store_problem;
pub use plugin_tests::{TEST_BYTES_MAX, plugin_of};
pub use secret::{Environment, published};
pub use watch::Watch;

use crate::auth::Fetcher;
use crate::model::{Fault, sorted};
use std::path::Path;

/// Reads the configuration whose `gateway.toml` this is. Reads files; changes nothing.
pub fn read(gateway: &Path, means: &Means) -> Result<Compiled, Vec<Fault>> {
    compiled(load::load(gateway, means.env), means)
}

fn compiled(loaded: load::Loaded, means: &Means) -> Result<Compiled, Vec<Fault>> {
    let mut refused = Vec::new();
    diff::merged(compile::compile(loaded, means, &mut refused), refused)
}

/// As `read`, of files that are to be served: what the process writes to is looked at too.
pub fn read_to_serve(gateway: &Path, means: &Means) -> Result<Compiled, Vec<Fault>> {
    let loaded = load::load(gateway, means.env);
    let stores = loaded.apps.iter().any(|app| app.made.as_ref().is_some_and(|app| app.plugin.is_some()));
    let problems = loaded.gateway.made.as_ref().map(|file| outputs::problems(file, stores, &loaded.files.path("")));
    let outputs = problems.into_iter().flatten().map(|problem| loaded.gateway.doc.locate(&problem));
    let outputs: Vec<Fault> = outputs.collect();
    match compiled(loaded, means) {
        Ok(compiled) if outputs.is_empty() => Ok(compiled),
        compiled => Err(sorted(compiled.err().into_iter().flatten().chain(outputs).collect())),
    }
}

/// As `read`, of files that may follow those in force: with what they change, and all that was looked at, whatever came
/// of it: until that changes, nothing else can.
pub fn read_next(gateway: &Path, env: &Environment, fetcher: &Fetcher, in_force: &Compiled) -> (Reading, Inputs) {
    let (mut refused, loaded) = (Vec::new(), load::load(gateway, env));
    let files = loaded.files.clone();
    let means = Means { env, fetcher, previous: Some(in_force) };
    let compiled = compile::compile(loaded, &means, &mut refused);
    let candidate = compiled.map(|compiled| {
        let diff = ConfigDiff::between(in_force, &compiled);
        Candidate { compiled, diff }
    });
    (Reading { candidate, refused }, files.inputs())
}

/// The JSON Schema (draft 2020-12) of `gateway.toml`, for editors.
pub fn gateway_schema() -> serde_json::Value {
    published_schema::of::<GatewayFile>("gateway.toml of Weir")
}

/// The JSON Schema (draft 2020-12) of `channels/NAME.toml`, for editors.
pub fn app_schema() -> serde_json::Value {
    published_schema::of::<AppFile>("channels/NAME.toml of Weir")
}
