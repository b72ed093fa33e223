//! Puts changed files in force under live connections, or says why not.
//!
//! One task: whatever asks (the watch, SIGHUP, the API), the files are read as they are now, all of them, on a thread
//! of their own. A fault anywhere changes nothing. Asked again meanwhile, it reads once more afterwards.

use super::certificates;
use super::listeners::Listeners;
use super::notify::Systemd;
use super::process::{self, aside};
use super::removal::Away;
use super::scripts::Scripts;
use crate::api::admin::{InForce, LastReload, Noticing, ReloadResult, Reloaded, Removing, Status as Told};
use crate::api::{Doing, NotDone};
use crate::auth::Fetcher;
use crate::config::{self, Candidate, Compiled, ConfigDiff, Environment, Inputs};
use crate::harness;
use crate::kernel::{Input, Shared};
use crate::listen::Front;
use crate::model::{Fault, count, iso8601};
use crate::observe::{Logs, audit_reload, clock};
use crate::shard::Mailboxes;
use arc_swap::ArcSwap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

/// What a reload came to.
type Outcome = Result<Reloaded, Vec<Fault>>;

/// Somebody wants the files read again.
struct Request {
    by: String,
    answer: Option<oneshot::Sender<Outcome>>,
}

/// All that a reload reads and changes.
pub struct Reload {
    pub gateway: PathBuf,
    pub env: Environment,
    pub fetcher: Fetcher,
    pub front: Arc<ArcSwap<Front>>,
    pub shared: Arc<Shared>,
    pub mailboxes: Mailboxes,
    pub listeners: Arc<Mutex<Listeners>>,
    pub logs: Logs,
    pub compiled: Arc<Compiled>,
    pub number: u64,
    pub desk: Arc<Desk>,
    pub scripts: Arc<Scripts>,
    pub systemd: Systemd,
    /// What the last reading looked at: for the watch.
    pub read: watch::Sender<Arc<Inputs>>,
    pub away: Away,
}

/// Where a reload is asked for, and what the last one came to.
pub struct Desk {
    requests: mpsc::UnboundedSender<Request>,
    status: Mutex<Status>,
}

struct Status {
    in_force: InForce,
    last: Option<LastReload>,
    noticing: Noticing,
    /// Files that are away and may still come back.
    removing: Vec<Removing>,
}

/// What others hand in; ends with the process.
pub struct Requests(mpsc::UnboundedReceiver<Request>);

pub fn desk(compiled: &Compiled) -> (Arc<Desk>, Requests) {
    let (requests, received) = mpsc::unbounded_channel();
    let status = Mutex::new(Status {
        in_force: in_force(compiled, 1),
        last: None,
        noticing: Noticing::OFF,
        removing: Vec::new(),
    });
    (Arc::new(Desk { requests, status }), Requests(received))
}

fn in_force(compiled: &Compiled, number: u64) -> InForce {
    let shown = |path, digest: &String| if compiled.secrets.contains(path) { "secret".into() } else { digest.clone() };
    let files = compiled.files.iter().map(|(path, digest)| (path.display().to_string(), shown(path, digest))).collect();
    InForce { generation: number, digest: compiled.digest.to_string(), loaded_at: iso8601(clock().wall), files }
}

/// For `/admin/config`.
fn last(by: &str, result: ReloadResult, faults: Vec<Fault>) -> Option<LastReload> {
    Some(LastReload { at: iso8601(clock().wall), by: by.to_owned(), result, faults })
}

impl Desk {
    fn status(&self) -> std::sync::MutexGuard<'_, Status> {
        self.status.lock().unwrap_or_else(|e| e.into_inner())
    }

    pub fn ask(&self, by: &str, answer: Option<oneshot::Sender<Outcome>>) {
        let _ = self.requests.send(Request { by: by.to_owned(), answer });
    }

    /// How changed files are noticed. Whether it was another way before.
    pub fn noticing(&self, noticing: &Noticing) -> bool {
        let mut status = self.status();
        let other = status.noticing != *noticing;
        status.noticing = noticing.clone();
        other
    }
}

