//! Conversations with a `Reader`: what a client sends, what a shard hears.

use super::*;

const LIMITS: Limits = Limits { message_bytes: 1000, fragments: 8 };
const DEFLATE: Option<DeflateParams> = Some(DeflateParams { server_bits: 15, client_bits: 15 });
const FIN: u8 = 0x80;
const RSV1: u8 = 0x40;
const MORE: u8 = 0; // a fragment that is not the last
const CONT: u8 = 0;
const TEXT: u8 = 1;
const BIN: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

/// A client's frame.
fn client(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = vec![];
    header(OpCode::Text, payload.len(), false, &mut out);
    (out[0], out[1]) = (first, out[1] | 0x80);
    let mask = [0x11, 0xa2, 0x33, 0xf4];
    out.extend_from_slice(&mask);
    out.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    out
}

fn compressed(text: &[u8]) -> Vec<u8> {
    let mut out = vec![];
    assert!(Deflater::new().deflate(text, 15, &mut out));
    out
}

/// Everything heard, an error last. Short texts as they are, long ones by their length.
fn hear(reader: &mut Reader, input: &mut [u8], limits: &Limits, heard: &mut Vec<String>) {
    let mut inflater = Inflater::new();
    let mut frames = reader.feed(input);
    loop {
        match frames.next(limits) {
            Ok(None) => return,
            Ok(Some(Arrived::Fragment)) => continue,
            Ok(Some(_)) => {}
            Err(error) => return heard.push(format!("{} {error:?}", error.close().code)),
        }
        match frames.take(limits.message_bytes, &mut inflater) {
            Ok(None) => panic!("it was told of"),
            Ok(Some(Incoming::Text(text))) if text.len() > 100 => heard.push(format!("Text of {}", text.len())),
            Ok(Some(Incoming::Binary(bytes))) if bytes.len() > 100 => heard.push(format!("Binary of {}", bytes.len())),
            Ok(Some(incoming)) => heard.push(format!("{incoming:?}")),
            Err(error) => heard.push(format!("{} {error:?}", error.close().code)),
        }
    }
}

/// Feeds in pieces of `step` bytes.
fn hear_in_steps(deflate: Option<DeflateParams>, limits: &Limits, bytes: &[u8], step: usize) -> (Vec<String>, usize) {
    let (mut reader, mut heard) = (Reader::new(deflate), vec![]);
    for piece in bytes.chunks(step) {
        hear(&mut reader, &mut piece.to_vec(), limits, &mut heard);
    }
    (heard, reader.buffered())
}

/// Hears the same however the bytes are cut.
#[track_caller]
fn expect(deflate: Option<DeflateParams>, frames: &[Vec<u8>], expected: &[&str]) {
    let bytes = frames.concat();
    for step in [bytes.len(), 1, 2, 3, 5, 7, 16, 61, 100] {
        let (heard, buffered) = hear_in_steps(deflate, &LIMITS, &bytes, step.max(1));
        assert_eq!(heard, expected, "in steps of {step}");
        assert_eq!(buffered, 0, "in steps of {step}");
    }
    for cut in 0..bytes.len() {
        let (mut reader, mut heard) = (Reader::new(deflate), vec![]);
        hear(&mut reader, &mut bytes[..cut].to_vec(), &LIMITS, &mut heard);
        hear(&mut reader, &mut bytes[cut..].to_vec(), &LIMITS, &mut heard);
        assert_eq!(heard, expected, "cut at {cut}");
    }
}

#[test]
fn an_idle_reader_is_small() {
    assert!(size_of::<Reader>() <= 16);
    assert_eq!(size_of::<DeflateParams>(), 2);
    assert_eq!(Reader::new(DEFLATE).buffered(), 0);
}

#[test]
fn whole_messages_are_heard() {
    expect(
        None,
        &[
            client(FIN | TEXT, "héllo".as_bytes()),
            client(FIN | BIN, &[1, 2, 255]),
            client(FIN | TEXT, b""),
            client(FIN | BIN, b""),
            client(FIN | PING, b"are you there"),
            client(FIN | PONG, b""),
            client(FIN | TEXT, &[b'x'; 126]),
            client(FIN | BIN, &[b'x'; 1000]),
            client(FIN | CLOSE, b"\x03\xe8bye"),
        ],
        &[
            "Text(\"héllo\")",
            "Binary([1, 2, 255])",
            "Text(\"\")",
            "Binary([])",
            "Ping([97, 114, 101, 32, 121, 111, 117, 32, 116, 104, 101, 114, 101])",
            "Pong([])",
            "Text of 126",
            "Binary of 1000",
            "Close(Some((1000, \"bye\")))",
        ],
    );
}

