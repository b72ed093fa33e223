//! Whole gateways from seeds (`weir::harness::simulation`). `tests/simulation/run` plays more of them, or one.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use weir::auth::Fetcher;
use weir::config::{self, Environment, Means};
use weir::flow::Generation;
use weir::harness::simulation::{Report, Site, simulate};

/// Where `WEIR_SEEDS` says nothing.
const SEEDS: u64 = 300;
const STEPS: usize = 700;

/// The shipped file with these words replaced, compiled.
fn variant(replaced: &[(&str, &str)]) -> Arc<Generation> {
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/config/simulation");
    let folder = tempfile::tempdir().unwrap();
    for name in ["gateway.toml", "channels/sim.toml", "plugins/sim.rhai"] {
        let mut text = fs::read_to_string(from.join(name)).unwrap();
        if name == "channels/sim.toml" {
            for (old, new) in replaced {
                assert!(text.contains(old), "{old}");
                text = text.replace(old, new);
            }
        }
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (env, fetcher) = (Environment::default(), Fetcher::new(runtime.handle().clone()));
    let means = Means { env: &env, fetcher: &fetcher, previous: None };
    let compiled = config::read(&folder.path().join("gateway.toml"), &means);
    let compiled = compiled.unwrap_or_else(|faults| panic!("{}", faults[0]));
    compiled.front(1).generation
}

fn site() -> Site {
    let homes = [
        ("name      = \"open:{x}\"", "name      = \"open:{x}\"\nhome      = \"all\""),
        ("name      = \"asked:{x}\"", "name      = \"asked:{x}\"\nhome      = \"others\""),
    ];
    let rules = [(
        "name      = \"open:{x}\"\nsubscribe = \"true\"",
        "name      = \"open:{x}\"\nsubscribe = 'user.id != \"even\"'",
    )];
    Site {
        variants: vec![variant(&[]), variant(&homes), variant(&rules)],
        channels: ["open:1", "open:2", "open:3", "asked:1", "asked:2", "lossy:1"].map(str::to_owned).to_vec(),
        kernels: 3,
    }
}

fn play(site: &Site, seed: u64) -> Report {
    let report = simulate(site, seed, STEPS).unwrap_or_else(|what| panic!("seed {seed}: {what}"));
    if seed.is_multiple_of(50) {
        assert_eq!(simulate(site, seed, STEPS), Ok(report.clone()), "seed {seed} goes otherwise the second time");
    }
    report
}

/// Hashes together are one of all runs, whatever their order.
fn add(sum: Report, report: Report) -> Report {
    Report {
        hash: sum.hash ^ report.hash,
        connections: sum.connections + report.connections,
        published: sum.published + report.published,
        heard: sum.heard + report.heard,
        reloads: sum.reloads + report.reloads,
        resumed: sum.resumed + report.resumed,
        slow: sum.slow + report.slow,
        refused: sum.refused + report.refused,
        failed_commits: sum.failed_commits + report.failed_commits,
    }
}

#[test]
fn whatever_happens_in_whatever_order_holds() {
    let site = site();
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse().unwrap());
    if let Some(seed) = number("WEIR_SEED") {
        let report = simulate(&site, seed, STEPS).unwrap_or_else(|what| panic!("seed {seed}: {what}"));
        return println!("simulation: seed {seed}: {report:?}");
    }
    let seeds = number("WEIR_SEEDS").unwrap_or(SEEDS);
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get() as u64);
    let sum = std::thread::scope(|scope| {
        let played = |first| {
            let site = &site;
            scope.spawn(move || {
                (first..seeds).step_by(threads as usize).map(|seed| play(site, seed)).fold(Report::default(), add)
            })
        };
        let all: Vec<_> = (0..threads).map(played).collect();
        all.into_iter().map(|thread| thread.join().unwrap()).fold(Report::default(), add)
    });
    println!("simulation: {seeds} seeds of {STEPS} steps: {sum:?}");
    // What never happened was not tried.
    let least = [sum.reloads, sum.resumed, sum.slow, sum.refused, sum.failed_commits];
    assert!(least.iter().all(|count| *count > seeds / 4), "{sum:?}");
}
