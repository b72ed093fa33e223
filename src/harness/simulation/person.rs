//! A client of a simulation: what it asked for, what it may expect, what it hears.

mod hears;

use super::seat::Seat;
use crate::flow::App;
use crate::harness::client::{Client, Heard};
use crate::harness::kernels::{Arrival, Kernels};
use crate::harness::pipe::Pipe;
use crate::model::{ConnectionId, Identity, Millis, Position};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

pub struct Person {
    /// Of its connection among all.
    pub number: u64,
    /// The kernel that has it.
    pub kernel: usize,
    /// As it says in its token, now.
    pub user: String,
    pub role: &'static str,
    /// When its token ends.
    pub expires_at: Option<Millis>,
    /// As it was told in its greeting.
    pub id: Option<ConnectionId>,
    /// It reads so many bytes and no more.
    pub stalls: bool,
    /// Where it hears, as it was told.
    pub seats: BTreeMap<String, Seat>,
    pub arrival: Arriving,
    client: Client,
    pipe: Pipe,
    /// Where it was in channels before it lost them.
    knew: BTreeMap<String, Position>,
    /// Its messages that are not answered, by their ids.
    pending: BTreeMap<u64, Asked>,
    /// Those that may stay without an answer: somebody unsubscribed it meanwhile.
    void: BTreeSet<u64>,
    next_id: u64,
    /// Refusals without the id of a message, and messages that were taken.
    unnamed: usize,
    taken: u64,
    connected_at: Millis,
    /// Messages of the HTTP API that it heard.
    sent: BTreeSet<u64>,
    /// Where its publications are, by channel and epoch, in the order of sending.
    published: BTreeMap<(String, u32), BTreeMap<u64, u64>>,
    /// Publications to several channels that it heard.
    several: BTreeSet<u64>,
    answered: bool,
    /// The last things that it said and heard, for whoever looks for a mistake.
    tale: VecDeque<String>,
}

/// How somebody comes.
#[derive(Clone, Debug)]
pub struct Arriving {
    pub user: String,
    pub role: &'static str,
    pub ip: u8,
    /// Its token comes with the first message, else with the handshake.
    pub later: bool,
    pub expires_at: Option<Millis>,
}

/// What a message asked for.
#[derive(Clone, Debug)]
enum Asked {
    Subscribe {
        channel: String,
        since: Option<Position>,
    },
    Unsubscribe {
        channel: String,
    },
    Publish {
        channel: String,
        number: u64,
    },
    /// Of a timer: the publication that it makes.
    Timer(u64),
    Beat,
    Authenticate {
        role: &'static str,
        expires_at: Option<Millis>,
    },
}

/// Lines of it.
const TALE: usize = 60;

