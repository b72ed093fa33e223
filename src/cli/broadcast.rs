//! `weir broadcast`: one message to many connections of a running gateway, past all channels.

use super::client::Door;
use super::files::json;
use crate::config::Environment;
use serde::Serialize;
use serde_json::value::RawValue;
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
    users: Option<Vec<String>>,
    /// Only subscribers of these channels.
    #[arg(long, value_name = "CHANNEL,…", value_delimiter = ',')]
    channels: Option<Vec<String>>,
    /// Only connections with these claims, as a JSON object; a list is any of its values.
    #[arg(long, value_name = "JSON", value_parser = json)]
    claims: Option<Box<RawValue>>,
    /// What they hear, as JSON. It goes out as it is written here.
    #[arg(value_name = "JSON", value_parser = json)]
    message: Box<RawValue>,
}

const EXAMPLES: &str = "Examples:
  weir broadcast --app clinic --claims '{\"clinicId\":[\"c1\"]}' '{\"type\":\"NOTICE\",\"data\":{\"text\":\"closing\"}}'
  weir broadcast --app reports '{\"type\":\"maintenance\"}'

Prints the gateway's answer, such as {\"recipients\":7}.
Exit codes: 0 sent, 1 refused or not reached.";

#[derive(Serialize)]
struct Body<'a> {
    message: &'a RawValue,
    #[serde(skip_serializing_if = "Option::is_none")]
    filter: Option<Filter<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    app: Option<&'a str>,
}

/// A list that was not given is no constraint; one that was given stays, empty or not.
#[derive(Serialize)]
struct Filter<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    users: Option<&'a [String]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    channels: Option<&'a [String]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    claims: Option<&'a RawValue>,
}

pub fn run(gateway: &Path, arguments: &Arguments, env: &Environment) -> ExitCode {
    let Arguments { users, channels, claims, message, app, .. } = arguments;
    let (users, channels, claims) = (users.as_deref(), channels.as_deref(), claims.as_deref());
    let named = users.is_some() || channels.is_some() || claims.is_some();
    let filter = named.then_some(Filter { users, channels, claims });
    let body = Body { message, filter, app: app.as_deref() };
    arguments.door.found(gateway, env).call_and_tell("broadcast", &body)
}
