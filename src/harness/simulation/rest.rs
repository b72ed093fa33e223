//! What must hold once nothing is left to do, and once everybody has left.

use super::api::learn;
use super::{APP, Simulation};
use crate::model::memory::Kind;
use crate::model::{ChannelName, Millis, Position};
use crate::store::Store;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// Steps that coming to rest may take.
const REST_MAX: usize = 100_000;
/// A deadline may be looked at so much later: the wheel's tick, and a turn.
const LATE_MS: Millis = 2_000;
/// Shorter than the time between pings, which have deadlines looked at as well.
const WHILE_MS: Millis = 15_000;
/// As long as it takes until everybody may send as much as its rates allow at once.
const RATES_MS: Millis = 1_000;
/// How long all timers of a run together may take, retries included.
const TIMERS_MS: Millis = 60_000;

impl Simulation<'_> {
    /// Until nothing is left to do: everybody reads, every commit is kept.
    pub(super) fn rest(&mut self) -> Result<(), String> {
        self.people.iter_mut().for_each(|person| person.takes(None));
        self.store.hang(0);
        self.store.fail_reads(0);
        for _ in 0..REST_MAX {
            let mut busy = false;
            for kernel in 0..self.parts.kernels.len() {
                busy |= self.parts.kernels.turn(kernel, usize::MAX >> 1, 1 << 20);
            }
            busy |= self.parts.workers.step();
            busy |= self.store.decide(true, self.now()).is_some();
            busy |= self.answer_callers()?;
            for who in 0..self.people.len() {
                let before = self.report.of("messages heard");
                self.hear(who)?;
                busy |= self.people[who].answered() || self.report.of("messages heard") > before;
            }
            self.handlers_failed()?;
            self.is_posted()?;
            if !busy {
                return match self.callers.is_empty() {
                    true => Ok(()),
                    false => Err(format!("{} callers of the API wait for ever", self.callers.len())),
                };
            }
        }
        Err("the gateway does not come to rest".into())
    }

    /// All that must hold at rest.
    pub(super) fn holds(&mut self) -> Result<(), String> {
        for name in self.site.channels.clone() {
            let newest = self.channel_holds(&name)?;
            self.are_there(&name)?;
            self.is_kept(&name, newest.offset)?;
        }
        self.webhooks_hold()?;
        self.promises.hold(&self.truth)?;
        self.people_hold()
    }

    /// Who is on a channel has heard all of it, or was told of what is missing; what was acknowledged is there.
    fn channel_holds(&mut self, name: &str) -> Result<Position, String> {
        let (channel, app, port) = (parsed(name), self.app(), self.parts.kernels.port.clone());
        let page = self.parts.kernels.answer(port.history(&app, &channel, None, 1_000));
        let page = page.ok_or("no answer of a home")?.map_err(|refusal| refusal.code.as_str().to_owned())?;
        learn(&mut self.truth, name, &page)?;
        let newest = page.position;
        if self.truth.newest(name).get(&newest.epoch).is_some_and(|told| *told > newest.offset) {
            return Err(format!("`{name}` is at {newest}, and more was acknowledged"));
        }
        let all = newest.offset == page.events.len() as u64;
        for (number, _) in self.promises.published().filter(|(_, channel)| all && *channel == name) {
            let is_there = (1..=newest.offset)
                .any(|offset| self.truth.number(name, Position { offset, ..newest }) == Some(number));
            if !is_there {
                return Err(format!("a caller was told that {number} was published, and it is not in `{name}`"));
            }
        }
        for person in self.people.iter().filter(|person| person.is_open()) {
            let Some(seat) = person.seats.get(name) else { continue };
            seat.is_whole(name, newest, &self.truth).map_err(|what| format!("{what}{}", person.tale()))?;
        }
        Ok(newest)
    }

    /// Who is on a channel, as its home says, is who was told so.
    fn are_there(&self, name: &str) -> Result<(), String> {
        let (channel, app, port) = (parsed(name), self.app(), self.parts.kernels.port.clone());
        let on = || self.people.iter().filter(|person| person.is_open() && person.seats.contains_key(name));
        let told: BTreeSet<String> = on().filter_map(|person| Some(person.id?.to_string())).collect();
        let only = channel.clone();
        let listed = self.parts.kernels.answer(port.channels(APP, 10, move |name| *name == only));
        let listed = listed.ok_or("no answer of a home")?.map_err(|refusal| refusal.code.as_str().to_owned())?;
        let subscribers: usize = listed.iter().map(|channel| channel.subscribers).sum();
        if subscribers != told.len() {
            return Err(format!("`{name}` has {subscribers} subscribers, and {} were told that they are", told.len()));
        }
        let most = (self.site.members_max)(name);
        if subscribers > most {
            return Err(format!("`{name}` has {subscribers} subscribers, and {most} are the most"));
        }
        let members = self.parts.kernels.answer(port.presence(&app, &channel));
        let members = members.ok_or("no answer of a home")?.map_err(|refusal| refusal.code.as_str().to_owned())?;
        let there: BTreeSet<String> = members.iter().map(|member| member.connection.to_string()).collect();
        match there == told || !name.starts_with("open:") {
            true => Ok(()),
            false => Err(format!("`{name}` lists {there:?}, and {told:?} were told that they are there")),
        }
    }

    /// What handlers did is what their entities' states say: all of it happened, or none.
    fn is_kept(&self, name: &str, published: u64) -> Result<(), String> {
        let Some((class, x)) = name.split_once(':') else { return Ok(()) };
        let state = match class {
            "asked" | "flood" => self.state(&format!("count:{x}"))?,
            "timed" => self.state(&format!("timed:{x}"))?,
            _ => return Ok(()),
        };
        let count = |name: &str| state[name].as_u64().unwrap_or_default();
        let fired = state["fired"].as_array().map_or(0, |fired| fired.len() as u64);
        let kept = match class {
            "asked" => count("n"),
            "flood" => count("flooded"),
            _ => fired + count("beats"),
        };
        // One that was to go to several channels, and that the handlers of another refused: what this one did stays done.
        let refused = if class == "asked" { self.truth.refused_of_several(name) } else { 0 };
        match (published..=published + refused).contains(&kept) {
            true => Ok(()),
            false => Err(format!("`{name}` has {published} events, and its handler's state says {kept}: {state}")),
        }
    }

    /// What handlers sent to a webhook is what their states say, in the store's outbox too.
    fn webhooks_hold(&self) -> Result<(), String> {
        let mut sent = BTreeSet::new();
        for x in ["1", "2"] {
            let state = self.state(&format!("count:{x}"))?;
            sent.extend(state["sent"].as_array().into_iter().flatten().filter_map(Value::as_u64));
        }
        match (sent == self.posted, sent == self.outbox()?) {
            (true, true) => Ok(()),
            (posted, _) => {
                let (what, other) =
                    if posted { ("is kept for", self.outbox()?) } else { ("went to", self.posted.clone()) };
                Err(format!("{other:?} {what} the webhook, and handlers' states say {sent:?}"))
            }
        }
    }

    fn state(&self, entity: &str) -> Result<Value, String> {
        let app = self.app();
        let Some(handlers) = &app.handlers else { return Ok(Value::Null) };
        let state = self.parts.workers.state(&handlers.script, entity)?.unwrap_or_default();
        Ok(serde_json::from_str(&state).unwrap_or_default())
    }

    fn people_hold(&self) -> Result<(), String> {
        let (now, app) = (self.now(), self.app());
        let (mut users, mut addresses): (BTreeMap<&str, u32>, BTreeMap<u8, u32>) = Default::default();
        for person in self.people.iter().filter(|person| person.is_open()) {
            let wrong = |what: String| Err(format!("{what}{}", person.tale()));
            person.is_answered().or_else(wrong)?;
            person.is_within_rate(now, &app).or_else(wrong)?;
            if person.expires_at.is_some_and(|end| end + LATE_MS < now) {
                return wrong("its token has ended, and it is still there".into());
            }
            let forbids = |channel: &&String| !(self.site.allows)(self.variant, &person.user, person.role, channel);
            let mut asked = person.seats.iter().filter(|(_, seat)| seat.is_asked).map(|(channel, _)| channel);
            if let Some(channel) = asked.find(forbids) {
                return wrong(format!("`{channel}` is not for it, by variant {} of the files", self.variant));
            }
            *addresses.entry(person.arrival.ip).or_default() += 1;
            if person.id.is_some() {
                *users.entry(&person.user).or_default() += 1;
            }
        }
        if let Some((ip, connections)) = addresses.iter().find(|(_, n)| **n > self.generation.limits.connections_per_ip)
        {
            return Err(format!("{connections} connections of address {ip}"));
        }
        match users.iter().find(|(_, connections)| **connections > app.limits.connections_per_user) {
            Some((user, connections)) => Err(format!("`{user}` has {connections} connections")),
            None => Ok(()),
        }
    }

    /// Everybody publishes once to each channel whose rule is another in other files: the rule in force decides, whatever
    /// was decided before.
    pub(super) fn all_publish(&mut self) -> Result<(), String> {
        self.go_on(RATES_MS);
        self.rest()?;
        for channel in self.site.channels.iter().filter(|name| name.starts_with("open:")) {
            let mut said = Vec::new();
            for who in 0..self.people.len() {
                if self.people[who].is_open() && self.people[who].id.is_some() {
                    let number = self.number();
                    self.people[who].publish(channel, number, 0, None);
                    said.push((self.people[who].number, number));
                }
            }
            self.rest()?;
            // Who was closed meanwhile was not answered. Connections of one user share its rate, some tokens ahead.
            for (person, number) in said {
                let Some(person) = self.people.iter().find(|p| p.number == person && p.is_open()) else { continue };
                let Some(passed) = self.truth.was_let_pass(number) else { continue };
                if passed != (self.site.lets_publish)(self.variant, &person.user, channel) {
                    let (is, tale) = (if passed { "let pass" } else { "denied" }, person.tale());
                    return Err(format!("{number} to `{channel}` was {is}, by variant {}{tale}", self.variant));
                }
                self.report.add("publications refused by rule", u64::from(!passed));
            }
        }
        Ok(())
    }

    /// Whose token ends is closed in time, without a message of its own that has it looked at.
    pub(super) fn tokens_end(&mut self) -> Result<(), String> {
        self.go_on(WHILE_MS);
        self.rest()?;
        self.people_hold()
    }

    /// Nobody is left, and so is nothing of anybody.
    pub(super) fn all_leave(&mut self) -> Result<(), String> {
        for person in &mut self.people {
            if person.is_open() {
                if self.dice.one_in(2) { person.closes() } else { person.vanishes() }
            }
        }
        self.rest()?;
        self.timers_end()?;
        let (connections, places) =
            (self.parts.kernels.connections(), self.parts.kernels.port.shared().connections.connections());
        if (connections, places) != (0, 0) {
            return Err(format!("{connections} connections and {places} places are left"));
        }
        let port = self.parts.kernels.port.clone();
        let left = self.parts.kernels.answer(port.channels(APP, 100, |_| true)).ok_or("no answer")?;
        let left = left.map_err(|refusal| refusal.code.as_str().to_owned())?;
        if let Some(channel) = left.iter().find(|channel| channel.subscribers > 0) {
            return Err(format!("`{}` has {} subscribers", channel.name, channel.subscribers));
        }
        self.site.channels.iter().try_for_each(|name| self.are_there(name))?;
        for holding in self.parts.kernels.port.shared().memory().holdings() {
            for kind in [Kind::Connections, Kind::Messages, Kind::Queues, Kind::Calls] {
                let bytes = holding.kinds[kind as usize];
                if bytes > 0 {
                    return Err(format!("{bytes} bytes of {} are left", kind.as_str()));
                }
            }
        }
        Ok(())
    }

    /// Each timer that was committed fires, once.
    fn timers_end(&mut self) -> Result<(), String> {
        let end = self.now() + TIMERS_MS;
        while self.now() < end {
            self.go_on(5_000);
            self.rest()?;
        }
        for x in ["1", "2"] {
            let state = self.state(&format!("timed:{x}"))?;
            let (set, fired) =
                (state["set"].as_u64().unwrap_or_default(), state["fired"].as_array().map_or(0, Vec::len));
            if set != fired as u64 {
                return Err(format!("{set} timers of `timed:{x}` were set, and {fired} fired"));
            }
            self.report.add("timers that were set, and fired once", set);
            let (app, now) = (self.app(), self.now());
            let kept = self.store.get(&app.name, &format!("set:{x}"), now).map_err(|error| error.to_string())?;
            if kept.as_deref().unwrap_or("0") != set.to_string() {
                return Err(format!(
                    "{set} timers of `timed:{x}` were set, and the value that counts them is {kept:?}"
                ));
            }
        }
        Ok(())
    }
}

fn parsed(name: &str) -> ChannelName {
    ChannelName::parse(name).expect("a channel of the site")
}
