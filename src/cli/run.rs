//! `weir run`: serves.

use crate::config::Environment;
use std::path::Path;
use std::process::ExitCode;

pub fn run(gateway: &Path, env: &Environment) -> ExitCode {
    crate::gateway::run(gateway, env)
}
