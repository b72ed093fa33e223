//! (to be written)

use crate::config::Environment;
use std::path::Path;
use std::process::ExitCode;

/// Serves what the files say until it is told to stop.
pub fn run(_gateway: &Path, _env: &Environment) -> ExitCode {
    eprintln!("weir: serving is not there yet");
    ExitCode::FAILURE
}
