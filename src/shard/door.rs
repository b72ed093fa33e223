//! Where upgraded sockets come in.

use crate::kernel::Newcomer;
use rustls::ServerConnection;
use std::net::{SocketAddr, TcpStream};

/// A socket fresh from a listener.
#[derive(Debug)]
pub struct Accepted {
    pub stream: TcpStream,
    pub peer: SocketAddr,
    /// The listener's number.
    pub listener: u16,
}

/// A connection whose 101 has been sent.
pub struct NewConnection {
    /// Non-blocking, without delay.
    pub stream: TcpStream,
    /// Holds what it has read and not yet given away.
    pub tls: Option<Box<ServerConnection>>,
    pub newcomer: Newcomer,
}

/// Why no newcomer is taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Closed {
    /// On its way out.
    Draining,
}

/// A shard, as seen by `listen` on its thread.
pub trait Door {
    /// Asked before each upgrade: `Some` answers it 503.
    fn closed(&self) -> Option<Closed>;
    /// Takes the connection over.
    fn adopt(&self, connection: NewConnection);
}
