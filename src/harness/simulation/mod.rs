//! A whole gateway from a seed: several kernels, handlers, a store whose commits come late, fail or hang, clients that
//! come, stall, vanish and go on, callers of the HTTP API, tokens that end, files that change in the middle.
//!
//! The seed picks among the steps that are possible; between two of them nothing happens. So whatever is found is found
//! again by the same seed. What must hold is in `truth`, `seat`, `person` and `api`, looked at with everything that
//! somebody is told, and in `rest`, looked at once nothing is left to do.

mod api;
mod chance;
mod people;
mod person;
mod report;
mod rest;
mod seat;
mod store;
mod truth;

pub use report::Report;

use self::api::{Caller, Promises};
use self::chance::Dice;
use self::person::Person;
use self::store::Late;
use self::truth::Truth;
use super::parts::Parts;
use crate::flow::{self, App, Generation};
use crate::model::{AppId, ChannelName, Millis};
use crate::observe::unaudited;
use crate::store::Store;
use std::collections::BTreeSet;
use std::sync::Arc;

/// The only app.
const APP: AppId = AppId(0);
/// Where the clock begins.
const BEGINNING: u64 = super::BEGINNING;
/// Kernels have a turn at least as often, and timers are looked at.
const LOOK_MS: u64 = 500;

/// A site whose files may be one of several.
pub struct Site {
    /// Each compiled by itself; of one app, with number 0.
    pub variants: Vec<Arc<Generation>>,
    /// Channels that clients and callers name; the first are those that clients may publish to.
    pub channels: Vec<String>,
    pub published: usize,
    pub kernels: usize,
    /// Events that a channel keeps.
    pub keeps: fn(channel: &str) -> u64,
    /// Subscribers that a channel may have.
    pub members_max: fn(channel: &str) -> usize,
    /// Whether a client may subscribe, by the files' variant.
    pub allows: fn(variant: usize, user: &str, role: &str, channel: &str) -> bool,
    /// Whether a client may publish, by the files' variant.
    pub lets_publish: fn(variant: usize, user: &str, channel: &str) -> bool,
    /// A token that ends at a second of Unix time; `good`: signed by whom the files trust.
    pub token: fn(user: &str, role: &str, ends: u64, good: bool) -> String,
}

impl Site {
    fn keep(&self, channel: &str) -> u64 {
        (self.keeps)(channel)
    }
}

struct Simulation<'a> {
    site: &'a Site,
    dice: Dice,
    parts: Parts,
    store: Arc<Late>,
    people: Vec<Person>,
    callers: Vec<Caller>,
    truth: Truth,
    promises: Promises,
    /// What handlers sent to their webhook.
    posted: BTreeSet<u64>,
    /// In force, and its variant.
    generation: Arc<Generation>,
    variant: usize,
    /// The number of the last publication, message or timer.
    numbers: u64,
    /// The channel that most is published to.
    busy: usize,
    report: Report,
}

/// Plays one seed for so many steps. Err: what did not hold.
pub fn simulate(site: &Site, seed: u64, steps: usize) -> Result<Report, String> {
    let silent = tracing::subscriber::NoSubscriber::default();
    let run = || unaudited(|| Simulation::new(site, seed).run(steps));
    tracing::subscriber::with_default(silent, run)
}

