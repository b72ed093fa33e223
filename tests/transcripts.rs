//! Plays the conversations in `tests/transcripts/`: each file with a gateway of its own, each conversation with
//! clients of its own. A conversation that goes wrong is told with its file and line; the others go on.
//! `WEIR_TRANSCRIPT=s1/tokens` plays only the files whose path holds that text.

use crate::support::client::{Client, Got, Reply, http};
use crate::support::gateway::{Gateway, PATIENCE};
use crate::support::script::{Conversation, Does, Exchange, Expected, Transcript};
use crate::support::words::{Captured, fill};
use serde_json::Value;
use std::collections::{BTreeMap, VecDeque};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;
use tungstenite::Message;
use weir::harness::expect;

/// Gateways at a time.
const SIDE_BY_SIDE: usize = 4;

#[test]
fn every_conversation_goes_as_written() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/transcripts");
    let wanted = std::env::var("WEIR_TRANSCRIPT").unwrap_or_default();
    let files: Vec<PathBuf> = files(&root).into_iter().filter(|f| f.to_string_lossy().contains(&wanted)).collect();
    assert!(!files.is_empty(), "no transcript in {} holds `{wanted}` in its path", root.display());
    let (next, played, failed) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicUsize::new(0));
    let told = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..SIDE_BY_SIDE.min(files.len()) {
            scope.spawn(|| {
                while let Some(file) = files.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let shown = Path::new("tests/transcripts").join(file.strip_prefix(&root).unwrap());
                    let outcome = play(file, &shown.to_string_lossy());
                    played.fetch_add(outcome.played, Ordering::Relaxed);
                    failed.fetch_add(outcome.failed, Ordering::Relaxed);
                    told.lock().unwrap().extend(outcome.told);
                }
            });
        }
    });
    let (played, failed, mut told) = (played.into_inner(), failed.into_inner(), told.into_inner().unwrap());
    told.sort();
    println!("transcripts: {} files, {played} conversations, {failed} failed", files.len());
    assert!(told.is_empty(), "{failed} of {played} conversations went wrong:\n\n{}\n", told.join("\n\n"));
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for path in fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()) {
        match path.is_dir() {
            true => found.extend(files(&path)),
            false if path.extension().is_some_and(|e| e == "txt") => found.push(path),
            false => {}
        }
    }
    found.sort();
    found
}

/// What became of a file's conversations.
struct Outcome {
    played: usize,
    failed: usize,
    told: Vec<String>,
}

fn play(file: &Path, shown: &str) -> Outcome {
    let transcript = match fs::read_to_string(file).map_err(|e| e.to_string()).and_then(|s| Transcript::read(&s)) {
        Ok(transcript) => transcript,
        Err(e) => return Outcome { played: 1, failed: 1, told: vec![format!("{shown}:{e}")] },
    };
    let played = transcript.conversations.len();
    let mut gateway = match Gateway::start(&transcript.config, &transcript.environment) {
        Ok(gateway) => gateway,
        Err(e) => return Outcome { played, failed: played, told: vec![format!("{shown}: {e}")] },
    };
    let mut told = Vec::new();
    for conversation in &transcript.conversations {
        if let Err(e) = converse(&transcript, conversation, &mut gateway) {
            told.push(format!("{shown}:{e}\n  in: {}", conversation.title));
        }
    }
    let failed = told.len();
    let steps = || transcript.conversations.iter().flat_map(|c| &c.steps);
    let stopped = steps().rfind(|s| matches!(s.does, Does::Stop | Does::Die | Does::Start));
    if !stopped.is_some_and(|s| !matches!(s.does, Does::Start))
        && let Err(e) = newcomer(&transcript, &gateway)
    {
        told.push(format!("{shown}: a newcomer is not answered: {e}"));
    }
    told.extend(gateway.panics().map(|output| format!("{shown}: the gateway panicked:\n{output}")));
    Outcome { played, failed, told }
}

/// Whoever comes now is still served: on every listener over HTTP, and greeted over a WebSocket.
fn newcomer(transcript: &Transcript, gateway: &Gateway) -> Result<(), String> {
    for listener in gateway.listeners() {
        http(gateway.address(listener)?, "GET", "/healthz", &[], None).map_err(|e| format!("{listener}: {e}"))?;
    }
    let greeted = match (&transcript.newcomer, transcript.config.as_str()) {
        (Some(target), _) => target,
        (None, "shipped") => "main:/ws",
        (None, _) => return Ok(()),
    };
    let (listener, path) = target(greeted, &transcript.listener);
    let mut client = Client::connect(gateway.address(listener)?, path, &[])?;
    let greeting = client.next()?;
    client.leave();
    match greeting {
        Got::Text(_) => Ok(()),
        other => Err(format!("{greeted}: {other:?}")),
    }
}

/// `NAME:/path` or `/path` on the file's listener.
fn target<'a>(text: &'a str, default: &'a str) -> (&'a str, &'a str) {
    match text.split_once(':') {
        Some((listener, path)) if !text.starts_with('/') => (listener, path),
        _ => (default, text),
    }
}

