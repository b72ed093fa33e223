//! The files, as verbs read them: nothing is served, nothing is fetched unless a verb asks for it.

use super::EX_CONFIG;
use crate::auth::Fetcher;
use crate::config::{self, App, Compiled, Environment, Means};
use crate::harness;
use crate::model::{Fault, did_you_mean, one_of, sorted, summary};
use std::path::Path;
use std::process::ExitCode;
use tokio::runtime::{Builder, Runtime};

/// What the files came to, and the runtime on which keys and rows behind URLs are fetched.
pub struct Files {
    pub compiled: Compiled,
    pub runtime: Runtime,
}

/// Reads the files. Err: every fault.
pub fn read(gateway: &Path, env: &Environment) -> Result<Files, Vec<Fault>> {
    read_by(config::read, gateway, env)
}

/// As `read`, and whether this machine can serve them, and play their tests: a gateway starts without them, unless they
/// are required.
pub fn check(gateway: &Path, env: &Environment) -> Result<Files, Vec<Fault>> {
    let read = read_by(config::read_to_serve, gateway, env);
    let compiled = read.as_ref().ok().map(|read| &read.compiled);
    let mut faults = harness::unreadable(gateway.parent().unwrap_or(Path::new("")), compiled);
    faults.extend(compiled.and_then(|compiled| harness::gate(compiled).err()).into_iter().flatten());
    match read {
        Ok(read) if faults.is_empty() => Ok(read),
        read => Err(sorted(read.err().into_iter().flatten().chain(faults).collect())),
    }
}

type Read = fn(&Path, &Means) -> Result<Compiled, Vec<Fault>>;

fn read_by(read: Read, gateway: &Path, env: &Environment) -> Result<Files, Vec<Fault>> {
    let runtime =
        runtime().map_err(|e| vec![Fault::of_file(&gateway.display().to_string(), format!("no runtime: {e}"))])?;
    let fetcher = Fetcher::new(runtime.handle().clone());
    let compiled = read(gateway, &Means { env, fetcher: &fetcher, previous: None })?;
    fetcher.trust().set(&compiled.roots);
    Ok(Files { compiled, runtime })
}

/// As `read`; faults are told, and the exit code says so.
pub fn read_or_tell(gateway: &Path, env: &Environment) -> Result<Files, ExitCode> {
    read(gateway, env).map_err(|faults| {
        faults.iter().for_each(|fault| complain!("{fault}\n"));
        complain!("{}", summary(&faults));
        ExitCode::from(EX_CONFIG)
    })
}

pub fn runtime() -> std::io::Result<Runtime> {
    Builder::new_current_thread().enable_all().build()
}

impl Files {
    /// The app of this name; the only one where none is named. Err: what to write instead.
    pub fn app(&self, name: Option<&str>) -> Result<&App, String> {
        let names = || self.compiled.apps.iter().map(|a| &*a.flow.name);
        match (name, &self.compiled.apps[..]) {
            (None, [only]) => Ok(only),
            (None, _) => Err(format!("which app? --app {}", one_of(names()).replace('`', ""))),
            (Some(name), apps) => apps.iter().find(|a| *a.flow.name == *name).ok_or_else(|| {
                let hint = did_you_mean(name, names()).map_or(String::new(), |hint| format!("; {hint}"));
                format!("no app `{name}`: there are {}{hint}", one_of(names()).replace(" or ", " and "))
            }),
        }
    }
}

/// Says what went wrong; the exit code of a verb that could not do what it should.
pub fn fail(what: impl std::fmt::Display) -> ExitCode {
    complain!("weir: {what}");
    ExitCode::FAILURE
}

/// An argument that is to be a JSON object.
pub fn object(text: &str) -> Result<serde_json::Map<String, serde_json::Value>, String> {
    serde_json::from_str(text).map_err(|e| format!("not a JSON object such as '{{\"role\":\"admin\"}}': {e}"))
}

/// An argument that is to be JSON. A bare word is none: the shell took its quotes.
pub fn json(text: &str) -> Result<Box<serde_json::value::RawValue>, String> {
    serde_json::from_str(text).map_err(|e| format!("not JSON: {e}; in a shell, quotes stand in quotes: '{{\"a\":1}}'"))
}
