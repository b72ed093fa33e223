//! What clients do: they come, ask, stall, vanish, flap, show tokens, listen.

use super::Simulation;
use super::person::{Arriving, Person};

/// Publications of one client while a channel moves.
const MOVING: usize = 8;

impl Simulation<'_> {
    pub(super) fn any_channel(&mut self) -> String {
        self.site.channels[self.dice.below(self.site.channels.len())].clone()
    }

    pub(super) fn any_user(&mut self) -> String {
        format!("u{}", self.dice.below(4))
    }

    /// The key of a publication: some have none.
    pub(super) fn key(&mut self, number: u64) -> Option<u64> {
        let key = self.dice.below(4) as u64;
        if key > 0 {
            self.truth.has_key(number, key);
        }
        Some(key).filter(|key| *key > 0)
    }

    /// Somebody does something.
    pub(super) fn act(&mut self) {
        if self.people.len() < 3 || (self.people.len() < 10 && self.dice.one_in(8)) {
            return self.connect(None);
        }
        let who = self.dice.below(self.people.len());
        if !self.people[who].is_open() {
            // Comes back, and wants to go on where it was.
            let gone = self.people.swap_remove(who);
            return self.connect(Some(gone));
        }
        let is_nobody = self.people[who].user.is_empty();
        if is_nobody && self.dice.one_in(2) {
            self.show_token(who);
            // What follows may come with it in one read.
            if self.dice.one_in(2) {
                let (channel, number) = (self.any_channel(), self.number());
                self.publish(who, channel, number);
            }
            return;
        }
        let (channel, number) = (self.any_channel(), self.number());
        match self.dice.below(46) {
            0..5 => self.people[who].subscribe(&channel),
            5..8 => {
                let busy = self.site.channels[self.busy].clone();
                self.people[who].subscribe(&busy);
            }
            8..11 => {
                let known = self.people[who].known(self.dice.below(8)).unwrap_or(channel);
                self.people[who].subscribe(&known);
            }
            11 | 12 => self.people[who].unsubscribe(&channel),
            13..28 => self.publish(who, channel, number),
            28 | 29 => {
                let (x, ms) = (1 + self.dice.below(2) as u64, self.dice.below(3_000) as u64);
                self.people[who].set_timer(x, number, ms);
            }
            30 => {
                let (x, starts, ms) =
                    (1 + self.dice.below(2) as u64, self.dice.one_in(2), 500 + self.dice.below(3_000) as u64);
                self.people[who].beat(x, starts, ms);
            }
            31 | 32 => self.show_token(who),
            33..38 => self.people[who].takes(Some(self.dice.below(200))),
            38 | 39 => self.people[who].takes(None),
            40 => self.people[who].cuts(1 + self.dice.below(60)),
            41 if self.dice.one_in(3) => self.people[who].vanishes(),
            42 if self.dice.one_in(3) => self.people[who].closes(),
            43 | 44 if self.dice.one_in(3) => self.flaps(who),
            _ => {}
        }
    }

    fn publish(&mut self, who: usize, channel: String, number: u64) {
        self.report.count("publications of clients");
        // Where somebody may hear it, mostly; each run has channels that are busier than others.
        let is_busy = !self.dice.one_in(4);
        let busy = self.site.channels[self.busy].clone();
        let channel = if is_busy { busy } else { channel };
        let key = if channel.starts_with("newest:") { self.key(number) } else { None };
        let length = self.dice.below(600);
        self.people[who].publish(&channel, number, length, key);
    }

    /// Somebody publishes to a channel while kernels learn one by one that its home is another: what was sent to the old
    /// home waits there when the next is sent to the new one. Kernels take up some of what waits for them, in any order.
    pub(super) fn publishes_while_it_moves(&mut self, channel: &str) {
        if self.people.is_empty() {
            return;
        }
        let who = self.dice.below(self.people.len());
        for _ in 0..MOVING {
            if !self.people[who].is_open() {
                return;
            }
            self.report.count("publications while a channel moves");
            let (number, length) = (self.number(), self.dice.below(100));
            let key = if channel.starts_with("newest:") { self.key(number) } else { None };
            self.people[who].publish(channel, number, length, key);
            // It is read, and sent on by the files that its kernel knows then.
            self.parts.kernels.turn(self.people[who].kernel, 0, 1);
            for _ in 0..self.dice.below(3) {
                let (kernel, inputs) = (self.dice.below(self.parts.kernels.len()), 1 + self.dice.below(8));
                self.parts.kernels.turn(kernel, inputs, 1);
            }
        }
    }

    /// A fresh token, of another role perhaps; or one that has ended, or that nobody trusts.
    fn show_token(&mut self, who: usize) {
        let role = self.any_role();
        let user = self.people[who].arrival.user.clone();
        let (good, over) = (!self.dice.one_in(6), self.dice.one_in(8));
        let now = self.now() / 1_000;
        let ends = if over { now - 1 } else { now + 2 + self.dice.below(60) as u64 };
        let token = (self.site.token)(&user, role, ends, good);
        self.people[who].authenticate(&token, role, Some(ends * 1_000));
    }

    fn any_role(&mut self) -> &'static str {
        if self.dice.one_in(2) { "staff" } else { "guest" }
    }

    fn connect(&mut self, before: Option<Person>) {
        let kernel = self.dice.below(self.parts.kernels.len());
        self.connect_to(kernel, before);
    }

    /// Whether there was a place for it.
    fn connect_to(&mut self, kernel: usize, before: Option<Person>) -> bool {
        self.report.count("connections");
        let arrival = Arriving {
            user: before.as_ref().map_or_else(|| self.any_user(), |before| before.arrival.user.clone()),
            role: self.any_role(),
            ip: self.dice.below(4) as u8,
            later: self.dice.one_in(4),
            expires_at: self.dice.one_in(3).then(|| self.now() + 2_000 + self.dice.below(60_000) as u64),
        };
        let (is_back, number) = (before.is_some() && !arrival.later, self.report.of("connections"));
        let (app, per_ip) = (self.app(), self.generation.limits.connections_per_ip);
        match Person::connect(&self.parts.kernels, (kernel, &app, self.now()), number, arrival, per_ip, before) {
            Ok(mut person) => {
                // Who comes back wants all that it had, at once.
                let wants = if is_back { person.knows() } else { Vec::new() };
                wants.iter().for_each(|channel| person.subscribe(channel));
                self.people.push(person);
                true
            }
            Err(_) => {
                self.report.count("turned away at the door");
                false
            }
        }
    }

    /// Is gone, and comes back to the same kernel before what it asked for is answered; or somebody else comes there.
    /// Numbers of connections are used again: so the answer finds another connection than the one that asked.
    fn flaps(&mut self, mut who: usize) {
        self.report.count("clients that flapped");
        let kernel = self.people[who].kernel;
        for _ in 0..3 {
            self.people[who].vanishes();
            self.parts.kernels.turn(kernel, 0, 1);
            let same = !self.dice.one_in(3);
            let gone = same.then(|| self.people.swap_remove(who));
            if !self.connect_to(kernel, gone) {
                return;
            }
            who = self.people.len() - 1;
            // What it asks goes to homes once it is greeted. They answer some of it before it is gone again.
            self.parts.kernels.turn(kernel, 0, 1);
            let answers = self.dice.below(4);
            for other in (0..self.parts.kernels.len()).filter(|other| *other != kernel) {
                self.parts.kernels.turn(other, answers, 1);
            }
            self.parts.kernels.turn(kernel, answers, 1);
        }
    }

    /// Somebody reads what has come.
    pub(super) fn listen(&mut self) -> Result<(), String> {
        if self.people.is_empty() {
            return Ok(());
        }
        let who = self.dice.below(self.people.len());
        self.hear(who)
    }

    pub(super) fn hear(&mut self, who: usize) -> Result<(), String> {
        for message in self.people[who].listen() {
            self.dice.note(message.as_bytes());
            let person = &mut self.people[who];
            let heard = person.hears(&message, self.site, &mut self.truth, &mut self.report);
            heard.map_err(|what| format!("{what}{}", person.tale()))?;
        }
        Ok(())
    }
}
