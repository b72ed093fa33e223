//! Builds the rooms from the files, starts them, and takes them down again.
//!
//! In: the path of `gateway.toml`, the environment, signals. Out: an exit code.
//! The main thread is the background: accepting, fetching keys and rows, signals. Everything else is the shards'.

mod assemble;
mod http;
pub mod notify;
mod process;

use self::notify::Systemd;
use crate::auth::Fetcher;
use crate::config::{self, Compiled, Environment, Fault, Means, summary};
use crate::listen::{Attempts, Context, accept, bind, serve};
use crate::model::Close;
use crate::observe::{Logs, Metrics, finish_audit, start_audit};
use crate::shard::{Accepted, Door, Port, Shared, clock, start};
use arc_swap::ArcSwap;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::ExitCode;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::watch;

/// A configuration with mistakes: `EX_CONFIG` of sysexits.h.
const EX_CONFIG: u8 = 78;
/// How long `/readyz` fails before connections are closed: load balancers look every second or so.
const UNREADY_MS: u64 = 200;

/// Serves what the files say until it is told to stop.
pub fn run(gateway: &Path, env: &Environment) -> ExitCode {
    let background = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail("no runtime", error),
    };
    let fetcher = Fetcher::new(background.handle().clone());
    let compiled = match config::read(gateway, &Means { env, fetcher: &fetcher, previous: None }) {
        Ok(compiled) => compiled,
        Err(faults) => return tell(&faults),
    };
    let logs = Logs::start(&compiled.log);
    if let Err(error) = start_audit(&compiled.audit, gateway.parent().unwrap_or(Path::new(""))) {
        return fail("cannot audit", error);
    }
    let systemd = Systemd::of(env);
    let result = background.block_on(serve_all(gateway, compiled, background.handle().clone(), logs, &systemd));
    finish_audit();
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail("cannot serve", error),
    }
}

fn fail(what: &str, error: impl std::fmt::Display) -> ExitCode {
    eprintln!("weir: {what}: {error}");
    ExitCode::FAILURE
}

fn tell(faults: &[Fault]) -> ExitCode {
    faults.iter().for_each(|fault| eprintln!("{fault}\n"));
    eprintln!("{}", summary(faults));
    ExitCode::from(EX_CONFIG)
}

async fn serve_all(
    gateway: &Path,
    compiled: Compiled,
    background: tokio::runtime::Handle,
    _logs: Logs,
    systemd: &Systemd,
) -> std::io::Result<()> {
    process::raise_open_files();
    let metrics = Metrics::new();
    let front = assemble::front(&compiled, 1);
    for app in front.generation.apps.iter().flatten() {
        metrics.app(app.id, &app.name);
    }
    let generation = front.generation.clone();
    let front = Arc::new(ArcSwap::from_pointee(front));

    let mut listeners = Vec::new();
    for (name, settings) in &compiled.listeners {
        let listener = bind(settings)
            .map_err(|e| std::io::Error::new(e.kind(), format!("listener `{name}` on {}: {e}", settings.address)))?;
        let address = listener.local_addr()?;
        listeners.push((name.clone(), settings.tls.is_some(), address, listener));
    }

    let cores = std::thread::available_parallelism().map_or(1, |n| n.get());
    let shards = compiled.shards.map_or(cores, |n| n.max(1) as usize);
    let shared = Shared::new(shards, metrics.clone(), background);
    let (drain, draining) = watch::channel(false);
    let context = Arc::new(Context {
        front: front.clone(),
        api: Arc::new(http::Http {
            state: Arc::default(),
            port: Port::new(shared.clone()),
            ports: listeners.iter().map(|(_, _, address, _)| address.port()).collect(),
        }),
        counts: shared.connections.clone(),
        attempts: Arc::new(Attempts::default()),
        metrics: metrics.clone(),
        draining,
        clock,
    });
    let handshake = move |accepted: Accepted, door: Rc<dyn Door>| serve(accepted, door, context.clone());
    let threads = start(generation, shared.clone(), handshake)?;
    announce(&compiled, &listeners, shards, gateway);
    systemd.ready(&format!("{} apps, generation 1 {}", compiled.apps.len(), &compiled.digest[..12]));
    let watchdog = systemd.clone();
    tokio::spawn(async move { watchdog.alive().await });

    let mut acceptors = Vec::new();
    for (number, (_, _, _, listener)) in listeners.into_iter().enumerate() {
        acceptors.push(tokio::spawn(accepting(listener, number as u16, shared.clone(), metrics.clone())));
    }
    process::stop_asked().await;
    systemd.stopping();
    tracing::info!("stopping: no new connections, closing {} existing ones", shared.connections.connections());
    shared.draining.store(true, Ordering::Relaxed);
    let _ = drain.send(true);
    let limits = front.load().generation.limits.clone();
    tokio::select! {
        () = drain_all(&shared, &limits, &acceptors) => {}
        () = process::stop_asked() => tracing::warn!("asked again: stopping at once"),
        () = tokio::time::sleep(limits.drain.duration()) => tracing::warn!("the time to drain is over"),
    }
    shared.peers().iter().for_each(|peer| peer.stop());
    threads.join();
    Ok(())
}

async fn accepting(listener: TcpListener, number: u16, shared: Arc<Shared>, metrics: Arc<Metrics>) {
    let deliver = |accepted| {
        if let Some(shard) = shared.least_loaded() {
            shard.accepted(accepted);
        }
    };
    let failed = |_: &std::io::Error| metrics.limit(crate::observe::LimitName::Connections, 1);
    if let Err(error) = accept(listener, number, deliver, failed).await {
        tracing::error!(listener = number, %error, "a listener ended");
    }
}

/// Readiness fails first, so that balancers look elsewhere; then nobody new, then everybody is closed at a pace.
async fn drain_all(shared: &Shared, limits: &crate::flow::Limits, acceptors: &[tokio::task::JoinHandle<()>]) {
    tokio::time::sleep(Duration::from_millis(UNREADY_MS)).await;
    acceptors.iter().for_each(|acceptor| acceptor.abort());
    let pace = limits.drain_pace.div_ceil(shared.shards() as u32).max(1);
    shared.peers().iter().for_each(|peer| peer.drain(pace, Close::GOING_AWAY));
    while shared.connections.connections() > 0 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// What people look at first.
fn announce(compiled: &Compiled, listeners: &[(String, bool, SocketAddr, TcpListener)], shards: usize, gateway: &Path) {
    for name in &compiled.made_up {
        tracing::warn!("development: {name} is not set, its published value `{}` is used", config::published(name));
    }
    for warning in &compiled.warnings {
        tracing::warn!("{warning}");
    }
    for (name, tls, address, _) in listeners {
        println!("weir: listening {name} {address}");
        let s = if *tls { "s" } else { "" };
        let host =
            if address.ip().is_unspecified() { format!("localhost:{}", address.port()) } else { address.to_string() };
        println!("        http{s}://{host}  ws{s}://{host}");
    }
    for app in &compiled.apps {
        for (name, _, address, _) in listeners {
            if app.endpoints.iter().any(|e| e.listener.as_deref() == Some(name)) {
                app.flow.log.started(&app.flow.name, *address);
            }
        }
    }
    println!(
        "weir: ready, {} apps from {}, {shards} shards, generation 1 {}",
        compiled.apps.len(),
        gateway.display(),
        &compiled.digest[..12]
    );
}
