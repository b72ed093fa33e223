//! A client's bytes, in whatever pieces they arrive, are the same messages.

use weir::wire::{Arrived, DeflateParams, Deflater, Frames, Incoming, Inflater, Limits, Reader, WireError};

#[derive(PartialEq, Debug)]
enum Heard {
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<(u16, String)>),
    Error(WireError),
}

/// How a stream is handed in.
#[derive(Clone, Copy, Debug)]
enum Pieces {
    Whole,
    Single,
    /// Of up to 32 bytes; the number changes which.
    Odd(u8),
    /// As a shard does that has to wait after each message: what was not taken is fed again.
    Again,
}

/// First byte: bit 0 deflate, bits 1–2 message size, bit 3 fragments. Second: how to cut. The rest: the stream.
pub fn play(input: &[u8]) {
    let Some((&[how, cut], stream)) = input.split_first_chunk() else { return };
    let deflate = (how & 1 == 1).then_some(DeflateParams { server_bits: 15, client_bits: 15 });
    let message_bytes = [16, 300, 5_000, 1 << 20][(how >> 1 & 3) as usize];
    let limits = Limits { message_bytes, fragments: if how & 8 == 0 { 3 } else { 100 } };
    let whole = hear(deflate, &limits, stream, Pieces::Whole);
    for pieces in [Pieces::Single, Pieces::Odd(cut), Pieces::Again] {
        assert_eq!(hear(deflate, &limits, stream, pieces), whole, "{pieces:?}");
    }
    if let Ok(text) = std::str::from_utf8(stream) {
        back_and_forth(text, 9 + cut % 7);
    }
}

fn hear(deflate: Option<DeflateParams>, limits: &Limits, stream: &[u8], pieces: Pieces) -> Vec<Heard> {
    let (mut reader, mut inflater, mut heard) = (Reader::new(deflate), Inflater::new(), Vec::new());
    let (mut at, mut turn) = (0, 0_u8);
    while at < stream.len() && !matches!(heard.last(), Some(Heard::Error(_) | Heard::Close(_))) {
        turn = turn.wrapping_add(1);
        let n = match pieces {
            Pieces::Whole | Pieces::Again => stream.len(),
            Pieces::Single => 1,
            Pieces::Odd(cut) => 1 + (cut.wrapping_mul(turn) ^ turn) as usize % 32,
        };
        let mut piece: Vec<u8> = stream[at..].iter().copied().take(n).collect();
        let mut frames = reader.feed(&mut piece);
        while take(&mut frames, limits, &mut inflater, &mut heard) && !matches!(pieces, Pieces::Again) {}
        let taken = frames.taken();
        assert!(taken <= piece.len());
        assert!(taken > 0 || matches!(heard.last(), Some(Heard::Error(_))), "nothing is taken of {n} bytes");
        at += if let Pieces::Again = pieces { taken } else { piece.len() };
        assert!(reader.buffered() <= 2 * at + 512, "{} bytes are kept of {at} that came", reader.buffered());
    }
    if let Some(Heard::Error(_) | Heard::Close(_)) = heard.last() {
        assert_eq!(reader.buffered(), 0);
        let mut rest = stream[at..].to_vec();
        assert_eq!(reader.feed(&mut rest).next(limits), Ok(None), "something comes after the end");
    }
    heard
}

/// `false`: there was none.
fn take(frames: &mut Frames<'_>, limits: &Limits, inflater: &mut Inflater, heard: &mut Vec<Heard>) -> bool {
    let arrived = loop {
        match frames.next(limits) {
            Ok(Some(Arrived::Fragment)) => {}
            other => break other,
        }
    };
    let incoming = match arrived {
        Ok(Some(_)) => frames.take(limits.message_bytes, inflater),
        Ok(None) => Ok(None),
        Err(error) => Err(error),
    };
    heard.push(match incoming {
        Ok(None) => return false,
        Ok(Some(Incoming::Text(text))) => Heard::Text(text.into()),
        Ok(Some(Incoming::Binary(bytes))) => Heard::Binary(bytes.into()),
        Ok(Some(Incoming::Ping(bytes))) => Heard::Ping(bytes.into()),
        Ok(Some(Incoming::Pong(bytes))) => Heard::Pong(bytes.into()),
        Ok(Some(Incoming::Close(close))) => Heard::Close(close.map(|(code, reason)| (code, reason.into()))),
        Err(error) => {
            assert!(matches!(error.close().code, 1002 | 1007 | 1009));
            Heard::Error(error)
        }
    });
    match heard.last() {
        Some(Heard::Text(text)) => assert!(text.len() <= limits.message_bytes),
        Some(Heard::Binary(bytes)) => assert!(bytes.len() <= limits.message_bytes),
        Some(Heard::Ping(bytes) | Heard::Pong(bytes)) => assert!(bytes.len() <= 125),
        _ => {}
    }
    true
}

/// What our compressor made, our reader reads.
fn back_and_forth(text: &str, bits: u8) {
    let mut payload = Vec::new();
    if !Deflater::new().deflate(text.as_bytes(), bits, &mut payload) {
        return;
    }
    let mut frame = vec![0xc1, 0x80 | 127];
    frame.extend_from_slice(&(payload.len() as u64).to_be_bytes());
    frame.extend_from_slice(&[0; 4]);
    frame.extend_from_slice(&payload);
    let limits = Limits { message_bytes: text.len(), fragments: 1 };
    let deflate = Some(DeflateParams { server_bits: bits, client_bits: 15 });
    assert_eq!(hear(deflate, &limits, &frame, Pieces::Whole), [Heard::Text(text.into())]);
}
