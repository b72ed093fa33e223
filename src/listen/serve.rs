//! One connection, from the accept to its upgrade or its end.

use super::answers::{Asker, counted};
use super::context::{Context, Front};
use super::entrance::Listener;
use super::forwarded::is_forwarded;
use super::hosts::Asked;
use super::http_places::{HttpPlace, NoPlace};
use super::link::{Link, Pace, Phase, Replay, Taken, Transport};
use super::respond::{problem, with};
use super::settings::ProxyProtocol;
use super::{http, proxy, upgrade};
use crate::kernel::Newcomer;
use crate::observe::LimitName;
use crate::shard::{Accepted, Door, NewConnection};
use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{CONNECTION, HOST, TRANSFER_ENCODING};
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper::{Request, Response, StatusCode, Version};
use hyper_util::rt::TokioIo;
use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::io;
use std::net::IpAddr;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};

/// HTTP connections of admin listeners, and of one address there: a flood elsewhere does not lock operators out.
const ADMIN_CONNECTIONS: (u32, u32) = (128, 128);
/// After a last response: how long, and how much of what the client still sends is read, so that its kernel does not
/// throw the response away with a reset.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES: u64 = 256 << 10;

const TIMED_OUT: &[u8] = b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";

/// What a request's answer is made of.
pub struct Exchange {
    pub context: Arc<Context>,
    pub door: Rc<dyn Door>,
    pub front: Arc<Front>,
    pub listener: u16,
    /// Who is at the other end of the socket, or of the proxy that wrote a PROXY header.
    peer: IpAddr,
    pub place: Arc<HttpPlace>,
    ends: Instant,
    pub newcomer: RefCell<Option<Newcomer>>,
}

impl Exchange {
    /// Whose memory the answer takes.
    fn asker(&self, request: &Request<Incoming>) -> Asker {
        if self.front.entrance.listener(self.listener).is_some_and(|listener| listener.admin) {
            return Asker::Operator;
        }
        match crate::api::is_own(request.uri().path()) {
            true => Asker::Caller,
            false => Asker::Stranger(self.front.entrance.trusted.client(self.peer, request.headers())),
        }
    }

    /// When a handshake must be over.
    pub fn handshake_ends(&self) -> Instant {
        self.ends
    }
}

/// Serves a connection on the shard's thread: a local task. Ends when the socket is the shard's, or closed.
pub async fn serve(accepted: Accepted, door: Rc<dyn Door>, context: Arc<Context>) {
    let front = context.front.load_full();
    let (peer, number) = (accepted.peer, accepted.listener);
    let Some(listener) = front.entrance.listener(number) else { return };
    let http = &front.entrance.http;
    let (memory, tls) = (&context.metrics.memory, listener.tls.is_some());
    let memory = if listener.admin { &memory.operators } else { &memory.strangers };
    let seat = match listener.admin {
        // Nobody else's connections keep operators out, nor what those hold.
        true => context.operators.take(peer.ip(), ADMIN_CONNECTIONS, memory, tls),
        false => {
            let max = (http.connections, http.connections_per_ip);
            // Of a proxy that writes whom it stands for, the address says nothing.
            let max = if front.entrance.trusted.contains(peer.ip()) { (max.0, max.0) } else { max };
            context.places.take(peer.ip(), max, memory, tls)
        }
    };
    let seat = match seat {
        Ok(seat) => seat,
        Err(no_place) => {
            let limit = match no_place {
                NoPlace::Process => LimitName::HttpConnections,
                NoPlace::Address => LimitName::HttpConnectionsPerIp,
                NoPlace::Memory => LimitName::Memory,
            };
            context.metrics.limit(limit, 1);
            return tracing::debug!(%peer, listener = &*listener.name, ?no_place, "no place for an HTTP connection");
        }
    };
    let place = seat.place.clone();
    let served = serve_one(accepted, door, &context, front, place);
    tokio::select! { biased;
        () = served => {}
        // Whoever had to make room hears nothing more: it was not heard for long.
        () = seat.place.made_room() => {
            context.metrics.limit(LimitName::HttpConnections, 1);
            tracing::debug!(%peer, "a connection that waited longest made room");
        }
    }
}

