//! `weir smoke`: one client's whole way through a running gateway, and where it ended.
//!
//! The files say how the endpoint's clients write things: the message that subscribes, the answers that say yes or no.

use super::client::{Door, Found, Socket, socket};
use super::files::{self, Files, fail};
use super::token;
use crate::auth::Issue;
use crate::config::{App, Environment};
use crate::dialect::Settings;
use crate::dialect::json::Verb;
use crate::listen::PathPattern;
use crate::model::percent_encode;
use crate::observe::clock;
use fastwebsockets::{Frame, OpCode, Payload};
use hyper::header::{HeaderName, HeaderValue};
use serde_json::{Map, Value, json};
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    #[command(flatten)]
    door: Door,
    /// Where clients connect: ws://127.0.0.1:3000/ws
    #[arg(value_name = "WEBSOCKET")]
    address: String,
    /// The channel; what is published there reaches its real subscribers too.
    #[arg(long)]
    channel: String,
    /// The app; that of the endpoint with this path if missing.
    #[arg(long, value_name = "NAME")]
    app: Option<String>,
    /// A token, sent as the query's `token`.
    #[arg(long, value_name = "TOKEN", conflicts_with = "user")]
    token: Option<String>,
    /// Makes a token of this user instead, as `weir token issue` does.
    #[arg(long, value_name = "ID")]
    user: Option<String>,
    /// A header of the upgrade request, such as 'Origin: https://app.example'.
    #[arg(long, value_name = "NAME: VALUE", value_parser = header)]
    header: Vec<(HeaderName, HeaderValue)>,
    /// The message that subscribes, where the dialect of the files is not the endpoint's.
    #[arg(long, value_name = "JSON")]
    subscribe: Option<String>,
}

const EXAMPLES: &str = "Examples:
  weir smoke ws://127.0.0.1:3000/ws --channel test:smoke
  weir smoke ws://127.0.0.1:3001/ --channel clinic:c1:queue --user u1
  weir smoke wss://gw.example/ws --url https://gw.example:9000 --channel test:smoke --token \"$TOKEN\"

Connects, subscribes, publishes {\"type\":\"weir.smoke\",\"id\":…} through the HTTP API, and waits until it comes back.
Exit codes: 0 it came, 1 something failed and is told, 78 mistakes in the files.";

fn header(text: &str) -> Result<(HeaderName, HeaderValue), String> {
    let (name, value) = text.split_once(':').ok_or("a header is `Name: value`")?;
    let name = name.trim().parse::<HeaderName>().map_err(|e| e.to_string())?;
    Ok((name, HeaderValue::from_str(value.trim()).map_err(|e| e.to_string())?))
}

pub fn run(gateway: &Path, arguments: &Arguments, env: &Environment) -> ExitCode {
    let files = match files::read_or_tell(gateway, env) {
        Ok(files) => files,
        Err(code) => return code,
    };
    let found = arguments.door.found(gateway, env);
    let steps = plan(&files, arguments);
    let result = steps.and_then(|steps| files.runtime.block_on(steps.walk(&found)));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(what) => fail(what),
    }
}

/// What is going to be said.
struct Steps {
    url: String,
    headers: Vec<(HeaderName, HeaderValue)>,
    app: String,
    channel: String,
    subscribe: String,
    /// For reading answers.
    dialect: Option<Settings>,
}

fn plan(files: &Files, a: &Arguments) -> Result<Steps, String> {
    let app = app(files, a)?;
    let token = match (&a.token, &a.user) {
        (Some(token), _) => Some(token.clone()),
        (None, Some(user)) => {
            Some(token::auth(app, None)?.issue(&Issue { user: user.clone(), ..Issue::default() }, clock().wall)?)
        }
        (None, None) => None,
    };
    let mut url = a.address.clone();
    if let Some(token) = token {
        url.push(if url.contains('?') { '&' } else { '?' });
        url.push_str("token=");
        url.push_str(&percent_encode(&token));
    }
    let dialect = endpoint(app, &a.address).and_then(|name| app.dialects.get(name)).cloned();
    let subscribe = match (&a.subscribe, &dialect) {
        (Some(text), _) => text.clone(),
        (None, Some(dialect)) => subscribing(dialect, &a.channel)
            .ok_or("clients of this endpoint's dialect cannot subscribe; --subscribe says how they would")?,
        (None, None) => {
            return Err("the files do not say how clients of this endpoint subscribe: --subscribe JSON".into());
        }
    };
    let (app, channel) = (app.flow.name.to_string(), a.channel.clone());
    Ok(Steps { url, headers: a.header.clone(), app, channel, subscribe, dialect })
}

