//! Every bound, its refusal, and that nobody else is harmed.

use super::rig::*;
use crate::model::{Code, Ms, MsOrOff, Size};
use crate::script::workers::clock::SWEEP_MS;
use crate::script::{EntitySettings, Limits, Process};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

#[test]
fn an_endless_loop_holds_up_its_own_entity_and_nobody_else() {
    let plan = Plan::default();
    let rig = Plan { limits: Limits { deadline: Ms(5_000), operations: u64::MAX, ..plan.limits.clone() }, ..plan };
    let rig = rig.start();
    rig.call("loop", "endless", "queue:bad", "{}");
    rig.call("behind", "nothing", "queue:bad", "{}");
    for n in 0..100 {
        rig.call("good", "nothing", &format!("queue:{}", n % 7), "{}");
    }
    assert_eq!(rig.nexts(100), vec![then("good", "ok"); 100]);
    assert_eq!(rig.nexts(2), [then("loop", "internal"), then("behind", "ok")]);
    assert!(rig.metric(r#"weir_handler_limit_hits_total{app="test",handler="endless",limit="deadline"} 1"#));
}

#[test]
fn a_handler_that_fails_again_and_again_is_off_for_a_while() {
    let plugin = r#"fn f(event) { if event.data { throw "no" } } fn g(event) { }"#;
    let plan = Plan { plugin, ..Plan::default() };
    let rig =
        Plan { limits: Limits { breaker_clients: 3, breaker_for: Ms(1_000), ..plan.limits.clone() }, ..plan }.start();
    let open = |n| rig.metric(&format!(r#"weir_handler_breaker_open{{app="test",handler="f"}} {n}"#));
    for _ in 0..3 {
        assert_eq!(rig.ask("f", "", "true"), "internal");
    }
    assert!(open(1));
    assert_eq!(rig.try_call("", "f", "queue:1", "false").unwrap_err().code, Code::Overloaded);
    assert_eq!(rig.ask("g", "", "true"), "ok", "another handler");
    rig.set_clock(NOW + 1_000);
    assert_eq!(rig.ask("f", "", "true"), "internal", "one call tries");
    assert_eq!(rig.ask("f", "", "false"), "ok", "one client's does not keep it off");
    assert!(open(0));
    assert_eq!(rig.ask("f", "", "false"), "ok");
    // A reload may have mended it.
    for _ in 0..3 {
        assert_eq!(rig.ask("f", "", "true"), "internal");
    }
    assert!(open(1));
    rig.workers.set_apps(vec![rig.app.clone()]).unwrap();
    assert!(open(0));
    assert_eq!(rig.ask("f", "", "false"), "ok");
}

#[test]
fn calls_that_wait_for_a_handler_that_was_switched_off_are_refused_too() {
    let plugin = r#"fn f(event) { history(event.data); throw "no" }"#;
    let plan = Plan { plugin, ..Plan::default() };
    let rig = Plan { limits: Limits { breaker_clients: 1, ..plan.limits.clone() }, ..plan }.start();
    for mark in ["a", "b", "c"] {
        rig.call(mark, "f", "queue:1", r#""g""#);
    }
    rig.world.open("g");
    assert_eq!(rig.nexts(3), [then("a", "internal"), then("b", "overloaded"), then("c", "overloaded")]);
}

#[test]
fn a_full_queue_gives_calls_back() {
    let plan = Plan::default();
    let process = Process { workers: 1, queue: 5, queue_bytes: Size(100) };
    let rig = Plan { limits: Limits { entity_queue: 2, ..plan.limits.clone() }, process, ..plan }.start();
    rig.call("busy", "gate", "queue:1", r#"{"gate":"g"}"#);
    rig.world.wait_inside("g", 1);
    let told = |entity: &str, data: &str| rig.try_call("queued", "nothing", entity, data).map_err(|r| r.code);
    assert_eq!(told("", &format!("{:?}", "x".repeat(98))), Ok(()));
    assert_eq!(told("", "1"), Err(Code::Overloaded), "100 bytes wait");
    assert_eq!([told("queue:1", ""), told("queue:1", "")], [Ok(()), Ok(())]);
    assert_eq!(told("queue:1", ""), Err(Code::Overloaded), "two wait for the entity");
    assert_eq!([told("queue:2", ""), told("", "")], [Ok(()), Ok(())]);
    assert_eq!(told("", ""), Err(Code::Overloaded), "five wait in all");
    assert_eq!(rig.workers.stats().waiting, 5);
    assert!(rig.metric("weir_handler_queue 5"));
    for (limit, hits) in [("queue", 2), ("entity_queue", 1)] {
        let line = format!(r#"weir_handler_limit_hits_total{{app="test",handler="nothing",limit="{limit}"}} {hits}"#);
        assert!(rig.metric(&line), "{line}");
    }
    rig.world.open("g");
    let happened = rig.nexts(7);
    assert_eq!(happened.iter().filter(|h| **h == then("queued", "ok")).count(), 5);
    assert_eq!(told("", &format!("{:?}", "x".repeat(1_000))), Ok(()), "whatever its size, one message fits");
    rig.settle();
    assert!(rig.metric("weir_handler_queue 0"));
    assert_eq!((rig.workers.stats().pending, rig.memory()), (0, 0));
}

/// A call that waits is small; what it comes to may not be.
#[test]
fn calls_that_wait_do_not_run_while_their_app_has_no_room() {
    let rig = Plan { plugin: "fn f(event) { history(event.data); }", ..Plan::default() }.start();
    rig.metrics.memory.set(1 << 20, &[(rig.app.id, rig.app.name.clone(), None)]);
    for mark in ["a", "b", "c"] {
        rig.call(mark, "f", "queue:1", r#""g""#);
    }
    rig.wait_until(|rig| rig.workers.stats().waiting == 2);
    let (held, fits) = rig.metrics.memory.app(rig.app.id).take(crate::model::memory::Kind::Events, 2 << 20);
    assert!(!fits);
    rig.world.open("g");
    assert_eq!(rig.nexts(3), [then("a", "ok"), then("b", "overloaded"), then("c", "overloaded")]);
    assert!(rig.metric(r#"weir_handler_limit_hits_total{app="test",handler="f",limit="memory"} 2"#));
    drop(held);
    assert_eq!(rig.ask("f", "queue:1", r#""g""#), "ok");
}

#[test]
fn live_state_never_makes_room_and_the_rest_does() {
    let two = EntitySettings { max: 2, ..EntitySettings::default() };
    let entities = vec![("queue", two.clone()), ("ward", EntitySettings { max: 2, ..stored() })];
    let rig = Plan { entities, store: Some(memory()), ..Plan::default() }.start();
    // Those without state make room by themselves.
    for n in 0..5 {
        assert_eq!(rig.ask("nothing", &format!("queue:{n}"), "{}"), "ok");
        // Who waits for a call hears of its end before its entity is given up.
        rig.wait_until(|rig| rig.workers.stats().pending == 0);
    }
    assert_eq!([rig.ask("count", "queue:1", "{}"), rig.ask("count", "queue:2", "{}")], ["ok", "ok"]);
    rig.wait_until(|rig| rig.workers.stats().pending == 0);
    assert_eq!(rig.try_call("", "count", "queue:3", "{}").unwrap_err().code, Code::Limit);
    assert_eq!(rig.ask("clear", "queue:1", "{}"), "ok");
    rig.wait_until(|rig| rig.workers.stats().entities == 1);
    assert_eq!(rig.ask("count", "queue:3", "{}"), "ok");
    // A stored one leaves memory, and is there when it is called again.
    for n in [1, 2, 3, 4, 1] {
        assert_eq!(rig.ask("count", &format!("ward:{n}"), "{}"), "ok");
        rig.wait_until(|rig| rig.workers.stats().pending == 0);
    }
    assert_eq!(rig.state("ward:1"), r#"{"n":2}"#);
    assert!(rig.metric(r#"weir_entities{app="test",kind="ward"} 2"#));
    assert!(rig.metric(r#"weir_entities{app="test",kind="queue"} 2"#));
}

#[test]
fn an_entity_with_timers_makes_no_room() {
    let entities = vec![("queue", EntitySettings { max: 1, ..EntitySettings::default() })];
    let rig = Plan { entities, ..Plan::default() }.start();
    assert_eq!(rig.ask("later", "queue:1", r#"{"ms":500}"#), "ok");
    rig.wait_until(|rig| rig.workers.stats().pending == 0);
    assert_eq!(rig.try_call("", "nothing", "queue:2", "{}").unwrap_err().code, Code::Limit);
    assert_eq!(rig.ask("never", "queue:1", "{}"), "ok");
    rig.wait_until(|rig| rig.workers.stats().entities == 0);
    assert_eq!(rig.ask("nothing", "queue:2", "{}"), "ok");
}

#[test]
fn entities_that_are_quiet_for_long_are_forgotten() {
    let short = EntitySettings { forget_after: MsOrOff(Some(SWEEP_MS)), ..EntitySettings::default() };
    let entities = vec![("queue", short), ("desk", EntitySettings { forget_after: MsOrOff(None), ..stored() })];
    let rig = Plan { entities, store: Some(memory()), ..Plan::default() }.start();
    for entity in ["queue:1", "queue:2", "desk:1"] {
        assert_eq!(rig.ask("count", entity, "{}"), "ok");
    }
    assert_eq!(rig.ask("later", "queue:2", &format!(r#"{{"ms":{}}}"#, 1_000_000 * SWEEP_MS)), "ok");
    rig.wait_until(|rig| rig.workers.stats().pending == 0);
    let bytes = rig.memory();
    let minutes = AtomicUsize::new(0);
    rig.wait_until(|rig| {
        let minute = minutes.fetch_add(1, Ordering::SeqCst) as u64;
        rig.set_clock(NOW + minute * SWEEP_MS);
        rig.workers.stats().entities == 2
    });
    assert_eq!(rig.state("queue:1"), "{}");
    assert_eq!(rig.state("queue:2"), r#"{"n":1}"#, "it has a timer");
    assert_eq!(rig.state("desk:1"), r#"{"n":1}"#);
    assert!(rig.memory() < bytes);
}

#[test]
fn state_that_grows_too_large_is_undone() {
    let small = EntitySettings { bytes: Size(300), ..EntitySettings::default() };
    let entities = vec![("queue", small.clone()), ("ward", EntitySettings { bytes: Size(300), ..stored() })];
    let rig = Plan { entities, store: Some(memory()), ..Plan::default() }.start();
    for entity in ["queue:1", "ward:1"] {
        assert_eq!(rig.ask("add", entity, r#"{"n":1}"#), "ok");
        assert_eq!(rig.ask("add", entity, &format!(r#"{{"n":"{}"}}"#, "x".repeat(400))), "internal");
        assert_eq!(rig.state(entity), r#"{"list":[1]}"#);
    }
    assert!(rig.metric(r#"weir_handler_limit_hits_total{app="test",handler="add",limit="entity_bytes"} 2"#));
}

#[test]
fn at_the_end_every_call_is_answered_once() {
    let process = Process { workers: 2, ..Process::default() };
    let rig = Plan { process, store: Some(memory()), ..Plan::default() }.start();
    let told = Arc::new([const { AtomicUsize::new(0) }; 200]);
    rig.call("busy", "gate", "queue:1", r#"{"gate":"g"}"#);
    rig.call("busy", "gate", "queue:2", r#"{"gate":"g"}"#);
    rig.world.wait_inside("g", 2);
    for n in 0..200 {
        let told = told.clone();
        let then = move |_| {
            told[n].fetch_add(1, Ordering::SeqCst);
        };
        let entity = ["", "queue:1", "queue:3", "ward:1"][n % 4];
        rig.workers.submit(rig.make("count", entity, "{}", Box::new(then))).ok().unwrap();
    }
    let world = rig.world.clone();
    std::thread::scope(|scope| {
        scope.spawn(|| rig.workers.stop(Duration::from_millis(1)));
        rig.wait_until(|rig| rig.workers.core.load.is_cancelled());
        assert!(rig.try_call("late", "count", "", "{}").is_err());
        world.open("g");
    });
    assert!(told.iter().all(|n| n.load(Ordering::SeqCst) == 1));
    assert_eq!(rig.workers.stats().pending, 0);
    let happened = rig.so_far();
    assert_eq!(happened.iter().filter(|h| **h == then("busy", "ok")).count(), 2, "what ran came to its end");
}

#[test]
fn what_was_taken_is_run_before_the_end_where_there_is_time() {
    let rig = Plan { store: Some(memory()), ..Plan::default() }.start();
    for _ in 0..100 {
        rig.call("", "count", "ward:1", "{}");
        rig.call("", "count", "", "{}");
    }
    rig.settle();
    assert_eq!(rig.so_far().iter().filter(|h| **h == then("", "ok")).count(), 200);
    assert_eq!(rig.so_far(), []);
}
