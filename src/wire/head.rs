//! A client's frame header. RFC 6455 §5.2.

use super::{OpCode, WireError};

/// The longest header: 2 bytes, 8 of length, 4 of mask.
pub(super) const HEAD_BYTES_MAX: usize = 14;
/// Payload of a ping, pong or close (§5.5).
pub(super) const CONTROL_BYTES_MAX: usize = 125;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Head {
    pub fin: bool,
    pub rsv1: bool,
    pub op: OpCode,
    pub mask: [u8; 4],
    /// Of the payload, as claimed: nothing is reserved for it.
    pub len: u64,
}

impl Head {
    /// Reads the header that `bytes` start with, and how many bytes it takes; `None`: more bytes are needed.
    /// What the first two bytes give away is told at once. Whether the frame may come now is the reader's to say.
    ///
    /// A length in more bytes than it needs is let pass: only senders are bound by §5.2's "minimal number of bytes",
    /// and the gateways that Weir takes over from read it too.
    #[inline]
    pub fn parse(bytes: &[u8]) -> Result<Option<(Head, usize)>, WireError> {
        let [first, second, rest @ ..] = bytes else { return Ok(None) };
        if first & 0x30 != 0 {
            return Err(WireError::ReservedBits);
        }
        let op = OpCode::try_from(first & 0x0f).map_err(|_| WireError::ReservedOpcode)?;
        if second & 0x80 == 0 {
            return Err(WireError::Unmasked);
        }
        let (fin, rsv1, short) = (first & 0x80 != 0, first & 0x40 != 0, second & 0x7f);
        if is_control(op) {
            if !fin {
                return Err(WireError::ControlFragmented);
            }
            if short as usize > CONTROL_BYTES_MAX {
                return Err(WireError::ControlTooLong);
            }
        }
        let (len, rest) = match short {
            127 => match rest.split_first_chunk() {
                Some((len, rest)) => (u64::from_be_bytes(*len), rest),
                None => return Ok(None),
            },
            126 => match rest.split_first_chunk() {
                Some((len, rest)) => (u16::from_be_bytes(*len) as u64, rest),
                None => return Ok(None),
            },
            short => (short as u64, rest),
        };
        if len >> 63 != 0 {
            return Err(WireError::BadLength);
        }
        let Some((mask, rest)) = rest.split_first_chunk() else { return Ok(None) };
        Ok(Some((Head { fin, rsv1, op, mask: *mask, len }, bytes.len() - rest.len())))
    }

    pub fn is_control(&self) -> bool {
        is_control(self.op)
    }
}

fn is_control(op: OpCode) -> bool {
    matches!(op, OpCode::Close | OpCode::Ping | OpCode::Pong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_three_lengths_are_read() {
        let short = [0x81, 0x85, 1, 2, 3, 4, 9];
        let medium = [0x02, 0xfe, 0x01, 0x00, 1, 2, 3, 4];
        let long = [0xc1, 0xff, 0, 0, 0, 0, 0, 1, 0, 0, 1, 2, 3, 4];
        let head = |fin, rsv1, op, len| Head { fin, rsv1, op, mask: [1, 2, 3, 4], len };
        assert_eq!(Head::parse(&short), Ok(Some((head(true, false, OpCode::Text, 5), 6))));
        assert_eq!(Head::parse(&medium), Ok(Some((head(false, false, OpCode::Binary, 256), 8))));
        assert_eq!(Head::parse(&long), Ok(Some((head(true, true, OpCode::Text, 65536), HEAD_BYTES_MAX))));
        for whole in [&short[..6], &medium, &long] {
            for cut in 0..whole.len() {
                assert_eq!(Head::parse(&whole[..cut]), Ok(None), "{cut} of {whole:?}");
            }
        }
    }

    #[test]
    fn what_two_bytes_give_away_is_told_at_once() {
        for (bytes, error) in [
            ([0xa1, 0x80], WireError::ReservedBits),
            ([0x91, 0x80], WireError::ReservedBits),
            ([0x83, 0x80], WireError::ReservedOpcode),
            ([0x87, 0x80], WireError::ReservedOpcode),
            ([0x8b, 0x80], WireError::ReservedOpcode),
            ([0x8f, 0x80], WireError::ReservedOpcode),
            ([0x81, 0x05], WireError::Unmasked),
            ([0x09, 0x80], WireError::ControlFragmented),
            ([0x89, 0xfe], WireError::ControlTooLong),
            ([0x88, 0xff], WireError::ControlTooLong),
        ] {
            assert_eq!(Head::parse(&bytes), Err(error), "{bytes:x?}");
        }
        assert_eq!(Head::parse(&[0x82, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0]), Err(WireError::BadLength));
    }
}