async fn serve_one(
    accepted: Accepted,
    door: Rc<dyn Door>,
    context: &Arc<Context>,
    front: Arc<Front>,
    place: Arc<HttpPlace>,
) {
    let (peer, number) = (accepted.peer, accepted.listener);
    let Some(listener) = front.entrance.listener(number) else { return };
    let ends = Instant::now() + front.generation.limits.handshake_timeout.duration();
    let (transport, ip) = match timeout_at(ends, open(accepted, listener, &front)).await {
        Ok(Ok(opened)) => opened,
        Ok(Err(error)) => {
            return tracing::debug!(%peer, listener = &*listener.name, %error, "connection refused");
        }
        Err(_) => {
            context.metrics.limit(LimitName::HandshakeTimeout, 1);
            return tracing::debug!(%peer, listener = &*listener.name, "handshake took too long");
        }
    };
    drop(front);
    place.has_shaken_hands();
    converse(Arrived { transport, ip, listener: number, ends, place }, door, context.clone()).await;
}

/// PROXY header and TLS. Out: the transport, and the address of whom it leads to.
async fn open(accepted: Accepted, listener: &Listener, front: &Front) -> io::Result<(Transport, IpAddr)> {
    accepted.stream.set_nonblocking(true)?;
    let mut stream = tokio::net::TcpStream::from_std(accepted.stream)?;
    let trusted = front.entrance.trusted.contains(accepted.peer.ip());
    let (ip, first) = match listener.proxy_protocol {
        ProxyProtocol::Require if !trusted => {
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, "only trusted proxies connect here"));
        }
        mode @ (ProxyProtocol::Accept | ProxyProtocol::Require) if trusted => {
            proxy::read(&mut stream, mode, accepted.peer).await?
        }
        ProxyProtocol::Off | ProxyProtocol::Accept | ProxyProtocol::Require => {
            (accepted.peer.ip().to_canonical(), Bytes::new())
        }
    };
    let replay = Replay { stream, first };
    let transport = match &listener.tls {
        None => Transport::Plain(replay),
        Some(tls) => Transport::Tls(Box::new(tls.accept(replay).await?)),
    };
    Ok((transport, ip))
}

/// A connection that HTTP can begin on.
struct Arrived {
    transport: Transport,
    ip: IpAddr,
    listener: u16,
    ends: Instant,
    place: Arc<HttpPlace>,
}

/// How HTTP on a connection came to its end.
enum Ended {
    Itself(hyper::Result<()>),
    TimedOut(Phase),
}

type Answering = Pin<Box<dyn Future<Output = Result<Response<Full<Bytes>>, Infallible>>>>;

