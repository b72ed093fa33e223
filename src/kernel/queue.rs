//! What waits to be written to one connection. Holds shared frames; bounded in bytes by its caller.

use super::encode::Encoded;
use super::io::Transport;
use super::memory::Meter;
use crate::model::Priority;
use std::collections::VecDeque;
use std::io::{self, ErrorKind, IoSlice};
use std::rc::Rc;

/// Slices of one write.
const SLICES: usize = 64;
/// Up to this, small slices are copied together: many small `iovec`s cost more than a copy.
const GATHER_BYTES: usize = 32 << 10;
const SMALL_BYTES: usize = 4 << 10;

/// Whose frames wait.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Whose {
    /// The connection's own: replies, pongs and closes, which are never dropped.
    Own,
    /// Deliveries of the channel of this number, all of one priority.
    Channel(u32, Priority),
    /// Deliveries of a channel that the connection has left, and whose number is another's by now.
    Left,
}

/// Some frames of a shared buffer, behind each other: those of the events `first..end`.
pub struct Entry {
    encoded: Rc<Encoded>,
    first: u32,
    end: u32,
    pub whose: Whose,
}

impl Entry {
    /// All of a batch.
    pub fn whole(encoded: &Rc<Encoded>, whose: Whose) -> Entry {
        Entry { encoded: encoded.clone(), first: 0, end: encoded.events(), whose }
    }

    /// One event of a batch.
    pub fn one(encoded: &Rc<Encoded>, at: u32, whose: Whose) -> Entry {
        Entry { encoded: encoded.clone(), first: at, end: at + 1, whose }
    }

    /// One frame that only this connection gets.
    pub fn own(frame: Vec<u8>, whose: Whose, meter: &Meter) -> Entry {
        Entry { encoded: Rc::new(Encoded::one(frame, meter)), first: 0, end: 1, whose }
    }

    pub fn bytes(&self) -> &[u8] {
        self.encoded.frames(self.first, self.end)
    }

    pub fn len(&self) -> usize {
        self.encoded.len(self.first, self.end)
    }

    /// Takes frames off the front: as few as make up `bytes`. Events without a frame go with those before them where
    /// no frame is left.
    fn split(&mut self, bytes: usize) -> Entry {
        let mut end = self.first;
        while end < self.end && self.encoded.len(self.first, end) < bytes {
            end += 1;
        }
        if self.encoded.len(end, self.end) == 0 {
            end = self.end;
        }
        let front = Entry { encoded: self.encoded.clone(), end, ..*self };
        self.first = end;
        front
    }
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
    /// The transport takes no more for now.
    Blocked,
}

impl Queue {
    /// Returns the entry's bytes.
    pub fn push(&mut self, entry: Entry) -> usize {
        let bytes = entry.len();
        self.bytes += bytes;
        match (&self.first, &mut self.rest) {
            (None, _) => self.first = Some(entry),
            (Some(_), Some(rest)) => rest.push_back(entry),
            (Some(_), None) => self.rest = Some(Box::new(VecDeque::from([entry]))),
        }
        bytes
    }

    pub fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    /// Bytes still to be written.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Of the places of its entries; what is in them is shared, and counted on its meter.
    pub fn places_bytes(&self) -> usize {
        self.rest.as_ref().map_or(0, |rest| size_of::<VecDeque<Entry>>() + rest.capacity() * size_of::<Entry>())
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
        if self.bytes == 0 {
            // Nearly always: a socket takes all that there is.
            (self.first, self.rest, self.written) = (None, None, 0);
            return;
        }
        while taken > 0 {
            let Some(first) = &self.first else { return };
            let left = first.len() - self.written as usize;
            if taken < left {
                self.written += taken as u32;
                return;
            }
            taken -= left;
            self.pop();
        }
    }

