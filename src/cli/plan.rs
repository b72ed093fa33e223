//! `weir plan`: what other files would change in a running gateway.

use super::client::Door;
use super::files::fail;
use crate::api::admin::{Changes, Group, Item, Plan};
use crate::config::Environment;
use crate::flow::Revoke;
use crate::kernel::Revoked;
use crate::model::count;
use serde_json::{Value, json};
use std::fmt;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// A folder with the gateway.toml and channels/ that might be put in force, as the gateway's machine names it.
    #[arg(long, value_name = "DIR")]
    candidate: PathBuf,
    /// Exit code 1 also where a connection or a subscription would end.
    #[arg(long)]
    strict: bool,
    /// Answers with JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    door: Door,
}

const EXAMPLES: &str = "Examples:
  weir plan --candidate ../next
  WEIR_API_KEY=… weir plan --url http://gw.internal:9000 --candidate /srv/weir/next --strict
  weir plan --candidate ../next --json | jq '.revoked.subscriptions[].channel'

The gateway reads the files beside those in force and changes nothing. The key needs the verb `admin`.
Exit codes: 0 they can be put in force, 1 they have faults or need a restart (--strict: or would end something).";

pub fn run(gateway: &Path, arguments: &Arguments, env: &Environment) -> ExitCode {
    let candidate = match std::path::absolute(&arguments.candidate) {
        Ok(path) => path.display().to_string(),
        Err(error) => return fail(format!("{}: {error}", arguments.candidate.display())),
    };
    let (plan, json): (Plan, _) =
        match arguments.door.found(gateway, env).admin("/admin/plan", &json!({ "candidate": candidate })) {
            Ok(answered) => answered,
            Err(what) => return fail(what),
        };
    if arguments.json {
        say!("{json}");
    } else {
        let colours = std::io::stdout().is_terminal() && !env.contains_key("NO_COLOR");
        put!("{}", Told { plan: &plan, candidate: &candidate, colours });
    }
    if good(&plan, arguments.strict) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn good(plan: &Plan, strict: bool) -> bool {
    let ends = plan.revoked.as_ref().is_some_and(|r| r.connection_count > 0 || r.subscription_count > 0);
    plan.ok && plan.restart.is_empty() && !(strict && ends)
}

/// Texts without quotes.
fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => "nothing".into(),
        other => other.to_string(),
    }
}

/// A plan for people.
struct Told<'a> {
    plan: &'a Plan,
    candidate: &'a str,
    colours: bool,
}

/// Lines of each list that are shown; the JSON has more.
const SHOWN_MAX: usize = 20;
const RED: u8 = 31;
const GREEN: u8 = 32;
const YELLOW: u8 = 33;

impl Told<'_> {
    fn colour(&self, colour: u8, text: impl fmt::Display) -> String {
        if self.colours { format!("\x1b[{colour}m{text}\x1b[0m") } else { text.to_string() }
    }

    fn changes(&self, changes: &Changes, f: &mut fmt::Formatter) -> fmt::Result {
        if !changes.files.is_empty() {
            writeln!(f, "files")?;
            changes.files.iter().try_for_each(|file| writeln!(f, "  ~ {file}"))?;
        }
        if !changes.settings.is_empty() {
            writeln!(f, "settings")?;
        }
        for setting in &changes.settings {
            let (key, from, to) = (&setting.key, plain(&setting.from), plain(&setting.to));
            writeln!(f, "  ~ {}{key}   {from} → {to}", of_app(setting.app.as_deref()))?;
        }
        let item = |name: &String| Item { app: None, name: name.clone(), parts: Vec::new() };
        let items = |names: &[String]| names.iter().map(item).collect();
        let apps = &changes.apps;
        let (added, removed, changed) = (items(&apps.added), items(&apps.removed), items(&apps.changed));
        self.group("apps", &Group { added, removed, changed }, f)?;
        changes.groups.iter().try_for_each(|(name, group)| self.group(name, group, f))
    }

    fn group(&self, name: &str, group: &Group, f: &mut fmt::Formatter) -> fmt::Result {
        let marked = [(&group.added, '+', GREEN), (&group.removed, '-', RED), (&group.changed, '~', YELLOW)];
        if marked.iter().any(|(items, _, _)| !items.is_empty()) {
            writeln!(f, "{name}")?;
        }
        for (items, mark, colour) in marked {
            for Item { app, name, parts } in items {
                let parts = if parts.is_empty() { String::new() } else { format!("   {}", parts.join(", ")) };
                writeln!(f, "  {} {}{name}{parts}", self.colour(colour, mark), of_app(app.as_deref()))?;
            }
        }
        Ok(())
    }

    fn endings(&self, revoked: &Revoked, f: &mut fmt::Formatter) -> fmt::Result {
        let who = |user: &Option<Arc<str>>| user.as_deref().unwrap_or("anonymous").to_owned();
        if revoked.connection_count > 0 {
            let what = format!("{} would be closed", count(revoked.connection_count, "connection"));
            writeln!(f, "{}", self.colour(RED, what))?;
        }
        for one in revoked.connections.iter().take(SHOWN_MAX) {
            writeln!(f, "  {}  {}  {}: {}", one.id, who(&one.user), one.app, one.why)?;
        }
        more(f, revoked.connection_count)?;
        if revoked.subscription_count > 0 {
            let fate = match self.plan.revoke {
                Some(Revoke::Report) => "would stay, though not allowed any more",
                Some(Revoke::Disconnect) => "would end with their connections",
                Some(Revoke::Unsubscribe) | None => "would be taken back",
            };
            let what = format!("{} {fate}", count(revoked.subscription_count, "subscription"));
            writeln!(f, "{}", self.colour(RED, what))?;
        }
        for one in revoked.subscriptions.iter().take(SHOWN_MAX) {
            writeln!(f, "  {}  {}  {}  {}: {}", one.id, who(&one.user), one.app, one.channel, one.why)?;
        }
        more(f, revoked.subscription_count)?;
        match revoked.undecidable_count {
            0 => Ok(()),
            n => writeln!(
                f,
                "of them {n} cannot be decided: their rules read the request, which was not kept for connections that are \
                 here already"
            ),
        }
    }
}

