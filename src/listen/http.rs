//! HTTP that is no upgrade: calls from other origins; then the API, which asks for the body once it knows its sender.

use super::body::Reading;
use super::context::ApiRequest;
use super::respond::{problem, with};
use super::serve::Exchange;
use super::text::list;
use crate::api;
use crate::model::Origins;
use bytes::Bytes;
use http_body_util::Full;
use hyper::body::{Body, Incoming};
use hyper::header::{
    ACCEPT_ENCODING, ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS, ACCESS_CONTROL_REQUEST_METHOD,
    CONNECTION, CONTENT_ENCODING, HeaderMap, ORIGIN, VARY,
};
use hyper::{Method, Request, Response, StatusCode};
use std::cell::Cell;
use std::net::IpAddr;
use std::rc::Rc;

/// How long a browser may remember a preflight, in seconds.
const PREFLIGHT_AGE: &str = "600";

/// Answers the request.
pub async fn answer(request: Request<Incoming>, x: &Exchange, ip: IpAddr) -> Response<Full<Bytes>> {
    let origin = allowed_origin(request.headers(), x);
    let head = request.headers();
    if request.method() == Method::OPTIONS && origin.is_some() && head.contains_key(ACCESS_CONTROL_REQUEST_METHOD) {
        return share(preflight(head), origin.as_deref());
    }
    if request.method() == Method::CONNECT {
        return problem(StatusCode::METHOD_NOT_ALLOWED, "this is no proxy");
    }
    if !request.body().is_end_stream() && is_encoded(request.headers()) {
        let refused = problem(StatusCode::UNSUPPORTED_MEDIA_TYPE, "a body comes as it is, without `Content-Encoding`");
        let refused = with(with(refused, ACCEPT_ENCODING, "identity"), CONNECTION, "close");
        return share(refused, origin.as_deref());
    }
    let (head, body) = request.into_parts();
    // Its end was seen, or it has none: only then may another request follow on this connection.
    let read_out = Rc::new(Cell::new(body.is_end_stream()));
    let body = match read_out.get() {
        true => api::Body::default(),
        false => {
            let reading = Reading { front: x.front.clone(), context: x.context.clone(), place: x.place.clone(), ip };
            let read_out = read_out.clone();
            api::Body::unread(Box::new(move |by| {
                Box::pin(async move {
                    let bytes = reading.read(body, by).await?;
                    read_out.set(true);
                    Ok(bytes)
                })
            }))
        }
    };
    let request = ApiRequest {
        method: head.method,
        path: head.uri.path().into(),
        query: head.uri.query().unwrap_or("").into(),
        headers: head.headers,
        body,
        ip,
        listener: x.listener,
        admin: x.front.entrance.listener(x.listener).is_some_and(|l| l.admin),
    };
    let response = x.context.api.handle(request, x.front.clone()).await;
    let response = if read_out.get() { response } else { with(response, CONNECTION, "close") };
    share(response, origin.as_deref())
}

/// Whether a body is compressed: RFC 9110 §15.5.16 has it refused, with what is taken instead.
fn is_encoded(headers: &HeaderMap) -> bool {
    list(headers, CONTENT_ENCODING.as_str()).any(|coding| !coding.eq_ignore_ascii_case("identity"))
}

/// What `Access-Control-Allow-Origin` is to say: where an app of the listener names origins, to those pages, within the
/// origins of `[http]`. Named ones may use their visitors' cookies; `*` may not, and browsers hold to that.
fn allowed_origin(headers: &HeaderMap, x: &Exchange) -> Option<String> {
    let origin = headers.get(ORIGIN)?.to_str().ok()?;
    let lists = x.front.entrance.cors.get(usize::from(x.listener))?;
    if !x.front.entrance.origins.allows(origin) {
        return None;
    }
    match lists.iter().any(|list| list.lists(origin)) {
        true => Some(origin.to_owned()),
        false => lists.iter().any(Origins::any).then(|| "*".to_owned()),
    }
}

fn preflight(headers: &HeaderMap) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = StatusCode::NO_CONTENT;
    let asked = headers.get(ACCESS_CONTROL_REQUEST_HEADERS).and_then(|v| v.to_str().ok());
    let response = with(response, ACCESS_CONTROL_ALLOW_METHODS, "GET, POST, PUT, PATCH, DELETE");
    let response = with(response, ACCESS_CONTROL_MAX_AGE, PREFLIGHT_AGE);
    match asked {
        Some(asked) => with(response, ACCESS_CONTROL_ALLOW_HEADERS, asked),
        None => response,
    }
}

fn share(response: Response<Full<Bytes>>, origin: Option<&str>) -> Response<Full<Bytes>> {
    match origin {
        None => response,
        Some("*") => with(response, ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
        Some(origin) => {
            let response = with(with(response, ACCESS_CONTROL_ALLOW_ORIGIN, origin), VARY, "origin");
            with(response, ACCESS_CONTROL_ALLOW_CREDENTIALS, "true")
        }
    }
}
