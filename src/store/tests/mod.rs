//! Every driver keeps what it is given in the same way.

mod crash;
mod sqlite;

use super::{Driver, Parcel, Settings, Store, StoreError, Timer, Write, open};
use crate::model::Size;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

/// A store in `folder`.
fn store(driver: Driver, folder: &Path) -> Arc<dyn Store> {
    open(&Settings { driver, ..Settings::default() }, folder, None).unwrap()
}

/// Plays a conversation with each driver, on an empty store.
fn with_each(play: impl Fn(&dyn Store)) {
    for driver in [Driver::Memory, Driver::Sqlite] {
        println!("{driver:?}");
        let folder = tempfile::tempdir().unwrap();
        play(&*store(driver, folder.path()));
    }
}

fn begin(store: &dyn Store, writes: Vec<Write>) -> Receiver<Result<(), StoreError>> {
    let (done, answer) = channel();
    store.commit(writes, Box::new(move |result| done.send(result).unwrap_or(())));
    answer
}

fn commit(store: &dyn Store, writes: Vec<Write>) -> Result<(), StoreError> {
    begin(store, writes).recv().expect("an answer")
}

/// Holds the writer inside a `done`, until the sender is used or dropped: what comes meanwhile waits in the queue.
fn hold(store: &dyn Store) -> Sender<()> {
    let (inside, is_inside) = channel();
    let (go_on, may_go_on) = channel::<()>();
    let wait = move |_| {
        inside.send(()).unwrap_or(());
        may_go_on.recv().unwrap_or(());
    };
    store.commit(Vec::new(), Box::new(wait));
    is_inside.recv().unwrap();
    go_on
}

fn set(app: &str, key: &str, value: &str, expires_at: Option<u64>) -> Write {
    Write::Set { app: app.into(), key: key.into(), value: value.into(), expires_at }
}

fn entity(entity: &str, state: &str, forget_at: Option<u64>) -> Write {
    Write::Entity { app: "clinic".into(), entity: entity.into(), state: state.into(), forget_at }
}

fn timer(entity: &str, name: &str, due: u64) -> Timer {
    Timer {
        app: "clinic".into(),
        entity: entity.into(),
        name: name.into(),
        handler: "ring_out".into(),
        due,
        every: Some(5_000),
        data: r#"{"call":"c1"}"#.into(),
    }
}

