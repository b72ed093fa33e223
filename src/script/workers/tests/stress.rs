//! Many at once, and then everything is counted.

use super::rig::*;
use crate::model::Code;
use crate::script::{EntitySettings, Limits, Process};
use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

const THREADS: usize = 4;
const CALLS: usize = 2_500;
const ENTITIES: usize = 12;

/// Counts, and fails or refuses now and then.
const COUNTING: &str = r#"
    fn count(event) {
        this.n = (this.n ?? 0) + 1;
        publish("at", [event.data.of, this.n]);
        if event.data.i % 7 == 0 { throw "now and then" }
        if event.data.i % 11 == 0 { refuse("denied", "now and then") }
        if event.data.i % 13 == 0 { after(1, "tick") }
        if event.data.i % 17 == 0 { set(`k${event.data.of}`, this.n) }
    }
    fn tick(event) { this.t = (this.t ?? 0) + 1; }
    fn tell(event) { publish("told", this); }
"#;

#[derive(Default)]
struct Counts {
    ok: AtomicUsize,
    failed: AtomicUsize,
    refused: AtomicUsize,
    given_back: AtomicUsize,
    /// Those that came to `then`, by call: none twice.
    seen: Mutex<HashMap<(usize, usize), usize>>,
    /// Calls of each entity that ended well.
    well: [AtomicUsize; ENTITIES],
}

#[test]
fn nothing_is_lost_or_done_twice_while_all_goes_on_at_once() {
    let plan = Plan { plugin: COUNTING, store: Some(memory()), ..Plan::default() };
    let limits = Limits { breaker_faults: 0, entity_queue: 40, ..plan.limits.clone() };
    // Small enough that stored entities come and go all the time.
    let entities = vec![("ward", EntitySettings { max: 8, ..stored() })];
    let process = Process { workers: 6, queue: 300, ..Process::default() };
    let rig = Plan { limits, entities, process, ..plan }.start();
    let counts = Arc::new(Counts::default());
    std::thread::scope(|scope| {
        for at in 0..THREADS {
            let (rig, counts) = (&rig, counts.clone());
            scope.spawn(move || (0..CALLS).for_each(|i| submit(rig, &counts, at, i)));
        }
        scope.spawn(|| {
            for n in 1..200 {
                rig.set_clock(NOW + 5 * n);
                rig.workers.set_apps(vec![rig.app.clone()]).unwrap();
                std::thread::yield_now();
            }
        });
    });
    rig.wait_until(|rig| rig.workers.stats().pending == 0);
    let n = |count: &AtomicUsize| count.load(Ordering::SeqCst);
    let seen = counts.seen.lock().unwrap();
    assert!(seen.values().all(|times| *times == 1));
    assert_eq!(seen.len() + n(&counts.given_back), THREADS * CALLS);
    assert_eq!(n(&counts.ok) + n(&counts.failed) + n(&counts.refused), seen.len());
    assert!(n(&counts.ok) > 0 && n(&counts.failed) > 0 && n(&counts.refused) > 0);
    // Each entity counted the calls that ended well, one after another, and published each number once.
    let mut published: HashMap<usize, Vec<usize>> = HashMap::new();
    for happened in rig.so_far() {
        if let Happened::Carried(text) = happened
            && let Some(pair) = text.strip_prefix("at ")
        {
            let (of, n): (usize, usize) = serde_json::from_str(pair).unwrap();
            published.entry(of).or_default().push(n);
        }
    }
    for of in 0..ENTITIES {
        let well = n(&counts.well[of]);
        assert!(well > 0);
        assert!(published[&of].iter().copied().eq(1..=well), "entity {of}: {well} {:?}", published[&of]);
        let state: serde_json::Value = serde_json::from_str(&rig.state(&entity(of))).unwrap();
        assert_eq!(state["n"], well, "entity {of}");
    }
    rig.settle();
    let stats = rig.workers.stats();
    assert_eq!((stats.waiting, stats.pending), (0, 0));
}

#[test]
fn entities_and_apps_come_and_go_under_way() {
    let entities = vec![("queue", EntitySettings { max: 6, ..EntitySettings::default() })];
    let process = Process { workers: 6, ..Process::default() };
    let rig = Plan { plugin: COUNTING, store: Some(memory()), entities, process, ..Plan::default() }.start();
    let (taken, told) = (AtomicUsize::new(0), Arc::new(AtomicUsize::new(0)));
    std::thread::scope(|scope| {
        for at in 0..THREADS {
            let (rig, taken, told) = (&rig, &taken, told.clone());
            scope.spawn(move || {
                for i in 0..CALLS {
                    let (told, entity) = (told.clone(), entity((i + at) % ENTITIES));
                    let data = format!(r#"{{"i":{},"of":0}}"#, 7 * i + 13);
                    let then = move |_| {
                        told.fetch_add(1, Ordering::SeqCst);
                    };
                    let _ = match rig.workers.submit(rig.make("count", &entity, &data, Box::new(then))) {
                        Ok(()) => taken.fetch_add(1, Ordering::SeqCst),
                        Err(_) => 0,
                    };
                    if i % 5 == at {
                        rig.workers.forget(rig.app.id, &entity);
                    }
                }
            });
        }
        scope.spawn(|| {
            for n in 1..100 {
                rig.workers.set_apps(vec![]).unwrap();
                rig.set_clock(NOW + 5 * n);
                rig.workers.set_apps(vec![rig.app.clone()]).unwrap();
            }
        });
    });
    rig.wait_until(|rig| rig.workers.stats().pending == 0);
    assert!(taken.load(Ordering::SeqCst) > CALLS);
    assert_eq!(told.load(Ordering::SeqCst), taken.load(Ordering::SeqCst));
    // Whatever is left can be forgotten, and then nothing is.
    (0..ENTITIES).for_each(|of| rig.workers.forget(rig.app.id, &entity(of)));
    rig.settle();
    assert_eq!((rig.workers.stats().entities, rig.memory()), (0, 0));
    assert!(rig.metric(r#"weir_entities{app="test",kind="queue"} 0"#));
    assert!(rig.metric(r#"weir_entity_bytes{app="test",kind="ward"} 0"#));
    assert!(rig.metric(r#"weir_timers{app="test"} 0"#));
}

fn entity(of: usize) -> String {
    format!("{}:{of}", if of.is_multiple_of(2) { "queue" } else { "ward" })
}

fn submit(rig: &Rig, counts: &Arc<Counts>, at: usize, i: usize) {
    let of = (i * 5 + at) % ENTITIES;
    let told = counts.clone();
    let then = move |finished: crate::script::Finished| {
        *told.seen.lock().unwrap().entry((at, i)).or_default() += 1;
        let count = match finished.result.map_err(|refusal| refusal.code) {
            Ok(_) => {
                told.well[of].fetch_add(1, Ordering::SeqCst);
                &told.ok
            }
            Err(Code::Internal) => &told.failed,
            Err(_) => &told.refused,
        };
        count.fetch_add(1, Ordering::SeqCst);
    };
    let call = rig.make("count", &entity(of), &format!(r#"{{"i":{i},"of":{of}}}"#), Box::new(then));
    if rig.workers.submit(call).is_err() {
        counts.given_back.fetch_add(1, Ordering::SeqCst);
        std::thread::yield_now();
    }
}
