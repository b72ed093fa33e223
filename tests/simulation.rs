//! Whole gateways from seeds (`weir::harness::simulation`). `tests/simulation/run` plays more of them, or one.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use weir::auth::Fetcher;
use weir::config::{self, Environment, Means};
use weir::flow::Generation;
use weir::harness::simulation::{Report, Site, simulate};

/// Where `WEIR_SEEDS` says nothing.
const SEEDS: u64 = 200;
const STEPS: usize = 600;
/// What must have happened in so many seeds, once at least: what never happened was not tried.
const LEAST: &[(&str, u64)] = &[
    ("reloads", 1),
    ("channels handed over", 1),
    ("resumed", 10),
    ("not resumed", 50),
    ("overflows, close", 20),
    ("overflows, drop_oldest", 40),
    ("overflows, drop_low", 40),
    ("overflows, conflate", 40),
    ("commits failed", 2),
    ("commits that hung", 2),
    ("commits that found the store busy", 5),
    ("reads that the store did not answer", 2),
    ("webhooks", 1),
    ("timers that were set, and fired once", 1),
    ("handlers failed", 20),
    ("handlers looped", 20),
    ("handlers flooded", 20),
    ("API calls", 1),
    ("API publications to several channels", 2),
    ("API refusals", 5),
    ("refusals, rate_limited", 5),
    ("refusals, unauthenticated", 1),
    ("refusals, limit:members", 10),
    ("publications refused by rule", 2),
    ("clients that flapped", 2),
    ("publications while a channel moves", 1),
    ("tokens taken", 1),
    ("subscriptions revoked", 5),
    ("newcomers sent away", 2),
    ("turned away at the door", 2),
];

/// The shipped file with these words replaced, compiled.
fn variant(replaced: &[(&str, &str)]) -> Arc<Generation> {
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/config/simulation");
    let folder = tempfile::tempdir().unwrap();
    for name in ["gateway.toml", "sim.key", "channels/sim.toml", "plugins/sim.rhai"] {
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
        ("name      = \"low:{x}\"", "name      = \"low:{x}\"\nhome      = \"low\""),
        ("name      = \"newest:{x}\"", "name      = \"newest:{x}\"\nhome      = \"all\""),
        ("name        = \"small:{x}\"", "name        = \"small:{x}\"\nhome        = \"low\""),
        NOTES,
        NOTED,
    ];
    let rules = [
        (
            "name      = \"open:{x}\"\nsubscribe = \"true\"\npublish   = \"true\"",
            "name      = \"open:{x}\"\nsubscribe = 'user.id != \"u0\"'\npublish   = 'user.id != \"u1\"'",
        ),
        NOTES,
        NOTED,
    ];
    let channels = [
        "open:1", "open:2", "open:3", "asked:1", "asked:2", "lossy:1", "low:1", "newest:1", "small:1", "staff:1",
        "own:u1", "timed:1", "timed:2", "flood:1", "flood:2",
    ];
    Site {
        variants: vec![variant(&[]), variant(&homes), variant(&rules)],
        channels: channels.map(str::to_owned).to_vec(),
        published: 9,
        kernels: 3,
        keeps: |channel| match channel.split(':').next() {
            Some("lossy" | "low") => 8,
            Some("newest") => 500,
            _ => 15,
        },
        members_max: |channel| if channel.starts_with("small:") { 2 } else { usize::MAX },
        allows: |variant, user, role, channel| match channel.split(':').next() {
            Some("open") => variant != 2 || user != "u0",
            Some("staff") => role == "staff",
            Some("own") => false,
            _ => true,
        },
        lets_publish: |variant, user, channel| variant != 2 || user != "u1" || !channel.starts_with("open:"),
        token,
    }
}

/// Handlers tell of what they let pass: of some files only.
const NOTES: (&str, &str) =
    ("handler   = { publish = \"decide\",", "handler   = { publish = \"decide\", published = \"note\",");
const NOTED: (&str, &str) = (
    "[[channel]]\nname      = \"timed:{x}\"",
    "[[channel]]\nname = \"noted:{x}\"\n\n[[channel]]\nname      = \"timed:{x}\"",
);

fn token(user: &str, role: &str, ends: u64, good: bool) -> String {
    let key = fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/config/simulation/sim.key")).unwrap();
    let key = if good { key } else { b"somebody else's".to_vec() };
    let claims = serde_json::json!({ "sub": user, "role": role, "exp": ends });
    let key = jsonwebtoken::EncodingKey::from_secret(&key);
    jsonwebtoken::encode(&jsonwebtoken::Header::default(), &claims, &key).unwrap()
}

fn play(site: &Site, seed: u64) -> Report {
    let report = simulate(site, seed, STEPS).unwrap_or_else(|what| panic!("seed {seed}: {what}"));
    if seed.is_multiple_of(50) {
        assert_eq!(simulate(site, seed, STEPS), Ok(report.clone()), "seed {seed} goes otherwise the second time");
    }
    report
}

#[test]
fn whatever_happens_in_whatever_order_holds() {
    let site = site();
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse().unwrap());
    if let Some(seed) = number("WEIR_SEED") {
        let report = simulate(&site, seed, STEPS).unwrap_or_else(|what| panic!("seed {seed}: {what}"));
        return println!("simulation: seed {seed}: {report}");
    }
    let seeds = number("WEIR_SEEDS").unwrap_or(SEEDS);
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get() as u64);
    let sum = std::thread::scope(|scope| {
        let played = |first| {
            let site = &site;
            scope.spawn(move || {
                (first..seeds)
                    .step_by(threads as usize)
                    .map(|seed| play(site, seed))
                    .fold(Report::default(), |sum, report| sum.with(&report))
            })
        };
        let all: Vec<_> = (0..threads).map(played).collect();
        let sums = all.into_iter().map(|thread| thread.join().unwrap());
        sums.fold(Report::default(), |sum, report| sum.with(&report))
    });
    println!("simulation: {seeds} seeds of {STEPS} steps: {sum}");
    for (what, seeds_each) in LEAST {
        let (happened, least) = (sum.of(what), seeds / seeds_each);
        assert!(happened >= least, "{happened} {what}, {least} are the least");
    }
}
