//! Why a request failed, as its sender reads it: problem details (RFC 9457) with a stable `code`.

use crate::model::{Code, Fault, Refusal};
use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue, RETRY_AFTER, UPGRADE, WWW_AUTHENTICATE};
use hyper::{Response, StatusCode};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::borrow::Cow;
use std::sync::Arc;

macro_rules! whys {
    ($($(#[$doc:meta])* $name:ident = $code:literal $status:literal $title:literal,)*) => {
        /// The stable codes.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub enum Why { $($(#[$doc])* $name,)* }

        impl Why {
            pub const ALL: [Why; [$($code),*].len()] = [$(Why::$name),*];
            pub fn as_str(self) -> &'static str {
                match self { $(Why::$name => $code,)* }
            }
            pub fn status(self) -> u16 {
                match self { $(Why::$name => $status,)* }
            }
            pub fn title(self) -> &'static str {
                match self { $(Why::$name => $title,)* }
            }
        }
    };
}

whys! {
    InvalidJson = "invalid_json" 400 "The body is not JSON",
    InvalidBody = "invalid_body" 400 "The request does not say what it must",
    Unauthorized = "unauthorized" 401 "Credentials are missing or wrong",
    Forbidden = "forbidden" 403 "Not allowed",
    NotFound = "not_found" 404 "Not found",
    /// No class matches the channel.
    UnknownChannel = "unknown_channel" 404 "No such channel",
    UnknownApp = "unknown_app" 404 "No such app",
    MethodNotAllowed = "method_not_allowed" 405 "Method not allowed",
    Limit = "limit" 409 "A limit is reached",
    TooLarge = "too_large" 413 "Too large",
    /// An idempotency key came again with another body.
    KeyReused = "idempotency_key_reused" 422 "The idempotency key belongs to another request",
    /// Files that a reload was to put in force have mistakes.
    InvalidConfig = "invalid_config" 422 "The files have mistakes",
    /// RFC 9110 §15.5.22.
    UpgradeRequired = "upgrade_required" 426 "Only WebSockets are here",
    /// The body did not come within `http.body_timeout`.
    BodyTimeout = "body_timeout" 408 "The body did not come in time",
    RateLimited = "rate_limited" 429 "Too many requests",
    Internal = "internal" 500 "Internal error",
    Overloaded = "overloaded" 503 "Overloaded, try again",
    /// Keys, rows or a store that decide cannot be had.
    Unavailable = "unavailable" 503 "Temporarily unavailable, try again",
    /// The gateway stops.
    Draining = "draining" 503 "Stopping, try elsewhere",
}

impl Why {
    pub fn parse(code: &str) -> Option<Why> {
        Why::ALL.into_iter().find(|w| w.as_str() == code)
    }

    /// The code whose reply stands in where a route has none for this one.
    pub fn wider(self) -> Option<Why> {
        match self {
            Why::UnknownChannel | Why::UnknownApp => Some(Why::NotFound),
            Why::TooLarge => Some(Why::InvalidBody),
            Why::Overloaded | Why::Unavailable | Why::Draining => Some(Why::Internal),
            Why::InvalidJson
            | Why::InvalidBody
            | Why::Unauthorized
            | Why::Forbidden
            | Why::NotFound
            | Why::MethodNotAllowed
            | Why::Limit
            | Why::KeyReused
            | Why::InvalidConfig
            | Why::UpgradeRequired
            | Why::BodyTimeout
            | Why::RateLimited
            | Why::Internal => None,
        }
    }
}

/// Problem details (RFC 9457), as the sender of a failed request reads them.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct ProblemDetails {
    /// What is wrong with requests of this kind.
    pub title: Cow<'static, str>,
    /// The reply's status.
    pub status: u16,
    /// Stable: what programs go by. Not there where HTTP itself is at fault, and no part of the API was reached.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// What is wrong with this request.
    pub detail: String,
    /// What a handler gave along.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub details: Option<Value>,
    /// Whose answer it is, where the request named no app.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub app: Option<String>,
    /// Line in the body, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<u32>,
    /// Column in that line, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub column: Option<u32>,
    /// Of `invalid_config`: all mistakes in the files.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub faults: Option<Vec<Fault>>,
}

impl ProblemDetails {
    /// Its media type.
    pub const KIND: &'static str = "application/problem+json";
}

/// A failed request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fail {
    pub why: Why,
    /// A handler's own code, which stands in the place of `why`'s.
    pub code: Option<Arc<str>>,
    /// JSON text that a handler gave along.
    pub details: Option<Arc<str>>,
    /// What is wrong with this request.
    pub detail: Box<str>,
    /// Line and column in the body, 1-based.
    pub position: Option<(u32, u32)>,
    /// For 405: the methods that are allowed.
    pub allow: Option<Box<str>>,
    pub retry_after_s: Option<u64>,
    /// Whose answer it is, where the request named no app.
    pub app: Option<Box<str>>,
    /// Of `invalid_config`.
    pub faults: Option<Arc<Vec<Fault>>>,
}

