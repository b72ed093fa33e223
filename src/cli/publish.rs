//! `weir publish`: one event to one channel of a running gateway.

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
    /// The app whose channel it is; if missing, the listener's own, or the only one there.
    #[arg(long, value_name = "NAME")]
    app: Option<String>,
    /// The event's name, where clients hear one.
    #[arg(long, value_name = "NAME")]
    event: Option<String>,
    /// The channel.
    channel: String,
    /// What its subscribers hear, as JSON. It goes out as it is written here.
    #[arg(value_name = "JSON", value_parser = json)]
    data: Box<RawValue>,
}

const EXAMPLES: &str = "Examples:
  weir publish --app reports test:channel '{\"type\":\"note\",\"text\":\"hello\"}'
  WEIR_API_KEY=… weir publish --url https://gw.example:9000 --app clinic clinic:c1:queue '{\"waiting\":3}'

Prints the gateway's answer, such as {\"recipients\":1}.
Exit codes: 0 published, 1 refused or not reached.";

#[derive(Serialize)]
struct Body<'a> {
    channel: &'a str,
    data: &'a RawValue,
    #[serde(skip_serializing_if = "Option::is_none")]
    app: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    event: Option<&'a str>,
}

pub fn run(gateway: &Path, arguments: &Arguments, env: &Environment) -> ExitCode {
    let Arguments { channel, data, app, event, .. } = arguments;
    let body = Body { channel, data, app: app.as_deref(), event: event.as_deref() };
    arguments.door.found(gateway, env).call_and_tell("publish", &body)
}
