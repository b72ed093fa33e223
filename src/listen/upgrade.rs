//! The WebSocket handshake (RFC 6455 §4.2), and all that is decided before the 101.

use super::hosts;
use super::respond::{problem, with};
use super::router::{Asked, Candidate};
use super::serve::Exchange;
use super::text::list;
use super::who::{Decision, Verdict, decide};
use crate::auth::{Authenticator, Credentials};
use crate::flow::{App, KeptRequest};
use crate::kernel::{Full as Met, Newcomer, Seat};
use crate::model::query_pairs;
use crate::model::{AppId, Close, Identity, LimitKind, Refusal};
use crate::observe::{AuthOutcome, LimitName, RefusedFor, RefusedUpgrade};
use crate::shard::{Closed, NewConnection};
use crate::wire::{DeflateParams, negotiate};
use base64::Engine;
use bytes::Bytes;
use http_body_util::Full;
use hyper::body::{Body, Incoming};
use hyper::header::{
    ALLOW, AUTHORIZATION, COOKIE, HeaderMap, HeaderName, ORIGIN, PROXY_AUTHORIZATION, RETRY_AFTER,
    SEC_WEBSOCKET_EXTENSIONS, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, UPGRADE, USER_AGENT,
    WWW_AUTHENTICATE,
};
use hyper::{Method, Request, Response, StatusCode, Version};
use smallvec::SmallVec;
use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;
use tokio::time::timeout_at;

/// Bytes of a `User-Agent` that are kept for listings.
const USER_AGENT_BYTES: usize = 256;

/// Base64 whose last bits may be anything: the standard's own example, `AQIDBAUGBwgJCgsMDQ4PEC==` (RFC 6455 §4.1), has some.
/// The key is only ever copied, never used as the bytes that it stands for.
const ANY_LAST_BITS: base64::engine::GeneralPurpose = base64::engine::GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    base64::engine::general_purpose::PAD.with_decode_allow_trailing_bits(true),
);
/// `Retry-After` where keys or rows cannot be had, in seconds: about as often as their sources are asked again.
const UNAVAILABLE_RETRY_S: &str = "5";

const HANDSHAKE: RefusedFor = RefusedFor::Handshake;

/// A connection whose 101 is on its way.
pub struct Draft {
    app: AppId,
    endpoint: u16,
    endpoint_key: Arc<str>,
    listener: u16,
    identity: Option<Arc<Identity>>,
    close_at_once: Option<Close>,
    refusal: Option<Refusal>,
    deflate: Option<DeflateParams>,
    ip: IpAddr,
    user_agent: Option<Arc<str>>,
    request: Option<Box<KeptRequest>>,
    seat: Seat,
}

impl Draft {
    pub fn connection(self, taken: super::link::Taken, read: Bytes) -> NewConnection {
        let leftover = if taken.rest.is_empty() { read } else { [read, taken.rest].concat().into() };
        let newcomer = Newcomer {
            leftover,
            app: self.app,
            endpoint: self.endpoint,
            endpoint_key: self.endpoint_key,
            listener: self.listener,
            identity: self.identity,
            close_at_once: self.close_at_once,
            refusal: self.refusal,
            deflate: self.deflate,
            ip: self.ip,
            user_agent: self.user_agent,
            request: self.request,
            seat: self.seat,
        };
        NewConnection { stream: taken.stream, tls: taken.tls, newcomer }
    }
}

/// Why there is no 101: what the client reads, and what the log does.
struct Refused {
    response: Box<Response<Full<Bytes>>>,
    reason: RefusedFor,
    why: Cow<'static, str>,
    app: Option<AppId>,
}

impl Refused {
    fn new(reason: RefusedFor, status: StatusCode, detail: &'static str) -> Refused {
        Refused { response: Box::new(problem(status, detail)), reason, why: Cow::Borrowed(detail), app: None }
    }

    fn with(self, name: HeaderName, value: &str) -> Refused {
        Refused { response: Box::new(with(*self.response, name, value)), ..self }
    }

    fn limit(x: &Exchange, limit: LimitName, status: StatusCode, detail: &'static str, retry_s: u64) -> Refused {
        x.context.metrics.limit(limit, 1);
        Refused::new(RefusedFor::Limit, status, detail).with(RETRY_AFTER, &retry_s.to_string())
    }
}

/// Whether the request asks for a WebSocket.
pub fn is_upgrade(headers: &HeaderMap) -> bool {
    list(headers, UPGRADE.as_str()).any(|protocol| protocol.eq_ignore_ascii_case("websocket"))
}