/// `reports  `
fn of_app(app: Option<&str>) -> String {
    app.map_or(String::new(), |app| format!("{app}  "))
}

fn more(f: &mut fmt::Formatter, count: usize) -> fmt::Result {
    match count.saturating_sub(SHOWN_MAX) {
        0 => Ok(()),
        n => writeln!(f, "  and {n} more"),
    }
}

impl fmt::Display for Told<'_> {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let plan = self.plan;
        writeln!(f, "{} against generation {}\n", self.candidate, plan.generation)?;
        for fault in &plan.faults {
            writeln!(f, "{}\n", self.colour(RED, fault))?;
        }
        for warning in &plan.warnings {
            writeln!(f, "{} {warning}\n", self.colour(YELLOW, "warning:"))?;
        }
        if let Some(changes) = &plan.changes {
            self.changes(changes, f)?;
        }
        for one in &plan.restart {
            writeln!(f, "{} {}   {} → {}", self.colour(RED, "takes a restart:"), one.key, one.from, one.to)?;
        }
        if let Some(revoked) = &plan.revoked {
            self.endings(revoked, f)?;
        }
        match (plan.faults.len(), plan.restart.len()) {
            (0, 0) if plan.changes.as_ref().is_none_or(|changes| changes.files.is_empty()) => {
                writeln!(f, "nothing would change")
            }
            (0, 0) => writeln!(f, "{}", self.colour(GREEN, "can be put in force")),
            (0, _) => writeln!(f, "{}", self.colour(RED, "cannot be put in force without a restart")),
            (n, _) => writeln!(f, "{}", self.colour(RED, format!("cannot be put in force: {}", count(n, "fault")))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan() -> Plan {
        let told = json!({
            "ok": true, "faults": [], "generation": 3, "digest": "d1", "revoke": "unsubscribe",
            "warnings": [{ "file": "a.toml", "line": 1, "column": 2, "what": "odd" }],
            "changes": {
                "files": ["channels/a.toml"],
                "settings": [{ "app": "a", "key": "limits.violations", "from": 1000, "to": 7 }],
                "apps": { "added": ["b"], "removed": [], "changed": ["a"] },
                "classes": { "added": [], "removed": [], "changed": [{ "app": "a", "name": "x:{id}", "parts": ["subscribe"] }] },
            },
            "restart": [],
            "revoked": {
                "connections": [], "connection_count": 0, "subscription_count": 25, "undecidable_count": 0,
                "subscriptions": [{ "id": "ws_1", "user": null, "app": "a", "channel": "x:1", "rule": null, "code": "denied", "why": "a.toml:7:1 subscribe" }],
            },
        });
        serde_json::from_value(told).unwrap()
    }

    #[test]
    fn a_plan_reads_from_the_top() {
        let told = Told { plan: &plan(), candidate: "/next", colours: false }.to_string();
        let wanted = "/next against generation 3\n\nwarning: a.toml:1:2: odd\n\nfiles\n  ~ channels/a.toml\nsettings\n  \
            ~ a  limits.violations   1000 → 7\napps\n  + b\n  ~ a\nclasses\n  ~ a  x:{id}   subscribe\n\
            25 subscriptions would be taken back\n  ws_1  anonymous  a  x:1: a.toml:7:1 subscribe\n  and 5 more\n\
            can be put in force\n";
        assert_eq!(told, wanted);
        let coloured = Told { plan: &plan(), candidate: "/next", colours: true }.to_string();
        assert!(coloured.contains("\x1b[32mcan be put in force\x1b[0m"), "{coloured}");
    }

    #[test]
    fn what_ends_something_is_bad_only_where_it_is_asked_for() {
        let mut plan = plan();
        assert!(good(&plan, false) && !good(&plan, true));
        plan.restart = serde_json::from_value(json!([{ "key": "shards", "from": "1", "to": "2" }])).unwrap();
        assert!(!good(&plan, false));
    }
}
