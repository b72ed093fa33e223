//! A socket under HTTP: plain or TLS, with bytes to be read again, and with deadlines.

use bytes::{Buf, Bytes};
use rustls::ServerConnection;
use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_rustls::server::TlsStream;

/// A TCP stream that first gives what was read of it before.
pub struct Replay {
    pub stream: TcpStream,
    pub first: Bytes,
}

/// What HTTP runs on.
pub struct Link {
    transport: Transport,
    pace: Rc<Pace>,
}

pub enum Transport {
    Plain(Replay),
    Tls(Box<TlsStream<Replay>>),
}

/// A socket taken from under HTTP.
pub struct Taken {
    pub stream: std::net::TcpStream,
    pub tls: Option<Box<ServerConnection>>,
    /// Plain bytes behind what HTTP has read.
    pub rest: Bytes,
}

/// What a connection may take its time for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Phase {
    /// Nothing of the next request is here.
    Idle,
    /// A request has begun.
    Headers,
    /// A request is at work; it has deadlines of its own.
    Busy,
}

/// A connection's phase and when it must be over.
pub struct Pace {
    phase: Cell<Phase>,
    deadline: Cell<Option<Instant>>,
    header_timeout: Duration,
    keep_alive: Duration,
}

impl Pace {
    /// Idle until `first`.
    pub fn new(first: Instant, header_timeout: Duration, keep_alive: Duration) -> Rc<Pace> {
        let (phase, deadline) = (Cell::new(Phase::Idle), Cell::new(Some(first)));
        Rc::new(Pace { phase, deadline, header_timeout, keep_alive })
    }

    pub fn phase(&self) -> Phase {
        self.phase.get()
    }

    pub fn deadline(&self) -> Option<Instant> {
        self.deadline.get()
    }

    fn bytes_came(&self) {
        if self.phase.get() == Phase::Idle {
            self.phase.set(Phase::Headers);
            self.deadline.set(Some(Instant::now() + self.header_timeout));
        }
    }

    pub fn request_began(&self) {
        self.phase.set(Phase::Busy);
        self.deadline.set(None);
    }

    /// The response is made. Whether the client reads it has the same deadline as its next request.
    pub fn request_ended(&self) {
        self.phase.set(Phase::Idle);
        self.deadline.set(Some(Instant::now() + self.keep_alive));
    }
}

impl Link {
    pub fn new(transport: Transport, pace: Rc<Pace>) -> Link {
        Link { transport, pace }
    }

    pub fn take(self) -> io::Result<Taken> {
        match self.transport {
            Transport::Plain(replay) => Ok(Taken { stream: replay.stream.into_std()?, tls: None, rest: replay.first }),
            Transport::Tls(stream) => {
                let (replay, mut tls) = stream.into_inner();
                let mut cipher = replay.first.reader();
                while cipher.get_ref().has_remaining() {
                    tls.read_tls(&mut cipher)?;
                    tls.process_new_packets().map_err(io::Error::other)?;
                }
                Ok(Taken { stream: replay.stream.into_std()?, tls: Some(Box::new(tls)), rest: Bytes::new() })
            }
        }
    }
}

impl AsyncRead for Replay {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.first.is_empty() {
            return Pin::new(&mut self.stream).poll_read(cx, buf);
        }
        let n = self.first.len().min(buf.remaining());
        buf.put_slice(&self.first.split_to(n));
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for Link {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = match &mut self.transport {
            Transport::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Transport::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        };
        if buf.filled().len() > before {
            self.pace.bytes_came();
        }
        polled
    }
}

impl AsyncWrite for Replay {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl Link {
    fn writer(&mut self) -> Pin<&mut (dyn AsyncWrite + Unpin)> {
        match &mut self.transport {
            Transport::Plain(stream) => Pin::new(&mut stream.stream),
            Transport::Tls(stream) => Pin::new(stream),
        }
    }
}

impl AsyncWrite for Link {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.writer().poll_write(cx, bytes)
    }
    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.writer().poll_write_vectored(cx, slices)
    }
    fn is_write_vectored(&self) -> bool {
        matches!(self.transport, Transport::Plain(_))
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.writer().poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.writer().poll_shutdown(cx)
    }
}