/// The app that is named, else the one whose endpoint's path is most like the address's.
fn app<'f>(files: &'f Files, a: &Arguments) -> Result<&'f App, String> {
    if a.app.is_some() {
        return files.app(a.app.as_deref());
    }
    let port = a.address.rsplit(':').next().and_then(|rest| rest.split(['/', '?']).next());
    let listens = |app: &App| {
        app.endpoints.iter().any(|e| {
            let listener = e.listener.as_ref().and_then(|name| files.compiled.listeners.get(name));
            listener.is_some_and(|l| l.address.rsplit(':').next() == port)
        })
    };
    let serves: Vec<&App> = files.compiled.apps.iter().filter(|app| endpoint(app, &a.address).is_some()).collect();
    let there: Vec<&App> = serves.iter().copied().filter(|app| listens(app)).collect();
    match (&there[..], &serves[..]) {
        ([one], _) | ([], [one]) => Ok(one),
        _ => files.app(None),
    }
}

/// The dialect of the app's endpoint at this address.
fn endpoint<'a>(app: &'a App, address: &str) -> Option<&'a str> {
    let after = address.split_once("://").map_or(address, |(_, rest)| rest);
    let path = after.find(['/', '?']).map_or("/", |at| &after[at..]);
    let path = path.split('?').next().filter(|p| !p.is_empty()).unwrap_or("/");
    let mut matching: Vec<(PathPattern, &str)> = app
        .endpoints
        .iter()
        .filter_map(|e| Some((PathPattern::parse(&e.path).ok()?, e.dialect.as_str())))
        .filter(|(pattern, _)| {
            let mut router = matchit::Router::new();
            let bare = pattern.bare.as_deref() == Some(path);
            bare || (router.insert(&pattern.shape, ()).is_ok() && router.at(path).is_ok())
        })
        .collect();
    matching.sort_by(|(a, _), (b, _)| a.precedence(b));
    matching.first().map(|(_, dialect)| *dialect)
}

/// The message that subscribes to a channel in this dialect.
fn subscribing(dialect: &Settings, channel: &str) -> Option<String> {
    let (kind, receive) = dialect.receive.iter().find(|(_, r)| r.verb == Verb::Subscribe)?;
    let mut message = Map::new();
    put(&mut message, dialect.type_field(), json!(kind));
    match (&receive.channel, &receive.channels) {
        (Some(path), _) => put(&mut message, path, json!(channel)),
        (None, Some(path)) => put(&mut message, path, json!([channel])),
        (None, None) => return None,
    }
    Some(Value::Object(message).to_string())
}

/// Sets the value at a dotted path.
fn put(object: &mut Map<String, Value>, path: &str, value: Value) {
    match path.split_once('.') {
        None => drop(object.insert(path.into(), value)),
        Some((outer, rest)) => {
            if let Value::Object(inner) = object.entry(outer).or_insert_with(|| json!({})) {
                put(inner, rest, value);
            }
        }
    }
}

impl Steps {
    async fn walk(&self, found: &Found) -> Result<(), String> {
        let patience = found.patience;
        let started = Instant::now();
        let connecting = tokio::time::timeout(patience, socket(found, &self.url, &self.headers)).await;
        let mut socket = connecting
            .unwrap_or_else(|_| Err(format!("no answer in {} s", patience.as_secs())))
            .map_err(|what| format!("connecting failed: {what}"))?;
        told("connected", started, "");
        let started = Instant::now();
        send(&mut socket, &self.subscribe).await?;
        if self.answered() {
            wait(&mut socket, patience, |text| self.verdict(text))
                .await
                .map_err(|w| format!("subscribing failed: {w}"))?;
        }
        told("subscribed", started, &self.channel);
        let id = format!("{:032x}", uuid::Uuid::from_u128(random()).as_u128());
        let started = Instant::now();
        let data = json!({ "type": "weir.smoke", "id": id });
        let body = json!({ "app": self.app, "channel": self.channel, "data": data });
        match found.call("publish", &body).await {
            Ok((status, text)) if status.is_success() => told("published", started, &text),
            Ok((status, text)) => return Err(format!("publishing failed: {} answered {status}\n{text}", found.url)),
            Err(what) => return Err(format!("publishing failed: {what}")),
        }
        wait(&mut socket, patience, |text| text.contains(&id).then_some(Ok(())))
            .await
            .map_err(|what| format!("receiving failed: {what}"))?;
        told("received", started, "");
        let _ = socket.write_frame(Frame::close(1000, b"")).await;
        Ok(())
    }

    /// Whether the dialect says what became of a subscribe.
    fn answered(&self) -> bool {
        self.dialect.as_ref().is_some_and(|d| d.send.subscribed.is_some() || d.send.subscribe_result.is_some())
    }

