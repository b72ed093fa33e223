//! `weir schema`: what may stand in the files, for editors and pipelines.

use crate::config::{app_schema, gateway_schema};
use std::process::ExitCode;

#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// Of which file.
    #[arg(value_enum)]
    kind: Kind,
}

#[derive(clap::ValueEnum, Clone, Copy, Debug)]
enum Kind {
    /// gateway.toml
    Gateway,
    /// channels/NAME.toml
    Channels,
}

const EXAMPLES: &str = "Examples:
  weir schema channels > channels.schema.json

An editor with Taplo or Even Better TOML reads the schema that a file's first line names:
  #:schema ../packaging/schema/channels.json";

pub fn run(arguments: &Arguments) -> ExitCode {
    let schema = match arguments.kind {
        Kind::Gateway => gateway_schema(),
        Kind::Channels => app_schema(),
    };
    println!("{schema:#}");
    ExitCode::SUCCESS
}