    /// One write where one is enough.
    pub fn flush(&mut self, transport: &mut impl Transport, scratch: &mut Vec<u8>) -> io::Result<(usize, Flushed)> {
        let mut total = 0;
        while let Some(first) = &self.first {
            let result = match &self.rest {
                None => transport.write(&first.bytes()[self.written as usize..]),
                Some(rest) => write_many(transport, &first.bytes()[self.written as usize..], rest, scratch),
            };
            match result {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(n) => {
                    total += n;
                    self.advance(n);
                }
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) if e.kind() == ErrorKind::WouldBlock => {
                    return Ok((total, Flushed::Blocked));
                }
                Err(e) => return Err(e),
            }
        }
        match transport.flush() {
            Err(e) if e.kind() == ErrorKind::WouldBlock => Ok((total, Flushed::Blocked)),
            Err(e) => Err(e),
            Ok(()) => Ok((total, Flushed::All)),
        }
    }

    /// Drops the oldest deliveries that `may` be until at most `bytes_max` are left, frame by frame; never
    /// one that is half written. Tells `lost` how many of which channel. Returns whether that was enough.
    pub fn drop_oldest(
        &mut self,
        bytes_max: usize,
        mut may: impl FnMut(Whose) -> bool,
        mut lost: impl FnMut(u32, u32),
    ) -> bool {
        let mut kept: VecDeque<Entry> = VecDeque::new();
        let mut over = self.bytes.saturating_sub(bytes_max);
        let mut first = self.first.take();
        if let Some(entry) = first.as_mut().filter(|_| self.written > 0) {
            // What follows the frame that is half written is as good as not begun.
            kept.push_back(entry.split(self.written as usize));
        }
        let first = first.filter(|entry| entry.len() > 0);
        for mut entry in first.into_iter().chain(self.rest.take().into_iter().flat_map(|rest| *rest)) {
            if over > 0 && entry.whose != Whose::Own && may(entry.whose) {
                let dropped = entry.split(over);
                over = over.saturating_sub(dropped.len());
                self.bytes -= dropped.len();
                if let Whose::Channel(number, _) = dropped.whose {
                    lost(number, dropped.end - dropped.first);
                }
            }
            if entry.len() > 0 {
                kept.push_back(entry);
            }
        }
        self.first = kept.pop_front();
        self.rest = (!kept.is_empty()).then(|| Box::new(kept));
        over == 0
    }

    /// What waits under this number is of no channel that the connection is on.
    pub fn disown(&mut self, channel: u32) {
        let rest = self.rest.as_deref_mut().into_iter().flatten();
        let theirs = |entry: &&mut Entry| matches!(entry.whose, Whose::Channel(number, _) if number == channel);
        self.first.iter_mut().chain(rest).filter(theirs).for_each(|entry| entry.whose = Whose::Left);
    }

    /// Drops all but the rest of a frame that is half written: what is left before a close frame.
    pub fn keep_begun(&mut self) {
        self.rest = None;
        self.first = match &mut self.first {
            Some(first) if self.written > 0 => Some(first.split(self.written as usize)),
            _ => None,
        };
        self.bytes = self.first.as_ref().map_or(0, |first| first.len() - self.written as usize);
    }

    /// All of it, oldest first; for a queue of which nothing was written.
    pub fn take(&mut self) -> impl Iterator<Item = Entry> + use<> {
        let Queue { first, rest, .. } = std::mem::take(self);
        first.into_iter().chain(rest.into_iter().flat_map(|rest| *rest))
    }
}