#[test]
fn a_whole_message_is_lent_from_the_shared_buffer() {
    let mut shared = [client(FIN | TEXT, b"one"), client(FIN | TEXT, b"two")].concat();
    let range = shared.as_ptr_range();
    let (mut reader, mut inflater) = (Reader::new(None), Inflater::new());
    let mut frames = reader.feed(&mut shared);
    for expected in ["one", "two"] {
        assert_eq!(frames.next(&LIMITS), Ok(Some(Arrived::Message)));
        let Ok(Some(Incoming::Text(text))) = frames.take(1_000, &mut inflater) else { panic!("{expected}") };
        assert!(text == expected && range.contains(&text.as_ptr()));
    }
}

#[test]
fn what_was_not_taken_can_be_fed_later() {
    let mut shared = [client(FIN | TEXT, b"login"), client(FIN | TEXT, b"next"), client(FIN | PING, b"")].concat();
    let (mut reader, mut inflater) = (Reader::new(None), Inflater::new());
    let mut frames = reader.feed(&mut shared);
    assert_eq!(frames.next(&LIMITS), Ok(Some(Arrived::Message)));
    assert_eq!(frames.take(1_000, &mut inflater), Ok(Some(Incoming::Text("login"))));
    let taken = frames.taken();
    let mut heard = vec![];
    hear(&mut reader, &mut shared[taken..], &LIMITS, &mut heard);
    assert_eq!(heard, ["Text(\"next\")", "Ping([])"]);
}

#[test]
fn fragments_make_one_message_and_let_control_frames_through() {
    expect(
        None,
        &[
            client(MORE | TEXT, "caf\u{e9}".as_bytes().split_at(4).0), // cut inside é
            client(FIN | PING, b"1"),
            client(MORE | CONT, b"\xa9 "),
            client(MORE | CONT, b""),
            client(FIN | PONG, b"2"),
            client(FIN | CONT, b"noir"),
            client(MORE | BIN, b""),
            client(FIN | CONT, b""),
            client(FIN | TEXT, b"next"),
        ],
        &["Ping([49])", "Pong([50])", "Text(\"café noir\")", "Binary([])", "Text(\"next\")"],
    );
}

#[test]
fn every_breach_has_its_close_code() {
    let (text, more) = (client(FIN | TEXT, b"a"), client(MORE | TEXT, b"a"));
    let a = "Text(\"a\")";
    let nine = [vec![more.clone()], vec![client(MORE | CONT, b"b"); 8]].concat().concat();
    for (bytes, expected) in [
        (vec![0x81, 0x01, b'a'], &["1002 Unmasked"][..]),
        ([&text[..], &client(FIN | 0x40 | TEXT, b"a")].concat(), &[a, "1002 ReservedBits"]),
        (client(FIN | 0x20 | TEXT, b"a"), &["1002 ReservedBits"]),
        (client(FIN | 0x10 | PING, b"a"), &["1002 ReservedBits"]),
        (client(FIN | 0x40 | CLOSE, b""), &["1002 ReservedBits"]),
        (client(FIN | 3, b""), &["1002 ReservedOpcode"]),
        (client(FIN | 11, b"abc"), &["1002 ReservedOpcode"]),
        (vec![0x82, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0], &["1002 BadLength"]),
        (client(FIN | PING, &[0; 126]), &["1002 ControlTooLong"]),
        (client(MORE | PING, b""), &["1002 ControlFragmented"]),
        (client(FIN | CONT, b"a"), &["1002 NothingToContinue"]),
        ([&text[..], &client(MORE | CONT, b"a")].concat(), &[a, "1002 NothingToContinue"]),
        ([&more[..], &client(FIN | TEXT, b"b")].concat(), &["1002 MessageUnfinished"]),
        ([&more[..], &client(MORE | BIN, b"b")].concat(), &["1002 MessageUnfinished"]),
        (client(FIN | CLOSE, b"\x03"), &["1002 BadClose"]),
        (client(FIN | CLOSE, b"\x03\xed"), &["1002 BadClose"]),
        (client(FIN | CLOSE, b"\x03\xe8\xff"), &["1007 InvalidText"]),
        (client(FIN | TEXT, b"\xce\xba\xed\xa0\x80"), &["1007 InvalidText"]),
        (client(FIN | TEXT, b"caf\xc3"), &["1007 InvalidText"]),
        ([&more[..], &client(FIN | CONT, b"\xc3")].concat(), &["1007 InvalidText"]),
        (client(FIN | TEXT, &[b'a'; 1001]), &["1009 TooBig"]),
        ([client(MORE | BIN, &[0; 600]), client(FIN | CONT, &[0; 401])].concat(), &["1009 TooBig"]),
        (vec![0x82, 0xff, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0], &["1009 TooBig"]),
        (nine, &["1009 TooManyFragments"]),
    ] {
        expect(None, &[bytes], expected);
    }
}

