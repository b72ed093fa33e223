//! `weir health`: whether a running gateway takes newcomers; for container health checks and scripts.

use super::client::{Door, Found};
use super::files::{fail, runtime};
use crate::config::Environment;
use std::path::Path;
use std::process::ExitCode;

#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    #[command(flatten)]
    door: Door,
    /// Only whether the process answers, not whether it takes newcomers.
    #[arg(long)]
    alive: bool,
}

const EXAMPLES: &str = "Examples:
  weir health
  weir health --url http://127.0.0.1:9000 --timeout 2

Asks /readyz (with --alive /healthz) of the admin listener.
Exit codes: 0 it does, 1 it does not.";

pub fn run(gateway: &Path, arguments: &Arguments, env: &Environment) -> ExitCode {
    let found = arguments.door.found(gateway, env);
    let path = if arguments.alive { "/healthz" } else { "/readyz" };
    match ask(&found, path) {
        Ok(text) => {
            say!("{text}");
            ExitCode::SUCCESS
        }
        Err(what) => fail(what),
    }
}

fn ask(found: &Found, path: &str) -> Result<String, String> {
    let runtime = runtime().map_err(|e| e.to_string())?;
    match runtime.block_on(found.get(path))? {
        (status, text) if status.is_success() => Ok(text),
        (status, text) => Err(format!("{}{path} answered {status}\n{text}", found.url)),
    }
}