fn parcel(id: u128, due: u64) -> Parcel {
    Parcel {
        id,
        app: "clinic".into(),
        webhook: "crm".into(),
        body: format!(r#"{{"n":{id}}}"#),
        created_at: 1_000,
        attempts: 0,
        due,
    }
}

#[test]
fn a_value_is_its_apps_own_until_it_expires_or_is_deleted() {
    with_each(|store| {
        let writes =
            vec![set("clinic", "a", "1", Some(2_000)), set("clinic", "b", "2", None), set("desk", "a", "3", None)];
        commit(store, writes).unwrap();
        assert_eq!(store.get("clinic", "a", 1_999).unwrap().as_deref(), Some("1"));
        assert_eq!(store.get("clinic", "a", 2_000).unwrap(), None);
        assert_eq!(store.get("desk", "a", u64::MAX).unwrap().as_deref(), Some("3"));
        assert_eq!(store.get("nobody", "a", 0).unwrap(), None);
        commit(store, vec![set("clinic", "a", "4", None), Write::Delete { app: "clinic".into(), key: "b".into() }])
            .unwrap();
        assert_eq!(store.get("clinic", "a", 2_000).unwrap().as_deref(), Some("4"), "written anew, without an expiry");
        assert_eq!(store.get("clinic", "b", 0).unwrap(), None);
    });
}

#[test]
fn keys_are_listed_by_prefix_in_order_and_no_more_than_asked() {
    with_each(|store| {
        let keys = ["seat:1", "seat:10", "seat:2", "seat:ö", "seat", "seau", "SEAT:1", "seat:%", "seat:\u{10ffff}"];
        commit(store, keys.iter().map(|key| set("clinic", key, "1", None)).collect()).unwrap();
        commit(store, vec![set("clinic", "seat:0", "1", Some(500)), set("desk", "seat:3", "1", None)]).unwrap();
        let told = |prefix: &str, limit| store.keys("clinic", prefix, limit, 1_000).unwrap();
        assert_eq!(told("seat:", 100), ["seat:%", "seat:1", "seat:10", "seat:2", "seat:ö", "seat:\u{10ffff}"]);
        assert_eq!(told("seat:", 2), ["seat:%", "seat:1"]);
        assert_eq!(told("seat:1", 100), ["seat:1", "seat:10"]);
        assert_eq!(told("", 100).len(), keys.len());
        assert!(told("", 0).is_empty() && told("zzz", 9).is_empty());
        assert_eq!(store.keys("clinic", "seat:0", 9, 499).unwrap(), ["seat:0"]);
    });
}

#[test]
fn timers_are_replaced_by_name_and_told_in_the_order_that_they_are_due() {
    with_each(|store| {
        let writes = [timer("call:1", "ring", 9_000), timer("call:2", "ring", 3_000), timer("call:1", "end", 5_000)];
        commit(store, writes.clone().map(Write::Timer).into()).unwrap();
        let sooner = Timer { due: 1_000, every: None, ..timer("call:1", "ring", 0) };
        let gone = Write::CancelTimer { app: "clinic".into(), entity: "call:2".into(), name: "ring".into() };
        commit(store, vec![Write::Timer(sooner.clone()), gone.clone(), gone]).unwrap();
        assert_eq!(store.timers().unwrap(), [sooner, writes[2].clone()]);
    });
}

#[test]
fn the_outbox_holds_what_was_neither_delivered_nor_given_up() {
    with_each(|store| {
        let ids = [1, u128::MAX, 3, 4];
        commit(store, ids.map(|id| Write::Parcel(parcel(id, 5_000))).into()).unwrap();
        let retry = |id| Write::ParcelRetry { id, attempts: 2, due: 9_000, why: "status 503".into() };
        let dead = |id| Write::ParcelDead { id, why: "status 410".into() };
        commit(store, vec![Write::ParcelDone { id: 1 }, retry(u128::MAX), dead(3)]).unwrap();
        let later = Parcel { attempts: 2, due: 9_000, ..parcel(u128::MAX, 0) };
        assert_eq!(store.outbox().unwrap(), [parcel(4, 5_000), later]);
        // What is gone stays gone.
        commit(store, vec![retry(1), dead(1), retry(3), Write::ParcelDone { id: 77 }]).unwrap();
        assert_eq!(store.outbox().unwrap().len(), 2);
    });
}

#[test]
fn a_transaction_that_fails_leaves_no_trace_and_takes_no_other_with_it() {
    with_each(|store| {
        commit(store, vec![Write::Parcel(parcel(7, 1))]).unwrap();
        let together = hold(store);
        let before = begin(store, vec![set("clinic", "before", "1", None)]);
        let twice =
            begin(store, vec![set("clinic", "a", "1", None), Write::Parcel(parcel(7, 9)), entity("e", "1", None)]);
        let after = begin(store, vec![set("clinic", "after", "1", None), Write::Parcel(parcel(8, 2))]);
        drop(together);
        assert_eq!(before.recv().unwrap(), Ok(()));
        let Err(StoreError::Broken(why)) = twice.recv().unwrap() else { panic!("a parcel was taken twice") };
        assert!(why.contains("00000000000000000000000000000007"), "{why}");
        assert_eq!(after.recv().unwrap(), Ok(()));
        assert_eq!(store.keys("clinic", "", 9, 0).unwrap(), ["after", "before"]);
        assert_eq!(store.entity("clinic", "e").unwrap(), None);
        assert_eq!(store.outbox().unwrap(), [parcel(7, 1), parcel(8, 2)]);
        let within = vec![Write::Parcel(parcel(9, 3)), Write::Parcel(parcel(9, 3))];
        assert!(matches!(commit(store, within), Err(StoreError::Broken(_))));
        let again = vec![Write::ParcelDone { id: 8 }, Write::Parcel(parcel(8, 4))];
        assert_eq!(commit(store, again), Ok(()), "one that is gone may come again");
    });
}

#[test]
fn a_sweep_forgets_the_idle_and_spares_what_a_timer_waits_for() {
    with_each(|store| {
        let kept = vec![entity("old", "1", Some(1_000)), entity("new", "2", Some(9_000)), entity("kept", "3", None)];
        commit(store, kept).unwrap();
        commit(store, vec![entity("ringing", "4", Some(1_000)), Write::Timer(timer("ringing", "end", 50_000))])
            .unwrap();
        commit(store, vec![set("clinic", "a", "1", Some(1_000)), set("clinic", "b", "1", None)]).unwrap();
        assert_eq!(store.entity("clinic", "old").unwrap().as_deref(), Some("1"), "idle, but not yet swept");
        assert_eq!(store.sweep(5_000).unwrap(), 2);
        assert_eq!(store.sweep(5_000).unwrap(), 0);
        let states = ["old", "new", "kept", "ringing"].map(|e| store.entity("clinic", e).unwrap());
        assert_eq!(states, [None, Some("2".into()), Some("3".into()), Some("4".into())]);
        let cancel = Write::CancelTimer { app: "clinic".into(), entity: "ringing".into(), name: "end".into() };
        commit(store, vec![cancel, Write::ForgetEntity { app: "clinic".into(), entity: "kept".into() }]).unwrap();
        assert_eq!(store.sweep(5_000).unwrap(), 1);
        assert_eq!(store.entity("clinic", "kept").unwrap(), None);
    });
}

#[test]
fn a_full_queue_answers_at_once_and_what_was_taken_is_kept() {
    for driver in [Driver::Memory, Driver::Sqlite] {
        let folder = tempfile::tempdir().unwrap();
        let settings = Settings { driver, queue: 3, ..Settings::default() };
        let store = open(&settings, folder.path(), None).unwrap();
        let go_on = hold(&*store);
        let answers: Vec<_> = (0..5).map(|n| begin(&*store, vec![set("clinic", &n.to_string(), "1", None)])).collect();
        for refused in &answers[3..] {
            assert_eq!(refused.try_recv().unwrap(), Err(StoreError::Busy));
        }
        drop(go_on);
        for taken in &answers[..3] {
            assert_eq!(taken.recv().unwrap(), Ok(()));
        }
        assert_eq!(store.keys("clinic", "", 9, 0).unwrap(), ["0", "1", "2"]);
    }
}

#[test]
fn bytes_bound_the_queue_too_and_the_largest_transaction_fits_an_empty_one() {
    for driver in [Driver::Memory, Driver::Sqlite] {
        let folder = tempfile::tempdir().unwrap();
        let settings = Settings { driver, queue_bytes: Size(2_000), ..Settings::default() };
        let store = open(&settings, folder.path(), None).unwrap();
        let (large, go_on) = ("1".repeat(5_000), hold(&*store));
        let taken = begin(&*store, vec![set("clinic", "large", &large, None)]);
        let refused = begin(&*store, vec![set("clinic", "small", "1", None)]);
        assert_eq!(refused.try_recv().unwrap(), Err(StoreError::Busy));
        drop(go_on);
        assert_eq!(taken.recv().unwrap(), Ok(()));
        // What was kept waits no more.
        let go_on = hold(&*store);
        let both = ["a", "b"].map(|key| begin(&*store, vec![set("clinic", key, "1", None)]));
        drop(go_on);
        assert!(both.iter().all(|answer| answer.recv().unwrap().is_ok()));
    }
}

#[test]
fn settings_without_sense_are_told() {
    let path = |settings: Settings| open(&settings, Path::new("/nowhere"), None).err().unwrap().path;
    assert_eq!(path(Settings { queue: 0, ..Settings::default() }), "queue");
    assert_eq!(path(Settings { queue_bytes: Size(0), ..Settings::default() }), "queue_bytes");
    assert_eq!(path(Settings { path: " ".into(), ..Settings::default() }), "path");
}

#[test]
fn a_panic_in_a_done_ends_nothing_but_itself() {
    with_each(|store| {
        store.commit(vec![set("clinic", "a", "1", None)], Box::new(|_| panic!("a mistake of the caller")));
        assert_eq!(commit(store, vec![set("clinic", "b", "1", None)]), Ok(()));
        assert_eq!(store.keys("clinic", "", 9, 0).unwrap(), ["a", "b"]);
    });
}

#[test]
fn the_last_handle_may_go_down_on_the_stores_own_thread() {
    for driver in [Driver::Memory, Driver::Sqlite] {
        let folder = tempfile::tempdir().unwrap();
        let store = store(driver, folder.path());
        let (told, end) = channel();
        let (go_on, may_go_on) = channel::<()>();
        let held = store.clone();
        let done = move |result| {
            may_go_on.recv().unwrap();
            drop(held);
            told.send(result).unwrap();
        };
        store.commit(vec![set("clinic", "a", "1", None)], Box::new(done));
        drop(store);
        go_on.send(()).unwrap();
        assert_eq!(end.recv().unwrap(), Ok(()));
    }
}
