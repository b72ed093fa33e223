//! Builds the rooms from the files, starts them, and takes them down again.
//!
//! In: the path of `gateway.toml`, the environment, signals. Out: an exit code.
//! The main thread is the background: accepting, fetching keys and rows, signals. Everything else is the shards'.

mod certificates;
mod http;
mod listeners;
pub mod notify;
mod office;
mod plan;
mod plugins;
mod process;
mod reload;
mod removal;
mod rows;
mod scripts;
mod triggers;

use self::notify::Systemd;
use crate::auth::Fetcher;
use crate::config::{self, Compiled, ConfigDiff, Environment, Means};
use crate::harness;
use crate::kernel::{Input, Port, Shared};
use crate::listen::{Attempts, Context, serve};
use crate::model::{Close, Fault, Problem, summary};
use crate::observe::{Logs, Metrics, clock, finish_audit, finish_log, start_audit};
use crate::shard::{Accepted, Door, start};
use arc_swap::ArcSwap;
use listeners::Listeners;
use office::Office;
use plan::Planner;
use plugins::Stage;
use process::say;
use reload::Reload;
use removal::Away;
use scripts::Scripts;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::watch;

/// A configuration with mistakes: `EX_CONFIG` of sysexits.h.
const EX_CONFIG: u8 = 78;
/// How long `/readyz` fails before connections are closed: load balancers look every second or so.
const UNREADY_MS: u64 = 200;
/// How long handlers and their commits may still take once all connections are closed.
const STOP_WORKERS: Duration = Duration::from_secs(5);

/// Serves what the files say until it is told to stop.
pub fn run(gateway: &Path, env: &Environment) -> ExitCode {
    let background = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail("no runtime", error),
    };
    let fetcher = Fetcher::new(background.handle().clone());
    let read = config::read_to_serve(gateway, &Means { env, fetcher: &fetcher, previous: None });
    let compiled = match read.and_then(|compiled| harness::gate(&compiled).map(|()| compiled)) {
        Ok(compiled) => compiled,
        Err(faults) => return tell(&faults),
    };
    let logs = match Logs::start(&compiled.log) {
        Ok(logs) => logs,
        Err(error) => return fail("cannot log", error),
    };
    if let Err(error) = start_audit(&compiled.audit, gateway.parent().unwrap_or(Path::new(""))) {
        return tell(&[compiled.fault(&Problem::new("audit.target", error.to_string()))]);
    }
    let systemd = Systemd::of(env);
    let (gateway, env, handle) = (gateway.to_owned(), env.clone(), background.handle().clone());
    let start = Start { gateway, env, compiled, fetcher, background: handle, logs, systemd };
    let result = background.block_on(serve_all(start));
    finish_audit();
    finish_log();
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail("cannot serve", error),
    }
}

/// What serving starts with.
struct Start {
    gateway: PathBuf,
    env: Environment,
    compiled: Compiled,
    fetcher: Fetcher,
    background: tokio::runtime::Handle,
    logs: Logs,
    systemd: Systemd,
}

fn fail(what: &str, error: impl std::fmt::Display) -> ExitCode {
    process::complain(&format!("weir: {what}: {error}"));
    ExitCode::FAILURE
}

fn tell(faults: &[Fault]) -> ExitCode {
    faults.iter().for_each(|fault| process::complain(&format!("{fault}\n")));
    process::complain(&summary(faults));
    ExitCode::from(EX_CONFIG)
}

