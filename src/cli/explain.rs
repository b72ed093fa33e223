//! `weir explain`: why somebody may or may not.

use super::client::Door;
use super::files::{self, Files, fail, object};
use crate::api::admin::{KeptRequest, LiveExplanation};
use crate::auth::Outcome;
use crate::config::{App, AsIf, Environment};
use crate::model::{ChannelName, Identity, is_exact};
use crate::observe::clock;
use crate::policy::{Explanation, Part, RightKind};
use serde::Serialize;
use serde_json::{Map, Value, json};
use std::fmt::Write;
use std::path::Path;
use std::process::ExitCode;

#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// The app; not needed where there is only one.
    #[arg(long, value_name = "NAME")]
    app: Option<String>,
    /// The user's id: as with a token of this user, the row of the auth's table included. Without it, and without
    /// --token: somebody anonymous.
    #[arg(long, value_name = "ID", conflicts_with = "token")]
    user: Option<String>,
    /// Claims of the user's token, as a JSON object; a row's columns go before them, as they do for clients.
    #[arg(long, value_name = "JSON", value_parser = object, conflicts_with = "token")]
    claims: Option<Map<String, Value>>,
    /// A token instead: whoever it makes of its bearer, tables and defaults included.
    #[arg(long, value_name = "TOKEN")]
    token: Option<String>,
    /// A live connection instead, with its identity, its request and the rows as they are now: the running gateway is
    /// asked, for the files that it has in force.
    #[arg(long, value_name = "CONNECTION", conflicts_with_all = ["app", "user", "claims", "token", "request"])]
    live: Option<String>,
    /// What is asked for.
    #[arg(long, value_enum, default_value = "subscribe")]
    does: Does,
    /// The channel.
    #[arg(long, value_name = "CHANNEL")]
    on: String,
    /// The path and query of the connection, for rules that read `request`.
    #[arg(long, value_name = "PATH?QUERY")]
    request: Option<String>,
    /// Answers with JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    door: Door,
}

#[derive(clap::ValueEnum, Clone, Copy, Debug)]
enum Does {
    Subscribe,
    Publish,
    History,
    Presence,
}

impl Does {
    fn right(self) -> RightKind {
        match self {
            Does::Subscribe => RightKind::Subscribe,
            Does::Publish => RightKind::Publish,
            Does::History => RightKind::History,
            Does::Presence => RightKind::Presence,
        }
    }

    fn word(self) -> &'static str {
        match self {
            Does::Subscribe => "subscribe",
            Does::Publish => "publish",
            Does::History => "history",
            Does::Presence => "presence",
        }
    }
}

const EXAMPLES: &str = "Examples:
  weir explain --app clinic --user u1 --claims '{\"role\":\"sales_staff\",\"clinicId\":\"c1\"}' --on clinic:c2:queue
  weir explain --app clinic --token \"$TOKEN\" --on clinic:c1:queue
  weir explain --app reports --does publish --on system:notifications
  weir explain --live ws_1704623400000_k3v9x0a1b --on user:alerts

Reads the files, and for --user and --token the row of the auth's table, also one behind a URL. The running gateway is not
asked but with --live (of its admin listener, with a key that has the verb `admin`); other rows behind a URL are unknown.
Exit codes: 0 allowed, 1 refused, 78 mistakes in the files.";