impl Desk {
    /// What is in force, and what the last reload came to.
    pub fn told(&self) -> Told {
        let Status { in_force, last, noticing, removing } = &*self.status();
        let (in_force, watch, removing) = (in_force.clone(), noticing.clone(), removing.clone());
        Told { in_force, watch, removing, last_reload: last.clone() }
    }

    /// Reads the files and waits for what comes of it.
    pub fn reload(&self, by: &str) -> Doing<Reloaded> {
        let (answer, answered) = oneshot::channel();
        let requests = self.requests.clone();
        self.ask(&format!("api key {by}"), Some(answer));
        // Nobody reads files any more once the gateway stops.
        Box::pin(async move {
            match answered.await {
                Ok(outcome) => outcome.map_err(NotDone::Faults),
                Err(_) if requests.is_closed() => Err(NotDone::Draining),
                Err(_) => Err(NotDone::Internal("the reload ended by a mistake of Weir's own".into())),
            }
        })
    }
}

/// How long a change waits for the one before it to be everywhere: milliseconds, unless a shard is stuck.
const SETTLE_MS: u64 = 10_000;

/// How often it is looked whether an app that is gone has connections.
const FORGET_LOOK: Duration = Duration::from_millis(200);

/// How long files that change while they are read are read again.
const READ_AGAIN: Duration = Duration::from_secs(1);

/// Who asks where files have changed.
pub const WATCH: &str = "file watch";

