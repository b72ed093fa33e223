//! Plays a test step by step, and says where it did not go as written.

use super::BEGINNING;
use super::compiled::{Compiled, Subject};
use super::expect::Captured;
use super::kernels::IP;
use super::look::{json, said, told};
use super::script::{Conversation, Does, Step};
use super::words::fill;
use super::world::World;
use crate::api::State;
use crate::flow::KeptRequest;
use crate::kernel::Caller;
use crate::listen::Asked;
use crate::model::{ChannelName, Command, Draft, Identity, Priority, Refusal, iso8601, one_of, query_pairs};
use crate::observe::{Via, unaudited};
use crate::policy::Scope;
use hyper::HeaderMap;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

/// What became of a test.
#[derive(Debug)]
pub struct Outcome {
    pub title: String,
    /// Of its title.
    pub line: u32,
    /// `None`: all went as written.
    pub failure: Option<Failure>,
    pub took: Duration,
}

/// Where a test did not go as written.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Failure {
    pub line: u32,
    /// The step's text; empty: the end of the test.
    pub step: String,
    /// Several lines.
    pub what: String,
}

/// Plays one test on a stage of its own.
pub fn play(subject: &Subject, conversation: &Conversation) -> Outcome {
    let began = Instant::now();
    // What would be logged of live connections is nobody's affair here.
    let silent = tracing::subscriber::NoSubscriber::default();
    let play = || unaudited(|| Player::play(subject, conversation).err());
    let failure = tracing::subscriber::with_default(silent, play);
    Outcome { title: conversation.title.clone(), line: conversation.line, failure, took: began.elapsed() }
}

/// A test that is being played.
pub(super) struct Player {
    pub world: World,
    pub compiled: Compiled,
    pub state: Arc<State>,
    /// Their numbers among the world's clients.
    pub people: BTreeMap<String, usize>,
    pub captured: Captured,
    /// Of the publish just made, with its line.
    pub refused: Option<(u32, Refusal)>,
}

impl Player {
    fn play(subject: &Subject, conversation: &Conversation) -> Result<(), Failure> {
        let (mut now, mut settings, mut setting) = (BEGINNING, Map::new(), 0usize);
        for step in &conversation.steps {
            match &step.does {
                Does::At(at) => now = *at,
                Does::Set(text) => settings.extend(object(text).map_err(|what| failed(step, what))?),
                _ => break,
            }
            setting += 1;
        }
        let first = &conversation.steps[setting.saturating_sub(1)];
        let compiled = Compiled::new(subject, &settings).map_err(|what| failed(first, what))?;
        let world = World::new(compiled.app.clone(), &compiled.generation, now);
        let (state, people, captured) = (Arc::default(), BTreeMap::new(), Captured::new());
        let mut player = Player { world, compiled, state, people, captured, refused: None };
        for step in &conversation.steps[setting..] {
            let done = player.step(step);
            done.map_err(|what| failed(step, player.with_faults(what)))?;
        }
        player.left().map_err(|(line, what)| Failure { line, step: String::new(), what })
    }

    /// A handler that failed is why most steps do.
    fn with_faults(&self, what: String) -> String {
        let seen = self.world.parts.seen.all();
        seen.faults.iter().fold(what, |what, (_, fault)| format!("{what}\na handler failed: {fault}"))
    }

    fn step(&mut self, step: &Step) -> Result<(), String> {
        let looks = matches!(
            step.does,
            Does::Hear { .. }
                | Does::Refused { .. }
                | Does::State { .. }
                | Does::Store { .. }
                | Does::Webhook { .. }
                | Does::Log(_)
                | Does::Fault(_)
        );
        if !looks {
            self.nothing_wrong()?;
            self.world.parts.seen.line.store(step.line, Relaxed);
        }
        self.does(&step.does, step.line)?;
        self.world.settle();
        Ok(())
    }

    /// Before something new happens, what went wrong must have been looked at.
    fn nothing_wrong(&mut self) -> Result<(), String> {
        if let Some((line, refusal)) = self.refused.take() {
            return Err(format!("the publication of line {line} was refused: {}", said(&refusal)));
        }
        match self.world.parts.seen.all().faults.front() {
            Some((line, _)) => Err(format!("a handler had failed after line {line}")),
            None => Ok(()),
        }
    }

