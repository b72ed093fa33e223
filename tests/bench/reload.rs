//! Live files under load: what 15,000 connections on 1,000 channels with traffic notice of files that change.
//! `tests/bench/reload/run BIN` (see there) prints a table. Nothing is asserted but that nothing is lost or dropped.
//!
//! Numbers in the events tell what is lost; the time in them tells how long they were under way. The generator is one
//! thread beside the gateway on the same machine: its own lateness is told, and latencies include it.

#[path = "reload/site.rs"]
mod site;
#[path = "reload/swarm.rs"]
mod swarm;

use site::Site;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::mpsc;
use std::time::{Duration, Instant};
use swarm::{CLOSING, OPEN, Swarm};

/// How long latencies are looked at after a reload was asked for.
const WINDOW: Duration = Duration::from_millis(500);
/// Without any change, for comparison.
const QUIET: Duration = Duration::from_secs(5);
/// Edits of one file whose way to a live socket is timed.
const SAVES: usize = 10;

struct Wanted {
    bin: PathBuf,
    connections: usize,
    channels: usize,
    rate: u32,
    reloads: usize,
}

fn main() -> ExitCode {
    let Some(wanted) = wanted() else {
        println!("tests/bench/reload/run BIN measures live files under load");
        return ExitCode::SUCCESS;
    };
    match measure(&wanted) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(what) => {
            eprintln!("reload: {what}");
            ExitCode::FAILURE
        }
    }
}

/// `None`: nobody asked for a measurement, as `cargo test --benches` does not.
fn wanted() -> Option<Wanted> {
    let mut wanted = Wanted { bin: PathBuf::new(), connections: 15_000, channels: 1_000, rate: 400, reloads: 10 };
    let mut arguments = std::env::args().skip(1).filter(|a| a != "--bench" && a != "--test");
    while let Some(argument) = arguments.next() {
        let mut number = || arguments.next()?.parse::<usize>().ok();
        match argument.as_str() {
            "--connections" => wanted.connections = number()?,
            "--channels" => wanted.channels = number()?.max(3),
            "--rate" => wanted.rate = number()?.max(1) as u32,
            "--reloads" => wanted.reloads = number()?.max(1),
            bin => wanted.bin = bin.into(),
        }
    }
    (wanted.bin != PathBuf::new()).then_some(wanted)
}

fn measure(wanted: &Wanted) -> Result<bool, String> {
    let mut site = Site::start(&wanted.bin).ok_or("the gateway did not start")?;
    let (began, Wanted { connections, channels, rate, .. }) = (Instant::now(), wanted);
    let swarm = Swarm::connect(site.address("main"), *connections, *channels, *rate);
    let mut swarm = swarm.map_err(|error| format!("{error}; the limit of open files may be too low: ulimit -n"))?;
    println!(
        "{connections} connections on {channels} channels in {:.1} s, {rate} publishes a second, {} deliveries a second\n",
        began.elapsed().as_secs_f64(),
        *rate as usize * connections / channels
    );
    swarm.run_for(Duration::from_secs(2))?;
    let _ = take(&mut swarm);
    swarm.run_for(QUIET)?;
    row("latency, nothing changes", &take(&mut swarm).concat());

    let mut asked = Vec::new();
    for _ in 0..wanted.reloads {
        asked.push(reload(&mut swarm, &mut site)?);
    }
    row(&format!("latency, {} reloads of all 12 files", wanted.reloads), &take(&mut swarm).concat());
    times("reload of all files, asked and answered", asked);

    let mut saves = Vec::new();
    for _ in 0..SAVES {
        saves.push(save(&mut swarm, &mut site)?);
        swarm.run_for(Duration::from_millis(200))?;
    }
    times("a file saved, and live on an open socket", saves);

    let _ = take(&mut swarm);
    swarm.run_for(QUIET)?;
    row("latency, nothing changes again", &take(&mut swarm).concat());
    let (before, of_closing) = (Instant::now(), swarm.of_closing() as u64);
    site.close();
    swarm.run(|swarm| swarm.seen.revoked >= of_closing && before.elapsed() >= WINDOW)?;
    let [_, open] = take(&mut swarm);
    let since = |at: Option<Instant>| at.map_or(Duration::ZERO, |at| at - before);
    let (first, last) = (since(swarm.seen.first_revoked), since(swarm.seen.last_revoked));
    println!("{:<58}{:>10.1} ms", format!("saved, to the first of {of_closing} revocations"), millis(first));
    println!("{:<58}{:>10.1} ms", "from the first revocation to the last", millis(last - first));
    row("latency of other channels meanwhile", &open);

    swarm.settle()?;
    let counted = site.metric("weir_config_revoked_subscriptions_total").unwrap_or(-1.0);
    let seen = &swarm.seen;
    println!(
        "\n{} deliveries: {} lost, {} doubled; {} connections dropped; {} of {of_closing} revocations heard, {counted} counted",
        seen.delivered, seen.lost, seen.doubled, seen.dropped, seen.revoked
    );
    println!("the generator was {:.1} ms late at most", millis(seen.late));
    Ok(seen.lost + seen.doubled + seen.dropped == 0 && seen.revoked == of_closing && counted == of_closing as f64)
}

/// Changes all files and has them put in force; the time of the answer.
fn reload(swarm: &mut Swarm, site: &mut Site) -> Result<Duration, String> {
    let (before, admin) = (Instant::now(), site.address("admin"));
    site.edit_all();
    let (tell, told) = mpsc::channel();
    std::thread::spawn(move || {
        let answer = Site::ask(admin, "POST", "/admin/reload");
        let _ = tell.send((before.elapsed(), answer));
    });
    let mut answered = None;
    swarm.run(|_| {
        answered = answered.take().or_else(|| told.try_recv().ok());
        answered.is_some() && before.elapsed() >= WINDOW
    })?;
    match answered {
        Some((time, Some((200, _)))) => Ok(time),
        other => Err(format!("the reload was answered with {other:?}")),
    }
}

/// Changes one file and leaves it to the watch; the time until a pong shows it.
fn save(swarm: &mut Swarm, site: &mut Site) -> Result<Duration, String> {
    let before = Instant::now();
    let wanted = site.edit_one();
    swarm.ping();
    swarm.run(|swarm| match &swarm.seen.pong {
        Some(pong) if *pong == wanted => true,
        Some(_) => {
            swarm.ping();
            false
        }
        None => false,
    })?;
    Ok(before.elapsed())
}

fn take(swarm: &mut Swarm) -> [Vec<u32>; 2] {
    let latency = &mut swarm.seen.latency;
    [std::mem::take(&mut latency[CLOSING]), std::mem::take(&mut latency[OPEN])]
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1_000.0
}

/// Percentiles of microseconds.
fn row(name: &str, micros: &[u32]) {
    let mut sorted = micros.to_vec();
    sorted.sort_unstable();
    let at = |share: f64| {
        let place = ((sorted.len() as f64 * share) as usize).min(sorted.len().saturating_sub(1));
        sorted.get(place).map_or(f64::NAN, |micros| f64::from(*micros) / 1_000.0)
    };
    let [p50, p99, max] = [0.5, 0.99, 1.0].map(at);
    println!("{name:<58}{p50:>10.2} ms p50{p99:>10.2} ms p99{max:>10.2} ms max");
}

fn times(name: &str, mut times: Vec<Duration>) {
    times.sort_unstable();
    let (median, max) = (times[times.len() / 2], times[times.len() - 1]);
    println!("{name:<58}{:>10.1} ms median{:>7.1} ms max", millis(median), millis(max));
}