/// Answers the handshake. After a 101 the connection lies in `x.draft`.
pub async fn answer(mut request: Request<Incoming>, x: &Exchange, ip: IpAddr) -> Response<Full<Bytes>> {
    match accept(&mut request, x, ip).await {
        Ok((response, draft)) => {
            x.draft.replace(Some(draft));
            response
        }
        Err(Refused { response, reason, why, app }) => {
            let app = app.and_then(|id| Some((id, &*x.front.generation.app(id)?.name)));
            let listener = x.front.entrance.listener(x.listener).map_or("", |l| &*l.name);
            let status = response.status().as_u16();
            // Without the query: which of its parameters is a token, an app's file says, and clients may say it wrong.
            let refused =
                RefusedUpgrade { app, ip, listener, path: shortened(request.uri().path()), status, reason, why: &why };
            x.context.metrics.refusals.refused(&refused, (x.context.clock)().mono);
            *response
        }
    }
}

async fn accept(
    request: &mut Request<Incoming>,
    x: &Exchange,
    ip: IpAddr,
) -> Result<(Response<Full<Bytes>>, Draft), Refused> {
    check_bounds(x, ip)?;
    check_handshake(request)?;
    let candidates = route(request, x)?;
    let limits = &x.front.generation.limits;
    let mut seat =
        x.context.counts.reserve(ip, limits.connections, limits.connections_per_ip).map_err(|met| match met {
            Met::Process => {
                let detail = "no more connections are taken at the moment";
                Refused::limit(x, LimitName::Connections, StatusCode::SERVICE_UNAVAILABLE, detail, 5)
            }
            Met::Ip => {
                let detail = "too many connections from this address";
                Refused::limit(x, LimitName::ConnectionsPerIp, StatusCode::TOO_MANY_REQUESTS, detail, 30)
            }
        })?;
    let Decision { candidate, verdict, outcome, reason } = authenticate(request, &candidates, x).await?;
    let Candidate { app, endpoint, protocols, vars, .. } = &candidates[candidate];
    let Some(app) = x.front.generation.app(*app) else {
        return Err(Refused::new(RefusedFor::NotFound, StatusCode::NOT_FOUND, "nothing listens here"));
    };
    // Newcomers of an app that holds too much already; those of others are let in.
    let account = x.context.metrics.memory.app(app.id);
    if account.over() > 0 {
        account.refuse();
        let unavailable = StatusCode::SERVICE_UNAVAILABLE;
        return Err(Refused::limit(x, LimitName::Memory, unavailable, "out of memory, try again", 5));
    }
    if let (Some(outcome), Some(metrics)) = (outcome, x.context.metrics.find(app.id)) {
        metrics.authenticated(outcome);
    }
    let (identity, close) = match verdict {
        Verdict::Open(identity) => (identity, None),
        Verdict::Close(close) => (None, Some(close)),
        Verdict::Reject => {
            let missing = outcome == Some(AuthOutcome::Missing);
            let for_what = if missing { RefusedFor::NoToken } else { RefusedFor::Token };
            let refused = Refused::new(for_what, StatusCode::UNAUTHORIZED, "authentication required");
            return Err(Refused { why: reason, app: Some(app.id), ..refused.with(WWW_AUTHENTICATE, "Bearer") });
        }
        Verdict::Unavailable => {
            let detail = "who you are cannot be verified at the moment, try again";
            let refused = Refused::new(RefusedFor::Unavailable, StatusCode::SERVICE_UNAVAILABLE, detail);
            let refused = refused.with(RETRY_AFTER, UNAVAILABLE_RETRY_S);
            return Err(Refused { why: reason, app: Some(app.id), ..refused });
        }
    };
    let full = if close.is_none() { enter(app, identity.as_deref(), &mut seat, x) } else { None };
    let refusal = full.is_some().then(|| Refusal::limit(LimitKind::Connections));
    let close_at_once = close.or(full);
    if let Some(close) = &close_at_once {
        tracing::debug!(%ip, app = &*app.name, code = close.code, %reason, "upgraded to be closed");
    }
    let auth = app.endpoint(*endpoint).map_or(&[][..], |e| &e.auth);
    let (response, deflate) = respond(request, protocols, auth, app)?;
    let headers = request.headers();
    let draft = Draft {
        app: app.id,
        endpoint: *endpoint,
        endpoint_key: app.endpoint(*endpoint).map(|e| e.key.clone()).unwrap_or_default(),
        listener: x.listener,
        identity,
        close_at_once,
        refusal,
        deflate,
        ip,
        user_agent: headers.get(USER_AGENT).and_then(|v| v.to_str().ok()).map(|v| shortened(v).into()),
        request: app.keeps_requests.then(|| Box::new(keep(request, auth, vars, ip))),
        seat,
    };
    Ok((response, draft))
}