fn write_many(
    transport: &mut impl Transport,
    first: &[u8],
    rest: &VecDeque<Entry>,
    scratch: &mut Vec<u8>,
) -> io::Result<usize> {
    if first.len() <= SMALL_BYTES && rest.iter().take(SLICES).all(|e| e.len() <= SMALL_BYTES) {
        scratch.clear();
        scratch.extend_from_slice(first);
        for entry in rest {
            if scratch.len() + entry.len() > GATHER_BYTES {
                break;
            }
            scratch.extend_from_slice(entry.bytes());
        }
        return transport.write(scratch);
    }
    let mut slices = [IoSlice::new(&[]); SLICES];
    slices[0] = IoSlice::new(first);
    let mut count = 1;
    for (slice, entry) in slices[1..].iter_mut().zip(rest) {
        *slice = IoSlice::new(entry.bytes());
        count += 1;
    }
    transport.write_vectored(&slices[..count])
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::{Shutdown, TcpListener, TcpStream};

    /// What a system takes of a write is not for a test to invent.
    struct Plain(TcpStream);

    impl Transport for Plain {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.0.read(buffer)
        }
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.write(bytes)
        }
        fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
            self.0.write_vectored(slices)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
        fn wants_flush(&self) -> bool {
            false
        }
        fn half_close(&mut self) -> io::Result<bool> {
            self.0.shutdown(Shutdown::Write).map(|()| true)
        }
        fn short_read_is_last(&self) -> bool {
            true
        }
        fn may_hold_input(&self) -> bool {
            false
        }
        fn held_bytes(&self) -> usize {
            0
        }
    }

    fn pair() -> (Plain, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let server = listener.accept().unwrap().0;
        server.set_nonblocking(true).unwrap();
        (Plain(server), client)
    }

    const SEVEN: Whose = Whose::Channel(7, Priority::Medium);

    /// A queue has many: what each of them costs stands here, so that nobody makes it more by accident.
    #[test]
    fn an_entry_is_small() {
        assert_eq!((size_of::<Entry>(), size_of::<Option<Entry>>()), (24, 24));
    }

    fn entry(whose: Whose, bytes: impl Into<Vec<u8>>) -> Entry {
        Entry::own(bytes.into(), whose, &Meter::default())
    }

    /// A frame of so many bytes each; its bytes are its number.
    fn batch(frames: impl IntoIterator<Item = usize>) -> Entry {
        let frames = frames.into_iter().enumerate().map(|(n, bytes)| vec![n as u8; bytes]);
        Entry::whole(&Rc::new(Encoded::of(frames)), SEVEN)
    }

    #[test]
    fn before_a_close_only_the_frame_on_its_way_is_left() {
        let (mut socket, _client) = pair();
        let (mut queue, mut scratch) = (Queue::default(), Vec::new());
        let whole = 4 << 20;
        queue.push(batch([whole; 16]));
        queue.push(entry(Whose::Own, [1; 10]));
        let (written, flushed) = queue.flush(&mut socket, &mut scratch).unwrap();
        assert_eq!(flushed, Flushed::Blocked);
        queue.keep_begun();
        assert_eq!(queue.bytes(), written.div_ceil(whole) * whole - written);
        let mut whole = Queue::default();
        whole.push(batch([10, 20]));
        whole.keep_begun();
        assert!(whole.is_empty() && whole.bytes() == 0);
    }

    #[test]
    fn events_without_a_frame_go_with_the_frame_before_them() {
        let mut queue = Queue::default();
        queue.push(batch([0, 10, 0, 20, 0, 0]));
        let mut lost = Vec::new();
        assert!(queue.drop_oldest(25, |_| true, |_, events| lost.push(events)));
        assert_eq!((queue.bytes(), lost.as_slice()), (20, &[2][..]));
        assert!(queue.drop_oldest(0, |_| true, |_, events| lost.push(events)));
        assert_eq!((queue.bytes(), queue.is_empty(), lost.as_slice()), (0, true, &[2, 4][..]));
    }

    #[test]
    fn what_was_pushed_arrives_in_order_whatever_its_sizes() {
        let (mut socket, mut client) = pair();
        let (mut queue, mut scratch, mut expected) = (Queue::default(), Vec::new(), Vec::new());
        for n in 0..400usize {
            let bytes = vec![n as u8; if n % 37 == 0 { 9_000 } else { n }];
            expected.extend_from_slice(&bytes);
            queue.push(entry(SEVEN, bytes));
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
        assert!(socket.half_close().unwrap());
        assert_eq!(reader.join().unwrap(), expected);
    }

    #[test]
    fn a_half_written_slice_and_replies_are_never_dropped() {
        let (mut socket, _client) = pair();
        let (mut queue, mut scratch) = (Queue::default(), Vec::new());
        queue.push(entry(SEVEN, vec![0; 64 << 20]));
        let (written, flushed) = queue.flush(&mut socket, &mut scratch).unwrap();
        assert!(written > 0 && flushed == Flushed::Blocked);
        for _ in 0..3 {
            queue.push(entry(SEVEN, vec![0; 100]));
            queue.push(entry(Whose::Own, [2u8; 10]));
            queue.push(entry(Whose::Channel(8, Priority::Medium), [3u8; 100]));
        }
        let first = (64 << 20) - written;
        let mut lost = 0;
        assert!(queue.drop_oldest(first + 330 + 10, |whose| whose == SEVEN, |_, events| lost += events));
        assert_eq!((lost, queue.bytes()), (3, first + 330));
        assert!(!queue.drop_oldest(0, |whose| whose == SEVEN, |_, _| ()));
        // Of a batch its newest frames stay, and those of a half-written one go behind the frame that is on its way.
        queue.push(batch([100, 100, 122]));
        lost = 0;
        assert!(queue.drop_oldest(first + 330 + 130, |whose| whose == SEVEN, |_, events| lost += events));
        assert_eq!((lost, queue.bytes()), (2, first + 330 + 122));
        queue.keep_begun();
        assert_eq!(queue.bytes(), first);
    }

    #[test]
    fn what_waits_of_a_channel_that_was_left_is_not_the_new_ones_of_its_number() {
        let mut queue = Queue::default();
        for _ in 0..3 {
            queue.push(entry(SEVEN, [0; 100]));
        }
        queue.disown(7);
        queue.push(entry(SEVEN, [1; 100]));
        let mut lost = Vec::new();
        assert!(queue.drop_oldest(0, |_| true, |channel, events| lost.push((channel, events))));
        assert_eq!((lost, queue.bytes()), (vec![(7, 1)], 0));
    }

    #[test]
    fn one_priority_may_go_before_another_and_what_stays_keeps_its_order() {
        let mut queue = Queue::default();
        let order = [Priority::Urgent, Priority::Low, Priority::Medium, Priority::Low, Priority::High];
        for (n, priority) in order.into_iter().enumerate() {
            queue.push(entry(Whose::Channel(7, priority), vec![n as u8; 2 + n]));
        }
        let drop = |queue: &mut Queue, priority, bytes_max| {
            let mut lost = 0;
            let goes = |whose| whose == Whose::Channel(7, priority);
            (queue.drop_oldest(bytes_max, goes, |_, events| lost += events), lost)
        };
        let bytes = queue.bytes();
        assert_eq!(drop(&mut queue, Priority::Low, bytes - 1), (true, 1), "the older of both");
        assert_eq!(drop(&mut queue, Priority::Low, 0), (false, 1));
        assert_eq!(drop(&mut queue, Priority::Medium, 0), (false, 1));
        let left: Vec<Whose> = queue.take().map(|entry| entry.whose).collect();
        assert_eq!(left, [Priority::Urgent, Priority::High].map(|priority| Whose::Channel(7, priority)));
    }

    #[test]
    fn behind_the_frame_on_its_way_the_rest_of_its_batch_may_go() {
        let (mut socket, mut client) = pair();
        let (mut queue, mut scratch) = (Queue::default(), Vec::new());
        let whole = 4 << 20;
        queue.push(batch([whole; 16]));
        let (written, _) = queue.flush(&mut socket, &mut scratch).unwrap();
        let mut lost = 0;
        assert!(queue.drop_oldest(12 << 20, |_| true, |_, events| lost += events));
        let begun = written.div_ceil(whole);
        assert_eq!(queue.bytes(), begun * whole - written + (16 - begun - lost as usize) * whole);
        assert!(lost > 0);
        let reader = std::thread::spawn(move || {
            let mut got = Vec::new();
            client.read_to_end(&mut got).unwrap();
            got
        });
        while queue.flush(&mut socket, &mut scratch).unwrap().1 != Flushed::All {
            std::thread::yield_now();
        }
        assert!(socket.half_close().unwrap());
        let got = reader.join().unwrap();
        let heard: Vec<u8> = got.chunks(whole).map(|frame| frame[whole - 1]).collect();
        let expected: Vec<u8> = (0..begun as u8).chain(begun as u8 + lost as u8..16).collect();
        assert_eq!(heard, expected);
    }
}
