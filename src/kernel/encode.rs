//! Text → frames, once for all who share them.

use super::memory::{Meter, Metered};
use crate::dialect::Dialect;
use crate::hub::Batch;
use crate::wire::{self, DeflateParams, Deflater, OpCode};
use smallvec::{SmallVec, smallvec};

/// Frames behind each other, shared by all who hear them: a batch in one encoding, or one message of a connection's own.
pub struct Encoded {
    bytes: Vec<u8>,
    /// Where each event's frame ends; events that the dialect does not tell have an empty frame.
    ends: SmallVec<[u32; 4]>,
    _metered: Metered,
}

/// Which of the encodings a connection hears: endpoint, and the window of its deflate (0: plain).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Encoding {
    pub endpoint: u16,
    pub window: u8,
}

impl Encoding {
    pub fn new(endpoint: u16, deflate: Option<DeflateParams>) -> Encoding {
        Encoding { endpoint, window: deflate.map_or(0, |d| d.server_bits) }
    }
}

/// A shard's tools for writing frames.
#[derive(Default)]
pub struct Encoder {
    deflater: Deflater,
    text: Vec<u8>,
    deflated: Vec<u8>,
}

impl Encoder {
    pub fn new() -> Encoder {
        Encoder::default()
    }

    /// Appends one text message as a frame; deflated above `threshold`, where that makes it smaller.
    pub fn frame(&mut self, text: &[u8], window: u8, threshold: Option<u64>, out: &mut Vec<u8>) {
        self.message(OpCode::Text, text, window, threshold, out)
    }

    pub fn message(&mut self, op: OpCode, data: &[u8], window: u8, threshold: Option<u64>, out: &mut Vec<u8>) {
        if window > 0 && threshold.is_some_and(|t| data.len() as u64 >= t) {
            self.deflated.clear();
            if self.deflater.deflate(data, window, &mut self.deflated) && self.deflated.len() < data.len() {
                wire::header(op, self.deflated.len(), true, out);
                out.extend_from_slice(&self.deflated);
                return;
            }
        }
        wire::frame(op, data, out);
    }

    /// All of a batch.
    pub fn batch(
        &mut self,
        batch: &Batch,
        dialect: &Dialect,
        window: u8,
        threshold: Option<u64>,
        meter: &Meter,
    ) -> Encoded {
        let size: usize = batch.events.iter().map(|e| e.data.len() + 64).sum();
        let (mut out, mut ends) = (Vec::with_capacity(size), SmallVec::new());
        let mut text = std::mem::take(&mut self.text);
        for event in &batch.events {
            text.clear();
            if dialect.deliver(batch.channel.as_str(), batch.epoch, event, &mut text) {
                self.frame(&text, window, threshold, &mut out);
            }
            ends.push(out.len() as u32);
        }
        self.text = text;
        Encoded::new(out, ends, meter)
    }
}

/// Of frames, beside their bytes: itself, its count, what the allocator rounds up.
const ENCODED_BYTES: usize = size_of::<Encoded>() + 48;

impl Encoded {
    pub fn one(frame: Vec<u8>, meter: &Meter) -> Encoded {
        let end = frame.len() as u32;
        Encoded::new(frame, smallvec![end], meter)
    }

    fn new(bytes: Vec<u8>, ends: SmallVec<[u32; 4]>, meter: &Meter) -> Encoded {
        let beside = if ends.spilled() { ends.capacity() * 4 } else { 0 };
        let _metered = meter.count(ENCODED_BYTES + bytes.capacity() + beside);
        Encoded { bytes, ends, _metered }
    }

    #[cfg(test)]
    pub fn of(frames: impl IntoIterator<Item = Vec<u8>>) -> Encoded {
        let (mut bytes, mut ends) = (Vec::new(), SmallVec::new());
        for frame in frames {
            bytes.extend(frame);
            ends.push(bytes.len() as u32);
        }
        Encoded::new(bytes, ends, &Meter::default())
    }

    pub fn events(&self) -> u32 {
        self.ends.len() as u32
    }

    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The frames of the events `first..end`.
    pub fn frames(&self, first: u32, end: u32) -> &[u8] {
        &self.bytes[self.start(first)..self.start(end)]
    }

    /// Their bytes.
    pub fn len(&self, first: u32, end: u32) -> usize {
        self.start(end) - self.start(first)
    }

    fn start(&self, event: u32) -> usize {
        event.checked_sub(1).map_or(0, |before| self.ends[before as usize] as usize)
    }
}
