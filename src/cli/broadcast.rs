//! `weir broadcast`: one message to many connections of a running gateway, past all channels.

use super::client::Door;
use super::files::{json, object};
use crate::config::Environment;
use serde_json::{Map, Value, json as make};
use std::path::Path;
use std::process::ExitCode;

#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    #[command(flatten)]
    door: Door,
    /// The app whose connections hear it; the listener's first if missing.
    #[arg(long, value_name = "NAME")]
    app: Option<String>,
    /// Only these users.
    #[arg(long, value_name = "ID,…", value_delimiter = ',')]
    users: Vec<String>,
    /// Only subscribers of these channels.
    #[arg(long, value_name = "CHANNEL,…", value_delimiter = ',')]
    channels: Vec<String>,
    /// Only connections with these claims, as a JSON object; a list is any of its values.
    #[arg(long, value_name = "JSON", value_parser = object)]
    claims: Option<Map<String, Value>>,
    /// What they hear, as JSON.
    #[arg(value_name = "JSON", value_parser = json)]
    message: Value,
}

const EXAMPLES: &str = "Examples:
  weir broadcast --app clinic --claims '{\"clinicId\":[\"c1\"]}' '{\"type\":\"NOTICE\",\"data\":{\"text\":\"closing\"}}'
  weir broadcast --app reports '{\"type\":\"maintenance\"}'

Prints the gateway's answer, such as {\"recipients\":7}.
Exit codes: 0 sent, 1 refused or not reached.";

pub fn run(gateway: &Path, arguments: &Arguments, env: &Environment) -> ExitCode {
    let mut filter = Map::new();
    for (name, list) in [("users", &arguments.users), ("channels", &arguments.channels)] {
        if !list.is_empty() {
            filter.insert(name.into(), make!(list));
        }
    }
    if let Some(claims) = &arguments.claims {
        let list = |v: &Value| if v.is_array() { v.clone() } else { make!([v]) };
        filter.insert("claims".into(), claims.iter().map(|(name, v)| (name.clone(), list(v))).collect());
    }
    let mut body = make!({ "message": arguments.message });
    if !filter.is_empty() {
        body["filter"] = filter.into();
    }
    if let Some(app) = &arguments.app {
        body["app"] = app.as_str().into();
    }
    arguments.door.found(gateway, env).call_and_tell("broadcast", &body)
}
