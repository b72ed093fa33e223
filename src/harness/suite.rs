//! Plugins' tests as a whole: finds `plugins/*.test`, and has each played against the app that it is for; and as a gate,
//! which files must pass before they are put in force.

use super::{Failure, Outcome, Subject, Transcript, play};
use crate::config::{App, Compiled, Files, TEST_BYTES_MAX, plugin_file, plugin_of};
use crate::model::{Fault, did_you_mean, one_of, sorted};
use crate::script::{Plugin, PluginProblem, STACK_BYTES};
use serde_json::{Map, Value};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::Builder;

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

/// Plays the tests beside these files' `gateway.toml`, on a thread of its own: handlers need a deeper stack than others.
/// Err: no such file.
pub fn run_tests(compiled: &Compiled, wanted: &Wanted) -> Result<Vec<Played>, String> {
    std::thread::scope(|scope| {
        let playing = Builder::new().name("weir-tests".into()).stack_size(STACK_BYTES).spawn_scoped(scope, || {
            let files = Files::new(&compiled.base);
            let found = find(&files, wanted)?;
            Ok(found.iter().map(|path| of_file(&files, compiled, path, wanted)).collect())
        });
        let playing = playing.map_err(|e| format!("the tests' thread did not start: {e}"))?;
        playing.join().unwrap_or_else(|_| Err("the tests ended by a mistake of Weir's own".into()))
    })
}

/// Where `[reload] require_tests` says so, files whose tests fail are as bad as files with faults. Err: those tests.
pub fn gate(compiled: &Compiled) -> Result<(), Vec<Fault>> {
    if !compiled.reload.require_tests {
        return Ok(());
    }
    let played = run_tests(compiled, &Wanted::default()).map_err(|what| vec![Fault::of_file("plugins", what)])?;
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
    if faults.is_empty() { Ok(()) } else { Err(sorted(faults)) }
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

/// Test files that `run_tests` could not play. Whose they are is judged where the other files have no faults.
pub fn unreadable(folder: &Path, compiled: Option<&Compiled>) -> Vec<Fault> {
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

fn of_file(files: &Files, compiled: &Compiled, path: &Path, wanted: &Wanted) -> Played {
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
    let outcomes = chosen.map(|conversation| play(&subject, conversation)).collect();
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