    /// What a message says of the subscription; `None`: it is about something else.
    fn verdict(&self, text: &str) -> Option<Result<(), String>> {
        let send = &self.dialect.as_ref()?.send;
        let got: Value = serde_json::from_str(text).ok()?;
        let is = |template: &Option<Value>| template.as_ref().is_some_and(|t| alike(t, &got));
        if is(&send.subscribe_result) {
            let allowed = holding(send.subscribe_result.as_ref()?, "{allowed}", &got).and_then(Value::as_array);
            return match allowed.is_some_and(|list| list.iter().any(|c| c.as_str() == Some(&*self.channel))) {
                true => Some(Ok(())),
                false => Some(Err(format!("{} was refused: {text}", self.channel))),
            };
        }
        if is(&send.subscribed) && text.contains(&*self.channel) {
            return Some(Ok(()));
        }
        is(&send.error).then(|| Err(text.to_owned()))
    }
}

/// Whether a message may have come of a template: its fixed texts are there.
fn alike(template: &Value, got: &Value) -> bool {
    match (template, got) {
        (Value::Object(template), Value::Object(got)) => template.iter().all(|(name, value)| match got.get(name) {
            Some(found) => alike(value, found),
            // A placeholder without a value drops its key.
            None => value.as_str().is_some_and(|text| text.contains('{')),
        }),
        (Value::String(text), _) if text.contains('{') => true,
        (template, got) => template == got,
    }
}

/// The value that stands where a template has a placeholder.
fn holding<'g>(template: &Value, placeholder: &str, got: &'g Value) -> Option<&'g Value> {
    match template {
        Value::String(text) if text == placeholder => Some(got),
        Value::Object(fields) => fields.iter().find_map(|(name, value)| holding(value, placeholder, got.get(name)?)),
        _ => None,
    }
}

fn told(what: &str, since: Instant, more: &str) {
    say!("{what:<11}{:>6.1} ms  {more}", since.elapsed().as_secs_f64() * 1000.0);
}

fn random() -> u128 {
    let mut bytes = [0; 16];
    // An operating system without random numbers still has a clock: the id only has to be this run's own.
    if getrandom::fill(&mut bytes).is_err() {
        bytes[..8].copy_from_slice(&clock().wall.to_ne_bytes());
    }
    u128::from_ne_bytes(bytes)
}

async fn send(socket: &mut Socket, text: &str) -> Result<(), String> {
    let frame = Frame::text(Payload::Owned(text.as_bytes().to_vec()));
    socket.write_frame(frame).await.map_err(|e| format!("sending failed: {e}"))
}

/// Reads messages until one of them decides.
async fn wait<T>(
    socket: &mut Socket,
    patience: Duration,
    mut decides: impl FnMut(&str) -> Option<Result<T, String>>,
) -> Result<T, String> {
    let mut last = None;
    let reading = async {
        loop {
            let frame = socket.read_frame().await.map_err(|e| e.to_string())?;
            match frame.opcode {
                OpCode::Text => {
                    let text = String::from_utf8_lossy(&frame.payload).into_owned();
                    if let Some(decided) = decides(&text) {
                        return decided;
                    }
                    last = Some(text);
                }
                OpCode::Close => {
                    let code = frame.payload.first_chunk().map_or(1005, |code| u16::from_be_bytes(*code));
                    let reason = String::from_utf8_lossy(frame.payload.get(2..).unwrap_or_default()).into_owned();
                    return Err(format!("the gateway closed with {code} {reason}"));
                }
                _ => {}
            }
        }
    };
    match tokio::time::timeout(patience, reading).await {
        Ok(result) => result,
        Err(_) => Err(match last {
            Some(text) => format!("nothing of the kind in {} s; the last message was {text}", patience.as_secs()),
            None => format!("no message in {} s", patience.as_secs()),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_known_by_its_template() {
        let template = json!({ "type": "SUBSCRIBE_RESULT", "data": { "allowed": "{allowed}", "denied": "{denied}" } });
        let got = json!({ "type": "SUBSCRIBE_RESULT", "data": { "allowed": ["a"], "denied": [] } });
        assert!(alike(&template, &got) && !alike(&template, &json!({ "type": "PONG" })));
        assert_eq!(holding(&template, "{allowed}", &got), Some(&json!(["a"])));
    }

    #[test]
    fn a_message_is_written_as_the_dialect_reads_it() {
        let dialect: Settings = serde_json::from_value(json!({
            "type": "op", "receive": { "SUB": { "do": "subscribe", "channels": "data.list" } }
        }))
        .unwrap();
        assert_eq!(subscribing(&dialect, "a:b").unwrap(), r#"{"op":"SUB","data":{"list":["a:b"]}}"#);
    }
}
