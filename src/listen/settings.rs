//! `[listener.NAME]` and `[http]` of `gateway.toml`, `[[endpoint]]` of an app's file.

use crate::model::{Ms, Size};
use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::BTreeMap;

/// `[listener.NAME]`: an address where clients or operators connect.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ListenerSettings {
    /// `host:port`; port 0 takes a free one and logs it.
    pub address: String,
    /// Carries every app's HTTP API, `/healthz`, `/readyz` and `/metrics`. Never for the public.
    #[serde(default)]
    pub admin: bool,
    /// Whom a call of the HTTP API is for that names no app. Without it: the app that is here alone, else nobody.
    #[serde(default)]
    pub app: Option<String>,
    /// Serves TLS instead of plain TCP.
    #[serde(default)]
    pub tls: Option<TlsSettings>,
    /// Whether a PROXY header (v1 or v2) of a load balancer precedes each connection; believed only from `http.trusted_proxies`.
    #[serde(default)]
    pub proxy_protocol: ProxyProtocol,
    /// Connections that the kernel holds until they are accepted; it may cap this (`net.core.somaxconn`).
    #[serde(default = "backlog")]
    #[schemars(range(min = 1, max = 65535))]
    pub backlog: u32,
}

fn backlog() -> u32 {
    4096
}

/// `tls = { cert, key, client_ca }`: PEM files, relative to `gateway.toml`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TlsSettings {
    /// The certificate and the chain that leads to its root.
    pub cert: String,
    /// Its private key: PKCS #8, PKCS #1 or SEC1.
    pub key: String,
    /// Roots of client certificates; where it stands, a client without a certificate of theirs is refused.
    #[serde(default)]
    pub client_ca: Option<String>,
}

/// Whether a PROXY header precedes each connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ProxyProtocol {
    /// None is expected; one that comes is a bad request.
    #[default]
    Off,
    /// One may come.
    Accept,
    /// A connection without one is closed.
    Require,
}

/// `[http]`: what happens before the upgrade.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct HttpSettings {
    /// For the request line and the headers. Beyond: 408 and closed.
    pub header_timeout: Ms,
    /// Request line and headers together, 8 KiB at least. Beyond: 431.
    pub header_bytes: Size,
    /// A request's body. Beyond: 413.
    pub body_bytes: Size,
    /// For the body. Beyond: 408.
    pub body_timeout: Ms,
    /// An idle HTTP connection. Beyond: closed.
    pub keep_alive: Ms,
    /// HTTP connections and handshakes at once, upgraded ones not counted. Beyond: the one that has been waiting longest
    /// is closed; where all are at work, the newcomer is.
    #[schemars(range(min = 1))]
    pub connections: u32,
    /// The same of one address, of one /64 for IPv6.
    #[schemars(range(min = 1))]
    pub connections_per_ip: u32,
    /// Addresses or networks whose `Forwarded`, `X-Forwarded-For` and PROXY headers are believed.
    pub trusted_proxies: Vec<String>,
    /// Allowed `Origin` of an upgrade, and of calls that a cookie authenticates: `"*"`, `"https://app.example"`,
    /// `"https://*.example"`. An app may narrow it. In production, `"*"` and cookies do not go together.
    pub origins: Vec<String>,
    /// In development mode, names in `Host` beside loopback's and endpoints': `"gw.test"`, `"*.gw.test"`. Beyond: 403.
    pub hosts: Vec<String>,
}

impl Default for HttpSettings {
    fn default() -> HttpSettings {
        HttpSettings {
            header_timeout: Ms::secs(10),
            header_bytes: Size(16 << 10),
            body_bytes: Size(1 << 20),
            body_timeout: Ms::secs(10),
            keep_alive: Ms::secs(60),
            connections: 10_000,
            connections_per_ip: 2_500,
            trusted_proxies: Vec::new(),
            origins: vec!["*".to_owned()],
            hosts: Vec::new(),
        }
    }
}

/// `[[endpoint]]`: where clients of an app connect, and which dialect they speak there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EndpointSettings {
    /// The listener's name; else the app's `listener`.
    #[serde(default)]
    pub listener: Option<String>,
    /// Only for this `Host`: `"a.example"` or `"*.example"`.
    #[serde(default)]
    pub host: Option<String>,
    /// `/ws` (also matches `/ws/`), `/progress/{reportId}`, `/{*any}`.
    pub path: String,
    /// What else must hold. Among endpoints of one path, the one with the most conditions is asked first.
    #[serde(default)]
    pub when: WhenSettings,
    /// A `[dialect.NAME]` of the app, or `echo`.
    pub dialect: String,
    /// Names of the app's `[auth.NAME]`; the first that finds credentials decides. None: everybody is anonymous.
    #[serde(default)]
    pub auth: Vec<String>,
    /// Channels that each connection hears from the start: `reports:progress:{reportId}`, `user:{user.id}:reports`.
    /// A name that cannot be filled in, as that of an anonymous user's own channel, is left out.
    #[serde(default)]
    pub subscribe: Vec<String>,
    /// Allowed `Origin`s here, within those of `[http]` and instead of the app's.
    #[serde(default)]
    pub origins: Option<Vec<String>>,
    /// Sub-protocols spoken here; the client's first that is listed is picked.
    #[serde(default)]
    pub protocols: Vec<String>,
}

/// Conditions of an endpoint beyond listener, host and path.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct WhenSettings {
    /// Query parameters and their values; `"*"`: any value.
    pub query: BTreeMap<String, String>,
    /// Headers and their values, or one element of a comma-separated value; `"*"`: any value.
    pub header: BTreeMap<String, String>,
    /// Of the verified token.
    pub token: TokenSettings,
}

/// Conditions on the verified token. A token that is presented but does not verify is never taken for "no token".
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct TokenSettings {
    /// Claims that it must have, by dotted path.
    pub has: Vec<String>,
}

impl WhenSettings {
    /// How many conditions.
    pub fn count(&self) -> usize {
        self.query.len() + self.header.len() + self.token.has.len()
    }
}
