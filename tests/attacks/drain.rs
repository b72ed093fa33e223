//! Told to stop: nobody new, everybody told, nobody waited for too long.

use super::raw::{FIN, Frame, Raw, frame};
use super::{Attacked, Talk, gateway};
use crate::support::client::http;
use crate::support::gateway::Gateway;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

fn term(gateway: &Attacked) {
    gateway.signal(libc::SIGTERM).unwrap();
}

#[test]
fn everybody_is_told_and_the_process_ends_well() {
    let mut gateway = gateway("shards = 2", "drain_pace = 500", "");
    let talks: Vec<Talk> = (0..60).map(|_| gateway.client()).collect();
    let ready = || http(gateway.address("admin").unwrap(), "GET", "/readyz", &[], None).map(|r| r.status);
    assert_eq!(ready(), Ok(200));
    let (at, polling) = (gateway.address("admin").unwrap().to_owned(), AtomicBool::new(true));
    let seen = thread::scope(|scope| {
        let polls = scope.spawn(|| {
            let mut seen = Vec::new();
            while polling.load(Ordering::Relaxed) {
                seen.extend(http(&at, "GET", "/readyz", &[], None).map(|r| r.status));
            }
            seen
        });
        term(&gateway);
        for mut talk in talks {
            assert_eq!(talk.closed(), (1001, "server shutting down".into()));
        }
        polling.store(false, Ordering::Relaxed);
        polls.join().unwrap()
    });
    assert!(seen.contains(&503), "{seen:?}");
    assert_eq!(gateway.ends().wait_for_end(), Ok(Some(0)));
    assert!(Talk::to(gateway.at(), "/ws", &[]).is_err());
}

#[test]
fn clinic_clients_read_what_their_document_says() {
    let mut gateway = Gateway::start("shipped", &[]).unwrap();
    let mut talk = Talk::to(gateway.address("main").unwrap(), "/ws", &[]).ok().unwrap();
    talk.hears("welcome");
    let mut refused = Talk::to(gateway.address("clinic").unwrap(), "/", &[]).ok().unwrap();
    assert_eq!(refused.closed(), (4000, "Authentication token is required".into()));
    gateway.signal(libc::SIGTERM).unwrap();
    assert_eq!(talk.closed().0, 1001);
    assert_eq!(gateway.wait_for_end(), Ok(Some(0)));
    assert_eq!(gateway.panics(), None);
}

#[test]
fn one_who_never_answers_the_close_does_not_hold_it() {
    let mut gateway = gateway("", "drain = \"600ms\"\nclose_timeout = \"1m\"", "");
    let mut silent = Raw::upgrade(gateway.at(), "/ws", "");
    let mut blocked = Raw::slow(gateway.at());
    blocked.subscribe("room:1");
    let mut ann = gateway.client();
    (0..100).for_each(|n| ann.publish("room:1", serde_json::json!([n, "x".repeat(100_000)])));
    ann.pings();
    term(&gateway);
    assert_eq!(silent.closed().0, 1001);
    assert_eq!(gateway.ends().wait_for_end(), Ok(Some(0)));
    assert_eq!(silent.frame(), None);
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let mut gateway = gateway("", "drain = \"10m\"\nclose_timeout = \"10m\"", "");
    let mut silent = Raw::upgrade(gateway.at(), "/ws", "");
    term(&gateway);
    assert_eq!(silent.closed().0, 1001);
    term(&gateway);
    assert_eq!(gateway.ends().wait_for_end(), Ok(Some(0)));
}

#[test]
fn handshakes_and_requests_under_way_do_not_hold_it() {
    let mut gateway = gateway("", "", "");
    let mut half = Raw::connect(gateway.at());
    half.write(b"GET /ws HTTP/1.1\r\nHost: x\r\n");
    let mut idle = Raw::connect(gateway.address("admin").unwrap());
    idle.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_eq!(idle.status(), 200);
    let mut talk = Raw::upgrade(gateway.at(), "/ws", "");
    term(&gateway);
    assert_eq!(talk.closed().0, 1001);
    talk.write(&frame(FIN | 8, &1001u16.to_be_bytes()));
    assert!(!matches!(talk.frame(), Some(Frame(_, _))));
    assert_eq!(gateway.ends().wait_for_end(), Ok(Some(0)));
}
