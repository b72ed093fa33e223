//! A test's client: writes what the test says, and keeps what it hears until the test looks.

use super::pipe::Pipe;
use crate::model::{Close, Identity};
use crate::wire::{self, OpCode};
use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

pub(super) struct Client {
    pipe: Pipe,
    /// As it was when it connected.
    pub identity: Arc<Identity>,
    /// Of a frame that has not come whole.
    bytes: Vec<u8>,
    state: State,
    /// Not yet looked at, with the step's line.
    pub heard: VecDeque<(u32, Heard)>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    /// It has begun to close; what comes is nobody's affair.
    Closing,
    Ended,
}

pub(super) enum Heard {
    Text(String),
    Closed(Close),
}

impl fmt::Display for Heard {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Heard::Text(text) => f.write_str(text),
            Heard::Closed(close) => write!(f, "closed {} \"{}\"", close.code, close.reason),
        }
    }
}

impl Client {
    pub fn new(pipe: Pipe, identity: Arc<Identity>) -> Client {
        Client { pipe, identity, bytes: Vec::new(), state: State::Open, heard: VecDeque::new() }
    }

    pub fn is_open(&self) -> bool {
        self.state == State::Open
    }

    pub fn send(&mut self, text: &str) {
        self.write(OpCode::Text, text.as_bytes());
    }

    /// Closes in order.
    pub fn close(&mut self, code: u16) {
        self.write(OpCode::Close, &code.to_be_bytes());
        self.state = State::Closing;
    }

    /// Takes so many bytes from now on; `None`: all.
    pub fn take(&self, room: Option<usize>) {
        self.pipe.take(room);
    }

    /// Is gone without a word.
    pub fn vanish(&mut self) {
        self.pipe.end();
        self.state = State::Ended;
    }

    /// Reads what has come. Returns whether it answered something by itself.
    pub fn listen(&mut self, line: u32) -> bool {
        self.pipe.receive(&mut self.bytes);
        let (bytes, mut at, mut answered) = (std::mem::take(&mut self.bytes), 0, false);
        while let Some((op, payload, end)) = frame(&bytes[at..]) {
            at += end;
            if self.state == State::Ended {
                continue;
            }
            match op {
                OpCode::Ping => {
                    self.write(OpCode::Pong, payload);
                    answered = true;
                }
                OpCode::Close => {
                    if self.state == State::Open {
                        self.heard.push_back((line, Heard::Closed(closed(payload))));
                        self.write(OpCode::Close, &payload[..payload.len().min(2)]);
                    }
                    self.vanish();
                    answered = true;
                }
                OpCode::Pong => {}
                _ if self.state == State::Open => {
                    let text = String::from_utf8_lossy(payload).into_owned();
                    self.heard.push_back((line, Heard::Text(text)));
                }
                _ => {}
            }
        }
        self.bytes = bytes[at..].to_vec();
        if self.state != State::Ended && self.pipe.is_over() {
            if self.state == State::Open {
                self.heard.push_back((line, Heard::Closed(Close::new(1006, ""))));
            }
            self.vanish();
            answered = true;
        }
        answered
    }

    /// Masked, as clients write (RFC 6455 §5.3); of zeros, since nobody is between.
    fn write(&self, op: OpCode, payload: &[u8]) {
        let mut frame = Vec::with_capacity(payload.len() + 14);
        wire::header(op, payload.len(), false, &mut frame);
        frame[1] |= 0x80;
        frame.extend_from_slice(&[0; 4]);
        frame.extend_from_slice(payload);
        self.pipe.send(&frame);
    }
}

/// A frame of a server: its opcode, its payload, its end. `None`: it has not come whole.
fn frame(bytes: &[u8]) -> Option<(OpCode, &[u8], usize)> {
    let op = OpCode::try_from(bytes.first()? & 0x0f).ok()?;
    let (at, len) = match *bytes.get(1)? {
        126 => (4, u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?) as usize),
        127 => (10, u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?) as usize),
        len => (2, usize::from(len)),
    };
    Some((op, bytes.get(at..at + len)?, at + len))
}

fn closed(payload: &[u8]) -> Close {
    match payload {
        [a, b, reason @ ..] => {
            let reason = String::from_utf8_lossy(reason).into_owned();
            Close { code: u16::from_be_bytes([*a, *b]), reason: reason.into() }
        }
        _ => Close::new(1005, ""),
    }
}