/// HTTP, request after request, until the socket is the shard's or ends.
async fn converse(arrived: Arrived, door: Rc<dyn Door>, context: Arc<Context>) {
    let Arrived { transport, ip: peer, listener, ends, place } = arrived;
    let settings = context.front.load().entrance.http.clone();
    let header_timeout = settings.header_timeout.duration();
    let first = ends.min(Instant::now() + header_timeout);
    let pace = Pace::new(first, header_timeout, settings.keep_alive.duration());
    let newcomer: Rc<Cell<Option<Newcomer>>> = Rc::default();
    let service = {
        let (context, door, pace, newcomer) = (context.clone(), door.clone(), pace.clone(), newcomer.clone());
        let seen = Cell::new(false);
        service_fn(move |request: Request<Incoming>| -> Answering {
            pace.request_began();
            let front = context.front.load_full();
            // The first request's handshake began with the TCP accept.
            let whole = Instant::now() + front.generation.limits.handshake_timeout.duration();
            let ends = if seen.replace(true) { whole } else { ends };
            let (context, door) = (context.clone(), door.clone());
            let place = place.clone();
            place.waits(false);
            let x = Exchange { context, door, front, listener, peer, place, ends, newcomer: RefCell::default() };
            let (pace, newcomer) = (pace.clone(), newcomer.clone());
            Box::pin(async move {
                let asker = x.asker(&request);
                let response = counted(answer(request, &x).await, asker, &x);
                // A socket that becomes the shard's has its own bounds; it makes no room on its way there.
                x.place.waits(x.newcomer.borrow().is_none());
                newcomer.set(x.newcomer.into_inner());
                pace.request_ended();
                Ok(response)
            })
        })
    };
    let header_bytes = settings.header_bytes.0 as usize;
    let mut http = http1::Builder::new()
        .keep_alive(!*context.draining.borrow())
        .auto_date_header(false)
        .header_read_timeout(None)
        .max_buf_size(header_bytes)
        .max_header_size(header_bytes)
        .serve_connection(TokioIo::new(Link::new(transport, pace.clone())), service);
    let ended = run(&mut http, &pace, first, context.draining.clone()).await;
    let parts = http.into_parts();
    let link = parts.io.into_inner();
    match (ended, newcomer.take()) {
        (Ended::Itself(Ok(())), Some(newcomer)) => match link.take() {
            Ok(taken) => door.adopt(connection(newcomer, taken, parts.read_buf)),
            Err(error) => tracing::debug!(%peer, %error, "upgraded socket lost"),
        },
        (ended, _) => end(ended, link, peer, &context).await,
    }
}

/// Runs HTTP within its deadlines. The socket is left open: what becomes of it is decided afterwards. hyper's own header
/// timeout is not used; it would also end idle connections, and says nothing to the client.
async fn run<S>(
    http: &mut http1::Connection<TokioIo<Link>, S>,
    pace: &Pace,
    first: Instant,
    mut draining: watch::Receiver<bool>,
) -> Ended
where
    S: Service<Request<Incoming>, Response = Response<Full<Bytes>>, Error = Infallible, Future = Answering> + Unpin,
{
    // Who comes while the process drains is answered once: `/readyz` says why.
    let late = *draining.borrow();
    let mut drain = (!late).then(|| Box::pin(async move { draining.wait_for(|draining| *draining).await.is_ok() }));
    let mut alarm = pin!(sleep_until(first));
    poll_fn(|cx| {
        if let Some(Poll::Ready(draining)) = drain.as_mut().map(|d| d.as_mut().poll(cx)) {
            drain = None;
            if draining {
                Pin::new(&mut *http).graceful_shutdown();
            }
        }
        if let Poll::Ready(result) = http.poll_without_shutdown(cx) {
            return Poll::Ready(Ended::Itself(result));
        }
        let Some(deadline) = pace.deadline() else { return Poll::Pending };
        if alarm.deadline() != deadline {
            alarm.as_mut().reset(deadline);
        }
        alarm.as_mut().poll(cx).map(|()| Ended::TimedOut(pace.phase()))
    })
    .await
}

/// The last words of a connection that was not upgraded.
async fn end(ended: Ended, mut link: Link, peer: IpAddr, context: &Context) {
    match ended {
        Ended::TimedOut(Phase::Headers) => {
            context.metrics.limit(LimitName::HeaderTimeout, 1);
            tracing::debug!(%peer, "slow headers");
            let _ = timeout(LINGER, link.write_all(TIMED_OUT)).await;
        }
        Ended::TimedOut(Phase::Idle | Phase::Busy) | Ended::Itself(Ok(())) => {}
        Ended::Itself(Err(error)) => {
            if error.is_parse_too_large() {
                context.metrics.limit(LimitName::HeaderBytes, 1);
            }
            tracing::debug!(%peer, %error, "HTTP ended");
        }
    }
    let rest = async {
        link.shutdown().await?;
        tokio::io::copy(&mut AsyncReadExt::take(&mut link, LINGER_BYTES), &mut tokio::io::sink()).await
    };
    let _ = timeout(LINGER, rest).await;
}