/// RFC 6455 §4.2.1.
fn check_handshake(request: &Request<Incoming>) -> Result<(), Refused> {
    let headers = request.headers();
    if request.method() != Method::GET {
        return Err(
            Refused::new(HANDSHAKE, StatusCode::METHOD_NOT_ALLOWED, "a WebSocket opens with GET").with(ALLOW, "GET")
        );
    }
    if request.version() != Version::HTTP_11 || !request.body().is_end_stream() {
        return Err(Refused::new(
            HANDSHAKE,
            StatusCode::BAD_REQUEST,
            "a WebSocket opens with HTTP/1.1 and without a body",
        ));
    }
    if !fastwebsockets::upgrade::is_upgrade_request(request) {
        return Err(Refused::new(HANDSHAKE, StatusCode::BAD_REQUEST, "`Connection: Upgrade` is missing"));
    }
    let mut versions = headers.get_all(SEC_WEBSOCKET_VERSION).iter();
    if versions.next().is_none_or(|v| v.as_bytes() != b"13") || versions.next().is_some() {
        let refused =
            Refused::new(HANDSHAKE, StatusCode::UPGRADE_REQUIRED, "version 13 of the protocol is spoken here");
        return Err(refused.with(SEC_WEBSOCKET_VERSION, "13").with(UPGRADE, "websocket"));
    }
    let mut keys = headers.get_all(SEC_WEBSOCKET_KEY).iter();
    let key = keys.next().and_then(|key| ANY_LAST_BITS.decode(key).ok());
    if key.is_none_or(|key| key.len() != 16) || keys.next().is_some() {
        return Err(Refused::new(HANDSHAKE, StatusCode::BAD_REQUEST, "`Sec-WebSocket-Key` is not 16 bytes in base64"));
    }
    Ok(())
}

fn check_bounds(x: &Exchange, ip: IpAddr) -> Result<(), Refused> {
    let limits = &x.front.generation.limits;
    let unavailable = StatusCode::SERVICE_UNAVAILABLE;
    match x.door.closed() {
        Some(Closed::Draining) => {
            return Err(Refused::new(RefusedFor::Draining, unavailable, "shutting down").with(RETRY_AFTER, "1"));
        }
        None => {}
    }
    if ip.is_loopback() && !limits.attempts_loopback {
        return Ok(());
    }
    x.context.attempts.attempt(ip, &limits.attempts_per_ip, (x.context.clock)().mono).map_err(|wait_ms| {
        let detail = "too many connection attempts from this address";
        let retry_s = wait_ms.div_ceil(1000).max(1);
        Refused::limit(x, LimitName::AttemptsPerIp, StatusCode::TOO_MANY_REQUESTS, detail, retry_s)
    })
}

/// The endpoints whose `Origin` list lets this request in.
fn route<'x>(request: &Request<Incoming>, x: &'x Exchange) -> Result<SmallVec<[Candidate<'x>; 2]>, Refused> {
    let entrance = &x.front.entrance;
    let host = hosts::Asked::of(request.uri(), request.headers());
    let mut candidates = entrance.router.find(&Asked {
        listener: x.listener,
        host: host.host(),
        path: request.uri().path(),
        query: request.uri().query().unwrap_or(""),
        headers: request.headers(),
    });
    if candidates.is_empty() {
        return Err(Refused::new(
            RefusedFor::NotFound,
            StatusCode::NOT_FOUND,
            "no WebSocket is served at this address",
        ));
    }
    // Only browsers send it, and they always do (§10.2).
    if let Some(origin) = request.headers().get(ORIGIN) {
        let origin = origin.to_str().unwrap_or("");
        let general = entrance.origins.allows(origin);
        let app = candidates[0].app;
        candidates.retain(|c| general && c.origins.is_none_or(|own| own.allows(origin)));
        if candidates.is_empty() {
            let refused =
                Refused::new(RefusedFor::Origin, StatusCode::FORBIDDEN, "pages of this origin may not connect");
            return Err(Refused { app: Some(app), ..refused });
        }
    }
    Ok(candidates)
}

