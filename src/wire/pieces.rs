//! A message in the making: its bytes as they come, and whether they are text so far.

use super::WireError;

/// Of one piece. All unfinished messages are of such pieces, so that what one gives back fits the next: rooms that double
/// as they grow would leave holes of all sizes behind, as large together as what is held.
const PIECE_BYTES: usize = 16 << 10;

/// Grows with what arrives, never by what a header claims.
#[derive(Default)]
pub struct Pieces {
    full: Vec<Vec<u8>>,
    last: Vec<u8>,
}

impl Pieces {
    pub fn push(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if self.last.len() == PIECE_BYTES {
                self.full.push(std::mem::take(&mut self.last));
            }
            let (had, room) = (self.last.len(), self.last.capacity());
            let taken = bytes.len().min(PIECE_BYTES - had);
            if had + taken > room {
                self.last.reserve_exact((had + taken).max(2 * room).min(PIECE_BYTES) - had);
            }
            self.last.extend_from_slice(&bytes[..taken]);
            bytes = &bytes[taken..];
        }
    }

    pub fn len(&self) -> usize {
        self.full.len() * PIECE_BYTES + self.last.len()
    }

    /// On the heap.
    pub fn held_bytes(&self) -> usize {
        self.full.len() * PIECE_BYTES + self.full.capacity() * size_of::<Vec<u8>>() + self.last.capacity()
    }

    pub fn join(self) -> Vec<u8> {
        if self.full.is_empty() {
            return self.last;
        }
        let mut whole = Vec::with_capacity(self.len());
        self.full.iter().for_each(|piece| whole.extend_from_slice(piece));
        whole.extend_from_slice(&self.last);
        whole
    }
}

/// The beginning of a character (RFC 3629) that the bytes so far end in.
#[derive(Default)]
pub struct Cut {
    bytes: [u8; 4],
    len: usize,
}

impl Cut {
    /// Whether these bytes go on with text.
    pub fn check(&mut self, mut bytes: &[u8]) -> Result<(), WireError> {
        while self.len > 0 {
            let Some((next, rest)) = bytes.split_first() else { return Ok(()) };
            (self.bytes[self.len], bytes) = (*next, rest);
            self.len += 1;
            match std::str::from_utf8(&self.bytes[..self.len]) {
                Ok(_) => self.len = 0,
                // The longest is of four bytes, and of those one is whole or wrong.
                Err(error) if error.error_len().is_none() => {}
                Err(_) => return Err(WireError::InvalidText),
            }
        }
        match simdutf8::compat::from_utf8(bytes) {
            Ok(_) => Ok(()),
            Err(error) if error.error_len().is_none() => {
                let cut = &bytes[error.valid_up_to()..];
                self.bytes[..cut.len()].copy_from_slice(cut);
                self.len = cut.len();
                Ok(())
            }
            Err(_) => Err(WireError::InvalidText),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_pushed_comes_back_however_it_was_cut() {
        let all: Vec<u8> = (0..100_000u32).map(|n| n as u8).collect();
        for cut in [1, 7, 4_096, PIECE_BYTES, PIECE_BYTES + 1, 100_000] {
            let mut pieces = Pieces::default();
            for piece in all.chunks(cut) {
                pieces.push(piece);
                assert!(pieces.held_bytes() <= 2 * pieces.len() + 64 * size_of::<Vec<u8>>(), "{cut}");
            }
            assert_eq!(pieces.len(), all.len());
            assert!(pieces.join() == all, "{cut}");
        }
    }

    #[test]
    fn text_is_text_however_it_is_cut_and_what_is_none_is_told_at_its_byte() {
        let text = "aé€𝄞z".repeat(3);
        for cut in 1..=text.len() {
            let mut state = Cut::default();
            assert!(text.as_bytes().chunks(cut).all(|piece| state.check(piece).is_ok()), "{cut}");
            assert_eq!(state.len, 0);
        }
        for wrong in [&b"a\xff"[..], b"\xc3(", b"\xe2\x82(", b"\xf0\x9d\x84(", b"\xed\xa0\x80", b"\xf5"] {
            let mut state = Cut::default();
            let at = wrong.iter().position(|byte| state.check(&[*byte]).is_err());
            let whole = std::str::from_utf8(wrong).unwrap_err();
            assert!(
                at.is_some_and(|at| at <= whole.valid_up_to() + whole.error_len().unwrap_or(1)),
                "{wrong:?}: {at:?}"
            );
        }
    }
}