async fn serve_all(start_with: Start) -> std::io::Result<()> {
    let Start { gateway, env, compiled, fetcher, background, logs, systemd } = start_with;
    process::raise_open_files();
    let metrics = Metrics::new();
    let front = compiled.front(1);
    for app in front.generation.apps.iter().flatten() {
        metrics.app(app.id, &app.name);
    }
    let generation = front.generation.clone();
    fetcher.trust().set(&compiled.roots);
    metrics.refusals.set_rate(compiled.log.refusals);
    // Before the first token comes; where a source does not answer, the log says so now.
    generation.keys.iter().for_each(|key| key.prepare(clock().mono));
    let front = Arc::new(ArcSwap::from_pointee(front));
    let mut listeners = Listeners::new();
    let failed = |(name, why): (String, String)| std::io::Error::other(format!("listener `{name}` on {why}"));
    let diff = ConfigDiff::at_start(&compiled);
    let bound = listeners.bind(&compiled, &diff).map_err(failed)?;

    let cores = std::thread::available_parallelism().map_or(1, |n| n.get());
    let shards = compiled.shards.map_or(cores, |n| n.max(1) as usize);
    let shared = Shared::new(shards, metrics.clone());
    shared.take_limits(&generation);
    let (drain, draining) = watch::channel(false);
    let (desk, requests) = reload::desk(&compiled);
    let compiled = Arc::new(compiled);
    let in_force = Arc::new(ArcSwap::new(compiled.clone()));
    let port = Port::new(shared.clone());
    let base = gateway.parent().unwrap_or(Path::new("")).to_owned();
    let stage = Arc::new(Stage::new(port.clone(), front.clone()));
    let scripts = Arc::new(Scripts::start(&compiled, &base, stage, &background, metrics.clone(), fetcher.trust())?);
    let means = (env.clone(), fetcher.clone());
    let planner = Arc::new(Planner::new(means, in_force.clone(), front.clone(), port.clone(), scripts.clone()));
    let context = Arc::new(Context {
        front: front.clone(),
        api: Arc::new(http::Http {
            state: Arc::default(),
            port,
            ports: listeners.ports.clone(),
            admin: Arc::new(Office { desk: desk.clone(), planner }),
        }),
        counts: shared.connections.clone(),
        places: Arc::default(),
        operators: Arc::default(),
        attempts: Arc::new(Attempts::default()),
        metrics: metrics.clone(),
        draining,
        clock,
    });
    scripts.ready(&compiled).map_err(|fault| std::io::Error::other(fault.to_string()))?;
    shared.set_workers(scripts.workers.clone());
    let handshake = move |accepted: Accepted, door: Rc<dyn Door>| serve(accepted, door, context.clone());
    let threads = start(generation, shared.clone(), handshake)?;
    // What changes from the first reading on is seen by the watch's first look.
    let (read, reading) = watch::channel(Arc::new(compiled.inputs.clone()));
    let supervised = metrics.tasks.clone();
    let asked = desk.clone();
    tokio::spawn(supervised.clone().supervise("signals".into(), move || triggers::signals(asked.clone())));
    // Timers of the last run may be overdue: shards are there to hear them, clients may come.
    scripts.take(&compiled);
    let swept = scripts.clone();
    tokio::spawn(supervised.clone().supervise("sweep".into(), move || swept.clone().sweep()));
    let mailboxes = threads.mailboxes.clone();
    listeners.take(bound, &compiled, &diff, &mailboxes);
    // Whoever reads that it is ready may stop it at once, and finds it stopping in order.
    let mut stop = process::StopSignals::new();
    announce(&compiled, &listeners, shards, &gateway);
    systemd.ready(&format!("{} apps, generation 1 {}", compiled.apps.len(), &compiled.digest[..12]));
    let watchdog = systemd.clone();
    let alive = move || {
        let watchdog = watchdog.clone();
        async move { watchdog.alive().await }
    };
    tokio::spawn(supervised.clone().supervise("watchdog".into(), alive));
    metrics.in_force(1, clock().wall);
    certificates::show(&metrics, &front.load().entrance);
    let served = front.clone();
    tokio::spawn(supervised.clone().supervise("certificates".into(), move || certificates::remind(served.clone())));
    let (served, told) = (front.clone(), shared.clone());
    tokio::spawn(supervised.clone().supervise("rows".into(), move || rows::follow(served.clone(), told.clone())));
    let listeners = Arc::new(Mutex::new(listeners));
    let (asked, settings) = (desk.clone(), compiled.reload.clone());
    let files = move || triggers::files(asked.clone(), settings.clone(), reading.clone());
    tokio::spawn(supervised.clone().supervise("file watch".into(), files));
    let (front_too, shared_too, listeners_too) = (front.clone(), shared.clone(), listeners.clone());
    let reload = Reload {
        gateway,
        env,
        fetcher,
        front,
        shared: shared_too,
        mailboxes: mailboxes.clone(),
        listeners,
        logs,
        compiled,
        number: 1,
        desk,
        scripts: scripts.clone(),
        systemd: systemd.clone(),
        read,
        away: Away::default(),
    };
    // What it holds outlives a panic: the next request finds it as it was.
    let reload = Arc::new(tokio::sync::Mutex::new((reload, requests)));
    let reloads = move || {
        let (reload, in_force) = (reload.clone(), in_force.clone());
        async move {
            let (reload, requests) = &mut *reload.lock().await;
            reload.run(requests, &in_force).await;
            Ok(())
        }
    };
    let reloading = tokio::spawn(supervised.supervise("reload".into(), reloads));
    let (front, listeners) = (front_too, listeners_too);

    stop.asked().await;
    systemd.stopping();
    reloading.abort();
    tracing::info!("stopping: no new connections, closing {} existing ones", shared.connections.connections());
    shared.draining.store(true, Ordering::Relaxed);
    let _ = drain.send(true);
    let limits = front.load().generation.limits.clone();
    tokio::select! {
        () = drain_all(&shared, &limits, &listeners) => {}
        () = stop.asked() => tracing::warn!("asked again: stopping at once"),
        () = tokio::time::sleep(limits.drain.duration()) => tracing::warn!("the time to drain is over"),
    }
    // What clients asked for in their last moments is done before what carries it out ends.
    scripts.stop(STOP_WORKERS).await;
    mailboxes.stop();
    threads.join();
    Ok(())
}

/// Readiness fails first, so that balancers look elsewhere; then nobody new, then everybody is closed at a pace.
async fn drain_all(shared: &Shared, limits: &crate::flow::Limits, listeners: &Mutex<Listeners>) {
    tokio::time::sleep(Duration::from_millis(UNREADY_MS)).await;
    listeners.lock().unwrap_or_else(|e| e.into_inner()).stop();
    let pace = limits.drain_pace.div_ceil(shared.shards() as u32).max(1);
    shared.put_all(|| Input::Drain { pace, close: Close::GOING_AWAY });
    while shared.connections.connections() > 0 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// What people look at first.
fn announce(compiled: &Compiled, listeners: &Listeners, shards: usize, gateway: &Path) {
    for name in &compiled.made_up {
        tracing::warn!("development: {name} is not set, its published value `{}` is used", config::published(name));
    }
    for warning in &compiled.warnings {
        tracing::warn!("{warning}");
    }
    for (name, (tls, address)) in listeners.all() {
        say(&format!("weir: listening {name} {address}"));
        let s = if tls { "s" } else { "" };
        let host =
            if address.ip().is_unspecified() { format!("localhost:{}", address.port()) } else { address.to_string() };
        say(&format!("        http{s}://{host}  ws{s}://{host}"));
    }
    for app in &compiled.apps {
        for (name, (_, address)) in listeners.all() {
            if app.endpoints.iter().any(|e| e.listener.as_deref() == Some(name)) {
                app.flow.log.started(&app.flow.name, address);
            }
        }
    }
    say(&format!(
        "weir: ready, {} apps from {}, {shards} shards, generation 1 {}",
        compiled.apps.len(),
        gateway.display(),
        &compiled.digest[..12]
    ));
}
