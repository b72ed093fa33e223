//! A client of a simulation: what it asked for, what it may expect, what it hears.

use super::Report;
use super::truth::Truth;
use crate::flow::App;
use crate::harness::client::{Client, Heard};
use crate::harness::kernels::{Arrival, Kernels};
use crate::harness::pipe::Pipe;
use crate::model::{Identity, Position};
use serde_json::{Value, json};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

pub struct Person {
    client: Client,
    pipe: Pipe,
    /// Channels that it was told it hears, and where it is in each.
    hears: BTreeMap<String, Place>,
    /// Where it was in channels before it lost them.
    knew: BTreeMap<String, Position>,
    /// What it did not hear, and was not told yet why.
    missed: BTreeMap<String, (Position, Position)>,
    /// What it asked to go on from, in the order of asking.
    asked: BTreeMap<String, Vec<Option<Position>>>,
    /// Its publications, by the number of its message.
    said: BTreeMap<u64, (String, u64)>,
    next: u64,
    answered: bool,
    /// The last things that it said and heard, for whoever looks for a mistake.
    tale: VecDeque<String>,
}

/// Lines of it.
const TALE: usize = 40;

/// How far a reader is in a channel.
#[derive(Clone, Copy, Debug)]
enum Place {
    /// The next is the one behind this.
    At(Position),
    /// Something may be missing before the next.
    Anywhere,
}

impl Person {
    /// `before`: the same person's last connection.
    pub fn connect(
        kernels: &Kernels,
        kernel: usize,
        app: &App,
        number: u64,
        before: Option<Person>,
    ) -> Result<Person, String> {
        let name = if number.is_multiple_of(2) { "even" } else { "odd" };
        let identity = Arc::new(Identity::described(json!({ "id": name }).as_object().cloned().unwrap_or_default()));
        let (chance, shown) = (u128::from(number), Some(identity.clone()));
        let arrival = Arrival { listener: 0, endpoint: 0, identity: shown, request: None, chance };
        let pipe = kernels.connect(kernel, app, arrival)?;
        let mut knew = BTreeMap::new();
        if let Some(before) = before {
            knew = before.knew;
            let at = |place| if let Place::At(at) = place { Some(at) } else { None };
            knew.extend(before.hears.into_iter().filter_map(|(channel, place)| Some((channel, at(place)?))));
        }
        Ok(Person {
            client: Client::new(pipe.clone(), identity),
            pipe,
            hears: BTreeMap::new(),
            knew,
            missed: BTreeMap::new(),
            asked: BTreeMap::new(),
            said: BTreeMap::new(),
            next: 0,
            answered: false,
            tale: VecDeque::new(),
        })
    }

    pub fn is_open(&self) -> bool {
        self.client.is_open()
    }

    pub fn answered(&mut self) -> bool {
        std::mem::take(&mut self.answered)
    }

    pub fn subscribe(&mut self, channel: &str) {
        let since = self.knew.get(channel).copied();
        self.asked.entry(channel.to_owned()).or_default().push(since);
        let since = since.map(|at| at.to_string());
        self.send(json!({ "type": "sub", "channel": channel, "since": since }));
    }

    pub fn unsubscribe(&mut self, channel: &str) {
        self.send(json!({ "type": "unsub", "channel": channel }));
    }

    /// `number`: of all publications; `length`: how much beside it.
    pub fn publish(&mut self, channel: &str, number: u64, length: usize) {
        self.said.insert(self.next, (channel.to_owned(), number));
        let data = json!({ "n": number, "pad": "x".repeat(length) });
        self.send(json!({ "type": "pub", "channel": channel, "data": data, "id": self.next }));
        self.next += 1;
    }

    fn send(&mut self, message: Value) {
        self.tell(format!("> {message}"));
        self.client.send(&message.to_string());
    }

    fn tell(&mut self, line: String) {
        if self.tale.len() == TALE {
            self.tale.pop_front();
        }
        self.tale.push_back(line);
    }

    pub fn tale(&self) -> String {
        self.tale.iter().map(|line| format!("\n  {line}")).collect()
    }

    pub fn takes(&mut self, bytes: Option<usize>) {
        self.client.take(bytes);
    }

    pub fn cuts(&mut self, bytes: usize) {
        self.pipe.cut(bytes);
    }

