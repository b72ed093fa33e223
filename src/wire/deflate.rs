//! Compression of single messages. RFC 7692 §7.2.1.

use super::inflate::TAIL;
use flate2::{Compress, Compression, FlushCompress};

/// Fast, and the lowest that is sound: level 1 of zlib-rs 0.6.8 panics over data that does not compress.
const LEVEL: Compression = Compression::new(2);

/// Compresses for all connections of a shard: one compressor (311 KiB with 15 bits) a window size, made when first
/// asked for. What it makes is the same for all that agreed on that size, so a message is compressed once.
#[derive(Default)]
pub struct Deflater {
    by_bits: [Option<Compress>; 7],
}

impl Deflater {
    pub fn new() -> Deflater {
        Deflater::default()
    }

    /// Appends `payload` compressed, to be sent with RSV1, for clients with `DeflateParams::server_bits` = `bits`.
    /// `false`, and nothing appended: it did not get smaller; send it plain.
    pub fn deflate(&mut self, payload: &[u8], bits: u8, out: &mut Vec<u8>) -> bool {
        let bits = bits.clamp(9, 15);
        let slot = &mut self.by_bits[bits as usize - 9];
        let zlib = slot.get_or_insert_with(|| Compress::new_with_window_bits(LEVEL, false, bits));
        zlib.reset();
        // One call is enough: where it would not be, the result would not be smaller.
        let start = out.len();
        out.reserve(payload.len() + TAIL.len());
        let done = zlib.compress_vec(payload, out, FlushCompress::Sync).is_ok() && out.ends_with(&TAIL);
        let end = out.len() - if done { TAIL.len() } else { 0 };
        let smaller = done && zlib.total_in() as usize == payload.len() && end - start < payload.len();
        out.truncate(if smaller { end } else { start });
        smaller
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Inflater;
    use flate2::{Decompress, FlushDecompress};

    /// Text that repeats itself over every distance up to 40 kB.
    fn text() -> Vec<u8> {
        let mut n = 1_u32;
        let mut out = vec![];
        while out.len() < 200_000 {
            n = n.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            if n >> 30 == 0 && !out.is_empty() {
                let from = out.len() - 1 - (n as usize >> 3) % out.len().min(40_000);
                let upto = (from + 40).min(out.len());
                out.extend_from_within(from..upto);
            } else {
                out.extend_from_slice(format!("{{\"n\":{n}}}").as_bytes());
            }
        }
        out
    }

    /// Inflates as a client does that has no more than its window: in small steps.
    fn inflate_in_a_window(payload: &[u8], bits: u8) -> Vec<u8> {
        let mut zlib = Decompress::new_with_window_bits(false, bits);
        let (payload, mut out, mut step) = ([payload, &TAIL].concat(), vec![], [0; 64]);
        loop {
            let (read, before) = (zlib.total_in() as usize, zlib.total_out());
            zlib.decompress(&payload[read..], &mut step, FlushDecompress::None).expect("within the window");
            let n = (zlib.total_out() - before) as usize;
            if n == 0 {
                return out;
            }
            out.extend_from_slice(&step[..n]);
        }
    }

    #[test]
    fn what_does_not_compress_is_sent_plain() {
        let (mut deflater, mut n, mut noise) = (Deflater::new(), 7_u64, vec![]);
        while noise.len() < 200_000 {
            n = n.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            noise.extend_from_slice(&(n ^ n >> 29).to_le_bytes());
        }
        for bits in 9..=15 {
            for size in [0, 1, 100, 4_096, 16_384, 32_767, 32_768, 65_535, 131_072, 200_000] {
                let mut out = vec![];
                assert!(!deflater.deflate(&noise[..size], bits, &mut out) && out.is_empty(), "{size} at {bits}");
            }
        }
    }

    #[test]
    fn every_window_size_is_honoured() {
        let (text, mut deflater, mut inflater) = (text(), Deflater::new(), Inflater::new());
        for bits in 9..=15 {
            for round in 0..2 {
                let mut out = b"before".to_vec();
                assert!(deflater.deflate(&text, bits, &mut out));
                assert_eq!(&out[..6], b"before");
                assert!(inflate_in_a_window(&out[6..], bits) == text, "{bits} bits, message {round}");
                assert!(inflater.inflate(&out[6..], text.len()).unwrap() == text);
            }
        }
        assert_eq!(deflater.by_bits.iter().flatten().count(), 7);
    }

    #[test]
    fn what_does_not_get_smaller_is_left_plain() {
        let mut out = b"before".to_vec();
        let mut deflater = Deflater::new();
        for payload in [&b""[..], b"a", b"hello", &[0x5a, 0xc3, 0x17, 0x88, 0xe2, 0x31, 0x9d, 0x44, 0xf6, 0x0b]] {
            assert!(!deflater.deflate(payload, 15, &mut out));
            assert_eq!(out, b"before");
        }
        assert!(deflater.deflate(&[b'a'; 100], 15, &mut out), "and the next one is compressed");
    }
}
