//! The `weir` command: one file a verb. Reads the process's arguments and environment; nothing else does.
//! In: arguments, environment. Out: an exit code, after `gateway` or `config` did the work.

mod check;
mod run;

use crate::config::Environment;
use clap::{Parser, Subcommand};
use std::path::PathBuf;
use std::process::ExitCode;

/// An event gateway configured by files.
#[derive(Parser, Debug)]
#[command(name = "weir", version, about, max_term_width = 100, after_help = EXAMPLES, disable_help_subcommand = true)]
struct Arguments {
    /// The gateway's own settings; channels/ lies beside it.
    #[arg(short, long, value_name = "FILE", default_value = "gateway.toml", env = "WEIR_CONFIG", global = true)]
    config: PathBuf,
    #[command(subcommand)]
    verb: Option<Verb>,
}

#[derive(Subcommand, Debug)]
enum Verb {
    /// Serves until it is told to stop (SIGTERM, SIGINT). This is what `weir` alone does.
    Run,
    /// Tells everything that is wrong with the files, and serves nothing.
    Check(check::Arguments),
}

const EXAMPLES: &str = "Examples:
  weir                            serve what gateway.toml and channels/*.toml say
  weir -c /etc/weir/gateway.toml  serve another configuration
  weir check                      look for mistakes before they go live
  weir check deploy/staging       of the gateway.toml in another folder
  WEIR_LOG__LEVEL=debug weir      override a key of gateway.toml for once

Exit codes: 0 all is well, 2 wrong arguments, 78 mistakes in the files.";

/// A configuration with mistakes: `EX_CONFIG` of sysexits.h.
const EX_CONFIG: u8 = 78;

/// Does what the process's arguments say.
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let env = environment();
    match arguments.verb {
        None | Some(Verb::Run) => run::run(&arguments.config, &env),
        Some(Verb::Check(check)) => check::run(&arguments.config, &check, &env),
    }
}

/// The process's environment; what is not UTF-8 is nothing that a setting could be.
fn environment() -> Environment {
    std::env::vars_os().filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn arguments_are_sound() {
        Arguments::command().debug_assert();
        let parsed = Arguments::try_parse_from(["weir", "check", "-c", "x.toml"]).unwrap();
        assert_eq!(parsed.config, PathBuf::from("x.toml"));
        assert!(Arguments::try_parse_from(["weir"]).unwrap().verb.is_none());
        let told = Arguments::try_parse_from(["weir", "chek"]).unwrap_err().to_string();
        assert!(told.contains("'check'"), "{told}");
    }
}
