//! What waits to be written to one connection. Holds shared slices; bounded in bytes by its caller.

use bytes::Bytes;
use std::collections::VecDeque;
use std::io::{self, ErrorKind, IoSlice};

use super::socket::Socket;

/// A channel's number, or none.
pub const NO_CHANNEL: u32 = u32::MAX;
/// Slices of one write.
const SLICES: usize = 64;
/// Up to this, small slices are copied together: many small `iovec`s cost more than a copy.
const GATHER_BYTES: usize = 32 << 10;
const SMALL_BYTES: usize = 4 << 10;

/// One shared slice: whole frames.
pub struct Entry {
    pub bytes: Bytes,
    /// Whose deliveries these are; `NO_CHANNEL` for replies, pongs and closes, which are never dropped.
    pub channel: u32,
    /// How many events.
    pub events: u32,
}

/// First in, first out. Small while empty: most connections are idle.
#[derive(Default)]
pub struct Queue {
    first: Option<Entry>,
    // Boxed, because nearly all queues have none.
    #[allow(clippy::box_collection)]
    rest: Option<Box<VecDeque<Entry>>>,
    /// Of the first entry, already written.
    written: u32,
    bytes: usize,
}

/// What a flush came to.
#[derive(Debug, PartialEq, Eq)]
pub enum Flushed {
    All,
    /// The socket takes no more for now; whether it took anything.
    Blocked {
        progress: bool,
    },
}

impl Queue {
    pub fn push(&mut self, entry: Entry) {
        self.bytes += entry.bytes.len();
        match (&self.first, &mut self.rest) {
            (None, _) => self.first = Some(entry),
            (Some(_), Some(rest)) => rest.push_back(entry),
            (Some(_), None) => self.rest = Some(Box::new(VecDeque::from([entry]))),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    /// Bytes still to be written.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    fn pop(&mut self) {
        self.first = self.rest.as_mut().and_then(|rest| rest.pop_front());
        if self.rest.as_ref().is_some_and(|rest| rest.is_empty()) {
            self.rest = None;
        }
        self.written = 0;
    }

    fn advance(&mut self, mut taken: usize) {
        self.bytes -= taken;
        while taken > 0 {
            let Some(first) = &self.first else { return };
            let left = first.bytes.len() - self.written as usize;
            if taken < left {
                self.written += taken as u32;
                return;
            }
            taken -= left;
            self.pop();
        }
    }

    /// One write where one is enough.
    pub fn flush(&mut self, socket: &mut Socket, scratch: &mut Vec<u8>) -> io::Result<(usize, Flushed)> {
        let mut total = 0;
        while let Some(first) = &self.first {
            let result = match &self.rest {
                None => socket.write(&first.bytes[self.written as usize..]),
                Some(rest) => write_many(socket, &first.bytes[self.written as usize..], rest, scratch),
            };
            match result {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(n) => {
                    total += n;
                    self.advance(n);
                }
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) if e.kind() == ErrorKind::WouldBlock => {
                    return Ok((total, Flushed::Blocked { progress: total > 0 }));
                }
                Err(e) => return Err(e),
            }
        }
        match socket.flush() {
            Err(e) if e.kind() == ErrorKind::WouldBlock => Ok((total, Flushed::Blocked { progress: total > 0 })),
            Err(e) => Err(e),
            Ok(()) => Ok((total, Flushed::All)),
        }
    }

    /// Drops the oldest deliveries of channels that `may` names until at most `bytes_max` are left; never a slice that
    /// is half written. Tells `lost` of each. Returns whether that was enough.
    pub fn drop_oldest(
        &mut self,
        bytes_max: usize,
        mut may: impl FnMut(u32) -> bool,
        mut lost: impl FnMut(u32, u32),
    ) -> bool {
        let started = self.written > 0;
        let mut kept: VecDeque<Entry> = VecDeque::new();
        let mut over = self.bytes.saturating_sub(bytes_max);
        let all = self.first.take().into_iter().chain(self.rest.take().into_iter().flat_map(|rest| *rest));
        for (n, entry) in all.enumerate() {
            let droppable = entry.channel != NO_CHANNEL && !(n == 0 && started);
            if over > 0 && droppable && may(entry.channel) {
                over = over.saturating_sub(entry.bytes.len());
                self.bytes -= entry.bytes.len();
                lost(entry.channel, entry.events);
            } else {
                kept.push_back(entry);
            }
        }
        self.first = kept.pop_front();
        self.rest = (!kept.is_empty()).then(|| Box::new(kept));
        over == 0
    }

