//! A connection's socket, plain or TLS; never blocks.

use crate::kernel::Transport;
use rustls::ServerConnection;
use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::{AsRawFd, RawFd};

/// What rustls keeps of a connection: its state and buffers.
const TLS_BYTES: usize = 24 << 10;
/// Ciphertext that waits for the socket, at most.
const TLS_BUFFER_BYTES: usize = 64 << 10;

pub struct Socket {
    stream: TcpStream,
    tls: Option<Box<ServerConnection>>,
}

impl Socket {
    pub fn new(stream: TcpStream, tls: Option<Box<ServerConnection>>) -> io::Result<Socket> {
        stream.set_nonblocking(true)?;
        let mut socket = Socket { stream, tls };
        if let Some(tls) = &mut socket.tls {
            tls.set_buffer_limit(Some(TLS_BUFFER_BYTES));
        }
        Ok(socket)
    }

    pub fn fd(&self) -> RawFd {
        self.stream.as_raw_fd()
    }
}

impl Transport for Socket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(tls) = &mut self.tls else { return self.stream.read(buffer) };
        loop {
            match tls.reader().read(buffer) {
                Err(e) if e.kind() == ErrorKind::WouldBlock => {}
                // Ended without close_notify: to WebSocket it is an end like any other.
                Err(e) if e.kind() == ErrorKind::UnexpectedEof => return Ok(0),
                other => return other,
            }
            match tls.read_tls(&mut self.stream)? {
                0 => return Ok(0),
                _ => tls.process_new_packets().map_err(|e| io::Error::new(ErrorKind::InvalidData, e))?,
            };
        }
    }

    fn held_bytes(&self) -> usize {
        if self.tls.is_some() { TLS_BYTES } else { 0 }
    }

    fn short_read_is_last(&self) -> bool {
        self.tls.is_none()
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.tls {
            None => self.stream.write(bytes),
            Some(_) => self.write_vectored(&[IoSlice::new(bytes)]),
        }
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let Some(tls) = &mut self.tls else { return self.stream.write_vectored(slices) };
        // One record for all that fits: that is what merging writes is for.
        let taken = tls.writer().write_vectored(slices)?;
        match write_tls(tls, &mut self.stream) {
            Err(e) if e.kind() == ErrorKind::WouldBlock && taken > 0 => Ok(taken),
            Err(e) => Err(e),
            // It was full of what has just been written: now it has room.
            Ok(()) if taken == 0 => tls.writer().write_vectored(slices),
            Ok(()) => Ok(taken),
        }
    }

    fn wants_flush(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.wants_write())
    }

    /// Decrypted with the handshake.
    fn may_hold_input(&self) -> bool {
        self.tls.is_some()
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.tls {
            None => Ok(()),
            Some(tls) => write_tls(tls, &mut self.stream),
        }
    }

    fn half_close(&mut self) -> io::Result<bool> {
        if let Some(tls) = &mut self.tls {
            tls.send_close_notify();
            match write_tls(tls, &mut self.stream) {
                Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(false),
                other => other?,
            }
        }
        self.stream.shutdown(Shutdown::Write)?;
        Ok(true)
    }
}

fn write_tls(tls: &mut ServerConnection, stream: &mut TcpStream) -> io::Result<()> {
    while tls.wants_write() {
        if tls.write_tls(stream)? == 0 {
            return Err(ErrorKind::WriteZero.into());
        }
    }
    Ok(())
}
