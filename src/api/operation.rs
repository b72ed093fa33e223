//! All that Weir itself answers over HTTP. The router finds a request here, and `weir schema openapi` describes what is
//! here: there is no operation that only one of them knows.

use super::fail::Why;
use super::field::{self, Field, Required};
use super::verb::Verb;
use hyper::Method;
use std::borrow::Cow;

/// One path with its method.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Operation {
    /// `/api/VERB`
    Verb(Verb),
    /// `GET /api/connections/ID`
    Connection,
    /// `POST /api/batch`
    Batch,
    /// `GET /admin/config`
    Config,
    Reload,
    Plan,
    Explain,
    Alive,
    Ready,
    Metrics,
}

/// Which listeners have it, and who may.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Audience {
    /// Every listener; an API key.
    BackEnds,
    /// Admin listeners; a key that covers `admin`.
    Operators,
    /// Admin listeners; everybody.
    Probes,
}

impl Operation {
    /// Those that are no verb.
    pub const OTHERS: [Operation; 9] = [
        Operation::Connection,
        Operation::Batch,
        Operation::Config,
        Operation::Reload,
        Operation::Plan,
        Operation::Explain,
        Operation::Alive,
        Operation::Ready,
        Operation::Metrics,
    ];

    pub fn all() -> impl Iterator<Item = Operation> {
        Verb::ALL.into_iter().map(Operation::Verb).chain(Operation::OTHERS)
    }

    /// What is at this path, and the connection's id where the path has one, not decoded.
    pub fn at(path: &str) -> Option<(Operation, Option<&str>)> {
        let Some(word) = path.strip_prefix("/api/") else {
            return Operation::OTHERS.into_iter().find(|o| o.path() == path).map(|o| (o, None));
        };
        match word.split_once('/') {
            Some(("connections", id)) if !id.is_empty() && !id.contains('/') => Some((Operation::Connection, Some(id))),
            Some(_) => None,
            None if word == "batch" => Some((Operation::Batch, None)),
            None => Verb::parse(word).map(|verb| (Operation::Verb(verb), None)),
        }
    }

    /// With `{connection}` for the part that differs.
    pub fn path(self) -> Cow<'static, str> {
        Cow::Borrowed(match self {
            Operation::Verb(verb) => return format!("/api/{}", verb.as_str()).into(),
            Operation::Connection => "/api/connections/{connection}",
            Operation::Batch => "/api/batch",
            Operation::Config => "/admin/config",
            Operation::Reload => "/admin/reload",
            Operation::Plan => "/admin/plan",
            Operation::Explain => "/admin/explain",
            Operation::Alive => "/healthz",
            Operation::Ready => "/readyz",
            Operation::Metrics => "/metrics",
        })
    }

    /// GET: it only looks.
    pub fn method(self) -> Method {
        match self {
            Operation::Verb(verb) if !verb.reads() => Method::POST,
            Operation::Batch | Operation::Reload | Operation::Plan | Operation::Explain => Method::POST,
            Operation::Verb(_) | Operation::Connection | Operation::Config => Method::GET,
            Operation::Alive | Operation::Ready | Operation::Metrics => Method::GET,
        }
    }

    /// The metrics' word, and the document's name of it.
    pub fn as_str(self) -> &'static str {
        match self {
            Operation::Verb(verb) => verb.as_str(),
            Operation::Connection => "connection",
            Operation::Batch => "batch",
            Operation::Config => "admin_config",
            Operation::Reload => "admin_reload",
            Operation::Plan => "admin_plan",
            Operation::Explain => "admin_explain",
            Operation::Alive => "healthz",
            Operation::Ready => "readyz",
            Operation::Metrics => "metrics",
        }
    }

    pub fn audience(self) -> Audience {
        match self {
            Operation::Verb(_) | Operation::Connection | Operation::Batch => Audience::BackEnds,
            Operation::Config | Operation::Reload | Operation::Plan | Operation::Explain => Audience::Operators,
            Operation::Alive | Operation::Ready | Operation::Metrics => Audience::Probes,
        }
    }

    /// What its body or its query takes; `None`: no body is read.
    pub fn fields(self) -> Vec<Field> {
        use field::*;
        match self {
            Operation::Verb(Verb::Connections) => vec![USER, ON_CHANNEL, LIMIT_OF_LIST, APP],
            Operation::Verb(verb) => {
                let own = verb.fields().iter().map(|f| Field { ..*f });
                let once = (!verb.reads()).then_some(IDEMPOTENCY_KEY);
                own.chain(once).chain([APP]).collect()
            }
            Operation::Connection => vec![APP],
            Operation::Batch => vec![COMMANDS, APP],
            Operation::Plan => vec![CANDIDATE],
            Operation::Explain => vec![CONNECTION, DOES, ON],
            Operation::Config | Operation::Reload => Vec::new(),
            Operation::Alive | Operation::Ready | Operation::Metrics => Vec::new(),
        }
    }

    pub fn needs(self) -> &'static [Required] {
        match self {
            Operation::Verb(verb) => verb.needs(),
            Operation::Batch => &[Required::Any(&["commands"])],
            Operation::Plan => &[Required::Any(&["candidate"])],
            Operation::Explain => const { &[Required::Any(&["connection"]), Required::Any(&["on"])] },
            Operation::Connection | Operation::Config | Operation::Reload => &[],
            Operation::Alive | Operation::Ready | Operation::Metrics => &[],
        }
    }

    /// Why it may fail. An answer with another code is a mistake of this table: builds for tests end there.
    pub fn fails(self) -> Vec<Why> {
        use Why::*;
        let body: &[Why] = match self.method() == Method::POST && self != Operation::Reload {
            true => &[InvalidJson, InvalidBody, BodyTimeout, TooLarge],
            false => &[],
        };
        let own: &[Why] = match self {
            // What a class's handler refuses has any code of its rules.
            Operation::Verb(Verb::Publish | Verb::Subscribe) => {
                &[NotFound, UnknownChannel, UnknownApp, Limit, KeyReused, Internal, Overloaded, Unavailable]
            }
            Operation::Verb(Verb::Unsubscribe) => &[UnknownChannel, UnknownApp, KeyReused, Internal, Overloaded],
            Operation::Verb(Verb::Broadcast | Verb::Send | Verb::Disconnect | Verb::Cleanup) => {
                &[UnknownApp, KeyReused, Internal, Overloaded]
            }
            Operation::Verb(Verb::Presence | Verb::History) => {
                &[InvalidBody, NotFound, UnknownChannel, UnknownApp, Internal, Overloaded]
            }
            Operation::Verb(Verb::Channels) => &[InvalidBody, UnknownApp, Internal, Overloaded],
            Operation::Verb(Verb::Connections) => &[InvalidBody, UnknownChannel, UnknownApp, Internal, Overloaded],
            Operation::Connection => &[InvalidBody, NotFound, UnknownApp, Internal, Overloaded],
            Operation::Batch => &[Overloaded],
            Operation::Config => &[],
            Operation::Reload => &[InvalidConfig, Internal, Draining],
            Operation::Plan => &[Internal, Overloaded],
            Operation::Explain => &[NotFound, UnknownChannel, Internal, Overloaded],
            Operation::Alive | Operation::Ready | Operation::Metrics => return Vec::new(),
        };
        let mut all = [body, &[Unauthorized, Forbidden, RateLimited], own].concat();
        all.sort_by_key(|why| (why.status(), *why as u8));
        all.dedup();
        all
    }
}
