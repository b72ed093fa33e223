//! Plugins' tests: finds `plugins/*.test`, and has each played against the app that it is for.

use super::app::App;
use super::compile::Compiled;
use super::file::AppFile;
use super::files::Files;
use super::handlers::plugin_file;
use crate::harness::{self, Failure, Outcome, Subject, Transcript};
use crate::model::{Fault, Problem, did_you_mean, one_of};
use crate::script::{Plugin, PluginProblem, STACK_BYTES};
use serde_json::{Map, Value};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::Builder;

/// The largest test file.
pub const TEST_BYTES_MAX: u64 = 1 << 20;

/// Which tests.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// A plugin's name, or a test file as the operator names it. `None`: all.
    pub of: Option<String>,
    /// Only tests whose title holds this.
    pub title: Option<String>,
}

/// What became of one file's tests.
pub struct Played {
    /// As faults show it.
    pub file: Arc<str>,
    pub app: Option<Arc<str>>,
    /// Err: the file holds none that could be played.
    pub outcomes: Result<Vec<Outcome>, Vec<Fault>>,
}

/// Plays the tests beside this `gateway.toml`. Err: no such file.
pub fn rehearse(gateway: &Path, compiled: &Compiled, wanted: &Wanted) -> Result<Vec<Played>, String> {
    rehearse_in(gateway.parent().unwrap_or(Path::new("")), compiled, wanted)
}

/// On a thread of its own: handlers need a deeper stack than others.
fn rehearse_in(folder: &Path, compiled: &Compiled, wanted: &Wanted) -> Result<Vec<Played>, String> {
    std::thread::scope(|scope| {
        let playing = Builder::new().name("weir-rehearse".into()).stack_size(STACK_BYTES).spawn_scoped(scope, || {
            let files = Files::new(folder);
            let found = find(&files, wanted)?;
            Ok(found.iter().map(|path| play(&files, compiled, path, wanted)).collect())
        });
        let playing = playing.map_err(|e| format!("the tests' thread did not start: {e}"))?;
        playing.join().unwrap_or_else(|_| Err("the tests ended by a mistake of Weir's own".into()))
    })
}

/// Reads all tests, where they decide too: the files' digest and the watch know them then.
pub(super) fn read(files: &Files, faults: &mut Vec<Fault>) {
    match files.tests() {
        Err(why) => faults.push(Fault::of_file("plugins", why)),
        // What is wrong with one is told when it is played.
        Ok(found) => found.iter().for_each(|path| drop(files.read(path, TEST_BYTES_MAX))),
    }
}

/// Tests that fail, as faults of their files.
pub(super) fn gate(compiled: &Compiled, files: &Files) -> Vec<Fault> {
    let played = match rehearse_in(&files.path(""), compiled, &Wanted::default()) {
        Ok(played) => played,
        Err(what) => return vec![Fault::of_file("plugins", what)],
    };
    let mut faults = Vec::new();
    for Played { file, outcomes, .. } in played {
        match outcomes {
            Err(unread) => faults.extend(unread),
            Ok(outcomes) => faults.extend(outcomes.into_iter().filter_map(|outcome| {
                let Failure { line, step, what } = outcome.failure?;
                let step = step.lines().map(|line| format!("\n  > {line}")).collect::<String>();
                let what = what.lines().map(|line| format!("\n  {line}")).collect::<String>();
                let what = format!("the test `{}` fails{step}{what}", outcome.title);
                Some(Fault { line, column: 1, ..Fault::of_file(&file, what) })
            })),
        }
    }
    faults
}

/// A plugin that nothing tests.
pub(super) fn untested(file: &AppFile, files: &Files) -> Vec<Problem> {
    let Some(name) = &file.plugin else { return Vec::new() };
    // A folder that cannot be read is told where it is needed.
    let tested = files.tests().unwrap_or_default().iter().any(|path| plugin_of(path) == name);
    if tested {
        return Vec::new();
    }
    let hint =
        format!("conversations in plugins/{name}.test are played by `weir test` (\"Testing plugins\" in README.md)");
    vec![Problem::new("plugin", format!("nothing tests the plugin `{name}`")).hint(Some(hint))]
}

/// `clinic` of `plugins/clinic.test` and `plugins/clinic.queue.test`.
fn plugin_of(path: &Path) -> &str {
    let name = path.file_name().and_then(|n| n.to_str()).unwrap_or_default();
    name.split('.').next().unwrap_or_default()
}

fn find(files: &Files, wanted: &Wanted) -> Result<Vec<PathBuf>, String> {
    if let Some(of) = wanted.of.as_deref().filter(|of| of.ends_with(".test")) {
        let path = PathBuf::from(of);
        return if path.is_file() { Ok(vec![path]) } else { Err(format!("{of}: there is no such file")) };
    }
    let all = files.tests()?;
    let Some(of) = wanted.of.as_deref() else { return Ok(all) };
    let found: Vec<PathBuf> = all.iter().filter(|path| plugin_of(path) == of).cloned().collect();
    match found.is_empty() {
        false => Ok(found),
        true => {
            let hint = did_you_mean(of, all.iter().map(|path| plugin_of(path)));
            let hint = hint.map_or(String::new(), |hint| format!("; {hint}"));
            Err(format!("there is no {}{hint}", files.path("plugins").join(format!("{of}.test")).display()))
        }
    }
}

