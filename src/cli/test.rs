//! `weir test`: plays plugins' tests, and says which did not go as written.

use super::files::{self, fail};
use super::junit;
use crate::config::{App, Compiled, Environment};
use crate::harness::{self, Failure, Outcome, Played, Wanted};
use crate::model::count;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// A plugin's name, or a .test file; all tests beside gateway.toml where it is left out.
    #[arg(value_name = "PATH")]
    of: Option<String>,
    /// Only tests whose title holds this.
    #[arg(long, value_name = "TEXT")]
    filter: Option<String>,
    /// Also writes what became of them as JUnit XML, for CI.
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
}

const EXAMPLES: &str = "Examples:
  weir test
  weir test clinic
  weir test plugins/clinic.queue.test --filter \"a ticket\"
  weir test --junit target/plugins.xml

A test is a conversation in plugins/NAME.test, beside plugins/NAME.rhai. It is played with the app's real rules, dialects
and handlers; the clock begins at 2026-01-01T00:00:00Z and moves only when the test says so.

  # a ticket is called                           a title begins a test
  ann connects /ws {\"id\":\"u1\",\"role\":\"staff\"}    who she is; without it anonymous
  ann< {\"type\":\"hello\",\"...\":0}                  must come next; \"...\" allows more keys, <any> any value
  ann> {\"type\":\"call\",\"ticket\":7}                sends; indented lines continue the one above
  POST /tickets {\"name\":\"x\"}                     a route; `as ann`, `as {\"id\":\"u1\"}`, `as nobody` below it
  < 200 {\"id\":\"<uuid>\"}
  publish clinic:c1:queue {\"n\":1}                as a back end; then `refused CODE \"text\"` where it must be
  after 30s                                      the clock goes on, timers fire
  state queue:c1 {\"waiting\":1}                   what an entity keeps; `none`
  store last:c1 1 | webhook NAME {…} | log \"text\" | fault \"text\"
  ann< closed 4001 \"reason\" | ann< nothing | ann closes | ann disconnects

Messages that nobody looked at, faults and webhooks fail a test at its end.
Exit codes: 0 all went as written, 1 not, or there are none, 78 mistakes in the files.";

pub fn run(gateway: &Path, arguments: &Arguments, env: &Environment) -> ExitCode {
    let read = match files::read_or_tell(gateway, env) {
        Ok(read) => read,
        Err(code) => return code,
    };
    let wanted = Wanted { of: arguments.of.clone(), title: arguments.filter.clone() };
    let played = match harness::run_tests(&read.compiled, &wanted) {
        Ok(played) => played,
        Err(what) => return fail(what),
    };
    let sum = Sum::of(&played, &read.compiled, arguments);
    if sum.tests == 0 && sum.unread == 0 {
        let folder = gateway.parent().unwrap_or(Path::new("")).join("plugins");
        let holding = arguments.filter.as_ref().map_or(String::new(), |text| format!(" whose title holds `{text}`"));
        return fail(format_args!("no test{holding} in {}: they are called NAME.test", folder.display()));
    }
    if let Some(file) = &arguments.junit
        && let Err(error) = std::fs::write(file, junit::of(&played))
    {
        return fail(format_args!("{}: {error}", file.display()));
    }
    match (tell(&played, &sum, &mut io::stdout().lock()), sum.failed + sum.unread) {
        (Ok(()), 0) => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}

/// How many there were.
struct Sum {
    tests: usize,
    failed: usize,
    /// Files that could not be read as tests.
    unread: usize,
    /// `[[check]]`s of the apps that were played: those that do not hold are faults, and nothing is played.
    checks: usize,
}

impl Sum {
    fn of(played: &[Played], compiled: &Compiled, arguments: &Arguments) -> Sum {
        let outcomes = || played.iter().flat_map(|file| file.outcomes.iter().flatten());
        let all = arguments.of.is_none();
        let concerned = |app: &&App| all || played.iter().any(|file| file.app.as_ref() == Some(&app.flow.name));
        Sum {
            checks: compiled.apps.iter().filter(concerned).map(|app| app.checks).sum(),
            tests: outcomes().count(),
            failed: outcomes().filter(|outcome| outcome.failure.is_some()).count(),
            unread: played.iter().filter(|file| file.outcomes.is_err()).count(),
        }
    }
}

fn tell(played: &[Played], sum: &Sum, out: &mut impl Write) -> io::Result<()> {
    for Played { file, outcomes, .. } in played {
        match outcomes {
            Err(faults) => faults.iter().try_for_each(|fault| writeln!(out, "{fault}\n"))?,
            Ok(outcomes) => {
                for Outcome { title, failure, .. } in outcomes {
                    if let Some(Failure { line, step, what }) = failure {
                        writeln!(out, "{file}:{line}: {title}")?;
                        step.lines().try_for_each(|line| writeln!(out, "  > {line}"))?;
                        what.lines().try_for_each(|line| writeln!(out, "  {line}"))?;
                        writeln!(out)?;
                    }
                }
            }
        }
    }
    if sum.unread > 0 {
        writeln!(out, "{} could not be read", count(sum.unread, "file"))?;
    }
    let checks = if sum.checks > 0 { format!("; {} held", count(sum.checks, "check")) } else { String::new() };
    writeln!(out, "{}: {} passed, {} failed{checks}", count(sum.tests, "test"), sum.tests - sum.failed, sum.failed)
}