impl Fail {
    pub fn new(why: Why, detail: impl Into<String>) -> Fail {
        Fail {
            why,
            code: None,
            details: None,
            detail: detail.into().into(),
            position: None,
            allow: None,
            retry_after_s: None,
            app: None,
            faults: None,
        }
    }

    /// Neither yes nor no: whoever asks comes back.
    pub fn unavailable(detail: impl Into<String>) -> Fail {
        Fail { retry_after_s: Some(5), ..Fail::new(Why::Unavailable, detail) }
    }

    pub fn body(detail: impl Into<String>) -> Fail {
        Fail::new(Why::InvalidBody, detail)
    }

    pub fn json(error: &serde_json::Error) -> Fail {
        let text = error.to_string();
        // serde_json's message ends with the place, which is told apart from it here.
        let what = text.rsplit_once(" at line ").map_or(text.as_str(), |(what, _)| what);
        let position = (error.line() > 0).then_some((error.line() as u32, error.column() as u32));
        Fail { position, ..Fail::new(Why::InvalidJson, what) }
    }

    pub fn not_found() -> Fail {
        Fail::new(Why::NotFound, "Nothing is at this path")
    }

    pub fn method(allow: &[&str]) -> Fail {
        let allow = allow.join(", ");
        Fail {
            allow: Some(allow.as_str().into()),
            ..Fail::new(Why::MethodNotAllowed, format!("This path takes {allow}"))
        }
    }

    /// As its sender reads it.
    pub fn problem(&self) -> ProblemDetails {
        ProblemDetails {
            title: self.why.title().into(),
            status: self.why.status(),
            code: Some(self.code.as_deref().unwrap_or(self.why.as_str()).to_owned()),
            detail: self.detail.to_string(),
            details: self.details.as_deref().and_then(|text| serde_json::from_str(text).ok()),
            app: self.app.as_deref().map(Into::into),
            line: self.position.map(|(line, _)| line),
            column: self.position.map(|(_, column)| column),
            faults: self.faults.as_deref().cloned(),
        }
    }

    pub fn response(&self) -> Response<Full<Bytes>> {
        let mut response = reply(self.why.status(), ProblemDetails::KIND, json(&self.problem()).into());
        self.headers(&mut response);
        response
    }

    /// Those that belong to the status, whatever the body.
    pub fn headers(&self, response: &mut Response<Full<Bytes>>) {
        if response.status() == StatusCode::UNAUTHORIZED {
            headers_insert(response, WWW_AUTHENTICATE, "Bearer"); // RFC 9110 §11.6.1
        }
        if self.why == Why::UpgradeRequired {
            headers_insert(response, UPGRADE, "websocket");
        }
        let headers = response.headers_mut();
        if let Some(Ok(allow)) = self.allow.as_deref().map(HeaderValue::from_str) {
            headers.insert(ALLOW, allow);
        }
        if let Some(seconds) = self.retry_after_s {
            headers.insert(RETRY_AFTER, seconds.into());
        }
    }
}

fn headers_insert(response: &mut Response<Full<Bytes>>, name: hyper::header::HeaderName, value: &'static str) {
    response.headers_mut().insert(name, HeaderValue::from_static(value));
}

impl From<Refusal> for Fail {
    fn from(refusal: Refusal) -> Fail {
        let why = match refusal.code {
            Code::InvalidMessage | Code::UnknownType => Why::InvalidBody,
            Code::UnknownChannel => Why::UnknownChannel,
            Code::Denied => Why::Forbidden,
            Code::Unauthenticated => Why::Unauthorized,
            Code::Limit => Why::Limit,
            Code::RateLimited => Why::RateLimited,
            Code::TooLarge => Why::TooLarge,
            Code::NotFound => Why::NotFound,
            Code::Overloaded => Why::Overloaded,
            Code::Unavailable => Why::Unavailable,
            Code::Internal => Why::Internal,
        };
        let detail = refusal.message.unwrap_or(refusal.code.text().into());
        let busy = matches!(why, Why::Overloaded | Why::Unavailable);
        let retry_after_s = busy.then_some(1);
        Fail { code: refusal.name, details: refusal.details, retry_after_s, ..Fail::new(why, detail) }
    }
}

/// A reply that no cache keeps.
pub(super) fn reply(status: u16, kind: &'static str, body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    headers_insert(&mut response, CONTENT_TYPE, kind);
    headers_insert(&mut response, CACHE_CONTROL, "no-store");
    response
}

pub(super) fn reply_json(status: u16, body: &impl Serialize) -> Response<Full<Bytes>> {
    reply(status, "application/json", json(body).into())
}

/// JSON text of an answer. The API's own types have neither keys that are no text nor numbers that JSON has not.
pub(super) fn json(answer: &impl Serialize) -> String {
    serde_json::to_string(answer).unwrap_or_default()
}
