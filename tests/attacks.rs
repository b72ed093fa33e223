//! What clients send that mean no good, or that have gone wrong: each gets its documented answer, costs bounded memory,
//! and the next newcomer is answered.
//!
//! Each file holds one kind. Here: the configuration that they share, and how a test ends.

mod closing;
mod drain;
mod floods;
mod frames;
mod http;
mod json;
mod limits;
mod listeners;
mod memory;
mod outages;
mod raw;
mod shards;
mod slow;
mod tokens;

use crate::support::client::{Client, Got, http as exchange};
use crate::support::gateway::{Gateway, PATIENCE};
use serde_json::{Value, json};
use std::ops::Deref;
use std::thread;
use std::time::{Duration, Instant};
use tungstenite::Message;

const MIB: usize = 1 << 20;

/// Bounds that no test means to meet, unless it sets them itself.
const LIMITS: &[(&str, &str)] = &[
    ("messages", r#"{ burst = 1_000_000, per = "1s" }"#),
    ("frames", r#"{ burst = 1_000_000, per = "1s" }"#),
    ("items", r#"{ burst = 1_000_000, per = "1s" }"#),
    ("messages_per_user", r#"{ burst = 1_000_000, per = "1s" }"#),
];

const GATEWAY: &str = r#"
[listener.main]
address = "127.0.0.1:0"
[listener.admin]
address = "127.0.0.1:0"
admin = true
[key.jwt]
algorithms = ["HS256"]
secret = { env = "JWT_SECRET" }
[api_key.default]
secret = { env = "WEIR_API_KEY" }
"#;

const APP: &str = r#"
listener = "main"
[[endpoint]]
path = "/ws"
dialect = "plain"
auth = ["jwt"]
[[endpoint]]
path = "/first"
dialect = "plain"
auth = ["first"]
[[endpoint]]
path = "/born/{id}"
dialect = "plain"
subscribe = ["room:{id}"]
[[endpoint]]
path = "/whole"
dialect = "whole"
[auth.jwt]
type = "jwt"
keys = ["jwt"]
forbid = ["tenantId"]
missing = "anonymous"
failed = { close = 4401, reason = "no" }
[auth.first]
type = "jwt"
keys = ["jwt"]
from = ["message"]
[dialect.plain]
receive.sub = { do = "subscribe", channel = "channel", since = "since" }
receive.subs = { do = "subscribe", channels = "channels" }
receive.unsub = { do = "unsubscribe", channel = "channel" }
receive.pub = { do = "publish", channel = "channel", data = "data", key = "key" }
receive.ping = { do = "ping" }
receive.auth = { do = "authenticate", token = "token" }
receive.history = { do = "history", channel = "channel", limit = "limit" }
receive.presence = { do = "presence", channel = "channel" }
send.subscribed = { type = "ok", channel = "{channel}", position = "{position}", recovered = "{recovered}" }
send.unsubscribed = { type = "left", channel = "{channel}" }
send.pong = { type = "pong", id = "{request.id}" }
send.error = { type = "error", code = "{error.code}", channel = "{channel}" }
send.gap = { type = "gap", channel = "{channel}", missed = "{missed}" }
send.history = { type = "history", events = "{events}" }
send.presence = { type = "presence", members = "{members}" }
send.joined = { type = "joined", channel = "{channel}" }
send.left = { type = "gone", channel = "{channel}" }
delivery = { envelope = "wrapped", message = { type = "msg", channel = "{channel}", data = "{data}", position = "{position}" } }
[dialect.whole]
receive.subs = { do = "subscribe", channels = "channels" }
receive.unsubs = { do = "unsubscribe", channels = "channels" }
receive.unsub = { do = "unsubscribe", channel = "channel" }
receive.ping = { do = "ping" }
send.pong = { type = "pong", id = "{request.id}" }
delivery = { envelope = "wrapped", message = { type = "msg", data = "{data}" } }
send.subscribe_result = { type = "result", allowed = "{allowed}", denied = "{denied}" }
[[channel]]
name = "room:{id}"
subscribe = "true"
publish = "true"
[[channel]]
name = "heard:{id}"
subscribe = "true"
[[channel]]
name = "kept:{id}"
subscribe = "true"
publish = "true"
history = { keep = 100_000, for = "1h" }
[[channel]]
name = "drop:{id}"
subscribe = "true"
publish = "true"
overflow = "drop_oldest"
[[channel]]
name = "low:{id}"
subscribe = "true"
overflow = "drop_low"
[[channel]]
name = "newest:{id}"
subscribe = "true"
publish = "true"
overflow = "conflate"
[[channel]]
name = "crowd:{id}"
subscribe = "true"
publish = "true"
presence = true
[[channel]]
name = "part:{id}"
home = "part"
also = ["parts"]
subscribe = "true"
publish = "true"
[[channel]]
name = "parts"
home = "part"
subscribe = "true"
"#;

/// A gateway that must not panic, and that answers a newcomer when the test is over.
pub struct Attacked {
    gateway: Gateway,
    newcomer: bool,
}

impl Deref for Attacked {
    type Target = Gateway;
    fn deref(&self) -> &Gateway {
        &self.gateway
    }
}

/// `top`: lines at the head of gateway.toml; `sections`: whole sections; `limits`: lines of `[limits]`.
pub fn gateway(top: &str, limits: &str, sections: &str) -> Attacked {
    let set = |name: &str| limits.lines().any(|l| l.split('=').next().is_some_and(|n| n.trim() == name));
    let others: String = LIMITS.iter().filter(|(n, _)| !set(n)).map(|(n, v)| format!("{n} = {v}\n")).collect();
    let settings = format!("{top}\n{GATEWAY}\n{sections}\n[limits]\n{limits}\n{others}");
    started(&[("gateway.toml", &settings), ("channels/app.toml", APP)], &[])
}

pub fn started(files: &[(&str, &str)], environment: &[(&str, &str)]) -> Attacked {
    let environment: Vec<_> = environment.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
    let gateway = Gateway::start_files(files, &environment).unwrap_or_else(|e| panic!("{e}"));
    Attacked { gateway, newcomer: true }
}

impl Attacked {
    pub fn at(&self) -> &str {
        self.address("main").unwrap()
    }

    pub fn client(&self) -> Talk {
        self.talk("/ws")
    }

    pub fn talk(&self, path: &str) -> Talk {
        Talk::to(self.at(), path, &[]).unwrap_or_else(|got| panic!("{path}: {got:?}"))
    }

    pub fn metrics(&self) -> String {
        exchange(self.address("admin").unwrap(), "GET", "/metrics", &[], None).unwrap().body
    }

    /// One sample of `/metrics`; 0 where there is none.
    pub fn metric(&self, name: &str) -> f64 {
        let text = self.metrics();
        let line = text.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix(' '));
        line.and_then(|l| l.trim().parse().ok()).unwrap_or(0.0)
    }

    /// Shards hand in their counts at the end of a turn.
    pub fn wait_for_metric(&self, name: &str, reached: impl Fn(f64) -> bool) {
        wait(name, || reached(self.metric(name)));
    }

    pub fn limit_hit(&self, limit: &str) {
        self.wait_for_metric(&format!("weir_limit_hits_total{{limit=\"{limit}\"}}"), |n| n > 0.0);
    }

    pub fn publish(&self, channel: &str, data: Value) -> Value {
        self.publishes(json!({ "channel": channel, "data": data }))
    }

    /// The body as the API takes it.
    pub fn publishes(&self, body: Value) -> Value {
        self.asks("/api/publish", body)
    }

    /// The API, with a key.
    pub fn asks(&self, path: &str, body: Value) -> Value {
        let key = [("Authorization".to_owned(), "Bearer dev-weir-api-key".to_owned())];
        let body = body.to_string();
        let reply = exchange(self.at(), "POST", path, &key, Some(&body)).unwrap();
        assert_eq!(reply.status, 200, "{}", reply.body);
        serde_json::from_str(&reply.body).unwrap()
    }

    /// It ends in this test: nobody can be answered after that.
    pub fn ends(&mut self) -> &mut Gateway {
        self.newcomer = false;
        &mut self.gateway
    }
}

impl Drop for Attacked {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("the gateway said:\n{}", last_lines(&self.gateway.output()));
            return;
        }
        if self.newcomer {
            self.client().pings();
        }
        if let Some(output) = self.gateway.panics() {
            panic!("the gateway panicked:\n{}", last_lines(&output));
        }
    }
}

fn last_lines(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(40)..].join("\n")
}