/// Answers one request.
async fn answer(request: Request<Incoming>, x: &Exchange) -> Response<Full<Bytes>> {
    let headers = request.headers();
    // RFC 9112 §3.2
    let hosts = headers.get_all(HOST).iter().count();
    if hosts > 1 || hosts == 0 && request.version() == Version::HTTP_11 {
        let refused = problem(StatusCode::BAD_REQUEST, "exactly one `Host` is needed");
        return with(refused, CONNECTION, "close");
    }
    if x.front.generation.development && is_forwarded(headers) {
        let detail = "Weir runs in development mode, with published secrets, and refuses what a proxy passes on. \
                      Set `mode = \"production\"` in gateway.toml to serve others.";
        return problem(StatusCode::FORBIDDEN, detail);
    }
    if let Some((status, detail)) = transfer_coding(headers) {
        return with(problem(status, detail), CONNECTION, "close");
    }
    match Asked::of(request.uri(), headers) {
        Asked::Malformed => {
            return with(problem(StatusCode::BAD_REQUEST, "`Host` is no host"), CONNECTION, "close");
        }
        Asked::Host(host) if x.front.generation.development && !x.front.entrance.hosts.allows(&host) => {
            let detail = "Weir runs in development mode, where nobody needs a key, and does not answer to this `Host`: a web \
                          page may have its name point here. Add it to `http.hosts` in gateway.toml if it is yours.";
            return problem(StatusCode::FORBIDDEN, detail);
        }
        Asked::Host(_) | Asked::Nothing => {}
    }
    // RFC 9112 §6.1: where a `Content-Length` stood beside it, somebody before Weir may have seen another end of this
    // request. hyper reads the chunks and hides the length: what follows on the connection is never believed.
    let chunked = headers.contains_key(TRANSFER_ENCODING);
    let ip = x.front.entrance.trusted.client(x.peer, headers);
    let response = match upgrade::is_upgrade(headers) {
        true => upgrade::answer(request, x, ip).await,
        false => http::answer(request, x, ip).await,
    };
    if chunked { with(response, CONNECTION, "close") } else { response }
}

/// Why a request's `Transfer-Encoding` is refused. hyper undoes one `chunked`, the last, and hands on whatever is in it;
/// somebody before Weir may have undone more and seen another end of the request (RFC 9112 §6.1, §7).
fn transfer_coding(headers: &hyper::HeaderMap) -> Option<(StatusCode, &'static str)> {
    let mut lines = headers.get_all(TRANSFER_ENCODING).iter();
    match (lines.next(), lines.next()) {
        (None, _) => None,
        (Some(line), None) if line.as_bytes().eq_ignore_ascii_case(b"chunked") => None,
        _ => {
            let chunked = |line: &hyper::header::HeaderValue| {
                line.to_str().is_ok_and(|line| line.split(',').all(|c| c.trim().eq_ignore_ascii_case("chunked")))
            };
            Some(match headers.get_all(TRANSFER_ENCODING).iter().all(chunked) {
                true => (StatusCode::BAD_REQUEST, "`Transfer-Encoding: chunked` comes more than once"),
                false => (StatusCode::NOT_IMPLEMENTED, "`chunked` is the only `Transfer-Encoding` that is read"),
            })
        }
    }
}

/// What came behind the handshake is the beginning of the stream.
fn connection(newcomer: Newcomer, taken: Taken, read: Bytes) -> NewConnection {
    let leftover = if taken.rest.is_empty() { read } else { [read, taken.rest].concat().into() };
    NewConnection { stream: taken.stream, tls: taken.tls, newcomer: Newcomer { leftover, ..newcomer } }
}
