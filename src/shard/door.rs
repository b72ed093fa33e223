//! Where upgraded sockets come in.

use super::counts::Seat;
use crate::flow::KeptRequest;
use crate::model::{AppId, Close, Identity, Refusal};
use crate::wire::DeflateParams;
use bytes::Bytes;
use rustls::ServerConnection;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::sync::Arc;

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
    /// What the client sent behind its handshake: read this before the socket.
    pub leftover: Bytes,
    pub app: AppId,
    /// Index of the app's `[[endpoint]]`.
    pub endpoint: u16,
    /// That endpoint's key, where a reload has changed the numbers.
    pub endpoint_key: Arc<str>,
    /// The listener's number.
    pub listener: u16,
    /// `None`: not yet known; the first message is to tell, within `auth_timeout`.
    pub identity: Option<Arc<Identity>>,
    /// Say this and nothing else.
    pub close_at_once: Option<Close>,
    /// Told before that, in its dialect.
    pub refusal: Option<Refusal>,
    pub deflate: Option<DeflateParams>,
    /// The client's, behind trusted proxies too.
    pub ip: IpAddr,
    pub user_agent: Option<Arc<str>>,
    /// Only where the app's rules or templates read it.
    pub request: Option<Box<KeptRequest>>,
    /// Its places in `Counts`: drop it when the connection has ended.
    pub seat: Seat,
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