    /// Drops all but a slice that is half written: what is left before a close frame.
    pub fn clear(&mut self) {
        self.rest = None;
        match &self.first {
            Some(first) if self.written > 0 => self.bytes = first.bytes.len() - self.written as usize,
            _ => (self.first, self.bytes) = (None, 0),
        }
    }
}

fn write_many(socket: &mut Socket, first: &[u8], rest: &VecDeque<Entry>, scratch: &mut Vec<u8>) -> io::Result<usize> {
    if first.len() <= SMALL_BYTES && rest.iter().take(SLICES).all(|e| e.bytes.len() <= SMALL_BYTES) {
        scratch.clear();
        scratch.extend_from_slice(first);
        for entry in rest {
            if scratch.len() + entry.bytes.len() > GATHER_BYTES {
                break;
            }
            scratch.extend_from_slice(&entry.bytes);
        }
        return socket.write(scratch);
    }
    let mut slices = [IoSlice::new(&[]); SLICES];
    slices[0] = IoSlice::new(first);
    let mut count = 1;
    for (slice, entry) in slices[1..].iter_mut().zip(rest) {
        *slice = IoSlice::new(&entry.bytes);
        count += 1;
    }
    socket.write_vectored(&slices[..count])
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::net::{TcpListener, TcpStream};

    fn pair() -> (Socket, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (Socket::new(listener.accept().unwrap().0, None).unwrap(), client)
    }

    fn entry(channel: u32, bytes: impl Into<Vec<u8>>) -> Entry {
        Entry { bytes: Bytes::from(bytes.into()), channel, events: 1 }
    }

    #[test]
    fn what_was_pushed_arrives_in_order_whatever_its_sizes() {
        let (mut socket, mut client) = pair();
        let (mut queue, mut scratch, mut expected) = (Queue::default(), Vec::new(), Vec::new());
        for n in 0..400usize {
            let bytes = vec![n as u8; if n % 37 == 0 { 9_000 } else { n }];
            expected.extend_from_slice(&bytes);
            queue.push(entry(1, bytes));
        }
        assert_eq!(queue.bytes(), expected.len());
        let reader = std::thread::spawn(move || {
            let mut got = Vec::new();
            client.read_to_end(&mut got).unwrap();
            got
        });
        while queue.flush(&mut socket, &mut scratch).unwrap().1 != Flushed::All {
            std::thread::yield_now();
        }
        assert_eq!(queue.bytes(), 0);
        socket.end();
        assert_eq!(reader.join().unwrap(), expected);
    }

    #[test]
    fn a_half_written_slice_and_replies_are_never_dropped() {
        let (mut socket, _client) = pair();
        let (mut queue, mut scratch) = (Queue::default(), Vec::new());
        queue.push(entry(7, vec![0u8; 64 << 20]));
        let (written, flushed) = queue.flush(&mut socket, &mut scratch).unwrap();
        assert!(written > 0 && flushed == Flushed::Blocked { progress: true });
        for _ in 0..3 {
            queue.push(entry(7, [1u8; 100]));
            queue.push(entry(NO_CHANNEL, [2u8; 10]));
            queue.push(entry(8, [3u8; 100]));
        }
        let first = (64 << 20) - written;
        let mut lost = 0;
        assert!(queue.drop_oldest(first + 330 + 10, |channel| channel == 7, |_, events| lost += events));
        assert_eq!((lost, queue.bytes()), (3, first + 330));
        assert!(!queue.drop_oldest(0, |channel| channel == 7, |_, _| ()));
        queue.clear();
        assert_eq!(queue.bytes(), first);
    }
}
