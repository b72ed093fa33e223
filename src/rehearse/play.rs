//! Plays a test step by step, and says where it did not go as written.

use super::BEGINNING;
use super::expect::Captured;
use super::look::{json, said, told};
use super::script::{Conversation, Does, Step};
use super::stage::{Stage, Subject};
use super::words::fill;
use crate::flow::{Draft, KeptRequest};
use crate::listen::Asked;
use crate::model::{ChannelName, Identity, Priority, Refusal, Slot, iso8601, one_of, query_pairs};
use crate::observe::unaudited;
use crate::policy::Scope;
use hyper::HeaderMap;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::sync::Arc;
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
    pub stage: Arc<Stage>,
    pub people: BTreeMap<String, Slot>,
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
        let stage = Stage::new(subject, now, &settings);
        let first = &conversation.steps[setting.saturating_sub(1)];
        let stage = stage.map_err(|what| failed(first, what))?;
        let (people, captured) = (BTreeMap::new(), Captured::new());
        let mut player = Player { stage, people, captured, refused: None };
        for step in &conversation.steps[setting..] {
            let done = player.step(step);
            done.map_err(|what| failed(step, player.with_faults(what)))?;
        }
        player.left().map_err(|(line, what)| Failure { line, step: String::new(), what })
    }

    /// A handler that failed is why most steps do.
    fn with_faults(&self, what: String) -> String {
        let world = self.stage.world();
        world.faults.iter().fold(what, |what, (_, fault)| format!("{what}\na handler failed: {fault}"))
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
            self.stage.world().line = step.line;
        }
        self.does(&step.does, step.line)?;
        self.stage.settle();
        Ok(())
    }

    /// Before something new happens, what went wrong must have been looked at.
    fn nothing_wrong(&mut self) -> Result<(), String> {
        if let Some((line, refusal)) = self.refused.take() {
            return Err(format!("the publication of line {line} was refused: {}", said(&refusal)));
        }
        match self.stage.world().faults.front() {
            Some((line, _)) => Err(format!("a handler had failed after line {line}")),
            None => Ok(()),
        }
    }

    fn does(&mut self, does: &Does, line: u32) -> Result<(), String> {
        let fill = |text: &str| fill(text, &self.captured);
        match does {
            Does::At(at) => {
                let now = self.stage.world().now.wall;
                if *at < now {
                    return Err(format!("it is {} already", iso8601(now)));
                }
                self.stage.go_on(*at);
                Ok(())
            }
            Does::Set(_) => Err("settings stand at the beginning of a test".into()),
            Does::After(ms) => {
                let until = self.stage.world().now.wall.saturating_add(*ms);
                self.stage.go_on(until);
                Ok(())
            }
            Does::Connect { who, target, identity } => {
                let (target, identity) = (fill(target)?, fill(identity)?);
                self.connect(who, &target, &identity)
            }
            Does::Send { who, text } => {
                let (text, slot) = (fill(text)?, self.slot(who)?);
                let mut world = self.stage.world();
                if !world.is_open(slot) {
                    return Err(format!("{who} is not connected any more"));
                }
                world.receive(slot, &text);
                Ok(())
            }
            Does::Closes(who) => self.end(who, Some(1000)),
            Does::Disconnects(who) => self.end(who, None),
            Does::Hear { who, expected } => self.hear(who, expected),
            Does::Web(exchange) => self.request(exchange),
            Does::Publish { channel, data, event } => {
                let (channel, data) = (fill(channel)?, fill(data)?);
                let parsed: Value = json(&data)?;
                let name = ChannelName::parse(&channel).map_err(|bad| format!("`{channel}` is no channel: {bad}"))?;
                let (data, event) = (parsed.to_string().into(), event.as_deref().map(Into::into));
                let draft = Draft { data, event, key: None, exclude: None, priority: Priority::default() };
                if let Err(refusal) = self.stage.publish(&Scope::everywhere(), &[name], draft) {
                    self.refused = Some((line, refusal));
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
                let state = self.stage.world().kept.states.get(&*entity).map(|(state, _)| state.to_json());
                let state = state.transpose()?;
                self.is(expected.as_deref(), state.as_deref().filter(|text| *text != "{}"), &format!("`{entity}`"))
            }
            Does::Store { key, expected } => {
                let (key, expected) = (fill(key)?, expected.as_deref().map(fill).transpose()?);
                let world = self.stage.world();
                let value = world.kept.value(&key, world.now.wall).map(str::to_owned);
                drop(world);
                self.is(expected.as_deref(), value.as_deref(), &format!("`{key}`"))
            }
            Does::Webhook { name, body } => {
                let body = fill(body)?;
                let called = self.stage.world().kept.webhooks.pop_front();
                match called {
                    None => Err("no webhook was asked for".into()),
                    Some((_, called, got)) if *called != **name => Err(format!("webhook `{called}` came: {got}")),
                    Some((_, _, got)) => self.is(Some(&body), Some(&got), "its body"),
                }
            }
            Does::Log(text) => {
                let text = fill(text)?;
                let mut world = self.stage.world();
                match world.printed.iter().position(|line| line.contains(&text)) {
                    Some(at) => drop(world.printed.drain(..=at)),
                    None => return Err(told("printed", world.printed.iter())),
                }
                Ok(())
            }
            Does::Fault(text) => {
                let text = fill(text)?;
                let mut world = self.stage.world();
                match world.faults.front() {
                    None => Err("no handler failed".into()),
                    Some((_, fault)) if fault.contains(&text) => {
                        world.faults.pop_front();
                        Ok(())
                    }
                    Some(_) => Err("a handler failed otherwise".into()),
                }
            }
        }
    }

    pub fn slot(&self, who: &str) -> Result<Slot, String> {
        let names = || one_of(self.people.keys().map(String::as_str));
        self.people.get(who).copied().ok_or_else(|| match self.people.is_empty() {
            true => format!("nobody is connected; `{who} connects /PATH` comes first"),
            false => format!("`{who}` is nobody who connected: {}", names()),
        })
    }

    /// The path picks the endpoint of the app, as a request would.
    fn connect(&mut self, who: &str, target: &str, identity: &str) -> Result<(), String> {
        let identity = match identity {
            "" => Identity::default(),
            text => Identity::described(object(text)?),
        };
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let (app, entrance) = (&self.stage.app, &self.stage.front.entrance);
        let headers = HeaderMap::new();
        let found = (0..entrance.listeners.len() as u16).find_map(|listener| {
            let asked = Asked { listener, host: None, path, query, headers: &headers };
            let candidates = entrance.router.find(&asked);
            let fits = |has: &[String]| has.iter().all(|claim| identity.claim(claim).is_some());
            let ours = candidates.into_iter().find(|c| c.app == app.id && fits(c.has));
            ours.map(|c| (c.endpoint, c.vars))
        });
        let (endpoint, vars) = found.ok_or_else(|| {
            let paths = app.endpoints.iter().map(|e| &*e.path);
            format!("`{}` has no endpoint for {target}: {}", app.name, one_of(paths))
        })?;
        let request = KeptRequest {
            path: path.into(),
            query: query_pairs(query).map(|(name, value)| ((*name).into(), (*value).into())).collect(),
            headers: Vec::new(),
            vars: vars.into_iter().map(|(name, value)| ((*name).into(), value)).collect(),
            ip: super::life::IP,
        };
        if let Some(slot) = self.people.get(who)
            && self.stage.world().is_open(*slot)
        {
            return Err(format!("{who} is connected already; a second connection needs a name of its own"));
        }
        let slot = self.stage.world().open(endpoint, identity, request);
        self.people.insert(who.to_owned(), slot);
        Ok(())
    }

    fn end(&mut self, who: &str, code: Option<u16>) -> Result<(), String> {
        let slot = self.slot(who)?;
        let mut world = self.stage.world();
        if !world.is_open(slot) {
            return Err(format!("{who} is not connected any more"));
        }
        world.end(slot, code);
        world.settle();
        Ok(())
    }
}

fn failed(step: &Step, what: String) -> Failure {
    Failure { line: step.line, step: step.text.clone(), what }
}

pub(super) fn object(text: &str) -> Result<Map<String, Value>, String> {
    serde_json::from_str(text).map_err(|e| format!("the test itself has no JSON object here: {e}: {text}"))
}
