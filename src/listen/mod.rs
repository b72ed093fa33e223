//! Everything before the first WebSocket frame: accept, PROXY header, TLS, HTTP, routing, authentication, the 101.
//!
//! Leaves to others: what a connection says (`shard`), what HTTP calls do (`api`), who somebody is (`auth`), compressed
//! messages (`wire`). Runs on the shards' threads but for [`accept`], which has the background runtime's.
//! In: sockets. Out: a `NewConnection` through the shard's `Door`, or HTTP responses.

mod accept;
mod admission;
mod answers;
mod attempts;
mod body;
mod certificate;
mod context;
mod entrance;
mod forwarded;
mod hosts;
mod http;
mod http_places;
mod link;
mod pattern;
mod proxy;
mod respond;
mod router;
mod serve;
mod settings;
#[cfg(test)]
mod tests;
mod text;
mod tls;
mod upgrade;
mod who;

pub use accept::{accept, bind, listen_again};
pub use admission::{Admission, Admitted, Denied, Upgrade};
pub use attempts::Attempts;
pub use certificate::{Certificate, EXPIRES_SOON_MS};
pub use context::{Answering, Api, ApiRequest, Context, Front};
pub use entrance::{Entrance, Listener, Numbers, number};
pub use forwarded::Trusted;
pub use pattern::Pattern as PathPattern;
pub use router::{AppEndpoints, Asked, Candidate, Router};
pub use serve::serve;
pub use settings::{
    EndpointSettings, HttpSettings, ListenerSettings, ProxyProtocol, TlsSettings, TokenSettings, WhenSettings,
};
