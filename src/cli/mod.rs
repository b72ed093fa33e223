//! The `weir` command: one file a verb. Reads the process's arguments and environment; nothing else does.
//! In: arguments, environment. Out: an exit code, after `gateway` or `config` did the work.

/// A line on standard output. Where it cannot be written the verb ends: `println!` would end in a panic's message.
macro_rules! say {
    ($($what:tt)*) => { $crate::cli::print(format_args!("{}\n", format_args!($($what)*))) };
}

/// As `say`, without a line break.
macro_rules! put {
    ($($what:tt)*) => { $crate::cli::print(format_args!($($what)*)) };
}

/// A line on standard error; lost where nobody reads it.
macro_rules! complain {
    ($($what:tt)*) => { $crate::cli::print_error(format_args!($($what)*)) };
}

mod broadcast;
mod check;
mod client;
mod completions;
mod defaults;
mod explain;
mod files;
mod health;
mod junit;
mod new;
mod plan;
mod publish;
mod run;
mod schema;
mod smoke;
mod test;
mod token;

use crate::config::Environment;
use clap::{Parser, Subcommand};
use std::fmt;
use std::io::{self, Write};
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
    /// Writes the files of something new, ready to be changed.
    #[command(subcommand)]
    New(new::Arguments),
    /// Plays plugins' tests: conversations beside the plugin, without a server.
    Test(test::Arguments),
    /// Says why somebody may or may not: class, rule, the values of its parts.
    Explain(explain::Arguments),
    /// Asks a running gateway what other files would change, and what of its connections they would end.
    Plan(plan::Arguments),
    /// Makes tokens of the configured keys, and takes tokens apart.
    #[command(subcommand)]
    Token(token::Arguments),
    /// Sends one event to one channel of a running gateway.
    Publish(publish::Arguments),
    /// Sends one message to many connections of a running gateway.
    Broadcast(broadcast::Arguments),
    /// Connects, subscribes, publishes and receives; says what failed.
    Smoke(Box<smoke::Arguments>),
    /// Asks a running gateway whether it is well.
    Health(health::Arguments),
    /// Prints the JSON Schema of a file kind, or writes the definitions of handlers' functions for editors.
    Schema(schema::Arguments),
    /// Prints gateway.toml with every default and its reason.
    Defaults(defaults::Arguments),
    /// Prints what a shell completes.
    Completions(completions::Arguments),
}

const EXAMPLES: &str = "Examples:
  weir                            serve what gateway.toml and channels/*.toml say
  weir -c /etc/weir/gateway.toml  serve another configuration
  weir check                      look for mistakes before they go live
  weir check deploy/staging       of the gateway.toml in another folder
  weir new app chat               write a small app that works, to be changed
  weir test clinic                play plugins/clinic.test
  weir explain --app clinic --user u1 --on clinic:c2:queue
                                  why somebody may or may not
  weir plan --candidate ../next   what other files would change in the running gateway
  weir token issue --app clinic --user u1
                                  a token for trying things out
  weir smoke ws://127.0.0.1:3000/ws --channel test:smoke
                                  whether messages come through
  WEIR_LOG__LEVEL=debug weir      override a key of gateway.toml for once

`weir VERB --help` has examples of each verb.
Exit codes: 0 all is well, 1 it is not, 2 wrong arguments, 78 mistakes in the files.";

/// A configuration with mistakes: `EX_CONFIG` of sysexits.h.
const EX_CONFIG: u8 = 78;

/// Nothing can be written: `EX_IOERR` of sysexits.h.
const EX_IOERR: i32 = 74;

/// Whoever reads may stop early, as `head` does: that is no mistake to speak of.
fn print(what: fmt::Arguments) {
    if let Err(error) = io::stdout().lock().write_fmt(what) {
        if error.kind() != io::ErrorKind::BrokenPipe {
            complain!("weir: standard output: {error}");
        }
        std::process::exit(EX_IOERR);
    }
}

fn print_error(what: fmt::Arguments) {
    let _ = writeln!(io::stderr().lock(), "{what}");
}

/// Does what the process's arguments say.
pub fn main() -> ExitCode {
    crate::observe::set_up_allocator();
    let arguments = Arguments::parse();
    let env = environment();
    let gateway = &arguments.config;
    match arguments.verb {
        None | Some(Verb::Run) => run::run(gateway, &env),
        Some(Verb::Check(verb)) => check::run(gateway, &verb, &env),
        Some(Verb::New(verb)) => new::run(gateway, &verb, &env),
        Some(Verb::Test(verb)) => test::run(gateway, &verb, &env),
        Some(Verb::Explain(verb)) => explain::run(gateway, &verb, &env),
        Some(Verb::Plan(verb)) => plan::run(gateway, &verb, &env),
        Some(Verb::Token(verb)) => token::run(gateway, &verb, &env),
        Some(Verb::Publish(verb)) => publish::run(gateway, &verb, &env),
        Some(Verb::Broadcast(verb)) => broadcast::run(gateway, &verb, &env),
        Some(Verb::Smoke(verb)) => smoke::run(gateway, &verb, &env),
        Some(Verb::Health(verb)) => health::run(gateway, &verb, &env),
        Some(Verb::Schema(verb)) => schema::run(gateway, &verb),
        Some(Verb::Defaults(verb)) => defaults::run(&verb),
        Some(Verb::Completions(verb)) => completions::run(&verb),
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
