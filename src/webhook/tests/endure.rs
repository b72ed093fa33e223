//! Services that are down or hang, a store that is busy, restarts and reloads.

use super::*;

#[tokio::test]
async fn a_service_that_is_down_gets_its_parcels_once_it_is_up() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let mut scene = Scene::new(&in_force([("crm", webhook(&format!("http://{address}/"), json!({})))]));
    scene.send(parcel(1, "crm")).await;
    for attempts in 1..=2 {
        let Write::ParcelRetry { attempts: kept, why, .. } = scene.kept().await else { panic!() };
        assert_eq!(kept, attempts);
        assert!(why.starts_with("no connection: Connection refused"), "{why}");
    }
    let mut service = Service::on(TcpListener::bind(address).await.unwrap());
    let asked = service.next().await;
    assert_eq!(asked.id(), 1);
    asked.answer(200);
    loop {
        match scene.kept().await {
            Write::ParcelRetry { .. } => {}
            end => break assert_eq!(end, Write::ParcelDone { id: 1 }),
        }
    }
}

#[tokio::test]
async fn a_service_that_hangs_holds_up_only_itself() {
    let (mut stuck, mut well) = (Service::start().await, Service::start().await);
    let webhooks = in_force([
        ("stuck", webhook(&stuck.url, json!({ "concurrency": 2 }))),
        ("well", webhook(&well.url, json!({}))),
    ]);
    let mut scene = Scene::new(&webhooks);
    for id in 0..5 {
        scene.send(parcel(id, "stuck")).await;
    }
    let held = [stuck.next().await, stuck.next().await];
    for id in 10..20 {
        scene.send(parcel(id, "well")).await;
        well.next().await.answer(200);
        assert_eq!(scene.kept().await, Write::ParcelDone { id });
    }
    assert!(stuck.is_idle(), "two of its calls are under way, and no third");
    scene.pending("stuck", "5").await;
    scene.pending("well", "0").await;
    // As soon as one is answered, the next one comes.
    held.into_iter().for_each(|asked| asked.answer(200));
    assert!(stuck.next().await.id() < 5);
}

#[tokio::test]
async fn a_call_without_an_answer_is_made_again() {
    let mut service = Service::start().await;
    let mut scene = Scene::new(&in_force([("crm", webhook(&service.url, json!({ "timeout": "20ms" })))]));
    scene.send(parcel(1, "crm")).await;
    let first = service.next().await;
    let Write::ParcelRetry { why, .. } = scene.kept().await else { panic!() };
    assert_eq!((first.id(), why.as_str()), (1, "no answer in time"));
    assert_eq!(service.next().await.id(), 1);
}

#[tokio::test]
async fn after_a_restart_it_goes_on_where_it_was() {
    let mut service = Service::start().await;
    let folder = tempfile::tempdir().unwrap();
    let later = in_force([("crm", webhook(&service.url, json!({ "retry": { "first": "1h", "max": "1h" } })))]);
    let mut scene = Scene::with(Driver::Sqlite, folder.path(), &later);
    for id in [1, 2] {
        scene.send(parcel(id, "crm")).await;
        service.next().await.answer(502);
        assert!(matches!(scene.kept().await, Write::ParcelRetry { attempts: 1, .. }));
    }
    scene.send(parcel(3, "crm")).await;
    let lost = service.next().await;
    // The process ends while the third is under way: nobody hears its answer.
    scene.post.stop(Duration::ZERO).await;
    drop((scene, lost));

    let mut scene = Scene::with(Driver::Sqlite, folder.path(), &later);
    let mut kept = scene.store.outbox().unwrap();
    kept.sort_by_key(|p| p.id);
    assert_eq!(kept.iter().map(|p| (p.id, p.attempts)).collect::<Vec<_>>(), [(1, 1), (2, 1), (3, 0)]);
    assert!(kept[..2].iter().all(|p| p.due > now() + 1_000_000), "their next attempts are due in an hour, still");
    let asked = service.next().await;
    assert_eq!(asked.id(), 3, "what was under way comes again, under its id");
    asked.answer(200);
    assert_eq!(scene.kept().await, Write::ParcelDone { id: 3 });
    assert!(service.is_idle());
    scene.pending("crm", "2").await;
}

