//! `weir token`: makes tokens of the configured keys, and takes tokens apart.

use super::files::{self, Files, fail, object};
use crate::auth::{Authenticator, Inspection, Issue, Outcome, Unverified};
use crate::config::{App, Environment};
use crate::model::{Millis, Ms, count, did_you_mean, iso8601, one_of};
use crate::observe::clock;
use serde_json::{Map, Value, json};
use std::path::Path;
use std::process::ExitCode;

#[derive(clap::Subcommand, Debug)]
pub enum Arguments {
    /// Makes a token that an app takes.
    #[command(after_help = ISSUE)]
    Issue(IssueArguments),
    /// Says what is in a token, which key verifies it, who its bearer would be, and why not.
    #[command(after_help = INSPECT)]
    Inspect(InspectArguments),
}

#[derive(clap::Args, Debug)]
pub struct IssueArguments {
    /// The app; not needed where there is only one.
    #[arg(long, value_name = "NAME")]
    app: Option<String>,
    /// One of its [auth.NAME]; that of its first endpoint if missing.
    #[arg(long, value_name = "NAME")]
    auth: Option<String>,
    /// Who the bearer is.
    #[arg(long, value_name = "ID")]
    user: String,
    /// Further claims of a JWT, as a JSON object.
    #[arg(long, value_name = "JSON", value_parser = object)]
    claims: Option<Map<String, Value>>,
    /// How long a JWT counts; an hour if missing.
    #[arg(long, value_name = "TIME", value_parser = time)]
    ttl: Option<Ms>,
}

#[derive(clap::Args, Debug)]
pub struct InspectArguments {
    /// The token; `-` reads it from standard input.
    token: String,
    /// One app only.
    #[arg(long, value_name = "NAME")]
    app: Option<String>,
    /// Answers with JSON.
    #[arg(long)]
    json: bool,
}

const ISSUE: &str = "Examples:
  weir token issue --app clinic --user u1
  weir token issue --app reports --user u1 --claims '{\"role\":\"admin\"}' --ttl 8h
  npx wscat -c \"ws://localhost:3001?token=$(weir token issue --app clinic --user u1)\"

Only keys with a `secret` can sign: a public key verifies what others signed.";

const INSPECT: &str = "Examples:
  weir token inspect \"$TOKEN\"
  pbpaste | weir token inspect -

Exit codes: 0 an app takes it, 1 none does, 78 mistakes in the files.";

fn time(text: &str) -> Result<Ms, String> {
    Ms::parse(text).filter(|t| t.0 > 0).ok_or_else(|| "a duration such as 30s, 10m or 8h".to_owned())
}

pub fn run(gateway: &Path, arguments: &Arguments, env: &Environment) -> ExitCode {
    let files = match files::read_or_tell(gateway, env) {
        Ok(files) => files,
        Err(code) => return code,
    };
    let result = match arguments {
        Arguments::Issue(arguments) => issue(&files, arguments).map(|token| (token, true)),
        Arguments::Inspect(arguments) => inspect(&files, arguments),
    };
    match result {
        Err(what) => fail(what),
        Ok((told, good)) => {
            say!("{}", told.trim_end());
            if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
    }
}

fn issue(files: &Files, a: &IssueArguments) -> Result<String, String> {
    let app = files.app(a.app.as_deref())?;
    let auth = auth(app, a.auth.as_deref())?;
    if auth.has_fixed_tokens() && (a.claims.is_some() || a.ttl.is_some()) {
        return Err(format!("tokens of auth `{}` hold a user and a time alone: no --claims, no --ttl", auth.name()));
    }
    if !files.compiled.made_up.is_empty() {
        complain!("weir: published values stand in for {}: for development only", files.compiled.made_up.join(", "));
    }
    let issue =
        Issue { user: a.user.clone(), claims: a.claims.clone().unwrap_or_default(), ttl_ms: a.ttl.map(|t| t.0) };
    auth.issue(&issue, clock().wall)
}

/// The authenticator of this name; the first that takes tokens on an endpoint where none is named.
pub fn auth<'a>(app: &'a App, name: Option<&str>) -> Result<&'a Authenticator, String> {
    let names = || app.auths.keys().map(String::as_str);
    let takes = |name: &&String| app.auths.get(*name).is_none_or(|auth| auth.takes_tokens());
    let first = app.endpoints.iter().find_map(|e| e.auth.iter().find(takes).map(String::as_str));
    let first = first.or_else(|| names().next());
    let name = name.or(first).ok_or_else(|| format!("app `{}` has no [auth.NAME]", app.flow.name))?;
    app.auths.get(name).map(|auth| &**auth).ok_or_else(|| {
        let hint = did_you_mean(name, names()).map_or(String::new(), |hint| format!("; {hint}"));
        format!(
            "app `{}` has no auth `{name}`: there are {}{hint}",
            app.flow.name,
            one_of(names()).replace(" or ", " and ")
        )
    })
}

