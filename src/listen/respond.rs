//! Responses of this room, for those who debug a client: RFC 9457 problem details.

use crate::api::ProblemDetails;
use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use hyper::{Response, StatusCode};

/// A response whose body says what went wrong.
pub fn problem(status: StatusCode, detail: &str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(problem_text(status, detail))));
    *response.status_mut() = status;
    with(response, CONTENT_TYPE, ProblemDetails::KIND)
}

/// Its body.
pub fn problem_text(status: StatusCode, detail: &str) -> String {
    let title = status.canonical_reason().unwrap_or("Error").into();
    let problem = ProblemDetails { title, status: status.as_u16(), detail: detail.into(), ..ProblemDetails::default() };
    serde_json::to_string(&problem).unwrap_or_default()
}

/// The response with one more header; a value that is no header value is left out.
pub fn with(mut response: Response<Full<Bytes>>, name: HeaderName, value: &str) -> Response<Full<Bytes>> {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
    response
}
