//! Text → frames, once for all who share them.

use crate::dialect::Json;
use crate::hub::Batch;
use crate::wire::{self, DeflateParams, Deflater, OpCode};
use bytes::Bytes;
use smallvec::SmallVec;

/// A batch in one encoding: all its frames behind each other.
#[derive(Clone)]
pub struct Encoded {
    pub bytes: Bytes,
    /// Where each event's frame ends; events that the dialect does not tell have an empty frame.
    ends: SmallVec<[u32; 4]>,
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
    pub fn batch(&mut self, batch: &Batch, json: &Json, window: u8, threshold: Option<u64>) -> Encoded {
        let size: usize = batch.events.iter().map(|e| e.data.len() + 64).sum();
        let (mut out, mut ends) = (Vec::with_capacity(size), SmallVec::new());
        let mut text = std::mem::take(&mut self.text);
        for event in &batch.events {
            text.clear();
            if json.deliver(batch.channel.as_str(), batch.epoch, event, &mut text) {
                self.frame(&text, window, threshold, &mut out);
            }
            ends.push(out.len() as u32);
        }
        self.text = text;
        Encoded { bytes: out.into(), ends }
    }
}

impl Encoded {
    /// The frame of one event.
    pub fn event(&self, at: usize) -> Bytes {
        let start = if at == 0 { 0 } else { self.ends[at - 1] as usize };
        self.bytes.slice(start..self.ends[at] as usize)
    }
}