async fn authenticate(
    request: &Request<Incoming>,
    candidates: &[Candidate<'_>],
    x: &Exchange,
) -> Result<Decision, Refused> {
    let without = without_cookies(request, candidates, x);
    let headers = without.as_ref().unwrap_or(request.headers());
    let credentials = Credentials::of_request(request.uri().query(), headers);
    let deciding = decide(candidates, &x.front.generation, &credentials, (x.context.clock)());
    match timeout_at(x.handshake_ends(), deciding).await {
        Ok(Some(decision)) => Ok(decision),
        Ok(None) => Err(Refused::new(RefusedFor::NotFound, StatusCode::NOT_FOUND, "nothing listens here")),
        Err(_) => {
            let detail = "authentication took too long";
            Err(Refused::limit(x, LimitName::HandshakeTimeout, StatusCode::SERVICE_UNAVAILABLE, detail, 5))
        }
    }
}

/// The headers without cookies, where the page is one that only `*` lets in: a browser sends its visitor's cookies
/// whatever page asks (RFC 6455 §10.2), and in production no page of just any origin may act in a visitor's name.
fn without_cookies(request: &Request<Incoming>, candidates: &[Candidate<'_>], x: &Exchange) -> Option<HeaderMap> {
    let headers = request.headers();
    if x.front.generation.development || !headers.contains_key(COOKIE) {
        return None;
    }
    let origin = headers.get(ORIGIN)?.to_str().unwrap_or("");
    let named = x.front.entrance.origins.lists(origin)
        || candidates.iter().all(|c| c.origins.is_some_and(|own| own.lists(origin)));
    if named {
        return None;
    }
    let mut headers = headers.clone();
    headers.remove(COOKIE);
    Some(headers)
}

/// Takes the app's place, the user's, and those of its claims; a close where there is none.
fn enter(app: &App, identity: Option<&Identity>, seat: &mut Seat, x: &Exchange) -> Option<Close> {
    if !seat.enter(app.id, app.limits.app_connections) {
        x.context.metrics.limit(LimitName::AppConnections, 1);
        return Some(Close::OVERLOADED);
    }
    let full = seat.know(identity?, &app.limits).err()?;
    x.context.metrics.limit(full, 1);
    Some(Close::TOO_MANY_CONNECTIONS)
}

/// The 101: accept key, sub-protocol, permessage-deflate.
fn respond(
    request: &mut Request<Incoming>,
    protocols: &[String],
    auth: &[Arc<Authenticator>],
    app: &App,
) -> Result<(Response<Full<Bytes>>, Option<DeflateParams>), Refused> {
    let bad = |_| Refused::new(HANDSHAKE, StatusCode::BAD_REQUEST, "bad handshake");
    // hyper's own upgrade is not used: `serve` takes the socket from under it, and `_later` never resolves.
    let (response, _later) = fastwebsockets::upgrade::upgrade(&mut *request).map_err(bad)?;
    let mut response = response.map(|_| Full::default());
    let headers = request.headers();
    let protocol = list(headers, SEC_WEBSOCKET_PROTOCOL.as_str()).find(|asked| protocols.iter().any(|p| p == asked));
    if let Some(protocol) = protocol.or_else(|| auth.iter().find_map(|by| by.subprotocol(headers))) {
        response = with(response, SEC_WEBSOCKET_PROTOCOL, protocol);
    }
    let offers = headers.get_all(SEC_WEBSOCKET_EXTENSIONS).iter().filter_map(|v| v.to_str().ok());
    let deflate = app.limits.deflate_threshold.0.and_then(|_| negotiate(offers));
    Ok(match deflate {
        Some((params, reply)) => (with(response, SEC_WEBSOCKET_EXTENSIONS, &reply), Some(params)),
        None => (response, None),
    })
}

fn shortened(text: &str) -> &str {
    &text[..text.floor_char_boundary(USER_AGENT_BYTES)]
}

/// What rules may read; credentials have been used, and are not kept.
fn keep(
    request: &Request<Incoming>,
    auth: &[Arc<Authenticator>],
    vars: &[(Arc<str>, Box<str>)],
    ip: IpAddr,
) -> KeptRequest {
    let kept = |name: &HeaderName| {
        ![AUTHORIZATION, PROXY_AUTHORIZATION, COOKIE].contains(name) && !auth.iter().any(|by| by.reads_header(name))
    };
    let headers = request.headers().iter().filter(|(name, _)| kept(name));
    KeptRequest {
        path: request.uri().path().into(),
        query: query_pairs(request.uri().query().unwrap_or(""))
            .filter(|(name, _)| !auth.iter().any(|by| by.reads_query(name)))
            .map(|(name, value)| (name.as_ref().into(), value.as_ref().into()))
            .collect(),
        headers: headers.filter_map(|(name, v)| Some((name.as_str().into(), v.to_str().ok()?.into()))).collect(),
        vars: vars.iter().map(|(name, value)| (name.as_ref().into(), value.clone())).collect(),
        ip,
    }
}
