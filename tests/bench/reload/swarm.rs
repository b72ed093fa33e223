//! Thousands of clients on one thread: they listen, count and compare numbers; one of them publishes at a steady rate.

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use socket2::{Domain, Socket, Type};
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

/// Clients of one source address: one address has some 28,000 ports.
const CLIENTS_PER_ADDRESS: usize = 5_000;
/// No wait for the gateway is longer.
const PATIENCE: Duration = Duration::from_secs(60);
/// Which channels an event or a client belongs to.
pub const CLOSING: usize = 0;
pub const OPEN: usize = 1;

struct Client {
    stream: TcpStream,
    /// Bytes of a frame that is not there in whole.
    rest: Vec<u8>,
    /// Its place among the channels; none: it publishes or probes.
    channel: Option<usize>,
    /// The number of the next event.
    next: u64,
    here: bool,
    revoked: bool,
}

/// What was seen so far.
#[derive(Default)]
pub struct Seen {
    pub delivered: u64,
    pub lost: u64,
    pub doubled: u64,
    pub dropped: u64,
    pub revoked: u64,
    pub first_revoked: Option<Instant>,
    pub last_revoked: Option<Instant>,
    /// What the last pong said.
    pub pong: Option<String>,
    /// Microseconds from publishing to hearing: of `closing:*` and of `open:*`, since last taken.
    pub latency: [Vec<u32>; 2],
    /// How late the generator itself was with a publish, at most.
    pub late: Duration,
}

pub struct Swarm {
    poll: Poll,
    clients: Vec<Client>,
    /// Names and the numbers last published.
    channels: Vec<(String, u64)>,
    closing: usize,
    at: usize,
    /// From one channel to the next, so that both kinds are mixed and each gets its turn.
    stride: usize,
    due: Instant,
    every: Duration,
    started: Instant,
    pub seen: Seen,
    buffer: Vec<u8>,
}

impl Swarm {
    /// Of the clients, two thirds are on the first two thirds of the channels, `closing:*`, the others on `open:*`.
    pub fn connect(at: SocketAddr, clients: usize, channels: usize, rate: u32) -> std::io::Result<Swarm> {
        let closing = channels * 2 / 3;
        let name = |n: usize| if n < closing { format!("closing:{n}") } else { format!("open:{n}") };
        let mut swarm = Swarm {
            poll: Poll::new()?,
            clients: Vec::with_capacity(clients + 2),
            channels: (0..channels).map(|n| (name(n), 0)).collect(),
            closing,
            at: 0,
            stride: (channels * 5 / 8..channels).find(|step| gcd(*step, channels) == 1).unwrap_or(1),
            due: Instant::now(),
            every: Duration::from_secs(1) / rate,
            started: Instant::now(),
            seen: Seen::default(),
            buffer: vec![0; 64 << 10],
        };
        let of_closing = clients * 2 / 3;
        for n in 0..clients {
            let place = if n < of_closing { n % closing } else { closing + (n - of_closing) % (channels - closing) };
            swarm.add(at, Some(place))?;
        }
        // The publisher and the probe.
        swarm.add(at, None)?;
        swarm.add(at, None)?;
        swarm.due = Instant::now();
        Ok(swarm)
    }

    pub fn of_closing(&self) -> usize {
        self.clients.iter().filter(|c| c.channel.is_some_and(|n| n < self.closing)).count()
    }

    fn add(&mut self, at: SocketAddr, channel: Option<usize>) -> std::io::Result<()> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        let source = Ipv4Addr::new(127, 0, 0, 1 + (self.clients.len() / CLIENTS_PER_ADDRESS) as u8);
        socket.bind(&SocketAddr::from((source, 0)).into())?;
        socket.connect(&at.into())?;
        socket.set_tcp_nodelay(true)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        let mut stream = std::net::TcpStream::from(socket);
        let upgrade = format!(
            "GET /bench HTTP/1.1\r\nHost: {at}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        stream.write_all(upgrade.as_bytes())?;
        until(&mut stream, b"\r\n\r\n")?;
        if let Some(channel) = channel {
            let name = &self.channels[channel].0;
            stream.write_all(&frame(1, format!("{{\"op\":\"sub\",\"ch\":\"{name}\"}}").as_bytes()))?;
            until(&mut stream, b"\"subbed\"")?;
            until(&mut stream, b"}")?;
        }
        stream.set_nonblocking(true)?;
        let mut stream = TcpStream::from_std(stream);
        self.poll.registry().register(&mut stream, Token(self.clients.len()), Interest::READABLE)?;
        self.clients.push(Client { stream, rest: Vec::new(), channel, next: 1, here: true, revoked: false });
        Ok(())
    }

