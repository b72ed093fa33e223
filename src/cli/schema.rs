//! `weir schema`: what may stand in the files and what the HTTP API is, for editors, generators and pipelines.

use super::files::fail;
use crate::api::openapi;
use crate::config::{app_schema, gateway_schema};
use crate::script;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::{fs, io};

#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// Of which file.
    #[arg(value_enum)]
    kind: Kind,
    /// Where the definitions of `rhai` are written to; without it plugins/definitions beside gateway.toml.
    #[arg(value_name = "FOLDER")]
    folder: Option<PathBuf>,
}

#[derive(clap::ValueEnum, Clone, Copy, Debug)]
enum Kind {
    /// gateway.toml: JSON Schema
    Gateway,
    /// channels/NAME.toml: JSON Schema
    Channels,
    /// the HTTP API: OpenAPI 3.1
    Openapi,
    /// plugins/NAME.rhai: definitions of what handlers can call, for the Rhai language server
    Rhai,
}

const EXAMPLES: &str = "Examples:
  weir schema channels > channels.schema.json
  weir schema openapi > openapi.json
  weir schema rhai                             writes plugins/definitions/*.d.rhai
  weir schema rhai ~/editor/weir               writes them there

An editor with Taplo or Even Better TOML reads the schema that a file's first line names:
  #:schema ../packaging/schema/channels.json
An editor with the Rhai language server reads all *.d.rhai of the folder that it has opened.";

pub fn run(gateway: &Path, arguments: &Arguments) -> ExitCode {
    let schema = match (arguments.kind, &arguments.folder) {
        (Kind::Gateway, None) => gateway_schema(),
        (Kind::Channels, None) => app_schema(),
        (Kind::Openapi, None) => openapi(),
        (Kind::Gateway | Kind::Channels | Kind::Openapi, Some(_)) => {
            return fail("only `weir schema rhai` writes into a folder; other schemas are printed");
        }
        (Kind::Rhai, folder) => {
            let beside = || gateway.parent().unwrap_or(Path::new("")).join("plugins/definitions");
            let folder = folder.clone().unwrap_or_else(beside);
            return match definitions(&folder) {
                Ok(()) => ExitCode::SUCCESS,
                Err(error) => fail(format_args!("{}: {error}", folder.display())),
            };
        }
    };
    say!("{schema:#}");
    ExitCode::SUCCESS
}

/// Definitions of an older Weir are written over: nobody edits them.
fn definitions(folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    for (name, text) in script::definitions() {
        let path = folder.join(name);
        fs::write(&path, text)?;
        say!("wrote {}", path.display());
    }
    Ok(())
}