/// Test files that `weir test` could not play. Whose they are is judged where the other files have no faults.
pub(super) fn unreadable(folder: &Path, compiled: Option<&Compiled>) -> Vec<Fault> {
    let files = Files::new(folder);
    let found = match files.tests() {
        Ok(found) => found,
        Err(why) => return vec![Fault::of_file("plugins", why)],
    };
    let of_app = |path: &Path, transcript: &Transcript| {
        let app = compiled.map(|compiled| app_of(compiled, path, transcript.app.as_deref()));
        app.and_then(Result::err).map(|what| Fault::of_file(&path.display().to_string(), what))
    };
    let told = found.iter().flat_map(|path| match transcript(&files, path) {
        Ok(transcript) => of_app(path, &transcript).into_iter().collect(),
        Err(faults) => faults,
    });
    told.collect()
}

fn transcript(files: &Files, path: &Path) -> Result<Transcript, Vec<Fault>> {
    let file = path.display().to_string();
    let text = files.text(path, TEST_BYTES_MAX);
    let text = text.map_err(|why| vec![Fault::of_file(&file, format!("this file {why}"))])?;
    Transcript::read(&text).map_err(|mistakes| {
        let at = |line: u32| u32::from(line > 0);
        let told = mistakes.into_iter();
        told.map(|m| Fault { line: m.line, column: at(m.line), ..Fault::of_file(&file, m.what) }).collect()
    })
}

fn play(files: &Files, compiled: &Compiled, path: &Path, wanted: &Wanted) -> Played {
    let file: Arc<str> = path.display().to_string().into();
    let none = |faults| Played { file: file.clone(), app: None, outcomes: Err(faults) };
    let transcript = match transcript(files, path) {
        Ok(transcript) => transcript,
        Err(faults) => return none(faults),
    };
    let app = match app_of(compiled, path, transcript.app.as_deref()) {
        Ok(app) => app,
        Err(what) => return none(vec![Fault::of_file(&file, what)]),
    };
    let front = compiled.front(1);
    let again = |settings: &Map<String, Value>| plugin(files, app, settings);
    let subject = Subject { app: app.flow.clone(), front: &front, plugin: &again };
    let chosen = transcript.conversations.iter();
    let chosen = chosen.filter(|c| wanted.title.as_deref().is_none_or(|title| c.title.contains(title)));
    let outcomes = chosen.map(|conversation| harness::play(&subject, conversation)).collect();
    Played { file, app: Some(app.flow.name.clone()), outcomes: Ok(outcomes) }
}

/// Whose tests they are: the app that the file names, else the one with the plugin of its name.
fn app_of<'a>(compiled: &'a Compiled, path: &Path, named: Option<&str>) -> Result<&'a App, String> {
    let apps = &compiled.apps;
    let names = || apps.iter().map(|app| &*app.flow.name);
    if let Some(name) = named {
        let hint = || did_you_mean(name, names()).map_or(String::new(), |hint| format!("; {hint}"));
        return apps.iter().find(|app| *app.flow.name == *name).ok_or_else(|| format!("no app `{name}`{}", hint()));
    }
    let name = plugin_of(path);
    let with: Vec<&App> =
        apps.iter().filter(|app| app.plugin.as_ref().is_some_and(|(plugin, _)| plugin == name)).collect();
    match with[..] {
        [app] => Ok(app),
        [] => apps.iter().find(|app| *app.flow.name == *name).ok_or_else(|| {
            format!("no app has the plugin `{name}`: a first line `app NAME` says whose tests these are")
        }),
        _ => {
            let names = one_of(with.iter().map(|app| &*app.flow.name));
            Err(format!("several apps have the plugin `{name}`: a first line `app NAME` says which, {names}"))
        }
    }
}

/// The app's plugin with other settings.
fn plugin(files: &Files, app: &App, settings: &Map<String, Value>) -> Result<Plugin, String> {
    let (Some((name, webhooks)), Some(handlers)) = (&app.plugin, &app.flow.handlers) else {
        return Ok(Plugin::default());
    };
    let webhooks: Vec<&str> = webhooks.iter().map(String::as_str).collect();
    let read = |name: &str| plugin_file(files, name);
    Plugin::compile(name, &read, &handlers.script.limits, settings, &webhooks).map_err(|problems| {
        let told = |problem: PluginProblem| Fault::from(problem).to_string();
        problems.into_iter().map(told).collect::<Vec<_>>().join("\n")
    })
}