#[test]
fn nothing_is_read_after_a_close_or_an_error() {
    let text = client(FIN | TEXT, b"late");
    expect(None, &[client(FIN | CLOSE, b""), text.clone(), vec![0xff; 9]], &["Close(None)"]);
    expect(None, &[client(MORE | TEXT, b"a"), client(FIN | CLOSE, b""), client(FIN | CONT, b"")], &["Close(None)"]);
    expect(None, &[client(FIN | 3, b""), text.clone()], &["1002 ReservedOpcode"]);
    expect(None, &[client(FIN | TEXT, b"\xff"), text], &["1007 InvalidText"]);
}

#[test]
fn bad_text_is_told_before_its_message_is_complete() {
    // Autobahn 6.4.*: κόσμε, a surrogate, the rest
    let (mut reader, mut heard) = (Reader::new(None), vec![]);
    hear(&mut reader, &mut client(MORE | TEXT, "κόσμε".as_bytes()), &LIMITS, &mut heard);
    assert_eq!(heard, [""; 0]);
    let second = client(MORE | CONT, b"\xf4\x90\x80\x80 and the rest");
    hear(&mut reader, &mut second[..8].to_vec(), &LIMITS, &mut heard);
    assert_eq!(heard, ["1007 InvalidText"], "inside the frame");
}

#[test]
fn compressed_messages_are_heard() {
    let long = compressed("Händel ".repeat(100).as_bytes());
    let (first, second) = long.split_at(long.len() / 2);
    expect(
        DEFLATE,
        &[
            client(FIN | RSV1 | TEXT, b"\xf2\x48\xcd\xc9\xc9\x07\x00"),
            client(FIN | TEXT, b"plain"),
            client(FIN | RSV1 | TEXT, &long),
            client(FIN | RSV1 | BIN, b"\x00"),
            client(FIN | RSV1 | TEXT, b""),
            client(MORE | RSV1 | TEXT, first),
            client(FIN | PING, b""),
            client(MORE | CONT, b""),
            client(FIN | CONT, second),
            client(MORE | RSV1 | BIN, b""),
            client(FIN | CONT, b"\xf3\x48\xcd\xc9\xc9\x07\x00\x00"),
            client(MORE | TEXT, b"pl"),
            client(FIN | CONT, b"ain"),
        ],
        &[
            "Text(\"Hello\")",
            "Text(\"plain\")",
            "Text of 800",
            "Binary([])",
            "Text(\"\")",
            "Ping([])",
            "Text of 800",
            "Binary([72, 101, 108, 108, 111])",
            "Text(\"plain\")",
        ],
    );
}

#[test]
fn compressed_messages_are_held_to_the_rules() {
    let bomb = compressed(&[b'a'; 50_000]);
    assert!(bomb.len() < 1000, "{}", bomb.len());
    let (first, second) = bomb.split_at(bomb.len() / 2);
    for (frames, expected) in [
        (vec![client(FIN | RSV1 | TEXT, &bomb)], "1009 TooBig"),
        (vec![client(MORE | RSV1 | TEXT, first), client(FIN | CONT, second)], "1009 TooBig"),
        (vec![client(FIN | RSV1 | BIN, &[0; 1200])], "1009 TooBig"),
        (vec![client(FIN | RSV1 | TEXT, &compressed(&[0xff; 100]))], "1007 InvalidText"),
        (vec![client(FIN | RSV1 | TEXT, b"\x07abc")], "1007 InvalidDeflate"),
        (vec![client(MORE | RSV1 | TEXT, b"a"), client(FIN | RSV1 | CONT, b"b")], "1002 ReservedBits"),
        (vec![client(FIN | RSV1 | PING, b"")], "1002 ReservedBits"),
        (vec![client(FIN | RSV1 | CLOSE, b"")], "1002 ReservedBits"),
    ] {
        expect(DEFLATE, &frames, &[expected]);
    }
}