impl Reload {
    /// Serves requests until the process ends. `in_force` follows.
    pub async fn run(&mut self, requests: &mut Requests, in_force: &ArcSwap<Compiled>) {
        loop {
            let due = self.away.due();
            let first = tokio::select! {
                asked = requests.0.recv() => match asked {
                    Some(asked) => asked,
                    None => return,
                },
                // A file has been away long enough: that is the watch's affair.
                () = tokio::time::sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                    Request { by: WATCH.to_owned(), answer: None }
                }
            };
            let mut all = vec![first];
            while let Ok(more) = requests.0.try_recv() {
                all.push(more);
            }
            // Whoever waits is named before the watch.
            let by = all.iter().find(|r| r.by != WATCH).unwrap_or(&all[0]).by.clone();
            // A service manager waits for the end of what it asked for; the watch's looks are its own affair.
            let (told, from) = (by != WATCH, self.number);
            if told {
                self.systemd.reloading();
            }
            let before = self.desk.status().last.as_ref().map(|last| last.faults.clone()).unwrap_or_default();
            let outcome = self.once(&by).await;
            let news = told || self.desk.status().last.as_ref().is_some_and(|last| last.faults != before);
            self.note(&by, from, &outcome, (told, news));
            in_force.store(self.compiled.clone());
            for answer in all.into_iter().filter_map(|r| r.answer) {
                let _ = answer.send(outcome.clone());
            }
        }
    }

    /// For the audit and the service manager. `told`: somebody waits for it; `news`: it is not what it was.
    fn note(&self, by: &str, from: u64, outcome: &Outcome, (told, news): (bool, bool)) {
        let faults = outcome.as_ref().err().map_or(0, |faults| faults.len().max(1));
        if told || self.number != from || faults > 0 && news {
            audit_reload(by, from, self.number, faults);
        }
        let status = match faults {
            0 => format!("generation {} {}", self.number, &self.compiled.digest[..12]),
            n => format!("{}: generation {} still in force", count(n, "fault"), self.number),
        };
        if told { self.systemd.ready(&status) } else { self.systemd.status(&status) }
    }

    async fn once(&mut self, by: &str) -> Outcome {
        let (gateway, env, fetcher) = (self.gateway.clone(), self.env.clone(), self.fetcher.clone());
        let previous = self.compiled.clone();
        let read = move || {
            let (reading, inputs) = config::read_next(&gateway, &env, &fetcher, &previous);
            // Tests are files too: they are played before it is looked whether anything has changed meanwhile.
            let tested = |candidate: Candidate| harness::gate(&candidate.compiled).map(|()| candidate);
            (reading.in_this_process().and_then(tested), inputs)
        };
        let Some((read, inputs)) = aside(move || settled_files(read)).await else {
            let faults = vec![self.fault("reading the files ended by a mistake of Weir's own".into())];
            return Err(self.refuse(faults, by));
        };
        let candidate = match read {
            Ok(candidate) => candidate,
            Err(faults) => {
                self.away.clear();
                self.desk.status().removing = self.away.shown();
                self.read.send_replace(Arc::new(inputs));
                return Err(self.refuse(faults, by));
            }
        };
        let waits = by == WATCH && self.waits(&candidate.diff);
        if !waits {
            // Whatever comes of it: a time that is over must not ask again and again.
            self.away.clear();
        }
        self.desk.status().removing = self.away.shown();
        let taken = match waits {
            true => Ok(self.unchanged(by)),
            false => self.settled().await.and_then(|()| self.take(candidate, by)),
        };
        self.read.send_replace(Arc::new(inputs));
        taken.map_err(|faults| self.refuse(faults, by))
    }

    /// Whether a file is away that may still come back. Asked for by anybody but the watch, it is gone.
    fn waits(&mut self, diff: &ConfigDiff) -> bool {
        let (within, now) = (self.compiled.reload.remove_after, clock().wall);
        for file in self.away.missed(&diff.away, within, now) {
            tracing::warn!(
                file = %file.display(),
                within_ms = within.0,
                "a file is gone: what it says stays in force unless it stays away; SIGHUP and POST /admin/reload end it now"
            );
        }
        !self.away.is_over()
    }

    /// One change at a time: all shards have the last one, and channels are at their homes.
    async fn settled(&self) -> Result<(), Vec<Fault>> {
        let settled = async {
            while self.shared.settled() < self.number {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        let late = |_| vec![self.fault(format!("generation {} is still on its way to all shards", self.number))];
        tokio::time::timeout(Duration::from_millis(SETTLE_MS), settled).await.map_err(late)
    }

    fn fault(&self, what: String) -> Fault {
        Fault::of_file(&self.gateway.display().to_string(), what)
    }

    /// Puts it in force: shards first, so that whoever is let in by the new files finds their shard knowing them.
    fn take(&mut self, Candidate { compiled, diff }: Candidate, by: &str) -> Outcome {
        if diff.is_empty() {
            return Ok(self.unchanged(by));
        }
        self.scripts.ready(&compiled).map_err(|fault| vec![fault])?;
        let (number, metrics) = (self.number + 1, &self.shared.metrics);
        let mut listeners = self.listeners.lock().unwrap_or_else(|e| e.into_inner());
        let bound = listeners.bind(&compiled, &diff).map_err(|(name, why)| {
            vec![self.fault(format!("[listener.{name}] cannot listen on {why}")).expected("an address that is free")]
        })?;
        // Taken before anybody hears of it: whatever ends this half-way, the next generation has another number.
        let from = std::mem::replace(&mut self.number, number);
        let front = compiled.front(number);
        front.generation.apps.iter().flatten().for_each(|app| drop(metrics.app(app.id, &app.name)));
        self.shared.take_limits(&front.generation);
        self.shared.put_all(|| Input::Generation(front.generation.clone()));
        self.forget_metrics(&diff);
        self.fetcher.trust().set(&compiled.roots);
        front.generation.keys.iter().for_each(|key| key.prepare(clock().mono));
        self.front.store(Arc::new(front));
        self.scripts.take(&compiled);
        let opened = listeners.take(bound, &compiled, &diff, &self.mailboxes);
        drop(listeners);
        opened.iter().for_each(|(name, address)| process::say(&format!("weir: listening {name} {address}")));
        self.logs.set_level(compiled.log.level);
        metrics.refusals.set_rate(compiled.log.refusals);
        let changed: Vec<String> = diff.files.iter().map(|path| path.display().to_string()).collect();
        for listener in diff.default_apps() {
            tracing::warn!(
                listener = listener.name,
                app = listener.parts.join(" "),
                "calls of the HTTP API that name no app are for another one than before"
            );
        }
        let to = number;
        tracing::info!(
            by,
            from,
            to,
            digest = &compiled.digest[..12],
            changed = changed.join(" "),
            "files put in force"
        );
        compiled.warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
        metrics.in_force(number, clock().wall);
        certificates::show(metrics, &self.front.load().entrance);
        metrics.reload("success");
        let in_force = in_force(&compiled, number);
        self.compiled = Arc::new(compiled);
        let mut status = self.desk.status();
        status.in_force = in_force.clone();
        status.last = last(by, ReloadResult::Success, Vec::new());
        Ok(Reloaded { in_force, changed })
    }

    /// Time series of apps that are gone end once their last connection has: until then they tell of it.
    fn forget_metrics(&self, diff: &ConfigDiff) {
        for (id, name) in diff.gone.iter().cloned() {
            let (shared, front) = (self.shared.clone(), self.front.clone());
            tokio::spawn(async move {
                while shared.connections.app_connections(id) > 0 {
                    tokio::time::sleep(FORGET_LOOK).await;
                }
                // It may have come back meanwhile.
                if front.load().generation.app(id).is_none() {
                    shared.metrics.forget(id, &name);
                }
            });
        }
    }

    /// What is on disk is in force already.
    fn unchanged(&self, by: &str) -> Reloaded {
        let mut status = self.desk.status();
        let mended = status.last.as_ref().is_some_and(|last| !last.faults.is_empty());
        // A file was touched, or read by somebody: nothing to speak of.
        if by != WATCH || mended {
            let (generation, mended) = (self.number, mended.then_some(true));
            tracing::info!(by, generation, mended, "the files are those in force");
            self.shared.metrics.reload("unchanged");
            self.shared.metrics.reloaded(true, clock().wall);
            status.last = last(by, ReloadResult::Unchanged, Vec::new());
        }
        Reloaded { in_force: status.in_force.clone(), changed: Vec::new() }
    }

    fn refuse(&self, faults: Vec<Fault>, by: &str) -> Vec<Fault> {
        let mut status = self.desk.status();
        let known = status.last.as_ref().map_or(&[][..], |last| &last.faults);
        if by == WATCH && known == faults {
            return faults;
        }
        // Each once, however often it is seen.
        faults.iter().filter(|fault| !known.contains(fault)).for_each(|fault| {
            // An event is one line; `weir check` tells them in several.
            tracing::error!("{}", fault.to_string().replace("\n  ", "; "));
        });
        let sum = count(faults.len(), "fault");
        tracing::error!(
            by,
            generation = self.number,
            "{sum}: the files are not put in force, what was in force still is"
        );
        self.shared.metrics.reload("fault");
        self.shared.metrics.reloaded(false, clock().wall);
        status.last = last(by, ReloadResult::Fault, faults.clone());
        faults
    }
}

/// Reads until nothing has changed meanwhile: of files that are being written or replaced, some would be old and some
/// new, each of them sound. Files that change without end are taken as they are after a while.
fn settled_files<T>(read: impl Fn() -> (T, Inputs)) -> (T, Inputs) {
    let (started, mut pause) = (std::time::Instant::now(), Duration::from_millis(5));
    loop {
        let (came_to, inputs) = read();
        if started.elapsed() > READ_AGAIN || !inputs.clone().changed(false) {
            return (came_to, inputs);
        }
        std::thread::sleep(pause);
        pause *= 2;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A request in flight when the gateway begins to stop: its reader is gone, and no list of faults says why.
    #[tokio::test]
    async fn a_reload_of_a_gateway_that_stops_is_told_so() {
        let (requests, received) = mpsc::unbounded_channel();
        let status = Mutex::new(Status {
            in_force: InForce::default(),
            last: None,
            noticing: Noticing::OFF,
            removing: Vec::new(),
        });
        let desk = Desk { requests, status };
        let asked = desk.reload("default");
        drop(Requests(received));
        assert!(matches!(asked.await, Err(NotDone::Draining)));
        assert!(matches!(desk.reload("default").await, Err(NotDone::Draining)));
    }
}
