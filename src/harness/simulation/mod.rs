//! A whole gateway from a seed: several kernels, handlers, a store whose commits come late or fail, clients that come,
//! stall, vanish and go on, files that change in the middle.
//!
//! The seed picks among the steps that are possible; between two of them nothing happens. So whatever is found is found
//! again by the same seed. What must hold is in `truth`, looked at with everything that a client hears, and at the end.

mod chance;
mod person;
mod store;
mod truth;

use self::chance::Dice;
use self::person::Person;
use self::store::Late;
use self::truth::Truth;
use super::parts::Parts;
use crate::flow::{App, Generation};
use crate::kernel::Input;
use crate::model::{AppId, ChannelName};
use crate::observe::unaudited;
use std::sync::Arc;

/// The only app.
const APP: AppId = AppId(0);
/// Where the clock begins.
const BEGINNING: u64 = super::BEGINNING;
/// Steps that coming to rest may take.
const REST_MAX: usize = 200_000;

/// What happened, counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Of all steps and of all that was heard: the same for the same seed.
    pub hash: u64,
    pub connections: u64,
    pub published: u64,
    pub heard: u64,
    pub reloads: u64,
    /// Who came back and missed nothing.
    pub resumed: u64,
    /// Who was too slow.
    pub slow: u64,
    pub refused: u64,
    pub failed_commits: u64,
}

/// A site whose files may be one of several.
pub struct Site {
    /// Each compiled by itself; of one app, with number 0.
    pub variants: Vec<Arc<Generation>>,
    /// Channels that clients name.
    pub channels: Vec<String>,
    pub kernels: usize,
}

