//! Calls in their order, one of an entity at a time, all of their effects or none.

use super::rig::*;
use crate::script::{Finished, Trigger, Web};
use std::sync::atomic::Ordering;
use std::sync::mpsc::channel;

#[test]
fn calls_of_an_entity_run_in_order_on_whichever_thread() {
    let rig = Plan::default().start();
    for n in 0..300 {
        rig.call("", "add", "queue:1", &format!(r#"{{"n":{n}}}"#));
        rig.call("", "add", "queue:2", &format!(r#"{{"n":{n}}}"#));
    }
    let all: Vec<u32> = (0..300).collect();
    let all = format!(r#"{{"list":{}}}"#, serde_json::to_string(&all).unwrap());
    assert_eq!(rig.state("queue:1"), all);
    assert_eq!(rig.state("queue:2"), all);
}

#[test]
fn entities_do_not_wait_for_each_other() {
    let rig = Plan::default().start();
    rig.call("a", "gate", "queue:1", r#"{"gate":"one"}"#);
    rig.call("b", "gate", "queue:2", r#"{"gate":"two"}"#);
    rig.call("c", "gate", "", r#"{"gate":"two"}"#);
    rig.world.wait_inside("one", 1);
    rig.world.wait_inside("two", 2);
    rig.call("d", "gate", "queue:1", r#"{"gate":"two"}"#);
    rig.world.open("two");
    let happened = rig.nexts(4);
    assert!(happened.contains(&then("b", "ok")) && happened.contains(&then("c", "ok")), "{happened:?}");
    assert_eq!(rig.so_far(), [], "the second call of queue:1 waits for its first");
    rig.world.open("one");
    let of_one =
        [then("a", "ok"), carried(r#"through {"gate":"one"}"#), then("d", "ok"), carried(r#"through {"gate":"two"}"#)];
    assert_eq!(rig.nexts(4), of_one);
}

#[test]
fn nothing_remains_of_a_call_that_fails() {
    let rig = Plan { store: Some(memory()), ..Plan::default() }.start();
    for entity in ["queue:1", "ward:1"] {
        assert_eq!(rig.ask("count", entity, "{}"), "ok");
        assert_eq!(rig.next(), carried("count 1"));
        assert_eq!(rig.ask("spoil", entity, "{}"), "internal");
        assert_eq!(rig.ask("refuses", entity, "{}"), "denied Not today");
        assert_eq!(rig.state(entity), r#"{"n":1}"#);
    }
    let count = |result, n| {
        let line = format!(r#"weir_handler_calls_total{{app="test",handler="spoil",result="{result}"}} {n}"#);
        assert!(rig.metric(&line), "{line}");
    };
    count("fault", 2);
    count("ok", 0);
}

#[test]
fn a_new_entity_whose_first_call_fails_is_as_if_it_had_never_been() {
    let rig = Plan { store: Some(memory()), ..Plan::default() }.start();
    for entity in ["queue:1", "ward:1"] {
        assert_eq!(rig.ask("spoil", entity, "{}"), "internal");
        assert_eq!(rig.state(entity), "{}");
    }
    rig.settle();
    assert_eq!(rig.workers.stats().entities, 0);
}

#[test]
fn who_asked_hears_first_and_then_the_effects_go_out() {
    let rig = Plan::default().start();
    rig.call("a", "answer", "", r#""hello""#);
    assert_eq!(rig.nexts(2), [then("a", "ok"), carried(r#"reply to note "hello""#)]);
}

#[test]
fn a_route_hears_how_many_its_effects_reached() {
    let rig = Plan::default().start();
    for (handler, reached) in [("count", 1), ("nothing", 0)] {
        let (sender, receiver) = channel();
        let then = move |finished: Finished| sender.send(finished.recipients.unwrap()).unwrap();
        let mut call = rig.make(handler, "queue:1", "{}", Box::new(then));
        let web = Web {
            method: "POST".into(),
            path: "/".into(),
            query: Vec::new(),
            headers: Vec::new(),
            ip: [127, 0, 0, 1].into(),
        };
        call.event.trigger = Trigger::Route(Box::new(web));
        rig.workers.submit(call).ok().unwrap();
        assert_eq!(receiver.recv().unwrap().blocking_recv().unwrap(), reached);
    }
}

#[test]
fn a_panic_of_who_waits_or_carries_ends_nothing_else() {
    let rig = Plan { process: crate::script::Process { workers: 1, ..Default::default() }, ..Plan::default() }.start();
    let call = rig.make("nothing", "queue:1", "{}", Box::new(|_| panic!("as the test wants it")));
    rig.workers.submit(call).ok().unwrap();
    rig.log.panics.store(true, Ordering::SeqCst);
    rig.call("a", "count", "queue:1", "{}");
    assert_eq!(rig.next(), then("a", "ok"));
    rig.call("b", "nothing", "queue:1", "{}");
    assert_eq!(rig.next(), then("b", "ok"));
    rig.log.panics.store(false, Ordering::SeqCst);
    assert_eq!(rig.state("queue:1"), r#"{"n":1}"#);
}

#[test]
fn an_entity_that_is_forgotten_ends_after_the_calls_it_was_given() {
    let rig = Plan { store: Some(memory()), ..Plan::default() }.start();
    for entity in ["queue:1", "ward:1"] {
        assert_eq!(rig.ask("count", entity, "{}"), "ok");
        assert_eq!(rig.ask("often", entity, r#"{"ms":1000}"#), "ok");
        rig.call("gate", "gate", entity, &format!(r#"{{"gate":"{entity}"}}"#));
        rig.call("count", "count", entity, "{}");
        rig.workers.forget(rig.app.id, entity);
        rig.call("after", "count", entity, "{}");
        rig.world.open(entity);
        let happened: Vec<_> = rig
            .nexts(6)
            .into_iter()
            .filter(|h| matches!(h, Happened::Carried(text) if text.starts_with("count")))
            .collect();
        assert_eq!(happened, [carried("count 2"), carried("count 1")]);
        rig.workers.forget(rig.app.id, entity);
        assert_eq!(rig.state(entity), "{}");
        assert_eq!(rig.workers.stats().timers, 0);
    }
    rig.settle();
    assert_eq!((rig.workers.stats().entities, rig.memory()), (0, 0));
}
