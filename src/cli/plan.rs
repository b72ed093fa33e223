//! `weir plan`: what other files would change in a running gateway.

use super::client::Door;
use super::files::fail;
use crate::config::{Environment, Fault, count};
use serde_json::{Value, json};
use std::fmt::{self, Write};
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

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
    let plan = match arguments.door.found(gateway, env).admin("/admin/plan", &json!({ "candidate": candidate })) {
        Ok(plan) => plan,
        Err(what) => return fail(what),
    };
    if arguments.json {
        say!("{plan}");
    } else {
        let colours = std::io::stdout().is_terminal() && !env.contains_key("NO_COLOR");
        put!("{}", Told { plan: &plan, candidate: &candidate, colours });
    }
    if good(&plan, arguments.strict) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn good(plan: &Value, strict: bool) -> bool {
    let in_force = plan["ok"] == true && list(&plan["restart"]).is_empty();
    in_force && !(strict && (number(plan, "connection_count") > 0 || number(plan, "subscription_count") > 0))
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], |list| list)
}

fn number(plan: &Value, key: &str) -> u64 {
    plan["revoked"][key].as_u64().unwrap_or(0)
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
    plan: &'a Value,
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

    fn changes(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let changes = &self.plan["changes"];
        let head = |name: &str| format!("{name}\n");
        if !list(&changes["files"]).is_empty() {
            f.write_str(&head("files"))?;
            list(&changes["files"]).iter().try_for_each(|file| writeln!(f, "  ~ {}", plain(file)))?;
        }
        if !list(&changes["settings"]).is_empty() {
            f.write_str(&head("settings"))?;
        }
        for setting in list(&changes["settings"]) {
            let app = setting["app"].as_str().map_or(String::new(), |app| format!("{app}  "));
            let (key, from, to) = (plain(&setting["key"]), plain(&setting["from"]), plain(&setting["to"]));
            writeln!(f, "  ~ {app}{key}   {from} → {to}")?;
        }
        for (name, group) in changes.as_object().into_iter().flatten().filter(|(_, group)| group.is_object()) {
            let marked = [("added", '+', GREEN), ("removed", '-', RED), ("changed", '~', YELLOW)];
            if marked.iter().any(|(key, _, _)| !list(&group[key]).is_empty()) {
                f.write_str(&head(name))?;
            }
            for (key, mark, colour) in marked {
                for item in list(&group[key]) {
                    let app = item["app"].as_str().map_or(String::new(), |app| format!("{app}  "));
                    let name = item["name"].as_str().or(item.as_str()).unwrap_or_default();
                    let parts: Vec<&str> = list(&item["parts"]).iter().filter_map(Value::as_str).collect();
                    let parts = if parts.is_empty() { String::new() } else { format!("   {}", parts.join(", ")) };
                    writeln!(f, "  {} {app}{name}{parts}", self.colour(colour, mark))?;
                }
            }
        }
        Ok(())
    }

    fn endings(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let who = |one: &Value| one["user"].as_str().unwrap_or("anonymous").to_owned();
        let (revoked, plan) = (&self.plan["revoked"], self.plan);
        let (connections, subscriptions) = (number(plan, "connection_count"), number(plan, "subscription_count"));
        if connections > 0 {
            writeln!(
                f,
                "{}",
                self.colour(RED, format!("{} would be closed", count(connections as usize, "connection")))
            )?;
        }
        for one in list(&revoked["connections"]).iter().take(SHOWN_MAX) {
            writeln!(f, "  {}  {}  {}: {}", plain(&one["id"]), who(one), plain(&one["app"]), plain(&one["why"]))?;
        }
        more(f, connections)?;
        if subscriptions > 0 {
            let fate = match plan["revoke"].as_str() {
                Some("report") => "would stay, though not allowed any more",
                Some("disconnect") => "would end with their connections",
                _ => "would be taken back",
            };
            let what = format!("{} {fate}", count(subscriptions as usize, "subscription"));
            writeln!(f, "{}", self.colour(RED, what))?;
        }
        for one in list(&revoked["subscriptions"]).iter().take(SHOWN_MAX) {
            let (id, app, channel) = (plain(&one["id"]), plain(&one["app"]), plain(&one["channel"]));
            writeln!(f, "  {id}  {}  {app}  {channel}: {}", who(one), plain(&one["why"]))?;
        }
        more(f, subscriptions)?;
        match number(plan, "undecidable_count") {
            0 => Ok(()),
            n => writeln!(
                f,
                "of them {n} cannot be decided: their rules read the request, which was not kept for connections that are \
                 here already"
            ),
        }
    }
}

fn more(f: &mut fmt::Formatter, count: u64) -> fmt::Result {
    match count.saturating_sub(SHOWN_MAX as u64) {
        0 => Ok(()),
        n => writeln!(f, "  and {n} more"),
    }
}

impl fmt::Display for Told<'_> {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let (plan, mut head) = (self.plan, String::new());
        let _ = write!(head, "{} against generation {}", self.candidate, plan["generation"]);
        writeln!(f, "{head}\n")?;
        for fault in list(&plan["faults"]) {
            writeln!(f, "{}\n", self.colour(RED, told(fault)))?;
        }
        for warning in list(&plan["warnings"]) {
            writeln!(f, "{} {}\n", self.colour(YELLOW, "warning:"), told(warning))?;
        }
        self.changes(f)?;
        for one in list(&plan["restart"]) {
            let (key, from, to) = (plain(&one["key"]), plain(&one["from"]), plain(&one["to"]));
            writeln!(f, "{} {key}   {from} → {to}", self.colour(RED, "takes a restart:"))?;
        }
        self.endings(f)?;
        let faults = list(&plan["faults"]).len();
        match (faults, list(&plan["restart"]).len()) {
            (0, 0) if list(&plan["changes"]["files"]).is_empty() => writeln!(f, "nothing would change"),
            (0, 0) => writeln!(f, "{}", self.colour(GREEN, "can be put in force")),
            (0, _) => writeln!(f, "{}", self.colour(RED, "cannot be put in force without a restart")),
            (n, _) => writeln!(f, "{}", self.colour(RED, format!("cannot be put in force: {}", count(n, "fault")))),
        }
    }
}

/// As the log tells it.
fn told(fault: &Value) -> String {
    let text = |key: &str| fault[key].as_str();
    let number = |key: &str| fault[key].as_u64().unwrap_or(0) as u32;
    let file = text("file").unwrap_or_default();
    let mut made = Fault::of_file(file, text("what").unwrap_or_default());
    (made.line, made.column) = (number("line"), number("column"));
    (made.expected, made.hint) = (text("expected").map(str::to_owned), text("hint").map(str::to_owned));
    made.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan() -> Value {
        json!({
            "ok": true, "faults": [], "generation": 3, "revoke": "unsubscribe",
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
                "subscriptions": [{ "id": "ws_1", "user": null, "app": "a", "channel": "x:1", "why": "a.toml:7:1 subscribe" }],
            },
        })
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
        plan["restart"] = json!([{ "key": "shards", "from": "1", "to": "2" }]);
        assert!(!good(&plan, false));
    }
}
