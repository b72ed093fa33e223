//! Bytes that are no frames of RFC 6455, or more of them than a message may have.

use super::raw::{BINARY, FIN, Frame, RSV1, Raw, TEXT, frame, head};
use super::{MIB, gateway, wait};
use flate2::{Compress, Compression, FlushCompress};

const DEFLATE: &str = "Sec-WebSocket-Extensions: permessage-deflate\r\n";

#[test]
fn bytes_that_are_no_frames_are_closed_with_their_code() {
    let gateway = gateway("", "message_bytes = \"64KiB\"\nmessage_fragments = 16", "");
    let ping = br#"{"type":"ping"}"#;
    let many: Vec<u8> = (0..40).flat_map(|n| frame(if n == 0 { TEXT } else { 0 }, b"x")).collect();
    let unmasked = [head(FIN | TEXT, 15, false), ping.to_vec()].concat();
    let cases: &[(&str, Vec<u8>, u16)] = &[
        ("an unmasked frame", unmasked, 1002),
        ("a frame larger than a message may be", head(FIN | TEXT, (64 << 10) + 1, true), 1009),
        ("a header that claims 16 MiB", head(FIN | BINARY, 16 << 20, true), 1009),
        ("a header that claims all there is", head(FIN | BINARY, u64::MAX >> 1, true), 1009),
        ("a length with its top bit set", head(FIN | BINARY, u64::MAX, true), 1002),
        ("RSV1 without deflate", frame(FIN | RSV1 | TEXT, ping), 1002),
        ("RSV2", frame(FIN | 0x20 | TEXT, ping), 1002),
        ("RSV3", frame(FIN | 0x10 | TEXT, ping), 1002),
        ("a data opcode that is reserved", frame(FIN | 3, ping), 1002),
        ("a control opcode that is reserved", frame(FIN | 0xb, b""), 1002),
        ("a control frame in parts", frame(9, b"x"), 1002),
        ("a control frame of 126 bytes", frame(FIN | 9, &[0; 126]), 1002),
        ("nothing to continue", frame(FIN, b"x"), 1002),
        ("a message inside another", [frame(TEXT, b"x"), frame(FIN | TEXT, b"y")].concat(), 1002),
        ("text that is not UTF-8", frame(FIN | TEXT, b"\"\xff\""), 1007),
        ("a surrogate", frame(FIN | TEXT, b"\"\xed\xa0\x80\""), 1007),
        ("text that stops inside a character", frame(FIN | TEXT, b"\xe2\x82"), 1007),
        ("wrong UTF-8 in a second fragment", [frame(TEXT, b"ok"), frame(0, b"\xc0\xaf")].concat(), 1007),
        ("fragments without end", many, 1009),
        ("a close frame of one byte", frame(FIN | 8, b"x"), 1002),
        ("a close code that nobody may send", frame(FIN | 8, &1005u16.to_be_bytes()), 1002),
        ("a close reason that is not UTF-8", frame(FIN | 8, b"\x03\xe8\xff"), 1007),
        ("binary that is no text", frame(FIN | BINARY, b"\xff\xfe"), 1003),
    ];
    for (what, bytes, code) in cases {
        // A header ends with its mask.
        let bytes = [&bytes[..], &[0; 4]].concat();
        for bytewise in [false, true] {
            let mut raw = Raw::upgrade(gateway.at(), "/ws", "");
            let _ = match bytewise {
                false => raw.try_write(&bytes),
                true => bytes.chunks(1.max(bytes.len() / 64)).all(|piece| raw.try_write(piece)),
            };
            assert_eq!(raw.closed().0, *code, "{what}");
            raw.try_write(&frame(FIN | 8, &code.to_be_bytes()));
        }
    }
    gateway.limit_hit("message_bytes");
    gateway.limit_hit("message_fragments");
    gateway.wait_for_metric("weir_connections{app=\"app\"}", |n| n == 0.0);
}

