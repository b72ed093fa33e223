//! Frames of the server: unmasked, never fragmented. RFC 6455 §5.

use super::{OpCode, close, head::CONTROL_BYTES_MAX};
use crate::model::Close;

/// Appends the header of a whole message or control frame with `len` bytes of payload (2, 4 or 10 bytes).
/// `rsv1`: the payload is what a `Deflater` made (RFC 7692 §6).
#[inline]
pub fn header(op: OpCode, len: usize, rsv1: bool, out: &mut Vec<u8>) {
    out.push(0x80 | if rsv1 { 0x40 } else { 0 } | op as u8);
    match len {
        0..=125 => out.push(len as u8),
        126..=0xffff => {
            out.push(126);
            out.extend_from_slice(&(len as u16).to_be_bytes());
        }
        _ => {
            out.push(127);
            out.extend_from_slice(&(len as u64).to_be_bytes());
        }
    }
}

/// Appends a frame. The payload of a ping or pong is 125 bytes at most (§5.5); what a client sent always is.
pub fn frame(op: OpCode, payload: &[u8], out: &mut Vec<u8>) {
    header(op, payload.len(), false, out);
    out.extend_from_slice(payload);
}

/// Appends a close frame. The reason is cut to 123 bytes between characters; a code that may not be sent
/// (1005 "no code given" among them) leaves the frame empty.
pub fn close_frame(close: &Close, out: &mut Vec<u8>) {
    if !close::allowed(close.code) {
        return frame(OpCode::Close, b"", out);
    }
    let reason = &close.reason[..close.reason.floor_char_boundary(CONTROL_BYTES_MAX - 2)];
    header(OpCode::Close, 2 + reason.len(), false, out);
    out.extend_from_slice(&close.code.to_be_bytes());
    out.extend_from_slice(reason.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_as_short_as_they_can_be() {
        let big = 0x1_0000;
        for (op, len, rsv1, expected) in [
            (OpCode::Text, 0, false, &[0x81, 0][..]),
            (OpCode::Text, 125, true, &[0xc1, 125]),
            (OpCode::Binary, 126, false, &[0x82, 126, 0, 126]),
            (OpCode::Binary, 0xffff, false, &[0x82, 126, 0xff, 0xff]),
            (OpCode::Text, big, false, &[0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
        ] {
            let mut out = vec![];
            header(op, len, rsv1, &mut out);
            assert_eq!(out, expected);
        }
    }

    #[test]
    fn frames_follow_each_other() {
        let mut out = vec![];
        frame(OpCode::Text, b"hi", &mut out);
        frame(OpCode::Pong, b"", &mut out);
        close_frame(&Close::GOING_AWAY, &mut out);
        assert_eq!(out, b"\x81\x02hi\x8a\x00\x88\x16\x03\xe9server shutting down");
    }

    #[test]
    fn a_close_frame_is_always_valid() {
        let mut out = vec![];
        close_frame(&Close { code: 4000, reason: "é".repeat(100).into() }, &mut out);
        assert_eq!((out[1], out.len()), (124, 126), "61 characters of two bytes, none cut in half");
        assert_eq!(close::read(&out[2..]), Ok(Some((4000, "é".repeat(61).as_str()))));
        for code in [0, 1005, 1006, 1015] {
            out.clear();
            close_frame(&Close { code, reason: "never sent".into() }, &mut out);
            assert_eq!(out, [0x88, 0]);
        }
    }
}