    pub fn vanishes(&mut self) {
        self.client.vanish();
    }

    pub fn closes(&mut self) {
        self.client.close(1000);
    }

    /// What has come.
    pub fn listen(&mut self) -> Vec<String> {
        self.answered |= self.client.listen(0);
        self.client
            .heard
            .drain(..)
            .map(|(_, heard)| heard)
            .map(|heard| match heard {
                Heard::Text(text) => text,
                Heard::Closed(close) => json!({ "type": "closed", "code": close.code }).to_string(),
            })
            .collect()
    }

    pub fn hears(&mut self, message: &str, truth: &mut Truth, report: &mut Report) -> Result<(), String> {
        report.heard += 1;
        self.tell(format!("< {message}"));
        let message: Value = serde_json::from_str(message).map_err(|e| format!("no JSON: {e}: {message}"))?;
        let text = |name: &str| message[name].as_str().unwrap_or_default().to_owned();
        let (channel, at) = (text("channel"), text("at").parse::<Position>().ok());
        match message["type"].as_str().unwrap_or_default() {
            "msg" => {
                let at = at.ok_or_else(|| format!("an event without a position: {message}"))?;
                let number = message["data"]["n"].as_u64().ok_or_else(|| format!("no publication: {message}"))?;
                truth.is_at(&channel, at, number)?;
                let Some(place) = self.hears.get_mut(&channel) else {
                    return Err(format!("{number} of `{channel}` was heard without a subscription"));
                };
                if let Place::At(before) = *place {
                    if before.epoch != at.epoch || before.offset >= at.offset {
                        return Err(format!("`{channel}`: {at} was heard behind {before}"));
                    }
                    // Why, is told behind what still waited: it has left the channel, or was too slow for it.
                    if before.offset + 1 < at.offset {
                        self.missed.insert(channel.clone(), (before, at));
                    }
                }
                *place = Place::At(at);
            }
            "subscribed" => {
                let asked = self.asked.get_mut(&channel).filter(|asked| !asked.is_empty());
                let asked = asked.ok_or_else(|| format!("nobody asked for `{channel}`"))?;
                // A seat that it has, or that is on its way: nothing changes.
                let Some(at) = at.filter(|_| !self.hears.contains_key(&channel)) else {
                    asked.pop();
                    return Ok(());
                };
                let (since, whole) = (asked.remove(0), message["whole"].as_bool());
                let place = match (since, whole) {
                    (Some(since), Some(true)) => {
                        report.resumed += 1;
                        Place::At(since)
                    }
                    (Some(_), _) => Place::Anywhere,
                    (None, _) => Place::At(at),
                };
                self.hears.insert(channel, place);
            }
            "unsubscribed" => {
                self.missed.remove(&channel);
                if let Some(Place::At(at)) = self.hears.remove(&channel) {
                    self.knew.insert(channel, at);
                }
            }
            "published" => {
                let id = message["id"].as_u64().ok_or_else(|| format!("an answer to nobody: {message}"))?;
                let (channel, number) = self.said.remove(&id).ok_or_else(|| format!("{id} was answered twice"))?;
                if let Some(at) = at {
                    truth.is_at(&channel, at, number)?;
                }
            }
            "error" => {
                report.refused += 1;
                if let Some(id) = message["id"].as_u64() {
                    self.said.remove(&id);
                } else if let Some(asked) = self.asked.get_mut(&channel).filter(|asked| !asked.is_empty()) {
                    asked.remove(0);
                }
            }
            "gap" => {
                self.missed.remove(&channel);
                self.hears.insert(channel, Place::Anywhere);
            }
            "closed" => {
                report.slow += u64::from(message["code"] == 1013);
            }
            other => return Err(format!("`{other}` was heard: {message}")),
        }
        Ok(())
    }

    /// Whether it is where its channel is.
    pub fn has_heard(&self, channel: &str, newest: Position) -> Result<(), String> {
        if let Some((before, at)) = self.missed.get(channel) {
            return Err(format!("`{channel}`: {at} was heard behind {before}, and nothing was said{}", self.tale()));
        }
        match self.hears.get(channel) {
            Some(Place::At(at)) if at.epoch != newest.epoch || at.offset != newest.offset => {
                Err(format!("`{channel}` is at {newest}, and a reader at {at}"))
            }
            _ => Ok(()),
        }
    }
}
