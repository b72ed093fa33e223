//! A request to a route of the app, answered by the HTTP API's own code.

use super::kernels::IP;
use super::play::Player;
use crate::api::{self, Body, Context, Request, TestCaller};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Response};
use std::future::Future;
use std::pin::pin;
use std::task::{self, Poll, Waker};

/// What came back.
pub(super) struct Answered {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: String,
}

/// Err: a name or a value that cannot be a header's.
pub(super) fn headers(pairs: &[(String, String)]) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| format!("`{name}` is no name of a header"))?;
        let value = HeaderValue::from_str(value).map_err(|_| format!("`{value}` is no value of a header"))?;
        headers.append(name, value);
    }
    Ok(headers)
}

/// Err: there is no such route, or the request is none.
pub(super) fn request(
    player: &mut Player,
    (method, target): (&str, &str),
    headers: &[(String, String)],
    body: &str,
    caller: &TestCaller,
) -> Result<Answered, String> {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let sent = self::headers(headers)?;
    let request = Request {
        method: Method::from_bytes(method.as_bytes()).map_err(|e| e.to_string())?,
        path: path.to_owned(),
        query: query.to_owned(),
        headers: sent,
        body: Body::whole(Bytes::copy_from_slice(body.as_bytes())),
        ip: IP,
        listener: "".into(),
        port: 0,
        now: player.world.parts.clock.now(),
    };
    let context = Context {
        site: player.compiled.front.site.clone(),
        generation: player.compiled.generation.clone(),
        state: player.state.clone(),
        gateway: player.world.parts.kernels.port.clone(),
        metrics: player.world.parts.kernels.port.shared().metrics.clone(),
        not_ready: [].into(),
        admin: None,
    };
    let app = player.compiled.app.name.clone();
    let answering = api::rehearse(&context, &app, &request, caller);
    let response = player.world.answer(answering).ok_or("it waits for something outside of the gateway")?;
    let response = response.ok_or_else(|| format!("`{app}` has no route {method} {path}"))?;
    read(response)
}

fn read(response: Response<Full<Bytes>>) -> Result<Answered, String> {
    let (parts, body) = response.into_parts();
    let Ok(body) = at_once(body.collect()).ok_or("its body is not there")?;
    let body = String::from_utf8_lossy(&body.to_bytes()).into_owned();
    Ok(Answered { status: parts.status.as_u16(), headers: parts.headers, body })
}

/// What is there without waiting; everything on a stage is.
fn at_once<T>(future: impl Future<Output = T>) -> Option<T> {
    match pin!(future).poll(&mut task::Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => Some(value),
        Poll::Pending => None,
    }
}
