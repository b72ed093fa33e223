//! `weir new`: writes a small app that works, for people to change.

use super::files::{self, fail};
use crate::config::{Compiled, Environment};
use crate::harness::{self, Wanted};
use crate::model::count;
use crate::model::one_of;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

#[derive(clap::Subcommand, Debug)]
pub enum Arguments {
    /// An app: channels/NAME.toml, plugins/NAME.rhai and its tests, plugins/NAME.test.
    App(App),
}

#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct App {
    /// Its name: `a` to `z`, `0` to `9`, `_` and `-`.
    name: String,
    /// Where its clients connect; `main`, or the first that is not for operators, where it is left out.
    #[arg(long, value_name = "NAME")]
    listener: Option<String>,
}

const EXAMPLES: &str = "Examples:
  weir new app chat
  weir -c deploy/gateway.toml new app chat --listener public

Nothing is overwritten. A running gateway that watches its files serves the app at once.";

/// What takes the app's name and its listener's in the texts below.
const NAME: &str = "APPNAME";
const LISTENER: &str = "LISTENER";

/// Folder, extension and text; the app's own file comes last: with it the app is there, and whole.
const FILES: [(&str, &str, &str); 3] = [
    ("plugins", "rhai", include_str!("app.rhai")),
    ("plugins", "test", include_str!("app.test")),
    ("channels", "toml", include_str!("app.toml")),
];

/// Of a name: it becomes part of paths and of channels' names.
const NAME_BYTES_MAX: usize = 64;

pub fn run(gateway: &Path, arguments: &Arguments, env: &Environment) -> ExitCode {
    let Arguments::App(app) = arguments;
    // Without `channels/` no files can be read; before the first app nobody has made it.
    let channels = gateway.with_file_name("channels");
    let made = fs::create_dir(&channels).is_ok();
    let code = add(gateway, app, env);
    if made {
        let _ = fs::remove_dir(channels); // unless an app is there now
    }
    code
}

fn add(gateway: &Path, app: &App, env: &Environment) -> ExitCode {
    let before = match files::read_or_tell(gateway, env) {
        Ok(read) => read.compiled,
        Err(code) => return code,
    };
    let listener = match check(app).and_then(|()| listener(&before, app.listener.as_deref())) {
        Ok(listener) => listener,
        Err(why) => return fail(why),
    };
    let written = match write(gateway.parent().unwrap_or(Path::new("")), &app.name, &listener) {
        Ok(written) => written,
        Err(why) => return fail(why),
    };
    // What stands in other files may stand in its way: an endpoint at the same path.
    let after = match files::read_or_tell(gateway, env) {
        Ok(read) => read.compiled,
        Err(code) => {
            written.iter().for_each(|path| drop(fs::remove_file(path)));
            complain!("weir: nothing was written");
            return code;
        }
    };
    written.iter().for_each(|path| say!("wrote {}", path.display()));
    let tested = harness::run_tests(&after, &Wanted { of: Some(app.name.clone()), title: None });
    let outcomes: Vec<_> = tested.iter().flatten().flat_map(|file| file.outcomes.iter().flatten()).collect();
    let failed = outcomes.iter().filter(|outcome| outcome.failure.is_some()).count();
    say!("{}: {} passed, {failed} failed", count(outcomes.len(), "test"), outcomes.len() - failed);
    let address = after.listeners.get(&listener).map_or("ADDRESS", |l| l.address.as_str());
    let config =
        if gateway == Path::new("gateway.toml") { String::new() } else { format!("-c {} ", gateway.display()) };
    say!(
        "\nNext:\n  weir {config}                       unless it runs already: a running gateway has read it by now\n  \
         npx wscat -c ws://{address}/{name}\n  > {{\"type\":\"join\",\"room\":\"{name}:lobby\"}}\n  \
         > {{\"type\":\"say\",\"room\":\"{name}:lobby\",\"data\":{{\"text\":\"hello\"}}}}\n  \
         weir {config}test {name}            after each change",
        name = app.name
    );
    if failed == 0 && !outcomes.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn check(App { name, .. }: &App) -> Result<(), String> {
    let letters = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-';
    if name.is_empty() || !name.bytes().all(letters) {
        return Err(format!("`{}` is no name for an app: `a` to `z`, `0` to `9`, `_` and `-`", name.escape_debug()));
    }
    if name.len() > NAME_BYTES_MAX {
        return Err(format!("a name has {NAME_BYTES_MAX} characters at most"));
    }
    Ok(())
}

fn listener(compiled: &Compiled, wanted: Option<&str>) -> Result<String, String> {
    let listeners = &compiled.listeners;
    match wanted {
        Some(name) if listeners.contains_key(name) => Ok(name.to_owned()),
        Some(name) => {
            let known = one_of(listeners.keys().map(String::as_str));
            Err(format!("there is no listener `{name}`: {known}"))
        }
        None => {
            let mut open = listeners.iter().filter(|(_, l)| !l.admin).map(|(name, _)| name);
            let main = open.clone().find(|name| *name == "main");
            main.or_else(|| open.next()).cloned().ok_or_else(|| {
                "no listener is for clients: [listener.NAME] in gateway.toml, without `admin`".to_owned()
            })
        }
    }
}

/// All files, or none.
fn write(folder: &Path, name: &str, listener: &str) -> Result<Vec<PathBuf>, String> {
    let path =
        |(folder_of, extension, _): &(&str, &str, &str)| folder.join(folder_of).join(format!("{name}.{extension}"));
    if let Some(there) = FILES.iter().map(path).find(|path| path.symlink_metadata().is_ok()) {
        return Err(format!("{} is there already; nothing was written", there.display()));
    }
    let mut written = Vec::new();
    for file in &FILES {
        let (path, text) = (path(file), file.2.replace(NAME, name).replace(LISTENER, listener));
        let made = path.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| {
            let mut file = OpenOptions::new().write(true).create_new(true).open(&path)?;
            written.push(path.clone());
            file.write_all(text.as_bytes())
        });
        if let Err(error) = made {
            written.iter().for_each(|path| drop(fs::remove_file(path)));
            return Err(format!("{}: {error}; nothing was written", path.display()));
        }
    }
    Ok(written)
}
