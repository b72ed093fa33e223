//! Decompression of single messages. RFC 7692 §7.2.2.

use super::WireError;
use flate2::{Decompress, FlushDecompress, Status};
use std::mem;

/// What a sender takes off the end of a message.
pub(super) const TAIL: [u8; 4] = [0x00, 0x00, 0xff, 0xff];
/// The output buffer kept between messages; a larger one is freed.
const SPARE_BYTES_MAX: usize = 64 * 1024;
/// Blocks with BFINAL inside one message. Each costs a copy of the window, which a hostile message could ask for
/// every other byte; senders that use BFINAL at all (§7.2.3.4) set it once a message.
const FINAL_BLOCKS_MAX: u32 = 64;
const WINDOW_BYTES: usize = 32 * 1024;

/// Inflates the messages of a shard, one after the other. 45 KiB and a buffer of `SPARE_BYTES_MAX` once used.
#[derive(Default)]
pub struct Inflater {
    zlib: Option<Decompress>,
    spare: Vec<u8>,
}

impl Inflater {
    pub fn new() -> Inflater {
        Inflater::default()
    }

    /// A whole message's text. Memory grows with what really comes out, to `max` bytes and no further;
    /// hand the buffer back with `reclaim`.
    pub(super) fn inflate(&mut self, payload: &[u8], max: usize) -> Result<Vec<u8>, WireError> {
        let zlib = self.zlib.get_or_insert_with(|| Decompress::new(false));
        zlib.reset(false);
        let mut message = Message { zlib, out: mem::take(&mut self.spare), max, final_blocks: 0 };
        let result = message.push(payload).and_then(|()| message.push(&TAIL));
        let out = message.out;
        match result {
            Ok(()) => Ok(out),
            Err(error) => {
                self.reclaim(out);
                Err(error)
            }
        }
    }

    /// Takes a message's buffer back: a small one serves the next message, a large one is freed now.
    pub(super) fn reclaim(&mut self, mut buffer: Vec<u8>) {
        if buffer.capacity() > self.spare.capacity() && buffer.capacity() <= SPARE_BYTES_MAX {
            buffer.clear();
            self.spare = buffer;
        }
    }
}

struct Message<'z> {
    zlib: &'z mut Decompress,
    out: Vec<u8>,
    max: usize,
    final_blocks: u32,
}