struct Player<'a> {
    transcript: &'a Transcript,
    gateway: &'a mut Gateway,
    clients: BTreeMap<String, (Client, VecDeque<Got>)>,
    captured: Captured,
}

fn converse(transcript: &Transcript, conversation: &Conversation, gateway: &mut Gateway) -> Result<(), String> {
    let mut player = Player { transcript, gateway, clients: BTreeMap::new(), captured: Captured::new() };
    let mut outcome = Ok(());
    for step in &conversation.steps {
        outcome = player.play(&step.does).map_err(|e| format!("{}: {}\n  {e}", step.line, step.text));
        if outcome.is_err() {
            break;
        }
    }
    for (client, _) in player.clients.into_values() {
        client.leave();
    }
    outcome
}

impl Player<'_> {
    fn fill(&self, text: &str) -> Result<String, String> {
        let port = |name: &str| {
            let address = self.gateway.address(name)?;
            Ok(address.rsplit_once(':').map_or("", |(_, port)| port).to_string())
        };
        fill(text, &self.captured, &port)
    }

    fn fill_pairs(&self, pairs: &[(String, String)]) -> Result<Vec<(String, String)>, String> {
        pairs.iter().map(|(name, value)| Ok((name.clone(), self.fill(value)?))).collect()
    }

    fn client(&mut self, who: &str) -> Result<&mut Client, String> {
        self.clients.get_mut(who).map(|(client, _)| client).ok_or_else(|| format!("{who} has not connected"))
    }

    fn play(&mut self, does: &Does) -> Result<(), String> {
        match does {
            Does::Connect { who, target: at, headers } => {
                let (at, headers) = (self.fill(at)?, self.fill_pairs(headers)?);
                let (listener, path) = target(&at, &self.transcript.listener);
                let client = Client::connect(self.gateway.address(listener)?, path, &headers)?;
                if let Some((before, _)) = self.clients.insert(who.clone(), (client, VecDeque::new())) {
                    before.leave();
                }
                Ok(())
            }
            Does::Send { who, text } => {
                let text = self.fill(text)?;
                self.client(who)?.send(Message::text(text))
            }
            Does::Binary { who, hex } => {
                let bytes = hex::decode(hex).map_err(|e| e.to_string())?;
                self.client(who)?.send(Message::binary(bytes))
            }
            Does::Ping { who, payload } => self.client(who)?.send(Message::Ping(payload.clone().into())),
            Does::Close { who, code, reason } => self.client(who)?.close(*code, reason),
            Does::Drop { who } => {
                self.client(who)?.drop_connection();
                Ok(())
            }
            Does::Expect { who, expected } => self.expect(who, expected),
            Does::Http(exchange) => self.exchange(exchange),
            Does::Logs { words } => {
                let words = words.iter().map(|w| self.fill(w)).collect::<Result<Vec<_>, _>>()?;
                self.gateway.wait_for_log(&words.iter().map(String::as_str).collect::<Vec<_>>())
            }
            Does::Stop => self.gateway.signal(libc::SIGTERM),
            Does::Die => self.gateway.die(),
            Does::Start => self.gateway.start_again(),
            Does::Reload => self.gateway.signal(libc::SIGHUP),
            Does::Ends { code } => match self.gateway.wait_for_end()? {
                Some(ended) if ended == *code => Ok(()),
                other => Err(format!("it ended with {other:?}")),
            },
            Does::Edit { file, old, new } => {
                let path = self.gateway.file(file);
                let text = fs::read_to_string(&path).map_err(|e| format!("{file}: {e}"))?;
                match text.contains(old.as_str()) {
                    true => fs::write(&path, text.replace(old.as_str(), new)).map_err(|e| format!("{file}: {e}")),
                    false => Err(format!("{file} does not hold `{old}`")),
                }
            }
        }
    }

    /// The next thing that `who` got, in the order of arrival.
    fn next(&mut self, who: &str) -> Result<Got, String> {
        let (client, passed) = self.clients.get_mut(who).ok_or_else(|| format!("{who} has not connected"))?;
        match passed.pop_front() {
            Some(got) => Ok(got),
            None => client.next(),
        }
    }

    fn expect(&mut self, who: &str, expected: &Expected) -> Result<(), String> {
        match expected {
            Expected::Nothing => {
                let (client, passed) = self.clients.get_mut(who).ok_or_else(|| format!("{who} has not connected"))?;
                let came = passed.pop_front().map_or_else(|| client.fence(), |got| Ok(Some(got)))?;
                return came.map_or(Ok(()), |got| Err(format!("got {}", shown(&got))));
            }
            Expected::Header { name, value } => {
                let (value, upgrade) = (self.fill(value)?, self.client(who)?.upgrade.clone());
                return header(name, &value, &upgrade, &mut self.captured);
            }
            Expected::Json { text, later: true } => return self.expect_later(who, text),
            _ => {}
        }
        let got = self.next(who)?;
        self.matches(expected, &got).map_err(|e| format!("{e}\n  got {}", shown(&got)))
    }

    /// Passes over what does not match, but keeps it for the lines that follow.
    fn expect_later(&mut self, who: &str, text: &str) -> Result<(), String> {
        let mut before = VecDeque::new();
        loop {
            let got = self.next(who).map_err(|e| {
                format!("{e}; before that came {}", before.iter().map(shown).collect::<Vec<_>>().join(", "))
            })?;
            let found = self.message(text, &got);
            let ended = !matches!(got, Got::Text(_) | Got::Binary(_) | Got::Pong(_));
            if found.is_err() {
                before.push_back(got);
            }
            if found.is_ok() || ended {
                let (_, passed) = self.clients.get_mut(who).ok_or("gone")?;
                before.extend(passed.drain(..));
                *passed = before;
                return found;
            }
        }
    }

    fn message(&mut self, expected: &str, got: &Got) -> Result<(), String> {
        let expected = self.fill(expected)?;
        let Got::Text(text) = got else { return Err("expected a text".to_string()) };
        same_json(&expected, text, &mut self.captured)
    }

    fn matches(&mut self, expected: &Expected, got: &Got) -> Result<(), String> {
        match (expected, got) {
            (Expected::Json { text, .. }, _) => self.message(text, got),
            (Expected::Raw(text), Got::Text(got)) => match self.fill(text)? == *got {
                true => Ok(()),
                false => Err("differs".to_string()),
            },
            (Expected::Binary(hex), Got::Binary(got)) if hex::encode(got) == *hex => Ok(()),
            (Expected::Pong(payload), Got::Pong(got)) if payload.as_bytes() == got => Ok(()),
            (Expected::Close { code, reason }, Got::Close(c, r)) if code == c => {
                expect::text(reason, r, &mut self.captured)
            }
            (Expected::Http { status, body }, Got::Http(reply)) => {
                let body = self.fill(body)?;
                answer(*status, &body, reply, &mut self.captured)
            }
            (Expected::Lost, Got::Lost(_)) => Ok(()),
            _ => Err("expected something else".to_string()),
        }
    }

    fn exchange(&mut self, exchange: &Exchange) -> Result<(), String> {
        let at = self.fill(&exchange.target)?;
        let (listener, path) = target(&at, &self.transcript.listener);
        let address = self.gateway.address(listener)?.to_string();
        let mut headers = self.fill_pairs(&exchange.headers)?;
        for (name, value) in &self.transcript.headers {
            if !headers.iter().any(|(n, _)| n.eq_ignore_ascii_case(name)) {
                headers.push((name.clone(), self.fill(value)?));
            }
        }
        headers.retain(|(_, value)| value != "none");
        let body = exchange.body.as_deref().map(|b| self.fill(b)).transpose()?;
        let (expected, end) = (self.fill(&exchange.reply)?, Instant::now() + PATIENCE);
        loop {
            let reply = http(&address, &exchange.method, path, &headers, body.as_deref())?;
            let mut same = answer(exchange.status, &expected, &reply, &mut self.captured);
            for (name, value) in &exchange.reply_headers {
                same = same.and_then(|()| header(name, value, &reply, &mut self.captured));
            }
            if same.is_ok() || !exchange.eventually || Instant::now() > end {
                return same.map_err(|e| format!("{e}\n  got {}", shown(&Got::Http(reply))));
            }
        }
    }
}