pub fn run(gateway: &Path, arguments: &Arguments, env: &Environment) -> ExitCode {
    if let Some(connection) = &arguments.live {
        return live(gateway, connection, arguments, env);
    }
    let files = match files::read_or_tell(gateway, env) {
        Ok(files) => files,
        Err(code) => return code,
    };
    match explain(&files, arguments) {
        Err(what) => fail(what),
        Ok((told, allowed)) => {
            say!("{}", told.trim_end());
            if allowed { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
    }
}

fn explain(files: &Files, arguments: &Arguments) -> Result<(String, bool), String> {
    let app = files.app(arguments.app.as_deref())?;
    let on = ChannelName::parse(&arguments.on).map_err(|bad| format!("`{}`: {bad}", arguments.on))?;
    let (identity, assumed) = who(files, app, arguments)?;
    let as_if = AsIf::new(app, identity, arguments.request.as_deref(), clock())?;
    let why = as_if.explain(app, arguments.does.right(), &on);
    let allowed = why.allowed;
    let user = as_if.identity.user.as_deref();
    let told = match arguments.json {
        true => serde_json::to_string(&Assuming { why, assumed }).map_err(|e| e.to_string())?,
        false => {
            let assumed = assumed.map(|assumed| format!("\nassumed   {assumed}")).unwrap_or_default();
            format!("{}{assumed}", text(&why, user, &arguments.on, arguments.does))
        }
    };
    Ok((told, allowed))
}

/// As JSON.
#[derive(Serialize)]
struct Assuming {
    #[serde(flatten)]
    why: Explanation,
    /// What nobody said of who asks.
    assumed: Option<String>,
}

/// Of a live connection.
fn live(gateway: &Path, connection: &str, arguments: &Arguments, env: &Environment) -> ExitCode {
    let asked = json!({ "connection": connection, "does": arguments.does.word(), "on": arguments.on });
    let (told, json): (LiveExplanation, _) = match arguments.door.found(gateway, env).admin("/admin/explain", &asked) {
        Ok(answered) => answered,
        Err(what) => return fail(what),
    };
    match arguments.json {
        true => say!("{json}"),
        false => {
            let why = text(&told.why, told.user.as_deref(), &arguments.on, arguments.does);
            say!("{why}\n{}", of_whom(&told));
        }
    }
    if told.why.allowed { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// `live      ws_1… of app reports on /ws, its request not kept; generation 3`
fn of_whom(told: &LiveExplanation) -> String {
    let LiveExplanation { connection, app, generation, .. } = told;
    let endpoint = told.endpoint.as_deref().unwrap_or("?");
    let request = match told.request {
        KeptRequest::Kept => "kept",
        KeptRequest::NotKept => "not kept",
    };
    format!("live      {connection} of app {app} on {endpoint}, its request {request}; generation {generation}")
}

/// Who asks, and what of it nobody said.
fn who(files: &Files, app: &App, arguments: &Arguments) -> Result<(Identity, Option<String>), String> {
    let Some(token) = &arguments.token else {
        let claims = arguments.claims.clone().unwrap_or_default();
        if let Some((name, _)) = claims.iter().find(|(_, value)| !is_exact(value)) {
            return Err(format!("claim `{name}`: a number of more than 64 bits is rounded; rules take it for missing"));
        }
        return Ok(described(files, app, arguments.user.as_deref(), claims));
    };
    let mut told = Vec::new();
    for auth in app.auths.values() {
        match files.runtime.block_on(auth.inspect(token, clock())).outcome {
            Outcome::Identity(identity) => return Ok(((*identity).clone(), None)),
            Outcome::Missing => {}
            Outcome::Failed { reason, .. } | Outcome::Unavailable { reason } => {
                told.push(format!("auth `{}`: {reason}", auth.name()))
            }
        }
    }
    Err(format!("nobody of app `{}` comes with this token: {}", app.flow.name, told.join("; ")))
}

/// What a token of the user would give, by the first auth of an endpoint that names users: claims, the table's row,
/// defaults. Where that refuses it, or without a user, the claims as they were given.
fn described(files: &Files, app: &App, user: Option<&str>, claims: Map<String, Value>) -> (Identity, Option<String>) {
    let auth = user.and_then(|_| {
        let named = app.endpoints.iter().find_map(|e| e.auth.iter().find_map(|name| app.auths.get(name)));
        named.or_else(|| app.auths.values().next())
    });
    let mut assumed = None;
    if let (Some(auth), Some(user)) = (auth, user) {
        let with = auth.table().map_or_else(|| "no table".into(), |table| format!("the row of table `{table}`"));
        let name = auth.name();
        assumed = Some(match files.runtime.block_on(auth.assume(Some(user), &claims, clock().mono)) {
            Outcome::Identity(identity) => {
                let more = Value::from(identity.claims.clone());
                let assumed = format!("a token of {user} for [auth.{name}], with {with}: {more}");
                return ((*identity).clone(), Some(assumed));
            }
            Outcome::Failed { reason, .. } => {
                format!(
                    "[auth.{name}] would refuse a token of {user}: {reason}. Explained with the claims as they were given"
                )
            }
            Outcome::Unavailable { reason } => {
                format!("the claims as they were given, for [auth.{name}] cannot tell now: {reason}")
            }
            Outcome::Missing => "the claims as they were given".into(),
        });
    }
    let mut claims = claims;
    claims.extend(user.map(|user| ("id".to_owned(), json!(user))));
    (Identity::described(claims), assumed)
}

/// ```text
/// REFUSED  u1 may not subscribe to clinic:c2:queue
///
/// class     clinic:{clinicId}:queue      clinicId = c2
/// rule      channels/clinic.toml:66:13 subscribe
///           false  user.role == "admin" || user.clinicId == clinicId
///             false  user.role == "admin"
/// ```
fn text(why: &Explanation, user: Option<&str>, on: &str, does: Does) -> String {
    let mut out = String::new();
    let (head, may) = if why.allowed { ("ALLOWED", "may") } else { ("REFUSED", "may not") };
    let who = user.unwrap_or("somebody anonymous");
    let does = match does {
        Does::Subscribe => "subscribe to",
        Does::Publish => "publish on",
        Does::History => "read the history of",
        Does::Presence => "see who is on",
    };
    let _ = writeln!(out, "{head}  {who} {may} {does} {on}\n");
    one(&mut out, why);
    let mut step = why;
    while let Some(target) = &step.alias {
        let _ = writeln!(out, "\nwhich stands for another channel, whose rules decide as well:\n");
        one(&mut out, target);
        step = target;
    }
    if let Some(code) = why.code {
        let message = why.message.as_deref().unwrap_or(code.text());
        let _ = writeln!(out, "\nclient    reads {}: {message} (unless its dialect says otherwise)", code.as_str());
    }
    out
}

fn one(out: &mut String, why: &Explanation) {
    let Some(class) = &why.class else {
        let _ = writeln!(out, "class     none: {}", why.origin);
        return;
    };
    let vars: Vec<String> = why.vars.iter().map(|(name, value)| format!("{name} = {value:?}")).collect();
    let _ = writeln!(out, "class     {class}{}{}", if vars.is_empty() { "" } else { "   with " }, vars.join(", "));
    let _ = writeln!(out, "rule      {}", why.origin);
    if let Some(rule) = &why.rule {
        part(out, rule, 10);
    }
    if let Some(error) = &why.error {
        let _ = writeln!(out, "came to nothing: {error}");
    }
}

fn part(out: &mut String, p: &Part, indent: usize) {
    let value = if p.value == "()" { "missing" } else { &p.value };
    // A literal says itself.
    if p.text != p.value && !p.text.starts_with('"') {
        let _ = writeln!(out, "{:indent$}{value:<8} {}", "", p.text);
    }
    p.parts.iter().for_each(|p| part(out, p, indent + 2));
}