#[test]
fn every_frame_is_told_of_whatever_it_completes() {
    let mut bytes = [client(MORE | TEXT, b"a"), client(MORE | CONT, b""), client(FIN | PING, b"")].concat();
    bytes.extend([client(FIN | CONT, b"b"), client(FIN | CLOSE, b"")].concat());
    let mut reader = Reader::new(None);
    let (mut frames, mut told) = (reader.feed(&mut bytes), vec![]);
    while let Some(arrived) = frames.next(&LIMITS).unwrap() {
        told.push(arrived);
    }
    use Arrived::*;
    assert_eq!(told, [Fragment, Fragment, Control, Message, Control]);
}

#[test]
fn nothing_is_inflated_that_is_not_taken() {
    // Not DEFLATE at all: it would be an error.
    let mut bytes = [client(FIN | RSV1 | TEXT, b"\x07abc"), client(FIN | TEXT, b"next")].concat();
    let (mut reader, mut inflater) = (Reader::new(DEFLATE), Inflater::new());
    let mut frames = reader.feed(&mut bytes);
    assert_eq!(frames.next(&LIMITS), Ok(Some(Arrived::Message)));
    assert_eq!(frames.next(&LIMITS), Ok(Some(Arrived::Message)));
    assert_eq!(frames.take(1_000, &mut inflater), Ok(Some(Incoming::Text("next"))));
}

#[test]
fn a_glimpse_looks_into_small_messages_only_and_finds_no_fault() {
    let bomb = compressed(&[b'a'; 50_000]);
    let mut bytes = [
        client(FIN | RSV1 | TEXT, &bomb),
        client(FIN | RSV1 | TEXT, &compressed(&[b'a'; 100])),
        client(FIN | RSV1 | TEXT, b"\x07abc"),
        client(FIN | TEXT, &[b'a'; 101]),
        client(FIN | TEXT, b"caf\xc3"),
        client(FIN | TEXT, b"ok"),
    ]
    .concat();
    let (mut reader, mut inflater) = (Reader::new(DEFLATE), Inflater::new());
    let (mut frames, mut seen) = (reader.feed(&mut bytes), vec![]);
    while let Some(arrived) = frames.next(&LIMITS).unwrap() {
        assert_eq!(arrived, Arrived::Message);
        seen.push(frames.glimpse(100, &mut inflater).map(|incoming| match incoming {
            Incoming::Text(text) => text.len(),
            other => panic!("{other:?}"),
        }));
    }
    assert_eq!(seen, [None, Some(100), None, None, None, Some(2)]);
}

#[test]
fn who_closes_hears_the_close_frame_alone_and_keeps_nothing() {
    let mut first = [client(FIN | TEXT, b"a"), client(MORE | TEXT, &[b'b'; 600])].concat();
    let rest = [client(FIN | CONT, &[b'c'; 300]), client(FIN | TEXT, &[b'd'; 900]), client(FIN | CLOSE, b"")].concat();
    let (mut reader, mut heard) = (Reader::new(None), vec![]);
    hear(&mut reader, &mut first, &LIMITS, &mut heard);
    reader.close_only();
    assert!(reader.buffered() < 200, "{}", reader.buffered());
    let mut control = 0;
    for piece in rest.chunks(50) {
        let mut piece = piece.to_vec();
        let (mut frames, mut inflater) = (reader.feed(&mut piece), Inflater::new());
        while let Some(arrived) = frames.next(&LIMITS).unwrap() {
            if arrived == Arrived::Control {
                assert_eq!(frames.take(1_000, &mut inflater), Ok(Some(Incoming::Close(None))));
                control += 1;
            }
        }
        assert!(reader.buffered() < 200, "{}", reader.buffered());
    }
    assert_eq!((heard.len(), control), (1, 1));
}