    /// Publishes and listens until `done` says so. Err: it never did.
    pub fn run(&mut self, mut done: impl FnMut(&mut Swarm) -> bool) -> Result<(), String> {
        let (mut events, end) = (Events::with_capacity(4096), Instant::now() + PATIENCE);
        while !done(self) {
            if Instant::now() > end {
                return Err(format!("waited {PATIENCE:?} in vain"));
            }
            self.publish();
            let wait = self.due.saturating_duration_since(Instant::now());
            match self.poll.poll(&mut events, Some(wait)) {
                Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error.to_string()),
                _ => events.iter().for_each(|event| self.read(event.token().0)),
            }
        }
        Ok(())
    }

    pub fn run_for(&mut self, time: Duration) -> Result<(), String> {
        let end = Instant::now() + time;
        self.run(|_| Instant::now() >= end)
    }

    /// Publishes no more, until everybody who may has heard everything.
    pub fn settle(&mut self) -> Result<(), String> {
        self.due = Instant::now() + PATIENCE * 2;
        self.run(|swarm| swarm.behind() == 0)
    }

    /// Clients that have not heard the newest event of their channel.
    pub fn behind(&self) -> usize {
        let behind = |c: &&Client| c.here && !c.revoked && c.channel.is_some_and(|n| c.next <= self.channels[n].1);
        self.clients.iter().filter(behind).count()
    }

    pub fn ping(&mut self) {
        self.seen.pong = None;
        self.say(self.clients.len() - 1, br#"{"op":"ping"}"#);
    }

    /// What is due: one event each time, on one channel after another.
    fn publish(&mut self) {
        let now = Instant::now();
        while self.due <= now {
            self.seen.late = self.seen.late.max(now - self.due);
            self.due += self.every;
            let (name, n) = &mut self.channels[self.at];
            *n += 1;
            let t = self.started.elapsed().as_micros();
            let text = format!("{{\"op\":\"pub\",\"ch\":\"{name}\",\"data\":{{\"n\":{n},\"t\":{t}}}}}");
            self.at = (self.at + self.stride) % self.channels.len();
            self.say(self.clients.len() - 2, text.as_bytes());
        }
    }

    fn say(&mut self, client: usize, text: &[u8]) {
        // Small, and one at a time: the socket has room.
        if self.clients[client].stream.write_all(&frame(1, text)).is_err() {
            self.lose(client);
        }
    }

    fn lose(&mut self, client: usize) {
        if std::mem::take(&mut self.clients[client].here) {
            self.seen.dropped += 1;
        }
    }

    fn read(&mut self, client: usize) {
        loop {
            match self.clients[client].stream.read(&mut self.buffer) {
                Ok(0) => return self.lose(client),
                Ok(count) => {
                    let mut bytes = std::mem::take(&mut self.clients[client].rest);
                    bytes.extend_from_slice(&self.buffer[..count]);
                    let used = self.frames(client, &bytes);
                    bytes.drain(..used);
                    self.clients[client].rest = bytes;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(_) => return self.lose(client),
            }
        }
    }

    /// Whole frames (RFC 6455 §5.2, unmasked); how many bytes they were.
    fn frames(&mut self, client: usize, bytes: &[u8]) -> usize {
        let mut used = 0;
        loop {
            let left = &bytes[used..];
            let (head, length) = match left {
                [_, 126, a, b, ..] => (4, u16::from_be_bytes([*a, *b]) as usize),
                [_, length, ..] if *length < 126 => (2, *length as usize),
                _ => return used,
            };
            let Some(body) = left.get(head..head + length) else { return used };
            match left[0] & 15 {
                1 => self.hear(client, body),
                8 => self.lose(client),
                9 => {
                    let pong = frame(10, body);
                    let _ = self.clients[client].stream.write_all(&pong);
                }
                _ => {}
            }
            used += head + length;
        }
    }

    fn hear(&mut self, client: usize, text: &[u8]) {
        let c = &mut self.clients[client];
        if let (Some(channel), Some(n), Some(t)) = (c.channel, number(text, b"\"n\":"), number(text, b"\"t\":")) {
            self.seen.delivered += 1;
            self.seen.lost += n.saturating_sub(c.next);
            self.seen.doubled += u64::from(n < c.next);
            c.next = n + 1;
            let micros = (self.started.elapsed().as_micros() as u64).saturating_sub(t);
            let kind = if channel < self.closing { CLOSING } else { OPEN };
            self.seen.latency[kind].push(micros.min(u32::MAX as u64) as u32);
        } else if text.starts_with(br#"{"op":"revoked""#) {
            c.revoked = true;
            self.seen.revoked += 1;
            self.seen.first_revoked.get_or_insert_with(Instant::now);
            self.seen.last_revoked = Some(Instant::now());
        } else if text.starts_with(br#"{"op":"pong""#) {
            let told = String::from_utf8_lossy(text);
            self.seen.pong = told.split("\"answer\":\"").nth(1).and_then(|t| t.split('"').next()).map(str::to_owned);
        }
    }
}

fn gcd(a: usize, b: usize) -> usize {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// Digits behind a key.
fn number(text: &[u8], key: &[u8]) -> Option<u64> {
    let at = text.windows(key.len()).position(|w| w == key)? + key.len();
    let digits = text[at..].iter().take_while(|b| b.is_ascii_digit());
    Some(digits.fold(0, |n, digit| n * 10 + u64::from(digit - b'0')))
}

/// Masked with zeros, as a client's frame is.
fn frame(op: u8, text: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x80 | op];
    match text.len() {
        short @ ..126 => frame.push(0x80 | short as u8),
        long => {
            frame.push(0x80 | 126);
            frame.extend((long as u16).to_be_bytes());
        }
    }
    frame.extend([0; 4]);
    frame.extend_from_slice(text);
    frame
}

/// Reads to the end of these bytes: nothing else is on its way yet.
fn until(stream: &mut std::net::TcpStream, end: &[u8]) -> std::io::Result<()> {
    let (mut last, mut byte) = (Vec::new(), [0]);
    while !last.ends_with(end) {
        if stream.read(&mut byte)? == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        last.push(byte[0]);
    }
    Ok(())
}
