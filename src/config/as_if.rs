//! A decision as if somebody asked: what `[[check]]` and `weir explain` put in a client's place.

use super::app::App;
use crate::flow::Rows;
use crate::listen::PathPattern;
use crate::model::{ChannelName, Identity, Now, Refusal};
use crate::policy::{Asking, Explanation, History, Policy, Presence, Publish, RequestView, RightKind, Subscribe};
use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr};

/// Somebody, perhaps with a request, at a time. Rows behind a URL are not asked for: they are missing.
pub struct AsIf {
    pub identity: Identity,
    request: Option<Request>,
    pub now: Now,
}

/// `/progress/r1?plan=gold`, from this machine, without headers.
struct Request {
    path: String,
    query: Vec<(String, String)>,
    vars: Vec<(String, String)>,
}

impl AsIf {
    /// `request`: a path and perhaps a query, as the connection was opened with. The endpoint of `app` that such a
    /// connection has gives the path's variables. Err: what is wrong with `request`.
    pub fn new(app: &App, identity: Identity, request: Option<&str>, now: Now) -> Result<AsIf, String> {
        let request = request.map(|text| Request::parse(app, text)).transpose()?;
        Ok(AsIf { identity, request, now })
    }

    /// Err: what the client would read, with the rule that refused. Ok: the channel, an alias resolved.
    pub fn decide(&self, app: &App, right: RightKind, on: &ChannelName) -> Result<ChannelName, Refusal> {
        let policy = &app.flow.policy;
        self.with(app, |asking| match right {
            RightKind::Subscribe => policy.decide::<Subscribe>(on, asking, 0).map(|p| p.channel().clone()),
            RightKind::Publish => policy.decide::<Publish>(on, asking, 0).map(|p| p.channel().clone()),
            RightKind::History => policy.decide::<History>(on, asking, 0).map(|p| p.channel().clone()),
            RightKind::Presence => policy.decide::<Presence>(on, asking, 0).map(|p| p.channel().clone()),
        })
    }

    pub fn explain(&self, app: &App, right: RightKind, on: &ChannelName) -> Explanation {
        self.with(app, |asking| Policy::explain(&app.flow.policy, right, on, asking))
    }

    fn with<T>(&self, app: &App, then: impl FnOnce(&Asking<'_>) -> T) -> T {
        let rows = Rows { tables: &app.flow.tables, now: self.now.mono, asks: false };
        let request = self.request.as_ref().map(|r| r as &dyn RequestView);
        then(&Asking { identity: &self.identity, request, tables: &rows, now: self.now.wall })
    }
}

impl Request {
    fn parse(app: &App, text: &str) -> Result<Request, String> {
        if !text.starts_with('/') {
            return Err(format!("`{text}` is no request: a path starts with `/`"));
        }
        let (path, query) = text.split_once('?').unwrap_or((text, ""));
        let pairs = query.split('&').filter(|p| !p.is_empty()).map(|p| p.split_once('=').unwrap_or((p, "")));
        let query = pairs.map(|(k, v)| (decoded(k), decoded(v))).collect();
        let mut patterns: Vec<PathPattern> =
            app.endpoints.iter().filter_map(|e| PathPattern::parse(&e.path).ok()).collect();
        patterns.sort_by(PathPattern::precedence);
        let vars = patterns.iter().find_map(|pattern| vars(pattern, path)).unwrap_or_default();
        Ok(Request { path: path.into(), query, vars })
    }
}

/// The variables of a path that the pattern matches.
fn vars(pattern: &PathPattern, path: &str) -> Option<Vec<(String, String)>> {
    let mut router = matchit::Router::new();
    router.insert(&pattern.shape, ()).ok()?;
    let found = router.at(path).ok()?;
    Some(pattern.names.iter().cloned().zip(found.params.iter().map(|(_, v)| decoded(v))).collect())
}

/// RFC 3986 §2.1, and `+` for a space as forms write it.
fn decoded(text: &str) -> String {
    let (bytes, mut out, mut at) = (text.as_bytes(), Vec::new(), 0);
    while let Some(&b) = bytes.get(at) {
        let mut escape = [0];
        let escaped =
            b == b'%' && bytes.get(at + 1..at + 3).is_some_and(|h| hex::decode_to_slice(h, &mut escape).is_ok());
        out.push(if escaped { escape[0] } else { if b == b'+' { b' ' } else { b } });
        at += if escaped { 3 } else { 1 };
    }
    String::from_utf8_lossy(&out).into_owned()
}

fn first<'v>(pairs: &'v [(String, String)], name: &str) -> Option<&'v str> {
    pairs.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
}

impl RequestView for Request {
    fn path(&self) -> &str {
        &self.path
    }
    fn query(&self, name: &str) -> Option<Cow<'_, str>> {
        first(&self.query, name).map(Cow::Borrowed)
    }
    fn header(&self, _: &str) -> Option<Cow<'_, str>> {
        None
    }
    fn ip(&self) -> IpAddr {
        Ipv4Addr::LOCALHOST.into()
    }
    fn var(&self, name: &str) -> Option<&str> {
        first(&self.vars, name)
    }
}
