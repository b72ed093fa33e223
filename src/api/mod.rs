//! HTTP: the verbs of the API for back ends, and the routes that apps' files describe.
//!
//! A request becomes a `Call`; an API key or a route's access says whether it may be; policy makes the permit; the
//! gateway carries it out and the answer becomes JSON. Leaves to others: sockets, TLS, sizes and timeouts of requests
//! (`listen`), what happens on shards (`shard`), reload and its answers (`gateway`).
//!
//! In: `Request`, a `Site` compiled from the files. Out: `http::Response`; errors as RFC 9457 problem details.

mod access;
pub mod admin;
mod answers;
mod app;
mod args;
mod call;
mod done;
mod fail;
mod failures;
mod field;
mod filter;
mod gateway;
mod handle;
mod handler;
mod json;
mod keys;
mod noted;
mod once;
mod openapi;
mod operation;
mod origin;
mod place;
mod rate;
mod request;
mod route;
mod run;
mod serve;
mod settings;
mod site;
#[cfg(test)]
mod tests;
mod verb;

pub use access::TestCaller;
pub use admin::{Admin, Doing, NotDone, Wanted};
pub use app::{AppHttp, AppParts, Surroundings};
pub use fail::{Fail, ProblemDetails, Why};
pub use gateway::Gateway;
pub use handle::{Context, handle, rehearse};
pub use keys::Keys;
pub use openapi::openapi;
pub use origin::Pages;
pub use request::{Body, Known, Request};
pub use settings::{AccessSettings, ApiKeySettings, ErrorReply, Kind, RouteSettings};
pub use site::{Site, is_own};
pub use verb::{Reach, Verb};

/// What outlives a reload: idempotency keys and the buckets of routes. One a process.
#[derive(Default)]
pub struct State {
    once: std::sync::Arc<once::Once>,
    rates: rate::Rates,
}