impl<'a> Simulation<'a> {
    fn new(site: &'a Site, seed: u64) -> Simulation<'a> {
        let (store, generation) = (Arc::new(Late::new()), site.variants[0].clone());
        let parts = Parts::new(APP, &generation, site.kernels, store.clone(), BEGINNING);
        let mut dice = Dice::new(seed);
        let busy = dice.below(site.published);
        Simulation {
            site,
            dice,
            busy,
            parts,
            store,
            people: Vec::new(),
            callers: Vec::new(),
            truth: Truth::default(),
            promises: Promises::default(),
            posted: BTreeSet::new(),
            generation,
            variant: 0,
            numbers: 0,
            report: Report::default(),
        }
    }

    fn app(&self) -> Arc<App> {
        self.generation.app(APP).cloned().expect("a variant has the app")
    }

    fn now(&self) -> Millis {
        self.parts.clock.now().wall
    }

    fn run(mut self, steps: usize) -> Result<Report, String> {
        for step in 0..steps {
            self.step().map_err(|what| format!("step {step}: {what}"))?;
        }
        self.rest().map_err(|what| format!("at rest: {what}"))?;
        self.holds().map_err(|what| format!("at rest: {what}"))?;
        self.all_publish().map_err(|what| format!("all publish: {what}"))?;
        self.tokens_end().map_err(|what| format!("a while later: {what}"))?;
        self.all_leave().map_err(|what| format!("once everybody has left: {what}"))?;
        self.report.hash = self.dice.trace();
        self.report.add("commits that found the store busy", self.store.busy());
        self.report.add("reads that the store did not answer", self.store.failed_reads());
        Ok(self.report)
    }

    fn step(&mut self) -> Result<(), String> {
        match self.dice.below(100) {
            0..38 => {
                let (kernel, inputs, writes) =
                    (self.dice.below(self.parts.kernels.len()), 1 + self.dice.below(6), 1 + self.dice.below(8));
                self.parts.kernels.turn(kernel, inputs, writes);
            }
            38..59 => self.act(),
            59..72 => self.listen()?,
            72..80 => {
                self.parts.workers.step();
            }
            80..86 => match self.store.decide(!self.dice.one_in(5), self.now()) {
                Some(true) => self.report.count("commits kept"),
                Some(false) => self.report.count("commits failed"),
                None => {}
            },
            86 if self.dice.one_in(3) => self.store.fail_reads(1 + self.dice.below(2) as u64),
            86 => {
                let until = self.now() + 1_000 + self.dice.below(30_000) as u64;
                if self.dice.one_in(2) && self.store.hang(until) {
                    self.report.count("commits that hung");
                }
            }
            87..90 => self.call(),
            90..93 => drop(self.answer_callers()?),
            93..97 => {
                let ms = if self.dice.one_in(20) { 20_000 } else { self.dice.below(60) as u64 };
                self.go_on(ms);
            }
            97 => self.go_on(1),
            98 => self.parts.workers.sweep(),
            _ => self.reload(),
        }
        self.handlers_failed()?;
        self.is_posted()
    }

    /// No pause of the process: kernels have a turn at each look at least.
    fn go_on(&mut self, ms: u64) {
        let until = self.now() + ms;
        while self.now() < until {
            self.parts.clock.go_on((self.now() + LOOK_MS).min(until));
            for kernel in 0..self.parts.kernels.len() {
                self.parts.kernels.turn(kernel, 2, 2);
            }
            self.report.add("timers fired", self.parts.workers.fire_due() as u64);
        }
    }

    /// Other files, once the last ones are settled: the gateway begins no change before that.
    fn reload(&mut self) {
        if self.parts.kernels.port.shared().settled() < self.generation.number {
            return;
        }
        let before = self.app();
        self.variant = self.dice.below(self.site.variants.len());
        let number = self.generation.number + 1;
        self.generation = Arc::new(Generation { number, ..(*self.site.variants[self.variant]).clone() });
        self.parts.take(&self.generation);
        self.report.count("reloads");
        let (app, shards) = (self.app(), self.site.kernels as u16);
        let moves = |name: &&String| {
            let name = ChannelName::parse(name).expect("a channel of the site");
            flow::home(&before, shards, &name) != flow::home(&app, shards, &name)
        };
        let moving: Vec<String> = self.site.channels[..self.site.published].iter().filter(moves).cloned().collect();
        self.report.add("channels handed over", self.site.channels.iter().filter(moves).count() as u64);
        if !moving.is_empty() && self.dice.one_in(2) {
            let channel = &moving[self.dice.below(moving.len())];
            self.publishes_while_it_moves(channel);
        }
    }

    /// Mistakes of handlers that they were not written to make.
    fn handlers_failed(&mut self) -> Result<(), String> {
        let faults: Vec<String> = self.parts.seen.all().faults.drain(..).map(|(_, fault)| fault).collect();
        for fault in faults {
            let told = |words: &str| fault.contains(words);
            self.report.count(match () {
                () if told("on purpose") => "handlers failed",
                () if told("operations") => "handlers looped",
                () if told("effects") => "handlers flooded",
                () if told("the store did not answer") => "handlers without their values",
                // Files that have no such class any more are in force when it is to be carried out.
                () if told("publish to `noted:1` was not carried out") && self.is_without("noted:1") => {
                    "effects without a class"
                }
                () => return Err(format!("a handler failed: {fault}")),
            });
        }
        Ok(())
    }

    /// What goes to a webhook is in the store already, with all else that its call kept: so it goes out after a restart
    /// too. Each parcel goes out once; again only after a call that failed, which is `webhook`'s.
    fn is_posted(&mut self) -> Result<(), String> {
        let sent: Vec<String> = self.parts.seen.all().webhooks.drain(..).map(|(.., body)| body).collect();
        if sent.is_empty() {
            return Ok(());
        }
        let kept = self.outbox()?;
        for body in sent {
            let number = body.parse().map_err(|_| format!("no number: {body}"))?;
            self.report.count("webhooks");
            if !kept.contains(&number) {
                return Err(format!("{number} went to a webhook, and the store does not have it"));
            }
            if !self.posted.insert(number) {
                return Err(format!("{number} went to a webhook twice"));
            }
        }
        Ok(())
    }

    /// The numbers in the store's outbox.
    fn outbox(&self) -> Result<BTreeSet<u64>, String> {
        let parcels = self.store.outbox().map_err(|error| error.to_string())?;
        Ok(parcels.iter().filter_map(|parcel| parcel.body.parse().ok()).collect())
    }

    fn is_without(&self, channel: &str) -> bool {
        let name = ChannelName::parse(channel).expect("a name");
        self.app().policy.find(&name).is_none()
    }

    fn number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }
}