impl Message<'_> {
    fn push(&mut self, mut input: &[u8]) -> Result<(), WireError> {
        loop {
            self.make_room(input.len())?;
            let (in_before, out_before) = (self.zlib.total_in(), self.out.len());
            let status = self
                .zlib
                .decompress_vec(input, &mut self.out, FlushDecompress::None)
                .map_err(|_| WireError::InvalidDeflate)?;
            let read = (self.zlib.total_in() - in_before) as usize;
            input = &input[read..];
            let ended = status == Status::StreamEnd;
            let stuck = read == 0 && self.out.len() == out_before;
            if ended {
                self.go_on()?;
            }
            // Room left means that nothing is held back. A stream that stops inside a block is let pass, as by
            // zlib's other users: some senders leave the tail on, or forget the byte after BFINAL.
            if input.is_empty() && (ended || stuck || self.out.len() < self.out.capacity()) {
                return Ok(());
            }
            if stuck && !ended {
                return Err(WireError::InvalidDeflate);
            }
        }
    }

    /// Room for at least one byte more, and never for more than one above `max`: that one byte tells "exactly
    /// `max`" from "too big".
    fn make_room(&mut self, input: usize) -> Result<(), WireError> {
        let len = self.out.len();
        if len > self.max {
            return Err(WireError::TooBig);
        }
        if len == self.out.capacity() {
            let more = len.max(input.saturating_mul(2)).max(1024);
            self.out.reserve_exact(more.min((self.max - len).saturating_add(1)));
        }
        Ok(())
    }

    /// A block with BFINAL ended a DEFLATE stream, but not the message: what follows may still refer back to it.
    fn go_on(&mut self) -> Result<(), WireError> {
        self.final_blocks += 1;
        if self.final_blocks > FINAL_BLOCKS_MAX {
            return Err(WireError::InvalidDeflate);
        }
        self.zlib.reset(false);
        let window = &self.out[self.out.len().saturating_sub(WINDOW_BYTES)..];
        self.zlib.set_dictionary(window).map_err(|_| WireError::InvalidDeflate)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Deflater;
    use flate2::{Compress, Compression, FlushCompress};

    fn inflate(payload: &[u8]) -> Result<String, WireError> {
        Inflater::new().inflate(payload, 1000).map(|out| String::from_utf8(out).unwrap())
    }

    #[test]
    fn the_examples_of_the_rfc_are_read() {
        // RFC 7692 §7.2.3.1, .3, .4, .5 and §7.2.3.6
        assert_eq!(inflate(b"\xf2\x48\xcd\xc9\xc9\x07\x00").unwrap(), "Hello");
        assert_eq!(inflate(b"\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00").unwrap(), "Hello");
        assert_eq!(inflate(b"\xf3\x48\xcd\xc9\xc9\x07\x00\x00").unwrap(), "Hello");
        assert_eq!(inflate(b"\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00").unwrap(), "Hello");
        assert_eq!(inflate(b"\x00").unwrap(), "");
        assert_eq!(inflate(b"\x02\x00").unwrap(), "");
        assert_eq!(inflate(b"\xf2\x48\xcd\xc9\xc9\x07\x00\x00\x00\xff\xff").unwrap(), "Hello", "a tail left on");
        assert_eq!(inflate(b"").unwrap(), "", "a sender that forgets the one byte of an empty message");
    }

    #[test]
    fn blocks_after_a_final_one_belong_to_the_message() {
        let hello = b"\xf3\x48\xcd\xc9\xc9\x07\x00";
        assert_eq!(inflate(&[&hello[..], b"\x00"].concat()).unwrap(), "Hello");
        assert_eq!(inflate(&hello[..]).unwrap(), "Hello", "a sender that forgets the byte after BFINAL");
        assert_eq!(inflate(&[&hello[..], hello, b"\x00"].concat()).unwrap(), "HelloHello");
        // The second stream is a copy of the five bytes before it: fixed block, match of length 5 at distance 5.
        assert_eq!(inflate(&[&hello[..], b"\x03\x13\x00", b"\x00"].concat()).unwrap(), "HelloHello");
        assert_eq!(inflate(&hello.repeat(FINAL_BLOCKS_MAX as usize)).unwrap().len(), 5 * 64);
        assert_eq!(inflate(&hello.repeat(FINAL_BLOCKS_MAX as usize + 1)), Err(WireError::InvalidDeflate));
    }

    #[test]
    fn a_block_after_a_final_one_may_refer_back_as_far_as_the_window_goes() {
        let text: Vec<u8> = (0..12_000_u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes()).collect();
        let mut sender = Compress::new(Compression::fast(), false);
        let mut payload = Vec::with_capacity(1 << 17);
        sender.compress_vec(&text, &mut payload, FlushCompress::Finish).unwrap();
        let first = payload.len();
        sender.reset();
        sender.set_dictionary(&text[text.len() - WINDOW_BYTES..]).unwrap();
        let again = &text[text.len() - 30_000..];
        sender.compress_vec(again, &mut payload, FlushCompress::Sync).unwrap();
        assert!(first > 40_000 && payload.len() - first < 1000, "the second stream is all references");
        let out = Inflater::new().inflate(payload.strip_suffix(&TAIL).unwrap(), 1 << 20).unwrap();
        assert!(out == [&text[..], again].concat());
    }

    #[test]
    fn what_is_not_deflate_is_refused() {
        assert_eq!(inflate(b"\x07"), Err(WireError::InvalidDeflate), "block type 3");
        assert_eq!(inflate(b"\x00\x05\x00\x00\x00Hello"), Err(WireError::InvalidDeflate), "LEN and NLEN differ");
        assert_eq!(inflate(b"\x03\x13\x00"), Err(WireError::InvalidDeflate), "a distance before the beginning");
    }

    #[test]
    fn a_bomb_costs_no_more_than_the_limit() {
        let mut bomb = vec![];
        assert!(Deflater::new().deflate(&vec![b'a'; 8 << 20], 15, &mut bomb));
        assert!(bomb.len() < 100_000, "{}", bomb.len());
        let mut inflater = Inflater::new();
        for max in [0, 1, 1000, 65_535, 65_536, (8 << 20) - 1] {
            assert_eq!(inflater.inflate(&bomb, max), Err(WireError::TooBig), "{max}");
            assert!(inflater.spare.capacity() <= SPARE_BYTES_MAX);
        }
        let out = inflater.inflate(&bomb, 8 << 20).expect("exactly the limit is fine");
        assert!(out.len() == 8 << 20 && out.capacity() <= (8 << 20) + 1);
        inflater.reclaim(out);
        assert!(inflater.spare.capacity() <= SPARE_BYTES_MAX, "a large buffer is not kept");
        assert_eq!(inflater.inflate(b"\xf2\x48\xcd\xc9\xc9\x07\x00", 5), Ok(b"Hello".to_vec()), "none the worse");
        assert_eq!(inflater.inflate(b"\xf2\x48\xcd\xc9\xc9\x07\x00", usize::MAX), Ok(b"Hello".to_vec()));
    }
}
