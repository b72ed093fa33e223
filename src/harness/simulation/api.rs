//! Callers of the HTTP API: what they ask, and what they were told held against what happened.

use super::Simulation;
use super::person::Person;
use super::truth::Truth;
use crate::hub::Page;
use crate::kernel::{self, Port, Receipt};
use crate::model::{
    ChannelName, Close, Command, ConnectionId, Content, Draft, Member, Position, Priority, Refusal, Target,
};
use crate::observe::Via;
use crate::policy::Scope;
use serde_json::json;
use std::collections::BTreeMap;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

/// Calls under way, at most.
const CALLS_MAX: usize = 6;

/// A call that is not answered yet.
pub struct Caller {
    asked: Asked,
    answer: Pin<Box<dyn Future<Output = Told>>>,
}

enum Asked {
    /// `reads`: who is there and reads when it is asked.
    Publish {
        channels: Vec<String>,
        number: u64,
        reads: Vec<Reads>,
    },
    /// `to`: the connections that are there and read.
    Send {
        number: u64,
        to: Vec<u64>,
    },
    /// Something about subscriptions or connections.
    Act,
    /// By epoch: where the channel is at least.
    History {
        channel: String,
        since: Option<Position>,
        least: BTreeMap<u32, u64>,
    },
    Presence,
}

enum Told {
    Published(Result<Receipt, Refusal>),
    Reached(Result<u32, Refusal>),
    History(Result<Page, Refusal>),
    Presence(Result<Vec<Member>, Refusal>),
}

/// A subscription as it was when something was published.
struct Reads {
    person: u64,
    start: Option<Position>,
    missed: u64,
}

/// What answered calls promise, held against everything at rest.
#[derive(Default)]
pub struct Promises {
    /// By number: connections that a publication or a message reached.
    reached: BTreeMap<u64, u64>,
    /// Publications that are in all of these channels.
    published: Vec<(u64, Vec<String>)>,
}

impl Promises {
    pub fn published(&self) -> impl Iterator<Item = (u64, &String)> {
        self.published.iter().flat_map(|(number, channels)| channels.iter().map(|channel| (*number, channel)))
    }

    /// Nobody hears what does not count him.
    pub fn hold(&self, truth: &Truth) -> Result<(), String> {
        for (number, reached) in &self.reached {
            let heard = truth.reached(*number);
            if heard > *reached {
                return Err(format!("the caller was told that {number} reached {reached}, and {heard} have heard it"));
            }
        }
        Ok(())
    }
}

/// What a call is made with.
struct Means {
    port: Port,
    caller: kernel::Caller,
}

impl Means {
    /// Whom the command reached, when it has.
    fn reaches(self, command: Command) -> Pin<Box<dyn Future<Output = Told>>> {
        Box::pin(async move {
            let reached = self.port.execute(&self.caller, &command).await;
            Told::Reached(reached.map(|receipt| receipt.recipients))
        })
    }
}

