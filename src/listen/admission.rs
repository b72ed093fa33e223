//! Who is let in: all that is decided between a handshake that is well-formed and its 101.
//!
//! No socket and no clock: the time is handed in, and only keys and rows that are not here are waited for. So plugins'
//! tests walk the same way as clients.

use super::attempts::Attempts;
use super::context::Front;
use super::hosts;
use super::respond::problem_text;
use super::router::{Asked, Candidate};
use super::who::{Decision, Verdict, decide};
use crate::auth::{Authenticator, Credentials};
use crate::flow::{App, KeptRequest};
use crate::kernel::{Counts, Full as Met, Newcomer, Seat};
use crate::model::{AppId, LimitKind, Now, Refusal, is_loopback_origin, query_pairs};
use crate::observe::{AuthOutcome, LimitName, Metrics, RefusedFor};
use hyper::header::{
    AUTHORIZATION, COOKIE, HeaderMap, HeaderName, HeaderValue, ORIGIN, PROXY_AUTHORIZATION, RETRY_AFTER, USER_AGENT,
    WWW_AUTHENTICATE,
};
use hyper::{StatusCode, Uri};
use smallvec::SmallVec;
use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;

/// Bytes of a `User-Agent` that are kept for listings, and of a path for the log.
const SHORTENED_BYTES: usize = 256;
/// `Retry-After` where keys or rows cannot be had, in seconds: about as often as their sources are asked again.
const UNAVAILABLE_RETRY_S: u64 = 5;

/// What decides, at one moment.
pub struct Admission<'a> {
    pub front: &'a Front,
    pub counts: &'a Arc<Counts>,
    pub attempts: &'a Attempts,
    pub metrics: &'a Metrics,
    pub now: Now,
}

/// A request to become a WebSocket, as far as it is judged.
#[derive(Clone, Copy)]
pub struct Upgrade<'a> {
    /// The listener's number.
    pub listener: u16,
    /// The client's, behind trusted proxies too.
    pub ip: IpAddr,
    pub uri: &'a Uri,
    pub headers: &'a HeaderMap,
}

/// Let in, perhaps to be closed at once.
pub struct Admitted<'a> {
    /// Without what only the 101 decides.
    pub newcomer: Newcomer,
    pub app: &'a Arc<App>,
    pub auth: &'a [Arc<Authenticator>],
    /// Sub-protocols of its endpoint.
    pub protocols: &'a [String],
}

/// Not let in: what the client reads, and what the log does.
#[derive(Debug)]
pub struct Denied {
    pub status: StatusCode,
    pub detail: &'static str,
    /// For the log.
    pub why: Cow<'static, str>,
    pub reason: RefusedFor,
    pub app: Option<AppId>,
    /// When it may come again, in seconds.
    pub retry_s: Option<u64>,
}

impl Denied {
    pub fn new(reason: RefusedFor, status: StatusCode, detail: &'static str) -> Denied {
        Denied { status, detail, why: Cow::Borrowed(detail), reason, app: None, retry_s: None }
    }

    /// The answer's body.
    pub fn body(&self) -> String {
        problem_text(self.status, self.detail)
    }

    /// Headers of the answer, beside that of its body.
    pub fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        if let Some(seconds) = self.retry_s {
            headers.insert(RETRY_AFTER, seconds.into());
        }
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        headers
    }

    fn foreign(detail: &'static str) -> Denied {
        Denied::new(RefusedFor::Origin, StatusCode::FORBIDDEN, detail)
    }

    fn of(self, app: AppId) -> Denied {
        Denied { app: Some(app), ..self }
    }
}

impl<'a> Admission<'a> {
    /// A bound that was met.
    pub fn limit(&self, limit: LimitName, status: StatusCode, detail: &'static str, retry_s: u64) -> Denied {
        self.metrics.limit(limit, 1);
        Denied { retry_s: Some(retry_s), ..Denied::new(RefusedFor::Limit, status, detail) }
    }

    /// Counts an attempt of this address, whatever it asks for.
    pub fn attempt(&self, ip: IpAddr) -> Result<(), Denied> {
        let limits = &self.front.generation.limits;
        if ip.is_loopback() && !limits.attempts_loopback {
            return Ok(());
        }
        self.attempts.attempt(ip, &limits.attempts_per_ip, self.now.mono).map_err(|wait_ms| {
            let detail = "too many connection attempts from this address";
            let retry_s = wait_ms.div_ceil(1000).max(1);
            self.limit(LimitName::AttemptsPerIp, StatusCode::TOO_MANY_REQUESTS, detail, retry_s)
        })
    }

