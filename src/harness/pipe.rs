//! A transport of a test: bytes in two buffers, and a client that reads as fast as the test says.

use crate::kernel::{Io, Later, Transport};
use crate::model::Slot;
use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::io::{self, ErrorKind, IoSlice};
use std::rc::Rc;

/// Both ends have one.
#[derive(Clone, Default)]
pub(super) struct Pipe(Rc<RefCell<Ends>>);

#[derive(Default)]
struct Ends {
    to_gateway: VecDeque<u8>,
    to_client: Vec<u8>,
    /// Something happened at the client's end that the gateway has not looked at.
    news: bool,
    /// What one read gets at most; `None`: all.
    read_max: Option<usize>,
    /// What the client's side still takes; `None`: all.
    room: Option<usize>,
    /// It reads again, and the gateway was not told.
    reads_again: bool,
    client_ended: bool,
    gateway_ended: bool,
}

impl Pipe {
    /// The client writes.
    pub fn send(&self, bytes: &[u8]) {
        let mut ends = self.0.borrow_mut();
        ends.to_gateway.extend(bytes);
        ends.news = true;
    }

    /// The client reads all that has come.
    pub fn receive(&self, into: &mut Vec<u8>) {
        into.append(&mut self.0.borrow_mut().to_client);
    }

    /// Nothing more comes from the client.
    pub fn end(&self) {
        let mut ends = self.0.borrow_mut();
        (ends.client_ended, ends.news) = (true, true);
    }

    /// The client's side takes so many bytes from now on; `None`: all.
    pub fn take(&self, room: Option<usize>) {
        let mut ends = self.0.borrow_mut();
        ends.reads_again |= ends.room.is_some() && room != Some(0);
        ends.room = room;
    }

    /// What the client has sent comes in pieces.
    pub fn cut(&self, read_max: usize) {
        self.0.borrow_mut().read_max = Some(read_max.max(1));
    }

    /// Nothing more comes from the gateway.
    pub fn is_over(&self) -> bool {
        self.0.borrow().gateway_ended
    }

    /// What the gateway has to look at; told once.
    fn news(&self) -> News {
        let mut ends = self.0.borrow_mut();
        let readable = std::mem::take(&mut ends.news).then_some(ends.client_ended);
        News { readable, writable: std::mem::take(&mut ends.reads_again) }
    }
}

impl Transport for Pipe {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut ends = self.0.borrow_mut();
        if ends.to_gateway.is_empty() {
            return if ends.client_ended { Ok(0) } else { Err(ErrorKind::WouldBlock.into()) };
        }
        let max = ends.read_max.unwrap_or(usize::MAX).min(buffer.len());
        let read = io::Read::read(&mut ends.to_gateway, &mut buffer[..max])?;
        ends.news |= !ends.to_gateway.is_empty();
        Ok(read)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_vectored(&[IoSlice::new(bytes)])
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut ends = self.0.borrow_mut();
        if ends.gateway_ended {
            return Err(ErrorKind::BrokenPipe.into());
        }
        let all: usize = slices.iter().map(|slice| slice.len()).sum();
        let taken = ends.room.map_or(all, |room| room.min(all));
        if taken == 0 && all > 0 {
            return Err(ErrorKind::WouldBlock.into());
        }
        ends.to_client.extend(slices.iter().flat_map(|slice| slice.iter()).take(taken));
        ends.room = ends.room.map(|room| room - taken);
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn wants_flush(&self) -> bool {
        false
    }

    fn half_close(&mut self) -> io::Result<bool> {
        self.0.borrow_mut().gateway_ended = true;
        Ok(true)
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

/// What happened at a client's end.
pub(super) struct News {
    /// Something came; whether the client has ended.
    pub readable: Option<bool>,
    pub writable: bool,
}

/// The pipes of one kernel, and what it waits for.
#[derive(Clone, Default)]
pub(super) struct Pipes(Rc<RefCell<Watched>>);

#[derive(Default)]
struct Watched {
    pipes: BTreeMap<Slot, Pipe>,
    later: Vec<Later>,
}

impl Pipes {
    /// Connections at whose pipes something happened.
    pub fn news(&self) -> Vec<(Slot, News)> {
        let watched = self.0.borrow();
        let all = watched.pipes.iter().map(|(slot, pipe)| (*slot, pipe.news()));
        all.filter(|(_, news)| news.writable || news.readable.is_some()).collect()
    }

    pub fn later(&self) -> Vec<Later> {
        std::mem::take(&mut self.0.borrow_mut().later)
    }
}

impl Io for Pipes {
    type Transport = Pipe;

    fn watch(&mut self, slot: Slot, pipe: &Pipe) -> io::Result<()> {
        self.0.borrow_mut().pipes.insert(slot, pipe.clone());
        Ok(())
    }

    fn wait(&mut self, later: Later) {
        self.0.borrow_mut().later.push(later);
    }
}