#[test]
fn who_breaks_off_inside_a_frame_leaves_nothing_behind() {
    let gateway = gateway("", "", "");
    let message = frame(FIN | TEXT, br#"{"type":"ping","pad":"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"}"#);
    for cut in 0..message.len() {
        let mut raw = Raw::upgrade(gateway.at(), "/ws", "");
        raw.write(&message[..cut]);
    }
    gateway.wait_for_metric("weir_connections{app=\"app\"}", |n| n == 0.0);
}

#[test]
fn a_claim_of_much_costs_nothing_before_it_comes() {
    let gateway = gateway("", "message_bytes = \"16MiB\"", "");
    gateway.client().pings();
    let before = gateway.memory("VmRSS");
    let mut idle: Vec<Raw> = (0..64).map(|_| Raw::upgrade(gateway.at(), "/ws", "")).collect();
    for raw in &mut idle {
        raw.write(&[head(FIN | TEXT, 16 << 20, true), vec![0; 4], vec![b' '; 100]].concat());
    }
    gateway.wait_for_metric("weir_bytes_received_total", |n| n >= 64.0 * 114.0);
    let grown = gateway.memory("VmHWM").saturating_sub(before);
    assert!(grown < 32 * MIB, "64 headers that claim 16 MiB each cost {grown} bytes");
}

#[test]
fn a_deflate_bomb_is_stopped_at_the_bound() {
    let gateway = gateway("", "message_bytes = \"1MiB\"", "");
    let mut zip = Compress::new(Compression::best(), false);
    let mut bomb = Vec::with_capacity(MIB);
    zip.compress_vec(&vec![b' '; 64 * MIB], &mut bomb, FlushCompress::Sync).unwrap();
    assert!(bomb.len() < MIB, "{}", bomb.len());
    for _ in 0..4 {
        let mut raw = Raw::upgrade(gateway.at(), "/ws", DEFLATE);
        raw.write(&frame(FIN | RSV1 | TEXT, &bomb));
        assert_eq!(raw.closed().0, 1009);
    }
    let most = gateway.memory("VmHWM");
    assert!(most < 100 * MIB, "{most} bytes");
    let mut raw = Raw::upgrade(gateway.at(), "/ws", DEFLATE);
    raw.write(&frame(FIN | RSV1 | TEXT, b"\xff\xff\xff\xff garbage"));
    assert!(matches!(raw.closed().0, 1002 | 1007));
}

#[test]
fn after_its_close_a_client_may_say_what_it_wants() {
    let gateway = gateway("", "close_timeout = \"200ms\"", "");
    let mut raw = Raw::upgrade(gateway.at(), "/ws", "");
    raw.write(&frame(FIN | 3, b""));
    assert_eq!(raw.closed().0, 1002);
    // Nobody reads it any more; nobody waits for more than `close_timeout`.
    while raw.try_write(&frame(FIN | TEXT, &[b'x'; 65_000])) {}
    assert_eq!(raw.frame(), None);
    wait("one line about it", || gateway.output().contains("connection failed"));
    assert_eq!(gateway.output().matches("connection failed").count(), 1);
}

#[test]
fn a_flood_of_pings_and_empty_fragments_is_answered_in_order() {
    let gateway = gateway("", "message_fragments = 100_000", "");
    let mut raw = Raw::upgrade(gateway.at(), "/ws", "");
    raw.write(&frame(TEXT, br#"{"type":"#));
    for n in 0..2_000u16 {
        raw.write(&[frame(0, b""), frame(FIN | 9, &n.to_be_bytes())].concat());
    }
    raw.write(&frame(FIN, br#""ping"}"#));
    for n in 0..2_000u16 {
        assert_eq!(raw.frame(), Some(Frame(FIN | 0xa, n.to_be_bytes().to_vec())));
    }
    assert_eq!(raw.frame(), Some(Frame(FIN | TEXT, br#"{"type":"pong"}"#.to_vec())));
}