#[tokio::test]
async fn a_stop_waits_for_what_is_under_way_and_begins_nothing() {
    let mut service = Service::start().await;
    let mut scene = Scene::new(&in_force([("crm", webhook(&service.url, json!({ "concurrency": 1 })))]));
    scene.send(parcel(1, "crm")).await;
    let asked = service.next().await;
    scene.send(parcel(2, "crm")).await;
    let answer = async {
        // Polled after the stop has begun.
        tokio::task::yield_now().await;
        asked.answer(200);
    };
    tokio::join!(scene.post.stop(LONG), answer);
    assert_eq!(scene.kept().await, Write::ParcelDone { id: 1 });
    assert_eq!(scene.store.outbox().unwrap().iter().map(|p| p.id).collect::<Vec<_>>(), [2]);
    assert!(service.is_idle());
}

#[tokio::test]
async fn a_parcel_that_was_taken_is_not_sent_again_because_the_store_is_busy() {
    let mut service = Service::start().await;
    let mut scene = Scene::new(&in_force([("crm", webhook(&service.url, json!({})))]));
    scene.send(parcel(1, "crm")).await;
    scene.store.busy.store(3, Ordering::SeqCst);
    service.next().await.answer(200);
    assert_eq!(scene.kept().await, Write::ParcelDone { id: 1 });
    assert_eq!(scene.store.busy.load(Ordering::SeqCst), 0);
    scene.send(parcel(2, "crm")).await;
    assert_eq!(service.next().await.id(), 2);
    // A retry that could not be stored is made all the same.
    scene.send(parcel(3, "crm")).await;
    scene.store.busy.store(1, Ordering::SeqCst);
    service.next().await.answer(500);
    let again = service.next().await;
    assert_eq!((again.id(), scene.store.busy.load(Ordering::SeqCst)), (3, 0));
}

#[tokio::test]
async fn parcels_of_a_webhook_that_is_gone_wait_for_it_to_come_back() {
    let mut service = Service::start().await;
    let crm = || in_force([("crm", webhook(&service.url, json!({ "give_up_after": "1h" })))]);
    let (with, without) = (crm(), in_force([]));
    let mut scene = Scene::new(&with);
    assert!(
        scene.post.room("clinic", "crm") && !scene.post.room("clinic", "nothing") && !scene.post.room("desk", "crm")
    );
    scene.post.set_generation(&without);
    assert!(!scene.post.room("clinic", "crm"));
    scene.send(parcel(1, "crm")).await;
    let over = Parcel { created_at: now() - 86_400_001, ..parcel(2, "crm") };
    scene.send(over).await;
    let gone = "its webhook is in no file any more";
    assert_eq!(scene.kept().await, Write::ParcelDead { id: 2, why: gone.into() });
    assert!(service.is_idle());
    scene.post.set_generation(&with);
    let asked = service.next().await;
    assert_eq!(asked.id(), 1);
    asked.answer(200);
    assert_eq!(scene.kept().await, Write::ParcelDone { id: 1 });
}

#[tokio::test]
async fn a_reload_sends_what_waits_to_the_new_address() {
    let (mut old, mut new) = (Service::start().await, Service::start().await);
    let mut scene = Scene::new(&in_force([("crm", webhook(&old.url, json!({})))]));
    scene.send(parcel(1, "crm")).await;
    let asked = old.next().await;
    scene.post.set_generation(&in_force([("crm", webhook(&new.url, json!({})))]));
    asked.answer(500);
    assert_eq!(new.next().await.id(), 1);
}

#[tokio::test]
async fn what_waits_is_bounded_by_number_and_by_bytes() {
    let mut service = Service::start().await;
    let bounds = json!({ "concurrency": 1, "pending_max": 3, "pending_bytes": "1KiB" });
    let mut scene = Scene::new(&in_force([("crm", webhook(&service.url, bounds))]));
    for id in 0..3 {
        assert!(scene.post.room("clinic", "crm"));
        scene.send(parcel(id, "crm")).await;
    }
    assert!(!scene.post.room("clinic", "crm"));
    for id in 0..3 {
        service.next().await.answer(200);
        assert_eq!(scene.kept().await, Write::ParcelDone { id });
    }
    // The lane hears of it after the store: the next call shows that it has.
    scene.send(Parcel { body: "1".repeat(1_024), ..parcel(4, "crm") }).await;
    let asked = service.next().await;
    assert!(!scene.post.room("clinic", "crm"), "bytes under way count");
    asked.answer(200);
    scene.send(parcel(5, "crm")).await;
    service.next().await;
    assert!(scene.post.room("clinic", "crm"));
}
