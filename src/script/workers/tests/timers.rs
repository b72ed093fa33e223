//! Timers of handlers and of files.

use super::rig::*;
use crate::model::Ms;
use crate::script::{Limits, TimerSettings};

#[test]
fn a_timer_calls_once_and_a_rhythm_again_and_again() {
    let rig = Plan::default().start();
    assert_eq!(rig.ask("later", "queue:1", r#"{"ms":500}"#), "ok");
    assert_eq!(rig.ask("often", "queue:2", r#"{"ms":500}"#), "ok");
    assert_eq!(rig.ask("later", "", r#"{"ms":500}"#), "internal", "a timer is an entity's");
    rig.set_clock(NOW + 499);
    assert_eq!(rig.state("queue:1"), "{}");
    rig.set_clock(NOW + 500);
    assert_eq!(rig.nexts(2), [carried("tick 1"), carried("tick 1")]);
    rig.set_clock(NOW + 5_600);
    assert_eq!(rig.next(), carried("tick 2"));
    rig.set_clock(NOW + 6_000);
    assert_eq!(rig.next(), carried("tick 3"));
    assert_eq!(rig.ask("never", "queue:2", "{}"), "ok");
    rig.set_clock(NOW + 60_000);
    assert_eq!(rig.state("queue:2"), r#"{"ticks":3}"#);
    assert_eq!(rig.workers.stats().timers, 0);
}

#[test]
fn a_timer_that_is_cancelled_while_its_call_waits_does_not_call() {
    let rig = Plan::default().start();
    assert_eq!(rig.ask("later", "queue:1", r#"{"ms":500}"#), "ok");
    rig.call("gate", "gate", "queue:1", r#"{"gate":"g"}"#);
    rig.call("never", "never", "queue:1", "{}");
    rig.world.wait_inside("g", 1);
    rig.set_clock(NOW + 500);
    rig.wait_until(|rig| rig.workers.stats().waiting == 2);
    rig.world.open("g");
    assert_eq!(rig.nexts(3).pop(), Some(then("never", "ok")));
    assert_eq!(rig.state("queue:1"), "{}");
}

#[test]
fn a_handler_has_so_many_timers_and_no_more() {
    let plan = Plan {
        plugin: r#"fn many(event) { for i in 0..event.data { after(`t${i}`, 1000, "many", ()); } }
            fn swap(event) { cancel("t0"); after("other", 1000, "many", ()); }"#,
        ..Plan::default()
    };
    let rig = Plan { limits: Limits { timers: 3, ..plan.limits.clone() }, ..plan }.start();
    assert_eq!(rig.ask("many", "queue:1", "4"), "internal");
    assert_eq!(rig.workers.stats().timers, 0);
    assert_eq!(rig.ask("many", "queue:1", "3"), "ok");
    assert_eq!(rig.ask("many", "queue:1", "3"), "ok");
    assert_eq!(rig.ask("swap", "queue:1", "3"), "ok");
    assert_eq!(rig.ask("swap", "queue:2", "3"), "ok");
    assert_eq!(rig.workers.stats().timers, 4);
    assert!(rig.metric(r#"weir_handler_limit_hits_total{app="test",handler="many",limit="timers"} 1"#));
    assert!(rig.metric(r#"weir_timers{app="test"} 4"#));
}

#[test]
fn after_a_reload_timers_call_the_new_plugin_and_those_without_handler_go() {
    let store = memory();
    let rig = Plan { store: Some(store.clone()), ..Plan::default() }.start();
    assert_eq!(rig.ask("later", "ward:1", r#"{"ms":500}"#), "ok");
    assert_eq!(rig.ask("often", "queue:1", r#"{"ms":2000}"#), "ok");
    let new = Plan { plugin: r#"fn tick(event) { publish("new", [event.name, event.data]); }"#, ..Plan::default() };
    rig.workers.set_apps(vec![new.app()]).unwrap();
    rig.set_clock(NOW + 500);
    assert_eq!(rig.next(), carried(r#"new ["tick",{"of":"later"}]"#));
    let none = Plan { plugin: "fn other(event) { }", ..Plan::default() };
    rig.workers.set_apps(vec![none.app()]).unwrap();
    rig.set_clock(NOW + 2_500);
    rig.wait_until(|rig| rig.workers.stats().timers == 0);
    assert!(rig.metric(r#"weir_timers_dropped_total{app="test"} 1"#));
    rig.settle();
    assert_eq!(store.timers().unwrap(), []);
}

#[test]
fn the_files_timers_are_armed_by_a_reload_and_gone_by_the_next() {
    let timer = |every, entity: &str| TimerSettings {
        every: Ms(every),
        handler: "tick".into(),
        entity: (!entity.is_empty()).then(|| entity.into()),
    };
    let rig = Plan { timers: vec![timer(1_000, "queue:all"), timer(3_000, "")], ..Plan::default() }.start();
    rig.set_clock(NOW + 1_000);
    assert_eq!(rig.next(), carried("tick 1"));
    let fewer = Plan { timers: vec![timer(1_000, "queue:all")], ..Plan::default() };
    rig.workers.set_apps(vec![fewer.app()]).unwrap();
    assert_eq!(rig.workers.stats().timers, 1);
    rig.set_clock(NOW + 2_000);
    assert_eq!(rig.next(), carried("tick 2"), "it kept its rhythm, and its entity's state");
    rig.workers.set_apps(vec![]).unwrap();
    assert_eq!(rig.workers.stats().timers, 0);
    rig.wait_until(|rig| rig.workers.stats().entities == 0);
}

#[test]
fn a_wall_clock_that_is_set_back_stops_no_timer_and_fires_none() {
    let rig = Plan::default().start();
    assert_eq!(rig.ask("later", "queue:1", r#"{"ms":500}"#), "ok");
    assert_eq!(rig.ask("often", "queue:2", r#"{"ms":500}"#), "ok");
    rig.world.set_wall_back(3_600_000);
    rig.set_clock(NOW + 499);
    assert_eq!(rig.state("queue:1"), "{}");
    rig.set_clock(NOW + 500);
    assert_eq!(rig.nexts(2), [carried("tick 1"), carried("tick 1")]);
    rig.world.set_wall_back(0);
    assert_eq!(rig.ask("later", "queue:3", r#"{"ms":500}"#), "ok");
    assert_eq!(rig.state("queue:2"), r#"{"ticks":1}"#, "an hour ahead is not an hour of missed calls");
    rig.set_clock(NOW + 1_000);
    let ticks = rig.nexts(2);
    assert!(ticks.contains(&carried("tick 2")) && ticks.contains(&carried("tick 1")), "{ticks:?}");
}
