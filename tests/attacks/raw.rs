//! A client that may write anything: bytes on a socket, frames with any header.

use crate::support::gateway::PATIENCE;
use serde_json::{Value, json};
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};

pub const TEXT: u8 = 1;
pub const BINARY: u8 = 2;
pub const FIN: u8 = 0x80;
pub const RSV1: u8 = 0x40;
const MASK: [u8; 4] = [0xa5, 0x5a, 0x3c, 0xc3];

pub trait Stream: Read + Write + Send {}
impl<T: Read + Write + Send> Stream for T {}

pub struct Raw {
    stream: Box<dyn Stream>,
    read: Vec<u8>,
}

/// A frame's first byte and its payload.
#[derive(Debug, PartialEq, Clone)]
pub struct Frame(pub u8, pub Vec<u8>);

/// The first two bytes and the extended length; `first` is FIN, RSV and opcode together.
pub fn head(first: u8, length: u64, masked: bool) -> Vec<u8> {
    let (bit, mut head) = (if masked { 0x80 } else { 0 }, vec![first]);
    match length {
        0..126 => head.push(bit | length as u8),
        126..0x1_0000 => {
            head.push(bit | 126);
            head.extend_from_slice(&(length as u16).to_be_bytes());
        }
        _ => {
            head.push(bit | 127);
            head.extend_from_slice(&length.to_be_bytes());
        }
    }
    head
}

pub fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = head(first, payload.len() as u64, true);
    frame.extend_from_slice(&MASK);
    frame.extend(payload.iter().enumerate().map(|(n, b)| b ^ MASK[n % 4]));
    frame
}

impl Raw {
    pub fn connect(at: &str) -> Raw {
        Raw::on(Raw::socket(at, None))
    }

    pub fn on(stream: impl Stream + 'static) -> Raw {
        Raw { stream: Box::new(stream), read: Vec::new() }
    }

    /// `window`: what its kernel takes for it before it reads.
    pub fn socket(at: &str, window: Option<usize>) -> TcpStream {
        let address: SocketAddr = at.parse().unwrap();
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        window.iter().for_each(|bytes| socket.set_recv_buffer_size(*bytes).unwrap());
        socket.connect(&address.into()).unwrap();
        let stream = TcpStream::from(socket);
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        stream
    }

    /// A WebSocket that takes little before it is read.
    pub fn slow(at: &str) -> Raw {
        let mut raw = Raw::on(Raw::socket(at, Some(4096)));
        raw.begin("/ws", "");
        raw
    }

    pub fn upgrade(at: &str, path: &str, headers: &str) -> Raw {
        let mut raw = Raw::connect(at);
        raw.begin(path, headers);
        raw
    }

    pub fn begin(&mut self, path: &str, headers: &str) {
        self.ask(path, headers);
        let answer = self.headers();
        assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
    }

    pub fn ask(&mut self, path: &str, headers: &str) {
        let fixed = "Host: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
                     Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
        self.write(format!("GET {path} HTTP/1.1\r\n{fixed}{headers}\r\n").as_bytes());
    }

    pub fn write(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).and_then(|()| self.stream.flush()).unwrap();
    }

    /// As `write`, of somebody who may have been cut off meanwhile.
    pub fn try_write(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).and_then(|()| self.stream.flush()).is_ok()
    }

    /// More bytes; `false`: the other side has ended.
    fn more(&mut self) -> bool {
        let mut buffer = [0; 65_536];
        match self.stream.read(&mut buffer) {
            Ok(n) => {
                self.read.extend_from_slice(&buffer[..n]);
                n > 0
            }
            Err(e) if matches!(e.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe) => false,
            Err(e) => panic!("nothing came: {e}"),
        }
    }

    /// An answer's status line and headers.
    pub fn headers(&mut self) -> String {
        loop {
            if let Some(end) = self.read.windows(4).position(|w| w == b"\r\n\r\n") {
                let rest = self.read.split_off(end + 4);
                return String::from_utf8(std::mem::replace(&mut self.read, rest)).unwrap();
            }
            assert!(self.more(), "ended after {:?}", String::from_utf8_lossy(&self.read));
        }
    }

    /// A whole answer's status; its body is passed over.
    pub fn status(&mut self) -> u16 {
        let headers = self.headers();
        let length =
            headers.lines().find_map(|l| l.to_ascii_lowercase().strip_prefix("content-length:")?.trim().parse().ok());
        let length: usize = length.unwrap_or(0);
        while self.read.len() < length {
            assert!(self.more(), "a body ended early: {headers}");
        }
        self.read.drain(..length);
        headers[9..12].parse().unwrap()
    }

    /// All until the other side ends; as text.
    pub fn rest(&mut self) -> String {
        while self.more() {}
        String::from_utf8_lossy(&std::mem::take(&mut self.read)).into_owned()
    }

    /// The next frame; `None`: the other side has ended.
    pub fn frame(&mut self) -> Option<Frame> {
        loop {
            let b = &self.read;
            let whole = match b.get(1) {
                Some(126) if b.len() >= 4 => Some((4, u16::from_be_bytes([b[2], b[3]]) as usize)),
                Some(127) if b.len() >= 10 => Some((10, u64::from_be_bytes(b[2..10].try_into().unwrap()) as usize)),
                Some(126 | 127) | None => None,
                Some(n) => Some((2, *n as usize)),
            };
            if let Some((head, length)) = whole
                && b.len() >= head + length
            {
                let rest = self.read.split_off(head + length);
                let bytes = std::mem::replace(&mut self.read, rest);
                return Some(Frame(bytes[0], bytes[head..].to_vec()));
            }
            if !self.more() {
                return None;
            }
        }
    }

    /// The code of the close frame that must be next but for what `passed` lets pass, and that the socket ends behind it.
    pub fn closed(&mut self) -> (u16, String) {
        loop {
            match self.frame() {
                Some(Frame(0x88, payload)) if payload.len() >= 2 => {
                    let code = u16::from_be_bytes([payload[0], payload[1]]);
                    return (code, String::from_utf8(payload[2..].to_vec()).unwrap());
                }
                Some(Frame(0x88, _)) => return (1005, String::new()),
                Some(_) => {}
                None => panic!("ended without a close frame"),
            }
        }
    }

    pub fn say(&mut self, message: Value) {
        self.write(&frame(FIN | TEXT, message.to_string().as_bytes()));
    }

    /// The next message; `None`: a close frame came, or the end.
    pub fn hear(&mut self) -> Option<Value> {
        let Frame(first, payload) = self.frame()?;
        (first == FIN | TEXT).then(|| serde_json::from_slice(&payload).unwrap())
    }

    /// Subscribes, and waits for that.
    pub fn subscribe(&mut self, channel: &str) {
        self.say(json!({ "type": "sub", "channel": channel }));
        assert_eq!(self.hear().unwrap()["type"], "ok");
    }
}