    /// Finds its endpoint and who it is, and takes its places.
    pub async fn admit(&self, upgrade: Upgrade<'_>) -> Result<Admitted<'a>, Denied> {
        let candidates = self.route(upgrade)?;
        let mut seat = self.reserve(upgrade.ip)?;
        let nothing = || Denied::new(RefusedFor::NotFound, StatusCode::NOT_FOUND, "nothing listens here");
        let Decision { candidate, verdict, outcome, reason, proven } =
            self.authenticate(upgrade, &candidates).await.ok_or_else(nothing)?;
        let Candidate { app, endpoint, protocols, vars, .. } = &candidates[candidate];
        let app = self.front.generation.app(*app).ok_or_else(nothing)?;
        // Newcomers of an app that holds too much already; those of others are let in.
        let account = self.metrics.memory.app(app.id);
        if account.over() > 0 {
            account.refuse();
            let unavailable = StatusCode::SERVICE_UNAVAILABLE;
            return Err(self.limit(LimitName::Memory, unavailable, "out of memory, try again", 5));
        }
        if let (Some(outcome), Some(metrics)) = (outcome, self.metrics.find(app.id)) {
            metrics.authenticated(outcome);
        }
        let (identity, close) = match verdict {
            Verdict::Open(Some(_)) if !proven && self.is_strange_page(upgrade.headers, &candidates[candidate]) => {
                let detail = "a page of another origin needs a token in development mode, or `http.origins` names it";
                return Err(Denied::foreign(detail).of(app.id));
            }
            Verdict::Open(identity) => (identity, None),
            Verdict::Close(close) => (None, Some(close)),
            Verdict::Reject => {
                let missing = outcome == Some(AuthOutcome::Missing);
                let for_what = if missing { RefusedFor::NoToken } else { RefusedFor::Token };
                let denied = Denied::new(for_what, StatusCode::UNAUTHORIZED, "authentication required");
                return Err(Denied { why: reason, ..denied.of(app.id) });
            }
            Verdict::Unavailable => {
                let detail = "who you are cannot be verified at the moment, try again";
                let denied = Denied::new(RefusedFor::Unavailable, StatusCode::SERVICE_UNAVAILABLE, detail);
                return Err(Denied { retry_s: Some(UNAVAILABLE_RETRY_S), why: reason, ..denied.of(app.id) });
            }
        };
        let full = if close.is_none() { seat.admit(app, identity.as_deref()).err() } else { None };
        full.iter().for_each(|(limit, _)| self.metrics.limit(*limit, 1));
        let refusal = full.is_some().then(|| Refusal::limit(LimitKind::Connections));
        let close_at_once = close.or(full.map(|(_, close)| close));
        if let Some(close) = &close_at_once {
            tracing::debug!(ip = %upgrade.ip, app = &*app.name, code = close.code, %reason, "upgraded to be closed");
        }
        let auth = app.endpoint(*endpoint).map_or(&[][..], |e| &e.auth);
        let user_agent = upgrade.headers.get(USER_AGENT).and_then(|v| v.to_str().ok());
        let newcomer = Newcomer {
            leftover: Default::default(),
            app: app.id,
            endpoint: *endpoint,
            endpoint_key: app.endpoint(*endpoint).map(|e| e.key.clone()).unwrap_or_default(),
            listener: upgrade.listener,
            identity,
            close_at_once,
            refusal,
            deflate: None,
            ip: upgrade.ip,
            user_agent: user_agent.map(|v| shortened(v).into()),
            request: app.keeps_requests.then(|| Box::new(keep(upgrade, auth, vars))),
            seat,
        };
        Ok(Admitted { newcomer, app, auth, protocols })
    }

    /// The endpoints whose `Origin` list lets this request in.
    fn route(&self, upgrade: Upgrade<'_>) -> Result<SmallVec<[Candidate<'a>; 2]>, Denied> {
        let Upgrade { listener, uri, headers, .. } = upgrade;
        let entrance = &*self.front.entrance;
        let host = hosts::Asked::of(uri, headers);
        let (path, query) = (uri.path(), uri.query().unwrap_or(""));
        let mut candidates = entrance.router.find(&Asked { listener, host: host.host(), path, query, headers });
        if candidates.is_empty() {
            let detail = "no WebSocket is served at this address";
            return Err(Denied::new(RefusedFor::NotFound, StatusCode::NOT_FOUND, detail));
        }
        // Only browsers send it, and they always do (RFC 6455 §10.2).
        if let Some(origin) = origin_of(headers) {
            let general = entrance.origins.allows(origin);
            let app = candidates[0].app;
            candidates.retain(|c| general && c.origins.is_none_or(|own| own.allows(origin)));
            if candidates.is_empty() {
                return Err(Denied::foreign("pages of this origin may not connect").of(app));
            }
        }
        Ok(candidates)
    }

    fn reserve(&self, ip: IpAddr) -> Result<Seat, Denied> {
        let limits = &self.front.generation.limits;
        self.counts.reserve(ip, limits.connections, limits.connections_per_ip).map_err(|met| match met {
            Met::Process => {
                let detail = "no more connections are taken at the moment";
                self.limit(LimitName::Connections, StatusCode::SERVICE_UNAVAILABLE, detail, 5)
            }
            Met::Ip => {
                let detail = "too many connections from this address";
                self.limit(LimitName::ConnectionsPerIp, StatusCode::TOO_MANY_REQUESTS, detail, 30)
            }
        })
    }

    async fn authenticate(&self, upgrade: Upgrade<'_>, candidates: &[Candidate<'_>]) -> Option<Decision> {
        let without = self.without_cookies(upgrade.headers, candidates);
        let headers = without.as_ref().unwrap_or(upgrade.headers);
        let credentials = Credentials::of_request(upgrade.uri.query(), headers);
        decide(candidates, &self.front.generation, &credentials, self.now).await
    }

