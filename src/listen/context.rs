//! What this room is handed.

use super::attempts::Attempts;
use super::entrance::Entrance;
use super::http_places::HttpPlaces;
use crate::api::{Body, Site};
use crate::flow::Generation;
use crate::kernel::Counts;
use crate::model::Now;
use crate::observe::Metrics;
use arc_swap::ArcSwap;
use bytes::Bytes;
use http_body_util::Full;
use hyper::{HeaderMap, Method, Response};
use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use tokio::sync::watch;

/// The generation in force, as this room sees it. A request keeps the one it started with.
pub struct Front {
    pub generation: Arc<Generation>,
    pub entrance: Arc<Entrance>,
    /// What HTTP requests that are no upgrades find.
    pub site: Arc<Site>,
}

/// What `serve` needs; one for all shards.
pub struct Context {
    pub front: Arc<ArcSwap<Front>>,
    pub api: Arc<dyn Api + Send + Sync>,
    pub counts: Arc<Counts>,
    /// Of HTTP.
    pub places: Arc<HttpPlaces>,
    /// Of HTTP on admin listeners.
    pub operators: Arc<HttpPlaces>,
    pub attempts: Arc<Attempts>,
    pub metrics: Arc<Metrics>,
    /// `true`: HTTP connections end after the request at hand.
    pub draining: watch::Receiver<bool>,
    pub clock: fn() -> Now,
}

/// An HTTP request that is no upgrade.
#[derive(Debug)]
pub struct ApiRequest {
    /// Of a `HEAD`'s answer hyper leaves the body out.
    pub method: Method,
    /// As sent, still encoded.
    pub path: Box<str>,
    /// Without the `?`.
    pub query: Box<str>,
    pub headers: HeaderMap,
    pub body: Body,
    pub ip: IpAddr,
    pub listener: u16,
    pub admin: bool,
}

/// An answer on its way.
pub type Answering = Pin<Box<dyn Future<Output = Response<Full<Bytes>>>>>;

/// The HTTP API. Called on a shard's thread; its future stays there.
pub trait Api {
    fn handle(&self, request: ApiRequest, front: Arc<Front>) -> Answering;
}
