//! The WebSocket handshake (RFC 6455 §4.2): its form, and the 101 or the refusal. Who is let in, `admission` decides.

use super::admission::{Admission, Admitted, Denied, Upgrade, shortened};
use super::context::Context;
use super::respond::{problem, with};
use super::serve::Exchange;
use super::text::list;
use crate::auth::Authenticator;
use crate::flow::App;
use crate::kernel::Newcomer;
use crate::observe::{LimitName, RefusedFor, RefusedUpgrade};
use crate::shard::Closed;
use crate::wire::{DeflateParams, negotiate};
use base64::Engine;
use bytes::Bytes;
use http_body_util::Full;
use hyper::body::{Body, Incoming};
use hyper::header::{
    ALLOW, HeaderMap, HeaderName, SEC_WEBSOCKET_EXTENSIONS, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL,
    SEC_WEBSOCKET_VERSION, UPGRADE,
};
use hyper::{Method, Request, Response, StatusCode, Version};
use std::net::IpAddr;
use std::sync::Arc;
use tokio::time::timeout_at;

/// Base64 whose last bits may be anything: the standard's own example, `AQIDBAUGBwgJCgsMDQ4PEC==` (RFC 6455 §4.1), has some.
/// The key is only ever copied, never used as the bytes that it stands for.
const ANY_LAST_BITS: base64::engine::GeneralPurpose = base64::engine::GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    base64::engine::general_purpose::PAD.with_decode_allow_trailing_bits(true),
);
const HANDSHAKE: RefusedFor = RefusedFor::Handshake;

/// Whether the request asks for a WebSocket.
pub fn is_upgrade(headers: &HeaderMap) -> bool {
    list(headers, UPGRADE.as_str()).any(|protocol| protocol.eq_ignore_ascii_case("websocket"))
}

/// Answers the handshake. After a 101 the connection lies in `x.newcomer`.
pub async fn answer(mut request: Request<Incoming>, x: &Exchange, ip: IpAddr) -> Response<Full<Bytes>> {
    match accept(&mut request, x, ip).await {
        Ok((response, newcomer)) => {
            x.newcomer.replace(Some(newcomer));
            response
        }
        Err(Refused { denied, headers }) => {
            let Denied { status, detail, ref why, reason, app, .. } = denied;
            let app = app.and_then(|id| Some((id, &*x.front.generation.app(id)?.name)));
            let listener = x.front.entrance.listener(x.listener).map_or("", |l| &*l.name);
            // Without the query: which of its parameters is a token, an app's file says, and clients may say it wrong.
            let path = shortened(request.uri().path());
            let refused = RefusedUpgrade { app, ip, listener, path, status: status.as_u16(), reason, why };
            x.context.metrics.refusals.refused(&refused, (x.context.clock)().mono);
            let mut response = problem(status, detail);
            response.headers_mut().extend(denied.headers());
            headers.into_iter().fold(response, |response, (name, value)| with(response, name, value))
        }
    }
}

/// Why there is no 101, with what the client should send instead.
struct Refused {
    denied: Denied,
    headers: Vec<(HeaderName, &'static str)>,
}

impl From<Denied> for Refused {
    fn from(denied: Denied) -> Refused {
        Refused { denied, headers: Vec::new() }
    }
}

async fn accept(
    request: &mut Request<Incoming>,
    x: &Exchange,
    ip: IpAddr,
) -> Result<(Response<Full<Bytes>>, Newcomer), Refused> {
    if let Some(Closed::Draining) = x.door.closed() {
        let denied = Denied::new(RefusedFor::Draining, StatusCode::SERVICE_UNAVAILABLE, "shutting down");
        return Err(Denied { retry_s: Some(1), ..denied }.into());
    }
    let Context { counts, attempts, metrics, clock, .. } = &*x.context;
    let admission = Admission { front: &x.front, counts, attempts, metrics, now: clock() };
    admission.attempt(ip)?;
    check_handshake(request)?;
    let upgrade = Upgrade { listener: x.listener, ip, uri: request.uri(), headers: request.headers() };
    let admitted = timeout_at(x.handshake_ends(), admission.admit(upgrade)).await;
    let Admitted { mut newcomer, app, auth, protocols } = admitted.map_err(|_| {
        let detail = "authentication took too long";
        admission.limit(LimitName::HandshakeTimeout, StatusCode::SERVICE_UNAVAILABLE, detail, 5)
    })??;
    let (response, deflate) = respond(request, protocols, auth, app)?;
    newcomer.deflate = deflate;
    Ok((response, newcomer))
}

/// RFC 6455 §4.2.1.
fn check_handshake(request: &Request<Incoming>) -> Result<(), Refused> {
    let bad = |status, detail| Refused::from(Denied::new(HANDSHAKE, status, detail));
    let headers = request.headers();
    if request.method() != Method::GET {
        let refused = bad(StatusCode::METHOD_NOT_ALLOWED, "a WebSocket opens with GET");
        return Err(Refused { headers: vec![(ALLOW, "GET")], ..refused });
    }
    if request.version() != Version::HTTP_11 || !request.body().is_end_stream() {
        return Err(bad(StatusCode::BAD_REQUEST, "a WebSocket opens with HTTP/1.1 and without a body"));
    }
    if !fastwebsockets::upgrade::is_upgrade_request(request) {
        return Err(bad(StatusCode::BAD_REQUEST, "`Connection: Upgrade` is missing"));
    }
    let mut versions = headers.get_all(SEC_WEBSOCKET_VERSION).iter();
    if versions.next().is_none_or(|v| v.as_bytes() != b"13") || versions.next().is_some() {
        let refused = bad(StatusCode::UPGRADE_REQUIRED, "version 13 of the protocol is spoken here");
        let headers = vec![(SEC_WEBSOCKET_VERSION, "13"), (UPGRADE, "websocket")];
        return Err(Refused { headers, ..refused });
    }
    let mut keys = headers.get_all(SEC_WEBSOCKET_KEY).iter();
    let key = keys.next().and_then(|key| ANY_LAST_BITS.decode(key).ok());
    if key.is_none_or(|key| key.len() != 16) || keys.next().is_some() {
        return Err(bad(StatusCode::BAD_REQUEST, "`Sec-WebSocket-Key` is not 16 bytes in base64"));
    }
    Ok(())
}

/// The 101: accept key, sub-protocol, permessage-deflate.
fn respond(
    request: &mut Request<Incoming>,
    protocols: &[String],
    auth: &[Arc<Authenticator>],
    app: &App,
) -> Result<(Response<Full<Bytes>>, Option<DeflateParams>), Refused> {
    let bad = |_| Refused::from(Denied::new(HANDSHAKE, StatusCode::BAD_REQUEST, "bad handshake"));
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