    /// The headers without cookies, where the page is one that only `*` lets in: a browser sends its visitor's cookies
    /// whatever page asks (RFC 6455 §10.2), and no page of just any origin may act in a visitor's name.
    fn without_cookies(&self, headers: &HeaderMap, candidates: &[Candidate<'_>]) -> Option<HeaderMap> {
        if !headers.contains_key(COOKIE) {
            return None;
        }
        let origin = origin_of(headers)?;
        let local = self.front.generation.development && is_loopback_origin(origin);
        if local || candidates.iter().all(|candidate| self.names(candidate, origin)) {
            return None;
        }
        let mut headers = headers.clone();
        headers.remove(COOKIE);
        Some(headers)
    }

    /// Whether this origin is allowed by its name, not only by `*`.
    fn names(&self, candidate: &Candidate<'_>, origin: &str) -> bool {
        self.front.entrance.origins.lists(origin) || candidate.origins.is_some_and(|own| own.lists(origin))
    }

    /// A page that only `*` lets in, and that is not the developer's own. In development mode everybody on the machine is
    /// somebody to it: a page of the world in the developer's browser must bring a token.
    fn is_strange_page(&self, headers: &HeaderMap, candidate: &Candidate<'_>) -> bool {
        let strange = |origin| !is_loopback_origin(origin) && !self.names(candidate, origin);
        self.front.generation.development && origin_of(headers).is_some_and(strange)
    }
}

/// The page's origin; one that nobody allows by name where there are several.
fn origin_of(headers: &HeaderMap) -> Option<&str> {
    let mut origins = headers.get_all(ORIGIN).iter();
    let first = origins.next()?;
    Some(first.to_str().ok().filter(|_| origins.next().is_none()).unwrap_or(""))
}

pub(super) fn shortened(text: &str) -> &str {
    &text[..text.floor_char_boundary(SHORTENED_BYTES)]
}

/// What rules may read; credentials have been used, and are not kept.
fn keep(upgrade: Upgrade<'_>, auth: &[Arc<Authenticator>], vars: &[(Arc<str>, Box<str>)]) -> KeptRequest {
    let kept = |name: &HeaderName| {
        ![AUTHORIZATION, PROXY_AUTHORIZATION, COOKIE].contains(name) && !auth.iter().any(|by| by.reads_header(name))
    };
    let headers = upgrade.headers.iter().filter(|(name, _)| kept(name));
    KeptRequest {
        path: upgrade.uri.path().into(),
        query: query_pairs(upgrade.uri.query().unwrap_or(""))
            .filter(|(name, _)| !auth.iter().any(|by| by.reads_query(name)))
            .map(|(name, value)| (name.as_ref().into(), value.as_ref().into()))
            .collect(),
        headers: headers.filter_map(|(name, v)| Some((name.as_str().into(), v.to_str().ok()?.into()))).collect(),
        vars: vars.iter().map(|(name, value)| (name.as_ref().into(), value.clone())).collect(),
        ip: upgrade.ip,
    }
}