    fn does(&mut self, does: &Does, line: u32) -> Result<(), String> {
        let fill = |text: &str| fill(text, &self.captured);
        match does {
            Does::At(at) => {
                let now = self.world.now();
                if *at < now {
                    return Err(format!("it is {} already", iso8601(now)));
                }
                self.world.go_on(*at);
                Ok(())
            }
            Does::Set(_) => Err("settings stand at the beginning of a test".into()),
            Does::After(ms) => {
                self.world.go_on(self.world.now().saturating_add(*ms));
                Ok(())
            }
            Does::Connect { who, target, identity } => {
                let (target, identity) = (fill(target)?, fill(identity)?);
                self.connect(who, &target, &identity)
            }
            Does::Send { who, text } => {
                let (text, number) = (fill(text)?, self.open(who)?);
                self.world.clients[number].send(&text);
                Ok(())
            }
            Does::Closes(who) => {
                let number = self.open(who)?;
                self.world.clients[number].close(1000);
                Ok(())
            }
            Does::Stalls { who, stalled } => {
                let number = self.open(who)?;
                self.world.clients[number].take(stalled.then_some(0));
                Ok(())
            }
            Does::Disconnects(who) => {
                let number = self.open(who)?;
                self.world.clients[number].vanish();
                Ok(())
            }
            Does::Hear { who, expected } => self.hear(who, expected),
            Does::Web(exchange) => self.request(exchange),
            Does::Publish { channel, data, event } => {
                let (channel, data) = (fill(channel)?, fill(data)?);
                let parsed: Value = json(&data)?;
                let name = ChannelName::parse(&channel).map_err(|bad| format!("`{channel}` is no channel: {bad}"))?;
                let (data, event) = (parsed.to_string().into(), event.as_deref().map(Into::into));
                let draft = Draft { data, event, key: None, exclude: None, priority: Priority::default() };
                let caller = Caller {
                    generation: self.compiled.generation.clone(),
                    app: self.compiled.app.clone(),
                    scope: Scope::everywhere(),
                    via: Via::Api,
                    name: "a test".into(),
                };
                let (port, command) =
                    (self.world.parts.kernels.port.clone(), Command::Publish { channels: vec![name], draft });
                let published = port.execute(&caller, &command);
                match self.world.answer(published) {
                    Some(Ok(_)) => {}
                    Some(Err(refusal)) => self.refused = Some((line, refusal)),
                    None => return Err("it waits for something outside of the gateway".into()),
                }
                Ok(())
            }
            Does::Refused { code, text } => {
                let (_, refusal) = self.refused.take().ok_or("no publication was refused")?;
                let name = refusal.name.as_deref().unwrap_or(refusal.code.as_str());
                let told = refusal.message.as_deref().unwrap_or(refusal.code.text());
                match name == code && text.as_deref().is_none_or(|text| text == told) {
                    true => Ok(()),
                    false => Err(format!("it was refused with {}", said(&refusal))),
                }
            }
            Does::State { entity, expected } => {
                let (entity, expected) = (fill(entity)?, expected.as_deref().map(fill).transpose()?);
                let handlers = self.compiled.app.handlers.clone();
                let state = match &handlers {
                    Some(handlers) => self.world.parts.workers.state(&handlers.script, &entity)?,
                    None => None,
                };
                self.is(expected.as_deref(), state.as_deref().filter(|text| *text != "{}"), &format!("`{entity}`"))
            }
            Does::Store { key, expected } => {
                let (key, expected) = (fill(key)?, expected.as_deref().map(fill).transpose()?);
                let value = self.world.store.get(&self.compiled.app.name, &key, self.world.now());
                let value = value.map_err(|error| error.to_string())?;
                self.is(expected.as_deref(), value.as_deref(), &format!("`{key}`"))
            }
            Does::Webhook { name, body } => {
                let body = fill(body)?;
                let called = self.world.parts.seen.all().webhooks.pop_front();
                match called {
                    None => Err("no webhook was asked for".into()),
                    Some((_, called, got)) if *called != **name => Err(format!("webhook `{called}` came: {got}")),
                    Some((_, _, got)) => self.is(Some(&body), Some(&got), "its body"),
                }
            }
            Does::Log(text) => {
                let text = fill(text)?;
                let printed = &mut self.world.parts.seen.all().printed;
                match printed.iter().position(|line| line.contains(&text)) {
                    Some(at) => drop(printed.drain(..=at)),
                    None => return Err(told("printed", printed.iter())),
                }
                Ok(())
            }
            Does::Fault(text) => {
                let text = fill(text)?;
                let faults = &mut self.world.parts.seen.all().faults;
                match faults.front() {
                    None => Err("no handler failed".into()),
                    Some((_, fault)) if fault.contains(&text) => {
                        faults.pop_front();
                        Ok(())
                    }
                    Some(_) => Err("a handler failed otherwise".into()),
                }
            }
        }
    }