fn inspect(files: &Files, a: &InspectArguments) -> Result<(String, bool), String> {
    let mut token = a.token.trim().to_owned();
    if token == "-" {
        token = std::io::read_to_string(std::io::stdin()).map_err(|e| e.to_string())?.trim().to_owned();
    }
    let apps: Vec<&App> = match &a.app {
        Some(name) => vec![files.app(Some(name))?],
        None => files.compiled.apps.iter().collect(),
    };
    let (says, now) = (Unverified::read(&token), clock());
    let mut found: Vec<(&str, Inspection)> = Vec::new();
    for app in apps {
        for auth in app.auths.values().filter(|auth| auth.takes_tokens()) {
            found.push((&app.flow.name, files.runtime.block_on(auth.inspect(&token, now))));
        }
    }
    let good = found.iter().any(|(_, i)| matches!(i.outcome, Outcome::Identity(_)));
    Ok((if a.json { as_json(says.as_ref(), &found).to_string() } else { text(says.as_ref(), &found, now.wall) }, good))
}

fn text(says: Option<&Unverified>, found: &[(&str, Inspection)], now: Millis) -> String {
    let mut lines = Vec::new();
    match says {
        None => lines.push("neither a JSON Web Token nor a clinic token".to_owned()),
        Some(says) => {
            let header = if says.header.is_empty() { String::new() } else { format!("  {}", json!(says.header)) };
            lines.push(format!("{}{header}", says.kind));
            lines.push(format!("  claims   {}", json!(says.claims)));
            for (name, word) in [("iat", "issued"), ("nbf", "from"), ("exp", "ends"), ("timestamp", "stamped")] {
                let scale = if name == "timestamp" { 1.0 } else { 1000.0 };
                let at = says.claims.get(name).and_then(Value::as_f64).filter(|at| (0.0..9e12).contains(at));
                lines.extend(at.map(|at| format!("  {word:<8} {}", when((at * scale) as Millis, now))));
            }
        }
    }
    lines.push(String::new());
    for (app, i) in found {
        let line = match &i.outcome {
            Outcome::Identity(identity) => {
                let user = identity.user.as_deref().map_or("somebody without a name".into(), |u| format!("user {u}"));
                let until = identity.expires_at.map_or(String::new(), |at| format!(", until {}", when(at, now)));
                let key = i.key.as_deref().map_or(String::new(), |key| format!("; key `{key}` verifies it"));
                format!("taken: {user}{until}{key}")
            }
            Outcome::Failed { cause, reason } => {
                let key = i.key.as_deref().map_or(String::new(), |key| format!("; key `{key}` verifies its signature"));
                format!("not taken, {}: {reason}{key}", cause.as_str())
            }
            Outcome::Unavailable { reason } => format!("cannot be told now: {reason}"),
            Outcome::Missing => "not taken: nothing there".into(),
        };
        lines.push(format!("{:<20} {line}", format!("{app} [auth.{}]", i.auth)));
        // One key's reason is the whole's.
        let several = i.others.len() + usize::from(i.key.is_some()) > 1;
        let others = i.others.iter().filter(|_| several);
        lines.extend(others.map(|(key, why)| format!("{:<20}   key `{key}`: {why}", "")));
    }
    lines.join("\n")
}

/// `2026-01-07T10:30:00.000Z, 5 minutes ago`
fn when(at: Millis, now: Millis) -> String {
    let s = at.abs_diff(now) / 1000;
    let (n, unit) = match s {
        0..120 => (s, "second"),
        120..7_200 => (s / 60, "minute"),
        7_200..172_800 => (s / 3_600, "hour"),
        _ => (s / 86_400, "day"),
    };
    let span = count(n as usize, unit);
    if at > now { format!("{}, in {span}", iso8601(at)) } else { format!("{}, {span} ago", iso8601(at)) }
}

fn as_json(says: Option<&Unverified>, found: &[(&str, Inspection)]) -> Value {
    let each = found.iter().map(|(app, i)| {
        let (taken, user, claims, cause, reason) = match &i.outcome {
            Outcome::Identity(identity) => (true, identity.user.as_deref(), Some(&identity.claims), None, None),
            Outcome::Failed { cause, reason } => (false, None, None, Some(cause.as_str()), Some(&**reason)),
            Outcome::Unavailable { reason } => (false, None, None, Some("unavailable"), Some(&**reason)),
            Outcome::Missing => (false, None, None, None, None),
        };
        let others: Map<String, Value> = i.others.iter().map(|(k, why)| (k.clone(), json!(why))).collect();
        json!({ "app": app, "auth": i.auth, "taken": taken, "user": user, "claims": claims, "key": i.key,
                "other_keys": others, "cause": cause, "reason": reason })
    });
    let says = says.map(|s| json!({ "kind": s.kind, "header": s.header, "claims": s.claims }));
    json!({ "token": says, "apps": each.collect::<Vec<_>>() })
}
