//! Bytes of one client → its messages. RFC 6455 §5, RFC 7692 §6.
//!
//! A shard reads into one buffer for all its connections and feeds it here. A message that lies whole in that buffer
//! is unmasked where it lies and lent out; of all others the `Reader` keeps the bytes that came, unmasked, until the
//! rest is there.

use super::pieces::{Cut, Pieces};
use super::{
    Arrived, DeflateParams, Incoming, Inflater, Limits, OpCode, WireError, close,
    head::{HEAD_BYTES_MAX, Head},
};
use fastwebsockets::unmask;
use std::{mem, ops::Range};

/// What a connection remembers between reads: nothing on the heap while no message is in the making.
pub struct Reader {
    deflate: Option<DeflateParams>,
    /// A close or an error was told; what comes after it is not read (§5.5.1, §7.1.7).
    ended: bool,
    /// Only a close frame is waited for: messages are passed over.
    closing: bool,
    partial: Option<Box<Partial>>,
}

/// A message, or a frame inside it, of which more is to come.
#[derive(Default)]
struct Partial {
    /// The beginning of a header, and how much of it there is.
    head: [u8; HEAD_BYTES_MAX],
    head_len: usize,
    /// A frame whose header was read. `len`: of its payload, what is still to come; `mask`: turned to fit that.
    frame: Option<Head>,
    control: Vec<u8>,
    message: Option<Message>,
}

struct Message {
    op: OpCode,
    deflated: bool,
    fragments: u32,
    bytes: Pieces,
    /// Of text: the beginning of a character whose end has not come.
    cut: Cut,
}

impl Reader {
    /// `deflate`: what `negotiate` agreed on.
    pub fn new(deflate: Option<DeflateParams>) -> Reader {
        Reader { deflate, ended: false, closing: false, partial: None }
    }

    /// Frames in `input`, which follows what was fed before. Ask for them until there is none, or keep
    /// what follows `Frames::taken`: it is not remembered here.
    pub fn feed<'r>(&'r mut self, input: &'r mut [u8]) -> Frames<'r> {
        Frames { reader: self, input, at: 0, held: Vec::new(), inflated: Vec::new(), found: None }
    }

    /// From now on only the client's close frame matters. What is kept of a message is freed, and none is kept again.
    pub fn close_only(&mut self) {
        self.closing = true;
        if let Some(message) = self.partial.as_mut().and_then(|partial| partial.message.as_mut()) {
            message.bytes = Pieces::default();
            message.cut = Cut::default();
        }
    }

    /// Nothing is read any more.
    pub fn end(&mut self) {
        self.ended = true;
        self.partial = None;
    }

    /// Heap bytes that an unfinished message holds now; 0 between messages. At most about twice what arrived of it.
    pub fn buffered(&self) -> usize {
        let Some(partial) = &self.partial else { return 0 };
        let message = partial.message.as_ref().map_or(0, |message| message.bytes.held_bytes());
        mem::size_of::<Partial>() + partial.control.capacity() + message
    }

    fn message(&self) -> Option<&Message> {
        self.partial.as_ref()?.message.as_ref()
    }

    /// Whether this frame may come now (§5.2, §5.4), and whether it still fits.
    fn admit(&self, head: &Head, limits: &Limits) -> Result<(), WireError> {
        let starts = matches!(head.op, OpCode::Text | OpCode::Binary);
        if head.rsv1 && !(starts && self.deflate.is_some()) {
            return Err(WireError::ReservedBits);
        }
        if head.is_control() {
            return Ok(());
        }
        let (had, deflated, fragments) = match self.message() {
            None if starts => (0, head.rsv1, 0),
            None => return Err(WireError::NothingToContinue),
            Some(_) if starts => return Err(WireError::MessageUnfinished),
            Some(message) => (message.bytes.len(), message.deflated, message.fragments),
        };
        if fragments > 0 && fragments >= limits.fragments {
            return Err(WireError::TooManyFragments);
        }
        // A message that does not compress gets larger: by an eighth at worst, with fixed Huffman codes.
        let slack = if deflated { limits.message_bytes / 8 + 64 } else { 0 };
        if head.len > limits.message_bytes.saturating_add(slack).saturating_sub(had) as u64 {
            return Err(WireError::TooBig);
        }
        Ok(())
    }
}

