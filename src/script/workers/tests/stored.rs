//! What is in the store: committed before anybody hears, there after a restart.

use super::rig::*;
use crate::script::{Outbox, Process};
use crate::store::{Parcel, Store, StoreError};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};

#[test]
fn nobody_hears_of_a_call_before_it_is_kept() {
    let store = Held::new(memory());
    let process = Process { workers: 1, ..Process::default() };
    let rig = Plan { store: Some(store.clone()), process, ..Plan::default() }.start();
    rig.call("a", "count", "ward:1", "{}");
    rig.call("b", "count", "ward:1", "{}");
    assert_eq!(store.wait(1), [r#"ward:1 = {"n":1}"#]);
    // The one thread goes on with others.
    rig.call("c", "nothing", "queue:1", "{}");
    rig.call("d", "count", "ward:2", "{}");
    assert_eq!(rig.next(), then("c", "ok"));
    assert_eq!(store.wait(2)[1], r#"ward:2 = {"n":1}"#);
    assert_eq!(rig.so_far(), []);
    store.answer(None);
    assert_eq!(rig.nexts(2), [then("a", "ok"), carried("count 1")]);
    assert_eq!(store.wait(2)[1], r#"ward:1 = {"n":2}"#);
    store.answer(None);
    assert_eq!(rig.nexts(2), [then("d", "ok"), carried("count 1")]);
    store.answer(None);
    assert_eq!(rig.nexts(2), [then("b", "ok"), carried("count 2")]);
    assert_eq!(store.inner.entity("test", "ward:1").unwrap().as_deref(), Some(r#"{"n":2}"#));
}

#[test]
fn what_the_store_does_not_keep_did_not_happen() {
    let store = Held::new(memory());
    let rig = Plan { store: Some(store.clone()), ..Plan::default() }.start();
    let full = StoreError::Unavailable("database or disk is full".into());
    let damaged = StoreError::Broken("database disk image is malformed".into());
    for (error, code) in [(StoreError::Busy, "overloaded"), (full, "overloaded"), (damaged, "internal")] {
        rig.call("a", "count", "ward:1", "{}");
        store.wait(1);
        store.answer(Some(error.clone()));
        assert_eq!(rig.next(), then("a", code));
        assert_eq!(rig.state("ward:1"), "{}");
        // A memory entity's state goes with its key-values.
        rig.call("b", "put", "queue:1", "7");
        assert_eq!(store.wait(1), ["key = 7"]);
        store.answer(Some(error));
        assert_eq!(rig.next(), then("b", code));
    }
    assert_eq!(rig.so_far(), []);
}

#[test]
fn a_call_that_changes_nothing_writes_nothing() {
    let store = Held::new(memory());
    let rig = Plan { store: Some(store.clone()), ..Plan::default() }.start();
    assert_eq!(rig.state("ward:1"), "{}");
    rig.call("a", "count", "ward:1", "{}");
    store.wait(1);
    store.answer(None);
    assert_eq!(rig.nexts(2), [then("a", "ok"), carried("count 1")]);
    assert_eq!(rig.state("ward:1"), r#"{"n":1}"#);
    assert_eq!(rig.ask("nothing", "ward:1", "{}"), "ok");
    assert_eq!(store.wait(0), [] as [&str; 0]);
}

#[test]
fn state_and_timers_are_there_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let sqlite = || crate::store::open(&crate::store::Settings::default(), folder.path(), None).unwrap();
    for open in [&sqlite as &dyn Fn() -> Arc<dyn Store>, &{
        let store = memory();
        move || store.clone()
    }] {
        let rig = Plan { store: Some(open()), ..Plan::default() }.start();
        assert_eq!(rig.ask("count", "ward:1", "{}"), "ok");
        assert_eq!(rig.ask("later", "ward:1", r#"{"ms":5000}"#), "ok");
        assert_eq!(rig.ask("often", "ward:2", r#"{"ms":1000}"#), "ok");
        assert_eq!(rig.ask("later", "queue:1", r#"{"ms":5000}"#), "ok");
        rig.settle();
        drop(rig);

        let rig = Plan { store: Some(open()), ..Plan::default() }.start();
        assert_eq!(rig.workers.stats().timers, 2, "memory's is gone");
        assert_eq!(rig.state("ward:1"), r#"{"n":1}"#);
        rig.settle();
        drop(rig);

        // What was due while nobody was there comes at once, and once.
        let world = Arc::new(World::default());
        world.set_clock(NOW + 7_500);
        let store = open();
        let rig = Plan { store: Some(store.clone()), ..Plan::default() }.start_in(world);
        assert_eq!(rig.nexts(2), [carried("tick 1"), carried("tick 1")]);
        assert_eq!(rig.state("ward:1"), r#"{"n":1,"ticks":1}"#);
        assert_eq!(rig.state("ward:2"), r#"{"ticks":1}"#);
        rig.settle();
        let timers = store.timers().unwrap();
        assert_eq!(timers.iter().map(|t| (&*t.entity, t.due)).collect::<Vec<_>>(), [("ward:2", NOW + 8_000)]);
    }
}

#[test]
fn a_timer_and_what_its_call_keeps_are_one_commit() {
    let store = Held::new(memory());
    let rig = Plan { store: Some(store.clone()), ..Plan::default() }.start();
    rig.call("a", "later", "ward:1", r#"{"ms":500}"#);
    assert_eq!(store.wait(1), ["timer tick 500"]);
    store.answer(None);
    assert_eq!(rig.next(), then("a", "ok"));
    rig.set_clock(NOW + 500);
    assert_eq!(store.wait(1), [r#"cancel tick, ward:1 = {"ticks":1}"#]);
    store.answer(Some(StoreError::Busy));
    // Undone, it comes again.
    rig.wait_until(|rig| rig.workers.stats().pending == 0);
    rig.set_clock(NOW + 1_500);
    assert_eq!(store.wait(1), [r#"cancel tick, ward:1 = {"ticks":1}"#]);
    store.answer(None);
    assert_eq!(rig.next(), carried("tick 1"));
}

struct Post {
    sent: std::sync::Mutex<Sender<String>>,
    full: AtomicBool,
}

impl Outbox for Post {
    fn room(&self, _: &str, _: &str) -> bool {
        !self.full.load(Ordering::SeqCst)
    }
    fn sent(&self, parcel: Parcel) {
        self.sent.lock().unwrap().send(format!("{} {} {}", parcel.app, parcel.webhook, parcel.body)).unwrap();
    }
}

#[test]
fn a_webhook_is_sent_once_it_is_kept() {
    let (sender, sent) = channel();
    let post = Arc::new(Post { sent: sender.into(), full: AtomicBool::new(false) });
    let store = Held::new(memory());
    let rig = Plan { store: Some(store.clone()), outbox: Some(post.clone()), ..Plan::default() }.start();
    rig.call("a", "hook", "", r#"{"n":1}"#);
    assert_eq!(store.wait(1), [r#"backend {"n":1}"#]);
    assert!(sent.try_recv().is_err());
    store.answer(Some(StoreError::Busy));
    assert_eq!(rig.next(), then("a", "overloaded"));
    rig.call("b", "hook", "queue:1", r#"{"n":2}"#);
    store.wait(1);
    store.answer(None);
    assert_eq!(rig.next(), then("b", "ok"));
    assert_eq!(sent.recv().unwrap(), r#"test backend {"n":2}"#);
    assert_eq!(store.inner.outbox().unwrap().len(), 1);
    post.full.store(true, Ordering::SeqCst);
    assert_eq!(rig.ask("hook", "", "{}"), "overloaded");
    assert!(rig.metric(r#"weir_handler_limit_hits_total{app="test",handler="hook",limit="webhook"} 1"#));
}

#[test]
fn key_values_are_kept_with_the_call_that_sets_them() {
    let rig = Plan { store: Some(memory()), ..Plan::default() }.start();
    for entity in ["", "queue:1", "ward:1"] {
        rig.call("a", "put", entity, r#"{"of":1}"#);
        assert_eq!(rig.nexts(2), [then("a", "ok"), carried(r#"told {"of":1}"#)]);
    }
}
