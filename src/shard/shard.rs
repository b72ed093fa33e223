//! A shard's turn: hear other threads, read sockets, have the kernel end its tick, write.

use super::door::Accepted;
use super::mailbox::{Letter, Mailbox};
use super::socket::Socket;
use crate::flow::Generation;
use crate::kernel::{Inbox, Io, Kernel, Later, Shared};
use crate::model::Slot;
use crate::observe::clock;
use mio::{Events, Interest, Registry, Token, unix::SourceFd};
use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::Duration;

/// Readiness events of one look.
const EVENTS: usize = 1024;
/// Inputs of other threads in one turn.
const INPUTS: usize = 512;
/// Of which so many bring their bytes before those are held against the apps' bounds.
const INPUTS_UNSETTLED: usize = 64;
/// Writes between two looks at the runtime's other tasks: handshakes are never kept waiting longer.
const FLUSH_SLICE: usize = 512;
/// The longest sleep.
const SLEEP_MS: u64 = 1_000;
/// A turn begins so long after the one before only if the process stood still.
const PAUSE_MS: u64 = 5_000;
/// How often it is asked whether memory is to be given back.
const GIVE_BACK_MS: u64 = 1_000;
const BELL: Token = Token(usize::MAX);

pub(super) struct Shard {
    kernel: Kernel<Sockets>,
    shared: Arc<Shared>,
    poll: mio::Poll,
    events: Events,
    mailbox: Arc<Mailbox>,
    letters: Receiver<Letter>,
    /// Another shard is congested: sockets were not looked at.
    held_back: bool,
    stopping: bool,
    pages: Pages,
}

/// The kernel's way to its sockets' poll, and to tasks of this thread.
struct Sockets {
    registry: Registry,
    mailbox: Arc<Mailbox>,
}

/// Memory that connections leave behind.
struct Pages {
    looked_at: crate::model::Mono,
    /// Connections at the last look, and whether memory was given back since they changed.
    seen: usize,
    settled: bool,
}

impl Io for Sockets {
    type Transport = Socket;

    fn watch(&mut self, slot: Slot, socket: &Socket) -> io::Result<()> {
        let both = Interest::READABLE | Interest::WRITABLE;
        self.registry.register(&mut SourceFd(&socket.fd()), Token(slot as usize), both)
    }

    fn wait(&mut self, later: Later) {
        let mailbox = self.mailbox.clone();
        tokio::task::spawn_local(async move { mailbox.put(later.await) });
    }
}

impl Shard {
    pub fn new(
        mailbox: Arc<Mailbox>,
        letters: Receiver<Letter>,
        generation: Arc<Generation>,
        shared: Arc<Shared>,
    ) -> io::Result<Shard> {
        let (now, poll) = (clock(), mio::Poll::new()?);
        mailbox.set_bell(mio::Waker::new(poll.registry(), BELL)?);
        let sockets = Sockets { registry: poll.registry().try_clone()?, mailbox: mailbox.clone() };
        let kernel = Kernel::new(mailbox.number, generation, shared.clone(), now, random_u32(), sockets);
        let (events, pages) = (Events::with_capacity(EVENTS), Pages { looked_at: now.mono, seen: 0, settled: true });
        Ok(Shard { kernel, shared, poll, events, mailbox, letters, held_back: false, stopping: false, pages })
    }

    /// Runs until told to stop. `accept` starts the handshake of a fresh socket as a task of this thread.
    pub async fn run(mut self, mut accept: impl FnMut(Accepted)) -> io::Result<()> {
        use std::os::fd::AsFd;
        use tokio::io::{Interest, unix::AsyncFd};
        // The sockets are in a poll of the shard's own: no task, no waker and no readiness record a connection.
        let poll = self.poll.registry().as_fd().try_clone_to_owned()?;
        // SAFETY: the descriptor is owned by the `AsyncFd` and never given away: it stays open and the same.
        let ready = unsafe { AsyncFd::register_with_interest(poll, Interest::READABLE) }.map_err(io::Error::from)?;
        while !self.stopping {
            let wait = self.wait_ms();
            tokio::select! { biased;
                guard = ready.readable() => guard?.clear_ready(),
                () = tokio::time::sleep(Duration::from_millis(wait)) => {}
            }
            while self.turn(&mut accept)? {
                // Others of this thread get their turn in between.
                while self.kernel.flush_some(FLUSH_SLICE) {
                    tokio::task::yield_now().await;
                }
                tokio::task::yield_now().await;
            }
        }
        Ok(())
    }

