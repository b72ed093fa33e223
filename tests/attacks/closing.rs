//! How connections end: the server ends TCP first, no reset swallows its close frame, and nothing is kept meanwhile.

use super::raw::{FIN, Raw, TEXT, frame, head};
use super::{MIB, gateway, wait};

/// Longer than any test: an end that comes is not this one.
const PATIENT: &str = "close_timeout = \"10m\"";

#[test]
fn after_a_protocol_error_the_server_ends_the_connection() {
    let gateway = gateway("", PATIENT, "");
    for broken in [frame(FIN | 3, b""), frame(FIN | TEXT, b"\xff"), head(FIN | TEXT, 1 << 30, true)] {
        let mut raw = Raw::upgrade(gateway.at(), "/ws", "");
        raw.write(&[&broken[..], &[0; 4]].concat());
        assert!(matches!(raw.closed().0, 1002 | 1007 | 1009));
        assert_eq!(raw.frame(), None, "the client says nothing more, and is told that it is over");
    }
    gateway.wait_for_metric("weir_connections{app=\"app\"}", |n| n == 0.0);
}

#[test]
fn a_clients_close_is_answered_and_the_server_ends_first() {
    let gateway = gateway("", PATIENT, "");
    let mut raw = Raw::upgrade(gateway.at(), "/ws", "");
    raw.write(&frame(FIN | 8, &1000u16.to_be_bytes()));
    assert_eq!(raw.closed().0, 1000);
    assert_eq!(raw.frame(), None);
}

#[test]
fn a_close_of_the_server_waits_for_the_clients_answer_and_then_ends() {
    let gateway = gateway("", &format!("{PATIENT}\nidle_timeout = \"100ms\"\nping_interval = \"off\""), "");
    let mut raw = Raw::upgrade(gateway.at(), "/ws", "");
    assert_eq!(raw.closed().0, 1001);
    // Behind messages that nobody hears any more, one of them begun before.
    raw.write(&[frame(FIN | TEXT, br#"{"type":"ping"}"#).repeat(500), frame(FIN | 8, &1001u16.to_be_bytes())].concat());
    assert_eq!(raw.frame(), None);
}

#[test]
fn who_still_sends_a_large_message_hears_why_it_is_refused() {
    let gateway = gateway("", &format!("{PATIENT}\nmessage_bytes = \"64KiB\""), "");
    let mut raw = Raw::upgrade(gateway.at(), "/ws", "");
    // All of it is sent before anything is read, as many clients do. A socket closed on unread bytes would reset.
    raw.write(&[head(FIN | TEXT, 12 << 20, true), vec![0; 4]].concat());
    for _ in 0..12 {
        raw.write(&vec![b' '; MIB]);
    }
    assert_eq!(raw.closed().0, 1009);
    assert_eq!(raw.frame(), None);
}

#[test]
fn what_comes_behind_the_end_is_bounded_in_bytes() {
    let gateway = gateway("", &format!("{PATIENT}\nclose_bytes = \"256KiB\""), "");
    let mut raw = Raw::upgrade(gateway.at(), "/ws", "");
    raw.write(&frame(FIN | 3, b""));
    assert_eq!(raw.closed().0, 1002);
    while raw.try_write(&[b'x'; 65_000]) {}
    gateway.limit_hit("close_bytes");
    gateway.wait_for_metric("weir_connections{app=\"app\"}", |n| n == 0.0);
}

#[test]
fn a_connection_that_closes_keeps_no_message_in_the_making() {
    // Each begins a message and is closed for being idle, but does not answer.
    let limits = format!("{PATIENT}\nmessage_bytes = \"8MiB\"\nidle_timeout = \"300ms\"\nping_interval = \"off\"");
    let gateway = gateway("", &limits, "");
    let mut begun: Vec<Raw> = (0..24).map(|_| Raw::upgrade(gateway.at(), "/ws", "")).collect();
    for raw in &mut begun {
        raw.write(&[head(FIN | TEXT, 8 << 20, true), vec![0; 4], vec![b' '; 6 * MIB]].concat());
    }
    for raw in &mut begun {
        assert_eq!(raw.closed().0, 1001);
    }
    wait("their bytes to be given back", || gateway.memory("VmRSS") < 100 * MIB);
}
