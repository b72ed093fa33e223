//! What a kernel needs of its driver: somewhere to write, and somebody who waits in its stead.

use super::input::Input;
use crate::model::Slot;
use std::io::{self, IoSlice};
use std::pin::Pin;

/// A driver, as its kernel sees it. Monomorphised: what is called for each delivery costs no indirection.
pub trait Io: Sized {
    type Transport: Transport;

    /// From now on the driver calls `Kernel::readable` and `Kernel::writable` for this connection.
    fn watch(&mut self, slot: Slot, transport: &Self::Transport) -> io::Result<()>;

    /// Waits in the kernel's stead, and puts what comes of it into its inbox.
    fn wait(&mut self, later: Later);
}

/// What keys, rows or a token's judgement come to, once they are there.
pub type Later = Pin<Box<dyn Future<Output = Input>>>;

/// The bytes of one client, both ways; never blocks. An error but `WouldBlock` and `Interrupted` ends it.
pub trait Transport {
    /// `Ok(0)`: the other side has ended. `WouldBlock`: nothing more for now.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize>;
    /// How much was taken.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize>;
    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize>;
    /// Passes on what it keeps back of what it has taken.
    fn flush(&mut self) -> io::Result<()>;
    /// Whether it keeps back what only `flush` will pass on.
    fn wants_flush(&self) -> bool;
    /// Says that nothing more will come from here; reading goes on. `false`: it takes no more for now, and this is to be
    /// called again once it does.
    fn half_close(&mut self) -> io::Result<bool>;
    /// Whether a short read means that nothing more is there.
    fn short_read_is_last(&self) -> bool;
    /// Whether bytes may be here already that no readiness tells of.
    fn may_hold_input(&self) -> bool;
    /// What it keeps of its own, beside buffers of the system.
    fn held_bytes(&self) -> usize;
}