    fn wait_ms(&self) -> u64 {
        // Its sockets will not say again that they are ready.
        if self.held_back {
            return 1;
        }
        self.kernel.wakes_at().since(clock().mono).clamp(1, SLEEP_MS)
    }

    /// One turn. Returns whether anything happened.
    fn turn(&mut self, accept: &mut impl FnMut(Accepted)) -> io::Result<bool> {
        let before = self.kernel.now().mono;
        self.kernel.begin_turn(clock());
        if self.kernel.now().mono.since(before) > PAUSE_MS {
            self.kernel.after_pause();
        }
        let mut busy = self.hear(accept);
        busy |= self.kernel.review_some();
        busy |= self.read_ready()?;
        busy |= self.kernel.end_turn();
        self.give_back();
        Ok(busy)
    }

    /// What other threads want.
    fn hear(&mut self, accept: &mut impl FnMut(Accepted)) -> bool {
        self.mailbox.listening();
        let mut heard = 0;
        while heard < INPUTS
            && !self.kernel.is_done()
            && let Ok(letter) = self.letters.try_recv()
        {
            heard += 1;
            if heard % INPUTS_UNSETTLED == 0 {
                self.kernel.settle_all_memory();
            }
            match letter {
                Letter::ToKernel(input) => self.kernel.input(input),
                Letter::Accepted(accepted) => accept(accepted),
                Letter::Adopt(new) => {
                    if let Ok(socket) = Socket::new(new.stream, new.tls) {
                        self.kernel.open(socket, new.newcomer, random_u128());
                    }
                }
                Letter::Again => {}
                Letter::Stop => self.stopping = true,
            }
        }
        if heard > 0 {
            self.mailbox.took(heard);
        }
        if heard == INPUTS || self.kernel.is_done() {
            // More is there: ring for oneself.
            self.mailbox.send(Letter::Again);
        }
        heard > 0
    }

    fn read_ready(&mut self) -> io::Result<bool> {
        // Others cannot keep up with what this shard's clients send them: let the clients wait.
        self.held_back = self.shared.is_congested(Some(self.mailbox.number));
        if self.held_back {
            return Ok(false);
        }
        if let Err(e) = self.poll.poll(&mut self.events, Some(Duration::ZERO))
            && e.kind() != ErrorKind::Interrupted
        {
            return Err(e);
        }
        let mut busy = false;
        for event in self.events.iter() {
            busy = true;
            // Rung since `hear`: this look has used the ring up, so the mailbox is heard once more before any wait.
            if event.token() == BELL {
                continue;
            }
            let slot = event.token().0 as Slot;
            if event.is_writable() {
                self.kernel.writable(slot);
            }
            let ended = event.is_read_closed() || event.is_error();
            if event.is_readable() || ended {
                self.kernel.readable(slot, ended);
            }
        }
        busy |= self.kernel.read_on();
        Ok(busy)
    }

    /// Handshakes leave free pages behind, and the allocator looks at them only while something is allocated.
    fn give_back(&mut self) {
        let (now, pages) = (self.kernel.now().mono, &mut self.pages);
        if now.since(pages.looked_at) < GIVE_BACK_MS {
            return;
        }
        pages.looked_at = now;
        let seen = self.kernel.connections();
        if std::mem::replace(&mut pages.seen, seen) != seen {
            pages.settled = false;
        } else if !std::mem::replace(&mut pages.settled, true) {
            // SAFETY: frees what no one uses; called on the thread whose heap it is.
            unsafe { libmimalloc_sys::mi_collect(false) }
        }
    }
}

fn random_u32() -> u32 {
    getrandom::u32().unwrap_or_else(|_| clock().wall as u32)
}

fn random_u128() -> u128 {
    let mut bytes = [0; 16];
    if getrandom::fill(&mut bytes).is_err() {
        return uuid::Uuid::from_u64_pair(clock().wall, random_u32() as u64).as_u128();
    }
    u128::from_ne_bytes(bytes)
}
