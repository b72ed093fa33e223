//! `weir check`: everything that is wrong with the files, at once.

use super::{EX_CONFIG, files};
use crate::config::{self, Compiled, Environment};
use crate::model::{Fault, count, summary};
use serde_json::json;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// A folder with a gateway.toml, instead of `--config`.
    #[arg(value_name = "DIR")]
    folder: Option<PathBuf>,
    /// Warnings are faults too: rules that hang on nothing, classes that no channel has, entries that nobody uses.
    #[arg(long)]
    strict: bool,
    /// Answers with JSON on standard output, for editors and pipelines.
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "Examples:
  weir check
  weir check --strict deploy/staging
  weir check --json | jq '.faults[] | \"\\(.file):\\(.line) \\(.what)\"'

Also holds every [[check]] of the apps against their rules.
Exit codes: 0 nothing is wrong, 78 something is.";

pub fn run(gateway: &Path, arguments: &Arguments, env: &Environment) -> ExitCode {
    let gateway = match &arguments.folder {
        Some(folder) => folder.join("gateway.toml"),
        None => gateway.to_owned(),
    };
    let result = read(&gateway, env, arguments.strict);
    let told = match arguments.json {
        true => tell_json(&result, &mut io::stdout().lock()),
        false => tell(&result, &mut io::stdout().lock(), &mut io::stderr().lock()),
    };
    match (result, told) {
        (Ok(_), Ok(())) => ExitCode::SUCCESS,
        (Ok(_), Err(_)) => ExitCode::FAILURE,
        (Err(_), _) => ExitCode::from(EX_CONFIG),
    }
}

/// Nothing is fetched: keys and rows behind URLs are asked for when somebody needs them.
fn read(gateway: &Path, env: &Environment, strict: bool) -> Result<Compiled, Vec<Fault>> {
    let compiled = files::check(gateway, env)?.compiled;
    if strict && !compiled.warnings.is_empty() { Err(compiled.warnings) } else { Ok(compiled) }
}

fn tell(result: &Result<Compiled, Vec<Fault>>, out: &mut impl Write, err: &mut impl Write) -> io::Result<()> {
    let made = match result {
        Ok(made) => made,
        Err(faults) => {
            faults.iter().try_for_each(|f| writeln!(err, "{f}\n"))?;
            return writeln!(err, "{}", summary(faults));
        }
    };
    for warning in &made.warnings {
        writeln!(err, "{}\n", warning.to_string().replacen(": ", ": warning: ", 1))?;
    }
    if !made.made_up.is_empty() {
        writeln!(err, "note: published values stand in for {}: never outside development\n", made.made_up.join(", "))?;
    }
    if !made.overrides.is_empty() {
        writeln!(err, "note: set by the environment: {}\n", made.overrides.join(", "))?;
    }
    writeln!(out, "ok: {}", contents(made))
}

/// `2 apps, 3 listeners, 15 channel classes, 7 routes; sha256 1a2b3c4d5e6f`
fn contents(made: &Compiled) -> String {
    let sum = |of: fn(&config::App) -> usize| made.apps.iter().map(of).sum();
    format!(
        "{}, {}, {}, {}; sha256 {}",
        count(made.apps.len(), "app"),
        count(made.listeners.len(), "listener"),
        // `class` has its own plural.
        count(sum(|a| a.flow.classes.len()), "channel class").replace("classs", "classes"),
        count(sum(|a| a.routes), "route"),
        &made.digest[..12],
    )
}

fn tell_json(result: &Result<Compiled, Vec<Fault>>, out: &mut impl Write) -> io::Result<()> {
    let (ok, faults, warnings): (_, &[Fault], &[Fault]) = match result {
        Ok(made) => (true, &[], &made.warnings),
        Err(faults) => (false, faults, &[]),
    };
    let digest = result.as_ref().ok().map(|made| &made.digest);
    writeln!(out, "{}", json!({ "ok": ok, "digest": digest, "faults": faults, "warnings": warnings }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(folder: &Path) -> (String, String) {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        tell(&read(&folder.join("gateway.toml"), &Environment::new(), false), &mut out, &mut err).unwrap();
        (String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap())
    }

    #[test]
    fn the_shipped_files_are_counted() {
        let (out, err) = told(Path::new(""));
        let apps = std::fs::read_dir("channels").unwrap().map(|e| e.unwrap().path());
        let apps = apps.filter(|path| path.extension().is_some_and(|e| e == "toml")).count();
        assert!(out.starts_with(&format!("ok: {apps} apps, ")), "{out}{err}");
        assert!(out.contains(" channel classes, ") && out.contains(" routes; sha256 "), "{out}{err}");
        assert!(err.contains("published values stand in for JWT_SECRET, ") && err.contains("WEIR_API_KEY"), "{err}");
    }

    #[test]
    fn faults_end_with_their_number() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("channels")).unwrap();
        std::fs::write(folder.path().join("gateway.toml"), "mod = 1\n[listener.main]\naddress = \"127.0.0.1:0\"\n")
            .unwrap();
        let (out, err) = told(folder.path());
        assert!(
            out.is_empty()
                && err.contains("gateway.toml:1:1: unknown key `mod`\n")
                && err.ends_with("1 fault in 1 file\n"),
            "{err}"
        );
        let mut json = Vec::new();
        tell_json(&read(&folder.path().join("gateway.toml"), &Environment::new(), false), &mut json).unwrap();
        let json: serde_json::Value = serde_json::from_slice(&json).unwrap();
        assert_eq!(json["faults"][0]["line"], 1);
    }
}