/// An empty `body` is any; one that is no JSON is compared as text.
fn answer(status: u16, body: &str, reply: &Reply, captured: &mut Captured) -> Result<(), String> {
    if reply.status != status {
        return Err(format!("expected status {status}"));
    }
    match body {
        "" => Ok(()),
        _ if body.starts_with(['{', '[', '"']) => same_json(body, &reply.body, captured),
        _ => expect::text(body, reply.body.trim_end(), captured),
    }
}

fn header(name: &str, value: &str, reply: &Reply, captured: &mut Captured) -> Result<(), String> {
    match reply.header(name) {
        Some(got) => expect::text(value, got, captured).map_err(|e| format!("{name}: {e}")),
        None if value == "none" => Ok(()),
        None => Err(format!("the answer has no header {name}")),
    }
}

fn same_json(expected: &str, got: &str, captured: &mut Captured) -> Result<(), String> {
    let expected: Value = serde_json::from_str(expected).map_err(|e| format!("the transcript's JSON: {e}"))?;
    let got: Value = serde_json::from_str(got).map_err(|e| format!("not JSON: {e}"))?;
    expect::json(&expected, &got, captured)
}

fn shown(got: &Got) -> String {
    match got {
        Got::Text(text) => text.clone(),
        Got::Binary(bytes) => format!("binary {}", hex::encode(bytes)),
        Got::Pong(bytes) => format!("pong {}", String::from_utf8_lossy(bytes)),
        Got::Close(code, reason) => format!("close {code} {reason}"),
        Got::Http(reply) => {
            let headers: Vec<String> = reply.headers.iter().map(|(n, v)| format!("{n}: {v}")).collect();
            format!("http {} {}\n  {}", reply.status, reply.body, headers.join("\n  "))
        }
        Got::Lost(why) => format!("the end of the connection: {why}"),
    }
}
