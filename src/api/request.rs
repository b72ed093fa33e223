//! A request as `listen` hands it over.

use super::fail::Fail;
use crate::model::Now;
use crate::model::query_pairs;
use crate::policy::RequestView;
use bytes::Bytes;
use hyper::header::AUTHORIZATION;
use hyper::{HeaderMap, Method};
use std::borrow::Cow;
use std::cell::{Cell, OnceCell};
use std::fmt;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;

/// One HTTP request.
#[derive(Debug)]
pub struct Request {
    pub method: Method,
    /// As sent, without the query; escapes not decoded.
    pub path: String,
    /// As sent, without its `?`.
    pub query: String,
    pub headers: HeaderMap,
    pub body: Body,
    /// The client, behind trusted proxies.
    pub ip: IpAddr,
    /// The listener's name in gateway.toml.
    pub listener: Arc<str>,
    /// The port that the listener is bound to.
    pub port: u16,
    pub now: Now,
}

/// A request's body: read where it is needed, and not before it is known who asks.
#[derive(Default)]
pub struct Body {
    whole: OnceCell<Bytes>,
    unread: Cell<Option<Unread>>,
}

/// Reads a body in whole. `known`: its sender has shown a key, a secret or a token.
pub type Unread = Box<dyn FnOnce(Known) -> Pin<Box<dyn Future<Output = Result<Bytes, Fail>>>>>;

/// Whether a request's sender has shown who it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Known {
    Yes,
    No,
}

impl Body {
    pub fn whole(bytes: Bytes) -> Body {
        Body { whole: bytes.into(), unread: Cell::default() }
    }

    pub fn unread(read: Unread) -> Body {
        Body { whole: OnceCell::new(), unread: Cell::new(Some(read)) }
    }

    /// All of it, from the socket where it is still there.
    pub async fn read(&self, by: Known) -> Result<&Bytes, Fail> {
        if let Some(unread) = self.unread.take() {
            let bytes = unread(by).await?;
            let _ = self.whole.set(bytes);
        }
        Ok(self.whole.get_or_init(Bytes::new))
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "Body({:?})", self.whole.get().map(Bytes::len))
    }
}

impl Request {
    /// The token of `Authorization: Bearer` (RFC 6750 §2.1). Of two such headers neither counts: somebody before Weir may
    /// have looked at the other one.
    pub fn bearer(&self) -> Option<&str> {
        let mut headers = self.headers.get_all(AUTHORIZATION).iter();
        let (Some(header), None) = (headers.next(), headers.next()) else { return None };
        let (scheme, token) = header.to_str().ok()?.split_once(' ')?;
        (scheme.eq_ignore_ascii_case("bearer")).then_some(token.trim()).filter(|t| !t.is_empty())
    }

    /// The first parameter of that name.
    pub fn parameter(&self, name: &str) -> Option<Cow<'_, str>> {
        query_pairs(&self.query).find(|(n, _)| n == name).map(|(_, value)| value)
    }

    /// HEAD is GET without a body, which hyper leaves out.
    pub(super) fn method(&self) -> &Method {
        if self.method == Method::HEAD { &Method::GET } else { &self.method }
    }
}

/// A request and the variables of its route's path, for rules and templates.
pub(super) struct Viewed<'a> {
    pub request: &'a Request,
    pub vars: &'a [(String, String)],
}

impl RequestView for Viewed<'_> {
    fn path(&self) -> &str {
        &self.request.path
    }
    fn query(&self, name: &str) -> Option<Cow<'_, str>> {
        self.request.parameter(name)
    }
    fn header(&self, name: &str) -> Option<Cow<'_, str>> {
        self.request.headers.get(name)?.to_str().ok().map(Cow::Borrowed)
    }
    fn ip(&self) -> IpAddr {
        self.request.ip
    }
    fn var(&self, name: &str) -> Option<&str> {
        self.vars.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }
}