struct Simulation<'a> {
    site: &'a Site,
    dice: Dice,
    parts: Parts,
    store: Arc<Late>,
    people: Vec<Person>,
    truth: Truth,
    /// Number of the generation, and its variant.
    generation: (u64, usize),
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
        let app = generation.app(APP).expect("a variant has the app");
        let parts = Parts::new(app, &generation, site.kernels, store.clone(), BEGINNING);
        Simulation {
            site,
            dice: Dice::new(seed),
            parts,
            store,
            people: Vec::new(),
            truth: Truth::default(),
            generation: (generation.number, 0),
            report: Report::default(),
        }
    }

    fn app(&self) -> Arc<App> {
        self.site.variants[self.generation.1].app(APP).cloned().expect("a variant has the app")
    }

    fn run(mut self, steps: usize) -> Result<Report, String> {
        for step in 0..steps {
            self.step().map_err(|what| format!("step {step}: {what}"))?;
        }
        self.rest().map_err(|what| format!("at rest: {what}"))?;
        self.all_heard().map_err(|what| format!("at rest: {what}"))?;
        self.all_leave().map_err(|what| format!("once everybody has left: {what}"))?;
        self.report.hash = self.dice.trace();
        Ok(self.report)
    }

    fn step(&mut self) -> Result<(), String> {
        match self.dice.below(100) {
            0..40 => {
                let (kernel, inputs, writes) =
                    (self.dice.below(self.parts.kernels.len()), 1 + self.dice.below(6), 1 + self.dice.below(8));
                self.parts.kernels.turn(kernel, inputs, writes);
            }
            40..65 => self.act()?,
            65..80 => self.listen()?,
            80..88 => {
                self.parts.workers.step();
            }
            88..94 => {
                if self.store.decide(!self.dice.one_in(5)) == Some(false) {
                    self.report.failed_commits += 1;
                }
            }
            94..98 => {
                let ms = if self.dice.one_in(20) { 20_000 } else { self.dice.below(60) as u64 };
                self.go_on(ms);
            }
            98 => self.go_on(1),
            _ => {
                self.reload();
            }
        }
        Ok(())
    }

    /// No pause of the process: kernels have a turn at each second at least.
    fn go_on(&mut self, ms: u64) {
        let until = self.parts.clock.now().wall + ms;
        while self.parts.clock.now().wall < until {
            self.parts.clock.go_on((self.parts.clock.now().wall + 500).min(until));
            for kernel in 0..self.parts.kernels.len() {
                self.parts.kernels.turn(kernel, 2, 2);
            }
        }
        self.parts.workers.fire_due();
    }

    /// Other files, once the last ones are settled: the gateway begins no change before that.
    fn reload(&mut self) {
        if self.parts.kernels.port.shared().settled() < self.generation.0 {
            return;
        }
        let (number, variant) = (self.generation.0 + 1, self.dice.below(self.site.variants.len()));
        self.generation = (number, variant);
        self.report.reloads += 1;
        let generation = Arc::new(Generation { number, ..(*self.site.variants[variant]).clone() });
        self.parts.kernels.port.shared().put_all(|| Input::Generation(generation.clone()));
        self.parts.set_handlers(&self.app());
    }

    /// Somebody does something.
    fn act(&mut self) -> Result<(), String> {
        if self.people.len() < 3 || (self.people.len() < 10 && self.dice.one_in(8)) {
            return self.connect(None);
        }
        let who = self.dice.below(self.people.len());
        if !self.people[who].is_open() {
            // Comes back, and wants to go on where it was.
            let gone = self.people.swap_remove(who);
            return self.connect(Some(gone));
        }
        let channel = self.site.channels[self.dice.below(self.site.channels.len())].clone();
        let person = &mut self.people[who];
        match self.dice.below(20) {
            0..6 => person.subscribe(&channel),
            6 => person.unsubscribe(&channel),
            7..15 => {
                self.report.published += 1;
                person.publish(&channel, self.report.published, 1 + self.dice.below(300));
            }
            15 => person.takes(Some(self.dice.below(200))),
            16 => person.takes(None),
            17 => person.cuts(1 + self.dice.below(60)),
            18 => {
                if self.dice.one_in(3) {
                    person.vanishes();
                }
            }
            _ => {
                if self.dice.one_in(3) {
                    person.closes();
                }
            }
        }
        Ok(())
    }

    fn connect(&mut self, before: Option<Person>) -> Result<(), String> {
        self.report.connections += 1;
        let (kernel, number) = (self.dice.below(self.parts.kernels.len()), self.report.connections);
        let person = Person::connect(&self.parts.kernels, kernel, &self.app(), number, before)?;
        self.people.push(person);
        Ok(())
    }

    /// Somebody reads what has come.
    fn listen(&mut self) -> Result<(), String> {
        if self.people.is_empty() {
            return Ok(());
        }
        let who = self.dice.below(self.people.len());
        self.hear(who)
    }

    fn hear(&mut self, who: usize) -> Result<(), String> {
        for message in self.people[who].listen() {
            self.dice.note(message.as_bytes());
            let heard = self.people[who].hears(&message, &mut self.truth, &mut self.report);
            heard.map_err(|what| format!("{what}; somebody's tale:{}", self.people[who].tale()))?;
        }
        Ok(())
    }

    /// Until nothing is left to do: everybody reads, every commit is kept.
    fn rest(&mut self) -> Result<(), String> {
        self.people.iter_mut().for_each(|person| person.takes(None));
        for _ in 0..REST_MAX {
            let mut busy = false;
            for kernel in 0..self.parts.kernels.len() {
                busy |= self.parts.kernels.turn(kernel, usize::MAX >> 1, 1 << 20);
            }
            busy |= self.parts.workers.step();
            busy |= self.store.decide(true).is_some();
            for who in 0..self.people.len() {
                let before = self.report.heard;
                self.hear(who)?;
                busy |= self.people[who].answered() || self.report.heard > before;
            }
            if !busy {
                return Ok(());
            }
        }
        Err("the gateway does not come to rest".into())
    }

    /// Who is subscribed has heard the newest of its channel.
    fn all_heard(&mut self) -> Result<(), String> {
        let app = self.app();
        for name in self.site.channels.clone() {
            let channel = ChannelName::parse(&name).map_err(|bad| format!("{name}: {bad}"))?;
            let port = self.parts.kernels.port.clone();
            let page = self.parts.kernels.answer(port.history(&app, &channel, None, 1));
            let page = page.ok_or("no answer of a home")?.map_err(|refusal| refusal.code.as_str().to_owned())?;
            for person in self.people.iter().filter(|person| person.is_open()) {
                person.has_heard(&name, page.position)?;
            }
            self.is_counted(&name, page.position.offset)?;
        }
        Ok(())
    }

    /// What a handler let pass is what its entity's state says: both happened, or none.
    fn is_counted(&self, name: &str, published: u64) -> Result<(), String> {
        let (Some(x), Some(handlers)) = (name.strip_prefix("asked:"), &self.app().handlers) else { return Ok(()) };
        let state = self.parts.workers.state(&handlers.script, &format!("count:{x}"))?.unwrap_or_default();
        let kept = serde_json::from_str::<serde_json::Value>(&state).ok().and_then(|state| state["n"].as_u64());
        match kept.unwrap_or_default() == published {
            true => Ok(()),
            false => Err(format!("`{name}` has {published} events, and its handler counted {kept:?}")),
        }
    }

    /// Nobody is left, and so is nothing of anybody.
    fn all_leave(&mut self) -> Result<(), String> {
        for person in &mut self.people {
            if person.is_open() {
                if self.dice.one_in(2) { person.closes() } else { person.vanishes() }
            }
        }
        self.rest()?;
        self.go_on(60_000);
        self.rest()?;
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
        if let Some((_, fault)) = self.parts.seen.all().faults.front() {
            return Err(format!("a handler failed: {fault}"));
        }
        use crate::model::memory::Kind;
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
}
