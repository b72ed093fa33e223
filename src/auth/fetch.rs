//! HTTP requests of this room: key sets and rows. Bounded in time and bytes, redirects not followed. `webhook` makes its
//! client here too.
//! A shard's runtime is never used: what is spawned here runs on the background runtime, and a shard awaits its end.

use super::trust::{Roots, Trust};
use bytes::Bytes;
use http_body_util::{BodyExt, Empty, LengthLimitError, Limited};
use hyper::body::Body;
use hyper::header::HeaderMap;
use hyper::{Request, StatusCode, Uri};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use std::future::Future;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::watch;

/// Idle connections kept for one host.
const IDLE_PER_HOST: usize = 8;
const IDLE_MS: u64 = 30_000;

/// The client for keys and rows; a clone shares its connections.
#[derive(Clone)]
pub struct Fetcher {
    background: Handle,
    trust: Trust,
    client: HttpClient<Empty<Bytes>>,
}

/// A pooled HTTP/1.1 client for requests with bodies of type `B`.
pub type HttpClient<B> = Client<HttpsConnector<HttpConnector>, B>;

/// Its requests must be polled on a tokio runtime. Follows no redirects.
pub fn http_client<B>(trust: &Trust) -> HttpClient<B>
where
    B: Body + Send,
    B::Data: Send,
{
    let connector = HttpsConnectorBuilder::new().with_tls_config(trust.config()).https_or_http().enable_http1().build();
    Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(Duration::from_millis(IDLE_MS))
        .pool_max_idle_per_host(IDLE_PER_HOST)
        .build(connector)
}

/// One address to ask, and what may come back.
#[derive(Clone)]
pub(super) struct Ask {
    pub uri: Uri,
    pub headers: HeaderMap,
    pub timeout: Duration,
    pub bytes_max: usize,
}

/// Why nothing came back. For logs: without the address, which may hold a key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum FetchError {
    Timeout,
    /// No connection, or it broke.
    Connection(String),
    Status(u16),
    TooLarge,
    /// Not the JSON that was expected.
    Content(String),
}

impl std::fmt::Display for FetchError {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        match self {
            FetchError::Timeout => f.write_str("no answer in time"),
            FetchError::Connection(why) => write!(f, "no connection: {why}"),
            FetchError::Status(status) => write!(f, "answered with status {status}"),
            FetchError::TooLarge => f.write_str("answer too large"),
            FetchError::Content(what) => write!(f, "unexpected answer: {what}"),
        }
    }
}

impl Fetcher {
    /// `background`: the runtime that requests run on. https believes Mozilla's roots until `trust` has others.
    pub fn new(background: Handle) -> Fetcher {
        let trust = Trust::new(&Roots::default());
        Fetcher { background, client: http_client(&trust), trust }
    }

    /// Whom its requests believe, and those of clients made with it.
    pub fn trust(&self) -> &Trust {
        &self.trust
    }

    /// Runs `work` on the background runtime. What is returned tells its value when it ends,
    /// and closes without one where the runtime is gone.
    pub(super) fn spawn<T: Clone + Send + Sync + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> watch::Receiver<Option<T>> {
        let (done, seen) = watch::channel(None);
        self.background.spawn(async move {
            let value = work.await;
            done.send_replace(Some(value));
        });
        seen
    }

    /// One GET; must be polled on the background runtime.
    pub(super) async fn get(&self, ask: Ask) -> Result<(StatusCode, Bytes), FetchError> {
        let mut request = Request::new(Empty::new());
        *request.uri_mut() = ask.uri;
        *request.headers_mut() = ask.headers;
        let answer = async {
            let response = self.client.request(request).await.map_err(|e| FetchError::Connection(root_cause(&e)))?;
            let status = response.status();
            let body = Limited::new(response.into_body(), ask.bytes_max).collect().await;
            let body = body.map_err(|e| match e.is::<LengthLimitError>() {
                true => FetchError::TooLarge,
                false => FetchError::Connection(e.to_string()),
            })?;
            Ok((status, body.to_bytes()))
        };
        tokio::time::timeout(ask.timeout, answer).await.unwrap_or(Err(FetchError::Timeout))
    }
}

/// The innermost cause: `Connection refused (os error 111)`.
pub fn root_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

/// The value of work that was spawned; `None`: the runtime is gone.
pub(super) async fn finished<T: Clone>(mut flight: watch::Receiver<Option<T>>) -> Option<T> {
    flight.wait_for(Option::is_some).await.ok()?.clone()
}

/// An http or https address with a host and without credentials in it, or what is wrong with it.
pub fn address(text: &str) -> Result<Uri, &'static str> {
    let uri: Uri = text.parse().map_err(|_| "not an address")?;
    if !matches!(uri.scheme_str(), Some("http" | "https")) {
        return Err("not an http or https address");
    }
    match uri.authority() {
        Some(a) if a.as_str().contains('@') => Err("an address with credentials in it; they belong into `headers`"),
        Some(a) if !a.host().is_empty() => Ok(uri),
        _ => Err("an address without a host"),
    }
}