    /// The number of somebody who is connected.
    fn open(&self, who: &str) -> Result<usize, String> {
        let number = self.number(who)?;
        match self.world.clients[number].is_open() {
            true => Ok(number),
            false => Err(format!("{who} is not connected any more")),
        }
    }

    pub fn number(&self, who: &str) -> Result<usize, String> {
        let names = || one_of(self.people.keys().map(String::as_str));
        self.people.get(who).copied().ok_or_else(|| match self.people.is_empty() {
            true => format!("nobody is connected; `{who} connects /PATH` comes first"),
            false => format!("`{who}` is nobody who connected: {}", names()),
        })
    }

    pub(super) fn may_connect(&self, who: &str) -> Result<(), String> {
        match self.people.get(who).is_some_and(|number| self.world.clients[*number].is_open()) {
            true => Err(format!("{who} is connected already; a second connection needs a name of its own")),
            false => Ok(()),
        }
    }

    /// The path picks the endpoint of the app, as a request would.
    fn connect(&mut self, who: &str, target: &str, identity: &str) -> Result<(), String> {
        let known = !identity.is_empty();
        let identity = match identity {
            "" => Identity::default(),
            text => Identity::described(object(text)?),
        };
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let (app, entrance) = (&self.compiled.app, &self.compiled.front.entrance);
        let headers = HeaderMap::new();
        let found = (0..entrance.listeners.len() as u16).find_map(|listener| {
            let asked = Asked { listener, host: None, path, query, headers: &headers };
            let candidates = entrance.router.find(&asked);
            let fits = |has: &[String]| has.iter().all(|claim| identity.claim(claim).is_some());
            let ours = candidates.into_iter().find(|c| c.app == app.id && fits(c.has));
            ours.map(|c| (listener, c.endpoint, c.vars))
        });
        let (listener, endpoint, vars) = found.ok_or_else(|| {
            let paths = app.endpoints.iter().map(|e| &*e.path);
            format!("`{}` has no endpoint for {target}: {}", app.name, one_of(paths))
        })?;
        let request = KeptRequest {
            path: path.into(),
            query: query_pairs(query).map(|(name, value)| ((*name).into(), (*value).into())).collect(),
            headers: Vec::new(),
            vars: vars.into_iter().map(|(name, value)| ((*name).into(), value)).collect(),
            ip: IP,
        };
        self.may_connect(who)?;
        // Who says nothing here has yet to show a token, where the endpoint takes one in a message.
        let shows = app.endpoint(endpoint).is_some_and(|e| e.auth.iter().any(|auth| auth.takes_messages()));
        let identity = (known || !shows).then(|| Arc::new(identity));
        let number = self.world.open(listener, endpoint, identity, request)?;
        self.people.insert(who.to_owned(), number);
        Ok(())
    }
}

fn failed(step: &Step, what: String) -> Failure {
    Failure { line: step.line, step: step.text.clone(), what }
}

pub(super) fn object(text: &str) -> Result<Map<String, Value>, String> {
    serde_json::from_str(text).map_err(|e| format!("the test itself has no JSON object here: {e}: {text}"))
}