/// Asks again and again until it is so.
pub fn wait(what: &str, mut done: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < end, "still waiting for {what}");
        thread::sleep(Duration::from_millis(10));
    }
}

/// A client that speaks JSON and is surprised by nothing but what it did not ask for.
pub struct Talk(pub Client);

impl Talk {
    pub fn to(at: &str, path: &str, headers: &[(&str, &str)]) -> Result<Talk, Got> {
        let headers: Vec<_> = headers.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        let client = Client::connect(at, path, &headers).map_err(Got::Lost)?;
        if client.upgrade.status == 101 { Ok(Talk(client)) } else { Err(Got::Http(client.upgrade)) }
    }

    pub fn say(&mut self, message: Value) {
        self.0.send(Message::text(message.to_string())).unwrap();
    }

    pub fn next(&mut self) -> Got {
        self.0.next().unwrap_or_else(|e| panic!("{e}"))
    }

    pub fn hear(&mut self) -> Value {
        match self.next() {
            Got::Text(text) => serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}")),
            other => panic!("not a message: {other:?}"),
        }
    }

    /// The next message is of this type.
    pub fn hears(&mut self, kind: &str) -> Value {
        let message = self.hear();
        assert_eq!(message["type"], kind, "{message}");
        message
    }

    pub fn closed(&mut self) -> (u16, String) {
        loop {
            match self.next() {
                Got::Close(code, reason) => return (code, reason),
                Got::Text(_) => {}
                other => panic!("not a close: {other:?}"),
            }
        }
    }

    pub fn subscribe(&mut self, channel: &str) -> Value {
        self.say(json!({ "type": "sub", "channel": channel }));
        self.hears("ok")
    }

    pub fn publish(&mut self, channel: &str, data: Value) {
        self.say(json!({ "type": "pub", "channel": channel, "data": data }));
    }

    pub fn pings(&mut self) {
        self.say(json!({ "type": "ping", "id": 7 }));
        assert_eq!(self.hear(), json!({ "type": "pong", "id": 7 }));
    }
}