impl Simulation<'_> {
    /// Somebody calls the API.
    pub(super) fn call(&mut self) {
        if self.callers.len() == CALLS_MAX {
            return;
        }
        self.report.count("API calls");
        let means = self.means();
        let name = if self.dice.one_in(3) { self.site.channels[self.busy].clone() } else { self.any_channel() };
        let channel = ChannelName::parse(&name).expect("a channel of the site");
        let kind = self.dice.below(12);
        let (asked, answer): (Asked, Pin<Box<dyn Future<Output = Told>>>) = match kind {
            0..5 => self.publishes(name, means),
            5 | 6 => self.sends(means),
            7 => {
                let target = self.target().0;
                (Asked::Act, means.reaches(Command::Subscribe { target, channel }))
            }
            8 => {
                let target = self.target().0;
                (Asked::Act, means.reaches(Command::Unsubscribe { target, channel }))
            }
            9 => {
                let target = self.target().0;
                (Asked::Act, means.reaches(Command::Close { target, close: Close::POLICY }))
            }
            10 => {
                let since = self.people.iter().find_map(|person| person.seats.get(&name)?.at);
                let least = self.truth.newest(&name);
                let answer =
                    async move { Told::History(means.port.history(&means.caller.app, &channel, since, 1_000).await) };
                (Asked::History { channel: name, since, least }, Box::pin(answer))
            }
            _ => {
                let answer = async move { Told::Presence(means.port.presence(&means.caller.app, &channel).await) };
                (Asked::Presence, Box::pin(answer))
            }
        };
        self.callers.push(Caller { asked, answer });
    }

    fn means(&self) -> Means {
        let (generation, app, scope) = (self.generation.clone(), self.app(), Scope::everywhere());
        let caller = kernel::Caller { generation, app, scope, via: Via::Api, name: "the simulation".into() };
        Means { port: self.parts.kernels.port.clone(), caller }
    }

    fn publishes(&mut self, name: String, means: Means) -> (Asked, Pin<Box<dyn Future<Output = Told>>>) {
        // What handlers alone publish is held against their states.
        let is_theirs = |name: &str| name.starts_with("timed:") || name.starts_with("flood:");
        let mut channels = vec![if is_theirs(&name) { "open:1".to_owned() } else { name }];
        if self.dice.one_in(5) {
            let other = self.any_channel();
            if other != channels[0] && !is_theirs(&other) {
                channels.push(other);
            }
        }
        let number = self.number();
        if channels.len() > 1 {
            self.report.count("API publications to several channels");
            self.truth.goes_to_several(number, channels.clone());
        }
        // Half of them urgent: what must not be dropped has to be more than a queue holds.
        let priority = Priority::ALL[self.dice.below(6).min(3)];
        if priority == Priority::Urgent {
            self.truth.is_to_be_urgent(number);
        }
        let key = channels.iter().any(|c| c.starts_with("newest:")).then(|| self.key(number)).flatten();
        let data = json!({ "n": number, "pad": "y".repeat(self.dice.below(300)) }).to_string();
        let draft = Draft {
            data: data.into(),
            event: None,
            key: key.map(|key| key.to_string().into()),
            exclude: None,
            priority,
        };
        let reads = match &channels[..] {
            [channel] => self.people.iter().filter_map(|person| Reads::of(person, channel)).collect(),
            _ => Vec::new(),
        };
        let names: Vec<ChannelName> =
            channels.iter().map(|name| ChannelName::parse(name).expect("a channel of the site")).collect();
        let answer = async move {
            let command = Command::Publish { channels: names, draft };
            Told::Published(means.port.execute(&means.caller, &command).await)
        };
        (Asked::Publish { channels, number, reads }, Box::pin(answer))
    }

    fn sends(&mut self, means: Means) -> (Asked, Pin<Box<dyn Future<Output = Told>>>) {
        let (number, (target, to)) = (self.number(), self.target());
        let text = json!({ "type": "sent", "n": number, "pad": "z".repeat(self.dice.below(200)) }).to_string();
        let command = Command::Send { target, content: Content::Text(text.into()) };
        (Asked::Send { number, to }, means.reaches(command))
    }

    /// Somebody, or all that a user has open; and who of them is there and reads.
    fn target(&mut self) -> (Target, Vec<u64>) {
        let reads = |person: &&Person| person.is_open() && person.id.is_some() && !person.stalls;
        let one = self.dice.below(self.people.len().max(1));
        match self.people.get(one).filter(|_| self.dice.one_in(2)) {
            Some(person) => {
                let id = person.id.unwrap_or(ConnectionId::uuid(0));
                (Target::Connection(id), Some(person).filter(reads).map(|person| person.number).into_iter().collect())
            }
            None => {
                let user = self.any_user();
                let to = self.people.iter().filter(reads).filter(|person| person.user == user);
                (Target::User(user.as_str().into()), to.map(|person| person.number).collect())
            }
        }
    }

    /// Callers hear what has come for them. Whether anything had.
    pub(super) fn answer_callers(&mut self) -> Result<bool, String> {
        let mut any = false;
        let mut waiting = Vec::new();
        for mut caller in std::mem::take(&mut self.callers) {
            match caller.answer.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                Poll::Pending => waiting.push(caller),
                Poll::Ready(told) => {
                    any = true;
                    self.is_true(caller.asked, told)?;
                }
            }
        }
        self.callers = waiting;
        Ok(any)
    }

    fn is_true(&mut self, asked: Asked, told: Told) -> Result<(), String> {
        match (asked, told) {
            (Asked::Publish { number, .. }, Told::Published(Err(refusal))) => {
                self.report.count("API refusals");
                self.truth.is_refused(number).map_err(|what| format!("{what}: {}", refusal.code.as_str()))
            }
            (Asked::Publish { channels, number, reads }, Told::Published(Ok(receipt))) => {
                self.promises.reached.insert(number, receipt.recipients.into());
                if let ([channel], Some(at)) = (&channels[..], receipt.position) {
                    self.truth.is_at(channel, at, number)?;
                    self.have_heard(channel, at, &reads)?;
                }
                self.promises.published.push((number, channels));
                Ok(())
            }
            (Asked::Send { number, to }, Told::Reached(Ok(reached))) => {
                self.promises.reached.insert(number, reached.into());
                self.write_all()?;
                let late = |person: &&Person| {
                    person.is_open() && !person.stalls && to.contains(&person.number) && !person.has_heard_sent(number)
                };
                match self.people.iter().find(late) {
                    Some(person) => Err(format!("{number} was sent, and is not there{}", person.tale())),
                    None => Ok(()),
                }
            }
            (Asked::History { channel, since, least }, Told::History(Ok(page))) => {
                is_history(&channel, since, &least, &page)?;
                learn(&mut self.truth, &channel, &page)
            }
            (_, Told::Reached(Err(_)) | Told::History(Err(_)) | Told::Presence(Err(_))) => {
                self.report.count("API refusals");
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// A receipt is given once the publication is in all out-queues: whoever reads has it with the next write.
    fn have_heard(&mut self, channel: &str, at: Position, reads: &[Reads]) -> Result<(), String> {
        self.write_all()?;
        for person in self.people.iter().filter(|person| person.is_open() && !person.stalls) {
            let Some(before) = reads.iter().find(|reads| reads.person == person.number) else { continue };
            let Some(seat) = person.seats.get(channel) else { continue };
            let is_same = seat.start == before.start && seat.missed == before.missed && seat.start.is_some();
            if is_same && seat.at.is_none_or(|heard| heard.offset < at.offset) {
                return Err(format!("the receipt of {at} in `{channel}` came too early{}", person.tale()));
            }
        }
        Ok(())
    }

    /// What is in out-queues goes out, as far as clients take it, and is heard.
    fn write_all(&mut self) -> Result<(), String> {
        for kernel in 0..self.parts.kernels.len() {
            self.parts.kernels.turn(kernel, 0, 1 << 20);
        }
        (0..self.people.len()).try_for_each(|who| self.hear(who))
    }
}

impl Reads {
    fn of(person: &Person, channel: &str) -> Option<Reads> {
        let seat = person.seats.get(channel).filter(|_| person.is_open() && !person.stalls)?;
        Some(Reads { person: person.number, start: seat.start, missed: seat.missed })
    }
}

/// A page that is one: without holes, and of all that somebody knew before it was asked for.
fn is_history(channel: &str, since: Option<Position>, least: &BTreeMap<u32, u64>, page: &Page) -> Result<(), String> {
    let told = page.position;
    if least.get(&told.epoch).is_some_and(|least| *least > told.offset) {
        return Err(format!("`{channel}` was said to be at {told}, and was at {least:?} before"));
    }
    let offsets: Vec<u64> = page.events.iter().map(|event| event.offset).collect();
    let holes = offsets.windows(2).any(|two| two[0] + 1 != two[1]);
    let last = offsets.last().is_some_and(|last| *last != told.offset && !page.more);
    let first = since
        .filter(|since| page.complete && since.epoch == told.epoch)
        .is_some_and(|since| offsets.first().map_or(told.offset != since.offset, |first| *first != since.offset + 1));
    match holes || last || first {
        true => Err(format!("`{channel}` at {told} since {since:?} has {offsets:?}")),
        false => Ok(()),
    }
}

/// What a page says that is in a channel.
pub fn learn(truth: &mut Truth, channel: &str, page: &Page) -> Result<(), String> {
    for event in &page.events {
        let data: serde_json::Value = serde_json::from_slice(&event.data).map_err(|e| e.to_string())?;
        let number = data["n"].as_u64().ok_or("no publication")?;
        truth.is_at(channel, Position { offset: event.offset, ..page.position }, number)?;
    }
    Ok(())
}