impl Person {
    /// `before`: the same person's last connection. Err: there is no place for it.
    pub fn connect(
        kernels: &Kernels,
        (kernel, app, now): (usize, &App, Millis),
        number: u64,
        arrival: Arriving,
        per_ip: u32,
        before: Option<Person>,
    ) -> Result<Person, String> {
        let claims = json!({ "id": arrival.user, "role": arrival.role });
        let known = Identity::described(claims.as_object().cloned().unwrap_or_default());
        let known = Arc::new(Identity { expires_at: arrival.expires_at, ..known });
        let identity = (!arrival.later).then(|| known.clone());
        let ip = std::net::IpAddr::from([10, 0, 0, arrival.ip]);
        let chance = u128::from(number);
        let came = Arrival { listener: 0, endpoint: 0, identity, request: None, chance, ip, per_ip };
        let pipe = kernels.connect(kernel, app, came)?;
        let mut knew = BTreeMap::new();
        if let Some(before) = before {
            knew = before.knew;
            knew.extend(before.seats.into_iter().filter_map(|(channel, seat)| Some((channel, seat.at?))));
        }
        Ok(Person {
            number,
            kernel,
            user: if arrival.later { String::new() } else { arrival.user.clone() },
            role: if arrival.later { "" } else { arrival.role },
            expires_at: arrival.expires_at.filter(|_| !arrival.later),
            id: None,
            stalls: false,
            seats: BTreeMap::new(),
            arrival,
            client: Client::new(pipe.clone(), known),
            pipe,
            knew,
            pending: BTreeMap::new(),
            void: BTreeSet::new(),
            next_id: 0,
            unnamed: 0,
            taken: 0,
            connected_at: now,
            sent: BTreeSet::new(),
            published: BTreeMap::new(),
            several: BTreeSet::new(),
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

    /// All channels that it was on.
    pub fn knows(&self) -> Vec<String> {
        self.knew.keys().cloned().collect()
    }

    /// One of them.
    pub fn known(&self, nth: usize) -> Option<String> {
        self.knew.keys().nth(nth % self.knew.len().max(1)).cloned()
    }

    // ── what it does ────────────────────────────────────────────────────────────────────────────────────────────

    pub fn subscribe(&mut self, channel: &str) {
        // Readers of the newest of each key have no place to go on from.
        let since = self.knew.get(channel).copied().filter(|_| !channel.starts_with("newest:"));
        let asked = Asked::Subscribe { channel: channel.to_owned(), since };
        let since = since.map(|at| at.to_string());
        self.ask(asked, json!({ "type": "sub", "channel": channel, "since": since }));
    }

    pub fn unsubscribe(&mut self, channel: &str) {
        let asked = Asked::Unsubscribe { channel: channel.to_owned() };
        self.ask(asked, json!({ "type": "unsub", "channel": channel }));
    }

    /// `number`: of all publications; `length`: how much beside it.
    pub fn publish(&mut self, channel: &str, number: u64, length: usize, key: Option<u64>) {
        let data = json!({ "n": number, "pad": "x".repeat(length) });
        let asked = Asked::Publish { channel: channel.to_owned(), number };
        let mut message = json!({ "type": "pub", "channel": channel, "data": data });
        if let Some(key) = key {
            message["key"] = key.to_string().into();
        }
        self.ask(asked, message);
    }

    /// Has a timer set that publishes number `2_000_000 + k`.
    pub fn set_timer(&mut self, x: u64, k: u64, ms: u64) {
        let data = json!({ "x": x, "k": k, "ms": ms });
        self.ask(Asked::Timer(2_000_000 + k), json!({ "type": "timer", "data": data }));
    }

    pub fn beat(&mut self, x: u64, starts: bool, ms: u64) {
        let kind = if starts { "start" } else { "stop" };
        self.ask(Asked::Beat, json!({ "type": kind, "data": { "x": x, "ms": ms } }));
    }

    /// Shows a token.
    pub fn authenticate(&mut self, token: &str, role: &'static str, expires_at: Option<Millis>) {
        self.ask(Asked::Authenticate { role, expires_at }, json!({ "type": "auth", "token": token }));
    }

    fn ask(&mut self, asked: Asked, mut message: Value) {
        message["id"] = self.next_id.into();
        self.pending.insert(self.next_id, asked);
        self.next_id += 1;
        self.tell(format!("> {message}"));
        self.client.send(&message.to_string());
    }

    pub fn takes(&mut self, bytes: Option<usize>) {
        self.stalls = bytes.is_some();
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

    // ── what it hears ───────────────────────────────────────────────────────────────────────────────────────────

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

    // ── what must hold ──────────────────────────────────────────────────────────────────────────────────────────

    /// Nothing is left to happen: every message is answered, once.
    pub fn is_answered(&self) -> Result<(), String> {
        let open = self.pending.iter().filter(|(id, _)| !self.void.contains(id));
        let open: Vec<_> = open.collect();
        match open.len() <= self.unnamed {
            true => Ok(()),
            false => Err(format!("no answer to {open:?}")),
        }
    }

    /// No more messages were taken than its rate allows.
    pub fn is_within_rate(&self, now: Millis, app: &App) -> Result<(), String> {
        let rate = app.limits.messages;
        let most = u64::from(rate.burst) + (now - self.connected_at) * u64::from(rate.burst) / rate.per.0.max(1) + 1;
        match self.taken <= most {
            true => Ok(()),
            false => Err(format!("{} messages were taken, {most} is the most", self.taken)),
        }
    }

    fn tell(&mut self, line: String) {
        if self.tale.len() == TALE {
            self.tale.pop_front();
        }
        self.tale.push_back(line);
    }

    pub fn tale(&self) -> String {
        let name = format!("\n  of connection {}, `{}` ({}):", self.number, self.arrival.user, self.arrival.role);
        self.tale.iter().fold(name, |tale, line| format!("{tale}\n  {line}"))
    }

    pub fn has_heard_sent(&self, number: u64) -> bool {
        self.sent.contains(&number)
    }
}