#[test]
fn a_large_message_is_gathered_and_let_go() {
    // Autobahn 9.*: 4 MiB, whole and in 64-byte fragments, read 64 KiB at a time
    const SIZE: usize = 4 << 20;
    let limits = Limits { message_bytes: SIZE, fragments: 1 << 16 };
    let whole = client(FIN | TEXT, &vec![b'*'; SIZE]);
    let mut fragments = client(MORE | BIN, &[b'*'; 64]);
    for _ in 0..(SIZE / 64 - 2) {
        fragments.extend(client(MORE | CONT, &[b'*'; 64]));
    }
    fragments.extend(client(FIN | CONT, &[b'*'; 64]));
    for (bytes, expected) in [(whole, format!("Text of {SIZE}")), (fragments, format!("Binary of {SIZE}"))] {
        let (mut reader, mut heard, mut most) = (Reader::new(None), vec![], 0);
        for (i, piece) in bytes.chunks(64 << 10).enumerate() {
            hear(&mut reader, &mut piece.to_vec(), &limits, &mut heard);
            most = most.max(reader.buffered());
            assert!(reader.buffered() <= 2 * (i + 1) * (64 << 10) + 2000, "more than twice what came");
        }
        assert_eq!(heard, [expected]);
        assert!(most > SIZE / 2 && reader.buffered() == 0);
    }
}

#[test]
fn a_claim_reserves_nothing() {
    let limits = Limits { message_bytes: usize::MAX, fragments: u32::MAX };
    for first in [FIN | TEXT, MORE | BIN, FIN | RSV1 | TEXT] {
        let mut bytes = vec![first, 0xff, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 2, 3, 4, b'a', b'b'];
        let (mut reader, mut heard) = (Reader::new(DEFLATE), vec![]);
        hear(&mut reader, &mut bytes, &limits, &mut heard);
        assert_eq!(heard, [""; 0]);
        assert!(reader.buffered() < 500);
    }
}

/// Marsaglia's xorshift64: the same bytes in every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| self.next() as u8).collect()
    }

    /// Mostly frames, of any kind and some of them damaged; sometimes noise.
    fn stream(&mut self) -> Vec<u8> {
        let mut out = vec![];
        for _ in 0..1 + self.below(8) {
            if self.below(12) == 0 {
                let n = self.below(40);
                out.extend(self.bytes(n));
                continue;
            }
            let op = [TEXT, TEXT, BIN, CONT, CONT, PING, PONG, CLOSE][self.below(8)];
            let first = op | [FIN, FIN, MORE][self.below(3)] | [0, 0, 0, RSV1][self.below(4)];
            let n = [self.below(6), self.below(130), self.below(1300)][self.below(3)];
            let payload = match self.below(4) {
                0 => self.bytes(n),
                1 if n > 60 => compressed(&vec![b'z'; n * self.below(20).max(1)]),
                _ => vec![b'a'; n],
            };
            out.extend(client(first, &payload));
            if self.below(10) == 0 {
                let at = self.below(out.len());
                out[at] ^= 1 << self.below(8);
            }
        }
        out
    }
}

#[test]
fn no_bytes_upset_the_reader() {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let (mut messages, mut errors) = (0, 0);
    for round in 0..6000 {
        let bytes = if round % 8 == 0 { random.bytes(60) } else { random.stream() };
        let deflate = DEFLATE.filter(|_| round % 3 != 0);
        let (whole, _) = hear_in_steps(deflate, &LIMITS, &bytes, bytes.len().max(1));
        let (mut reader, mut heard, mut rest) = (Reader::new(deflate), vec![], &bytes[..]);
        while !rest.is_empty() {
            let (piece, tail) = rest.split_at((1 + random.below(90)).min(rest.len()));
            rest = tail;
            hear(&mut reader, &mut piece.to_vec(), &LIMITS, &mut heard);
            assert!(reader.buffered() <= 2 * (1000 + 1000 / 8 + 64) + 600, "round {round}: {}", reader.buffered());
        }
        // Cut inside a frame, bad text is told earlier: the same error, of the same message.
        if whole.len() < heard.len() {
            assert_eq!(heard.last().map(String::as_str), Some("1007 InvalidText"), "round {round}");
            heard.pop();
        }
        assert_eq!(whole, heard, "round {round}");
        errors += usize::from(whole.last().is_some_and(|last| last.starts_with("10")));
        messages += whole.len();
    }
    assert!(messages > 5000 && errors > 1000, "{messages} messages and {errors} errors: not a test of much");
}