/// The frames in one read. Lends each until the next is asked for.
pub struct Frames<'r> {
    reader: &'r mut Reader,
    input: &'r mut [u8],
    at: usize,
    /// The message lent out, where it did not lie whole in `input`.
    held: Vec<u8>,
    /// The same where it was compressed.
    inflated: Vec<u8>,
    /// What `next` told of.
    found: Option<Found>,
}

struct Found {
    op: OpCode,
    deflated: bool,
    place: Place,
}

enum Place {
    Input(Range<usize>),
    Held,
}

impl Frames<'_> {
    /// What the next frame completes; `None`: more bytes are needed, or the client closed. After an error the
    /// connection reads nothing more: send `WireError::close` and end it.
    pub fn next(&mut self, limits: &Limits) -> Result<Option<Arrived>, WireError> {
        self.found = None;
        if self.reader.ended {
            self.at = self.input.len();
            return Ok(None);
        }
        let arrived = self.find(limits);
        if arrived.is_err() {
            self.reader.end();
        }
        arrived
    }

    /// The message or control frame that `next` told of; once. A message of more than `bytes_max` bytes after
    /// inflation is an error.
    pub fn take(&mut self, bytes_max: usize, inflater: &mut Inflater) -> Result<Option<Incoming<'_>>, WireError> {
        let Some(found) = self.found.take() else { return Ok(None) };
        let Err(error) = self.inflate(&found, bytes_max, inflater) else {
            let incoming = lend(found.op, payload(&found, self.input, &self.held, &self.inflated));
            if matches!(incoming, Err(_) | Ok(Incoming::Close(_))) {
                self.reader.end();
            }
            return incoming.map(Some);
        };
        self.reader.end();
        Err(error)
    }

    /// The same for a message that is refused whatever it says: nothing of it is an error, and one of more than
    /// `bytes_max` bytes is not looked into.
    pub fn glimpse(&mut self, bytes_max: usize, inflater: &mut Inflater) -> Option<Incoming<'_>> {
        let found = self.found.take()?;
        self.inflate(&found, bytes_max, inflater).ok()?;
        let payload = payload(&found, self.input, &self.held, &self.inflated);
        if payload.len() > bytes_max { None } else { lend(found.op, payload).ok() }
    }

    /// Gives back what the last message was inflated into. Returns `taken`.
    pub fn done(self, inflater: &mut Inflater) -> usize {
        inflater.reclaim(self.inflated);
        self.at
    }

    /// How much of the input was read so far. Where a message has to wait for something, the bytes from here on are
    /// to be fed again, first.
    pub fn taken(&self) -> usize {
        self.at
    }

    fn find(&mut self, limits: &Limits) -> Result<Option<Arrived>, WireError> {
        if self.reader.partial.as_ref().is_none_or(|partial| partial.frame.is_none()) {
            let Some(head) = self.head()? else { return Ok(None) };
            self.reader.admit(&head, limits)?;
            if let Some(found) = self.whole(&head) {
                return Ok(Some(self.tell(found)));
            }
            self.begin(head);
        }
        if !self.absorb()? {
            return Ok(None);
        }
        Ok(Some(match self.finish() {
            Some(found) => self.tell(found),
            None => Arrived::Fragment,
        }))
    }

    fn tell(&mut self, found: Found) -> Arrived {
        let control = matches!(found.op, OpCode::Close | OpCode::Ping | OpCode::Pong);
        self.found = Some(found);
        if control { Arrived::Control } else { Arrived::Message }
    }

    /// Reads a header; keeps what there is of it where it is cut.
    fn head(&mut self) -> Result<Option<Head>, WireError> {
        if let Some(partial) = self.reader.partial.as_mut().filter(|partial| partial.head_len > 0) {
            while let Some(&byte) = self.input.get(self.at) {
                partial.head[partial.head_len] = byte;
                partial.head_len += 1;
                self.at += 1;
                if let Some((head, _)) = Head::parse(&partial.head[..partial.head_len])? {
                    partial.head_len = 0;
                    return Ok(Some(head));
                }
            }
            return Ok(None);
        }
        let rest = &self.input[self.at..];
        if let Some((head, len)) = Head::parse(rest)? {
            self.at += len;
            return Ok(Some(head));
        }
        if !rest.is_empty() {
            let partial = self.reader.partial.get_or_insert_default();
            partial.head[..rest.len()].copy_from_slice(rest);
            partial.head_len = rest.len();
            self.at = self.input.len();
        }
        Ok(None)
    }

    /// A control frame or an unfragmented message that lies whole in `input`: unmasked in place.
    fn whole(&mut self, head: &Head) -> Option<Found> {
        let message = self.reader.message().is_some();
        if (self.input.len() - self.at) as u64 >= head.len && (head.is_control() || head.fin && !message) {
            let range = self.at..self.at + head.len as usize;
            self.at = range.end;
            unmask(&mut self.input[range.clone()], head.mask);
            if !message {
                self.reader.partial = None; // it held the beginning of this header
            }
            return Some(Found { op: head.op, deflated: head.rsv1, place: Place::Input(range) });
        }
        None
    }

    fn begin(&mut self, head: Head) {
        let partial = self.reader.partial.get_or_insert_default();
        if !head.is_control() {
            let (op, deflated) = (head.op, head.rsv1);
            let (bytes, cut) = (Pieces::default(), Cut::default());
            let start = || Message { op, deflated, fragments: 0, bytes, cut };
            partial.message.get_or_insert_with(start).fragments += 1;
        }
        partial.frame = Some(head);
    }

    /// Takes over what there is of the frame in progress. `true`: it is complete.
    fn absorb(&mut self) -> Result<bool, WireError> {
        let closing = self.reader.closing;
        let Some(partial) = &mut self.reader.partial else { return Ok(false) };
        let Some(frame) = &mut partial.frame else { return Ok(false) };
        let available = &mut self.input[self.at..];
        let n = frame.len.min(available.len() as u64) as usize;
        let bytes = &mut available[..n];
        unmask(bytes, frame.mask);
        frame.mask.rotate_left(n % 4);
        frame.len -= n as u64;
        self.at += n;
        let (complete, control) = (frame.len == 0, frame.is_control());
        match &mut partial.message {
            Some(_) if !control && closing => {}
            Some(message) if !control => message.push(bytes)?,
            _ => partial.control.extend_from_slice(bytes),
        }
        Ok(complete)
    }

    /// Ends the complete frame in progress, and moves the message or control frame that it completes to `held`.
    fn finish(&mut self) -> Option<Found> {
        let partial = self.reader.partial.as_mut()?;
        let frame = partial.frame.take()?;
        let found = if frame.is_control() {
            self.held = mem::take(&mut partial.control);
            Found { op: frame.op, deflated: false, place: Place::Held }
        } else if !frame.fin {
            return None;
        } else {
            let message = partial.message.take()?;
            self.held = message.bytes.join();
            Found { op: message.op, deflated: message.deflated, place: Place::Held }
        };
        if partial.message.is_none() {
            self.reader.partial = None;
        }
        Some(found)
    }

    /// A compressed message is inflated next to what came.
    fn inflate(&mut self, found: &Found, bytes_max: usize, inflater: &mut Inflater) -> Result<(), WireError> {
        if found.deflated {
            inflater.reclaim(mem::take(&mut self.inflated));
            let came = match &found.place {
                Place::Input(range) => &self.input[range.clone()],
                Place::Held => &self.held[..],
            };
            self.inflated = inflater.inflate(came, bytes_max)?;
        }
        Ok(())
    }
}

impl Message {
    fn push(&mut self, bytes: &[u8]) -> Result<(), WireError> {
        self.bytes.push(bytes);
        // As soon as it shows, not when the message is complete.
        if self.op == OpCode::Text && !self.deflated { self.cut.check(bytes) } else { Ok(()) }
    }
}

fn payload<'f>(found: &Found, input: &'f [u8], held: &'f [u8], inflated: &'f [u8]) -> &'f [u8] {
    match &found.place {
        _ if found.deflated => inflated,
        Place::Input(range) => &input[range.clone()],
        Place::Held => held,
    }
}

fn lend(op: OpCode, payload: &[u8]) -> Result<Incoming<'_>, WireError> {
    Ok(match op {
        OpCode::Text => Incoming::Text(simdutf8::basic::from_utf8(payload).map_err(|_| WireError::InvalidText)?),
        OpCode::Binary => Incoming::Binary(payload),
        OpCode::Ping => Incoming::Ping(payload),
        OpCode::Pong => Incoming::Pong(payload),
        OpCode::Close => Incoming::Close(close::read(payload)?),
        OpCode::Continuation => return Err(WireError::NothingToContinue), // `admit` let none through
    })
}
